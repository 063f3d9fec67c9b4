//! Items in full: a section that is a list of them, each with its name and all fields of the model.

use std::borrow::Cow;

use rustc_hash::FxHashSet;

use super::Sink;
use super::form::{Form, Tree};
use crate::policy::model::authorizer::ExternalAuthorizer;
use crate::policy::model::authz::AuthorizationPolicy;
use crate::policy::model::gateway::Gateway;
use crate::policy::model::identity::PeerAuthentication;
use crate::policy::model::jwt::RequestAuthentication;
use crate::policy::model::profile::ServiceProfile;
use crate::policy::model::route::RouteTable;
use crate::policy::model::server::{RateLimit, Server};
use crate::policy::model::service::{Service, Sidecar, WorkloadEntry};
use crate::policy::model::telemetry::Telemetry;
use crate::policy::model::traffic::DestinationPolicy;
use crate::policy::model::{Meta, Policy};
use crate::policy::reader::Reader;
use crate::policy::source::{Node, Value};

/// How items of one sort are kept.
pub(super) struct Shelf<T> {
    /// What the ledger calls them.
    pub(super) kind: &'static str,
    /// Where they go.
    pub(super) push: fn(&mut Policy, T),
}

/// Reads the items of a list.
pub(super) fn items<F>(cx: &Reader<'_>, node: &Node, sink: &mut Sink<'_>, shelf: &Shelf<F::Of>) -> Option<()>
where
    F: Form,
    F::Of: Named,
{
    let Value::Sequence(list) = &node.value else {
        return cx.wrong_type(node, "a list");
    };
    for node in list {
        item::<F>(cx, node, sink, shelf);
    }
    Some(())
}

fn item<F>(cx: &Reader<'_>, node: &Node, sink: &mut Sink<'_>, shelf: &Shelf<F::Of>)
where
    F: Form,
    F::Of: Named,
{
    let scope = sink.scope;
    let (policy, ledger) = (&mut *sink.policy, &mut *sink.ledger);
    let origin = cx.origin(node.span);
    let read = ledger.watch(cx, &origin, || {
        let mut found = F::read(cx, node, scope)?;
        let name = node.get("name")?;
        let meta = found.meta_mut();
        meta.namespace = scope.namespace.into();
        meta.origin = cx.origin(node.span);
        let meta = meta.clone();
        Some((meta, name.span, found))
    });
    if let Some((meta, span, found)) = read {
        ledger.define_part(shelf.kind, (&meta, &found.part()), span);
        (shelf.push)(policy, found);
    }
}

/// An item with a name and a place.
pub(super) trait Named {
    /// Them.
    fn meta(&self) -> &Meta;

    /// The same, to be changed.
    fn meta_mut(&mut self) -> &mut Meta;

    /// What tells items of one name apart, such as the first host of a service.
    fn part(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }
}

macro_rules! named {
    ($($item:ty $(, part $part:expr)?);+ $(;)?) => {
        $(impl Named for $item {
            fn meta(&self) -> &Meta {
                &self.meta
            }

            fn meta_mut(&mut self) -> &mut Meta {
                &mut self.meta
            }

            $(fn part(&self) -> Cow<'_, str> {
                let part: fn(&Self) -> Cow<'_, str> = $part;
                part(self)
            })?
        })+
    };
}

named!(
    Service, part |one| Cow::Borrowed(one.hosts.first().map_or("", String::as_str));
    WorkloadEntry;
    Sidecar;
    DestinationPolicy, part |one| Cow::Borrowed(&one.host);
    RouteTable, part |one| Cow::Owned(super::route::part(one));
    ServiceProfile, part |one| Cow::Borrowed(&one.host);
    Gateway;
    PeerAuthentication;
    AuthorizationPolicy;
    ExternalAuthorizer;
    Server;
    RateLimit;
    RequestAuthentication;
    Telemetry;
);

/// Prints the items of a namespace; nothing where there are none.
///
/// Each dialect has names of its own, here they are in one list: whose name is taken gets another one.
pub(super) fn section<T: Named + Clone>(items: &[T], namespace: &str, write: impl Fn(&T) -> Tree) -> Tree {
    let mut taken = FxHashSet::default();
    let items = items.iter().filter(|item| item.meta().namespace == namespace);
    let items: Vec<Tree> = items
        .map(|item| match taken.insert((item.meta().name.clone(), item.part())) {
            true => write(item),
            false => write(&renamed(item, &mut taken)),
        })
        .collect();
    match items.is_empty() {
        true => Tree::Nothing,
        false => Tree::List(items),
    }
}

/// The item with a number after its name, the first that is free.
fn renamed<'i, T: Named + Clone>(item: &'i T, taken: &mut FxHashSet<(String, Cow<'i, str>)>) -> T {
    let mut renamed = item.clone();
    for number in 2_u64.. {
        renamed.meta_mut().name = format!("{}-{number}", item.meta().name);
        if taken.insert((renamed.meta().name.clone(), item.part())) {
            break;
        }
    }
    renamed
}
