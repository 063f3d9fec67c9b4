use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::{Answer, Resolve, ResolveError};

/// What is known of the names.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Update<'a> {
    /// The addresses of each name that has been resolved, ascending; a name that has never been is missing.
    Addresses(&'a BTreeMap<Arc<str>, Vec<IpAddr>>),
    /// No name has ever been resolved, and this is why.
    Failed(&'a ResolveError),
}

/// A time to live below it would keep a name server busy for nothing.
const SHORTEST: Duration = Duration::from_secs(1);
/// Even an answer that holds for days is looked at this often.
const LONGEST: Duration = Duration::from_secs(3600);
/// The pause after a first failure; it doubles with each further one, up to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// A name that is followed.
struct Name {
    name: Arc<str>,
    due: Instant,
    failures: u32,
}

/// Resolves `names` again and again, and reports every change, and failures as long as nothing is known, until `report` breaks.
///
/// A name is asked again when its answer expires. An empty or failed answer changes nothing: the last good one stays (RFC 8767).
///
/// # Cancel safety
///
/// Dropping the future gives up questions that are under way.
pub(crate) async fn follow(
    resolver: Arc<dyn Resolve>,
    names: Vec<Arc<str>>,
    mut report: impl FnMut(Update<'_>) -> ControlFlow<()> + Send,
) {
    let mut known = BTreeMap::new();
    let start = Instant::now();
    let mut names: Vec<Name> = names
        .into_iter()
        .map(|name| Name {
            name,
            due: start,
            failures: 0,
        })
        .collect();
    while let Some(due) = names.iter().map(|name| name.due).min() {
        tokio::time::sleep_until(due).await;
        if look(&*resolver, &mut names, &mut known, &mut report).await.is_break() {
            return;
        }
    }
}

/// Asks for all names that are due, at once.
async fn look(
    resolver: &dyn Resolve,
    names: &mut [Name],
    known: &mut BTreeMap<Arc<str>, Vec<IpAddr>>,
    report: &mut (impl FnMut(Update<'_>) -> ControlFlow<()> + Send),
) -> ControlFlow<()> {
    let now = Instant::now();
    let asked = names.iter_mut().filter(|name| name.due <= now).map(|name| async {
        let answer = resolver
            .resolve(&name.name)
            .await
            .and_then(|answer| not_empty(answer, &name.name));
        (name, answer)
    });
    let mut has_changed = false;
    let mut failure = None;
    for (name, answer) in join_all(asked).await {
        name.due = Instant::now() + name.pause(&answer);
        match answer {
            Ok(answer) => has_changed |= remember(known, &name.name, answer.addresses),
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        _ if has_changed => report(Update::Addresses(known)),
        Some(error) if known.is_empty() => report(Update::Failed(&error)),
        Some(error) => {
            tracing::warn!(%error, "the last good answer stays in use");
            ControlFlow::Continue(())
        }
        None => ControlFlow::Continue(()),
    }
}

impl Name {
    fn pause(&mut self, answer: &Result<Answer, ResolveError>) -> Duration {
        match answer {
            Ok(answer) => {
                self.failures = 0;
                answer.valid_for.clamp(SHORTEST, LONGEST)
            }
            Err(_) => {
                let factor = 1u32.checked_shl(self.failures).unwrap_or(u32::MAX);
                self.failures = self.failures.saturating_add(1);
                BACKOFF.0.saturating_mul(factor).min(BACKOFF.1)
            }
        }
    }
}

fn not_empty(answer: Answer, name: &str) -> Result<Answer, ResolveError> {
    if answer.addresses.is_empty() {
        return Err(ResolveError::NotFound { name: name.to_owned() });
    }
    Ok(answer)
}

/// Name servers turn the order of addresses with every answer: only another set is a change.
fn remember(known: &mut BTreeMap<Arc<str>, Vec<IpAddr>>, name: &Arc<str>, mut addresses: Vec<IpAddr>) -> bool {
    addresses.sort_unstable();
    addresses.dedup();
    if known.get(name) == Some(&addresses) {
        return false;
    }
    known.insert(Arc::clone(name), addresses);
    true
}
