use crate::report::{BARS, doubt_of};
use crate::statistics::Spread;

#[test]
fn a_bar_within_the_interval_is_not_said_to_be_met() {
    let [cpu, throughput, _] = &BARS;
    let spread = |low, high| Spread {
        median: f64::midpoint(low, high),
        min: low,
        max: high,
        interval: (low, high),
    };
    assert_eq!(cpu.verdict(&spread(0.97, 1.05), 7), "met");
    assert_eq!(cpu.verdict(&spread(1.04, 1.06), 7), "within the noise");
    assert_eq!(cpu.verdict(&spread(1.06, 1.10), 7), "NOT met");
    assert_eq!(throughput.verdict(&spread(0.96, 1.10), 7), "met");
    assert_eq!(throughput.verdict(&spread(0.80, 0.94), 7), "NOT met");
    assert_eq!(throughput.verdict(&spread(0.80, 0.94), 2), "too few rounds to say");
}

#[test]
fn turns_of_one_start_tell_nothing_of_a_bar() {
    assert!(doubt_of(10).is_some_and(|doubt| doubt.contains("one start")));
    assert_eq!(doubt_of(11), None);
}
