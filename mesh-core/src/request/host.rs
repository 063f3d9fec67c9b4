//! Hosts: one spelling for each.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use super::BadHost;

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
