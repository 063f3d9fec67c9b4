//! External authorizers, by their names.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::facts::{Facts, differences};
use super::settings::{millis, named, word};
use super::{Area, Change, Kind};
use crate::explain::Place;
use crate::policy::model::Policy;
use crate::policy::model::authorizer::{ExternalAuthorizer, Protocol};

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
    let http = match &one.protocol {
        Protocol::Http(check) => json!(format!("{check:?}")),
        Protocol::Grpc => json!(null),
    };
    named([
        ("protocol", json!(one.protocol.as_str())),
        ("http", http),
        ("service", json!(format!("{}:{}", one.service, one.port))),
        ("timeout_ms", millis(one.timeout)),
        ("on_failure", json!(word(&one.on_failure))),
        ("failure_status", json!(one.failure_status.as_u16())),
        ("body", json!(body)),
    ])
}
