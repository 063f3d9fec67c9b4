//! Virtual hosts: which rules a host ends up with for this workload's clients, or at a gateway.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::CompileError;
use super::registry::{Listed, Registry};
use super::target::{EndpointAddress, EndpointTls, Target, TargetEndpoint, TargetEndpoints};
use super::traffic::{Destination, Settled, settle};
use crate::decide::authz::resolve_mtls;
use crate::decide::route::{HostTable, Matcher, Route, RouteClass, RuleList, Split, VirtualHost};
use crate::identity::{SpiffeId, TrustDomain};
use crate::policy::model::identity::MtlsMode;
use crate::policy::model::route::{
    self, Binding, ProfileRoute, Retryable, RouteMatch, RouteRule, RouteTable, ServiceProfile,
};
use crate::policy::model::service::{Endpoint, ServicePort};
use crate::policy::model::traffic::{ClientTls, RetryCondition, RetryOn, RetryPolicy, Subset};
use crate::policy::model::{Labels, Origin, selects};
use crate::workload::Workload;

/// Builds virtual hosts and collects the targets that they name.
#[derive(Debug)]
pub(super) struct Builder<'a> {
    pub(super) registry: Registry<'a>,
    targets: Vec<Target>,
    by_name: BTreeMap<(String, Option<String>, Option<u16>), usize>,
}

/// What the endpoints of one target have in common.
#[derive(Clone, Copy, Debug)]
struct Of<'s> {
    host: &'s str,
    settled: &'s Settled,
    port: Option<u16>,
    service_port: Option<&'s ServicePort>,
}

impl Of<'_> {
    /// The port that the server of an endpoint listens on; 0, which no policy names, where the caller's choice decides.
    fn server_port(&self, endpoint: &Endpoint) -> u16 {
        let named = self
            .service_port
            .and_then(|port| endpoint.ports.get(&port.name))
            .copied();
        let target = self.service_port.and_then(|port| port.target);
        endpoint.port.or(named).or(target).or(self.port).unwrap_or_default()
    }
}

/// Whose point of view a rule is read from.
#[derive(Clone, Copy, Debug)]
pub(super) enum View<'a> {
    /// A client of the mesh.
    Mesh,
    /// The gateway of this namespace and name.
    Gateway(&'a str, &'a str),
}

impl View<'_> {
    fn is(self, binding: &Binding) -> bool {
        match (self, binding) {
            (Self::Mesh, Binding::Mesh) => true,
            (Self::Gateway(ns, gateway), Binding::Gateway { namespace, name, .. }) => {
                ns == namespace && gateway == name
            }
            _ => false,
        }
    }
}

impl<'a> Builder<'a> {
    pub(super) const fn new(registry: Registry<'a>) -> Self {
        Self {
            registry,
            targets: Vec::new(),
            by_name: BTreeMap::new(),
        }
    }

    pub(super) fn into_targets(self) -> Vec<Target> {
        self.targets
    }

    /// The virtual hosts of the mesh's clients.
    pub(super) fn mesh_hosts(&mut self) -> Result<HostTable<VirtualHost>, CompileError> {
        let mut table = HostTable::default();
        let hosts: Vec<_> = self.registry.hosts().collect();
        // Full names go first: a short form of one service never hides the full name of another.
        let mut built = Vec::new();
        for host in hosts {
            built.push((host, self.service_host(host)?));
        }
        let taken: std::collections::BTreeSet<_> = built.iter().map(|(host, _)| *host).collect();
        for (host, virtual_host) in built.into_iter().rev() {
            let aliases = self.registry.aliases(host);
            let free = aliases
                .iter()
                .map(String::as_str)
                .filter(|alias| *alias == host || !taken.contains(alias));
            table.insert(free, virtual_host);
        }
        self.add_wildcards(&mut table)?;
        Ok(table)
    }

