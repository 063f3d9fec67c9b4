//! Where a request first came from, as proxies of one's own tell it.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};

use super::lines;

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address that a request first came from (Istio's `remote.ip`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the peer's, another, or none that is known")]
pub enum Remote {
    /// That of the connection: no proxy is trusted, or none has forwarded it.
    #[default]
    Peer,
    /// The one that a trusted proxy has written.
    At(IpAddr),
    /// It came by fewer proxies than are trusted, or the trusted one has written no address.
    Unknown,
}

/// Reads `x-forwarded-for` as Envoy does with `xff_num_trusted_hops`: of its addresses the one at place `trusted` from the
/// end counts, which the farthest trusted proxy has written. What stands before it anybody may have written.
///
/// Where Envoy falls back to the address of the connection, that of one of the proxies, nothing is known here.
pub(super) fn remote(headers: &HeaderMap, trusted: u32) -> Remote {
    let elements = || lines(headers, &FORWARDED_FOR).flat_map(|line| line.split(|byte| *byte == b','));
    if trusted == 0 || elements().next().is_none() {
        return Remote::Peer;
    }
    let Some(place) = elements().count().checked_sub(trusted as usize) else {
        return Remote::Unknown;
    };
    let told = elements().nth(place).and_then(address);
    told.map_or(Remote::Unknown, Remote::At)
}

/// An address without port and zone; one that is mapped into IPv6 is the IPv4 address.
fn address(element: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(element.trim_ascii()).ok()?;
    text.parse().ok().map(|address: IpAddr| address.to_canonical())
}
