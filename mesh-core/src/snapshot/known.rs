//! The rules of hosts that policies before and after a reload have in common.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::decide::route::{Route, RuleList};
use crate::policy::model::Shared;
use crate::policy::model::route::{RouteRule, RouteTable};

/// What was made of the tables of the last policy for one workload, for the next one.
#[derive(Debug, Default)]
pub(super) struct KnownRoutes {
    /// By the host that a table is for.
    last: FxHashMap<Box<str>, Arc<HostRules>>,
    now: FxHashMap<Box<str>, Arc<HostRules>>,
}

/// The rules of a host, and what they were made of.
#[derive(Debug)]
pub(super) struct HostRules {
    list: Shared<RouteRule>,
    /// The name of the table, which rules without a name have in theirs.
    table: String,
    /// The targets that the rules name, in order: only where these have the same places do the rules lead there.
    pub(super) wanted: Vec<Wanted>,
    pub(super) rules: Arc<RuleList<Route>>,
}

/// A target as rules ask for it, and its place in the snapshot.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) host: Box<str>,
    pub(super) subset: Option<Box<str>>,
    pub(super) port: Option<u16>,
    pub(super) index: usize,
}

impl HostRules {
    pub(super) fn new(table: &RouteTable, wanted: Vec<Wanted>, rules: RuleList<Route>) -> Self {
        Self {
            list: table.rules.clone(),
            table: table.meta.name.clone(),
            wanted,
            rules: Arc::new(rules),
        }
    }

    /// Whether they were made of this table, as far as the table alone tells.
    fn are_of(&self, table: &RouteTable) -> bool {
        self.list.is(&table.rules) && self.table == table.meta.name
    }
}

impl KnownRoutes {
    /// The rules of a host that were made of this table.
    pub(super) fn find(&self, host: &str, table: &RouteTable) -> Option<Arc<HostRules>> {
        self.last.get(host).filter(|rules| rules.are_of(table)).cloned()
    }

    /// Keeps the rules of a host for the next policy.
    pub(super) fn keep(&mut self, host: &str, rules: &Arc<HostRules>) {
        self.now.insert(host.into(), Arc::clone(rules));
    }

    /// Begins with a policy. What was made of one that could not be compiled is forgotten.
    pub(super) fn begin(&mut self) {
        self.now.clear();
    }

    /// Forgets what the policy did not have.
    pub(super) fn end(&mut self) {
        self.last = std::mem::take(&mut self.now);
    }
}
