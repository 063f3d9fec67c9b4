//! Gateways that this workload serves: ports, TLS and the virtual hosts bound to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::StatusCode;

use crate::decide::route::string::{host_covers, more_specific};
use crate::decide::route::{HostTable, Matcher, Route, RouteResult, Router, RuleList, VirtualHost};
use crate::decide::shape::Shape;
use crate::policy::model::filter::{Answer, Redirect, RedirectPort};
use crate::policy::model::gateway::{Gateway, GatewayHost, GatewayServer, GatewayTls, Listeners, PlainText};
use crate::policy::model::route::{Binding, RouteMatch, RouteRule, RouteTable};
use crate::policy::model::{Origin, selects};
use crate::request::{RequestView, Transport};

use super::outbound::{Builder, Reach, View};
use super::registry::distance;
use super::specific;
use super::{CompileError, Snapshot};

/// A gateway that this workload serves.
#[derive(Debug)]
#[non_exhaustive]
pub struct GatewayConfig {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Where it was written.
    pub origin: Origin,
    /// Its ports.
    pub ports: Vec<GatewayPort>,
}

/// One port number of a gateway: all servers that share it.
#[derive(Debug)]
#[non_exhaustive]
pub struct GatewayPort {
    /// The port as the policy numbers it.
    pub number: u16,
    /// Certificates by host, in the order written; empty for plain text.
    pub tls: Vec<GatewayVirtualTls>,
    /// Routes of the port's hosts.
    pub router: Router,
}

/// Which certificate a host of a gateway shows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GatewayVirtualTls {
    /// Host patterns.
    pub hosts: Vec<String>,
    /// Where the certificate lies.
    pub tls: GatewayTls,
}

impl Snapshot {
    /// What a port of the gateways speaks: TLS where any of its servers does. `None` where no gateway has it.
    #[must_use]
    pub fn gateway_transport(&self, number: u16) -> Option<Transport> {
        let ports = self.gateways.iter().flat_map(|gateway| &gateway.ports);
        let mut same = ports.filter(|port| port.number == number).peekable();
        same.peek()?;
        match same.any(|port| !port.tls.is_empty()) {
            true => Some(Transport::Tls),
            false => Some(Transport::Plain),
        }
    }

    /// Finds the rule for a request that came in by this port of the gateways. Where gateways share it, the most
    /// specific host decides, as it does which certificate is shown; of equal ones that of the first gateway.
    #[must_use]
    pub fn route_at_gateways(&self, port: u16, request: &RequestView<'_>) -> RouteResult<'_> {
        let ports = self.gateways.iter().flat_map(|gateway| &gateway.ports);
        let hosts = ports
            .filter(|known| known.number == port)
            .filter_map(|known| known.router.virtual_host(request.host));
        match hosts.min_by(|a, b| more_specific(&a.name, &b.name)) {
            Some(host) => host.route(request),
            None => RouteResult::UnknownHost,
        }
    }
}

impl<'a> Builder<'a> {
    pub(super) fn gateways(&mut self) -> Result<Vec<GatewayConfig>, CompileError> {
        let policy = self.registry.policy;
        let labels = &self.registry.workload.labels;
        let namespace = &self.registry.workload.namespace;
        let mut ours: Vec<_> = policy
            .gateways
            .iter()
            .filter(|gateway| selects(&gateway.selector, labels))
            .filter(|gateway| gateway.listeners == Listeners::Merged || gateway.meta.namespace == *namespace)
            .collect();
        ours.sort_by_key(|gateway| gateway.meta.precedence());
        ours.into_iter().map(|gateway| self.gateway(gateway)).collect()
    }

    fn gateway(&mut self, gateway: &Gateway) -> Result<GatewayConfig, CompileError> {
        let mut numbers: Vec<_> = gateway.servers.iter().map(|server| server.port).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let ports = numbers
            .into_iter()
            .map(|number| self.gateway_port(gateway, number))
            .collect::<Result<_, _>>()?;
        Ok(GatewayConfig {
            name: gateway.meta.name.clone(),
            namespace: gateway.meta.namespace.clone(),
            origin: gateway.meta.origin.clone(),
            ports,
        })
    }

    fn gateway_port(&mut self, gateway: &Gateway, number: u16) -> Result<GatewayPort, CompileError> {
        let servers: Vec<_> = gateway.servers.iter().filter(|server| server.port == number).collect();
        let mut table: HostTable<VirtualHost> = HostTable::default();
        for (host, tables) in self.served_hosts(gateway, &servers) {
            let virtual_host = match servers.iter().find(|server| redirects(server, &host)) {
                Some(server) => to_https(&host, server)?,
                None => self.gateway_host(&host, &tables, View::Gateway(gateway, number))?,
            };
            table.insert([host.as_str()], virtual_host);
        }
        let tls = servers.iter().filter_map(|server| {
            let hosts = server.hosts.iter().map(|host| host.host.clone()).collect();
            server.tls.clone().map(|tls| GatewayVirtualTls { hosts, tls })
        });
        Ok(GatewayPort {
            number,
            tls: tls.collect(),
            router: Router::new(table),
        })
    }

    /// The tables bound to a gateway, in order of precedence.
    fn bound_tables(&self, gateway: &Gateway) -> Vec<&'a RouteTable> {
        let bound = |table: &&RouteTable| {
            table.export.includes(&gateway.meta.namespace)
                && table.bindings.iter().any(|binding| binds(binding, gateway))
        };
        let mut tables: Vec<_> = self.registry.policy.routes.iter().filter(bound).collect();
        tables.sort_by_key(|table| (distance(table, &gateway.meta.namespace), table.meta.precedence()));
        tables
    }

