//! Which tokens a workload takes.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::facts::{Facts, differences};
use super::settings::word;
use super::{Area, Change, Kind, Side, Sides};
use crate::explain::Place;
use crate::policy::model::jwt::{JwtKeys, JwtRule};

/// Changes of the rules, by issuer; several rules of one are told apart by their order.
pub(super) fn changes(sides: Sides<'_>) -> Vec<Change> {
    let (old, new) = (rules(sides.old), rules(sides.new));
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let change = |name: &String| {
        let facts = |rule: Option<&&JwtRule>| rule.map(|rule| rule_facts(rule)).unwrap_or_default();
        let (before, after) = (old.get(name), new.get(name));
        let differing = differences(&facts(before), &facts(after));
        let kind = match (before, after) {
            (None, _) => Kind::Added,
            (_, None) => Kind::Removed,
            _ if differing.is_empty() => return None,
            _ => Kind::Changed,
        };
        let mut change = Change::new(Area::Tokens, kind, name.clone(), differing);
        let place = |rule: Option<&&JwtRule>| Place::new(&rule?.origin);
        (change.old, change.new) = (place(before), place(after));
        Some(change)
    };
    names.into_iter().filter_map(change).collect()
}

fn rules<'p>(side: Side<'p>) -> BTreeMap<String, &'p JwtRule> {
    let root = &side.policy.mesh.root_namespace;
    let policies = side.policy.request_authentications.iter();
    let ours = policies.filter(|one| one.holds_for(&side.snapshot.workload, root));
    let mut rules = BTreeMap::new();
    for rule in ours.flat_map(|one| &one.rules) {
        let issuer = if rule.issuer.is_empty() {
            "any issuer"
        } else {
            &rule.issuer
        };
        let mut names = (1..).map(|number| match number {
            1 => issuer.to_owned(),
            number => format!("{issuer} ({number})"),
        });
        if let Some(name) = names.find(|name| !rules.contains_key(name)) {
            rules.insert(name, rule);
        }
    }
    rules
}

fn rule_facts(rule: &JwtRule) -> Facts {
    let millis =
        |duration: Option<Duration>| json!(duration.map(|one| u64::try_from(one.as_millis()).unwrap_or(u64::MAX)));
    let facts = [
        ("audiences", listed(&rule.audiences)),
        ("keys", json!(keys(&rule.keys))),
        ("from_headers", json!(rule.from_headers)),
        ("from_params", json!(rule.from_params)),
        ("from_cookies", json!(rule.from_cookies)),
        ("payload_header", json!(rule.payload_header)),
        ("forward", json!(word(&rule.forward))),
        ("presence", json!(word(&rule.presence))),
        ("claim_headers", json!(rule.claim_headers)),
        ("timeout_ms", millis(rule.timeout)),
        ("refresh_ms", millis(rule.refresh)),
        ("stale_ms", millis(rule.stale)),
        ("leeway_ms", millis(rule.leeway)),
        ("space_delimited_claims", listed(&rule.space_delimited_claims)),
    ];
    let is_said = |value: &Json| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty());
    let said = facts.into_iter().filter(|(_, value)| is_said(value));
    said.map(|(name, value)| (name.to_owned(), value)).collect()
}

fn listed(names: &[String]) -> Json {
    let mut names = names.to_vec();
    names.sort();
    json!(names)
}

fn keys(keys: &JwtKeys) -> String {
    match keys {
        JwtKeys::Discovered => "discovered".into(),
        JwtKeys::Fetched(address) => format!("fetched from {address}"),
        JwtKeys::File(path) => format!("in the file {path}"),
        JwtKeys::Inline(text) => format!("inline: {text}"),
    }
}
