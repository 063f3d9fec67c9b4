//! Workloads that two policies may treat differently.

use std::collections::{BTreeMap, BTreeSet};

use super::sample::ANY;
use crate::policy::model::attachment::{Requirement, Requires};
use crate::policy::model::server::Server;
use crate::policy::model::service::EndpointSource;
use crate::policy::model::{Export, Labels, Policy, selects};
use crate::workload::Workload;

/// Workloads that are asked for at most.
const LIMIT: usize = 200;

/// The workloads that either policy names: one of each namespace, one for each selector, and the endpoints that have
/// names of their own. Of those that no selector tells apart there is one.
///
/// A workload that two selectors pick together is among them where an endpoint has the labels of both. At most 200.
#[must_use]
pub fn workloads(old: &Policy, new: &Policy) -> Vec<Workload> {
    let mut named = Named::default();
    for policy in [old, new] {
        named.collect_selectors(policy);
    }
    let mut found = BTreeMap::new();
    for policy in [old, new] {
        named.collect(policy, &mut found);
    }
    if found.is_empty() {
        return vec![Workload::default()];
    }
    found.into_values().take(LIMIT).collect()
}

/// What tells workloads apart.
#[derive(Debug, Default)]
struct Named {
    namespaces: BTreeSet<String>,
    roots: BTreeSet<String>,
    /// Labels that some selector looks at, with the selector's namespace.
    selectors: BTreeSet<(String, Labels)>,
    /// Labels that some server looks at for itself, by key and value.
    values: BTreeSet<(String, String)>,
    /// Those of which it looks at the key alone.
    keys: BTreeSet<String>,
    /// Service accounts that some policy is for, with its namespace.
    accounts: BTreeSet<(String, String)>,
}

/// Workloads by what tells them apart.
type Found = BTreeMap<(String, Labels, Option<String>), Workload>;

impl Named {
    fn collect_selectors(&mut self, policy: &Policy) {
        self.roots.insert(policy.mesh.root_namespace.clone());
        let mut add = |namespace: &str, selector: &Labels| {
            if !selector.is_empty() {
                self.selectors.insert((namespace.to_owned(), selector.clone()));
            }
        };
        for one in &policy.authorizations {
            add(&one.meta.namespace, &one.selector);
            let accounts = one.service_accounts.iter();
            self.accounts
                .extend(accounts.map(|account| (one.meta.namespace.clone(), account.clone())));
        }
        for one in &policy.peer_authentications {
            add(&one.meta.namespace, &one.selector);
        }
        for one in &policy.request_authentications {
            add(&one.meta.namespace, &one.selector);
        }
        for one in &policy.gateways {
            add(&one.meta.namespace, &one.selector);
        }
        for one in &policy.sidecars {
            add(&one.meta.namespace, &one.selector);
        }
        for one in &policy.destinations {
            add(&one.meta.namespace, &one.workloads);
        }
        for table in &policy.routes {
            for one in table.rules.iter().flat_map(|rule| &rule.matches) {
                let namespace = one.source_namespace.as_ref().unwrap_or(&table.meta.namespace);
                add(namespace, &one.source_labels);
                self.namespaces.extend(one.source_namespace.clone());
            }
        }
        for server in &policy.servers {
            self.collect_requirements(server);
        }
        self.collect_namespaces(policy);
    }

    /// Labels that fulfil what a server asks for, and those that break or fulfil one condition otherwise.
    fn collect_requirements(&mut self, server: &Server) {
        let mut picked = Labels::new();
        let mut others = Vec::new();
        for Requirement { key, is, .. } in &server.selector {
            let any = vec![ANY.to_owned()];
            let (values, hits) = match is {
                Requires::In(values) => (values, 1),
                Requires::NotIn(values) => (values, 0),
                Requires::Exists => (&any, 1),
                Requires::DoesNotExist => (&any, 0),
            };
            if matches!(is, Requires::Exists | Requires::DoesNotExist) {
                self.keys.insert(key.clone());
            }
            let mut values = values.iter().map(|value| (key.clone(), value.clone()));
            picked.extend(values.by_ref().take(hits));
            others.extend(values);
        }
        self.values.extend(picked.clone().into_iter().chain(others.clone()));
        let others = others.into_iter().map(|(key, value)| {
            let mut labels = picked.clone();
            labels.insert(key, value);
            labels
        });
        let all = others.chain([picked.clone()]).filter(|labels| !labels.is_empty());
        let namespace = &server.meta.namespace;
        self.selectors.extend(all.map(|labels| (namespace.clone(), labels)));
    }

