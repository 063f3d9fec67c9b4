//! What documents say of each other: routes name their parents, parents say which routes they take.
//!
//! It is there only until all documents are read; joined, it is tables with bindings
//! ([`Policy::routes`](super::Policy::routes)).

use super::route::RouteTable;
use super::traffic::TlsOrigination;
use super::{Labels, Meta, Origin};

/// Everything that waits for other documents.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Attachments {
    /// Routes with the parents that they name.
    pub routes: Vec<PendingRoute>,
    /// Which routes the listeners of gateways take.
    pub listeners: Vec<Listener>,
    /// What a namespace lets others refer to.
    pub grants: Vec<Grant>,
    /// Labels of namespaces.
    pub namespaces: Vec<NamespaceLabels>,
    /// TLS to services.
    pub tls: Vec<PendingTls>,
}

impl Attachments {
    pub(super) fn append(&mut self, other: Self) {
        self.routes.extend(other.routes);
        self.listeners.extend(other.listeners);
        self.grants.extend(other.grants);
        self.namespaces.extend(other.namespaces);
        self.tls.extend(other.tls);
    }
}

/// A table that is not bound yet: its hosts are those of the route, none is any.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PendingRoute {
    /// The table.
    pub table: RouteTable,
    /// What it routes.
    pub kind: RouteKind,
    /// What it is for.
    pub parents: Vec<Parent>,
}

impl PendingRoute {
    /// A table without parents.
    #[must_use]
    pub const fn new(table: RouteTable, kind: RouteKind) -> Self {
        Self {
            table,
            kind,
            parents: Vec::new(),
        }
    }
}

/// What a route routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum RouteKind {
    /// Requests.
    Http,
    /// Requests of gRPC.
    Grpc,
    /// TLS connections.
    Tls,
    /// TCP connections.
    Tcp,
}

impl RouteKind {
    /// The name of its kind.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "HTTPRoute",
            Self::Grpc => "GRPCRoute",
            Self::Tls => "TLSRoute",
            Self::Tcp => "TCPRoute",
        }
    }
}

/// What a route is for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Parent {
    /// What it is.
    pub kind: ParentKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Only this listener.
    pub section: Option<String>,
    /// Only this port.
    pub port: Option<u16>,
    /// Where the reference was written.
    pub origin: Origin,
}

impl Parent {
    /// All of an object.
    #[must_use]
    pub const fn new(kind: ParentKind, namespace: String, name: String, origin: Origin) -> Self {
        Self {
            kind,
            namespace,
            name,
            section: None,
            port: None,
            origin,
        }
    }
}

/// What kind of object a [`Parent`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParentKind {
    /// A gateway.
    Gateway,
    /// A service, called by the clients of the mesh.
    Service,
    /// The hosts of a `ServiceEntry`, called by the clients of the mesh.
    ServiceEntry,
    /// A port of workloads, which the route guards (Linkerd).
    Server,
}

/// A listener of a gateway, and the routes that it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listener {
    /// The gateway's namespace.
    pub namespace: String,
    /// The gateway's name.
    pub gateway: String,
    /// Its own name.
    pub name: String,
    /// Its port.
    pub port: u16,
    /// Its host or pattern; `*` is any.
    pub host: String,
    /// Namespaces whose routes it takes.
    pub from: From,
    /// Kinds of routes that it takes.
    pub kinds: Vec<RouteKind>,
    /// The namespace of its certificate and the certificate's name, where that is of another namespace.
    pub certificate: Option<(String, String)>,
    /// Where it was written.
    pub origin: Origin,
}

impl Listener {
    /// A listener of a gateway that takes no routes.
    #[must_use]
    pub fn new(gateway: &Meta, name: String, port: u16, origin: Origin) -> Self {
        Self {
            namespace: gateway.namespace.clone(),
            gateway: gateway.name.clone(),
            name,
            port,
            host: "*".into(),
            from: From::Same,
            kinds: Vec::new(),
            certificate: None,
            origin,
        }
    }
}

/// Namespaces whose routes a [`Listener`] takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum From {
    /// The gateway's own.
    #[default]
    Same,
    /// All.
    All,
    /// None.
    None,
    /// Those whose labels fulfil these.
    Selector(Vec<Requirement>),
}

/// A condition on labels.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Requirement {
    /// The label.
    pub key: String,
    /// What it must be.
    pub is: Requires,
}

impl Requirement {
    /// The label `key` must be so.
    #[must_use]
    pub const fn new(key: String, is: Requires) -> Self {
        Self { key, is }
    }

    /// Whether labels fulfil it.
    #[must_use]
    pub fn holds(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match &self.is {
            Requires::In(values) => value.is_some_and(|value| values.contains(value)),
            Requires::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Requires::Exists => value.is_some(),
            Requires::DoesNotExist => value.is_none(),
        }
    }
}

/// What a label must be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Requires {
    /// One of these.
    In(Vec<String>),
    /// None of these, or absent.
    NotIn(Vec<String>),
    /// There.
    Exists,
    /// Absent.
    DoesNotExist,
}

/// Objects of other namespaces that may refer to objects of this one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grant {
    /// The namespace whose objects are referred to.
    pub namespace: String,
    /// Who may: group, kind and namespace.
    pub from: Vec<(String, String, String)>,
    /// To what: group, kind, and the name where only one is meant.
    pub to: Vec<(String, String, Option<String>)>,
}

/// The labels of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamespaceLabels {
    /// The namespace.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// Where it was written.
    pub origin: Origin,
}

/// TLS to a service, or to one of its ports by name.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PendingTls {
    /// The policy.
    pub meta: Meta,
    /// The service's full name.
    pub host: String,
    /// The name of the port; `None` is all of them.
    pub section: Option<String>,
    /// How TLS is spoken.
    pub tls: TlsOrigination,
    /// Where the service was named.
    pub origin: Origin,
}

impl PendingTls {
    /// TLS to all ports of a service.
    #[must_use]
    pub const fn new(meta: Meta, host: String, tls: TlsOrigination, origin: Origin) -> Self {
        Self {
            meta,
            host,
            section: None,
            tls,
            origin,
        }
    }
}
