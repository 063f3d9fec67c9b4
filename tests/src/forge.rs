//! An authority that signs whatever it is given: certificates that a good one would refuse to make.

use std::time::{Duration, SystemTime};

use mesh_core::identity::TrustDomain;
use mesh_tls::clock::Clock;
use mesh_tls::source::StaticSource;
use mesh_tls::svid::{Svid, TrustBundle, TrustBundles};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    SanType,
};

/// How long its certificates are valid unless said otherwise.
const HOUR: Duration = Duration::from_secs(3600);

/// The authority of one trust domain.
pub struct Forge {
    domain: TrustDomain,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl std::fmt::Debug for Forge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Forge")
            .field("domain", &self.domain)
            .finish_non_exhaustive()
    }
}

/// A certificate and its key, as PEM.
#[derive(Clone, Debug)]
pub struct Forged {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

impl Forge {
    /// An authority of `domain`.
    #[must_use]
    pub fn new(domain: &str) -> Self {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, format!("forge of {domain}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap());
        Self {
            domain: TrustDomain::parse(domain).unwrap(),
            issuer: issuer.unwrap(),
        }
    }

    /// Its certificate, as PEM.
    #[must_use]
    pub fn certificate(&self) -> String {
        self.issuer.pem()
    }

    /// What whoever trusts it trusts.
    #[must_use]
    pub fn bundles(&self) -> TrustBundles {
        let bundle = TrustBundle::from_pem(self.issuer.pem().as_bytes()).unwrap();
        TrustBundles::of(self.domain.clone(), bundle)
    }

    /// A leaf that keeps every rule, for these URI names; tests break one.
    #[must_use]
    pub fn leaf(names: &[&str]) -> CertificateParams {
        let mut params = CertificateParams::default();
        let uri = |name: &&str| SanType::URI(Ia5String::try_from(*name).unwrap());
        params.subject_alt_names = names.iter().map(uri).collect();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let now = SystemTime::now();
        (params.not_before, params.not_after) = ((now - HOUR).into(), (now + HOUR).into());
        params
    }

    /// Signs it.
    #[must_use]
    pub fn sign(&self, params: &CertificateParams) -> Forged {
        let key = KeyPair::generate().unwrap();
        Forged {
            certificate: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    /// A good identity.
    #[must_use]
    pub fn identity(&self, id: &str) -> StaticSource {
        let forged = self.sign(&Self::leaf(&[id]));
        let svid = Svid::from_pem(forged.certificate.as_bytes(), forged.key.as_bytes());
        StaticSource::new(svid.unwrap(), self.bundles(), Clock::system()).unwrap()
    }
}
