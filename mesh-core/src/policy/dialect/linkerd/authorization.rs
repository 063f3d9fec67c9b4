//! `AuthorizationPolicy` and `ServerAuthorization`: who may do what.

use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::dialect::gateway_api::selector;
use crate::policy::model::Policy;
use crate::policy::model::authz::{Pattern, Source};
use crate::policy::model::server::{Authorization, Network, Reference, Target, Who};
use crate::policy::reader::{Fields, Reader, list_of, spanned};
use crate::policy::source::{Node, Spanned};

use super::authentication::{identities, networks};
use super::reference::{LocalRef, local_ref};
use super::{GROUP, Object, identity, required_spec};

const GATEWAY_API: &str = "gateway.networking.k8s.io";

/// Reads an `AuthorizationPolicy`.
pub(super) fn policy(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    let trust_domain = policy.mesh.trust_domain.clone();
    let read = required_spec(cx, object).and_then(|spec| {
        let mut fields = cx.mapping(spec)?;
        let target = fields.required("targetRef", spanned(|cx, node| target(cx, node, object)));
        let errors = cx.errors();
        let required = fields.required(
            "requiredAuthenticationRefs",
            list_of(spanned(|cx: &Reader<'_>, node| {
                required(cx, node, object, &trust_domain)
            })),
        );
        check_kinds(cx, required.as_deref().unwrap_or_default());
        fields.finish();
        let is_whole = cx.errors() == errors;
        let required = required.filter(|_| is_whole)?.into_iter().map(|one| one.value.1);
        let target = target?;
        let origin = cx.origin(target.span);
        let who = Who::All(required.collect());
        Some(Authorization::new(object.meta.clone(), target.value, who, origin))
    });
    policy.server_documents.authorizations.extend(read);
}

fn target(cx: &Reader<'_>, node: &Node, object: &Object<'_>) -> Option<Target> {
    let reference = local_ref(cx, node)?;
    let own = &object.meta.namespace;
    if reference.namespace.as_ref().is_some_and(|namespace| namespace != own) {
        return cx.invalid(node, "a policy is for something of its own namespace");
    }
    match (reference.group, reference.kind) {
        (GROUP, "Server") => Some(Target::Server(reference.name)),
        (GROUP | GATEWAY_API, kind @ ("HTTPRoute" | "GRPCRoute")) => Some(Target::Route(kind.into(), reference.name)),
        ("" | "core", "Namespace") if reference.name == *own => Some(Target::Namespace),
        ("" | "core", "Namespace") => {
            let (found, own) = (quoted(&reference.name), quoted(own));
            cx.invalid(
                node,
                format!("expected the policy's own namespace {own}, found {found}"),
            )
        }
        (_, kind) => {
            let found = quoted(kind);
            cx.invalid(
                node,
                format!("expected a `Server`, `HTTPRoute` or `GRPCRoute`, or the own `Namespace`, found {found}"),
            )
        }
    }
}

/// What kind of condition a reference is: of each, a policy has one at most.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Identity,
    Network,
}

fn required(cx: &Reader<'_>, node: &Node, object: &Object<'_>, trust_domain: &str) -> Option<(By, Reference)> {
    let LocalRef {
        group,
        kind,
        name,
        namespace,
        span,
    } = local_ref(cx, node)?;
    let namespace = namespace.unwrap_or_else(|| object.meta.namespace.clone());
    let named = |kind, namespace, name| Reference::Named {
        kind,
        namespace,
        name,
        origin: cx.origin(span),
    };
    match (group, kind) {
        (GROUP, "MeshTLSAuthentication") => Some((By::Identity, named("MeshTLSAuthentication", namespace, name))),
        (GROUP, "NetworkAuthentication") => Some((By::Network, named("NetworkAuthentication", namespace, name))),
        ("" | "core", "ServiceAccount") => {
            let account = identity::account(trust_domain, &namespace, &name);
            Some((By::Identity, Reference::Identities(vec![account])))
        }
        (_, kind) => {
            let found = quoted(kind);
            let kinds = "`MeshTLSAuthentication`, `NetworkAuthentication` or `ServiceAccount`";
            cx.invalid(node, format!("expected a {kinds}, found {found}"))
        }
    }
}

fn check_kinds(cx: &Reader<'_>, required: &[Spanned<(By, Reference)>]) {
    for (by, what) in [(By::Identity, "identity"), (By::Network, "network")] {
        let mut of_kind = required.iter().filter(|one| one.value.0 == by);
        let Some(first) = of_kind.next() else { continue };
        for other in of_kind {
            let message = format!("a policy asks for one {what} at most, found another one");
            let told = Diagnostic::new(Code::INVALID_POLICY, other.span, message);
            cx.report(told.with_label(first.span, "the first one"));
        }
    }
}

