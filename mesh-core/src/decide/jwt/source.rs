//! Where keys come from, and from where none are taken.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use http::Uri;
use thiserror::Error;

/// How long keys are taken as they were fetched, where no rule says otherwise: as long as istiod keeps them.
pub const REFRESH: Duration = Duration::from_secs(20 * 60);
/// How long keys are used that cannot be fetched again, where no rule says otherwise.
pub const STALE: Duration = Duration::from_secs(3_600);
/// Limit for fetching keys, where no rule says otherwise (as in Istio).
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// Keys that have to be got from somewhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct KeySource {
    /// From where.
    pub from: KeyPlace,
    /// How long they are taken as they are.
    pub refresh: Duration,
    /// How long they are used when they cannot be got again; then every token of the issuer is refused.
    pub stale: Duration,
    /// Limit for getting them.
    pub timeout: Duration,
}

/// Where keys are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyPlace {
    /// In this file.
    File(String),
    /// At this address.
    At(Uri),
    /// Where the issuer's OpenID Connect configuration says.
    Discovered(String),
}

impl KeyPlace {
    /// The file or address, for people.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::File(path) => path.clone(),
            Self::At(uri) => uri.to_string(),
            Self::Discovered(issuer) => discovery(issuer),
        }
    }
}

/// The address of an issuer's OpenID Connect configuration.
#[must_use]
pub fn discovery(issuer: &str) -> String {
    format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))
}

/// Why keys are not fetched from an address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidAddress {
    /// It is no address of HTTP.
    #[error("expected an address with `https` or `http`, found `{0}`")]
    Malformed(String),
    /// Anybody on the way could put in keys of their own.
    #[error("keys are fetched in plain text from services of the mesh only, found `{0}`: use `https`")]
    PlainText(String),
    /// It leads to the machine's surroundings, not to an issuer.
    #[error("keys are not fetched from `{0}`: link-local addresses and those of metadata services are no issuers")]
    Local(String),
    /// It has a user name in it.
    #[error("`{0}` has a user name or a password in it")]
    UserInfo(String),
}

/// Whether a host is served within the mesh.
pub trait Hosts {
    /// Whether it is.
    fn is_in_mesh(&self, host: &str) -> bool;
}

impl<F: Fn(&str) -> bool> Hosts for F {
    fn is_in_mesh(&self, host: &str) -> bool {
        self(host)
    }
}

/// Reads the address of keys.
///
/// # Errors
///
/// [`InvalidAddress`].
pub fn address(text: &str, hosts: &dyn Hosts) -> Result<Uri, InvalidAddress> {
    let malformed = || InvalidAddress::Malformed(text.into());
    let uri: Uri = text.parse().map_err(|_| malformed())?;
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(malformed)?;
    if uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return Err(InvalidAddress::UserInfo(text.into()));
    }
    if is_local_name(host) || literal(host).is_some_and(is_forbidden) {
        return Err(InvalidAddress::Local(text.into()));
    }
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        Some("http") if hosts.is_in_mesh(host) => Ok(uri),
        Some("http") => Err(InvalidAddress::PlainText(text.into())),
        _ => Err(malformed()),
    }
}

/// The address that a host is written as.
#[must_use]
pub fn literal(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    bare.unwrap_or(host)
        .parse::<IpAddr>()
        .ok()
        .map(|address| address.to_canonical())
}

fn is_local_name(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    ["metadata.google.internal", "metadata.goog", "instance-data"]
        .iter()
        .any(|name| host.eq_ignore_ascii_case(name))
}

/// Whether keys are never fetched from an address, whoever names it: link-local ones, those of metadata services, and those
/// that are no single host.
#[must_use]
pub fn is_forbidden(address: IpAddr) -> bool {
    /// AWS's metadata service.
    const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast() || v6 == METADATA,
    }
}
