//! Compiled operations: what a request must be for.

use http::Method;

use super::condition::{Check, PathSet, paths, texts};
use super::hosts::HostSet;
use super::index::Ask;
use super::when::{self, HeaderCheck};
use super::{InvalidPattern, Truth};
use crate::decide::route::string::PatternSet;
use crate::policy::model::authz::{Action, Condition, Operation, Pattern};
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

/// The conditions of an operation that ask for something.
struct Conditions(Vec<OfOperation>);

impl Conditions {
    fn add<T>(
        &mut self,
        condition: &Condition<T>,
        compile: impl FnOnce(&Condition<T>) -> Result<OfOperation, InvalidPattern>,
    ) -> Result<(), InvalidPattern> {
        if !condition.is_unset() {
            self.0.push(compile(condition)?);
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
            Check::new(ports, |ports, _| Ok(sorted(ports))).map(OfOperation::Ports)
        })?;
        conditions.add(&operation.methods, OfOperation::of_methods)?;
        conditions.add(&operation.paths, |all| paths(all, action).map(OfOperation::Paths))?;
        conditions.add(&operation.targets, |all| texts(all).map(OfOperation::Targets))?;
        conditions.add(&operation.hosts, |hosts| {
            Check::new(hosts, |patterns, _| HostSet::new(patterns)).map(OfOperation::Hosts)
        })?;
        conditions.add(&operation.authorities, |all| texts(all).map(OfOperation::Authorities))?;
        for (name, pattern) in &operation.headers {
            conditions
                .0
                .push(OfOperation::Header(when::header(name, pattern, action)?));
        }
        let connect =
            |pattern: &Pattern| matches!(pattern, Pattern::Exact(method) if method == Method::CONNECT.as_str());
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
    fn of_methods(methods: &Condition<Pattern>) -> Result<Self, InvalidPattern> {
        let only = match (methods.any_of.as_slice(), methods.none_of.as_slice()) {
            ([Pattern::Exact(only)], []) => Method::from_bytes(only.as_bytes()).ok(),
            _ => None,
        };
        match only {
            Some(method) => Ok(Self::Method(method)),
            None => texts(methods).map(Self::Methods),
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
