//! What a route does to a request, beside choosing where it goes.

use serde::Serialize;

use super::{Outbound, millis};
use crate::decide::route::Route;
use crate::decide::shape::{
    CorsDecision, CorsPolicy, Edit, HeaderChange, HeaderEdit, LocalAnswer, LocalAnswerKind, location,
};
use crate::policy::model::filter::{Abort, DirectResponse as Direct, Fault as FaultPolicy, Fraction};
use crate::request::RequestView;
use crate::snapshot::Snapshot;

/// Where a caller is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Redirect {
    /// The status.
    pub status: u16,
    /// `Location`.
    pub location: String,
}

/// An answer that the mesh gives itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DirectResponse {
    /// The status.
    pub status: u16,
    /// The body; `None` where there is none or it is no text.
    pub body: Option<String>,
}

/// Errors that are made on purpose; both parts are drawn on their own.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Fault {
    /// The pause, in milliseconds.
    pub delay_ms: Option<u64>,
    /// The share of the requests that it is for.
    pub delay_percent: Option<f64>,
    /// The HTTP status of the answer.
    pub abort_status: Option<u16>,
    /// The gRPC status of the answer.
    pub abort_grpc_status: Option<u8>,
    /// The share of the requests that it is for.
    pub abort_percent: Option<f64>,
}

/// A copy of a share of the requests.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Mirror {
    /// The service's full name.
    pub service: String,
    /// The subset.
    pub subset: Option<String>,
    /// The service port.
    pub port: u16,
    /// The share of the requests.
    pub percent: f64,
}

/// What CORS says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cors {
    /// The mesh answers it: a preflight request.
    Answered,
    /// Its origin may read the response.
    Allowed,
    /// Nothing: it has no origin, or one that is not allowed.
    Ignored,
}

/// Changes to headers, in the order in which they are made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct HeaderChanges(pub Vec<HeaderChange>);

impl HeaderChanges {
    /// Whether nothing is changed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Adds to an answer what the route does beside forwarding.
pub(super) fn add(mut answer: Outbound, snapshot: &Snapshot, request: &RequestView<'_>, route: &Route) -> Outbound {
    let Some(shape) = &route.shape else { return answer };
    answer.fault = shape.fault.as_ref().map(fault);
    answer.cors = shape.cors.as_ref().map(|cors| what_cors_says(cors, request));
    if let Some(local) = &shape.answer {
        return local_answer(answer, local, request);
    }
    // Only what is forwarded is copied.
    let copies = shape.mirrors.iter();
    answer.mirrors = copies.filter_map(|copy| mirror(*copy, snapshot, request)).collect();
    answer
}

fn local_answer(mut answer: Outbound, local: &LocalAnswer, request: &RequestView<'_>) -> Outbound {
    let status = local.kind.status().as_u16();
    answer.status = Some(status);
    answer.retry = None;
    match &local.kind {
        LocalAnswerKind::Redirect(redirect) => {
            let location = location(redirect, request, request.effective_port());
            answer.reason.push_str(&format!(": it sends the caller to {location}"));
            answer.outcome = "redirect";
            answer.redirect = Some(Redirect { status, location });
        }
        LocalAnswerKind::Direct(direct) => {
            answer.reason.push_str(&format!(": it answers {status} itself"));
            answer.outcome = "direct_response";
            answer.direct_response = Some(DirectResponse {
                status,
                body: text(direct),
            });
        }
    }
    answer
}

fn text(direct: &Direct) -> Option<String> {
    let body = direct.body.as_ref()?;
    std::str::from_utf8(body).ok().map(str::to_owned)
}

fn fault(fault: &FaultPolicy) -> Fault {
    let mut told = Fault::default();
    if let Some((pause, share)) = fault.delay {
        (told.delay_ms, told.delay_percent) = (Some(millis(pause)), Some(percent(share)));
    }
    if let Some((abort, share)) = fault.abort {
        told.abort_percent = Some(percent(share));
        match abort {
            Abort::Http(status) => told.abort_status = Some(status.as_u16()),
            Abort::Grpc(status) => told.abort_grpc_status = Some(status),
        }
    }
    told
}

fn percent(share: Fraction) -> f64 {
    f64::from(share.millionths()) / 10_000.0
}

fn mirror((target, share): (usize, Fraction), snapshot: &Snapshot, request: &RequestView<'_>) -> Option<Mirror> {
    let target = snapshot.target(target)?;
    Some(Mirror {
        service: target.service.to_string(),
        subset: target.subset.as_deref().map(str::to_owned),
        port: target.service_port(request.effective_port()),
        percent: percent(share),
    })
}

fn what_cors_says(cors: &CorsPolicy, request: &RequestView<'_>) -> Cors {
    match cors.decide(request.method, request.headers) {
        CorsDecision::Pass => Cors::Ignored,
        CorsDecision::Answer(_) => Cors::Answered,
        CorsDecision::Decorate(_) => Cors::Allowed,
    }
}

/// The path that a destination sees, where it is not the request's.
pub(super) fn path(edit: Option<&Edit>, request: &RequestView<'_>) -> Option<String> {
    let path = edit?.path.as_ref()?.rewrite(request.path);
    (path != request.path).then_some(path)
}

/// The authority that a destination sees, where it is not the request's.
pub(super) fn authority(edit: Option<&Edit>) -> Option<String> {
    edit?.authority.as_ref().map(|authority| authority.uri().to_string())
}

/// Changes to headers, as policies write them.
pub(super) fn changes(edit: Option<&HeaderEdit>) -> HeaderChanges {
    edit.map(|edit| HeaderChanges(edit.changes())).unwrap_or_default()
}