    /// Wildcard tables also take hosts that no policy names.
    fn add_wildcards(&mut self, table: &mut HostTable<VirtualHost>) -> Result<(), CompileError> {
        for routes in self.registry.visible_tables() {
            for pattern in routes.hosts.iter().filter(|pattern| pattern.host.starts_with('*')) {
                let mut host = VirtualHost {
                    name: pattern.host.as_str().into(),
                    ..VirtualHost::default()
                };
                self.add_rules(&mut host.rules, routes, View::Mesh)?;
                table.insert([pattern.host.as_str()], host);
            }
        }
        Ok(())
    }

    /// The rules of a service: of the table that claims it, else the default route to itself.
    fn service_host(&mut self, host: &str) -> Result<VirtualHost, CompileError> {
        let mut built = VirtualHost {
            name: host.into(),
            ..VirtualHost::default()
        };
        if let Some(table) = self.registry.claim(host) {
            self.add_rules(&mut built.rules, table, View::Mesh)?;
        }
        if built.rules.is_empty() {
            built.rules.push([Matcher::any()], self.default_route(host));
        }
        if let Some(profile) = self.profile(host) {
            add_classes(&mut built.classes, profile)?;
        }
        Ok(built)
    }

    fn default_route(&mut self, host: &str) -> Route {
        let target = self.target(host, None, None);
        Route::new("default".into(), Origin::default(), Split::new(&[(target, 1)]))
    }

    /// Appends the rules of a table that apply from a point of view.
    pub(super) fn add_rules(
        &mut self,
        rules: &mut RuleList<Route>,
        table: &RouteTable,
        view: View<'_>,
    ) -> Result<(), CompileError> {
        for (position, rule) in table.rules.iter().enumerate() {
            self.add_rule(rules, table, (position, rule), view)?;
        }
        Ok(())
    }

    fn add_rule(
        &mut self,
        rules: &mut RuleList<Route>,
        table: &RouteTable,
        (position, rule): (usize, &RouteRule),
        view: View<'_>,
    ) -> Result<(), CompileError> {
        let name = rule
            .name
            .clone()
            .unwrap_or_else(|| format!("{}#{position}", table.meta.name));
        if rule.matches.is_empty() {
            let route = self.route(rule, &name, &rule.origin);
            rules.push([Matcher::any()], route);
            return Ok(());
        }
        for conditions in &rule.matches {
            if !self.applies(conditions, view) {
                continue;
            }
            let matcher =
                Matcher::new(conditions).map_err(|error| CompileError::matching(&conditions.origin, error))?;
            let full = conditions
                .name
                .as_ref()
                .map_or_else(|| name.clone(), |own| format!("{name}.{own}"));
            let route = self.route(rule, &full, &rule.origin);
            rules.push([matcher], route);
        }
        Ok(())
    }

    /// Whether a match concerns us at all. Naming gateways switches the conditions on the caller off, as in Istio.
    fn applies(&self, conditions: &RouteMatch, view: View<'_>) -> bool {
        if !conditions.bindings.is_empty() {
            return conditions.bindings.iter().any(|binding| view.is(binding));
        }
        let workload = self.registry.workload;
        let namespace = conditions.source_namespace.as_ref();
        selects(&conditions.source_labels, &workload.labels) && namespace.is_none_or(|name| *name == workload.namespace)
    }

    fn route(&mut self, rule: &RouteRule, name: &str, origin: &Origin) -> Route {
        let shares: Vec<_> = rule
            .destinations
            .iter()
            .map(|to| (self.target(&to.host, to.subset.as_deref(), to.port), to.weight))
            .collect();
        let mut route = Route::new(name.into(), origin.clone(), Split::new(&shares));
        route.timeout = rule.timeout;
        route.retry = rule.retry.clone().map(Arc::new);
        route
    }

