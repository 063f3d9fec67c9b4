//! `telemetry`: what is measured, logged and traced.

use super::authorization::TargetForm;
use super::form::{Between, Created, Form, LabelSet, Name, NonEmpty, Opt, Schema, Tree, choices, form};
use super::item::Shelf;
use super::scope::Scope;
use crate::policy::diagnostic::Code;
use crate::policy::model::telemetry::{Switch, Telemetry};
use crate::policy::reader::Reader;
use crate::policy::source::Node;

pub(super) const SHELF: Shelf<Telemetry> = Shelf {
    kind: "telemetry",
    push: |policy, one| policy.telemetries.push(one),
};

choices! {
    /// On or off.
    SwitchForm of Switch; {
        "on" Switch::On;
        "off" Switch::Off;
    }
}

form! {
    /// What is measured of some workloads.
    Fields of Telemetry; {
        "name" [required] meta.name: Name;
        "created" meta.created: Created;
        "selector" selector: LabelSet;
        "targets" targets: NonEmpty<TargetForm>;
        "sampling_percent" sampling_percent: Opt<Between<0, 100>>;
        "metrics" metrics: NonEmpty<Metric>;
        "access_log" access_log: Opt<SwitchForm>;
    }
}

/// The same, which is told not to be in force.
pub(super) struct TelemetryForm;

impl Form for TelemetryForm {
    type Of = Telemetry;

    fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Telemetry> {
        let message = format!(
            "`telemetry` is {}: everything is measured, traced by the service and logged by the mesh's settings",
            Code::NOT_YET_IN_FORCE.title()
        );
        cx.report(crate::policy::diagnostic::Diagnostic::new(
            Code::NOT_YET_IN_FORCE,
            node.span,
            message,
        ));
        Fields::read(cx, node, scope)
    }

    fn write(value: &Telemetry) -> Tree {
        Fields::write(value)
    }

    fn schema(schema: &mut Schema) -> serde_json::Value {
        Fields::schema(schema)
    }
}

/// One metric, or all where it has no name.
struct Metric;

impl Form for Metric {
    type Of = (Option<String>, Switch);

    fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Self::Of> {
        let mut fields = cx.mapping(node)?;
        let name = fields.optional("name", Reader::name);
        let state = fields.required("state", |cx, node| SwitchForm::read(cx, node, scope));
        fields.finish();
        Some((name, state?))
    }

    fn write((name, state): &Self::Of) -> Tree {
        let mut map = Tree::map();
        map.put("name", Opt::<Name>::write(name));
        map.put("state", SwitchForm::write(state));
        map
    }

    fn schema(schema: &mut Schema) -> serde_json::Value {
        schema.object("Metric", |schema, object| {
            object.property("name", Name::schema(schema), false);
            object.property("state", SwitchForm::schema(schema), true);
        })
    }
}
