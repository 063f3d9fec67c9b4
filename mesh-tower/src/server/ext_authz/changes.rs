//! What an answer changes in a request, and in the response to it.
//!
//! An authorizer never says who the caller is, nor how a message is framed: headers that only the mesh may set, and those
//! of framing and routing, are left as they are.

use std::borrow::Cow;

use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, Request, Uri};
use mesh_core::request::is_mesh_managed;

/// A header with what is done to those of its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HeaderChange {
    pub(super) name: HeaderName,
    pub(super) value: HeaderValue,
    pub(super) how: How,
}

/// What is done where a header is there already, or is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// It replaces those of its name.
    Set,
    /// It is added to them.
    Append,
    /// It is added where there is none.
    AddIfAbsent,
    /// It replaces those of its name where there is one.
    Overwrite,
}

/// What an answer that allows changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) request: Vec<HeaderChange>,
    pub(super) removed: Vec<HeaderName>,
    pub(super) response: Vec<HeaderChange>,
    pub(super) query_set: Vec<(String, String)>,
    pub(super) query_removed: Vec<String>,
}

/// Whether an authorizer may not touch this header: it says how a message is framed or routed, or what only the mesh may say.
pub(super) fn is_untouchable(name: &HeaderName) -> bool {
    is_of_connection(name) || *name == HOST || is_mesh_managed(name.as_str())
}

/// Whether a header belongs to one message on one connection.
pub(super) fn is_of_connection(name: &HeaderName) -> bool {
    const FRAMING: [HeaderName; 6] = [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, UPGRADE, TE, TRAILER];
    FRAMING.contains(name) || matches!(name.as_str(), "keep-alive" | "proxy-connection" | "http2-settings")
}

impl HeaderChange {
    fn apply(self, headers: &mut HeaderMap) {
        if is_untouchable(&self.name) {
            tracing::debug!(header = %self.name, "an authorizer may not change this header");
            return;
        }
        let is_there = headers.contains_key(&self.name);
        match self.how {
            How::Append => _ = headers.append(self.name, self.value),
            How::AddIfAbsent if is_there => {}
            How::Overwrite if !is_there => {}
            How::Set | How::AddIfAbsent | How::Overwrite => _ = headers.insert(self.name, self.value),
        }
    }
}

/// Applies changes in their order. Several values that are set for one name stand beside each other.
pub(super) fn change(headers: &mut HeaderMap, changes: Vec<HeaderChange>) {
    let mut set: Vec<HeaderName> = Vec::new();
    for mut change in changes {
        if change.how == How::Set {
            match set.contains(&change.name) {
                true => change.how = How::Append,
                false => set.push(change.name.clone()),
            }
        }
        change.apply(headers);
    }
}

impl Changes {
    /// Changes the request; what is to be changed in the response is given back.
    ///
    /// # Errors
    ///
    /// Where the changed query is none.
    pub(super) fn apply<B>(self, request: &mut Request<B>) -> Result<Vec<HeaderChange>, http::Error> {
        change(request.headers_mut(), self.request);
        for name in self.removed.iter().filter(|name| !is_untouchable(name)) {
            request.headers_mut().remove(name);
        }
        if !(self.query_set.is_empty() && self.query_removed.is_empty()) {
            *request.uri_mut() = with_query(request.uri(), &self.query_set, &self.query_removed)?;
        }
        Ok(self.response)
    }
}

/// The URI with parameters set and removed; the others stay as they were written.
fn with_query(uri: &Uri, set: &[(String, String)], removed: &[String]) -> Result<Uri, http::Error> {
    let is_changed = |name: &str| {
        removed
            .iter()
            .chain(set.iter().map(|(key, _)| key))
            .any(|key| key == name)
    };
    let old = uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty());
    let kept = old.filter(|pair| !is_changed(&decoded(pair.split('=').next().unwrap_or_default())));
    let added = set
        .iter()
        .map(|(key, value)| Cow::Owned(format!("{}={}", encoded(key), encoded(value))));
    let query = kept.map(Cow::Borrowed).chain(added).collect::<Vec<_>>().join("&");
    let path = match query.is_empty() {
        true => uri.path().to_owned(),
        false => format!("{}?{query}", uri.path()),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path)?);
    Ok(Uri::from_parts(parts)?)
}

