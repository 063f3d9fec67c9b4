//! Compiled operations: what a request must be for.

use http::Method;

use super::condition::{Check, PathSet, paths, texts};
use super::hosts::HostSet;
use super::index::Ask;
use super::when::{self, HeaderCheck};
use super::{InvalidPattern, Truth};
use crate::decide::route::string::PatternSet;
use crate::policy::model::authz::{Action, Operation};
use crate::request::RequestView;

/// The conditions of an operation, all of which must hold. Most operations have few, so that only those are kept.
#[derive(Debug)]
pub(super) struct CompiledOperation {
    conditions: Box<[OfOperation]>,
    /// Whether it names the method `CONNECT`.
    pub(super) names_connect: bool,
}

#[derive(Debug)]
enum OfOperation {
    /// In order.
    Ports(Check<Box<[u16]>>),
    /// The one that is asked for, as it mostly is.
    Method(Method),
    Methods(Check<PatternSet>),
    Paths(Check<PathSet>),
    /// Path and query together.
    Targets(Check<PatternSet>),
    Hosts(Check<HostSet>),
    Authorities(Check<PatternSet>),
    Header(HeaderCheck),
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
        let methods = texts(&operation.methods)?;
        let names_connect = methods
            .any_of
            .as_ref()
            .is_some_and(|methods: &PatternSet| methods.has_exact(Method::CONNECT.as_str()));
        let conditions = [
            OfOperation::Ports(Check::new(&operation.ports, |ports, _| Ok(sorted(ports)))?),
            OfOperation::of_methods(methods),
            OfOperation::Paths(paths(&operation.paths, action)?),
            OfOperation::Targets(texts(&operation.targets)?),
            OfOperation::Hosts(Check::new(&operation.hosts, |patterns, _| HostSet::new(patterns))?),
            OfOperation::Authorities(texts(&operation.authorities)?),
        ];
        let headers = operation.headers.iter();
        let headers = headers.map(|(name, pattern)| when::header(name, pattern, action).map(OfOperation::Header));
        let set = conditions.into_iter().filter(|condition| !condition.is_unset()).map(Ok);
        Ok(Self {
            conditions: set.chain(headers).collect::<Result<_, _>>()?,
            names_connect,
        })
    }

    #[inline]
    pub(super) fn truth(&self, ask: &Ask<'_>) -> Truth {
        Truth::all(self.conditions.iter().map(|condition| condition.truth(ask)))
    }

    pub(super) fn looks_at_path(&self) -> bool {
        let looks = |condition: &OfOperation| matches!(condition, OfOperation::Paths(_) | OfOperation::Targets(_));
        self.conditions.iter().any(looks)
    }

    /// The paths one of which a request must have, where it must.
    pub(super) fn paths(&self) -> Option<&PathSet> {
        self.conditions.iter().find_map(|condition| match condition {
            OfOperation::Paths(check) => check.any_of.as_ref(),
            _ => None,
        })
    }
}

impl OfOperation {
    fn of_methods(check: Check<PatternSet>) -> Self {
        match check.only().and_then(|only| Method::from_bytes(only.as_bytes()).ok()) {
            Some(method) => Self::Method(method),
            None => Self::Methods(check),
        }
    }

    const fn is_unset(&self) -> bool {
        match self {
            Self::Ports(check) => check.is_unset(),
            Self::Methods(check) | Self::Targets(check) | Self::Authorities(check) => check.is_unset(),
            Self::Paths(check) => check.is_unset(),
            Self::Hosts(check) => check.is_unset(),
            Self::Method(_) | Self::Header(_) => false,
        }
    }

    #[inline]
    fn truth(&self, ask: &Ask<'_>) -> Truth {
        let request: Option<&RequestView<'_>> = ask.request;
        match self {
            Self::Ports(check) => check.test(Some(ask.facts.port), |ports, port| ports.binary_search(&port).is_ok()),
            Self::Method(method) => request.map_or(Truth::Unknown, |r| Truth::from(r.method == method)),
            Self::Methods(check) => check.test(request.map(|r| r.method.as_str()), PatternSet::is_match),
            Self::Paths(check) => check.test(ask.path(), PathSet::is_match),
            Self::Targets(check) => check.test(ask.target(), PatternSet::is_match),
            Self::Hosts(check) => check.test(request, HostSet::is_match),
            Self::Authorities(check) => check.test(request.map(|r| r.authority), PatternSet::is_match),
            Self::Header(check) => check.truth(request.map(|r| r.headers)),
        }
    }
}
