//! Which settings a service, subset and port end up with (Istio's merge order).

use crate::decide::cluster::ClusterSettings;
use crate::decide::retry;
use crate::policy::model::traffic::{ClientTls, DestinationPolicy, RetryBudget, RetryPolicy, Subset, TrafficPolicy};
use crate::policy::model::{Export, Labels, selects};

use super::registry::Registry;

/// The destination policies that hold for one service, merged.
#[derive(Debug, Default)]
pub(super) struct Destination<'a> {
    policies: Vec<&'a DestinationPolicy>,
}

impl<'a> Destination<'a> {
    /// Looks in the caller's namespace, then the service's, then the root: the first with any match decides alone.
    pub(super) fn find(registry: &Registry<'a>, host: &str) -> Self {
        let own = registry.workload.namespace.as_str();
        let root = registry.policy.mesh.root_namespace.as_str();
        let mut local = registry.destinations(own, host);
        if own == root {
            // What the root namespace has for all is for its own workloads not before what a service has.
            local.retain(|policy| policy.export == Export::Namespaces(vec![own.to_owned()]));
        }
        let further = [registry.namespace_of(host), Some(root)].into_iter().flatten();
        let further = further.map(|namespace| registry.destinations(namespace, host));
        let found = std::iter::once(local).chain(further).find(|found| !found.is_empty());
        Self::of_workload(found.unwrap_or_default(), &registry.workload.labels)
    }

    /// Policies for workloads with these labels go before those for any, and inherit nothing from them.
    fn of_workload(mut policies: Vec<&'a DestinationPolicy>, labels: &Labels) -> Self {
        policies.sort_by_key(|policy| policy.meta.precedence());
        let is_ours = |policy: &&&DestinationPolicy| !policy.workloads.is_empty() && selects(&policy.workloads, labels);
        let workloads = policies.iter().find(is_ours).map(|policy| policy.workloads.clone());
        let workloads = workloads.unwrap_or_default();
        policies.retain(|policy| policy.workloads == workloads);
        Self { policies }
    }

    /// The subset of this name; of several, the oldest.
    pub(super) fn subset(&self, name: &str) -> Option<&'a Subset> {
        self.policies
            .iter()
            .flat_map(|policy| &policy.subsets)
            .find(|subset| subset.name == name)
    }

    /// Ports with settings of their own, in the service or in the subset.
    pub(super) fn ports(&self, subset: Option<&Subset>) -> Vec<u16> {
        let service = self.leading().into_iter().flat_map(|policy| &policy.ports);
        let part = subset.into_iter().flat_map(|subset| &subset.ports);
        let mut ports: Vec<_> = service.chain(part).map(|(port, _)| *port).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// The policy whose traffic settings count: the oldest that sets any.
    fn leading(&self) -> Option<&'a DestinationPolicy> {
        let sets =
            |policy: &&&DestinationPolicy| policy.traffic != TrafficPolicy::default() || !policy.ports.is_empty();
        self.policies.iter().find(sets).copied()
    }

    /// The settings for a subset and port.
    pub(super) fn traffic(&self, subset: Option<&Subset>, port: Option<u16>) -> TrafficPolicy {
        let at = |ports: &[(u16, TrafficPolicy)]| {
            let entry = ports.iter().find(|(number, _)| Some(*number) == port);
            entry.map(|(_, traffic)| traffic.clone())
        };
        let base = self
            .leading()
            .map(|policy| at(&policy.ports).unwrap_or_else(|| policy.traffic.clone()))
            .unwrap_or_default();
        let Some(subset) = subset else { return base };
        match at(&subset.ports) {
            // A port entry of a subset resets the blocks it leaves out.
            Some(entry) => TrafficPolicy {
                retry: entry.retry.or(base.retry),
                retry_budget: entry.retry_budget.or(base.retry_budget),
                // The entry replaces what the subset says of all ports (Istio).
                retry_concurrency: entry.retry_concurrency.or(base.retry_concurrency),
                ..entry
            },
            None => overlay(base, subset.traffic.clone()),
        }
    }
}

/// Block by block: what `over` sets replaces what `base` sets.
fn overlay(base: TrafficPolicy, over: TrafficPolicy) -> TrafficPolicy {
    TrafficPolicy {
        balance: over.balance.or(base.balance),
        limits: over.limits.or(base.limits),
        outliers: over.outliers.or(base.outliers),
        tls: over.tls.or(base.tls),
        retry: over.retry.or(base.retry),
        retry_budget: over.retry_budget.or(base.retry_budget),
        retry_concurrency: over.retry_concurrency.or(base.retry_concurrency),
        hash: if over.balance.is_some() { over.hash } else { base.hash },
        warmup: if over.balance.is_some() {
            over.warmup
        } else {
            base.warmup
        },
        locality: if over.balance.is_some() {
            over.locality
        } else {
            base.locality
        },
    }
}

/// The settings as a driver uses them.
#[derive(Clone, Debug)]
pub(super) struct Settled {
    pub(super) cluster: ClusterSettings,
    pub(super) tls: Option<ClientTls>,
    pub(super) retry: RetryPolicy,
}

/// Fills in the defaults of what a policy leaves open.
pub(super) fn settle(mut traffic: TrafficPolicy, profile_budget: Option<RetryBudget>) -> Settled {
    traffic.retry_budget = traffic.retry_budget.or(profile_budget);
    Settled {
        cluster: ClusterSettings::from_policy(&traffic),
        tls: traffic.tls,
        retry: traffic.retry.unwrap_or_else(retry::default_policy),
    }
}
