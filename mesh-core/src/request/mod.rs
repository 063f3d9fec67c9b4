//! The one canonical view of a request: what is matched is exactly what is forwarded.
//!
//! # The problem
//!
//! Most authorization bypasses of proxies and meshes are one sentence: the checker and the server
//! looked at different paths, hosts or header values. Here the request is brought into one form
//! before any layer looks at it; routing, authorization, limits, logs and the application see that
//! form; what has no unambiguous form is refused.
//!
//! # How it decides
//!
//! - Path: as far as [`PathNormalization`] says. By default escapes of unreserved characters are decoded (`%61` → `a`),
//!   other escapes are upper case, characters that a path cannot hold are escaped, `\` is `/`, dot segments are
//!   resolved. Escaped slashes, control characters, raw non-ASCII, malformed and doubled escapes are refused. What a
//!   server may take the path for beside that is told to authorization: [`RequestView::readings`].
//! - Host: lower case, without port and trailing dot. Two hosts, hosts that differ, user information,
//!   or no host at all are refused.
//! - Method: upper case, registered; `TRACE` and `TRACK` are refused.
//!
//! The reasons are in `docs/adr/0002-request-view.md` and `docs/adr/0008-path-normalization.md`.
//!
//! ```
//! use http::Request;
//! use mesh_core::request::{Options, canonicalize};
//!
//! let request = Request::get("http://Orders.Shop:8080/v1/../api/%6Frders?page=2").body(())?;
//! let canonical = canonicalize(&request, Options::outbound()).unwrap();
//! let view = canonical.view();
//! assert_eq!((view.host, view.port), ("orders.shop", Some(8080)));
//! assert_eq!((view.path, view.query), ("/api/orders", Some("page=2")));
//! assert_eq!(canonical.into_rewritten().unwrap(), "http://Orders.Shop:8080/api/orders?page=2");
//! # Ok::<(), http::Error>(())
//! ```

mod bad;
mod client_cert;
mod glance;
mod headers;
mod host;
mod method;
mod normalization;
mod path;
mod remote;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::time::Duration;

use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, Method, Request, Uri, request};

use crate::decide::jwt::VerifiedToken;

pub use bad::{BadHost, BadPath, BadRequest};
pub use client_cert::{BadClientCert, CLIENT_CERT, ClientCert};
pub use headers::{
    MESH_MANAGED, MESH_MANAGED_PREFIXES, any_element, is_grpc, is_mesh_managed, joined, lines, single, stays_if_listed,
    strip_h2c, strip_listed, strip_mesh_managed,
};
pub use normalization::PathNormalization;
pub use path::{PatternShape, canonical_pattern, has_dot_segments, route_pattern};
pub use remote::Remote;

use crate::decide::deadline::grpc_timeout;
use headers::Framing;
use normalization::{Demand, Forms};

/// The parts of a request that the canonical view is made from.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a request's head has these three parts")]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// The target.
    pub uri: &'a Uri,
    /// The header fields.
    pub headers: &'a HeaderMap,
}

impl<'a> From<&'a request::Parts> for RequestHead<'a> {
    fn from(parts: &'a request::Parts) -> Self {
        Self {
            method: &parts.method,
            uri: &parts.uri,
            headers: &parts.headers,
        }
    }
}

impl<'a, B> From<&'a Request<B>> for RequestHead<'a> {
    fn from(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
        }
    }
}

/// What becomes of a path that is unambiguous but not canonical.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathMode {
    /// It is rewritten; a gRPC request, whose client never needs it, is refused.
    #[default]
    Normalize,
    /// It is refused.
    Strict,
}

/// Whether authorization rules look at paths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there are such rules or there are none")]
pub enum PathRules {
    /// None does.
    #[default]
    Absent,
    /// Some do: a path with `;` is refused, as servers disagree on whether parameters belong to it.
    Present,
}

/// Which methods are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Methods {
    /// Those of the IANA registry (but `TRACE`); others get 501.
    #[default]
    Registered,
    /// Any token that is no misspelt standard method.
    Any,
}

/// What carries a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a connection is encrypted or it is not")]
pub enum Transport {
    /// Plain text: the scheme is `http`.
    Plain,
    /// TLS: the scheme is `https`.
    Tls,
}

