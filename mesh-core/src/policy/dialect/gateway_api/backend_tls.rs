//! `BackendTLSPolicy`: TLS to the endpoints of a service.

use super::values::precise_hostname;
use super::{at_most, required_spec, unexpected};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::dialect::Object;
use crate::policy::model::traffic::{ClientTls, DestinationPolicy, TlsOrigination};
use crate::policy::model::{Policy, full_host};
use crate::policy::reader::{Reader, choice, list_of};
use crate::policy::source::Node;

/// Reads a `BackendTLSPolicy`.
pub(super) fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    let Some(mut fields) = required_spec(cx, object).and_then(|spec| cx.mapping(spec)) else {
        return;
    };
    let services = fields.required("targetRefs", |cx, node| {
        at_most(cx, node, 16);
        list_of(target)(cx, node)
    });
    let tls = fields.required("validation", validation);
    fields.skip(&["options"]);
    fields.finish();
    let kind = object.node.get("kind").unwrap_or(object.node).span;
    let title = Code::NOT_YET_IN_FORCE.title();
    let message = format!("kind `BackendTLSPolicy` is {title}: TLS is spoken to servers of the mesh only");
    cx.report(Diagnostic::new(Code::NOT_YET_IN_FORCE, kind, message));
    let Some(tls) = tls else { return };
    for service in services.into_iter().flatten().flatten() {
        let mut found = DestinationPolicy {
            meta: object.meta.clone(),
            host: full_host(&service, &object.meta.namespace, &policy.mesh.cluster_domain),
            ..DestinationPolicy::default()
        };
        found.traffic.tls = Some(ClientTls::Origination(tls.clone()));
        policy.destinations.push(found);
    }
}

/// The service that is meant; `None` in it for another kind, which has no effect.
fn target(cx: &Reader<'_>, node: &Node) -> Option<Option<String>> {
    let mut fields = cx.mapping(node)?;
    let group = fields.required("group", Reader::any_text);
    let kind = fields.required("kind", Reader::name);
    let name = fields.required("name", Reader::name);
    fields.optional("sectionName", Reader::name);
    fields.finish();
    let (group, kind) = (group?, kind?);
    if group.is_empty() && kind == "Service" {
        return Some(name);
    }
    let message = format!(
        "target of kind {} has no effect: policies are for services",
        quoted(&kind)
    );
    cx.report(Diagnostic::new(Code::NO_EFFECT, node.span, message));
    Some(None)
}

fn validation(cx: &Reader<'_>, node: &Node) -> Option<TlsOrigination> {
    let mut fields = cx.mapping(node)?;
    let hostname = fields.required("hostname", precise_hostname);
    let authorities = match fields.required_one_of(&["caCertificateRefs", "wellKnownCACertificates"]) {
        Some(("caCertificateRefs", node)) => {
            at_most(cx, node, 8);
            list_of(authority)(cx, node).and_then(|names| names.into_iter().next())
        }
        Some((_, node)) => choice(&[("System", None::<String>)].map(|(name, _)| (name, ())))(cx, node).and(None),
        None => None,
    };
    let names = fields.list("subjectAltNames", subject_alt_name);
    fields.finish();
    let mut tls = TlsOrigination {
        sni: hostname,
        authorities,
        ..TlsOrigination::default()
    };
    tls.subject_alt_names = names;
    Some(tls)
}

fn authority(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let mut fields = cx.mapping(node)?;
    let group = fields.required("group", Reader::any_text);
    let kind = fields.required("kind", Reader::name);
    let name = fields.required("name", Reader::name);
    fields.finish();
    let kind = kind?;
    if !group?.is_empty() || kind != "ConfigMap" {
        let message = format!(
            "authorities are in a `ConfigMap`, not in {}: connections will fail",
            quoted(&kind)
        );
        cx.report(Diagnostic::new(Code::UNRESOLVED_REFERENCE, node.span, message));
    }
    name
}

fn subject_alt_name(cx: &Reader<'_>, node: &Node) -> Option<String> {
    const FIELDS: [(&str, &str); 2] = [("Hostname", "hostname"), ("URI", "uri")];
    let mut fields = cx.mapping(node)?;
    let kind = fields.required("type", choice(&FIELDS));
    let name = kind.and_then(|kind| fields.required(kind, Reader::name));
    fields.skip(&["hostname", "uri"]);
    fields.finish();
    match name {
        Some(name) if name.contains(' ') => unexpected(cx, node, "a name without blanks", &name),
        name => name,
    }
}
