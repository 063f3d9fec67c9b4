//! Which connections a port takes.

use crate::policy::model::identity::{MtlsMode, PeerAuthentication};
use crate::policy::model::{Origin, selects};
use crate::workload::Workload;

/// The mode of a workload's port, and where it was written.
///
/// The levels are the mesh (root namespace), the namespace and the workload (a selector that picks it); the innermost
/// that sets a mode wins, and a port's own mode before that of its workload. Of several policies on one level the
/// oldest counts alone. A policy with a selector in the root namespace holds for none, as in Istio. `port` is the workload's own, not that of a service in front of it.
///
/// # Defaults
///
/// [`MtlsMode::Permissive`], as in Istio.
#[must_use]
pub fn resolve_mtls(
    policies: &[PeerAuthentication],
    workload: &Workload,
    root_namespace: &str,
    port: u16,
) -> (MtlsMode, Origin) {
    let oldest = |level: &dyn Fn(&PeerAuthentication) -> bool| {
        let of_level = policies.iter().filter(|policy| level(policy));
        of_level.min_by_key(|policy| policy.meta.precedence())
    };
    let in_namespace = |policy: &PeerAuthentication, namespace: &str| policy.meta.namespace == namespace;
    let mesh = oldest(&|policy| policy.selector.is_empty() && in_namespace(policy, root_namespace));
    let namespace = oldest(&|policy| policy.selector.is_empty() && in_namespace(policy, &workload.namespace));
    let own = oldest(&|policy| {
        let picks = !policy.selector.is_empty() && selects(&policy.selector, &workload.labels);
        picks && in_namespace(policy, &workload.namespace) && workload.namespace != root_namespace
    });
    let by_port = own.and_then(|own| Some((own, (*own.ports.get(&port)?)?)));
    let levels = [own, namespace, mesh].into_iter().flatten();
    let by_level = || levels.filter_map(|policy| Some((policy, policy.mode?))).next();
    by_port.or_else(by_level).map_or_else(
        || (MtlsMode::default(), Origin::default()),
        |(policy, mode)| (mode, policy.meta.origin.clone()),
    )
}
