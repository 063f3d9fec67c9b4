//! Items in full: a section that is a list of them, each with its name and all fields of the model.

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
        ledger.define_part(shelf.kind, (&meta, (shelf.part)(&found)), span);
        (shelf.push)(policy, found);
    }
}

/// An item with a name and a place.
pub(super) trait Named {
    /// Them.
    fn meta(&self) -> &Meta;
}

macro_rules! named {
    ($($item:ty),+ $(,)?) => {
        $(impl Named for $item {
            fn meta(&self) -> &Meta {
                &self.meta
            }
        })+
    };
}

named!(
    Service,
    WorkloadEntry,
    Sidecar,
    DestinationPolicy,
    RouteTable,
    ServiceProfile,
    Gateway,
    PeerAuthentication,
    AuthorizationPolicy,
    ExternalAuthorizer,
    Server,
    RateLimit,
    RequestAuthentication,
    Telemetry,
);

/// Prints the items of a namespace; nothing where there are none.
pub(super) fn section<T: Named>(items: &[T], namespace: &str, write: impl Fn(&T) -> Tree) -> Tree {
    let items = items.iter().filter(|item| item.meta().namespace == namespace);
    let items: Vec<Tree> = items.map(write).collect();
    match items.is_empty() {
        true => Tree::Nothing,
        false => Tree::List(items),
    }
}
