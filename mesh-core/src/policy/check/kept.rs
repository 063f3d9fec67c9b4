//! What was found in parts of a policy, for the next one that has them, too.

use rustc_hash::FxHashMap;

use super::destinations::Distinct;
use crate::policy::diagnostic::Report;
use crate::policy::model::authz::Rule;
use crate::policy::model::route::RouteRule;
use crate::policy::model::{MeshSettings, Policy, Shared};
use crate::workers::{self, Workers};

/// What was found in the last policy.
#[derive(Debug, Default)]
pub(in crate::policy) struct Checked {
    mesh: MeshSettings,
    are_tokens_checked: bool,
    pub(super) destinations: Distinct,
    pub(super) reach: Kept<RouteRule>,
    pub(super) limits: Kept<RouteRule>,
    pub(super) rules: Kept<RouteRule>,
    pub(super) claims: Kept<RouteRule>,
    pub(super) patterns: Kept<Rule>,
}

impl Checked {
    /// Begins with a policy: what was found holds for its settings of the mesh, and for policies that check tokens, or
    /// that do not.
    pub(super) fn begin(&mut self, policy: &Policy, workers: &dyn Workers) {
        let are_tokens_checked = !policy.request_authentications.is_empty();
        if self.mesh != policy.mesh || self.are_tokens_checked != are_tokens_checked {
            *self = Self {
                mesh: policy.mesh.clone(),
                are_tokens_checked,
                ..Self::default()
            };
        }
        self.destinations.look(policy, workers);
    }

    /// Forgets what the policy did not have.
    pub(super) fn end(&mut self) {
        self.reach.forget();
        self.patterns.forget();
    }
}

/// What was found in lists, each by itself.
#[derive(Debug)]
pub(super) struct Kept<T> {
    last: Found<T>,
    now: Found<T>,
}

/// By the list's address, which is its own as long as the list is kept.
type Found<T> = FxHashMap<usize, (Shared<T>, Report)>;

impl<T> Default for Kept<T> {
    fn default() -> Self {
        let (last, now) = (Found::default(), Found::default());
        Self { last, now }
    }
}

impl<T: Send + Sync> Kept<T> {
    /// Reports what `check` finds in these lists, of which it looks at new ones only, and forgets those of before.
    pub(super) fn check<'p>(
        &mut self,
        lists: impl Iterator<Item = &'p Shared<T>> + Clone,
        workers: &dyn Workers,
        report: &mut Report,
        check: impl Fn(&T, &mut Report) + Sync,
    ) where
        T: 'p,
    {
        self.look(lists.clone(), workers, |list, report| {
            list.iter().for_each(|one| check(one, report));
        });
        lists.for_each(|list| self.report(list, report));
        self.forget();
    }

    /// Looks at the lists that are new, each by itself, for [`report`](Self::report).
    pub(super) fn look<'p>(
        &mut self,
        lists: impl Iterator<Item = &'p Shared<T>>,
        workers: &dyn Workers,
        check: impl Fn(&[T], &mut Report) + Sync,
    ) where
        T: 'p,
    {
        let is_new = |list: &&Shared<T>| !self.last.contains_key(&list.address());
        let mut new: Vec<(&Shared<T>, Report)> = lists.filter(is_new).map(|list| (list, Report::new())).collect();
        workers::for_each(workers, &mut new, |(list, found)| check(list, found));
        let found = new
            .into_iter()
            .map(|(list, found)| (list.address(), (list.clone(), found)));
        self.now.extend(found);
    }
}

impl<T> Kept<T> {
    /// Keeps what was found or reported since the last time, and no more.
    fn forget(&mut self) {
        self.last = std::mem::take(&mut self.now);
    }

    /// Reports what was found in a list.
    pub(super) fn report(&mut self, list: &Shared<T>, report: &mut Report) {
        let address = list.address();
        if let Some(known) = self.last.remove(&address) {
            self.now.insert(address, known);
        }
        if let Some((_, found)) = self.now.get(&address).filter(|(_, found)| !found.is_empty()) {
            report.append(found.clone());
        }
    }
}
