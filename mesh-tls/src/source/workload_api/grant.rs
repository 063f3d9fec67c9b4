//! What a response of the Workload API grants this process: no sockets.

use mesh_core::identity::SpiffeId;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::contract::{X509Svid, X509SvidResponse};
use super::foreign::Foreign;
use crate::source::renew::Material;
use crate::source::{Failure, FailureReason, Identity};
use crate::svid::{RevocationList, Svid, TrustBundle};

/// What a response grants.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) material: Material,
    /// What is wrong with the parts of other trust domains: their last good ones stay.
    pub(super) foreign: Option<Failure>,
}

/// Reads the identity that this process is to have: that in force as long as it is granted, else the first with
/// `hint`, else the first.
pub(super) fn read(
    response: &X509SvidResponse,
    hint: Option<&str>,
    in_force: Option<&Identity>,
) -> Result<Granted, Failure> {
    let entry = choose(response, hint, in_force.map(|identity| identity.svid().id()))?;
    let svid = svid(entry)?;
    let name = svid.id().trust_domain().clone();
    let own = bundle(&entry.bundle, name.as_str()).map_err(invalid)?;
    if own.is_empty() {
        return Err(invalid("its bundle is empty"));
    }
    let mut foreign = Foreign::read(response, &name, in_force.map(Identity::bundles));
    let lists = foreign.take_lists(response, &own)?;
    let ours = |list: &&RevocationList| own.is_issuer_of(list) || !foreign.is_issuer_of(list);
    let ours = lists.iter().filter(ours).cloned().collect();
    let failure = foreign.failure.take();
    let bundles = foreign.bundles(&lists).chain([(name, own.with_revocations(ours))]);
    Ok(Granted {
        material: Material {
            svid,
            bundles: bundles.collect(),
        },
        foreign: failure,
    })
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

/// A bundle that is empty trusts nobody, as the standard has it.
pub(super) fn bundle(der: &[u8], name: &str) -> Result<TrustBundle, String> {
    let certificates = certificates(der).ok_or_else(|| format!("the bundle of `{name}` is malformed"))?;
    if certificates.is_empty() {
        return Ok(TrustBundle::empty());
    }
    TrustBundle::from_der(certificates).map_err(|error| format!("the bundle of `{name}`: {error}"))
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

pub(super) fn invalid(reason: impl std::fmt::Display) -> Failure {
    Failure::new(
        FailureReason::Invalid,
        format!("response of the Workload API cannot be used: {reason}"),
    )
}

fn denied(reason: impl std::fmt::Display) -> Failure {
    Failure::new(FailureReason::Denied, reason)
}
