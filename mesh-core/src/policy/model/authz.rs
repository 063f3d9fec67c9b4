//! Who may do what: authorization policies.

use ipnet::IpNet;

use super::{Labels, Meta, Origin};

/// An `AuthorizationPolicy`, or an entry of the native `authorization`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AuthorizationPolicy {
    /// Name and place. In the root namespace it holds for the mesh.
    pub meta: Meta,
    /// Workloads that it holds for; empty is the whole namespace.
    pub selector: Labels,
    /// What a matching rule does.
    pub action: Action,
    /// Any of them; none never matches.
    pub rules: Vec<Rule>,
}

impl AuthorizationPolicy {
    /// A policy without rules for every workload of its namespace.
    #[must_use]
    pub const fn new(meta: Meta, action: Action) -> Self {
        Self {
            meta,
            selector: Labels::new(),
            action,
            rules: Vec::new(),
        }
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
}

/// Matches where any source and any operation match; an empty list matches all.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Rule {
    /// Who asks.
    pub from: Vec<Source>,
    /// What for.
    pub to: Vec<Operation>,
    /// Where it was written.
    pub origin: Origin,
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
