//! `mesh cert verify`: what a peer says to a certificate.

use mesh_core::identity::{SpiffeId, TrustDomain};
use mesh_core::policy::diagnostic::Paint;
use mesh_tower::tls::inspect::{Certificate, CertificateDer, Question, judge};
use mesh_tower::tls::source::{IdentityFiles, SourceError};
use mesh_tower::tls::svid::{RevocationList, Svid, TrustBundle, TrustBundles};
use mesh_tower::tls::verify::ExpectedPeer;
use serde::Serialize;

use super::args::{BundleFile, Side, VerifyArguments};
use super::{certificates, fact, is_json, now, of, read};
use crate::args::Format;
use crate::terminal::{Style, Terminal, styled};
use crate::{Exit, Failure};

/// What is to be judged, and against what.
struct Case {
    chain: Vec<CertificateDer<'static>>,
    bundles: TrustBundles,
    /// Whether a service would take certificate and key, where there is a key.
    key: Option<Result<(), String>>,
}

/// What was found out.
struct Answer {
    id: Option<String>,
    key: Option<Result<(), String>>,
    sides: Vec<(Side, Result<(), String>)>,
}

/// Judges a certificate.
///
/// # Errors
///
/// Where a file cannot be read, or is not what it should be.
pub(super) fn run(arguments: &VerifyArguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let answer = match gather(arguments)? {
        Ok(case) => ask(arguments, case),
        Err(reason) => Answer::refused(reason),
    };
    match arguments.output {
        Format::Human => terminal.answer(&human(&answer, terminal.out))?,
        Format::Json => terminal.json(&program(&answer))?,
    }
    Ok(if answer.is_accepted() { Exit::Good } else { Exit::Bad })
}

/// What there is to judge; the inner error is for a directory that no service would start with.
fn gather(arguments: &VerifyArguments) -> Result<Result<Case, String>, Failure> {
    let case = match arguments.certificate.is_dir() {
        true => match from_directory(arguments)? {
            Ok(case) => case,
            Err(reason) => return Ok(Err(reason)),
        },
        false => from_files(arguments)?,
    };
    let own = trust_domain(&case.chain);
    let bundles = arguments.bundle.iter().try_fold(case.bundles, |bundles, file| {
        let Some(name) = file.trust_domain.clone().or_else(|| own.clone()) else {
            return Ok(bundles);
        };
        Ok::<_, Failure>(bundles.with(name, bundle(file)?))
    })?;
    let bundles = match own {
        Some(name) => with_lists(arguments, bundles, name)?,
        None => bundles,
    };
    Ok(Ok(Case { bundles, ..case }))
}

/// The bundles with the lists of `--crl`, beside those that it has, for the one that they are about.
fn with_lists(arguments: &VerifyArguments, bundles: TrustBundles, own: TrustDomain) -> Result<TrustBundles, Failure> {
    let known = bundles.bundle(&own).map(TrustBundle::revocations);
    let mut lists = known.unwrap_or_default().to_vec();
    for path in &arguments.crl {
        lists.extend(RevocationList::read(&read(path)?).map_err(|error| of(path)(&error))?);
    }
    match bundles.bundle(&own).cloned() {
        Some(bundle) if !lists.is_empty() => Ok(bundles.with(own, bundle.with_revocations(lists))),
        _ => Ok(bundles),
    }
}

