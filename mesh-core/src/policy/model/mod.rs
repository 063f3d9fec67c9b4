//! What a policy says, whatever dialect it was written in.
//!
//! The model knows no dialect. Names are resolved (short hosts are full names here), defaults are
//! applied where the absence of a field has no meaning of its own, and every item carries its
//! [`Origin`]. A value that exists is valid: only the dialects' lowering makes one.

pub mod attachment;
pub mod authorizer;
pub mod authz;
pub mod connections;
pub mod filter;
pub mod forwarding;
pub mod gateway;
pub mod identity;
pub mod jwt;
pub mod profile;
pub mod route;
pub mod server;
pub mod service;
mod shared;
pub mod telemetry;
pub mod traffic;

use std::collections::BTreeMap;

pub use super::source::Origin;
pub use shared::Shared;

use crate::request::PathNormalization;

use filter::Fraction;

/// Labels of a workload, an endpoint or a selector.
pub type Labels = BTreeMap<String, String>;

/// Everything that a set of policy files says.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Policy {
    /// Settings of the whole mesh.
    pub mesh: MeshSettings,
    /// Services and their endpoints (native `services`, `ServiceEntry`).
    pub services: Vec<service::Service>,
    /// Endpoints that services select by label (`WorkloadEntry`).
    pub workload_entries: Vec<service::WorkloadEntry>,
    /// Endpoints in documents of their own (`EndpointSlice`), by namespace and service; only until all documents are read.
    pub endpoint_sets: BTreeMap<(String, String), Vec<service::EndpointSet>>,
    /// Names that stand for others (`type: ExternalName`); only until all services are read.
    pub external_names: Vec<service::ExternalName>,
    /// Workloads with addresses (`Pod`), by namespace; only until all documents are read.
    pub pods: BTreeMap<String, Vec<service::Pod>>,
    /// Requests that splits and targets name; only until all documents are read.
    pub request_groups: Vec<route::RequestGroup>,
    /// Routes by host (`VirtualService`, `TrafficSplit`, native `routes`).
    pub routes: Vec<route::RouteTable>,
    /// Route tables without hosts, which others hand requests to; only until all documents are read.
    pub delegates: Vec<route::RouteTable>,
    /// What the callers of a namespace see of the mesh (`Sidecar`).
    pub sidecars: Vec<service::Sidecar>,
    /// Route classes of a service (`ServiceProfile`).
    pub profiles: Vec<profile::ServiceProfile>,
    /// How to talk to a service (`DestinationRule`, native traffic settings).
    pub destinations: Vec<traffic::DestinationPolicy>,
    /// Front doors (`Gateway`).
    pub gateways: Vec<gateway::Gateway>,
    /// What documents say of each other; only until all documents are read.
    pub attachments: attachment::Attachments,
    /// Which connections a server takes (`PeerAuthentication`, native `mtls`).
    pub peer_authentications: Vec<identity::PeerAuthentication>,
    /// Which tokens requests may carry (`RequestAuthentication`).
    pub request_authentications: Vec<jwt::RequestAuthentication>,
    /// What is measured, logged and traced (`Telemetry`).
    pub telemetries: Vec<telemetry::Telemetry>,
    /// Who may do what (`AuthorizationPolicy`, native `authorization`).
    pub authorizations: Vec<authz::AuthorizationPolicy>,
    /// Who is asked about requests (`meshConfig.extensionProviders`, native `authorizers`).
    pub authorizers: Vec<authorizer::ExternalAuthorizer>,
    /// How many requests a second servers take (`HTTPLocalRateLimitPolicy`).
    pub rate_limits: Vec<server::RateLimit>,
    /// Ports of workloads with rules of their own (`Server`).
    pub servers: Vec<server::Server>,
    /// What documents say of servers; only until all documents are read.
    pub server_documents: server::Pending,
}

