use std::collections::BTreeMap;

use super::{Baseline, Cost};

/// Instructions of a decision, as a share of those of the baseline: they repeat to a few in a hundred thousand.
const DECISION: f64 = 0.01;
/// Instructions of a decision in any case: so many move when the compiler inlines other parts of the benchmark itself.
const INLINED: f64 = 32.0;
/// Of a whole request: its system calls and timers are not always as many.
const REQUEST: f64 = 0.02;
/// Of what the mesh adds: the sum of what two requests may differ by, in a smaller number.
const ADDED: f64 = 0.05;
/// The same elsewhere, where another compiler made all of it.
const ADDED_ELSEWHERE: f64 = 0.10;
/// Instructions of it in any case: four in a thousand of a request, which the least change moves by inlining.
const ADDED_MOVED: f64 = 200.0;
/// Of the growth of a curve.
const GROWTH: f64 = 0.05;
/// Allocations: what grows now and then is not seen as often in each run.
const ALLOCATIONS: f64 = 0.05;
/// Those of a request, which now and then waits where it does not have to elsewhere: less than one for each.
const REQUEST_ALLOCATIONS: f64 = 0.9;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Instructions of a case, without the allocator's.
    Instructions,
    /// What the mesh adds to the instructions of a request.
    Added,
    /// How many times the instructions at the last size are those at the first.
    Growth,
    /// Allocations of a case.
    Allocations,
}

/// What the comparison says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it was.
    Kept,
    /// Dearer than it may be.
    Worse,
    /// So much cheaper that the baseline should learn it.
    Better,
    /// The baseline has it, and nobody else.
    Gone,
    /// Nobody has blessed it.
    New,
}

/// One comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The case, or the curve.
    pub what: String,
    /// What of it.
    pub kind: Kind,
    /// The baseline's value.
    pub expected: Option<f64>,
    /// That of now.
    pub found: Option<f64>,
    /// What follows.
    pub verdict: Verdict,
}

/// Compares costs with a baseline, that was made on the same kind of host or not.
#[must_use]
pub fn compare(baseline: &Baseline, found: &[Cost], is_same_host: bool) -> Vec<Line> {
    let (then, now) = (relations(&baseline.cases), relations(found));
    let mut lines = Vec::new();
    for relation in then.keys().chain(now.keys().filter(|key| !then.contains_key(*key))) {
        let (kind, what) = relation;
        if let Some(limit) = limit(*kind, what, is_same_host) {
            lines.push(line(*kind, what, (then.get(relation), now.get(relation)), &limit));
        }
    }
    lines
}

/// The requests that are worth another count, since they cost more than they have to where the machine is busy: those that got worse, and
/// all bare ones, whose excess would hide what the mesh adds to them.
pub fn doubtful(lines: &[Line]) -> impl Iterator<Item = &str> {
    let is_bare = |line: &Line| line.what.starts_with("request_bare");
    let doubtful = lines
        .iter()
        .filter(move |line| line.verdict == Verdict::Worse || is_bare(line));
    doubtful
        .map(|line| &*line.what)
        .filter(|what| what.starts_with("request"))
}

/// Whether nothing fails.
#[must_use]
pub fn kept(lines: &[Line]) -> bool {
    lines
        .iter()
        .all(|line| matches!(line.verdict, Verdict::Kept | Verdict::Better))
}

/// Everything that is compared, by kind and name.
fn relations(costs: &[Cost]) -> BTreeMap<(Kind, String), f64> {
    let of_cases = costs.iter().flat_map(|cost| {
        let name = || cost.case.clone();
        [
            ((Kind::Instructions, name()), cost.outside_allocator()),
            ((Kind::Allocations, name()), cost.allocations),
        ]
    });
    let instructions: BTreeMap<&str, f64> = costs
        .iter()
        .map(|cost| (&*cost.case, cost.outside_allocator()))
        .collect();
    let added = costs.iter().filter_map(|cost| {
        let way = cost.case.strip_prefix("request_full_mesh")?;
        let bare = instructions.get(&*format!("request_bare_pool{way}"))?;
        Some(((Kind::Added, cost.case.clone()), cost.outside_allocator() - bare))
    });
    of_cases.chain(added).chain(growth(&instructions)).collect()
}

