use crate::report::BARS;
use crate::statistics::Spread;

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
