//! Backends: where a rule sends its requests.

use super::filters::filters;
use super::values::{is_group, is_kind};
use super::{at_most, unexpected};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::full_host;
use crate::policy::model::route::Destination;
use crate::policy::reader::{Fields, Reader, within};
use crate::policy::source::Node;

/// The route that a backend belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route<'a> {
    pub(super) namespace: &'a str,
    pub(super) cluster_domain: &'a str,
}

/// Reads `backendRefs`, with the weights that are given.
pub(super) fn backends(cx: &Reader<'_>, node: &Node, route: Route<'_>) -> Option<Vec<Destination>> {
    at_most(cx, node, 16);
    crate::policy::reader::list_of(|cx, node| weighted(cx, node, route))(cx, node)
}

fn weighted(cx: &Reader<'_>, node: &Node, route: Route<'_>) -> Option<Destination> {
    let mut fields = cx.mapping(node)?;
    let to = target(cx, &mut fields, node, route);
    let weight = fields.optional("weight", within::<u32>(0..=1_000_000)).unwrap_or(1);
    let found = fields
        .optional("filters", |cx, node| filters(cx, node, route))
        .unwrap_or_default();
    if let Some((key, _)) = fields
        .entry("filters")
        .filter(|_| found.answer.is_some() || !found.mirrors.is_empty() || found.cors.is_some())
    {
        let title = Code::NOT_YET_IN_FORCE.title();
        let message = format!("filters of a backend that answer or copy requests are {title}: they stand at the rule");
        cx.report(Diagnostic::new(Code::NOT_YET_IN_FORCE, key.span, message));
    }
    fields.finish();
    let mut to = to?;
    to.weight = weight;
    to.headers = found.headers;
    to.rewrite = found.rewrite;
    Some(to)
}

/// Reads a reference to a backend alone.
pub(super) fn backend_target(cx: &Reader<'_>, node: &Node, route: Route<'_>) -> Option<Destination> {
    let mut fields = cx.mapping(node)?;
    let to = target(cx, &mut fields, node, route);
    fields.finish();
    to
}

fn target(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>, node: &Node, route: Route<'_>) -> Option<Destination> {
    let group = fields.optional("group", Reader::any_text).unwrap_or_default();
    let kind = fields
        .optional("kind", Reader::any_text)
        .unwrap_or_else(|| "Service".into());
    let name = fields.required("name", Reader::name);
    let namespace = fields.optional("namespace", Reader::name);
    let port = fields.optional("port", Reader::port);
    if !is_group(&group) {
        return unexpected(cx, node, "the name of an API group", &group);
    }
    if !is_kind(&kind) {
        return unexpected(cx, node, "a kind such as `Service`", &kind);
    }
    let is_service = group.is_empty() && kind == "Service";
    if is_service && fields.node("port").is_none() {
        fields.missing(&["port"]);
    }
    let namespace = namespace.as_deref().unwrap_or(route.namespace);
    let mut to = Destination {
        host: full_host(&name?, namespace, route.cluster_domain),
        port,
        weight: 1,
        origin: cx.origin(node.span),
        ..Destination::default()
    };
    if !is_service {
        let what = format!("{} is no kind of backend that is known here", quoted(&kind));
        let message = format!("{what}: its share of the requests is answered with 500");
        cx.report(Diagnostic::new(Code::UNRESOLVED_REFERENCE, node.span, message));
        to.unresolved = Some(what);
    }
    Some(to)
}
