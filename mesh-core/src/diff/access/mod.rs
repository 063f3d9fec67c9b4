//! Who gains and who loses access: both servers' decisions for the callers and operations that either policy names.

mod act;
mod caller;
mod guard;
mod questions;
mod token;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::facts::Fact;
use super::listening::other_port;
use super::sample::of_pattern;
use super::{Area, Change, Kind, Side, Sides};
use crate::explain::{Inbound, Place};
use crate::policy::model::authz::{Condition, Pattern};
use crate::trial::question::{Received, inbound_answer};
use act::Act;
use caller::Caller;
use token::Token;

/// Who may do more or less for the workload.
pub(super) fn changes(sides: Sides<'_>, notes: &mut Vec<String>) -> Vec<Change> {
    let questions = questions::of(sides, notes);
    let mut found = Found::new();
    for (caller, act) in questions {
        if let Some(verdicts) = ask(sides, &caller, &act) {
            found.entry((caller, verdicts)).or_default().insert(act);
        }
    }
    // Callers for whom the same changes in the same way are told together.
    let mut together: BTreeMap<(Verdicts, Vec<Act>), Vec<Caller>> = BTreeMap::new();
    for (caller, verdicts) in found.keys() {
        let acts = news(&found, caller, verdicts);
        if !acts.is_empty() {
            together
                .entry((verdicts.clone(), acts))
                .or_default()
                .push(caller.clone());
        }
    }
    together
        .into_iter()
        .map(|((verdicts, acts), callers)| verdicts.change(&callers, &acts))
        .collect()
}

/// What changes in the same way for a caller.
type Found = BTreeMap<(Caller, Verdicts), BTreeSet<Act>>;

/// What is not told already of the same caller where it comes from no special address, or without a token.
fn news(found: &Found, caller: &Caller, verdicts: &Verdicts) -> Vec<Act> {
    let of = |caller: Caller| found.get(&(caller, verdicts.clone()));
    let told: Vec<&BTreeSet<Act>> = caller.plainer().filter_map(of).collect();
    let acts = of(caller.clone()).into_iter().flatten();
    let is_new = |act: &&Act| !told.iter().any(|told| told.contains(*act));
    acts.filter(is_new).cloned().collect()
}

/// Both decisions, where they differ.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Verdicts {
    kind: Kind,
    old: Decider,
    new: Decider,
}

/// What decides.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Decider {
    told: String,
    file: String,
    line: u32,
}

impl Decider {
    fn new(answer: &Inbound) -> Self {
        let (file, line) = answer
            .origin
            .as_ref()
            .map_or_else(Default::default, |place| (place.file.clone(), place.line));
        Self {
            told: format!("{}: {}", answer.decision, answer.reason),
            file,
            line,
        }
    }

    fn place(self) -> Option<Place> {
        (self.line > 0).then_some(Place {
            file: self.file,
            line: self.line,
        })
    }
}

impl Verdicts {
    fn change(self, callers: &[Caller], acts: &[Act]) -> Change {
        let names: Vec<String> = callers.iter().map(ToString::to_string).collect();
        let fact = Fact {
            field: "decision".into(),
            old: json!(self.old.told),
            new: json!(self.new.told),
        };
        let mut change = Change::new(Area::Access, self.kind, names.join(", "), vec![fact]);
        (change.old, change.new) = (self.old.place(), self.new.place());
        // An operation may be written in two ways, as `GET` is.
        let mut told: Vec<String> = acts.iter().map(ToString::to_string).collect();
        told.dedup();
        change.told_by(told)
    }
}

fn ask(sides: Sides<'_>, caller: &Caller, act: &Act) -> Option<Verdicts> {
    let asked = act.asked()?;
    let received = Received {
        from: caller.identity.clone(),
        source_ip: caller.way.address,
        claims: caller.way.token.as_ref().map(Token::said),
        port: act.port.or_else(|| Some(other_port(&BTreeSet::new()))),
        ..Received::default()
    };
    let answer = |side: Side<'_>| inbound_answer(side.snapshot, &asked, &received).ok();
    let (old, new) = (answer(sides.old)?, answer(sides.new)?);
    let kind = match rank(&old).cmp(&rank(&new)) {
        Ordering::Less => Kind::Gained,
        Ordering::Greater => Kind::Lost,
        Ordering::Equal if authorizer(&old) == authorizer(&new) => return None,
        Ordering::Equal => Kind::Changed,
    };
    Some(Verdicts {
        kind,
        old: Decider::new(&old),
        new: Decider::new(&new),
    })
}

/// Who is asked about may be denied still.
fn rank(answer: &Inbound) -> u8 {
    match (answer.decision, &answer.asks) {
        ("allow", _) => 2,
        ("ask", Some(asks)) if asks.then == "allow" => 1,
        _ => 0,
    }
}

/// Whose word counts.
fn authorizer(answer: &Inbound) -> Option<&str> {
    let asks = answer.asks.as_ref().filter(|_| rank(answer) == 1);
    asks.map(|asks| asks.authorizer.as_str())
}

/// The values of a condition, as they are written.
fn written(values: &Condition<String>) -> impl Iterator<Item = &String> {
    values.any_of.iter().chain(&values.none_of)
}

/// Texts for values that are patterns.
fn of_values(values: &Condition<String>) -> Vec<String> {
    written(values)
        .flat_map(|text| of_pattern(&Pattern::wildcard(text)))
        .collect()
}
