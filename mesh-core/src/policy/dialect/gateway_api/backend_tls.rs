//! `BackendTLSPolicy`: TLS to services, read and checked, and not yet in force.

use super::names::precise_hostname;
use super::values::{Defaults, ObjectRef, bounded, contradiction, reference, text_within};
use super::{NOT_YET, Object, Scope, kind_span, no_effect, required_spec};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::Policy;
use crate::policy::model::attachment::PendingTls;
use crate::policy::model::traffic::TlsOrigination;
use crate::policy::reader::{Fields, Reader, choice, spanned};
use crate::policy::source::{Node, Spanned};

/// The most targets, authorities and names.
const TARGETS: usize = 16;
const AUTHORITIES: usize = 8;
const NAMES: usize = 5;

/// Reads a `BackendTLSPolicy`.
pub(super) fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    let message = format!(
        "kind {} is {}: TLS is spoken to the mesh's own workloads only",
        quoted(object.kind),
        NOT_YET.title()
    );
    cx.report(Diagnostic::new(NOT_YET, kind_span(object), message));
    let Some(spec) = required_spec(cx, object) else { return };
    let scope = Scope::new(object, &policy.mesh);
    let Some(mut fields) = cx.mapping(spec) else { return };
    let targets = targets(cx, &mut fields);
    let tls = fields.required("validation", validation);
    fields.map("options", Reader::string);
    if let Some((key, _)) = fields.entry("options") {
        let message = "`options` has no effect: versions and cipher suites are those of the TLS library";
        no_effect(cx, key.span, message);
    }
    fields.finish();
    let Some(tls) = tls else { return };
    let pending = targets.into_iter().map(|target| {
        let origin = cx.origin(target.span);
        let host = scope.service(&target.value.0, scope.namespace);
        let mut pending = PendingTls::new(object.meta.clone(), host, tls.clone(), origin);
        pending.section = target.value.1;
        pending
    });
    let pending: Vec<PendingTls> = pending.collect();
    policy.attachments.tls.extend(pending);
}

/// A service, and the name of its port where only one is meant.
type Target = (String, Option<String>);

fn targets(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) -> Vec<Spanned<Target>> {
    if fields.node("targetRefs").is_none_or(|node| node.items().is_empty()) {
        fields.missing(&["targetRefs"]);
    }
    let found = bounded(fields, "targetRefs", TARGETS, spanned(target));
    let mut kept: Vec<Spanned<Option<Target>>> = Vec::new();
    for one in found {
        let earlier = kept
            .iter()
            .find(|earlier| earlier.value.is_some() && earlier.value == one.value);
        if let Some(first) = earlier {
            super::rules::duplicate(
                cx,
                one.span,
                first.span,
                "the target is given twice: tell them apart by `sectionName`",
            );
        }
        kept.push(one);
    }
    let known = kept.into_iter();
    known
        .filter_map(|one| {
            Some(Spanned {
                value: one.value?,
                span: one.span,
            })
        })
        .collect()
}

/// `Some(None)` is a target that is valid and none of a process.
fn target(cx: &Reader<'_>, node: &Node) -> Option<Option<Target>> {
    let mut fields = cx.mapping(node)?;
    let object = local(&mut fields);
    let section = fields.optional("sectionName", super::names::section);
    fields.finish();
    let object = object?;
    if (object.group, object.kind) == ("", "Service") {
        return Some(Some((object.name, section)));
    }
    let message = format!("targets are services, {} has no effect", quoted(object.kind));
    cx.report(Diagnostic::new(Code::NO_EFFECT, node.span, message));
    Some(None)
}

/// Reads `{ group, kind, name }`, all of which must be given.
fn local<'n>(fields: &mut Fields<'_, '_, 'n>) -> Option<ObjectRef<'n>> {
    if fields.node("group").is_none() {
        fields.missing(&["group"]);
    }
    reference(fields, Defaults::NONE)
}

fn validation(cx: &Reader<'_>, node: &Node) -> Option<TlsOrigination> {
    let mut fields = cx.mapping(node)?;
    let authorities = bounded(&mut fields, "caCertificateRefs", AUTHORITIES, |cx, node| {
        let mut fields = cx.mapping(node)?;
        let object = local(&mut fields);
        fields.finish();
        object
    });
    let has_own = fields
        .node("caCertificateRefs")
        .is_some_and(|node| !node.items().is_empty());
    let system = fields.optional("wellKnownCACertificates", choice(&[("System", ())]));
    let has_system = fields.node("wellKnownCACertificates").is_some();
    if has_own == has_system {
        let message = "give `caCertificateRefs` or `wellKnownCACertificates`, exactly one of them";
        contradiction(cx, node.span, message);
    }
    let hostname = fields.required("hostname", precise_hostname);
    let names = bounded(&mut fields, "subjectAltNames", NAMES, alternative_name);
    fields.finish();
    // What the certificate of an authority's folder would be; a folder stands for a `ConfigMap`.
    let authorities: Option<String> = match system {
        Some(()) => None,
        None => Some(
            authorities
                .into_iter()
                .next()
                .map(|first| first.name)
                .unwrap_or_default(),
        ),
    };
    Some(TlsOrigination {
        sni: Some(hostname?),
        subject_alt_names: names,
        authorities,
        ..TlsOrigination::default()
    })
}

fn alternative_name(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let mut fields = cx.mapping(node)?;
    let form = fields.required("type", choice(&[("Hostname", "hostname"), ("URI", "uri")]));
    let hostname = fields.optional("hostname", super::names::hostname);
    let uri = fields.optional("uri", text_within(253)).map(str::to_owned);
    fields.finish();
    let (wanted, other) = match form? {
        "uri" => (uri, hostname),
        _ => (hostname, uri),
    };
    if wanted.is_none() || other.is_some() {
        return cx.invalid(node, "expected the field that `type` names, and not the other");
    }
    wanted
}
