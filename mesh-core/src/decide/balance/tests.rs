use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::random::{SplitMix64, below};

const IDLE: &dyn Fn(usize) -> u32 = &|_| 0;

fn fresh(row: &AlgorithmRow, weights: &[u32]) -> Box<dyn Picker> {
    row.build(weights, &Arc::default())
}

fn counts(picker: &dyn Picker, endpoints: usize, picks: usize, seed: u64) -> Vec<u32> {
    let mut rng = SplitMix64::new(seed);
    let mut counts = vec![0; endpoints];
    for _ in 0..picks {
        counts[picker.pick(IDLE, &mut rng).unwrap()] += 1;
    }
    counts
}

#[test]
fn every_name_is_unique_and_finds_its_row() {
    let mut names = BTreeSet::new();
    for row in ALGORITHMS {
        assert!(names.insert(row.name), "{}", row.name);
        assert_eq!(named(row.name).unwrap().algorithm, row.algorithm);
        for name in row.istio {
            assert!(names.insert(name), "{name}");
            assert_eq!(istio_named(name).unwrap().algorithm, row.algorithm);
        }
    }
    assert!(named("LEAST_REQUEST").is_none() && istio_named("PASSTHROUGH").is_none());
    assert_eq!(ALGORITHMS[0].algorithm, Algorithm::default());
}

#[test]
fn idle_endpoints_share_by_weight_with_every_algorithm() {
    let mut skewed = vec![1; 40];
    skewed[7] = 400;
    let cases: [&[u32]; 6] = [&[1, 1], &[1, 3], &[90, 10], &[1, 2, 3, 4], &[5, 5, 5, 1], &skewed];
    for row in ALGORITHMS {
        for weights in cases {
            let picks = 40_000;
            let sum: u32 = weights.iter().sum();
            let counts = counts(&*fresh(row, weights), weights.len(), picks, 11);
            for (weight, count) in weights.iter().zip(&counts) {
                let share = f64::from(*weight) / f64::from(sum);
                let expected = share * picks as f64;
                // Five standard deviations of a binomial draw.
                let slack = 5.0 * (expected * (1.0 - share)).sqrt() + 1.0;
                let is_fair = (f64::from(*count) - expected).abs() <= slack;
                assert!(is_fair, "{} {weights:?}: {counts:?}", row.name);
            }
        }
    }
}

#[test]
fn no_endpoints_give_nothing_and_a_single_one_takes_all() {
    for row in ALGORITHMS {
        let mut rng = SplitMix64::new(1);
        assert_eq!(fresh(row, &[]).pick(IDLE, &mut rng), None, "{}", row.name);
        for weight in [0, 1, u32::MAX] {
            let picker = fresh(row, &[weight]);
            assert!(
                (0..50).all(|_| picker.pick(&|_| 9, &mut rng) == Some(0)),
                "{}",
                row.name
            );
        }
    }
}

#[test]
fn one_seed_gives_one_sequence() {
    for row in ALGORITHMS {
        let sequence = |seed| {
            let picker = fresh(row, &[1, 2, 3, 10]);
            let mut rng = SplitMix64::new(seed);
            (0..200).map(|_| picker.pick(IDLE, &mut rng)).collect::<Vec<_>>()
        };
        assert_eq!(sequence(5), sequence(5), "{}", row.name);
        assert_ne!(sequence(5), sequence(6), "{}", row.name);
    }
}

proptest! {
    #[test]
    fn every_pick_is_one_of_the_endpoints(
        weights in prop::collection::vec(any::<u32>(), 1..30),
        active in prop::collection::vec(any::<u32>(), 30),
        seed in any::<u64>(),
    ) {
        for row in ALGORITHMS {
            let picker = fresh(row, &weights);
            let mut rng = SplitMix64::new(seed);
            for _ in 0..20 {
                let index = picker.pick(&|index| active[index], &mut rng);
                prop_assert!(index.is_some_and(|index| index < weights.len()), "{}", row.name);
            }
        }
    }

    #[test]
    fn round_robin_is_exact_over_a_cycle(weights in prop::collection::vec(1u32..30, 2..8), seed in any::<u64>()) {
        let picker = fresh(named("round_robin").unwrap(), &weights);
        let heaviest: u32 = *weights.iter().max().unwrap();
        let sum: u32 = weights.iter().sum();
        // A cycle is `heaviest` rounds in which each endpoint is taken `weight` times: any window of it, wherever it begins.
        let counts = counts(&*picker, weights.len(), (sum * heaviest) as usize, seed);

        for (weight, count) in weights.iter().zip(&counts) {
            prop_assert!(count.abs_diff(weight * heaviest) <= *weight + 1, "{:?}: {:?}", weights, counts);
        }
    }
}

