//! Connections that live on while policy and trust change: until when, and how they end.
//!
//! Each connection is looked at again when the identity rotates, when the policy is replaced and when the peer's
//! certificate expires. One that would not be let in now is asked to end, and is cut when the policy's time for that
//! is over (`mesh.live.drain`). Nobody can be asked on a connection that was upgraded to another protocol: it is cut at
//! once, as well when the rules deny the request that upgraded it (`mesh.live.recheck`). Of HTTP/2, single streams are
//! upgraded (`CONNECT`): its connection is asked, and cut with all that it carries.

use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use http::Request;
use mesh_core::decide::jwt::VerifiedToken;
use mesh_core::policy::model::connections::Recheck;
use mesh_core::request::canonicalize;
use mesh_core::snapshot::Snapshot;

use super::connection::{Connection, Ended, Security};
use super::jwt::Claims;
use super::running::Running;
use crate::mesh::{Live, Shared};
use crate::stream::Switch;
use crate::telemetry::metrics::Side;

/// How often a connection without an identity would be looked at again if nothing changed.
const NEVER: Duration = Duration::from_secs(86_400 * 365);

/// Waits until a connection would not be let in any more; counts and tells it.
pub(crate) async fn not_allowed(shared: &Shared, connection: &Connection) -> Ended {
    let mut policy = shared.generation.subscribe();
    let mut trust = shared.identity.as_ref().map(|own| own.changes());
    loop {
        if let Err(ended) = judge(&shared.live.load_full(), connection) {
            shared.metrics.ended(Side::Server, ended.reason());
            let id = connection.security.identity().map(|peer| peer.id().as_str());
            tracing::info!(peer = %connection.remote, id, "connection ends: {ended}");
            return ended;
        }
        let rotated = async {
            let is_over = match &mut trust {
                Some(trust) => trust.changed().await.is_err(),
                None => true,
            };
            if is_over {
                // A source that is gone rotates no more.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            changed = policy.changed() => if changed.is_err() { return std::future::pending().await },
            () = rotated => {}
            () = tokio::time::sleep(validity(connection)) => {}
        }
    }
}

/// How long the peer's certificate is valid, rounded up to the next whole second.
fn validity(connection: &Connection) -> Duration {
    let (Security::Mutual(peer, _), Some(own)) = (&connection.security, &connection.shared.identity) else {
        return NEVER;
    };
    let now = own.current().clock().now();
    peer.not_after().duration_since(now).unwrap_or_default() + Duration::from_secs(1)
}

/// Whether the connection, and what runs on it, would be let in now.
fn judge(live: &Live, connection: &Connection) -> Result<(), Ended> {
    let snapshot = &live.snapshot;
    connection.still_allowed(snapshot, connection.shared.clock.now())?;
    if snapshot.mesh.live.recheck != Recheck::Off {
        for request in connection.upgraded.by() {
            connection.authorize_again(snapshot, &request)?;
        }
    }
    end_denied(connection, snapshot);
    Ok(())
}

/// Requests that are denied now may end within the policy's time.
fn end_denied(connection: &Connection, snapshot: &Snapshot) {
    let running: Vec<Arc<Running>> = {
        let running = connection.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.iter().filter_map(Weak::upgrade).collect()
    };
    for running in running {
        if connection.authorize_again(snapshot, &running).is_err() && running.doom() {
            connection.shared.metrics.ended(Side::Server, Ended::Denied.reason());
            let (drain, running) = (snapshot.mesh.live.drain, Arc::downgrade(&running));
            tokio::spawn(async move {
                tokio::time::sleep(drain).await;
                if let Some(running) = running.upgrade() {
                    running.end();
                }
            });
        }
    }
}

/// Ends a connection that somebody else serves when it is not allowed any more. Ends with its stream.
pub(crate) async fn watch(shared: Arc<Shared>, connection: Arc<Connection>, switch: Arc<Switch>) {
    tokio::select! {
        biased;
        () = switch.gone() => return,
        _ = not_allowed(&shared, &connection) => {}
    }
    if connection.upgraded.is_empty() {
        let drain = shared.live.load().snapshot.mesh.live.drain;
        let _ = tokio::time::timeout(drain, switch.gone()).await;
    }
    switch.cut();
}

impl Connection {
    /// Whether a policy that came in force while a request was let in denies it.
    pub(super) fn denies_by_now(&self, then: u64, running: &Running) -> bool {
        let now = self.shared.live.load();
        now.snapshot.generation != then && self.authorize_again(&now.snapshot, running).is_err()
    }

    /// Whether the rules of now allow a request that was let in before.
    fn authorize_again(&self, snapshot: &Snapshot, running: &Running) -> Result<(), Ended> {
        let authorizer = &snapshot.inbound.authorizer;
        let options = snapshot.inbound_options(self.transport());
        let canonical = canonicalize(&running.request, options).map_err(|_| Ended::Denied)?;
        let canonical = canonical.also_read_as(&running.readings);
        let token = still_taken(snapshot, &running.request)?;
        let (rules, view) = (self.rules(authorizer), canonical.view().bearing(token.as_ref()));
        let decision = match running.was_asked {
            true => rules.authorize_allowed(&view),
            false => rules.authorize(&view),
        };
        match decision.is_allowed() {
            true => Ok(()),
            false => Err(Ended::Denied),
        }
    }
}

/// The token that a request has borne, where the policy still takes tokens of its issuer and for its audience.
fn still_taken(snapshot: &Snapshot, request: &Request<()>) -> Result<Option<VerifiedToken>, Ended> {
    let Some(claims) = request.extensions().get::<Claims>() else {
        return Ok(None);
    };
    let taken = snapshot.inbound.tokens.suppose(claims.all().clone());
    taken.map_err(|_| Ended::Denied)
}
