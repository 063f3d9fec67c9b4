//! What a request brings along that the mesh has to look at: found in one pass over its headers.
//!
//! Most requests bring nothing of it. Each look by name costs a hash of the name, more than all names of a usual request
//! cost to pass over once.

use http::HeaderMap;
use mesh_core::request::is_mesh_managed;

/// Families of headers that are present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Brought {
    /// `Connection`.
    pub(crate) connection: bool,
    /// What only the mesh may set.
    pub(crate) managed: bool,
    /// `Upgrade` or `HTTP2-Settings`.
    pub(crate) upgrade: bool,
    /// What ties it to a trace or to other requests.
    pub(crate) correlation: bool,
    /// `Content-Type`.
    pub(crate) content_type: bool,
}

impl Brought {
    pub(crate) fn by(headers: &HeaderMap) -> Self {
        let mut brought = Self::default();
        for name in headers.keys() {
            // Names are in lower case here, and those of the mesh begin with one of two letters.
            match name.as_str() {
                "connection" => brought.connection = true,
                "upgrade" | "http2-settings" => brought.upgrade = true,
                "traceparent" | "tracestate" | "baggage" | "x-request-id" => brought.correlation = true,
                "content-type" => brought.content_type = true,
                name if name.starts_with(['x', 'l']) => brought.managed |= is_mesh_managed(name),
                _ => {}
            }
        }
        brought
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use mesh_core::request::{MESH_MANAGED, MESH_MANAGED_PREFIXES};

    use super::*;

    fn by(names: &[&str]) -> Brought {
        let headers = names.iter().map(|name| {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            (name, "1".parse().unwrap())
        });
        Brought::by(&headers.collect())
    }

    #[test]
    fn each_family_is_seen() {
        assert_eq!(by(&["host", "accept", "x-request", "link"]), Brought::default());
        assert!(by(&["host", "Connection"]).connection);
        assert!(by(&["upgrade"]).upgrade && by(&["http2-settings"]).upgrade);
        assert!(by(&["accept", "Content-Type"]).content_type);
        for name in ["traceparent", "tracestate", "baggage", "X-Request-Id"] {
            assert!(by(&[name]).correlation, "{name}");
        }
    }

    #[test]
    fn whatever_only_the_mesh_may_set_is_seen() {
        let names = MESH_MANAGED.iter().chain(&MESH_MANAGED_PREFIXES);
        for name in names.map(|name| format!("{name}a").replace("certa", "cert")) {
            assert!(
                by(&[&name]).managed && by(&[&name.replace('-', "_").to_uppercase()]).managed,
                "{name}"
            );
        }
    }
}
