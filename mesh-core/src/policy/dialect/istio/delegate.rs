//! Delegation: a rule of one `VirtualService` hands its requests to another, which has no hosts.
//!
//! Each rule of the delegate is merged with the rule that hands over, by Istio's rules (`mergeHTTPRoutes`): conditions of
//! both must hold, and what they say must not contradict; of everything else the delegate's value counts, or else the
//! root's. It is done once all documents are read, so that the model has no delegates.

use std::collections::BTreeSet;

use http::HeaderName;

use crate::policy::diagnostic::{Code, Diagnostic, Report, quoted};
use crate::policy::model::Policy;
use crate::policy::model::route::{Delegate, RouteMatch, RouteRule, RouteTable, StringMatch};

/// Replaces every rule that delegates by the merged rules of its delegate.
pub(in crate::policy) fn resolve(policy: &mut Policy, report: &mut Report) {
    let delegates = std::mem::take(&mut policy.delegates);
    let mut used = BTreeSet::new();
    for table in &mut policy.routes {
        let namespace = table.meta.namespace.clone();
        let rules = std::mem::take(&mut table.rules);
        for rule in rules {
            let Some(to) = rule.delegate.clone() else {
                table.rules.push(rule);
                continue;
            };
            match find(&delegates, &to, &namespace) {
                Some((index, delegate)) => {
                    used.insert(index);
                    table
                        .rules
                        .extend(delegate.rules.iter().filter_map(|leaf| merged(&rule, leaf, report)));
                }
                None => report.push(missing(&to)),
            }
        }
    }
    let unused = delegates.iter().enumerate().filter(|(index, _)| !used.contains(index));
    unused.for_each(|(_, delegate)| report.push(unneeded(delegate)));
}

fn find<'d>(delegates: &'d [RouteTable], to: &Delegate, namespace: &str) -> Option<(usize, &'d RouteTable)> {
    let is_meant = |table: &RouteTable| {
        table.meta.name == to.name && table.meta.namespace == to.namespace && table.export.includes(namespace)
    };
    delegates.iter().enumerate().find(|(_, table)| is_meant(table))
}

fn missing(to: &Delegate) -> Diagnostic {
    let name = quoted(&format!("{}/{}", to.namespace, to.name));
    let message = format!("delegate {name} is not there: the rule takes no request");
    let help = "a delegate is a virtual service without `hosts` that is exported to this namespace";
    Diagnostic::new(Code::UNRESOLVED_REFERENCE, &to.origin, message).with_help(help)
}

fn unneeded(delegate: &RouteTable) -> Diagnostic {
    let message = format!(
        "virtual service {} has no hosts, and no rule delegates to it",
        quoted(&delegate.meta.name)
    );
    Diagnostic::new(Code::NO_EFFECT, &delegate.meta.origin, message)
}

/// The rule of a delegate within the rule that hands over; `None` where no request could match both.
fn merged(root: &RouteRule, leaf: &RouteRule, report: &mut Report) -> Option<RouteRule> {
    let Some(matches) = merged_matches(&root.matches, &leaf.matches) else {
        let message = "the conditions contradict those of the rule that delegates: the rule takes no request";
        report
            .push(Diagnostic::new(Code::UNREACHABLE_RULE, &leaf.origin, message).with_label(&root.origin, "delegates"));
        return None;
    };
    let own = leaf.clone();
    Some(RouteRule {
        name: merged_name(root.name.as_deref(), leaf.name.as_deref()),
        matches,
        delegate: None,
        timeout: own.timeout.or(root.timeout),
        retry: own.retry.or_else(|| root.retry.clone()),
        rewrite: own.rewrite.or_else(|| root.rewrite.clone()),
        fault: own.fault.or_else(|| root.fault.clone()),
        cors: own.cors.or_else(|| root.cors.clone()),
        mirrors: if own.mirrors.is_empty() {
            root.mirrors.clone()
        } else {
            own.mirrors
        },
        headers: if own.headers.is_empty() {
            root.headers.clone()
        } else {
            own.headers
        },
        ..own
    })
}

fn merged_name(root: Option<&str>, leaf: Option<&str>) -> Option<String> {
    match (root, leaf) {
        (Some(root), Some(leaf)) => Some(format!("{root}-{leaf}")),
        (name, None) | (None, name) => name.map(str::to_owned),
    }
}

