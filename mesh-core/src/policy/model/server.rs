//! Ports of workloads that are guarded one by one, and what their routes allow (Linkerd's `Server`).
//!
//! A port that a server guards takes only what some policy of the server, or of the route that takes the request, allows.
//! A port without a server is open. A server with routes answers 404 to what none of them takes.

use ipnet::IpNet;

use super::attachment::Requirement;
use super::authz::{AuthorizationPolicy, Pattern, Source};
use super::route::{HostPattern, RouteMatch};
use super::{Labels, Meta, Origin};
use crate::workload::Workload;

/// Ports of some workloads.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Server {
    /// Name and place. Of several for one port of a workload the oldest counts, then the first by name.
    pub meta: Meta,
    /// Its own labels, by which authorizations select it.
    pub labels: Labels,
    /// Conditions on the labels of the workloads, of its namespace.
    pub selector: Vec<Requirement>,
    /// The ports, one where it is given by number.
    pub ports: Vec<u16>,
    /// Who may do anything; each policy is `ALLOW` and guards `ports`.
    pub policies: Vec<AuthorizationPolicy>,
    /// What may be asked for, most specific first; none is anything.
    pub rules: Vec<ServerRule>,
    /// Who may ask for what some rules take.
    pub routes: Vec<ServerRoute>,
}

impl Server {
    /// Whether it guards ports of this workload.
    #[must_use]
    pub fn holds_for(&self, workload: &Workload) -> bool {
        self.meta.namespace == workload.namespace
            && self
                .selector
                .iter()
                .all(|requirement| requirement.holds(&workload.labels))
    }
}

/// Requests that a route takes.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ServerRule {
    /// Hosts or patterns; none is any.
    pub hosts: Vec<HostPattern>,
    /// The conditions.
    pub matches: RouteMatch,
    /// The index of the route among the server's.
    pub route: usize,
}

/// A route of a server: all of its rules share their policies.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ServerRoute {
    /// Name and place.
    pub meta: Meta,
    /// Who may ask for it; each policy is `ALLOW` and guards the server's ports.
    pub policies: Vec<AuthorizationPolicy>,
}

/// What documents say of servers and of each other; only until all documents are read.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Pending {
    /// Servers with the port as it was written.
    pub servers: Vec<PendingServer>,
    /// Who may do what.
    pub authorizations: Vec<Authorization>,
    /// Who somebody is, by name.
    pub authentications: Vec<Authentication>,
}

impl Pending {
    pub(super) fn append(&mut self, other: Self) {
        self.servers.extend(other.servers);
        self.authorizations.extend(other.authorizations);
        self.authentications.extend(other.authentications);
    }
}

/// A server whose port may be a name.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct PendingServer {
    /// The server, its ports empty where they have a name.
    pub server: Server,
    /// The name, and where it was written.
    pub port_name: Option<(String, Origin)>,
    /// Who may do anything without being named.
    pub access: Vec<Source>,
    /// Where that was written.
    pub access_origin: Origin,
}

/// A document that allows something.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Authorization {
    /// Name and place.
    pub meta: Meta,
    /// What for.
    pub target: Target,
    /// Who.
    pub who: Who,
    /// Where the target was named.
    pub origin: Origin,
}

impl Authorization {
    /// Allows `who` to use `target`, which is named at `origin`.
    #[must_use]
    pub const fn new(meta: Meta, target: Target, who: Who, origin: Origin) -> Self {
        Self {
            meta,
            target,
            who,
            origin,
        }
    }
}

/// What an [`Authorization`] is for, of its own namespace.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Target {
    /// A server, by name.
    Server(String),
    /// Servers, by their labels.
    Servers(Vec<Requirement>),
    /// A route: its kind and name.
    Route(String, String),
    /// All servers of the namespace.
    Namespace,
}

/// Who is allowed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Who {
    /// One of these.
    Sources(Vec<Source>),
    /// Whoever fulfils all of these; anyone, where there are none.
    All(Vec<Reference>),
}

/// A condition on the peer that another document may hold.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Reference {
    /// It is one of these.
    Identities(Vec<Pattern>),
    /// It is as an [`Authentication`] of this kind, namespace and name says.
    Named {
        /// The kind of the document.
        kind: &'static str,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Where it was named.
        origin: Origin,
    },
}

/// Who somebody is (`MeshTLSAuthentication`, `NetworkAuthentication`).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Authentication {
    /// Name and place.
    pub meta: Meta,
    /// By what.
    pub proof: Proof,
}

impl Authentication {
    /// Who shows this proof.
    #[must_use]
    pub const fn new(meta: Meta, proof: Proof) -> Self {
        Self { meta, proof }
    }
}

/// By what somebody is known.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Proof {
    /// By an id, without its scheme.
    Identities(Vec<Pattern>),
    /// By an address.
    Networks(Vec<Network>),
}

impl Proof {
    /// The kind of the document that says it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Identities(_) => "MeshTLSAuthentication",
            Self::Networks(_) => "NetworkAuthentication",
        }
    }
}

/// A network without parts of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Network {
    /// The network.
    pub cidr: IpNet,
    /// What is not meant.
    pub except: Vec<IpNet>,
}

impl Network {
    /// All of a network.
    #[must_use]
    pub const fn new(cidr: IpNet) -> Self {
        Self {
            cidr,
            except: Vec::new(),
        }
    }
}

/// How many requests a second a server takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimit {
    /// Name and place. Of several for one server the oldest counts.
    pub meta: Meta,
    /// The server, of the same namespace.
    pub server: String,
    /// Of all callers together.
    pub total: Option<u32>,
    /// Of each caller; those without an identity are one.
    pub identity: Option<u32>,
    /// Of some callers, in place of `identity`.
    pub overrides: Vec<RateOverride>,
}

/// How many requests a second some callers may send, each of them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateOverride {
    /// The number.
    pub per_second: u32,
    /// The callers, by their ids without scheme.
    pub clients: Vec<Pattern>,
}

impl RateOverride {
    /// `per_second` requests for each of `clients`.
    #[must_use]
    pub const fn new(per_second: u32, clients: Vec<Pattern>) -> Self {
        Self { per_second, clients }
    }
}
