//! From where a document speaks: its namespace completes short names and `.`.

use super::envelope;
use super::form::{Form, List, Schema, Text, Tree};
use super::names::{is_dns_name, is_host_pattern, refuse_duplicates};
use crate::policy::diagnostic::quoted;
use crate::policy::model::{Export, MeshSettings, Meta, full_host};
use crate::policy::reader::{Fields, Reader, spanned};
use crate::policy::source::{Key, Node, SourceSpan};

/// The namespace of a document, and the settings of the mesh.
#[derive(Clone, Copy)]
pub(super) struct Scope<'p> {
    pub(super) namespace: &'p str,
    pub(super) mesh: &'p MeshSettings,
}

impl<'p> Scope<'p> {
    pub(super) const fn new(namespace: &'p str, mesh: &'p MeshSettings) -> Self {
        Self { namespace, mesh }
    }

    /// Name and place of an item of this document.
    pub(super) fn meta(self, cx: &Reader<'_>, name: &str, span: SourceSpan) -> Meta {
        Meta {
            name: name.into(),
            namespace: self.namespace.into(),
            created: 0,
            origin: cx.origin(span),
        }
    }

    /// A host's full name, lower case.
    pub(super) fn full_host(self, host: &str) -> String {
        // A name that ends with a dot is complete.
        match host.strip_suffix('.') {
            Some(host) => host.to_ascii_lowercase(),
            None => full_host(host, self.namespace, &self.mesh.cluster_domain),
        }
    }

    /// Reads the name of a service, short or full.
    pub(super) fn service(self, cx: &Reader<'_>, node: &Node) -> Option<String> {
        let text = cx.text(node)?;
        if is_dns_name(text) {
            return Some(self.full_host(text));
        }
        cx.invalid(node, format!("expected the name of a service, found {}", quoted(text)))
    }

    /// Reads a host, or a pattern of hosts such as `*.example.com`.
    pub(super) fn host_pattern(self, cx: &Reader<'_>, node: &Node) -> Option<String> {
        let text = cx.text(node)?;
        if is_host_pattern(text) || text.parse::<std::net::IpAddr>().is_ok() {
            return Some(self.full_host(text));
        }
        let found = quoted(text);
        cx.invalid(
            node,
            format!("expected a host name, a pattern such as `*.example.com` or an address, found {found}"),
        )
    }

    /// The same for a key.
    pub(super) fn host_pattern_key(self, cx: &Reader<'_>, key: &Key) -> Option<String> {
        if is_host_pattern(&key.name) && &*key.name != "*" {
            return Some(self.full_host(&key.name));
        }
        cx.invalid_key(key, "expected a host name, or a pattern such as `*.example.com`");
        None
    }

    /// Reads `visible_to`: namespaces, `.` for the document's own. Absent is all, an empty list is none.
    pub(super) fn visible_to(self, cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) -> Export {
        if fields.node("visible_to").is_none() {
            return Export::All;
        }
        let names = fields.list("visible_to", spanned(|cx, node| self.namespace(cx, node)));
        let spans: Vec<_> = names.iter().map(|name| (name.value.as_str(), name.span)).collect();
        refuse_duplicates(cx, "namespace", &spans);
        Export::Namespaces(names.into_iter().map(|name| name.value).collect())
    }

    fn namespace(self, cx: &Reader<'_>, node: &Node) -> Option<String> {
        match node.as_text() {
            Some(".") => Some(self.namespace.into()),
            Some("*") => cx.invalid(node, "leave `visible_to` out to be seen by all namespaces"),
            _ => envelope::namespace(cx, node),
        }
    }
}

/// Prints who sees an item.
pub(super) fn write_export(export: &Export) -> Tree {
    match export {
        Export::All => Tree::Nothing,
        Export::Namespaces(names) => Tree::List(names.iter().map(Tree::text).collect()),
    }
}

/// Namespaces, `.` for the document's own.
pub(super) struct VisibleTo;

impl Form for VisibleTo {
    type Of = Export;

    fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Export> {
        List::<Text>::read(cx, node, scope)?;
        let names = node.items().iter().filter_map(|item| scope.namespace(cx, item));
        Some(Export::Namespaces(names.collect()))
    }

    fn write(value: &Export) -> Tree {
        write_export(value)
    }

    fn schema(schema: &mut Schema) -> serde_json::Value {
        List::<Text>::schema(schema)
    }
}

/// Whether a key names an item as Kubernetes would.
pub(super) fn is_item(cx: &Reader<'_>, key: &Key) -> bool {
    let is_name = envelope::is_object_name(&key.name);
    if !is_name {
        cx.invalid_key(key, "expected a name of lower-case letters, digits, `-` and `.`");
    }
    is_name
}
