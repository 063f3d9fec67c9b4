//! What guards the workload's own ports.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::CompileError;
use super::external::{AskedAuthorizer, External, Unaskable};
use crate::decide::authz::{Authorizer, Question, resolve_mtls};
use crate::decide::jwt::TokenRules;
use crate::policy::check::MeshHosts;
use crate::policy::model::Origin;
use crate::policy::model::Policy;
use crate::policy::model::identity::MtlsMode;
use crate::workload::Workload;

/// Which connections the workload takes, and what their callers may do.
#[derive(Debug)]
#[non_exhaustive]
pub struct Inbound {
    /// Who may do what.
    pub authorizer: Authorizer,
    /// Which tokens requests may bear.
    pub tokens: TokenRules,
    external: Arc<External>,
    mtls: PortModes,
}

/// What a port takes, and which document says so.
type Mode = (MtlsMode, Origin);

/// What the ports of the workload take.
#[derive(Debug)]
struct PortModes {
    /// Ports that a policy names.
    named: FxHashMap<u16, Mode>,
    others: Mode,
}

impl PortModes {
    fn compile(policy: &Policy, workload: &Workload) -> Self {
        let policies = &policy.peer_authentications;
        let mode = |port| resolve_mtls(policies, workload, &policy.mesh.root_namespace, port);
        let named = policies.iter().flat_map(|policy| policy.ports.keys().copied());
        let named: BTreeSet<u16> = named.collect();
        Self {
            named: named.into_iter().map(|port| (port, mode(port))).collect(),
            // No policy names the port 0.
            others: mode(0),
        }
    }
}

impl Inbound {
    pub(super) fn compile(
        policy: &Policy,
        workload: &Workload,
        authorizer: Authorizer,
        external: Arc<External>,
    ) -> Result<Self, CompileError> {
        let root = &policy.mesh.root_namespace;
        let hosts = MeshHosts::of(policy);
        let tokens = TokenRules::compile(&policy.request_authentications, workload, root, &hosts);
        Ok(Self {
            external,
            authorizer,
            tokens: tokens.map_err(CompileError::Tokens)?,
            mtls: PortModes::compile(policy, workload),
        })
    }

    /// Who is asked where a rule of the [authorizer](Self::authorizer) demands it.
    ///
    /// # Errors
    ///
    /// Where nobody can be asked, and why: the request is to be denied.
    pub fn asked(&self, question: &Question<'_>) -> Result<&Arc<AskedAuthorizer>, Unaskable> {
        self.external.asked(question)
    }

    /// What a port takes, and which document says so. Servers ask once a request: nothing is resolved here.
    #[must_use]
    pub fn mtls(&self, port: u16) -> &(MtlsMode, Origin) {
        self.mtls.named.get(&port).unwrap_or(&self.mtls.others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::model::Meta;
    use crate::policy::model::identity::PeerAuthentication;

    fn guard(
        name: &str,
        namespace: &str,
        mode: Option<MtlsMode>,
        ports: &[(u16, Option<MtlsMode>)],
    ) -> PeerAuthentication {
        let meta = Meta {
            name: name.into(),
            namespace: namespace.into(),
            ..Meta::default()
        };
        let mut policy = PeerAuthentication {
            meta,
            mode,
            ..PeerAuthentication::default()
        };
        if !ports.is_empty() {
            policy.selector.insert("app".into(), "orders".into());
        }
        policy.ports.extend(ports.iter().copied());
        policy
    }

    #[test]
    fn every_port_takes_what_its_policies_say() {
        let mut workload = Workload::new("shop", "orders");
        workload.labels.insert("app".into(), "orders".into());
        let ports = [(80, Some(MtlsMode::Disable)), (81, None), (82, Some(MtlsMode::Strict))];
        let policy = Policy {
            peer_authentications: vec![
                guard("mesh", "istio-system", Some(MtlsMode::Strict), &[]),
                guard("own", "shop", None, &ports),
                guard(
                    "other",
                    "else",
                    Some(MtlsMode::Disable),
                    &[(83, Some(MtlsMode::Disable))],
                ),
            ],
            ..Policy::default()
        };
        let authorizer = Authorizer::compile([], &workload, "istio-system").unwrap();
        let inbound = Inbound::compile(&policy, &workload, authorizer, Arc::default()).unwrap();
        for port in [1, 79, 80, 81, 82, 83, 65535] {
            let expected = resolve_mtls(
                &policy.peer_authentications,
                &workload,
                &policy.mesh.root_namespace,
                port,
            );
            assert_eq!(*inbound.mtls(port), expected, "{port}");
        }
        let modes = [79, 80, 81, 82].map(|port| inbound.mtls(port).0);
        assert_eq!(
            modes,
            [MtlsMode::Strict, MtlsMode::Disable, MtlsMode::Strict, MtlsMode::Strict]
        );
    }
}
