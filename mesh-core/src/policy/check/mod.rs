//! Findings across documents: what each document alone cannot know.
//!
//! [`check`] looks at a whole [`Policy`]: names that nothing defines, hosts that two tables route, rules that no request
//! reaches, retries that cannot fit, settings that others for the same put out of force. What a document defines that has errors of its own is not known, and gives
//! no finding: one mistake is told once.

use std::collections::BTreeSet;

use super::diagnostic::Report;
use super::dialect::istio::delegate::Documents;
use super::model::{Origin, Policy};

mod hosts;
mod reach;
mod references;
mod rules;
mod shadowed;

/// Reports everything about the policy that only shows across its items.
pub fn check(policy: &Policy, report: &mut Report) {
    check_known(policy, &Known::of(BTreeSet::new(), true), report);
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

pub(super) fn check_known(policy: &Policy, known: &Known, report: &mut Report) {
    references::check(policy, known, report);
    hosts::check(policy, report);
    reach::check(policy, report);
    rules::check(policy, report);
    shadowed::check(policy, report);
}

#[cfg(test)]
mod tests;
