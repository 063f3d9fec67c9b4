//! What decides for a workload: rules with the callers and operations that they name.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::act::{Act, acts_of, acts_of_route, at_ports, exempted};
use super::caller::{Caller, block, callers_of};
use super::token::Issuers;
use crate::diff::Side;
use crate::identity::SpiffeId;
use crate::policy::model::authz::{Action, Attribute, AuthorizationPolicy, Enforcement, Rule};
use crate::policy::model::server::Server;

/// A rule's callers and operations.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) callers: BTreeSet<Caller>,
    pub(super) acts: BTreeSet<Act>,
}

impl Guard {
    /// Asks for its operations also as others are exempted from what a rule denies.
    pub(super) fn in_exempted_ways(&mut self, exempt: &BTreeSet<Act>) {
        let acts = self
            .acts
            .iter()
            .flat_map(|act| exempt.iter().map(move |other| act.or(other)));
        let acts: Vec<Act> = acts.collect();
        self.acts.extend(acts);
    }

    /// Each once, in whatever ways it comes.
    pub(super) fn identities(&self) -> BTreeSet<&Option<SpiffeId>> {
        self.callers.iter().map(|caller| &caller.identity).collect()
    }
}

/// Makes guards for one workload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guards<'a> {
    pub(super) trust_domain: &'a str,
    pub(super) issuers: &'a Issuers,
}

impl Guards<'_> {
    /// Those of one policy: of its rules, and of its servers.
    pub(super) fn of(self, side: Side<'_>) -> Vec<Guard> {
        let rules = policies(side).flat_map(|one| one.rules.iter().map(move |rule| (rule, &one.ports)));
        let mut guards: Vec<Guard> = rules
            .map(|(rule, ports)| self.guard(rule, at_ports(acts_of(rule), ports)))
            .collect();
        guards.extend(servers(side).flat_map(|server| self.of_server(server)));
        guards
    }

    fn guard(self, rule: &Rule, acts: BTreeSet<Act>) -> Guard {
        let callers = callers_of(rule, self.trust_domain, self.issuers);
        Guard { callers, acts }
    }

    /// Whoever may do anything, and whoever may ask for what a route takes.
    fn of_server(self, server: &Server) -> Vec<Guard> {
        let of_route = |route: Option<usize>| {
            let rules = server.rules.iter();
            let taken = rules.filter(|rule| route.is_none_or(|route| rule.route == route));
            taken.flat_map(acts_of_route).collect::<BTreeSet<Act>>()
        };
        let mut guards = vec![Guard {
            callers: BTreeSet::new(),
            acts: at_ports(BTreeSet::from([Act::default()]), &server.ports),
        }];
        let mut add = |policies: &[AuthorizationPolicy], acts: &BTreeSet<Act>| {
            for rule in policies.iter().flat_map(|policy| &policy.rules) {
                let acts = acts_of(rule).union(acts).cloned().collect();
                guards.push(self.guard(rule, at_ports(acts, &server.ports)));
            }
        };
        add(&server.policies, &of_route(None));
        for (index, route) in server.routes.iter().enumerate() {
            add(&route.policies, &of_route(Some(index)));
        }
        guards
    }
}

/// The policies that decide for the workload.
fn policies(side: Side<'_>) -> impl Iterator<Item = &AuthorizationPolicy> {
    let workload = &side.snapshot.workload;
    let root = &side.policy.mesh.root_namespace;
    let policies = side.policy.authorizations.iter();
    let decides = |one: &AuthorizationPolicy| one.action != Action::Audit && one.enforcement == Enforcement::Enforced;
    policies.filter(move |one| decides(one) && one.holds_for(workload, root))
}

/// The servers that guard ports of the workload.
fn servers(side: Side<'_>) -> impl Iterator<Item = &Server> {
    let servers = side.policy.servers.iter();
    servers.filter(|server| server.holds_for(&side.snapshot.workload))
}

/// Ports that may be guarded on their own, and may take plain text or not.
pub(super) fn ports(side: Side<'_>) -> BTreeSet<u16> {
    let mut ports: BTreeSet<u16> = policies(side).flat_map(|one| one.ports.iter().copied()).collect();
    ports.extend(servers(side).flat_map(|server| server.ports.iter().copied()));
    let documents = &side.policy.peer_authentications;
    ports.extend(documents.iter().flat_map(|one| one.ports.keys().copied()));
    ports
}

/// Operations that rules do not mean (`not_paths` and the others).
pub(super) fn exempt(side: Side<'_>) -> BTreeSet<Act> {
    let rules = policies(side).flat_map(|one| &one.rules);
    rules.flat_map(|rule| &rule.to).filter_map(exempted).collect()
}

/// Blocks of addresses that rules do not mean (`not_ip`, `not_remote_ip`).
pub(super) fn excused(side: Side<'_>) -> Vec<IpNet> {
    let mut blocks = Vec::new();
    for rule in policies(side).flat_map(|one| &one.rules) {
        let sources = rule.from.iter().flat_map(|one| [&one.ip_blocks, &one.remote_ip_blocks]);
        blocks.extend(sources.flat_map(|one| &one.none_of));
        let is_on_address = |attribute: &Attribute| matches!(attribute, Attribute::SourceIp | Attribute::RemoteIp);
        let conditions = rule.when.iter().filter(|one| is_on_address(&one.attribute));
        blocks.extend(
            conditions
                .flat_map(|one| &one.values.none_of)
                .filter_map(|text| block(text)),
        );
    }
    blocks
}
