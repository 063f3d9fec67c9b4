//! All that a session measured, for those who want to reckon themselves.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::options::Options;
use crate::outcome::Outcome;
use crate::session::{Control, Row, Session};

/// Every round of every row, and under which circumstances.
pub(crate) fn of(session: &Session, turns: &[Row], versions: &[String], options: &Options) -> Value {
    json!({
        "versions": versions,
        "seed": options.seed,
        "workers": options.workers,
        "is_quick": options.is_quick,
        "is_quiet": session.controls.is_quiet(),
        "control": { "first": control(session.controls.before), "last": control(session.controls.after) },
        "rows": session.rows.iter().map(row).collect::<Vec<_>>(),
        "turns": turns.iter().map(row).collect::<Vec<_>>(),
    })
}

fn control(control: Control) -> Value {
    json!({ "rps": control.rps, "cpu_s_per_100k": control.cpu_s_per_100k })
}

fn row(row: &Row) -> Value {
    let rounds: BTreeMap<usize, &Outcome> = row.rounds.iter().map(|(round, outcome)| (round + 1, outcome)).collect();
    json!({ "name": row.cell.name(), "rounds": rounds, "each_start": row.each_start, "failures": row.failures })
}
