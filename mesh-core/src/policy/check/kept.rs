//! What was found in parts of a policy, for the next one that has them, too.

use rustc_hash::FxHashMap;

use crate::policy::diagnostic::Report;
use crate::policy::model::authz::Rule;
use crate::policy::model::route::RouteRule;
use crate::policy::model::{MeshSettings, Shared};

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

impl<T> Kept<T> {
    /// Reports what is found in a list, which is looked at where it is new.
    pub(super) fn report(&mut self, list: &Shared<T>, report: &mut Report, check: impl FnOnce(&mut Report)) {
        let address = list.address();
        let (_, found) = self.now.entry(address).or_insert_with(|| {
            self.last.remove(&address).unwrap_or_else(|| {
                let mut found = Report::new();
                check(&mut found);
                (list.clone(), found)
            })
        });
        if !found.is_empty() {
            report.append(found.clone());
        }
    }
}