    /// The caller's own namespace first, then the service's.
    fn profile(&self, host: &str) -> Option<&'a ServiceProfile> {
        let own = &self.registry.workload.namespace;
        let mut profiles: Vec<_> = self
            .registry
            .policy
            .profiles
            .iter()
            .filter(|profile| profile.host == host)
            .collect();
        profiles.sort_by_key(|profile| (profile.meta.namespace != *own, profile.meta.precedence()));
        profiles.first().copied()
    }

    /// The index of a target, built when it is first named.
    fn target(&mut self, host: &str, subset: Option<&str>, port: Option<u16>) -> usize {
        let name = (host.to_owned(), subset.map(str::to_owned), port);
        if let Some(index) = self.by_name.get(&name) {
            return *index;
        }
        let index = self.targets.len();
        self.targets.push(self.build_target(host, subset, port));
        self.by_name.insert(name, index);
        index
    }

    fn build_target(&self, host: &str, subset_name: Option<&str>, port: Option<u16>) -> Target {
        let destination = Destination::find(&self.registry, host);
        let subset = subset_name.and_then(|name| destination.subset(name));
        let budget = self.profile(host).map(|profile| profile.budget);
        let settled = |port| settle(destination.traffic(subset, port), budget);
        let ports = self.registry.ports(host);
        let port = port.or_else(|| self.only_port(host, &ports));
        let service_port = ports.iter().find(|known| Some(known.number) == port).cloned();
        let base = settled(port);
        let of = Of {
            host,
            settled: &base,
            port,
            service_port: service_port.as_ref(),
        };
        let defined = subset_name.is_none() || subset.is_some();
        Target {
            service: host.into(),
            subset: subset_name.map(Into::into),
            origin: subset.map_or_else(|| self.registry.origin(host), |subset| subset.origin.clone()),
            port,
            ports,
            endpoints: if defined {
                TargetEndpoints::Listed(self.endpoints(subset, &of))
            } else {
                TargetEndpoints::Undefined
            },
            retry: Arc::new(base.retry.clone()),
            port_settings: destination
                .ports(subset)
                .into_iter()
                .map(|port| (port, settled(Some(port)).cluster))
                .collect(),
            settings: base.cluster,
        }
    }

    /// The only port of a service, or 80 where its endpoints carry their own.
    fn only_port(&self, host: &str, ports: &[ServicePort]) -> Option<u16> {
        if let [port] = ports {
            return Some(port.number);
        }
        let listed = self.registry.endpoints(host)?;
        let own = ports.is_empty() && !listed.is_empty() && listed.iter().all(|listed| listed.endpoint.port.is_some());
        own.then_some(80)
    }

    fn endpoints(&self, subset: Option<&Subset>, of: &Of<'_>) -> Vec<TargetEndpoint> {
        let labels = subset.map(|subset| &subset.labels);
        let by_dns = Endpoint {
            address: of.host.into(),
            weight: 1,
            ..Endpoint::default()
        };
        let in_subset = |endpoint: &Endpoint| labels.is_none_or(|labels| selects(labels, &endpoint.labels));
        match self.registry.endpoints(of.host) {
            None if in_subset(&by_dns) => vec![self.endpoint(of, &by_dns, None)],
            None => Vec::new(),
            Some(listed) => {
                let chosen = listed.iter().filter(|listed| in_subset(listed.endpoint));
                chosen
                    .map(|listed| self.endpoint(of, listed.endpoint, Some(listed)))
                    .collect()
            }
        }
    }

    fn endpoint(&self, of: &Of<'_>, endpoint: &Endpoint, listed: Option<&Listed<'_>>) -> TargetEndpoint {
        TargetEndpoint {
            address: EndpointAddress::new(&endpoint.address),
            port: endpoint.port,
            ports: endpoint.ports.clone(),
            weight: endpoint.weight,
            labels: Arc::new(endpoint.labels.clone()),
            locality: endpoint.locality.as_str().into(),
            tls: self.endpoint_tls(of, endpoint, listed),
        }
    }

    /// What the policy says, else mTLS to endpoints that are known to speak it.
    fn endpoint_tls(&self, of: &Of<'_>, endpoint: &Endpoint, listed: Option<&Listed<'_>>) -> EndpointTls {
        match &of.settled.tls {
            Some(ClientTls::Disable) => EndpointTls::Plain,
            Some(ClientTls::IstioMutual { subject_alt_names }) => {
                EndpointTls::Mutual(self.expected(of.host, endpoint, listed, subject_alt_names))
            }
            None if self.speaks_mtls(of, endpoint) => {
                EndpointTls::Mutual(self.expected(of.host, endpoint, listed, &[]))
            }
            None => EndpointTls::Plain,
        }
    }

    fn speaks_mtls(&self, of: &Of<'_>, endpoint: &Endpoint) -> bool {
        let host = of.host;
        if !self.registry.is_internal(host) {
            return false;
        }
        let namespace = self.registry.namespace_of(host).unwrap_or_default();
        let account = endpoint.service_account.as_deref().unwrap_or_default();
        let mut server = Workload::new(namespace, account);
        server.labels = labels_with_app(
            &endpoint.labels,
            self.registry.kubernetes_parts(host).map(|(name, _)| name),
        );
        let policy = self.registry.policy;
        let port = of.server_port(endpoint);
        let has_identity = endpoint.service_account.is_some()
            || endpoint
                .labels
                .get("security.istio.io/tlsMode")
                .is_some_and(|mode| mode == "istio");
        match resolve_mtls(&policy.peer_authentications, &server, &policy.mesh.root_namespace, port).0 {
            MtlsMode::Strict => true,
            MtlsMode::Permissive => has_identity,
            MtlsMode::Disable => false,
        }
    }

    /// The ids that a server may have: those of the policy, of the service, of the endpoint's account, in this order.
    fn expected(
        &self,
        host: &str,
        endpoint: &Endpoint,
        listed: Option<&Listed<'_>>,
        names: &[String],
    ) -> Arc<[SpiffeId]> {
        let of_service = listed.map_or(&[][..], |listed| &listed.service.subject_alt_names);
        let named = if names.is_empty() { of_service } else { names };
        let ids: Vec<_> = named.iter().filter_map(|name| SpiffeId::parse(name).ok()).collect();
        if !ids.is_empty() {
            return ids.into();
        }
        let derived = endpoint.service_account.as_ref().and_then(|account| {
            let domain = TrustDomain::parse(&self.registry.policy.mesh.trust_domain).ok()?;
            SpiffeId::for_workload(&domain, self.registry.namespace_of(host)?, account).ok()
        });
        derived.into_iter().collect()
    }
}

