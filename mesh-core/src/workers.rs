//! Who does work that can be divided: threads are an argument, as time and randomness are.
//!
//! ```
//! use mesh_core::workers::Workers;
//!
//! /// The thread that asks, and another one.
//! struct Two;
//!
//! impl Workers for Two {
//!     fn run(&self, work: &(dyn Fn() + Sync)) {
//!         std::thread::scope(|scope| {
//!             scope.spawn(work);
//!             work();
//!         });
//!     }
//! }
//! # Two.run(&|| {});
//! ```

use std::sync::{Mutex, PoisonError};

/// Threads that may help with a load.
pub trait Workers: Sync {
    /// Runs `work` on this thread, and at the same time on as many others as it likes. Returns once all of them have ended.
    ///
    /// What is to do is handed out within `work`, so that the number of threads changes how long it takes and nothing else. A panic
    /// of `work` goes on here.
    fn run(&self, work: &(dyn Fn() + Sync));
}

/// The thread that asks, and no other: the default everywhere.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "it is a name for nothing else")]
pub struct Alone;

impl Workers for Alone {
    fn run(&self, work: &(dyn Fn() + Sync)) {
        work();
    }
}

/// Does something with each item, in no order: what is done with one may not depend on another.
pub(crate) fn for_each<T: Send>(workers: &dyn Workers, items: &mut [T], work: impl Fn(&mut T) + Sync) {
    if items.len() < 2 {
        return items.iter_mut().for_each(work);
    }
    let mut items: Vec<(&mut T, bool)> = items.iter_mut().map(|item| (item, false)).collect();
    let rest = Mutex::new(items.iter_mut());
    let next = || rest.lock().unwrap_or_else(PoisonError::into_inner).next();
    workers.run(&|| {
        while let Some((item, is_done)) = next() {
            work(item);
            *is_done = true;
        }
    });
    // Nothing is left out, whoever the workers are: what they have not ended is done here, where a panic goes on.
    for (item, _) in items.into_iter().filter(|(_, is_done)| !is_done) {
        work(item);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// Another thread alone, whose panics nobody hears of.
    struct Unheard;

    impl Workers for Unheard {
        fn run(&self, work: &(dyn Fn() + Sync)) {
            std::thread::scope(|scope| drop(scope.spawn(work).join()));
        }
    }

    #[test]
    fn what_a_worker_has_not_ended_is_done_all_the_same() {
        let (is_first, mut items) = (AtomicBool::new(true), [0; 10]);
        for_each(&Unheard, &mut items, |item| {
            assert!(!is_first.swap(false, Ordering::Relaxed), "the first one goes wrong");
            *item += 1;
        });
        assert_eq!(items, [1; 10]);
    }

    #[test]
    #[should_panic = "all of them go wrong"]
    fn a_panic_that_nobody_has_heard_of_is_heard() {
        for_each(&Unheard, &mut [0; 10], |_| panic!("all of them go wrong"));
    }
}
