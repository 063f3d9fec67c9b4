//! How the rules that may match are found without looking at the others.
//!
//! Rules are grouped by what their sources ask for (principal, namespace, service account, or anyone); a large group is
//! indexed by path. Exact texts are hashed; prefixes are hashed too, in one walk over the text.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::net::IpAddr;

use http::Method;
use rustc_hash::FxHashMap;

use super::Truth;
use super::condition::Check;
use super::peer::Facts;
use super::routed::{RoutedPort, Taken, take};
use super::rule::CompiledRule;
use super::when::OfPeer;
use crate::decide::route::Prefixes;
use crate::decide::route::string::{PatternMatcher, PatternSet};
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key<'a> {
    Exact(&'a str),
    Prefix(&'a str),
}

/// The keys of a set of patterns; none where a pattern is neither exact nor a prefix.
pub(super) fn keys(set: &PatternSet) -> Option<Vec<Key<'_>>> {
    let mut keys: Vec<_> = set.exact().iter().map(|text| Key::Exact(text)).collect();
    for pattern in set.others() {
        let PatternMatcher::Prefix(text) = pattern else {
            return None;
        };
        keys.push(Key::Prefix(text));
    }
    Some(keys)
}

/// Values by exact text and by prefix.
#[derive(Debug)]
struct TextMap<V> {
    exact: FxHashMap<Box<str>, V>,
    prefix: Prefixes<V>,
}

impl<V: Default> TextMap<V> {
    fn new(groups: BTreeMap<Key<'_>, Vec<u32>>, mut value: impl FnMut(Vec<u32>) -> V) -> Self {
        let (mut exact, mut prefix) = (FxHashMap::default(), Prefixes::default());
        for (key, ids) in groups {
            let value = value(ids);
            match key {
                Key::Exact(text) => drop(exact.insert(text.into(), value)),
                Key::Prefix(text) => prefix.change(text.as_bytes(), |held| *held = value),
            }
        }
        Self { exact, prefix }
    }
}

impl<V> TextMap<V> {
    fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.prefix.is_empty()
    }

    fn for_each(&self, text: &str, mut visit: impl FnMut(&V)) {
        self.exact.get(text).into_iter().for_each(&mut visit);
        self.prefix.visit(text.as_bytes(), visit);
    }
}

/// A group of rules, in order; a large one is indexed by path.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    ids: Box<[u32]>,
    by_path: Option<Box<PathIndex>>,
}

#[derive(Debug)]
struct PathIndex {
    keyed: TextMap<Box<[u32]>>,
    /// Rules that no path finds.
    others: Box<[u32]>,
}

impl Bucket {
    fn new(rules: &[CompiledRule], ids: Vec<u32>) -> Self {
        let by_path = (ids.len() > LARGE).then(|| Box::new(PathIndex::new(rules, &ids)));
        Self {
            ids: ids.into(),
            by_path,
        }
    }

    pub(super) const fn ids(&self) -> &[u32] {
        &self.ids
    }

    pub(super) const fn is_large(&self) -> bool {
        self.by_path.is_some()
    }
}

impl PathIndex {
    fn new(rules: &[CompiledRule], ids: &[u32]) -> Self {
        let mut groups: BTreeMap<_, Vec<u32>> = BTreeMap::new();
        let mut others = Vec::new();
        for (id, rule) in ids.iter().filter_map(|id| Some((*id, rules.get(*id as usize)?))) {
            match path_keys(rule) {
                Some(keys) => add(&mut groups, keys, id),
                None => others.push(id),
            }
        }
        Self {
            keyed: TextMap::new(groups, Vec::into_boxed_slice),
            others: others.into(),
        }
    }
}

/// The paths one of which a request must have for the rule to match; none where it may have others.
fn path_keys(rule: &CompiledRule) -> Option<Vec<Key<'_>>> {
    if rule.operations.is_empty() {
        return None;
    }
    let mut all = Vec::new();
    for operation in &rule.operations {
        all.extend(operation.path_keys()?);
    }
    Some(all)
}

fn add<'k>(groups: &mut BTreeMap<Key<'k>, Vec<u32>>, keys: Vec<Key<'k>>, id: u32) {
    for key in keys {
        let ids = groups.entry(key).or_default();
        if ids.last() != Some(&id) {
            ids.push(id);
        }
    }
}

