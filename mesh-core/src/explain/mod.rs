//! Why a request goes where it goes: the decisions of a [`Snapshot`], told in full.
//!
//! The answers come from the look-ups that serve traffic; there is no second evaluator. Both forms
//! serialize to the JSON that `mesh explain -o json` prints.

mod asked;
mod filters;
mod inbound;

pub use crate::decide::shape::HeaderChange;
pub use asked::{Asks, AuthorizerSays};
pub use filters::{Cors, DirectResponse, Fault, HeaderChanges, Mirror, Redirect};
pub use inbound::{Caller, Inbound, Trial, inbound, inbound_refused, inbound_token_refused, inbound_where};

use serde::Serialize;

use crate::decide::retry::{BY_CLASS, BY_DEFAULT};
use crate::decide::route::string::more_specific;
use crate::decide::route::{Choice, RouteResult, Selected, VirtualHost};
use crate::outcome::Outcome;
use crate::policy::model::traffic::{RetryOn, RetryPolicy};
use crate::policy::model::{Origin, OutboundMode};
use crate::request::{BadRequest, RequestView};
use crate::snapshot::{GatewayConfig, Snapshot, Target, TargetEndpoints};

/// A place in a policy file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
}

impl Place {
    /// The place, unless no file says it.
    #[must_use]
    pub fn new(origin: &Origin) -> Option<Self> {
        (origin.line > 0).then(|| Self {
            file: origin.file.to_string(),
            line: origin.line,
        })
    }
}

/// What becomes of a request that this workload sends, or that its gateway takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Outbound {
    /// `outbound`.
    pub direction: &'static str,
    /// `routed`, `redirect`, `direct_response`, `no_route`, `unresolved` (the route names nothing that can be called), `passthrough`
    /// (a host that no policy names), `refused` (the same where the mesh forwards to known hosts only), or `bad_request` (a request without an unambiguous form).
    pub outcome: &'static str,
    /// The status of the mesh's own answer; `None` where the request goes on.
    pub status: Option<u16>,
    /// The rule's name.
    pub route: Option<String>,
    /// Where the rule was written.
    pub origin: Option<Place>,
    /// Where the rule was written that delegates to this one, where one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delegated: Option<Place>,
    /// The gateway that takes the request, where one does.
    pub gateway: Option<String>,
    /// Where it may go.
    pub destinations: Vec<Destination>,
    /// Limit for the whole exchange, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// Retries, unless there are none.
    pub retry: Option<Retry>,
    /// Where the caller is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect: Option<Redirect>,
    /// The answer that the mesh gives itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direct_response: Option<DirectResponse>,
    /// Errors that are made on purpose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// Copies of the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<Mirror>,
    /// What CORS says of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// The same in a sentence.
    pub reason: String,
}

/// One target of a route.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Destination {
    /// The service's full name.
    pub service: String,
    /// The subset.
    pub subset: Option<String>,
    /// The service port.
    pub port: u16,
    /// Its share of the requests; all shares sum to 1.
    pub share: f64,
    /// Its endpoints; empty where a subset is not defined or selects none.
    pub endpoints: Vec<String>,
    /// The path that it sees, where it is not the request's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The authority that it sees, where it is not the request's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// Changes to the headers of the request.
    #[serde(skip_serializing_if = "HeaderChanges::is_empty")]
    pub request_headers: HeaderChanges,
    /// Changes to the headers of the response.
    #[serde(skip_serializing_if = "HeaderChanges::is_empty")]
    pub response_headers: HeaderChanges,
}

/// How often and when a request is tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Retry {
    /// Further tries.
    pub attempts: u32,
    /// Limit of a single try, in milliseconds.
    pub per_try_timeout_ms: Option<u64>,
    /// Conditions and status codes.
    pub on: Vec<String>,
}

/// Explains a request that this workload's client sends; where its host is unknown and the workload serves a gateway, one that the gateway takes.
#[must_use]
pub fn outbound(snapshot: &Snapshot, request: &RequestView<'_>) -> Outbound {
    match snapshot.outbound.route(request) {
        RouteResult::Route(selected) => routed(snapshot, request, selected, None),
        RouteResult::NoRoute(host) => no_route(&host.name, request, None),
        RouteResult::UnknownHost => {
            at_gateways(snapshot, request, None).unwrap_or_else(|| unknown_host(snapshot, request))
        }
    }
}

/// Explains a request that a client refuses to send, since it has no unambiguous form.
#[must_use]
pub fn outbound_refused(reason: BadRequest) -> Outbound {
    Outbound {
        status: Some(reason.status().as_u16()),
        ..nowhere("bad_request", None, None, reason.to_string())
    }
}

