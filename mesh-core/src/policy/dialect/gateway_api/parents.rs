//! `parentRefs`: what a route is for.

use super::values::{Defaults, bounded, reference};
use super::{GROUP, LINKERD, NOT_YET, Scope, no_effect};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::attachment::{Parent, ParentKind};
use crate::policy::reader::{Fields, Reader, spanned};
use crate::policy::source::{Node, Spanned};

/// The most parents of a route.
const PARENTS: usize = 32;

/// Reads `parentRefs`.
pub(super) fn parents(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>, scope: Scope<'_>) -> Vec<Parent> {
    let read = bounded(
        fields,
        "parentRefs",
        PARENTS,
        spanned(|cx, node| parent(cx, node, scope)),
    );
    if read.is_empty() && fields.node("parentRefs").is_none_or(|node| node.items().is_empty()) {
        no_effect(cx, fields.span(), "the route has no parents: it takes no request");
    }
    let mut parents: Vec<Spanned<Parent>> = Vec::new();
    for parent in read {
        match parents.iter().find(|earlier| is_same(earlier, &parent)) {
            None => parents.push(parent),
            Some(first) => {
                let message = format!("parent {} is given twice", quoted(&parent.name));
                let told = Diagnostic::new(Code::DUPLICATE_DEFINITION, parent.span, message);
                let help = "tell them apart by `sectionName` or `port`";
                cx.report(told.with_label(first.span, "given here first").with_help(help));
            }
        }
    }
    parents.into_iter().map(|parent| parent.value).collect()
}

fn is_same(one: &Parent, other: &Parent) -> bool {
    let key = |parent: &Parent| {
        let Parent {
            kind,
            namespace,
            name,
            section,
            port,
            ..
        } = parent.clone();
        (kind, namespace, name, section, port)
    };
    key(one) == key(other)
}

const GATEWAY: Defaults = Defaults {
    group: GROUP,
    kind: "Gateway",
};

fn parent(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Parent> {
    let mut fields = cx.mapping(node)?;
    let reference = reference(&mut fields, GATEWAY);
    let section = fields.optional("sectionName", super::names::section);
    let port = fields.optional("port", Reader::port);
    fields.finish();
    let reference = reference?;
    let kind = match (reference.group, reference.kind) {
        (GROUP, "Gateway") => ParentKind::Gateway,
        ("" | "core", "Service") => ParentKind::Service,
        (LINKERD, "Server") => ParentKind::Server,
        (LINKERD, "EgressNetwork") => {
            let message = format!(
                "parent `EgressNetwork` is {}: requests to the outside are not routed",
                NOT_YET.title()
            );
            cx.report(Diagnostic::new(NOT_YET, node.span, message));
            return None;
        }
        ("networking.istio.io", "ServiceEntry") => ParentKind::ServiceEntry,
        (_, "ListenerSet" | "XListenerSet") => {
            let message = format!(
                "parent {} is {}: {}",
                quoted(reference.kind),
                NOT_YET.title(),
                super::SHARED_LISTENERS
            );
            cx.report(Diagnostic::new(NOT_YET, node.span, message));
            return None;
        }
        (group, kind) => {
            let message = format!(
                "no route is served for a parent of kind {} of {}: it takes no request there",
                quoted(kind),
                match group {
                    "" => "the core".into(),
                    group => quoted(group),
                }
            );
            let help = match kind {
                "Service" => "a service is of the core: write `group: \"\"`",
                _ => "parents are `Gateway` of `gateway.networking.k8s.io` and `Service` of the core",
            };
            cx.report(Diagnostic::new(Code::NO_EFFECT, node.span, message).with_help(help));
            return None;
        }
    };
    let namespace = reference.namespace.unwrap_or_else(|| scope.namespace.into());
    let mut parent = Parent::new(kind, namespace, reference.name, cx.origin(node.span));
    (parent.section, parent.port) = (section, port);
    Some(parent)
}