impl Policy {
    /// Adds what another one says, beside its settings of the mesh.
    pub(in crate::policy) fn append(&mut self, other: Self) {
        let Self {
            mesh: _,
            services,
            workload_entries,
            endpoint_sets,
            external_names,
            pods,
            request_groups,
            routes,
            delegates,
            sidecars,
            profiles,
            destinations,
            gateways,
            attachments,
            peer_authentications,
            request_authentications,
            telemetries,
            authorizations,
            authorizers,
            rate_limits,
            servers,
            server_documents,
        } = other;
        self.services.extend(services);
        self.workload_entries.extend(workload_entries);
        for (service, sets) in endpoint_sets {
            self.endpoint_sets.entry(service).or_default().extend(sets);
        }
        self.external_names.extend(external_names);
        for (namespace, pods) in pods {
            self.pods.entry(namespace).or_default().extend(pods);
        }
        self.request_groups.extend(request_groups);
        self.routes.extend(routes);
        self.delegates.extend(delegates);
        self.sidecars.extend(sidecars);
        self.profiles.extend(profiles);
        self.destinations.extend(destinations);
        self.gateways.extend(gateways);
        self.attachments.append(attachments);
        self.peer_authentications.extend(peer_authentications);
        self.request_authentications.extend(request_authentications);
        self.telemetries.extend(telemetries);
        self.authorizations.extend(authorizations);
        self.authorizers.extend(authorizers);
        self.rate_limits.extend(rate_limits);
        self.servers.extend(servers);
        self.server_documents.append(server_documents);
    }
}

/// Name, namespace and place of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// The name, unique for its kind within the namespace.
    pub name: String,
    /// The namespace; `default` where the document names none.
    pub namespace: String,
    /// `metadata.creationTimestamp` in seconds since 1970, 0 where absent: older documents win conflicts.
    pub created: u64,
    /// Where the document starts.
    pub origin: Origin,
}

impl Meta {
    /// The order in which upstream resolves conflicts: oldest first, then name, then namespace.
    #[must_use]
    pub fn precedence(&self) -> (u64, &str, &str) {
        (self.created, &self.name, &self.namespace)
    }
}

/// Settings of the whole mesh (`mesh:` in the native dialect, Istio's `meshConfig`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MeshSettings {
    /// The trust domain of this mesh's identities. Default `cluster.local`.
    pub trust_domain: String,
    /// Other names of it: an id of one of them in a rule stands for the same id in all of them.
    pub trust_domain_aliases: Vec<String>,
    /// The namespace whose policies hold for the whole mesh. Default `istio-system`.
    pub root_namespace: String,
    /// The domain that completes short service names. Default `cluster.local`.
    pub cluster_domain: String,
    /// What becomes of a request to a host that no policy knows. Default [`OutboundMode::AllowAny`].
    pub outbound: OutboundMode,
    /// Where the access log goes. Default none.
    pub access_log: Option<AccessLog>,
    /// For which requests trace and request ids are made. Default [`RequestIds::Recorded`].
    pub request_ids: RequestIds,
    /// How far paths are normalised. Default [`PathNormalization::Base`], as in Istio.
    pub path_normalization: PathNormalization,
    /// What is believed of the hops before the caller. Default nothing.
    pub forwarding: forwarding::Forwarding,
    /// What becomes of open connections when policy or trust changes.
    pub live: connections::LiveSettings,
    /// How TLS is spoken within the mesh.
    pub tls: connections::TlsSettings,
}

impl Default for MeshSettings {
    fn default() -> Self {
        Self {
            trust_domain: "cluster.local".into(),
            trust_domain_aliases: Vec::new(),
            root_namespace: "istio-system".into(),
            cluster_domain: "cluster.local".into(),
            outbound: OutboundMode::AllowAny,
            access_log: None,
            request_ids: RequestIds::Recorded,
            path_normalization: PathNormalization::Base,
            forwarding: forwarding::Forwarding::default(),
            live: connections::LiveSettings::default(),
            tls: connections::TlsSettings::default(),
        }
    }
}

/// What becomes of a request to a host that no policy knows (Istio's `outboundTrafficPolicy.mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutboundMode {
    /// It is resolved by DNS and forwarded.
    AllowAny,
    /// It is answered with 502.
    RegistryOnly,
}

