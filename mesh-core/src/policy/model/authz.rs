//! Who may do what: authorization policies.

use std::collections::BTreeMap;
use std::fmt;

use ipnet::IpNet;

use super::{Labels, Meta, Origin, Policy, Shared, selects};
use crate::workload::Workload;

/// Labels that Gateway API's controllers give to the workloads of a gateway.
const GATEWAY: &str = "gateway.networking.k8s.io/gateway-name";
const CLASS: &str = "gateway.networking.k8s.io/gateway-class-name";

/// An `AuthorizationPolicy`, or an entry of the native `authorization`.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct AuthorizationPolicy {
    /// Name and place. In the root namespace it holds for the mesh.
    pub meta: Meta,
    /// Workloads that it holds for; empty is the whole namespace.
    pub selector: Labels,
    /// Where non-empty, only gateways that one of these names; then `selector` is empty.
    pub targets: Vec<Target>,
    /// Where non-empty, only workloads with one of these service accounts.
    pub service_accounts: Vec<String>,
    /// Where non-empty, it guards only these ports of the workload: what no rule allows is denied there alone.
    pub ports: Vec<u16>,
    /// What a matching rule does.
    pub action: Action,
    /// Who is asked where the action is [`Action::Custom`].
    pub provider: Option<String>,
    /// Whether it counts.
    pub enforcement: Enforcement,
    /// Any of them; none never matches.
    pub rules: Shared<Rule>,
}

/// An object that a policy is for (Istio's `targetRefs`), instead of workloads with labels.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Target {
    /// Its kind.
    pub kind: TargetKind,
    /// Its name.
    pub name: String,
    /// Where it was written.
    pub origin: Origin,
    /// Labels of the processes that serve it, where it is a gateway that some document defines: known once all documents
    /// are read.
    pub served_by: Option<Labels>,
}

impl Target {
    /// The object of this kind and name.
    #[must_use]
    pub fn new(kind: TargetKind, name: String) -> Self {
        Self {
            kind,
            name,
            origin: Origin::default(),
            served_by: None,
        }
    }

    /// As people say it: `gateway front`.
    #[must_use]
    pub fn text(&self) -> String {
        let kind = match self.kind {
            TargetKind::Gateway => "gateway",
            TargetKind::GatewayClass => "gateway class",
            TargetKind::Service => "service",
            TargetKind::ServiceEntry => "service entry",
        };
        format!("{kind} {}", self.name)
    }

    /// Whether a workload is it, for a policy of the workload's own namespace or of the root namespace.
    pub(super) fn is(&self, workload: &Workload, of_own: bool, in_root: bool) -> bool {
        let is_labelled = |label| workload.label_value(label) == Some(self.name.as_str());
        match self.kind {
            TargetKind::Gateway => {
                let served_by = self.served_by.as_ref();
                of_own && served_by.map_or_else(|| is_labelled(GATEWAY), |labels| selects(labels, &workload.labels))
            }
            TargetKind::GatewayClass => in_root && is_labelled(CLASS),
            TargetKind::Service | TargetKind::ServiceEntry => false,
        }
    }
}

/// The kind of a [`Target`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TargetKind {
    /// A gateway of the policy's namespace: the workloads there that serve it. Of one that no document defines, those that
    /// name it in the label `gateway.networking.k8s.io/gateway-name`, as workloads of Gateway API's do.
    Gateway,
    /// All gateways of a class, which their workloads name in the label
    /// `gateway.networking.k8s.io/gateway-class-name`; in the root namespace only.
    GatewayClass,
    /// A service behind a waypoint. No process is one: such a target picks no workload.
    Service,
    /// An entry behind a waypoint. No process is one: such a target picks no workload.
    ServiceEntry,
}

