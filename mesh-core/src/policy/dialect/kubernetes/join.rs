//! Joins a service with its endpoints, which other documents have.

use std::collections::BTreeMap;

use super::port::Port;
use crate::policy::model::service::{Endpoint, EndpointSetKind, EndpointSource, Member, Pod, Readiness};
use crate::policy::model::{Labels, Meta, Policy, selects};

/// What a service says about its endpoints.
pub(super) struct Selection<'s> {
    pub(super) meta: &'s Meta,
    /// Labels of its pods; empty selects none.
    pub(super) selector: &'s Labels,
    pub(super) ports: &'s [Port],
    /// Which endpoints are published.
    pub(super) least: Readiness,
}

/// The endpoints of a service as far as documents list any, else DNS.
pub(super) fn endpoint_source(service: &Selection<'_>, policy: &Policy) -> EndpointSource {
    let listed = service.listed(policy).or_else(|| service.pods(policy));
    let entries = service.entries(policy);
    match (listed, entries) {
        (None, None) => EndpointSource::Dns,
        (listed, entries) => {
            let mut all: Vec<_> = listed.into_iter().chain(entries).flatten().collect();
            all.iter_mut().for_each(|endpoint| service.close_ports(endpoint));
            EndpointSource::Listed(all.into())
        }
    }
}

impl Selection<'_> {
    fn selects(&self, meta: &Meta, labels: &Labels) -> bool {
        meta.namespace == self.meta.namespace && !self.selector.is_empty() && selects(self.selector, labels)
    }

    fn publishes(&self, readiness: Readiness) -> bool {
        readiness == Readiness::Ready || self.least == Readiness::NotReady
    }

    /// An endpoint that lists ports has no others, whatever port the service's requests would go to.
    fn close_ports(&self, endpoint: &mut Endpoint) {
        if endpoint.ports.is_empty() {
            return;
        }
        let names = self.ports.iter().map(|port| &port.port.name);
        let closed = names.filter(|name| !endpoint.ports.contains_key(*name));
        endpoint.closed_ports = closed.cloned().collect();
    }

    /// The pods of its namespace.
    fn pods_beside<'p>(&self, policy: &'p Policy) -> &'p [Pod] {
        policy.pods.get(&self.meta.namespace).map_or(&[], Vec::as_slice)
    }

    /// Endpoints of its slices, or where it has none of its `Endpoints`.
    fn listed(&self, policy: &Policy) -> Option<Vec<Endpoint>> {
        let name = (self.meta.namespace.clone(), self.meta.name.clone());
        let own = policy.endpoint_sets.get(&name)?;
        let has_slices = own.iter().any(|set| set.kind == EndpointSetKind::Slice);
        let sets = own
            .iter()
            .filter(|set| !has_slices || set.kind == EndpointSetKind::Slice);
        let mut endpoints: Vec<Endpoint> = Vec::new();
        for member in sets.flat_map(|set| &set.members) {
            if !self.publishes(member.readiness) {
                continue;
            }
            let endpoint = self.described(member, self.pods_beside(policy));
            // Slices with different ports may list the same pod.
            match endpoints.iter_mut().find(|known| known.address == endpoint.address) {
                Some(known) if agree(&known.ports, &endpoint.ports) => known.ports.extend(endpoint.ports),
                _ => endpoints.push(endpoint),
            }
        }
        Some(endpoints)
    }

    /// An endpoint with what its pod says; without it, it has the labels that the service selects by.
    fn described(&self, member: &Member, pods: &[Pod]) -> Endpoint {
        let mut endpoint = member.endpoint.clone();
        let is_pod = |pod: &&Pod| match &member.pod {
            Some(name) => pod.meta.name == *name,
            None => pod.endpoint.address == endpoint.address,
        };
        let Some(pod) = pods.iter().find(is_pod) else {
            endpoint.labels = self.selector.clone();
            return endpoint;
        };
        endpoint.labels.clone_from(&pod.endpoint.labels);
        endpoint.service_account.clone_from(&pod.endpoint.service_account);
        if endpoint.locality.is_empty() {
            endpoint.locality.clone_from(&pod.endpoint.locality);
        }
        endpoint
    }

    /// The pods that it selects, where there are any.
    fn pods(&self, policy: &Policy) -> Option<Vec<Endpoint>> {
        let selected = self
            .pods_beside(policy)
            .iter()
            .filter(|pod| self.selects(&pod.meta, &pod.endpoint.labels));
        let mut selected = selected.peekable();
        selected.peek()?;
        let published = selected.filter(|pod| self.publishes(pod.readiness));
        let reached = published.filter_map(|pod| {
            let of = |port: &Port| match &port.target_name {
                Some(name) => pod.endpoint.ports.get(name).copied(),
                None => Some(port.port.target.unwrap_or(port.port.number)),
            };
            self.with_ports(&pod.endpoint, of)
        });
        Some(reached.collect())
    }

    /// The workload entries that it selects, where there are any.
    fn entries(&self, policy: &Policy) -> Option<Vec<Endpoint>> {
        let selected = policy
            .workload_entries
            .iter()
            .filter(|entry| self.selects(&entry.meta, &entry.endpoint.labels));
        let mut selected = selected.map(|entry| &entry.endpoint).peekable();
        selected.peek()?;
        let reached = selected.filter_map(|entry| {
            let of = |port: &Port| match &port.target_name {
                Some(name) => entry.ports.get(name).copied(),
                None => {
                    let named = entry.ports.get(&port.port.name).copied();
                    named.or(port.port.target).or(Some(port.port.number))
                }
            };
            self.with_ports(entry, of)
        });
        Some(reached.collect())
    }

    /// An endpoint with its port for each of the service's; `None` where it has none of them.
    fn with_ports(&self, endpoint: &Endpoint, of: impl Fn(&Port) -> Option<u16>) -> Option<Endpoint> {
        let ports: BTreeMap<String, u16> = self
            .ports
            .iter()
            .filter_map(|port| Some((port.port.name.clone(), of(port)?)))
            .collect();
        let is_reached = !ports.is_empty() || self.ports.is_empty();
        is_reached.then(|| Endpoint {
            ports,
            ..endpoint.clone()
        })
    }
}

/// Whether no port of one has another number in the other.
fn agree(left: &BTreeMap<String, u16>, right: &BTreeMap<String, u16>) -> bool {
    left.iter()
        .all(|(name, number)| right.get(name).is_none_or(|other| other == number))
}
