//! What is known of a peer, and what follows from it for its whole connection.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use super::condition::Check;
use super::index::{Ask, Group, LargeId, Stage};
use super::parts::{RuleId, Rules};
use super::rule::CompiledRule;
use super::steps::Steps;
use super::{Asks, Authorizer, Decision, Question, RuleSet, Truth, readings};
use crate::decide::route::string::PatternSet;
use crate::identity::SpiffeId;
use crate::policy::model::authz::Action;
use crate::request::RequestView;

/// The longest `namespace/name` of a service account that Kubernetes has.
const MAX_ACCOUNT: usize = 320;

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Peer<'a> {
    /// The id that its certificate shows; `None` on plain text.
    pub identity: Option<&'a SpiffeId>,
    /// Its address.
    pub address: IpAddr,
    /// The port of our listener, whatever the request's host says.
    pub port: u16,
    /// The address at our end; `None` where it is not known.
    pub local: Option<IpAddr>,
    /// The host that its TLS handshake asked for (SNI), in lower case; `None` on plain text or where it is not known.
    pub server_name: Option<&'a str>,
}

impl<'a> Peer<'a> {
    /// A peer, of whom nothing else is known.
    #[must_use]
    pub const fn new(identity: Option<&'a SpiffeId>, address: IpAddr, port: u16) -> Self {
        Self {
            identity,
            address,
            port,
            local: None,
            server_name: None,
        }
    }

    /// The same, connected to this address of ours.
    #[must_use]
    pub const fn to(mut self, local: IpAddr) -> Self {
        self.local = Some(local);
        self
    }

    /// The same, whose TLS handshake asked for this host, in lower case.
    #[must_use]
    pub const fn asking_for(mut self, server_name: &'a str) -> Self {
        self.server_name = Some(server_name);
        self
    }

    pub(super) fn facts(&self) -> Facts<'a> {
        Facts {
            principal: self.identity.map(|id| Cow::Borrowed(id.without_scheme())),
            address: self.address,
            port: self.port,
            local: self.local,
            server_name: self.server_name.map(Cow::Borrowed),
        }
    }
}

/// What rules look at in a peer; borrowed for one request, owned where they outlive the handshake.
#[derive(Clone, Debug)]
pub(super) struct Facts<'a> {
    /// The id without its scheme.
    principal: Option<Cow<'a, str>>,
    pub(super) address: IpAddr,
    pub(super) port: u16,
    pub(super) local: Option<IpAddr>,
    server_name: Option<Cow<'a, str>>,
}

impl Facts<'_> {
    fn into_owned(self) -> Facts<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Facts {
            principal: self.principal.map(owned),
            address: self.address,
            port: self.port,
            local: self.local,
            server_name: self.server_name.map(owned),
        }
    }

    /// The id without its scheme.
    pub(super) fn principal(&self) -> Option<&str> {
        self.principal.as_deref()
    }

    /// The host that the TLS handshake asked for.
    pub(super) fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// The trust domain of the id.
    pub(super) fn trust_domain(&self) -> Option<&str> {
        self.principal()?.split('/').next()
    }

    /// The namespace that the id names.
    pub(super) fn namespace(&self) -> Option<&str> {
        segment_after(self.principal()?, "ns")
    }

    /// Whether all that an identity can tell is known.
    pub(super) fn is_complete(&self) -> bool {
        self.account(|account| account.is_some())
    }

    /// Calls `visit` with `namespace/name` of the service account.
    pub(super) fn account<T>(&self, visit: impl FnOnce(Option<&str>) -> T) -> T {
        let mut text = [0; MAX_ACCOUNT];
        let name = self.principal().and_then(|id| segment_after(id, "sa"));
        let account = self.namespace().zip(name);
        visit(account.and_then(|(namespace, name)| join(&mut text, namespace, name)))
    }

    pub(super) fn with_namespace(&self, namespaces: &Check<PatternSet>) -> Truth {
        if namespaces.is_unset() {
            return Truth::True;
        }
        namespaces.test(self.namespace(), PatternSet::is_match)
    }

    pub(super) fn with_account(&self, accounts: &Check<PatternSet>) -> Truth {
        if accounts.is_unset() {
            return Truth::True;
        }
        self.account(|account| accounts.test(account, PatternSet::is_match))
    }
}

