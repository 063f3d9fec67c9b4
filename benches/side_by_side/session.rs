//! Rounds of all rows, in an order of their own each, between two runs of the control.

use std::collections::BTreeMap;

use mesh_core::random::{Rng, SplitMix64};

use crate::matrix::Cell;
use crate::options::{Options, Plan};
use crate::outcome::Outcome;
use crate::stage::Stage;
use crate::statistics::{Spread, shuffle};

/// How often the control runs at either end: its median is compared.
const CONTROLS: usize = 3;
/// How far the two ends may differ on a quiet machine.
const QUIET: f64 = 0.05;

/// A row with its rounds.
pub(crate) struct Row {
    pub(crate) cell: Cell,
    /// By the number of the round.
    pub(crate) rounds: BTreeMap<usize, Outcome>,
    /// So many rounds, one after the other, are of the same processes.
    pub(crate) each_start: usize,
    /// What went wrong in others.
    pub(crate) failures: Vec<String>,
}

/// The control before and after all rounds.
pub(crate) struct Controls {
    pub(crate) before: Control,
    pub(crate) after: Control,
}

/// Medians of a few runs.
#[derive(Clone, Copy)]
pub(crate) struct Control {
    pub(crate) rps: f64,
    pub(crate) cpu_s_per_100k: f64,
}

impl Controls {
    /// How much the second end differs from the first: throughput and CPU, as shares.
    pub(crate) fn drift(&self) -> [f64; 2] {
        let (before, after) = (self.before, self.after);
        [
            after.rps / before.rps - 1.0,
            after.cpu_s_per_100k / before.cpu_s_per_100k - 1.0,
        ]
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.drift().iter().all(|drift| drift.abs() <= QUIET)
    }
}

/// What a session found.
pub(crate) struct Session {
    pub(crate) rows: Vec<Row>,
    pub(crate) controls: Controls,
}

impl Session {
    pub(crate) fn run(stage: &Stage, options: &Options) -> Result<Self, String> {
        let has_program = |cell: &Cell| {
            cell.configuration
                .product()
                .is_none_or(|product| stage.peers.has(product))
        };
        let cells = Cell::chosen(&options.only).into_iter().filter(has_program);
        let mut rows: Vec<Row> = cells.map(|cell| Row::new(cell, 1)).collect();
        if rows.is_empty() {
            return Err("no row has such a name; `--list` tells which there are".to_owned());
        }
        let before = control(stage, options.plan)?;
        let mut rng = SplitMix64::new(options.seed);
        for round in 0..options.plan.rounds {
            let mut due: Vec<&mut Row> = rows.iter_mut().filter(|row| is_due(row.cell, round)).collect();
            order(&mut due, |row| row.cell.traffic, &mut rng);
            eprintln!("round {} of {}: {} rows", round + 1, options.plan.rounds, due.len());
            for row in due {
                row.measure(stage, options.plan, round);
            }
        }
        let after = control(stage, options.plan)?;
        let controls = Controls { before, after };
        Ok(Self { rows, controls })
    }
}

/// Shuffles what belongs together, and these groups: what is compared runs in random order, but within a short time.
pub(crate) fn order<T, K: PartialEq>(items: &mut [T], group: impl Fn(&T) -> K, rng: &mut impl Rng) {
    shuffle(items, rng);
    // The order in which groups occur in a shuffled list is as random as the list.
    let groups: Vec<K> = items.iter().map(&group).collect();
    items.sort_by_key(|item| groups.iter().position(|other| *other == group(item)));
}

/// Rows without a bar are in every second round, the first among them.
pub(crate) const fn is_due(cell: Cell, round: usize) -> bool {
    cell.is_headline() || round.is_multiple_of(2)
}

impl Row {
    pub(crate) const fn new(cell: Cell, each_start: usize) -> Self {
        Self {
            cell,
            rounds: BTreeMap::new(),
            each_start,
            failures: Vec::new(),
        }
    }

    /// Notes why it has no figures of a turn.
    pub(crate) fn fail(&mut self, turn: usize, why: &str) {
        let failure = format!("{}, turn {}: {why}", self.cell.name(), turn + 1);
        self.failures.push(failure);
    }

    fn measure(&mut self, stage: &Stage, plan: Plan, round: usize) {
        match stage.run(self.cell, plan) {
            Ok(outcome) => drop(self.rounds.insert(round, outcome)),
            Err(why) => {
                let failure = format!("{}, round {}: {why}", self.cell.name(), round + 1);
                eprintln!("FAILED {failure}");
                self.failures.push(failure);
            }
        }
    }
}

fn control(stage: &Stage, plan: Plan) -> Result<Control, String> {
    let runs: Vec<Outcome> = (0..CONTROLS).map(|_| stage.control(plan)).collect::<Result<_, _>>()?;
    let of = |figure: fn(&Outcome) -> f64| Spread::of(&runs.iter().map(figure).collect::<Vec<_>>());
    let medians = |rps: Spread, cpu: Spread| Control {
        rps: rps.median,
        cpu_s_per_100k: cpu.median,
    };
    let rps = of(|outcome| outcome.saturation.rps);
    let cpu = of(|outcome| outcome.saturation.cpu_s_per_100k);
    rps.zip(cpu)
        .map(|(rps, cpu)| medians(rps, cpu))
        .ok_or_else(|| "no control".to_owned())
}
