//! Peers of an entry: all fields that begin with `from`.

use std::net::IpAddr;

use ipnet::IpNet;

use super::selector::{member, peer};
use super::{Entry, quoted};
use crate::policy::diagnostic::Code;
use crate::policy::model::authz::{Action, Condition, Pattern, Source};
use crate::policy::reader::{Fields, Reader, choice};
use crate::policy::source::Node;

/// Fields whose peers only Cilium's own agents know.
const UNKNOWN: &[(&str, &str)] = &[
    ("fromRequires", "requirements on peers are not read"),
    ("fromGroups", "groups of a cloud are not read"),
    ("fromNodes", "nodes have no identity of the mesh"),
];

/// Reads the peers of an entry: any of them. `None` where it names none, and means everyone.
pub(super) fn read(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>, of: Entry<'_>) -> Option<Vec<Source>> {
    let mut is_named = false;
    for name in ["fromEndpoints", "fromEntities", "fromCIDR", "fromCIDRSet"] {
        is_named |= fields.node(name).is_some();
    }
    let mut sources: Vec<Source> = Vec::new();
    sources.extend(
        fields
            .list("fromEndpoints", |cx, node| peer(cx, node, of))
            .into_iter()
            .flatten(),
    );
    sources.extend(
        fields
            .list("fromEntities", |cx, node| entity(cx, node, of))
            .into_iter()
            .flatten(),
    );
    sources.extend(fields.list("fromCIDR", |cx, node| Some(block(subnet(cx, node)?, Vec::new()))));
    sources.extend(
        fields
            .list("fromCIDRSet", |cx, node| range(cx, node, of))
            .into_iter()
            .flatten(),
    );
    for (name, reason) in UNKNOWN {
        if let Some((key, _)) = fields.entry(name) {
            of.unknown(cx, key.span, reason);
            is_named = true;
            let narrows = *name == "fromRequires";
            match of.action {
                Action::Deny if narrows && !sources.is_empty() => {}
                Action::Deny => sources.push(Source::default()),
                // What all peers must have besides cannot be known of any.
                _ if narrows => sources.clear(),
                _ => {}
            }
        }
    }
    let authentication = fields.optional("authentication", authentication);
    let named = is_named.then_some(sources);
    match authentication {
        None | Some(Authentication::Disabled) => named,
        Some(Authentication::AlwaysFail) => Some(Vec::new()),
        Some(Authentication::Required) => {
            let all = named.unwrap_or_else(|| vec![Source::default()]);
            Some(all.into_iter().map(authenticated).collect())
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Authentication {
    Disabled,
    Required,
    AlwaysFail,
}

fn authentication(cx: &Reader<'_>, node: &Node) -> Option<Authentication> {
    let mut fields = cx.mapping(node)?;
    let mode = fields.required(
        "mode",
        choice(&[
            ("disabled", Authentication::Disabled),
            ("required", Authentication::Required),
            ("test-always-fail", Authentication::AlwaysFail),
        ]),
    );
    fields.finish();
    mode
}

fn authenticated(mut source: Source) -> Source {
    source.principals.any_of = vec![Pattern::Present];
    source
}

/// Names that stand for many peers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entity {
    All,
    Cluster,
    None,
    /// Who it is shows in no identity of the mesh.
    Outside,
}

const ENTITIES: &[(&str, Entity)] = &[
    ("all", Entity::All),
    ("cluster", Entity::Cluster),
    ("none", Entity::None),
    ("world", Entity::Outside),
    ("world-ipv4", Entity::Outside),
    ("world-ipv6", Entity::Outside),
    ("host", Entity::Outside),
    ("remote-node", Entity::Outside),
    ("kube-apiserver", Entity::Outside),
    ("ingress", Entity::Outside),
    ("init", Entity::Outside),
    ("health", Entity::Outside),
    ("unmanaged", Entity::Outside),
];

/// Reads an entity; `None` inside is nobody.
fn entity(cx: &Reader<'_>, node: &Node, of: Entry<'_>) -> Option<Option<Source>> {
    match choice(ENTITIES)(cx, node)? {
        Entity::All => Some(Some(Source::default())),
        Entity::Cluster => Some(Some(member(of))),
        Entity::None => Some(None),
        Entity::Outside => {
            let found = quoted(node.as_text().unwrap_or_default());
            let what = format!("entity {found} is no identity of the mesh");
            of.unknown(cx, node.span, &what);
            Some((of.action == Action::Deny).then(strangers))
        }
    }
}

/// Peers without an identity of the mesh.
fn strangers() -> Source {
    Source {
        principals: Condition {
            any_of: Vec::new(),
            none_of: vec![Pattern::Present],
        },
        ..Source::default()
    }
}

fn block(block: IpNet, except: Vec<IpNet>) -> Source {
    Source {
        ip_blocks: Condition {
            any_of: vec![block],
            none_of: except,
        },
        ..Source::default()
    }
}

/// Reads a range with exceptions; `None` inside is one that another object names.
fn range(cx: &Reader<'_>, node: &Node, of: Entry<'_>) -> Option<Option<Source>> {
    let mut fields = cx.mapping(node)?;
    let given = fields.required_one_of(&["cidr", "cidrGroupRef", "cidrGroupSelector"]);
    let cidr = fields.optional("cidr", subnet);
    let except = fields.list("except", |cx, node| {
        let found = subnet(cx, node)?;
        if cidr.is_some_and(|all| !all.contains(&found)) {
            return cx.invalid(node, format!("expected a part of the range, found `{found}`"));
        }
        Some(found)
    });
    fields.finish();
    match given {
        Some(("cidr", _)) => Some(Some(block(cidr?, except))),
        Some((_, group)) => {
            of.unknown(cx, group.span, "groups of address ranges are not read");
            let is_denied = of.action == Action::Deny;
            Some(is_denied.then(Source::default))
        }
        None => None,
    }
}

/// Reads a range of addresses; one address is the range of itself.
fn subnet(cx: &Reader<'_>, node: &Node) -> Option<IpNet> {
    let text = cx.text(node)?;
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    match text.parse().ok().or_else(address) {
        Some(range) => Some(range),
        None => cx.invalid(
            node,
            format!("expected a range such as `10.0.0.0/8`, found {}", quoted(text)),
        ),
    }
}

/// The code of fields that only some later version follows.
pub(super) const NOT_YET: Code = Code::NOT_YET_IN_FORCE;
