//! Requests that are judged again while they run: those that upgrade their connection, and all others where the policy
//! wants it (`mesh.live.recheck`).

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::header::UPGRADE;
use http::{Method, Request, Response, StatusCode, Version};
use http_body::{Frame, SizeHint};
use mesh_core::outcome::Outcome;
use mesh_core::policy::model::connections::Recheck;
use mesh_core::snapshot::Snapshot;
use tokio::sync::Notify;

use super::admission::DENIED;
use super::connection::Connection;
use super::jwt::Claims;
use super::respond::Refusal;
use crate::body::{Body, BoxError};
use crate::brought::Brought;

/// What is kept of a request that was let in, to judge it again when the rules change.
#[derive(Debug)]
pub(crate) struct Running {
    pub(super) request: Request<()>,
    /// Whether an external authorizer has allowed it; it is not asked again.
    pub(super) was_asked: bool,
    /// What servers may take its path for.
    pub(super) readings: Vec<String>,
    is_doomed: AtomicBool,
    is_ended: AtomicBool,
    waker: AtomicWaker,
}

/// The error of a response whose request is denied by now.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the rules have changed and deny the request")]
pub(super) struct DeniedMeanwhile;

/// Keeps what the policy wants to be able to judge again.
pub(super) fn keep(
    connection: &Connection,
    snapshot: &Snapshot,
    (request, brought): (&Request<Body>, Brought),
    was_asked: bool,
    readings: Vec<String>,
) -> Option<Arc<Running>> {
    let recheck = snapshot.mesh.live.recheck;
    // Upgraded connections last, so that a later policy may want them judged.
    let is_kept = recheck == Recheck::Requests || asks_to_upgrade(request, brought);
    let running = is_kept.then(|| Arc::new(Running::of(request, was_asked, readings)))?;
    if recheck == Recheck::Requests && connection.is_known() {
        connection.runs(&running);
    }
    Some(running)
}

fn asks_to_upgrade(request: &Request<Body>, brought: Brought) -> bool {
    // HTTP/2 has no upgrades but CONNECT.
    let upgrades = brought.upgrade && request.version() <= Version::HTTP_11 && request.headers().contains_key(UPGRADE);
    upgrades || request.method() == Method::CONNECT
}

impl Running {
    fn of(request: &Request<Body>, was_asked: bool, readings: Vec<String>) -> Self {
        let mut kept = Request::new(());
        kept.method_mut().clone_from(request.method());
        kept.uri_mut().clone_from(request.uri());
        kept.headers_mut().clone_from(request.headers());
        *kept.version_mut() = request.version();
        if let Some(claims) = request.extensions().get::<Claims>() {
            kept.extensions_mut().insert(claims.clone());
        }
        Self {
            request: kept,
            was_asked,
            readings,
            is_doomed: AtomicBool::new(false),
            is_ended: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    /// Notes that it is to be ended; whether that is news.
    pub(super) fn doom(&self) -> bool {
        !self.is_doomed.swap(true, Ordering::AcqRel)
    }

    pub(super) fn end(&self) {
        self.is_ended.store(true, Ordering::Release);
        self.waker.wake();
    }

    pub(super) fn poll_ended(&self, cx: &Context<'_>) -> Poll<()> {
        self.waker.register(cx.waker());
        match self.is_ended.load(Ordering::Acquire) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Has the response end with the request; notes where it upgrades the connection, which it may not do too often, nor
    /// where rules that are newer than `generation` deny it.
    pub(super) fn hold(
        self: Arc<Self>,
        connection: &Connection,
        generation: u64,
        response: Response<Body>,
    ) -> Result<Response<Body>, Refusal> {
        if upgrades(&self.request, &response) {
            if connection.is_known() {
                connection.upgraded.add(Arc::clone(&self))?;
            }
            // ORDER: after it was added. Who judged all tunnels by newer rules before that has not seen it.
            if connection.denies_by_now(generation, &self) {
                return Err(Refusal::new(Outcome::Denied, DENIED));
            }
            return Ok(response);
        }
        Ok(response.map(|body| Body::new(Held { body, running: self })))
    }
}

fn upgrades(request: &Request<()>, response: &Response<Body>) -> bool {
    let status = response.status();
    status == StatusCode::SWITCHING_PROTOCOLS || request.method() == Method::CONNECT && status.is_success()
}

/// How many upgrades a connection has before it is asked to end: as many as an HTTP/2 connection carries at a time.
const MANY: usize = 200;
/// How many it may have at all, since it may not hear that, or not listen.
const TOO_MANY: usize = 2 * MANY;

/// The requests that turned a connection, or streams of it, over to another protocol.
///
/// They are kept for as long as the connection is: a tunnel's halves are the application's, which may have ended the one
/// and go on with the other, so that nothing tells for sure when a tunnel is over.
#[derive(Debug, Default)]
pub(super) struct Upgraded {
    by: Mutex<Vec<Arc<Running>>>,
    many: Notify,
}

impl Upgraded {
    fn add(&self, request: Arc<Running>) -> Result<(), Refusal> {
        let mut by = self.by.lock().unwrap_or_else(PoisonError::into_inner);
        if by.len() >= TOO_MANY {
            return Err(Refusal::new(
                Outcome::Overflow,
                "the connection has had too many tunnels",
            ));
        }
        by.push(request);
        if by.len() == MANY {
            self.many.notify_one();
        }
        Ok(())
    }

    pub(super) fn by(&self) -> Vec<Arc<Running>> {
        self.by.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Waits until there are many, once.
    pub(super) async fn are_many(&self) {
        self.many.notified().await;
    }
}

impl Connection {
    fn runs(&self, request: &Arc<Running>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.len() == running.capacity() {
            running.retain(|request| request.strong_count() > 0);
        }
        running.push(Arc::downgrade(request));
    }
}

/// A response body that fails when its request is denied.
struct Held {
    body: Body,
    running: Arc<Running>,
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.running.poll_ended(cx).is_ready() {
            return Poll::Ready(Some(Err(DeniedMeanwhile.into())));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
