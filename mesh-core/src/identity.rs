//! Who a workload is: [`TrustDomain`] and [`SpiffeId`].
//!
//! Both exist only as the result of parsing, so a value that exists is valid and can be compared
//! byte by byte. The rules are those of the SPIFFE-ID standard, taken strictly: nothing is folded
//! to lower case, decoded or trimmed, because two texts for one identity are how an authorization
//! rule and a certificate come to disagree.
//!
//! ```
//! use mesh_core::identity::SpiffeId;
//!
//! let id: SpiffeId = "spiffe://cluster.local/ns/shop/sa/orders".parse()?;
//! assert_eq!(id.trust_domain().as_str(), "cluster.local");
//! assert_eq!(id.namespace(), Some("shop"));
//! assert_eq!(id.service_account(), Some("orders"));
//! assert_eq!(id.without_scheme(), "cluster.local/ns/shop/sa/orders");
//! # Ok::<(), mesh_core::identity::SpiffeIdError>(())
//! ```
//!
//! Source: <https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md>, section 2.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

const SCHEME: &str = "spiffe://";
/// Longest SPIFFE id in bytes (SPIFFE-ID 2.3).
const MAX_ID: usize = 2048;
/// Longest trust domain in bytes (SPIFFE-ID 2.1: the host part of RFC 3986).
const MAX_TRUST_DOMAIN: usize = 255;

/// Why a text is no SPIFFE id or no trust domain.
///
/// It names positions, never the text: what a peer presents must not reach a log unescaped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpiffeIdError {
    /// The text does not start with `spiffe://` in lower case.
    #[error("does not start with `spiffe://`")]
    Scheme,
    /// The text is longer than 2048 bytes.
    #[error("is {0} bytes long, expected at most 2048")]
    TooLong(usize),
    /// There is no trust domain.
    #[error("has an empty trust domain")]
    EmptyTrustDomain,
    /// The trust domain is longer than 255 bytes.
    #[error("has a trust domain of {0} bytes, expected at most 255")]
    TrustDomainTooLong(usize),
    /// A character stands in the trust domain that may not.
    #[error("has {found:?} at byte {at} of its trust domain, expected `a-z`, `0-9`, `.`, `-` or `_`")]
    TrustDomainCharacter {
        /// The character.
        found: char,
        /// Its offset in the trust domain.
        at: usize,
    },
    /// A segment of the path is empty, as in `//` and after a final `/`.
    #[error("has an empty path segment")]
    EmptySegment,
    /// A segment of the path is `.` or `..`.
    #[error("has a relative path segment (`.` or `..`)")]
    RelativeSegment,
    /// A character stands in the path that may not.
    #[error("has {found:?} at byte {at} of its path, expected letters, digits, `.`, `-`, `_` and `/`")]
    PathCharacter {
        /// The character.
        found: char,
        /// Its offset in the path, which starts with `/`.
        at: usize,
    },
}

