//! The mTLS mode of a port (Istio's `ComposePeerAuthentication`).

use super::*;
use crate::policy::model::identity::{MtlsMode, PeerAuthentication};

fn authentication(namespace: &str, selector: &[(&str, &str)], mode: Option<MtlsMode>) -> PeerAuthentication {
    let mut policy = PeerAuthentication::default();
    policy.meta.namespace = namespace.into();
    policy.selector = selector.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    policy.mode = mode;
    policy
}

const APP: &[(&str, &str)] = &[("app", "httpbin")];
const STRICT: Option<MtlsMode> = Some(MtlsMode::Strict);
const PERMISSIVE: Option<MtlsMode> = Some(MtlsMode::Permissive);
const DISABLE: Option<MtlsMode> = Some(MtlsMode::Disable);

#[test]
fn the_innermost_level_that_sets_a_mode_wins() {
    let policy = authentication;
    for (row, policies, mode) in [
        ("334", vec![], MtlsMode::Permissive),
        ("335", vec![policy(ROOT, &[], STRICT)], MtlsMode::Strict),
        (
            "336",
            vec![policy(ROOT, &[], STRICT), policy("foo", &[], PERMISSIVE)],
            MtlsMode::Permissive,
        ),
        ("337", vec![policy(ROOT, APP, STRICT)], MtlsMode::Permissive),
        (
            "338",
            vec![policy("foo", &[], DISABLE), policy("foo", APP, PERMISSIVE)],
            MtlsMode::Permissive,
        ),
        ("341", vec![policy(ROOT, &[], None)], MtlsMode::Permissive),
        (
            "342",
            vec![policy(ROOT, &[], STRICT), policy("foo", APP, None)],
            MtlsMode::Strict,
        ),
        (
            "other namespace",
            vec![policy("bar", &[], STRICT)],
            MtlsMode::Permissive,
        ),
        (
            "other workload",
            vec![policy("foo", &[("app", "other")], STRICT)],
            MtlsMode::Permissive,
        ),
    ] {
        assert_eq!(resolve_mtls(&policies, &httpbin(), ROOT, 80).0, mode, "{row}");
    }
}

/// Rows 339, 340.
#[test]
fn the_oldest_policy_of_a_level_counts_alone() {
    let aged = |mut policy: PeerAuthentication, created| {
        policy.meta.created = created;
        policy.meta.origin.line = u32::try_from(created).unwrap();
        policy
    };
    for (namespace, selector) in [(ROOT, &[][..]), ("foo", &[]), ("foo", APP)] {
        let policies = [
            aged(authentication(namespace, selector, DISABLE), 20),
            aged(authentication(namespace, selector, PERMISSIVE), 10),
            aged(authentication(namespace, selector, STRICT), 10),
        ];
        let (mode, origin) = resolve_mtls(&policies, &httpbin(), ROOT, 80);
        assert_eq!(
            (mode, origin.line),
            (MtlsMode::Permissive, 10),
            "{namespace} {selector:?}"
        );
    }
}

/// Row 345, and a workload policy that sets ports only.
#[test]
fn a_port_has_its_own_mode_before_that_of_the_workload() {
    let mut own = authentication("foo", APP, STRICT);
    own.ports = [(8080, None), (9090, DISABLE)].into();
    let mesh = authentication(ROOT, &[], STRICT);
    for (mode, port, expected) in [
        (STRICT, 8080, MtlsMode::Strict),
        (STRICT, 9090, MtlsMode::Disable),
        (PERMISSIVE, 80, MtlsMode::Permissive),
        (None, 8080, MtlsMode::Strict),
        (None, 9090, MtlsMode::Disable),
    ] {
        own.mode = mode;
        let policies = [mesh.clone(), own.clone()];
        assert_eq!(
            resolve_mtls(&policies, &httpbin(), ROOT, port).0,
            expected,
            "{mode:?} {port}"
        );
    }
}

/// A selector in the root namespace holds for no one, not even there.
#[test]
fn a_selector_in_the_root_namespace_is_passed_over() {
    let policies = [authentication(ROOT, APP, DISABLE), authentication(ROOT, &[], STRICT)];
    let gateway = Workload::new(ROOT, "gateway").label("app", "httpbin");
    assert_eq!(resolve_mtls(&policies, &gateway, ROOT, 80).0, MtlsMode::Strict);
}
