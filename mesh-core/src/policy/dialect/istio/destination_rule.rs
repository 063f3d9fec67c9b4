//! `DestinationRule`: how to talk to a service.

use super::names::{dns_label, host_pattern, labels, refuse_duplicates};
use super::scope::Scope;
use super::traffic_policy::{Settings, traffic_policy};
use super::{NOT_YET, refuse_all, required_spec};
use crate::policy::dialect::Object;
use crate::policy::model::Policy;
use crate::policy::model::traffic::{DestinationPolicy, Subset, TrafficPolicy};
use crate::policy::reader::{Reader, spanned};
use crate::policy::source::{Node, Spanned};

/// Reads a `DestinationRule`.
pub(super) fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    let rule = required_spec(cx, object).and_then(|spec| {
        let scope = Scope::new(object, &policy.mesh);
        destination_rule(cx, object, spec, scope)
    });
    policy.destinations.extend(rule);
}

fn destination_rule(cx: &Reader<'_>, object: &Object<'_>, spec: &Node, scope: Scope<'_>) -> Option<DestinationPolicy> {
    let mut fields = cx.mapping(spec)?;
    let host = fields.required("host", host_pattern);
    let export = scope.export_to(cx, &mut fields);
    let Settings { traffic, mut ports } = fields.optional("trafficPolicy", traffic_policy).unwrap_or_default();
    let subsets = fields.list("subsets", spanned(subset));
    let reason = "a rule holds for all workloads that see it";
    refuse_all(&mut fields, NOT_YET, &[("workloadSelector", reason)]);
    fields.finish();
    let names: Vec<_> = subsets
        .iter()
        .map(|subset| (subset.name.as_str(), subset.span))
        .collect();
    refuse_duplicates(cx, "subset", &names);
    inherit_retry(&mut ports, &traffic);
    Some(DestinationPolicy {
        meta: object.meta.clone(),
        host: scope.full_host(host?),
        subsets: subsets.into_iter().map(|subset| complete(subset, &traffic)).collect(),
        traffic,
        ports,
        export,
        ..DestinationPolicy::default()
    })
}

fn subset(cx: &Reader<'_>, node: &Node) -> Option<Subset> {
    let mut fields = cx.mapping(node)?;
    let name = fields.required("name", dns_label);
    let labels = fields.optional("labels", labels).unwrap_or_default();
    let Settings { traffic, ports } = fields.optional("trafficPolicy", traffic_policy).unwrap_or_default();
    fields.finish();
    Some(Subset {
        name: name?,
        labels,
        traffic,
        ports,
        origin: cx.origin(node.span),
    })
}

fn complete(subset: Spanned<Subset>, service: &TrafficPolicy) -> Subset {
    let mut subset = subset.value;
    inherit_retry(&mut subset.ports, &subset.traffic);
    inherit_retry(&mut subset.ports, service);
    subset
}

/// Ports stand in the place of all other settings, but have no field for retries: those hold on.
fn inherit_retry(ports: &mut [(u16, TrafficPolicy)], outer: &TrafficPolicy) {
    for (_, port) in ports {
        if port.retry.is_none() {
            port.retry.clone_from(&outer.retry);
        }
    }
}
