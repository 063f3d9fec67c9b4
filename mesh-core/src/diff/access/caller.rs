//! Callers that rules name or exclude.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::token::{Issuers, Token};
use super::{of_values, written};
use crate::diff::sample::{ANY, of_patterns};
use crate::identity::SpiffeId;
use crate::policy::model::authz::{Attribute, Rule, Source, When};
use crate::trial::read::identity_of;

/// An address that no policy names (RFC 5737).
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// A caller.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Caller {
    /// `None` comes in plain text.
    pub(super) identity: Option<SpiffeId>,
    pub(super) way: Way,
}

/// How a caller comes, whoever it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Way {
    /// `None` bears no token.
    pub(super) token: Option<Token>,
    pub(super) address: IpAddr,
}

impl Way {
    /// Whether it is the address that no policy names.
    pub(super) fn is_from_elsewhere(address: IpAddr) -> bool {
        address == ELSEWHERE
    }

    /// Ways that say less.
    fn plainer(&self) -> BTreeSet<Self> {
        let of_claims = self.token.as_ref().and_then(Token::plainer);
        let tokens = [self.token.clone(), of_claims, None];
        let ways = tokens.into_iter().flat_map(|token| {
            [self.address, ELSEWHERE].map(|address| Self {
                token: token.clone(),
                address,
            })
        });
        ways.filter(|way| way != self).collect()
    }
}

/// Callers that a rule names or excludes, with the tokens that it looks at.
pub(super) fn callers_of(rule: &Rule, trust_domain: &str, issuers: &Issuers) -> BTreeSet<Caller> {
    let tokens = issuers.tokens_of(rule);
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
        for (identity, address) in one.callers(trust_domain) {
            callers.extend(tokens.iter().map(|token| Caller {
                identity: identity.clone(),
                way: Way {
                    token: token.clone(),
                    address,
                },
            }));
        }
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
    fn callers(self, trust_domain: &str) -> Vec<(Option<SpiffeId>, IpAddr)> {
        let mut identities: Vec<Option<SpiffeId>> = self.ids.iter().filter_map(|id| identity(id)).map(Some).collect();
        if identities.is_empty() {
            identities.extend([None, identity(&Caller::stranger_id(trust_domain))]);
        }
        let mut addresses = self.addresses;
        addresses.push(ELSEWHERE);
        let caller = |identity: Option<SpiffeId>| {
            let at = |address: &IpAddr| (identity.clone(), *address);
            addresses.iter().map(at).collect::<Vec<_>>()
        };
        identities.into_iter().flat_map(caller).collect()
    }
}

/// An address, or one of a block.
fn address(text: &str) -> Option<IpAddr> {
    block(text).as_ref().map(within)
}

/// A block, or an address as one.
pub(super) fn block(text: &str) -> Option<IpNet> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    address.or_else(|_| text.parse()).ok()
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
    fn stranger_id(trust_domain: &str) -> String {
        format!("{trust_domain}/ns/{ANY}/sa/{ANY}")
    }

    /// Somebody in plain text, and somebody whom no policy names.
    pub(super) fn strangers(trust_domain: &str) -> BTreeSet<Option<SpiffeId>> {
        BTreeSet::from([None, identity(&Self::stranger_id(trust_domain))])
    }

    pub(super) const fn new(identity: Option<SpiffeId>, way: Way) -> Self {
        Self { identity, way }
    }

    /// From an address that no policy names, without a token.
    pub(super) const fn plain(identity: Option<SpiffeId>) -> Self {
        let way = Way {
            token: None,
            address: ELSEWHERE,
        };
        Self { identity, way }
    }

    /// The same caller in another way.
    pub(super) fn by(self, way: Way) -> Self {
        Self { way, ..self }
    }

    /// The same caller in all ways that say less.
    pub(super) fn plainer(&self) -> impl Iterator<Item = Self> + '_ {
        self.way.plainer().into_iter().map(|way| self.clone().by(way))
    }
}

/// `cluster.local/ns/shop/sa/web from 10.0.0.1 with a token of a/ann`, or `plain text`.
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.identity {
            Some(id) => f.write_str(id.without_scheme())?,
            None => f.write_str("plain text")?,
        }
        if self.way.address != ELSEWHERE {
            write!(f, " from {}", self.way.address)?;
        }
        match &self.way.token {
            Some(token) => write!(f, " with {token}"),
            None => Ok(()),
        }
    }
}
