//! May this peer do this? `DENY` rules first, then `ALLOW` rules; what is not known never allows.
//!
//! # How it decides
//!
//! 1. A `CUSTOM` rule that matches, or that cannot be told not to match, has an external authorizer asked
//!    ([`PeerRules::question`]). Asking is the driver's; until it says that the request [is allowed](PeerRules::authorize_allowed),
//!    the rule denies.
//! 2. A `DENY` rule that matches, or that cannot be told not to match, denies.
//! 3. On a port with routes, a request that none of them takes is denied, with 404.
//! 4. An `ALLOW` rule that matches allows.
//! 5. Where an `ALLOW` policy holds for the workload or guards the port, anything else is denied; where none does, it is
//!    allowed.
//!
//! `AUDIT` rules mark the request, whatever is decided. Policies on trial decide beside the others, and change nothing:
//! see [`Decision::trial`].
//!
//! A path that servers may take for others, as `//admin` for `/admin`, has to be allowed as each of them.
//!
//! Conditions are [three-valued](Truth): on plain text the peer has no identity, so a `DENY` on a principal (or on
//! all but one) denies, and no `ALLOW` that asks for an identity allows.
//!
//! # Cost
//!
//! Rules are indexed by principal, namespace, service account and path, so that the rules of others cost nothing; what
//! depends on the connection alone is decided [once a connection](Authorizer::for_peer). No allocation a request.
//!
//! ```
//! use http::Request;
//! use mesh_core::decide::authz::{Authorizer, Peer};
//! use mesh_core::identity::SpiffeId;
//! use mesh_core::policy::model::Meta;
//! use mesh_core::policy::model::authz::{Action, AuthorizationPolicy, Pattern, Rule, Source};
//! use mesh_core::request::{Options, PathRules, Transport, canonicalize};
//! use mesh_core::workload::Workload;
//!
//! let mut source = Source::default();
//! source.principals.any_of = vec![Pattern::wildcard("cluster.local/ns/shop/*")];
//! let mut rule = Rule::default();
//! rule.from = vec![source];
//! let meta = Meta { name: "orders".into(), namespace: "shop".into(), ..Meta::default() };
//! let mut policy = AuthorizationPolicy::new(meta, Action::Allow);
//! policy.rules = vec![rule].into();
//! let workload = Workload::new("shop", "orders");
//! let authorizer = Authorizer::compile([&policy], &workload, "istio-system").unwrap();
//!
//! let request = Request::get("https://orders.shop/").body(()).unwrap();
//! let canonical = canonicalize(&request, Options::inbound(Transport::Tls, PathRules::Absent)).unwrap();
//! let id = SpiffeId::parse("spiffe://cluster.local/ns/shop/sa/web").unwrap();
//! let address = "10.0.0.7".parse().unwrap();
//! let decision = authorizer.authorize(&canonical.view(), &Peer::new(Some(&id), address, 8443));
//! assert!(decision.is_allowed());
//! assert_eq!(decision.to_string(), "rule 0 of policy `shop/orders` allows it");
//!
//! let stranger = authorizer.authorize(&canonical.view(), &Peer::new(None, address, 8443));
//! assert_eq!(stranger.to_string(), "no rule of an ALLOW policy matched");
//! ```

mod condition;
mod decision;
mod hosts;
mod index;
mod mtls;
mod operation;
mod parts;
mod peer;
mod question;
mod readings;
mod routed;
mod rule;
mod servers;
mod steps;
#[cfg(test)]
mod tests;
mod token;
mod truth;
mod when;

use std::sync::Arc;

use crate::policy::model::authz::{Action, AuthorizationPolicy, Enforcement};
use crate::policy::model::server::Server;
use crate::request::{PathRules, RequestView};
use crate::workload::Workload;

use index::{Answer, Ask, Stage};
use parts::{Part, Rules};
use routed::{RoutedPort, Taken};
use rule::CompiledRule;
use servers::Guard;
use steps::Steps;

