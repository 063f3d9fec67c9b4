//! Targets: a service, subset and port, with its endpoints and settings.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::decide::cluster::{ClusterKey, ClusterSettings};
use crate::identity::SpiffeId;
use crate::policy::model::service::{Protocol, ServicePort};
use crate::policy::model::traffic::{H2Upgrade, RetryPolicy, TlsOrigination};
use crate::policy::model::{Labels, Origin};

/// Where a route sends its requests: part of a service.
#[derive(Debug)]
#[non_exhaustive]
pub struct Target {
    /// The service's full name.
    pub service: Arc<str>,
    /// The subset.
    pub subset: Option<Arc<str>>,
    /// Where the service is defined.
    pub origin: Origin,
    /// The service port; `None` is the one that the caller dials.
    pub port: Option<u16>,
    /// The service's ports.
    pub ports: Vec<ServicePort>,
    /// Its endpoints.
    pub endpoints: TargetEndpoints,
    pub(super) retry: Arc<RetryPolicy>,
    pub(super) settings: Arc<ClusterSettings>,
    /// Where the caller chooses the port: ports at which something may differ.
    pub(super) port_settings: Vec<PortSettings>,
}

/// The parameters of one service port.
#[derive(Debug)]
pub(super) struct PortSettings {
    pub(super) port: u16,
    pub(super) cluster: Arc<ClusterSettings>,
    pub(super) retry: Arc<RetryPolicy>,
}

/// The endpoints of a target.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TargetEndpoints {
    /// The route names a subset that no policy defines.
    Undefined,
    /// These; names among them are resolved by DNS.
    Listed(Vec<TargetEndpoint>),
}

/// An address of a target before names and ports are resolved.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TargetEndpoint {
    /// An address, or a name for DNS.
    pub address: EndpointAddress,
    /// Its weight, at least 1.
    pub weight: u32,
    /// What is said of it beside.
    pub kind: Arc<EndpointKind>,
}

/// What endpoints that are listed together mostly have in common, and share then.
#[derive(Debug)]
#[non_exhaustive]
pub struct EndpointKind {
    /// Their own port.
    pub port: Option<u16>,
    /// Their ports by the service port's name.
    pub ports: std::collections::BTreeMap<String, u16>,
    /// Service ports, by their names, that they do not have.
    pub closed_ports: Vec<String>,
    /// Their labels.
    pub labels: Arc<Labels>,
    /// Their locality, empty where unknown.
    pub locality: Arc<str>,
    /// How to talk to them.
    pub tls: EndpointTls,
    /// The same by service port, where it differs.
    pub(super) port_tls: Vec<(u16, EndpointTls)>,
}

/// An IP address, or a name that DNS resolves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndpointAddress {
    /// An address.
    Ip(IpAddr),
    /// A name.
    Name(Arc<str>),
}

impl EndpointAddress {
    /// Reads an address or a name.
    #[must_use]
    pub fn new(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Name(text.into()), Self::Ip)
    }
}

/// How to talk to an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndpointTls {
    /// Plain text.
    #[default]
    Plain,
    /// mTLS with a peer that has one of these ids, or any of the trust domain where the list is empty.
    Mutual(Arc<[SpiffeId]>),
    /// TLS to a server that is not of the mesh.
    Origination(Arc<TlsOrigination>),
}

/// The version of HTTP to speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HttpVersion {
    /// Agreed on by ALPN over TLS; on plain text that of the request.
    #[default]
    Negotiate,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, with prior knowledge on plain text.
    Http2,
}

/// A target for one dialled port: the identity of its run-time state, and its parameters.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ResolvedTarget {
    /// The identity.
    pub key: ClusterKey,
    /// The parameters, which services share that say the same.
    pub settings: Arc<ClusterSettings>,
    /// The version of HTTP.
    pub http: HttpVersion,
    /// The endpoints with their ports.
    pub endpoints: Vec<ResolvedEndpoint>,
}

/// An endpoint with its port.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ResolvedEndpoint {
    /// An address, or a name for DNS.
    pub address: EndpointAddress,
    /// Its port.
    pub port: u16,
    /// Its weight, at least 1.
    pub weight: u32,
    /// Its labels.
    pub labels: Arc<Labels>,
    /// Its locality, empty where unknown.
    pub locality: Arc<str>,
    /// How to talk to it.
    pub tls: EndpointTls,
}

impl ResolvedEndpoint {
    /// The socket address, unless DNS has to be asked.
    #[must_use]
    pub const fn socket_address(&self) -> Option<SocketAddr> {
        match &self.address {
            EndpointAddress::Ip(ip) => Some(SocketAddr::new(*ip, self.port)),
            EndpointAddress::Name(_) => None,
        }
    }
}

