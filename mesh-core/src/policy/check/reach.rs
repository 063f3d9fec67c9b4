//! Rules and conditions that nothing reaches, since those before them take all of it.
//!
//! A match covers another one where each of its conditions follows from one of the other's. Of a table each match is
//! looked up among those before it that could cover it: by path (equal, or a prefix of it) and one further condition, so
//! that the work grows with the number of matches and not with its square.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::collections::hash_map::Entry;

use rustc_hash::{FxHashMap, FxHashSet};

use super::kept::Kept;
use crate::policy::diagnostic::{Code, Diagnostic, Report};
use crate::policy::model::route::{
    Binding, PathCase, RouteMatch, RouteRule, RouteTable, RuleOrder, StreamMatch, StringMatch,
};
use crate::policy::model::{Labels, Origin, Policy};
use crate::workers::Workers;

/// Matches that are compared with one, of those that share its path and a condition. What is beyond stays unnoticed.
const COMPARED: usize = 64;

pub(super) fn check((policy, workers): (&Policy, &dyn Workers), kept: &mut Kept<RouteRule>, report: &mut Report) {
    let written = policy.routes.iter().filter(|table| table.order == RuleOrder::Written);
    kept.look(written.map(|table| &table.rules), workers, |rules, report| {
        check_rules(rules.iter().map(of_requests), report);
    });
    for table in &policy.routes {
        match table.order {
            RuleOrder::Written => kept.report(&table.rules, report),
            RuleOrder::Specific => check_regexes(table, report),
        }
        for rules in [&table.tls, &table.tcp] {
            let rules = rules
                .iter()
                .map(|rule| Rule::new(&rule.origin, None, rule.matches.iter().map(of_connections)));
            check_rules(rules, report);
        }
    }
}

/// Where the most specific path wins, a regex comes behind every prefix.
fn check_regexes(table: &RouteTable, report: &mut Report) {
    let takes_every_path = |one: &&RouteMatch| {
        if !matches!(one.path, Some(StringMatch::SegmentPrefix(_))) {
            return false;
        }
        let conditions = of_request(one);
        conditions.paths == [PathKey::Any] && conditions.needs.is_empty()
    };
    let matches = || table.rules.iter().flat_map(|rule| &rule.matches);
    let Some(first) = matches().find(takes_every_path) else {
        return;
    };
    for one in matches().filter(|one| matches!(one.path, Some(StringMatch::Regex(_)))) {
        let message = "no request reaches this match: prefixes go before regexes, and one takes every path";
        let diagnostic = Diagnostic::new(Code::UNREACHABLE_RULE, &one.origin, message);
        let diagnostic = diagnostic.with_label(&first.origin, "takes every path");
        report.push(diagnostic.with_help("match a prefix instead, or give the other rule a condition on the path"));
    }
}

/// A rule as it is compared.
struct Rule<'p> {
    origin: &'p Origin,
    /// The rule of another table that hands its requests to this one.
    delegated: Option<&'p Origin>,
    matches: Vec<Conditions<'p>>,
}

/// The conditions of a match.
struct Conditions<'p> {
    origin: &'p Origin,
    paths: Vec<PathKey<'p>>,
    /// What else must hold, in order.
    needs: Vec<Need<'p>>,
    /// What follows from the match, in addition to `needs`.
    implied: Vec<Need<'p>>,
}

