//! Further conditions of a rule: attributes of the connection and headers of the request.

use std::net::IpAddr;

use http::header::HOST;
use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use super::condition::{Check, contains, parsed_blocks, texts};
use super::hosts::HostSet;
use super::index::Ask;
use super::peer::Facts;
use super::token::TokenCheck;
use super::{InvalidPattern, Truth};
use crate::decide::route::string::{PatternMatcher, PatternSet};
use crate::policy::model::authz::{Action, Attribute, Condition, Pattern, When};
use crate::request::{RequestView, any_element, joined};

/// The compiled `when` of a rule: all of them must hold.
#[derive(Debug)]
pub(super) struct Conditions {
    pub(super) of_peer: Box<[OfPeer]>,
    of_request: Box<[OfRequest]>,
}

/// What the connection tells.
#[derive(Debug)]
pub(super) enum OfPeer {
    Principal(Check<PatternSet>),
    Namespace(Check<PatternSet>),
    Account(Check<PatternSet>),
    TrustDomain(Check<PatternSet>),
    SourceIp(Check<Box<[IpNet]>>),
    DestinationIp(Check<Box<[IpNet]>>),
    DestinationPort(Check<Box<[u16]>>),
    ServerName(Check<PatternSet>),
    /// What nothing here can tell: it never allows, and denies.
    Unknown,
}

/// What only a request tells.
#[derive(Debug)]
enum OfRequest {
    Header(HeaderCheck),
    Method(Check<PatternSet>),
    Host(Check<HostSet>),
    Remote(Check<Box<[IpNet]>>),
    Token(TokenCheck),
    /// What nothing here can tell.
    Unknown,
}

impl Conditions {
    pub(super) fn new(whens: &[When], action: Action) -> Result<Self, InvalidPattern> {
        let (mut of_peer, mut of_request) = (Vec::new(), Vec::new());
        for when in whens {
            match of_a_request(when, action)? {
                Some(condition) => of_request.push(condition),
                None => of_peer.push(of_a_peer(when)?),
            }
        }
        Ok(Self {
            of_peer: of_peer.into(),
            of_request: of_request.into(),
        })
    }

    /// Whether some look at the request: a connection without HTTP can never meet them.
    pub(super) const fn need_a_request(&self) -> bool {
        !self.of_request.is_empty()
    }

    /// Whether those hold that the connection decides.
    pub(super) fn peer(&self, facts: &Facts<'_>) -> Truth {
        Truth::all(self.of_peer.iter().map(|condition| condition.truth(facts)))
    }

    /// Whether those hold that look at the request.
    #[inline]
    pub(super) fn request(&self, ask: &Ask<'_>) -> Truth {
        Truth::all(self.of_request.iter().map(|condition| condition.truth(ask)))
    }
}

/// The condition, where only a request can meet it.
fn of_a_request(when: &When, action: Action) -> Result<Option<OfRequest>, InvalidPattern> {
    let values = &when.values;
    if let Some(check) = TokenCheck::of(&when.attribute, &patterns(values), action)? {
        return Ok(Some(OfRequest::Token(check)));
    }
    Ok(Some(match &when.attribute {
        // HTTP/2 has no such header, and over HTTP/1 its text has many forms: it means the host that the request is for.
        Attribute::Header(name) if *name == HOST => OfRequest::Host(hosts(&lower_case(values))?),
        Attribute::Header(name) => OfRequest::Header(HeaderCheck::new(name, &patterns(values), action)?),
        Attribute::Pseudo(name) if name == ":method" => OfRequest::Method(texts(&patterns(values))?),
        Attribute::Pseudo(name) if name == ":authority" => OfRequest::Host(hosts(&lower_case(values))?),
        Attribute::RemoteIp => OfRequest::Remote(blocks(values)?),
        Attribute::Pseudo(_) | Attribute::Foreign(_) => OfRequest::Unknown,
        _ => return Ok(None),
    }))
}

fn of_a_peer(when: &When) -> Result<OfPeer, InvalidPattern> {
    let values = &when.values;
    Ok(match &when.attribute {
        Attribute::SourceIp => OfPeer::SourceIp(blocks(values)?),
        Attribute::SourceNamespace => OfPeer::Namespace(texts(&globs(values))?),
        Attribute::SourcePrincipal => OfPeer::Principal(texts(&patterns(values))?),
        Attribute::SourceServiceAccount => OfPeer::Account(texts(&exact(values))?),
        Attribute::SourceTrustDomain => OfPeer::TrustDomain(texts(&patterns(values))?),
        Attribute::DestinationIp => OfPeer::DestinationIp(blocks(values)?),
        Attribute::DestinationPort => OfPeer::DestinationPort(ports(values)?),
        Attribute::Sni => OfPeer::ServerName(texts(&lower_case(values))?),
        _ => OfPeer::Unknown,
    })
}

impl OfPeer {
    /// Whether every peer meets it.
    pub(super) const fn is_unset(&self) -> bool {
        match self {
            Self::Principal(check)
            | Self::Namespace(check)
            | Self::Account(check)
            | Self::TrustDomain(check)
            | Self::ServerName(check) => check.is_unset(),
            Self::SourceIp(check) | Self::DestinationIp(check) => check.is_unset(),
            Self::DestinationPort(check) => check.is_unset(),
            Self::Unknown => false,
        }
    }

