//! Where the endpoints of a `ServiceEntry` come from.

use super::NOT_YET;
use super::service_entry::workload_selector;
use super::service_port::{Naming, Port};
use super::values::given_or;
use super::workload_entry::{Addresses, endpoint};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::service::{Endpoint, EndpointSource};
use crate::policy::reader::{Fields, Reader, choice, list_of};
use crate::policy::source::{Node, SourceSpan, Spanned};

/// How the addresses of a service are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resolution {
    /// By the caller; here that is DNS, since callers name hosts.
    None,
    Static,
    Dns,
    DnsRoundRobin,
    DynamicDns,
}

const RESOLUTIONS: &[(&str, Resolution)] = &[
    ("NONE", Resolution::None),
    ("STATIC", Resolution::Static),
    ("DNS", Resolution::Dns),
    ("DNS_ROUND_ROBIN", Resolution::DnsRoundRobin),
    ("DYNAMIC_DNS", Resolution::DynamicDns),
];

impl Resolution {
    const fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Static => "STATIC",
            Self::Dns => "DNS",
            Self::DnsRoundRobin => "DNS_ROUND_ROBIN",
            Self::DynamicDns => "DYNAMIC_DNS",
        }
    }
}

/// What is asked for beside endpoints.
pub(super) struct Asked<'a> {
    pub(super) resolution: Resolution,
    pub(super) hosts: &'a [Spanned<String>],
    pub(super) ports: &'a [Spanned<Port>],
}

/// Reads `resolution`; `None` where it is wrong.
pub(super) fn resolution(fields: &mut Fields<'_, '_, '_>) -> Option<Resolution> {
    given_or(fields, "resolution", Resolution::None, |cx, node| {
        let resolution = choice(RESOLUTIONS)(cx, node)?;
        let reason = match resolution {
            Resolution::DnsRoundRobin => "all addresses of an answer are used",
            Resolution::DynamicDns => "a service has one name",
            _ => return Some(resolution),
        };
        let message = format!("resolution `{}` is {}: {reason}", resolution.name(), NOT_YET.title());
        let help = "give `resolution: DNS`, or `STATIC` with endpoints";
        cx.report(Diagnostic::new(NOT_YET, node.span, message).with_help(help));
        Some(resolution)
    })
}

/// Ranges of addresses need endpoints that no name leads to.
pub(super) fn check_addresses(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>, resolution: Option<Resolution>) {
    let items = fields.node("addresses").map(Node::items).unwrap_or_default();
    let is_range = |node: &&Node| node.as_text().is_some_and(|text| text.contains('/'));
    match resolution {
        None | Some(Resolution::None | Resolution::Static) => {}
        Some(Resolution::DynamicDns) => {
            if let Some((key, _)) = fields.entry("addresses").filter(|_| !items.is_empty()) {
                invalid(
                    cx,
                    key.span,
                    "`addresses` cannot stand beside the resolution `DYNAMIC_DNS`",
                );
            }
        }
        Some(_) => {
            for range in items.iter().filter(is_range) {
                let found = quoted(range.as_text().unwrap_or_default());
                invalid(
                    cx,
                    range.span,
                    &format!("`addresses`: the range {found} needs the resolution `NONE` or `STATIC`"),
                );
            }
        }
    }
}

fn invalid(cx: &Reader<'_>, span: SourceSpan, message: &str) {
    cx.report(Diagnostic::new(Code::INVALID_POLICY, span, message));
}

/// Reads where the endpoints come from.
pub(super) fn endpoint_source(
    cx: &Reader<'_>,
    fields: &mut Fields<'_, '_, '_>,
    asked: &Asked<'_>,
) -> Option<EndpointSource> {
    let source = match fields.one_of(&["endpoints", "workloadSelector"]) {
        Some(("endpoints", node)) => {
            let read = |cx: &Reader<'_>, node: &Node| endpoints(cx, node, asked);
            let listed = fields.optional("endpoints", read)?;
            check_listed(cx, node, asked.resolution);
            Some(EndpointSource::Listed(listed.into())).filter(|_| !node.items().is_empty())
        }
        Some((name, node)) => {
            let selected = fields.optional(name, workload_selector)?;
            warn_of_selector(cx, node, asked.resolution);
            Some(EndpointSource::Selected(selected))
        }
        None => None,
    };
    Some(match (asked.resolution, source) {
        (Resolution::None | Resolution::DynamicDns, _) => EndpointSource::Dns,
        (Resolution::Static, None) => EndpointSource::Listed(Vec::new().into()),
        (_, source) => source.unwrap_or_default(),
    })
}

