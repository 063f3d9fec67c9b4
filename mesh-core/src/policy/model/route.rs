//! Routes: which requests go where, with which timeout and retries.

use std::time::Duration;

use http::{HeaderName, Method};
use ipnet::IpNet;

use super::filter::{Answer, Cors, Fault, HeaderOrder, HeaderRules, Mirror, Rewrite};
use super::traffic::RetryPolicy;
use super::{Export, Labels, Meta, Origin, Shared};

/// The routes of some hosts: a `VirtualService`, a `TrafficSplit` or a native service's `routes`.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct RouteTable {
    /// Name and place.
    pub meta: Meta,
    /// Host patterns: full names, `*.suffix`, `*-suffix` or `*`; lower case.
    pub hosts: Vec<HostPattern>,
    /// Who serves these routes.
    pub bindings: Vec<Binding>,
    /// Who sees them.
    pub export: Export,
    /// Which of several rules that match wins.
    pub order: RuleOrder,
    /// The rules.
    pub rules: Shared<RouteRule>,
    /// Rules for TLS connections that are passed on as they are, by their SNI.
    pub tls: Vec<StreamRule>,
    /// Rules for TCP connections.
    pub tcp: Vec<StreamRule>,
}

/// Which of several rules that match a request wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RuleOrder {
    /// The first that was written. The oldest table has the host for itself.
    #[default]
    Written,
    /// The most specific, over all such tables of the host: the longest path, a method, more headers, more query
    /// parameters, the oldest table, the first by `namespace/name`, the first that was written (Gateway API).
    Specific,
}

/// One rule for connections.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct StreamRule {
    /// Where it was written.
    pub origin: Origin,
    /// Any of these must match; empty matches all.
    pub matches: Vec<StreamMatch>,
    /// Where the connection goes.
    pub destinations: Vec<Destination>,
}

/// Conditions on a connection; all of them must hold.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct StreamMatch {
    /// Where it was written.
    pub origin: Origin,
    /// Names that the client says it connects to: full ones or `*.suffix`. TLS only.
    pub sni_hosts: Vec<String>,
    /// Where the client connects to.
    pub destination_subnets: Vec<IpNet>,
    /// The service port that the client dials.
    pub port: Option<u16>,
    /// Labels that the client must have.
    pub source_labels: Labels,
    /// Namespace that the client must be in.
    pub source_namespace: Option<String>,
    /// Where non-empty, only these of the table's bindings take this match.
    pub bindings: Vec<Binding>,
}

/// A host as a rule names it, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostPattern {
    /// The full name or pattern, lower case.
    pub host: String,
    /// Where it was written.
    pub origin: Origin,
}

/// Who serves a route table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Binding {
    /// The clients of the mesh (`mesh`, the default).
    Mesh,
    /// The gateway of this namespace and name.
    Gateway {
        /// The gateway's namespace.
        namespace: String,
        /// The gateway's name.
        name: String,
        /// Only the server of this name (`sectionName`).
        section: Option<String>,
        /// Only servers of this port.
        port: Option<u16>,
        /// Where the reference was written.
        origin: Origin,
    },
}

impl Binding {
    /// Whether both name the same place, wherever they were written.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let place = |binding: &Self| match binding {
            Self::Mesh => None,
            Self::Gateway {
                namespace,
                name,
                section,
                port,
                ..
            } => Some((namespace.clone(), name.clone(), section.clone(), *port)),
        };
        place(self) == place(other)
    }
}

/// One rule: what it matches and what then happens.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct RouteRule {
    /// The rule's name, for logs, metrics and `explain`.
    pub name: Option<String>,
    /// Where it was written.
    pub origin: Origin,
    /// Any of these must match; empty matches all.
    pub matches: Vec<RouteMatch>,
    /// Where the request goes; weights as written, at least one entry unless there is an `answer`.
    pub destinations: Vec<Destination>,
    /// An answer in place of a destination.
    pub answer: Option<Answer>,
    /// Another path or authority.
    pub rewrite: Option<Rewrite>,
    /// Changes to headers.
    pub headers: HeaderRules,
    /// Whether these or those of the destination come last.
    pub header_order: HeaderOrder,
    /// Errors that are made on purpose.
    pub fault: Option<Fault>,
    /// Copies of requests.
    pub mirrors: Vec<Mirror>,
    /// Who may read answers from pages of other origins.
    pub cors: Option<Cors>,
    /// The authority that the rule's `headers` set, behind that of `rewrite`; only until all documents are read.
    pub header_authority: Option<String>,
    /// Another table that the rule hands its requests to; only until all documents are read.
    pub delegate: Option<Delegate>,
    /// Where the rule of another table was written that hands its requests to this one.
    pub delegated: Option<Origin>,
    /// Limit for the whole exchange, retries included; `None` is no limit.
    pub timeout: Option<Duration>,
    /// `None` takes the default of the service or the mesh.
    pub retry: Option<RetryPolicy>,
}

