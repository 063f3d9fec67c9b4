//! SMI's `TrafficSplit`: shares of a service's requests for other services.
//!
//! The root service is the name that callers use. A backend may be the root itself: then it means its
//! own endpoints. A weight is a share of the sum; 0 gets nothing.

use super::names::is_dns_name;
use super::values::count;
use super::{Dialect, Object};
use crate::policy::diagnostic::{Code, quoted};
use crate::policy::model::route::{Binding, Destination, HostPattern, RouteRule, RouteTable};
use crate::policy::model::{Export, Policy, full_host};
use crate::policy::reader::{Reader, Spelling, spanned};
use crate::policy::source::{Node, Spanned, Value};

/// The dialect.
pub const DIALECT: Dialect = Dialect {
    name: "smi",
    spelling: Spelling::Exact,
    knows: |api_version, kind| kind == "TrafficSplit" && version(api_version).is_some(),
    is_settings: |_| false,
    lower,
};

#[derive(Clone, Copy, PartialEq, Eq)]
struct Version {
    weights: Weights,
    has_matches: bool,
}

/// How weights are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weights {
    /// As a quantity of Kubernetes: `500m`, `1`.
    Quantities,
    /// As whole numbers.
    Whole,
}

fn version(api_version: &str) -> Option<Version> {
    let (weights, has_matches) = match api_version.strip_prefix("split.smi-spec.io/")? {
        "v1alpha1" => (Weights::Quantities, false),
        "v1alpha2" => (Weights::Whole, false),
        "v1alpha3" | "v1alpha4" => (Weights::Whole, true),
        _ => return None,
    };
    Some(Version { weights, has_matches })
}

fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    policy.routes.extend(table(cx, object, &policy.mesh.cluster_domain));
}

fn table(cx: &Reader<'_>, object: &Object<'_>, cluster_domain: &str) -> Option<RouteTable> {
    let version = version(object.api_version)?;
    let Some(spec) = object.spec else {
        let message = "missing field `spec`";
        cx.report(crate::policy::diagnostic::Diagnostic::new(
            Code::MISSING_FIELD,
            object.node.span,
            message,
        ));
        return None;
    };
    let service = |cx: &Reader<'_>, node: &Node| {
        let text = cx.text(node)?;
        if is_dns_name(text) {
            return Some(full_host(text, &object.meta.namespace, cluster_domain));
        }
        cx.invalid(node, format!("expected the name of a service, found {}", quoted(text)))
    };
    let mut fields = cx.mapping(spec)?;
    let root = fields.required("service", spanned(service));
    let backends = fields.required("backends", |cx, node| backends(cx, node, version.weights, service));
    if version.has_matches {
        fields.refuse(
            "matches",
            Code::NOT_YET_IN_FORCE,
            "all requests to the service are split",
        );
    }
    fields.finish();
    let (root, destinations) = (root?, backends?);
    Some(RouteTable {
        meta: object.meta.clone(),
        hosts: vec![HostPattern {
            origin: cx.origin(root.span),
            host: root.value,
        }],
        bindings: vec![Binding::Mesh],
        export: Export::All,
        rules: vec![RouteRule {
            origin: cx.origin(spec.span),
            destinations,
            ..RouteRule::default()
        }],
        ..RouteTable::default()
    })
}

fn backends(
    cx: &Reader<'_>,
    node: &Node,
    weights: Weights,
    service: impl Fn(&Reader<'_>, &Node) -> Option<String> + Copy,
) -> Option<Vec<Destination>> {
    let Value::Sequence(items) = &node.value else {
        return cx.wrong_type(node, "a list");
    };
    if items.is_empty() {
        return cx.invalid(node, "expected at least one backend, found an empty list");
    }
    let errors = cx.errors();
    let found: Vec<Spanned<Backend>> = items
        .iter()
        .filter_map(|item| spanned(|cx, node| backend(cx, node, weights, service))(cx, item))
        .collect();
    if cx.errors() > errors {
        return None;
    }
    let sum: u64 = found.iter().map(|backend| backend.weight).sum();
    if sum == 0 {
        return cx.invalid(node, "the weights of all backends are 0, one must be more");
    }
    let unit = found
        .iter()
        .fold(0, |unit, backend| common_divisor(unit, backend.weight));
    let destination = |backend: Spanned<Backend>| {
        Some(Destination {
            weight: match weights {
                Weights::Quantities => u32::try_from(backend.weight / unit).ok()?,
                Weights::Whole => u32::try_from(backend.weight).ok()?,
            },
            origin: cx.origin(backend.span),
            host: backend.value.host,
            subset: None,
            port: None,
            ..Destination::default()
        })
    };
    match found.into_iter().map(destination).collect() {
        Some(destinations) => Some(destinations),
        None => cx.invalid(node, "the weights lie too far apart to be drawn"),
    }
}

/// A service, and its weight in the unit of the version: thousandths for quantities.
struct Backend {
    host: String,
    weight: u64,
}

fn backend(
    cx: &Reader<'_>,
    node: &Node,
    weights: Weights,
    service: impl Fn(&Reader<'_>, &Node) -> Option<String>,
) -> Option<Backend> {
    let mut fields = cx.mapping(node)?;
    let host = fields.required("service", service);
    let weight = fields.required("weight", |cx, node| match weights {
        Weights::Quantities => quantity(cx, node),
        Weights::Whole => count(cx, node).map(u64::from),
    });
    fields.finish();
    Some(Backend {
        host: host?,
        weight: weight?,
    })
}

/// The greatest common divisor, by Euclid's algorithm.
pub(super) const fn common_divisor(mut left: u64, mut right: u64) -> u64 {
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left
}

/// Suffixes of Kubernetes' quantities, in thousandths.
const SUFFIXES: &[(&str, u64)] = &[
    ("m", 1),
    ("k", 1_000_000),
    ("M", 1_000_000_000),
    ("G", 1_000_000_000_000),
    ("Ki", 1_024_000),
    ("Mi", 1_048_576_000),
    ("Gi", 1_073_741_824_000),
];

/// Reads a quantity of Kubernetes, such as `1`, `0.5` or `500m`, in thousandths.
pub(super) fn quantity(cx: &Reader<'_>, node: &Node) -> Option<u64> {
    let text = cx.any_text(node)?;
    match thousandths(&text) {
        Some(weight) => Some(weight),
        None => cx.invalid(
            node,
            format!("expected a quantity such as `1` or `500m`, found {}", quoted(&text)),
        ),
    }
}

fn thousandths(text: &str) -> Option<u64> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at_checked(end)?;
    let unit = match suffix {
        "" => 1_000,
        _ => SUFFIXES.iter().find(|(name, _)| *name == suffix)?.1,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.len() > 6 || fraction.contains('.') {
        return None;
    }
    let digits: u64 = format!("{whole}{fraction}").parse().ok()?;
    let scale = 10_u64.pow(u32::try_from(fraction.len()).ok()?);
    let scaled = digits.checked_mul(unit)?;
    // Kubernetes rounds up what is finer than its unit.
    Some(scaled.div_ceil(scale)).filter(|weight| *weight <= u64::from(u32::MAX) * 1_000)
}

#[cfg(test)]
mod tests;
