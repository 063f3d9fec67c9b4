//! `ReferenceGrant`: whose routes may name the backends of a namespace.
//!
//! A route at a gateway needs one for a backend in another namespace; a route of the mesh needs none.

use super::required_spec;
use crate::policy::diagnostic::{Code, Diagnostic, Report, quoted};
use crate::policy::dialect::Object;
use crate::policy::model::route::{Binding, ReferenceGrant};
use crate::policy::model::{Policy, kubernetes_parts};
use crate::policy::reader::Reader;
use crate::policy::source::Node;

/// Reads a `ReferenceGrant`.
pub(super) fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    let Some(mut fields) = required_spec(cx, object).and_then(|spec| cx.mapping(spec)) else {
        return;
    };
    let from = fields.list("from", from);
    let to = fields.list("to", to);
    for name in ["from", "to"] {
        if fields.node(name).is_none_or(|node| node.items().is_empty()) {
            fields.missing(&[name]);
        }
    }
    fields.finish();
    policy.reference_grants.push(ReferenceGrant {
        namespace: object.meta.namespace.clone(),
        from: from.into_iter().flatten().collect(),
        services: to.into_iter().flatten().collect(),
    });
}

/// The namespace whose routes may refer to something; `None` in it for other kinds.
fn from(cx: &Reader<'_>, node: &Node) -> Option<Option<String>> {
    let mut fields = cx.mapping(node)?;
    let group = fields.required("group", Reader::any_text);
    let kind = fields.required("kind", Reader::name);
    let namespace = fields.required("namespace", Reader::name);
    fields.finish();
    let is_route = group? == super::GROUP && kind?.ends_with("Route");
    Some(namespace.filter(|_| is_route))
}

/// The service, or all of them, that may be referred to.
fn to(cx: &Reader<'_>, node: &Node) -> Option<Option<Option<String>>> {
    let mut fields = cx.mapping(node)?;
    let group = fields.required("group", Reader::any_text);
    let kind = fields.required("kind", Reader::name);
    let name = fields.optional("name", Reader::name);
    fields.finish();
    let is_service = group?.is_empty() && kind? == "Service";
    Some(is_service.then_some(name))
}

/// Takes backends in other namespaces from routes at gateways, unless a grant allows them.
pub(in crate::policy) fn resolve(policy: &mut Policy, report: &mut Report) {
    let grants = std::mem::take(&mut policy.reference_grants);
    let domain = policy.mesh.cluster_domain.clone();
    for table in &mut policy.routes {
        let is_at_gateway = table
            .bindings
            .iter()
            .any(|binding| matches!(binding, Binding::Gateway { .. }));
        if !is_at_gateway || table.order != crate::policy::model::route::RuleOrder::Specific {
            continue;
        }
        let own = &table.meta.namespace;
        for to in table.rules.iter_mut().flat_map(|rule| &mut rule.destinations) {
            let Some((name, namespace)) = kubernetes_parts(&to.host, &domain).filter(|(_, namespace)| namespace != own)
            else {
                continue;
            };
            if to.unresolved.is_some() || grants.iter().any(|grant| grant.allows(own, namespace, name)) {
                continue;
            }
            let reason = format!(
                "no `ReferenceGrant` of namespace {} lets routes of {} use it",
                quoted(namespace),
                quoted(own)
            );
            let message = format!(
                "backend {}: {reason}; its share of the requests is answered with 500",
                quoted(name)
            );
            report.push(Diagnostic::new(Code::UNRESOLVED_REFERENCE, &to.origin, message));
            to.unresolved = Some(reason);
        }
    }
}
