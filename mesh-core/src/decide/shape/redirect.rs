//! Redirects: where the caller is sent.

use http::StatusCode;

use super::{InvalidShape, PathRewriter};
use crate::policy::model::filter::{PathRewrite, Redirect, RedirectPort};
use crate::policy::model::route::RouteMatch;
use crate::request::RequestView;

/// A compiled [`Redirect`], for the requests of one match.
#[derive(Clone, Debug)]
pub struct Redirector {
    redirect: Redirect,
    path: Option<PathRewriter>,
}

impl Redirector {
    /// Compiles a redirect.
    ///
    /// # Errors
    ///
    /// As for [`PathRewriter::compile`].
    pub fn compile(redirect: &Redirect, conditions: &RouteMatch) -> Result<Self, InvalidShape> {
        let path = redirect.path.as_ref();
        Ok(Self {
            path: path.map(|path| PathRewriter::compile(path, conditions)).transpose()?,
            redirect: redirect.clone(),
        })
    }

    /// The status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.redirect.status
    }
}

/// The `Location` for a request that came in by `port`.
///
/// What the redirect does not set comes from the request; the query stays unless a full path has one of its own. The
/// scheme's default port is never written (Envoy's `RouteEntryImplBase::newUri`, Gateway API's `HTTPRequestRedirectFilter`).
#[must_use]
pub fn location(redirector: &Redirector, request: &RequestView<'_>, port: u16) -> String {
    let redirect = &redirector.redirect;
    let scheme = redirect.scheme.as_deref().unwrap_or(request.scheme);
    let authority = redirect.authority.as_deref().unwrap_or(request.authority);
    let authority = with_port(authority, new_port(redirect, request, scheme, port));
    let path = redirector.path.as_ref().map(|path| path.rewrite(request.path));
    let path = path.as_deref().unwrap_or(request.path);
    let has_query = matches!(&redirect.path, Some(PathRewrite::Full(full)) if full.contains('?'));
    match request.query.filter(|_| !has_query) {
        Some(query) => format!("{scheme}://{authority}{path}?{query}"),
        None => format!("{scheme}://{authority}{path}"),
    }
}

/// What becomes of the port in the authority.
#[derive(Clone, Copy)]
enum NewPort {
    AsWritten,
    None,
    Number(u16),
}

fn new_port(redirect: &Redirect, request: &RequestView<'_>, scheme: &str, port: u16) -> NewPort {
    let number = |number: u16| {
        if Some(number) == default_port(scheme) {
            NewPort::None
        } else {
            NewPort::Number(number)
        }
    };
    match redirect.port {
        RedirectPort::Number(port) => number(port),
        RedirectPort::Request => number(port),
        RedirectPort::ProtocolDefault => NewPort::None,
        RedirectPort::SchemeOrRequest if redirect.scheme.is_some() => NewPort::None,
        RedirectPort::SchemeOrRequest => number(port),
        RedirectPort::Unset if redirect.authority.is_some() => NewPort::AsWritten,
        RedirectPort::Unset if request.port == default_port(scheme) => NewPort::None,
        RedirectPort::Unset if scheme != request.scheme && request.port == default_port(request.scheme) => {
            NewPort::None
        }
        RedirectPort::Unset => NewPort::AsWritten,
    }
}

fn with_port(authority: &str, port: NewPort) -> String {
    // An IPv6 address has its colons in brackets.
    let end = authority.rfind(']').map_or(0, |at| at + 1);
    let host = authority.get(end..).and_then(|rest| rest.rfind(':')).map(|at| end + at);
    let host = host.and_then(|at| authority.get(..at)).unwrap_or(authority);
    match port {
        NewPort::AsWritten => authority.to_owned(),
        NewPort::None => host.to_owned(),
        NewPort::Number(port) => format!("{host}:{port}"),
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}
