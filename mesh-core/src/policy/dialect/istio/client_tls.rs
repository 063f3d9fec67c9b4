//! `ClientTLSSettings`: TLS to the endpoints.

use super::NOT_YET;
use super::traffic_policy::Level;
use super::values::given_or;
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::traffic::{ClientTls, TlsOrigination, Verification};
use crate::policy::reader::{Fields, Reader, choice};
use crate::policy::source::Node;

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Disable,
    Simple,
    Mutual,
    IstioMutual,
}

const MODES: &[(&str, Mode)] = &[
    ("DISABLE", Mode::Disable),
    ("SIMPLE", Mode::Simple),
    ("MUTUAL", Mode::Mutual),
    ("ISTIO_MUTUAL", Mode::IstioMutual),
];

/// Fields with files of certificates, which a credential stands in the place of.
const FILES: &[&str] = &["clientCertificate", "privateKey", "caCertificates", "caCrl"];

/// Reads the block. Without a mode it is the first of Istio's list, plain text.
pub(super) fn client_tls(cx: &Reader<'_>, node: &Node, level: Level) -> Option<ClientTls> {
    let mut fields = cx.mapping(node)?;
    let mode = given_or(&mut fields, "mode", Mode::Disable, choice(MODES));
    let tls = match mode {
        Some(Mode::Simple | Mode::Mutual) => {
            let origination = origination(cx, &mut fields, mode == Some(Mode::Mutual));
            warn_of_authorities(cx, &mut fields, &origination, level);
            Some(ClientTls::Origination(origination))
        }
        Some(Mode::IstioMutual) => Some(istio_mutual(cx, &mut fields)),
        _ => {
            warn_of_all(cx, &mut fields, "has no effect on plain text");
            mode.map(|_| ClientTls::Disable)
        }
    };
    fields.finish();
    tls
}

/// mTLS of the mesh: all but the names of servers is the mesh's own.
fn istio_mutual(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) -> ClientTls {
    let subject_alt_names = fields.list("subjectAltNames", spiffe_id);
    if fields.optional("sni", text).flatten().is_some() {
        fields.refuse("sni", NOT_YET, "the name in the handshake is the service's");
    }
    warn_of_all(cx, fields, "has no effect: a workload shows the mesh its own identity");
    ClientTls::IstioMutual { subject_alt_names }
}

/// Warns of every field that nobody has read.
fn warn_of_all(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>, reason: &str) {
    const OTHERS: &[&str] = &["credentialName", "insecureSkipVerify"];
    let of_plain_text = reason.contains("plain text");
    let more: &[&str] = if of_plain_text {
        &["sni", "subjectAltNames"]
    } else {
        &[]
    };
    for name in FILES.iter().chain(OTHERS).chain(more) {
        if let Some((key, _)) = fields.entry(name) {
            let message = format!("{} {reason}", quoted(&key.name));
            let diagnostic = Diagnostic::new(Code::NO_EFFECT, key.span, message);
            cx.report(match of_plain_text {
                true => diagnostic.with_help("give a `mode`: without one it is `DISABLE`"),
                false => diagnostic,
            });
        }
    }
}

fn origination(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>, is_mutual: bool) -> TlsOrigination {
    refuse_mode(cx, fields);
    check_sources(cx, fields, is_mutual);
    let skips = fields.optional("insecureSkipVerify", Reader::bool) == Some(true);
    if skips {
        check_skipped(cx, fields, is_mutual);
    }
    let mut file = |name| fields.optional(name, text).flatten();
    let (certificate, key) = (file("clientCertificate"), file("privateKey"));
    TlsOrigination {
        sni: file("sni"),
        authorities: file("caCertificates"),
        certificate: certificate.zip(key),
        revoked: file("caCrl"),
        credential_name: file("credentialName"),
        subject_alt_names: fields.list("subjectAltNames", Reader::name),
        verification: if skips {
            Verification::Skip
        } else {
            Verification::Verify
        },
    }
}

fn refuse_mode(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) {
    if let Some(node) = fields.node("mode") {
        let (mode, title) = (node.as_text().unwrap_or_default(), NOT_YET.title());
        let message = format!("TLS mode `{mode}` is {title}: endpoints speak the mesh's mTLS or plain text");
        cx.report(Diagnostic::new(NOT_YET, node.span, message));
    }
}

/// Reads text; empty text is the same as none, as in protobuf.
fn text(cx: &Reader<'_>, node: &Node) -> Option<Option<String>> {
    cx.string(node).map(|text| Some(text).filter(|text| !text.is_empty()))
}

fn is_given(fields: &mut Fields<'_, '_, '_>, name: &'static str) -> bool {
    fields.node(name).is_some_and(|node| node.as_text() != Some(""))
}

/// Certificates come from a credential or from files.
fn check_sources(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>, is_mutual: bool) {
    if is_given(fields, "credentialName") {
        for name in FILES {
            if is_given(fields, name) {
                fields.one_of(&["credentialName", name]);
            }
        }
        return;
    }
    for name in ["clientCertificate", "privateKey"] {
        if is_mutual && !is_given(fields, name) {
            let message = format!("mode `MUTUAL` needs `{name}`, or `credentialName`");
            cx.report(Diagnostic::new(Code::MISSING_FIELD, fields.span(), message));
        }
    }
}

/// What is not verified needs nothing to be verified by.
fn check_skipped(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>, is_mutual: bool) {
    let excluded: &[&str] = match is_mutual {
        true => &["caCertificates", "subjectAltNames"],
        false => &["caCertificates", "subjectAltNames", "credentialName"],
    };
    for name in excluded {
        if let Some((key, _)) = fields.entry(name) {
            let message = format!(
                "{} and `insecureSkipVerify: true` exclude each other",
                quoted(&key.name)
            );
            cx.report(Diagnostic::new(Code::CONFLICTING_FIELDS, key.span, message));
        }
    }
}

/// Says that any public authority is trusted, which is seldom meant for a service of one's own.
fn warn_of_authorities(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>, origination: &TlsOrigination, level: Level) {
    let by_credential = origination.credential_name.is_some() && level.is_selected();
    if origination.authorities.is_some() || by_credential || origination.verification == Verification::Skip {
        return;
    }
    let span = fields.node("mode").map_or_else(|| fields.span(), |node| node.span);
    let port = if level.is_port() { " of the port" } else { "" };
    let message =
        format!("the servers{port} are verified by the authorities of the system: there are no `caCertificates`");
    let help = match origination.credential_name {
        Some(_) => "`credentialName` is for gateways, and for rules with a `workloadSelector`",
        None => "name the file of the authorities that the servers' certificates are from",
    };
    cx.report(Diagnostic::new(Code::SYSTEM_AUTHORITIES, span, message).with_help(help));
}

/// Reads a SPIFFE id in full. Other names are read, and not yet in force.
pub(super) fn spiffe_id(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let text = cx.name(node)?;
    if text.strip_prefix("spiffe://").is_some_and(|rest| rest.contains('/')) {
        return Some(text);
    }
    let (name, title) = (quoted(&text), NOT_YET.title());
    let message = format!("subject alternative name {name} is {title}: only SPIFFE ids are verified");
    let help = "write it as `spiffe://trust-domain/ns/namespace/sa/account`";
    cx.report(Diagnostic::new(NOT_YET, node.span, message).with_help(help));
    None
}
