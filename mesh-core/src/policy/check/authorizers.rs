//! External authorizers: those that policies name, and those that files define.

use std::collections::{BTreeMap, BTreeSet};

use super::Known;
use super::references::with_known;
use crate::decide::route::string::host_covers;
use crate::policy::diagnostic::{Code, Diagnostic, Report, quoted};
use crate::policy::model::Policy;
use crate::policy::model::authorizer::ExternalAuthorizer;
use crate::policy::model::authz::{Action, AuthorizationPolicy, Enforcement};
use crate::policy::model::selects;

/// Policies that each is compared with.
const COMPARED: usize = 64;

pub(super) fn check(policy: &Policy, known: &Known, report: &mut Report) {
    check_names(policy, report);
    if known.is_everything() {
        check_providers(policy, report);
        check_services(policy, report);
    }
    check_overlap(policy, report);
}

/// Policies name authorizers without a namespace: a name is one in the whole mesh.
fn check_names(policy: &Policy, report: &mut Report) {
    let mut taken: BTreeMap<&str, &ExternalAuthorizer> = BTreeMap::new();
    for one in &policy.authorizers {
        let Some(first) = taken.get(one.meta.name.as_str()) else {
            taken.insert(&one.meta.name, one);
            continue;
        };
        // Two of one namespace are told where they are read.
        if first.meta.namespace == one.meta.namespace {
            continue;
        }
        let message = format!("authorizer {} is defined twice", quoted(&one.meta.name));
        let diagnostic = Diagnostic::new(Code::DUPLICATE_DEFINITION, &one.meta.origin, message);
        let diagnostic = diagnostic.with_label(&first.meta.origin, "first defined here");
        report.push(diagnostic.with_help("its name is one in the whole mesh: give one of them another"));
    }
}

/// Policies that have somebody asked, with whom.
fn asking<'p>(
    policies: impl Iterator<Item = &'p AuthorizationPolicy>,
) -> impl Iterator<Item = (&'p AuthorizationPolicy, &'p str)> {
    let custom = policies.filter(|one| one.action == Action::Custom);
    custom.filter_map(|one| Some((one, one.provider.as_deref()?)))
}

/// Those of servers and of their routes, too.
fn everywhere(policy: &Policy) -> impl Iterator<Item = &AuthorizationPolicy> {
    let of_servers = policy.servers.iter().flat_map(|server| {
        let of_routes = server.routes.iter().flat_map(|route| &route.policies);
        server.policies.iter().chain(of_routes)
    });
    policy.authorizations.iter().chain(of_servers)
}

fn check_providers(policy: &Policy, report: &mut Report) {
    let defined: BTreeSet<&str> = policy.authorizers.iter().map(|one| one.meta.name.as_str()).collect();
    for (one, name) in asking(everywhere(policy)).filter(|(_, name)| !defined.contains(name)) {
        let message = format!("no file defines the authorizer {}", quoted(name));
        report.push(match defined.is_empty() {
            true => Diagnostic::new(Code::UNRESOLVED_REFERENCE, &one.meta.origin, message).with_help(
                "what the rules match is denied until `meshConfig.extensionProviders`, or `authorizers`, defines it",
            ),
            false => with_known(
                Diagnostic::new(Code::UNKNOWN_REFERENCE, &one.meta.origin, message),
                name,
                &defined,
            ),
        });
    }
}

/// A service that nobody defines is found by DNS, and has no identity.
fn check_services(policy: &Policy, report: &mut Report) {
    let hosts = || policy.services.iter().flat_map(|service| &service.hosts);
    let is_known = |one: &&ExternalAuthorizer| hosts().any(|host| host_covers(host, &one.service));
    for one in policy.authorizers.iter().filter(|one| !is_known(one)) {
        let (service, name) = (quoted(&one.service), quoted(&one.meta.name));
        let message = format!("no file defines the service {service} of the authorizer {name}");
        let help = "it is resolved by DNS and asked in plain text until a service says where it is, and who";
        report.push(Diagnostic::new(Code::UNRESOLVED_REFERENCE, &one.meta.origin, message).with_help(help));
    }
}

/// Where workloads of one policy are those of another, too, they have both authorizers, and none is asked.
fn check_overlap(policy: &Policy, report: &mut Report) {
    let root = policy.mesh.root_namespace.as_str();
    let enforced = asking(policy.authorizations.iter())
        .filter(|(one, _)| one.enforcement == Enforcement::Enforced && one.targets.is_empty());
    let policies: Vec<_> = enforced.collect();
    for (index, (one, name)) in policies.iter().enumerate() {
        let earlier = policies.iter().take(index.min(COMPARED));
        let other = earlier
            .filter(|(_, other)| other != name)
            .find(|(other, _)| is_within(one, other, root) || is_within(other, one, root));
        if let Some((other, others_name)) = other {
            let message = format!(
                "workloads of {} have two authorizers, {} and, by {}, {}: only one can be asked, and what the rules match is denied",
                quoted(&one.meta.name),
                quoted(name),
                quoted(&other.meta.name),
                quoted(others_name)
            );
            let diagnostic = Diagnostic::new(Code::SEVERAL_AUTHORIZERS, &one.meta.origin, message);
            report.push(diagnostic.with_label(&other.meta.origin, "the other policy"));
        }
    }
}

/// Whether every workload of `inner` is one of `outer`, too.
fn is_within(inner: &AuthorizationPolicy, outer: &AuthorizationPolicy, root: &str) -> bool {
    let namespace = &outer.meta.namespace;
    (*namespace == inner.meta.namespace || namespace == root)
        && outer.service_accounts.is_empty()
        && selects(&outer.selector, &inner.selector)
}
