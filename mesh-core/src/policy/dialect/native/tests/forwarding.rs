use super::*;
use crate::policy::model::authz::Pattern;
use crate::policy::model::forwarding::ClientCertHeader;
use crate::request::PathNormalization;

#[test]
fn paths_and_earlier_hops_are_settings_of_the_mesh() {
    let text = "mesh: { path_normalization: merge_slashes, forwarding: { client_cert: append, \
                trusted_callers: ['spiffe://cluster.local/ns/edge/sa/gateway', 'prod/*'], trusted_proxies: 2 } }";
    let mesh = clean(text).mesh;
    assert_eq!(mesh.path_normalization, PathNormalization::MergeSlashes);
    assert_eq!(mesh.forwarding.client_cert, ClientCertHeader::Append);
    let callers = [
        Pattern::Exact("cluster.local/ns/edge/sa/gateway".into()),
        Pattern::Prefix("prod/".into()),
    ];
    assert_eq!(mesh.forwarding.trusted_callers, callers);
    assert_eq!(mesh.forwarding.trusted_proxies, 2);
}

#[test]
fn what_is_not_said_is_believed_of_nobody() {
    let mesh = clean("mesh: { trust_domain: prod }").mesh;
    assert_eq!(mesh.path_normalization, PathNormalization::Base);
    assert_eq!(mesh.forwarding, Default::default());
}

#[test]
fn mistakes_have_their_place() {
    assert_lines(
        "mesh: { @ }",
        &[
            (
                "path_normalization: merge",
                &[
                    "29: error[MESH0104]: `path_normalization`: unknown value `merge`, expected `base`, `merge_slashes`, `decode_and_merge_slashes` or `none`",
                ],
            ),
            (
                "forwarding: { client_cert: append, trusted_proxies: -1 }",
                &["61: error[MESH0104]: `trusted_proxies`: expected a whole number of 0 to 2147483647, found `-1`"],
            ),
            (
                "forwarding: { trusted_callers: ['a*b'] }",
                &["41: error[MESH0104]: `trusted_callers`: expected one `*`, at the start or at the end, found `a*b`"],
            ),
        ],
    );
}
