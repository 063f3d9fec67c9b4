//! Items in full: a section that is a list of them, each with its name and all fields of the model.

use super::Sink;
use super::form::{Form, Tree};
use crate::policy::model::{Meta, Policy};
use crate::policy::reader::Reader;
use crate::policy::source::{Node, Value};

/// How items of one sort are kept.
pub(super) struct Shelf<T> {
    /// What the ledger calls them.
    pub(super) kind: &'static str,
    /// Their name and place.
    pub(super) meta: fn(&mut T) -> &mut Meta,
    /// What tells items of one name apart, such as the first host of a service.
    pub(super) part: fn(&T) -> &str,
    /// Where they go.
    pub(super) push: fn(&mut Policy, T),
}

/// Reads the items of a list.
pub(super) fn items<F: Form>(cx: &Reader<'_>, node: &Node, sink: &mut Sink<'_>, shelf: &Shelf<F::Of>) -> Option<()> {
    let Value::Sequence(list) = &node.value else {
        return cx.wrong_type(node, "a list");
    };
    for node in list {
        item::<F>(cx, node, sink, shelf);
    }
    Some(())
}

fn item<F: Form>(cx: &Reader<'_>, node: &Node, sink: &mut Sink<'_>, shelf: &Shelf<F::Of>) {
    let scope = sink.scope;
    let (policy, ledger) = (&mut *sink.policy, &mut *sink.ledger);
    let origin = cx.origin(node.span);
    let read = ledger.watch(cx, &origin, || {
        let mut found = F::read(cx, node, scope)?;
        let name = node.get("name")?;
        let meta = (shelf.meta)(&mut found);
        meta.namespace = scope.namespace.into();
        meta.origin = cx.origin(node.span);
        let meta = meta.clone();
        Some((meta, name.span, found))
    });
    if let Some((meta, span, found)) = read {
        ledger.define_part(cx, shelf.kind, (&meta, (shelf.part)(&found)), span);
        (shelf.push)(policy, found);
    }
}

/// Prints the items of a namespace.
pub(super) fn section<T>(
    map: &mut Tree,
    name: &'static str,
    items: &[T],
    of: impl Fn(&T) -> &Meta,
    namespace: &str,
    write: impl Fn(&T) -> Tree,
) {
    let items = items.iter().filter(|item| of(item).namespace == namespace);
    let items: Vec<Tree> = items.map(write).collect();
    if !items.is_empty() {
        map.put(name, Tree::List(items));
    }
}
