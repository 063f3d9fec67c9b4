//! How many retries there are beside the first tries.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::time::Duration;

use crate::policy::model::traffic::RetryBudget;
use crate::time::Timestamp;

/// A bucket of tokens that lapse after `ttl` (Finagle's `RetryBudget`, which Linkerd and tower have as well).
///
/// A first try deposits `percent` hundredths of a retry; a retry withdraws a whole one. What was deposited or withdrawn
/// more than `ttl` ago is forgotten. Beside that, `min_per_second · ttl` retries are always there within each `ttl`.
/// So in the long run there are at most `percent` % more requests, and `min_per_second` retries a second.
///
/// Lock-free: ten slots of a tenth of `ttl` each. Withdrawing takes first and counts then, so that threads that race for
/// the last token may all miss it, but never share it.
///
/// ```
/// use mesh_core::decide::retry::Budget;
/// use mesh_core::policy::model::traffic::RetryBudget;
/// use mesh_core::time::Timestamp;
///
/// let budget = Budget::new(RetryBudget::new(50, 0, std::time::Duration::from_secs(10)));
/// budget.deposit(Timestamp::ZERO);
/// assert!(!budget.withdraw(Timestamp::ZERO));
/// budget.deposit(Timestamp::ZERO);
/// assert!(budget.withdraw(Timestamp::ZERO));
/// ```
#[derive(Debug)]
pub struct Budget {
    slots: [AtomicU64; SLOTS],
    /// The width of a slot in nanoseconds.
    width: AtomicU64,
    /// Hundredths of a retry that a first try deposits.
    deposit: AtomicU64,
    /// Hundredths of a retry that are always there.
    reserve: AtomicU64,
}

const SLOTS: usize = 10;

/// A retry, in the unit of the slots.
const RETRY: i32 = 100;

/// The hundredths of a slot, and the period of time that they were counted in.
#[derive(Clone, Copy, Debug)]
struct Slot {
    period: u32,
    balance: i32,
}

impl Slot {
    const fn unpack(bits: u64) -> Self {
        let [p0, p1, p2, p3, b0, b1, b2, b3] = bits.to_be_bytes();
        Self {
            period: u32::from_be_bytes([p0, p1, p2, p3]),
            balance: i32::from_be_bytes([b0, b1, b2, b3]),
        }
    }

    const fn pack(self) -> u64 {
        let [p0, p1, p2, p3] = self.period.to_be_bytes();
        let [b0, b1, b2, b3] = self.balance.to_be_bytes();
        u64::from_be_bytes([p0, p1, p2, p3, b0, b1, b2, b3])
    }

    /// Whether what it holds still counts in `period`. Periods wrap around; one of a clock slightly ahead counts.
    const fn counts_in(self, period: u32) -> bool {
        period.wrapping_sub(self.period).cast_signed().unsigned_abs() < SLOTS as u32
    }

    const fn plus(self, amount: i32) -> Self {
        Self {
            period: self.period,
            balance: self.balance.saturating_add(amount),
        }
    }
}

impl Budget {
    /// A budget in which the reserve is all there is.
    #[must_use]
    pub fn new(settings: RetryBudget) -> Self {
        let budget = Self {
            slots: std::array::from_fn(|_| AtomicU64::new(0)),
            width: AtomicU64::new(width_of(settings.ttl)),
            deposit: AtomicU64::new(0),
            reserve: AtomicU64::new(0),
        };
        budget.apply(settings);
        budget
    }

    /// Puts new settings in force. What is in the bucket stays, but for deposits made at this very moment.
    pub fn configure(&self, settings: RetryBudget) {
        let (old, new) = (self.width.load(Relaxed), width_of(settings.ttl));
        if old != new {
            self.move_to_width(old, new);
        }
        self.apply(settings);
    }

    fn apply(&self, settings: RetryBudget) {
        let reserve = settings.ttl.as_nanos() * u128::from(settings.min_per_second) * RETRY as u128 / 1_000_000_000;
        self.deposit.store(u64::from(settings.percent), Relaxed);
        self.reserve.store(u64::try_from(reserve).unwrap_or(u64::MAX), Relaxed);
    }

    /// Counts a first try.
    pub fn deposit(&self, now: Timestamp) {
        let amount = i32::try_from(self.deposit.load(Relaxed)).unwrap_or(i32::MAX);
        self.add(amount, self.period(now));
    }

    /// Takes a retry out of the bucket; returns whether there was one.
    #[must_use]
    pub fn withdraw(&self, now: Timestamp) -> bool {
        let period = self.period(now);
        self.add(-RETRY, period);
        if self.balance_in(period) >= 0 {
            return true;
        }
        self.add(RETRY, period);
        false
    }

    /// How many retries are in the bucket.
    #[must_use]
    pub fn balance(&self, now: Timestamp) -> u64 {
        u64::try_from(self.balance_in(self.period(now)) / i64::from(RETRY)).unwrap_or(0)
    }

    fn period(&self, now: Timestamp) -> u32 {
        // The low 32 bits are enough: only differences count.
        (now.as_nanos() / self.width.load(Relaxed)) as u32
    }

    /// Adds to the slot of `period`, which is emptied first if it holds another one.
    fn add(&self, amount: i32, period: u32) {
        let Some(slot) = self.slots.get(period as usize % SLOTS) else {
            return;
        };
        let added = |bits| {
            let slot = Slot::unpack(bits);
            let slot = if slot.period == period {
                slot
            } else {
                Slot { period, balance: 0 }
            };
            Some(slot.plus(amount).pack())
        };
        // The closure never declines, so there is no error to handle.
        let _ = slot.fetch_update(SeqCst, SeqCst, added);
    }

    /// The hundredths in all slots that count in `period`, and the reserve.
    fn balance_in(&self, period: u32) -> i64 {
        let reserve = i64::try_from(self.reserve.load(Relaxed)).unwrap_or(i64::MAX);
        let counting = self.read().filter(|slot| slot.counts_in(period));
        counting.fold(reserve, |sum, slot| sum.saturating_add(i64::from(slot.balance)))
    }

    fn read(&self) -> impl Iterator<Item = Slot> {
        self.slots.iter().map(|slot| Slot::unpack(slot.load(SeqCst)))
    }

    /// Puts what is in the bucket into one slot of the new width, at the time of the last change.
    fn move_to_width(&self, old: u64, new: u64) {
        let latest = self.read().map(|slot| slot.period).max().unwrap_or(0);
        let counting = self.read().filter(|slot| slot.counts_in(latest));
        let balance = counting.fold(0i32, |sum, slot| sum.saturating_add(slot.balance));
        for slot in &self.slots {
            slot.store(0, SeqCst);
        }
        self.width.store(new, Relaxed);
        let time = Timestamp::from_nanos(u64::from(latest).saturating_mul(old));
        self.add(balance, self.period(time));
    }
}

fn width_of(ttl: Duration) -> u64 {
    let narrowest = Duration::from_millis(1);
    let width = (ttl / SLOTS as u32).max(narrowest);
    u64::try_from(width.as_nanos()).unwrap_or(u64::MAX)
}
