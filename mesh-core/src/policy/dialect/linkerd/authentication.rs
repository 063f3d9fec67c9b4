//! `MeshTLSAuthentication` and `NetworkAuthentication`: who somebody is.

use ipnet::IpNet;

use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::Policy;
use crate::policy::model::authz::Pattern;
use crate::policy::model::server::{Authentication, Network, Proof};
use crate::policy::reader::{Reader, list_of};
use crate::policy::source::Node;

use super::reference::{LocalRef, local_ref};
use super::{Object, identity, required_spec};

/// Reads a `MeshTLSAuthentication`.
pub(super) fn mesh_tls(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    let trust_domain = policy.mesh.trust_domain.clone();
    let proof = required_spec(cx, object).and_then(|spec| {
        let mut fields = cx.mapping(spec)?;
        let named = fields.required_one_of(&["identities", "identityRefs"]);
        let found = match named {
            Some(("identities", _)) => fields.optional("identities", |cx, node| not_empty(cx, node, identities)),
            Some(_) => fields.optional("identityRefs", |cx, node| {
                not_empty(cx, node, |cx, node| accounts(cx, node, object, &trust_domain))
            }),
            None => None,
        };
        fields.finish();
        found.map(Proof::Identities)
    });
    let read = proof.map(|proof| Authentication::new(object.meta.clone(), proof));
    policy.server_documents.authentications.extend(read);
}

/// Reads a `NetworkAuthentication`.
pub(super) fn network(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    let proof = required_spec(cx, object).and_then(|spec| {
        let mut fields = cx.mapping(spec)?;
        let networks = fields.required("networks", |cx, node| not_empty(cx, node, networks));
        fields.finish();
        networks.map(Proof::Networks)
    });
    let read = proof.map(|proof| Authentication::new(object.meta.clone(), proof));
    policy.server_documents.authentications.extend(read);
}

/// Reads a list that says nothing where it is empty.
fn not_empty<T>(
    cx: &Reader<'_>,
    node: &Node,
    read: impl FnOnce(&Reader<'_>, &Node) -> Option<Vec<T>>,
) -> Option<Vec<T>> {
    let errors = cx.errors();
    if node.items().is_empty() && matches!(node.value, crate::policy::source::Value::Sequence(_)) {
        return cx.invalid(node, "expected at least one item, found an empty list");
    }
    read(cx, node).filter(|_| cx.errors() == errors)
}

/// Reads names of accounts as Linkerd makes them; a name that no id stands for matches nobody.
pub(super) fn identities(cx: &Reader<'_>, node: &Node) -> Option<Vec<Pattern>> {
    list_of(|cx: &Reader<'_>, node| {
        let text = cx.name(node)?;
        Some(identity::pattern(&text).unwrap_or_else(|| {
            let message = format!("no caller has the identity {}", quoted(&text));
            let help =
                "callers are `<account>.<namespace>.serviceaccount.identity.linkerd.<trust domain>` or SPIFFE ids";
            cx.report(Diagnostic::new(Code::NO_EFFECT, node.span, message).with_help(help));
            Pattern::Exact(text)
        }))
    })(cx, node)
}

fn accounts(cx: &Reader<'_>, node: &Node, object: &Object<'_>, trust_domain: &str) -> Option<Vec<Pattern>> {
    list_of(|cx: &Reader<'_>, node| {
        let reference: LocalRef<'_> = local_ref(cx, node)?;
        let namespace = reference.namespace.as_deref().unwrap_or(&object.meta.namespace);
        match (reference.group, reference.kind) {
            ("" | "core", "ServiceAccount") => Some(identity::account(trust_domain, namespace, &reference.name)),
            ("" | "core", "Namespace") if reference.namespace.is_none() => {
                Some(identity::namespace(trust_domain, &reference.name))
            }
            ("" | "core", "Namespace") => cx.invalid(node, "a namespace is named without `namespace`"),
            (_, kind) => {
                let found = quoted(kind);
                cx.invalid(
                    node,
                    format!("expected a `ServiceAccount` or a `Namespace`, found {found}"),
                )
            }
        }
    })(cx, node)
}

/// Reads networks: an exception lies inside of its network, and is not all of it.
pub(super) fn networks(cx: &Reader<'_>, node: &Node) -> Option<Vec<Network>> {
    list_of(one)(cx, node)
}

fn one(cx: &Reader<'_>, node: &Node) -> Option<Network> {
    let mut fields = cx.mapping(node)?;
    let read = fields.required("cidr", cidr);
    let exceptions: Vec<(IpNet, &Node)> = fields.list("except", |cx, node| Some((cidr(cx, node)?, node)));
    fields.finish();
    let mut network = Network::new(read?);
    for (except, node) in exceptions {
        let (inner, outer) = (quoted(&except.to_string()), quoted(&network.cidr.to_string()));
        if except.contains(&network.cidr) {
            cx.invalid::<()>(node, format!("{inner} excepts all of {outer}"));
        } else if !network.cidr.contains(&except) {
            cx.invalid::<()>(node, format!("{inner} is no part of {outer}"));
        } else {
            network.except.push(except);
        }
    }
    Some(network)
}

fn cidr(cx: &Reader<'_>, node: &Node) -> Option<IpNet> {
    let text = cx.text(node)?;
    let read = text
        .parse()
        .or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from));
    match read {
        Ok(network) => Some(network.trunc()),
        Err(_) => {
            let found = quoted(text);
            cx.invalid(node, format!("expected a network such as `10.0.0.0/8`, found {found}"))
        }
    }
}
