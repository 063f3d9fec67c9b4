//! Hosts: one spelling for each.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use super::BadHost;
use super::glance::{Glance, Names, ODD, after, classes};

/// The longest name that DNS can hold, with its final dot.
const MAX_NAME: usize = 254;

/// An authority, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host<'a> {
    /// Lower case, without trailing dot and brackets.
    pub(super) name: Cow<'a, str>,
    /// The port, if it names one.
    pub(super) port: Option<u16>,
}

/// Takes `host[:port]` apart.
pub(super) fn parse(authority: &str) -> Result<Host<'_>, BadHost> {
    plain(authority).map_or_else(|| examined(authority), Ok)
}

/// Reads a name in lower case, with a port or without one, as nearly all authorities are written. `None` says nothing of
/// others.
#[inline]
fn plain(authority: &str) -> Option<Host<'_>> {
    if authority.len() < MAX_NAME && LABELS.are_all(authority.as_bytes()) {
        let is_name = !authority.starts_with('.') && !authority.ends_with('.');
        return is_name.then_some(Host {
            name: Cow::Borrowed(authority),
            port: None,
        });
    }
    // A name must not start like one that a dot has ended.
    let mut glance = Glance::after(&CLASSES, DOT);
    let end = authority.bytes().position(|byte| glance.at(byte) == COLON);
    let (name, port) = authority.split_at_checked(end.unwrap_or(authority.len()))?;
    if !glance.is_plain() || name.ends_with('.') || name.is_empty() || name.len() > MAX_NAME {
        return None;
    }
    Some(Host {
        name: Cow::Borrowed(name),
        port: port_suffix(port).ok()?,
    })
}

/// Labels as most are.
const LABELS: Names = Names { between: b'.', fold: 0 };
/// A dot, and that it must not follow another one.
const DOT: u8 = 2 | after(2);
/// The end of the name.
const COLON: u8 = 8;

/// What is to be known of each byte.
const CLASSES: [u8; 256] = classes!(class);

/// The class of a printable byte.
const fn class(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => 0,
        b'.' => DOT,
        b':' => COLON,
        _ => ODD,
    }
}

/// Takes any authority apart.
fn examined(authority: &str) -> Result<Host<'_>, BadHost> {
    if authority.contains('@') {
        return Err(BadHost::UserInfo);
    }
    if let Some(literal) = authority.strip_prefix('[') {
        let (address, port) = literal.split_once(']').ok_or(BadHost::Malformed)?;
        let name = address_name(address)?;
        return Ok(Host {
            name,
            port: port_suffix(port)?,
        });
    }
    let end = authority.find(':').unwrap_or(authority.len());
    let (name, port) = authority.split_at_checked(end).ok_or(BadHost::Malformed)?;
    Ok(Host {
        name: host_name(name)?,
        port: port_suffix(port)?,
    })
}

/// Reads `:80`, `:` or nothing.
fn port_suffix(text: &str) -> Result<Option<u16>, BadHost> {
    let digits = match text.strip_prefix(':') {
        Some(digits) => digits,
        None if text.is_empty() => return Ok(None),
        None => return Err(BadHost::Malformed),
    };
    if digits.is_empty() {
        return Ok(None);
    }
    let valid = digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let port = valid.then(|| digits.parse().ok()).flatten();
    port.map(Some).ok_or(BadHost::Port)
}

/// One text for each IPv6 address.
fn address_name(address: &str) -> Result<Cow<'_, str>, BadHost> {
    let parsed: Ipv6Addr = address.parse().map_err(|_| BadHost::Malformed)?;
    let canonical = parsed.to_string();
    Ok(if canonical == address {
        Cow::Borrowed(address)
    } else {
        Cow::Owned(canonical)
    })
}

fn host_name(text: &str) -> Result<Cow<'_, str>, BadHost> {
    let name = text.strip_suffix('.').unwrap_or(text);
    if text.len() > MAX_NAME || name.split('.').any(str::is_empty) {
        return Err(BadHost::Malformed);
    }
    let mut upper = false;
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {}
            b'A'..=b'Z' => upper = true,
            _ => return Err(BadHost::Malformed),
        }
    }
    Ok(if upper {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn authorities() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "a", "b1", "orders", ".", "..", "-", "_", "~", ":", ":80", ":99999", "A", "[::1]", "@", " ", "\u{e9}", "%",
        ]);
        let long = (240..260usize).prop_map(|length| "a".repeat(length));
        let pieces = prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat());
        prop_oneof![pieces, long, any::<String>()]
    }

    proptest! {
        #[test]
        fn what_is_read_at_a_glance_is_read_so_at_length(authority in authorities()) {
            if let Some(host) = plain(&authority) {
                prop_assert_eq!(examined(&authority), Ok(host));
            }
        }
    }

    #[test]
    fn usual_authorities_are_read_at_a_glance() {
        for (authority, name, port) in [
            ("orders", "orders", None),
            ("orders.shop.svc:8080", "orders.shop.svc", Some(8080)),
            ("10.0.0.1:", "10.0.0.1", None),
        ] {
            let name = Cow::Borrowed(name);
            assert_eq!(plain(authority), Some(Host { name, port }), "{authority}");
        }
        for other in [
            "", ".", "a.", ".a", "a..b", "Orders", "[::1]", "a@b", "a:b", "user:1@b", ":80",
        ] {
            assert_eq!(plain(other), None, "{other}");
        }
    }
}
