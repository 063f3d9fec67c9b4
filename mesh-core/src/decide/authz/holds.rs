//! Which policies hold for a workload.

use crate::policy::model::authz::{AuthorizationPolicy, Target, TargetKind};
use crate::policy::model::selects;
use crate::workload::Workload;

/// Labels that Gateway API's controllers give to the workloads of a gateway.
const GATEWAY: &str = "gateway.networking.k8s.io/gateway-name";
const CLASS: &str = "gateway.networking.k8s.io/gateway-class-name";

/// Whether a policy holds for a workload, enforced or not: by its namespace, and by targets, or labels, and accounts.
pub(super) fn holds(policy: &AuthorizationPolicy, workload: &Workload, root_namespace: &str) -> bool {
    let namespace = &policy.meta.namespace;
    if *namespace != workload.namespace && namespace != root_namespace {
        return false;
    }
    if !policy.targets.is_empty() {
        let in_root = namespace == root_namespace;
        let of_own = *namespace == workload.namespace;
        return policy
            .targets
            .iter()
            .any(|target| is_target(target, workload, of_own, in_root));
    }
    let accounts = &policy.service_accounts;
    selects(&policy.selector, &workload.labels) && (accounts.is_empty() || accounts.contains(&workload.service_account))
}

fn is_target(target: &Target, workload: &Workload, of_own: bool, in_root: bool) -> bool {
    let is_labelled = |label| workload.label_value(label) == Some(target.name.as_str());
    match target.kind {
        TargetKind::Gateway => of_own && is_labelled(GATEWAY),
        TargetKind::GatewayClass => in_root && is_labelled(CLASS),
        TargetKind::Service | TargetKind::ServiceEntry => false,
    }
}