    pub(super) fn truth(&self, facts: &Facts<'_>) -> Truth {
        match self {
            Self::Principal(check) => check.test(facts.principal(), PatternSet::is_match),
            Self::Namespace(check) => facts.with_namespace(check),
            Self::Account(check) => facts.with_account(check),
            Self::TrustDomain(check) => check.test(facts.trust_domain(), PatternSet::is_match),
            Self::SourceIp(check) => check.test(Some(facts.address), |blocks, address| contains(blocks, address)),
            Self::DestinationIp(check) => check.test(facts.local, |blocks, address| contains(blocks, address)),
            Self::DestinationPort(check) => check.test(Some(facts.port), |ports, port| ports.contains(&port)),
            Self::ServerName(check) => check.test(facts.server_name(), PatternSet::is_match),
            Self::Unknown => Truth::Unknown,
        }
    }
}

impl OfRequest {
    fn truth(&self, ask: &Ask<'_>) -> Truth {
        let request: Option<&RequestView<'_>> = ask.request;
        match self {
            Self::Header(header) => header.truth(request.map(|request| request.headers)),
            Self::Method(check) => check.test(request.map(|request| request.method.as_str()), PatternSet::is_match),
            Self::Host(check) => check.test(request, HostSet::is_match),
            Self::Remote(check) => check.test(ask.remote(), |blocks, address| contains(blocks, address)),
            Self::Token(check) => check.truth(request),
            Self::Unknown => Truth::Unknown,
        }
    }
}

/// A condition on a header.
#[derive(Debug)]
pub(super) struct HeaderCheck {
    name: HeaderName,
    check: Check<HeaderSet>,
}

/// Values of a header.
#[derive(Debug)]
struct HeaderSet {
    patterns: PatternSet,
    /// `*` is among them, which an empty value matches too: the header is there.
    presence: bool,
    elements: Elements,
}

/// How the values of a header that is a list are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Elements {
    /// All of them together.
    Together,
    /// Each for itself as well: where a match leads to a denial, a second element must not hide the first.
    Each,
}

impl HeaderCheck {
    pub(super) fn new(name: &HeaderName, values: &Condition<Pattern>, action: Action) -> Result<Self, InvalidPattern> {
        let check = Check::new(values, |patterns, side| {
            let compiled = patterns.iter().map(PatternMatcher::checked);
            let compiled: Result<PatternSet, _> = compiled.collect();
            Ok(HeaderSet {
                patterns: compiled.map_err(|error| InvalidPattern::Path(error.into()))?,
                presence: patterns.contains(&Pattern::Present),
                elements: match side.denies(action) {
                    true => Elements::Each,
                    false => Elements::Together,
                },
            })
        })?;
        Ok(Self {
            name: name.clone(),
            check,
        })
    }

    /// A header that is not there has none of the values.
    pub(super) fn truth(&self, headers: Option<&HeaderMap>) -> Truth {
        let Some(headers) = headers else {
            return Truth::Unknown;
        };
        let Some(value) = joined(headers, &self.name) else {
            return Truth::from(self.check.any_of.is_none());
        };
        self.check
            .test(Some(()), |set, ()| set.is_match(&value, headers, &self.name))
    }
}

impl HeaderSet {
    fn is_match(&self, value: &[u8], headers: &HeaderMap, name: &HeaderName) -> bool {
        let is_among = |value: &[u8]| self.patterns.is_match(&String::from_utf8_lossy(value));
        self.presence || is_among(value) || (self.elements == Elements::Each && any_element(headers, name, is_among))
    }
}

/// Hosts that a request may be for.
pub(super) fn hosts(values: &Condition<Pattern>) -> Result<Check<HostSet>, InvalidPattern> {
    Check::new(values, |patterns, _| HostSet::new(patterns))
}

/// Patterns of one header: any of them.
pub(super) fn header(name: &HeaderName, pattern: &Pattern, action: Action) -> Result<HeaderCheck, InvalidPattern> {
    let values = Condition {
        any_of: vec![pattern.clone()],
        none_of: Vec::new(),
    };
    HeaderCheck::new(name, &values, action)
}

fn mapped<T>(values: &Condition<String>, map: impl Fn(&String) -> T) -> Condition<T> {
    Condition {
        any_of: values.any_of.iter().map(&map).collect(),
        none_of: values.none_of.iter().map(&map).collect(),
    }
}

fn patterns(values: &Condition<String>) -> Condition<Pattern> {
    mapped(values, |text| Pattern::wildcard(text))
}

/// Names of hosts have no case.
fn lower_case(values: &Condition<String>) -> Condition<Pattern> {
    mapped(values, |text| Pattern::wildcard(&text.to_ascii_lowercase()))
}

fn exact(values: &Condition<String>) -> Condition<Pattern> {
    mapped(values, |text| Pattern::Exact(text.clone()))
}

fn globs(values: &Condition<String>) -> Condition<Pattern> {
    mapped(values, |text| match text.contains('*') {
        true => Pattern::Glob(text.clone()),
        false => Pattern::Exact(text.clone()),
    })
}

fn blocks(values: &Condition<String>) -> Result<Check<Box<[IpNet]>>, InvalidPattern> {
    Check::new(values, |texts, _| {
        let blocks: Result<Vec<IpNet>, _> = texts.iter().map(|text| block(text)).collect();
        Ok(parsed_blocks(&blocks?))
    })
}

fn block(text: &str) -> Result<IpNet, InvalidPattern> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse()
        .or_else(|_| address())
        .map_err(|_| InvalidPattern::Value(text.to_owned()))
}

fn ports(values: &Condition<String>) -> Result<Check<Box<[u16]>>, InvalidPattern> {
    let port = |text: &String| text.parse().map_err(|_| InvalidPattern::Value(text.clone()));
    Check::new(values, |texts, _| texts.iter().map(port).collect())
}
