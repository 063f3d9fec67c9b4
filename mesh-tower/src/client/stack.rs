//! The order of the way out, stated once.
//!
//! | step | why it stands here |
//! |---|---|
//! | 1. trace, log, metrics ([`Exchange`]) | they must see every ending, refusals included |
//! | 2. canonical view | what is matched is what is sent |
//! | 3. route, split | one draw a request: its retries stay with the target that was drawn |
//! | 4. deadline | everything below is inside of the route's timeout |
//! | 5. retries, with budget | around the limits below, so that a full pool is not mistaken for a broken server |
//! | 6. pick, limit on requests | each try asks anew, and avoids endpoints that have failed it |
//! | 7. per-try timeout | one try, connecting included |
//! | 8. connect or reuse, send | |
//!
//! Steps 1 to 5 are here, 6 to 8 in [`attempt`](super::attempt). All of it is one future.

use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderName;
use http::{HeaderValue, Request, Response};
use mesh_core::decide::deadline::{Deadline, format_grpc_timeout, grpc_timeout};
use mesh_core::decide::retry::{Repeat, default_policy};
use mesh_core::decide::route::{RouteResult, Selected};
use mesh_core::outcome::Outcome;
use mesh_core::policy::model::OutboundMode;
use mesh_core::policy::model::traffic::RetryPolicy;
use mesh_core::request::{BadRequest, Options, RequestView, canonicalize};
use mesh_core::snapshot::{Snapshot, Target};
use tracing::Instrument;

use super::attempt::Tries;
use super::clusters::{ClusterRuntime, Readiness};
use super::error::Error;
use super::exchange::Exchange;
use crate::body::Body;
use crate::mesh::{Live, Shared};
use crate::telemetry::metrics::{Destination, Party, Reporter};

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Whose routes a request follows.
#[derive(Clone, Debug)]
pub(crate) enum Via {
    /// Those of the mesh's clients.
    Mesh,
    /// Those of a gateway's port.
    Gateway {
        /// The port as the policy numbers it.
        port: u16,
    },
}

impl Via {
    /// Gateways of one process may share a port: the first that knows the host decides.
    fn route<'a>(&self, snapshot: &'a Snapshot, view: &RequestView<'_>) -> RouteResult<'a> {
        let Self::Gateway { port } = self else {
            return snapshot.outbound.route(view);
        };
        let ports = snapshot.gateways.iter().flat_map(|gateway| &gateway.ports);
        let found = ports
            .filter(|server| server.number == *port)
            .map(|server| server.router.route(view));
        let mut known = found.filter(|found| !matches!(found, RouteResult::UnknownHost));
        known.next().unwrap_or(RouteResult::UnknownHost)
    }
}

/// Where a request goes, and within which limits.
pub(super) struct Plan {
    pub(super) cluster: Arc<ClusterRuntime>,
    pub(super) retry: Arc<RetryPolicy>,
    pub(super) deadline: Deadline,
    pub(super) repeat: Repeat,
}

/// Sends a request by the policy that is in force now.
///
/// # Cancel safety
///
/// Dropping the future gives up the request; permits return, nothing is counted against an endpoint.
pub(crate) async fn exchange(
    shared: Arc<Shared>,
    via: Via,
    mut request: Request<Body>,
) -> Result<Response<Body>, Error> {
    let live = shared.live.load_full();
    let mut exchange = Exchange::begin(&shared, live.snapshot.generation, &mut request);
    let span = exchange.span.span().clone();
    let sent = async {
        let plan = plan(&live, &via, &mut request, &mut exchange)?;
        ready(&plan).await?;
        plan.cluster.state.budget().deposit(exchange.start);
        Tries::new(&plan, &exchange, request).run(&mut exchange).await
    };
    match sent.instrument(span).await {
        Ok(answer) => Ok(answer.settle_later(exchange)),
        Err(error) => Err(refuse(exchange, error)),
    }
}

/// The error of a request that has no response, with what is known of it.
fn refuse(mut exchange: Exchange, error: Error) -> Error {
    let outcome = error.outcome();
    let flags = exchange.flags(outcome);
    let error = error
        .with_flags(flags)
        .on_route(exchange.route.clone(), exchange.origin.clone(), exchange.attempts);
    if exchange.transport_failure.is_none() {
        let source = std::error::Error::source(&error).map(|source| source.to_string().into());
        exchange.transport_failure = source;
    }
    exchange.settle(outcome);
    error
}