fn growth(instructions: &BTreeMap<&str, f64>) -> impl Iterator<Item = ((Kind, String), f64)> {
    let mut curves: BTreeMap<&str, BTreeMap<usize, f64>> = BTreeMap::new();
    for (name, instructions) in instructions {
        if let Some((curve, size)) = name.rsplit_once('_')
            && let Ok(size) = size.parse()
        {
            curves.entry(curve).or_default().insert(size, *instructions);
        }
    }
    curves.into_iter().filter_map(|(curve, sizes)| {
        let ((_, first), (_, last)) = (sizes.first_key_value()?, sizes.last_key_value()?);
        (sizes.len() > 1 && *first > 0.0).then(|| ((Kind::Growth, curve.to_owned()), last / first))
    })
}

/// How much more is too much: a share of what is expected, and a number.
#[derive(Clone, Copy)]
struct Limit {
    share: f64,
    number: f64,
}

/// What is not compared has no limit.
fn limit(kind: Kind, what: &str, is_same_host: bool) -> Option<Limit> {
    let share = |share| Some(Limit { share, number: 0.0 });
    match (kind, is_same_host) {
        (Kind::Instructions, true) if what.starts_with("request") => share(REQUEST),
        (Kind::Instructions, true) => Some(Limit {
            share: DECISION,
            number: INLINED,
        }),
        (Kind::Added, _) => Some(Limit {
            share: if is_same_host { ADDED } else { ADDED_ELSEWHERE },
            number: ADDED_MOVED,
        }),
        (Kind::Growth, false) => share(GROWTH),
        (Kind::Allocations, _) => Some(Limit {
            share: 0.0,
            number: if what.starts_with("request") {
                REQUEST_ALLOCATIONS
            } else {
                ALLOCATIONS
            },
        }),
        // Absolute counts of another host mean nothing here, and growth follows from them where they do.
        (Kind::Instructions, false) | (Kind::Growth, true) => None,
    }
}

fn line(kind: Kind, what: &str, (expected, found): (Option<&f64>, Option<&f64>), limit: &Limit) -> Line {
    let verdict = match (expected, found) {
        (Some(expected), Some(found)) => verdict(*expected, *found, expected.abs() * limit.share + limit.number),
        (Some(_), None) => Verdict::Gone,
        (None, _) => Verdict::New,
    };
    Line {
        what: what.to_owned(),
        kind,
        expected: expected.copied(),
        found: found.copied(),
        verdict,
    }
}