/// How a request is made canonical.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// What becomes of paths that are not canonical.
    pub path_mode: PathMode,
    /// How far paths are normalised.
    pub path_normalization: PathNormalization,
    /// How many addresses at the end of `x-forwarded-for` are believed.
    pub trusted_proxies: u32,
    /// Whether authorization rules look at paths.
    pub path_rules: PathRules,
    /// Which methods are taken.
    pub methods: Methods,
    /// The connection, which decides on the scheme whatever the caller claims; `None` takes the URI's scheme.
    pub transport: Option<Transport>,
}

impl Options {
    /// For requests that came over a connection.
    #[must_use]
    pub const fn inbound(transport: Transport, path_rules: PathRules) -> Self {
        Self {
            path_mode: PathMode::Normalize,
            path_normalization: PathNormalization::Base,
            trusted_proxies: 0,
            path_rules,
            methods: Methods::Registered,
            transport: Some(transport),
        }
    }

    /// For requests that this process makes.
    #[must_use]
    pub const fn outbound() -> Self {
        Self {
            path_mode: PathMode::Normalize,
            path_normalization: PathNormalization::Base,
            trusted_proxies: 0,
            path_rules: PathRules::Absent,
            methods: Methods::Any,
            transport: None,
        }
    }

    /// Sets what becomes of paths that are not canonical.
    #[must_use]
    pub const fn path_mode(mut self, mode: PathMode) -> Self {
        self.path_mode = mode;
        self
    }

    /// Sets how far paths are normalised.
    #[must_use]
    pub const fn path_normalization(mut self, normalization: PathNormalization) -> Self {
        self.path_normalization = normalization;
        self
    }

    /// Sets how many addresses at the end of `x-forwarded-for` are believed.
    #[must_use]
    pub const fn trusted_proxies(mut self, count: u32) -> Self {
        self.trusted_proxies = count;
        self
    }

    /// Sets which methods are taken.
    #[must_use]
    pub const fn methods(mut self, methods: Methods) -> Self {
        self.methods = methods;
        self
    }
}

/// A request in canonical form; borrows from the request and owns what had to be rewritten.
#[derive(Clone, Debug)]
pub struct CanonicalRequest<'a> {
    method: &'a Method,
    scheme: &'a str,
    authority: &'a str,
    host: Cow<'a, str>,
    port: Option<u16>,
    uri: &'a Uri,
    /// What few requests have: boxed, so that the others are not moved about with the place for it.
    forms: Option<Box<OtherForms>>,
    remote: Remote,
    headers: &'a HeaderMap,
    grpc_timeout: Option<Duration>,
}

/// Targets and paths beside those that were sent.
#[derive(Clone, Debug, Default)]
struct OtherForms {
    /// The URI to forward, where it differs.
    rewritten: Option<Uri>,
    /// Other paths that a server may take the path for.
    readings: Vec<String>,
}

impl CanonicalRequest<'_> {
    /// What rules look at.
    #[must_use]
    #[inline]
    pub fn view(&self) -> RequestView<'_> {
        let uri = self.rewritten().unwrap_or(self.uri);
        RequestView {
            method: self.method,
            scheme: self.scheme,
            host: &self.host,
            authority: self.authority,
            port: self.port,
            path: uri.path(),
            readings: self.forms.as_ref().map_or(&[], |forms| &*forms.readings),
            query: uri.query(),
            remote: self.remote,
            headers: self.headers,
            token: None,
        }
    }

    /// The limit that the caller of gRPC has set (`grpc-timeout`); `None` where it set none, and of all other requests.
    #[must_use]
    pub const fn grpc_timeout(&self) -> Option<Duration> {
        self.grpc_timeout
    }

    /// The URI to forward where it differs from the one that was sent.
    ///
    /// INVARIANT: whoever forwards the request sets this URI, so that the application sees what was matched.
    #[must_use]
    #[inline]
    pub fn rewritten(&self) -> Option<&Uri> {
        self.forms.as_ref()?.rewritten.as_ref()
    }

    /// The URI to forward where it differs, and the paths that servers may take the path for, giving the borrow of the
    /// request back.
    #[must_use]
    pub fn into_parts(self) -> (Option<Uri>, Vec<String>) {
        let forms = self.forms.map_or_else(OtherForms::default, |forms| *forms);
        (forms.rewritten, forms.readings)
    }

    /// The same, which may also be taken for these paths: those of the form in which the request came.
    #[must_use]
    pub fn also_read_as(mut self, paths: &[String]) -> Self {
        let view = self.view();
        let others = paths
            .iter()
            .filter(|other| *other != view.path && !view.readings.contains(other));
        let others: Vec<String> = others.cloned().collect();
        if !others.is_empty() {
            self.forms.get_or_insert_default().readings.extend(others);
        }
        self
    }

    /// Like [`rewritten`](Self::rewritten), giving the borrow of the request back.
    #[must_use]
    pub fn into_rewritten(self) -> Option<Uri> {
        self.forms?.rewritten
    }
}