/// A name as servers read it: `+` is a space, escapes are bytes.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escape = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let escape = escape.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        (rest, _) = match (first, escape) {
            (b'%', Some(byte)) => (after.get(2..).unwrap_or_default(), bytes.push(byte)),
            (b'+', _) => (after, bytes.push(b' ')),
            (byte, _) => (after, bytes.push(*byte)),
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn encoded(text: &str) -> String {
    use std::fmt::Write as _;

    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => _ = write!(out, "%{byte:02X}"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &'static str, value: &'static str, how: How) -> HeaderChange {
        HeaderChange {
            name: HeaderName::from_static(name),
            value: HeaderValue::from_static(value),
            how,
        }
    }

    fn changed(changes: Changes, uri: &str) -> Request<()> {
        let mut request = Request::get(uri)
            .header("host", "orders")
            .header("x-user", "old")
            .header("x-forwarded-client-cert", "URI=spiffe://cluster.local/ns/a/sa/b")
            .body(())
            .unwrap();
        changes.apply(&mut request).unwrap();
        request
    }

    fn values(request: &Request<()>, name: &str) -> Vec<String> {
        let values = request.headers().get_all(name).iter();
        values.map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn headers_are_set_appended_and_added_as_the_answer_says() {
        for (how, there, absent) in [
            (How::Set, &["new"][..], &["new"][..]),
            (How::Append, &["old", "new"], &["new"]),
            (How::AddIfAbsent, &["old"], &["new"]),
            (How::Overwrite, &["new"], &[]),
        ] {
            let request = vec![header("x-user", "new", how), header("x-other", "new", how)];
            let changes = Changes {
                request,
                ..Changes::default()
            };
            let request = changed(changes, "/");
            assert_eq!(values(&request, "x-user"), there, "{how:?}");
            assert_eq!(values(&request, "x-other"), absent, "{how:?}");
        }
    }

    #[test]
    fn two_values_that_are_set_for_a_name_replace_the_old_one_together() {
        let request = vec![header("x-user", "a", How::Set), header("x-user", "b", How::Set)];
        let changes = Changes {
            request,
            ..Changes::default()
        };
        assert_eq!(values(&changed(changes, "/"), "x-user"), ["a", "b"]);
    }

    #[test]
    fn identity_framing_and_routing_are_not_the_authorizers_to_change() {
        let forged = [
            "x-forwarded-client-cert",
            "x-envoy-original-path",
            "x-mesh-peer",
            "l5d-client-id",
            "host",
            "content-length",
            "transfer-encoding",
            "connection",
        ];
        for name in forged {
            let changes = Changes {
                request: vec![header(name, "forged", How::Set), header(name, "forged", How::Append)],
                removed: vec![HeaderName::from_static(name)],
                ..Changes::default()
            };
            let before = changed(Changes::default(), "/");
            assert_eq!(changed(changes, "/").headers(), before.headers(), "{name}");
        }
    }

    #[test]
    fn parameters_are_set_and_removed_and_the_others_stay_as_written() {
        for (uri, expected) in [
            ("/a?user=x&b=%2f", "/a?b=%2f&user=me%20%26%20you"),
            ("/a?us%65r=x&token=1&token=2", "/a?user=me%20%26%20you"),
            ("/a", "/a?user=me%20%26%20you"),
            ("http://orders/a?&b", "http://orders/a?b&user=me%20%26%20you"),
        ] {
            let changes = Changes {
                query_set: vec![("user".into(), "me & you".into())],
                query_removed: vec!["token".into()],
                ..Changes::default()
            };
            assert_eq!(changed(changes, uri).uri().to_string(), expected);
        }
        let changes = Changes {
            query_removed: vec!["token".into()],
            ..Changes::default()
        };
        assert_eq!(changed(changes, "/a?token=1").uri().to_string(), "/a");
    }
}