/// Explains a request that the gateway of this name takes, whether or not the mesh's clients know its host.
#[must_use]
pub fn outbound_at(snapshot: &Snapshot, request: &RequestView<'_>, gateway: &str) -> Outbound {
    if !snapshot.gateways.iter().any(|known| known.name == gateway) {
        let reason = format!("this workload serves no gateway `{gateway}`");
        return nowhere("refused", Some(Outcome::UnknownHost), None, reason);
    }
    at_gateways(snapshot, request, Some(gateway)).unwrap_or_else(|| {
        let reason = format!("no route of this gateway is for the host `{}`", request.host);
        nowhere("no_route", Some(Outcome::NoRoute), Some(gateway), reason)
    })
}

fn at_gateways(snapshot: &Snapshot, request: &RequestView<'_>, gateway: Option<&str>) -> Option<Outbound> {
    let (name, host) = gateway_host(snapshot, request, gateway)?;
    Some(match host.route(request) {
        RouteResult::Route(selected) => routed(snapshot, request, selected, Some(name)),
        _ => no_route(&host.name, request, Some(name)),
    })
}

/// The virtual host that takes a request, and its gateway: of the port that the request names, or of all where there is
/// none. It is chosen as [`Snapshot::route_at_gateways`] does.
fn gateway_host<'s>(
    snapshot: &'s Snapshot,
    request: &RequestView<'_>,
    gateway: Option<&str>,
) -> Option<(&'s str, &'s VirtualHost)> {
    let named = |known: &&GatewayConfig| gateway.is_none_or(|name| known.name == name);
    let gateways = snapshot.gateways.iter().filter(named);
    let ports = gateways.flat_map(|gateway| gateway.ports.iter().map(move |port| (gateway, port)));
    let dialled = request.effective_port();
    let is_named = ports.clone().any(|(_, port)| port.number == dialled);
    ports
        .filter(|(_, port)| !is_named || port.number == dialled)
        .filter_map(|(gateway, port)| Some((gateway.name.as_str(), port.router.virtual_host(request.host)?)))
        .min_by(|(_, a), (_, b)| more_specific(&a.name, &b.name))
}

/// The rule behind [`outbound()`] or [`outbound_at`].
pub(crate) fn selected<'s>(
    snapshot: &'s Snapshot,
    request: &RequestView<'_>,
    gateway: Option<&str>,
) -> RouteResult<'s> {
    let known = |result: &RouteResult<'_>| !matches!(result, RouteResult::UnknownHost);
    let of_mesh = gateway
        .is_none()
        .then(|| snapshot.outbound.route(request))
        .filter(known);
    of_mesh.unwrap_or_else(|| match gateway_host(snapshot, request, gateway) {
        Some((_, host)) => host.route(request),
        None => RouteResult::UnknownHost,
    })
}

fn routed(snapshot: &Snapshot, request: &RequestView<'_>, selected: Selected<'_>, gateway: Option<&str>) -> Outbound {
    let shares = selected.route.shares();
    let destinations: Vec<_> = shares
        .filter_map(|(to, share)| destination(snapshot, request, to, share))
        .collect();
    let first = selected.route.shares().find_map(|(to, _)| snapshot.target(to.index()?));
    let retry = selected
        .retry()
        .or_else(|| first.map(|target| target.retry(target.service_port(request.effective_port()))));
    let answer = Outbound {
        route: Some(selected.name().to_string()),
        origin: Place::new(selected.origin()),
        delegated: selected.route.delegated.as_ref().and_then(Place::new),
        destinations,
        timeout_ms: selected.timeout().map(millis),
        retry: retry.and_then(|policy| retries(policy)),
        ..nowhere(
            "routed",
            None,
            gateway,
            format!("{}{}", chosen(&selected), dead_ends(snapshot, request, &selected)),
        )
    };
    filters::add(unresolved(answer, &selected), snapshot, request, selected.route)
}

/// Where nothing that the route names can be called, the mesh answers itself.
fn unresolved(answer: Outbound, selected: &Selected<'_>) -> Outbound {
    let mut shares = selected.route.shares().peekable();
    if shares.peek().is_none() || shares.any(|(to, _)| matches!(to, Choice::Target { .. })) {
        return answer;
    }
    Outbound {
        outcome: "unresolved",
        status: Some(Outcome::UnresolvedBackend.response_code()),
        ..answer
    }
}

fn chosen(selected: &Selected<'_>) -> String {
    match Place::new(selected.origin()) {
        Some(_) => format!("route `{}` at {}", selected.name(), selected.origin()),
        None => "the host has no routes of its own: requests go to the service that it names".into(),
    }
}

/// Destinations that answer nothing, each with what their share of the requests gets instead.
fn dead_ends(snapshot: &Snapshot, request: &RequestView<'_>, selected: &Selected<'_>) -> String {
    let ends = selected.route.shares().filter_map(|(to, _)| match to {
        Choice::Target { target, .. } => dead_end(snapshot.target(*target)?, request.effective_port()),
        Choice::Unresolved(reason) => Some(format!("a share is answered 500: {reason}")),
    });
    ends.map(|end| format!("; {end}")).collect()
}

