use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;
use std::{iter, mem};

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
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
    failures: u32,
    is_heard: bool,
}

/// Resolves `names` again and again, and reports every change, and failures as long as nothing is known, until `report` breaks.
///
/// A name is asked again when its answer expires, whatever becomes of the others. An empty or failed answer changes
/// nothing: the last good one stays (RFC 8767).
///
/// # Cancel safety
///
/// Dropping the future gives up questions that are under way.
pub(crate) async fn follow(
    resolver: Arc<dyn Resolve>,
    names: Vec<Arc<str>>,
    mut report: impl FnMut(Update<'_>) -> ControlFlow<()> + Send,
) {
    let start = Instant::now();
    let mut state = State {
        unheard: names.len(),
        ..State::default()
    };
    let first = names.into_iter().map(|name| ask(&*resolver, Name::new(name), start));
    let mut asked: FuturesUnordered<_> = first.collect();
    while let Some(answered) = asked.next().await {
        // What has come at once is one change.
        let more = iter::from_fn(|| asked.next().now_or_never().flatten());
        let answers: Vec<_> = iter::once(answered).chain(more).collect();
        for (mut name, answer) in answers {
            let due = state.take(&mut name, answer);
            asked.push(ask(&*resolver, name, due));
        }
        if state.tell(&mut report).is_break() {
            return;
        }
    }
}

/// Asks for a name when it is due.
async fn ask(resolver: &dyn Resolve, name: Name, due: Instant) -> (Name, Result<Answer, ResolveError>) {
    tokio::time::sleep_until(due).await;
    let answer = resolver.resolve(&name.name).await;
    let answer = answer.and_then(|answer| not_empty(answer, &name.name));
    (name, answer)
}

/// What the answers so far say.
#[derive(Default)]
struct State {
    known: BTreeMap<Arc<str>, Vec<IpAddr>>,
    /// How many names have never been answered, well or badly.
    unheard: usize,
    has_changed: bool,
    failure: Option<ResolveError>,
}

impl State {
    /// Takes an answer, and says when the name is to be asked for again.
    fn take(&mut self, name: &mut Name, answer: Result<Answer, ResolveError>) -> Instant {
        if !mem::replace(&mut name.is_heard, true) {
            self.unheard = self.unheard.saturating_sub(1);
        }
        let due = Instant::now() + name.pause(&answer);
        match answer {
            Ok(answer) => self.has_changed |= remember(&mut self.known, &name.name, answer.addresses),
            Err(error) => self.failure = Some(error),
        }
        due
    }

    fn tell(&mut self, report: &mut impl FnMut(Update<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        let has_changed = mem::take(&mut self.has_changed);
        match self.failure.take() {
            _ if has_changed => report(Update::Addresses(&self.known)),
            // A name that is still to answer may be a good one: who waits for it is not to fail for the others.
            Some(error) if self.known.is_empty() && self.unheard == 0 => report(Update::Failed(&error)),
            Some(error) => {
                tracing::warn!(%error, "what is known so far stays in use");
                ControlFlow::Continue(())
            }
            None => ControlFlow::Continue(()),
        }
    }
}

impl Name {
    fn new(name: Arc<str>) -> Self {
        Self {
            name,
            failures: 0,
            is_heard: false,
        }
    }

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
