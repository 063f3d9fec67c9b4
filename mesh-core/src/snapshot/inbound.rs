//! What guards the workload's own ports.

use super::CompileError;
use crate::decide::authz::{Authorizer, resolve_mtls};
use crate::policy::model::Origin;
use crate::policy::model::Policy;
use crate::policy::model::identity::{MtlsMode, PeerAuthentication};
use crate::workload::Workload;

/// Which connections the workload takes, and what their callers may do.
#[derive(Debug)]
#[non_exhaustive]
pub struct Inbound {
    /// Who may do what.
    pub authorizer: Authorizer,
    peer_authentications: Vec<PeerAuthentication>,
    workload: Workload,
    root_namespace: String,
}

impl Inbound {
    pub(super) fn compile(policy: &Policy, workload: &Workload) -> Result<Self, CompileError> {
        let root = &policy.mesh.root_namespace;
        let authorizer = Authorizer::with_servers(&policy.authorizations, &policy.servers, workload, root)
            .map_err(CompileError::Authorization)?;
        Ok(Self {
            authorizer,
            peer_authentications: policy.peer_authentications.clone(),
            workload: workload.clone(),
            root_namespace: policy.mesh.root_namespace.clone(),
        })
    }

    /// What a port takes, and which document says so. Servers ask once a connection.
    #[must_use]
    pub fn mtls(&self, port: u16) -> (MtlsMode, Origin) {
        resolve_mtls(&self.peer_authentications, &self.workload, &self.root_namespace, port)
    }
}