/// The value of a `/key/value` pair of an id's path; none where the pair is missing or ambiguous.
fn segment_after<'a>(id: &'a str, key: &str) -> Option<&'a str> {
    let mut segments = id.split('/').skip(1);
    let mut found = None;
    while let (Some(name), Some(value)) = (segments.next(), segments.next()) {
        if name == key && found.replace(value).is_some() {
            return None;
        }
    }
    found
}

/// Writes `namespace/account` into `buffer`, so that no request allocates it.
fn join<'b>(buffer: &'b mut [u8], namespace: &str, account: &str) -> Option<&'b str> {
    let length = namespace.len() + 1 + account.len();
    let buffer = buffer.get_mut(..length)?;
    let (start, rest) = buffer.split_at_mut_checked(namespace.len())?;
    start.copy_from_slice(namespace.as_bytes());
    let (slash, end) = rest.split_first_mut()?;
    *slash = b'/';
    end.copy_from_slice(account.as_bytes());
    std::str::from_utf8(buffer).ok()
}

/// The rules that may concern one connection, its peer already looked at.
///
/// Belongs to the policies that it was made from: [`are_of`](Self::are_of) tells whether they are still in force.
#[derive(Clone, Debug)]
pub struct PeerRules {
    rules: Arc<RuleSet>,
    peer: Facts<'static>,
    candidates: Steps<Candidates>,
    /// Those of the policies on trial, where there are any.
    trial: Option<Box<Steps<Candidates>>>,
    course: Course,
}

/// What is to be gone through for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    /// `ALLOW` rules alone: there is no other rule for the peer, no route to be taken, no policy on trial.
    Allow,
    /// All steps.
    All,
}

/// Rules of one action.
#[derive(Clone, Debug, Default)]
struct Candidates {
    /// Those whose sources do not exclude the peer, in order.
    judged: Box<[(RuleId, Truth)]>,
    /// Larger groups, which their own index has to be asked for.
    large: Box<[LargeId]>,
}

impl PeerRules {
    pub(super) fn new(rules: &Arc<RuleSet>, peer: &Peer<'_>) -> Self {
        let facts = peer.facts();
        let candidates =
            |set: &RuleSet| Steps::new(|action| Candidates::new(&set.rules, set.stages.of(action), &facts));
        let of_peer = candidates(rules);
        let others = [Action::Custom, Action::Deny, Action::Audit];
        let has_others = others.iter().any(|action| !of_peer.of(*action).is_empty());
        Self {
            course: match has_others || !rules.routed.is_empty() || rules.trial.is_some() {
                true => Course::All,
                false => Course::Allow,
            },
            candidates: of_peer,
            trial: rules.trial.as_deref().map(|trial| Box::new(candidates(trial))),
            rules: Arc::clone(rules),
            peer: facts.into_owned(),
        }
    }