    /// The names under which routes are served, the narrower of each pair of server host and table host, with their
    /// tables in order. A listener that is kept apart is there without a route, too: it then answers 404, and no other
    /// one takes its requests. So is a server that sends its callers to `https`, which asks for no route.
    fn served_hosts(&self, gateway: &Gateway, servers: &[&GatewayServer]) -> BTreeMap<String, Vec<&'a RouteTable>> {
        let mut hosts: BTreeMap<String, Vec<&RouteTable>> = BTreeMap::new();
        let is_there = |server: &&&GatewayServer| {
            gateway.listeners == Listeners::Isolated || server.plain_text == PlainText::RedirectToHttps
        };
        let own = servers.iter().filter(is_there).flat_map(|server| &server.hosts);
        hosts.extend(own.map(|host| (host.host.trim_end_matches('.').to_owned(), Vec::new())));
        for table in self.bound_tables(gateway) {
            let names: BTreeSet<String> = served(gateway, servers, table).into_iter().collect();
            for name in names {
                hosts.entry(name).or_default().push(table);
            }
        }
        hosts
    }

    /// The rules of all tables of a host, in order; what takes everything goes last.
    fn gateway_host(
        &mut self,
        host: &str,
        tables: &[&RouteTable],
        view: View<'_>,
    ) -> Result<VirtualHost, CompileError> {
        let mut rules = Vec::new();
        for table in tables {
            rules.extend(self.compiled(table, view)?);
        }
        rules.sort_by_key(|rule| rule.rank.is_none() && rule.reach == Reach::All);
        specific::sort(&mut rules);
        let mut list = RuleList::default();
        for rule in rules {
            list.push([rule.matcher], rule.route);
        }
        Ok(VirtualHost {
            name: host.into(),
            rules: Arc::new(list),
            ..VirtualHost::default()
        })
    }
}

/// The names that a table serves at these servers of a gateway.
fn served(gateway: &Gateway, servers: &[&GatewayServer], table: &RouteTable) -> Vec<String> {
    let bound = servers.iter().filter(|server| {
        table
            .bindings
            .iter()
            .any(|binding| binds_server(binding, gateway, server))
    });
    let names = bound.flat_map(|server| {
        let names = table
            .hosts
            .iter()
            .flat_map(|host| intersections(server, table, &host.host));
        names.filter(|name| gateway.listeners == Listeners::Merged || is_nearest(server, servers, name))
    });
    names.collect()
}

/// Whether no other server of the port has a more specific host for a name.
fn is_nearest(server: &GatewayServer, servers: &[&GatewayServer], name: &str) -> bool {
    let specificity = |server: &GatewayServer| {
        let hosts = server.hosts.iter().map(|host| host.host.trim_end_matches('.'));
        let covering = hosts.filter(|host| *host == name || host_covers(host, name));
        covering
            .map(|host| if host.starts_with('*') { host.len() } else { usize::MAX })
            .max()
    };
    let own = specificity(server);
    servers.iter().all(|other| specificity(other) <= own)
}

/// Whether a server sends the callers of a host to `https`.
fn redirects(server: &GatewayServer, host: &str) -> bool {
    let covers = |own: &GatewayHost| own.host == host || host_covers(&own.host, host);
    server.plain_text == PlainText::RedirectToHttps && server.hosts.iter().any(covers)
}

/// All requests of a host are sent to `https`, whatever its routes say.
fn to_https(host: &str, server: &GatewayServer) -> Result<VirtualHost, CompileError> {
    let mut redirect = Redirect::new(StatusCode::MOVED_PERMANENTLY);
    redirect.scheme = Some("https".into());
    redirect.port = RedirectPort::ProtocolDefault;
    let rule = RouteRule {
        origin: server.origin.clone(),
        answer: Some(Answer::Redirect(redirect)),
        ..RouteRule::default()
    };
    let shape = Shape::compile(&rule, &RouteMatch::default(), Box::default());
    let mut route = Route::new("https-redirect".into(), server.origin.clone(), Vec::new());
    route.shape = shape
        .map_err(|error| CompileError::shape(&server.origin, error))?
        .map(Arc::new);
    let mut rules = RuleList::default();
    rules.push([Matcher::any()], route);
    Ok(VirtualHost {
        name: host.into(),
        rules: Arc::new(rules),
        ..VirtualHost::default()
    })
}

fn binds(binding: &Binding, gateway: &Gateway) -> bool {
    matches!(binding, Binding::Gateway { namespace, name, .. } if *namespace == gateway.meta.namespace && *name == gateway.meta.name)
}

/// Whether a binding is to this server of the gateway.
fn binds_server(binding: &Binding, gateway: &Gateway, server: &GatewayServer) -> bool {
    let Binding::Gateway { section, port, .. } = binding else {
        return false;
    };
    binds(binding, gateway)
        && section.as_ref().is_none_or(|section| *section == server.port_name)
        && port.is_none_or(|port| port == server.port)
}

/// The narrower name of each pair in which one covers the other.
fn intersections(server: &GatewayServer, table: &RouteTable, host: &str) -> Vec<String> {
    let visible = |namespace: &Option<String>| namespace.as_ref().is_none_or(|name| *name == table.meta.namespace);
    let hosts = server.hosts.iter().filter(|own| visible(&own.namespace));
    hosts
        .filter_map(|own| narrower(own.host.trim_end_matches('.'), host))
        .collect()
}

fn narrower(a: &str, b: &str) -> Option<String> {
    if a == b || host_covers(a, b) {
        Some(b.into())
    } else if host_covers(b, a) {
        Some(a.into())
    } else {
        None
    }
}
