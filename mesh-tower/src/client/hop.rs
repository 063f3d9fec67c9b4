//! Headers that are about one connection and must not travel to the next.
//!
//! RFC 9110 section 7.6.1: what `Connection` lists, `Connection` itself, and the fields that peers
//! send without listing them. `Transfer-Encoding` is left to hyper, which frames the message again.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONNECTION, TE, UPGRADE},
};
use mesh_core::request::{is_mesh_managed, stays_if_listed};

/// Whether a request may switch its connection to another protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Upgrades {
    /// `Upgrade` is removed: the peer answers in HTTP.
    #[default]
    Strip,
    /// `Upgrade` is forwarded, with the `Connection` that announces it.
    Allow,
}

/// Sent by peers without being listed in `Connection`.
const UNLISTED: [&str; 6] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "upgrade",
    "http2-settings",
];

/// Removes the headers that belong to the connection that `headers` came by.
///
/// `te: trailers` stays, since gRPC needs it. One pass over the names when there is nothing to do,
/// which is nearly always.
///
/// ```
/// use http::{HeaderMap, HeaderValue};
/// use mesh_tower::client::hop::{Upgrades, strip_hop_by_hop};
///
/// let mut headers = HeaderMap::new();
/// headers.insert("connection", HeaderValue::from_static("close, x-internal"));
/// headers.insert("x-internal", HeaderValue::from_static("1"));
/// headers.insert("accept", HeaderValue::from_static("*/*"));
/// strip_hop_by_hop(&mut headers, Upgrades::Strip);
/// assert_eq!(headers.len(), 1);
/// ```
pub fn strip_hop_by_hop(headers: &mut HeaderMap, upgrades: Upgrades) {
    if !has_hop_by_hop(headers) {
        return;
    }
    let listed = listed_in_connection(headers);
    let upgrade = match upgrades {
        Upgrades::Allow if listed.contains(&UPGRADE) => headers.get(UPGRADE).cloned(),
        Upgrades::Allow | Upgrades::Strip => None,
    };
    let te_trailers = headers.get_all(TE).iter().any(names_trailers);
    for name in listed {
        headers.remove(name);
    }
    for name in UNLISTED {
        headers.remove(name);
    }
    if te_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = upgrade {
        headers.insert(UPGRADE, protocol);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
}

/// Whether [`strip_hop_by_hop`] has anything to look at.
pub(crate) fn has_hop_by_hop(headers: &HeaderMap) -> bool {
    headers.iter().any(|(name, value)| is_hop_by_hop(name, value))
}

fn is_hop_by_hop(name: &HeaderName, value: &HeaderValue) -> bool {
    match name.as_str() {
        "te" => value != "trailers",
        name => UNLISTED.contains(&name),
    }
}

/// The names in `Connection`, without those that no sender may take out of a message that way:
/// listing `Host`, a framing header or what the mesh says of the sender is an attack on the next hop, not a wish.
fn listed_in_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .filter(|name| !stays_if_listed(name) && !is_mesh_managed(name.as_str()))
        .collect()
}

fn names_trailers(value: &HeaderValue) -> bool {
    value.to_str().is_ok_and(|value| {
        value
            .split(',')
            .any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strip(fields: &[(&'static str, &'static str)], upgrades: Upgrades) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        strip_hop_by_hop(&mut headers, upgrades);
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        let mut left: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect();
        left.sort();
        left
    }

    fn owned(fields: &[(&str, &str)]) -> Vec<(String, String)> {
        fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn removes_what_connection_lists_in_every_value() {
        let fields = [
            ("connection", "x-a, X-B"),
            ("connection", "x-c"),
            ("x-a", "1"),
            ("x-b", "1"),
            ("x-c", "1"),
        ];

        assert_eq!(strip(&fields, Upgrades::Strip), owned(&[]));
    }

    #[test]
    fn removes_unlisted_hop_by_hop_fields() {
        let fields = [
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("http2-settings", "AAMAAABkAAQAAP__"),
            ("upgrade", "h2c"),
            ("te", "gzip"),
            ("accept", "*/*"),
        ];

        assert_eq!(strip(&fields, Upgrades::Strip), owned(&[("accept", "*/*")]));
    }

    #[test]
    fn keeps_te_trailers_alone() {
        assert_eq!(
            strip(&[("te", "trailers")], Upgrades::Strip),
            owned(&[("te", "trailers")])
        );
        assert_eq!(
            strip(&[("te", "gzip, Trailers"), ("connection", "te")], Upgrades::Strip),
            owned(&[("te", "trailers")])
        );
    }

    #[test]
    fn keeps_an_allowed_upgrade_that_connection_announces() {
        let fields = [("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")];

        let mut kept = strip(&fields, Upgrades::Allow);
        kept.sort();

        assert_eq!(kept, owned(&[("connection", "upgrade"), ("upgrade", "websocket")]));
        assert_eq!(strip(&fields, Upgrades::Strip), owned(&[]));
        assert_eq!(strip(&[("upgrade", "h2c")], Upgrades::Allow), owned(&[]));
    }

    /// D9.
    #[test]
    fn connection_tokens_remove_their_headers_whatever_their_case() {
        let fields = [
            ("connection", "close, X-Real-IP"),
            ("connection", "x-other"),
            ("x-real-ip", "1"),
            ("x-other", "1"),
            ("keep-alive", "5"),
            ("te", "trailers, gzip"),
            ("upgrade", "websocket"),
            ("proxy-connection", "close"),
            ("accept", "*/*"),
        ];

        assert_eq!(
            strip(&fields, Upgrades::Strip),
            owned(&[("accept", "*/*"), ("te", "trailers")])
        );
    }

    /// D9: in any case.
    #[test]
    fn connection_cannot_list_away_what_the_mesh_says_of_the_sender() {
        let fields = [
            (
                "connection",
                "close, X-Forwarded-For, x-mesh-peer, X-Forwarded-Client-Cert, x-real-ip",
            ),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-mesh-peer", "a"),
            ("x-forwarded-client-cert", "URI=a"),
            ("x-real-ip", "192.0.2.2"),
        ];

        assert_eq!(
            strip(&fields, Upgrades::Strip),
            owned(&[
                ("x-forwarded-client-cert", "URI=a"),
                ("x-forwarded-for", "192.0.2.1"),
                ("x-mesh-peer", "a")
            ])
        );
    }

    #[test]
    fn connection_cannot_list_host_or_framing_away() {
        let fields = [
            ("connection", "host, content-length"),
            ("host", "orders"),
            ("content-length", "3"),
        ];

        assert_eq!(
            strip(&fields, Upgrades::Strip),
            owned(&[("content-length", "3"), ("host", "orders")])
        );
    }
}
