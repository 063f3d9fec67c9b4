//! `ServerTLSSettings`: TLS that begins at a gateway.

use super::NOT_YET;
use super::values::given_or;
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::gateway::{GatewayTls, PlainText};
use crate::policy::reader::{Fields, Reader, choice, spanned};
use crate::policy::source::{Node, SourceSpan, Spanned};

/// A plain-text port may only send callers to the encrypted one.
pub(super) fn plain(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) -> Option<PlainText> {
    let (key, node) = fields.entry("tls")?;
    let mut tls = cx.mapping(node)?;
    let redirects = tls.optional("httpsRedirect", Reader::bool);
    let has_more = FIELDS.iter().any(|name| tls.node(name).is_some());
    if has_more {
        let message = "`tls` needs a port with the protocol `HTTPS` or `TLS`";
        cx.report(Diagnostic::new(Code::INVALID_POLICY, key.span, message));
    }
    tls.finish();
    redirects
        .filter(|redirects| *redirects)
        .map(|_| PlainText::RedirectToHttps)
}

/// All fields of a server's `tls` but `httpsRedirect`.
const FIELDS: &[&str] = &[
    "mode",
    "credentialName",
    "credentialNames",
    "tlsCertificates",
    "serverCertificate",
    "privateKey",
    "caCertificates",
    "caCrl",
    "caCertCredentialName",
    "subjectAltNames",
    "verifyCertificateSpki",
    "verifyCertificateHash",
    "minProtocolVersion",
    "maxProtocolVersion",
    "cipherSuites",
];

/// What proves who the server or its clients are.
const CERTIFICATES: &[&str] = &[
    "credentialName",
    "credentialNames",
    "tlsCertificates",
    "serverCertificate",
    "privateKey",
    "caCertificates",
    "caCrl",
    "caCertCredentialName",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Passthrough,
    Simple,
    Mutual,
    OptionalMutual,
    AutoPassthrough,
    IstioMutual,
}

const MODES: &[(&str, Mode)] = &[
    ("PASSTHROUGH", Mode::Passthrough),
    ("SIMPLE", Mode::Simple),
    ("MUTUAL", Mode::Mutual),
    ("OPTIONAL_MUTUAL", Mode::OptionalMutual),
    ("AUTO_PASSTHROUGH", Mode::AutoPassthrough),
    ("ISTIO_MUTUAL", Mode::IstioMutual),
];

impl Mode {
    /// Why a mode is not yet in force.
    const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Simple => None,
            Self::Mutual | Self::OptionalMutual | Self::IstioMutual => Some("clients of a gateway show no certificate"),
            Self::Passthrough | Self::AutoPassthrough => Some("connections are not forwarded as they are"),
        }
    }

    fn name(self) -> &'static str {
        let known = MODES.iter().find(|(_, mode)| *mode == self);
        known.map_or("PASSTHROUGH", |(name, _)| name)
    }
}

/// Reads the TLS of a port that begins with it; `None` where it does not end here with the server's certificate alone.
pub(super) fn encrypted(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) -> Option<GatewayTls> {
    let Some(node) = fields.node("tls") else {
        fields.missing(&["tls"]);
        return None;
    };
    let mut tls = cx.mapping(node)?;
    // Without a mode it is the first of Istio's list.
    let mode = given_or(&mut tls, "mode", Mode::Passthrough, choice(MODES));
    if let Some((reason, mode)) = mode.and_then(|mode| Some((mode.reason()?, mode))) {
        let span = tls.node("mode").map_or_else(|| tls.span(), |node| node.span);
        let message = format!("TLS mode `{}` is {}: {reason}", mode.name(), NOT_YET.title());
        let help = "give `mode: SIMPLE` and `credentialName`";
        cx.report(Diagnostic::new(NOT_YET, span, message).with_help(help));
    }
    refuse_redirect(cx, &mut tls);
    let credential = match mode {
        Some(Mode::Simple | Mode::Mutual | Mode::OptionalMutual) => terminated(cx, &mut tls, mode?),
        Some(mode) => {
            check_unused(cx, &mut tls, mode);
            None
        }
        None => None,
    };
    read_options(cx, &mut tls, mode);
    read_rest(&mut tls);
    tls.finish();
    let credential_name = credential.filter(|_| mode == Some(Mode::Simple))?;
    Some(GatewayTls {
        credential_name,
        origin: cx.origin(node.span),
    })
}

