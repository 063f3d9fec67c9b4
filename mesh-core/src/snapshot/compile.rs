//! The only constructor of snapshots.

use std::sync::Arc;

use super::external::External;
use super::known::KnownRoutes;
use super::outbound::{Builder, TargetName};
use super::registry::Registry;
use super::{ClientCerts, GatewayConfig, Inbound, Snapshot, Target};
use crate::decide::authz::{Authorizer, InvalidRule, KnownRules};
use crate::decide::jwt::InvalidTokenRule;
use crate::decide::route::{MatchError, Router};
use crate::decide::shape::InvalidShape;
use crate::policy::model::{MeshSettings, Origin, Policy};
use crate::workers::{self, Workers};
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

pub(super) fn compile(
    policy: &Policy,
    workload: &Workload,
    generation: u64,
    workers: &dyn Workers,
) -> Result<Snapshot, CompileError> {
    let known = (&mut KnownRules::default(), &mut KnownRoutes::default());
    let (authorizer, outbound) = halves(policy, workload, known, workers)?;
    let inbound = compile_inbound(policy, workload, authorizer, &outbound)?;
    Ok(outbound.snapshot(policy, &Arc::new(workload.clone()), inbound, generation))
}

/// Who may do what, and what routes and services say: one at the same time as the other, where somebody helps.
pub(super) fn halves(
    policy: &Policy,
    workload: &Workload,
    (rules, routes): (&mut KnownRules, &mut KnownRoutes),
    workers: &dyn Workers,
) -> Result<(Authorizer, Outbound), CompileError> {
    let (mut compiled, mut hosts, mut routes) = (None, None, Some(routes));
    let mut left = || compiled = Some(authorizer(policy, workload, rules));
    let mut right = || hosts = routes.take().map(|known| Hosts::compile(policy, workload, known));
    let mut both: [&mut (dyn FnMut() + Send); 2] = [&mut left, &mut right];
    workers::for_each(workers, &mut both, |half| half());
    // Both were done: the first problem is that of the rules.
    let authorizer = compiled.unwrap_or_else(|| authorizer(policy, workload, &mut KnownRules::default()))?;
    let mut none = KnownRoutes::default();
    let hosts = hosts.unwrap_or_else(|| Hosts::compile(policy, workload, &mut none))?;
    let outbound = hosts.outbound(policy, &authorizer, None);
    Ok((authorizer, outbound))
}

/// What a policy says of who may do what.
pub(super) fn authorizer(
    policy: &Policy,
    workload: &Workload,
    known: &mut KnownRules,
) -> Result<Authorizer, CompileError> {
    let whose = (workload, policy.mesh.root_namespace.as_str());
    Authorizer::with_known(&policy.authorizations, &policy.servers, whose, known).map_err(CompileError::Authorization)
}

/// What routes and services say. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Outbound {
    mesh: MeshSettings,
    router: Arc<Router>,
    target_names: Arc<[TargetName]>,
    targets: Arc<[Target]>,
    gateways: Arc<[GatewayConfig]>,
    external: Arc<External>,
}

/// Compiles what routes and services say, where some rules are known; `last` has what is said of the same services.
pub(super) fn compile_outbound(
    policy: &Policy,
    workload: &Workload,
    authorizer: &Authorizer,
    (known, last): (&mut KnownRoutes, Option<&Outbound>),
) -> Result<Outbound, CompileError> {
    Ok(Hosts::compile(policy, workload, known)?.outbound(policy, authorizer, last))
}

/// The hosts of clients and gateways, whose rules name targets that are not built yet.
struct Hosts<'a> {
    mesh: MeshSettings,
    builder: Builder<'a>,
    router: Router,
    gateways: Vec<GatewayConfig>,
}

impl<'a> Hosts<'a> {
    fn compile(policy: &'a Policy, workload: &'a Workload, known: &'a mut KnownRoutes) -> Result<Self, CompileError> {
        let registry = Registry::new(policy, workload);
        let mesh = registry.mesh();
        let mut builder = Builder::new(registry, known);
        Ok(Self {
            mesh,
            router: Router::new(builder.mesh_hosts()?),
            gateways: builder.gateways()?,
            builder,
        })
    }

    fn outbound(self, policy: &Policy, authorizer: &Authorizer, last: Option<&Outbound>) -> Outbound {
        let mut builder = self.builder;
        let external = External::compile(authorizer.providers(), &policy.authorizers, |authorizer| {
            builder.target(&authorizer.service, None, Some(authorizer.port))
        });
        let last = last.filter(|last| *last.target_names == *builder.target_names());
        let (target_names, targets) = match last {
            Some(last) => (Arc::clone(&last.target_names), Arc::clone(&last.targets)),
            None => (builder.target_names().into(), builder.targets()),
        };
        builder.end();
        Outbound {
            mesh: self.mesh,
            router: Arc::new(self.router),
            target_names,
            targets,
            gateways: self.gateways.into(),
            external: Arc::new(external),
        }
    }
}

pub(super) fn compile_inbound(
    policy: &Policy,
    workload: &Workload,
    authorizer: Authorizer,
    outbound: &Outbound,
) -> Result<Inbound, CompileError> {
    Inbound::compile(policy, workload, authorizer, Arc::clone(&outbound.external))
}

impl Outbound {
    pub(super) fn snapshot(
        &self,
        policy: &Policy,
        workload: &Arc<Workload>,
        inbound: Inbound,
        generation: u64,
    ) -> Snapshot {
        Snapshot {
            generation,
            workload: Arc::clone(workload),
            mesh: self.mesh.clone(),
            outbound: Arc::clone(&self.router),
            targets: Arc::clone(&self.targets),
            inbound,
            client_certs: ClientCerts::compile(&policy.mesh.forwarding),
            gateways: Arc::clone(&self.gateways),
        }
    }
}
