//! Revocation lists: which certificates of an authority are good no more before their end.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateRevocationListDer, UnixTime};
use webpki::{
    CertRevocationList, ExpirationPolicy, OwnedCertRevocationList, RevocationOptions, RevocationOptionsBuilder,
    UnknownStatusPolicy,
};
use x509_parser::extensions::{AuthorityKeyIdentifier, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::pem;
use crate::clock::system_time;

/// The most lists of one file.
const MAX_LISTS: usize = 64;

/// Why a text is no revocation list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RevocationError {
    /// The text holds no list. A list that revokes nothing is not empty: it has an issuer and a signature.
    #[error("no revocation list")]
    Empty,
    /// The text is not PEM, or is cut off.
    #[error("revocation list is not valid PEM: {0}")]
    Pem(String),
    /// A list is damaged, or of a kind that is not supported: delta lists, indirect ones, those of some reasons only.
    #[error("revocation list {at} cannot be used: {reason}")]
    Unusable {
        /// Which one, from 1.
        at: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// More than 64 lists.
    #[error("more than 64 revocation lists")]
    TooMany,
}

/// What to do where it is not known whether a certificate is revoked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "one of the two")]
pub enum InDoubt {
    /// It is refused.
    #[default]
    Deny,
    /// It is taken as good.
    Allow,
}

/// How certificates are judged whose revocation is in doubt. Nothing is in doubt in a trust domain without lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct RevocationPolicy {
    /// No list is of the certificate's issuer.
    pub unknown: InDoubt,
    /// The list should have been replaced by now.
    pub expired: InDoubt,
}

impl RevocationPolicy {
    /// What to do where no list is of the certificate's issuer, and where it should have been replaced.
    #[must_use]
    pub const fn new(unknown: InDoubt, expired: InDoubt) -> Self {
        Self { unknown, expired }
    }

    /// What chain building is asked with; `None` where there is nothing to ask.
    pub(super) fn options<'a>(self, lists: &'a [&'a CertRevocationList<'a>]) -> Option<RevocationOptions<'a>> {
        let unknown = match self.unknown {
            InDoubt::Deny => UnknownStatusPolicy::Deny,
            InDoubt::Allow => UnknownStatusPolicy::Allow,
        };
        let expired = match self.expired {
            InDoubt::Deny => ExpirationPolicy::Enforce,
            InDoubt::Allow => ExpirationPolicy::Ignore,
        };
        let builder = RevocationOptionsBuilder::new(lists).ok()?;
        Some(
            builder
                .with_status_policy(unknown)
                .with_expiration_policy(expired)
                .build(),
        )
    }
}

/// A revocation list (RFC 5280 section 5). Cheap to clone.
#[derive(Clone)]
pub struct RevocationList {
    list: Arc<CertRevocationList<'static>>,
    /// Which key of its issuer signed it, where the list says so.
    key: Option<Box<[u8]>>,
    /// When it was made, in seconds since 1970.
    pub(super) this_update: i64,
    next_update: Option<u64>,
    revoked: usize,
}

impl RevocationList {
    /// The most that are taken at once.
    #[cfg(feature = "workload-api")]
    pub(crate) const MOST: usize = MAX_LISTS;

    /// Reads lists from PEM, or one from DER.
    ///
    /// # Errors
    ///
    /// [`RevocationError`] where there is none, or one cannot be used: a file is taken whole or not at all.
    pub fn read(text: &[u8]) -> Result<Vec<Self>, RevocationError> {
        Self::from_der(&ders(text)?)
    }

