//! Compiled rules.

use std::sync::Arc;

use http::Method;
use ipnet::IpNet;
use thiserror::Error;

use super::condition::{Check, PathSet, blocks, contains, paths, texts};
use super::hosts::HostSet;
use super::index::Ask;
use super::peer::Facts;
use super::routed::Taken;
use super::token::{PrincipalSet, principals, with_principal};
use super::when::{self, Conditions, HeaderCheck};
use super::{PolicyInfo, RuleInfo, Truth};
use crate::decide::route::string::{InvalidPath, PatternSet};
use crate::policy::model::Origin;
use crate::policy::model::authz::{Action, Operation, Rule, Source};
use crate::request::RequestView;

/// A rule that cannot be compiled, and where it was written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("policy `{policy}`: {reason}")]
#[non_exhaustive]
pub struct InvalidRule {
    /// `namespace/name` of its policy.
    pub policy: String,
    /// Where the rule was written.
    pub origin: Origin,
    /// Why it cannot be compiled.
    pub reason: InvalidPattern,
}

impl InvalidRule {
    pub(super) fn new(policy: &PolicyInfo, rule: &Rule, reason: InvalidPattern) -> Self {
        Self {
            policy: policy.to_string(),
            origin: rule_origin(policy, rule),
            reason,
        }
    }
}

/// Why a pattern cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidPattern {
    /// Of a path.
    #[error(transparent)]
    Path(#[from] InvalidPath),
    /// Of a path: `;` is refused where rules look at paths.
    #[error("no request is served whose path matches `{0}`: `;` is refused while rules look at paths")]
    Parameters(String),
    /// Of a host whose port is none.
    #[error("`{0}` names a port that is not a number up to 65535")]
    HostPort(String),
    /// Of an address or a port.
    #[error("`{0}` is no value of the attribute")]
    Value(String),
}

/// A rule, ready to be asked.
#[derive(Debug)]
pub(super) struct CompiledRule {
    pub(super) info: Arc<RuleInfo>,
    pub(super) sources: Box<[CompiledSource]>,
    pub(super) operations: Box<[CompiledOperation]>,
    pub(super) conditions: Conditions,
    needs: Needs,
    senders: Senders,
    /// Where non-empty, the only ports that the rule is for.
    ports: Box<[u16]>,
    /// The only route whose requests the rule is for.
    route: Option<u32>,
}

/// What a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    /// The connection is enough.
    Connection,
    /// Some of it only requests have.
    Request,
}

/// What tells the sources of a rule who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Senders {
    OfConnection,
    /// Also the request: its token, or the address that proxies tell.
    OfRequest,
}

#[derive(Debug)]
pub(super) struct CompiledSource {
    pub(super) principals: Check<PatternSet>,
    pub(super) namespaces: Check<PatternSet>,
    pub(super) accounts: Check<PatternSet>,
    blocks: Check<Box<[IpNet]>>,
    trust_domains: Check<PatternSet>,
    request_principals: Check<PrincipalSet>,
    remote: Check<Box<[IpNet]>>,
}

#[derive(Debug)]
pub(super) struct CompiledOperation {
    hosts: Check<HostSet>,
    /// In order.
    ports: Check<Box<[u16]>>,
    methods: Check<PatternSet>,
    pub(super) paths: Check<PathSet>,
    targets: Check<PatternSet>,
    authorities: Check<PatternSet>,
    headers: Box<[HeaderCheck]>,
}

impl CompiledRule {
    pub(super) fn new(
        policy: &Arc<PolicyInfo>,
        (ports, route): (&[u16], Option<u32>),
        (index, rule): (usize, &Rule),
    ) -> Result<Self, InvalidPattern> {
        let mut sources = Vec::with_capacity(rule.from.len());
        for source in &rule.from {
            sources.push(CompiledSource::new(source, policy.action)?);
        }
        let mut operations = Vec::with_capacity(rule.to.len());
        for operation in &rule.to {
            operations.push(CompiledOperation::new(operation, policy.action)?);
        }
        let conditions = Conditions::new(&rule.when, policy.action)?;
        Ok(Self {
            needs: needs(rule, &conditions),
            senders: senders(rule),
            info: Arc::new(RuleInfo {
                policy: Arc::clone(policy),
                index,
                origin: rule_origin(policy, rule),
            }),
            sources: sources.into(),
            operations: operations.into(),
            conditions,
            ports: ports.into(),
            route,
        })
    }

    pub(super) fn action(&self) -> Action {
        self.info.policy.action
    }

    pub(super) fn looks_at_paths(&self) -> bool {
        self.operations.iter().any(CompiledOperation::looks_at_path)
    }

    /// Whether the peer is one that the rule is about.
    pub(super) fn source(&self, facts: &Facts<'_>) -> Truth {
        if !self.ports.is_empty() && !self.ports.contains(&facts.port) {
            return Truth::False;
        }
        let sources = || Truth::any(self.sources.iter().map(|source| source.truth(facts)));
        self.conditions.peer(facts).and(sources)
    }

    /// Whether the request is one that the rule is about. A connection without HTTP is let in by no rule that looks at
    /// requests, even where one of its operations does not.
    pub(super) fn operation(&self, ask: &Ask<'_>) -> Truth {
        if self.route.is_some_and(|route| ask.taken != Taken::By(route)) {
            return Truth::False;
        }
        if ask.request.is_none() && self.needs == Needs::Request && self.action() == Action::Allow {
            return Truth::Unknown;
        }
        self.conditions
            .request(ask)
            .and(|| self.any_operation(ask))
            .and(|| self.sender(ask))
    }

