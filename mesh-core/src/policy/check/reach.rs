//! Rules and conditions that nothing reaches, since those before them take all of it.
//!
//! A match covers another one where each of its conditions follows from one of the other's. Of a table each match is
//! looked up among those before it that could cover it: by path (equal, or a prefix of it) and one further condition, so
//! that the work grows with the number of matches and not with its square.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;

use crate::policy::diagnostic::{Code, Diagnostic, Report};
use crate::policy::model::route::{
    Binding, PathCase, RouteMatch, RouteRule, RouteTable, RuleOrder, StreamMatch, StringMatch,
};
use crate::policy::model::{Labels, Origin, Policy};

/// Matches that are compared with one, of those that share its path and a condition. What is beyond stays unnoticed.
const COMPARED: usize = 64;

pub(super) fn check(policy: &Policy, report: &mut Report) {
    for table in &policy.routes {
        match table.order {
            RuleOrder::Written => check_rules(table.rules.iter().map(of_requests), report),
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
        let conditions = of_request(one);
        let is_prefix = matches!(one.path, Some(StringMatch::SegmentPrefix(_)));
        is_prefix && conditions.paths == [PathKey::Any] && conditions.needs.is_empty()
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
    paths: Vec<PathKey>,
    /// What else must hold: short texts, equal where the conditions are.
    needs: BTreeSet<String>,
    /// Texts that follow from the match, in addition to `needs`.
    implied: BTreeSet<String>,
}

/// A condition on the path, or on the name of a TLS connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum PathKey {
    Any,
    Exact(PathCase, String),
    Prefix(PathCase, String),
    Regex(String),
}

/// Matches of earlier rules by path and one of their other conditions.
#[derive(Default)]
struct Seen<'p> {
    matches: Vec<(usize, BTreeSet<String>)>,
    rules: Vec<&'p Origin>,
    by_path: FxHashMap<(PathKey, Option<String>), Vec<usize>>,
    lengths: BTreeSet<usize>,
}

