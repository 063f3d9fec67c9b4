//! What becomes of a request that comes in.

use serde::Serialize;

use super::{Asks, AuthorizerSays, Place, asked};
use crate::decide::authz::{Decision, Peer};
use crate::decide::jwt::Rejected;
use crate::identity::SpiffeId;
use crate::policy::model::Origin;
use crate::policy::model::identity::MtlsMode;
use crate::request::{BadRequest, RequestView};
use crate::snapshot::Snapshot;

/// How a request reaches this workload.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Caller<'a> {
    /// Over mTLS, with this identity.
    Mtls(&'a SpiffeId),
    /// In plain text.
    Plaintext,
}

/// What becomes of a request that this workload receives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Inbound {
    /// `inbound`.
    pub direction: &'static str,
    /// `allow`, `deny`, or `ask` where it is an external authorizer's to decide.
    pub decision: &'static str,
    /// 200, 403 (also where the connection is refused), or what a request without an unambiguous form is answered with (400, 405 or 501).
    pub status: u16,
    /// What the port takes.
    pub mtls: MtlsMode,
    /// The deciding policy's name.
    pub policy: Option<String>,
    /// The deciding rule, from 0.
    pub rule: Option<usize>,
    /// Where the deciding rule or policy was written.
    pub origin: Option<Place>,
    /// Who is asked about the request, where somebody is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asks: Option<Asks>,
    /// The policy and rule that mark the request, where one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audited: Option<String>,
    /// What the policies on trial would decide, where there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial: Option<Trial>,
    /// Issuer and subject of the token, where the request bears one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_principal: Option<String>,
    /// The paths that rules were asked about, where the one that is forwarded may be taken for others; all must be allowed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// The same in a sentence.
    pub reason: String,
}

/// What the policies on trial would decide if there were no others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Trial {
    /// `allow` or `deny`.
    pub decision: &'static str,
    /// The deciding policy's name.
    pub policy: Option<String>,
    /// The same in a sentence.
    pub reason: String,
}

/// Explains a request that this workload receives from `address` on `port`.
#[must_use]
pub fn inbound(
    snapshot: &Snapshot,
    request: &RequestView<'_>,
    caller: Caller<'_>,
    address: std::net::IpAddr,
    port: u16,
) -> Inbound {
    let (mtls, identity) = match connection(snapshot, caller, port) {
        Ok(connection) => connection,
        Err(refused) => return *refused,
    };
    decided(snapshot, request, Peer::new(identity, address, port), mtls, None)
}

/// The same where an external authorizer, if one is asked, says this.
#[must_use]
pub fn inbound_where(
    snapshot: &Snapshot,
    request: &RequestView<'_>,
    caller: Caller<'_>,
    (address, port): (std::net::IpAddr, u16),
    says: AuthorizerSays,
) -> Inbound {
    match connection(snapshot, caller, port) {
        Ok((mtls, identity)) => decided(snapshot, request, Peer::new(identity, address, port), mtls, Some(says)),
        Err(refused) => *refused,
    }
}

/// Explains a request on `port` that this workload's server refuses before any rule is asked.
#[must_use]
pub fn inbound_refused(snapshot: &Snapshot, reason: BadRequest, caller: Caller<'_>, port: u16) -> Inbound {
    match connection(snapshot, caller, port) {
        Ok((mtls, _)) => Inbound {
            status: reason.status().as_u16(),
            ..refused(mtls, &Origin::default(), &reason.to_string())
        },
        Err(refused) => *refused,
    }
}

/// Explains a request on `port` whose token is refused.
#[must_use]
pub fn inbound_token_refused(snapshot: &Snapshot, rejected: &Rejected<'_>, caller: Caller<'_>, port: u16) -> Inbound {
    let origin = rejected.rule.map(|rule| rule.origin.clone()).unwrap_or_default();
    match connection(snapshot, caller, port) {
        Ok((mtls, _)) => Inbound {
            status: rejected.refusal.status().as_u16(),
            policy: rejected.rule.map(|rule| rule.policy.to_string()),
            ..refused(mtls, &origin, rejected.refusal.text())
        },
        Err(refused) => *refused,
    }
}

/// What the port takes and who the caller is; the refusal where the two do not fit.
fn connection<'a>(
    snapshot: &Snapshot,
    caller: Caller<'a>,
    port: u16,
) -> Result<(MtlsMode, Option<&'a SpiffeId>), Box<Inbound>> {
    let (mtls, origin) = snapshot.inbound.mtls(port);
    let mtls = *mtls;
    let reason = match (caller, mtls) {
        (Caller::Plaintext, MtlsMode::Strict) => "the port takes mTLS only (STRICT), and the caller uses plain text",
        (Caller::Mtls(_), MtlsMode::Disable) => "the port takes plain text only (DISABLE), and the caller uses mTLS",
        (Caller::Mtls(identity), _) => return Ok((mtls, Some(identity))),
        (Caller::Plaintext, _) => return Ok((mtls, None)),
    };
    Err(Box::new(refused(mtls, origin, reason)))
}

fn refused(mtls: MtlsMode, origin: &Origin, reason: &str) -> Inbound {
    Inbound {
        direction: "inbound",
        decision: "deny",
        status: 403,
        mtls,
        policy: None,
        rule: None,
        origin: Place::new(origin),
        asks: None,
        audited: None,
        trial: None,
        request_principal: None,
        paths: Vec::new(),
        reason: reason.into(),
    }
}

fn decided(
    snapshot: &Snapshot,
    request: &RequestView<'_>,
    peer: Peer<'_>,
    mtls: MtlsMode,
    says: Option<AuthorizerSays>,
) -> Inbound {
    let authorizer = &snapshot.inbound.authorizer;
    let explained = match authorizer.question(request, &peer) {
        Some(question) => asked::explain(snapshot, request, peer, mtls, (&question, says)),
        None => of_decision(&authorizer.authorize(request, &peer), mtls),
    };
    let principal = request.token.and_then(|token| token.principal());
    Inbound {
        request_principal: principal.map(str::to_owned),
        paths: paths(request),
        ..explained
    }
}

pub(super) fn of_decision(decision: &Decision<'_>, mtls: MtlsMode) -> Inbound {
    Inbound {
        direction: "inbound",
        decision: decision.verdict().as_str(),
        status: decision.status().as_u16(),
        mtls,
        policy: decision.policy().map(str::to_owned),
        rule: decision.rule_index(),
        origin: decision.origin().and_then(Place::new),
        asks: None,
        audited: decision
            .audited()
            .map(|rule| format!("rule {} of policy `{}`", rule.index, rule.policy)),
        trial: decision.trial().map(|trial| Trial {
            decision: trial.verdict().as_str(),
            policy: trial.policy().map(str::to_owned),
            reason: trial.to_string(),
        }),
        request_principal: None,
        paths: Vec::new(),
        reason: decision.to_string(),
    }
}

/// The path that is forwarded and its readings, where it has any.
fn paths(request: &RequestView<'_>) -> Vec<String> {
    match request.readings {
        [] => Vec::new(),
        readings => std::iter::once(request.path.to_owned())
            .chain(readings.iter().cloned())
            .collect(),
    }
}
