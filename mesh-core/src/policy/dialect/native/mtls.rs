//! `mtls`: which connections servers take, for a namespace or some of its workloads.

use std::collections::BTreeMap;

use super::Sink;
use super::envelope::object_name;
use super::form::{Created, Form, LabelSet, Schema, Text, Tree, choices};
use super::scope::Scope;
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::Labels;
use crate::policy::model::identity::{MtlsMode, PeerAuthentication};
use crate::policy::reader::{Fields, Reader, choice, spanned};
use crate::policy::source::{Node, SourceSpan, Spanned, Value};

use super::names::labels;

choices! {
    /// The modes by name.
    Mode of MtlsMode; {
        "strict" MtlsMode::Strict;
        "permissive" MtlsMode::Permissive;
        "disable" MtlsMode::Disable;
    }
}

/// The modes by name.
pub(super) const MODES: &[(&str, MtlsMode)] = Mode::TABLE;

/// Those of an entry, which may leave the mode to what is around it.
const ENTRY_MODES: &[(&str, Option<MtlsMode>)] = &[
    ("strict", Some(MtlsMode::Strict)),
    ("permissive", Some(MtlsMode::Permissive)),
    ("disable", Some(MtlsMode::Disable)),
    ("inherit", None),
];

/// The label that names the service of a workload.
pub(super) const APP: &str = "app";

/// Reads one entry.
pub(super) fn read(cx: &Reader<'_>, node: &Node, sink: &mut Sink<'_>) -> Option<()> {
    let mut fields = cx.mapping(node)?;
    let name = fields.required("name", spanned(object_name));
    let Selected { labels, service } = selector(&mut fields);
    let mode = fields.optional("mode", choice(ENTRY_MODES)).flatten();
    let created = fields.optional("created", |cx, node| Created::read(cx, node, sink.scope));
    let ports = fields.optional("ports", ports).unwrap_or_default();
    check(cx, &mut fields, &labels);
    fields.finish();
    let name = name?;
    let mut meta = sink.scope.meta(cx, &name, node.span);
    meta.created = created.unwrap_or_default();
    sink.ledger.define("mtls", &meta, name.span);
    mention(sink.ledger, sink.scope, service);
    if !labels.is_empty() {
        warn_of_root(cx, sink.scope, name.span);
    }
    sink.policy.peer_authentications.push(PeerAuthentication {
        meta,
        selector: labels,
        mode,
        ports,
    });
    Some(())
}

/// In the root namespace, which stands for the mesh, no mode for single workloads counts (as in Istio).
pub(super) fn warn_of_root(cx: &Reader<'_>, scope: Scope<'_>, span: SourceSpan) {
    let root = &scope.mesh.root_namespace;
    if scope.namespace == root {
        let message = format!(
            "the mode has no effect: in the root namespace {} none is for single workloads",
            quoted(root)
        );
        let help = "move it to the namespace of the workloads";
        cx.report(Diagnostic::new(Code::NO_EFFECT, span, message).with_help(help));
    }
}

/// The workloads that an entry selects, and the service that it names for that.
pub(super) struct Selected {
    pub(super) labels: Labels,
    pub(super) service: Option<Spanned<String>>,
}

/// Reads `service`, which selects the workloads with the label `app`, or `selector`.
pub(super) fn selector(fields: &mut Fields<'_, '_, '_>) -> Selected {
    let mut found = Selected {
        labels: Labels::new(),
        service: None,
    };
    match fields.one_of(&["service", "selector"]) {
        Some(("service", _)) => {
            found.service = fields.optional("service", spanned(object_name));
            let label = found.service.iter().map(|name| (APP.to_owned(), name.value.clone()));
            found.labels = label.collect();
        }
        Some(_) => found.labels = fields.optional("selector", selecting_labels).unwrap_or_default(),
        None => {}
    }
    found
}

/// Reads labels that select some workloads, not all.
fn selecting_labels(cx: &Reader<'_>, node: &Node) -> Option<Labels> {
    if matches!(&node.value, Value::Mapping(entries) if entries.is_empty()) {
        return cx.invalid(
            node,
            "expected labels, leave `selector` out to select the whole namespace",
        );
    }
    labels(cx, node)
}

/// Keeps in mind that a service is meant, which should be one that is defined.
pub(super) fn mention(ledger: &mut crate::policy::ledger::Ledger, scope: Scope<'_>, service: Option<Spanned<String>>) {
    if let Some(service) = service {
        ledger.mention(scope.namespace, service);
    }
}

/// An entry must say something, and ports are those of selected workloads.
fn check(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>, selector: &Labels) {
    let ports = fields.entry("ports");
    if fields.node("mode").is_none() && ports.is_none() {
        fields.missing(&["mode"]);
    }
    let selects = !selector.is_empty() || fields.node("selector").is_some() || fields.node("service").is_some();
    if let Some((key, _)) = ports.filter(|_| !selects) {
        let message = "`ports` needs a `service` or `selector`: ports are those of workloads";
        cx.report(Diagnostic::new(Code::INVALID_POLICY, key.span, message));
    }
}

fn ports(cx: &Reader<'_>, node: &Node) -> Option<BTreeMap<u16, Option<MtlsMode>>> {
    let Value::Mapping(entries) = &node.value else {
        return cx.wrong_type(node, "a mapping");
    };
    let ports = entries.iter().filter_map(|(key, value)| {
        let mode = choice(ENTRY_MODES)(cx, value);
        Some((super::traffic::port_key(cx, key)?, mode?))
    });
    Some(ports.collect())
}

/// Prints an entry.
pub(super) fn write(entry: &PeerAuthentication) -> Tree {
    let mut map = Tree::map();
    map.put("name", Tree::text(&entry.meta.name));
    if entry.meta.created != 0 {
        map.put("created", Created::write(&entry.meta.created));
    }
    if !entry.selector.is_empty() {
        map.put("selector", LabelSet::write(&entry.selector));
    }
    map.put(
        "mode",
        entry.mode.as_ref().map_or_else(|| Tree::text("inherit"), Mode::write),
    );
    if !entry.ports.is_empty() {
        let mode = |mode: &Option<MtlsMode>| mode.as_ref().map_or_else(|| Tree::text("inherit"), Mode::write);
        let ports = entry.ports.iter().map(|(port, found)| (port.to_string(), mode(found)));
        map.put("ports", Tree::Map(ports.collect()));
    }
    map
}

/// Describes an entry.
pub(super) fn schema(schema: &mut Schema) -> serde_json::Value {
    schema.object("Mtls", |schema, object| {
        let names: Vec<&str> = ENTRY_MODES.iter().map(|(name, _)| *name).collect();
        let mode = serde_json::json!({ "enum": names });
        object.property("name", Text::schema(schema), true);
        object.property("created", Created::schema(schema), false);
        object.property("service", Text::schema(schema), false);
        object.property("selector", LabelSet::schema(schema), false);
        object.property("mode", mode.clone(), false);
        object.property(
            "ports",
            serde_json::json!({ "type": "object", "additionalProperties": mode }),
            false,
        );
        object.exclude(&["service", "selector"]);
        object.require_one(&["mode", "ports"]);
    })
}
