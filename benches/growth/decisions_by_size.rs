//! Single decisions at 10 to 100 000 rules or endpoints: the very cases of the `instructions` benchmark that have a size.

use std::hint::black_box;
use std::time::{Duration, Instant};

use mesh_benches::callgrind;
use mesh_benches::case::{Case, Work};
use mesh_benches::curve::Curve;

use crate::process::{self, Process};
use crate::report::Report;
use crate::{Options, cases};

/// The largest that `--quick` looks at.
const QUICK: usize = 1_000;
/// How long a sample of nanoseconds is, about, and how many are taken: the least disturbed counts.
const SAMPLE: Duration = Duration::from_millis(8);
const SAMPLES: usize = 15;

pub(crate) fn run(options: &Options, report: &mut Report) {
    let all = cases();
    let wanted = |case: &&Case| {
        let size = case
            .size()
            .filter(|(of, size)| of.contains(&options.only) && (!options.is_quick || *size <= QUICK));
        size.is_some()
    };
    let chosen: Vec<&Case> = all.iter().filter(wanted).collect();
    let title = "Instructions a decision, by the rules or endpoints to choose from";
    match curves(&chosen, "instructions", |case| {
        Ok(callgrind::count(&case.name, case.iterations)?.instructions)
    }) {
        Ok(curves) => report.plot("decisions-instructions", title, curves),
        Err(why) => println!("\n{title}: not counted, {why}"),
    }
    let title = "Nanoseconds a decision, by the rules or endpoints to choose from";
    let timed = curves(&chosen, "nanoseconds", |case| Ok(nanoseconds(&case.name)));
    report.plot("decisions-nanoseconds", title, timed.unwrap_or_default());
    report.figure("an iteration that does nothing", "ns", nanoseconds(NOTHING));
}

/// A curve for each name, in the order in which they come.
fn curves(cases: &[&Case], unit: &str, measure: impl Fn(&Case) -> Result<f64, String>) -> Result<Vec<Curve>, String> {
    let mut named: Vec<(&str, Vec<(f64, f64)>)> = Vec::new();
    for (case, (name, size)) in cases.iter().filter_map(|case| Some((case, case.size()?))) {
        let point = (size as f64, measure(case)?);
        match named.iter_mut().find(|(known, _)| *known == name) {
            Some((_, points)) => points.push(point),
            None => named.push((name, vec![point])),
        }
    }
    let curve = |(name, points)| Curve::new(name, "rules or endpoints", unit, points);
    Ok(named.into_iter().map(curve).collect())
}

/// The case that costs what measuring costs.
const NOTHING: &str = "nothing";

/// Asks a process of its own, on a processor of its own.
fn nanoseconds(case: &str) -> f64 {
    let (_process, answer) = Process::start_pinned(&format!("time {case}"));
    answer.parse().unwrap()
}

/// Plays the process that is asked.
pub(crate) fn play(name: &str) {
    let mut work = match name {
        NOTHING => nothing(),
        name => (cases().into_iter().find(|case| case.name == name).unwrap().prepare)(),
    };
    process::answer(least(&mut work));
    // Until the asking process is done with this one.
    process::orders().for_each(drop);
}

fn nothing() -> Work {
    Box::new(|iterations| {
        for iteration in 0..iterations {
            black_box(iteration);
        }
    })
}

/// Nanoseconds an iteration, in the best of the samples.
fn least(work: &mut Work) -> f64 {
    let mut iterations = 64;
    while time(work, iterations) < SAMPLE && iterations < 1 << 30 {
        iterations *= 2;
    }
    let samples = (0..SAMPLES).map(|_| time(work, iterations).as_nanos());
    samples.min().unwrap_or_default() as f64 / iterations as f64
}

fn time(work: &mut Work, iterations: u64) -> Duration {
    let begun = Instant::now();
    work(iterations);
    begun.elapsed()
}
