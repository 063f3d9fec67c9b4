//! Findings across documents: what each document alone cannot know.
//!
//! [`check`] looks at a whole [`Policy`]: names that nothing defines, hosts that two tables route, rules that no request
//! reaches, retries that cannot fit, settings that others for the same put out of force. What a document defines that has
//! errors of its own is not known, and gives no finding: one mistake is told once. What a policy means is looked at once
//! it has no errors.

use std::collections::BTreeSet;

use super::diagnostic::Report;
use super::dialect::istio::delegate::Documents;
use super::model::{Meta, Origin, Policy};
use crate::workers::{Alone, Workers};
use modes::Modes;

mod authorizers;
mod authz;
mod destinations;
mod gateways;
mod hosts;
mod kept;
mod modes;
mod paths;
mod profiles;
mod reach;
mod references;
mod rules;
mod services;
mod shadowed;
mod targets;
mod tokens;
mod traffic;

pub(in crate::policy) use kept::Checked;
pub(crate) use tokens::MeshHosts;

/// Reports everything about the policy that only shows across its items.
pub fn check(policy: &Policy, report: &mut Report) {
    let known = Known::of(BTreeSet::new(), true);
    check_known((policy, &Alone), &known, &mut Checked::default(), report);
}

/// What is surely known, after files were read that may have errors.
#[derive(Debug)]
pub(super) struct Known {
    broken: BTreeSet<Origin>,
    is_complete: bool,
}

impl Known {
    /// `broken` items have errors; `is_complete` says that no document is missing.
    pub(super) const fn of(broken: BTreeSet<Origin>, is_complete: bool) -> Self {
        Self { broken, is_complete }
    }

    /// Whether an item was read without errors.
    fn is_whole(&self, origin: &Origin) -> bool {
        !self.broken.contains(origin)
    }

    /// Which documents are known.
    pub(super) fn documents(&self) -> Documents {
        match self.is_everything() {
            true => Documents::All,
            false => Documents::Some,
        }
    }

    /// Whether all items of all documents were read without errors.
    fn is_everything(&self) -> bool {
        self.is_complete && self.broken.is_empty()
    }
}

pub(super) fn check_known(
    (policy, workers): (&Policy, &dyn Workers),
    known: &Known,
    checked: &mut Checked,
    report: &mut Report,
) {
    checked.begin(policy, workers);
    references::check(policy, known, &checked.destinations, report);
    authorizers::check(policy, known, report);
    hosts::check(policy, report);
    rules::check_limits((policy, workers), &mut checked.limits, report);
    profiles::check(policy, report);
    shadowed::check(policy, report);
    paths::check(policy, report);
    // A rule whose condition could not be read has none here, and would seem to mean something else than it says.
    if !report.has_errors() {
        check_meaning((policy, workers), checked, report);
        checked.end();
    }
}

/// What loads, and hardly does what was meant.
fn check_meaning((policy, workers): (&Policy, &dyn Workers), checked: &mut Checked, report: &mut Report) {
    reach::check((policy, workers), &mut checked.reach, report);
    tokens::check(policy, report);
    tokens::check_claims((policy, workers), &mut checked.claims, report);
    rules::check((policy, workers), &mut checked.rules, report);
    let modes = Modes::of(policy);
    modes::check(policy, &modes, report);
    authz::check((policy, workers), &modes, &mut checked.patterns, report);
    traffic::check(policy, &modes, report);
    traffic::check_names(policy, &checked.destinations, report);
    services::check(policy, &checked.destinations, report);
    gateways::check(policy, report);
    targets::check(policy, report);
}

/// Documents in the order in which they win conflicts.
fn oldest_first<T>(items: &[T], meta: impl Fn(&T) -> &Meta) -> Vec<&T> {
    let mut sorted: Vec<&T> = items.iter().collect();
    sorted.sort_by(|left, right| meta(left).precedence().cmp(&meta(right).precedence()));
    sorted
}

#[cfg(test)]
mod tests;
