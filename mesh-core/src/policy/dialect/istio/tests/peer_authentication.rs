use super::*;
use crate::policy::model::identity::{MtlsMode, PeerAuthentication};

const KIND: &str = "PeerAuthentication";

fn found(spec: &str) -> PeerAuthentication {
    clean(KIND, spec).peer_authentications.remove(0)
}

#[test]
fn modes_are_read_and_unset_is_left_to_the_outer_level() {
    for (spec, mode) in [
        ("", None),
        ("mtls: {}", None),
        ("mtls: { mode: UNSET }", None),
        ("mtls: { mode: STRICT }", Some(MtlsMode::Strict)),
        ("mtls: { mode: PERMISSIVE }", Some(MtlsMode::Permissive)),
        ("mtls: { mode: DISABLE }", Some(MtlsMode::Disable)),
    ] {
        assert_eq!(found(spec).mode, mode, "{spec}");
    }
}

#[test]
fn ports_of_workloads_have_modes() {
    let found = found(
        "selector: { matchLabels: { app: a } }, portLevelMtls: { '80': { mode: DISABLE }, 81: {}, 82: { mode: UNSET } }",
    );
    assert_eq!(found.selector["app"], "a");
    assert_eq!(
        found.ports,
        [(80, Some(MtlsMode::Disable)), (81, None), (82, None)].into()
    );
}

#[test]
fn peer_authentications_are_checked() {
    assert_lines(
        KIND,
        &[
            (
                "mtls: { mode: BLAH }",
                &[
                    "3:15: error[MESH0104]: `mode`: unknown value `BLAH`, expected `STRICT`, `PERMISSIVE`, `DISABLE` or `UNSET`",
                ],
            ),
            (
                "portLevelMtls: { 80: { mode: STRICT } }",
                &["3:1: error[MESH0301]: `portLevelMtls` needs a `selector`: ports are those of workloads"],
            ),
            (
                "selector: { matchLabels: { a: b } }, portLevelMtls: { 0: {}, 42949672: {} }",
                &[
                    "3:55: error[MESH0104]: key `0`: expected a port of 1 to 65535",
                    "3:62: error[MESH0104]: key `42949672`: expected a port of 1 to 65535",
                ],
            ),
            (
                "selector: { matchLabels: { a: b } }, portLevelMtls: {}",
                &["3:53: error[MESH0104]: `portLevelMtls`: expected at least one port, found none"],
            ),
            (
                "selector: {}",
                &[
                    "3:11: warning[MESH0505]: `selector` has no labels: the policy holds for every workload of its namespace",
                ],
            ),
            (
                "selector: { matchLabels: { a: '*' } }",
                &[
                    "3:31: error[MESH0104]: `matchLabels`: expected letters, digits, `-`, `_` and `.`, at most 63, found `*`",
                ],
            ),
        ],
    );
}

#[test]
fn the_root_namespace_takes_no_selector() {
    let text = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: { name: a, namespace: istio-system }\nspec:\n  selector: { matchLabels: { a: b } }\n";
    let expected = "5:13: warning[MESH0505]: the policy has no effect: in the root namespace `istio-system` none may have a selector";
    assert_eq!(load(text).lines, [expected]);
}