/// The rules of one action, grouped by source.
#[derive(Debug)]
pub(super) struct Stage {
    /// The least truth of a rule that fires.
    fires: Truth,
    /// Whether there is no rule.
    is_empty: bool,
    buckets: Box<[Bucket]>,
    by_principal: TextMap<BucketId>,
    by_namespace: TextMap<BucketId>,
    by_account: TextMap<BucketId>,
    /// Rules that no identity finds.
    open: BucketId,
    /// All rules: those that fire where an identity is not known. None for `ALLOW`.
    all: Option<BucketId>,
}

/// The place of a group in its stage.
pub(super) type BucketId = u32;

/// The groups of a stage, under construction.
#[derive(Default)]
struct Groups<'r> {
    principal: BTreeMap<Key<'r>, Vec<u32>>,
    namespace: BTreeMap<Key<'r>, Vec<u32>>,
    account: BTreeMap<Key<'r>, Vec<u32>>,
    open: Vec<u32>,
    all: Vec<u32>,
}

impl<'r> Groups<'r> {
    fn add(&mut self, id: u32, rule: &'r CompiledRule) {
        self.all.push(id);
        let keyed: Option<Vec<_>> = rule.sources.iter().map(|source| source_keys(&source.of_peer)).collect();
        let of_sources = keyed.filter(|keyed| !keyed.is_empty());
        let of_conditions = || source_keys(&rule.conditions.of_peer).map(|keys| vec![keys]);
        let Some(keyed) = of_sources.or_else(of_conditions) else {
            self.open.push(id);
            return;
        };
        for keys in keyed {
            match keys {
                SourceKeys::Principal(keys) => add(&mut self.principal, keys, id),
                SourceKeys::Namespace(keys) => add(&mut self.namespace, keys, id),
                SourceKeys::Account(keys) => add(&mut self.account, keys, id),
            }
        }
    }
}

enum SourceKeys<'r> {
    Principal(Vec<Key<'r>>),
    Namespace(Vec<Key<'r>>),
    Account(Vec<Key<'r>>),
}

/// What a peer must have to meet all of these conditions; none where it may have anything.
fn source_keys(conditions: &[OfPeer]) -> Option<SourceKeys<'_>> {
    let first = |of: fn(&OfPeer) -> Option<SourceKeys<'_>>| conditions.iter().find_map(of);
    first(|condition| match condition {
        OfPeer::Principal(check) => any_keys(check).map(SourceKeys::Principal),
        _ => None,
    })
    .or_else(|| {
        first(|condition| match condition {
            OfPeer::Account(check) => any_keys(check).map(SourceKeys::Account),
            _ => None,
        })
    })
    .or_else(|| {
        first(|condition| match condition {
            OfPeer::Namespace(check) => any_keys(check).map(SourceKeys::Namespace),
            _ => None,
        })
    })
}

fn any_keys(check: &Check<PatternSet>) -> Option<Vec<Key<'_>>> {
    check.any_of.as_ref().and_then(keys)
}

impl Stage {
    pub(super) fn new(action: Action, rules: &[CompiledRule]) -> Self {
        let mut groups = Groups::default();
        for (id, rule) in (0u32..).zip(rules).filter(|(_, rule)| rule.action() == action) {
            groups.add(id, rule);
        }
        let is_empty = groups.all.is_empty();
        let mut buckets = Vec::new();
        let mut bucket = |ids| {
            buckets.push(Bucket::new(rules, ids));
            // There are fewer groups than rules, whose ids are as wide.
            BucketId::try_from(buckets.len() - 1).unwrap_or(BucketId::MAX)
        };
        let (fires, all) = match action {
            Action::Allow => (Truth::True, None),
            _ if is_empty => (Truth::Unknown, None),
            _ => (Truth::Unknown, Some(bucket(groups.all))),
        };
        Self {
            fires,
            is_empty,
            by_principal: TextMap::new(groups.principal, &mut bucket),
            by_namespace: TextMap::new(groups.namespace, &mut bucket),
            by_account: TextMap::new(groups.account, &mut bucket),
            open: bucket(groups.open),
            all,
            buckets: buckets.into(),
        }
    }

