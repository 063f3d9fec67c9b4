//! Rules that virtual services take from others: `delegate`.
//!
//! Once all documents are read, each rule that delegates is replaced by the rules of its delegate, one by one merged
//! with it, as Istio does: the conditions of both must hold, and what the delegate's rule does not say is taken from
//! the rule that delegates. A delegate's rule whose conditions contradict those is left out.

use std::collections::{BTreeMap, BTreeSet};

use crate::policy::diagnostic::{Code, Diagnostic, HELPED, Report, nearest, quoted};
use crate::policy::model::Policy;
use crate::policy::model::route::{Binding, Delegate, RouteMatch, RouteRule, RouteTable, StringMatch};

/// Whether all documents were read without errors: only then a missing delegate is surely missing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) enum Documents {
    All,
    Some,
}

/// Replaces every rule that delegates, and forgets the delegates. A table that has no rules left is one no more.
pub(in crate::policy) fn resolve(policy: &mut Policy, documents: Documents, report: &mut Report) {
    let delegates = std::mem::take(&mut policy.delegates);
    let mut pass = Pass {
        delegates: by_name(&delegates),
        used: BTreeSet::new(),
        unknown: 0,
        documents,
        report,
    };
    // Lists that nothing is changed in stay those that other policies have, too.
    let delegating = policy.routes.iter_mut();
    for table in delegating.filter(|table| table.rules.iter().any(|rule| rule.delegate.is_some())) {
        let rules = std::mem::take(&mut table.rules);
        for rule in rules {
            match rule.delegate.clone() {
                None => table.rules.push(rule),
                Some(delegate) => table
                    .rules
                    .extend(pass.replace(&table.meta.namespace, &rule, &delegate)),
            }
        }
    }
    pass.report_unused();
    let with_host = policy.routes.iter_mut();
    with_host
        .filter(|table| table.rules.iter().any(|rule| rule.header_authority.is_some()))
        .flat_map(|table| &mut table.rules)
        .for_each(set_authority);
    policy
        .routes
        .retain(|table| !(table.rules.is_empty() && table.tls.is_empty() && table.tcp.is_empty()));
}

/// A header `host` is a rewrite of the authority. Istio merges the two apart, and the rewrite's counts before it.
fn set_authority(rule: &mut RouteRule) {
    if let Some(authority) = rule.header_authority.take() {
        let rewrite = rule.rewrite.get_or_insert_default();
        rewrite.authority.get_or_insert(authority);
    }
}

type Name<'d> = (&'d str, &'d str);

/// Delegates by namespace and name.
type Delegates<'d> = BTreeMap<&'d str, BTreeMap<&'d str, &'d RouteTable>>;

fn by_name(tables: &[RouteTable]) -> Delegates<'_> {
    let mut delegates = Delegates::new();
    for table in tables {
        let own = delegates.entry(&table.meta.namespace).or_default();
        own.insert(&table.meta.name, table);
    }
    delegates
}

struct Pass<'d, 'r> {
    delegates: Delegates<'d>,
    used: BTreeSet<Name<'d>>,
    /// How many delegates were named and not found.
    unknown: usize,
    documents: Documents,
    report: &'r mut Report,
}

