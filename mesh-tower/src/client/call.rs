//! Calls that the mesh makes on its own account, to a target that the policy names.
//!
//! They take the way of any other request from the pick of an endpoint on: balancing, mTLS by policy, connection limits,
//! retries with their budget, outlier detection, metrics, access log. Routes, faults and mirrors are not asked, since the
//! policy says where they go.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use mesh_core::decide::deadline::Deadline;
use mesh_core::decide::retry::Repeat;
use mesh_core::outcome::Outcome;
use mesh_core::policy::model::Origin;
use tracing::Instrument;

use super::attempt::Tries;
use super::error::Error;
use super::exchange::Exchange;
use super::stack::{Plan, ready, refuse};
use crate::body::Body;
use crate::brought::Brought;
use crate::mesh::{Live, Shared};

/// Where a call goes.
pub(crate) struct Callee<'a> {
    /// The index of the snapshot's target.
    pub(crate) target: usize,
    pub(crate) port: u16,
    /// For the whole exchange, the response's body included.
    pub(crate) timeout: Duration,
    /// What the access log calls the route.
    pub(crate) name: &'a Arc<str>,
    /// Where the policy says so.
    pub(crate) origin: &'a Origin,
}

/// Sends a request to a target of the policy that is in force.
///
/// # Cancel safety
///
/// Dropping the future gives up the request; permits return, nothing is counted against an endpoint.
pub(crate) async fn call(
    shared: &Arc<Shared>,
    live: &Live,
    callee: Callee<'_>,
    mut request: Request<Body>,
) -> Result<Response<Body>, Error> {
    let brought = Brought::by(request.headers());
    let mut exchange = Exchange::begin(Arc::clone(shared), &live.snapshot, &mut request, brought);
    exchange.route = Some(Arc::clone(callee.name));
    exchange.origin = Some(callee.origin.clone());
    let span = exchange.span.span().clone();
    let Some(plan) = plan(shared, live, &callee, &mut exchange) else {
        return Err(refuse(exchange, Error::new(Outcome::NoService)));
    };
    let answered = async {
        ready(&plan).await?;
        let now = shared.clock.now();
        plan.cluster.state.budget().deposit(now);
        let mut tries = Tries::new(&plan, &exchange, Box::new(request));
        tries.run(&mut exchange, now).await
    };
    match answered.instrument(span).await {
        Ok(response) => Ok(exchange.settle_later(response, &plan.deadline)),
        Err(error) => Err(refuse(exchange, error)),
    }
}

/// What is asked changes nothing, so that it may be asked again within its time.
fn plan(shared: &Shared, live: &Live, callee: &Callee<'_>, exchange: &mut Exchange) -> Option<Plan> {
    let (target, runtime) = live
        .snapshot
        .target(callee.target)
        .zip(live.targets.get(callee.target))?;
    let cluster = shared
        .clusters
        .of_target(&live.snapshot, target, runtime, callee.port)?;
    exchange.cluster = Some(Arc::clone(&cluster));
    let retry = Arc::clone(target.retry(target.service_port(callee.port)));
    Some(Plan {
        cluster,
        deadline: Deadline::new(exchange.start, Some(callee.timeout), retry.per_try_timeout),
        retry,
        repeat: Repeat::Safe,
    })
}
