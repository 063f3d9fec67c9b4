//! `mesh cert inspect`: what certificates say.

use std::path::Path;
use std::time::SystemTime;

use mesh_core::policy::diagnostic::Paint;
use mesh_tower::tls::inspect::{Certificate, Kind, bundle_certificates};
use mesh_tower::tls::source::{IdentityFiles, Phase};
use serde::Serialize;

use super::args::InspectArguments;
use super::{certificates, fact, is_json, moment, now, of, read};
use crate::args::Format;
use crate::terminal::{Style, Terminal, styled};
use crate::{Exit, Failure};

/// A certificate, and where it was found.
struct Found {
    file: String,
    /// Of the file, from 1.
    number: usize,
    certificate: Certificate,
}

/// All certificates for programs.
#[derive(Serialize)]
struct Programs<'a> {
    certificates: Vec<Program<'a>>,
}

/// A certificate for programs.
#[derive(Serialize)]
struct Program<'a> {
    file: &'a str,
    number: usize,
    kind: &'static str,
    uris: &'a [String],
    other_names: &'a [String],
    not_before: String,
    not_after: String,
    phase: &'static str,
    expires_in_seconds: u64,
    issuer: &'a str,
    subject: &'a str,
    key: &'a str,
    key_usage: &'a [&'static str],
    extended_key_usage: &'a [String],
    broken: &'a [String],
    serial: &'a str,
}

/// Prints all certificates.
///
/// # Errors
///
/// Where a file cannot be read, or holds no certificate.
pub(super) fn run(arguments: &InspectArguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let now = now(arguments.at);
    let mut found = Vec::new();
    for path in &arguments.paths {
        found.extend(find(path)?);
    }
    match arguments.output {
        Format::Human => {
            let texts: Vec<_> = found.iter().map(|one| human(one, now, terminal.out)).collect();
            terminal.answer(&texts.join("\n"))?;
        }
        Format::Json => {
            let certificates = found.iter().map(|one| program(one, now)).collect();
            terminal.json(&Programs { certificates })?;
        }
    }
    let good = found.iter().all(|one| is_good(&one.certificate, now));
    Ok(if good { Exit::Good } else { Exit::Bad })
}

fn find(path: &Path) -> Result<Vec<Found>, Failure> {
    if path.is_dir() {
        return find(IdentityFiles::in_directory(path)?.certificate());
    }
    let text = read(path)?;
    let chain = match is_json(path) {
        true => bundle_certificates(&text).map_err(|error| of(path)(&error))?,
        false => certificates(path, &text)?,
    };
    let read = chain.iter().zip(1..).map(|(der, number)| {
        Ok(Found {
            file: path.display().to_string(),
            number,
            certificate: Certificate::read(der).map_err(|error| of(path)(&error))?,
        })
    });
    read.collect()
}

fn is_good(certificate: &Certificate, now: SystemTime) -> bool {
    let is_over = matches!(certificate.lifetime.phase(now), Phase::Expired | Phase::NotYetValid);
    certificate.broken.is_empty() && !is_over
}

const fn kind(certificate: &Certificate) -> &'static str {
    match certificate.kind {
        Kind::Authority => "authority",
        _ => "leaf",
    }
}

/// Names of strangers may hold anything, what moves a terminal's cursor included.
fn escaped(names: &[String]) -> Vec<String> {
    names.iter().map(|name| name.escape_debug().to_string()).collect()
}

fn human(found: &Found, now: SystemTime, paint: Paint) -> String {
    let certificate = &found.certificate;
    let lifetime = certificate.lifetime;
    let heading = format!("{}, certificate {}: {}", found.file, found.number, kind(certificate));
    let mut text = format!("{}\n", styled(paint, Style::Label, &heading));
    let mut add = |label: &str, values: &[String]| {
        for value in values {
            text.push_str(&fact(paint, label, value));
        }
    };
    add("id", &escaped(&certificate.uris));
    add("name", &escaped(&certificate.other_names));
    add(
        "valid",
        &[format!(
            "{} to {}",
            moment::show(lifetime.not_before()),
            moment::show(lifetime.not_after())
        )],
    );
    add("", &[standing(certificate, now, paint)]);
    add("issuer", &escaped(&named(&certificate.issuer)));
    add("subject", &escaped(&named(&certificate.subject)));
    add("key", std::slice::from_ref(&certificate.key));
    add("usage", &[usage(certificate)]);
    let broken: Vec<_> = certificate
        .broken
        .iter()
        .map(|rule| styled(paint, Style::Bad, rule))
        .collect();
    add("broken", &broken);
    add("serial", std::slice::from_ref(&certificate.serial));
    text
}

fn named(name: &str) -> Vec<String> {
    if name.is_empty() {
        Vec::new()
    } else {
        vec![name.to_owned()]
    }
}

fn usage(certificate: &Certificate) -> String {
    let extended = certificate.extended_key_usage.iter().map(String::as_str);
    let all: Vec<_> = certificate.key_usage.iter().copied().chain(extended).collect();
    if all.is_empty() {
        "not told".to_owned()
    } else {
        all.join(", ")
    }
}

/// What is left of it, or how long it is over.
fn standing(certificate: &Certificate, now: SystemTime, paint: Paint) -> String {
    let lifetime = certificate.lifetime;
    let (style, text) = match lifetime.phase(now) {
        Phase::NotYetValid => {
            let wait = lifetime.not_before().duration_since(now).unwrap_or_default();
            (Style::Bad, format!("not valid before {} from now", moment::span(wait)))
        }
        Phase::Expired => {
            let since = now.duration_since(lifetime.not_after()).unwrap_or_default();
            (Style::Bad, format!("expired {} ago", moment::span(since)))
        }
        Phase::Fresh => (Style::Good, format!("{} left", moment::span(lifetime.left(now)))),
        Phase::Due => (
            Style::Warning,
            format!("{} left, renewal is late", moment::span(lifetime.left(now))),
        ),
        Phase::Expiring => (
            Style::Warning,
            format!("{} left, nearly at its end", moment::span(lifetime.left(now))),
        ),
    };
    styled(paint, style, &text)
}

fn program<'a>(found: &'a Found, now: SystemTime) -> Program<'a> {
    let certificate = &found.certificate;
    let lifetime = certificate.lifetime;
    Program {
        file: &found.file,
        number: found.number,
        kind: kind(certificate),
        uris: &certificate.uris,
        other_names: &certificate.other_names,
        not_before: moment::show(lifetime.not_before()),
        not_after: moment::show(lifetime.not_after()),
        phase: lifetime.phase(now).as_str(),
        expires_in_seconds: lifetime.left(now).as_secs(),
        issuer: &certificate.issuer,
        subject: &certificate.subject,
        key: &certificate.key,
        key_usage: &certificate.key_usage,
        extended_key_usage: &certificate.extended_key_usage,
        broken: &certificate.broken,
        serial: &certificate.serial,
    }
}