impl ResolvedEndpoint {
    /// A host that no policy describes: plain text, no labels.
    #[must_use]
    pub fn by_host(host: &str, port: u16) -> Self {
        Self {
            address: EndpointAddress::new(host),
            port,
            weight: 1,
            labels: Arc::default(),
            locality: "".into(),
            tls: EndpointTls::Plain,
        }
    }

    /// The name that DNS has to be asked for, unless it is an address.
    #[must_use]
    pub const fn name(&self) -> Option<&Arc<str>> {
        match &self.address {
            EndpointAddress::Name(name) => Some(name),
            EndpointAddress::Ip(_) => None,
        }
    }
}

impl ResolvedTarget {
    /// A target that no policy describes, with one endpoint.
    #[must_use]
    pub fn passthrough(key: ClusterKey, settings: Arc<ClusterSettings>, endpoint: ResolvedEndpoint) -> Self {
        Self {
            key,
            settings,
            http: HttpVersion::Negotiate,
            endpoints: vec![endpoint],
        }
    }
}

impl Target {
    /// The service port that a request to `dialled` uses.
    #[must_use]
    pub fn service_port(&self, dialled: u16) -> u16 {
        self.port.unwrap_or(dialled)
    }

    /// The parameters for a service port.
    #[must_use]
    pub fn settings(&self, port: u16) -> &Arc<ClusterSettings> {
        self.at(port).map_or(&self.settings, |own| &own.cluster)
    }

    /// Retries of routes that set none, for a service port.
    #[must_use]
    pub fn retry(&self, port: u16) -> &Arc<RetryPolicy> {
        self.at(port).map_or(&self.retry, |own| &own.retry)
    }

    /// Shares what another target says, too: most services set nothing.
    pub(super) fn share(&mut self, other: &Self) {
        if self.settings == other.settings {
            self.settings = Arc::clone(&other.settings);
        }
        if self.retry == other.retry {
            self.retry = Arc::clone(&other.retry);
        }
    }

    /// The ports with settings of their own.
    pub(crate) fn port_settings(&self) -> impl Iterator<Item = u16> {
        self.port_settings.iter().map(|own| own.port)
    }

    fn at(&self, port: u16) -> Option<&PortSettings> {
        self.port_settings.iter().find(|own| own.port == port)
    }

    /// The target for a dialled port: not for the request path, drivers keep the result.
    #[must_use]
    pub fn resolve(&self, dialled: u16) -> ResolvedTarget {
        let port = self.service_port(dialled);
        let settings = Arc::clone(self.settings(port));
        let service_port = self.ports.iter().find(|known| known.number == port);
        ResolvedTarget {
            key: ClusterKey {
                service: self.service.clone(),
                subset: self.subset.clone(),
                port,
            },
            http: http_version(service_port.map(|port| port.protocol), settings.limits.h2_upgrade),
            endpoints: self.resolved_endpoints(port, service_port),
            settings,
        }
    }

    fn resolved_endpoints(&self, port: u16, service_port: Option<&ServicePort>) -> Vec<ResolvedEndpoint> {
        let TargetEndpoints::Listed(endpoints) = &self.endpoints else {
            return Vec::new();
        };
        endpoints
            .iter()
            .filter_map(|endpoint| endpoint.resolve(port, service_port))
            .collect()
    }
}

impl TargetEndpoint {
    /// The endpoint as it is called for a service port; `None` where it does not have it.
    fn resolve(&self, port: u16, service_port: Option<&ServicePort>) -> Option<ResolvedEndpoint> {
        let kind = &*self.kind;
        if service_port.is_some_and(|port| kind.closed_ports.contains(&port.name)) {
            return None;
        }
        let named = service_port.and_then(|port| kind.ports.get(&port.name)).copied();
        let target = service_port.and_then(|port| port.target);
        let own = kind.port_tls.iter().find(|(number, _)| *number == port);
        Some(ResolvedEndpoint {
            address: self.address.clone(),
            port: kind.port.or(named).or(target).unwrap_or(port),
            weight: self.weight.max(1),
            labels: kind.labels.clone(),
            locality: kind.locality.clone(),
            tls: own.map_or(&kind.tls, |(_, tls)| tls).clone(),
        })
    }
}

const fn http_version(protocol: Option<Protocol>, upgrade: H2Upgrade) -> HttpVersion {
    match (protocol, upgrade) {
        (Some(Protocol::Http2 | Protocol::Grpc), _) | (_, H2Upgrade::Upgrade) => HttpVersion::Http2,
        (_, H2Upgrade::DoNotUpgrade) => HttpVersion::Http1,
        _ => HttpVersion::Negotiate,
    }
}

impl std::fmt::Display for ResolvedEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.address {
            EndpointAddress::Ip(ip) => write!(f, "{}", SocketAddr::new(*ip, self.port)),
            EndpointAddress::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}
