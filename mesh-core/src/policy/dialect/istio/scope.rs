//! From where a document speaks: its namespace completes short names and `.`.

use std::net::IpAddr;

use ipnet::IpNet;

use super::names::{is_dns_label, labels, refuse_duplicates};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::dialect::Object;
use crate::policy::model::{Export, Labels, MeshSettings, full_host};
use crate::policy::reader::{Fields, Reader, spanned};
use crate::policy::source::Node;

/// The namespace of a document, and the domain of the cluster.
#[derive(Clone, Copy)]
pub(super) struct Scope<'p> {
    pub(super) namespace: &'p str,
    cluster_domain: &'p str,
}

impl<'p> Scope<'p> {
    pub(super) fn new(object: &'p Object<'_>, mesh: &'p MeshSettings) -> Self {
        Self {
            namespace: &object.meta.namespace,
            cluster_domain: &mesh.cluster_domain,
        }
    }

    /// A host's full name, lower case.
    pub(super) fn full_host(self, host: &str) -> String {
        full_host(
            host.strip_suffix('.').unwrap_or(host),
            self.namespace,
            self.cluster_domain,
        )
    }

    /// Reads `exportTo`: `.`, `*`, `~` or names of namespaces.
    pub(super) fn export_to(self, cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) -> Export {
        let names = fields.list("exportTo", spanned(|cx, node| self.visible_to(cx, node)));
        let spans: Vec<_> = names.iter().map(|name| (name.value.as_str(), name.span)).collect();
        refuse_duplicates(cx, "namespace", &spans);
        let lone = names.iter().find(|name| matches!(name.as_str(), "*" | "~"));
        match lone {
            Some(lone) if names.len() > 1 => {
                let message = format!("`exportTo`: {} must stand alone", quoted(lone));
                cx.report(Diagnostic::new(Code::INVALID_POLICY, lone.span, message));
                Export::All
            }
            Some(lone) if lone.value == "~" => Export::Namespaces(Vec::new()),
            Some(_) => Export::All,
            None if names.is_empty() => Export::All,
            None => Export::Namespaces(names.into_iter().map(|name| name.value).collect()),
        }
    }

    fn visible_to(self, cx: &Reader<'_>, node: &Node) -> Option<String> {
        match cx.text(node)? {
            "." => Some(self.namespace.into()),
            text @ ("*" | "~") => Some(text.into()),
            text if is_dns_label(text) => Some(text.into()),
            text => {
                let found = quoted(text);
                cx.invalid(node, format!("expected `.`, `*`, `~` or a namespace, found {found}"))
            }
        }
    }
}

/// Reads a range of addresses; one address is the range of itself.
pub(super) fn subnet(cx: &Reader<'_>, node: &Node) -> Option<IpNet> {
    let ending_in_colons = ending_in_colons(node);
    let text = match &ending_in_colons {
        Some(text) => text,
        None => cx.text(node)?,
    };
    let range = text.parse::<IpNet>().ok();
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    match range.or_else(address) {
        Some(range) => Some(range),
        None => cx.invalid(
            node,
            format!(
                "expected an address or a range such as `10.0.0.0/8`, found {}",
                quoted(text)
            ),
        ),
    }
}

/// `[2001:db8::]` is a list of one mapping with an empty value by the rules of YAML 1.2, and an address to everybody else.
fn ending_in_colons(node: &Node) -> Option<String> {
    let [(key, value)] = node.entries() else {
        return None;
    };
    let address = format!("{}:", key.name);
    (value.is_null() && address.parse::<IpAddr>().is_ok()).then_some(address)
}

/// Reads a selector of workloads, `{ matchLabels: { … } }`; without labels it selects the whole namespace.
pub(super) fn selector(cx: &Reader<'_>, node: &Node) -> Option<Labels> {
    let mut fields = cx.mapping(node)?;
    let selected = fields.optional("matchLabels", labels).unwrap_or_default();
    fields.finish();
    if !has_labels(node) {
        let message = "`selector` has no labels: the policy holds for every workload of its namespace";
        let help = "leave `selector` out, or give it labels";
        cx.report(Diagnostic::new(Code::NO_EFFECT, node.span, message).with_help(help));
    }
    Some(selected)
}

/// Whether a selector selects by labels, be they right or wrong.
pub(super) fn has_labels(selector: &Node) -> bool {
    selector
        .get("matchLabels")
        .is_some_and(|labels| !labels.entries().is_empty())
}
