//! Who gains and who loses access: both servers' decisions for the callers and operations that either policy names.

mod act;
mod caller;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::facts::Fact;
use super::listening::other_port;
use super::sample::of_pattern;
use super::{Area, Change, Kind, Side, Sides};
use crate::explain::{Inbound, Place};
use crate::policy::model::authz::{Action, AuthorizationPolicy, Condition, Enforcement, Pattern};
use crate::trial::question::{Received, inbound_answer};
use act::{Act, acts_of};
use caller::{Caller, callers_of};

/// Questions for one workload at most.
const LIMIT: usize = 20_000;

/// Who may do more or less for the workload.
pub(super) fn changes(sides: Sides<'_>, notes: &mut Vec<String>) -> Vec<Change> {
    let questions = questions(sides, notes);
    let mut found: BTreeMap<(Caller, Verdicts), Vec<Act>> = BTreeMap::new();
    for (caller, act) in questions {
        if let Some(verdicts) = ask(sides, &caller, &act) {
            found.entry((caller, verdicts)).or_default().push(act);
        }
    }
    // Callers for whom the same changes in the same way are told together.
    let mut together: BTreeMap<(Verdicts, Vec<Act>), Vec<Caller>> = BTreeMap::new();
    for ((caller, verdicts), acts) in found {
        together.entry((verdicts, acts)).or_default().push(caller);
    }
    together
        .into_iter()
        .map(|((verdicts, acts), callers)| verdicts.change(&callers, &acts))
        .collect()
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
        change.told_by(acts.iter().map(ToString::to_string))
    }
}

fn ask(sides: Sides<'_>, caller: &Caller, act: &Act) -> Option<Verdicts> {
    let asked = act.asked()?;
    let received = Received {
        from: caller.identity.clone(),
        source_ip: caller.address,
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

/// Each rule's callers with its own operations, and as many others with the others' as there is room for.
fn questions(sides: Sides<'_>, notes: &mut Vec<String>) -> BTreeSet<(Caller, Act)> {
    let mut questions = BTreeSet::new();
    let trust_domain = &sides.new.policy.mesh.trust_domain;
    let mut callers = BTreeSet::from([Caller::plain(), Caller::stranger(trust_domain)]);
    let mut acts = BTreeSet::from([Act::default(), Act::of_method("POST")]);
    let policies = [sides.old, sides.new].into_iter().flat_map(policies);
    for rule in policies.flat_map(|policy| &policy.rules) {
        let (its_callers, its_acts) = (callers_of(rule, trust_domain), acts_of(rule));
        for caller in &its_callers {
            questions.extend(its_acts.iter().map(|act| (caller.clone(), act.clone())));
        }
        callers.extend(its_callers);
        acts.extend(its_acts);
    }
    acts.extend(acts_at_named_ports(sides));
    let all = callers.len() * acts.len();
    let pairs = acts
        .iter()
        .flat_map(|act| callers.iter().map(move |caller| (caller, act)));
    for (caller, act) in pairs {
        if questions.len() >= LIMIT {
            notes.push(format!(
                "access was asked for {LIMIT} of {all} pairs of callers and operations"
            ));
            break;
        }
        questions.insert((caller.clone(), act.clone()));
    }
    questions
}

/// The policies that decide for the workload.
fn policies(side: Side<'_>) -> impl Iterator<Item = &AuthorizationPolicy> {
    let workload = &side.snapshot.workload;
    let root = &side.policy.mesh.root_namespace;
    let policies = side.policy.authorizations.iter();
    let decides = |one: &AuthorizationPolicy| one.action != Action::Audit && one.enforcement == Enforcement::Enforced;
    policies.filter(move |one| decides(one) && one.holds_for(workload, root))
}

/// Ports may be guarded on their own, and may take plain text or not.
fn acts_at_named_ports(sides: Sides<'_>) -> Vec<Act> {
    let mut ports = BTreeSet::new();
    for side in [sides.old, sides.new] {
        ports.extend(policies(side).flat_map(|one| one.ports.iter().copied()));
        let documents = &side.policy.peer_authentications;
        ports.extend(documents.iter().flat_map(|one| one.ports.keys().copied()));
    }
    let act = |port: u16| Act {
        port: Some(port),
        ..Act::default()
    };
    ports.into_iter().map(act).collect()
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