impl<'d> Pass<'d, '_> {
    /// The rules that stand in the place of one that delegates.
    fn replace(&mut self, namespace: &str, root: &RouteRule, delegate: &Delegate) -> Vec<RouteRule> {
        let Some(table) = self.find(namespace, delegate) else {
            return Vec::new();
        };
        let mut rules = Vec::new();
        for leaf in &table.rules {
            match merge(root, leaf, delegate) {
                Some(rule) => rules.push(rule),
                None => self.report.push(contradiction(leaf, root)),
            }
        }
        rules
    }

    /// The table that a rule names, where there is one that its namespace sees.
    fn find(&mut self, namespace: &str, delegate: &Delegate) -> Option<&'d RouteTable> {
        let own = self.delegates.get(delegate.namespace.as_str());
        let found = own.and_then(|own| own.get(delegate.name.as_str()));
        let Some(table) = found.copied() else {
            self.report_unknown(delegate);
            return None;
        };
        self.used
            .insert((table.meta.namespace.as_str(), table.meta.name.as_str()));
        if table.meta.namespace == namespace || table.export.includes(namespace) {
            return Some(table);
        }
        let message = format!(
            "{} is not exported to namespace {}: the rule takes no request",
            full_name(delegate),
            quoted(namespace)
        );
        let diagnostic = Diagnostic::new(Code::UNRESOLVED_REFERENCE, &delegate.origin, message);
        self.report
            .push(diagnostic.with_label(&table.meta.origin, "its `exportTo` leaves the namespace out"));
        None
    }

    fn report_unknown(&mut self, delegate: &Delegate) {
        if self.documents == Documents::Some {
            return;
        }
        let name = full_name(delegate);
        let message = format!("no file defines {name}, a virtual service without `hosts`: the rule takes no request");
        let diagnostic = Diagnostic::new(Code::UNRESOLVED_REFERENCE, &delegate.origin, message);
        let near = self.near(delegate);
        self.report.push(match near {
            Some(near) => diagnostic.with_help(format!("did you mean `{near}`?")),
            None => diagnostic,
        });
    }

    /// The full name of a delegate that is most like that of one that is not there.
    fn near(&mut self, delegate: &Delegate) -> Option<String> {
        self.unknown += 1;
        if self.unknown > HELPED {
            return None;
        }
        let tables = self.delegates.values().flat_map(BTreeMap::values);
        let names: Vec<String> = tables
            .map(|table| format!("{}/{}", table.meta.namespace, table.meta.name))
            .collect();
        let wanted = format!("{}/{}", delegate.namespace, delegate.name);
        nearest(&wanted, names.iter().map(String::as_str)).map(str::to_owned)
    }

    fn report_unused(&mut self) {
        if self.documents == Documents::Some {
            return;
        }
        for table in self.delegates.values().flat_map(BTreeMap::values) {
            let name = (table.meta.namespace.as_str(), table.meta.name.as_str());
            if !self.used.contains(&name) {
                let message = format!(
                    "virtual service {} has no effect: it has no `hosts`, and no rule delegates to it",
                    quoted(&table.meta.name)
                );
                self.report
                    .push(Diagnostic::new(Code::NO_EFFECT, &table.meta.origin, message));
            }
        }
    }
}

fn full_name(delegate: &Delegate) -> String {
    quoted(&format!("{}/{}", delegate.namespace, delegate.name))
}

fn contradiction(leaf: &RouteRule, root: &RouteRule) -> Diagnostic {
    let message = "no request can meet the conditions of this rule and of the one that delegates to it";
    Diagnostic::new(Code::NO_EFFECT, &leaf.origin, message).with_label(&root.origin, "it delegates here")
}

/// The rule of a delegate under the conditions of the rule that delegates; `None` where they contradict each other.
fn merge(root: &RouteRule, leaf: &RouteRule, delegate: &Delegate) -> Option<RouteRule> {
    let mut rule = RouteRule {
        delegate: None,
        name: joined(root.name.as_deref(), leaf.name.as_deref()),
        matches: merge_all(&root.matches, &leaf.matches)?,
        rewrite: leaf.rewrite.clone().or_else(|| root.rewrite.clone()),
        timeout: leaf.timeout.or(root.timeout),
        retry: leaf.retry.clone().or_else(|| root.retry.clone()),
        fault: leaf.fault.clone().or_else(|| root.fault.clone()),
        cors: leaf.cors.clone().or_else(|| root.cors.clone()),
        delegated: Some(delegate.origin.clone()),
        ..leaf.clone()
    };
    if rule.mirrors.is_empty() {
        rule.mirrors.clone_from(&root.mirrors);
    }
    if rule.headers.is_empty() && rule.header_authority.is_none() {
        rule.headers.clone_from(&root.headers);
        rule.header_authority.clone_from(&root.header_authority);
    }
    Some(rule)
}

fn joined(root: Option<&str>, leaf: Option<&str>) -> Option<String> {
    match (root, leaf) {
        (Some(root), Some(leaf)) => Some(format!("{root}-{leaf}")),
        (one, other) => one.or(other).map(Into::into),
    }
}

/// Every match of the delegate under every match of the root that it does not contradict; `None` where one contradicts
/// all of them.
fn merge_all(root: &[RouteMatch], leaf: &[RouteMatch]) -> Option<Vec<RouteMatch>> {
    if root.is_empty() || leaf.is_empty() {
        return Some(root.iter().chain(leaf).cloned().collect());
    }
    let mut merged = Vec::new();
    for leaf in leaf {
        let before = merged.len();
        let compatible = root.iter().filter(|root| is_compatible(root, leaf));
        merged.extend(compatible.map(|root| merge_match(root, leaf)));
        if merged.len() == before {
            return None;
        }
    }
    Some(merged)
}

