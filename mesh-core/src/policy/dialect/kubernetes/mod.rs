//! Objects of Kubernetes that say which services there are and where they run.
//!
//! A `Service` gives the name, the ports and a selector; its endpoints are the first of these that the files have:
//! its `EndpointSlice`s, its `Endpoints`, the pods with addresses that it selects. Workload entries that it selects are
//! endpoints beside them, as in Istio. A service without any is left to DNS: its name gives the address of the service,
//! or those of its pods where it is headless. Pods give the endpoints that they are their labels, which subsets need.
//!
//! Fields that configure Kubernetes alone are passed over; those that would change where a request goes are told.
//!
//! ```
//! use mesh_core::policy::Loaded;
//! use mesh_core::policy::model::service::EndpointSource;
//!
//! let text = "\
//! apiVersion: v1
//! kind: Service
//! metadata: { name: orders, namespace: shop }
//! spec: { selector: { app: orders }, ports: [{ name: http, port: 80, targetPort: 8080 }] }
//! ---
//! apiVersion: discovery.k8s.io/v1
//! kind: EndpointSlice
//! metadata: { name: orders-x7k2p, namespace: shop, labels: { kubernetes.io/service-name: orders } }
//! addressType: IPv4
//! endpoints: [{ addresses: [10.0.0.4] }]
//! ports: [{ name: http, port: 8080 }]
//! ";
//! let policy = Loaded::from_files([("orders.yaml", text)]).policy.unwrap();
//! let EndpointSource::Listed(endpoints) = &policy.services[0].endpoints else { panic!() };
//! assert_eq!(endpoints[0].address, "10.0.0.4");
//! ```

use std::collections::BTreeSet;

use super::{Dialect, Object, names, required_spec};
use crate::policy::diagnostic::{Code, Diagnostic, Report, quoted};
use crate::policy::model::service::EndpointSet;
use crate::policy::model::{Policy, full_host};
use crate::policy::reader::{Reader, Spelling};
use crate::policy::source::Node;

mod endpoints;
mod external;
mod join;
mod pod;
mod port;
mod service;

pub(in crate::policy) use external::resolve as resolve_names;

/// The dialect.
pub const DIALECT: Dialect = Dialect {
    name: "kubernetes",
    spelling: Spelling::Exact,
    knows,
    is_settings: |_| false,
    lower,
};

fn knows(api_version: &str, kind: &str) -> bool {
    match api_version {
        "v1" => matches!(kind, "Service" | "Endpoints" | "Pod"),
        "discovery.k8s.io/v1" | "discovery.k8s.io/v1beta1" => kind == "EndpointSlice",
        _ => false,
    }
}

fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    match object.kind {
        "Endpoints" => add(endpoints::endpoints(cx, object), policy),
        "EndpointSlice" => add(endpoints::slice(cx, object), policy),
        "Pod" => {
            let own = policy.pods.entry(object.meta.namespace.clone()).or_default();
            own.extend(pod::pod(cx, object));
        }
        _ => service::lower(cx, object, policy),
    }
}

fn add(set: Option<EndpointSet>, policy: &mut Policy) {
    if let Some(set) = set {
        let name = (set.meta.namespace.clone(), set.service.clone());
        policy.endpoint_sets.entry(name).or_default().push(set);
    }
}

/// Whether an object says nothing that a mesh could use: a pod without an address.
pub(in crate::policy) fn is_idle(kind: &str, node: &Node) -> bool {
    kind == "Pod" && pod::address(node).is_none()
}

/// Once all documents are read, what services are made of is done with: warns of endpoints that belong to none.
pub(in crate::policy) fn resolve(policy: &mut Policy, report: &mut Report) {
    policy.pods.clear();
    let sets = std::mem::take(&mut policy.endpoint_sets);
    let hosts = policy.services.iter().flat_map(|service| &service.hosts);
    let hosts: BTreeSet<&str> = hosts.map(String::as_str).filter(|_| !sets.is_empty()).collect();
    for set in sets.into_values().flatten() {
        let host = full_host(&set.service, &set.meta.namespace, &policy.mesh.cluster_domain);
        if hosts.contains(host.as_str()) || report.has_errors() {
            continue;
        }
        let message = format!(
            "no file defines the service {} of namespace {}: its endpoints change nothing",
            quoted(&set.service),
            quoted(&set.meta.namespace)
        );
        report.push(Diagnostic::new(Code::UNRESOLVED_REFERENCE, &set.meta.origin, message));
    }
}

#[cfg(test)]
mod tests;
