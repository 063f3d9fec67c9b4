//! Which part of the mesh a workload's clients see: the `Sidecar` that holds for it.

use crate::decide::route::string::hosts_overlap;
use crate::policy::model::route::RouteTable;
use crate::policy::model::service::{Service, Sidecar};
use crate::policy::model::{OutboundMode, Policy, selects};
use crate::workload::Workload;

/// What the clients of one workload see.
///
/// Of the namespace's sidecars the oldest that selects the workload by labels holds, else the oldest without a selector,
/// else the root namespace's without one. Without any, everything is seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visibility<'a>(Option<&'a Sidecar>);

impl<'a> Visibility<'a> {
    pub(super) fn of(policy: &'a Policy, workload: &Workload) -> Self {
        let within = |namespace: &str, is_meant: &dyn Fn(&Sidecar) -> bool| {
            let local = policy.sidecars.iter().filter(|one| one.meta.namespace == namespace);
            local
                .filter(|one| is_meant(one))
                .min_by_key(|one| one.meta.precedence())
        };
        let is_ours = |one: &Sidecar| !one.selector.is_empty() && selects(&one.selector, &workload.labels);
        let is_for_all = |one: &Sidecar| one.selector.is_empty();
        let found = within(&workload.namespace, &is_ours)
            .or_else(|| within(&workload.namespace, &is_for_all))
            .or_else(|| within(&policy.mesh.root_namespace, &is_for_all));
        Self(found)
    }

    /// What becomes of a request to a host that is not seen, where the sidecar says so.
    pub(super) fn outbound(self) -> Option<OutboundMode> {
        self.0?.outbound
    }

    /// Whether any of these hosts of a namespace is seen.
    fn includes<'h>(self, namespace: &str, mut hosts: impl Iterator<Item = &'h str>) -> bool {
        let Some(egress) = self.0.and_then(|sidecar| sidecar.egress.as_ref()) else {
            return true;
        };
        hosts.any(|host| {
            egress
                .iter()
                .any(|seen| (seen.namespace == "*" || seen.namespace == namespace) && hosts_overlap(&seen.host, host))
        })
    }

    /// Whether a service is seen.
    pub(super) fn service(self, service: &Service) -> bool {
        self.includes(&service.meta.namespace, service.hosts.iter().map(String::as_str))
    }

    /// Whether a table is used: where any of its hosts is seen.
    pub(super) fn table(self, table: &RouteTable) -> bool {
        self.includes(&table.meta.namespace, table.hosts.iter().map(|host| host.host.as_str()))
    }

    /// Whether a name that no document defines is seen, as one of this namespace.
    pub(super) fn name(self, namespace: &str, host: &str) -> bool {
        self.includes(namespace, std::iter::once(host))
    }
}