#[test]
fn round_robin_takes_equal_endpoints_in_turn() {
    let picker = fresh(named("round_robin").unwrap(), &[7, 7, 7]);
    let mut rng = SplitMix64::new(3);
    let first = picker.pick(IDLE, &mut rng).unwrap();
    let next: Vec<_> = (0..6).map(|_| picker.pick(IDLE, &mut rng).unwrap()).collect();
    assert_eq!(next, (1..=6).map(|step| (first + step) % 3).collect::<Vec<_>>());
}

#[test]
fn round_robin_clients_begin_at_different_endpoints() {
    let first = |seed| fresh(named("round_robin").unwrap(), &[1; 16]).pick(IDLE, &mut SplitMix64::new(seed));
    let begins: BTreeSet<_> = (0..200).map(first).collect();
    assert_eq!(begins.len(), 16);
}

#[test]
fn round_robin_goes_on_where_the_picker_before_stood() {
    let position = Arc::new(Position::default());
    let row = named("round_robin").unwrap();
    let mut rng = SplitMix64::new(3);
    let first = row.build(&[1, 1], &position).pick(IDLE, &mut rng).unwrap();
    let second = row.build(&[1, 1], &position).pick(IDLE, &mut rng).unwrap();
    assert_eq!(second, 1 - first);
}

#[test]
fn threads_share_one_round_robin() {
    let picker = fresh(named("round_robin").unwrap(), &[1, 1, 1, 1]);
    let mut rng = SplitMix64::new(1);
    let begin = picker.pick(IDLE, &mut rng).unwrap();
    let totals = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| counts(&*picker, 4, 1_000, 2))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .fold(vec![0; 4], |sum, counts| {
                sum.iter()
                    .zip(counts)
                    .map(|(left, right)| left + right)
                    .collect::<Vec<u32>>()
            })
    });
    assert_eq!(totals, vec![1_000; 4], "began at {begin}");
}

#[test]
fn least_request_takes_the_less_busy_of_two() {
    let picker = fresh(named("least_request").unwrap(), &[1, 1]);
    let mut rng = SplitMix64::new(1);
    for (active, expected) in [([3, 2], 1), ([0, 1], 0), ([7, 0], 1)] {
        assert!((0..50).all(|_| picker.pick(&|index| active[index], &mut rng) == Some(expected)));
    }
}

#[test]
fn least_request_leaves_an_endpoint_only_for_one_that_stays_less_busy() {
    let picker = fresh(named("least_request").unwrap(), &[9, 1]);
    let mut rng = SplitMix64::new(1);
    // 8/9 here against 1/1 there: the light endpoint would be busier. 9/9 against 1/1: it would not.
    let light = |active: [u32; 2], rng: &mut SplitMix64| {
        (0..1_000)
            .filter(|_| picker.pick(&|index| active[index], rng) == Some(1))
            .count()
    };
    assert!((50..150).contains(&light([8, 0], &mut rng)));
    assert_eq!(light([9, 0], &mut rng), 1_000);
    assert_eq!(light([0, 1], &mut rng), 0);
}

#[test]
fn least_request_keeps_requests_in_flight_in_proportion_to_weights() {
    let weights = [8, 4, 2, 2];
    let picker = fresh(named("least_request").unwrap(), &weights);
    let mut rng = SplitMix64::new(9);
    let mut active = [0u32; 4];
    let mut sums = [0u64; 4];
    for step in 0..50_000 {
        active[picker.pick(&|index| active[index], &mut rng).unwrap()] += 1;
        if step >= 64 {
            // A random one of the requests in flight ends.
            let mut nth = below(65, &mut rng) as u32;
            let done = active.iter().position(|count| {
                let is_here = nth < *count;
                nth = nth.saturating_sub(*count);
                is_here
            });
            active[done.unwrap()] -= 1;
        }
        for (sum, count) in sums.iter_mut().zip(active) {
            *sum += u64::from(count);
        }
    }
    let total: u64 = sums.iter().sum();
    for (weight, sum) in weights.into_iter().zip(sums) {
        let (percent, fair) = (sum * 100 / total, u64::from(weight) * 100 / 16);
        assert!(percent.abs_diff(fair) <= 3, "{sums:?}");
    }
}
