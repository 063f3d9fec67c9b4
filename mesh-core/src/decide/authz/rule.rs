//! Compiled rules.

use std::sync::Arc;

use ipnet::IpNet;
use thiserror::Error;

use super::condition::{Check, blocks, contains, texts};
use super::index::Ask;
use super::operation::CompiledOperation;
use super::peer::Facts;
use super::routed::Taken;
use super::token::{PrincipalSet, principals, with_principal};
use super::when::{Conditions, OfPeer};
use super::{PolicyInfo, RuleInfo, Truth};
use crate::decide::route::string::InvalidPath;
use crate::policy::model::Origin;
use crate::policy::model::authz::{Action, Operation, Rule, Source};

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
    scope: Scope,
    action: Action,
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

/// What of a request a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// What its operations look at, and nothing else.
    Operations,
    /// More than that.
    More,
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
    /// What the connection tells. All of it must hold.
    pub(super) of_peer: Box<[OfPeer]>,
    /// What the request tells, where that is asked.
    of_request: Option<Box<OfSender>>,
}

/// Conditions on who sends a request, which the connection does not tell.
#[derive(Debug)]
struct OfSender {
    request_principals: Check<PrincipalSet>,
    remote: Check<Box<[IpNet]>>,
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
        let senders = senders(rule);
        let is_more = route.is_some() || conditions.need_a_request() || senders == Senders::OfRequest;
        Ok(Self {
            needs: needs(rule, &conditions),
            scope: if is_more { Scope::More } else { Scope::Operations },
            senders,
            action: policy.action,
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

    pub(super) const fn action(&self) -> Action {
        self.action
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
    #[inline]
    pub(super) fn operation(&self, ask: &Ask<'_>) -> Truth {
        match self.scope {
            Scope::Operations if ask.request.is_some() => self.any_operation(ask),
            _ => self.whole_operation(ask),
        }
    }

    #[inline(never)]
    fn whole_operation(&self, ask: &Ask<'_>) -> Truth {
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
        let of_request = |source: &CompiledSource| source.truth(ask.facts).and(|| source.of_request(ask));
        Truth::any(self.sources.iter().map(of_request))
    }

    fn any_operation(&self, ask: &Ask<'_>) -> Truth {
        if self.action == Action::Allow && ask.is_connect() {
            return self.connect(ask);
        }
        Truth::any(self.operations.iter().map(|operation| operation.truth(ask)))
    }

    /// Whether an operation that names `CONNECT` is what the request is for.
    #[cold]
    #[inline(never)]
    fn connect(&self, ask: &Ask<'_>) -> Truth {
        let named = self.operations.iter().filter(|operation| operation.names_connect);
        let truths = named.map(|operation| operation.truth(ask));
        truths.max().unwrap_or(Truth::False)
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
        let mut of_peer = Vec::with_capacity(1);
        let mut add = |condition: OfPeer| {
            if !condition.is_unset() {
                of_peer.push(condition);
            }
        };
        add(OfPeer::Principal(texts(&source.principals)?));
        add(OfPeer::Namespace(texts(&source.namespaces)?));
        add(OfPeer::Account(texts(&source.service_accounts)?));
        add(OfPeer::SourceIp(blocks(&source.ip_blocks)?));
        add(OfPeer::TrustDomain(texts(&source.trust_domains)?));
        let of_request = OfSender {
            request_principals: principals(&source.request_principals, action)?,
            remote: blocks(&source.remote_ip_blocks)?,
        };
        let is_asked = !of_request.request_principals.is_unset() || !of_request.remote.is_unset();
        Ok(Self {
            of_peer: of_peer.into(),
            of_request: is_asked.then(|| Box::new(of_request)),
        })
    }

    fn truth(&self, facts: &Facts<'_>) -> Truth {
        Truth::all(self.of_peer.iter().map(|condition| condition.truth(facts)))
    }

    /// What only a request tells.
    fn of_request(&self, ask: &Ask<'_>) -> Truth {
        self.of_request.as_ref().map_or(Truth::True, |sender| sender.truth(ask))
    }
}

impl OfSender {
    fn truth(&self, ask: &Ask<'_>) -> Truth {
        let token = ask.request.and_then(|request| request.token);
        self.remote
            .test(ask.remote(), |blocks, address| contains(blocks, address))
            .and(|| with_principal(&self.request_principals, token))
    }
}
