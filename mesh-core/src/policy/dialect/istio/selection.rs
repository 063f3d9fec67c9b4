//! What a policy is for: workloads by their labels, or gateways by their names.

use super::NOT_YET;
use super::scope::selector;
use crate::policy::diagnostic::{Code, Diagnostic, listed, quoted};
use crate::policy::model::Labels;
use crate::policy::model::authz::{Target, TargetKind};
use crate::policy::reader::{Fields, Reader, list_of};
use crate::policy::source::Node;

/// The workloads that a policy is for; all of its namespace where both are empty.
#[derive(Default)]
pub(super) struct Selection {
    pub(super) labels: Labels,
    pub(super) targets: Vec<Target>,
}

/// Reads `selector`, `targetRef` or `targetRefs`, of which one at most may be given.
pub(super) fn selection(fields: &mut Fields<'_, '_, '_>) -> Selection {
    fields.one_of(&["selector", "targetRef", "targetRefs"]);
    let labels = fields.optional("selector", selector).unwrap_or_default();
    let single = fields.optional("targetRef", target);
    let several = fields.optional("targetRefs", list_of(target)).unwrap_or_default();
    Selection {
        labels,
        targets: single.into_iter().chain(several).collect(),
    }
}

/// Kinds with their group, and why a policy for one is not in force.
const KINDS: &[(&str, &str, TargetKind, Option<&str>)] = &[
    ("Gateway", GATEWAY_API, TargetKind::Gateway, None),
    ("GatewayClass", GATEWAY_API, TargetKind::GatewayClass, None),
    ("Service", "", TargetKind::Service, Some(WAYPOINT)),
    (
        "ServiceEntry",
        "networking.istio.io",
        TargetKind::ServiceEntry,
        Some(WAYPOINT),
    ),
];
const GATEWAY_API: &str = "gateway.networking.k8s.io";
/// Why a policy for what stands behind a waypoint is not in force.
pub(in crate::policy::dialect) const WAYPOINT: &str =
    "waypoints guard it, and no process is one; pick its workloads with `selector`";

fn target(cx: &Reader<'_>, node: &Node) -> Option<Target> {
    let mut fields = cx.mapping(node)?;
    let group = fields.optional("group", Reader::any_text).unwrap_or_default();
    let kind = fields.required("kind", kind);
    let name = fields.required("name", Reader::name);
    fields.optional("namespace", own_namespace);
    if let (Some((text, expected, ..)), Some(node)) = (kind, fields.node("kind"))
        && group != *expected
        && !(group == "core" && expected.is_empty())
    {
        let message = format!(
            "{} is of the group {}, not of {}",
            quoted(text),
            quoted(expected),
            quoted(&group)
        );
        cx.report(Diagnostic::new(Code::INVALID_POLICY, node.span, message));
    }
    if let (Some((text, _, _, Some(reason))), Some(node)) = (kind, fields.node("kind")) {
        let message = format!("target {} is {}: {reason}", quoted(text), NOT_YET.title());
        cx.report(Diagnostic::new(NOT_YET, node.span, message));
    }
    fields.finish();
    let mut target = Target::new(kind?.2, name?);
    target.origin = cx.origin(node.span);
    Some(target)
}

fn own_namespace(cx: &Reader<'_>, node: &Node) -> Option<()> {
    match node.as_text() {
        Some("") => Some(()),
        _ => cx.invalid(node, "a policy is for objects of its own namespace, leave it out"),
    }
}

type Kind = (&'static str, &'static str, TargetKind, Option<&'static str>);

fn kind(cx: &Reader<'_>, node: &Node) -> Option<&'static Kind> {
    let text = cx.name(node)?;
    let known = KINDS.iter().find(|(name, ..)| *name == text);
    if known.is_none() {
        let names: Vec<&str> = KINDS.iter().map(|(name, ..)| *name).collect();
        cx.invalid::<()>(node, format!("expected {}, found {}", listed(&names), quoted(&text)));
    }
    known
}