fn dead_end(target: &Target, dialled: u16) -> Option<String> {
    let (outcome, why) = match &target.endpoints {
        TargetEndpoints::Undefined => (Outcome::NoService, "no policy defines it"),
        TargetEndpoints::Listed(endpoints) if endpoints.is_empty() => (
            Outcome::NoHealthyEndpoint,
            "no endpoint that the policy names has its labels",
        ),
        TargetEndpoints::Listed(_) if target.resolve(dialled).endpoints.is_empty() => {
            (Outcome::NoHealthyEndpoint, "none of its endpoints has the port")
        }
        TargetEndpoints::Listed(_) => return None,
    };
    let subset = match &target.subset {
        Some(subset) => format!("subset `{subset}` of `{}`", target.service),
        None => format!("`{}`", target.service),
    };
    Some(format!(
        "{subset} answers {} ({}): {why}",
        outcome.response_code(),
        outcome.flag()
    ))
}

fn destination(snapshot: &Snapshot, request: &RequestView<'_>, to: &Choice, share: f64) -> Option<Destination> {
    let Choice::Target { target, edit } = to else {
        return None;
    };
    let target = snapshot.target(*target)?;
    let port = target.service_port(request.effective_port());
    let resolved = target.resolve(request.effective_port());
    let endpoints = match target.endpoints {
        TargetEndpoints::Undefined => Vec::new(),
        TargetEndpoints::Listed(_) => resolved.endpoints.iter().map(ToString::to_string).collect(),
    };
    Some(Destination {
        service: target.service.to_string(),
        subset: target.subset.as_deref().map(str::to_owned),
        port,
        share,
        endpoints,
        path: filters::path(edit.as_deref(), request),
        authority: filters::authority(edit.as_deref()),
        request_headers: filters::changes(edit.as_deref().map(|edit| &edit.request)),
        response_headers: filters::changes(edit.as_deref().map(|edit| &edit.response)),
    })
}

fn retries(policy: &RetryPolicy) -> Option<Retry> {
    (policy.attempts > 0).then(|| Retry {
        attempts: policy.attempts,
        per_try_timeout_ms: policy.per_try_timeout.map(millis),
        on: conditions(&policy.on),
    })
}

/// As policies write them; the condition that only announces status codes says nothing beside them.
fn conditions(on: &RetryOn) -> Vec<String> {
    if let Some(classes) = &on.classes {
        let named = (!classes.is_empty()).then_some(BY_CLASS);
        return named.into_iter().chain([BY_DEFAULT]).map(str::to_owned).collect();
    }
    let written = on.to_string();
    let names = written
        .split(',')
        .filter(|name| !name.is_empty() && *name != "retriable-status-codes");
    names.map(str::to_owned).collect()
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn nowhere(outcome: &'static str, answer: Option<Outcome>, gateway: Option<&str>, reason: String) -> Outbound {
    Outbound {
        direction: "outbound",
        outcome,
        status: answer.map(Outcome::response_code),
        route: None,
        origin: None,
        delegated: None,
        gateway: gateway.map(str::to_owned),
        destinations: Vec::new(),
        timeout_ms: None,
        retry: None,
        redirect: None,
        direct_response: None,
        fault: None,
        mirrors: Vec::new(),
        cors: None,
        reason,
    }
}

fn no_route(host: &str, request: &RequestView<'_>, gateway: Option<&str>) -> Outbound {
    let reason = format!("no route of `{host}` matches {} {}", request.method, request.path);
    nowhere("no_route", Some(Outcome::NoRoute), gateway, reason)
}

fn unknown_host(snapshot: &Snapshot, request: &RequestView<'_>) -> Outbound {
    let hint = similar(snapshot, request.host);
    match snapshot.mesh.outbound {
        OutboundMode::AllowAny => {
            let mut answer = nowhere(
                "passthrough",
                None,
                None,
                format!("no policy names `{}`: it is resolved by DNS{hint}", request.host),
            );
            answer.destinations.push(Destination {
                service: request.host.into(),
                subset: None,
                port: request.effective_port(),
                share: 1.0,
                endpoints: Vec::new(),
                path: None,
                authority: None,
                request_headers: HeaderChanges::default(),
                response_headers: HeaderChanges::default(),
            });
            answer
        }
        OutboundMode::RegistryOnly => nowhere(
            "refused",
            Some(Outcome::UnknownHost),
            None,
            format!(
                "no policy names `{}`, and the mesh forwards to known hosts only{hint}",
                request.host
            ),
        ),
    }
}

/// A service of the same short name in another namespace: the usual mistake.
fn similar(snapshot: &Snapshot, host: &str) -> String {
    let prefix = format!("{host}.");
    let known = snapshot
        .outbound
        .virtual_hosts()
        .find(|known| known.name.starts_with(&prefix));
    known.map_or_else(String::new, |known| {
        format!(
            "; `{}` is known: short names are read in the caller's namespace, `{}`",
            known.name, snapshot.workload.namespace
        )
    })
}
