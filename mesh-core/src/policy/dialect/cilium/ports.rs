//! `toPorts`: ports, and the requests that are taken there.

use super::http_rule::http;
use super::peers::NOT_YET;
use super::{Entry, quoted};
use crate::policy::diagnostic::{Code, Diagnostic};
use crate::policy::model::authz::{Action, Operation};
use crate::policy::reader::{Fields, IntOrString, Reader, choice};
use crate::policy::source::Node;

/// Reads the ports of an entry: the operations of each group. `None` where it names none, and means all.
pub(super) fn read(fields: &mut Fields<'_, '_, '_>, of: Entry<'_>) -> Option<Vec<Vec<Operation>>> {
    fields.skip(&["icmps"]);
    let node = fields.node("toPorts").filter(|node| !node.items().is_empty());
    let groups = fields.list("toPorts", |cx, node| group(cx, node, of));
    node.map(|_| groups)
}

/// Reads a group of ports; `None` also for one that takes no request of HTTP.
fn group(cx: &Reader<'_>, node: &Node, of: Entry<'_>) -> Option<Vec<Operation>> {
    let mut fields = cx.mapping(node)?;
    let is_listed = fields.node("ports").is_some_and(|ports| !ports.items().is_empty());
    let ports = fields.list("ports", |cx, node| port(cx, node, of));
    let mut is_unknown = false;
    for name in ["terminatingTLS", "originatingTLS", "serverNames", "listener"] {
        is_unknown |= fields.node(name).is_some();
        fields.refuse(name, NOT_YET, "the group takes no request");
    }
    let rules = match of.action {
        Action::Deny => None,
        _ => fields.optional("rules", |cx, node| rules(cx, node)),
    };
    fields.finish();
    if is_unknown && of.action != Action::Deny {
        return None;
    }
    let is_for_all = !is_listed || ports.contains(&Ports::All);
    let numbers: Vec<u16> = ports.iter().flat_map(Ports::numbers).collect();
    if !is_for_all && numbers.is_empty() {
        return None;
    }
    let operations = match rules {
        None => vec![Operation::default()],
        Some(Taken::Nothing) => return None,
        Some(Taken::Requests(requests)) => requests,
    };
    let at_ports = |mut operation: Operation| {
        if !is_for_all {
            operation.ports.any_of.clone_from(&numbers);
        }
        operation
    };
    Some(operations.into_iter().map(at_ports).collect())
}

/// Ports of one item.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ports {
    All,
    Range(u16, u16),
    /// Of another protocol than TCP, or not known.
    None,
}

impl Ports {
    fn numbers(&self) -> impl Iterator<Item = u16> + use<> {
        let (first, last) = match self {
            Self::Range(first, last) => (*first, *last),
            // No number lies between these.
            Self::All | Self::None => (1, 0),
        };
        first..=last
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Tcp,
    Other,
}

const PROTOCOLS: &[(&str, Protocol)] = &[
    ("TCP", Protocol::Tcp),
    ("ANY", Protocol::Tcp),
    ("UDP", Protocol::Other),
    ("SCTP", Protocol::Other),
];

fn port(cx: &Reader<'_>, node: &Node, of: Entry<'_>) -> Option<Ports> {
    let mut fields = cx.mapping(node)?;
    let first = fields.required("port", |cx, node| number(cx, node, of));
    let last = fields.optional("endPort", Reader::port);
    let protocol = fields.optional("protocol", choice(PROTOCOLS));
    fields.finish();
    let ports = match (first?, last) {
        (Ports::Range(first, _), Some(last)) if last >= first => Ports::Range(first, last),
        (Ports::Range(first, _), Some(last)) => {
            let message = format!("`endPort` {last} lies before `port` {first}");
            cx.report(Diagnostic::new(Code::INVALID_POLICY, node.span, message));
            return None;
        }
        (ports, _) => ports,
    };
    match protocol {
        Some(Protocol::Other) => Some(Ports::None),
        _ => Some(ports),
    }
}

/// Reads the number of a port as text; 0 is all of them.
fn number(cx: &Reader<'_>, node: &Node, of: Entry<'_>) -> Option<Ports> {
    let text = match cx.int_or_string(node)? {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(text) => text,
    };
    if let Ok(number) = text.parse::<u16>() {
        return Some(match number {
            0 => Ports::All,
            number => Ports::Range(number, number),
        });
    }
    let is_name = text.chars().any(|c| c.is_ascii_alphabetic()) && super::names::is_dns_label(&text);
    if !is_name {
        let found = quoted(&text);
        return cx.invalid(node, format!("expected a port or the name of one, found {found}"));
    }
    let what = format!("the number of port {} is not known to a process", quoted(&text));
    of.unknown(cx, node.span, &what);
    Some(match of.action {
        Action::Deny => Ports::All,
        _ => Ports::None,
    })
}

/// What the rules of a group take.
enum Taken {
    Requests(Vec<Operation>),
    /// They are of another protocol.
    Nothing,
}

/// Reads the rules of a group; without any of HTTP all requests are taken.
fn rules(cx: &Reader<'_>, node: &Node) -> Option<Taken> {
    let mut fields = cx.mapping(node)?;
    let given = fields.one_of(&["http", "kafka", "dns", "l7"]).map(|(name, _)| name);
    let requests = fields.list("http", |cx, node| http(cx, node));
    for name in ["kafka", "dns", "l7", "l7proto"] {
        fields.refuse(name, NOT_YET, "only requests of HTTP are taken");
    }
    let is_other = node.get("l7proto").is_some() || given.is_some_and(|name| name != "http");
    fields.finish();
    let listed = node.get("http").map(Node::items).unwrap_or_default();
    Some(match (is_other, listed) {
        (true, _) => Taken::Nothing,
        (false, []) => Taken::Requests(vec![Operation::default()]),
        // Of rules that all are never met nothing is left.
        (false, _) if requests.iter().all(Option::is_none) => Taken::Nothing,
        (false, _) => Taken::Requests(requests.into_iter().flatten().collect()),
    })
}
