//! `destinations`: how to talk to a host, or to all hosts of a pattern.

use super::Sink;
use super::form::{Created, Form, HostText, LabelSet, Name, Schema, Table, form};
use super::item::Shelf;
use super::scope::VisibleTo;
use super::traffic::{ByPort, Settings, Subsets, blocks, by_port, subsets};
use crate::policy::model::traffic::DestinationPolicy;
use crate::policy::reader::Reader;
use crate::policy::source::{Key, Node};

/// Reads the settings of one host or pattern.
pub(super) fn read(cx: &Reader<'_>, key: &Key, node: &Node, sink: &mut Sink<'_>) {
    let scope = sink.scope;
    let Some(host) = scope.host_pattern_key(cx, key) else {
        return;
    };
    let meta = scope.meta(cx, &key.name, key.span);
    sink.ledger.define("destination", &meta, key.span);
    let policy = &mut *sink.policy;
    sink.ledger.watch(cx, &meta.origin, || {
        let Some(mut fields) = cx.mapping(node) else {
            return;
        };
        policy.destinations.push(DestinationPolicy {
            meta: meta.clone(),
            host,
            subsets: subsets(&mut fields, scope),
            traffic: blocks(&mut fields, scope),
            ports: by_port(&mut fields, scope),
            export: scope.visible_to(cx, &mut fields),
            ..DestinationPolicy::default()
        });
        fields.finish();
    });
}

pub(super) const SHELF: Shelf<DestinationPolicy> = Shelf {
    kind: "destination",
    push: |policy, destination| policy.destinations.push(destination),
};

form! {
    /// How to talk to a host, in full.
    DestinationForm of DestinationPolicy; {
        "name" [required] meta.name: Name;
        "created" meta.created: Created;
        "host" [required] host: HostText;
        "workloads" workloads: LabelSet;
        "visible_to" export: VisibleTo;
        "settings" traffic: Settings;
        "by_port" ports: ByPort;
        "subsets" subsets: Subsets;
    }
}

/// Describes a destination by its host.
pub(super) fn short_schema(schema: &mut Schema) -> serde_json::Value {
    schema.object("ShortDestination", |schema, object| {
        object.property("visible_to", VisibleTo::schema(schema), false);
        object.property("by_port", ByPort::schema(schema), false);
        object.property("subsets", Subsets::schema(schema), false);
        Settings::properties(schema, object);
    })
}
