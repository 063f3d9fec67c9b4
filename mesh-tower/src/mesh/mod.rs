//! The mesh of one process: policy, identity and telemetry behind one handle.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use mesh_tower::{Mesh, workload};
//!
//! let mesh = Mesh::builder().policy("policy/").workload(workload::from_env()?).build().await?;
//! let orders = mesh.client();
//! # drop(orders);
//! # Ok(()) }
//! ```

mod admin;
mod builder;
mod error;
mod identity;
mod reload;
mod shared;
mod status;
mod tls;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};

use mesh_tls::source::{IdentitySource, IdentityStatus};
use tokio::sync::watch;
use tokio::task::AbortHandle;

pub use builder::MeshBuilder;
pub use error::{BuildError, PolicyError};
pub(crate) use shared::{Live, Settings, Shared};
pub(crate) use status::unix_seconds;
pub use status::{PolicyStatus, Rejected};
pub(crate) use tls::tls_policy;

use crate::admin::Admin;
use crate::client::Client;
use crate::telemetry::metrics::Metrics;

/// The mesh of one process. Cheap to clone; clones are the same mesh.
///
/// Dropping the last handle ends the watch on the policy; clients and servers that were made of it go on
/// with the policy that is in force then.
#[derive(Clone, Debug)]
pub struct Mesh {
    shared: Arc<Shared>,
    running: Arc<Running>,
}

/// Tasks that end with the last handle.
#[derive(Debug)]
struct Running {
    _tasks: Tasks,
    admin: Option<Admin>,
}

/// Tasks that end with the mesh, or with the attempt to start it.
#[derive(Debug)]
struct Tasks(Vec<AbortHandle>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

impl Mesh {
    /// Starts to describe a mesh.
    pub fn builder() -> MeshBuilder {
        MeshBuilder::default()
    }

    /// A client whose requests follow the policy. Cheap to clone; all clients of a mesh share connections and state.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(Arc::clone(&self.shared))
    }

    /// Where the admin pages are served, unless they are off.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.running.admin.as_ref().map(Admin::local_addr)
    }

    /// The metrics of this mesh.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// The policy in force, and what became of the last change of its files.
    #[must_use]
    pub fn policy_status(&self) -> PolicyStatus {
        let status = self.shared.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.clone()
    }

    /// The identity of this process: where it comes from, how long it lasts, what failed last. `None` without one.
    #[must_use]
    pub fn identity_status(&self) -> Option<IdentityStatus> {
        self.shared.identity.as_ref().map(IdentitySource::status)
    }

    /// The generation of the policy in force, which changes with each reload.
    #[must_use]
    pub fn generations(&self) -> watch::Receiver<u64> {
        self.shared.generation.subscribe()
    }

    /// Lets servers finish the requests that they have and take no others. Returns at once; `serve` returns when
    /// they are done. The access log is written line by line from now on.
    pub fn shutdown(&self) {
        self.shared.access_log.hurry();
        self.shared.stopping.send_replace(true);
    }

    /// Waits for [`shutdown`](Self::shutdown): for `axum::serve(…).with_graceful_shutdown(mesh.stopping())`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub fn stopping(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stopping = self.shared.stopping.subscribe();
        async move {
            // The mesh itself is gone: that is the end, too.
            let _ = stopping.wait_for(|stop| *stop).await;
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}