/// The name of a realm whose identities one authority vouches for, such as `cluster.local`.
///
/// Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// Reads a bare name, without scheme and path.
    ///
    /// # Errors
    ///
    /// [`SpiffeIdError`] for an empty or too long name and for characters outside `a-z 0-9 . - _`.
    pub fn parse(name: &str) -> Result<Self, SpiffeIdError> {
        check_trust_domain(name)?;
        Ok(Self(name.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TrustDomain {
    type Err = SpiffeIdError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::parse(name)
    }
}

/// The identity of a workload, such as `spiffe://cluster.local/ns/shop/sa/orders`.
///
/// Cheap to clone. An id without a path names the trust domain itself; it is a valid id, but no
/// workload may present it ([`is_root`](Self::is_root)).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    text: Arc<str>,
    trust_domain: TrustDomain,
}

impl SpiffeId {
    /// Reads an id with its scheme.
    ///
    /// # Errors
    ///
    /// [`SpiffeIdError`] where the text breaks a rule of the SPIFFE-ID standard. Upper case in the
    /// scheme or the trust domain is refused, not folded.
    pub fn parse(text: &str) -> Result<Self, SpiffeIdError> {
        if text.len() > MAX_ID {
            return Err(SpiffeIdError::TooLong(text.len()));
        }
        let rest = text.strip_prefix(SCHEME).ok_or(SpiffeIdError::Scheme)?;
        let (name, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let trust_domain = TrustDomain::parse(name)?;
        check_path(path)?;
        Ok(Self {
            text: text.into(),
            trust_domain,
        })
    }

    /// The id of a Kubernetes service account, in Istio's layout `/ns/<namespace>/sa/<account>`.
    ///
    /// # Errors
    ///
    /// [`SpiffeIdError`] where a name is no path segment or the id becomes too long.
    pub fn for_workload(
        trust_domain: &TrustDomain,
        namespace: &str,
        service_account: &str,
    ) -> Result<Self, SpiffeIdError> {
        check_segment(namespace, "/ns/".len())?;
        check_segment(service_account, "/ns/".len() + namespace.len() + "/sa/".len())?;
        Self::parse(&format!("{SCHEME}{trust_domain}/ns/{namespace}/sa/{service_account}"))
    }

    /// The whole id, with its scheme.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The trust domain.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The path with its leading `/`; empty for the id of a trust domain.
    #[must_use]
    pub fn path(&self) -> &str {
        let start = SCHEME.len() + self.trust_domain.as_str().len();
        self.text.get(start..).unwrap_or_default()
    }

    /// Trust domain and path, as Istio writes principals: `cluster.local/ns/shop/sa/orders`.
    #[must_use]
    pub fn without_scheme(&self) -> &str {
        self.text.get(SCHEME.len()..).unwrap_or_default()
    }

    /// Whether this names a trust domain and no workload in it.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.path().is_empty()
    }

    /// The namespace, where the path has Istio's layout.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.istio_names().map(|(namespace, _)| namespace)
    }

    /// The service account, where the path has Istio's layout.
    #[must_use]
    pub fn service_account(&self) -> Option<&str> {
        self.istio_names().map(|(_, account)| account)
    }

    /// Namespace and account of exactly `/ns/<namespace>/sa/<account>`.
    fn istio_names(&self) -> Option<(&str, &str)> {
        let (namespace, account) = self.path().strip_prefix("/ns/")?.split_once("/sa/")?;
        let whole = !namespace.contains('/') && !account.contains('/');
        whole.then_some((namespace, account))
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

fn check_trust_domain(name: &str) -> Result<(), SpiffeIdError> {
    if name.is_empty() {
        return Err(SpiffeIdError::EmptyTrustDomain);
    }
    if name.len() > MAX_TRUST_DOMAIN {
        return Err(SpiffeIdError::TrustDomainTooLong(name.len()));
    }
    let allowed = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '-' | '_');
    match name.char_indices().find(|(_, c)| !allowed(*c)) {
        Some((at, found)) => Err(SpiffeIdError::TrustDomainCharacter { found, at }),
        None => Ok(()),
    }
}

/// Checks a path that is empty or starts with `/`.
fn check_path(path: &str) -> Result<(), SpiffeIdError> {
    let mut at = 0;
    for segment in path.split('/').skip(1) {
        at += 1;
        check_segment(segment, at)?;
        at += segment.len();
    }
    Ok(())
}

/// Checks one segment that starts at byte `start` of its path.
fn check_segment(segment: &str, start: usize) -> Result<(), SpiffeIdError> {
    match segment {
        "" => return Err(SpiffeIdError::EmptySegment),
        "." | ".." => return Err(SpiffeIdError::RelativeSegment),
        _ => {}
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    match segment.char_indices().find(|(_, c)| !allowed(*c)) {
        Some((at, found)) => Err(SpiffeIdError::PathCharacter { found, at: start + at }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ID-1a, ID-1b.
    #[test]
    fn valid_ids_are_read_and_printed_unchanged() {
        for (text, trust_domain, path) in [
            ("spiffe://td", "td", ""),
            ("spiffe://td/a", "td", "/a"),
            ("spiffe://cluster.local/ns/a/sa/b", "cluster.local", "/ns/a/sa/b"),
            ("spiffe://a_b-c.9/x", "a_b-c.9", "/x"),
            ("spiffe://1.2.3.4/x", "1.2.3.4", "/x"),
            ("spiffe://td/MixedCase/_/-/...", "td", "/MixedCase/_/-/..."),
        ] {
            let id = SpiffeId::parse(text).unwrap();
            assert_eq!(id.to_string(), text);
            assert_eq!(id.trust_domain().as_str(), trust_domain);
            assert_eq!(id.path(), path);
            assert_eq!(format!("spiffe://{}", id.without_scheme()), text);
            assert_eq!(id.is_root(), path.is_empty());
        }
    }

    /// ID-1d, F8, F28.
    #[test]
    fn invalid_ids_are_refused_with_their_reason() {
        use SpiffeIdError as E;
        let in_domain = |found, at| E::TrustDomainCharacter { found, at };
        let in_path = |found, at| E::PathCharacter { found, at };
        for (text, error) in [
            ("", E::Scheme),
            ("td/a", E::Scheme),
            ("http://td/a", E::Scheme),
            ("Spiffe://td/a", E::Scheme),
            ("SPIFFE://td/a", E::Scheme),
            ("spiffe:/td/a", E::Scheme),
            (" spiffe://td/a", E::Scheme),
            ("spiffe://", E::EmptyTrustDomain),
            ("spiffe:///a", E::EmptyTrustDomain),
            ("spiffe://TD/a", in_domain('T', 0)),
            ("spiffe://td:80/a", in_domain(':', 2)),
            ("spiffe://user@td/a", in_domain('@', 4)),
            ("spiffe://t%64/a", in_domain('%', 1)),
            ("spiffe://tdé/a", in_domain('é', 2)),
            ("spiffe://td?q", in_domain('?', 2)),
            ("spiffe://td#f", in_domain('#', 2)),
            ("spiffe://*.td/a", in_domain('*', 0)),
            ("spiffe://[::1]/a", in_domain('[', 0)),
            ("spiffe://td\0/a", in_domain('\0', 2)),
            ("spiffe://td/", E::EmptySegment),
            ("spiffe://td/a/", E::EmptySegment),
            ("spiffe://td//a", E::EmptySegment),
            ("spiffe://td/.", E::RelativeSegment),
            ("spiffe://td/a/../b", E::RelativeSegment),
            ("spiffe://td/a?q=1", in_path('?', 2)),
            ("spiffe://td/a#f", in_path('#', 2)),
            ("spiffe://td/%61", in_path('%', 1)),
            ("spiffe://td/ns/a\0/sa/admin", in_path('\0', 5)),
            ("spiffe://td/a b", in_path(' ', 2)),
            ("spiffe://td/a\n", in_path('\n', 2)),
            ("spiffe://td/é", in_path('é', 1)),
            ("spiffe://td/a;b", in_path(';', 2)),
            ("spiffe://td/*", in_path('*', 1)),
        ] {
            assert_eq!(SpiffeId::parse(text), Err(error), "{text:?}");
        }
    }

    /// F27.
    #[test]
    fn lengths_are_bounded_at_2048_and_255_bytes() {
        let of_length = |n: usize| format!("spiffe://td/{}", "a".repeat(n - 12));
        assert!(SpiffeId::parse(&of_length(2048)).is_ok());
        assert_eq!(SpiffeId::parse(&of_length(2049)), Err(SpiffeIdError::TooLong(2049)));

        assert!(TrustDomain::parse(&"a".repeat(255)).is_ok());
        let long = SpiffeIdError::TrustDomainTooLong(256);
        assert_eq!(TrustDomain::parse(&"a".repeat(256)), Err(long));
    }

    #[test]
    fn only_istios_exact_layout_names_a_service_account() {
        for (path, names) in [
            ("/ns/shop/sa/orders", Some(("shop", "orders"))),
            ("/ns/sa/sa/sa", Some(("sa", "sa"))),
            ("/ns/shop/sa/orders/x", None),
            ("/ns/shop/x/sa/orders", None),
            ("/x/ns/shop/sa/orders", None),
            ("/ns/shop", None),
            ("", None),
        ] {
            let id = SpiffeId::parse(&format!("spiffe://td{path}")).unwrap();
            assert_eq!(id.namespace().zip(id.service_account()), names, "{path}");
        }
    }

    #[test]
    fn a_workload_id_cannot_be_steered_by_its_names() {
        let td = TrustDomain::parse("cluster.local").unwrap();
        let id = SpiffeId::for_workload(&td, "shop", "orders").unwrap();
        assert_eq!(id.as_str(), "spiffe://cluster.local/ns/shop/sa/orders");

        for (namespace, account) in [("a/sa/b", "c"), ("a", "../x"), ("", "b"), ("a", ".."), ("a", "b?")] {
            assert!(SpiffeId::for_workload(&td, namespace, account).is_err());
        }
        for (namespace, account, found, at) in [("a/sa/b", "c", '/', 5), ("shop", "b?", '?', 13)] {
            let error = SpiffeIdError::PathCharacter { found, at };
            assert_eq!(SpiffeId::for_workload(&td, namespace, account), Err(error));
        }
        let long = SpiffeId::for_workload(&td, "shop", &"a".repeat(2048));
        assert_eq!(long, Err(SpiffeIdError::TooLong(2082)));
    }

    #[test]
    fn a_trust_domain_is_a_bare_name() {
        for name in ["cluster.local", "a", "a_b-c.9", "1.2.3.4"] {
            assert_eq!(name.parse::<TrustDomain>().unwrap().to_string(), name);
        }
        for name in ["spiffe://td", "td/", "td/a", "TD", "td:80", " td", "*", "t d", "td\n"] {
            let error = TrustDomain::parse(name);
            assert!(
                matches!(error, Err(SpiffeIdError::TrustDomainCharacter { .. })),
                "{name:?}"
            );
        }
        assert_eq!(TrustDomain::parse(""), Err(SpiffeIdError::EmptyTrustDomain));
    }

    #[test]
    fn without_its_scheme_an_id_is_written_as_istio_writes_principals() {
        for (text, bare) in [
            (
                "spiffe://cluster.local/ns/shop/sa/orders",
                "cluster.local/ns/shop/sa/orders",
            ),
            ("spiffe://td", "td"),
        ] {
            assert_eq!(SpiffeId::parse(text).unwrap().without_scheme(), bare);
        }
    }

    #[test]
    fn what_a_peer_wrote_is_never_printed_raw() {
        for (text, expected) in [
            (
                "spiffe://td/a\nb",
                r"has '\n' at byte 2 of its path, expected letters, digits, `.`, `-`, `_` and `/`",
            ),
            (
                "spiffe://t\u{1b}d/a",
                r"has '\u{1b}' at byte 1 of its trust domain, expected `a-z`, `0-9`, `.`, `-` or `_`",
            ),
        ] {
            assert_eq!(SpiffeId::parse(text).unwrap_err().to_string(), expected);
        }
    }
}