/// A condition on the path, or on the name of a TLS connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum PathKey<'p> {
    Any,
    Exact(PathCase, Cow<'p, str>),
    Prefix(PathCase, Cow<'p, str>),
    Regex(&'p str),
}

/// Another condition. Those that tell matches apart best come last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Need<'p> {
    /// What is seldom written, as a text that is equal where the condition is.
    Rare(String),
    Method(&'p StringMatch),
    Scheme(&'p StringMatch),
    Port(u16),
    Namespace(&'p str),
    Authority(&'p StringMatch),
    Claim(&'p [String], &'p StringMatch),
    Label(&'p str, &'p str),
    Header(&'p str, &'p StringMatch),
    Query(&'p str, &'p StringMatch),
}

/// Whatever a text must be, it must be there.
const THERE: &StringMatch = &StringMatch::Present;

/// Matches of earlier rules by path and one of their other conditions.
#[derive(Default)]
struct Seen<'p> {
    matches: Vec<(usize, Vec<Need<'p>>)>,
    rules: Vec<&'p Origin>,
    by_path: FxHashMap<(PathKey<'p>, Option<Need<'p>>), Chain>,
    links: Vec<Link>,
    paths: FxHashSet<PathKey<'p>>,
    lengths: BTreeSet<usize>,
    /// Whether there is a path whose case does not count.
    has_folded: bool,
}

/// Matches that are found by the same path and condition, in order.
struct Chain {
    first: usize,
    last: usize,
}

/// A match, and the next link of its chain.
struct Link {
    index: usize,
    next: Option<usize>,
}

fn check_rules<'p>(rules: impl Iterator<Item = Rule<'p>>, report: &mut Report) {
    let mut seen = Seen::default();
    for mut rule in rules {
        let index = seen.rules.len();
        seen.rules.push(rule.origin);
        // What is covered covers nothing more.
        if let [one] = rule.matches.as_mut_slice() {
            match seen.covering(one) {
                None => seen.add(index, one),
                Some(first) => report.push(unreachable(&rule, (first, true), &seen)),
            }
            continue;
        }
        let covering: Vec<Option<usize>> = rule.matches.iter().map(|one| seen.covering(one)).collect();
        let by_own = |one: &mut Conditions<'p>| {
            let own = seen.covering(one);
            if own.is_none() {
                seen.add(index, one);
            }
            own
        };
        let own: Vec<Option<usize>> = rule.matches.iter_mut().map(by_own).collect();
        if let Some(first) = covering
            .iter()
            .copied()
            .collect::<Option<Vec<_>>>()
            .as_deref()
            .and_then(unique)
        {
            report.push(unreachable(&rule, first, &seen));
            continue;
        }
        for (one, cover) in rule.matches.iter().zip(own) {
            if let Some(cover) = cover.filter(|_| rule.delegated.is_none()) {
                report.push(ineffective(one, cover == index, &seen, cover));
            }
        }
    }
}

/// The first rule, and whether it is the only one.
fn unique(covers: &[usize]) -> Option<(usize, bool)> {
    let first = *covers.first()?;
    Some((first, covers.iter().all(|one| *one == first)))
}

fn unreachable(rule: &Rule<'_>, (first, is_only): (usize, bool), seen: &Seen<'_>) -> Diagnostic {
    let message = match is_only {
        true => "no request reaches this rule: one before it takes them all",
        false => "no request reaches this rule: those before it take them all",
    };
    let diagnostic = Diagnostic::new(Code::UNREACHABLE_RULE, rule.origin, message);
    let label = match seen.takes_all(first) {
        true => "takes every request",
        false => "takes its requests",
    };
    let diagnostic = match seen.rules.get(first) {
        Some(origin) => diagnostic.with_label(*origin, label),
        None => diagnostic,
    };
    diagnostic.with_help("move it up, or give the other rule a condition")
}

fn ineffective(one: &Conditions<'_>, is_own: bool, seen: &Seen<'_>, cover: usize) -> Diagnostic {
    let message = match is_own {
        true => "this condition changes nothing: another one of the same rule takes its requests",
        false => "this condition changes nothing: a rule before it takes its requests",
    };
    let diagnostic = Diagnostic::new(Code::INEFFECTIVE_MATCH, one.origin, message);
    match seen.rules.get(cover).filter(|_| !is_own) {
        Some(origin) => diagnostic.with_label(*origin, "takes its requests"),
        None => diagnostic,
    }
}

impl<'p> Seen<'p> {
    fn takes_all(&self, rule: usize) -> bool {
        let nothing = self.by_path.get(&(PathKey::Any, None));
        let mut matches = self.chained(nothing);
        matches.any(|(of, needs)| *of == rule && needs.is_empty())
    }

    /// The first rule whose match covers this one on each of its paths.
    fn covering(&self, one: &Conditions<'p>) -> Option<usize> {
        let mut covers = one.paths.iter().map(|path| self.covering_path(path, one));
        covers.try_fold(0, |latest, cover| Some(latest.max(cover?)))
    }

    fn covering_path(&self, path: &PathKey<'p>, one: &Conditions<'p>) -> Option<usize> {
        let mut best: Option<usize> = None;
        // Most paths are no other match's, nor are their beginnings.
        for key in self.wider(path) {
            let conditions = one.needs.iter().chain(&one.implied).cloned().map(Some);
            for condition in conditions.chain([None]) {
                let mut covers = self.chained(self.by_path.get(&(key.clone(), condition))).take(COMPARED);
                let holds = |need: &Need<'_>| one.needs.contains(need) || one.implied.contains(need);
                let found = covers.find(|(_, needs)| needs.iter().all(holds));
                best = [best, found.map(|(rule, _)| *rule)].into_iter().flatten().min();
            }
        }
        best
    }

    /// The matches of a chain, each with its rule.
    fn chained<'s>(&'s self, chain: Option<&Chain>) -> impl Iterator<Item = &'s (usize, Vec<Need<'p>>)> {
        let link = |at: usize| self.links.get(at);
        let links = std::iter::successors(chain.and_then(|chain| link(chain.first)), move |one| link(one.next?));
        links.filter_map(|one| self.matches.get(one.index))
    }

    /// The conditions on a path that hold wherever this one does, of those that there are.
    fn wider<'k>(&self, path: &'k PathKey<'p>) -> Vec<PathKey<'k>> {
        let mut keys = Vec::new();
        let mut add = |key: PathKey<'k>| {
            if self.paths.contains(&key) {
                keys.push(key);
            }
        };
        add(PathKey::Any);
        if *path != PathKey::Any {
            add(path.clone());
        }
        let (PathKey::Exact(case, text) | PathKey::Prefix(case, text)) = path else {
            return keys;
        };
        if *case == PathCase::Sensitive {
            self.add_wider(path, *case, |range| text.get(range).map(Cow::Borrowed), &mut add);
        }
        if self.has_folded {
            let folded = text.to_ascii_lowercase();
            let part = |range| folded.get(range).map(|part: &str| Cow::Owned(part.to_owned()));
            self.add_wider(path, PathCase::Folded, part, &mut add);
        }
        keys
    }

    /// Adds the text itself and its beginnings, of the lengths that there are.
    fn add_wider<'k>(
        &self,
        path: &PathKey<'_>,
        case: PathCase,
        part: impl Fn(std::ops::RangeTo<usize>) -> Option<Cow<'k, str>>,
        add: &mut impl FnMut(PathKey<'k>),
    ) {
        let (PathKey::Exact(_, text) | PathKey::Prefix(_, text)) = path else {
            return;
        };
        if matches!(path, PathKey::Exact(..)) {
            part(..text.len())
                .map(|text| PathKey::Exact(case, text))
                .into_iter()
                .for_each(&mut *add);
        }
        let lengths = self.lengths.range(..=text.len());
        lengths
            .filter_map(|length| Some(PathKey::Prefix(case, part(..*length)?)))
            .for_each(add);
    }

    /// Adds a match, whose conditions are kept here from now on.
    fn add(&mut self, rule: usize, one: &mut Conditions<'p>) {
        let index = self.matches.len();
        let condition = one.needs.last();
        for path in &one.paths {
            if let PathKey::Prefix(_, text) = path {
                self.lengths.insert(text.len());
            }
            self.has_folded |= matches!(
                path,
                PathKey::Exact(PathCase::Folded, _) | PathKey::Prefix(PathCase::Folded, _)
            );
            self.paths.insert(path.clone());
            let key = (path.clone(), condition.cloned());
            let at = self.links.len();
            self.links.push(Link { index, next: None });
            match self.by_path.entry(key) {
                Entry::Vacant(free) => _ = free.insert(Chain { first: at, last: at }),
                Entry::Occupied(mut chain) => {
                    let last = std::mem::replace(&mut chain.get_mut().last, at);
                    if let Some(last) = self.links.get_mut(last) {
                        last.next = Some(at);
                    }
                }
            }
        }
        self.matches.push((rule, std::mem::take(&mut one.needs)));
    }
}