/// Where and how the access log is written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccessLog {
    /// A file, or `/dev/stdout` or `/dev/stderr`.
    pub path: String,
    /// Text or JSON lines.
    pub encoding: AccessLogEncoding,
    /// The share of requests that is logged, drawn when a request begins. Default all.
    pub share: Fraction,
}

impl AccessLog {
    /// A log at `path`.
    #[must_use]
    pub const fn new(path: String, encoding: AccessLogEncoding) -> Self {
        Self {
            path,
            encoding,
            share: Fraction::ALL,
        }
    }

    /// The same for a share of the requests.
    #[must_use]
    pub const fn of_share(mut self, share: Fraction) -> Self {
        self.share = share;
        self
    }
}

/// For which requests `traceparent` and `x-request-id` are made; what a caller brings along is passed on in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestIds {
    /// For those that the access log or a subscriber of spans records.
    Recorded,
    /// For all, as Envoy does it: for applications that log them themselves.
    Always,
}

/// The form of an access log line (Istio's `accessLogEncoding`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessLogEncoding {
    /// Envoy's default text format.
    Text,
    /// One JSON object a line.
    Json,
}

/// Which namespaces see a document (`exportTo`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Export {
    /// All of them (`*`, the default).
    #[default]
    All,
    /// The named ones (`.` is resolved to the document's own).
    Namespaces(Vec<String>),
}

impl Export {
    /// Whether `namespace` sees the document.
    #[must_use]
    pub fn includes(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Namespaces(names) => names.iter().any(|name| name == namespace),
        }
    }
}

/// Completes a short service name as seen from `namespace`; other names, `*` and addresses stay as they are, in lower
/// case, without final dot and in the one spelling that an address has in requests.
///
/// `reviews` becomes `reviews.default.svc.cluster.local`; a name with a dot is not completed, as in Istio.
///
/// ```
/// use mesh_core::policy::model::full_host;
/// assert_eq!(full_host("Reviews", "shop", "cluster.local"), "reviews.shop.svc.cluster.local");
/// assert_eq!(full_host("reviews.prod", "shop", "cluster.local"), "reviews.prod");
/// ```
#[must_use]
pub fn full_host(host: &str, namespace: &str, cluster_domain: &str) -> String {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    if let Ok(address) = host.parse::<std::net::IpAddr>() {
        return address.to_string();
    }
    if host == "*" || host.contains('.') {
        host
    } else {
        format!("{host}.{namespace}.svc.{cluster_domain}")
    }
}

/// `(name, namespace)` of `name.namespace.svc.cluster-domain`.
pub(crate) fn kubernetes_parts<'h>(host: &'h str, cluster_domain: &str) -> Option<(&'h str, &'h str)> {
    let local = host.strip_suffix(cluster_domain)?.strip_suffix(".svc.")?;
    local.split_once('.').filter(|(_, namespace)| !namespace.contains('.'))
}

/// Whether `selector` picks a workload with `labels`: every label of the selector is there with the same value.
#[must_use]
pub fn selects(selector: &Labels, labels: &Labels) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_completed_in_the_namespace_of_their_rule() {
        for (host, full) in [
            ("orders", "orders.shop.svc.cluster.local"),
            ("orders.prod", "orders.prod"),
            ("*", "*"),
            ("10.0.0.1", "10.0.0.1"),
            ("::1", "::1"),
            ("2001:DB8:0::0001", "2001:db8::1"),
            ("api.example.com.", "api.example.com"),
            ("API.Example.com", "api.example.com"),
        ] {
            assert_eq!(full_host(host, "shop", "cluster.local"), full);
        }
    }

    #[test]
    fn a_selector_picks_by_subset() {
        let labels = Labels::from([("app".into(), "orders".into()), ("version".into(), "v2".into())]);
        assert!(selects(&Labels::new(), &labels));
        assert!(selects(&Labels::from([("app".into(), "orders".into())]), &labels));
        assert!(!selects(&Labels::from([("app".into(), "other".into())]), &labels));
        assert!(!selects(&labels, &Labels::new()));
    }
}
