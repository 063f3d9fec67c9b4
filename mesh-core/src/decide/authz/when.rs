//! Further conditions of a rule: attributes of the connection and headers of the request.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use super::condition::{Check, contains, texts};
use super::index::Ask;
use super::{InvalidPattern, Truth};
use crate::decide::route::string::PatternSet;
use crate::policy::model::authz::{Action, Attribute, Condition, Pattern, When};
use crate::request::joined;

/// A compiled [`When`].
#[derive(Debug)]
pub(super) struct CompiledWhen(Kind);

#[derive(Debug)]
enum Kind {
    Header(HeaderCheck),
    Method(Check<PatternSet>),
    SourceIp(Check<Box<[IpNet]>>),
    Namespace(Check<PatternSet>),
    Principal(Check<PatternSet>),
    Account(Check<PatternSet>),
    TrustDomain(Check<PatternSet>),
    Port(Check<Box<[u16]>>),
    /// What nothing here can tell: it never allows, and denies.
    Unknown,
}

/// A condition on a header.
#[derive(Debug)]
pub(super) struct HeaderCheck {
    name: HeaderName,
    check: Check<PatternSet>,
    /// Whether one element of a list is enough, as it is for a denial.
    elements: Elements,
}

/// How the values of a header that is a list are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Elements {
    /// All of them together.
    Together,
    /// Each for itself as well.
    Each,
}

impl CompiledWhen {
    pub(super) fn new(when: &When, action: Action) -> Result<Self, InvalidPattern> {
        let values = &when.values;
        Ok(Self(match &when.attribute {
            Attribute::Header(name) => Kind::Header(HeaderCheck::new(name, &patterns(values), action)?),
            Attribute::Pseudo(name) if name == ":method" => Kind::Method(texts(&patterns(values))?),
            Attribute::SourceIp => Kind::SourceIp(blocks(values)?),
            Attribute::SourceNamespace => Kind::Namespace(texts(&globs(values))?),
            Attribute::SourcePrincipal => Kind::Principal(texts(&patterns(values))?),
            Attribute::SourceServiceAccount => Kind::Account(texts(&patterns(values))?),
            Attribute::SourceTrustDomain => Kind::TrustDomain(texts(&patterns(values))?),
            Attribute::DestinationPort => Kind::Port(ports(values)?),
            _ => Kind::Unknown,
        }))
    }

    /// Whether it holds.
    pub(super) fn truth(&self, ask: &Ask<'_>) -> Truth {
        let facts = &ask.facts;
        match &self.0 {
            Kind::Header(header) => header.truth(ask.request.map(|request| request.headers)),
            Kind::Method(check) => check.test(ask.request.map(|request| request.method.as_str()), PatternSet::is_match),
            Kind::SourceIp(check) => check.test(Some(facts.address), |blocks, address| contains(blocks, address)),
            Kind::Namespace(check) => facts.with_namespace(check),
            Kind::Principal(check) => check.test(facts.principal, PatternSet::is_match),
            Kind::Account(check) => facts.with_account(check),
            Kind::TrustDomain(check) => check.test(facts.trust_domain(), PatternSet::is_match),
            Kind::Port(check) => check.test(Some(facts.port), |ports, port| ports.contains(&port)),
            Kind::Unknown => Truth::Unknown,
        }
    }
}

impl HeaderCheck {
    pub(super) fn new(name: &HeaderName, values: &Condition<Pattern>, action: Action) -> Result<Self, InvalidPattern> {
        Ok(Self {
            name: name.clone(),
            check: texts(values)?,
            elements: if action == Action::Deny {
                Elements::Each
            } else {
                Elements::Together
            },
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
        let text = String::from_utf8_lossy(&value);
        let is_among = |set: &PatternSet| {
            let of_list = || text.split(',').any(|element| set.is_match(element.trim()));
            set.is_match(&text) || (self.elements == Elements::Each && of_list())
        };
        self.check.test(Some(()), |set, ()| is_among(set))
    }
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

fn globs(values: &Condition<String>) -> Condition<Pattern> {
    mapped(values, |text| match text.contains('*') {
        true => Pattern::Glob(text.clone()),
        false => Pattern::Exact(text.clone()),
    })
}

fn blocks(values: &Condition<String>) -> Result<Check<Box<[IpNet]>>, InvalidPattern> {
    Check::new(values, |texts, _| texts.iter().map(|text| block(text)).collect())
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
