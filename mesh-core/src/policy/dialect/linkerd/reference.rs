//! References to other objects: `{ group, kind, name, namespace }`.

use crate::policy::dialect::envelope::{namespace, object_name};
use crate::policy::reader::Reader;
use crate::policy::source::{Node, SourceSpan};

/// A reference.
pub(super) struct LocalRef<'n> {
    pub(super) group: &'n str,
    pub(super) kind: &'n str,
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    pub(super) span: SourceSpan,
}

/// Reads a reference, whose group is Kubernetes' core where none is given.
pub(super) fn local_ref<'n>(cx: &Reader<'_>, node: &'n Node) -> Option<LocalRef<'n>> {
    let mut fields = cx.mapping(node)?;
    let group = fields.optional("group", |cx, node| cx.text(node)).unwrap_or_default();
    let kind = fields.required("kind", |cx, node| cx.text(node));
    let name = fields.required("name", object_name);
    let namespace = fields.optional("namespace", namespace);
    fields.finish();
    Some(LocalRef {
        group,
        kind: kind?,
        name: name?,
        namespace,
        span: node.span,
    })
}
