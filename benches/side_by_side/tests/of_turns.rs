use crate::matrix::{Cell, Configuration};
use crate::outcome::{Burst, Failures};
use crate::turns::{saturation, takes_turns};

#[test]
fn those_with_a_bar_take_turns_and_proxies_do_not() {
    let turned: Vec<Cell> = Cell::all().into_iter().filter(takes_turns).collect();
    let configurations: Vec<Configuration> = turned.iter().map(|cell| cell.configuration).collect();
    use Configuration::{BarePool, BarePoolMtls, MeshMtls, MeshPlain, Tower, TowerMtls};
    assert_eq!(
        configurations,
        [BarePool, BarePoolMtls, MeshPlain, MeshMtls, Tower, TowerMtls]
    );
    assert!(turned.iter().all(|cell| cell.is_headline()));
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