/// A route table without hosts, by its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delegate {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Where it was named.
    pub origin: Origin,
}

/// Conditions on a request; all of them must hold.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct RouteMatch {
    /// The match's own name, appended to the rule's.
    pub name: Option<String>,
    /// Where it was written.
    pub origin: Origin,
    /// On the canonical path, without the query.
    pub path: Option<StringMatch>,
    /// Whether `path` folds the case of exact and prefix texts.
    pub path_case: PathCase,
    /// On the method.
    pub method: Option<StringMatch>,
    /// On the scheme.
    pub scheme: Option<StringMatch>,
    /// On the authority as the caller sent it, port included.
    pub authority: Option<StringMatch>,
    /// On headers; repeated lines are compared joined by commas.
    pub headers: Vec<(HeaderName, StringMatch)>,
    /// On headers that must not match.
    pub without_headers: Vec<(HeaderName, StringMatch)>,
    /// On claims of a token that was checked: the path of names, and a text or an element of a list of texts.
    pub claims: Vec<(Vec<String>, StringMatch)>,
    /// On claims that must not match.
    pub without_claims: Vec<(Vec<String>, StringMatch)>,
    /// On query parameters, first occurrence, raw text.
    pub query: Vec<(String, StringMatch)>,
    /// The service port that the caller dials.
    pub port: Option<u16>,
    /// Labels that the caller must have.
    pub source_labels: Labels,
    /// Namespace that the caller must be in.
    pub source_namespace: Option<String>,
    /// Where non-empty, only these of the table's bindings take this match.
    pub bindings: Vec<Binding>,
}

impl RouteMatch {
    /// Whether it looks at claims of a token.
    pub(in crate::policy) const fn is_on_claims(&self) -> bool {
        !self.claims.is_empty() || !self.without_claims.is_empty()
    }
}

/// Whether a path is compared as written or with its case folded (`ignoreUriCase`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a text is compared with its case or without")]
pub enum PathCase {
    /// As written.
    #[default]
    Sensitive,
    /// Upper and lower case are equal.
    Folded,
}

/// How a text is compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum StringMatch {
    /// Equal.
    Exact(String),
    /// Starts with, as text: `/foo` is a prefix of `/foobar`.
    Prefix(String),
    /// Starts with, by whole path segments: `/foo` is a prefix of `/foo/bar`, not of `/foobar`.
    SegmentPrefix(String),
    /// The whole text matches; RE2 syntax, at most 1024 bytes, known to compile.
    Regex(String),
    /// There, with any value, even an empty one.
    Present,
}

/// Where a share of the requests goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Destination {
    /// The service's full name.
    pub host: String,
    /// A subset of its endpoints.
    pub subset: Option<String>,
    /// The service port; `None` is the only one, or the one that the caller dials.
    pub port: Option<u16>,
    /// The share, relative to the sum of its rule; ignored where it stands alone.
    pub weight: u32,
    /// Changes to headers.
    pub headers: HeaderRules,
    /// Another path or authority, in place of the rule's.
    pub rewrite: Option<Rewrite>,
    /// Why its share is answered with 500: the reference is to nothing that can be called (Gateway API).
    pub unresolved: Option<String>,
    /// Where it was written.
    pub origin: Origin,
}

/// Kinds of requests by name (SMI's `HTTPRouteGroup`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestGroup {
    /// Name and place.
    pub meta: Meta,
    /// The kinds.
    pub classes: Vec<RequestClass>,
}

/// One kind of requests of a [`RequestGroup`]: every condition that is set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestClass {
    /// Its name.
    pub name: String,
    /// Where it was written.
    pub origin: Origin,
    /// A regex on the whole path, if it matters.
    pub path: Option<String>,
    /// Methods; none are all of them.
    pub methods: Vec<Method>,
    /// Headers, each with a regex on its whole value.
    pub headers: Vec<(HeaderName, String)>,
}
