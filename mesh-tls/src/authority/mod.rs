//! A certificate authority for development, demos and tests.
//!
//! It gives each workload an SVID from a key on the local disk. That is the convenience and the
//! limit: who can read the directory can be any workload. Production identities come from SPIRE,
//! cert-manager or Istio.
//!
//! ```
//! use std::time::{Duration, SystemTime};
//! use mesh_core::identity::{SpiffeId, TrustDomain};
//! use mesh_tls::authority::DevCa;
//!
//! let ca = DevCa::new(TrustDomain::parse("cluster.local")?, SystemTime::now())?;
//! let orders: SpiffeId = "spiffe://cluster.local/ns/shop/sa/orders".parse()?;
//! let svid = ca.issue(&orders, Duration::from_secs(3600), SystemTime::now())?.svid()?;
//! assert_eq!(svid.id(), &orders);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod issuer;
mod revoke;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mesh_core::identity::{SpiffeId, TrustDomain};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

pub use self::issuer::DevIssuer;
use crate::clock::{LATEST, unix_seconds};
use crate::leaf::is_authority;
use crate::source::{Layout, MAX_FILE};
use crate::svid::{BundleError, OwnIdentityError, Svid, TrustBundle, TrustBundles};

/// How far certificates are dated back, for clocks that run behind; Istio's value. Short-lived ones less, a tenth of
/// their time: half of their life is not to be past when they come.
const BACKDATE: Duration = Duration::from_secs(120);
/// The lifetime of the authority's own certificate.
const CA_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

const CA_CERTIFICATE: &str = "ca.crt";
const CA_KEY: &str = "ca.key";

/// Why the development authority failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// A workload of another trust domain, or the trust domain itself, was asked for.
    #[error("cannot issue for `{id}`, expected a workload of `{trust_domain}`")]
    NotOurs {
        /// What was asked for.
        id: SpiffeId,
        /// What this authority vouches for.
        trust_domain: TrustDomain,
    },
    /// A directory holds another authority, or half of one.
    #[error("`{}` holds no authority of `{trust_domain}`: {reason}", .directory.display())]
    Damaged {
        /// The directory.
        directory: PathBuf,
        /// The trust domain that was asked for.
        trust_domain: TrustDomain,
        /// What is wrong.
        reason: &'static str,
    },
    /// A certificate cannot be made, such as one for a name that is no host name.
    #[error("certificate cannot be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A file cannot be read or written.
    #[error("cannot access `{}`: {error}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// A development authority for one trust domain.
