//! Which rule takes a request, and where the request then goes.
//!
//! A [`Router`] is the look-up of one point of view: the clients of the mesh, or one port of a
//! gateway. It finds the virtual host by name (exact, then the longest wildcard) and in it the first
//! rule, in written order, that matches. Rules are indexed by path, so that the cost does not grow
//! with their number; the order is kept by comparing positions, never by specificity.

mod hosts;
mod matcher;
mod rules;
mod split;
pub mod string;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

pub use hosts::HostTable;
pub use matcher::{MatchError, Matcher};
pub use rules::RuleList;
pub use split::Split;

use crate::policy::model::Origin;
use crate::policy::model::traffic::RetryPolicy;
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
        let Some(host) = self.virtual_host(request.host) else {
            return RouteResult::UnknownHost;
        };
        let class = host.classes.find(request);
        match host.rules.find(request) {
            Some(route) => RouteResult::Route(Selected { host, route, class }),
            None => RouteResult::NoRoute(host),
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
    /// First match wins.
    pub rules: RuleList<Route>,
    /// Route classes that fill in timeouts and retries.
    pub classes: RuleList<RouteClass>,
}

/// A compiled rule.
#[derive(Debug)]
#[non_exhaustive]
pub struct Route {
    /// `rule` or `rule.match`; `table#position` where the policy names none.
    pub name: Arc<str>,
    /// Where it was written.
    pub origin: Origin,
    /// The shares of its targets, by their index in the snapshot.
    pub targets: Split,
    /// Limit for the whole exchange.
    pub timeout: Option<Duration>,
    /// Retries; `None` takes the class's, else the target's.
    pub retry: Option<Arc<RetryPolicy>>,
}

impl Route {
    /// A rule without timeout and retries of its own.
    #[must_use]
    pub const fn new(name: Arc<str>, origin: Origin, targets: Split) -> Self {
        Self {
            name,
            origin,
            targets,
            timeout: None,
            retry: None,
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
            Some(class) if self.route.origin.line == 0 => &class.name,
            _ => &self.route.name,
        }
    }

    /// Where the deciding rule was written.
    #[must_use]
    pub fn origin(&self) -> &'a Origin {
        match self.class {
            Some(class) if self.route.origin.line == 0 => &class.origin,
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
