//! The only constructor of snapshots.

use std::sync::Arc;

use super::outbound::Builder;
use super::registry::Registry;
use super::{ClientCerts, Inbound, Snapshot};
use crate::decide::authz::InvalidRule;
use crate::decide::jwt::InvalidTokenRule;
use crate::decide::route::{MatchError, Router};
use crate::decide::shape::InvalidShape;
use crate::policy::model::{Origin, Policy};
use crate::workload::Workload;

/// A policy that cannot be compiled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// Conditions that cannot be compiled, such as a regex that is none.
    #[error("{origin}: {source}")]
    #[non_exhaustive]
    Match {
        /// Where they were written.
        origin: Origin,
        /// Why.
        source: MatchError,
    },
    /// Filters that cannot be compiled, such as changes to headers that frame a message.
    #[error("{origin}: {source}")]
    #[non_exhaustive]
    Shape {
        /// Where the rule was written.
        origin: Origin,
        /// Why.
        source: InvalidShape,
    },
    /// Authorization rules that cannot be compiled.
    #[error("{}", reasons(.0))]
    Authorization(Vec<InvalidRule>),
    /// Rules about tokens that cannot be put in force.
    #[error("{}", token_reasons(.0))]
    Tokens(Vec<InvalidTokenRule>),
}

fn reasons(rules: &[InvalidRule]) -> String {
    let reasons: Vec<_> = rules
        .iter()
        .map(|rule| format!("{}: {}", rule.origin, rule.reason))
        .collect();
    reasons.join("; ")
}

fn token_reasons(rules: &[InvalidTokenRule]) -> String {
    let reasons: Vec<_> = rules
        .iter()
        .map(|rule| format!("{}: {}", rule.origin, rule.reason))
        .collect();
    reasons.join("; ")
}

impl CompileError {
    pub(super) fn shape(origin: &Origin, source: InvalidShape) -> Self {
        let origin = origin.clone();
        Self::Shape { origin, source }
    }

    pub(super) fn matching(origin: &Origin, source: MatchError) -> Self {
        Self::Match {
            origin: origin.clone(),
            source,
        }
    }
}

pub(super) fn compile(policy: &Policy, workload: &Workload, generation: u64) -> Result<Snapshot, CompileError> {
    let registry = Registry::new(policy, workload);
    let mesh = registry.mesh();
    let mut builder = Builder::new(registry);
    let outbound = Router::new(builder.mesh_hosts()?);
    let gateways = builder.gateways()?;
    let inbound = Inbound::compile(policy, workload, |authorizer| {
        builder.target(&authorizer.service, None, Some(authorizer.port))
    })?;
    Ok(Snapshot {
        generation,
        workload: Arc::new(workload.clone()),
        mesh,
        outbound,
        targets: builder.into_targets(),
        inbound,
        client_certs: ClientCerts::compile(&policy.mesh.forwarding),
        gateways,
    })
}
