//! The order of the way out, stated once.
//!
//! | step | why it stands here |
//! |---|---|
//! | 1. trace, log, metrics ([`Exchange`]) | they must see every ending, refusals included |
//! | 2. canonical view | what is matched is what is sent |
//! | 3. route, split | one draw a request: its retries stay with the target that was drawn |
//! | 4. faults | what they answer has cost no server anything; a delay is no part of a timeout |
//! | 5. CORS, the rule's own answer | as above: a browser's preflight asks the mesh |
//! | 6. rewrite, headers | all below see the request as its server does |
//! | 7. deadline | everything below is inside of the route's timeout |
//! | 8. mirrors | copies of what is sent, once for all tries |
//! | 9. retries, with budget | around the limits below, so that a full pool is not mistaken for a broken server |
//! | 10. pick, limit on requests | each try asks anew, and avoids endpoints that have failed it |
//! | 11. per-try timeout | one try, connecting included |
//! | 12. connect or reuse, send | |
//!
//! Steps 1 to 9 are here (4 to 6 by [`shape`](super::shape), 8 by [`mirror`](super::mirror)), 10 to 12 in
//! [`attempt`](super::attempt). All of it is one future. The response passes 6 and 5 once more, for its own headers.

use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{Extensions, Request, Response, Version};
use mesh_core::decide::deadline::Deadline;
use mesh_core::decide::jwt::VerifiedToken;
use mesh_core::decide::retry::{Repeat, default_policy};
use mesh_core::decide::route::{Choice, RouteResult, Selected, VirtualHost};
use mesh_core::decide::shape::Edit;
use mesh_core::outcome::Outcome;
use mesh_core::policy::model::OutboundMode;
use mesh_core::policy::model::traffic::RetryPolicy;
use mesh_core::request::{BadRequest, CLIENT_CERT, Options, RequestView, Transport, canonicalize};
use mesh_core::snapshot::{Snapshot, Target};
use mesh_core::time::Timestamp;
use tracing::Instrument;

use super::attempt::Tries;
use super::clusters::{ClusterRuntime, Readiness};
use super::error::Error;
use super::exchange::Exchange;
use super::mirror;
use super::shape::{Changes, Local, Setting, shape};
use crate::body::Body;
use crate::brought::Brought;
use crate::mesh::{Live, Shared};
use crate::server::Claims;
use crate::telemetry::metrics::{Destination, Party, Reporter, SeriesGroup};

/// Retries of requests to hosts that no policy names.
static PASSTHROUGH_RETRY: LazyLock<Arc<RetryPolicy>> = LazyLock::new(|| Arc::new(default_policy()));

/// Whose routes a request follows.
#[derive(Clone, Debug)]
pub(crate) enum Via {
    /// Those of the mesh's clients.
    Mesh,
    /// Those of a gateway's port.
    Gateway {
        /// The port as the policy numbers it.
        port: u16,
        /// How the request came in, and from where; unknown where the application owns the listener.
        caller: Option<(Transport, IpAddr)>,
    },
}

impl Via {
    /// How the canonical view is made.
    fn options(&self, snapshot: &Snapshot) -> Options {
        let mut options = snapshot.outbound_options();
        if let Self::Gateway { caller, .. } = self {
            options.transport = caller.map(|(transport, _)| transport);
        }
        options
    }

    /// The port that a request came in by.
    fn port(&self, dialled: u16) -> u16 {
        match self {
            Self::Mesh => dialled,
            Self::Gateway { port, .. } => *port,
        }
    }

    /// The token that a gateway has verified. A client's own requests bear none, whatever request they stem from.
    fn token<'r>(&self, extensions: &'r Extensions) -> Option<&'r VerifiedToken> {
        match self {
            Self::Mesh => None,
            Self::Gateway { .. } => extensions.get::<Claims>().map(Claims::token),
        }
    }

    fn caller(&self) -> Option<IpAddr> {
        match self {
            Self::Gateway {
                caller: Some((_, address)),
                ..
            } => Some(*address),
            _ => None,
        }
    }

    fn route<'a>(&self, snapshot: &'a Snapshot, view: &RequestView<'_>) -> RouteResult<'a> {
        match self {
            Self::Mesh => snapshot.outbound.route(view),
            Self::Gateway { port, .. } => snapshot.route_at_gateways(*port, view),
        }
    }
}

/// Where a request goes, and within which limits.
pub(super) struct Plan {
    pub(super) cluster: Arc<ClusterRuntime>,
    pub(super) retry: Arc<RetryPolicy>,
    pub(super) deadline: Deadline,
    pub(super) repeat: Repeat,
}