    fn collect_namespaces(&mut self, policy: &Policy) {
        let services = policy.services.iter().map(|one| &one.meta);
        let metas = services
            .chain(policy.routes.iter().map(|one| &one.meta))
            .chain(policy.destinations.iter().map(|one| &one.meta))
            .chain(policy.profiles.iter().map(|one| &one.meta))
            .chain(policy.gateways.iter().map(|one| &one.meta))
            .chain(policy.authorizations.iter().map(|one| &one.meta))
            .chain(policy.peer_authentications.iter().map(|one| &one.meta))
            .chain(policy.request_authentications.iter().map(|one| &one.meta))
            .chain(policy.servers.iter().map(|one| &one.meta));
        let metas = metas.chain(policy.sidecars.iter().map(|one| &one.meta));
        let services = policy.services.iter().map(|one| &one.export);
        let exports = services
            .chain(policy.routes.iter().map(|one| &one.export))
            .chain(policy.destinations.iter().map(|one| &one.export));
        for export in exports {
            if let Export::Namespaces(names) = export {
                self.namespaces.extend(names.iter().cloned());
            }
        }
        let outside = metas.filter(|meta| meta.namespace != policy.mesh.root_namespace);
        self.namespaces.extend(outside.map(|meta| meta.namespace.clone()));
    }

    /// Endpoints go first: of workloads that nothing tells apart they are those that exist.
    fn collect(&self, policy: &Policy, found: &mut Found) {
        self.collect_endpoints(policy, found);
        for namespace in &self.namespaces {
            self.add(&Workload::new(namespace, "default"), found);
        }
        for (namespace, selector) in &self.selectors {
            let everywhere = self.roots.contains(namespace) && !self.namespaces.is_empty();
            let namespaces = match everywhere {
                true => self.namespaces.iter().collect(),
                false => vec![namespace],
            };
            for namespace in namespaces {
                self.add(&labelled(namespace, "default", selector), found);
            }
        }
        for (namespace, account) in &self.accounts {
            self.add(&Workload::new(namespace, account), found);
        }
    }

    fn collect_endpoints(&self, policy: &Policy, found: &mut Found) {
        let listed = policy.services.iter().flat_map(|service| {
            let endpoints = match &service.endpoints {
                EndpointSource::Listed(endpoints) => endpoints.as_slice(),
                _ => &[],
            };
            endpoints
                .iter()
                .map(move |endpoint| (&service.meta.namespace, endpoint))
        });
        let entries = policy
            .workload_entries
            .iter()
            .map(|entry| (&entry.meta.namespace, &entry.endpoint));
        for (namespace, endpoint) in listed.chain(entries) {
            let account = endpoint.service_account.as_deref().unwrap_or("default");
            self.add(&labelled(namespace, account, &endpoint.labels), found);
        }
    }

    /// Adds a workload with the labels that matter, unless one like it is there; one with an account is better.
    fn add(&self, workload: &Workload, found: &mut Found) {
        let mut labels = Labels::new();
        for (_, selector) in self.selectors.iter().filter(|(_, one)| selects(one, &workload.labels)) {
            labels.extend(selector.clone());
        }
        for (name, value) in &workload.labels {
            if self.values.contains(&(name.clone(), value.clone())) {
                labels.insert(name.clone(), value.clone());
            } else if self.keys.contains(name) {
                labels.entry(name.clone()).or_insert_with(|| ANY.to_owned());
            }
        }
        let given = workload.labels.clone().into_iter();
        let given: Labels = given.filter(|(name, _)| labels.contains_key(name)).collect();
        let account = Some(workload.service_account.clone());
        let account = account.filter(|account| self.accounts.iter().any(|(_, known)| known == account));
        let key = (workload.namespace.clone(), labels.clone(), account);
        let is_better = found
            .get(&key)
            .is_none_or(|known| known.service_account == "default" && workload.service_account != "default");
        if is_better {
            found.insert(key, labelled(&workload.namespace, &workload.service_account, &given));
        }
    }
}

fn labelled(namespace: &str, account: &str, labels: &Labels) -> Workload {
    let workload = Workload::new(namespace, account);
    labels
        .iter()
        .fold(workload, |workload, (key, value)| workload.label(key, value))
}
