//! `Gateway` and `GatewayClass`.

use super::listener::{self, Read};
use super::names::{group, kind};
use super::values::{Defaults, NAME_LENGTH, bounded, contradiction, given_or, object_ref, text_within};
use super::{Object, no_effect, refuse, required_spec};
use crate::policy::diagnostic::quoted;
use crate::policy::dialect::names::labels;
use crate::policy::model::attachment::From;
use crate::policy::model::gateway::{Gateway, Listeners};
use crate::policy::model::{Labels, Policy};
use crate::policy::reader::{Fields, Reader, choice, spanned};
use crate::policy::source::{Node, Spanned};

/// The most listeners of a gateway, and the most addresses.
const LISTENERS: usize = 64;
const ADDRESSES: usize = 16;

/// The label by which a process says which gateway it serves.
const GATEWAY_LABEL: &str = "gateway.networking.k8s.io/gateway-name";

/// Reads a `GatewayClass`, which chooses among controllers.
pub(super) fn class(cx: &Reader<'_>, object: &Object<'_>, _: &mut Policy) {
    let Some(spec) = required_spec(cx, object) else { return };
    let Some(mut fields) = cx.mapping(spec) else { return };
    fields.required("controllerName", text_within(253));
    fields.optional("parametersRef", |cx, node| {
        let mut fields = cx.mapping(node)?;
        fields.required("group", group);
        fields.required("kind", kind);
        fields.required("name", text_within(253));
        fields.optional("namespace", super::envelope::namespace);
        fields.finish();
        Some(())
    });
    fields.optional("description", text_within(64));
    fields.finish();
    let message = "a gateway class chooses a controller: a process serves the gateways that its labels name";
    no_effect(cx, super::kind_span(object), message);
}

/// Reads a `Gateway`.
pub(super) fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    let Some(spec) = required_spec(cx, object) else { return };
    let Some(mut fields) = cx.mapping(spec) else { return };
    fields.required("gatewayClassName", text_within(NAME_LENGTH));
    if fields.node("listeners").is_none_or(|node| node.items().is_empty()) {
        fields.missing(&["listeners"]);
    }
    let listeners = bounded(
        &mut fields,
        "listeners",
        LISTENERS,
        spanned(|cx, node| listener::listener(cx, node, &object.meta)),
    );
    options(cx, &mut fields);
    fields.finish();
    check_listeners(cx, &listeners);
    let selector = Labels::from([(GATEWAY_LABEL.to_owned(), object.meta.name.clone())]);
    let mut gateway = Gateway {
        meta: object.meta.clone(),
        selector,
        listeners: Listeners::Isolated,
        ..Gateway::default()
    };
    for listener in listeners {
        policy.attachments.listeners.push(listener.value.admission);
        gateway.servers.extend(listener.value.server);
    }
    policy.gateways.push(gateway);
}

/// What a gateway has beside its listeners.
fn options(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) {
    let addresses = bounded(fields, "addresses", ADDRESSES, address);
    if let Some((key, _)) = fields.entry("addresses").filter(|_| !addresses.is_empty()) {
        no_effect(
            cx,
            key.span,
            "`addresses` has no effect: a gateway listens where its process does",
        );
    }
    fields.optional("infrastructure", infrastructure);
    if let Some((key, _)) = fields.entry("infrastructure") {
        no_effect(
            cx,
            key.span,
            "`infrastructure` has no effect: nothing is deployed for a gateway",
        );
    }
    fields.optional("allowedListeners", allowed_listeners);
    fields.optional("tls", tls);
    refuse(fields, "defaultScope", "no gateway is the default one");
}

fn address(cx: &Reader<'_>, node: &Node) -> Option<()> {
    let mut fields = cx.mapping(node)?;
    fields.optional("type", text_within(253));
    fields.optional("value", text_within(253));
    fields.finish();
    Some(())
}

