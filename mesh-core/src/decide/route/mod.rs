//! Which rule takes a request, and where the request then goes.
//!
//! A [`Router`] is the look-up of one point of view: the clients of the mesh, or one port of a
//! gateway. It finds the virtual host by name (exact, then the longest wildcard) and in it the first
//! rule, in written order, that matches. Rules are indexed by path, so that the cost does not grow
//! with their number; the order is kept by comparing positions, never by specificity.

mod claim;
mod class;
mod hosts;
mod matcher;
mod prefixes;
mod rules;
mod split;
pub mod string;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

pub use hosts::HostTable;
pub use matcher::{MatchError, Matcher};
pub(crate) use prefixes::Prefixes;
pub use rules::RuleList;
pub use split::Split;

use super::shape::{Edit, Shape};
use crate::policy::model::Origin;
use crate::policy::model::traffic::RetryPolicy;
use crate::random::Rng;
use crate::request::RequestView;

/// The virtual hosts of one point of view.
#[derive(Debug, Default)]
pub struct Router {
    hosts: HostTable<VirtualHost>,
}

impl Router {
    /// A router over these virtual hosts.
    #[must_use]
    pub const fn new(hosts: HostTable<VirtualHost>) -> Self {
        Self { hosts }
    }

    /// The virtual host that `host` (canonical: lower case, no port) belongs to.
    #[must_use]
    pub fn virtual_host(&self, host: &str) -> Option<&VirtualHost> {
        self.hosts.find(host)
    }

