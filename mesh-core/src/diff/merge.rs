//! The same change for several workloads, told once.

use std::collections::BTreeMap;

use super::{Change, Changes};
use crate::workload::Workload;

/// Changes with the workloads that they hold for.
#[derive(Debug, Default)]
pub(super) struct Merged {
    /// By what they say.
    changes: BTreeMap<String, Change>,
    workloads: Vec<String>,
    notes: Vec<String>,
}

impl Merged {
    pub(super) fn add(&mut self, workload: &Workload, changes: Vec<Change>, notes: Vec<String>) {
        let name = workload_text(workload);
        for change in changes {
            let key = format!(
                "{:?}",
                (
                    change.area,
                    &change.subject,
                    change.kind,
                    &change.facts,
                    &change.requests
                )
            );
            let merged = self.changes.entry(key).or_insert(change);
            if merged.workloads.last() != Some(&name) {
                merged.workloads.push(name.clone());
            }
        }
        self.notes
            .extend(notes.into_iter().map(|note| format!("{name}: {note}")));
        self.workloads.push(name);
    }

    /// All changes in order; `of_all` hold for every workload.
    pub(super) fn finish(self, of_all: Vec<Change>) -> Changes {
        let mut changes: Vec<Change> = self.changes.into_values().collect();
        changes.extend(of_all.into_iter().map(|change| Change {
            workloads: self.workloads.clone(),
            ..change
        }));
        changes.sort_by(|left, right| {
            let key = |change: &Change| (change.area, change.subject.clone(), change.kind);
            key(left).cmp(&key(right))
        });
        Changes {
            changes,
            workloads: self.workloads,
            notes: self.notes,
        }
    }
}

/// A workload as `mesh explain --as` takes it: `namespace=shop,sa=web,app=web`.
#[must_use]
pub fn workload_text(workload: &Workload) -> String {
    let mut text = format!("namespace={}", workload.namespace);
    if workload.service_account != "default" {
        text.push_str(&format!(",sa={}", workload.service_account));
    }
    for (key, value) in &workload.labels {
        text.push_str(&format!(",{key}={value}"));
    }
    text
}
