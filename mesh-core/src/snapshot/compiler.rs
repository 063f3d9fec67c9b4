//! Compiles one policy after the other, each time only what has changed.

use std::sync::Arc;

use super::compile::{Outbound, compile_inbound, compile_outbound};
use super::known::KnownRoutes;
use super::{CompileError, Snapshot};
use crate::decide::authz::{Authorizer, KnownRules};
use crate::policy::model::Policy;
use crate::workers::{Alone, Workers};
use crate::workload::Workload;

/// Compiles the policies of one process, and keeps what it can for the next one.
///
/// A snapshot of it is what [`Snapshot::compile`] makes of the same policy. What routes and services say is compiled again
/// only where some of that has changed, and so are the rules of authorization. Of these, the rules of a host or policy are
/// compiled again where their list is another one; targets are built again where services, or what is called, changed.
#[derive(Debug, Default)]
pub struct Compiler {
    last: Option<Last>,
    rules: KnownRules,
    routes: KnownRoutes,
    /// Whom they were compiled for, whether or not the rest could be: matches on the caller are compiled with them.
    routes_of: Workload,
}

/// A policy, and what was made of it.
#[derive(Debug)]
struct Last {
    policy: Policy,
    workload: Arc<Workload>,
    outbound: Outbound,
    authorizer: Authorizer,
}

impl Compiler {
    /// Compiles a policy for a workload.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::compile`]. What was compiled before stays known.
    pub fn compile(&mut self, policy: Policy, workload: &Workload, generation: u64) -> Result<Snapshot, CompileError> {
        self.compile_with(policy, workload, generation, &Alone)
    }

    /// The same with the help of further threads, which changes nothing but the time that it takes. They help with the first
    /// policy: of the others most is known.
    ///
    /// # Errors
    ///
    /// As for [`compile`](Self::compile).
    pub fn compile_with(
        &mut self,
        policy: Policy,
        workload: &Workload,
        generation: u64,
        workers: &dyn Workers,
    ) -> Result<Snapshot, CompileError> {
        let (authorizer, outbound) = self.halves(&policy, workload, workers)?;
        let inbound = compile_inbound(&policy, workload, authorizer.clone(), &outbound)?;
        let workload = Arc::new(workload.clone());
        let snapshot = outbound.snapshot(&policy, &workload, inbound, generation);
        self.last = Some(Last {
            policy,
            workload,
            outbound,
            authorizer,
        });
        Ok(snapshot)
    }

    /// Compiles what is not known, or has changed.
    fn halves(
        &mut self,
        policy: &Policy,
        workload: &Workload,
        workers: &dyn Workers,
    ) -> Result<(Authorizer, Outbound), CompileError> {
        let last = self.last.as_ref().filter(|last| *last.workload == *workload);
        if self.routes_of != *workload {
            self.routes = KnownRoutes::default();
            self.routes_of = workload.clone();
        }
        let Some(last) = last else {
            return super::compile::halves(policy, workload, (&mut self.rules, &mut self.routes), workers);
        };
        let authorizer = match has_same_rules(&last.policy, policy) {
            true => last.authorizer.clone(),
            false => super::compile::authorizer(policy, workload, &mut self.rules)?,
        };
        let of_same_services = Some(last).filter(|last| has_same_services(&last.policy, policy));
        // Whoever is asked about requests is a target, too.
        let is_same = |last: &&Last| {
            last.authorizer.providers() == authorizer.providers() && has_same_routes(&last.policy, policy)
        };
        let outbound = match of_same_services.filter(is_same) {
            Some(last) => last.outbound.clone(),
            None => {
                let known = (&mut self.routes, of_same_services.map(|last| &last.outbound));
                compile_outbound(policy, workload, &authorizer, known)?
            }
        };
        Ok((authorizer, outbound))
    }
}

/// Whether two policies say the same of who may do what.
fn has_same_rules(left: &Policy, right: &Policy) -> bool {
    left.mesh == right.mesh && left.authorizations == right.authorizations && left.servers == right.servers
}

/// Whether two policies say the same of services, and of how they are called: all that targets are made of.
fn has_same_services(left: &Policy, right: &Policy) -> bool {
    left.mesh == right.mesh
        && left.services == right.services
        && left.workload_entries == right.workload_entries
        && left.sidecars == right.sidecars
        && left.profiles == right.profiles
        && left.destinations == right.destinations
        && left.peer_authentications == right.peer_authentications
}

/// Whether they say the same of what becomes of requests to these.
fn has_same_routes(left: &Policy, right: &Policy) -> bool {
    left.routes == right.routes && left.gateways == right.gateways && left.authorizers == right.authorizers
}
