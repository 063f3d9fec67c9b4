//! How the rules that may match are found without looking at the others.
//!
//! Rules are grouped by what their sources ask for (principal, namespace, service account, or anyone); a large group is
//! indexed by path. Exact texts are hashed; prefixes are hashed too, in one walk over the text.

use std::cell::OnceCell;
use std::net::IpAddr;

use http::Method;

use super::Truth;
use super::operation::CompiledOperation;
use super::parts::{RuleId, Rules};
use super::peer::Facts;
use super::routed::{RoutedPort, Taken, take};
use super::rule::CompiledRule;
use super::when::OfPeer;
use crate::decide::route::string::{PatternMatcher, PatternSet};
use crate::decide::texts::Texts;
use crate::policy::model::authz::Action;
use crate::request::{Remote, RequestView};

/// A group of more rules than this has an index by path.
const LARGE: usize = 8;

/// What an external authorizer has said of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nobody was asked.
    None,
    /// It allows the request.
    Allowed,
}

/// What is asked: a peer, and a request where there is one.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    pub(super) facts: &'a Facts<'a>,
    pub(super) request: Option<&'a RequestView<'a>>,
    /// The route that takes the request, on ports that have any.
    pub(super) taken: Taken,
    /// What the external authorizer has said.
    pub(super) answer: Answer,
    /// Path and query as one text, once a rule has looked at it.
    target: OnceCell<String>,
}

impl<'a> Ask<'a> {
    pub(super) fn new(facts: &'a Facts<'a>, request: Option<&'a RequestView<'a>>, routed: &[RoutedPort]) -> Self {
        Self {
            taken: take(routed, facts.port, request),
            answer: Answer::None,
            facts,
            request,
            target: OnceCell::new(),
        }
    }

    /// The same once the external authorizer has allowed it.
    pub(super) fn allowed(mut self) -> Self {
        self.answer = Answer::Allowed;
        self
    }

    /// The same where no port has routes.
    pub(super) fn without_routes(&self) -> Self {
        Self {
            taken: Taken::Free,
            answer: Answer::None,
            target: OnceCell::new(),
            ..*self
        }
    }

    pub(super) fn is_connect(&self) -> bool {
        self.request.is_some_and(|request| request.method == Method::CONNECT)
    }

    /// The address that the request first came from; that of a connection without requests nobody tells.
    pub(super) fn remote(&self) -> Option<IpAddr> {
        match self.request?.remote {
            Remote::Peer => Some(self.facts.address),
            Remote::At(address) => Some(address),
            Remote::Unknown => None,
        }
    }

    /// The path; a `CONNECT` has none.
    pub(super) fn path(&self) -> Option<&'a str> {
        self.request
            .filter(|request| request.method != Method::CONNECT)
            .map(|request| request.path)
    }

    /// Path and query, put together once a request and only where it has a query and a rule looks at it.
    pub(super) fn target(&self) -> Option<&str> {
        let path = self.path()?;
        match self.request.and_then(|request| request.query) {
            Some(query) => Some(self.target.get_or_init(|| format!("{path}?{query}"))),
            None => Some(path),
        }
    }
}

/// An exact text or a prefix that rules are found by.
#[derive(Clone, Copy, Debug)]
pub(super) enum Key<'a> {
    Exact(&'a str),
    Prefix(&'a str),
}

impl Key<'_> {
    /// Its number among texts: `new`, where it has none yet.
    fn number(self, texts: &mut Texts, new: u32) -> u32 {
        match self {
            Self::Exact(text) => texts.number(text.as_bytes(), new),
            Self::Prefix(text) => texts.number_prefix(text.as_bytes(), new),
        }
    }
}

/// Whether each pattern of a set is exact or a prefix.
pub(super) fn has_keys(set: &PatternSet) -> bool {
    let mut others = set.others().iter();
    others.all(|pattern| matches!(pattern, PatternMatcher::Prefix(_)))
}