/// What rules look at: made by [`CanonicalRequest::view`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RequestView<'a> {
    /// The method, in upper case.
    pub method: &'a Method,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The host in lower case, without port, trailing dot and the brackets of an IPv6 address.
    pub host: &'a str,
    /// The authority as it was sent, port included.
    pub authority: &'a str,
    /// The port that the authority names.
    pub port: Option<u16>,
    /// The canonical path: starts with `/`, or is `*` (`OPTIONS *`), or empty (`CONNECT`).
    pub path: &'a str,
    /// Other paths that a server may take the path for, `/admin` for `//admin`: authorization must allow them as well.
    pub readings: &'a [String],
    /// The query as it was sent.
    pub query: Option<&'a str>,
    /// The address that the request first came from.
    pub remote: Remote,
    /// The header fields; see [`lines`], [`joined`] and [`any_element`] for how to read repeated ones.
    pub headers: &'a HeaderMap,
    /// The token that it bears, verified; `None` where it bears none or none was verified.
    pub token: Option<&'a VerifiedToken>,
}

impl<'a> RequestView<'a> {
    /// The same with the token that was verified.
    #[must_use]
    pub const fn bearing(mut self, token: Option<&'a VerifiedToken>) -> Self {
        self.token = token;
        self
    }

    /// The port of the authority, or that of the scheme.
    #[must_use]
    pub fn effective_port(&self) -> u16 {
        self.port
            .unwrap_or_else(|| if self.scheme == "https" { 443 } else { 80 })
    }
}

/// Brings a request into its canonical form.
///
/// It is idempotent: a request with the [rewritten](CanonicalRequest::rewritten) URI is canonical. One that is
/// already canonical is borrowed whole, without an allocation.
///
/// # Errors
///
/// [`BadRequest`] with the status of the answer where the request has no unambiguous form or asks for what no mesh does.
pub fn canonicalize<'a>(
    head: impl Into<RequestHead<'a>>,
    options: Options,
) -> Result<CanonicalRequest<'a>, BadRequest> {
    let RequestHead { method, uri, headers } = head.into();
    method::check(method, options.methods)?;
    let framing = Framing::of(headers);
    if framing.is_coded {
        // hyper hands such bodies on half decoded.
        return Err(BadRequest::TransferCoding);
    }
    let grpc = framing.is_grpc();
    let grpc_timeout = match grpc {
        true => check_grpc(method, headers)?,
        false => None,
    };
    let (authority, host) = authority(uri, &framing, options)?;
    let demand = match grpc || options.path_mode == PathMode::Strict {
        true => Demand::Canonical,
        false => Demand::Rewritable,
    };
    let forms = match is_as_forwarded(method, uri) {
        true => None,
        false => other_forms(method, uri, demand, options)?,
    };
    Ok(CanonicalRequest {
        method,
        scheme: scheme(uri, options.transport),
        authority,
        host: host.name,
        port: host.port,
        uri,
        forms,
        remote: match options.trusted_proxies {
            0 => Remote::Peer,
            trusted => remote::remote(headers, trusted),
        },
        headers,
        grpc_timeout,
    })
}

fn check_grpc(method: &Method, headers: &HeaderMap) -> Result<Option<Duration>, BadRequest> {
    if method != Method::POST {
        return Err(BadRequest::GrpcMethod);
    }
    grpc_timeout(headers).map_err(|_| BadRequest::GrpcTimeout)
}

