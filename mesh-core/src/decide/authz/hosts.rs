//! Conditions on the host that a request names.

use super::InvalidPattern;
use crate::decide::route::string::{PatternMatcher, PatternSet};
use crate::policy::model::authz::Pattern;
use crate::request::RequestView;

/// Hosts: compared in lower case and without port, but for patterns that name one.
#[derive(Clone, Debug)]
pub(super) struct HostSet {
    names: PatternSet,
    with_port: Box<[(PatternMatcher, Port)]>,
}

#[derive(Clone, Copy, Debug)]
enum Port {
    Any,
    Exact(u16),
    /// Starts with these digits.
    Prefix(u16),
}

impl HostSet {
    pub(super) fn new(patterns: &[Pattern]) -> Result<Self, InvalidPattern> {
        let (mut names, mut with_port) = (Vec::new(), Vec::new());
        for pattern in patterns {
            match compile(pattern)? {
                (name, Port::Any) => names.push(name),
                named => with_port.push(named),
            }
        }
        Ok(Self {
            names: names.into_iter().collect(),
            with_port: with_port.into(),
        })
    }

    pub(super) fn is_match(&self, request: &RequestView<'_>) -> bool {
        self.names.is_match(request.host)
            || self.with_port.iter().any(|(name, port)| {
                let actual = request.effective_port();
                port.is_match(actual) && name.is_match(request.host)
            })
    }
}

impl Port {
    fn is_match(self, actual: u16) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(port) => port == actual,
            Self::Prefix(digits) => {
                std::iter::successors(Some(actual), |port| Some(port / 10).filter(|rest| *rest > 0))
                    .any(|start| start == digits)
            }
        }
    }
}

fn compile(pattern: &Pattern) -> Result<(PatternMatcher, Port), InvalidPattern> {
    let invalid = |text: &str| InvalidPattern::HostPort(text.into());
    let matcher = match pattern {
        Pattern::Exact(text) => {
            let (name, port) = split(text);
            let port = port.map_or(Ok(Port::Any), |port| port.parse().map(Port::Exact));
            (PatternMatcher::Exact(name.into()), port.map_err(|_| invalid(text))?)
        }
        Pattern::Suffix(text) => {
            let (name, port) = split(text);
            let port = port.map_or(Ok(Port::Any), |port| port.parse().map(Port::Exact));
            (PatternMatcher::Suffix(name.into()), port.map_err(|_| invalid(text))?)
        }
        Pattern::Prefix(text) if text.starts_with('[') && !text.contains(']') => {
            let start = text.to_ascii_lowercase().split_off(1);
            (PatternMatcher::Prefix(start.into()), Port::Any)
        }
        Pattern::Prefix(text) if text.contains(':') => {
            let (name, port) = split(text);
            let port = port.map_or(Ok(Port::Any), |port| port.parse().map(Port::Prefix));
            (PatternMatcher::Exact(name.into()), port.map_err(|_| invalid(text))?)
        }
        Pattern::Prefix(text) => (PatternMatcher::Prefix(text.to_ascii_lowercase().into()), Port::Any),
        Pattern::Glob(text) => (
            PatternMatcher::compile(&Pattern::Glob(text.to_ascii_lowercase())),
            Port::Any,
        ),
        other => (PatternMatcher::compile(other), Port::Any),
    };
    Ok(matcher)
}

/// The name in its canonical form, and the port where one is named.
fn split(text: &str) -> (String, Option<&str>) {
    let (name, port) = if let Some((address, port)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        (address, port.strip_prefix(':'))
    } else {
        match text.rsplit_once(':') {
            Some((name, port)) if !name.contains(':') => (name, Some(port)),
            _ => (text, None),
        }
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let name = name
        .parse::<std::net::Ipv6Addr>()
        .map_or(name, |address| address.to_string());
    (name, port.filter(|port| !port.is_empty()))
}
