//! Rows in figures: medians over rounds, and ratios within rounds.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::matrix::Cell;
use crate::outcome::{Fixed, Outcome};
use crate::session::Row;
use crate::statistics::{Spread, median};

/// A row of the file that `--json` names.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) configuration: &'static str,
    pub(crate) protocol: &'static str,
    pub(crate) body: &'static str,
    pub(crate) rps: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) cpu_s_per_100k: f64,
    pub(crate) peak_rss_mib: f64,
    pub(crate) rounds: usize,
}

/// How a row compares with the bare pairs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ratios {
    /// Saturated, to the bare pair with as much encryption.
    pub(crate) throughput: Spread,
    pub(crate) cpu: Spread,
    /// Microseconds over the bare pair in plain text, at the fixed rate.
    pub(crate) p50_added: Spread,
}

/// All that is told of a row.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) cell: Cell,
    pub(crate) figures: Figures,
    pub(crate) cpu_at_rate: f64,
    pub(crate) proxies_rss_mib: f64,
    /// Requests a second that went through at the fixed rate.
    pub(crate) rate: f64,
    /// `None` where the bare pairs were not measured in any round with it.
    pub(crate) ratios: Option<Ratios>,
}

impl Summary {
    /// Of every row with a round that counts.
    pub(crate) fn all(rows: &[Row]) -> Vec<Self> {
        rows.iter().filter_map(|row| Self::of(row, rows)).collect()
    }

    fn of(row: &Row, rows: &[Row]) -> Option<Self> {
        let typical = |figure: &dyn Fn(&Outcome) -> f64| {
            let values: Vec<f64> = row.rounds.values().map(figure).collect();
            median(&values)
        };
        let fixed = |figure: fn(&Fixed) -> f64| typical(&|outcome| outcome.fixed.as_ref().map_or(f64::NAN, figure));
        Some(Self {
            cell: row.cell,
            figures: Figures {
                configuration: row.cell.configuration.name(),
                protocol: row.cell.traffic.protocol(),
                body: row.cell.traffic.body(),
                rps: typical(&|outcome| outcome.saturation.rps)?,
                p50_us: fixed(|fixed| fixed.p50_us)?,
                p99_us: fixed(|fixed| fixed.p99_us)?,
                p999_us: fixed(|fixed| fixed.p999_us)?,
                cpu_s_per_100k: typical(&|outcome| outcome.saturation.cpu_s_per_100k)?,
                peak_rss_mib: typical(&|outcome| outcome.peak_rss_mib)?,
                rounds: row.rounds.len(),
            },
            cpu_at_rate: fixed(|fixed| fixed.cpu_s_per_100k)?,
            proxies_rss_mib: typical(&|outcome| outcome.proxies_rss_mib)?,
            rate: fixed(|fixed| fixed.rps)?,
            ratios: Ratios::of(row, rows),
        })
    }

    /// Whether it sent less than the fixed rate: its latencies are those of a queue that grows.
    pub(crate) fn is_overloaded(&self) -> bool {
        self.rate < f64::from(self.cell.traffic.rate()) * 0.95
    }
}

impl Ratios {
    fn of(row: &Row, rows: &[Row]) -> Option<Self> {
        let [baseline, plain] = row
            .cell
            .baselines()
            .map(|cell| rows.iter().find(|row| row.cell == cell));
        let (baseline, plain) = (baseline?, plain?);
        Some(Self {
            throughput: paired(row, baseline, |own, bare| {
                Some(own.saturation.rps / bare.saturation.rps)
            })?,
            cpu: paired(row, baseline, |own, bare| {
                Some(own.saturation.cpu_s_per_100k / bare.saturation.cpu_s_per_100k)
            })?,
            p50_added: paired(row, plain, |own, bare| {
                Some(own.fixed.as_ref()?.p50_us - bare.fixed.as_ref()?.p50_us)
            })?,
        })
    }
}

/// The spread of a comparison, over the rounds that both have. Those of the same processes are one value, their median: they are alike in
/// more than the rows are.
fn paired(row: &Row, bare: &Row, compare: fn(&Outcome, &Outcome) -> Option<f64>) -> Option<Spread> {
    let mut starts: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for (round, own) in &row.rounds {
        if let Some(value) = bare.rounds.get(round).and_then(|bare| compare(own, bare)) {
            starts.entry(round / row.each_start).or_default().push(value);
        }
    }
    let values: Vec<f64> = starts.values().filter_map(|values| median(values)).collect();
    Spread::of(&values)
}