/// Reads a `ServerAuthorization`.
pub(super) fn server(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    let trust_domain = policy.mesh.trust_domain.clone();
    let read = required_spec(cx, object).and_then(|spec| {
        let mut fields = cx.mapping(spec)?;
        let target = fields.required("server", spanned(servers));
        let errors = cx.errors();
        let sources = fields.required("client", |cx, node| client(cx, node, object, &trust_domain));
        fields.finish();
        let sources = sources.filter(|_| cx.errors() == errors)?;
        let target = target?;
        let origin = cx.origin(target.span);
        Some(Authorization::new(
            object.meta.clone(),
            target.value,
            Who::Sources(sources),
            origin,
        ))
    });
    policy.server_documents.authorizations.extend(read);
}

fn servers(cx: &Reader<'_>, node: &Node) -> Option<Target> {
    let mut fields = cx.mapping(node)?;
    let named = fields.required_one_of(&["name", "selector"]).map(|(name, _)| name);
    let target = match named {
        Some("name") => fields.optional("name", Reader::name).map(Target::Server),
        Some(_) => fields.optional("selector", selector).map(Target::Servers),
        None => None,
    };
    fields.finish();
    target
}

fn client(cx: &Reader<'_>, node: &Node, object: &Object<'_>, trust_domain: &str) -> Option<Vec<Source>> {
    let mut fields = cx.mapping(node)?;
    let networks = fields.optional("networks", networks);
    let is_anyone = fields.optional("unauthenticated", Reader::bool) == Some(true);
    let tls = fields.entry("meshTLS").map(|(key, _)| key.span);
    let identities = fields.optional("meshTLS", |cx, node| mesh_tls(cx, node, object, trust_domain));
    let anyone = fields.entry("unauthenticated").map(|(key, _)| key.span);
    if let (true, Some(anyone), Some(tls)) = (is_anyone, anyone, tls) {
        let message = "`unauthenticated` allows every client: `meshTLS` beside it asks for one of the mesh";
        cx.report(Diagnostic::new(Code::CONFLICTING_FIELDS, tls, message).with_label(anyone, "allows every client"));
    } else if !is_anyone && tls.is_none() {
        fields.missing(&["unauthenticated", "meshTLS"]);
    }
    fields.finish();
    let principals = if is_anyone { None } else { Some(identities?) };
    Some(sources(principals.as_deref(), networks.as_deref()))
}

fn mesh_tls(cx: &Reader<'_>, node: &Node, object: &Object<'_>, trust_domain: &str) -> Option<Vec<Pattern>> {
    let mut fields = cx.mapping(node)?;
    let is_anyone = fields.optional("unauthenticatedTLS", Reader::bool) == Some(true);
    let named = names(&mut fields, object, trust_domain);
    let names = ["identities", "serviceAccounts"]
        .into_iter()
        .find_map(|name| fields.node(name).map(|node| node.span));
    let own = fields.entry("unauthenticatedTLS").map(|(key, _)| key.span);
    if let (true, Some(own), Some(names)) = (is_anyone, own, names) {
        let message = "`unauthenticatedTLS` allows every client that speaks TLS: names beside it ask for some";
        cx.report(Diagnostic::new(Code::CONFLICTING_FIELDS, names, message).with_label(own, "allows every one"));
    } else if !is_anyone && named.is_empty() && names.is_none() {
        fields.missing(&["unauthenticatedTLS", "identities", "serviceAccounts"]);
    }
    fields.finish();
    // Every client that speaks TLS to a server of the mesh shows who it is.
    Some(if is_anyone { vec![Pattern::Present] } else { named })
}

fn names(fields: &mut Fields<'_, '_, '_>, object: &Object<'_>, trust_domain: &str) -> Vec<Pattern> {
    let mut named = fields.optional("identities", identities).unwrap_or_default();
    named.extend(fields.list("serviceAccounts", |cx, node| {
        let mut fields = cx.mapping(node)?;
        let name = fields.required("name", Reader::name);
        let namespace = fields.optional("namespace", crate::policy::dialect::envelope::namespace);
        fields.finish();
        let namespace = namespace.unwrap_or_else(|| object.meta.namespace.clone());
        Some(identity::account(trust_domain, &namespace, &name?))
    }));
    named
}

/// Each network with each identity; where nothing is said of one of them, it does not matter. None of either is nobody.
pub(super) fn sources(principals: Option<&[Pattern]>, networks: Option<&[Network]>) -> Vec<Source> {
    let mut of_identity = Source::default();
    match principals {
        Some([]) => return Vec::new(),
        Some(principals) => of_identity.principals.any_of = principals.to_vec(),
        None => {}
    }
    let Some(networks) = networks else {
        return vec![of_identity];
    };
    let within = networks.iter().map(|network| {
        let mut source = of_identity.clone();
        source.ip_blocks.any_of = vec![network.cidr];
        source.ip_blocks.none_of.clone_from(&network.except);
        source
    });
    within.collect()
}