    /// The lists of a text, which can be used, as they are; the newest first, since chain building takes the first that an
    /// issuer has.
    pub(crate) fn texts(text: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, RevocationError> {
        let texts = ders(text)?;
        let lists = Self::from_der(&texts)?;
        let mut dated: Vec<_> = lists.iter().map(|list| list.this_update).zip(texts).collect();
        dated.sort_by_key(|(made, _)| std::cmp::Reverse(*made));
        Ok(dated.into_iter().map(|(_, text)| text).collect())
    }

    /// Takes lists in DER.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn from_der(lists: &[CertificateRevocationListDer<'_>]) -> Result<Vec<Self>, RevocationError> {
        match lists.len() {
            0 => Err(RevocationError::Empty),
            1..=MAX_LISTS => (1..).zip(lists).map(|(at, list)| Self::one(list, at)).collect(),
            _ => Err(RevocationError::TooMany),
        }
    }

    /// The list in DER that is the `at`th of its kind.
    pub(crate) fn one(der: &[u8], at: usize) -> Result<Self, RevocationError> {
        let unusable = |reason: String| RevocationError::Unusable { at, reason };
        let list = OwnedCertRevocationList::from_der(der).map_err(|error| unusable(error.to_string()))?;
        let (_, parsed) = CertificateRevocationList::from_der(der).map_err(|error| unusable(error.to_string()))?;
        let next_update = parsed.next_update().map(|time| time.timestamp());
        Ok(Self {
            list: Arc::new(list.into()),
            key: signing_key(&parsed),
            this_update: parsed.last_update().timestamp(),
            next_update: next_update.and_then(|time| u64::try_from(time).ok()),
            revoked: parsed.iter_revoked_certificates().count(),
        })
    }

    /// How many certificates it revokes.
    #[must_use]
    pub fn revoked(&self) -> usize {
        self.revoked
    }

    /// When it should have been replaced; `None` where it does not say.
    #[must_use]
    pub fn next_update(&self) -> Option<SystemTime> {
        let seconds = self.next_update.map(Duration::from_secs);
        seconds.map(|seconds| system_time(UnixTime::since_unix_epoch(seconds)))
    }

    pub(super) fn list(&self) -> &CertRevocationList<'static> {
        &self.list
    }

    /// Whether another authority of the same name signed it: while an authority's key is replaced there are two.
    pub(super) fn is_of_namesake(&self, subject: &[u8], key: Option<&[u8]>) -> bool {
        let differs = |(signed, known)| signed != known;
        self.list.issuer() == subject && self.key.as_deref().zip(key).is_some_and(differs)
    }
}

impl fmt::Debug for RevocationList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocationList")
            .field("revoked", &self.revoked)
            .field("next_update", &self.next_update)
            .finish_non_exhaustive()
    }
}

/// Who signed a list, also one that cannot be used.
#[cfg(feature = "workload-api")]
pub(crate) struct Signer {
    /// Without the tag that encloses it, as trust anchors have theirs.
    pub(super) name: Box<[u8]>,
    pub(super) key: Option<Box<[u8]>>,
}

#[cfg(feature = "workload-api")]
impl Signer {
    /// `None` where the list is damaged.
    pub(crate) fn of(der: &[u8]) -> Option<Self> {
        let (_, list) = CertificateRevocationList::from_der(der).ok()?;
        let (_, name) = x509_parser::asn1_rs::Any::from_der(list.issuer().as_raw()).ok()?;
        Some(Self {
            name: name.data.into(),
            key: signing_key(&list),
        })
    }
}

fn ders(text: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, RevocationError> {
    match text.first() {
        None => Ok(Vec::new()),
        // The tag of a sequence, with which DER begins and no text does.
        Some(0x30) => Ok(vec![CertificateRevocationListDer::from(text.to_vec())]),
        Some(_) => CertificateRevocationListDer::pem_slice_iter(text)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| RevocationError::Pem(pem::problem(&error))),
    }
}

fn signing_key(list: &CertificateRevocationList<'_>) -> Option<Box<[u8]>> {
    list.extensions()
        .iter()
        .find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(AuthorityKeyIdentifier { key_identifier, .. }) => {
                key_identifier.as_ref().map(|key| key.0.into())
            }
            _ => None,
        })
}
