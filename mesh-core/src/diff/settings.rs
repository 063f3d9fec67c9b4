//! Settings of clusters and of the mesh, as facts.

use std::fmt::Debug;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::facts::{Facts, differences};
use super::{Area, Change, Kind};
use crate::decide::cluster::ClusterSettings;
use crate::policy::model::authz::Pattern;
use crate::policy::model::traffic::{Limits, OutlierDetection};
use crate::policy::model::{AccessLog, MeshSettings, Policy};

/// What holds for all workloads.
pub(super) fn of_mesh(old: &Policy, new: &Policy) -> Vec<Change> {
    let mut facts = differences(&mesh_facts(&old.mesh), &mesh_facts(&new.mesh));
    if facts.is_empty() && old.mesh != new.mesh {
        let both = |policy: &Policy| Facts::from([("settings".into(), json!(format!("{:?}", policy.mesh)))]);
        facts = differences(&both(old), &both(new));
    }
    let change = (!facts.is_empty()).then(|| Change::new(Area::Mesh, Kind::Changed, "settings".into(), facts));
    change.into_iter().collect()
}

fn mesh_facts(mesh: &MeshSettings) -> Facts {
    let forwarding = &mesh.forwarding;
    let callers: Vec<String> = forwarding.trusted_callers.iter().map(written).collect();
    let log = |log: &AccessLog| match log.percent {
        100 => format!("{} as {}", log.path, word(&log.encoding)),
        percent => format!("{} as {}, {percent} % of the requests", log.path, word(&log.encoding)),
    };
    let facts = [
        ("trust_domain", json!(mesh.trust_domain)),
        ("root_namespace", json!(mesh.root_namespace)),
        ("cluster_domain", json!(mesh.cluster_domain)),
        ("trust_domain_aliases", listed(&mesh.trust_domain_aliases)),
        ("outbound", json!(word(&mesh.outbound))),
        ("access_log", json!(mesh.access_log.as_ref().map(log))),
        ("live.drain_ms", millis(mesh.live.drain)),
        ("live.recheck", json!(word(&mesh.live.recheck))),
        ("tls.resumption", json!(word(&mesh.tls.resumption))),
        ("tls.revocation.unknown", json!(word(&mesh.tls.revocation.unknown))),
        ("tls.revocation.expired", json!(word(&mesh.tls.revocation.expired))),
        ("path_normalization", json!(word(&mesh.path_normalization))),
        ("forwarding.client_cert", json!(word(&forwarding.client_cert))),
        ("forwarding.trusted_callers", listed(&callers)),
        ("forwarding.trusted_proxies", json!(forwarding.trusted_proxies)),
    ];
    named(facts)
}

/// A pattern as policies write it.
fn written(pattern: &Pattern) -> String {
    match pattern {
        Pattern::Exact(text) | Pattern::Glob(text) | Pattern::Template(text) | Pattern::Regex(text) => text.clone(),
        Pattern::Prefix(text) => format!("{text}*"),
        Pattern::Suffix(text) => format!("*{text}"),
        Pattern::Present => "*".into(),
    }
}

/// What holds for the endpoints of one service, subset and port.
pub(super) fn of_cluster(settings: &ClusterSettings) -> Facts {
    let budget = &settings.budget;
    let concurrency = settings.retry_concurrency.map(|limit| {
        let percent = f64::from(limit.share.millionths()) / 10_000.0;
        format!("{percent}% of the requests, at least {}", limit.min)
    });
    let mut facts = named([
        ("balance", json!(word(&settings.algorithm))),
        ("retry_budget.percent", json!(budget.percent)),
        ("retry_budget.min_per_second", json!(budget.min_per_second)),
        ("retry_budget.ttl_ms", millis(budget.ttl)),
        ("retry_concurrency", json!(concurrency)),
    ]);
    facts.extend(limits(&settings.limits));
    if let Some(detection) = &settings.outliers {
        facts.extend(outliers(detection));
    }
    facts
}

fn limits(limits: &Limits) -> Facts {
    named([
        ("limits.connections", json!(limits.connections)),
        ("limits.pending", json!(limits.pending)),
        ("limits.requests", json!(limits.requests)),
        ("limits.retries", json!(limits.retries)),
        ("limits.requests_per_connection", json!(limits.requests_per_connection)),
        ("limits.streams_per_connection", json!(limits.streams_per_connection)),
        ("limits.connect_timeout_ms", millis(limits.connect_timeout)),
        ("limits.idle_timeout_ms", optional(limits.idle_timeout)),
        ("limits.connection_age_ms", optional(limits.connection_age)),
        ("limits.h2_upgrade", json!(word(&limits.h2_upgrade))),
        ("limits.client_protocol", json!(word(&limits.client_protocol))),
        ("limits.tcp_keepalive", debug(limits.tcp_keepalive.as_ref())),
        ("limits.http2_keepalive", debug(limits.http2_keepalive.as_ref())),
    ])
}

fn outliers(detection: &OutlierDetection) -> Facts {
    let codes: Vec<u16> = detection.error_codes.iter().map(|code| code.as_u16()).collect();
    named([
        ("outliers.consecutive_5xx", json!(detection.consecutive_5xx)),
        (
            "outliers.consecutive_gateway_errors",
            json!(detection.consecutive_gateway_errors),
        ),
        (
            "outliers.consecutive_local_failures",
            json!(detection.consecutive_local_failures),
        ),
        ("outliers.interval_ms", millis(detection.interval)),
        ("outliers.base_ejection_ms", millis(detection.base_ejection)),
        ("outliers.max_ejection_ms", millis(detection.max_ejection)),
        ("outliers.max_ejected_percent", json!(detection.max_ejected_percent)),
        ("outliers.min_healthy_percent", json!(detection.min_healthy_percent)),
        ("outliers.error_codes", json!(codes)),
    ])
}

/// A set of names; none is not said.
pub(super) fn listed(names: &[String]) -> Json {
    let mut names = names.to_vec();
    names.sort();
    match names.is_empty() {
        true => Json::Null,
        false => json!(names),
    }
}

/// Facts, without those that say nothing.
pub(super) fn named<const N: usize>(facts: [(&str, Json); N]) -> Facts {
    let said = facts.into_iter().filter(|(_, value)| !value.is_null());
    said.map(|(name, value)| (name.to_owned(), value)).collect()
}

pub(super) fn millis(duration: Duration) -> Json {
    json!(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

fn optional(duration: Option<Duration>) -> Json {
    duration.map_or(Json::Null, millis)
}

fn debug(value: Option<&impl Debug>) -> Json {
    value.map_or(Json::Null, |value| json!(format!("{value:?}")))
}

/// A variant's name as policies write it: `LeastRequest` is `least_request`.
pub(super) fn word(value: &impl Debug) -> String {
    let mut word = String::new();
    for letter in format!("{value:?}").chars() {
        if letter.is_ascii_uppercase() && !word.is_empty() {
            word.push('_');
        }
        word.push(letter.to_ascii_lowercase());
    }
    word
}
