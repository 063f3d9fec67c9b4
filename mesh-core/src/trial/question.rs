//! A request, who sends or receives it, and what the policy makes of it.

use std::net::{IpAddr, Ipv4Addr};

use http::header::HOST;
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use serde_json::{Map, Value as Json};

use crate::decide::jwt::{Rejected, VerifiedToken};
use crate::explain::{self, AuthorizerSays, Caller};
use crate::identity::SpiffeId;
use crate::request::{Transport, canonicalize};
use crate::snapshot::Snapshot;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    /// Absolute.
    pub(crate) url: Uri,
    pub(crate) headers: HeaderMap,
}

/// How a request comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// The caller's identity; `None` is plain text.
    pub(crate) from: Option<SpiffeId>,
    pub(crate) source_ip: IpAddr,
    /// The workload's own port; `None` is that of the URL.
    pub(crate) port: Option<u16>,
    /// What its token says, which is genuine; `None` is no token.
    pub(crate) claims: Option<Map<String, Json>>,
    /// What an external authorizer says; `None` leaves it open.
    pub(crate) authorizer: Option<AuthorizerSays>,
}

impl Default for Received {
    fn default() -> Self {
        Self {
            from: None,
            source_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: None,
            claims: None,
            authorizer: None,
        }
    }
}

/// The answer of a client of the mesh, or of the gateway that is named, as `mesh explain -o json` prints it.
pub(crate) fn outbound(
    snapshot: &Snapshot,
    asked: &Asked,
    gateway: Option<&str>,
    claims: Option<&Map<String, Json>>,
) -> Result<Json, String> {
    let request = asked.request(asked.url.clone());
    let token = token(snapshot, claims).map_err(|rejected| rejected.refusal.text().to_owned())?;
    let answer = match canonicalize(&request, snapshot.outbound_options()) {
        Ok(canonical) => match gateway {
            Some(name) => explain::outbound_at(snapshot, &canonical.view().bearing(token.as_ref()), name),
            None => explain::outbound(snapshot, &canonical.view()),
        },
        Err(reason) => explain::outbound_refused(reason),
    };
    json_of(&answer)
}

/// The answer of the server, which knows path and query (of `CONNECT` the host and port), and the host from its header.
pub(crate) fn inbound(snapshot: &Snapshot, asked: &Asked, received: &Received) -> Result<Json, String> {
    json_of(&inbound_answer(snapshot, asked, received)?)
}

/// The token that has these claims.
fn token<'s>(
    snapshot: &'s Snapshot,
    claims: Option<&Map<String, Json>>,
) -> Result<Option<VerifiedToken>, Rejected<'s>> {
    match claims {
        Some(claims) => snapshot.inbound.tokens.suppose(claims.clone()),
        None => Ok(None),
    }
}

/// The same, typed.
pub(crate) fn inbound_answer(
    snapshot: &Snapshot,
    asked: &Asked,
    received: &Received,
) -> Result<explain::Inbound, String> {
    let request = asked.as_received()?;
    let (caller, transport) = match &received.from {
        Some(id) => (Caller::Mtls(id), Transport::Tls),
        None => (Caller::Plaintext, Transport::Plain),
    };
    let port = received.port.unwrap_or_else(|| asked.port());
    let canonical = match canonicalize(&request, snapshot.inbound_options(transport)) {
        Ok(canonical) => canonical,
        Err(reason) => return Ok(explain::inbound_refused(snapshot, reason, caller, port)),
    };
    if received.claims.is_none() {
        match snapshot.inbound.tokens.locate(&canonical.view()) {
            Ok(None) => {}
            Ok(Some(_)) => {
                return Err("the token of the request is not verified here: say with `claims` what it says".into());
            }
            Err(refusal) => {
                let rejected = Rejected::unread(refusal);
                return Ok(explain::inbound_token_refused(snapshot, &rejected, caller, port));
            }
        }
    }
    let token = match token(snapshot, received.claims.as_ref()) {
        Ok(token) => token,
        Err(rejected) => return Ok(explain::inbound_token_refused(snapshot, &rejected, caller, port)),
    };
    let view = canonical.view().bearing(token.as_ref());
    Ok(match received.authorizer {
        None => explain::inbound(snapshot, &view, caller, received.source_ip, port),
        Some(says) => explain::inbound_where(snapshot, &view, caller, (received.source_ip, port), says),
    })
}

impl Asked {
    /// The request with this target.
    pub(crate) fn request(&self, target: Uri) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = target;
        *request.headers_mut() = self.headers.clone();
        request
    }

    fn as_received(&self) -> Result<Request<()>, String> {
        let authority = self.url.authority();
        let target = match self.url.path_and_query().map_or("/", |target| target.as_str()) {
            "/" if self.method == Method::CONNECT => authority.map_or("/", |authority| authority.as_str()),
            target => target,
        };
        let mut request = self.request(target.parse::<Uri>().map_err(|error| error.to_string())?);
        let host = authority.map(|authority| HeaderValue::from_str(authority.as_str()));
        if let Some(Ok(host)) = host.filter(|_| !request.headers().contains_key(HOST)) {
            request.headers_mut().insert(HOST, host);
        }
        Ok(request)
    }

    /// The port of the URL, or that of its scheme.
    fn port(&self) -> u16 {
        let of_scheme = if self.url.scheme_str() == Some("https") {
            443
        } else {
            80
        };
        self.url.port_u16().unwrap_or(of_scheme)
    }
}

fn json_of(answer: &impl serde::Serialize) -> Result<Json, String> {
    serde_json::to_value(answer).map_err(|error| error.to_string())
}
