use mesh_core::random::SplitMix64;

use crate::statistics::{Spread, per_mille, shuffle};

#[test]
fn a_spread_has_the_median_between_its_ends() {
    let spread = Spread::of(&[3.0, 1.0, 2.0]).unwrap();
    assert_eq!((spread.median, spread.min, spread.max), (2.0, 1.0, 3.0));
    assert_eq!(Spread::of(&[4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
    assert_eq!(Spread::of(&[]), None);
}

#[test]
fn an_interval_is_one_value_where_all_are_equal() {
    assert_eq!(Spread::of(&[7.0; 5]).unwrap().interval, (7.0, 7.0));
}

#[test]
fn an_interval_leaves_out_a_lone_outlier_of_many() {
    let mut values = vec![1.0; 30];
    values.push(100.0);
    let spread = Spread::of(&values).unwrap();
    assert_eq!((spread.interval, spread.max), ((1.0, 1.0), 100.0));
}

#[test]
fn an_interval_holds_the_median_as_often_as_it_says() {
    // A fair coin's sides: as many below as above. 95 % of six are all of them, of nine all but the ends.
    let interval = |count: u32| {
        Spread::of(&(0..count).map(f64::from).collect::<Vec<_>>())
            .unwrap()
            .interval
    };
    assert_eq!(
        [1, 2, 5, 6, 8].map(interval),
        [(0.0, 0.0), (0.0, 1.0), (0.0, 4.0), (0.0, 5.0), (0.0, 7.0)]
    );
    assert_eq!([9, 12, 16].map(interval), [(1.0, 7.0), (2.0, 9.0), (3.0, 12.0)]);
}

#[test]
fn an_interval_widens_with_the_values() {
    let values: Vec<f64> = (0..101).map(f64::from).collect();
    let (low, high) = Spread::of(&values).unwrap().interval;
    assert!(
        (30.0..50.0).contains(&low) && (50.0..70.0).contains(&high),
        "{low} to {high}"
    );
}

#[test]
fn percentiles_are_the_nearest_ranks() {
    let sorted: Vec<u64> = (1..=1_000).collect();
    let of = |share| per_mille(&sorted, share);
    assert_eq!((of(500), of(990), of(999), of(1_000)), (500, 990, 999, 1_000));
    assert_eq!(
        (per_mille(&[5], 500), per_mille(&[5], 1), per_mille(&[], 500)),
        (5, 5, 0)
    );
}

#[test]
fn a_shuffle_keeps_all_and_changes_the_order() {
    let mut items: Vec<u32> = (0..50).collect();
    shuffle(&mut items, &mut SplitMix64::new(1));
    let mut sorted = items.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..50).collect::<Vec<_>>());
    assert_ne!(items, sorted);
}
