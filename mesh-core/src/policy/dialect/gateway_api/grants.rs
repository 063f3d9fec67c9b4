//! `ReferenceGrant`: a namespace lets others refer to its objects.

use super::values::{NAME_LENGTH, bounded, text_within};
use super::{Object, names, required_spec};
use crate::policy::dialect::envelope;
use crate::policy::model::Policy;
use crate::policy::model::attachment::Grant;
use crate::policy::reader::{Fields, Reader};
use crate::policy::source::Node;

/// The most items of a list.
const ITEMS: usize = 16;

/// Reads a `ReferenceGrant`.
pub(super) fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    let grant = required_spec(cx, object).and_then(|spec| {
        let mut fields = cx.mapping(spec)?;
        let grant = Grant {
            namespace: object.meta.namespace.clone(),
            from: required_list(&mut fields, "from", from),
            to: required_list(&mut fields, "to", to),
        };
        fields.finish();
        Some(grant)
    });
    policy.attachments.grants.extend(grant);
}

fn required_list<'a, 'n, T>(
    fields: &mut Fields<'_, 'a, 'n>,
    name: &'static str,
    read: impl FnMut(&Reader<'a>, &'n Node) -> Option<T>,
) -> Vec<T> {
    if fields.node(name).is_none_or(|node| node.items().is_empty()) {
        fields.missing(&[name]);
    }
    bounded(fields, name, ITEMS, read)
}

fn from(cx: &Reader<'_>, node: &Node) -> Option<(String, String, String)> {
    let mut fields = cx.mapping(node)?;
    let group = fields.required("group", names::group);
    let kind = fields.required("kind", names::kind);
    let namespace = fields.required("namespace", envelope::namespace);
    fields.finish();
    Some((group?.into(), kind?.into(), namespace?))
}

fn to(cx: &Reader<'_>, node: &Node) -> Option<(String, String, Option<String>)> {
    let mut fields = cx.mapping(node)?;
    let group = fields.required("group", names::group);
    let kind = fields.required("kind", names::kind);
    let name = fields.optional("name", text_within(NAME_LENGTH)).map(str::to_owned);
    let is_wrong = name.is_none() && fields.node("name").is_some();
    fields.finish();
    if is_wrong {
        return None;
    }
    Some((group?.into(), kind?.into(), name))
}
