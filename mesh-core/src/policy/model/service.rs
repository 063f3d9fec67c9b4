//! Services and their endpoints.

use std::collections::BTreeMap;

use super::{Export, Labels, Meta, Origin, Shared};

/// A service: names under which it is called, ports, endpoints.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Service {
    /// Name and place.
    pub meta: Meta,
    /// The full name first, then further names; lower case.
    pub hosts: Vec<String>,
    /// Service ports. Empty where endpoints carry their port: then any port reaches them.
    pub ports: Vec<ServicePort>,
    /// Where its endpoints come from.
    pub endpoints: EndpointSource,
    /// Whether it is part of the mesh.
    pub location: Location,
    /// Addresses that stand for it.
    pub addresses: Vec<ipnet::IpNet>,
    /// SPIFFE ids (full text) that its servers may have; empty derives them from the endpoints, else any of the trust domain.
    pub subject_alt_names: Vec<String>,
    /// Who sees it.
    pub export: Export,
}

impl Service {
    /// The order in which documents own a name that several define: those whose full name it is before those that
    /// have it as a further name, those of the namespace in the name (`named`) before others, older before younger.
    pub(crate) fn claim(&self, host: &str, named: Option<&str>) -> (bool, bool, (u64, &str, &str)) {
        let is_elsewhere = named.is_some_and(|namespace| namespace != self.meta.namespace);
        (self.is_further(host), is_elsewhere, self.meta.precedence())
    }

    /// Whether `host` is not the full name.
    pub(crate) fn is_further(&self, host: &str) -> bool {
        self.hosts.first().is_none_or(|full| full != host)
    }

    /// Whether two documents that define `host` define one service together.
    pub(crate) fn is_one_with(&self, other: &Self, host: &str) -> bool {
        self.meta.namespace == other.meta.namespace && self.is_further(host) == other.is_further(host)
    }
}

/// A port of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServicePort {
    /// The number that callers dial.
    pub number: u16,
    /// Its name.
    pub name: String,
    /// The application protocol.
    pub protocol: Protocol,
    /// The endpoints' port, where it differs.
    pub target: Option<u16>,
}

/// The application protocol of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP, its version agreed on per connection.
    #[default]
    Http,
    /// HTTP/2, with prior knowledge on plain text.
    Http2,
    /// gRPC: HTTP/2.
    Grpc,
    /// HTTP over TLS that the application itself speaks.
    Https,
    /// TLS that the application itself speaks.
    Tls,
    /// Bytes.
    Tcp,
}

/// Where the endpoints of a service come from.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum EndpointSource {
    /// The service's own names are resolved by DNS.
    #[default]
    Dns,
    /// A list; its names, where it has any, are resolved by DNS.
    Listed(Shared<Endpoint>),
    /// The workload entries of the same namespace that have these labels.
    Selected(Labels),
}

/// What the callers of a namespace see of the mesh (Istio's `Sidecar`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sidecar {
    /// Name and place. In the root namespace and without a selector it holds for the mesh.
    pub meta: Meta,
    /// Workloads that it holds for; empty is the whole namespace.
    pub selector: Labels,
    /// The services that are seen; `None` is all of them.
    pub egress: Option<Vec<EgressHost>>,
    /// What becomes of a request to a host that is not seen; `None` is the mesh's setting.
    pub outbound: Option<super::OutboundMode>,
}

/// Services that a [`Sidecar`] lets its callers see: `namespace/host`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EgressHost {
    /// The namespace; `*` is any.
    pub namespace: String,
    /// A full name, `*.suffix` or `*`.
    pub host: String,
}

/// Whether a service is part of the mesh (`location`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Location {
    /// Its workloads have identities of this mesh.
    #[default]
    MeshInternal,
    /// They have none; no automatic mTLS.
    MeshExternal,
}

/// One address of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Endpoint {
    /// An IP address or a DNS name.
    pub address: String,
    /// Its port; `None` takes `ports`, else the service port's target.
    pub port: Option<u16>,
    /// Its ports by the name of the service port.
    pub ports: BTreeMap<String, u16>,
    /// Service ports, by their names, that it does not have: requests to them never go to it.
    pub closed_ports: Vec<String>,
    /// Labels, for subsets.
    pub labels: Labels,
    /// `region/zone/subzone`; empty where unknown.
    pub locality: String,
    /// Its weight in the balancing, at least 1.
    pub weight: u32,
    /// The service account of its workload: with it the endpoint is known to have a mesh identity.
    pub service_account: Option<String>,
    /// Where it was written.
    pub origin: Origin,
}

/// A name that stands for another one (`type: ExternalName`); only until all services are read.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ExternalName {
    /// The name that it stands for.
    pub target: String,
    /// The service that it is where no other has that name; it has no endpoints yet.
    pub service: Service,
    /// Where it is written.
    pub origin: Origin,
}

/// Endpoints of a service of Kubernetes in a document of their own; only until all documents are read.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct EndpointSet {
    /// Name and place.
    pub meta: Meta,
    /// The name of the service, of the same namespace.
    pub service: String,
    /// Which of two kinds of documents it is: of both for one service, slices count.
    pub kind: EndpointSetKind,
    /// The endpoints.
    pub members: Vec<Member>,
}

/// The kinds of documents that list endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "Kubernetes has these two")]
pub enum EndpointSetKind {
    /// `EndpointSlice`.
    #[default]
    Slice,
    /// `Endpoints`.
    Endpoints,
}

/// One endpoint of an [`EndpointSet`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Whether it takes requests.
    pub readiness: Readiness,
    /// The pod that it is.
    pub pod: Option<String>,
}

/// Whether an endpoint takes requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "it does or it does not")]
pub enum Readiness {
    /// It does.
    #[default]
    Ready,
    /// It does not, or not yet.
    NotReady,
}

/// A workload of Kubernetes with an address; only until all documents are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pod {
    /// Name and place.
    pub meta: Meta,
    /// Its labels, address, service account and ports by their names.
    pub endpoint: Endpoint,
    /// Whether it takes requests.
    pub readiness: Readiness,
}

/// An endpoint in a document of its own, which services select by its labels.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct WorkloadEntry {
    /// Name and place.
    pub meta: Meta,
    /// The address with its labels.
    pub endpoint: Endpoint,
}
