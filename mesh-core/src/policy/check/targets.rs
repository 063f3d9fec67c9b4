//! Gateways that policies are for, and that no process serves.

use std::collections::BTreeSet;

use crate::policy::diagnostic::{Code, Diagnostic, Report, nearest, quoted};
use crate::policy::model::authz::{Target, TargetKind};
use crate::policy::model::{Meta, Policy};

pub(super) fn check(policy: &Policy, report: &mut Report) {
    let gateways = policy.gateways.iter();
    let gateways: BTreeSet<(&str, &str)> = gateways.map(|one| place(&one.meta, &one.meta.name)).collect();
    let root = &policy.mesh.root_namespace;
    for (meta, target) in targets(policy) {
        match target.kind {
            TargetKind::GatewayClass if meta.namespace != *root => report.push(outside_of_root(target, root)),
            TargetKind::Gateway if !gateways.contains(&place(meta, &target.name)) => {
                report.push(unknown(meta, target, &gateways));
            }
            _ => {}
        }
    }
}

/// Namespace and name of an object that a document names.
fn place<'p>(meta: &'p Meta, name: &'p str) -> (&'p str, &'p str) {
    (&meta.namespace, name)
}

/// Another set of files may define it, of which only the label is known then.
fn unknown(meta: &Meta, target: &Target, gateways: &BTreeSet<(&str, &str)>) -> Diagnostic {
    let full = format!("{}/{}", meta.namespace, target.name);
    let message = format!("no file defines the gateway {}", quoted(&full));
    let diagnostic = Diagnostic::new(Code::UNRESOLVED_REFERENCE, &target.origin, message);
    let own = gateways.iter().filter(|(namespace, _)| *namespace == meta.namespace);
    match nearest(&target.name, own.map(|(_, name)| *name)) {
        Some(near) => diagnostic.with_help(format!("did you mean `{near}`?")),
        None => diagnostic.with_help(format!(
            "the policy holds for workloads with the label `gateway.networking.k8s.io/gateway-name: {}` alone",
            target.name
        )),
    }
}

/// What policies are for, each with the policy.
fn targets(policy: &Policy) -> impl Iterator<Item = (&Meta, &Target)> {
    let access = policy.authorizations.iter().map(|one| (&one.meta, &one.targets));
    let tokens = policy
        .request_authentications
        .iter()
        .map(|one| (&one.meta, &one.targets));
    let all = access.chain(tokens);
    all.flat_map(|(meta, targets)| targets.iter().map(move |target| (meta, target)))
}

/// A class is of no namespace: only the root namespace speaks for all of them, as in Istio.
fn outside_of_root(target: &Target, root: &str) -> Diagnostic {
    let message = format!(
        "the target has no effect: policies for the gateways of a class are those of the root namespace {}",
        quoted(root)
    );
    let help = "move the policy there, or name the gateways of this namespace";
    Diagnostic::new(Code::NO_EFFECT, &target.origin, message).with_help(help)
}
