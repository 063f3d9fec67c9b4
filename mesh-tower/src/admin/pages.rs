//! The pages, and who may see them.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;

use super::{AdminSource, host, plaintext};

const INDEX: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>mesh admin</title>
<h1>mesh admin</h1>
<ul>
<li><a href="/metrics">/metrics</a>: Prometheus metrics</li>
<li><a href="/ready">/ready</a>: whether a policy is in force</li>
<li><a href="/policy">/policy</a>: the policy in force and the last reload</li>
<li><a href="/endpoints">/endpoints</a>: services, endpoints, ejections</li>
<li><a href="/identity">/identity</a>: certificate, its source, and how long it lasts</li>
<li><a href="/tokens">/tokens</a>: keys of tokens, their age, problems</li>
<li><a href="/plaintext">/plaintext</a>: callers that speak plain text</li>
</ul>
"#;

const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json";

/// The pages of one process.
pub(super) struct Site {
    source: Arc<dyn AdminSource>,
    allowed_hosts: Vec<String>,
}

#[derive(Clone, Copy)]
enum Page {
    Index,
    Metrics,
    Ready,
    Policy,
    Endpoints,
    Identity,
    Tokens,
    Plaintext,
}

impl Page {
    fn at(path: &str) -> Option<Self> {
        Some(match path {
            "/" => Self::Index,
            "/metrics" => Self::Metrics,
            "/ready" => Self::Ready,
            "/policy" => Self::Policy,
            "/endpoints" => Self::Endpoints,
            "/identity" => Self::Identity,
            "/tokens" => Self::Tokens,
            "/plaintext" => Self::Plaintext,
            _ => return None,
        })
    }
}

impl Site {
    pub(super) fn new(source: Arc<dyn AdminSource>, allowed_hosts: Vec<String>) -> Self {
        Self { source, allowed_hosts }
    }

    pub(super) async fn answer<B>(&self, request: Request<B>) -> Response<Full<Bytes>> {
        if !host::is_ours(request.uri(), request.headers(), &self.allowed_hosts) {
            return answer(
                StatusCode::FORBIDDEN,
                TEXT,
                "the host of the request is not allowed here\n",
            );
        }
        let Some(page) = Page::at(request.uri().path()) else {
            return answer(StatusCode::NOT_FOUND, TEXT, "no such page; see /\n");
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refusal = answer(StatusCode::METHOD_NOT_ALLOWED, TEXT, "pages can only be read\n");
            refusal
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refusal;
        }
        let source = Arc::clone(&self.source);
        tokio::task::spawn_blocking(move || render(page, &*source))
            .await
            .unwrap_or_else(|_| answer(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "the page could not be made\n"))
    }
}

fn render(page: Page, source: &dyn AdminSource) -> Response<Full<Bytes>> {
    match page {
        Page::Index => answer(
            StatusCode::OK,
            HTML,
            format!("{INDEX}{}</html>\n", plaintext::section(source)),
        ),
        Page::Metrics => answer(StatusCode::OK, METRICS, source.metrics()),
        Page::Ready if source.is_ready() => answer(StatusCode::OK, TEXT, "ready\n"),
        Page::Ready => answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, "not ready\n"),
        Page::Policy => answer(StatusCode::OK, JSON, pretty(&source.policy())),
        Page::Endpoints => answer(StatusCode::OK, JSON, pretty(&source.endpoints())),
        Page::Identity => answer(StatusCode::OK, JSON, pretty(&source.identity())),
        Page::Tokens => answer(StatusCode::OK, JSON, pretty(&source.tokens())),
        Page::Plaintext => answer(StatusCode::OK, JSON, pretty(&source.plaintext())),
    }
}

fn pretty(value: &serde_json::Value) -> String {
    format!("{value:#}\n")
}

fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    );
    response
}
