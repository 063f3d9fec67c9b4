//! `Policy` → [`Snapshot`]: what a policy means for one workload, immutable and ready for look-ups.
//!
//! Compiling resolves everything that does not depend on a request: which route table a host belongs
//! to, which settings a subset ends up with, which endpoints it has and whether they speak mTLS, which
//! rules guard the workload. A request then asks the snapshot it started with, and no other.

mod compile;
mod compiler;
mod endpoints;
mod external;
mod forwarding;
mod gateway;
mod inbound;
mod known;
mod outbound;
mod profile;
mod registry;
mod specific;
mod target;
#[cfg(test)]
mod tests;
mod traffic;
mod visibility;

use std::sync::Arc;

pub use compile::CompileError;
pub use compiler::Compiler;
pub use external::{AskedAuthorizer, Unaskable};
pub use forwarding::ClientCerts;
pub use gateway::{GatewayConfig, GatewayPort, GatewayVirtualTls};
pub use inbound::Inbound;
pub use target::{
    EndpointAddress, EndpointKind, EndpointTls, HttpVersion, ResolvedEndpoint, ResolvedTarget, Target, TargetEndpoint,
    TargetEndpoints,
};

use crate::decide::route::Router;
use crate::policy::model::{MeshSettings, Policy};
use crate::request::{Options, Transport};
use crate::workers::{Alone, Workers};
use crate::workload::Workload;

/// What a policy means for one workload.
#[derive(Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// Counts the snapshots of a process, from 1.
    pub generation: u64,
    /// Whom it was compiled for.
    pub workload: Arc<Workload>,
    /// Settings of the whole mesh.
    pub mesh: MeshSettings,
    /// Routes of the mesh's clients.
    pub outbound: Arc<Router>,
    /// Targets of all routes; routes name them by index.
    pub targets: Arc<[Target]>,
    /// What guards this workload's own ports.
    pub inbound: Inbound,
    /// What becomes of the certificates that callers have seen.
    pub client_certs: ClientCerts,
    /// The gateways that this workload serves.
    pub gateways: Arc<[GatewayConfig]>,
}

impl Snapshot {
    /// Compiles a policy for a workload.
    ///
    /// # Errors
    ///
    /// [`CompileError`] for a policy that no dialect would have let through: a regex that is none.
    pub fn compile(policy: &Policy, workload: &Workload, generation: u64) -> Result<Self, CompileError> {
        compile::compile(policy, workload, generation, &Alone)
    }

    /// The same with the help of further threads, which changes nothing but the time that it takes.
    ///
    /// # Errors
    ///
    /// As for [`compile`](Self::compile).
    pub fn compile_with(
        policy: &Policy,
        workload: &Workload,
        generation: u64,
        workers: &dyn Workers,
    ) -> Result<Self, CompileError> {
        compile::compile(policy, workload, generation, workers)
    }

    /// How requests are read that this workload receives.
    #[must_use]
    pub fn inbound_options(&self, transport: Transport) -> Options {
        Options::inbound(transport, self.inbound.authorizer.path_rules())
            .path_normalization(self.mesh.path_normalization)
            .trusted_proxies(self.mesh.forwarding.trusted_proxies)
    }

    /// How requests are read that this workload sends.
    #[must_use]
    pub const fn outbound_options(&self) -> Options {
        Options::outbound().path_normalization(self.mesh.path_normalization)
    }

    /// The target at `index`.
    #[must_use]
    pub fn target(&self, index: usize) -> Option<&Target> {
        self.targets.get(index)
    }
}
