//! `TrafficSplit`: shares of a service's requests for other services.
//!
//! The root service is the name that callers use. A backend may be the root itself: then it means its
//! own endpoints. A weight is a share of the sum; 0 gets nothing. Where the split is for some requests only, the others
//! go to the root's own endpoints, and so do those to a port that no backend has.

use std::collections::BTreeSet;

use super::names::is_dns_name;
use super::requests::{references, route_match};
use super::values::count;
use super::{Object, quoted};
use crate::policy::diagnostic::{Code, Diagnostic};
use crate::policy::dialect::quantity::{common_divisor, quantity};
use crate::policy::model::route::{Binding, Destination, HostPattern, RouteMatch, RouteRule, RouteTable};
use crate::policy::model::{Export, Policy, full_host};
use crate::policy::reader::{Reader, spanned};
use crate::policy::source::{Node, Spanned, Value};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Version {
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

pub(super) fn version(api_version: &str) -> Option<Version> {
    let (weights, has_matches) = match api_version.strip_prefix("split.smi-spec.io/")? {
        "v1alpha1" => (Weights::Quantities, false),
        "v1alpha2" => (Weights::Whole, false),
        "v1alpha3" | "v1alpha4" => (Weights::Whole, true),
        _ => return None,
    };
    Some(Version { weights, has_matches })
}

/// Reads a `TrafficSplit`.
pub(super) fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    policy.routes.extend(table(cx, object, policy));
}

fn table(cx: &Reader<'_>, object: &Object<'_>, policy: &Policy) -> Option<RouteTable> {
    let version = version(object.api_version)?;
    let spec = super::body(cx, object)?;
    let service = |cx: &Reader<'_>, node: &Node| {
        let text = cx.text(node)?;
        if is_dns_name(text) {
            return Some(full_host(text, &object.meta.namespace, &policy.mesh.cluster_domain));
        }
        cx.invalid(node, format!("expected the name of a service, found {}", quoted(text)))
    };
    let mut fields = cx.mapping(spec)?;
    let root = fields.required("service", spanned(service));
    let backends = fields.required("backends", |cx, node| backends(cx, node, version.weights, service));
    let matches = match version.has_matches {
        true => fields.optional("matches", |cx, node| matches(cx, node, object, policy)),
        false => None,
    };
    fields.finish();
    let (root, destinations) = (root?, backends?);
    let split = Split {
        cx,
        root: &root,
        policy,
    };
    Some(RouteTable {
        meta: object.meta.clone(),
        hosts: vec![HostPattern {
            origin: cx.origin(root.span),
            host: root.value.clone(),
        }],
        bindings: vec![Binding::Mesh],
        export: Export::All,
        rules: split.rules(spec, matches.as_deref(), destinations).into(),
        ..RouteTable::default()
    })
}

/// Reads which requests are split: those of any of the groups. None at all are split where no group is known.
fn matches(cx: &Reader<'_>, node: &Node, object: &Object<'_>, policy: &Policy) -> Option<Vec<RouteMatch>> {
    let Value::Sequence(items) = &node.value else {
        return cx.wrong_type(node, "a list");
    };
    if items.is_empty() {
        return None;
    }
    let groups = references(cx, node, &object.meta.namespace, policy);
    Some(groups.into_iter().map(route_match).collect())
}

/// A split with what its backends must have.
struct Split<'s, 'a> {
    cx: &'s Reader<'a>,
    root: &'s Spanned<String>,
    policy: &'s Policy,
}

impl Split<'_, '_> {
    /// The rule of the shares, one for each port where backends lack some, and that of the remaining requests.
    fn rules(&self, spec: &Node, matches: Option<&[RouteMatch]>, destinations: Vec<Destination>) -> Vec<RouteRule> {
        let origin = self.cx.origin(spec.span);
        let of = |matches: Vec<RouteMatch>, destinations: Vec<Destination>| RouteRule {
            origin: origin.clone(),
            matches,
            destinations,
            ..RouteRule::default()
        };
        let lacking = self.lacking(&destinations);
        let mut rules = Vec::new();
        if lacking.is_empty() {
            match matches {
                None => return vec![of(Vec::new(), destinations)],
                // Without any known match no request is split.
                Some([]) => {}
                Some(matches) => rules.push(of(matches.to_vec(), destinations)),
            }
        } else {
            for port in self.ports(&self.root.value) {
                let has = |one: &&Destination| !lacking.contains(&(one.host.clone(), port));
                let able: Vec<Destination> = destinations.iter().filter(has).cloned().collect();
                let matches = at_port(matches, port);
                if able.iter().any(|one| one.weight > 0) && !matches.is_empty() {
                    rules.push(of(matches, able));
                }
            }
        }
        rules.push(of(Vec::new(), vec![self.own()]));
        rules
    }

    /// The root's own endpoints.
    fn own(&self) -> Destination {
        Destination {
            host: self.root.value.clone(),
            weight: 1,
            origin: self.cx.origin(self.root.span),
            ..Destination::default()
        }
    }

    /// Backends with ports of the root that they do not have; those of unknown services are taken to have all.
    fn lacking(&self, destinations: &[Destination]) -> BTreeSet<(String, u16)> {
        let ports = self.ports(&self.root.value);
        let mut lacking = BTreeSet::new();
        for destination in destinations {
            let own = self.ports(&destination.host);
            for port in ports.iter().filter(|port| !own.is_empty() && !own.contains(port)) {
                let message = format!(
                    "{} has no port {port}: it gets no request to it",
                    quoted(&destination.host)
                );
                let warning = Diagnostic::new(Code::NO_EFFECT, &destination.origin, message);
                self.cx.report(warning);
                lacking.insert((destination.host.clone(), *port));
            }
        }
        lacking
    }

    /// The ports of a service, where documents say them.
    fn ports(&self, host: &str) -> BTreeSet<u16> {
        let named = |service: &&crate::policy::model::service::Service| service.hosts.iter().any(|known| known == host);
        let services = self.policy.services.iter().filter(named);
        services
            .flat_map(|service| service.ports.iter().map(|port| port.number))
            .collect()
    }
}

fn at_port(matches: Option<&[RouteMatch]>, port: u16) -> Vec<RouteMatch> {
    let any = [RouteMatch::default()];
    let with_port = |one: &RouteMatch| RouteMatch {
        port: Some(port),
        ..one.clone()
    };
    matches.unwrap_or(&any).iter().map(with_port).collect()
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
