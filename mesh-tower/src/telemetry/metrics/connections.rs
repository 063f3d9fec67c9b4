//! Metrics of handshakes and of connections that the mesh ends. Rare beside requests: handles are looked up each time.

use std::sync::Arc;

use mesh_tls::handshake::Reason;

use super::Side;
use super::operations::labels;
use super::registry::Registry;

/// How a TLS handshake ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeResult {
    /// Both sides know each other.
    Ok,
    /// The same, by a session of before.
    Resumed,
    /// It failed, for this reason.
    Failed(Reason),
}

/// Why the mesh ends a connection, or a request, that it had let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndReason {
    /// The peer's certificate has expired, is revoked, or its authority is trusted no more.
    NotTrusted,
    /// The policy wants another identity at the other end.
    Identity,
    /// The port takes other connections now: TLS or mTLS only, or plain text only.
    Mode,
    /// The rules deny what an upgraded connection or a running request was let in for.
    Denied,
}

impl EndReason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::NotTrusted => "not_trusted",
            Self::Identity => "identity",
            Self::Mode => "mode",
            Self::Denied => "denied",
        }
    }
}

pub(super) struct ConnectionMetrics {
    registry: Arc<Registry>,
}

impl ConnectionMetrics {
    pub(super) fn new(registry: Arc<Registry>) -> Self {
        describe(&registry);
        let metrics = Self { registry };
        for side in [Side::Client, Side::Server] {
            metrics.count_handshakes(side, ("ok", "none"), 0);
            metrics.count_resumptions(side, 0);
        }
        metrics
    }

    pub(super) fn handshake(&self, side: Side, result: HandshakeResult) {
        match result {
            HandshakeResult::Ok => self.count_handshakes(side, ("ok", "none"), 1),
            HandshakeResult::Resumed => {
                self.count_handshakes(side, ("ok", "none"), 1);
                self.count_resumptions(side, 1);
            }
            HandshakeResult::Failed(Reason::Timeout) => self.count_handshakes(side, ("timeout", "timeout"), 1),
            HandshakeResult::Failed(reason) => self.count_handshakes(side, ("failed", reason.as_str()), 1),
        }
    }

    pub(super) fn ended(&self, side: Side, reason: EndReason) {
        let labels = labels(&[("side", side.as_str()), ("reason", reason.as_str())]);
        self.registry
            .counter("mesh_connections_ended_total", labels)
            .increment(1);
    }

    fn count_handshakes(&self, side: Side, (result, reason): (&'static str, &'static str), times: u64) {
        let labels = labels(&[("side", side.as_str()), ("result", result), ("reason", reason)]);
        self.registry
            .counter("mesh_tls_handshakes_total", labels)
            .increment(times);
    }

    fn count_resumptions(&self, side: Side, times: u64) {
        let labels = labels(&[("side", side.as_str())]);
        self.registry
            .counter("mesh_tls_resumptions_total", labels)
            .increment(times);
    }
}

fn describe(registry: &Registry) {
    for (name, text) in [
        (
            "mesh_tls_handshakes_total",
            "TLS handshakes, by side, result and reason of failure.",
        ),
        (
            "mesh_tls_resumptions_total",
            "TLS handshakes that resumed a session, by side.",
        ),
        (
            "mesh_connections_ended_total",
            "Connections and requests that a change of policy or trust ended, by side and reason.",
        ),
    ] {
        registry.describe_counter(name, text);
    }
}
