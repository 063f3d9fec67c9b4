//! The servers that guard a workload's ports.

use super::PolicyInfo;
use super::parts::Part;
use super::routed::RoutedPort;
use super::rule::InvalidRule;
use crate::policy::model::authz::{Action, AuthorizationPolicy, Rule};
use crate::policy::model::server::Server;
use crate::workload::Workload;

/// A server, and those of its ports that it guards.
pub(super) struct Guard<'p> {
    server: &'p Server,
    pub(super) ports: Vec<u16>,
}

/// The servers that guard ports of a workload: of several for one port the oldest, then the first by name.
pub(super) fn in_force<'p>(servers: &'p [Server], workload: &Workload) -> Vec<Guard<'p>> {
    let mut holding: Vec<&Server> = servers.iter().filter(|server| server.holds_for(workload)).collect();
    holding.sort_by_key(|server| server.meta.precedence());
    let mut taken: Vec<u16> = Vec::new();
    let mut guards = Vec::new();
    for server in holding {
        let ports: Vec<u16> = server
            .ports
            .iter()
            .copied()
            .filter(|port| !taken.contains(port))
            .collect();
        taken.extend_from_slice(&ports);
        if !ports.is_empty() {
            guards.push(Guard { server, ports });
        }
    }
    guards
}

impl Guard<'_> {
    pub(super) fn compile(&self, parts: &mut Vec<Part>, routed: &mut Vec<RoutedPort>, invalid: &mut Vec<InvalidRule>) {
        let mut add = |policy: &AuthorizationPolicy, route| {
            let mut policy = policy.clone();
            policy.ports.clone_from(&self.ports);
            parts.push(Part::compile(&policy, route, invalid));
        };
        for policy in &self.server.policies {
            add(policy, None);
        }
        // Ids of routes are unique among the servers of a workload.
        let first = u32::try_from(routed.len()).unwrap_or(u32::MAX).saturating_mul(ROUTES);
        for (route, id) in self.server.routes.iter().zip(first..) {
            for policy in &route.policies {
                add(policy, Some(id));
            }
        }
        if self.server.rules.is_empty() {
            return;
        }
        for port in &self.ports {
            match RoutedPort::new(*port, self.server, first) {
                Ok(port) => routed.push(port),
                Err(reason) => {
                    let policy = AuthorizationPolicy::new(self.server.meta.clone(), Action::Allow);
                    let info = PolicyInfo::new(&policy);
                    invalid.push(InvalidRule::new(&info, &Rule::default(), reason));
                }
            }
        }
    }
}

/// More routes than a server ever has.
const ROUTES: u32 = 1 << 16;
