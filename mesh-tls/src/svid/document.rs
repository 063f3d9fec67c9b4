//! SPIFFE bundles as JSON, as SPIRE prints and serves them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use serde_json::Value;

use super::{BundleError, TrustBundle};

impl TrustBundle {
    /// Reads the X.509 authorities of a SPIFFE bundle: a JWK Set, whose entries of use `x509-svid`
    /// each hold one authority in `x5c`.
    ///
    /// Entries of other uses are somebody else's. A bundle without any of ours is empty: its trust
    /// domain has no X509-SVIDs, so all that claim to be of it are refused.
    ///
    /// Source: <https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md>, section 6.2.
    ///
    /// ```
    /// use mesh_tls::svid::TrustBundle;
    ///
    /// let jwt_only = br#"{ "keys": [{ "use": "jwt-svid", "kty": "EC", "kid": "a" }] }"#;
    /// assert!(TrustBundle::from_spiffe_json(jwt_only)?.is_empty());
    /// # Ok::<(), mesh_tls::svid::BundleError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`BundleError`] where the text is no SPIFFE bundle, or a certificate in it is damaged or no
    /// authority's: a bundle is taken whole or not at all.
    pub fn from_spiffe_json(text: &[u8]) -> Result<Self, BundleError> {
        let certificates = certificates(text)?;
        match certificates.is_empty() {
            true => Ok(Self::empty()),
            false => Self::from_der(certificates),
        }
    }
}

/// The certificates of the entries that are ours.
pub(crate) fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, BundleError> {
    let document: Value = serde_json::from_slice(text).map_err(|error| BundleError::Json(error.to_string()))?;
    let keys = document.get("keys").and_then(Value::as_array);
    let keys = keys.ok_or_else(|| BundleError::Json("no list `keys`".into()))?;
    let ours = keys.iter().filter_map(encoded).zip(1..);
    ours.map(|(text, number)| decoded(text).ok_or(BundleError::Malformed(number)))
        .collect()
}

/// The first value of `x5c`; the standard has entries without one, and further values, ignored.
fn encoded(key: &Value) -> Option<&Value> {
    let is_ours = key.get("use").and_then(Value::as_str) == Some("x509-svid");
    key.get("x5c").filter(|_| is_ours)?.get(0)
}

fn decoded(text: &Value) -> Option<CertificateDer<'static>> {
    STANDARD.decode(text.as_str()?).ok().map(CertificateDer::from)
}
