use mesh_core::random::SplitMix64;

use crate::matrix::{Cell, Configuration, Traffic};
use crate::session::{Control, Controls, is_due, order};

#[test]
fn rows_without_a_bar_are_in_every_second_round() {
    let cell = |traffic| Cell {
        configuration: Configuration::MeshMtls,
        traffic,
    };
    let rounds = |traffic| (0..7).filter(|&round| is_due(cell(traffic), round)).count();
    assert_eq!((rounds(Traffic::Http1Small), rounds(Traffic::GrpcUnary)), (7, 4));
}

#[test]
fn what_is_compared_runs_in_a_row_and_in_random_order() {
    let mut rng = SplitMix64::new(5);
    let ordered = |rng: &mut SplitMix64| {
        let mut items: Vec<u32> = (0..30).collect();
        order(&mut items, |item| item / 10, rng);
        items
    };
    let (one, other) = (ordered(&mut rng), ordered(&mut rng));
    assert_ne!(one, other);
    for order in [one, other] {
        assert!(
            order
                .chunks(10)
                .all(|group| group.iter().all(|item| item / 10 == group[0] / 10))
        );
    }
}

#[test]
fn a_machine_is_quiet_where_the_control_repeats() {
    let control = |rps, cpu_s_per_100k| Control { rps, cpu_s_per_100k };
    let controls = |after| Controls {
        before: control(100.0, 2.0),
        after,
    };
    assert!(controls(control(96.0, 2.08)).is_quiet());
    assert!(!controls(control(94.0, 2.0)).is_quiet());
    assert!(!controls(control(100.0, 2.2)).is_quiet());
}