    /// Finds the rule for a request. Allocates nothing.
    #[must_use]
    pub fn route(&self, request: &RequestView<'_>) -> RouteResult<'_> {
        match self.virtual_host(request.host) {
            Some(host) => host.route(request),
            None => RouteResult::UnknownHost,
        }
    }

    /// All virtual hosts, in no order.
    pub fn virtual_hosts(&self) -> impl Iterator<Item = &VirtualHost> {
        self.hosts.values()
    }
}

/// What [`Router::route`] found.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum RouteResult<'a> {
    /// A rule takes the request.
    Route(Selected<'a>),
    /// The host is known; none of its rules matches.
    NoRoute(&'a VirtualHost),
    /// The host is in no policy.
    UnknownHost,
}

/// The rules of one host.
#[derive(Debug, Default)]
pub struct VirtualHost {
    /// Its name: the service's full name, or a pattern.
    pub name: Arc<str>,
    /// First match wins. Shared with the snapshot before, where it had the same.
    pub rules: Arc<RuleList<Route>>,
    /// Route classes that fill in timeouts and retries.
    pub classes: RuleList<RouteClass>,
}

impl VirtualHost {
    /// Finds the rule for a request to this host.
    #[inline]
    #[must_use]
    pub fn route(&self, request: &RequestView<'_>) -> RouteResult<'_> {
        let class = self.classes.find(request);
        match self.rules.find(request) {
            Some(route) => RouteResult::Route(Selected {
                host: self,
                route,
                class,
            }),
            None => RouteResult::NoRoute(self),
        }
    }
}

/// A compiled rule.
#[derive(Debug)]
#[non_exhaustive]
pub struct Route {
    /// `rule` or `rule.match`; `table#position` where the policy names none.
    pub name: Arc<str>,
    /// Where it was written.
    pub origin: Origin,
    /// Where the rule was written that hands its requests to this one, where one does.
    pub delegated: Option<Origin>,
    /// Where its requests go.
    pub choices: Box<[Choice]>,
    /// The shares of the choices, by their index.
    pub split: Split,
    /// What it does beside forwarding.
    pub shape: Option<Arc<Shape>>,
    /// Limit for the whole exchange.
    pub timeout: Option<Duration>,
    /// Retries; `None` takes the class's, else the target's.
    pub retry: Option<Arc<RetryPolicy>>,
    /// What logs and metrics call its requests.
    pub named_by: NamedBy,
}

/// What gives the requests of a rule their name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is nothing else that could")]
pub enum NamedBy {
    /// The rule.
    #[default]
    Rule,
    /// The service's route class, where one takes the request: the rule is only the way to the service.
    Class,
}

impl Route {
    /// A rule that sends its requests to one of `choices`, each with its weight, and does nothing else.
    #[must_use]
    pub fn new(name: Arc<str>, origin: Origin, choices: Vec<(Choice, u32)>) -> Self {
        let weights: Vec<_> = choices
            .iter()
            .enumerate()
            .map(|(index, (_, weight))| (index, *weight))
            .collect();
        Self {
            name,
            origin,
            delegated: None,
            split: Split::new(&weights),
            choices: choices.into_iter().map(|(choice, _)| choice).collect(),
            shape: None,
            timeout: None,
            retry: None,
            named_by: NamedBy::Rule,
        }
    }

    /// Draws where a request goes; `None` where no choice has a weight.
    pub fn draw(&self, rng: &mut (impl Rng + ?Sized)) -> Option<&Choice> {
        self.choices.get(self.split.draw(rng)?)
    }

    /// The choices with their shares, which sum to 1.
    pub fn shares(&self) -> impl Iterator<Item = (&Choice, f64)> {
        let shares = self.split.shares();
        shares.filter_map(|(index, share)| Some((self.choices.get(index)?, share)))
    }
}

/// One of the places that a rule sends its requests to.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "a reference leads to something or it does not")]
pub enum Choice {
    /// A target.
    Target {
        /// Its index in the snapshot.
        target: usize,
        /// What is changed on the way.
        edit: Option<Arc<Edit>>,
    },
    /// Nothing that can be called, for this reason: its share is answered with 500.
    Unresolved(Arc<str>),
}

impl Choice {
    /// A target whose requests are not changed.
    #[must_use]
    pub const fn target(target: usize) -> Self {
        Self::Target { target, edit: None }
    }

    /// The target's index in the snapshot, where there is one.
    #[must_use]
    pub const fn index(&self) -> Option<usize> {
        match self {
            Self::Target { target, .. } => Some(*target),
            Self::Unresolved(_) => None,
        }
    }
}

/// A compiled route class (Linkerd's `ServiceProfile`).
#[derive(Debug)]
#[non_exhaustive]
pub struct RouteClass {
    /// Its name.
    pub name: Arc<str>,
    /// Where it was written.
    pub origin: Origin,
    /// Limit for the whole exchange; `None` is no limit.
    pub timeout: Option<Duration>,
    /// Retries, where its requests may be tried again.
    pub retry: Option<Arc<RetryPolicy>>,
}

impl RouteClass {
    /// A class whose requests are not tried again.
    #[must_use]
    pub const fn new(name: Arc<str>, origin: Origin, timeout: Option<Duration>) -> Self {
        Self {
            name,
            origin,
            timeout,
            retry: None,
        }
    }
}

/// The rule that takes a request, with the class that fills its gaps.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Selected<'a> {
    /// The virtual host.
    pub host: &'a VirtualHost,
    /// The rule.
    pub route: &'a Route,
    /// The route class, if the service has any that matches.
    pub class: Option<&'a RouteClass>,
}

impl<'a> Selected<'a> {
    /// What logs and metrics call the route: the class where the rule is only the service's default, else the rule.
    #[must_use]
    pub fn name(&self) -> &'a Arc<str> {
        match self.class {
            Some(class) if self.route.named_by == NamedBy::Class => &class.name,
            _ => &self.route.name,
        }
    }

    /// Where the deciding rule was written.
    #[must_use]
    pub fn origin(&self) -> &'a Origin {
        match self.class {
            Some(class) if self.route.named_by == NamedBy::Class => &class.origin,
            _ => &self.route.origin,
        }
    }

    /// Limit for the whole exchange.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        self.route
            .timeout
            .or_else(|| self.class.and_then(|class| class.timeout))
    }

    /// Retries that the rule or its class sets; `None` leaves them to the target.
    #[must_use]
    pub fn retry(&self) -> Option<&'a Arc<RetryPolicy>> {
        self.route
            .retry
            .as_ref()
            .or_else(|| self.class.and_then(|class| class.retry.as_ref()))
    }
}
