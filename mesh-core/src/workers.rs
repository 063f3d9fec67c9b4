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
    let rest = Mutex::new(items.iter_mut());
    let next = || rest.lock().unwrap_or_else(PoisonError::into_inner).next();
    let run = || {
        while let Some(item) = next() {
            work(item);
        }
    };
    workers.run(&run);
    // Nothing is left out, whoever the workers are.
    run();
}
