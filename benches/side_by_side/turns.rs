//! Pairs that stay for a while, and take turns of a moment each: what is compared meets the same machine.
//!
//! A virtual machine is as fast as its neighbours let it be, and that changes from second to second: more than the pairs differ. Rounds
//! of seconds, with processes started afresh, tell it apart only where many of them are quiet. A cycle of turns is over in seconds, and
//! the cycles of a start come to one value each: there are enough starts for the median of their ratios to be known to a few hundredths.

use std::ops::Range;
use std::time::Duration;

use mesh_core::random::SplitMix64;

use crate::matrix::{Cell, Flavour};
use crate::options::Options;
use crate::outcome::{Burst, Fixed, Outcome, Saturation};
use crate::process::Process;
use crate::role::Turn;
use crate::session::Row;
use crate::stage::{Stage, checked};
use crate::statistics::shuffle;
use crate::usage::{cpu_seconds, peak_kib};

/// For how long a phase runs before it is measured, since the others have used the caches; and after that. A burst is longer than lines of
/// the access log are gathered, so that what one phase leaves to be written is what it finds to be.
const WARM_UP: Duration = Duration::from_millis(50);
const BURST: Duration = Duration::from_millis(150);
const AT_RATE: Duration = Duration::from_millis(150);
/// So often all pairs start afresh: where the pages of a process lie is chance, too, and no number of cycles evens it out.
const STARTS: usize = 16;
/// Rows without a bar take one turn of so many.
const SHARE_OF_OTHERS: usize = 4;
/// How long the threads of a process may take to go to sleep, which settles their accounts.
const SETTLE: Duration = Duration::from_millis(2);

/// Takes the turns that the options ask for, of rows with the same requests together; a cycle is a round of each. What goes wrong is
/// told with its row.
pub(crate) fn take(stage: &Stage, options: &Options) -> Vec<Row> {
    let mut rng = SplitMix64::new(options.seed);
    let rows = groups(options).into_iter().flat_map(|(cells, turns)| {
        eprintln!("{turns} turns of {} rows", cells.len());
        let each_start = turns.div_ceil(STARTS);
        let mut rows: Vec<Row> = cells.into_iter().map(|cell| Row::new(cell, each_start)).collect();
        for begin in (0..turns).step_by(each_start) {
            block(stage, &mut rows, begin..turns.min(begin + each_start), &mut rng);
        }
        rows
    });
    rows.collect()
}

/// The rows that take turns with each other, and how many: those of the bars take the most.
pub(crate) fn groups(options: &Options) -> Vec<(Vec<Cell>, usize)> {
    let chosen = Cell::chosen(&options.only);
    let cells: Vec<Cell> = chosen
        .into_iter()
        .filter(|cell| cell.configuration.product().is_none())
        .collect();
    let groups = cells.chunk_by(|one, next| one.traffic == next.traffic);
    let compares = |group: &&[Cell]| group.iter().any(|cell| cell.configuration.flavour() != Flavour::Bare);
    let turns = |group: &[Cell]| match group.iter().any(|cell| cell.is_headline()) {
        true => options.plan.turns,
        false => options.plan.turns.div_ceil(SHARE_OF_OTHERS),
    };
    let groups = groups.filter(compares).map(|group| (group.to_vec(), turns(group)));
    groups.filter(|(_, turns)| *turns > 0).collect()
}

/// The cycles of pairs that stay for them.
fn block(stage: &Stage, rows: &mut [Row], cycles: Range<usize>, rng: &mut SplitMix64) {
    let mut pairs = Vec::new();
    for (index, row) in rows.iter_mut().enumerate() {
        // The first turn is for running in.
        let opened = Pair::open(stage, row.cell, index).and_then(|mut pair| pair.measure().map(|_| pair));
        match opened {
            Ok(pair) => pairs.push(pair),
            Err(why) => row.fail(cycles.start, &why),
        }
    }
    for cycle in cycles {
        shuffle(&mut pairs, rng);
        for pair in &mut pairs {
            let Some(row) = rows.get_mut(pair.row) else { continue };
            match pair.measure() {
                Ok(outcome) => drop(row.rounds.insert(cycle, outcome)),
                Err(why) => row.fail(cycle, &why),
            }
        }
    }
}

/// A service and a client that stay.
struct Pair {
    /// Which row it is of.
    row: usize,
    // ORDER: dropped before the service that it is connected to.
    client: Process,
    server: Process,
}

impl Pair {
    fn open(stage: &Stage, cell: Cell, row: usize) -> Result<Self, String> {
        let [server, client] = stage.pair(cell)?;
        Ok(Self { row, client, server })
    }

    fn measure(&mut self) -> Result<Outcome, String> {
        let processes = [self.client.id(), self.server.id()];
        let _: Burst = self.answer(Turn::Burst(WARM_UP))?;
        let begin = settled(&processes);
        let burst: Burst = self.answer(Turn::Burst(BURST))?;
        let middle = settled(&processes);
        let mut fixed: Fixed = self.answer(Turn::AtRate {
            warm_up: WARM_UP,
            length: AT_RATE,
        })?;
        let cpu = settled(&processes) - middle;
        fixed.cpu_s_per_100k = cpu / (fixed.rps * (WARM_UP + AT_RATE).as_secs_f64()).max(1.0) * 100_000.0;
        checked(Outcome {
            saturation: saturation(burst, middle - begin),
            fixed: Some(fixed),
            peak_rss_mib: peak_kib(&processes) as f64 / 1_024.0,
            proxies_rss_mib: 0.0,
        })
    }

    fn answer<T: serde::de::DeserializeOwned>(&mut self, turn: Turn) -> Result<T, String> {
        let turn = serde_json::to_string(&turn).map_err(|error| error.to_string())?;
        self.client.tell(&turn)?;
        let line = self.client.line()?;
        serde_json::from_str(&line).map_err(|error| format!("`{line}`: {error}"))
    }
}

/// What processes used up to now, when they sleep.
fn settled(processes: &[u32]) -> f64 {
    std::thread::sleep(SETTLE);
    cpu_seconds(processes)
}

/// What a burst comes to with the CPU that both sides used for it.
pub(crate) fn saturation(burst: Burst, cpu: f64) -> Saturation {
    let requests = burst.requests as f64;
    Saturation {
        rps: requests / burst.seconds,
        cpu_s_per_100k: cpu / requests.max(1.0) * 100_000.0,
        failures: burst.failures,
    }
}