pub use decision::{Decision, PolicyInfo, Reason, RuleInfo, Verdict};
pub use mtls::resolve_mtls;
pub(crate) use parts::KnownRules;
pub use peer::{Peer, PeerRules};
pub use question::Question;
pub use rule::{InvalidPattern, InvalidRule};
pub use truth::Truth;

/// The authorization policies that hold for one workload, compiled. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Authorizer {
    rules: Arc<RuleSet>,
}

/// The rules and how to find them.
#[derive(Debug)]
struct RuleSet {
    rules: Rules,
    stages: Steps<Stage>,
    fallback: Fallback,
    /// Ports of which policies for single ports demand that something allows.
    guarded: Box<[u16]>,
    /// Ports whose requests must be taken by a route.
    routed: Box<[RoutedPort]>,
    path_rules: PathRules,
    asks: Asks,
    /// The policies on trial, where there are any.
    trial: Option<Box<Self>>,
}

/// Whether rules have somebody asked.
#[derive(Debug, PartialEq, Eq)]
enum Asks {
    Nobody,
    /// These, each once.
    Somebody(Box<[Arc<str>]>),
}

impl Asks {
    fn of(parts: &[Part]) -> Self {
        let is_asking = |part: &&Part| part.info.action == Action::Custom && !part.rules.is_empty();
        let providers = parts.iter().filter(is_asking).map(|part| &part.info.provider);
        let mut names: Vec<Arc<str>> = providers.map(|name| name.clone().unwrap_or_default()).collect();
        names.sort_unstable();
        names.dedup();
        match names.is_empty() {
            true => Self::Nobody,
            false => Self::Somebody(names.into()),
        }
    }
}

/// What becomes of a request that no rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fallback {
    /// No policy holds.
    AllowWithoutPolicy,
    /// There are `DENY` policies only.
    AllowWithoutMatch,
    /// There is an `ALLOW` policy.
    Deny,
}

impl Fallback {
    /// The same where a policy holds, too.
    fn with(self, policy: &AuthorizationPolicy) -> Self {
        match policy.action {
            Action::Audit => self,
            // It guards its ports alone.
            Action::Allow if !policy.ports.is_empty() => self,
            Action::Allow => Self::Deny,
            Action::Deny | Action::Custom if self == Self::Deny => Self::Deny,
            Action::Deny | Action::Custom => Self::AllowWithoutMatch,
        }
    }
}

