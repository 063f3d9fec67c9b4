//! Which conditions either policy writes for a host.

use std::collections::BTreeMap;

use crate::decide::route::string::host_covers;
use crate::policy::model::Policy;
use crate::policy::model::filter::Cors;
use crate::policy::model::profile::ProfileRoute;
use crate::policy::model::route::RouteMatch;

/// What is written for one host.
#[derive(Clone, Debug, Default)]
pub(super) struct Written<'p> {
    pub(super) matches: Vec<&'p RouteMatch>,
    pub(super) classes: Vec<&'p ProfileRoute>,
    pub(super) cors: Vec<&'p Cors>,
}

impl<'p> Written<'p> {
    fn add(&mut self, other: &Self) {
        self.matches.extend(&other.matches);
        self.classes.extend(&other.classes);
        self.cors.extend(&other.cors);
    }
}

/// The conditions of both policies, by host.
#[derive(Debug, Default)]
pub(super) struct Index<'p> {
    exact: BTreeMap<&'p str, Written<'p>>,
    patterns: Vec<(&'p str, Written<'p>)>,
}

impl<'p> Index<'p> {
    pub(super) fn new(old: &'p Policy, new: &'p Policy) -> Self {
        let mut index = Self::default();
        for policy in [old, new] {
            index.add(policy);
        }
        index
    }

    fn add(&mut self, policy: &'p Policy) {
        for table in &policy.routes {
            let written = Written {
                matches: table.rules.iter().flat_map(|rule| &rule.matches).collect(),
                classes: Vec::new(),
                cors: table.rules.iter().filter_map(|rule| rule.cors.as_ref()).collect(),
            };
            for host in table.hosts.iter().map(|pattern| pattern.host.as_str()) {
                if host.starts_with('*') {
                    self.patterns.push((host, written.clone()));
                } else {
                    self.exact.entry(host).or_default().add(&written);
                }
            }
        }
        for profile in &policy.profiles {
            self.exact
                .entry(&profile.host)
                .or_default()
                .classes
                .extend(&profile.routes);
        }
    }

    /// What is written for a host or a pattern of hosts, each condition once.
    pub(super) fn of(&self, host: &str) -> Written<'p> {
        let mut all = self.exact.get(host).cloned().unwrap_or_default();
        let related = |pattern: &str| host_covers(pattern, host) || host_covers(host, pattern);
        for (_, written) in self.patterns.iter().filter(|(pattern, _)| related(pattern)) {
            all.add(written);
        }
        all
    }
}
