//! The only constructor of snapshots.

use std::sync::Arc;

use super::outbound::Builder;
use super::registry::Registry;
use super::{Inbound, Snapshot};
use crate::decide::route::Router;
use crate::policy::model::{Origin, Policy};
use crate::workload::Workload;

/// A policy that cannot be compiled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// A regex that does not compile.
    #[error("{origin}: {source}")]
    #[non_exhaustive]
    Regex {
        /// Where it was written.
        origin: Origin,
        /// Why.
        source: regex::Error,
    },
}

impl CompileError {
    pub(super) fn regex(origin: &Origin, source: regex::Error) -> Self {
        Self::Regex { origin: origin.clone(), source }
    }
}

pub(super) fn compile(policy: &Policy, workload: &Workload, generation: u64) -> Result<Snapshot, CompileError> {
    let mut builder = Builder::new(Registry::new(policy, workload));
    let outbound = Router::new(builder.mesh_hosts()?);
    let gateways = builder.gateways()?;
    Ok(Snapshot {
        generation,
        workload: Arc::new(workload.clone()),
        mesh: policy.mesh.clone(),
        outbound,
        targets: builder.into_targets(),
        inbound: Inbound::compile(policy, workload),
        gateways,
    })
}