/// The keys of a set of patterns that [has them](has_keys).
pub(super) fn keys(set: &PatternSet) -> impl Iterator<Item = Key<'_>> {
    let prefixes = set.others().iter().filter_map(|pattern| match pattern {
        PatternMatcher::Prefix(text) => Some(Key::Prefix(text)),
        _ => None,
    });
    set.exact().iter().map(|text| Key::Exact(text)).chain(prefixes)
}

/// Lists of rules, each in order, behind each other.
#[derive(Debug, Default)]
struct Lists {
    /// Where each of them ends.
    ends: Box<[usize]>,
    ids: Box<[RuleId]>,
}

impl Lists {
    /// So many lists of these members, each with the number of its list.
    fn new(count: u32, mut members: Vec<(u32, RuleId)>) -> Self {
        // Members of one list mostly come one after the other: then this is a walk.
        members.sort_unstable();
        members.dedup();
        let mut end = 0;
        let ends = (0..count).map(|list| {
            let rest = members.get(end..).unwrap_or_default();
            end += rest.iter().take_while(|(of, _)| *of == list).count();
            end
        });
        Self {
            ends: ends.collect(),
            ids: members.iter().map(|(_, id)| *id).collect(),
        }
    }

    fn of(&self, list: u32) -> &[RuleId] {
        let list = list as usize;
        let start = list.checked_sub(1).and_then(|before| self.ends.get(before));
        let range = start.copied().unwrap_or(0)..self.ends.get(list).copied().unwrap_or(0);
        self.ids.get(range).unwrap_or_default()
    }
}

/// A group of rules, in order.
#[derive(Clone, Copy, Debug)]
pub(super) enum Group<'s> {
    Small(&'s [RuleId]),
    /// One that is indexed by path.
    Large(LargeId),
}

/// The place of a large group among those of its stage.
pub(super) type LargeId = u32;

/// A large group by path.
#[derive(Debug)]
struct PathIndex {
    group: GroupId,
    paths: Texts,
    rules: Lists,
    /// Rules that no path finds.
    others: Box<[RuleId]>,
}

impl PathIndex {
    fn new(rules: &Rules, group: GroupId, ids: &[RuleId]) -> Self {
        let (mut paths, mut count, mut members) = (Texts::default(), 0, Vec::new());
        let mut others = Vec::new();
        for (id, rule) in ids.iter().filter_map(|id| Some((*id, rules.get(*id)?))) {
            let Some(keys) = path_keys(rule) else {
                others.push(id);
                continue;
            };
            for key in keys {
                let list = key.number(&mut paths, count);
                count = count.max(list + 1);
                members.push((list, id));
            }
        }
        Self {
            group,
            paths,
            rules: Lists::new(count, members),
            others: others.into(),
        }
    }
}

/// The paths one of which a request must have for the rule to match; none where it may have others.
fn path_keys(rule: &CompiledRule) -> Option<impl Iterator<Item = Key<'_>>> {
    let are_keyed = !rule.operations.is_empty() && rule.operations.iter().all(|one| one.path_keys().is_some());
    are_keyed.then(|| {
        rule.operations
            .iter()
            .filter_map(CompiledOperation::path_keys)
            .flatten()
    })
}

/// The rules of one action, grouped by source.
#[derive(Debug)]
pub(super) struct Stage {
    /// The least truth of a rule that fires.
    fires: Truth,
    /// Whether there is no rule.
    is_empty: bool,
    groups: Lists,
    /// The large ones of them, in order.
    large: Box<[PathIndex]>,
    by_principal: Texts,
    by_namespace: Texts,
    by_account: Texts,
}

/// The number of a group in its stage.
type GroupId = u32;

/// Rules that no identity finds.
const OPEN: GroupId = 0;
/// All rules: those that fire where an identity is not known. None for `ALLOW`.
const ALL: GroupId = 1;
/// The first of the groups that are found by what the peer has.
const FIRST: GroupId = 2;

