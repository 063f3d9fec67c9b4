//! Header fields: how repeated lines are read, and which names belong to the mesh.
//!
//! Values are bytes. A value that is not text is there all the same: nothing here treats it as absent.

use std::borrow::Cow;

use http::header::{CONNECTION, CONTENT_TYPE, COOKIE, HOST, HeaderName, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue};

/// Headers that only the mesh may set: the driver strips them from what comes in ([`strip_mesh_managed`]).
pub const MESH_MANAGED: [&str; 1] = ["x-forwarded-client-cert"];

/// Families of headers that only the mesh may set.
pub const MESH_MANAGED_PREFIXES: [&str; 4] = ["x-mesh-", "x-envoy-", "x-istio-", "l5d-"];

/// Up to so many lines are looked at one by one: a look-up by hash costs as much as a look at several.
const FEW: usize = 12;

/// Whether only the mesh may set a header of this name, in any spelling that a server may take for it (`_` or `.` for `-`).
///
/// ```
/// use mesh_core::request::is_mesh_managed;
/// assert!(is_mesh_managed("x-forwarded-client-cert"));
/// assert!(is_mesh_managed("X_Mesh.Peer"));
/// assert!(!is_mesh_managed("x-forwarded-host"));
/// ```
#[must_use]
pub fn is_mesh_managed(name: &str) -> bool {
    MESH_MANAGED
        .iter()
        .any(|managed| managed.len() == name.len() && starts_with_alias(name, managed))
        || MESH_MANAGED_PREFIXES
            .iter()
            .any(|prefix| starts_with_alias(name, prefix))
}

fn starts_with_alias(name: &str, prefix: &str) -> bool {
    let fold = |byte: u8| match byte {
        b'_' | b'.' => b'-',
        byte => byte.to_ascii_lowercase(),
    };
    name.len() >= prefix.len() && name.bytes().zip(prefix.bytes()).all(|(a, b)| fold(a) == b)
}

/// Removes every header that only the mesh may set.
pub fn strip_mesh_managed(headers: &mut HeaderMap) {
    remove_where(headers, |name| is_mesh_managed(name.as_str()));
}

/// Removes what asks for an upgrade to HTTP/2 in plain text: behind it, bytes would be read as requests that no rule saw.
pub fn strip_h2c(headers: &mut HeaderMap) {
    headers.remove("http2-settings");
    let asks = any_element(headers, &UPGRADE, |protocol| protocol.eq_ignore_ascii_case(b"h2c"));
    if asks {
        headers.remove(UPGRADE);
    }
}

/// Removes what `Connection` lists, and all from the list but what says how the connection goes on: who hands the request on
/// removes headers by that list, and would take out what the mesh has set under one of its names.
///
/// Elements are those of both readers, as for [`any_element`]: who splits at every comma finds names behind a quote that never ends.
pub fn strip_listed(headers: &mut HeaderMap) {
    let is_clean = lines(headers, &CONNECTION).flat_map(pieces).all(is_option);
    if is_clean {
        return;
    }
    let listed = listed(headers);
    let options: Vec<&[u8]> = lines(headers, &CONNECTION)
        .flat_map(pieces)
        .filter(|piece| is_option(piece))
        .collect();
    let options = HeaderValue::from_bytes(&options.join(&b", "[..]));
    headers.remove(CONNECTION);
    if let Ok(options) = options
        && !options.is_empty()
    {
        headers.insert(CONNECTION, options);
    }
    for name in listed {
        headers.remove(name);
    }
}

/// The headers that `Connection` names for whatever reader, without those that it cannot take out of a message.
fn listed(headers: &HeaderMap) -> Vec<HeaderName> {
    let mut listed = Vec::new();
    let mut note = |element: &[u8]| match HeaderName::from_bytes(element) {
        Ok(name) if !is_option(element) && !stays_if_listed(&name) => listed.push(name),
        _ => {}
    };
    lines(headers, &CONNECTION).flat_map(pieces).for_each(&mut note);
    for_each_element(headers, &CONNECTION, |element| {
        note(element);
        false
    });
    listed
}

/// What says how a connection goes on.
fn is_option(element: &[u8]) -> bool {
    let options: [&[u8]; 4] = [b"close", b"keep-alive", b"upgrade", b"te"];
    options.iter().any(|option| element.eq_ignore_ascii_case(option))
}

