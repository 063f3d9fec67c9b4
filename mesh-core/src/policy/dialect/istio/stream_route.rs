//! `tls` and `tcp` routes: connections that are passed on as they are.

use ipnet::IpNet;

use super::names::{dns_label, labels, overlap};
use super::scope::Scope;
use super::virtual_service::{bindings, destinations};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::dialect::names::is_host_pattern;
use crate::policy::model::route::{HostPattern, StreamMatch, StreamRule};
use crate::policy::reader::{Reader, list_of};
use crate::policy::source::Node;

/// What kind of connections a rule is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Tls,
    Tcp,
}

/// Reads a rule; names of TLS rules must be covered by the hosts of the table.
pub(super) fn stream_rule(
    cx: &Reader<'_>,
    node: &Node,
    scope: Scope<'_>,
    kind: Stream,
    hosts: &[HostPattern],
) -> Option<StreamRule> {
    let mut fields = cx.mapping(node)?;
    let mut read = list_of(|cx, node| stream_match(cx, node, scope, kind, hosts));
    let matches = match kind {
        Stream::Tls => fields.required("match", &mut read),
        Stream::Tcp => fields.optional("match", &mut read),
    };
    let to = fields.required("route", |cx, node| destinations(cx, node, scope));
    fields.finish();
    Some(StreamRule {
        origin: cx.origin(node.span),
        matches: matches.unwrap_or_default(),
        destinations: to?,
    })
}

fn stream_match(
    cx: &Reader<'_>,
    node: &Node,
    scope: Scope<'_>,
    kind: Stream,
    hosts: &[HostPattern],
) -> Option<StreamMatch> {
    let mut fields = cx.mapping(node)?;
    let sni_hosts = match kind {
        Stream::Tls => fields
            .required("sniHosts", list_of(|cx, node| sni_host(cx, node, hosts)))
            .unwrap_or_default(),
        Stream::Tcp => Vec::new(),
    };
    if let Some(node) = fields
        .node("sniHosts")
        .filter(|node| kind == Stream::Tls && node.items().is_empty())
    {
        cx.invalid::<()>(node, "expected at least one name, found an empty list");
    }
    if kind == Stream::Tcp {
        fields.refuse(
            "sourceSubnet",
            Code::NO_EFFECT,
            "no version of Istio has put it in force",
        );
    }
    let found = StreamMatch {
        origin: cx.origin(node.span),
        sni_hosts,
        destination_subnets: fields.list("destinationSubnets", subnet),
        port: fields.optional("port", Reader::port),
        source_labels: fields.optional("sourceLabels", labels).unwrap_or_default(),
        source_namespace: fields.optional("sourceNamespace", dns_label),
        bindings: bindings(&mut fields, scope).unwrap_or_default(),
    };
    fields.finish();
    Some(found)
}

fn sni_host(cx: &Reader<'_>, node: &Node, hosts: &[HostPattern]) -> Option<String> {
    let text = cx.text(node)?;
    if !is_host_pattern(text) || text == "*" {
        return cx.invalid(
            node,
            format!(
                "expected a name or a pattern such as `*.example.com`, found {}",
                quoted(text)
            ),
        );
    }
    if !hosts.iter().any(|host| covers(&host.host, text)) {
        let message = format!("`sniHosts`: {} is covered by none of the `hosts`", quoted(text));
        cx.report(Diagnostic::new(Code::INVALID_POLICY, node.span, message));
    }
    Some(text.to_ascii_lowercase())
}

/// Whether every name of `narrow` is one of `wide`.
fn covers(wide: &str, narrow: &str) -> bool {
    let narrow = narrow.to_ascii_lowercase();
    match wide.strip_prefix('*') {
        Some(suffix) => narrow.ends_with(suffix),
        None => !narrow.starts_with('*') && overlap(wide, &narrow),
    }
}

/// Reads an address or a CIDR range.
fn subnet(cx: &Reader<'_>, node: &Node) -> Option<IpNet> {
    let text = cx.text(node)?;
    let address = || text.parse::<std::net::IpAddr>().map(IpNet::from);
    match text.parse::<IpNet>().or_else(|_| address()) {
        Ok(subnet) => Some(subnet),
        Err(_) => cx.invalid(
            node,
            format!(
                "expected an address or a range such as `10.0.0.0/8`, found {}",
                quoted(text)
            ),
        ),
    }
}
