//! What changes in meaning from one policy to another: for requests, services, callers and settings.
//!
//! # How it decides
//!
//! Both policies are compiled for the same workload and asked the same questions, by the look-ups that serve traffic. The
//! questions are made of the conditions that either policy writes: for each match a request that fulfils it, requests
//! that break one of its conditions each, and requests that fulfil two matches at once; for each authorization rule its
//! callers and operations, and each other rule's. What both answer alike has not changed, however it is written: order,
//! names of files and of rules, comments, equivalent spellings.
//!
//! A condition that accepts many texts is asked with some of them, a regular expression with up to sixteen. So every change
//! that is told is one; an edit within a regular expression or of the overlap of three rules may go unseen. What is not
//! yet in force has no meaning, and is not compared.
//!
//! ```
//! use mesh_core::diff::{changes, workloads};
//! use mesh_core::policy::Loaded;
//!
//! let policy = |text: &str| Loaded::from_files([("shop.yaml", text)]).policy.unwrap();
//! let old = policy("services: { orders: { endpoints: [10.0.0.4:8080], routes: [{ to: [{ service: orders }], timeout: 5s }] } }\n");
//! let new = policy("services: { orders: { endpoints: [10.0.0.4:8080], routes: [{ to: [{ service: orders }], timeout: 9s }] } }\n");
//!
//! let found = changes(&old, &new, &workloads(&old, &new)).unwrap();
//! assert_eq!(found.changes.len(), 1);
//! assert_eq!(found.changes[0].facts[0].to_string(), "timeout: 5s → 9s");
//! assert!(changes(&old, &old, &workloads(&old, &old)).unwrap().changes.is_empty());
//! ```

mod access;
mod authorizers;
mod cors;
mod facts;
mod hosts;
pub mod impact;
mod listening;
mod merge;
mod probe;
mod routes;
mod sample;
mod services;
mod settings;
#[cfg(test)]
mod tests;
mod tokens;
mod workloads;

use serde::Serialize;

pub use facts::Fact;
pub use merge::workload_text;
pub use workloads::workloads;

use crate::explain::Place;
use crate::policy::model::Policy;
use crate::snapshot::{CompileError, Snapshot};
use crate::workload::Workload;

/// Everything that changes in meaning.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Changes {
    /// What changes, in the order of [`Area`].
    pub changes: Vec<Change>,
    /// The workloads for which both policies were asked, as `mesh explain --as` takes them.
    pub workloads: Vec<String>,
    /// What could not be asked in full.
    pub notes: Vec<String>,
}

/// What a change is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Area {
    /// Who may do what.
    Access,
    /// Which connections a port takes.
    Mtls,
    /// Which tokens requests may bear.
    Tokens,
    /// Where requests go, and what is done to them.
    Routes,
    /// Endpoints of services, and how they are talked to.
    Services,
    /// Ports and certificates of gateways.
    Gateways,
    /// Settings of the whole mesh.
    Mesh,
}

/// In which direction something changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// It is new.
    Added,
    /// It is no more.
    Removed,
    /// It is another.
    Changed,
    /// Callers may do more.
    Gained,
    /// Callers may do less.
    Lost,
}

/// One thing that changes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Change {
    /// What it is about.
    pub area: Area,
    /// In which direction.
    pub kind: Kind,
    /// What changes: a host and its route, a service, callers.
    pub subject: String,
    /// Both sides of everything that differs.
    pub facts: Vec<Fact>,
    /// Requests that tell the difference: the first few.
    pub requests: Vec<String>,
    /// How many more requests told it.
    pub more_requests: usize,
    /// The rule of the old policy.
    pub old: Option<Place>,
    /// The rule of the new policy.
    pub new: Option<Place>,
    /// For whom: all workloads that were asked, or these.
    pub workloads: Vec<String>,
}

impl Change {
    const fn new(area: Area, kind: Kind, subject: String, facts: Vec<Fact>) -> Self {
        Self {
            area,
            kind,
            subject,
            facts,
            requests: Vec::new(),
            more_requests: 0,
            old: None,
            new: None,
            workloads: Vec::new(),
        }
    }

    /// Adds the requests that told it, of which the first few are named.
    fn told_by(mut self, requests: impl IntoIterator<Item = String>) -> Self {
        for request in requests {
            if self.requests.len() < NAMED_REQUESTS {
                self.requests.push(request);
            } else {
                self.more_requests += 1;
            }
        }
        self
    }
}

/// Requests that a change names.
const NAMED_REQUESTS: usize = 4;

/// A policy with what it means for the workload in question.
#[derive(Clone, Copy, Debug)]
struct Side<'a> {
    policy: &'a Policy,
    snapshot: &'a Snapshot,
}

/// Both policies from one point of view.
#[derive(Clone, Copy, Debug)]
struct Sides<'a> {
    old: Side<'a>,
    new: Side<'a>,
}

/// What changes from `old` to `new` for these workloads.
///
/// # Errors
///
/// [`CompileError`], where one of the policies cannot be compiled.
pub fn changes(old: &Policy, new: &Policy, workloads: &[Workload]) -> Result<Changes, CompileError> {
    let mut merged = merge::Merged::default();
    let index = hosts::Index::new(old, new);
    for workload in workloads {
        let (before, after) = (
            Snapshot::compile(old, workload, 1)?,
            Snapshot::compile(new, workload, 1)?,
        );
        let sides = Sides {
            old: Side {
                policy: old,
                snapshot: &before,
            },
            new: Side {
                policy: new,
                snapshot: &after,
            },
        };
        let (found, notes) = of_workload(sides, &index);
        merged.add(workload, found, notes);
    }
    let mut of_all = settings::of_mesh(old, new);
    of_all.extend(authorizers::changes(old, new));
    Ok(merged.finish(of_all))
}

fn of_workload(sides: Sides<'_>, index: &hosts::Index<'_>) -> (Vec<Change>, Vec<String>) {
    let mut notes = Vec::new();
    let mut changes = access::changes(sides, &mut notes);
    changes.extend(listening::of_ports(sides));
    changes.extend(tokens::changes(sides));
    changes.extend(routes::changes(sides, index));
    changes.extend(services::changes(sides));
    changes.extend(listening::of_gateways(sides));
    (changes, notes)
}
