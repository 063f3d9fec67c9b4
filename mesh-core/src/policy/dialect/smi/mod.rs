//! SMI's objects: splits of traffic, groups of requests, and who may send them.
//!
//! `TrafficSplit` is routes, `TrafficTarget` authorization; both name requests by `HTTPRouteGroup`s, which are read
//! before them, wherever they stand. Older versions of an object have its fields beside `spec`; they are taken in either
//! place.

use super::{Dialect, Object, envelope, names, pattern, required_spec, values};
use crate::policy::diagnostic::quoted;
use crate::policy::model::Policy;
use crate::policy::reader::{Reader, Spelling};
use crate::policy::source::Node;

mod group;
mod requests;
mod split;
mod target;

/// The dialect.
pub const DIALECT: Dialect = Dialect {
    name: "smi",
    spelling: Spelling::Exact,
    knows,
    is_settings: |_| false,
    lower,
};

const VERSIONS: &[&str] = &["v1alpha1", "v1alpha2", "v1alpha3", "v1alpha4"];

fn knows(api_version: &str, kind: &str) -> bool {
    let Some((group, version)) = api_version.split_once('/') else {
        return false;
    };
    VERSIONS.contains(&version)
        && match group {
            "split.smi-spec.io" => kind == "TrafficSplit",
            "specs.smi-spec.io" => matches!(kind, "HTTPRouteGroup" | "TCPRoute" | "UDPRoute"),
            "access.smi-spec.io" => kind == "TrafficTarget",
            _ => false,
        }
}

fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    match object.kind {
        "TrafficSplit" => split::lower(cx, object, policy),
        "TrafficTarget" => target::lower(cx, object, policy),
        "HTTPRouteGroup" => policy.request_groups.extend(group::group(cx, object)),
        _ => group::ports(cx, object),
    }
}

/// `spec`, or the object itself where a version has its fields there.
fn body<'n>(cx: &Reader<'_>, object: &Object<'n>) -> Option<&'n Node> {
    let is_flat = object.kind != "TrafficSplit" && object.node.get("spec").is_none();
    if is_flat {
        return Some(object.node);
    }
    required_spec(cx, object)
}

/// Fields of every object, which stand beside those of a flat one.
const ENVELOPE: &[&str] = &["apiVersion", "kind", "metadata", "status"];

/// Ends a body that may be the object itself.
fn finish(object: &Object<'_>, mut fields: crate::policy::reader::Fields<'_, '_, '_>) {
    if object.spec.is_none() {
        fields.skip(ENVELOPE);
    }
    fields.finish();
}

/// What groups are there for is done once all documents are read.
pub(in crate::policy) fn resolve(policy: &mut Policy) {
    policy.request_groups.clear();
}

#[cfg(test)]
mod tests;
