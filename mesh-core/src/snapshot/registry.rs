//! Every service that a policy knows, by its full name.

use std::collections::BTreeMap;

use crate::decide::route::string::host_covers;
use crate::policy::model::route::{Binding, RouteTable};
use crate::policy::model::service;
use crate::policy::model::service::{EndpointSource, Location, Service, ServicePort};
use crate::policy::model::{Origin, Policy, selects};
use crate::workload::Workload;

/// The known services, and how names relate to namespaces.
#[derive(Debug)]
pub(super) struct Registry<'a> {
    pub(super) policy: &'a Policy,
    pub(super) workload: &'a Workload,
    services: BTreeMap<&'a str, Entry<'a>>,
}

/// A service, and who says that it exists.
#[derive(Debug, Default)]
struct Entry<'a> {
    /// Documents that define it; empty for a name that rules only refer to.
    services: Vec<&'a Service>,
}

impl<'a> Registry<'a> {
    pub(super) fn new(policy: &'a Policy, workload: &'a Workload) -> Self {
        let mut registry = Self {
            policy,
            workload,
            services: BTreeMap::new(),
        };
        for service in policy
            .services
            .iter()
            .filter(|service| service.export.includes(&workload.namespace))
        {
            for host in &service.hosts {
                registry.services.entry(host).or_default().services.push(service);
            }
        }
        registry.add_referenced();
        registry
    }

    /// A name that a rule speaks of is a service of its own, resolved by DNS.
    fn add_referenced(&mut self) {
        let tables = self
            .policy
            .routes
            .iter()
            .filter(|table| table.bindings.contains(&Binding::Mesh));
        let routed = tables.flat_map(|table| table.hosts.iter().map(|host| host.host.as_str()));
        let tuned = self
            .policy
            .destinations
            .iter()
            .map(|destination| destination.host.as_str());
        let profiled = self.policy.profiles.iter().map(|profile| profile.host.as_str());
        for host in routed
            .chain(tuned)
            .chain(profiled)
            .filter(|host| !host.starts_with('*'))
        {
            self.services.entry(host).or_default();
        }
    }

