//! Gateways that policies are for, and that no process serves.

use std::collections::BTreeSet;

use super::Known;
use crate::policy::diagnostic::{Code, Diagnostic, Report, quoted};
use crate::policy::model::authz::{Target, TargetKind};
use crate::policy::model::{Meta, Policy};

pub(super) fn check(policy: &Policy, known: &Known, report: &mut Report) {
    if !known.is_everything() {
        return;
    }
    let root = &policy.mesh.root_namespace;
    for (meta, target) in targets(policy) {
        if target.kind == TargetKind::GatewayClass && meta.namespace != *root {
            report.push(outside_of_root(target, root));
        }
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
