//! `LoadBalancerSettings`: how an endpoint is picked.

use std::time::Duration;

use super::consistent_hash::consistent_hash;
use super::locality::{locality, zone_aware};
use super::values::{duration, given_or};
use super::{NOT_YET, refuse_all};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::traffic::{Algorithm, HashKey, TrafficPolicy, Warmup};
use crate::policy::reader::{Fields, Reader, choice};
use crate::policy::source::Node;

const HASH: &str = "requests are not hashed";
const LOCALITY: &str = "localities are not weighed";
const WARMUP: &str = "new endpoints get their full share at once";

/// Reads the block into the settings that it makes up.
pub(super) fn load_balancer(cx: &Reader<'_>, node: &Node) -> Option<TrafficPolicy> {
    let mut fields = cx.mapping(node)?;
    fields.one_of(&["simple", "consistentHash"]);
    let hashed = fields.optional("consistentHash", consistent_hash);
    let simple = given_or(&mut fields, "simple", Algorithm::LeastRequest, simple);
    let (algorithm, hash): (_, Option<HashKey>) = match hashed {
        Some((algorithm, hash)) => (Some(algorithm), hash),
        None => (simple, None),
    };
    fields.one_of(&["localityLbSetting", "zoneAwareLbSetting"]);
    let traffic = TrafficPolicy {
        balance: algorithm,
        hash,
        warmup: warmup_of(cx, &mut fields, algorithm),
        locality: fields.optional("localityLbSetting", locality),
        ..TrafficPolicy::default()
    };
    fields.optional("zoneAwareLbSetting", zone_aware);
    let refused = [
        ("consistentHash", HASH),
        ("localityLbSetting", LOCALITY),
        ("zoneAwareLbSetting", LOCALITY),
        ("warmup", WARMUP),
        ("warmupDurationSecs", WARMUP),
    ];
    refuse_all(&mut fields, NOT_YET, &refused);
    fields.finish();
    Some(traffic)
}

const SIMPLE: &[(&str, Algorithm)] = &[
    ("LEAST_REQUEST", Algorithm::LeastRequest),
    ("ROUND_ROBIN", Algorithm::RoundRobin),
    ("RANDOM", Algorithm::Random),
    ("UNSPECIFIED", Algorithm::LeastRequest),
    ("LEAST_CONN", Algorithm::LeastRequest),
    ("PASSTHROUGH", Algorithm::Passthrough),
];

fn simple(cx: &Reader<'_>, node: &Node) -> Option<Algorithm> {
    let algorithm = choice(SIMPLE)(cx, node)?;
    if algorithm == Algorithm::Passthrough {
        let title = NOT_YET.title();
        let message = format!("`PASSTHROUGH` is {title}: callers dial names, no address is kept");
        let help = "without it an endpoint of the service is picked";
        cx.report(Diagnostic::new(NOT_YET, node.span, message).with_help(help));
    }
    if node.as_text() == Some("LEAST_CONN") {
        let diagnostic = Diagnostic::new(Code::DEPRECATED, node.span, "`LEAST_CONN` is deprecated");
        cx.report(diagnostic.with_help("write `LEAST_REQUEST`, which it means"));
    }
    Some(algorithm)
}

/// Reads how new endpoints are eased in, of which there are an old and a new form.
fn warmup_of(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>, algorithm: Option<Algorithm>) -> Option<Warmup> {
    let given = fields.one_of(&["warmup", "warmupDurationSecs"]);
    let old = fields.optional("warmupDurationSecs", duration).map(Warmup::new);
    if let Some((key, _)) = fields.entry("warmupDurationSecs") {
        let message = format!("{} is deprecated", quoted(&key.name));
        cx.report(Diagnostic::new(Code::DEPRECATED, key.span, message).with_help("write `warmup: { duration: … }`"));
    }
    let eases = matches!(algorithm, None | Some(Algorithm::RoundRobin | Algorithm::LeastRequest));
    if let Some((name, node)) = given.filter(|_| !eases) {
        let message = format!("`{name}` has no effect: it is for `ROUND_ROBIN` and `LEAST_REQUEST`");
        cx.report(Diagnostic::new(Code::NO_EFFECT, node.span, message));
    }
    fields.optional("warmup", warmup).or(old)
}

fn warmup(cx: &Reader<'_>, node: &Node) -> Option<Warmup> {
    let mut fields = cx.mapping(node)?;
    let duration: Option<Duration> = fields.required("duration", duration);
    let minimum = fields.optional("minimumPercent", |cx, node| number(cx, node, 0.0, 100.0));
    let aggression = fields.optional("aggression", |cx, node| number(cx, node, 1.0, f64::MAX));
    fields.finish();
    let mut warmup = Warmup::new(duration?);
    warmup.minimum_percent = minimum.unwrap_or(warmup.minimum_percent);
    warmup.aggression = aggression.unwrap_or(warmup.aggression);
    Some(warmup)
}

/// Reads a number of at least `least`, and at most `most`.
pub(super) fn number(cx: &Reader<'_>, node: &Node, least: f64, most: f64) -> Option<f64> {
    let value = cx.f64(node)?;
    if (least..=most).contains(&value) {
        return Some(value);
    }
    let found = quoted(node.as_text().unwrap_or_default());
    let expected = match most == f64::MAX {
        true => format!("at least {least}"),
        false => format!("a number of {least} to {most}"),
    };
    cx.invalid(node, format!("expected {expected}, found {found}"))
}