/// The groups of a stage, under construction.
#[derive(Default)]
struct Groups {
    by_principal: Texts,
    by_namespace: Texts,
    by_account: Texts,
    /// How many groups are found by what the peer has.
    found: u32,
    members: Vec<(GroupId, RuleId)>,
}

impl Groups {
    fn add(&mut self, id: RuleId, rule: &CompiledRule) {
        let of_sources = rule.sources.iter().map(|source| &*source.of_peer);
        if !rule.sources.is_empty() && of_sources.clone().all(|conditions| source_keys(conditions).is_some()) {
            of_sources.for_each(|conditions| self.add_keys(id, conditions));
        } else if source_keys(&rule.conditions.of_peer).is_some() {
            self.add_keys(id, &rule.conditions.of_peer);
        } else {
            self.members.push((OPEN, id));
        }
    }

    fn add_keys(&mut self, id: RuleId, conditions: &[OfPeer]) {
        let Some((by, set)) = source_keys(conditions) else {
            return;
        };
        let texts = match by {
            By::Principal => &mut self.by_principal,
            By::Account => &mut self.by_account,
            By::Namespace => &mut self.by_namespace,
        };
        for key in keys(set) {
            let group = key.number(texts, FIRST + self.found);
            self.found = self.found.max(group + 1 - FIRST);
            self.members.push((group, id));
        }
    }
}

/// What a rule is found by; the first is taken that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum By {
    Principal,
    Account,
    Namespace,
}

/// What a peer must have to meet all of these conditions; none where it may have anything.
fn source_keys(conditions: &[OfPeer]) -> Option<(By, &PatternSet)> {
    let keyed = conditions.iter().filter_map(|condition| {
        let (by, check) = match condition {
            OfPeer::Principal(check) => (By::Principal, check),
            OfPeer::Account(check) => (By::Account, check),
            OfPeer::Namespace(check) => (By::Namespace, check),
            _ => return None,
        };
        let set = check.any_of.as_ref().filter(|set| has_keys(set))?;
        Some((by, set))
    });
    keyed.min_by_key(|(by, _)| *by)
}

impl Stage {
    pub(super) fn new(action: Action, rules: &Rules) -> Self {
        let fires = match action {
            Action::Allow => Truth::True,
            _ => Truth::Unknown,
        };
        let mut groups = Groups::default();
        for (id, rule) in rules.of(action) {
            if fires == Truth::Unknown {
                groups.members.push((ALL, id));
            }
            groups.add(id, rule);
        }
        let (is_empty, count) = (groups.members.is_empty(), FIRST + groups.found);
        let lists = Lists::new(count, groups.members);
        let large = (0..count).filter(|group| lists.of(*group).len() > LARGE);
        Self {
            fires,
            is_empty,
            large: large
                .map(|group| PathIndex::new(rules, group, lists.of(group)))
                .collect(),
            groups: lists,
            by_principal: groups.by_principal,
            by_namespace: groups.by_namespace,
            by_account: groups.by_account,
        }
    }

    /// Whether a rule fires whose sources and operations have this truth, if the rest is true.
    pub(super) fn may_fire(&self, truth: Truth) -> bool {
        truth >= self.fires
    }

