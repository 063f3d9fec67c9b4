//! `TLSRoute` and `TCPRoute`: connections that are passed on as they are.

use super::backend::{Route, backends};
use super::filters::hostnames;
use super::parents::{parent, tables};
use super::{at_most, not_yet, required_spec};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::dialect::Object;
use crate::policy::model::Policy;
use crate::policy::model::route::{HostPattern, StreamMatch, StreamRule};
use crate::policy::reader::{Reader, list_of};
use crate::policy::source::Node;

/// Reads a `TLSRoute`.
pub(super) fn lower_tls(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    lower(cx, object, policy, true);
}

/// Reads a `TCPRoute`.
pub(super) fn lower_tcp(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    lower(cx, object, policy, false);
}

fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy, is_tls: bool) {
    let Some(mut fields) = required_spec(cx, object).and_then(|spec| cx.mapping(spec)) else {
        return;
    };
    let mesh = policy.mesh.clone();
    let parents = fields.list("parentRefs", |cx, node| parent(cx, node, object, &mesh));
    let names = if is_tls {
        fields.optional("hostnames", hostnames).unwrap_or_default()
    } else {
        Vec::new()
    };
    let sni_hosts: Vec<String> = names.iter().map(|name| name.value.clone()).collect();
    let route = Route {
        namespace: &object.meta.namespace,
        cluster_domain: &mesh.cluster_domain,
    };
    let rules = fields.required("rules", |cx, node| {
        at_most(cx, node, 16);
        list_of(|cx, node| rule(cx, node, route, &sni_hosts))(cx, node)
    });
    not_yet(&mut fields, &[("useDefaultGateways", "a route names its parents")]);
    fields.finish();
    let kind = object.node.get("kind").unwrap_or(object.node).span;
    let message = format!(
        "kind {} is {}: only HTTP is routed",
        quoted(object.kind),
        Code::NOT_YET_IN_FORCE.title()
    );
    cx.report(Diagnostic::new(Code::NOT_YET_IN_FORCE, kind, message));
    let hosts: Vec<_> = names
        .into_iter()
        .map(|name| HostPattern {
            origin: cx.origin(name.span),
            host: name.value,
        })
        .collect();
    for mut table in tables(object, parents, &hosts, &[]) {
        let rules = rules.clone().unwrap_or_default();
        if is_tls {
            table.tls = rules
        } else {
            table.tcp = rules
        }
        policy.routes.push(table);
    }
}

fn rule(cx: &Reader<'_>, node: &Node, route: Route<'_>, sni_hosts: &[String]) -> Option<StreamRule> {
    let mut fields = cx.mapping(node)?;
    fields.optional("name", Reader::name);
    let destinations = fields.required("backendRefs", |cx, node| backends(cx, node, route));
    fields.finish();
    let origin = cx.origin(node.span);
    let by_name = StreamMatch {
        origin: origin.clone(),
        sni_hosts: sni_hosts.to_vec(),
        ..StreamMatch::default()
    };
    Some(StreamRule {
        origin,
        matches: if sni_hosts.is_empty() {
            Vec::new()
        } else {
            vec![by_name]
        },
        destinations: destinations?,
    })
}