pub struct DevCa {
    trust_domain: TrustDomain,
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, fresh from the authority, as PEM.
#[derive(Clone)]
#[non_exhaustive]
pub struct Issued {
    /// The certificate chain, leaf first.
    pub chain_pem: String,
    /// The private key, PKCS#8.
    pub key_pem: String,
}

impl Issued {
    /// The pair as an identity.
    ///
    /// # Errors
    ///
    /// [`OwnIdentityError`] where it is a host's certificate, from [`DevCa::issue_web`].
    pub fn svid(&self) -> Result<Svid, OwnIdentityError> {
        Svid::from_pem(self.chain_pem.as_bytes(), self.key_pem.as_bytes())
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").finish_non_exhaustive()
    }
}

impl DevCa {
    /// Makes an authority with a fresh key, valid for ten years from `now`.
    ///
    /// # Errors
    ///
    /// [`AuthorityError::Certificate`] where the cryptography fails.
    pub fn new(trust_domain: TrustDomain, now: SystemTime) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate()?;
        let mut params = ca_params(&trust_domain)?;
        (params.not_before, params.not_after) = validity(now, CA_LIFETIME);
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self {
            trust_domain,
            certificate,
            issuer: Issuer::new(params, key),
        })
    }

    /// Takes the authority that lies in `directory` (`ca.crt`, `ca.key`), or makes one there. Processes
    /// that start at once agree on one.
    ///
    /// # Errors
    ///
    /// [`AuthorityError`] where the directory cannot be used, or holds an authority that has
    /// expired, is damaged or is another trust domain's: it is never replaced.
    pub fn load_or_create(
        directory: impl AsRef<Path>,
        trust_domain: TrustDomain,
        now: SystemTime,
    ) -> Result<Self, AuthorityError> {
        let directory = directory.as_ref();
        let (certificate, key) = (directory.join(CA_CERTIFICATE), directory.join(CA_KEY));
        create_directory(directory)?;
        let _alone = lock(directory);
        match (certificate.exists(), key.exists()) {
            (true, true) => Self::load(directory, trust_domain, now),
            (false, false) => {
                let ca = Self::new(trust_domain, now)?;
                write_atomically(&key, ca.issuer.key().serialize_pem().as_bytes(), Access::Owner)?;
                write_atomically(&certificate, ca.certificate.as_bytes(), Access::Everybody)?;
                Ok(ca)
            }
            _ => Err(AuthorityError::Damaged {
                directory: directory.to_owned(),
                trust_domain,
                reason: "only one of `ca.crt` and `ca.key` is there",
            }),
        }
    }

    /// Takes the authority that lies in `directory`, and makes none.
    ///
    /// # Errors
    ///
    /// As [`load_or_create`](Self::load_or_create), and where there is none.
    pub fn load(
        directory: impl AsRef<Path>,
        trust_domain: TrustDomain,
        now: SystemTime,
    ) -> Result<Self, AuthorityError> {
        let directory = directory.as_ref();
        let certificate = read(&directory.join(CA_CERTIFICATE))?;
        let key = read(&directory.join(CA_KEY))?;
        let key = match check_loaded(&certificate, &key, &trust_domain, now) {
            Ok(key) => key,
            Err(reason) => {
                return Err(AuthorityError::Damaged {
                    directory: directory.to_owned(),
                    trust_domain,
                    reason,
                });
            }
        };
        Ok(Self {
            issuer: Issuer::new(ca_params(&trust_domain)?, key),
            trust_domain,
            certificate,
        })
    }

    /// The trust domain that this authority vouches for.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The authority's certificate, as PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate
    }

    /// What workloads must trust to accept this authority's SVIDs.
    ///
    /// # Errors
    ///
    /// [`BundleError`] never occurs for an authority that this type made.
    pub fn bundle(&self) -> Result<TrustBundle, BundleError> {
        TrustBundle::from_pem(self.certificate.as_bytes())
    }

    /// [`bundle`](Self::bundle) for the authority's trust domain, and no other.
    ///
    /// # Errors
    ///
    /// As [`bundle`](Self::bundle).
    pub fn bundles(&self) -> Result<TrustBundles, BundleError> {
        Ok(TrustBundles::of(self.trust_domain.clone(), self.bundle()?))
    }

    /// Issues an SVID for both sides of a handshake, valid from two minutes before `now` (a tenth of
    /// `ttl`, where that is less) until `ttl` after it.
    ///
    /// # Errors
    ///
    /// [`AuthorityError::NotOurs`] for another trust domain's workload.
    pub fn issue(&self, id: &SpiffeId, ttl: Duration, now: SystemTime) -> Result<Issued, AuthorityError> {
        if id.trust_domain() != &self.trust_domain || id.is_root() {
            return Err(AuthorityError::NotOurs {
                id: id.clone(),
                trust_domain: self.trust_domain.clone(),
            });
        }
        let name = SanType::URI(Ia5String::try_from(id.as_str())?);
        let mut params = leaf_params(vec![name], ttl, now);
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        self.sign(&params)
    }

    /// Issues a certificate for host names, for a gateway's side that faces the world.
    ///
    /// # Errors
    ///
    /// [`AuthorityError::Certificate`] where a name is no host name and no address.
    pub fn issue_web(&self, hosts: &[&str], ttl: Duration, now: SystemTime) -> Result<Issued, AuthorityError> {
        let names = hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>();
        let names = CertificateParams::new(names)?.subject_alt_names;
        self.sign(&leaf_params(names, ttl, now))
    }

    fn sign(&self, params: &CertificateParams) -> Result<Issued, AuthorityError> {
        let key = KeyPair::generate()?;
        Ok(Issued {
            chain_pem: params.signed_by(&key, &self.issuer)?.pem(),
            key_pem: key.serialize_pem(),
        })
    }

    /// Issues an SVID into a directory as `tls.crt`, `tls.key` and `ca.crt`, where a
    /// [`FileSource`](crate::source::FileSource) finds it.
    ///
    /// Each file is replaced at once by a rename, the key readable for its owner only.
    ///
    /// # Errors
    ///
    /// As [`issue`](Self::issue), and [`AuthorityError::File`].
    pub fn write_workload(
        &self,
        directory: impl AsRef<Path>,
        id: &SpiffeId,
        ttl: Duration,
        now: SystemTime,
    ) -> Result<(), AuthorityError> {
        self.write(directory.as_ref(), Layout::Kubernetes, &self.issue(id, ttl, now)?)
    }

    /// Writes a pair that this authority issued into a directory, under the names of a layout, the bundle with it.
    ///
    /// # Errors
    ///
    /// [`AuthorityError::File`].
    pub fn write_issued(
        &self,
        directory: impl AsRef<Path>,
        layout: Layout,
        issued: &Issued,
    ) -> Result<(), AuthorityError> {
        self.write(directory.as_ref(), layout, issued)
    }

    /// Issues a certificate for host names into a directory, in the files of
    /// [`write_workload`](Self::write_workload).
    ///
    /// # Errors
    ///
    /// As [`issue_web`](Self::issue_web), and [`AuthorityError::File`].
    pub fn write_web(
        &self,
        directory: impl AsRef<Path>,
        hosts: &[&str],
        ttl: Duration,
        now: SystemTime,
    ) -> Result<(), AuthorityError> {
        self.write(
            directory.as_ref(),
            Layout::Kubernetes,
            &self.issue_web(hosts, ttl, now)?,
        )
    }

    fn write(&self, directory: &Path, layout: Layout, issued: &Issued) -> Result<(), AuthorityError> {
        create_directory(directory)?;
        let [certificate, key, bundle] = layout.names().map(|name| directory.join(name));
        // ORDER: whoever reads in between finds a key that does not fit, and looks again.
        write_atomically(&bundle, self.certificate.as_bytes(), Access::Everybody)?;
        write_atomically(&key, issued.key_pem.as_bytes(), Access::Owner)?;
        write_atomically(&certificate, issued.chain_pem.as_bytes(), Access::Everybody)
    }
}

