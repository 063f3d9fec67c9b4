//! Selectors of endpoints: the workloads that a policy holds for, and peers.

use super::names::{is_dns_label, is_dns_name};
use super::{Entry, Scope, quoted};
use crate::policy::diagnostic::{Code, Diagnostic};
use crate::policy::model::authz::{Action, Condition, Pattern, Source};
use crate::policy::model::{Labels, Meta};
use crate::policy::reader::{Reader, choice, list_of};
use crate::policy::source::{Node, SourceSpan, Value};

/// The label that has a pod's namespace.
const NAMESPACE: &str = "io.kubernetes.pod.namespace";
/// The label that has a pod's service account.
const ACCOUNT: &str = "io.cilium.k8s.policy.serviceaccount";
/// How many policies a selector with lists of values may stand for.
const COMBINATIONS: usize = 64;

/// What a selector asks of one label.
struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
    span: SourceSpan,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

const OPERATORS: &[(&str, Operator)] = &[
    ("In", Operator::In),
    ("NotIn", Operator::NotIn),
    ("Exists", Operator::Exists),
    ("DoesNotExist", Operator::DoesNotExist),
];

/// Reads a selector: all of its requirements must hold.
fn requirements(cx: &Reader<'_>, node: &Node) -> Option<Vec<Requirement>> {
    let mut fields = cx.mapping(node)?;
    let mut all = fields.optional("matchLabels", match_labels).unwrap_or_default();
    all.extend(fields.list("matchExpressions", expression));
    fields.finish();
    Some(all)
}

fn match_labels(cx: &Reader<'_>, node: &Node) -> Option<Vec<Requirement>> {
    let Value::Mapping(entries) = &node.value else {
        return cx.wrong_type(node, "a mapping");
    };
    let required = entries.iter().filter_map(|(name, value)| {
        let Some(key) = label_key(&name.name) else {
            cx.invalid_key(name, "expected a label such as `app`, `k8s:app` or `example.com/app`");
            return None;
        };
        Some(Requirement {
            key,
            operator: Operator::In,
            values: vec![cx.string(value)?],
            span: name.span,
        })
    });
    Some(required.collect())
}

fn expression(cx: &Reader<'_>, node: &Node) -> Option<Requirement> {
    let mut fields = cx.mapping(node)?;
    let key = fields.required("key", |cx, node| {
        let text = cx.text(node)?;
        match label_key(text) {
            Some(key) => Some(key),
            None => cx.invalid(node, format!("expected a label such as `app`, found {}", quoted(text))),
        }
    });
    let operator = fields.required("operator", choice(OPERATORS));
    let values = fields.optional("values", list_of(Reader::string)).unwrap_or_default();
    fields.finish();
    let (key, operator) = (key?, operator?);
    let needs_values = matches!(operator, Operator::In | Operator::NotIn);
    if needs_values == values.is_empty() {
        let message = match needs_values {
            true => "operators `In` and `NotIn` need `values`",
            false => "operators `Exists` and `DoesNotExist` take no `values`",
        };
        cx.report(Diagnostic::new(Code::INVALID_POLICY, node.span, message));
    }
    Some(Requirement {
        key,
        operator,
        values,
        span: node.span,
    })
}

/// The key of a label without the source `k8s:` or `any:`; other sources stay in front.
fn label_key(text: &str) -> Option<String> {
    let known = ["k8s:", "any:"].iter().find_map(|source| text.strip_prefix(source));
    let (source, key) = match (known, text.split_once(':')) {
        (Some(key), _) => ("", key),
        (None, Some((source, key))) => (source, key),
        (None, None) => ("", text),
    };
    let (prefix, name) = key.split_once('/').unwrap_or(("", key));
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_valid = !name.is_empty() && name.chars().all(is_name) && (prefix.is_empty() || is_dns_name(prefix));
    let full = match source {
        "" => key.to_owned(),
        source => format!("{source}:{key}"),
    };
    (is_valid && (source.is_empty() || is_dns_label(source))).then_some(full)
}

/// Workloads that a policy holds for.
#[derive(Clone, Default)]
pub(super) struct Subject {
    /// The namespace that a policy of the cluster names.
    namespace: Option<String>,
    pub(super) labels: Labels,
    /// Where non-empty, only these service accounts.
    pub(super) accounts: Vec<String>,
}