fn merged_matches(root: &[RouteMatch], leaf: &[RouteMatch]) -> Option<Vec<RouteMatch>> {
    if root.is_empty() || leaf.is_empty() {
        return Some([root, leaf].concat());
    }
    let mut matches = Vec::new();
    for leaf in leaf {
        let before = matches.len();
        let fitting = root.iter().filter(|root| !contradict(root, leaf));
        matches.extend(fitting.map(|root| merged_match(root, leaf)));
        if matches.len() == before {
            return None;
        }
    }
    Some(matches)
}

fn merged_match(root: &RouteMatch, leaf: &RouteMatch) -> RouteMatch {
    let own = leaf.clone();
    RouteMatch {
        name: merged_name(root.name.as_deref(), leaf.name.as_deref()),
        path: own.path.or_else(|| root.path.clone()),
        path_case: if leaf.path.is_some() {
            leaf.path_case
        } else {
            root.path_case
        },
        method: own.method.or_else(|| root.method.clone()),
        scheme: own.scheme.or_else(|| root.scheme.clone()),
        authority: own.authority.or_else(|| root.authority.clone()),
        headers: united(&root.headers, own.headers),
        without_headers: united(&root.without_headers, own.without_headers),
        claims: united(&root.claims, own.claims),
        without_claims: united(&root.without_claims, own.without_claims),
        query: united(&root.query, own.query),
        port: own.port.or(root.port),
        source_labels: root
            .source_labels
            .clone()
            .into_iter()
            .chain(own.source_labels)
            .collect(),
        source_namespace: own.source_namespace.or_else(|| root.source_namespace.clone()),
        bindings: if own.bindings.is_empty() {
            root.bindings.clone()
        } else {
            own.bindings
        },
        origin: own.origin,
    }
}

fn united<K: PartialEq + Clone>(root: &[(K, StringMatch)], mut leaf: Vec<(K, StringMatch)>) -> Vec<(K, StringMatch)> {
    let only_root = root
        .iter()
        .filter(|(key, _)| leaf.iter().all(|(other, _)| other != key))
        .cloned();
    let only_root: Vec<_> = only_root.collect();
    leaf.extend(only_root);
    leaf
}

/// Whether no request, or not every request of `leaf`, can be one of `root`.
fn contradict(root: &RouteMatch, leaf: &RouteMatch) -> bool {
    let texts = [
        (&root.path, &leaf.path),
        (&root.scheme, &leaf.scheme),
        (&root.method, &leaf.method),
        (&root.authority, &leaf.authority),
    ];
    let differ_in_case = root.path.is_some() && leaf.path.is_some() && root.path_case != leaf.path_case;
    let ports = root.port.is_some() && leaf.port.is_some() && root.port != leaf.port;
    let namespaces = root.source_namespace.is_some() && root.source_namespace != leaf.source_namespace;
    let labels = leaf.source_labels.iter().any(|(key, value)| {
        let of_root = root.source_labels.get(key);
        of_root.is_some_and(|other| other != value)
    });
    let bindings = !root.bindings.is_empty() && leaf.bindings.iter().any(|one| !root.bindings.contains(one));
    differ_in_case
        || ports
        || namespaces
        || labels
        || bindings
        || texts
            .iter()
            .any(|(root, leaf)| text_contradicts(root.as_ref(), leaf.as_ref()))
        || fields_contradict(&root.headers, &leaf.headers)
        || fields_contradict::<HeaderName>(&root.without_headers, &leaf.without_headers)
        || fields_contradict(&root.query, &leaf.query)
}

fn fields_contradict<K: PartialEq>(root: &[(K, StringMatch)], leaf: &[(K, StringMatch)]) -> bool {
    leaf.iter().any(|(key, value)| {
        let of_root = root.iter().find(|(other, _)| other == key);
        text_contradicts(of_root.map(|(_, value)| value), Some(value))
    })
}

fn text_contradicts(root: Option<&StringMatch>, leaf: Option<&StringMatch>) -> bool {
    let (Some(root), Some(leaf)) = (root, leaf) else {
        return false;
    };
    match (root, leaf) {
        (StringMatch::Present, _) => false,
        (StringMatch::Exact(root), StringMatch::Exact(leaf)) => root != leaf,
        (StringMatch::Prefix(root), StringMatch::Prefix(leaf) | StringMatch::Exact(leaf)) => !leaf.starts_with(root),
        _ => true,
    }
}