    /// Whether a rule fires whose sources and operations have this truth, if the rest is true.
    pub(super) fn may_fire(&self, truth: Truth) -> bool {
        truth >= self.fires
    }

    /// The group at a place.
    pub(super) fn bucket(&self, id: BucketId) -> Option<&Bucket> {
        self.buckets.get(id as usize)
    }

    /// Visits the groups whose rules may fire for a peer.
    pub(super) fn buckets(&self, facts: &Facts<'_>, mut visit: impl FnMut(BucketId, &Bucket)) {
        let mut visit = |id: &BucketId| {
            if let Some(bucket) = self.bucket(*id) {
                visit(*id, bucket);
            }
        };
        if let Some(all) = self.all.filter(|_| !facts.is_complete()) {
            return visit(&all);
        }
        visit(&self.open);
        if let Some(principal) = facts.principal() {
            self.by_principal.for_each(principal, &mut visit);
        }
        if !self.by_namespace.is_empty()
            && let Some(namespace) = facts.namespace()
        {
            self.by_namespace.for_each(namespace, &mut visit);
        }
        if !self.by_account.is_empty() {
            facts.account(|account| {
                if let Some(account) = account {
                    self.by_account.for_each(account, &mut visit);
                }
            });
        }
    }

    /// The first rule that fires, found by what is asked alone.
    #[inline]
    pub(super) fn first<'r>(&self, rules: &'r [CompiledRule], ask: &Ask<'_>) -> Option<(&'r CompiledRule, Truth)> {
        if self.is_empty {
            return None;
        }
        let mut search = self.search(rules, ask);
        self.buckets(ask.facts, |_, bucket| search.bucket(bucket));
        search.found()
    }

    /// The first rule that fires of some, in order, whose sources have been asked before.
    #[inline]
    pub(super) fn first_judged<'r>(
        &self,
        judged: &[(u32, Truth)],
        rules: &'r [CompiledRule],
        ask: &Ask<'_>,
    ) -> Option<(&'r CompiledRule, Truth)> {
        judged.iter().find_map(|(id, source)| {
            let rule = rules.get(*id as usize)?;
            let truth = source.and(|| rule.operation(ask));
            self.may_fire(truth).then_some((rule, truth))
        })
    }

    /// Starts a search for the first rule that fires.
    pub(super) const fn search<'r, 'a>(&self, rules: &'r [CompiledRule], ask: &'a Ask<'a>) -> Search<'r, 'a> {
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
    rules: &'r [CompiledRule],
    ask: &'a Ask<'a>,
    first: Option<(u32, Truth)>,
}

impl<'r> Search<'r, '_> {
    /// Asks the rules of a group that the path does not exclude.
    pub(super) fn bucket(&mut self, bucket: &Bucket) {
        match (&bucket.by_path, self.ask.path()) {
            (Some(index), Some(path)) => {
                index.keyed.for_each(path, |ids| self.ids(ids));
                self.ids(&index.others);
            }
            // Without a path, a rule about paths is unknown, and may fire.
            _ => self.ids(&bucket.ids),
        }
    }

    fn ids(&mut self, ids: &[u32]) {
        for id in ids {
            let found = self.consider(*id, |rule, ask| rule.source(ask.facts));
            if found {
                return;
            }
        }
    }

    /// Asks rules whose sources have been asked before.
    pub(super) fn judged(&mut self, judged: &[(u32, Truth)]) {
        for (id, source) in judged {
            if self.consider(*id, |_, _| *source) {
                return;
            }
        }
    }

    /// Asks one rule; tells whether later ones need no asking.
    fn consider(&mut self, id: u32, source: impl FnOnce(&CompiledRule, &Ask<'_>) -> Truth) -> bool {
        if self.first.is_some_and(|(first, _)| first <= id) {
            return true;
        }
        let Some(rule) = self.rules.get(id as usize) else {
            return false;
        };
        let truth = source(rule, self.ask).and(|| rule.operation(self.ask));
        let fires = truth >= self.fires;
        if fires {
            self.first = Some((id, truth));
        }
        fires
    }

    /// The rule that was found, and whether it is true or unknown.
    pub(super) fn found(&self) -> Option<(&'r CompiledRule, Truth)> {
        let (id, truth) = self.first?;
        Some((self.rules.get(id as usize)?, truth))
    }
}
