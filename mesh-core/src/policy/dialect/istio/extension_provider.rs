//! `meshConfig.extensionProviders`: who is asked by policies of the action `CUSTOM`.

use http::{HeaderName, HeaderValue, StatusCode};

use super::authorizer_values::{body_limit, extra_header, header_pattern, path_prefix};
use super::names::is_dns_name;
use super::values::duration;
use super::{NOT_YET, refuse_all};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::dialect::Object;
use crate::policy::model::Meta;
use crate::policy::model::authorizer::{
    BodyForm, CheckedBody, ExternalAuthorizer, HttpCheck, LargerBody, OnFailure, Protocol,
};
use crate::policy::model::authz::Pattern;
use crate::policy::reader::{Fields, Reader};
use crate::policy::source::{Node, Value};

/// Providers of something else, for which there is no place in a process.
const OTHERS: &[&str] = &[
    "envoyTcpAls",
    "envoyHttpAls",
    "envoyFileAccessLog",
    "envoyOtelAls",
    "prometheus",
    "stackdriver",
    "zipkin",
    "lightstep",
    "datadog",
    "opencensus",
    "skywalking",
    "opentelemetry",
    "sds",
];

/// Reads a provider; `None` for those of something else than authorization.
pub(super) fn provider(
    cx: &Reader<'_>,
    node: &Node,
    object: &Object<'_>,
    known: &[ExternalAuthorizer],
) -> Option<ExternalAuthorizer> {
    let mut fields = cx.mapping(node)?;
    let name = fields.required("name", |cx, node| {
        let name = cx.name(node)?;
        match known.iter().any(|known| known.meta.name == name) {
            true => cx.invalid(node, format!("the provider {} is defined before", quoted(&name))),
            false => Some(name),
        }
    });
    let given = fields.one_of(&["envoyExtAuthzHttp", "envoyExtAuthzGrpc"]);
    let found = given.and_then(|(kind, _)| {
        fields.optional(kind, |cx, node| match kind {
            "envoyExtAuthzHttp" => http_service(cx, node),
            _ => service(cx, node, Protocol::Grpc).map(|(found, fields)| {
                fields.finish();
                found
            }),
        })
    });
    let others: Vec<_> = OTHERS.iter().map(|kind| (*kind, OTHER)).collect();
    let is_other = OTHERS.iter().any(|kind| fields.node(kind).is_some());
    refuse_all(&mut fields, NOT_YET, &others);
    if given.is_none() && !is_other {
        fields.missing(&["envoyExtAuthzHttp", "envoyExtAuthzGrpc"]);
    }
    fields.finish();
    let meta = Meta {
        name: name?,
        origin: cx.origin(node.span),
        ..object.meta.clone()
    };
    Some(ExternalAuthorizer { meta, ..found? })
}

const OTHER: &str = "providers are chosen for authorization alone";

/// Reads what authorizers of both kinds have; the fields that only one of them has are left.
fn service<'r, 'a, 'n>(
    cx: &'r Reader<'a>,
    node: &'n Node,
    protocol: Protocol,
) -> Option<(ExternalAuthorizer, Fields<'r, 'a, 'n>)> {
    let mut fields = cx.mapping(node)?;
    let service = fields.required("service", service_name);
    let port = fields.required("port", Reader::port);
    let mut found = ExternalAuthorizer {
        protocol,
        timeout: ExternalAuthorizer::ISTIO_TIMEOUT,
        ..ExternalAuthorizer::default()
    };
    if let Some(timeout) = fields.optional("timeout", duration) {
        found.timeout = timeout;
    }
    if fields.optional("failOpen", Reader::bool) == Some(true) {
        found.on_failure = OnFailure::Allow;
    }
    if let Some(status) = fields.optional("statusOnError", status_on_error) {
        found.failure_status = status;
    }
    found.body = fields.optional("includeRequestBodyInCheck", body);
    clear_route_cache(cx, &mut fields);
    found.service = service.unwrap_or_default();
    found.port = port.unwrap_or_default();
    Some((found, fields))
}

