//! `sidecars`: which services the workloads of a namespace see.

use super::form::{Created, Form, HostText, LabelSet, List, Name, Namespace, Opt, choices, form};
use super::item::Shelf;
use crate::policy::model::OutboundMode;
use crate::policy::model::service::{EgressHost, Sidecar};

pub(super) const SHELF: Shelf<Sidecar> = Shelf {
    kind: "sidecar",
    push: |policy, sidecar| policy.sidecars.push(sidecar),
};

form! {
    /// What workloads see.
    SidecarForm of Sidecar; {
        "name" [required] meta.name: Name;
        "created" meta.created: Created;
        "selector" selector: LabelSet;
        "egress" egress: Opt<List<Egress>>;
        "outbound" outbound: Opt<Outbound>;
    }
}

form! {
    /// Hosts of a namespace; `*` is any.
    Egress of EgressHost; {
        "namespace" [required] namespace: AnyNamespace;
        "host" [required] host: HostText;
    }
}

choices! {
    /// What becomes of hosts that no policy knows.
    Outbound of OutboundMode; {
        "allow_any" OutboundMode::AllowAny;
        "registry_only" OutboundMode::RegistryOnly;
    }
}

/// A namespace, or `*`.
struct AnyNamespace;

impl Form for AnyNamespace {
    type Of = String;

    fn read(
        cx: &crate::policy::reader::Reader<'_>,
        node: &crate::policy::source::Node,
        scope: super::scope::Scope<'_>,
    ) -> Option<String> {
        match node.as_text() {
            Some("*") => Some("*".into()),
            _ => Namespace::read(cx, node, scope),
        }
    }

    fn write(value: &String) -> super::form::Tree {
        Namespace::write(value)
    }

    fn schema(schema: &mut super::form::Schema) -> serde_json::Value {
        Namespace::schema(schema)
    }
}
