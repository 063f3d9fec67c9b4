use std::collections::BTreeMap;

use crate::matrix::Cell;
use crate::matrix::{Configuration, Traffic};
use crate::outcome::{Failures, Saturation};
use crate::outcome::{Fixed, Outcome};
use crate::session::Row;
use crate::summary::Summary;

fn outcome(rps: f64, p50_us: f64) -> Outcome {
    Outcome {
        saturation: Saturation {
            rps,
            cpu_s_per_100k: 200_000.0 / rps,
            failures: Failures::default(),
        },
        fixed: Some(Fixed {
            rps: 2_000.0,
            cpu_s_per_100k: 4.0,
            p50_us,
            p99_us: 3.0 * p50_us,
            p999_us: 9.0 * p50_us,
            failures: Failures::default(),
        }),
        peak_rss_mib: 20.0,
        proxies_rss_mib: 0.0,
    }
}

pub(crate) fn row(configuration: Configuration, rounds: &[(usize, f64, f64)]) -> Row {
    let rounds = rounds.iter().map(|&(round, rps, p50)| (round, outcome(rps, p50)));
    Row {
        cell: Cell {
            configuration,
            traffic: Traffic::Http1Small,
        },
        rounds: rounds.collect::<BTreeMap<_, _>>(),
        each_start: 1,
        failures: Vec::new(),
    }
}

#[test]
fn ratios_are_those_of_rounds_that_both_have() {
    let rows = [
        row(Configuration::BarePool, &[(0, 1_000.0, 20.0), (1, 100.0, 40.0)]),
        row(
            Configuration::MeshPlain,
            &[(0, 900.0, 25.0), (1, 90.0, 45.0), (2, 5.0, 1.0)],
        ),
    ];
    let mesh = Summary::all(&rows).pop().unwrap();
    let ratios = mesh.ratios.unwrap();
    assert_eq!((ratios.throughput.min, ratios.throughput.max), (0.9, 0.9));
    assert_eq!((ratios.p50_added.median, mesh.figures.rps), (5.0, 90.0));
    assert_eq!(mesh.figures.rounds, 3);
}

#[test]
fn rounds_of_one_start_are_one_value() {
    let of = |configuration, rps: [f64; 4]| {
        let rounds: Vec<_> = (0..4).map(|round| (round, rps[round], 20.0)).collect();
        Row {
            each_start: 2,
            ..row(configuration, &rounds)
        }
    };
    let rows = [
        of(Configuration::BarePool, [128.0; 4]),
        of(Configuration::MeshPlain, [64.0, 96.0, 32.0, 48.0]),
    ];
    let throughput = Summary::all(&rows).pop().unwrap().ratios.unwrap().throughput;
    assert_eq!((throughput.count, throughput.interval), (2, (0.3125, 0.625)));
}

#[test]
fn a_row_without_rounds_is_none_and_one_without_a_bare_pair_has_no_ratios() {
    let rows = [
        row(Configuration::BarePool, &[]),
        row(Configuration::MeshMtls, &[(0, 1_000.0, 20.0)]),
    ];
    let all = Summary::all(&rows);
    assert_eq!(all.len(), 1);
    assert!(all.first().is_some_and(|mesh| mesh.ratios.is_none()));
}

#[test]
fn a_row_in_json_has_the_fields_that_are_promised_and_no_other() {
    let rows = [row(Configuration::BarePool, &[(0, 1_000.0, 20.0)])];
    let figures = Summary::all(&rows).pop().unwrap().figures;
    let expected = serde_json::json!({
        "configuration": "bare_pool", "protocol": "h1", "body": "1KiB",
        "rps": 1_000.0, "p50_us": 20.0, "p99_us": 60.0, "p999_us": 180.0,
        "cpu_s_per_100k": 200.0, "peak_rss_mib": 20.0, "rounds": 1,
    });
    assert_eq!(serde_json::to_value(figures).unwrap(), expected);
}