fn infrastructure(cx: &Reader<'_>, node: &Node) -> Option<()> {
    let mut fields = cx.mapping(node)?;
    fields.optional("labels", labels);
    fields.map("annotations", Reader::string);
    fields.optional("parametersRef", object_ref(Defaults::NONE));
    fields.finish();
    Some(())
}

fn allowed_listeners(cx: &Reader<'_>, node: &Node) -> Option<()> {
    let mut fields = cx.mapping(node)?;
    let from = given_or(&mut fields, "namespaces", None, |cx, node| {
        listener::namespaces(cx, node, &["All", "Selector", "Same", "None"]).map(Some)
    });
    fields.finish();
    let allows = from?.is_some_and(|from| from != From::None);
    if allows {
        no_effect(
            cx,
            node.span,
            &format!("`allowedListeners` has no effect: {}", super::SHARED_LISTENERS),
        );
    }
    Some(())
}

/// TLS to backends, and certificates of clients: read, and not in force.
fn tls(cx: &Reader<'_>, node: &Node) -> Option<()> {
    let mut fields = cx.mapping(node)?;
    fields.optional("backend", |cx, node| {
        let mut fields = cx.mapping(node)?;
        fields.optional("clientCertificateRef", object_ref(Defaults::SECRET));
        fields.finish();
        Some(())
    });
    refuse(&mut fields, "backend", "TLS is spoken to the mesh's own workloads only");
    fields.optional("frontend", frontend);
    refuse(&mut fields, "frontend", "clients of a gateway show no certificate");
    fields.finish();
    Some(())
}

fn frontend(cx: &Reader<'_>, node: &Node) -> Option<()> {
    let mut fields = cx.mapping(node)?;
    fields.required("default", client_certificates);
    fields.list("perPort", |cx, node| {
        let mut fields = cx.mapping(node)?;
        fields.required("port", Reader::port);
        fields.required("tls", client_certificates);
        fields.finish();
        Some(())
    });
    fields.finish();
    Some(())
}

fn client_certificates(cx: &Reader<'_>, node: &Node) -> Option<()> {
    const MODES: &[(&str, ())] = &[("AllowValidOnly", ()), ("AllowInsecureFallback", ())];
    let mut fields = cx.mapping(node)?;
    fields.optional("validation", |cx, node| {
        let mut fields = cx.mapping(node)?;
        if fields
            .node("caCertificateRefs")
            .is_none_or(|node| node.items().is_empty())
        {
            fields.missing(&["caCertificateRefs"]);
        }
        bounded(&mut fields, "caCertificateRefs", 8, object_ref(Defaults::NONE));
        fields.optional("mode", choice(MODES));
        fields.finish();
        Some(())
    });
    fields.finish();
    Some(())
}

/// Names are unique, and so are ports with their protocol and host; a port has one protocol.
fn check_listeners(cx: &Reader<'_>, listeners: &[Spanned<Read>]) {
    for (index, one) in listeners.iter().enumerate() {
        let earlier = || listeners.iter().take(index);
        let (own, protocol) = (&one.admission, one.protocol);
        if let Some(first) = earlier().find(|other| other.admission.name == own.name) {
            let message = format!("listener {} is given twice", quoted(&own.name));
            super::rules::duplicate(cx, one.span, first.span, &message);
            continue;
        }
        let mut beside = earlier().filter(|other| other.admission.port == own.port);
        let same = |other: &&Spanned<Read>| other.protocol == protocol && other.admission.host == own.host;
        if let Some(first) = beside.clone().find(same) {
            let message = format!("two listeners take host {} on port {}", quoted(&own.host), own.port);
            super::rules::duplicate(cx, one.span, first.span, &message);
        } else if beside.any(|other| !protocol.fits(other.protocol)) {
            let message = format!(
                "port {} has another protocol already: a port is plain text or TLS",
                own.port
            );
            contradiction(cx, one.span, message);
        }
    }
}