impl<'p> Rule<'p> {
    /// A rule without matches takes everything.
    fn new(origin: &'p Origin, delegated: Option<&'p Origin>, matches: impl Iterator<Item = Conditions<'p>>) -> Self {
        let mut matches: Vec<Conditions<'p>> = matches.collect();
        if matches.is_empty() {
            matches.push(Conditions::of(origin, vec![PathKey::Any]));
        }
        Self {
            origin,
            delegated,
            matches,
        }
    }
}

fn of_requests(rule: &RouteRule) -> Rule<'_> {
    Rule::new(
        &rule.origin,
        rule.delegated.as_ref(),
        rule.matches.iter().map(of_request),
    )
}

fn of_request(one: &RouteMatch) -> Conditions<'_> {
    let mut conditions = Conditions::of(&one.origin, path_keys(one.path.as_ref(), one.path_case));
    conditions.needs.extend(one.method.as_ref().map(Need::Method));
    conditions.needs.extend(one.scheme.as_ref().map(Need::Scheme));
    conditions.text(one.authority.as_ref(), Need::Authority);
    for (name, matcher) in &one.headers {
        conditions.text(Some(matcher), |matcher| Need::Header(name.as_str(), matcher));
    }
    for (name, matcher) in &one.query {
        conditions.text(Some(matcher), |matcher| Need::Query(name, matcher));
    }
    for (path, matcher) in &one.claims {
        conditions.text(Some(matcher), |matcher| Need::Claim(path, matcher));
    }
    for (name, matcher) in &one.without_headers {
        conditions.rare(format!("no header {name} {matcher:?}"));
    }
    for (path, matcher) in &one.without_claims {
        conditions.rare(format!("no claim {} {matcher:?}", path.join(".")));
    }
    conditions.caller(
        one.port,
        &one.source_labels,
        one.source_namespace.as_deref(),
        &one.bindings,
    );
    conditions
}