fn merge_match(root: &RouteMatch, leaf: &RouteMatch) -> RouteMatch {
    let or = |leaf: &Option<StringMatch>, root: &Option<StringMatch>| leaf.clone().or_else(|| root.clone());
    let mut source_labels = root.source_labels.clone();
    source_labels.extend(leaf.source_labels.clone());
    RouteMatch {
        name: joined(root.name.as_deref(), leaf.name.as_deref()),
        origin: leaf.origin.clone(),
        path: or(&leaf.path, &root.path),
        path_case: leaf.path_case,
        method: or(&leaf.method, &root.method),
        scheme: or(&leaf.scheme, &root.scheme),
        authority: or(&leaf.authority, &root.authority),
        headers: united(&root.headers, &leaf.headers),
        without_headers: united(&root.without_headers, &leaf.without_headers),
        claims: united(&root.claims, &leaf.claims),
        without_claims: united(&root.without_claims, &leaf.without_claims),
        query: united(&root.query, &leaf.query),
        port: leaf.port.or(root.port),
        source_labels,
        source_namespace: leaf.source_namespace.clone().or_else(|| root.source_namespace.clone()),
        bindings: match leaf.bindings.is_empty() {
            true => root.bindings.clone(),
            false => leaf.bindings.clone(),
        },
    }
}

type Condition<K> = (K, StringMatch);

/// The conditions of both; where both have one for a key, the delegate's, which is the narrower one.
fn united<K: Clone + PartialEq>(root: &[Condition<K>], leaf: &[Condition<K>]) -> Vec<Condition<K>> {
    let is_other = |(key, _): &&Condition<K>| leaf.iter().all(|(other, _)| other != key);
    leaf.iter().chain(root.iter().filter(is_other)).cloned().collect()
}

/// Whether a match of a delegate can stand under one of the rule that delegates.
fn is_compatible(root: &RouteMatch, leaf: &RouteMatch) -> bool {
    let parts = [
        (&root.path, &leaf.path),
        (&root.scheme, &leaf.scheme),
        (&root.method, &leaf.method),
        (&root.authority, &leaf.authority),
    ];
    let namespace = root.source_namespace.as_ref();
    let labels = root.source_labels.iter();
    parts
        .into_iter()
        .all(|(root, leaf)| narrows(root.as_ref(), leaf.as_ref()))
        && all_narrow(&root.headers, &leaf.headers)
        && all_narrow(&root.without_headers, &leaf.without_headers)
        && all_narrow(&root.claims, &leaf.claims)
        && all_narrow(&root.without_claims, &leaf.without_claims)
        && all_narrow(&root.query, &leaf.query)
        && root.path_case == leaf.path_case
        && root.port.is_none_or(|port| leaf.port.is_none_or(|other| other == port))
        && (namespace.is_none() || namespace == leaf.source_namespace.as_ref())
        && labels
            .into_iter()
            .all(|(key, value)| leaf.source_labels.get(key).is_none_or(|other| other == value))
        && takes_gateways(root, leaf)
}

fn takes_gateways(root: &RouteMatch, leaf: &RouteMatch) -> bool {
    let is_place = |one: &Binding| root.bindings.iter().any(|other| one.is_same(other));
    root.bindings.is_empty() || leaf.bindings.iter().all(is_place)
}

fn all_narrow<K: PartialEq>(root: &[Condition<K>], leaf: &[Condition<K>]) -> bool {
    leaf.iter().all(|(key, one)| {
        let same = root.iter().find(|(other, _)| other == key);
        narrows(same.map(|(_, other)| other), Some(one))
    })
}

/// Whether what `leaf` takes is surely part of what `root` takes.
fn narrows(root: Option<&StringMatch>, leaf: Option<&StringMatch>) -> bool {
    let (Some(root), Some(leaf)) = (root, leaf) else {
        return true;
    };
    match (root, leaf) {
        (StringMatch::Present, _) => true,
        (StringMatch::Exact(root), StringMatch::Exact(leaf)) => root == leaf,
        (StringMatch::Prefix(root), StringMatch::Exact(leaf) | StringMatch::Prefix(leaf)) => leaf.starts_with(root),
        // Two regexes cannot be compared.
        _ => false,
    }
}
