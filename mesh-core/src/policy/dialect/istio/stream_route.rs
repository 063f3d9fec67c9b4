//! `tls` and `tcp` routes: connections that are passed on as they are.

use super::names::{dns_label, labels, overlap};
use super::scope::{Scope, subnet};
use super::virtual_service::{Traffic, bindings, destinations};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::dialect::names::is_host_pattern;
use crate::policy::model::route::{HostPattern, StreamMatch, StreamRule};
use crate::policy::reader::{Reader, list_of};
use crate::policy::source::{Node, Value};

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
    refuse_empty(cx, fields.node("match").filter(|_| kind == Stream::Tls), "match");
    let to = fields.required("route", |cx, node| destinations(cx, node, scope, Traffic::Connections));
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
    match kind {
        Stream::Tls => refuse_empty(cx, fields.node("sniHosts"), "name"),
        Stream::Tcp => {
            fields.optional("sourceSubnet", subnet);
            if let Some((key, _)) = fields.entry("sourceSubnet") {
                let message = format!("{} has no effect, in Istio and here", quoted(&key.name));
                cx.report(Diagnostic::new(Code::NO_EFFECT, key.span, message));
            }
        }
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

fn refuse_empty(cx: &Reader<'_>, list: Option<&Node>, what: &str) {
    if let Some(node) = list.filter(|node| matches!(&node.value, Value::Sequence(items) if items.is_empty())) {
        cx.invalid::<()>(node, format!("expected at least one {what}, found an empty list"));
    }
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
