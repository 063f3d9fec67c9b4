//! `destinations`: how to talk to a host, or to all hosts of a pattern.

use super::Sink;
use super::traffic::{blocks, by_port, subsets};
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
    sink.ledger.define(cx, "destination", &meta, key.span);
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
