//! `ConnectionPoolSettings`: limits on connections and requests.

use std::time::Duration;

use super::NOT_YET;
use super::values::{duration, duration_or_zero, limit};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::traffic::{ClientProtocol, H2Upgrade, Limits, TcpKeepalive};
use crate::policy::reader::{Fields, Reader, choice};
use crate::policy::source::Node;

const UPGRADES: &[(&str, H2Upgrade)] = &[
    ("DEFAULT", H2Upgrade::Default),
    ("DO_NOT_UPGRADE", H2Upgrade::DoNotUpgrade),
    ("UPGRADE", H2Upgrade::Upgrade),
];

/// Reads the limits; a limit of 0 is none.
pub(super) fn limits(cx: &Reader<'_>, node: &Node) -> Option<Limits> {
    let mut fields = cx.mapping(node)?;
    let tcp = fields.node("tcp");
    let http = fields.node("http");
    fields.finish();
    if tcp.is_none() && http.is_none() {
        return cx.invalid(node, "expected `tcp` or `http`, found neither");
    }
    let mut limits = Limits::default();
    if let Some(node) = tcp {
        read_tcp(cx, node, &mut limits)?;
    }
    if let Some(node) = http {
        read_http(cx, node, &mut limits)?;
    }
    Some(limits)
}

fn read_tcp(cx: &Reader<'_>, node: &Node, limits: &mut Limits) -> Option<()> {
    let mut fields = cx.mapping(node)?;
    limits.connections = limit(&mut fields, "maxConnections");
    if let Some(timeout) = fields.optional("connectTimeout", duration) {
        limits.connect_timeout = timeout;
    }
    if let Some(timeout) = fields.optional("idleTimeout", duration_or_zero) {
        limits.idle_timeout = Some(timeout).filter(|timeout| *timeout > Duration::ZERO);
    }
    limits.connection_age = fields.optional("maxConnectionDuration", duration);
    limits.tcp_keepalive = fields.optional("tcpKeepalive", tcp_keepalive);
    fields.finish();
    Some(())
}

/// Reads probes of idle connections; what is not given, or 0, is the system's.
fn tcp_keepalive(cx: &Reader<'_>, node: &Node) -> Option<TcpKeepalive> {
    let mut fields = cx.mapping(node)?;
    let keepalive = TcpKeepalive {
        probes: fields.optional("probes", Reader::u32).filter(|probes| *probes > 0),
        time: fields.optional("time", duration),
        interval: fields.optional("interval", duration),
    };
    fields.finish();
    Some(keepalive)
}

/// Reads pings: every so often, answered within so much time.
fn http2_keepalive(cx: &Reader<'_>, node: &Node) -> Option<(Duration, Duration)> {
    let mut fields = cx.mapping(node)?;
    let interval = fields.required("interval", duration);
    let timeout = fields.required("timeout", duration);
    fields.finish();
    interval.zip(timeout)
}

fn read_http(cx: &Reader<'_>, node: &Node, limits: &mut Limits) -> Option<()> {
    let mut fields = cx.mapping(node)?;
    limits.pending = pending(cx, &mut fields);
    limits.requests = limit(&mut fields, "http2MaxRequests");
    limits.requests_per_connection = limit(&mut fields, "maxRequestsPerConnection");
    limits.retries = limit(&mut fields, "maxRetries");
    limits.streams_per_connection = limit(&mut fields, "maxConcurrentStreams");
    if let Some(timeout) = fields.optional("idleTimeout", duration) {
        limits.idle_timeout = Some(timeout);
    }
    limits.h2_upgrade = fields.optional("h2UpgradePolicy", choice(UPGRADES)).unwrap_or_default();
    limits.http2_keepalive = fields.optional("http2KeepAlive", http2_keepalive);
    if fields.optional("useClientProtocol", Reader::bool) == Some(true) {
        limits.client_protocol = ClientProtocol::Use;
        let reason = "the protocol to an endpoint does not follow the caller's";
        fields.refuse("useClientProtocol", NOT_YET, reason);
        if limits.h2_upgrade == H2Upgrade::Upgrade {
            fields.one_of(&["h2UpgradePolicy", "useClientProtocol"]);
        }
    }
    fields.finish();
    Some(())
}

/// `pendingRequests` is not Istio's: it is taken for `http1MaxPendingRequests`.
fn pending(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) -> Option<u32> {
    const NAMES: &[&str] = &["http1MaxPendingRequests", "pendingRequests"];
    fields.one_of(NAMES);
    let standard = limit(fields, "http1MaxPendingRequests");
    let found = standard.or_else(|| limit(fields, "pendingRequests"));
    if let Some((key, _)) = fields.entry("pendingRequests") {
        let name = quoted(&key.name);
        let message = format!("field {name} is not part of the standard: it is taken as `http1MaxPendingRequests`");
        let help = "write `http1MaxPendingRequests`";
        cx.report(Diagnostic::new(Code::NON_STANDARD_FIELD, key.span, message).with_help(help));
    }
    found
}