    fn group(&self, id: GroupId) -> Group<'_> {
        let ids = self.groups.of(id);
        let large = || self.large.binary_search_by_key(&id, |large| large.group).ok();
        match (ids.len() > LARGE).then(large).flatten() {
            // There are fewer large groups than groups.
            Some(place) => Group::Large(LargeId::try_from(place).unwrap_or(LargeId::MAX)),
            None => Group::Small(ids),
        }
    }

    /// Visits the groups whose rules may fire for a peer.
    pub(super) fn groups(&self, facts: &Facts<'_>, mut visit: impl FnMut(Group<'_>)) {
        let mut visit = |id: GroupId| visit(self.group(id));
        if self.fires == Truth::Unknown && !facts.is_complete() {
            return visit(ALL);
        }
        visit(OPEN);
        if let Some(principal) = facts.principal() {
            self.by_principal.visit(principal.as_bytes(), &mut visit);
        }
        if !self.by_namespace.is_empty()
            && let Some(namespace) = facts.namespace()
        {
            self.by_namespace.visit(namespace.as_bytes(), &mut visit);
        }
        if !self.by_account.is_empty() {
            facts.account(|account| {
                if let Some(account) = account {
                    self.by_account.visit(account.as_bytes(), &mut visit);
                }
            });
        }
    }

    /// The first rule that fires, found by what is asked alone.
    #[inline]
    pub(super) fn first<'r>(&self, rules: &'r Rules, ask: &Ask<'_>) -> Option<(&'r CompiledRule, Truth)> {
        if self.is_empty {
            return None;
        }
        let mut search = self.search(rules, ask);
        self.groups(ask.facts, |group| match group {
            Group::Small(ids) => search.ids(ids),
            Group::Large(id) => search.large(self, id),
        });
        search.found()
    }

    /// The first rule that fires of some, in order, whose sources have been asked before.
    #[inline]
    pub(super) fn first_judged<'r>(
        &self,
        judged: &[(RuleId, Truth)],
        rules: &'r Rules,
        ask: &Ask<'_>,
    ) -> Option<(&'r CompiledRule, Truth)> {
        judged.iter().find_map(|(id, source)| {
            let rule = rules.get(*id)?;
            let truth = source.and(|| rule.operation(ask));
            self.may_fire(truth).then_some((rule, truth))
        })
    }

    /// Starts a search for the first rule that fires.
    pub(super) const fn search<'r, 'a>(&self, rules: &'r Rules, ask: &'a Ask<'a>) -> Search<'r, 'a> {
        Search {
            fires: self.fires,
            rules,
            ask,
            first: None,
        }
    }
}

/// A search for the first rule, in the order of the policies, that fires.
#[derive(Debug)]
pub(super) struct Search<'r, 'a> {
    fires: Truth,
    rules: &'r Rules,
    ask: &'a Ask<'a>,
    first: Option<(RuleId, &'r CompiledRule, Truth)>,
}

impl<'r> Search<'r, '_> {
    /// Asks the rules of a large group that the path does not exclude.
    pub(super) fn large(&mut self, stage: &Stage, id: LargeId) {
        let Some(index) = stage.large.get(id as usize) else {
            return;
        };
        match self.ask.path() {
            Some(path) => {
                index
                    .paths
                    .visit(path.as_bytes(), |list| self.ids(index.rules.of(list)));
                self.ids(&index.others);
            }
            // Without a path, a rule about paths is unknown, and may fire.
            None => self.ids(stage.groups.of(index.group)),
        }
    }

    fn ids(&mut self, ids: &[RuleId]) {
        for id in ids {
            let found = self.consider(*id, |rule, ask| rule.source(ask.facts));
            if found {
                return;
            }
        }
    }

    /// Asks rules whose sources have been asked before.
    #[inline]
    pub(super) fn judged(&mut self, judged: &[(RuleId, Truth)]) {
        for (id, source) in judged {
            if self.consider(*id, |_, _| *source) {
                return;
            }
        }
    }

    /// Asks one rule; tells whether later ones need no asking.
    fn consider(&mut self, id: RuleId, source: impl FnOnce(&CompiledRule, &Ask<'_>) -> Truth) -> bool {
        if self.first.is_some_and(|(first, ..)| first <= id) {
            return true;
        }
        let Some(rule) = self.rules.get(id) else {
            return false;
        };
        let truth = source(rule, self.ask).and(|| rule.operation(self.ask));
        let fires = truth >= self.fires;
        if fires {
            self.first = Some((id, rule, truth));
        }
        fires
    }

    /// The rule that was found, and whether it is true or unknown.
    pub(super) fn found(&self) -> Option<(&'r CompiledRule, Truth)> {
        self.first.map(|(_, rule, truth)| (rule, truth))
    }
}