fn scheme(uri: &Uri, transport: Option<Transport>) -> &str {
    match transport {
        Some(Transport::Plain) => "http",
        Some(Transport::Tls) => "https",
        None => match uri.scheme_str() {
            None | Some("http") => "http",
            Some("https") => "https",
            Some(other) => other_scheme(other),
        },
    }
}

/// A scheme that is another one, or that nobody has written in lower case.
#[cold]
fn other_scheme(scheme: &str) -> &str {
    match scheme {
        text if text.eq_ignore_ascii_case("https") => "https",
        text if text.eq_ignore_ascii_case("http") => "http",
        text => text,
    }
}

/// The authority that counts, the target's before the `Host` line; both must name the same host, and on the way in the same
/// port, where both name one: who judges the request and who serves it may look at either.
fn authority<'a>(
    uri: &'a Uri,
    framing: &Framing<'a>,
    options: Options,
) -> Result<(&'a str, host::Host<'a>), BadRequest> {
    if framing.has_more_hosts {
        return Err(BadHost::Repeated.into());
    }
    let line = framing
        .host
        .map(|line| line.to_str().map(str::trim_ascii).map_err(|_| BadHost::Malformed))
        .transpose()?;
    let Some(target) = uri.authority().map(Authority::as_str) else {
        let line = line.ok_or(BadHost::Missing)?;
        return Ok((line, host::parse(line)?));
    };
    // The line is read first: what is wrong with it is told before what is wrong with the target.
    let line = line.filter(|line| *line != target).map(host::parse).transpose()?;
    let host = host::parse(target)?;
    match line {
        Some(line) if differ(&line, &host, options) => Err(BadHost::Differing.into()),
        _ => Ok((target, host)),
    }
}

fn differ(line: &host::Host<'_>, target: &host::Host<'_>, options: Options) -> bool {
    let ports = line.port.zip(target.port).filter(|_| options.transport.is_some());
    line.name != target.name || ports.is_some_and(|(line, target)| line != target)
}

/// Whether a target is forwarded as it is and can be taken for no other, as nearly all, at a glance: its path is shown, and
/// plain whatever is asked of it. Of others [`other_forms`] tells.
#[inline]
fn is_as_forwarded(method: &Method, uri: &Uri) -> bool {
    uri.path_and_query()
        .is_some_and(|target| is_shown(target) && path::is_plain(target.path()))
        && *method != Method::CONNECT
}

/// `http://host?query` has the path `/`, which its text does not show.
fn is_shown(target: &PathAndQuery) -> bool {
    target.as_str().starts_with('/')
}

/// What is forwarded where that is not the target as it was sent, and what else its path may be taken for.
#[cold]
#[inline(never)]
fn other_forms(
    method: &Method,
    uri: &Uri,
    demand: Demand,
    options: Options,
) -> Result<Option<Box<OtherForms>>, BadRequest> {
    if *method == Method::CONNECT {
        return tunnel(uri).map(|()| None);
    }
    if *method == Method::OPTIONS && uri.path() == "*" {
        return Ok(None);
    }
    let Forms { forwarded, readings } =
        normalization::forms(uri.path(), options.path_normalization, options.path_rules, demand)?;
    let rewritten = match forwarded {
        Cow::Borrowed(_) if uri.path_and_query().is_some_and(is_shown) => None,
        _ if demand == Demand::Canonical => return Err(BadPath::NotCanonical.into()),
        path => Some(with_path(uri, path.into_owned())?),
    };
    let is_other = rewritten.is_some() || !readings.is_empty();
    Ok(is_other.then(|| Box::new(OtherForms { rewritten, readings })))
}

/// `CONNECT` names a host and a port and nothing else (RFC 9112 §3.2.3); with a host and a path it is RFC 8441's.
fn tunnel(uri: &Uri) -> Result<(), BadRequest> {
    if uri.authority().is_none() {
        return Err(BadRequest::ConnectTarget);
    }
    if uri.scheme().is_none() && matches!(uri.path(), "" | "/") {
        return Ok(());
    }
    Err(BadRequest::ExtendedConnect)
}

fn with_path(uri: &Uri, mut path: String) -> Result<Uri, BadRequest> {
    if let Some(query) = uri.query() {
        path.push('?');
        path.push_str(query);
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path).map_err(|_| BadPath::Character)?);
    Uri::from_parts(parts).map_err(|_| BadRequest::Path(BadPath::Character))
}
