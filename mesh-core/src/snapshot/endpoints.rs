//! Targets: the endpoints of a service, and how each is talked to.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::outbound::Builder;
use super::registry::Listed;
use super::target::{
    EndpointAddress, EndpointKind, EndpointTls, PortSettings, Target, TargetEndpoint, TargetEndpoints,
};
use super::traffic::{Destination, Settled, settle};
use crate::decide::authz::resolve_mtls;
use crate::identity::{SpiffeId, TrustDomain};
use crate::policy::model::identity::MtlsMode;
use crate::policy::model::service::{Endpoint, ServicePort};
use crate::policy::model::traffic::{ClientTls, Subset};
use crate::policy::model::{Labels, selects};
use crate::workload::Workload;

/// What a policy says for one port of a service.
#[derive(Debug)]
struct Settings {
    /// `None` where the caller's choice decides.
    port: Option<u16>,
    service_port: Option<ServicePort>,
    settled: Settled,
}

impl Settings {
    fn at(port: Option<u16>, settled: Settled, ports: &[ServicePort]) -> Self {
        let service_port = ports.iter().find(|known| Some(known.number) == port).cloned();
        Self {
            port,
            service_port,
            settled,
        }
    }

    /// The port that the server of an endpoint listens on; 0, which no policy names, where the caller's choice decides.
    fn server_port(&self, endpoint: &Endpoint) -> u16 {
        let service_port = self.service_port.as_ref();
        let named = service_port.and_then(|port| endpoint.ports.get(&port.name)).copied();
        let target = service_port.and_then(|port| port.target);
        endpoint.port.or(named).or(target).or(self.port).unwrap_or_default()
    }

    fn of_port(&self) -> Option<PortSettings> {
        Some(PortSettings {
            port: self.port?,
            cluster: Arc::new(self.settled.cluster.clone()),
            retry: Arc::new(self.settled.retry.clone()),
        })
    }
}

/// What the endpoints of one target have in common.
#[derive(Clone, Copy, Debug)]
struct Of<'s> {
    host: &'s str,
    base: &'s Settings,
    /// Ports with settings of their own, where the caller chooses the port.
    others: &'s [Settings],
}