impl Policy {
    /// Finds out which processes serve the gateways that policies are for, once all documents are read.
    pub(in crate::policy) fn resolve_targets(&mut self) {
        let gateways = self.gateways.iter();
        let selectors: BTreeMap<(&str, &str), &Labels> = gateways
            .map(|one| ((one.meta.namespace.as_str(), one.meta.name.as_str()), &one.selector))
            .collect();
        let access = self.authorizations.iter_mut();
        let access = access.map(|one| (&one.meta.namespace, &mut one.targets));
        let tokens = self.request_authentications.iter_mut();
        let tokens = tokens.map(|one| (&one.meta.namespace, &mut one.targets));
        for (namespace, targets) in access.chain(tokens) {
            for target in targets.iter_mut().filter(|one| one.kind == TargetKind::Gateway) {
                let selector = selectors.get(&(namespace.as_str(), target.name.as_str()));
                target.served_by = selector.map(|labels| (*labels).clone());
            }
        }
    }
}

/// Whether a policy counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "it does or it does not")]
pub enum Enforcement {
    /// It does.
    #[default]
    Enforced,
    /// It is on trial (`istio.io/dry-run`): it decides nothing.
    DryRun,
}

impl AuthorizationPolicy {
    /// A policy without rules for every workload of its namespace.
    #[must_use]
    pub fn new(meta: Meta, action: Action) -> Self {
        Self {
            meta,
            selector: Labels::new(),
            targets: Vec::new(),
            service_accounts: Vec::new(),
            ports: Vec::new(),
            action,
            provider: None,
            enforcement: Enforcement::Enforced,
            rules: Shared::default(),
        }
    }

    /// Whether it holds for a workload, enforced or on trial: by its namespace, and by targets, or labels and accounts.
    #[must_use]
    pub fn holds_for(&self, workload: &Workload, root_namespace: &str) -> bool {
        let namespace = &self.meta.namespace;
        let (of_own, in_root) = (*namespace == workload.namespace, namespace == root_namespace);
        let accounts = &self.service_accounts;
        let is_picked = || match self.targets.as_slice() {
            [] => {
                selects(&self.selector, &workload.labels)
                    && (accounts.is_empty() || accounts.contains(&workload.service_account))
            }
            targets => targets.iter().any(|target| target.is(workload, of_own, in_root)),
        };
        (of_own || in_root) && is_picked()
    }
}

/// What a matching rule does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Action {
    /// Allows; where any such policy holds, what none allows is denied.
    #[default]
    Allow,
    /// Denies, whatever else allows.
    Deny,
    /// Marks the request, and decides nothing.
    Audit,
    /// Asks an external authorizer before all others.
    Custom,
}

/// Matches where any source and any operation match; an empty list matches all.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Rule {
    /// Who asks.
    pub from: Vec<Source>,
    /// What for.
    pub to: Vec<Operation>,
    /// Further conditions; all of them must hold.
    pub when: Vec<When>,
    /// Where it was written.
    pub origin: Origin,
}

/// A condition on one attribute of the connection or the request.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct When {
    /// The attribute.
    pub attribute: Attribute,
    /// Its values, as they are written: patterns, addresses or ports, as the attribute has them.
    pub values: Condition<String>,
}

impl When {
    /// A condition on `attribute`.
    #[must_use]
    pub const fn new(attribute: Attribute, values: Condition<String>) -> Self {
        Self { attribute, values }
    }
}

/// What a [`When`] looks at (Istio's keys).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Attribute {
    /// `request.headers[name]`
    Header(http::HeaderName),
    /// `request.headers[:method]`, and the other parts of a request that HTTP/2 writes as headers.
    Pseudo(String),
    /// `source.ip`
    SourceIp,
    /// `remote.ip`
    RemoteIp,
    /// `source.namespace`
    SourceNamespace,
    /// `source.principal`
    SourcePrincipal,
    /// `source.serviceAccount`
    SourceServiceAccount,
    /// `source.trustDomain`
    SourceTrustDomain,
    /// `request.auth.principal`
    RequestPrincipal,
    /// `request.auth.audiences`
    Audiences,
    /// `request.auth.presenter`
    Presenter,
    /// `request.auth.claims[a][b]`
    Claims(Vec<String>),
    /// `destination.ip`
    DestinationIp,
    /// `destination.port`
    DestinationPort,
    /// `connection.sni`
    Sni,
    /// `experimental.envoy.filters.…`: nothing here can tell it.
    Foreign(String),
}

