//! What is to be asked for, and when: no clock, no tasks.

use std::collections::BTreeMap;
use std::time::SystemTime;

use mesh_core::identity::SpiffeId;
use tokio::time::Instant;

use super::Urgency;

/// Identities to ask for. Finding the next one looks at all of them: a process has few.
#[derive(Default)]
pub(super) struct Queue {
    waiting: BTreeMap<SpiffeId, Turn>,
    /// Numbers the pushes: among equals the first one is first.
    pushed: u64,
}

struct Turn {
    urgency: Urgency,
    at: Instant,
    /// The same by the wall clock, where that one counts as well: it goes on while a machine sleeps.
    wall: Option<SystemTime>,
    number: u64,
}

impl Queue {
    pub(super) fn push(&mut self, id: SpiffeId, urgency: Urgency, at: Instant, wall: Option<SystemTime>) {
        self.pushed += 1;
        let turn = Turn {
            urgency,
            at,
            wall,
            number: self.pushed,
        };
        self.waiting.insert(id, turn);
    }

    /// Raises the urgency of one that waits; tells whether that changed anything.
    pub(super) fn hurry(&mut self, id: &SpiffeId, urgency: Urgency) -> bool {
        match self.waiting.get_mut(id) {
            Some(turn) if urgency < turn.urgency => {
                turn.urgency = urgency;
                true
            }
            _ => false,
        }
    }

    pub(super) fn remove(&mut self, id: &SpiffeId) {
        self.waiting.remove(id);
    }

    /// Takes the most urgent one whose time has come.
    pub(super) fn pop(&mut self, now: Instant, wall: SystemTime) -> Option<SpiffeId> {
        let is_ready = |turn: &Turn| turn.at <= now || turn.wall.is_some_and(|at| at <= wall);
        let ready = self.waiting.iter().filter(|(_, turn)| is_ready(turn));
        let (id, _) = ready.min_by_key(|(_, turn)| (turn.urgency, turn.at, turn.number))?;
        let id = id.clone();
        self.waiting.remove(&id);
        Some(id)
    }

    /// When the next one's time comes.
    pub(super) fn next(&self) -> Option<Instant> {
        self.waiting.values().map(|turn| turn.at).min()
    }
}