fn from_directory(arguments: &VerifyArguments) -> Result<Result<Case, String>, Failure> {
    if arguments.key.is_some() {
        return Err("a directory has its own key, expected no `--key`".into());
    }
    match IdentityFiles::in_directory(&arguments.certificate)?.read() {
        Ok((svid, bundles)) => Ok(Ok(Case {
            chain: svid.certificates().to_vec(),
            bundles,
            key: Some(Ok(())),
        })),
        Err(
            error @ (SourceError::Own(_)
            | SourceError::Bundle(_)
            | SourceError::Federated { .. }
            | SourceError::Revocation { .. }
            | SourceError::TooManyLists(_)),
        ) => Ok(Err(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

fn from_files(arguments: &VerifyArguments) -> Result<Case, Failure> {
    if arguments.bundle.is_empty() {
        return Err("expected `--bundle`: nobody is trusted without one".into());
    }
    let text = read(&arguments.certificate)?;
    let key = arguments.key.as_ref().map(|path| read(path)).transpose()?;
    Ok(Case {
        chain: certificates(&arguments.certificate, &text)?,
        bundles: TrustBundles::default(),
        key: key.map(|key| Svid::from_pem(&text, &key).map(drop).map_err(|error| error.to_string())),
    })
}

fn bundle(file: &BundleFile) -> Result<TrustBundle, Failure> {
    let text = read(&file.path)?;
    let bundle = match is_json(&file.path) {
        true => TrustBundle::from_spiffe_json(&text),
        false => TrustBundle::from_pem(&text),
    };
    bundle.map_err(|error| of(&file.path)(&error))
}

/// That of the id in the leaf, if there is one.
fn trust_domain(chain: &[CertificateDer<'static>]) -> Option<TrustDomain> {
    let id = SpiffeId::parse(&id(chain)?).ok()?;
    Some(id.trust_domain().clone())
}

fn id(chain: &[CertificateDer<'static>]) -> Option<String> {
    Certificate::read(chain.first()?).ok()?.uris.into_iter().next()
}

fn ask(arguments: &VerifyArguments, case: Case) -> Answer {
    let expected = match &arguments.trust_domain {
        Some(name) => Some(ExpectedPeer::any_in(name.clone())),
        None if arguments.id.is_empty() => None,
        None => Some(ExpectedPeer::one_of(arguments.id.iter().cloned())),
    };
    let now = now(arguments.at);
    let sides = arguments
        .side
        .map_or_else(|| vec![Side::Client, Side::Server], |side| vec![side]);
    let judged = sides.into_iter().map(|side| {
        let question = Question {
            role: side.role(),
            expected: expected.as_ref(),
            now,
        };
        let outcome = judge(&case.chain, &case.bundles, &question);
        (side, outcome.map(drop).map_err(|error| error.to_string()))
    });
    Answer {
        id: id(&case.chain),
        sides: judged.collect(),
        key: case.key,
    }
}

impl Answer {
    /// What no service would start with, no peer sees.
    fn refused(reason: String) -> Self {
        Self {
            id: None,
            key: Some(Err(reason)),
            sides: Vec::new(),
        }
    }

    fn is_accepted(&self) -> bool {
        let key = self.key.iter();
        key.chain(self.sides.iter().map(|(_, outcome)| outcome))
            .all(Result::is_ok)
    }
}

fn human(answer: &Answer, paint: Paint) -> String {
    let judged = |label: &str, outcome: &Result<(), String>| match outcome {
        Ok(()) => fact(paint, label, styled(paint, Style::Good, "accepted")),
        Err(reason) => fact(
            paint,
            label,
            format!("{}: {reason}", styled(paint, Style::Bad, "refused")),
        ),
    };
    let mut text = String::new();
    if let Some(id) = &answer.id {
        text.push_str(&fact(paint, "id", id));
    }
    if let Some(key) = &answer.key {
        text.push_str(&judged("own files", key));
    }
    for (side, outcome) in &answer.sides {
        text.push_str(&judged(label(*side), outcome));
    }
    text
}

const fn label(side: Side) -> &'static str {
    match side {
        Side::Client => "as client",
        Side::Server => "as server",
    }
}

/// An answer for programs.
#[derive(Serialize)]
struct Program<'a> {
    accepted: bool,
    id: Option<&'a str>,
    own_files: Option<Judged<'a>>,
    client: Option<Judged<'a>>,
    server: Option<Judged<'a>>,
}

#[derive(Serialize)]
struct Judged<'a> {
    accepted: bool,
    reason: Option<&'a str>,
}

fn program(answer: &Answer) -> Program<'_> {
    let of = |side| {
        let found = answer.sides.iter().find(|(known, _)| *known == side);
        found.map(|(_, outcome)| judged(outcome))
    };
    Program {
        accepted: answer.is_accepted(),
        id: answer.id.as_deref(),
        own_files: answer.key.as_ref().map(judged),
        client: of(Side::Client),
        server: of(Side::Server),
    }
}

fn judged(outcome: &Result<(), String>) -> Judged<'_> {
    Judged {
        accepted: outcome.is_ok(),
        reason: outcome.as_ref().err().map(String::as_str),
    }
}
