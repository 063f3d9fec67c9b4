//! `PeerAuthentication`: which connections a server takes.

use std::collections::BTreeMap;

use super::required_spec;
use super::scope::{has_labels, selector};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::dialect::Object;
use crate::policy::model::Policy;
use crate::policy::model::identity::{MtlsMode, PeerAuthentication};
use crate::policy::reader::{Reader, choice};
use crate::policy::source::{Node, Value};

/// `None` takes the mode of the next outer level.
const MODES: &[(&str, Option<MtlsMode>)] = &[
    ("STRICT", Some(MtlsMode::Strict)),
    ("PERMISSIVE", Some(MtlsMode::Permissive)),
    ("DISABLE", Some(MtlsMode::Disable)),
    ("UNSET", None),
];

/// Reads a `PeerAuthentication`.
pub(super) fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    let found = required_spec(cx, object).and_then(|spec| peer_authentication(cx, object, spec, policy));
    policy.peer_authentications.extend(found);
}

fn peer_authentication(
    cx: &Reader<'_>,
    object: &Object<'_>,
    spec: &Node,
    policy: &Policy,
) -> Option<PeerAuthentication> {
    let mut fields = cx.mapping(spec)?;
    let selector = fields.optional("selector", selector);
    let mode = fields.optional("mtls", mtls).flatten();
    let ports = fields.optional("portLevelMtls", ports).unwrap_or_default();
    let selecting = fields.node("selector").filter(|node| has_labels(node));
    if let Some((key, _)) = fields.entry("portLevelMtls").filter(|_| selecting.is_none()) {
        let message = "`portLevelMtls` needs a `selector`: ports are those of workloads";
        cx.report(Diagnostic::new(Code::INVALID_POLICY, key.span, message));
    }
    fields.finish();
    warn_of_root(cx, object, selecting, policy);
    Some(PeerAuthentication {
        meta: object.meta.clone(),
        selector: selector.unwrap_or_default(),
        mode,
        ports,
    })
}

/// In the root namespace, which stands for the mesh, Istio takes no policy for single workloads.
fn warn_of_root(cx: &Reader<'_>, object: &Object<'_>, selector: Option<&Node>, policy: &Policy) {
    let root = &policy.mesh.root_namespace;
    if let Some(selector) = selector.filter(|_| object.meta.namespace == *root) {
        let message = format!(
            "the policy has no effect: in the root namespace {} none may have a selector",
            quoted(root)
        );
        let help = "move it to the namespace of the workloads";
        cx.report(Diagnostic::new(Code::NO_EFFECT, selector.span, message).with_help(help));
    }
}

#[expect(clippy::option_option, reason = "an unset mode is a valid one")]
fn mtls(cx: &Reader<'_>, node: &Node) -> Option<Option<MtlsMode>> {
    let mut fields = cx.mapping(node)?;
    let mode = fields.optional("mode", choice(MODES)).flatten();
    fields.finish();
    Some(mode)
}

fn ports(cx: &Reader<'_>, node: &Node) -> Option<BTreeMap<u16, Option<MtlsMode>>> {
    let Value::Mapping(entries) = &node.value else {
        return cx.wrong_type(node, "a mapping");
    };
    if entries.is_empty() {
        return cx.invalid(node, "expected at least one port, found none");
    }
    let ports = entries.iter().filter_map(|(key, value)| {
        let mode = mtls(cx, value);
        let Some(port) = key.name.parse().ok().filter(|port| *port > 0) else {
            cx.invalid_key(key, "expected a port of 1 to 65535");
            return None;
        };
        Some((port, mode?))
    });
    Some(ports.collect())
}