    /// Decides on one request of the connection. Where an [external authorizer has to be asked](Self::question), it is denied.
    #[must_use]
    pub fn authorize(&self, request: &RequestView<'_>) -> Decision<'_> {
        readings::strictest(request, |request| self.decide(&self.ask(request)))
    }

    /// Which external authorizer has to be asked about a request, if any: the first `CUSTOM` rule that matches says it.
    ///
    /// Nothing is looked for where no policy of the workload has anybody asked.
    #[must_use]
    #[inline]
    pub fn question(&self, request: &RequestView<'_>) -> Option<Question<'_>> {
        match self.rules.asks {
            Asks::Nobody => None,
            Asks::Somebody(_) => self.question_of_rules(request),
        }
    }

    #[inline(never)]
    fn question_of_rules(&self, request: &RequestView<'_>) -> Option<Question<'_>> {
        readings::first(request, |request| {
            let stage = self.rules.stages.of(Action::Custom);
            let custom = self.candidates.of(Action::Custom);
            let found = custom.first(&self.rules.rules, stage, &self.ask(request));
            found.map(|(rule, _)| Question::new(&rule.info))
        })
    }

    /// Decides on a request that the external authorizer has allowed, as it is after what the answer changed in it: the
    /// rest of the rules.
    #[must_use]
    pub fn authorize_allowed(&self, request: &RequestView<'_>) -> Decision<'_> {
        readings::strictest(request, |request| self.decide(&self.ask(request).allowed()))
    }

    #[inline]
    fn ask<'a>(&'a self, request: &'a RequestView<'a>) -> Ask<'a> {
        Ask::new(&self.peer, Some(request), &self.rules.routed)
    }

    #[inline]
    fn decide(&self, ask: &Ask<'_>) -> Decision<'_> {
        match self.course {
            Course::Allow => {
                let (rules, stage) = (&self.rules.rules, self.rules.stages.of(Action::Allow));
                let first = self.candidates.of(Action::Allow).first(rules, stage, ask);
                Decision::new(self.rules.allowance(ask, first), None)
            }
            Course::All => self.decide_in_steps(ask),
        }
    }

    /// Out of line, since most peers have rules of one kind.
    #[inline(never)]
    fn decide_in_steps(&self, ask: &Ask<'_>) -> Decision<'_> {
        let decision = decide(&self.rules, &self.candidates, ask);
        match (&self.rules.trial, &self.trial) {
            (Some(rules), Some(candidates)) => decision.with_trial(decide(rules, candidates, &ask.without_routes())),
            _ => decision,
        }
    }

    /// Whether they were made from the policies of `authorizer`.
    #[must_use]
    pub fn are_of(&self, authorizer: &Authorizer) -> bool {
        Arc::ptr_eq(&self.rules, &authorizer.rules)
    }
}

fn decide<'a>(set: &'a RuleSet, candidates: &Steps<Candidates>, ask: &Ask<'_>) -> Decision<'a> {
    set.conclude(ask, |action| {
        candidates.of(action).first(&set.rules, set.stages.of(action), ask)
    })
}

impl Candidates {
    const fn is_empty(&self) -> bool {
        self.judged.is_empty() && self.large.is_empty()
    }

    /// The first rule that fires.
    #[inline]
    fn first<'a>(&self, rules: &'a Rules, stage: &Stage, ask: &Ask<'_>) -> Option<(&'a CompiledRule, Truth)> {
        match self.large.is_empty() {
            true => stage.first_judged(&self.judged, rules, ask),
            false => self.first_of_many(rules, stage, ask),
        }
    }

    #[inline(never)]
    fn first_of_many<'a>(&self, rules: &'a Rules, stage: &Stage, ask: &Ask<'_>) -> Option<(&'a CompiledRule, Truth)> {
        let mut search = stage.search(rules, ask);
        search.judged(&self.judged);
        for id in &self.large {
            search.large(stage, *id);
        }
        search.found()
    }

    fn new(rules: &Rules, stage: &Stage, facts: &Facts<'_>) -> Self {
        let (mut judged, mut large) = (Vec::new(), Vec::new());
        let judge = |id: &RuleId| {
            let truth = rules.get(*id)?.source(facts);
            stage.may_fire(truth).then_some((*id, truth))
        };
        stage.groups(facts, |group| match group {
            Group::Small(ids) => judged.extend(ids.iter().filter_map(judge)),
            Group::Large(id) => large.push(id),
        });
        judged.sort_unstable_by_key(|(id, _)| *id);
        judged.dedup_by_key(|(id, _)| *id);
        Self {
            judged: judged.into(),
            large: large.into(),
        }
    }
}