/// What becomes of a request.
struct Planned {
    /// It waits this long first.
    delay: Option<Duration>,
    next: Next,
}

enum Next {
    /// The mesh answers.
    Answer(Box<Local>),
    /// A server does.
    Forward(Forward),
}

/// A request that goes on.
struct Forward {
    plan: Plan,
    /// Boxed: most rules change nothing.
    changes: Option<Box<Changes>>,
    mirrors: Vec<Arc<ClusterRuntime>>,
}

/// Sends a request by the policy that is in force now.
///
/// # Cancel safety
///
/// Dropping the future gives up the request; permits return, nothing is counted against an endpoint.
pub(crate) async fn exchange(
    shared: Arc<Shared>,
    via: Via,
    mut request: Box<Request<Body>>,
) -> Result<Response<Body>, Error> {
    let (mut exchange, planned) = begin(shared, &via, &mut request);
    let Planned { delay, next } = match planned {
        Ok(planned) => planned,
        Err(error) => return Err(refuse(exchange, error)),
    };
    let mut now = exchange.start;
    if let Some(pause) = delay {
        exchange.is_delayed = true;
        tokio::time::sleep(pause).await;
        now = exchange.shared.clock.now();
    }
    let span = exchange.span.span().clone();
    let Forward { plan, changes, mirrors } = match next {
        Next::Answer(local) => return Ok(local.settle(exchange)),
        Next::Forward(forward) => forward,
    };
    if !plan.cluster.is_ready() {
        if let Err(error) = first_answer(&plan).instrument(span.clone()).await {
            return Err(refuse(exchange, error));
        }
        now = exchange.shared.clock.now();
    }
    // What it waited for may have taken longer than a deposit lasts.
    plan.cluster.state.budget().deposit(now);
    let request = span.in_scope(|| mirror::send_copies(request, mirrors, &exchange, plan.deadline));
    let mut tries = Tries::new(&plan, &exchange, request);
    // ORDER: pinned first, so that instrumenting moves no state.
    let tried = pin!(tries.run(&mut exchange, now)).instrument(span).await;
    match tried {
        Ok(response) => {
            let mut response = exchange.settle_later(response, &plan.deadline);
            if let Some(changes) = changes {
                changes.finish(&mut response);
            }
            Ok(response)
        }
        Err(error) => Err(refuse(exchange, error)),
    }
}

/// All that the snapshot is asked for. It is not held for longer.
fn begin(shared: Arc<Shared>, via: &Via, request: &mut Request<Body>) -> (Box<Exchange>, Result<Planned, Error>) {
    let live = shared.live.load();
    let brought = Brought::by(request.headers());
    if let Via::Mesh = via
        && brought.managed
    {
        // An application that hands the headers of its caller on would speak for that caller.
        request.headers_mut().remove(CLIENT_CERT);
    }
    let mut exchange = Exchange::begin(shared, &live.snapshot, request, brought);
    let span = exchange.span.span().clone();
    let planned = span.in_scope(|| plan(&live, via, request, &mut exchange));
    (exchange, planned)
}

/// The error of a request that has no response, with what is known of it.
pub(super) fn refuse(mut exchange: Box<Exchange>, error: Error) -> Error {
    let outcome = error.outcome();
    let flags = exchange.flags(outcome);
    let error = error.with_flags(flags).of_grpc(exchange.is_grpc()).on_route(
        exchange.route.clone(),
        exchange.origin.clone(),
        exchange.attempts,
    );
    if exchange.transport_failure.is_none() {
        let source = std::error::Error::source(&error).map(|source| source.to_string().into());
        exchange.transport_failure = source;
    }
    exchange.settle(outcome);
    error
}

fn plan(live: &Live, via: &Via, request: &mut Request<Body>, exchange: &mut Exchange) -> Result<Planned, Error> {
    let canonical = canonicalize(&*request, via.options(&live.snapshot)).map_err(|reason| bad_request(&reason))?;
    let view = canonical.view().bearing(via.token(request.extensions()));
    let arrived = Arrived {
        live,
        via,
        view,
        version: request.version(),
        path_and_query: request.uri().path_and_query().map_or("/", PathAndQuery::as_str),
        caller_limit: canonical.grpc_timeout(),
    };
    let planned = match via.route(&live.snapshot, &view) {
        RouteResult::Route(selected) => routed(&arrived, selected, exchange),
        RouteResult::NoRoute(host) => Err(no_route(&arrived, host, exchange)),
        _ => unknown_host(&arrived, exchange),
    };
    let planned = planned?;
    if let Some(uri) = canonical.into_rewritten() {
        *request.uri_mut() = uri;
    }
    if let Next::Forward(forward) = &planned.next
        && let Some(changes) = &forward.changes
    {
        changes.apply(request)?;
    }
    Ok(planned)
}

