//! `gatewayTopology` and `pathNormalization`: what stands before the mesh, and what is made of paths.

use super::NOT_YET;
use super::values::{count, given_or};
use crate::policy::model::MeshSettings;
use crate::policy::model::authz::Pattern;
use crate::policy::model::forwarding::{ClientCertHeader, Forwarding};
use crate::policy::reader::{Reader, choice};
use crate::policy::source::Node;
use crate::request::PathNormalization;

const NORMALIZATION: &[(&str, PathNormalization)] = &[
    ("DEFAULT", PathNormalization::Base),
    ("NONE", PathNormalization::None),
    ("BASE", PathNormalization::Base),
    ("MERGE_SLASHES", PathNormalization::MergeSlashes),
    ("DECODE_AND_MERGE_SLASHES", PathNormalization::DecodeAndMergeSlashes),
];

/// Reads `pathNormalization`.
pub(super) fn path_normalization(cx: &Reader<'_>, node: &Node) -> Option<PathNormalization> {
    let mut fields = cx.mapping(node)?;
    let mode = given_or(
        &mut fields,
        "normalization",
        PathNormalization::Base,
        choice(NORMALIZATION),
    );
    fields.finish();
    mode
}

const DETAILS: &[(&str, ClientCertHeader)] = &[
    ("UNDEFINED", ClientCertHeader::Strip),
    ("SANITIZE", ClientCertHeader::Strip),
    ("FORWARD_ONLY", ClientCertHeader::Forward),
    ("APPEND_FORWARD", ClientCertHeader::Append),
    ("SANITIZE_SET", ClientCertHeader::Set),
    ("ALWAYS_FORWARD_ONLY", ClientCertHeader::AlwaysForward),
];

/// Reads `gatewayTopology`. Envoy keeps the header of every caller with a certificate, so that all of them are trusted.
pub(super) fn topology(cx: &Reader<'_>, node: &Node, mesh: &mut MeshSettings) -> Option<()> {
    let mut fields = cx.mapping(node)?;
    let proxies = fields.optional("numTrustedProxies", count);
    let client_cert = fields.optional("forwardClientCertDetails", choice(DETAILS));
    fields.refuse("proxyProtocol", NOT_YET, "listeners do not read PROXY headers");
    let client_cert = client_cert.unwrap_or_default();
    let keeps = matches!(client_cert, ClientCertHeader::Forward | ClientCertHeader::Append);
    mesh.forwarding = Forwarding {
        client_cert,
        trusted_callers: keeps.then_some(Pattern::Present).into_iter().collect(),
        trusted_proxies: proxies.unwrap_or_default(),
    };
    fields.finish();
    Some(())
}