impl Subject {
    /// Reads the selector of a policy: one subject for each combination of values.
    pub(super) fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Vec<Self>> {
        let mut subjects = vec![Self::default()];
        for one in requirements(cx, node)? {
            match (one.key.as_str(), one.operator) {
                (ACCOUNT, Operator::In) => subjects.iter_mut().for_each(|subject| {
                    subject.accounts.clone_from(&one.values);
                }),
                (NAMESPACE, Operator::In) if scope.namespace.is_some() => {
                    // A policy of a namespace selects nothing of others.
                    let is_own = one.values.iter().any(|value| Some(value.as_str()) == scope.namespace);
                    if !is_own {
                        let message = "a policy of a namespace holds for none of another: it changes nothing";
                        cx.report(Diagnostic::new(Code::NO_EFFECT, one.span, message));
                        subjects.clear();
                    }
                }
                (key, Operator::In) if !key.contains(':') && subjects.len() * one.values.len() <= COMBINATIONS => {
                    let with = |subject: &Self| -> Vec<Self> {
                        let values = one.values.iter();
                        values.map(|value| subject.with(key, value)).collect()
                    };
                    subjects = subjects.iter().flat_map(with).collect();
                }
                _ => not_selected(cx, &one),
            }
        }
        Some(subjects)
    }

    fn with(&self, key: &str, value: &str) -> Self {
        let mut subject = self.clone();
        if key == NAMESPACE {
            subject.namespace = Some(value.into());
        } else {
            subject.labels.insert(key.into(), value.into());
        }
        subject
    }

    /// The policy's name in the namespace that it holds for: the root one for all.
    pub(super) fn meta(&self, meta: &Meta, scope: Scope<'_>) -> Meta {
        let namespace = match (&self.namespace, scope.namespace) {
            (_, Some(own)) => own,
            (Some(named), None) => named,
            (None, None) => &scope.mesh.root_namespace,
        };
        Meta {
            namespace: namespace.into(),
            ..meta.clone()
        }
    }
}

/// Says that the policy holds for more workloads than it selects.
fn not_selected(cx: &Reader<'_>, one: &Requirement) {
    let code = Code::NOT_YET_IN_FORCE;
    let message = format!(
        "the requirement on {} is {}: workloads are selected by values of their labels",
        quoted(&one.key),
        code.title()
    );
    cx.report(Diagnostic::new(code, one.span, message));
}

/// Reads a peer by its labels; `None` inside is one that nobody can be known to be.
pub(super) fn peer(cx: &Reader<'_>, node: &Node, of: Entry<'_>) -> Option<Option<Source>> {
    let (mut namespaces, mut accounts) = (Condition::default(), Condition::default());
    let mut is_any_namespace = of.scope.namespace.is_none();
    let mut is_unknown = false;
    for one in requirements(cx, node)? {
        match (one.key.as_str(), one.operator) {
            (NAMESPACE, Operator::In) => namespaces.any_of = one.values,
            (NAMESPACE, Operator::NotIn) => {
                namespaces.none_of.extend(one.values);
                is_any_namespace = true;
            }
            (NAMESPACE, Operator::Exists) => is_any_namespace = true,
            (ACCOUNT, Operator::In) => accounts.any_of = one.values,
            (ACCOUNT, Operator::NotIn) => accounts.none_of.extend(one.values),
            (ACCOUNT, Operator::Exists) => {}
            (key, _) => {
                let what = format!("the label {} of a peer is no part of its identity", quoted(key));
                of.unknown(cx, one.span, &what);
                is_unknown = true;
            }
        }
    }
    if is_unknown && of.action != Action::Deny {
        return Some(None);
    }
    if namespaces.any_of.is_empty() && !is_any_namespace {
        namespaces.any_of = of.scope.namespace.map(str::to_owned).into_iter().collect();
    }
    Some(Some(source(namespaces, &accounts, of)))
}

fn source(namespaces: Condition<String>, accounts: &Condition<String>, of: Entry<'_>) -> Source {
    let service_accounts = Condition {
        any_of: accounts
            .any_of
            .iter()
            .flat_map(|name| account(name, &namespaces.any_of))
            .collect(),
        none_of: accounts.none_of.iter().flat_map(|name| account(name, &[])).collect(),
    };
    let exact = |names: Vec<String>| names.into_iter().map(Pattern::Exact).collect();
    Source {
        service_accounts,
        namespaces: Condition {
            any_of: exact(namespaces.any_of),
            none_of: exact(namespaces.none_of),
        },
        ..member(of)
    }
}

/// A service account in each of these namespaces, in any where there is none.
fn account(name: &str, namespaces: &[String]) -> Vec<Pattern> {
    match namespaces {
        [] => vec![Pattern::Suffix(format!("/{name}"))],
        namespaces => {
            let full = namespaces.iter().map(|namespace| format!("{namespace}/{name}"));
            full.map(Pattern::Exact).collect()
        }
    }
}

/// A peer that is of this mesh. What denies means the ids of other trust domains too.
pub(super) fn member(of: Entry<'_>) -> Source {
    if of.action == Action::Deny {
        return Source::default();
    }
    let domains = std::iter::once(&of.scope.mesh.trust_domain).chain(&of.scope.mesh.trust_domain_aliases);
    Source {
        trust_domains: Condition {
            any_of: domains.cloned().map(Pattern::Exact).collect(),
            none_of: Vec::new(),
        },
        ..Source::default()
    }
}
