//! Whether a request means this listener: the guard against DNS rebinding.

use std::net::IpAddr;

use http::uri::Authority;
use http::{HeaderMap, Uri, header};

/// Whether the request's one `Host`, and the authority of its target where it has one, are ours.
pub(super) fn is_ours(uri: &Uri, headers: &HeaderMap, allowed: &[String]) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    let Ok(host) = Authority::try_from(host.as_bytes()) else {
        return false;
    };
    is_allowed(&host, allowed) && uri.authority().is_none_or(|target| is_allowed(target, allowed))
}

fn is_allowed(authority: &Authority, allowed: &[String]) -> bool {
    let host = authority.host();
    let address = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    !authority.as_str().contains('@')
        && (host.eq_ignore_ascii_case("localhost")
            || address.parse::<IpAddr>().is_ok()
            || allowed.iter().any(|name| name.eq_ignore_ascii_case(host)))
}
