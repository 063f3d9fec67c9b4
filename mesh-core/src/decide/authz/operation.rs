//! Compiled operations: what a request must be for.

use http::Method;
use http::header::HOST;

use super::condition::{Check, PathSet, paths, texts};
use super::hosts::HostSet;
use super::index::{Ask, Key, has_keys, keys};
use super::when::{self, HeaderCheck};
use super::{InvalidPattern, Truth};
use crate::decide::route::string::{PatternMatcher, PatternSet};
use crate::policy::model::authz::{Action, Condition, Operation, Pattern};
use crate::request::RequestView;

/// The conditions of an operation, all of which must hold. Most operations have few, so that only those are kept.
#[derive(Debug)]
pub(super) struct CompiledOperation {
    conditions: Box<[OfOperation]>,
    /// Whether it names the method `CONNECT`.
    pub(super) names_connect: bool,
}

/// What is usual is in place, so that the conditions of most operations lie together; the rest is boxed.
#[derive(Debug)]
enum OfOperation {
    /// The one method that is asked for, as it mostly is.
    Method(Method),
    /// The one path that is asked for.
    Path(Box<str>),
    /// The start of the path, where nothing else is asked for.
    PathPrefix(Box<str>),
    Other(Box<Other>),
}

#[derive(Debug)]
enum Other {
    /// In order.
    Ports(Check<Box<[u16]>>),
    Methods(Check<PatternSet>),
    Paths(Check<PathSet>),
    /// Path and query together.
    Targets(Check<PatternSet>),
    Hosts(Check<HostSet>),
    Authorities(Check<PatternSet>),
    Header(HeaderCheck),
}

/// The conditions of an operation that ask for something.
struct Conditions(Vec<OfOperation>);

impl Conditions {
    fn add<T>(
        &mut self,
        condition: &Condition<T>,
        compile: impl FnOnce(&Condition<T>) -> Result<Other, InvalidPattern>,
    ) -> Result<(), InvalidPattern> {
        if !condition.is_unset() {
            self.0.push(compile(condition)?.into());
        }
        Ok(())
    }
}

/// Ports in order: a range of them has up to 65535.
fn sorted(ports: &[u16]) -> Box<[u16]> {
    let mut ports = ports.to_vec();
    ports.sort_unstable();
    ports.dedup();
    ports.into()
}

impl CompiledOperation {
    pub(super) fn new(operation: &Operation, action: Action) -> Result<Self, InvalidPattern> {
        let mut conditions = Conditions(Vec::with_capacity(2));
        conditions.add(&operation.ports, |ports| {
            Check::new(ports, |ports, _| Ok(sorted(ports))).map(Other::Ports)
        })?;
        if !operation.methods.is_unset() {
            conditions.0.push(OfOperation::of_methods(&operation.methods)?);
        }
        conditions.add(&operation.paths, |all| paths(all, action).map(Other::Paths))?;
        conditions.add(&operation.targets, |all| texts(all).map(Other::Targets))?;
        conditions.add(&operation.hosts, |all| when::hosts(all).map(Other::Hosts))?;
        conditions.add(&operation.authorities, |all| texts(all).map(Other::Authorities))?;
        for (name, pattern) in &operation.headers {
            let other = match *name == HOST {
                true => Other::Hosts(when::hosts(&Condition {
                    any_of: vec![pattern.clone()],
                    ..Condition::default()
                })?),
                false => Other::Header(when::header(name, pattern, action)?),
            };
            conditions.0.push(other.into());
        }
        let connect = |pattern: &Pattern| match pattern {
            Pattern::Exact(method) | Pattern::Glob(method) | Pattern::Template(method) => {
                method == Method::CONNECT.as_str()
            }
            _ => false,
        };
        Ok(Self {
            conditions: conditions.0.into(),
            names_connect: operation.methods.any_of.iter().any(connect),
        })
    }

    #[inline]
    pub(super) fn truth(&self, ask: &Ask<'_>) -> Truth {
        Truth::all(self.conditions.iter().map(|condition| condition.truth(ask)))
    }

    pub(super) fn looks_at_path(&self) -> bool {
        self.conditions.iter().any(|condition| match condition {
            OfOperation::Method(_) => false,
            OfOperation::Path(_) | OfOperation::PathPrefix(_) => true,
            OfOperation::Other(other) => matches!(**other, Other::Paths(_) | Other::Targets(_)),
        })
    }

    /// What the paths have one of which a request must have; none where it may have others.
    pub(super) fn path_keys(&self) -> Option<impl Iterator<Item = Key<'_>>> {
        self.conditions.iter().find_map(|condition| {
            let (one, several) = match condition {
                OfOperation::Path(path) => (Some(Key::Exact(path)), None),
                OfOperation::PathPrefix(prefix) => (Some(Key::Prefix(prefix)), None),
                OfOperation::Method(_) => return None,
                OfOperation::Other(other) => (None, Some(other.paths()?)),
            };
            Some(one.into_iter().chain(several.into_iter().flat_map(keys)))
        })
    }
}

impl From<Other> for OfOperation {
    fn from(condition: Other) -> Self {
        let usual = match &condition {
            Other::Paths(check) => one_path(check),
            _ => None,
        };
        usual.unwrap_or_else(|| Self::Other(Box::new(condition)))
    }
}

/// The one path or prefix that is asked for. Neither of these has a final slash to be ignored: what would ignore one is of several texts.
fn one_path(check: &Check<PathSet>) -> Option<OfOperation> {
    let patterns = &check.asked()?.patterns;
    match (patterns.exact(), patterns.others()) {
        ([only], []) => Some(OfOperation::Path(only.clone())),
        ([], [PatternMatcher::Prefix(only)]) => Some(OfOperation::PathPrefix(only.clone())),
        _ => None,
    }
}