/// A request as it came, while its target is looked for.
#[derive(Clone, Copy)]
struct Arrived<'a> {
    live: &'a Live,
    via: &'a Via,
    view: RequestView<'a>,
    version: Version,
    path_and_query: &'a str,
    /// How long its caller waits, where it says so.
    caller_limit: Option<Duration>,
}

impl<'a> Arrived<'a> {
    fn setting(&self, route: &'a str, hostname: &'a str) -> Setting<'a> {
        Setting {
            version: self.version,
            path_and_query: self.path_and_query,
            port: self.via.port(self.view.effective_port()),
            caller: self.via.caller(),
            route,
            hostname,
        }
    }

    /// The limits of a request that is sent from `start` on.
    fn deadline(&self, start: Timestamp, timeout: Option<Duration>, retry: &RetryPolicy) -> Deadline {
        Deadline::new(start, timeout, retry.per_try_timeout).with_caller_limit(self.caller_limit)
    }

    /// A request that goes on as it is.
    fn forward(&self, cluster: Arc<ClusterRuntime>, retry: Arc<RetryPolicy>, deadline: Deadline) -> Forward {
        let repeat = Repeat::of(self.view.method, self.view.headers);
        Forward {
            plan: Plan {
                cluster,
                retry,
                deadline,
                repeat,
            },
            changes: None,
            mirrors: Vec::new(),
        }
    }
}

/// What the rule makes of its request: an answer, or a request to the target that the split draws.
fn routed(arrived: &Arrived<'_>, selected: Selected<'_>, exchange: &mut Exchange) -> Result<Planned, Error> {
    let shared = &exchange.shared;
    let (live, view) = (arrived.live, &arrived.view);
    exchange.route = Some(Arc::clone(selected.name()));
    exchange.origin = Some(selected.origin().clone());
    let setting = arrived.setting(selected.name(), &shared.hostname);
    let rule = selected.route.shape.as_deref();
    let mut shaped = rule
        .map(|rule| shape(rule, view, setting, &mut &shared.entropy))
        .unwrap_or_default();
    let delay = shaped.delay;
    if let Some(local) = shaped.answer.take() {
        exchange.fallback = Some(host_series(shared, live, &selected.host.name));
        let next = Next::Answer(Box::new(local));
        return Ok(Planned { delay, next });
    }
    let dialled = view.effective_port();
    let (cluster, target, edit) = target(shared, live, selected, dialled)
        .inspect_err(|_| exchange.fallback = Some(host_series(shared, live, &selected.host.name)))?;
    exchange.cluster = Some(Arc::clone(&cluster));
    let retry = selected
        .retry()
        .unwrap_or_else(|| target.retry(target.service_port(dialled)));
    let start = exchange.start + delay.unwrap_or_default();
    let deadline = arrived.deadline(start, selected.timeout(), retry);
    let mut forward = arrived.forward(cluster, Arc::clone(retry), deadline);
    if let Some(rule) = rule {
        forward.mirrors = mirror::draw(rule, shared, live, dialled);
    }
    if rule.is_some() || edit.is_some() {
        forward.changes = Some(Box::new(Changes::new(edit.cloned(), shaped, view, setting)));
    }
    let next = Next::Forward(forward);
    Ok(Planned { delay, next })
}

fn no_route(arrived: &Arrived<'_>, host: &VirtualHost, exchange: &mut Exchange) -> Error {
    exchange.fallback = Some(host_series(&exchange.shared, arrived.live, &host.name));
    let view = &arrived.view;
    let message = format!("no route of `{}` matches {} {}", host.name, view.method, view.path);
    Error::new(Outcome::NoRoute).message(message)
}

fn bad_request(reason: &BadRequest) -> Error {
    Error::new(Outcome::BadRequest).message(format!("request cannot be sent: {reason}"))
}

/// A target, its cluster, and what is changed on the way there.
type Drawn<'a> = (Arc<ClusterRuntime>, &'a Target, Option<&'a Arc<Edit>>);

