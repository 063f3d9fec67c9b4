//! What was found in parts of a policy, for the next one that has them, too.

use rustc_hash::FxHashMap;

use crate::policy::diagnostic::Report;
use crate::policy::model::authz::Rule;
use crate::policy::model::route::RouteRule;
use crate::policy::model::{MeshSettings, Shared};
use crate::workers::{self, Workers};

/// What was found in the last policy.
#[derive(Debug, Default)]
pub(in crate::policy) struct Checked {
    mesh: MeshSettings,
    pub(super) reach: Kept<RouteRule>,
    pub(super) patterns: Kept<Rule>,
}

impl Checked {
    /// Begins with a policy of a mesh with these settings.
    pub(super) fn begin(&mut self, mesh: &MeshSettings) {
        if self.mesh != *mesh {
            *self = Self {
                mesh: mesh.clone(),
                ..Self::default()
            };
        }
    }

    /// Forgets what the policy did not have.
    pub(super) fn end(&mut self) {
        self.reach.last = std::mem::take(&mut self.reach.now);
        self.patterns.last = std::mem::take(&mut self.patterns.now);
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
