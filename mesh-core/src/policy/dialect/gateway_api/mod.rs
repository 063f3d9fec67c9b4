//! Gateway API: `Gateway`, `HTTPRoute`, `GRPCRoute` and what belongs to them, for gateways and for the mesh (GAMMA).
//!
//! One row of `KINDS` is one kind. The rules are those of the API's own schemas and their CEL rules: what an API server
//! rejects is an error here. What the API reports in the status of an object that it takes (a parent that is not there, a
//! listener that does not allow a route, a backend that is none) is a warning, and the requests get what the API says:
//! 404 or 500.
//!
//! Routes attach to listeners and services of other documents. Reading keeps what each document says of others in
//! [`Attachments`](crate::policy::model::attachment::Attachments); `resolve` joins them once all documents are read
//! (`docs/dialects.md` has the tables).

use super::{Dialect, Object, envelope, kind_span, pattern, required_spec};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::{MeshSettings, Policy};
use crate::policy::reader::{Fields, Reader, Spelling};
use crate::policy::source::{Node, SourceSpan};

mod attach;
mod backend;
mod backend_tls;
mod cors;
mod external_auth;
mod filters;
mod gateway;
mod grants;
mod grpc_route;
mod http_route;
mod listener;
mod matching;
mod names;
mod parents;
mod rules;
mod stream_route;
mod values;

pub(in crate::policy) use attach::resolve;
pub(super) use http_route::lower as http_route;
pub(super) use listener::selector;

/// The dialect.
pub const DIALECT: Dialect = Dialect {
    name: "gateway-api",
    spelling: Spelling::Exact,
    knows,
    is_settings: |_| false,
    lower,
};

/// What becomes of a kind.
#[derive(Clone, Copy)]
enum Lowering {
    /// It is read into the policy.
    Read(fn(&Reader<'_>, &Object<'_>, &mut Policy)),
    /// It is told what becomes of it, for this reason.
    Tell(Code, &'static str),
}

struct Kind {
    name: &'static str,
    versions: &'static [&'static str],
    lowering: Lowering,
}

const GROUP: &str = "gateway.networking.k8s.io";

/// The group of Linkerd's policies, which read routes as well.
const LINKERD: &str = "policy.linkerd.io";

const NOT_YET: Code = Code::NOT_YET_IN_FORCE;

type Lower = fn(&Reader<'_>, &Object<'_>, &mut Policy);

const fn read(name: &'static str, versions: &'static [&'static str], lower: Lower) -> Kind {
    let lowering = Lowering::Read(lower);
    Kind {
        name,
        versions,
        lowering,
    }
}

const fn not_yet(name: &'static str, versions: &'static [&'static str], reason: &'static str) -> Kind {
    let lowering = Lowering::Tell(NOT_YET, reason);
    Kind {
        name,
        versions,
        lowering,
    }
}

const SHARED_LISTENERS: &str = "gateways have only the listeners that they list themselves";

const KINDS: &[Kind] = &[
    read("GatewayClass", &["v1", "v1beta1", "v1alpha2"], gateway::class),
    read("Gateway", &["v1", "v1beta1", "v1alpha2"], gateway::lower),
    read("HTTPRoute", &["v1", "v1beta1", "v1alpha2"], http_route::lower),
    read("GRPCRoute", &["v1", "v1alpha2"], grpc_route::lower),
    read("ReferenceGrant", &["v1", "v1beta1", "v1alpha2"], grants::lower),
    read("BackendTLSPolicy", &["v1", "v1alpha3", "v1alpha2"], backend_tls::lower),
    read("TLSRoute", &["v1", "v1alpha3", "v1alpha2"], stream_route::tls),
    read("TCPRoute", &["v1", "v1alpha2"], stream_route::tcp),
    not_yet(
        "UDPRoute",
        &["v1", "v1alpha2"],
        "a process forwards requests and connections, no datagrams",
    ),
    not_yet("ListenerSet", &["v1"], SHARED_LISTENERS),
];

fn kind(api_version: &str, name: &str) -> Option<&'static Kind> {
    let version = api_version.strip_prefix(GROUP)?.strip_prefix('/')?;
    KINDS
        .iter()
        .find(|known| known.name == name && known.versions.contains(&version))
}

fn knows(api_version: &str, name: &str) -> bool {
    kind(api_version, name).is_some()
}

fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    match kind(object.api_version, object.kind).map(|known| known.lowering) {
        Some(Lowering::Read(lower)) => lower(cx, object, policy),
        Some(Lowering::Tell(code, reason)) => {
            let message = format!("kind {} is {}: {reason}", quoted(object.kind), code.title());
            cx.report(Diagnostic::new(code, kind_span(object), message));
        }
        None => {}
    }
}

/// Says of a field that it is not yet in force, where it is given.
fn refuse(fields: &mut Fields<'_, '_, '_>, name: &'static str, reason: &str) {
    fields.refuse(name, NOT_YET, reason);
}

/// Says that a field is valid and changes nothing in a process.
fn no_effect(cx: &Reader<'_>, span: SourceSpan, message: &str) {
    cx.report(Diagnostic::new(Code::NO_EFFECT, span, message));
}

/// From where a document speaks.
#[derive(Clone, Copy)]
struct Scope<'p> {
    namespace: &'p str,
    cluster_domain: &'p str,
    without_backends: WithoutBackends,
}

/// What becomes of requests of a rule that names no backend.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WithoutBackends {
    /// They are answered with 500.
    Fail,
    /// They go to the service that the route is for, as in Linkerd.
    Parent,
}

impl WithoutBackends {
    fn of(object: &Object<'_>) -> Self {
        let text = |node: &Node, name: &str| node.get(name).and_then(Node::as_text).map(str::to_owned);
        let annotations = object
            .node
            .get("metadata")
            .and_then(|metadata| metadata.get("annotations"));
        let annotations = annotations.map_or(&[][..], Node::entries);
        let parents = object
            .spec
            .and_then(|spec| spec.get("parentRefs"))
            .map_or(&[][..], Node::items);
        let is_linkerds = object.api_version.starts_with(LINKERD)
            || annotations.iter().any(|(key, _)| {
                key.name
                    .split('/')
                    .next()
                    .is_some_and(|domain| domain.ends_with(".linkerd.io"))
            })
            || parents
                .iter()
                .any(|parent| text(parent, "group").as_deref() == Some(LINKERD));
        if is_linkerds { Self::Parent } else { Self::Fail }
    }
}

impl<'p> Scope<'p> {
    fn new(object: &'p Object<'_>, mesh: &'p MeshSettings) -> Self {
        Self {
            namespace: &object.meta.namespace,
            cluster_domain: &mesh.cluster_domain,
            without_backends: WithoutBackends::of(object),
        }
    }

    /// The full name of a service of a namespace.
    fn service(self, name: &str, namespace: &str) -> String {
        format!("{name}.{namespace}.svc.{}", self.cluster_domain)
    }
}

#[cfg(test)]
mod tests;
