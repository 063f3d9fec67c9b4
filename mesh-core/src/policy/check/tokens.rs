//! Rules about tokens that cannot be put in force: no keys, or keys from where none are taken.

use std::collections::BTreeSet;

use super::kept::Kept;
use crate::decide::jwt::{self, Hosts, InvalidAddress};
use crate::policy::diagnostic::{Code, Diagnostic, Report, quoted};
use crate::policy::model::Policy;
use crate::policy::model::jwt::{JwtKeys, JwtRule};
use crate::policy::model::route::{Binding, RouteMatch, RouteRule, RouteTable};
use crate::workers::Workers;

pub(super) fn check(policy: &Policy, report: &mut Report) {
    let hosts = MeshHosts::of(policy);
    for one in &policy.request_authentications {
        for invalid in jwt::check(one, &hosts) {
            let message = invalid.reason.to_string();
            report.push(Diagnostic::new(Code::INVALID_POLICY, &invalid.origin, message));
        }
        one.rules
            .iter()
            .filter(|rule| has_no_keys(rule, &hosts))
            .for_each(|rule| {
                let issuer = quoted(&rule.issuer);
                let message =
                    format!("the keys of {issuer} cannot be found, as it is no address: all of its tokens are refused");
                report
                    .push(Diagnostic::new(Code::NO_EFFECT, &rule.origin, message).with_help("say where its keys are"));
            });
    }
}

/// Whether keys would have to be discovered at an issuer that is no address.
fn has_no_keys(rule: &JwtRule, hosts: &MeshHosts<'_>) -> bool {
    let found = || jwt::address(&jwt::discovery(&rule.issuer), hosts);
    rule.keys == JwtKeys::Discovered && matches!(found(), Err(InvalidAddress::Malformed(_)))
}

/// Claims are those of a token that a gateway has verified: a client's own requests bear none.
pub(super) fn check_claims(
    (policy, workers): (&Policy, &dyn Workers),
    kept: &mut Kept<RouteRule>,
    report: &mut Report,
) {
    let of_mesh = |table: &&RouteTable| table.bindings.iter().all(|binding| *binding == Binding::Mesh);
    let lists = policy.routes.iter().filter(of_mesh).map(|table| &table.rules);
    kept.check(lists, workers, report, check_no_claims);
}

fn check_no_claims(rule: &RouteRule, report: &mut Report) {
    if rule.matches.iter().any(RouteMatch::is_on_claims) {
        let message = "the rule looks at claims, and no gateway takes its requests: tokens are verified there";
        let help = "bind the table to a gateway with `gateways`";
        report.push(Diagnostic::new(Code::INVALID_POLICY, &rule.origin, message).with_help(help));
    }
}

/// Hosts that are called within the mesh: services that a document describes, and names of the cluster.
#[derive(Debug)]
pub(crate) struct MeshHosts<'p> {
    services: BTreeSet<&'p str>,
    /// `svc.cluster.local`
    cluster: String,
}

impl<'p> MeshHosts<'p> {
    pub(crate) fn of(policy: &'p Policy) -> Self {
        let hosts = policy.services.iter().flat_map(|service| &service.hosts);
        Self {
            services: hosts.map(String::as_str).collect(),
            cluster: format!("svc.{}", policy.mesh.cluster_domain),
        }
    }
}

impl Hosts for MeshHosts<'_> {
    fn is_in_mesh(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let is_under = |domain: &str| host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
        self.services.contains(host.as_str()) || is_under(&self.cluster) || is_under("svc")
    }
}
