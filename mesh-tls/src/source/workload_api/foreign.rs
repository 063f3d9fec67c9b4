//! What a response says of other trust domains. Their faults are theirs: a part that cannot be used leaves the last
//! good one in force, for a foreign bundle must not keep the own certificate from being renewed.

use std::collections::BTreeMap;

use mesh_core::identity::TrustDomain;

use super::contract::X509SvidResponse;
use super::grant::{bundle, invalid};
use crate::source::{Failure, FailureReason};
use crate::svid::{RevocationError, RevocationList, Signer, TrustBundle, TrustBundles};

/// The bundles of other trust domains in a response.
#[derive(Default)]
pub(super) struct Foreign {
    parts: BTreeMap<TrustDomain, Part>,
    /// What is wrong first.
    pub(super) failure: Option<Failure>,
    /// There are authorities that are not known: a list of nobody known may be theirs.
    has_unread: bool,
}

/// A trust domain. Bundle and lists are taken whole or not at all.
struct Part {
    /// As the response has it; none where it cannot be used.
    sent: Option<TrustBundle>,
    last: Option<TrustBundle>,
    is_broken: bool,
}

impl Part {
    fn is_issuer(&self, judge: impl Fn(&TrustBundle) -> bool) -> bool {
        self.sent.iter().chain(&self.last).any(judge)
    }

    fn in_force(self, lists: &[RevocationList]) -> Option<TrustBundle> {
        if self.is_broken {
            return self.last;
        }
        // A list of somebody else's would put every certificate in doubt.
        let sent = self.sent?;
        let own = lists.iter().filter(|list| sent.is_issuer_of(list)).cloned().collect();
        Some(sent.with_revocations(own))
    }
}

impl Foreign {
    pub(super) fn read(response: &X509SvidResponse, own: &TrustDomain, last: Option<&TrustBundles>) -> Self {
        let mut foreign = Self::default();
        for (id, der) in &response.federated_bundles {
            let name = id.strip_prefix("spiffe://").unwrap_or(id);
            match TrustDomain::parse(name) {
                Ok(name) if name == *own => foreign.failed(&format!("there are two bundles for `{name}`")),
                Ok(name) => {
                    let last = last.and_then(|last| last.bundle(&name)).cloned();
                    foreign.add(name, der, last);
                }
                Err(error) => {
                    foreign.has_unread = true;
                    foreign.failed(&format!("the name of a federated bundle {error}"));
                }
            }
        }
        foreign
    }

    fn add(&mut self, name: TrustDomain, der: &[u8], last: Option<TrustBundle>) {
        let sent = bundle(der, name.as_str());
        let is_second = self.parts.contains_key(&name);
        let fault = match &sent {
            Err(fault) => Some(fault.clone()),
            Ok(_) if is_second => Some(format!("there are two bundles for `{name}`")),
            Ok(_) => None,
        };
        // Of two bundles either could be the one that was forgotten.
        self.has_unread |= sent.is_err() || is_second;
        let part = Part {
            sent: sent.ok(),
            last,
            is_broken: fault.is_some(),
        };
        self.parts.insert(name, part);
        if let Some(fault) = fault {
            self.failed(&fault);
        }
    }

    /// The lists of all trust domains together: that a federated authority did not issue is for the own one, whose
    /// intermediates may have lists, too.
    pub(super) fn take_lists(
        &mut self,
        response: &X509SvidResponse,
        own: &TrustBundle,
    ) -> Result<Vec<RevocationList>, Failure> {
        if response.crl.len() > RevocationList::MOST {
            return Err(invalid(RevocationError::TooMany));
        }
        let mut lists = Vec::new();
        for (at, der) in (1..).zip(&response.crl) {
            match RevocationList::one(der, at) {
                Ok(list) => lists.push(list),
                Err(error) => self.pass_over(der, own, &error)?,
            }
        }
        let is_nobodys = |list: &RevocationList| !own.is_issuer_of(list) && !self.is_issuer_of(list);
        match self.failure.as_ref().filter(|_| self.has_unread) {
            // As a list of the own trust domain, a foreign one would put every certificate in doubt.
            Some(failure) if lists.iter().any(is_nobodys) => Err(invalid(format!(
                "a revocation list is of an unknown issuer, and {failure}"
            ))),
            _ => Ok(lists),
        }
    }

    /// A list that cannot be used is an own one, unless it says that it is of another trust domain.
    fn pass_over(&mut self, der: &[u8], own: &TrustBundle, error: &RevocationError) -> Result<(), Failure> {
        let Some(signer) = Signer::of(der).filter(|signer| !own.is_signer(signer)) else {
            return Err(invalid(error));
        };
        let mut theirs = Vec::new();
        for (name, part) in &mut self.parts {
            if part.is_issuer(|bundle| bundle.is_signer(&signer)) {
                part.is_broken = true;
                theirs.push(format!("`{name}`"));
            }
        }
        if theirs.is_empty() {
            return Err(invalid(error));
        }
        self.failed(&format!("{}: {error}", theirs.join(", ")));
        Ok(())
    }

    pub(super) fn is_issuer_of(&self, list: &RevocationList) -> bool {
        let mut parts = self.parts.values();
        parts.any(|part| part.is_issuer(|bundle| bundle.is_issuer_of(list)))
    }

    /// What is to be in force of them.
    pub(super) fn bundles(self, lists: &[RevocationList]) -> impl Iterator<Item = (TrustDomain, TrustBundle)> {
        let parts = self.parts.into_iter();
        parts.filter_map(|(name, part)| Some((name, part.in_force(lists)?)))
    }

    fn failed(&mut self, reason: &str) {
        self.failure.get_or_insert_with(|| {
            let message = format!("federated part of the Workload API's response cannot be used: {reason}");
            Failure::new(FailureReason::Invalid, message)
        });
    }
}