impl Authorizer {
    /// Compiles the policies that hold for `workload`: those of its namespace and of the root namespace whose selector
    /// picks it. The others are passed over.
    ///
    /// # Errors
    ///
    /// Every rule with a pattern that cannot match any request that is served.
    pub fn compile<'p>(
        policies: impl IntoIterator<Item = &'p AuthorizationPolicy>,
        workload: &Workload,
        root_namespace: &str,
    ) -> Result<Self, Vec<InvalidRule>> {
        Self::with_servers(policies, &[], workload, root_namespace)
    }

    /// The same with the servers that guard ports of the workload.
    ///
    /// # Errors
    ///
    /// Every rule with a pattern that cannot match any request that is served.
    pub fn with_servers<'p>(
        policies: impl IntoIterator<Item = &'p AuthorizationPolicy>,
        servers: &[Server],
        workload: &Workload,
        root_namespace: &str,
    ) -> Result<Self, Vec<InvalidRule>> {
        Self::with_known(
            policies,
            servers,
            (workload, root_namespace),
            &mut KnownRules::default(),
        )
    }

    /// The same, where the rules of some policies are known.
    pub(crate) fn with_known<'p>(
        policies: impl IntoIterator<Item = &'p AuthorizationPolicy>,
        servers: &[Server],
        (workload, root_namespace): (&Workload, &str),
        known: &mut KnownRules,
    ) -> Result<Self, Vec<InvalidRule>> {
        let of_workload = policies
            .into_iter()
            .filter(|policy| policy.holds_for(workload, root_namespace));
        let (trial, enforced): (Vec<_>, Vec<_>) =
            of_workload.partition(|policy| policy.enforcement == Enforcement::DryRun);
        let mut compiling = Compiling {
            known,
            invalid: Vec::new(),
        };
        let mut rules = RuleSet::compile(&enforced, &servers::in_force(servers, workload), &mut compiling);
        if !trial.is_empty() {
            rules.trial = Some(Box::new(RuleSet::compile(&trial, &[], &mut compiling)));
        }
        let Compiling { known, invalid } = compiling;
        known.end(invalid.is_empty());
        if !invalid.is_empty() {
            return Err(invalid);
        }
        Ok(Self { rules: Arc::new(rules) })
    }

    /// Whether any rule looks at paths: then requests with `;` in their path have to be refused
    /// ([`Options::path_rules`](crate::request::Options::path_rules)).
    #[must_use]
    pub fn path_rules(&self) -> PathRules {
        self.rules.path_rules
    }

    /// Decides what depends on the connection alone; to be called after the handshake, and again where
    /// [`PeerRules::are_of`] says that the policies have changed.
    #[must_use]
    pub fn for_peer(&self, peer: &Peer<'_>) -> PeerRules {
        PeerRules::new(&self.rules, peer)
    }

    /// Decides on one request. For many requests of one connection, [`for_peer`](Self::for_peer) is cheaper.
    #[must_use]
    pub fn authorize(&self, request: &RequestView<'_>, peer: &Peer<'_>) -> Decision<'_> {
        let facts = peer.facts();
        readings::strictest(request, |request| {
            self.rules.decide(&Ask::new(&facts, Some(request), &self.rules.routed))
        })
    }

    /// Which external authorizer has to be asked about a request, if any: see [`PeerRules::question`].
    #[must_use]
    pub fn question(&self, request: &RequestView<'_>, peer: &Peer<'_>) -> Option<Question<'_>> {
        if self.rules.asks == Asks::Nobody {
            return None;
        }
        let facts = peer.facts();
        readings::first(request, |request| {
            let ask = Ask::new(&facts, Some(request), &self.rules.routed);
            let stage = self.rules.stages.of(Action::Custom);
            let found = stage.first(&self.rules.rules, &ask);
            found.map(|(rule, _)| Question::new(&rule.info))
        })
    }

    /// Decides on a request that the external authorizer has allowed: see [`PeerRules::authorize_allowed`].
    #[must_use]
    pub fn authorize_allowed(&self, request: &RequestView<'_>, peer: &Peer<'_>) -> Decision<'_> {
        let facts = peer.facts();
        readings::strictest(request, |request| {
            let ask = Ask::new(&facts, Some(request), &self.rules.routed);
            self.rules.decide(&ask.allowed())
        })
    }

    /// The external authorizers that policies of this workload name, each once.
    #[must_use]
    pub fn providers(&self) -> &[Arc<str>] {
        match &self.rules.asks {
            Asks::Nobody => &[],
            Asks::Somebody(providers) => providers,
        }
    }

    /// Decides on a connection that carries no HTTP: what only requests have is not known, so that a `DENY` rule on
    /// methods denies it and an `ALLOW` rule on methods does not allow it.
    #[must_use]
    pub fn authorize_connection(&self, peer: &Peer<'_>) -> Decision<'_> {
        self.rules.decide(&Ask::new(&peer.facts(), None, &[]))
    }
}

/// Finds the rules of a policy that cannot be compiled, whatever workload it holds for.
#[must_use]
pub fn check(policy: &AuthorizationPolicy) -> Vec<InvalidRule> {
    let mut invalid = Vec::new();
    Part::compile(policy, None, &mut invalid);
    invalid
}

/// What is known before policies are compiled, and what is wrong with them.
struct Compiling<'k> {
    known: &'k mut KnownRules,
    invalid: Vec<InvalidRule>,
}

