//! Counts cases, each in processes of its own, as many at a time as there are processors.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use mesh_benches::callgrind;
use mesh_benches::gate::Cost;
use mimalloc::MiMalloc;

use crate::Case;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Counts these cases, and tells each as soon as it is counted.
pub(crate) fn costs(cases: &[Case], tell: impl Fn(&Cost) + Sync) -> Result<Vec<Cost>, String> {
    let named: Vec<_> = cases.iter().map(|case| (&*case.name, case.iterations)).collect();
    let (next, counted) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let count = || {
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some((name, iterations)) = named.get(place) else {
                return;
            };
            let cost = cost(name, *iterations);
            if let Ok(cost) = &cost {
                tell(cost);
            }
            counted.lock().unwrap().push((place, cost));
        }
    };
    thread::scope(|scope| {
        let width = thread::available_parallelism().map_or(1, usize::from);
        (0..width).for_each(|_| drop(scope.spawn(count)));
    });
    let mut counted = counted.into_inner().unwrap();
    counted.sort_by_key(|(place, _)| *place);
    counted.into_iter().map(|(_, cost)| cost).collect()
}

fn cost(case: &str, iterations: u64) -> Result<Cost, String> {
    let counts = callgrind::count(case, iterations)?;
    Ok(Cost {
        case: case.to_owned(),
        instructions: counts.instructions,
        in_allocator: counts.in_allocator,
        allocations: counts.allocations,
    })
}