    /// All names that a caller may dial, patterns of services among them.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.services.keys().copied()
    }

    /// The documents that define a service.
    pub(super) fn definitions(&self, host: &str) -> &[&'a Service] {
        self.services.get(host).map_or(&[], |entry| &entry.services)
    }

    /// The namespace of a host: the second label of `name.namespace.svc.domain`, else that of its document.
    pub(super) fn namespace_of<'b>(&'b self, host: &'b str) -> Option<&'b str> {
        self.kubernetes_parts(host).map(|(_, namespace)| namespace).or_else(|| {
            let definition = self.definitions(host).first();
            definition.map(|service| service.meta.namespace.as_str())
        })
    }

    /// `(name, namespace)` of `name.namespace.svc.cluster-domain`.
    pub(super) fn kubernetes_parts<'b>(&self, host: &'b str) -> Option<(&'b str, &'b str)> {
        let local = host
            .strip_suffix(self.policy.mesh.cluster_domain.as_str())?
            .strip_suffix(".svc.")?;
        local.split_once('.').filter(|(_, namespace)| !namespace.contains('.'))
    }

    /// What a caller of this workload may write for a service: its full name, its short forms, its further names.
    pub(super) fn aliases(&self, host: &str) -> Vec<String> {
        let Some((name, namespace)) = self.kubernetes_parts(host) else {
            return vec![host.into()];
        };
        let mut names = vec![
            host.into(),
            format!("{name}.{namespace}.svc"),
            format!("{name}.{namespace}"),
        ];
        if namespace == self.workload.namespace {
            names.push(name.into());
        }
        names
    }

    /// The endpoints of a service; `None` where its own name is resolved by DNS.
    pub(super) fn endpoints(&self, host: &str) -> Option<Vec<Listed<'a>>> {
        let definitions = self.definitions(host);
        let listed: Vec<_> = definitions
            .iter()
            .filter_map(|service| self.listed(service))
            .flatten()
            .collect();
        let by_dns = definitions
            .iter()
            .all(|service| matches!(service.endpoints, EndpointSource::Dns));
        if by_dns { None } else { Some(listed) }
    }

    fn listed(&self, service: &'a Service) -> Option<Vec<Listed<'a>>> {
        match &service.endpoints {
            EndpointSource::Dns => None,
            EndpointSource::Listed(endpoints) => {
                Some(endpoints.iter().map(|endpoint| Listed { endpoint, service }).collect())
            }
            EndpointSource::Selected(selector) => {
                let entries = self.policy.workload_entries.iter();
                let own = entries.filter(|entry| entry.meta.namespace == service.meta.namespace);
                let selected = own.filter(|entry| selects(selector, &entry.endpoint.labels));
                Some(
                    selected
                        .map(|entry| Listed {
                            endpoint: &entry.endpoint,
                            service,
                        })
                        .collect(),
                )
            }
        }
    }

    /// The ports of a service; of documents that define the same one, the first counts.
    pub(super) fn ports(&self, host: &str) -> Vec<ServicePort> {
        let mut ports: Vec<ServicePort> = Vec::new();
        for port in self.definitions(host).iter().flat_map(|service| &service.ports) {
            if ports.iter().all(|known| known.number != port.number) {
                ports.push(port.clone());
            }
        }
        ports
    }

    /// Whether automatic mTLS may be used at all.
    pub(super) fn is_internal(&self, host: &str) -> bool {
        self.definitions(host)
            .iter()
            .all(|service| service.location == Location::MeshInternal)
    }

    /// The route table that a host belongs to: of those that name it the first, else the one with the most specific wildcard.
    pub(super) fn claim(&self, host: &str) -> Option<&'a RouteTable> {
        let tables = self.visible_tables();
        let exact = tables
            .iter()
            .find(|table| table.hosts.iter().any(|claimed| claimed.host == host));
        exact.copied().or_else(|| {
            let wildcards = tables
                .iter()
                .flat_map(|table| table.hosts.iter().map(move |claimed| (claimed, table)));
            let covering = wildcards.filter(|(claimed, _)| host_covers(&claimed.host, host));
            // The first table wins ties, where `max_by_key` would keep the last.
            covering
                .first_max(|(claimed, _)| claimed.host.len())
                .map(|(_, table)| *table)
        })
    }

    /// The tables that the clients of this workload's namespace see, in order of precedence.
    pub(super) fn visible_tables(&self) -> Vec<&'a RouteTable> {
        let namespace = &self.workload.namespace;
        let mesh = self
            .policy
            .routes
            .iter()
            .filter(|table| table.bindings.contains(&Binding::Mesh));
        let mut tables: Vec<_> = mesh.filter(|table| table.export.includes(namespace)).collect();
        tables.sort_by_key(|table| (is_public(table), table.meta.precedence()));
        tables
    }

    /// Where a service is defined, if a file does so.
    pub(super) fn origin(&self, host: &str) -> Origin {
        self.definitions(host)
            .first()
            .map(|service| service.meta.origin.clone())
            .unwrap_or_default()
    }
}

fn is_public(table: &RouteTable) -> bool {
    table.export == crate::policy::model::Export::All
}

/// An endpoint, and the document that lists or selects it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listed<'a> {
    pub(super) endpoint: &'a service::Endpoint,
    pub(super) service: &'a Service,
}

trait FirstMax: Iterator + Sized {
    /// The first of the items with the greatest key.
    fn first_max<K: Ord>(self, key: impl Fn(&Self::Item) -> K) -> Option<Self::Item> {
        self.fold(None, |best: Option<Self::Item>, item| match best {
            Some(best) if key(&best) >= key(&item) => Some(best),
            _ => Some(item),
        })
    }
}

impl<I: Iterator> FirstMax for I {}
