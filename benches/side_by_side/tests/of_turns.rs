use crate::matrix::{Cell, Configuration};
use crate::options::Asked;
use crate::outcome::{Burst, Failures};
use crate::turns::{groups, saturation};

fn asked(line: &str) -> Vec<(Vec<Cell>, usize)> {
    let line = line.split_whitespace().map(str::to_owned);
    match Asked::from_args(line) {
        Ok(Asked::Run(options)) => groups(&options),
        other => panic!("{other:?}"),
    }
}

#[test]
fn those_with_a_bar_take_the_most_turns_and_proxies_none() {
    let groups = asked("--turns 10");
    use Configuration::{BarePool, BarePoolMtls, MeshMtls, MeshPlain, Tower, TowerMtls};
    let (first, others) = groups.split_first().unwrap();
    let configurations: Vec<Configuration> = first.0.iter().map(|cell| cell.configuration).collect();
    assert_eq!(
        configurations,
        [BarePool, BarePoolMtls, MeshPlain, MeshMtls, Tower, TowerMtls]
    );
    assert!(first.1 == 10 && first.0.iter().all(|cell| cell.is_headline()));
    assert!(others.len() == 5 && others.iter().all(|(_, turns)| *turns == 3));
    for (cells, _) in &groups {
        assert!(cells.iter().all(|cell| cell.configuration.product().is_none()));
        assert!(cells.iter().all(|cell| cell.traffic == cells[0].traffic));
    }
}

#[test]
fn what_compares_nothing_takes_no_turn() {
    assert!(asked("--turns 0").is_empty());
    assert!(asked("--only bare_pool --turns 10").is_empty());
    assert_eq!(asked("--only mesh_mtls/grpc/unary --turns 10").len(), 1);
}

#[test]
fn a_burst_is_reckoned_by_its_own_time_and_requests() {
    let burst = Burst {
        requests: 2_000,
        seconds: 0.05,
        failures: Failures::default(),
    };
    let saturation = saturation(burst, 0.06);
    assert!((saturation.rps - 40_000.0).abs() < 1e-6);
    assert!((saturation.cpu_s_per_100k - 3.0).abs() < 1e-9);
}
