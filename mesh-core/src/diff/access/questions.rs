//! Who is asked about, and what for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::act::Act;
use super::caller::{Caller, Way};
use super::guard::{Guard, Guards, excused, exempt, ports};
use super::token::{Issuers, Token};
use crate::diff::Sides;
use crate::identity::SpiffeId;

/// Questions for one workload at most, beyond each rule's own.
const LIMIT: usize = 20_000;

/// In how many ways operations are asked for in which rules exempt them.
const EXEMPT: usize = 8;

type Question = (Caller, Act);

/// Each rule's callers with its own operations, and as many others with the others' as there is room for.
///
/// A rule that denies all but some addresses, or all but some tokens, hides what the others say of those who come in other
/// ways. So the callers of each rule are also asked for in the ways that rules name.
pub(super) fn of(sides: Sides<'_>, notes: &mut Vec<String>) -> BTreeSet<Question> {
    let issuers = Issuers::of(sides);
    let guards = Guards {
        trust_domain: &sides.new.policy.mesh.trust_domain,
        issuers: &issuers,
    };
    let named = Named::of(sides, guards);
    let mut questions: BTreeSet<Question> = named.guards.iter().flat_map(own).collect();
    questions.extend(named.ways().take(1).flat_map(|way| named.in_way(way)));
    let limit = questions.len() + LIMIT;
    fill(
        &mut questions,
        limit - LIMIT / 2,
        named.ways().flat_map(|way| named.in_way(way)),
    );
    if !fill(&mut questions, limit, named.all()) {
        let (asked, all) = (questions.len(), named.count());
        notes.push(format!(
            "access was asked for {asked} of {all} pairs of callers and operations"
        ));
    }
    questions
}

fn own(guard: &Guard) -> impl Iterator<Item = Question> + '_ {
    let of_caller = |caller: &'_ Caller, act: &Act| (caller.clone(), act.clone());
    let callers = guard.callers.iter();
    callers.flat_map(move |caller| guard.acts.iter().map(move |act| of_caller(caller, act)))
}

/// Adds questions as long as there is room; whether there was for all of them.
fn fill(questions: &mut BTreeSet<Question>, limit: usize, mut further: impl Iterator<Item = Question>) -> bool {
    further.all(|question| {
        let has_room = questions.len() < limit || questions.contains(&question);
        has_room.then(|| questions.insert(question)).is_some()
    })
}

/// What all rules name.
struct Named {
    guards: Vec<Guard>,
    callers: BTreeSet<Caller>,
    identities: BTreeSet<Option<SpiffeId>>,
    /// The most promising first.
    tokens: Vec<Option<Token>>,
    /// The same.
    addresses: Vec<IpAddr>,
    acts: BTreeSet<Act>,
}

impl Named {
    fn of(sides: Sides<'_>, of: Guards<'_>) -> Self {
        let sides_of = || [sides.old, sides.new].into_iter();
        let mut guards: Vec<Guard> = sides_of().flat_map(|side| of.of(side)).collect();
        let exempt: BTreeSet<Act> = sides_of().flat_map(exempt).take(EXEMPT).collect();
        guards.iter_mut().for_each(|guard| guard.in_exempted_ways(&exempt));
        let strangers = Caller::strangers(of.trust_domain);
        let mut callers: BTreeSet<Caller> = guards.iter().flat_map(|guard| &guard.callers).cloned().collect();
        callers.extend(strangers.into_iter().map(Caller::plain));
        let mut acts = BTreeSet::from([Act::default(), Act::of_method("POST")]);
        acts.extend(guards.iter().flat_map(|guard| &guard.acts).cloned());
        let ports = sides_of().flat_map(ports);
        acts.extend(ports.map(|port| Act::default().at(port)));
        Self {
            identities: callers.iter().map(|caller| caller.identity.clone()).collect(),
            tokens: tokens(&guards, of.issuers),
            addresses: addresses(sides, &callers),
            guards,
            callers,
            acts,
        }
    }

    fn ways(&self) -> impl Iterator<Item = Way> + '_ {
        let of_token = |token: &Option<Token>, address: &IpAddr| Way {
            token: token.clone(),
            address: *address,
        };
        let tokens = self.tokens.iter();
        tokens.flat_map(move |token| self.addresses.iter().map(move |address| of_token(token, address)))
    }

    /// Each rule's callers with its own operations, but in this way.
    fn in_way(&self, way: Way) -> impl Iterator<Item = Question> + '_ {
        let pairs = self.guards.iter().flat_map(|guard| {
            let identities = guard.identities();
            let acts = guard.acts.iter();
            acts.flat_map(move |act| identities.clone().into_iter().map(move |identity| (identity, act)))
        });
        pairs.map(move |(identity, act)| (Caller::new(identity.clone(), way.clone()), act.clone()))
    }

    /// Each caller with each operation, at first in the ways in which rules name them.
    fn all(&self) -> impl Iterator<Item = Question> + '_ {
        let in_any_way = self.ways().flat_map(move |way| {
            let acts = self.acts.iter();
            acts.flat_map(move |act| {
                let way = way.clone();
                let caller = move |identity: &Option<SpiffeId>| Caller::new(identity.clone(), way.clone());
                self.identities
                    .iter()
                    .map(move |identity| (caller(identity), act.clone()))
            })
        });
        let acts = self.acts.iter();
        let as_named = acts.flat_map(|act| self.callers.iter().map(move |caller| (caller.clone(), act.clone())));
        as_named.chain(in_any_way)
    }

    fn count(&self) -> usize {
        let callers = self.identities.len() * self.tokens.len() * self.addresses.len();
        callers * self.acts.len()
    }
}

/// Those that most rules name go first: what denies all others lets them pass.
fn tokens(guards: &[Guard], issuers: &Issuers) -> Vec<Option<Token>> {
    let mut named: BTreeMap<Option<Token>, usize> = BTreeMap::new();
    for guard in guards {
        let of_guard: BTreeSet<&Option<Token>> = guard.callers.iter().map(|caller| &caller.way.token).collect();
        for token in of_guard.into_iter().filter(|token| token.is_some()) {
            *named.entry(token.clone()).or_default() += 1;
        }
    }
    for token in issuers.demanded() {
        *named.entry(token).or_default() += 0;
    }
    let mut tokens: Vec<_> = named.into_iter().collect();
    tokens.sort_by_key(|(token, number)| (token.is_none(), std::cmp::Reverse(*number)));
    tokens.into_iter().map(|(token, _)| token).collect()
}

/// Those that most rules exempt go first.
fn addresses(sides: Sides<'_>, callers: &BTreeSet<Caller>) -> Vec<IpAddr> {
    let blocks: Vec<_> = [sides.old, sides.new].into_iter().flat_map(excused).collect();
    let addresses: BTreeSet<IpAddr> = callers.iter().map(|caller| caller.way.address).collect();
    let exemptions = |address: &IpAddr| blocks.iter().filter(|block| block.contains(address)).count();
    let mut addresses: Vec<IpAddr> = addresses.into_iter().collect();
    addresses.sort_by_cached_key(|address| {
        (
            std::cmp::Reverse(exemptions(address)),
            !Way::is_from_elsewhere(*address),
        )
    });
    addresses
}