fn verdict(expected: f64, found: f64, margin: f64) -> Verdict {
    match found - expected {
        more if more > margin => Verdict::Worse,
        more if more < -margin => Verdict::Better,
        // Not a number: nothing to rely on.
        more if more.is_nan() => Verdict::Worse,
        _ => Verdict::Kept,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::gate::Host;

    fn cost(case: &str, instructions: f64, allocations: f64) -> Cost {
        Cost {
            case: case.to_owned(),
            instructions,
            in_allocator: 0.0,
            allocations,
        }
    }

    fn costs() -> Vec<Cost> {
        vec![
            cost("request_bare_pool_mtls", 56_000.0, 20.0),
            cost("request_full_mesh_mtls", 70_000.0, 60.0),
            cost("route_10", 2_000.0, 0.0),
            cost("route_10000", 4_000.0, 0.0),
        ]
    }

    /// What is not as the baseline has it, after this change.
    fn after(is_same_host: bool, change: impl FnOnce(&mut Vec<Cost>)) -> Vec<(Kind, String, Verdict)> {
        let host = Host {
            rustc: String::new(),
            libc: String::new(),
            valgrind: String::new(),
            features: Vec::new(),
        };
        let baseline = Baseline { host, cases: costs() };
        let mut found = costs();
        change(&mut found);
        let lines = compare(&baseline, &found, is_same_host);
        let fails = lines
            .iter()
            .any(|line| !matches!(line.verdict, Verdict::Kept | Verdict::Better));
        assert_eq!(kept(&lines), !fails);
        let changed = lines.into_iter().filter(|line| line.verdict != Verdict::Kept);
        changed.map(|line| (line.kind, line.what, line.verdict)).collect()
    }

    fn route(verdict: Verdict) -> Vec<(Kind, String, Verdict)> {
        vec![(Kind::Instructions, "route_10".to_owned(), verdict)]
    }

    #[test]
    fn the_same_counts_pass() {
        assert!(after(true, |_| ()).is_empty());
        assert!(after(false, |_| ()).is_empty());
    }

    #[test]
    fn a_decision_may_cost_a_hundredth_more_and_what_inlining_moves() {
        assert!(after(true, |costs| costs[2].instructions = 2_051.0).is_empty());
        assert_eq!(
            after(true, |costs| costs[2].instructions = 2_053.0),
            route(Verdict::Worse)
        );
    }

    #[test]
    fn what_the_allocator_spends_is_not_compared() {
        let dearer = |costs: &mut Vec<Cost>| {
            costs[1].instructions += 9_000.0;
            costs[1].in_allocator += 9_000.0;
        };
        assert!(after(true, dearer).is_empty());
        assert!(after(false, dearer).is_empty());
    }

    #[test]
    fn of_two_counts_the_lesser_is_kept_whole() {
        let found = |instructions, in_allocator, allocations| Cost {
            in_allocator,
            ..cost("request", instructions, allocations)
        };
        let (one, other) = (found(1_000.0, 10.0, 4.0), found(1_100.0, 300.0, 5.0));
        let least = found(1_100.0, 300.0, 4.0);
        assert_eq!(one.clone().least(&other), least);
        assert_eq!(other.least(&one), least);
    }

    #[test]
    fn an_improvement_is_told_and_passes() {
        assert_eq!(
            after(true, |costs| costs[2].instructions = 1_900.0),
            route(Verdict::Better)
        );
    }

    #[test]
    fn what_the_mesh_adds_is_held_closer_than_the_request() {
        // 1.4 % of the request, 7 % of what is added.
        let changed = after(true, |costs| costs[1].instructions = 71_000.0);
        let what = "request_full_mesh_mtls".to_owned();
        assert_eq!(changed, [(Kind::Added, what.clone(), Verdict::Worse)]);
        assert!(after(false, |costs| costs[1].instructions = 71_000.0).is_empty());
        let elsewhere = after(false, |costs| costs[1].instructions = 72_000.0);
        assert_eq!(elsewhere, [(Kind::Added, what, Verdict::Worse)]);
    }

    #[test]
    fn elsewhere_cryptography_may_cost_what_it_wants() {
        let dearer = |costs: &mut Vec<Cost>| costs[..2].iter_mut().for_each(|cost| cost.instructions += 20_000.0);
        assert!(after(false, dearer).is_empty());
        assert_eq!(after(true, dearer).len(), 2, "both requests");
    }

    #[test]
    fn elsewhere_growth_is_what_counts() {
        let twice = |costs: &mut Vec<Cost>| costs[2..].iter_mut().for_each(|cost| cost.instructions *= 2.0);
        assert!(after(false, twice).is_empty());
        let grown = after(false, |costs| costs[3].instructions = 4_400.0);
        assert_eq!(grown, [(Kind::Growth, "route".to_owned(), Verdict::Worse)]);
    }

    #[test]
    fn requests_that_got_worse_and_bare_ones_are_counted_again() {
        let host = Host {
            rustc: String::new(),
            libc: String::new(),
            valgrind: String::new(),
            features: Vec::new(),
        };
        let baseline = Baseline { host, cases: costs() };
        let of = |found: &[Cost], is_same_host| {
            let lines = compare(&baseline, found, is_same_host);
            doubtful(&lines).map(str::to_owned).collect::<BTreeSet<_>>()
        };
        let (bare, meshed) = ("request_bare_pool_mtls", "request_full_mesh_mtls");
        // What a busy machine adds to the bare one would be taken from what the mesh adds.
        assert!(
            [true, false]
                .iter()
                .all(|is_same| of(&costs(), *is_same).iter().eq([bare]))
        );
        let mut found = costs();
        found.iter_mut().for_each(|cost| cost.allocations += 1.0);
        assert!(of(&found, true).iter().eq([bare, meshed]));
    }

    #[test]
    fn an_allocation_more_fails_everywhere() {
        for is_same_host in [true, false] {
            let changed = after(is_same_host, |costs| costs[2].allocations = 1.0);
            assert_eq!(changed, [(Kind::Allocations, "route_10".to_owned(), Verdict::Worse)]);
        }
    }

    #[test]
    fn cases_that_come_or_go_fail() {
        let gone = after(true, |costs| drop(costs.remove(2)));
        assert!(
            gone.contains(&(Kind::Instructions, "route_10".to_owned(), Verdict::Gone)),
            "{gone:?}"
        );
        let new = after(true, |costs| costs.push(cost("layer_empty", 20.0, 0.0)));
        assert!(
            new.contains(&(Kind::Instructions, "layer_empty".to_owned(), Verdict::New)),
            "{new:?}"
        );
        assert!(!after(false, |costs| drop(costs.remove(2))).is_empty());
    }

    #[test]
    fn what_is_no_number_fails() {
        assert_eq!(
            after(true, |costs| costs[2].instructions = f64::NAN),
            route(Verdict::Worse)
        );
    }
}
