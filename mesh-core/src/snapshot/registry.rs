//! Every service that a policy knows, by its full name.

use std::collections::BTreeMap;

use crate::decide::route::string::host_covers;
use crate::policy::model::profile::ServiceProfile;
use crate::policy::model::route::{Binding, RouteTable};
use crate::policy::model::service;
use crate::policy::model::service::{EndpointSource, Location, Service, ServicePort};
use crate::policy::model::traffic::DestinationPolicy;
use crate::policy::model::{Export, MeshSettings, Meta, Origin, Policy, kubernetes_parts, selects};
use crate::workload::Workload;

use super::specific::competes;
use super::visibility::Visibility;

/// The known services, and how names relate to namespaces.
#[derive(Debug)]
pub(super) struct Registry<'a> {
    pub(super) policy: &'a Policy,
    pub(super) workload: &'a Workload,
    visibility: Visibility<'a>,
    services: BTreeMap<&'a str, Entry<'a>>,
    /// The tables that the clients of this workload's namespace see, in order of precedence.
    tables: Vec<&'a RouteTable>,
    /// The first table of each host that one names.
    claims: BTreeMap<&'a str, &'a RouteTable>,
    /// Patterns of tables, in order of precedence.
    patterns: Vec<(&'a str, &'a RouteTable)>,
    /// The tables of each host or pattern whose rules compete, in order of precedence.
    competing: BTreeMap<&'a str, Vec<&'a RouteTable>>,
    destinations: ByHost<'a, DestinationPolicy>,
    profiles: ByHost<'a, ServiceProfile>,
    /// The profiles that send requests to a service in the place of their own, by its full name.
    sending: BTreeMap<&'a str, Vec<&'a ServiceProfile>>,
}

/// Documents about hosts: by namespace and full name, and those about patterns by namespace.
#[derive(Debug)]
struct ByHost<'a, T> {
    exact: BTreeMap<(&'a str, &'a str), Vec<&'a T>>,
    patterns: BTreeMap<&'a str, Vec<(&'a str, &'a T)>>,
}

impl<'a, T> Default for ByHost<'a, T> {
    fn default() -> Self {
        let (exact, patterns) = (BTreeMap::new(), BTreeMap::new());
        Self { exact, patterns }
    }
}

impl<'a, T> ByHost<'a, T> {
    fn add(&mut self, namespace: &'a str, host: &'a str, document: &'a T) {
        if host.starts_with('*') {
            self.patterns.entry(namespace).or_default().push((host, document));
        } else {
            self.exact.entry((namespace, host)).or_default().push(document);
        }
    }

    /// The documents about a host: those that name it, else those with the longest pattern that covers it.
    fn find(&self, namespace: &str, host: &str) -> Vec<&'a T> {
        if let Some(exact) = self.exact.get(&(namespace, host)) {
            return exact.clone();
        }
        let patterns = self.patterns.get(namespace).map_or(&[][..], Vec::as_slice);
        let covering = patterns.iter().filter(|(pattern, _)| host_covers(pattern, host));
        let longest = covering.clone().map(|(pattern, _)| pattern.len()).max();
        covering
            .filter(|(pattern, _)| Some(pattern.len()) == longest)
            .map(|(_, document)| *document)
            .collect()
    }
}

/// A name that callers may use.
#[derive(Debug)]
struct Entry<'a> {
    known: Known,
    /// Documents that define the service; empty for a name that rules only refer to.
    services: Vec<&'a Service>,
}

/// How a name is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// A service has it, or a route table is for it.
    Called,
    /// Only settings or route classes speak of it.
    Tuned,
    /// The workload's clients do not see it; rules may send them there.
    Hidden,
}

impl<'a> Registry<'a> {
    pub(super) fn new(policy: &'a Policy, workload: &'a Workload) -> Self {
        let visibility = Visibility::of(policy, workload);
        let mut registry = Self {
            policy,
            workload,
            visibility,
            services: BTreeMap::new(),
            tables: visible_tables(policy, &workload.namespace, visibility),
            claims: BTreeMap::new(),
            patterns: Vec::new(),
            competing: BTreeMap::new(),
            destinations: ByHost::default(),
            profiles: ByHost::default(),
            sending: BTreeMap::new(),
        };
        registry.add_defined();
        registry.add_referenced();
        registry.add_tables();
        registry.add_settings();
        registry
    }

    fn add_tables(&mut self) {
        for table in &self.tables {
            for host in table.hosts.iter().map(|host| host.host.as_str()) {
                if competes(table) {
                    self.competing.entry(host).or_default().push(table);
                }
                if host.starts_with('*') {
                    self.patterns.push((host, table));
                } else {
                    self.claims.entry(host).or_insert(table);
                }
            }
        }
    }