fn check_rules<'p>(rules: impl Iterator<Item = Rule<'p>>, report: &mut Report) {
    let mut seen = Seen::default();
    for rule in rules {
        let index = seen.rules.len();
        let covering: Vec<Option<usize>> = rule.matches.iter().map(|one| seen.covering(one)).collect();
        seen.rules.push(rule.origin);
        let by_own = |seen: &mut Seen<'p>, one: &Conditions<'p>| {
            let own = seen.covering(one);
            // What is covered covers nothing more.
            if own.is_none() {
                seen.add(index, one);
            }
            own
        };
        let own: Vec<Option<usize>> = rule.matches.iter().map(|one| by_own(&mut seen, one)).collect();
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

impl Seen<'_> {
    fn takes_all(&self, rule: usize) -> bool {
        let nothing = self.by_path.get(&(PathKey::Any, None));
        let mut matches = nothing
            .into_iter()
            .flatten()
            .filter_map(|index| self.matches.get(*index));
        matches.any(|(of, needs)| *of == rule && needs.is_empty())
    }

    /// The first rule whose match covers this one on each of its paths.
    fn covering(&self, one: &Conditions<'_>) -> Option<usize> {
        let mut covers = one.paths.iter().map(|path| self.covering_path(path, one));
        covers.try_fold(0, |latest, cover| Some(latest.max(cover?)))
    }

    fn covering_path(&self, path: &PathKey, one: &Conditions<'_>) -> Option<usize> {
        let mut best: Option<usize> = None;
        for key in self.wider(path) {
            let conditions = one.needs.iter().chain(&one.implied).cloned().map(Some);
            for condition in conditions.chain([None]) {
                let candidates = self.by_path.get(&(key.clone(), condition));
                let candidates = candidates.into_iter().flatten().take(COMPARED);
                let mut covers = candidates.filter_map(|index| self.matches.get(*index));
                let holds = |need: &String| one.needs.contains(need) || one.implied.contains(need);
                let found = covers.find(|(_, needs)| needs.iter().all(holds));
                best = [best, found.map(|(rule, _)| *rule)].into_iter().flatten().min();
            }
        }
        best
    }

    /// The conditions on a path that hold wherever this one does.
    fn wider(&self, path: &PathKey) -> Vec<PathKey> {
        let mut keys = vec![PathKey::Any];
        if *path != PathKey::Any {
            keys.push(path.clone());
        }
        let (PathKey::Exact(case, text) | PathKey::Prefix(case, text)) = path else {
            return keys;
        };
        let folded = text.to_ascii_lowercase();
        let mut texts = vec![(PathCase::Folded, folded.as_str())];
        if *case == PathCase::Sensitive {
            texts.push((PathCase::Sensitive, text));
        }
        for (case, text) in texts {
            if matches!(path, PathKey::Exact(..)) {
                keys.push(PathKey::Exact(case, text.into()));
            }
            let shorter = self.lengths.iter().filter_map(|length| text.get(..*length));
            keys.extend(shorter.map(|prefix| PathKey::Prefix(case, prefix.into())));
        }
        keys
    }

    fn add(&mut self, rule: usize, one: &Conditions<'_>) {
        let index = self.matches.len();
        // The last of its texts is one of those that tell matches apart: a mark sorts the others first.
        let condition = one.needs.last().cloned();
        for path in &one.paths {
            if let PathKey::Prefix(_, text) = path {
                self.lengths.insert(text.len());
            }
            self.by_path
                .entry((path.clone(), condition.clone()))
                .or_default()
                .push(index);
        }
        self.matches.push((rule, one.needs.clone()));
    }
}

impl<'p> Rule<'p> {
    /// A rule without matches takes everything.
    fn new(origin: &'p Origin, delegated: Option<&'p Origin>, matches: impl Iterator<Item = Conditions<'p>>) -> Self {
        let mut matches: Vec<Conditions<'p>> = matches.collect();
        if matches.is_empty() {
            matches.push(Conditions::anything(origin));
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
    let mut conditions = Conditions::anything(&one.origin);
    conditions.paths = path_keys(one.path.as_ref(), one.path_case);
    let single = [
        ("!method", &one.method),
        ("!scheme", &one.scheme),
        ("authority", &one.authority),
    ];
    for (name, matcher) in single {
        conditions.texts(name, matcher.iter().map(|matcher| ("", matcher)));
    }
    conditions.texts(
        "header",
        one.headers.iter().map(|(name, matcher)| (name.as_str(), matcher)),
    );
    conditions.texts(
        "query",
        one.query.iter().map(|(name, matcher)| (name.as_str(), matcher)),
    );
    let claims = one.claims.iter().map(|(path, matcher)| (path.join("."), matcher));
    let claims: Vec<(String, &StringMatch)> = claims.collect();
    conditions.texts(
        "jwt claim",
        claims.iter().map(|(path, matcher)| (path.as_str(), *matcher)),
    );
    for (name, matcher) in &one.without_headers {
        conditions.needs.insert(format!("!no header {name} {matcher:?}"));
    }
    for (path, matcher) in &one.without_claims {
        conditions
            .needs
            .insert(format!("!no claim {} {matcher:?}", path.join(".")));
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
    let mut conditions = Conditions::anything(&one.origin);
    if !one.sni_hosts.is_empty() {
        conditions.paths = one.sni_hosts.iter().map(|host| host_key(host)).collect();
    }
    if !one.destination_subnets.is_empty() {
        conditions
            .needs
            .insert(format!("destination {:?}", one.destination_subnets));
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
fn host_key(host: &str) -> PathKey {
    let backwards = |text: &str| text.chars().rev().collect();
    match host.strip_prefix('*') {
        Some("") => PathKey::Any,
        Some(suffix) => PathKey::Prefix(PathCase::Sensitive, backwards(suffix)),
        None => PathKey::Exact(PathCase::Sensitive, backwards(host)),
    }
}

/// By segments, `/a` is `/a` itself and what starts with `/a/`.
fn path_keys(path: Option<&StringMatch>, case: PathCase) -> Vec<PathKey> {
    let fold = |text: &str| match case {
        PathCase::Folded => text.to_ascii_lowercase(),
        PathCase::Sensitive => text.to_owned(),
    };
    match path {
        None | Some(StringMatch::Present) => vec![PathKey::Any],
        Some(StringMatch::Exact(text)) => vec![PathKey::Exact(case, fold(text))],
        Some(StringMatch::Prefix(text)) if matches!(text.as_str(), "" | "/") => vec![PathKey::Any],
        Some(StringMatch::Prefix(text)) => vec![PathKey::Prefix(case, fold(text))],
        Some(StringMatch::SegmentPrefix(text)) => match fold(text.trim_end_matches('/')) {
            whole if whole.is_empty() => vec![PathKey::Any],
            whole => vec![PathKey::Prefix(case, format!("{whole}/")), PathKey::Exact(case, whole)],
        },
        Some(StringMatch::Regex(regex)) if matches!(regex.as_str(), ".*" | "/.*") => vec![PathKey::Any],
        Some(StringMatch::Regex(regex)) => vec![PathKey::Regex(regex.clone())],
    }
}

impl<'p> Conditions<'p> {
    fn anything(origin: &'p Origin) -> Self {
        Self {
            origin,
            paths: vec![PathKey::Any],
            needs: BTreeSet::new(),
            implied: BTreeSet::new(),
        }
    }

    /// Conditions on texts with names; whatever a text must be, it must be there.
    fn texts<'m>(&mut self, what: &str, matchers: impl Iterator<Item = (&'m str, &'m StringMatch)>) {
        let mut seen: BTreeMap<&str, ()> = BTreeMap::new();
        for (name, matcher) in matchers {
            self.needs.insert(format!("{what} {name} {matcher:?}"));
            if *matcher != StringMatch::Present && seen.insert(name, ()).is_none() {
                self.implied.insert(format!("{what} {name} {:?}", StringMatch::Present));
            }
        }
    }

    /// Conditions on the caller.
    fn caller(&mut self, port: Option<u16>, labels: &Labels, namespace: Option<&str>, bindings: &[Binding]) {
        self.needs.extend(port.map(|port| format!("!port {port}")));
        self.needs
            .extend(namespace.map(|namespace| format!("!namespace {namespace}")));
        let labels = labels.iter().map(|(key, value)| format!("label {key}={value}"));
        self.needs.extend(labels);
        if !bindings.is_empty() {
            let names: BTreeSet<String> = bindings.iter().map(binding_name).collect();
            self.needs.insert(format!("!bindings {names:?}"));
        }
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