/// An endpoint without an `app` label is taken to have its service's name there, as its workload selector would.
fn labels_with_app(labels: &Labels, name: Option<&str>) -> Labels {
    let mut labels = labels.clone();
    if let Some(name) = name {
        labels.entry("app".into()).or_insert_with(|| name.into());
    }
    labels
}

fn add_classes(classes: &mut RuleList<RouteClass>, profile: &ServiceProfile) -> Result<(), CompileError> {
    for route in &profile.routes {
        let matcher =
            Matcher::new(&class_conditions(route)).map_err(|error| CompileError::matching(&route.origin, error))?;
        let mut class = RouteClass::new(route.name.as_str().into(), route.origin.clone(), route.timeout);
        class.retry = class_retry(route).map(Arc::new);
        classes.push([matcher], class);
    }
    Ok(())
}

fn class_conditions(route: &ProfileRoute) -> RouteMatch {
    RouteMatch {
        origin: route.origin.clone(),
        path: route.path_regex.clone().map(route::StringMatch::Regex),
        method: route
            .method
            .as_ref()
            .map(|method| route::StringMatch::Exact(method.as_str().into())),
        ..RouteMatch::default()
    }
}

/// A retryable class tries failed requests again until the budget or the timeout ends it; the number is a backstop.
fn class_retry(route: &ProfileRoute) -> Option<RetryPolicy> {
    let on = RetryOn {
        conditions: vec![RetryCondition::FiveXx],
        ..RetryOn::default()
    };
    match route.retryable {
        Retryable::Yes => Some(RetryPolicy::new(PROFILE_ATTEMPTS, on, route.origin.clone())),
        // An explicit no, which also switches the default retries off.
        Retryable::No => Some(RetryPolicy::new(0, RetryOn::default(), route.origin.clone())),
    }
}

/// Linkerd sets no limit beside its budget; a single request may use at most this share of it.
const PROFILE_ATTEMPTS: u32 = 10;
