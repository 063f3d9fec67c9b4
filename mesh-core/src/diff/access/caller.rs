//! Callers that rules name or exclude.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::{of_values, written};
use crate::diff::sample::{ANY, of_patterns};
use crate::identity::SpiffeId;
use crate::policy::model::authz::{Attribute, Rule, Source, When};
use crate::trial::read::identity_of;

/// An address that no policy names (RFC 5737).
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// A caller; `None` comes in plain text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Caller {
    pub(super) identity: Option<SpiffeId>,
    pub(super) address: IpAddr,
}

/// Callers that a rule names or excludes, and what is asked of them.
pub(super) fn callers_of(rule: &Rule, trust_domain: &str) -> BTreeSet<Caller> {
    let mut named: Vec<Named> = rule
        .from
        .iter()
        .map(|source| Named::of_source(source, trust_domain))
        .collect();
    if named.is_empty() {
        named.push(Named::default());
    }
    let further = Named::of_conditions(&rule.when, trust_domain);
    let mut callers = BTreeSet::new();
    for mut one in named {
        one.ids.extend(further.ids.iter().cloned());
        one.addresses.extend(&further.addresses);
        callers.extend(one.callers(trust_domain));
    }
    callers
}

/// Identities and addresses that conditions name.
#[derive(Debug, Default)]
struct Named {
    ids: Vec<String>,
    addresses: Vec<IpAddr>,
}

impl Named {
    fn of_source(source: &Source, trust_domain: &str) -> Self {
        let mut named = Self {
            ids: of_patterns(&source.principals),
            addresses: Vec::new(),
        };
        named.add_namespaces(&of_patterns(&source.namespaces), trust_domain);
        named.add_accounts(of_patterns(&source.service_accounts), trust_domain);
        named.add_trust_domains(&of_patterns(&source.trust_domains));
        for blocks in [&source.ip_blocks, &source.remote_ip_blocks] {
            named
                .addresses
                .extend(blocks.any_of.iter().chain(&blocks.none_of).map(within));
        }
        named
    }

    fn of_conditions(conditions: &[When], trust_domain: &str) -> Self {
        let mut named = Self::default();
        for one in conditions {
            let texts = || of_values(&one.values);
            match one.attribute {
                Attribute::SourcePrincipal => named.ids.extend(texts()),
                Attribute::SourceNamespace => named.add_namespaces(&texts(), trust_domain),
                Attribute::SourceServiceAccount => named.add_accounts(texts(), trust_domain),
                Attribute::SourceTrustDomain => named.add_trust_domains(&texts()),
                Attribute::SourceIp | Attribute::RemoteIp => {
                    named
                        .addresses
                        .extend(written(&one.values).filter_map(|text| address(text)));
                }
                _ => {}
            }
        }
        named
    }

    fn add_namespaces(&mut self, namespaces: &[String], trust_domain: &str) {
        let ids = namespaces
            .iter()
            .map(|namespace| format!("{trust_domain}/ns/{namespace}/sa/{ANY}"));
        self.ids.extend(ids);
    }

    fn add_accounts(&mut self, accounts: Vec<String>, trust_domain: &str) {
        for account in accounts {
            let (namespace, name) = account.split_once('/').unwrap_or((ANY, &account));
            self.ids.push(format!("{trust_domain}/ns/{namespace}/sa/{name}"));
        }
    }

    fn add_trust_domains(&mut self, trust_domains: &[String]) {
        self.ids
            .extend(trust_domains.iter().map(|domain| Caller::stranger_id(domain)));
    }

    /// Each identity from each address; where no identity is named, anybody.
    fn callers(self, trust_domain: &str) -> Vec<Caller> {
        let mut identities: Vec<Option<SpiffeId>> = self.ids.iter().filter_map(|id| identity(id)).map(Some).collect();
        if identities.is_empty() {
            identities.extend([None, identity(&Caller::stranger_id(trust_domain))]);
        }
        let mut addresses = self.addresses;
        addresses.push(ELSEWHERE);
        let caller = |identity: Option<SpiffeId>| {
            let at = |address: &IpAddr| Caller {
                identity: identity.clone(),
                address: *address,
            };
            addresses.iter().map(at).collect::<Vec<_>>()
        };
        identities.into_iter().flat_map(caller).collect()
    }
}

/// An address, or one of a block.
fn address(text: &str) -> Option<IpAddr> {
    text.parse()
        .ok()
        .or_else(|| text.parse::<IpNet>().ok().as_ref().map(within))
}

/// An identity that a text begins or is, such as `cluster.local/ns/shop/`.
fn identity(text: &str) -> Option<SpiffeId> {
    let endings = ["", ANY, "sa/x", "/sa/x", "ns/x/sa/x", "/ns/x/sa/x"];
    let texts = endings.iter().map(|ending| format!("{text}{ending}"));
    texts.filter_map(|text| identity_of(&text).ok().flatten()).next()
}

/// An address of a block that is not its first.
fn within(block: &IpNet) -> IpAddr {
    block.hosts().next().unwrap_or_else(|| block.addr())
}

impl Caller {
    pub(super) const fn plain() -> Self {
        Self {
            identity: None,
            address: ELSEWHERE,
        }
    }

    fn stranger_id(trust_domain: &str) -> String {
        format!("{trust_domain}/ns/{ANY}/sa/{ANY}")
    }

    pub(super) fn stranger(trust_domain: &str) -> Self {
        Self {
            identity: identity(&Self::stranger_id(trust_domain)),
            address: ELSEWHERE,
        }
    }
}

/// `cluster.local/ns/shop/sa/web from 10.0.0.1`, or `plain text`.
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.identity {
            Some(id) => f.write_str(id.without_scheme())?,
            None => f.write_str("plain text")?,
        }
        match self.address {
            ELSEWHERE => Ok(()),
            address => write!(f, " from {address}"),
        }
    }
}