/// Who asks: every condition that is set must hold.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Source {
    /// The peer's SPIFFE id without `spiffe://`.
    pub principals: Condition<Pattern>,
    /// The namespace of the peer's id; `*` stands for any text, anywhere.
    pub namespaces: Condition<Pattern>,
    /// `namespace/name` of the peer's service account, in any trust domain.
    pub service_accounts: Condition<Pattern>,
    /// The peer's address.
    pub ip_blocks: Condition<IpNet>,
    /// The trust domain of the peer's id.
    pub trust_domains: Condition<Pattern>,
    /// The address that trusted proxies name.
    pub remote_ip_blocks: Condition<IpNet>,
    /// Issuer and subject of the request's token, `iss/sub`.
    pub request_principals: Condition<Pattern>,
}

/// What for: every condition that is set must hold.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Operation {
    /// The host that the request names, without its port, case folded.
    pub hosts: Condition<Pattern>,
    /// The port of the listener.
    pub ports: Condition<u16>,
    /// The method.
    pub methods: Condition<Pattern>,
    /// The canonical path without the query.
    pub paths: Condition<Pattern>,
    /// The canonical path, and behind `?` the query where there is one.
    pub targets: Condition<Pattern>,
    /// The authority that the request names, its port included as it is sent.
    pub authorities: Condition<Pattern>,
    /// Headers that must be there, with any value or one of this pattern.
    pub headers: Vec<(http::HeaderName, Pattern)>,
}

/// Texts of one field: any of `any_of` and none of `none_of`; an empty list sets no condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition<T> {
    /// One of them must match.
    pub any_of: Vec<T>,
    /// None of them may match (the not-forms).
    pub none_of: Vec<T>,
}

impl<T> Default for Condition<T> {
    fn default() -> Self {
        Self {
            any_of: Vec::new(),
            none_of: Vec::new(),
        }
    }
}

impl<T> Condition<T> {
    /// Whether it demands nothing.
    #[must_use]
    pub const fn is_unset(&self) -> bool {
        self.any_of.is_empty() && self.none_of.is_empty()
    }
}

/// A text with a wildcard at its start or end, as Istio reads it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Pattern {
    /// `abc`
    Exact(String),
    /// `abc*`
    Prefix(String),
    /// `*abc`
    Suffix(String),
    /// `*`: there and not empty.
    Present,
    /// Any number of `*` anywhere, each for any text (namespaces only).
    Glob(String),
    /// A path of segments with `{*}` (one) and `{**}` (the rest).
    Template(String),
    /// The whole text matches; RE2 syntax, known to compile.
    Regex(String),
}

/// As it is written; forms without a short one as their text.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix(text) => write!(f, "{text}*"),
            Self::Suffix(text) => write!(f, "*{text}"),
            Self::Present => f.write_str("*"),
            Self::Exact(text) | Self::Glob(text) | Self::Template(text) | Self::Regex(text) => f.write_str(text),
        }
    }
}

impl Pattern {
    /// Reads a text as Istio does: a leading `*` is looked at first, so `*abc*` ends with the literal `abc*`.
    ///
    /// ```
    /// use mesh_core::policy::model::authz::Pattern;
    /// assert_eq!(Pattern::wildcard("/api/*"), Pattern::Prefix("/api/".into()));
    /// assert_eq!(Pattern::wildcard("*abc*"), Pattern::Suffix("abc*".into()));
    /// assert_eq!(Pattern::wildcard("a*c"), Pattern::Exact("a*c".into()));
    /// ```
    #[must_use]
    pub fn wildcard(text: &str) -> Self {
        if text == "*" {
            return Self::Present;
        }
        if let Some(suffix) = text.strip_prefix('*') {
            return Self::Suffix(suffix.into());
        }
        text.strip_suffix('*')
            .map_or_else(|| Self::Exact(text.into()), |prefix| Self::Prefix(prefix.into()))
    }
}
