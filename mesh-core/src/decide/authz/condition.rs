//! Compiled conditions.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::{InvalidPattern, Truth};
use crate::decide::route::string::{PatternMatcher, PatternSet};
use crate::policy::model::authz::{Action, Condition, Pattern};

/// A condition on one attribute: any of some, none of others.
#[derive(Clone, Debug)]
pub(super) struct Check<T> {
    pub(super) any_of: Option<T>,
    none_of: Option<T>,
}

/// Whether a condition asks for an attribute or forbids it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    AnyOf,
    NoneOf,
}

impl Side {
    /// Whether a match here leads to a denial: then all forms of a value have to match.
    pub(super) const fn denies(self, action: Action) -> bool {
        match self {
            Self::AnyOf => !matches!(action, Action::Allow),
            Self::NoneOf => matches!(action, Action::Allow),
        }
    }
}

impl<T> Check<T> {
    /// Compiles both lists with `set`; an empty list sets no condition.
    pub(super) fn new<P>(
        condition: &Condition<P>,
        set: impl Fn(&[P], Side) -> Result<T, InvalidPattern>,
    ) -> Result<Self, InvalidPattern> {
        let side = |list: &[P], side| (!list.is_empty()).then(|| set(list, side)).transpose();
        Ok(Self {
            any_of: side(&condition.any_of, Side::AnyOf)?,
            none_of: side(&condition.none_of, Side::NoneOf)?,
        })
    }

    pub(super) const fn is_unset(&self) -> bool {
        self.any_of.is_none() && self.none_of.is_none()
    }

    /// Whether it holds for an attribute: true where nothing is asked, unknown where the attribute is.
    pub(super) fn test<V: Copy>(&self, value: Option<V>, matches: impl Fn(&T, V) -> bool) -> Truth {
        let Some(value) = value else {
            return if self.is_unset() { Truth::True } else { Truth::Unknown };
        };
        let asked = self.any_of.as_ref().is_none_or(|set| matches(set, value));
        Truth::from(asked && !self.none_of.as_ref().is_some_and(|set| matches(set, value)))
    }
}

impl<T> Check<T> {
    /// What is asked for, where nothing is forbidden.
    pub(super) fn asked(&self) -> Option<&T> {
        self.any_of.as_ref().filter(|_| self.none_of.is_none())
    }
}

/// A condition on a text that is compared as it is.
pub(super) fn texts(condition: &Condition<Pattern>) -> Result<Check<PatternSet>, InvalidPattern> {
    Check::new(condition, |patterns, _| {
        let compiled = patterns.iter().map(PatternMatcher::checked);
        compiled
            .collect::<Result<_, _>>()
            .map_err(|error| InvalidPattern::Path(error.into()))
    })
}

/// Paths. Where a match leads to a denial, `/admin` and `/admin/` are one path: servers disagree on whether they are.
#[derive(Clone, Debug)]
pub(super) struct PathSet {
    pub(super) patterns: PatternSet,
    slash: FinalSlash,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FinalSlash {
    Counts,
    Ignored,
}

pub(super) fn paths(condition: &Condition<Pattern>, action: Action) -> Result<Check<PathSet>, InvalidPattern> {
    Check::new(condition, |patterns, side| {
        let slash = match side.denies(action) {
            true => FinalSlash::Ignored,
            false => FinalSlash::Counts,
        };
        PathSet::new(patterns, slash)
    })
}

impl PathSet {
    fn new(patterns: &[Pattern], slash: FinalSlash) -> Result<Self, InvalidPattern> {
        let mut compiled = Vec::with_capacity(patterns.len());
        for pattern in patterns {
            refuse_parameters(pattern)?;
            let matcher = PatternMatcher::path(pattern)?;
            if let (PatternMatcher::Exact(path), FinalSlash::Ignored) = (&matcher, slash)
                && path.len() > 1
            {
                let other = path.strip_suffix('/').map_or_else(|| format!("{path}/"), str::to_owned);
                compiled.push(PatternMatcher::Exact(other.into()));
            }
            compiled.push(matcher);
        }
        Ok(Self {
            patterns: compiled.into_iter().collect(),
            slash,
        })
    }

    #[inline]
    pub(super) fn is_match(&self, path: &str) -> bool {
        self.patterns.is_match(path) || (self.slash == FinalSlash::Ignored && self.is_match_without_slash(path))
    }

    fn is_match_without_slash(&self, path: &str) -> bool {
        let Some(path) = path.strip_suffix('/').filter(|path| !path.is_empty()) else {
            return false;
        };
        self.patterns.others().iter().any(|pattern| match pattern {
            PatternMatcher::Suffix(_) | PatternMatcher::Template(_) => pattern.is_match(path),
            _ => false,
        })
    }
}

/// A path with `;` is refused while rules look at paths: a rule about one would never match.
fn refuse_parameters(pattern: &Pattern) -> Result<(), InvalidPattern> {
    match pattern {
        Pattern::Exact(text)
        | Pattern::Prefix(text)
        | Pattern::Suffix(text)
        | Pattern::Glob(text)
        | Pattern::Template(text)
            if text.contains(';') =>
        {
            Err(InvalidPattern::Parameters(text.clone()))
        }
        _ => Ok(()),
    }
}

/// Address blocks. An IPv4 address is the same address when it is mapped into IPv6.
pub(super) fn blocks(condition: &Condition<IpNet>) -> Result<Check<Box<[IpNet]>>, InvalidPattern> {
    Check::new(condition, |blocks, _| Ok(parsed_blocks(blocks)))
}

pub(super) fn parsed_blocks(blocks: &[IpNet]) -> Box<[IpNet]> {
    blocks.iter().map(unmapped).collect()
}

fn unmapped(block: &IpNet) -> IpNet {
    let IpNet::V6(mapped) = block else {
        return *block;
    };
    let v4 = mapped.addr().to_ipv4_mapped();
    let prefix = mapped.prefix_len().checked_sub(96);
    v4.zip(prefix)
        .and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok())
        .map_or(*block, IpNet::V4)
}

pub(super) fn contains(blocks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    blocks.iter().any(|block| block.contains(&address))
}