fn of_connections(one: &StreamMatch) -> Conditions<'_> {
    let hosts = match one.sni_hosts.as_slice() {
        [] => vec![PathKey::Any],
        hosts => hosts.iter().map(|host| host_key(host)).collect(),
    };
    let mut conditions = Conditions::of(&one.origin, hosts);
    if !one.destination_subnets.is_empty() {
        conditions.rare(format!("destination {:?}", one.destination_subnets));
    }
    conditions.caller(
        one.port,
        &one.source_labels,
        one.source_namespace.as_deref(),
        &one.bindings,
    );
    conditions
}

/// Names are compared from their end: `*.example.com` is a prefix of what is written backwards.
fn host_key(host: &str) -> PathKey<'_> {
    let backwards = |text: &str| Cow::Owned(text.chars().rev().collect());
    match host.strip_prefix('*') {
        Some("") => PathKey::Any,
        Some(suffix) => PathKey::Prefix(PathCase::Sensitive, backwards(suffix)),
        None => PathKey::Exact(PathCase::Sensitive, backwards(host)),
    }
}

/// By segments, `/a` is `/a` itself and what starts with `/a/`.
fn path_keys(path: Option<&StringMatch>, case: PathCase) -> Vec<PathKey<'_>> {
    let fold = |text| folded(text, case);
    match path {
        None | Some(StringMatch::Present) => vec![PathKey::Any],
        Some(StringMatch::Exact(text)) => vec![PathKey::Exact(case, fold(text))],
        Some(StringMatch::Prefix(text)) if matches!(text.as_str(), "" | "/") => vec![PathKey::Any],
        Some(StringMatch::Prefix(text)) => vec![PathKey::Prefix(case, fold(text))],
        Some(StringMatch::SegmentPrefix(text)) => match fold(text.trim_end_matches('/')) {
            whole if whole.is_empty() => vec![PathKey::Any],
            whole => vec![
                PathKey::Prefix(case, Cow::Owned(format!("{whole}/"))),
                PathKey::Exact(case, whole),
            ],
        },
        Some(StringMatch::Regex(regex)) if matches!(regex.as_str(), ".*" | "/.*") => vec![PathKey::Any],
        Some(StringMatch::Regex(regex)) => vec![PathKey::Regex(regex)],
    }
}

fn folded(text: &str, case: PathCase) -> Cow<'_, str> {
    match case {
        PathCase::Folded => Cow::Owned(text.to_ascii_lowercase()),
        PathCase::Sensitive => Cow::Borrowed(text),
    }
}

impl<'p> Conditions<'p> {
    const fn of(origin: &'p Origin, paths: Vec<PathKey<'p>>) -> Self {
        Self {
            origin,
            paths,
            needs: Vec::new(),
            implied: Vec::new(),
        }
    }

    /// A condition on a text: whatever it must be, it must be there.
    fn text(&mut self, matcher: Option<&'p StringMatch>, need: impl Fn(&'p StringMatch) -> Need<'p>) {
        let Some(matcher) = matcher else { return };
        self.needs.push(need(matcher));
        if matcher != THERE {
            self.implied.push(need(THERE));
        }
    }

    fn rare(&mut self, text: String) {
        self.needs.push(Need::Rare(text));
    }

    /// Conditions on the caller; the last ones that are added.
    fn caller(&mut self, port: Option<u16>, labels: &'p Labels, namespace: Option<&'p str>, bindings: &'p [Binding]) {
        self.needs.extend(port.map(Need::Port));
        self.needs.extend(namespace.map(Need::Namespace));
        self.needs
            .extend(labels.iter().map(|(key, value)| Need::Label(key, value)));
        if !bindings.is_empty() {
            let names: BTreeSet<String> = bindings.iter().map(binding_name).collect();
            self.rare(format!("bindings {names:?}"));
        }
        self.needs.sort_unstable();
        self.needs.dedup();
    }
}

fn binding_name(binding: &Binding) -> String {
    match binding {
        Binding::Mesh => "mesh".into(),
        Binding::Gateway {
            namespace,
            name,
            section,
            port,
            ..
        } => format!("{namespace}/{name}/{section:?}/{port:?}"),
    }
}
