//! Recorded requests, asked of both policies: which of them a change concerns, and how.
//!
//! A file holds one JSON object a line, of either kind:
//!
//! - a request: `{"direction": "outbound", "as": {"namespace": "shop", "app": "web"}, "method": "GET", "url":
//!   "http://orders/api", "headers": {"x-version": "canary"}}`, for `inbound` with `from`, `source_ip` and `port`;
//! - a line of the mesh's own access log in JSON, told by its `reporter`.
//!
//! ```
//! use mesh_core::diff::impact::{read, replay};
//! use mesh_core::policy::Loaded;
//!
//! let policy = |text: &str| Loaded::from_files([("shop.yaml", text)]).policy.unwrap();
//! let old = policy("services: { orders: { endpoints: [10.0.0.4:8080] } }\n");
//! let new = policy("services: { orders: { endpoints: [10.0.0.4:8080], routes: [{ match: { path: { prefix: /api } }, to: [{ service: orders }] }] } }\n");
//!
//! let requests = "{\"url\": \"http://orders/api\"}\n{\"url\": \"http://orders/\"}\n";
//! let impact = replay(&old, &new, &read("requests.jsonl", requests, None).unwrap()).unwrap();
//! assert_eq!((impact.requests, impact.changed), (2, 1));
//! assert_eq!(impact.groups[0].facts[0].to_string(), "outcome: routed → no_route");
//! ```

mod line;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::Serialize;
use serde_json::Value as Json;

pub use line::{InvalidLine, Recorded, Recording, read};

use super::facts::{Fact, of_answers};
use super::merge::workload_text;
use crate::policy::model::Policy;
use crate::snapshot::{CompileError, Snapshot};
use crate::trial::question;
use crate::workload::Workload;
use line::Way;

/// What becomes of recorded requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Impact {
    /// How many were asked.
    pub requests: usize,
    /// How many are answered otherwise by the new policy.
    pub changed: usize,
    /// Lines of an access log that say too little to ask.
    pub skipped: usize,
    /// The changes, those of most requests first.
    pub groups: Vec<Group>,
}

/// Requests that change in the same way.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Group {
    /// How many.
    pub requests: usize,
    /// `outbound` or `inbound`.
    pub direction: &'static str,
    /// Both sides of everything that differs.
    pub facts: Vec<Fact>,
    /// The first of them.
    pub examples: Vec<Example>,
}

/// One of the requests.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Example {
    /// Its line in the file, from 1.
    pub line: usize,
    /// The request: method and URL.
    pub request: String,
    /// Who sends or receives it.
    pub workload: String,
}

/// Requests that a group names.
const EXAMPLES: usize = 3;

/// Asks both policies for every request.
///
/// # Errors
///
/// [`CompileError`], where one of the policies cannot be compiled.
pub fn replay(old: &Policy, new: &Policy, recording: &Recording) -> Result<Impact, CompileError> {
    let mut compiled = Compiled::default();
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for one in &recording.requests {
        let (before, after) = compiled.of(old, new, &one.workload)?;
        let facts = of_answers(&one.answer(before), &one.answer(after));
        if facts.is_empty() {
            continue;
        }
        let direction = one.direction();
        let group = groups.entry(format!("{direction} {facts:?}")).or_insert_with(|| Group {
            requests: 0,
            direction,
            facts,
            examples: Vec::new(),
        });
        group.requests += 1;
        if group.examples.len() < EXAMPLES {
            group.examples.push(one.example());
        }
    }
    let mut groups: Vec<Group> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.requests));
    Ok(Impact {
        requests: recording.requests.len(),
        changed: groups.iter().map(|group| group.requests).sum(),
        skipped: recording.skipped,
        groups,
    })
}

/// Both policies for each workload, compiled once.
#[derive(Default)]
struct Compiled {
    known: BTreeMap<String, (Snapshot, Snapshot)>,
}

impl Compiled {
    fn of(&mut self, old: &Policy, new: &Policy, workload: &Workload) -> Result<(&Snapshot, &Snapshot), CompileError> {
        let both = match self.known.entry(workload_text(workload)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let before = Snapshot::compile(old, workload, 1)?;
                place.insert((before, Snapshot::compile(new, workload, 1)?))
            }
        };
        Ok((&both.0, &both.1))
    }
}

impl Recorded {
    const fn direction(&self) -> &'static str {
        match self.way {
            Way::Outbound(_) => "outbound",
            Way::Inbound(_) => "inbound",
        }
    }

    /// The answer; the reason where no question can be made of it.
    fn answer(&self, snapshot: &Snapshot) -> Json {
        let answer = match &self.way {
            Way::Outbound(gateway) => question::outbound(snapshot, &self.asked, gateway.as_deref(), None),
            Way::Inbound(received) => question::inbound(snapshot, &self.asked, received),
        };
        answer.unwrap_or_else(Json::String)
    }

    fn example(&self) -> Example {
        Example {
            line: self.line,
            request: format!("{} {}", self.asked.method, self.asked.url),
            workload: workload_text(&self.workload),
        }
    }
}
