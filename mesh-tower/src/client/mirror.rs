//! Copies of requests, whose answers nobody waits for.
//!
//! A copy is sent once, beside the request itself, with the same headers and body. Its response is read to the end and
//! dropped. A copy counts for the cluster that it goes to (limits, outlier detection), and for nothing else: no metrics of
//! requests, no access log, no retries. It gets the body as the request itself streams it, and is given up where that turns
//! out to be beyond the replay limit, or ends before its end.

use std::sync::Arc;

use http::Request;
use http_body_util::BodyExt;
use mesh_core::decide::deadline::Deadline;
use mesh_core::decide::retry::Repeat;
use mesh_core::decide::shape::{Shape, hits};
use mesh_core::policy::model::Origin;
use mesh_core::policy::model::traffic::{RetryOn, RetryPolicy};

use super::attempt::Tries;
use super::clusters::ClusterRuntime;
use super::exchange::Exchange;
use super::stack::{Plan, ready};
use super::tee::split;
use crate::body::Body;
use crate::mesh::{Live, Shared};

/// The clusters that a request is copied to; one draw for each mirror.
pub(super) fn draw(shape: &Shape, shared: &Shared, live: &Live, dialled: u16) -> Vec<Arc<ClusterRuntime>> {
    let drawn = shape
        .mirrors
        .iter()
        .filter(|(_, share)| hits(*share, &mut &shared.entropy));
    let known = drawn.filter_map(|(index, _)| {
        let (target, runtime) = live.snapshot.target(*index).zip(live.targets.get(*index))?;
        shared.clusters.of_target(&live.snapshot, target, runtime, dialled)
    });
    known.collect()
}

/// Sends copies of a request; the request that comes back is to be sent itself.
pub(super) fn send_copies(
    request: Box<Request<Body>>,
    clusters: Vec<Arc<ClusterRuntime>>,
    exchange: &Exchange,
    deadline: Deadline,
) -> Box<Request<Body>> {
    if clusters.is_empty() {
        return request;
    }
    let (parts, body) = request.into_parts();
    let (body, copies) = split(body, clusters.len(), exchange.shared.settings.replay_limit);
    for (cluster, copy) in clusters.into_iter().zip(copies) {
        let request = Box::new(Request::from_parts(parts.clone(), copy));
        let plan = copy_plan(cluster, deadline);
        tokio::spawn(send(plan, exchange.beside(), request));
    }
    Box::new(Request::from_parts(parts, body))
}

/// The request's own deadline, and no further try.
fn copy_plan(cluster: Arc<ClusterRuntime>, deadline: Deadline) -> Plan {
    Plan {
        cluster,
        retry: Arc::new(RetryPolicy::new(0, RetryOn::default(), Origin::default())),
        deadline,
        repeat: Repeat::Unsafe,
    }
}

async fn send(plan: Plan, mut exchange: Box<Exchange>, request: Box<Request<Body>>) {
    // The end of its response is judged as that of any other.
    exchange.cluster = Some(Arc::clone(&plan.cluster));
    if ready(&plan).await.is_err() {
        return;
    }
    let now = exchange.shared.clock.now();
    let mut tries = Tries::new(&plan, &exchange, request);
    if let Ok(response) = tries.run(&mut exchange, now).await {
        let mut body = exchange.settle_later(response, &plan.deadline).into_body();
        while let Some(Ok(_)) = body.frame().await {}
    }
}
