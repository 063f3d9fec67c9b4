//! Revocation lists of the development authority.

use std::time::{Duration, SystemTime};

use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::{AuthorityError, DevCa, Issued, validity};
use crate::clock::unix_seconds;

impl DevCa {
    /// A list, as PEM, that revokes `certificates` of this authority from `now` on and is to be replaced after `ttl`.
    ///
    /// # Errors
    ///
    /// [`AuthorityError::Certificate`] where the cryptography fails.
    pub fn revocation_list(
        &self,
        certificates: &[&Issued],
        ttl: Duration,
        now: SystemTime,
    ) -> Result<String, AuthorityError> {
        let (this_update, next_update) = validity(now, ttl);
        let revoked = certificates.iter().filter_map(|issued| issued.serial());
        let params = CertificateRevocationListParams {
            this_update,
            next_update,
            // Grows, as lists of one issuer must.
            crl_number: SerialNumber::from(unix_seconds(now)),
            issuing_distribution_point: None,
            revoked_certs: revoked
                .map(|serial_number| RevokedCertParams {
                    serial_number,
                    revocation_time: this_update,
                    reason_code: None,
                    invalidity_date: None,
                })
                .collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(params.signed_by(&self.issuer)?.pem()?)
    }
}

impl Issued {
    fn serial(&self) -> Option<SerialNumber> {
        let leaf = CertificateDer::from_pem_slice(self.chain_pem.as_bytes()).ok()?;
        let (_, certificate) = X509Certificate::from_der(&leaf).ok()?;
        Some(SerialNumber::from_slice(certificate.raw_serial()))
    }
}