/// Some resolutions find the addresses themselves.
fn check_listed(cx: &Reader<'_>, node: &Node, resolution: Resolution) {
    let problem = match (resolution, node.items().len()) {
        (_, 0) => return,
        (Resolution::None | Resolution::DynamicDns, _) => {
            format!("`endpoints` cannot stand beside the resolution `{}`", resolution.name())
        }
        (Resolution::DnsRoundRobin, 2..) => "resolution `DNS_ROUND_ROBIN` takes one endpoint".into(),
        _ => return,
    };
    let help = "give `resolution: DNS`, or `STATIC` with addresses";
    cx.report(Diagnostic::new(Code::INVALID_POLICY, node.span, problem).with_help(help));
}

fn warn_of_selector(cx: &Reader<'_>, node: &Node, resolution: Resolution) {
    if resolution == Resolution::None {
        let message = "`workloadSelector` has no effect beside the resolution `NONE`";
        cx.report(Diagnostic::new(Code::NO_EFFECT, node.span, message).with_help("give `resolution: STATIC`"));
    }
}

/// Hosts whose addresses DNS is to find are names, and hosts that share ports are told apart by what is spoken there.
pub(super) fn check_hosts(
    cx: &Reader<'_>,
    fields: &Fields<'_, '_, '_>,
    asked: &Asked<'_>,
    source: Option<&EndpointSource>,
) {
    let patterns = asked.hosts.iter().filter(|host| host.starts_with('*'));
    match asked.resolution {
        Resolution::Dns | Resolution::DnsRoundRobin if source == Some(&EndpointSource::Dns) => {
            for host in patterns {
                let message = format!("`hosts`: DNS knows no address of {}, give `endpoints`", quoted(host));
                invalid(cx, host.span, &message);
            }
        }
        Resolution::DynamicDns => check_dynamic(cx, asked),
        _ => {}
    }
    let nameless = asked.ports.iter().find(|port| port.naming == Naming::Nameless);
    let is_shared = asked.hosts.len() > 1 && asked.resolution != Resolution::None;
    if let Some(port) = nameless.filter(|_| is_shared) {
        let message = format!(
            "port {} says no host, so that the hosts of this service cannot be told apart",
            quoted(&port.port.name)
        );
        let help = "give a `protocol` of HTTP or TLS, one host, or `resolution: NONE`";
        let diagnostic = Diagnostic::new(Code::INVALID_POLICY, port.span, message).with_help(help);
        cx.report(diagnostic.with_label(fields.span(), "of this service"));
    }
}

/// What is resolved for each request must say its host, and be a name that has others below it.
fn check_dynamic(cx: &Reader<'_>, asked: &Asked<'_>) {
    for host in asked.hosts.iter().filter(|host| !host.starts_with('*')) {
        let message = format!(
            "`hosts`: {} is no pattern, as the resolution `DYNAMIC_DNS` needs",
            quoted(host)
        );
        invalid(cx, host.span, &message);
    }
    for port in asked.ports.iter().filter(|port| port.naming == Naming::Nameless) {
        let message = format!(
            "port {} says no host, as the resolution `DYNAMIC_DNS` needs",
            quoted(&port.port.name)
        );
        invalid(cx, port.span, &message);
    }
}

fn endpoints(cx: &Reader<'_>, node: &Node, asked: &Asked<'_>) -> Option<Vec<Endpoint>> {
    let addresses = match asked.resolution {
        Resolution::Static => Addresses::Ip,
        _ => Addresses::IpOrName,
    };
    list_of(|cx, node| {
        let found = endpoint(cx, node, addresses);
        check_port_names(cx, node, asked.ports);
        check_socket(cx, node, asked.ports);
        found
    })(cx, node)
}

fn check_port_names(cx: &Reader<'_>, node: &Node, ports: &[Spanned<Port>]) {
    let is_known = |name: &str| ports.iter().any(|port| port.port.name == name);
    let keys = node.get("ports").map(Node::entries).unwrap_or_default();
    for (key, _) in keys.iter().filter(|(key, _)| !is_known(&key.name)) {
        let message = format!("the service has no port {}", quoted(&key.name));
        cx.report(Diagnostic::new(Code::UNKNOWN_REFERENCE, key.span, message));
    }
}

/// A socket has no ports of its own, so that it can stand for one only.
fn check_socket(cx: &Reader<'_>, node: &Node, ports: &[Spanned<Port>]) {
    let address = node.get("address");
    let socket = address.filter(|address| address.as_text().is_some_and(|text| text.starts_with("unix://")));
    if let Some(address) = socket.filter(|_| ports.len() != 1) {
        let message = format!(
            "`address`: a socket needs a service with exactly one port, this has {}",
            ports.len()
        );
        invalid(cx, address.span, &message);
    }
}
