//! What rules name: of each list, every name once.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::policy::diagnostic::Report;
use crate::policy::model::route::{Destination, RouteRule, RouteTable};
use crate::policy::model::{Policy, Shared};
use crate::workers::{self, Workers};

/// The different destinations of lists of rules, kept as long as the lists are.
#[derive(Debug, Default)]
pub(super) struct Distinct {
    /// By the list's address, which is its own as long as the list is kept.
    lists: FxHashMap<usize, (Shared<RouteRule>, Named)>,
}

/// What a list names.
#[derive(Debug)]
struct Named {
    /// The first of each kind: its rule, and its place there among destinations and mirrors.
    places: Box<[(u32, u32)]>,
    /// Whether a match is for some gateways only.
    has_bindings: bool,
}

/// Which destinations are looked at.
#[derive(Clone, Copy)]
pub(super) enum Destinations<'d> {
    /// One of each kind, which has no finding where none of its kind has.
    Distinct(&'d Distinct),
    All,
}

impl Distinct {
    /// Looks at the lists of a policy that are new, and forgets those that it does not have.
    pub(super) fn look(&mut self, policy: &Policy, workers: &dyn Workers) {
        let mut last = std::mem::take(&mut self.lists);
        let mut new = Vec::new();
        for list in policy.routes.iter().map(|table| &table.rules) {
            match last.remove(&list.address()) {
                Some(known) => drop(self.lists.insert(list.address(), known)),
                None if self.lists.contains_key(&list.address()) => {}
                None => new.push((list, None)),
            }
        }
        workers::for_each(workers, &mut new, |(list, named)| *named = Some(Named::of(list)));
        let new = new
            .into_iter()
            .filter_map(|(list, named)| Some((list.address(), (list.clone(), named?))));
        self.lists.extend(new);
    }

    /// Reports what `check` finds in the destinations of a policy: it looks at one of each kind, and only where that has a
    /// finding at all of them, since each is told where it stands.
    pub(super) fn check(&self, report: &mut Report, check: impl Fn(Destinations<'_>, &mut Report)) {
        let mut found = Report::new();
        check(Destinations::Distinct(self), &mut found);
        if !found.is_empty() {
            check(Destinations::All, report);
        }
    }

    /// Whether a match of the table's rules is for some gateways only.
    pub(super) fn has_bindings(&self, table: &RouteTable) -> bool {
        self.named(table).is_none_or(|named| named.has_bindings)
    }

    fn named(&self, table: &RouteTable) -> Option<&Named> {
        self.lists.get(&table.rules.address()).map(|(_, named)| named)
    }
}

impl Destinations<'_> {
    /// Where requests of a table go, and copies of them.
    pub(super) fn of(self, table: &RouteTable) -> Vec<&Destination> {
        let rules = &table.rules;
        let named = match self {
            Self::Distinct(distinct) => distinct.named(table),
            Self::All => None,
        };
        let Some(named) = named else {
            return rules.iter().flat_map(of_rule).collect();
        };
        let at = |(rule, place): &(u32, u32)| of_rule(rules.get(*rule as usize)?).nth(*place as usize);
        named.places.iter().filter_map(at).collect()
    }
}

/// Where a rule sends requests, and copies of them.
fn of_rule(rule: &RouteRule) -> impl Iterator<Item = &Destination> {
    let mirrors = rule.mirrors.iter().map(|mirror| &mirror.destination);
    rule.destinations.iter().chain(mirrors)
}

/// All that checks look at.
fn kind(one: &Destination) -> (&str, Option<&str>, Option<u16>, bool) {
    (&one.host, one.subset.as_deref(), one.port, one.unresolved.is_some())
}

impl Named {
    fn of(list: &[RouteRule]) -> Self {
        let (mut places, mut seen) = (Vec::new(), FxHashSet::default());
        // Most rules go where the one before goes.
        let mut last = None;
        for (rule, number) in list.iter().zip(0..) {
            for (destination, place) in of_rule(rule).zip(0..) {
                let kind = Some(kind(destination));
                if kind != last && seen.insert(kind) {
                    places.push((number, place));
                }
                last = kind;
            }
        }
        Self {
            places: places.into(),
            has_bindings: list
                .iter()
                .flat_map(|rule| &rule.matches)
                .any(|one| !one.bindings.is_empty()),
        }
    }
}
