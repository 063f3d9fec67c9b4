//! `LocalityLoadBalancerSetting`: which endpoints are preferred by their locality, `region/zone/subzone`.

use super::names::refuse_duplicates;
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::traffic::Locality;
use crate::policy::reader::{Fields, Reader, spanned, within};
use crate::policy::source::{Node, SourceSpan, Spanned, Value};

/// Labels that say the locality itself.
const TOPOLOGY: &[&str] = &[
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.istio.io/subzone",
];

/// Reads the block.
pub(super) fn locality(cx: &Reader<'_>, node: &Node) -> Option<Locality> {
    let mut fields = cx.mapping(node)?;
    fields.one_of(&["distribute", "failover"]);
    let distribute = fields.list("distribute", spanned(distribution));
    let froms: Vec<_> = distribute.iter().map(|one| (one.0.as_str(), one.span)).collect();
    refuse_overlaps(cx, "from", &froms);
    let found = Locality {
        enabled: fields.optional("enabled", Reader::bool),
        distribute: distribute.into_iter().map(|one| one.value).collect(),
        failover: failovers(cx, &mut fields),
        failover_priority: priorities(cx, &mut fields, Topology::BesideFailover),
    };
    fields.finish();
    Some(found)
}

/// Reads the block that spreads requests over zones, which the model does not hold yet.
pub(super) fn zone_aware(cx: &Reader<'_>, node: &Node) -> Option<()> {
    let mut fields = cx.mapping(node)?;
    fields.optional("enabled", Reader::bool);
    fields.optional("minClusterSize", Reader::u32);
    failovers(cx, &mut fields);
    priorities(cx, &mut fields, Topology::Never);
    fields.finish();
    Some(())
}

type Distribution = (String, Vec<(String, u32)>);

fn distribution(cx: &Reader<'_>, node: &Node) -> Option<Distribution> {
    let mut fields = cx.mapping(node)?;
    let from = fields.required("from", pattern);
    let to = fields.required("to", shares);
    fields.finish();
    Some((from?, to?))
}

/// Reads the shares of localities, which are a hundred together.
fn shares(cx: &Reader<'_>, node: &Node) -> Option<Vec<(String, u32)>> {
    let Value::Mapping(entries) = &node.value else {
        return cx.wrong_type(node, "a mapping");
    };
    let errors = cx.errors();
    let mut shares: Vec<Spanned<(String, u32)>> = Vec::new();
    for (key, value) in entries {
        if let Err(reason) = check_pattern(&key.name) {
            cx.invalid_key(key, reason);
        }
        let share: Option<u32> = within(1..=100)(cx, value);
        shares.extend(share.map(|share| Spanned {
            value: (key.name.to_string(), share),
            span: key.span,
        }));
    }
    let names: Vec<_> = shares.iter().map(|share| (share.0.as_str(), share.span)).collect();
    refuse_overlaps(cx, "to", &names);
    let sum: u32 = shares.iter().map(|share| share.1).sum();
    if sum != 100 && cx.errors() == errors {
        return cx.invalid(node, format!("expected shares of 100 together, found {sum}"));
    }
    Some(shares.into_iter().map(|share| share.value).collect())
}

/// Reads a locality, or a pattern of several: `*`, `region/*` or `region/zone/*`.
fn pattern(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    match check_pattern(text) {
        Ok(()) => Some(text.into()),
        Err(reason) => cx.invalid(node, format!("{reason}, found {}", quoted(text))),
    }
}

fn check_pattern(text: &str) -> Result<(), &'static str> {
    let parts: Vec<&str> = text.split('/').collect();
    if parts.len() > 3 || parts.iter().any(|part| part.is_empty()) {
        return Err("expected `region`, `region/zone` or `region/zone/subzone`");
    }
    match text.strip_suffix('*').unwrap_or(text).contains('*') {
        true => Err("expected `*` at the end only"),
        false => Ok(()),
    }
}

/// No locality may be covered twice.
fn refuse_overlaps(cx: &Reader<'_>, field: &str, patterns: &[(&str, SourceSpan)]) {
    for (index, (pattern, span)) in patterns.iter().enumerate() {
        let mut earlier = patterns.iter().take(index);
        if let Some((other, first)) = earlier.find(|(other, _)| overlap(other, pattern)) {
            let message = format!("`{field}`: {} and {} overlap", quoted(other), quoted(pattern));
            let diagnostic = Diagnostic::new(Code::INVALID_POLICY, *span, message);
            cx.report(diagnostic.with_label(*first, "given here"));
        }
    }
}

/// Whether some locality is covered by both: where one ends, all that begins so is meant.
fn overlap(left: &str, right: &str) -> bool {
    let pairs = left.split('/').zip(right.split('/'));
    pairs
        .into_iter()
        .take_while(|(left, right)| *left != "*" && *right != "*")
        .all(|(left, right)| left == right)
}

/// Reads which region takes over from which.
fn failovers(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) -> Vec<(String, String)> {
    let failovers = fields.list("failover", spanned(failover));
    let from: Vec<_> = failovers.iter().map(|one| (one.0.as_str(), one.span)).collect();
    refuse_duplicates(cx, "region", &from);
    failovers.into_iter().map(|one: Spanned<_>| one.value).collect()
}

fn failover(cx: &Reader<'_>, node: &Node) -> Option<(String, String)> {
    let mut fields = cx.mapping(node)?;
    let from = fields.required("from", region);
    let to = fields.required("to", region);
    fields.finish();
    let (from, to) = (from?, to?);
    if from == to {
        return cx.invalid(node, format!("expected two regions, found {} twice", quoted(&from)));
    }
    Some((from, to))
}

fn region(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let text = cx.name(node)?;
    if text.contains(['/', '*']) {
        return cx.invalid(node, format!("expected the name of a region, found {}", quoted(&text)));
    }
    Some(text)
}

/// Whether labels that say the locality may be compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Topology {
    /// Unless regions are named by `failover`.
    BesideFailover,
    Never,
}

fn priorities(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>, topology: Topology) -> Vec<String> {
    let labels = fields.list("failoverPriority", spanned(Reader::name));
    let is_refused = topology == Topology::Never || fields.node("failover").is_some();
    for label in labels.iter().filter(|_| is_refused) {
        let name = label.split('=').next().unwrap_or(label);
        if TOPOLOGY.contains(&name) {
            let message = match topology {
                Topology::Never => format!("`failoverPriority`: {} is what zones are told by", quoted(name)),
                Topology::BesideFailover => {
                    format!("`failoverPriority`: {} cannot stand beside `failover`", quoted(name))
                }
            };
            cx.report(Diagnostic::new(Code::INVALID_POLICY, label.span, message));
        }
    }
    labels.into_iter().map(|label: Spanned<_>| label.value).collect()
}