fn http_service(cx: &Reader<'_>, node: &Node) -> Option<ExternalAuthorizer> {
    let (mut found, mut fields) = service(cx, node, Protocol::Grpc)?;
    let mut check = HttpCheck {
        path_prefix: fields.optional("pathPrefix", path_prefix).unwrap_or_default(),
        request_headers: request_headers(cx, &mut fields),
        ..HttpCheck::default()
    };
    check.extra_headers = fields
        .optional("includeAdditionalHeadersInCheck", extra_headers)
        .unwrap_or_default();
    check.to_server_on_allow = fields.list("headersToUpstreamOnAllow", header_name);
    check.to_caller_on_deny = fields.list("headersToDownstreamOnDeny", header_name);
    check.to_caller_on_allow = fields.list("headersToDownstreamOnAllow", header_name);
    if found.body.is_some_and(|body| body.form == BodyForm::Bytes) {
        let message = "`packAsBytes` has no effect over HTTP, which has the bytes in any case";
        cx.report(Diagnostic::new(Code::NO_EFFECT, node.span, message));
    }
    fields.finish();
    found.protocol = Protocol::Http(check);
    Some(found)
}

/// The old name of the field is read still.
fn request_headers(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) -> Vec<Pattern> {
    const NEW: &str = "includeRequestHeadersInCheck";
    const OLD: &str = "includeHeadersInCheck";
    if let Some((key, _)) = fields.entry(OLD) {
        let message = format!("field {} is {}", quoted(&key.name), Code::DEPRECATED.title());
        cx.report(Diagnostic::new(Code::DEPRECATED, key.span, message).with_help(format!("write `{NEW}`")));
    }
    let given = fields.one_of(&[NEW, OLD]);
    given.map_or_else(Vec::new, |(name, _)| fields.list(name, header_name))
}

fn clear_route_cache(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) {
    let clears = fields.optional("clearRouteCache", Reader::bool) == Some(true);
    if let Some((key, _)) = fields.entry("clearRouteCache").filter(|_| clears) {
        let message =
            "`clearRouteCache` has no effect: routes are chosen after the check, by the request as it is then";
        cx.report(Diagnostic::new(Code::NO_EFFECT, key.span, message));
    }
}

/// Reads `host` or `namespace/host`; the host is a full name.
fn service_name(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    let host = text.split_once('/').map_or(text, |(_, host)| host);
    if is_dns_name(host) {
        return Some(host.trim_end_matches('.').to_ascii_lowercase());
    }
    let found = quoted(text);
    cx.invalid(
        node,
        format!("expected the full name of a service such as `ext-authz.auth.svc.cluster.local`, found {found}"),
    )
}

/// Reads a status, which is a text here.
fn status_on_error(cx: &Reader<'_>, node: &Node) -> Option<StatusCode> {
    let text = cx.any_text(node)?;
    let status = StatusCode::from_bytes(text.as_bytes()).ok();
    match status.filter(|status| status.is_client_error() || status.is_server_error()) {
        Some(status) => Some(status),
        None => cx.invalid(
            node,
            format!("expected a status of 400 to 599, found {}", quoted(&text)),
        ),
    }
}

/// `*` alone matches no header in Istio.
fn header_name(cx: &Reader<'_>, node: &Node) -> Option<Pattern> {
    match header_pattern(cx, node)? {
        Pattern::Present => cx.invalid(
            node,
            "`*` alone matches no header: name them, or what they begin or end with",
        ),
        pattern => Some(pattern),
    }
}

fn extra_headers(cx: &Reader<'_>, node: &Node) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let Value::Mapping(entries) = &node.value else {
        return cx.wrong_type(node, "a mapping");
    };
    let headers = entries.iter().filter_map(|(key, node)| extra_header(cx, (key, node)));
    Some(headers.collect())
}

fn body(cx: &Reader<'_>, node: &Node) -> Option<CheckedBody> {
    let mut fields = cx.mapping(node)?;
    let limit = fields.required("maxRequestBytes", body_limit);
    let partial = fields.optional("allowPartialMessage", Reader::bool);
    let bytes = fields.optional("packAsBytes", Reader::bool);
    fields.finish();
    let mut body = CheckedBody::new(limit?);
    if partial == Some(true) {
        body.larger = LargerBody::Part;
    }
    if bytes == Some(true) {
        body.form = BodyForm::Bytes;
    }
    Some(body)
}