impl RuleSet {
    fn compile(policies: &[&AuthorizationPolicy], guards: &[Guard<'_>], compiling: &mut Compiling<'_>) -> Self {
        let mut parts = Vec::with_capacity(policies.len());
        let mut fallback = Fallback::AllowWithoutPolicy;
        let (mut guarded, mut routed) = (Vec::new(), Vec::new());
        for policy in policies {
            if policy.action == Action::Allow {
                guarded.extend_from_slice(&policy.ports);
            }
            fallback = fallback.with(policy);
            parts.push(compiling.known.compile(policy, &mut compiling.invalid));
        }
        for guard in guards {
            guarded.extend_from_slice(&guard.ports);
            guard.compile(&mut parts, &mut routed, &mut compiling.invalid);
        }
        // What only marks a request must not have others refused.
        let with_paths = |part: &Part| part.info.action != Action::Audit && part.looks_at_paths;
        let with_paths = !routed.is_empty() || parts.iter().any(with_paths);
        let (asks, rules) = (Asks::of(&parts), Rules(parts.into()));
        Self {
            asks,
            stages: Steps::new(|action| Stage::new(action, &rules)),
            rules,
            fallback,
            guarded: guarded.into(),
            routed: routed.into(),
            path_rules: if with_paths {
                PathRules::Present
            } else {
                PathRules::Absent
            },
            trial: None,
        }
    }

    fn decide(&self, ask: &Ask<'_>) -> Decision<'_> {
        let decision = self.conclude(ask, |action| self.stages.of(action).first(&self.rules, ask));
        match &self.trial {
            Some(trial) => decision.with_trial(trial.decide(&ask.without_routes())),
            None => decision,
        }
    }

    /// The decision; `first` finds the first rule of an action that fires.
    fn conclude<'a>(
        &'a self,
        ask: &Ask<'_>,
        first: impl Fn(Action) -> Option<(&'a CompiledRule, Truth)>,
    ) -> Decision<'a> {
        let audited = first(Action::Audit).map(|(rule, _)| &rule.info);
        Decision::new(self.verdict(ask, first), audited)
    }

    fn verdict<'a>(
        &'a self,
        ask: &Ask<'_>,
        first: impl Fn(Action) -> Option<(&'a CompiledRule, Truth)>,
    ) -> (Verdict, Reason<'a>) {
        if ask.answer == Answer::None
            && let Some((rule, _)) = first(Action::Custom)
        {
            return (Verdict::Deny, Reason::NotAsked(&rule.info));
        }
        match first(Action::Deny) {
            Some((rule, Truth::True)) => return (Verdict::Deny, Reason::Rule(&rule.info)),
            Some((rule, _)) => return (Verdict::Deny, Reason::Unknown(&rule.info)),
            None => {}
        }
        if ask.taken == Taken::Nowhere {
            return (Verdict::Deny, Reason::NoRoute);
        }
        self.allowance(ask, first(Action::Allow))
    }

    /// The decision where neither an authorizer has to be asked nor anything denies; `allowing` is the first `ALLOW` rule
    /// that fires.
    #[inline]
    fn allowance<'a>(&'a self, ask: &Ask<'_>, allowing: Option<(&'a CompiledRule, Truth)>) -> (Verdict, Reason<'a>) {
        match allowing {
            Some((rule, _)) => (Verdict::Allow, Reason::Rule(&rule.info)),
            None => self.fallback(ask),
        }
    }

    /// The decision where no rule matches.
    #[inline(never)]
    fn fallback(&self, ask: &Ask<'_>) -> (Verdict, Reason<'_>) {
        match self.fallback {
            Fallback::Deny => (Verdict::Deny, Reason::NoAllowMatched),
            _ if self.guarded.contains(&ask.facts.port) => (Verdict::Deny, Reason::NoAllowMatched),
            _ if ask.is_connect() => (Verdict::Deny, Reason::ConnectNotNamed),
            Fallback::AllowWithoutMatch => (Verdict::Allow, Reason::NoDenyMatched),
            Fallback::AllowWithoutPolicy => (Verdict::Allow, Reason::NoPolicy),
        }
    }
}