/// Whether a header stays although `Connection` lists it: no sender may take out what a message is, whom it is for, and what
/// others have said of it on its way. A proxy that passes `Connection` on may have added its own to them.
#[must_use]
pub fn stays_if_listed(name: &HeaderName) -> bool {
    let kept = [
        "host",
        "content-length",
        "content-type",
        "transfer-encoding",
        "authorization",
        "trailer",
        "forwarded",
        "x-forwarded-client-cert",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-request-id",
    ];
    kept.contains(&name.as_str())
}

fn remove_where(headers: &mut HeaderMap, remove: impl Fn(&HeaderName) -> bool) {
    if headers.keys().any(&remove) {
        let names: Vec<HeaderName> = headers.keys().filter(|name| remove(name)).cloned().collect();
        for name in names {
            headers.remove(name);
        }
    }
}

/// The lines of a header in the order in which they came, without the white space around them.
pub fn lines<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).iter().map(|value| value.as_bytes().trim_ascii())
}

/// All lines of a header as one value, joined by `,` (cookies by `; `): what routes compare.
///
/// Allocates only where there are several lines.
#[must_use]
pub fn joined<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, [u8]>> {
    if !is_short(headers) {
        return joined_lines(headers, name);
    }
    let place = headers.keys().position(|other| other == name)?;
    let value = line_at(headers, place)?;
    Some(Cow::Borrowed(value.as_bytes().trim_ascii()))
}

/// Whether the names can be looked at one by one, and each has one line: lines have the places of their names then.
fn is_short(headers: &HeaderMap) -> bool {
    headers.len() <= FEW && headers.len() == headers.keys_len()
}

fn line_at(headers: &HeaderMap, place: usize) -> Option<&HeaderValue> {
    headers.values().nth(place)
}

#[inline(never)]
fn joined_lines<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, [u8]>> {
    let mut lines = lines(headers, name);
    let first = lines.next()?;
    let Some(second) = lines.next() else {
        return Some(Cow::Borrowed(first));
    };
    let separator: &[u8] = if *name == COOKIE { b"; " } else { b"," };
    let mut value = first.to_vec();
    for line in std::iter::once(second).chain(lines) {
        value.extend_from_slice(separator);
        value.extend_from_slice(line);
    }
    Some(Cow::Owned(value))
}

/// The value of a header that has exactly one line and one element: what a rule that allows may rely on.
#[must_use]
pub fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut lines = lines(headers, name);
    let value = lines.next()?;
    (lines.next().is_none() && !value.contains(&b',')).then_some(value)
}

/// Whether `test` holds for the whole of a line of a header or for any element of its comma-separated list,
/// quotes removed: what a rule that denies asks.
///
/// Elements are those of a reader that knows quotes, and those of one that splits at every comma: behind a quote that never ends,
/// or within one, the second sees what the first does not.
pub fn any_element(headers: &HeaderMap, name: &HeaderName, test: impl Fn(&[u8]) -> bool) -> bool {
    lines(headers, name).any(|line| test(line) || pieces(line).any(&test)) || for_each_element(headers, name, &test)
}

/// The elements of a line for a reader that knows no quotes.
fn pieces(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// Calls `visit` for the elements of a header until it says `true`; tells whether it did.
fn for_each_element(headers: &HeaderMap, name: &HeaderName, mut visit: impl FnMut(&[u8]) -> bool) -> bool {
    lines(headers, name).any(|line| {
        let mut rest = Some(line);
        while let Some(list) = rest {
            let (element, tail) = split_element(list);
            rest = tail;
            if visit(&unquoted(element.trim_ascii())) {
                return true;
            }
        }
        false
    })
}

/// Splits a list at its first comma outside of quotes.
fn split_element(list: &[u8]) -> (&[u8], Option<&[u8]>) {
    let (mut quoted, mut escaped) = (false, false);
    let comma = list.iter().position(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return true,
            _ => {}
        }
        false
    });
    match comma.and_then(|at| list.split_at_checked(at)) {
        Some((element, tail)) => (element, tail.get(1..)),
        None => (list, None),
    }
}