impl Builder<'_> {
    /// Builds the target of a callee, subset and port.
    pub(super) fn build_target(&self, host: &str, subset_name: Option<&str>, port: Option<u16>) -> Target {
        let full = self.registry.full_name(host);
        let destination = Destination::find(&self.registry, full);
        let subset = subset_name.and_then(|name| destination.subset(name));
        let budget = self.profile_budget(full);
        let settled = |port| settle(destination.traffic(subset, port), budget);
        let ports = self.registry.ports(host);
        let port = port.or_else(|| self.only_port(host, &ports));
        let at = |port| Settings::at(port, settled(port), &ports);
        let base = at(port);
        let others: Vec<_> = match port {
            Some(_) => Vec::new(),
            None => self
                .special_ports(&destination, subset, &ports)
                .into_iter()
                .map(|port| at(Some(port)))
                .collect(),
        };
        let of = Of {
            host,
            base: &base,
            others: &others,
        };
        let defined = subset_name.is_none() || subset.is_some();
        let endpoints = if defined {
            TargetEndpoints::Listed(self.endpoints(subset, of))
        } else {
            TargetEndpoints::Undefined
        };
        Target {
            service: host.into(),
            subset: subset_name.map(Into::into),
            origin: subset.map_or_else(|| self.registry.origin(host), |subset| subset.origin.clone()),
            port,
            endpoints,
            port_settings: others.iter().filter_map(Settings::of_port).collect(),
            retry: Arc::new(base.settled.retry),
            settings: Arc::new(base.settled.cluster),
            ports,
        }
    }

    /// The ports at which a target may differ, where the caller chooses one.
    fn special_ports(
        &self,
        destination: &Destination<'_>,
        subset: Option<&Subset>,
        ports: &[ServicePort],
    ) -> BTreeSet<u16> {
        let guarded = &self.registry.policy.peer_authentications;
        let guarded = guarded.iter().flat_map(|policy| policy.ports.keys().copied());
        let own = ports.iter().map(|port| port.number);
        destination
            .ports(subset)
            .into_iter()
            .chain(own)
            .chain(guarded)
            .collect()
    }

    /// The only port of a service, or 80 where its endpoints carry their own.
    pub(super) fn only_port(&self, host: &str, ports: &[ServicePort]) -> Option<u16> {
        if let [port] = ports {
            return Some(port.number);
        }
        let listed = self.registry.endpoints(host)?;
        let own = ports.is_empty() && !listed.is_empty() && listed.iter().all(|listed| listed.endpoint.port.is_some());
        own.then_some(80)
    }

    fn endpoints(&self, subset: Option<&Subset>, of: Of<'_>) -> Vec<TargetEndpoint> {
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
            Some(mut listed) => {
                listed.retain(|listed| in_subset(listed.endpoint));
                self.listed_endpoints(of, &listed)
            }
        }
    }

    /// Endpoints next to each other are mostly alike but for their addresses.
    fn listed_endpoints(&self, of: Of<'_>, listed: &[Listed<'_>]) -> Vec<TargetEndpoint> {
        let mut endpoints: Vec<TargetEndpoint> = Vec::with_capacity(listed.len());
        let mut before: Option<&Listed<'_>> = None;
        for one in listed {
            let alike = before.is_some_and(|before| are_alike(before, one));
            endpoints.push(match endpoints.last().filter(|_| alike) {
                Some(alike) => like(alike, one.endpoint),
                None => self.endpoint(of, one.endpoint, Some(one)),
            });
            before = Some(one);
        }
        endpoints
    }

    fn endpoint(&self, of: Of<'_>, endpoint: &Endpoint, listed: Option<&Listed<'_>>) -> TargetEndpoint {
        let tls = self.endpoint_tls(of.host, of.base, endpoint, listed);
        let others = of.others.iter().filter_map(|settings| {
            let own = self.endpoint_tls(of.host, settings, endpoint, listed);
            Some((settings.port?, own)).filter(|(_, own)| *own != tls)
        });
        let kind = EndpointKind {
            port: endpoint.port,
            ports: endpoint.ports.clone(),
            closed_ports: endpoint.closed_ports.clone(),
            labels: Arc::new(endpoint.labels.clone()),
            locality: endpoint.locality.as_str().into(),
            port_tls: others.collect(),
            tls,
        };
        TargetEndpoint {
            address: EndpointAddress::new(&endpoint.address),
            weight: endpoint.weight,
            kind: Arc::new(kind),
        }
    }

    /// What the policy says, else mTLS to endpoints that are known to speak it.
    fn endpoint_tls(
        &self,
        host: &str,
        settings: &Settings,
        endpoint: &Endpoint,
        listed: Option<&Listed<'_>>,
    ) -> EndpointTls {
        match &settings.settled.tls {
            Some(ClientTls::Disable) => EndpointTls::Plain,
            Some(ClientTls::Origination(settings)) => EndpointTls::Origination(Arc::new(settings.clone())),
            Some(ClientTls::IstioMutual { subject_alt_names }) => {
                EndpointTls::Mutual(self.expected(host, endpoint, listed, subject_alt_names))
            }
            None if self.speaks_mtls(host, settings.server_port(endpoint), endpoint) => {
                EndpointTls::Mutual(self.expected(host, endpoint, listed, &[]))
            }
            None => EndpointTls::Plain,
        }
    }

    fn speaks_mtls(&self, host: &str, port: u16, endpoint: &Endpoint) -> bool {
        let host = self.registry.full_name(host);
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
            SpiffeId::for_workload(
                &domain,
                self.registry.namespace_of(self.registry.full_name(host))?,
                account,
            )
            .ok()
        });
        derived.into_iter().collect()
    }
}

/// Whether two endpoints differ at most in address and weight.
fn are_alike(left: &Listed<'_>, right: &Listed<'_>) -> bool {
    let (one, other) = (left.endpoint, right.endpoint);
    std::ptr::eq(left.service, right.service)
        && one.port == other.port
        && one.ports == other.ports
        && one.closed_ports == other.closed_ports
        && one.labels == other.labels
        && one.locality == other.locality
        && one.service_account == other.service_account
}

/// An endpoint that is like one that was built.
fn like(alike: &TargetEndpoint, endpoint: &Endpoint) -> TargetEndpoint {
    TargetEndpoint {
        address: EndpointAddress::new(&endpoint.address),
        weight: endpoint.weight,
        kind: Arc::clone(&alike.kind),
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