fn plan(live: &Live, via: &Via, request: &mut Request<Body>, exchange: &mut Exchange) -> Result<Plan, Error> {
    let shared = Arc::clone(&exchange.shared);
    let canonical = canonicalize(&*request, Options::outbound()).map_err(|reason| bad_request(&reason))?;
    let view = canonical.view();
    let repeat = Repeat::of(view.method, view.headers);
    let dialled = view.effective_port();
    let found = via.route(&live.snapshot, &view);
    let plan = match found {
        RouteResult::Route(selected) => {
            exchange.route = Some(Arc::clone(selected.name()));
            exchange.origin = Some(selected.origin().clone());
            route(&shared, live, selected, dialled).map(|(cluster, target)| {
                let retry = selected
                    .retry()
                    .unwrap_or_else(|| target.retry(target.service_port(dialled)));
                let limits = limits(exchange, selected.timeout(), retry, view.headers);
                (cluster, Arc::clone(retry), limits)
            })
        }
        RouteResult::NoRoute(host) => {
            exchange.fallback = Some(refused_series(
                &shared,
                &Destination::of_host(&host.name, &live.snapshot.workload.namespace),
            ));
            let message = format!("no route of `{}` matches {} {}", host.name, view.method, view.path);
            Err(Error::new(Outcome::NoRoute).message(message))
        }
        _ => unknown_host(&shared, live, via, &view).map(|cluster| {
            let retry = Arc::new(default_policy());
            let limits = limits(exchange, None, &retry, view.headers);
            (cluster, retry, limits)
        }),
    };
    if let Err(error) = &plan
        && error.outcome() == Outcome::UnknownHost
    {
        exchange.fallback = Some(refused_series(&shared, &Destination::black_hole()));
    }
    let (cluster, retry, deadline) = plan?;
    exchange.cluster = Some(Arc::clone(&cluster));
    if let Some(uri) = canonical.into_rewritten() {
        *request.uri_mut() = uri;
    }
    send_deadline_on(request, exchange, &deadline);
    Ok(Plan {
        cluster,
        retry,
        deadline,
        repeat,
    })
}

fn bad_request(reason: &BadRequest) -> Error {
    Error::new(Outcome::BadRequest).message(format!("request cannot be sent: {reason}"))
}

/// The cluster of the target that the split draws.
fn route<'a>(
    shared: &Shared,
    live: &'a Live,
    selected: Selected<'a>,
    dialled: u16,
) -> Result<(Arc<ClusterRuntime>, &'a Target), Error> {
    let nowhere = || Error::new(Outcome::NoService).message("every destination of the route has weight 0");
    let index = selected.route.targets.draw(&mut &shared.entropy).ok_or_else(nowhere)?;
    let known = live.snapshot.target(index).zip(live.targets.get(index));
    let (target, runtime) = known.ok_or_else(nowhere)?;
    let cluster = shared
        .clusters
        .of_target(&live.snapshot, target, runtime, dialled)
        .ok_or_else(|| {
            let subset = target.subset.as_deref().unwrap_or_default();
            Error::new(Outcome::NoService).message(format!(
                "no policy defines the subset `{subset}` of `{}`",
                target.service
            ))
        })?;
    Ok((cluster, target))
}

/// A host that no policy names: forwarded as it is, if the mesh allows that. Gateways never do.
fn unknown_host(shared: &Shared, live: &Live, via: &Via, view: &RequestView<'_>) -> Result<Arc<ClusterRuntime>, Error> {
    match (via, live.snapshot.mesh.outbound) {
        (Via::Gateway { .. }, _) => {
            let message = format!("no route of this gateway is for the host `{}`", view.host);
            Err(Error::new(Outcome::NoRoute).message(message))
        }
        (Via::Mesh, OutboundMode::AllowAny) if view.scheme == "http" => {
            Ok(shared.clusters.passthrough(view.host, view.effective_port()))
        }
        (Via::Mesh, OutboundMode::AllowAny) => {
            let message = format!(
                "no policy names `{}`, and `{}` outside of the policy is not supported",
                view.host, view.scheme
            );
            Err(Error::new(Outcome::UnknownHost).message(message))
        }
        _ => {
            let message = format!(
                "no policy names `{}`, and the mesh forwards to known hosts only",
                view.host
            );
            Err(Error::new(Outcome::UnknownHost).message(message))
        }
    }
}

fn limits(exchange: &Exchange, timeout: Option<Duration>, retry: &RetryPolicy, headers: &http::HeaderMap) -> Deadline {
    // A timeout that cannot be read is the server's to refuse.
    let own = exchange
        .is_grpc()
        .then(|| grpc_timeout(headers).ok().flatten())
        .flatten();
    Deadline::new(exchange.start, timeout, retry.per_try_timeout).with_caller_limit(own)
}

/// A gRPC server stops its work when nobody waits for it any more.
fn send_deadline_on(request: &mut Request<Body>, exchange: &Exchange, deadline: &Deadline) {
    let Some(remaining) = deadline.remaining(exchange.start).filter(|_| exchange.is_grpc()) else {
        return;
    };
    if let Ok(value) = HeaderValue::try_from(format_grpc_timeout(remaining)) {
        request.headers_mut().insert(GRPC_TIMEOUT, value);
    }
}

fn refused_series(shared: &Shared, service: &Destination) -> crate::telemetry::metrics::SeriesGroup {
    shared
        .metrics
        .group(Reporter::Source, &shared.us, &Party::unknown(), service)
}

/// Waits for the first answer of DNS, within the limits of the request.
async fn ready(plan: &Plan) -> Result<(), Error> {
    if plan.cluster.is_ready() {
        return Ok(());
    }
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