/// The content of a quoted string (RFC 9110 §5.6.4), or the element as it is.
fn unquoted(element: &[u8]) -> Cow<'_, [u8]> {
    let [b'"', content @ .., b'"'] = element else {
        return Cow::Borrowed(element);
    };
    if !content.contains(&b'\\') {
        return Cow::Borrowed(content);
    }
    let mut out = Vec::with_capacity(content.len());
    let mut bytes = content.iter();
    while let Some(byte) = bytes.next() {
        out.push(if *byte == b'\\' {
            *bytes.next().unwrap_or(byte)
        } else {
            *byte
        });
    }
    Cow::Owned(out)
}

/// Whether a request says that it is gRPC: `application/grpc`, alone or before `+` or `;`.
///
/// ```
/// use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
/// use mesh_core::request::is_grpc;
/// let mut headers = HeaderMap::new();
/// headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc+proto"));
/// assert!(is_grpc(&headers));
/// headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc-web"));
/// assert!(!is_grpc(&headers));
/// ```
#[must_use]
pub fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = match headers.len() <= FEW {
        true => headers
            .iter()
            .find(|(name, _)| *name == CONTENT_TYPE)
            .map(|(_, kind)| kind),
        false => headers.get(CONTENT_TYPE),
    };
    kind.is_some_and(names_grpc)
}

/// Whether a `content-type` is gRPC's.
fn names_grpc(kind: &HeaderValue) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    let kind = kind.as_bytes().trim_ascii();
    kind.split_at_checked(GRPC.len()).is_some_and(|(kind, tail)| {
        kind.eq_ignore_ascii_case(GRPC) && matches!(tail, [] | [b'+' | b';' | b' ' | b'\t', ..])
    })
}

/// What headers tell of the form of a request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Framing<'a> {
    /// The first `Host` line.
    pub(super) host: Option<&'a HeaderValue>,
    /// Whether there is another one.
    pub(super) has_more_hosts: bool,
    /// The first `Content-Type`.
    kind: Option<&'a HeaderValue>,
    /// Whether the body is in another transfer coding than `chunked`.
    pub(super) is_coded: bool,
}

impl<'a> Framing<'a> {
    pub(super) fn of(headers: &'a HeaderMap) -> Self {
        match is_short(headers) {
            true => Self::seen(headers),
            false => Self::looked_up(headers),
        }
    }

    /// By one look at each name.
    #[inline]
    fn seen(headers: &'a HeaderMap) -> Self {
        let mut framing = Self::default();
        for (place, name) in headers.keys().enumerate() {
            if *name == HOST {
                framing.host = line_at(headers, place);
            } else if *name == CONTENT_TYPE {
                framing.kind = line_at(headers, place);
            } else if *name == TRANSFER_ENCODING {
                framing.is_coded = !line_at(headers, place).is_some_and(is_chunked);
            }
        }
        framing
    }

    /// By a look-up of each name.
    #[inline(never)]
    fn looked_up(headers: &'a HeaderMap) -> Self {
        let mut hosts = headers.get_all(HOST).iter();
        Self {
            host: hosts.next(),
            has_more_hosts: hosts.next().is_some(),
            kind: headers.get(CONTENT_TYPE),
            is_coded: !headers.get_all(TRANSFER_ENCODING).iter().all(is_chunked),
        }
    }

    /// Whether it says that it is gRPC.
    pub(super) fn is_grpc(&self) -> bool {
        self.kind.is_some_and(names_grpc)
    }
}

fn is_chunked(coding: &HeaderValue) -> bool {
    coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_look_at_each_line_tells_what_look_ups_tell(
            lines in prop::collection::vec(
                (
                    prop::sample::select(vec!["host", "content-type", "transfer-encoding", "accept", "x-a"]),
                    prop::sample::select(vec!["a", "b", "chunked", " Chunked ", "gzip", "application/grpc"]),
                ),
                0..8,
            ),
        ) {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            for name in headers.keys() {
                prop_assert_eq!(joined(&headers, name), joined_lines(&headers, name));
            }
            let (seen, looked_up) = (Framing::of(&headers), Framing::looked_up(&headers));
            prop_assert_eq!(format!("{seen:?}"), format!("{looked_up:?}"));
            prop_assert_eq!(seen.is_grpc(), is_grpc(&headers));
        }
    }
}
