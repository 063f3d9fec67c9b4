//! Ports whose requests must be taken by a route, and which route takes one.

use super::InvalidPattern;
use crate::decide::route::Matcher;
use crate::decide::route::string::host_covers;
use crate::policy::model::server::{Server, ServerRule};
use crate::request::RequestView;

/// The routes of one port, most specific first.
#[derive(Debug)]
pub(super) struct RoutedPort {
    port: u16,
    rules: Box<[RoutedRule]>,
}

#[derive(Debug)]
struct RoutedRule {
    hosts: Box<[Box<str>]>,
    matcher: Matcher,
    route: u32,
}

/// Which route takes a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Taken {
    /// None is needed.
    #[default]
    Free,
    /// This one.
    By(u32),
    /// None does, and one is needed.
    Nowhere,
}

impl RoutedPort {
    /// The rules of a server for one of its ports; its routes are numbered from `first`.
    pub(super) fn new(port: u16, server: &Server, first: u32) -> Result<Self, InvalidPattern> {
        let compile = |rule: &ServerRule| -> Result<RoutedRule, InvalidPattern> {
            let hosts = rule.hosts.iter().map(|host| host.host.to_ascii_lowercase().into());
            let matcher = Matcher::new(&rule.matches).map_err(|error| InvalidPattern::Value(error.to_string()))?;
            Ok(RoutedRule {
                hosts: hosts.collect(),
                matcher,
                route: first.saturating_add(u32::try_from(rule.route).unwrap_or(u32::MAX)),
            })
        };
        Ok(Self {
            port,
            rules: server.rules.iter().map(compile).collect::<Result<_, _>>()?,
        })
    }

    fn take(&self, request: &RequestView<'_>) -> Taken {
        let taking = self.rules.iter().find(|rule| rule.takes(request));
        taking.map_or(Taken::Nowhere, |rule| Taken::By(rule.route))
    }
}

impl RoutedRule {
    fn takes(&self, request: &RequestView<'_>) -> bool {
        let is_named = || self.hosts.iter().any(|host| host_covers(host, request.host));
        (self.hosts.is_empty() || is_named()) && self.matcher.matches(request)
    }
}

/// The route that takes a request to `port`; a connection without requests needs none.
pub(super) fn take(ports: &[RoutedPort], port: u16, request: Option<&RequestView<'_>>) -> Taken {
    let Some(request) = request else {
        return Taken::Free;
    };
    let routed = ports.iter().find(|routed| routed.port == port);
    routed.map_or(Taken::Free, |routed| routed.take(request))
}
