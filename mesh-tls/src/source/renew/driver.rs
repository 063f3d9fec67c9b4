//! Asks the issuer, and keeps what it says.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_core::identity::SpiffeId;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Issuer, Material, Progress, Renewer, Shared, State, Urgency, schedule};
use crate::source::{Failure, FailureReason};
use crate::svid::OwnIdentityError;

/// The wall clock is looked at this often.
const LOOK: Duration = Duration::from_secs(60);
/// An issuer that takes longer has failed.
const ANSWER: Duration = Duration::from_secs(30);

impl<I: Issuer> Renewer<I> {
    /// Asks the issuer whenever something is due; for ever.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends what is being asked for; a later `run` goes on with the rest. One at a time.
    pub async fn run(self) {
        let mut asked = JoinSet::new();
        loop {
            while asked.len() < self.shared.at_a_time
                && let Some(turn) = self.shared.pop()
            {
                asked.spawn(Arc::clone(&self.shared).ask(turn));
            }
            // Where all places are taken, the end of one is what to wait for.
            let next = self.shared.next().filter(|_| asked.len() < self.shared.at_a_time);
            tokio::select! {
                Some(_) = asked.join_next() => {}
                () = self.shared.wake.notified() => {}
                () = sleep_until(next) => {}
            }
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.min(Instant::now() + LOOK)).await,
        None => std::future::pending().await,
    }
}

/// An identity that is being asked for. Dropped unanswered, by a panic of the issuer say, it has failed.
struct Turn<I> {
    shared: Arc<Shared<I>>,
    id: SpiffeId,
    number: u64,
    is_answered: bool,
}

impl<I> Turn<I> {
    fn answer(mut self, answer: Result<Material, Failure>) {
        self.is_answered = true;
        self.shared.settle(&self.id, self.number, answer);
    }
}

impl<I> Drop for Turn<I> {
    fn drop(&mut self) {
        if !self.is_answered {
            let failure = Failure::new(FailureReason::Unavailable, "the issuer was interrupted");
            self.shared.settle(&self.id, self.number, Err(failure));
        }
    }
}

impl<I: Issuer> Shared<I> {
    async fn ask(self: Arc<Self>, turn: Turn<I>) {
        let answer = match tokio::time::timeout(ANSWER, self.issuer.issue(&turn.id)).await {
            Ok(Ok(material)) => self.accept(&turn.id, material),
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(Failure::new(
                FailureReason::Unavailable,
                format!("the issuer did not answer within {} s", ANSWER.as_secs()),
            )),
        };
        turn.answer(answer);
    }

    fn pop(self: &Arc<Self>) -> Option<Turn<I>> {
        let mut state = self.lock();
        let id = state.queue.pop(Instant::now(), self.clock.now())?;
        let number = state.entries.get(&id)?.number;
        Some(Turn {
            shared: Arc::clone(self),
            id,
            number,
            is_answered: false,
        })
    }
}

impl<I> Shared<I> {
    fn next(&self) -> Option<Instant> {
        self.lock().queue.next()
    }

    /// An issuer is not believed unseen.
    fn accept(&self, id: &SpiffeId, material: Material) -> Result<Material, Failure> {
        if material.svid.id() != id {
            return Err(OwnIdentityError::OtherIdentity {
                found: material.svid.id().clone(),
                expected: id.clone(),
            }
            .into());
        }
        material.svid.check(&material.bundles, &self.clock)?;
        Ok(material)
    }

    fn settle(&self, id: &SpiffeId, number: u64, answer: Result<Material, Failure>) {
        let mut state = self.lock();
        let State {
            entries, queue, rng, ..
        } = &mut *state;
        let Some(entry) = entries.get(id).filter(|entry| entry.number == number) else {
            return;
        };
        let now = self.clock.now();
        let before = entry.progress.borrow().clone();
        let (wait, progress) = match answer {
            Ok(material) => {
                let wait = schedule::renewal(material.svid.lifetime(), now, &mut **rng);
                (wait, renewed(material))
            }
            Err(failure) => {
                let failures = before.failures.saturating_add(1);
                (schedule::pause(failures, &mut **rng), before.failed(failure, failures))
            }
        };
        // A pause is short, and not to be prolonged by a clock that is set back.
        let wall = progress.failure.is_none().then(|| now + wait);
        queue.push(id.clone(), Urgency::Renewal, Instant::now() + wait, wall);
        entry.progress.send_replace(progress.then(now + wait));
        self.wake.notify_one();
    }
}

fn renewed(material: Material) -> Progress {
    Progress {
        material: Some(Arc::new(material)),
        ..Progress::default()
    }
}

impl Progress {
    fn failed(self, failure: Failure, failures: u32) -> Self {
        Self {
            failure: Some(failure),
            failures,
            ..self
        }
    }

    fn then(self, next: SystemTime) -> Self {
        Self {
            next: Some(next),
            ..self
        }
    }
}