impl OfOperation {
    fn of_methods(methods: &Condition<Pattern>) -> Result<Self, InvalidPattern> {
        let only = match (methods.any_of.as_slice(), methods.none_of.as_slice()) {
            ([Pattern::Exact(only)], []) => Method::from_bytes(only.as_bytes()).ok(),
            _ => None,
        };
        match only {
            Some(method) => Ok(Self::Method(method)),
            None => texts(methods).map(|check| Other::Methods(check).into()),
        }
    }

    #[inline]
    fn truth(&self, ask: &Ask<'_>) -> Truth {
        match self {
            Self::Method(method) => ask.request.map_or(Truth::Unknown, |r| Truth::from(r.method == method)),
            Self::Path(path) => ask.path().map_or(Truth::Unknown, |asked| Truth::from(**path == *asked)),
            Self::PathPrefix(prefix) => ask
                .path()
                .map_or(Truth::Unknown, |asked| Truth::from(asked.starts_with(&**prefix))),
            Self::Other(other) => other.truth(ask),
        }
    }
}

impl Other {
    /// The paths that are asked for, where rules are found by them.
    fn paths(&self) -> Option<&PatternSet> {
        match self {
            // A final slash that is ignored is in the exact texts already; other patterns that ignore it have no keys.
            Self::Paths(check) => check
                .any_of
                .as_ref()
                .map(|paths| &paths.patterns)
                .filter(|paths| has_keys(paths)),
            _ => None,
        }
    }

    #[cfg(test)]
    const fn is_unset(&self) -> bool {
        match self {
            Self::Ports(check) => check.is_unset(),
            Self::Methods(check) | Self::Targets(check) | Self::Authorities(check) => check.is_unset(),
            Self::Paths(check) => check.is_unset(),
            Self::Hosts(check) => check.is_unset(),
            Self::Header(_) => false,
        }
    }

    #[inline(never)]
    fn truth(&self, ask: &Ask<'_>) -> Truth {
        let request: Option<&RequestView<'_>> = ask.request;
        match self {
            Self::Ports(check) => check.test(Some(ask.facts.port), |ports, port| ports.binary_search(&port).is_ok()),
            Self::Methods(check) => check.test(request.map(|r| r.method.as_str()), PatternSet::is_match),
            Self::Paths(check) => check.test(ask.path(), PathSet::is_match),
            Self::Targets(check) => check.test(ask.target(), PatternSet::is_match),
            Self::Hosts(check) => check.test(request, HostSet::is_match),
            Self::Authorities(check) => check.test(request.map(|r| r.authority), PatternSet::is_match),
            Self::Header(check) => check.truth(request.map(|r| r.headers)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use http::Request;
    use proptest::prelude::*;

    use super::super::Peer;
    use super::*;
    use crate::policy::model::authz::{Condition, Pattern};
    use crate::request::{Options, canonicalize};

    fn texts_of_paths() -> impl Strategy<Value = String> {
        prop::sample::select(vec!["/", "/a", "/a/", "/ab", "/a/b", "/b"]).prop_map(str::to_owned)
    }

    fn lists() -> impl Strategy<Value = Vec<Pattern>> {
        let pattern = prop_oneof![
            3 => texts_of_paths().prop_map(Pattern::Exact),
            3 => texts_of_paths().prop_map(Pattern::Prefix),
            1 => texts_of_paths().prop_map(Pattern::Suffix),
            1 => Just(Pattern::Present),
        ];
        prop::collection::vec(pattern, 0..3)
    }

    fn conditions() -> impl Strategy<Value = Condition<Pattern>> {
        (lists(), prop_oneof![3 => Just(Vec::new()), 1 => lists()])
            .prop_map(|(any_of, none_of)| Condition { any_of, none_of })
    }

    proptest! {
        #[test]
        fn a_condition_in_place_says_what_the_whole_one_says(
            condition in conditions(),
            action in prop::sample::select(vec![Action::Allow, Action::Deny]),
            path in texts_of_paths(),
            method in prop::sample::select(vec!["GET", "CONNECT"]),
        ) {
            let whole = || Other::Paths(paths(&condition, action).unwrap());
            prop_assume!(!whole().is_unset());
            let uri = if method == "GET" { format!("http://a{path}") } else { "a:1".to_owned() };
            let request = Request::builder().method(method).uri(uri).body(()).unwrap();
            let canonical = canonicalize(&request, Options::outbound()).unwrap();
            let (view, facts) = (canonical.view(), Peer::new(None, IpAddr::V4(Ipv4Addr::LOCALHOST), 1).facts());
            let ask = Ask::new(&facts, Some(&view), &[]);
            prop_assert_eq!(OfOperation::from(whole()).truth(&ask), whole().truth(&ask));
            let ask = Ask::new(&facts, None, &[]);
            prop_assert_eq!(OfOperation::from(whole()).truth(&ask), whole().truth(&ask));
        }
    }

    #[test]
    fn one_path_or_prefix_is_in_place() {
        let of = |pattern: Pattern, action| {
            let condition = Condition {
                any_of: vec![pattern],
                none_of: Vec::new(),
            };
            OfOperation::from(Other::Paths(paths(&condition, action).unwrap()))
        };
        assert!(matches!(
            of(Pattern::Exact("/a".into()), Action::Allow),
            OfOperation::Path(_)
        ));
        assert!(matches!(
            of(Pattern::Prefix("/a".into()), Action::Deny),
            OfOperation::PathPrefix(_)
        ));
        assert!(matches!(
            of(Pattern::Exact("/a".into()), Action::Deny),
            OfOperation::Other(_)
        ));
        assert!(matches!(
            of(Pattern::Suffix("/a".into()), Action::Allow),
            OfOperation::Other(_)
        ));
    }
}
