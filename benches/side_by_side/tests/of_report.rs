use crate::matrix::Configuration;
use crate::of_summary::row;
use crate::options::Asked;
use crate::report::{BARS, text};
use crate::session::{Control, Controls, Row, Session};
use crate::statistics::Spread;
use crate::summary::Summary;

/// So fast was the bare pair before the first round.
const FIRST: Control = Control {
    rps: 1_200.0,
    cpu_s_per_100k: 3.0,
};

/// A mesh with two thirds of the bare pair's throughput, 4 µs slower than it in plain text.
fn rows() -> Vec<Row> {
    let of = |configuration, rps, p50| {
        let rounds: Vec<_> = (0..7).map(|round| (round, rps, p50)).collect();
        row(configuration, &rounds)
    };
    vec![
        of(Configuration::BarePool, 1_200.0, 20.0),
        of(Configuration::BarePoolMtls, 1_200.0, 22.0),
        of(Configuration::MeshMtls, 800.0, 24.0),
    ]
}

/// What is said of the three bars by rounds, then by turns.
fn verdicts(line: &str, last: Control) -> Vec<String> {
    let asked = Asked::from_args(line.split_whitespace().map(str::to_owned));
    let Ok(Asked::Run(options)) = asked else {
        panic!("{asked:?}")
    };
    let controls = Controls {
        before: FIRST,
        after: last,
    };
    let rows_of_rounds = rows();
    let summaries = Summary::all(&rows_of_rounds);
    let session = Session {
        rows: rows_of_rounds,
        controls,
    };
    let text = text(&session, &summaries, &rows(), &options);
    let bars = text.lines().filter_map(|line| line.split_once("moonshot "));
    bars.filter_map(|(_, bar)| Some(bar.split_once(": ")?.1.to_owned()))
        .collect()
}

#[test]
fn bars_are_judged_where_one_thread_ran_on_a_quiet_machine() {
    let judged = ["NOT met", "NOT met", "met"];
    assert_eq!(verdicts("", FIRST), [judged, judged].concat());
}

#[test]
fn a_machine_that_was_not_quiet_leaves_turns_to_be_judged() {
    let slower = Control { rps: 1_000.0, ..FIRST };
    let doubt = ["no verdict, the machine was not quiet"; 3];
    assert_eq!(verdicts("", slower), [doubt, ["NOT met", "NOT met", "met"]].concat());
}

#[test]
fn several_threads_are_not_held_against_bars_for_one() {
    let none = ["no verdict, the bars are for one thread a process"; 6];
    assert_eq!(verdicts("--workers 2", FIRST), none);
    assert_eq!(verdicts("--workers 2", Control { rps: 1_000.0, ..FIRST }), none);
}

#[test]
fn a_bar_within_the_interval_is_not_said_to_be_met() {
    let [cpu, throughput, _] = &BARS;
    let of = |count, low, high| Spread {
        count,
        median: f64::midpoint(low, high),
        min: low,
        max: high,
        interval: (low, high),
    };
    let spread = |low, high| of(7, low, high);
    assert_eq!(cpu.verdict(&spread(0.97, 1.05)), "met");
    assert_eq!(cpu.verdict(&spread(1.04, 1.06)), "within the noise");
    assert_eq!(cpu.verdict(&spread(1.06, 1.10)), "NOT met");
    assert_eq!(throughput.verdict(&spread(0.96, 1.10)), "met");
    assert_eq!(throughput.verdict(&spread(0.80, 0.94)), "NOT met");
    assert_eq!(throughput.verdict(&of(5, 0.80, 0.94)), "too few starts to say");
}
