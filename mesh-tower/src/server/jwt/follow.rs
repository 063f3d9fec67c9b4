//! Getting the keys of a source again and again.

use std::sync::Arc;
use std::time::Duration;

use mesh_core::decide::jwt::{KeyPlace, KeySource};
use mesh_core::random::{Rng, below};

use super::Mesh;
use super::fetch::fetch;
use super::state::SourceState;
use crate::mesh::Shared;

/// The first pause after an attempt that failed; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Keeps the keys of a source fresh until its task is aborted or the mesh is gone.
pub(super) async fn follow(mesh: Mesh, source: Arc<KeySource>, state: Arc<SourceState>) {
    let mut failures = 0;
    loop {
        let Some(shared) = mesh.upgrade() else { return };
        failures = match attempt(&shared, &source, &state, failures == 0).await {
            true => 0,
            false => failures + 1,
        };
        let pause = pause(&source, failures, shared.settings.poll, &mut &shared.entropy);
        drop(shared);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = state.wanted() => {}
        }
    }
}

/// Tells whether there are keys now. Of attempts that fail in a row, the first is told.
async fn attempt(shared: &Arc<Shared>, source: &KeySource, state: &SourceState, is_first: bool) -> bool {
    state.begins();
    let fetched = fetch(shared, source).await;
    shared.metrics.tokens().fetched(fetched.is_ok());
    let result = fetched.map(Arc::new).map_err(|error| error.to_string());
    let is_ok = result.is_ok();
    if let Err(problem) = &result
        && is_first
    {
        let (from, stale) = (source.from.text(), source.stale);
        tracing::warn!(
            from,
            problem,
            ?stale,
            "keys of tokens could not be got; the last ones stay for their time"
        );
    }
    state.ended(result, shared.clock.now());
    is_ok
}

/// Until the next attempt. Processes that started together drift apart: up to a fifth of the time is left out.
fn pause(source: &KeySource, failures: u32, poll: Duration, rng: &mut impl Rng) -> Duration {
    let full = match (&source.from, failures) {
        (KeyPlace::File(_), _) => poll.min(source.refresh),
        (_, 0) => source.refresh,
        (_, failures) => {
            let doubled = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(6));
            doubled.min(LONGEST_PAUSE).min(source.refresh)
        }
    };
    let fifth = u32::try_from(below(1_000, rng)).unwrap_or_default();
    full.saturating_sub((full / 5).saturating_mul(fifth) / 1_000)
}