fn refuse_redirect(cx: &Reader<'_>, tls: &mut Fields<'_, '_, '_>) {
    let redirects = tls.optional("httpsRedirect", Reader::bool) == Some(true);
    if let Some((key, _)) = tls.entry("httpsRedirect").filter(|_| redirects) {
        let message = "`httpsRedirect` needs a port with the protocol `HTTP`";
        cx.report(Diagnostic::new(Code::INVALID_POLICY, key.span, message));
    }
}

/// Modes that end TLS elsewhere, or with the mesh's own certificates, have none of their own.
fn check_unused(cx: &Reader<'_>, tls: &mut Fields<'_, '_, '_>, mode: Mode) {
    for name in CERTIFICATES {
        let Some((key, _)) = tls.entry(name) else { continue };
        let (code, what) = match mode {
            Mode::IstioMutual => (Code::INVALID_POLICY, "cannot stand beside"),
            _ => (Code::NO_EFFECT, "has no effect in"),
        };
        let message = format!("{} {what} the mode `{}`", quoted(&key.name), mode.name());
        cx.report(Diagnostic::new(code, key.span, message));
    }
}

/// Where the server's certificate comes from: one of these.
const SOURCES: &[&str] = &[
    "credentialName",
    "credentialNames",
    "tlsCertificates",
    "serverCertificate",
];

/// Reads the certificates of a server at which TLS ends; the folder, where they are in one.
fn terminated(cx: &Reader<'_>, tls: &mut Fields<'_, '_, '_>, mode: Mode) -> Option<String> {
    let given = tls.required_one_of(SOURCES);
    let credential = tls.optional("credentialName", credential_name);
    let names = tls.list("credentialNames", spanned(credential_name));
    let certificates = tls.list("tlsCertificates", spanned(certificate));
    check_number(cx, tls, "credentialNames", names.len());
    check_number(cx, tls, "tlsCertificates", certificates.len());
    check_files(cx, tls);
    check_authorities(cx, tls, mode, given.map(|(name, _)| name));
    let by_files = ["credentialNames", "tlsCertificates", "serverCertificate"];
    for name in by_files {
        let reason = "a gateway has one certificate, in the folder that `credentialName` names";
        tls.refuse(name, NOT_YET, reason);
    }
    credential
}

/// A certificate of each sort of key at most: RSA and ECDSA.
fn check_number(cx: &Reader<'_>, tls: &mut Fields<'_, '_, '_>, name: &'static str, number: usize) {
    if let Some((key, _)) = tls.entry(name).filter(|_| number > 2) {
        let message = format!("{}: expected at most 2, found {number}", quoted(&key.name));
        cx.report(Diagnostic::new(Code::INVALID_VALUE, key.span, message));
    }
}

/// A certificate needs its key, and a key its certificate.
fn check_files(cx: &Reader<'_>, tls: &mut Fields<'_, '_, '_>) {
    for (one, other) in [("serverCertificate", "privateKey"), ("privateKey", "serverCertificate")] {
        let is_alone = tls.node(other).is_none();
        if let Some((key, _)) = tls.entry(one).filter(|_| is_alone) {
            let message = format!("{} needs `{other}`", quoted(&key.name));
            cx.report(Diagnostic::new(Code::MISSING_FIELD, key.span, message));
        }
    }
}

