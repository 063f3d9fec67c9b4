//! Faults: which requests are delayed or aborted.

use std::time::Duration;

use crate::policy::model::filter::{Abort, Fault, Fraction};
use crate::random::{Rng, below};

/// What a fault does to one request: a pause first, then an answer in place of the service's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FaultDraw {
    /// The pause.
    pub delay: Option<Duration>,
    /// The answer.
    pub abort: Option<Abort>,
}

/// Draws what a fault does to one request; the two parts are independent (Envoy's fault filter).
pub fn draw_fault(fault: &Fault, rng: &mut (impl Rng + ?Sized)) -> FaultDraw {
    let delay = fault.delay.filter(|(_, share)| hits(*share, rng));
    let abort = fault.abort.filter(|(_, share)| hits(*share, rng));
    FaultDraw {
        delay: delay.map(|(pause, _)| pause),
        abort: abort.map(|(answer, _)| answer),
    }
}

/// Whether a request belongs to a share. All and none need no draw.
pub fn hits(share: Fraction, rng: &mut (impl Rng + ?Sized)) -> bool {
    match share.millionths() {
        0 => false,
        all if all == Fraction::ALL.millionths() => true,
        part => below(u64::from(Fraction::ALL.millionths()), rng) < u64::from(part),
    }
}
