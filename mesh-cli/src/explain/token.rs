//! The token of a request that is explained: as its claims, as it is, or in the request's headers.

use std::io::Read;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use mesh_core::decide::jwt::{KeyPlace, KeySet, KeySource, Keys, Means, Refusal, Rejected, VerifiedToken};
use mesh_core::request::RequestView;
use mesh_core::snapshot::Snapshot;
use mesh_tower::server::AwsLc;

use crate::Failure;
use crate::args::ExplainArguments;
use crate::terminal::Terminal;

/// What the server would make of the token.
pub(super) type Judged<'s> = Result<Option<Arc<VerifiedToken>>, Rejected<'s>>;

/// Verifies the token with the keys that are at hand.
///
/// # Errors
///
/// Where a file cannot be read.
pub(super) fn judged<'s>(
    snapshot: &'s Snapshot,
    arguments: &ExplainArguments,
    view: &RequestView<'_>,
    terminal: &Terminal,
) -> Result<Judged<'s>, Failure> {
    let rules = &snapshot.inbound.tokens;
    if rules.is_empty() {
        if arguments.token.is_some() || !arguments.claims.is_empty() {
            terminal.warn("no policy has the workload look at tokens: the request counts as one without");
        }
        return Ok(Ok(None));
    }
    if !arguments.claims.is_empty() {
        let claims = arguments.claims.iter().cloned().collect();
        return Ok(rules.suppose(claims).map(|token| token.map(Arc::new)));
    }
    let keys = AtHand::read(arguments)?;
    let means = Means {
        now: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs(),
        keys: &keys,
        signatures: &AwsLc,
    };
    let accepted = match &arguments.token {
        Some(path) => rules.verify_text(read(path)?.trim(), means).map(Some),
        None => match rules.locate(view) {
            Ok(None) => Ok(None),
            Ok(Some(borne)) => rules.verify(&borne, means).map(Some),
            Err(refusal) => Err(Rejected::unread(refusal)),
        },
    };
    if matches!(&accepted, Err(rejected) if rejected.refusal == Refusal::NoKeys) {
        terminal.warn("the keys are fetched by services, not here: give them with `--jwks FILE`");
    }
    Ok(accepted.map(|accepted| accepted.map(|accepted| accepted.token)))
}

/// Keys in files.
struct AtHand(Option<Arc<KeySet>>);

impl AtHand {
    fn read(arguments: &ExplainArguments) -> Result<Self, Failure> {
        let Some(path) = &arguments.jwks else {
            return Ok(Self(None));
        };
        Ok(Self(Some(Arc::new(KeySet::parse(&std::fs::read(path)?)?))))
    }
}

impl Keys for AtHand {
    fn of(&self, source: &KeySource) -> Option<Arc<KeySet>> {
        if let Some(given) = &self.0 {
            return Some(Arc::clone(given));
        }
        let KeyPlace::File(path) = &source.from else {
            return None;
        };
        KeySet::parse(&std::fs::read(path).ok()?).ok().map(Arc::new)
    }
}

fn read(path: &std::path::Path) -> Result<String, Failure> {
    if path.as_os_str() != "-" {
        return Ok(std::fs::read_to_string(path)?);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}
