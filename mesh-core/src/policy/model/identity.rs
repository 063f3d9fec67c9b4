//! Which connections a server takes: mTLS, plain text or both.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Labels, Meta};

/// What a port takes (Istio's `PeerAuthentication.mtls.mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "Istio's three modes")]
pub enum MtlsMode {
    /// mTLS only.
    Strict,
    /// mTLS and plain text, told apart by the first bytes.
    #[default]
    Permissive,
    /// Plain text only: TLS is never ended here.
    Disable,
}

/// A `PeerAuthentication`, or the native `mtls` setting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerAuthentication {
    /// Name and place. In the root namespace and without a selector it holds for the mesh.
    pub meta: Meta,
    /// Workloads that it holds for; empty is the whole namespace.
    pub selector: Labels,
    /// The mode; `None` (`UNSET`) takes that of the next outer level.
    pub mode: Option<MtlsMode>,
    /// The mode by workload port; `None` takes `mode`.
    pub ports: BTreeMap<u16, Option<MtlsMode>>,
}