/// Clients are verified by authorities, where they are verified.
fn check_authorities(cx: &Reader<'_>, tls: &mut Fields<'_, '_, '_>, mode: Mode, source: Option<&str>) {
    let by_folder = source.is_some_and(|name| name.starts_with("credentialName"));
    if let Some((key, _)) = tls.entry("caCrl").filter(|_| mode == Mode::Simple || by_folder) {
        let message = format!(
            "{} needs a mode that verifies clients, by `caCertificates`",
            quoted(&key.name)
        );
        cx.report(Diagnostic::new(Code::INVALID_POLICY, key.span, message));
    }
    if mode == Mode::Simple {
        for name in [
            "caCertificates",
            "caCertCredentialName",
            "subjectAltNames",
            "verifyCertificateSpki",
            "verifyCertificateHash",
        ] {
            if let Some((key, _)) = tls.entry(name) {
                let message = format!(
                    "{} has no effect in the mode `SIMPLE`: clients show no certificate",
                    quoted(&key.name)
                );
                cx.report(Diagnostic::new(Code::NO_EFFECT, key.span, message));
            }
        }
        return;
    }
    let has_authorities = ["caCertificates", "caCertCredentialName"]
        .iter()
        .any(|name| tls.node(name).is_some());
    let in_certificates = tls
        .node("tlsCertificates")
        .is_some_and(|node| node.items().iter().any(|one| one.get("caCertificates").is_some()));
    if !has_authorities && !in_certificates && !by_folder {
        let message = format!("mode `{}` needs `caCertificates`, or `credentialName`", mode.name());
        cx.report(Diagnostic::new(Code::MISSING_FIELD, tls.span(), message));
    }
}

/// Reads the name of a folder, which cannot lead out of the directory of all of them.
fn credential_name(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let text = cx.name(node)?;
    let is_folder = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if is_folder && !text.starts_with('.') {
        return Some(text);
    }
    cx.invalid(node, format!("expected the name of a folder, found {}", quoted(&text)))
}

fn certificate(cx: &Reader<'_>, node: &Node) -> Option<()> {
    let mut fields = cx.mapping(node)?;
    fields.required("serverCertificate", Reader::name);
    fields.required("privateKey", Reader::name);
    fields.optional("caCertificates", Reader::string);
    fields.finish();
    Some(())
}

/// Versions of TLS, and their order.
const VERSIONS: &[(&str, u8)] = &[
    ("TLS_AUTO", 0),
    ("TLSV1_0", 1),
    ("TLSV1_1", 2),
    ("TLSV1_2", 3),
    ("TLSV1_3", 4),
];

const LIBRARY: &str = "versions and cipher suites are those of the TLS library";

/// Reads versions and suites. What is so anyway, TLS 1.2 and later, needs no word.
fn read_options(cx: &Reader<'_>, tls: &mut Fields<'_, '_, '_>, mode: Option<Mode>) {
    let version = choice(VERSIONS);
    let least = tls.optional("minProtocolVersion", &version).unwrap_or(0);
    let most = tls.optional("maxProtocolVersion", &version).unwrap_or(0);
    if least > most && most > 0 {
        let message = "`maxProtocolVersion` is below `minProtocolVersion`";
        let span = tls
            .node("maxProtocolVersion")
            .map_or_else(|| tls.span(), |node| node.span);
        cx.report(Diagnostic::new(Code::INVALID_POLICY, span, message));
    }
    let suites = tls.list("cipherSuites", spanned(Reader::name));
    warn_of_duplicates(cx, &suites);
    // What stands beside a mode that is not yet in force belongs to it.
    if mode != Some(Mode::Simple) {
        return;
    }
    if !matches!(least, 0 | 3) {
        tls.refuse("minProtocolVersion", NOT_YET, LIBRARY);
    }
    if !matches!(most, 0 | 4) {
        tls.refuse("maxProtocolVersion", NOT_YET, LIBRARY);
    }
    if !suites.is_empty() {
        tls.refuse("cipherSuites", NOT_YET, LIBRARY);
    }
}

fn warn_of_duplicates(cx: &Reader<'_>, suites: &[Spanned<String>]) {
    for (index, suite) in suites.iter().enumerate() {
        let span: SourceSpan = suite.span;
        if suites.iter().take(index).any(|earlier| earlier.value == suite.value) {
            let message = format!("`cipherSuites`: {} is given twice", quoted(suite));
            cx.report(Diagnostic::new(Code::NO_EFFECT, span, message));
        }
    }
}

/// Reads what the mode decides about: texts and lists of texts.
fn read_rest(tls: &mut Fields<'_, '_, '_>) {
    for name in [
        "serverCertificate",
        "privateKey",
        "caCertificates",
        "caCrl",
        "caCertCredentialName",
    ] {
        tls.optional(name, Reader::string);
    }
    for name in ["subjectAltNames", "verifyCertificateSpki", "verifyCertificateHash"] {
        tls.list(name, Reader::name);
    }
    tls.skip(FIELDS);
}