    /// A service is meant by any of its names.
    fn add_settings(&mut self) {
        let (mut destinations, mut profiles) = (ByHost::default(), ByHost::default());
        for one in self
            .policy
            .destinations
            .iter()
            .filter(|one| self.sees(&one.meta, &one.export))
        {
            destinations.add(&one.meta.namespace, self.full_name(&one.host), one);
        }
        for one in &self.policy.profiles {
            profiles.add(&one.meta.namespace, self.full_name(&one.host), one);
        }
        let mut sending: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (one, to) in self
            .policy
            .profiles
            .iter()
            .flat_map(|one| one.overrides.iter().map(move |to| (one, to)))
        {
            sending.entry(self.full_name(&to.host)).or_default().push(one);
        }
        self.sending = sending;
        (self.destinations, self.profiles) = (destinations, profiles);
    }

    /// The visible destination policies of a namespace for a service, by its full name: the exact ones, else those of the
    /// most specific pattern.
    pub(super) fn destinations(&self, namespace: &str, host: &str) -> Vec<&'a DestinationPolicy> {
        self.destinations.find(namespace, host)
    }

    /// The profiles of a namespace for a service, by its full name.
    pub(super) fn profiles_of(&self, namespace: &str, host: &str) -> Vec<&'a ServiceProfile> {
        self.profiles.find(namespace, host)
    }

    /// The profiles that send requests to this service, by its full name.
    pub(super) fn profiles_sending(&self, host: &str) -> &[&'a ServiceProfile] {
        self.sending.get(host).map_or(&[], Vec::as_slice)
    }

    /// Each name belongs to the documents of one namespace: nobody adds endpoints to another's service.
    ///
    /// A full name goes before a further name of another service, the namespace that the name itself has before
    /// others, the oldest document before younger ones.
    fn add_defined(&mut self) {
        let visible = self.policy.services.iter();
        let visible = visible.filter(|service| service.export.includes(&self.workload.namespace));
        let mut defined: BTreeMap<&'a str, Vec<&'a Service>> = BTreeMap::new();
        for service in visible {
            for host in &service.hosts {
                defined.entry(host).or_default().push(service);
            }
        }
        for (host, mut services) in defined.into_iter().filter(|(host, _)| !host.starts_with('*')) {
            let named = self.kubernetes_parts(host).map(|(_, namespace)| namespace);
            services.sort_by_key(|service| service.claim(host, named));
            if let Some(first) = services.first().copied() {
                services.retain(|service| service.is_one_with(first, host));
            }
            let is_seen = services.first().is_none_or(|service| self.visibility.service(service));
            let known = if is_seen { Known::Called } else { Known::Hidden };
            self.services.insert(host, Entry { known, services });
        }
    }

    /// A name that a rule speaks of is a service of its own, resolved by DNS.
    fn add_referenced(&mut self) {
        let routed = self
            .tables
            .iter()
            .flat_map(|table| table.hosts.iter().map(|host| host.host.as_str()));
        let policy = self.policy;
        let tuned = policy
            .destinations
            .iter()
            .filter(|one| self.sees(&one.meta, &one.export));
        let tuned = tuned.map(|one| (one.meta.namespace.as_str(), one.host.as_str()));
        let profiled = policy.profiles.iter().filter(|one| self.profiles(one));
        let profiled = profiled.map(|profile| (profile.meta.namespace.as_str(), profile.host.as_str()));
        let tuned = tuned.chain(profiled).map(|(namespace, host)| {
            let namespace = self.namespace_of(host).unwrap_or(namespace);
            match self.visibility.name(namespace, host) {
                true => (host, Known::Tuned),
                false => (host, Known::Hidden),
            }
        });
        let called = routed.map(|host| (host, Known::Called));
        let named: Vec<_> = called.chain(tuned).collect();
        for (host, known) in named.into_iter().filter(|(host, _)| !host.starts_with('*')) {
            let services = Vec::new();
            let entry = self.services.entry(host).or_insert(Entry { known, services });
            if known == Known::Called {
                // A rule that is seen makes a name of a service that is not.
                entry.known = known;
            }
        }
    }

    /// The settings of the mesh as they hold for the workload.
    pub(super) fn mesh(&self) -> MeshSettings {
        let mesh = self.policy.mesh.clone();
        let outbound = self.visibility.outbound().unwrap_or(mesh.outbound);
        MeshSettings { outbound, ..mesh }
    }

    /// The names that a caller may dial and that are known in this way.
    pub(super) fn hosts(&self, known: Known) -> impl Iterator<Item = &'a str> + '_ {
        let of = self.services.iter().filter(move |(_, entry)| entry.known == known);
        of.map(|(host, _)| *host)
    }

    /// Whether the workload's namespace sees a document: its own ones always.
    pub(super) fn sees(&self, meta: &Meta, export: &Export) -> bool {
        let own = &self.workload.namespace;
        meta.namespace == *own || export.includes(own)
    }

    /// Whether a profile can hold for us: those of the caller's namespace and of the service's do.
    fn profiles(&self, profile: &ServiceProfile) -> bool {
        let namespace = Some(profile.meta.namespace.as_str());
        namespace == Some(&self.workload.namespace) || namespace == self.namespace_of(&profile.host)
    }

    /// The full name of a service that has `host` as a further name, else `host`.
    pub(super) fn full_name<'b>(&self, host: &'b str) -> &'b str
    where
        'a: 'b,
    {
        let service = self.definitions(host).first();
        service
            .and_then(|service| service.hosts.first())
            .map_or(host, String::as_str)
    }

    /// The name whose endpoints are called: the full name, unless DNS is to resolve `host` itself.
    pub(super) fn callee<'b>(&self, host: &'b str) -> &'b str
    where
        'a: 'b,
    {
        let full = self.full_name(host);
        if self.endpoints(full).is_some() { full } else { host }
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
        kubernetes_parts(host, &self.policy.mesh.cluster_domain)
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

    /// Whether automatic mTLS may be used at all: what no document defines is of the mesh if its name is.
    pub(super) fn is_internal(&self, host: &str) -> bool {
        match self.definitions(host) {
            [] => self.kubernetes_parts(host).is_some(),
            services => services
                .iter()
                .all(|service| service.location == Location::MeshInternal),
        }
    }

    /// The route table that a host belongs to: of those that name it, or else its full name, the first; else the one
    /// with the most specific wildcard.
    pub(super) fn claim(&self, host: &str) -> Option<&'a RouteTable> {
        let exact = |name: &str| self.claims.get(name).copied();
        exact(host).or_else(|| exact(self.full_name(host))).or_else(|| {
            let covering = self.patterns.iter().filter(|(pattern, _)| host_covers(pattern, host));
            // The first table wins ties, where `max_by_key` would keep the last.
            covering
                .first_max(|(pattern, _)| pattern.len())
                .map(|(_, table)| *table)
        })
    }

    /// The tables that compete for a host: those that are as near to the caller's namespace as the first of them. Routes
    /// of the caller's own namespace take the place of the others.
    pub(super) fn competing(&self, host: &str) -> Vec<&'a RouteTable> {
        let exact = |name: &str| self.competing.get(name);
        let tables = exact(host).or_else(|| exact(self.full_name(host))).or_else(|| {
            let patterns = self.competing.iter().filter(|(name, _)| host_covers(name, host));
            patterns.max_by_key(|(name, _)| name.len()).map(|(_, tables)| tables)
        });
        let mut tables = tables.map_or(&[][..], Vec::as_slice).iter().copied().peekable();
        let own = &self.workload.namespace;
        let nearest = tables.peek().map(|table| distance(table, own));
        tables.filter(|table| Some(distance(table, own)) == nearest).collect()
    }

    /// The tables that the clients of this workload's namespace see, in order of precedence.
    pub(super) fn visible_tables(&self) -> &[&'a RouteTable] {
        &self.tables
    }

    /// Where a service is defined, if a file does so.
    pub(super) fn origin(&self, host: &str) -> Origin {
        self.definitions(host)
            .first()
            .map(|service| service.meta.origin.clone())
            .unwrap_or_default()
    }
}

fn visible_tables<'a>(policy: &'a Policy, namespace: &str, visibility: Visibility<'a>) -> Vec<&'a RouteTable> {
    let mesh = policy
        .routes
        .iter()
        .filter(|table| table.bindings.contains(&Binding::Mesh));
    let seen = mesh.filter(|table| table.export.includes(namespace) && visibility.table(table));
    let mut tables: Vec<_> = seen.collect();
    tables.sort_by_key(|table| (distance(table, namespace), !competes(table), table.meta.precedence()));
    tables
}

/// Tables that a namespace keeps to itself go first, then those that others export to it by name, then public ones.
pub(super) fn distance(table: &RouteTable, namespace: &str) -> u8 {
    match table.export {
        Export::All => 2,
        _ if table.meta.namespace == namespace => 0,
        _ => 1,
    }
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
