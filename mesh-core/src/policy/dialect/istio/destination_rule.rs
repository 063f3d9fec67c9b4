//! `DestinationRule`: how to talk to a service.

use super::names::{dns_label, host_pattern, labels, refuse_duplicates};
use super::required_spec;
use super::scope::{Scope, selector};
use super::traffic_policy::{Settings, traffic_policy};
use crate::policy::diagnostic::{Code, Diagnostic};
use crate::policy::dialect::Object;
use crate::policy::model::traffic::{DestinationPolicy, Subset, TrafficPolicy};
use crate::policy::model::{Export, Policy};
use crate::policy::reader::{Fields, Reader, spanned};
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
    let workloads = fields.optional("workloadSelector", selector).unwrap_or_default();
    let is_selected = fields.node("workloadSelector").is_some();
    let export = selected_export(cx, &mut fields, export, scope);
    let policy = fields.optional("trafficPolicy", |cx, node| traffic_policy(cx, node, is_selected));
    let Settings { traffic, mut ports } = policy.unwrap_or_default();
    let subsets = fields.list("subsets", spanned(|cx, node| subset(cx, node, is_selected)));
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
        workloads,
    })
}

/// A rule for some workloads of its namespace is seen by that namespace alone.
fn selected_export(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>, export: Export, scope: Scope<'_>) -> Export {
    if fields.node("workloadSelector").is_none() {
        return export;
    }
    let own = Export::Namespaces(vec![scope.namespace.to_owned()]);
    if let Some((key, _)) = fields
        .entry("exportTo")
        .filter(|(_, node)| !node.items().is_empty() && export != own)
    {
        let message = "`exportTo`: a rule with a `workloadSelector` is for its own namespace";
        let help = "write `exportTo: [\".\"]`, or leave it out";
        cx.report(Diagnostic::new(Code::INVALID_POLICY, key.span, message).with_help(help));
    }
    own
}

fn subset(cx: &Reader<'_>, node: &Node, is_selected: bool) -> Option<Subset> {
    let mut fields = cx.mapping(node)?;
    let name = fields.required("name", dns_label);
    let labels = fields.optional("labels", labels).unwrap_or_default();
    let policy = fields.optional("trafficPolicy", |cx, node| traffic_policy(cx, node, is_selected));
    let Settings { traffic, ports } = policy.unwrap_or_default();
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
