//! External authorizers, by their names.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use super::facts::{Facts, differences};
use super::settings::{listed, millis, named, word};
use super::{Area, Change, Kind};
use crate::explain::Place;
use crate::policy::model::Policy;
use crate::policy::model::authorizer::{ExternalAuthorizer, HttpCheck, Protocol};
use crate::policy::model::authz::Pattern;

type ByName<'p> = BTreeMap<&'p str, &'p ExternalAuthorizer>;

pub(super) fn changes(old: &Policy, new: &Policy) -> Vec<Change> {
    let (old, new) = (by_name(old), by_name(new));
    let names: BTreeSet<&str> = old.keys().chain(new.keys()).copied().collect();
    names.into_iter().filter_map(|name| change(name, &old, &new)).collect()
}

fn by_name(policy: &Policy) -> ByName<'_> {
    let authorizers = policy.authorizers.iter();
    authorizers.map(|one| (one.meta.name.as_str(), one)).collect()
}

fn change(name: &str, old: &ByName<'_>, new: &ByName<'_>) -> Option<Change> {
    let (old, new) = (old.get(name), new.get(name));
    let facts = |one: Option<&&ExternalAuthorizer>| one.map(|one| facts(one)).unwrap_or_default();
    let found = differences(&facts(old), &facts(new));
    let kind = match (old, new) {
        (None, _) => Kind::Added,
        (_, None) => Kind::Removed,
        _ => Kind::Changed,
    };
    let place = |one: Option<&&ExternalAuthorizer>| one.and_then(|one| Place::new(&one.meta.origin));
    (!found.is_empty()).then(|| {
        let mut change = Change::new(Area::Mesh, kind, format!("authorizer {name}"), found);
        (change.old, change.new) = (place(old), place(new));
        change
    })
}

fn facts(one: &ExternalAuthorizer) -> Facts {
    let body = one.body.map(|body| {
        let (larger, form) = (word(&body.larger), word(&body.form));
        format!("{} bytes as {form}, larger: {larger}", body.limit)
    });
    let mut facts = named([
        ("protocol", json!(one.protocol.as_str())),
        ("service", json!(format!("{}:{}", one.service, one.port))),
        ("timeout_ms", millis(one.timeout)),
        ("on_failure", json!(word(&one.on_failure))),
        ("failure_status", json!(one.failure_status.as_u16())),
        ("body", json!(body)),
    ]);
    if let Protocol::Http(check) = &one.protocol {
        facts.extend(of_http(check));
    }
    facts
}

fn of_http(check: &HttpCheck) -> Facts {
    let extra = check.extra_headers.iter();
    let extra = extra.map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())));
    named([
        ("http.path_prefix", said(&check.path_prefix)),
        ("http.request_headers", patterns(&check.request_headers)),
        ("http.extra_headers", listed(&extra.collect::<Vec<_>>())),
        ("http.to_server_on_allow", patterns(&check.to_server_on_allow)),
        ("http.to_caller_on_allow", patterns(&check.to_caller_on_allow)),
        ("http.to_caller_on_deny", patterns(&check.to_caller_on_deny)),
    ])
}

fn said(text: &str) -> Json {
    if text.is_empty() { Json::Null } else { json!(text) }
}

fn patterns(patterns: &[Pattern]) -> Json {
    listed(&patterns.iter().map(ToString::to_string).collect::<Vec<_>>())
}
