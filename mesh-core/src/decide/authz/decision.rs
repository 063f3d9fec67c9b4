//! What was decided, and why.

use std::fmt;
use std::sync::Arc;

use http::StatusCode;

use crate::outcome::Outcome;
use crate::policy::model::Origin;
use crate::policy::model::authz::{Action, AuthorizationPolicy};

/// Allowed or denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "there is nothing between the two")]
pub enum Verdict {
    /// The request goes on.
    Allow,
    /// It is answered with 403, or with 404 where no route takes it.
    Deny,
}

impl Verdict {
    /// `allow` or `deny`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// A policy, as decisions name it.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PolicyInfo {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// What its rules do.
    pub action: Action,
    /// Who is asked where they have an external authorizer asked.
    pub provider: Option<Arc<str>>,
    /// Where it was written.
    pub origin: Origin,
}

impl PolicyInfo {
    pub(super) fn new(policy: &AuthorizationPolicy) -> Self {
        Self {
            name: policy.meta.name.clone(),
            namespace: policy.meta.namespace.clone(),
            action: policy.action,
            provider: policy.provider.as_deref().map(Arc::from),
            origin: policy.meta.origin.clone(),
        }
    }

    /// Whether it is what a policy is named by.
    pub(super) fn is_of(&self, policy: &AuthorizationPolicy) -> bool {
        self.name == policy.meta.name
            && self.namespace == policy.meta.namespace
            && self.action == policy.action
            && self.provider.as_deref() == policy.provider.as_deref()
            && self.origin == policy.meta.origin
    }
}

impl fmt::Display for PolicyInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A rule, as decisions name it.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuleInfo {
    /// The policy that it is part of.
    pub policy: Arc<PolicyInfo>,
    /// Its place among the policy's rules, from 0.
    pub index: usize,
    /// Where it was written; the policy's place where nothing finer is known.
    pub origin: Origin,
}

/// Why a request is allowed or denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason<'a> {
    /// No policy holds for the workload.
    NoPolicy,
    /// There are `DENY` policies only, and none of them matched.
    NoDenyMatched,
    /// This rule matched.
    Rule(&'a Arc<RuleInfo>),
    /// This `DENY` rule looks at what the peer or the request does not have, such as an identity on plain text.
    Unknown(&'a Arc<RuleInfo>),
    /// This `CUSTOM` rule demands that an external authorizer is asked, and none was.
    NotAsked(&'a Arc<RuleInfo>),
    /// There are `ALLOW` policies, and none of them matched.
    NoAllowMatched,
    /// `CONNECT` needs a rule that names it.
    ConnectNotNamed,
    /// The port has routes, and none of them takes the request.
    NoRoute,
}

/// A verdict with its reason; its text says it to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision<'a> {
    verdict: Verdict,
    reason: Reason<'a>,
    audited: Option<&'a Arc<RuleInfo>>,
    trial: Option<(Verdict, Reason<'a>)>,
}

impl<'a> Decision<'a> {
    pub(super) const fn new((verdict, reason): (Verdict, Reason<'a>), audited: Option<&'a Arc<RuleInfo>>) -> Self {
        Self {
            verdict,
            reason,
            audited,
            trial: None,
        }
    }

    /// Adds what the policies on trial decide.
    pub(super) const fn with_trial(mut self, trial: Self) -> Self {
        self.trial = Some((trial.verdict, trial.reason));
        self
    }

    /// This one, or the other where that denies and this does not; marked where either is.
    pub(super) fn and(self, other: Self) -> Self {
        let denial = |one: (Verdict, Reason<'a>), other: (Verdict, Reason<'a>)| match (one.0, other.0) {
            (Verdict::Allow, Verdict::Deny) => other,
            _ => one,
        };
        let (verdict, reason) = denial((self.verdict, self.reason), (other.verdict, other.reason));
        Self {
            verdict,
            reason,
            audited: self.audited.or(other.audited),
            trial: self.trial.zip(other.trial).map(|(one, other)| denial(one, other)),
        }
    }

    /// The first `AUDIT` rule that matches, or that cannot be told not to: the request is to be recorded.
    #[must_use]
    pub const fn audited(&self) -> Option<&'a Arc<RuleInfo>> {
        self.audited
    }

    /// What the policies on trial (`istio.io/dry-run`) would decide if there were no others; `None` where there are none.
    #[must_use]
    pub fn trial(&self) -> Option<Self> {
        self.trial.map(|trial| Self::new(trial, None))
    }

    /// Allowed or denied.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Whether the request goes on.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.verdict == Verdict::Allow
    }

    /// Why.
    #[must_use]
    pub const fn reason(&self) -> Reason<'a> {
        self.reason
    }

    /// 200 or 403, or 404 where no route of the port takes the request.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.outcome().map_or(StatusCode::OK, Outcome::status)
    }

    /// How the request ends; `None` where it goes on.
    #[must_use]
    pub const fn outcome(&self) -> Option<Outcome> {
        match (self.verdict, self.reason) {
            (Verdict::Allow, _) => None,
            (_, Reason::NoRoute) => Some(Outcome::NoRoute),
            _ => Some(Outcome::Denied),
        }
    }

    /// The rule that decided, where one did.
    #[must_use]
    pub const fn rule(&self) -> Option<&'a Arc<RuleInfo>> {
        match self.reason {
            Reason::Rule(rule) | Reason::Unknown(rule) | Reason::NotAsked(rule) => Some(rule),
            _ => None,
        }
    }

    /// The name of the policy that decided.
    #[must_use]
    pub fn policy(&self) -> Option<&'a str> {
        self.rule().map(|rule| rule.policy.name.as_str())
    }

    /// The namespace of the policy that decided.
    #[must_use]
    pub fn namespace(&self) -> Option<&'a str> {
        self.rule().map(|rule| rule.policy.namespace.as_str())
    }

    /// The place of the rule that decided among its policy's rules, from 0.
    #[must_use]
    pub fn rule_index(&self) -> Option<usize> {
        self.rule().map(|rule| rule.index)
    }

    /// Where the rule that decided was written.
    #[must_use]
    pub fn origin(&self) -> Option<&'a Origin> {
        self.rule().map(|rule| &rule.origin)
    }
}

impl fmt::Display for Decision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            Reason::NoPolicy => f.write_str("no authorization policy holds for this workload"),
            Reason::NoDenyMatched => f.write_str("no rule of a DENY policy matched, and there is no ALLOW policy"),
            Reason::NoAllowMatched => f.write_str("no rule of an ALLOW policy matched"),
            Reason::NoRoute => f.write_str("no route of the port takes the request"),
            Reason::ConnectNotNamed => f.write_str("no rule of an ALLOW policy names the method `CONNECT`"),
            Reason::Rule(rule) => {
                let does = match self.verdict {
                    Verdict::Allow => "allows",
                    Verdict::Deny => "denies",
                };
                write!(f, "rule {} of policy `{}` {does} it", rule.index, rule.policy)
            }
            Reason::NotAsked(rule) => write!(
                f,
                "rule {} of policy `{}` has the authorizer `{}` asked, and it was not: it is denied",
                rule.index,
                rule.policy,
                rule.policy.provider.as_deref().unwrap_or_default()
            ),
            Reason::Unknown(rule) => write!(
                f,
                "rule {} of policy `{}` denies it: the peer or the request lacks what the rule looks at",
                rule.index, rule.policy
            ),
        }
    }
}