    /// Whether the request comes from where, and bears the token that, the sources ask for. [`source`](Self::source) has left
    /// that out: it is not the connection that tells.
    fn sender(&self, ask: &Ask<'_>) -> Truth {
        if self.senders == Senders::OfConnection {
            return Truth::True;
        }
        let of_request = |source: &CompiledSource| source.truth(&ask.facts).and(|| source.of_request(ask));
        Truth::any(self.sources.iter().map(of_request))
    }

    fn any_operation(&self, ask: &Ask<'_>) -> Truth {
        if self.action() == Action::Allow && ask.is_connect() {
            let named = self.operations.iter().filter(|operation| operation.names_connect());
            let truths = named.map(|operation| operation.truth(ask));
            return truths.max().unwrap_or(Truth::False);
        }
        Truth::any(self.operations.iter().map(|operation| operation.truth(ask)))
    }
}

fn senders(rule: &Rule) -> Senders {
    let of_connection = |source: &Source| source.request_principals.is_unset() && source.remote_ip_blocks.is_unset();
    match rule.from.iter().all(of_connection) {
        true => Senders::OfConnection,
        false => Senders::OfRequest,
    }
}

fn needs(rule: &Rule, conditions: &Conditions) -> Needs {
    let in_operation = |operation: &Operation| {
        let texts = [
            &operation.hosts,
            &operation.methods,
            &operation.paths,
            &operation.targets,
            &operation.authorities,
        ];
        texts.iter().any(|texts| !texts.is_unset()) || !operation.headers.is_empty()
    };
    match senders(rule) == Senders::OfRequest || rule.to.iter().any(in_operation) || conditions.need_a_request() {
        true => Needs::Request,
        false => Needs::Connection,
    }
}

fn rule_origin(policy: &PolicyInfo, rule: &Rule) -> Origin {
    let origin = if rule.origin.line == 0 {
        &policy.origin
    } else {
        &rule.origin
    };
    origin.clone()
}

impl CompiledSource {
    fn new(source: &Source, action: Action) -> Result<Self, InvalidPattern> {
        Ok(Self {
            principals: texts(&source.principals)?,
            namespaces: texts(&source.namespaces)?,
            accounts: texts(&source.service_accounts)?,
            blocks: blocks(&source.ip_blocks)?,
            trust_domains: texts(&source.trust_domains)?,
            request_principals: principals(&source.request_principals, action)?,
            remote: blocks(&source.remote_ip_blocks)?,
        })
    }

    fn truth(&self, facts: &Facts<'_>) -> Truth {
        self.principals
            .test(facts.principal, PatternSet::is_match)
            .and(|| facts.with_namespace(&self.namespaces))
            .and(|| facts.with_account(&self.accounts))
            .and(|| {
                self.blocks
                    .test(Some(facts.address), |blocks, address| contains(blocks, address))
            })
            .and(|| self.trust_domains.test(facts.trust_domain(), PatternSet::is_match))
    }

    /// What only a request tells.
    fn of_request(&self, ask: &Ask<'_>) -> Truth {
        let token = ask.request.and_then(|request| request.token);
        self.remote
            .test(ask.remote(), |blocks, address| contains(blocks, address))
            .and(|| with_principal(&self.request_principals, token))
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
    fn new(operation: &Operation, action: Action) -> Result<Self, InvalidPattern> {
        Ok(Self {
            hosts: Check::new(&operation.hosts, |patterns, _| HostSet::new(patterns))?,
            ports: Check::new(&operation.ports, |ports, _| Ok(sorted(ports)))?,
            methods: texts(&operation.methods)?,
            paths: paths(&operation.paths, action)?,
            targets: texts(&operation.targets)?,
            authorities: texts(&operation.authorities)?,
            headers: operation
                .headers
                .iter()
                .map(|(name, pattern)| when::header(name, pattern, action))
                .collect::<Result<_, _>>()?,
        })
    }

    fn names_connect(&self) -> bool {
        let methods = self.methods.any_of.as_ref();
        methods.is_some_and(|methods| methods.has_exact(Method::CONNECT.as_str()))
    }

    fn truth(&self, ask: &Ask<'_>) -> Truth {
        let request: Option<&RequestView<'_>> = ask.request;
        self.ports
            .test(Some(ask.facts.port), |ports, port| ports.binary_search(&port).is_ok())
            .and(|| {
                self.methods
                    .test(request.map(|r| r.method.as_str()), PatternSet::is_match)
            })
            .and(|| self.paths.test(ask.path(), PathSet::is_match))
            .and(|| self.with_target(ask))
            .and(|| self.hosts.test(request, HostSet::is_match))
            .and(|| {
                self.authorities
                    .test(request.map(|r| r.authority), PatternSet::is_match)
            })
            .and(|| self.with_headers(request))
    }

    fn looks_at_path(&self) -> bool {
        !self.paths.is_unset() || !self.targets.is_unset()
    }

    fn with_target(&self, ask: &Ask<'_>) -> Truth {
        if self.targets.is_unset() {
            return Truth::True;
        }
        self.targets.test(ask.target(), PatternSet::is_match)
    }

    fn with_headers(&self, request: Option<&RequestView<'_>>) -> Truth {
        let headers = request.map(|request| request.headers);
        Truth::all(self.headers.iter().map(|header| header.truth(headers)))
    }
}
