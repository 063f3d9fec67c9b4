//! What a response of the Workload API grants this process: no sockets.

use std::collections::BTreeMap;

use mesh_core::identity::{SpiffeId, TrustDomain};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::contract::{X509Svid, X509SvidResponse};
use crate::source::renew::Material;
use crate::source::{Failure, FailureReason};
use crate::svid::{RevocationList, Svid, TrustBundle};

/// Reads the identity that this process is to have: that in force as long as it is granted, else the first with
/// `hint`, else the first.
pub(super) fn read(
    response: &X509SvidResponse,
    hint: Option<&str>,
    in_force: Option<&SpiffeId>,
) -> Result<Material, Failure> {
    let entry = choose(response, hint, in_force)?;
    let svid = svid(entry)?;
    let name = svid.id().trust_domain().clone();
    let own = bundle(&entry.bundle, name.as_str())?;
    if own.is_empty() {
        return Err(invalid("its bundle is empty"));
    }
    let others = federated(response, &name)?;
    let lists = revocations(response)?;
    let is_foreign = |list: &RevocationList| others.values().any(|bundle| bundle.is_issuer_of(list));
    let is_ours = |list: &&RevocationList| own.is_issuer_of(list) || !is_foreign(list);
    let ours = lists.iter().filter(is_ours).cloned().collect();
    let others = others
        .into_iter()
        .map(|(name, bundle)| (name, with_own(bundle, &lists)));
    let bundles = others.chain([(name, own.with_revocations(ours))]).collect();
    Ok(Material { svid, bundles })
}

/// A list of somebody else's would put every certificate in doubt.
fn with_own(bundle: TrustBundle, lists: &[RevocationList]) -> TrustBundle {
    let own = lists.iter().filter(|list| bundle.is_issuer_of(list)).cloned().collect();
    bundle.with_revocations(own)
}

fn choose<'r>(
    response: &'r X509SvidResponse,
    hint: Option<&str>,
    in_force: Option<&SpiffeId>,
) -> Result<&'r X509Svid, Failure> {
    let svids = &response.svids;
    let first = svids.first().ok_or_else(|| invalid("it has no identity"))?;
    if let Some(id) = in_force {
        let same = svids.iter().find(|svid| svid.spiffe_id == id.as_str());
        // The standard: what is left out is taken back.
        return same.ok_or_else(|| denied(format!("the Workload API no longer grants `{id}`")));
    }
    let Some(hint) = hint else { return Ok(first) };
    svids.iter().find(|svid| svid.hint == hint).ok_or_else(|| {
        let known: Vec<_> = svids.iter().map(|svid| format!("`{}`", svid.hint)).collect();
        denied(format!(
            "the Workload API grants no identity with the hint `{hint}`, found {}",
            known.join(", ")
        ))
    })
}

fn svid(entry: &X509Svid) -> Result<Svid, Failure> {
    let chain = certificates(&entry.x509_svid).ok_or_else(|| invalid("a certificate is malformed"))?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(entry.x509_svid_key.clone()));
    let svid = Svid::from_der(chain, key)?;
    match svid.id().as_str() == entry.spiffe_id {
        true => Ok(svid),
        false => Err(invalid(format!(
            "it names `{}` and has the certificate of `{}`",
            entry.spiffe_id,
            svid.id()
        ))),
    }
}

/// The lists of all trust domains together: that a federated authority did not issue is for the own one, whose
/// intermediates may have lists, too.
fn revocations(response: &X509SvidResponse) -> Result<Vec<RevocationList>, Failure> {
    if response.crl.is_empty() {
        return Ok(Vec::new());
    }
    let lists = response
        .crl
        .iter()
        .map(|der| CertificateRevocationListDer::from(der.as_slice()));
    RevocationList::from_der(&lists.collect::<Vec<_>>()).map_err(invalid)
}

fn federated(response: &X509SvidResponse, own: &TrustDomain) -> Result<BTreeMap<TrustDomain, TrustBundle>, Failure> {
    let mut bundles = BTreeMap::new();
    for (id, der) in &response.federated_bundles {
        let name = id.strip_prefix("spiffe://").unwrap_or(id);
        let name =
            TrustDomain::parse(name).map_err(|error| invalid(format!("the name of a federated bundle {error}")))?;
        if name == *own || bundles.contains_key(&name) {
            return Err(invalid(format!("it has two bundles for `{name}`")));
        }
        let bundle = bundle(der, name.as_str())?;
        bundles.insert(name, bundle);
    }
    Ok(bundles)
}

/// A bundle that is empty trusts nobody, as the standard has it.
fn bundle(der: &[u8], name: &str) -> Result<TrustBundle, Failure> {
    let certificates = certificates(der).ok_or_else(|| invalid(format!("the bundle of `{name}` is malformed")))?;
    if certificates.is_empty() {
        return Ok(TrustBundle::empty());
    }
    TrustBundle::from_der(certificates).map_err(|error| invalid(format!("the bundle of `{name}`: {error}")))
}

/// Certificates that stand one after the other.
fn certificates(mut der: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let mut found = Vec::new();
    while !der.is_empty() {
        let (rest, _) = X509Certificate::from_der(der).ok()?;
        let one = der.get(..der.len().checked_sub(rest.len())?)?;
        found.push(CertificateDer::from(one.to_vec()));
        der = rest;
    }
    Some(found)
}

fn invalid(reason: impl std::fmt::Display) -> Failure {
    Failure::new(
        FailureReason::Invalid,
        format!("response of the Workload API cannot be used: {reason}"),
    )
}

fn denied(reason: impl std::fmt::Display) -> Failure {
    Failure::new(FailureReason::Denied, reason)
}