impl fmt::Debug for DevCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DevCa")
            .field("trust_domain", &self.trust_domain.as_str())
            .finish_non_exhaustive()
    }
}

/// All but the validity: an authority that is loaded again must sign under the same name.
fn ca_params(trust_domain: &TrustDomain) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = name(&format!("development authority of {trust_domain}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(format!("spiffe://{trust_domain}"))?)];
    Ok(params)
}

fn leaf_params(names: Vec<SanType>, ttl: Duration, now: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name("development workload");
    params.subject_alt_names = names;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    (params.not_before, params.not_after) = validity(now, ttl);
    params
}

/// From a little before `now`, for at most the authority's own lifetime. Both ends are kept between
/// 1970 and 9999, since the date type panics beyond what X.509 can say.
fn validity<T: From<SystemTime>>(now: SystemTime, ttl: Duration) -> (T, T) {
    let latest = UNIX_EPOCH + Duration::from_secs(LATEST);
    let now = now.clamp(UNIX_EPOCH + BACKDATE, latest - CA_LIFETIME);
    (
        (now - BACKDATE.min(ttl / 10)).into(),
        (now + ttl.min(CA_LIFETIME)).into(),
    )
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

/// The key, where it is that of a certificate of an authority that is valid now and vouches for
/// the trust domain that is expected.
fn check_loaded(pem: &str, key: &str, trust_domain: &TrustDomain, now: SystemTime) -> Result<KeyPair, &'static str> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| "`ca.crt` is no certificate")?;
    let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| "`ca.crt` is no certificate")?;
    let key = KeyPair::from_pem(key).map_err(|_| "`ca.key` is no private key")?;
    if is_authority(&certificate) != Ok(true) {
        return Err("`ca.crt` is not that of an authority (CA:true)");
    }
    if u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or_default() < unix_seconds(now) {
        return Err("`ca.crt` has expired");
    }
    if certificate.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
        return Err("`ca.key` does not belong to `ca.crt`");
    }
    let expected = format!("spiffe://{trust_domain}");
    let names = certificate.subject_alternative_name().ok().flatten();
    let is_ours = |name: &GeneralName<'_>| matches!(name, GeneralName::URI(uri) if **uri == *expected);
    match names.is_some_and(|names| names.value.general_names.iter().any(is_ours)) {
        true => Ok(key),
        false => Err("`ca.crt` is for another trust domain"),
    }
}

#[derive(Clone, Copy)]
enum Access {
    Owner,
    Everybody,
}

fn read(path: &Path) -> Result<String, AuthorityError> {
    let mut text = String::new();
    let file = fs::File::open(path).map_err(|error| file_error(path, error))?;
    // What is cut off here is no PEM, and refused as such.
    file.take(MAX_FILE)
        .read_to_string(&mut text)
        .map_err(|error| file_error(path, error))?;
    Ok(text)
}

/// Keeps others out until it is dropped, where the file system can lock directories.
fn lock(directory: &Path) -> Option<fs::File> {
    let file = fs::File::open(directory).ok()?;
    file.lock().ok()?;
    Some(file)
}

fn create_directory(path: &Path) -> Result<(), AuthorityError> {
    fs::create_dir_all(path).map_err(|error| file_error(path, error))
}

fn write_atomically(path: &Path, text: &[u8], access: Access) -> Result<(), AuthorityError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let written = write_new(&temporary, text, access).and_then(|()| fs::rename(&temporary, path));
    written.map_err(|error| file_error(path, error))
}

fn write_new(path: &Path, text: &[u8], access: Access) -> io::Result<()> {
    // A file that a crash left behind could be readable for others.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if let Access::Owner = access {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    #[cfg(not(unix))]
    let _ = access;
    let mut file = options.open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

fn file_error(path: &Path, error: io::Error) -> AuthorityError {
    AuthorityError::File {
        path: path.to_owned(),
        error,
    }
}
