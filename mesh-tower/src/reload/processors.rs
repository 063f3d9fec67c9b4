//! Threads for the first policy, which no request waits behind.

use std::num::NonZero;
use std::thread;

use mesh_core::workers::Workers;

/// The thread that asks, and one for each further processor of the process; four at most, since what joins the parts is one
/// thread's work.
///
/// For a policy that is read before there are requests: later they would take the processors from these.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Processors;

const MOST: usize = 4;

impl Workers for Processors {
    fn run(&self, work: &(dyn Fn() + Sync)) {
        let all = thread::available_parallelism().map_or(1, NonZero::get).min(MOST);
        thread::scope(|scope| {
            for _ in 1..all {
                // Where the system gives no thread, there is one less.
                let _ = thread::Builder::new()
                    .name("mesh-load".into())
                    .spawn_scoped(scope, work);
            }
            work();
        });
    }
}