/// Where the split sends a request.
fn target<'a>(shared: &Shared, live: &'a Live, selected: Selected<'a>, dialled: u16) -> Result<Drawn<'a>, Error> {
    let nowhere = || Error::new(Outcome::NoService).message("every destination of the route has weight 0");
    let drawn = selected.route.draw(&mut &shared.entropy).ok_or_else(nowhere)?;
    let (index, edit) = match drawn {
        Choice::Target { target, edit } => (*target, edit.as_ref()),
        Choice::Unresolved(reason) => {
            return Err(Error::new(Outcome::UnresolvedBackend).message(reason.to_string()));
        }
    };
    let known = live.snapshot.target(index).zip(live.targets.get(index));
    let (target, runtime) = known.ok_or_else(nowhere)?;
    let cluster = shared.clusters.of_target(&live.snapshot, target, runtime, dialled);
    Ok((cluster.ok_or_else(|| undefined(target))?, target, edit))
}

fn undefined(target: &Target) -> Error {
    let subset = target.subset.as_deref().unwrap_or_default();
    let message = format!("no policy defines the subset `{subset}` of `{}`", target.service);
    Error::new(Outcome::NoService).message(message)
}

/// A host that no policy names: forwarded as it is, if the mesh allows that. Gateways never do.
fn unknown_host(arrived: &Arrived<'_>, exchange: &mut Exchange) -> Result<Planned, Error> {
    let shared = Arc::clone(&exchange.shared);
    let view = &arrived.view;
    let mut unknown = |message: String| {
        exchange.fallback = Some(refused_series(&shared, &Destination::black_hole()));
        Err(Error::new(Outcome::UnknownHost).message(message))
    };
    match (arrived.via, arrived.live.snapshot.mesh.outbound) {
        (Via::Gateway { .. }, _) => {
            let message = format!("no route of this gateway is for the host `{}`", view.host);
            Err(Error::new(Outcome::NoRoute).message(message))
        }
        (Via::Mesh, OutboundMode::AllowAny) if view.scheme == "http" => {
            let port = view.effective_port();
            let cluster = shared.clusters.passthrough(view.host, port, exchange.start);
            let retry = Arc::clone(&PASSTHROUGH_RETRY);
            let deadline = arrived.deadline(exchange.start, None, &retry);
            exchange.cluster = Some(Arc::clone(&cluster));
            let forward = arrived.forward(cluster, retry, deadline);
            let next = Next::Forward(forward);
            Ok(Planned { delay: None, next })
        }
        (Via::Mesh, OutboundMode::AllowAny) => unknown(format!(
            "no policy names `{}`, and `{}` outside of the policy is not supported",
            view.host, view.scheme
        )),
        _ => unknown(format!(
            "no policy names `{}`, and the mesh forwards to known hosts only",
            view.host
        )),
    }
}

/// Where requests to a host are counted that reach no cluster.
fn host_series(shared: &Shared, live: &Live, host: &str) -> SeriesGroup {
    let made = || refused_series(shared, &Destination::of_host(host, &live.snapshot.workload.namespace));
    let known = live.refused.get(host);
    known.map_or_else(made, |known| known.get_or_init(made).clone())
}

fn refused_series(shared: &Shared, service: &Destination) -> SeriesGroup {
    shared
        .metrics
        .group(Reporter::Source, &shared.us, &Party::unknown(), service)
}

/// Waits for the first answer of DNS, within the limits of the request.
pub(super) async fn ready(plan: &Plan) -> Result<(), Error> {
    match plan.cluster.is_ready() {
        true => Ok(()),
        false => first_answer(plan).await,
    }
}

/// Boxed: it happens once.
fn first_answer(plan: &Plan) -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send + '_>> {
    Box::pin(until_first_answer(plan))
}

async fn until_first_answer(plan: &Plan) -> Result<(), Error> {
    let clock = crate::clock::Clock::new();
    let connect = clock.now() + plan.cluster.state.settings().limits.connect_timeout;
    let (at, outcome) = match plan.deadline.request() {
        Some(request) if request < connect => (request, Outcome::RequestTimeout),
        _ => (connect, Outcome::DnsFailure),
    };
    match tokio::time::timeout_at(clock.instant(at), plan.cluster.ready()).await {
        Ok(Readiness::Failed(reason)) => Err(Error::new(Outcome::DnsFailure).message(reason.to_string())),
        Ok(_) => Ok(()),
        Err(_) => Err(Error::new(outcome).message(format!("DNS did not answer in time for `{}`", plan.cluster.name))),
    }
}
