//! `when` of an authorization rule: conditions on attributes.

use super::NOT_YET;
use super::authorization_policy::is_empty_list;
use super::authorization_rule::{
    account_name, in_trust_domains, ip_block, port, principal_text, refuse_nothing, trust_domain,
};
use super::scope::Scope;
use crate::policy::diagnostic::{Diagnostic, quoted};
use crate::policy::model::MeshSettings;
use crate::policy::model::authz::{Attribute, Condition, When};
use crate::policy::reader::{Reader, list_of};
use crate::policy::source::Node;

/// Reads the list of conditions, all of which must hold.
pub(super) fn when(cx: &Reader<'_>, node: &Node, scope: Scope<'_>, mesh: &MeshSettings) -> Option<Vec<When>> {
    if is_empty_list(node) {
        return cx.invalid(node, "expected at least one condition, found an empty list");
    }
    list_of(|cx, node| condition(cx, node, scope, mesh))(cx, node)
}

fn condition(cx: &Reader<'_>, node: &Node, scope: Scope<'_>, mesh: &MeshSettings) -> Option<When> {
    let mut fields = cx.mapping(node)?;
    refuse_nothing(cx, node);
    let attribute = fields.required("key", attribute);
    let read = |cx: &Reader<'_>, node: &Node| value(cx, node, attribute.as_ref(), scope);
    let any_of = fields.list("values", read);
    let none_of = fields.list("notValues", read);
    let is_given = |name: &str| node.get(name).is_some_and(|node| !node.items().is_empty());
    if !is_given("values") && !is_given("notValues") {
        fields.missing(&["values", "notValues"]);
    }
    fields.finish();
    let attribute = attribute?;
    let in_mesh = |texts: Vec<String>| match attribute {
        Attribute::SourcePrincipal => texts
            .into_iter()
            .flat_map(|text| in_trust_domains(text, mesh))
            .collect(),
        _ => texts,
    };
    let values = Condition {
        any_of: in_mesh(any_of),
        none_of: in_mesh(none_of),
    };
    Some(When::new(attribute, values))
}

/// Keys whose attribute is told by the connection.
const SIMPLE: &[(&str, Attribute)] = &[
    ("source.ip", Attribute::SourceIp),
    ("remote.ip", Attribute::RemoteIp),
    ("source.namespace", Attribute::SourceNamespace),
    ("source.principal", Attribute::SourcePrincipal),
    ("source.serviceAccount", Attribute::SourceServiceAccount),
    ("source.trustDomain", Attribute::SourceTrustDomain),
    ("request.auth.principal", Attribute::RequestPrincipal),
    ("request.auth.audiences", Attribute::Audiences),
    ("request.auth.presenter", Attribute::Presenter),
    ("destination.ip", Attribute::DestinationIp),
    ("destination.port", Attribute::DestinationPort),
    ("connection.sni", Attribute::Sni),
];

/// What Envoy's own filters say of a request.
const FOREIGN: &str = "experimental.envoy.filters.";

/// Reads the key of an attribute, and tells of one that is not in force.
pub(in crate::policy::dialect) fn attribute(cx: &Reader<'_>, node: &Node) -> Option<Attribute> {
    let text = cx.text(node)?;
    let simple = SIMPLE
        .iter()
        .find(|(key, _)| *key == text)
        .map(|(_, attribute)| attribute.clone());
    let foreign = || text.starts_with(FOREIGN).then(|| Attribute::Foreign(text.into()));
    let found = simple.or_else(|| in_brackets(text)).or_else(foreign);
    if let Some(reason) = found.as_ref().and_then(not_yet) {
        let message = format!("key {} is {}: {reason}", quoted(text), NOT_YET.title());
        cx.report(Diagnostic::new(NOT_YET, node.span, message));
    }
    match found {
        Some(found) => Some(found),
        None => cx.invalid(node, format!("unknown key {}", quoted(text))),
    }
}

/// The key of an attribute.
pub(in crate::policy::dialect) fn attribute_key(attribute: &Attribute) -> String {
    if let Some((key, _)) = SIMPLE.iter().find(|(_, known)| known == attribute) {
        return (*key).into();
    }
    match attribute {
        Attribute::Header(name) => format!("request.headers[{name}]"),
        Attribute::Pseudo(name) => format!("request.headers[{name}]"),
        Attribute::Claims(path) => format!("request.auth.claims[{}]", path.join("][")),
        Attribute::Foreign(name) => name.clone(),
        _ => String::new(),
    }
}

/// `request.headers[name]` and `request.auth.claims[a][b]`.
fn in_brackets(text: &str) -> Option<Attribute> {
    let (key, rest) = text.split_once('[')?;
    let names: Vec<String> = rest.strip_suffix(']')?.split("][").map(str::to_owned).collect();
    if names.iter().any(String::is_empty) {
        return None;
    }
    match (key, names.as_slice()) {
        ("request.headers", [name]) if name.starts_with(':') => Some(Attribute::Pseudo(name.clone())),
        ("request.headers", [name]) => http::HeaderName::from_bytes(name.as_bytes())
            .ok()
            .map(Attribute::Header),
        ("request.auth.claims", _) => Some(Attribute::Claims(names)),
        _ => None,
    }
}

/// Why a condition on an attribute is not in force; it then never allows, and always denies.
fn not_yet(attribute: &Attribute) -> Option<&'static str> {
    match attribute {
        Attribute::Pseudo(name) if !matches!(name.as_str(), ":method" | ":authority") => {
            Some("write it as an operation")
        }
        Attribute::Foreign(_) => Some("there is no Envoy, whose filters would tell"),
        _ => None,
    }
}

fn value(cx: &Reader<'_>, node: &Node, attribute: Option<&Attribute>, scope: Scope<'_>) -> Option<String> {
    let text = cx.name(node)?;
    match attribute {
        Some(Attribute::SourceIp | Attribute::RemoteIp | Attribute::DestinationIp) => {
            ip_block(cx, node)?;
        }
        Some(Attribute::DestinationPort) => {
            port(cx, node)?;
        }
        Some(Attribute::SourceTrustDomain) => {
            trust_domain(cx, node)?;
        }
        Some(Attribute::SourceServiceAccount) => return account_name(cx, node, scope),
        Some(Attribute::SourcePrincipal) => return principal_text(cx, node),
        _ => {}
    }
    Some(text)
}
