//! Linkerd: `ServiceProfile`, the policies of servers, and what routes say by annotations.
//!
//! One row of `KINDS` is one kind. The rules are those of Linkerd's own schemas and admission webhooks: what they reject is an
//! error here.

use super::{Dialect, Object, gateway_api, required_spec};
use crate::policy::diagnostic::{Code, Diagnostic};
use crate::policy::model::Policy;
use crate::policy::reader::{Reader, Spelling};
use crate::policy::source::Node;

mod annotations;
mod authentication;
mod authorization;
mod egress;
mod identity;
mod join;
mod order;
mod ports;
mod profile;
mod rate_limit;
mod reference;
mod request;
mod response;
mod server;

pub(super) use annotations::annotate;
pub(in crate::policy) use join::resolve;
pub(super) use request::method;

/// The dialect.
pub const DIALECT: Dialect = Dialect {
    name: "linkerd",
    spelling: Spelling::Exact,
    knows: |api_version, kind| find(api_version, kind).is_some(),
    is_settings: |_| false,
    lower,
};

type Lower = fn(&Reader<'_>, &Object<'_>, &mut Policy);

struct Kind {
    group: &'static str,
    name: &'static str,
    versions: &'static [&'static str],
    lower: Lower,
}

const fn read(group: &'static str, name: &'static str, versions: &'static [&'static str], lower: Lower) -> Kind {
    Kind {
        group,
        name,
        versions,
        lower,
    }
}

/// The group of policies.
const GROUP: &str = "policy.linkerd.io";

const KINDS: &[Kind] = &[
    read(
        "linkerd.io",
        "ServiceProfile",
        &["v1alpha2", "v1alpha1"],
        profile::lower,
    ),
    read(GROUP, "Server", &["v1beta3", "v1beta2", "v1beta1"], server::lower),
    read(GROUP, "ServerAuthorization", &["v1beta1"], authorization::server),
    read(GROUP, "AuthorizationPolicy", &["v1alpha1"], authorization::policy),
    read(GROUP, "MeshTLSAuthentication", &["v1alpha1"], authentication::mesh_tls),
    read(GROUP, "NetworkAuthentication", &["v1alpha1"], authentication::network),
    read(
        GROUP,
        "HTTPRoute",
        &["v1beta3", "v1beta2", "v1beta1", "v1alpha1"],
        gateway_api::http_route,
    ),
    read(GROUP, "HTTPLocalRateLimitPolicy", &["v1alpha1"], rate_limit::lower),
    read(GROUP, "EgressNetwork", &["v1alpha1"], egress::lower),
];

const NOT_YET: Code = Code::NOT_YET_IN_FORCE;

fn find(api_version: &str, name: &str) -> Option<&'static Kind> {
    let (group, version) = api_version.split_once('/')?;
    KINDS
        .iter()
        .find(|kind| kind.group == group && kind.name == name && kind.versions.contains(&version))
}

fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    if let Some(kind) = find(object.api_version, object.kind) {
        (kind.lower)(cx, object, policy);
    }
}

/// Says of a list that an item of it is nothing.
fn null_item(cx: &Reader<'_>, node: &Node, what: &str) {
    let message = format!("{what} is given without a value");
    cx.report(Diagnostic::new(Code::MISSING_FIELD, node.span, message));
}

#[cfg(test)]
mod tests;
