//! What callers do: operations that rules name, and those that break one of their conditions.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use http::Method;

use super::{of_values, written};
use crate::diff::hosts::Written;
use crate::diff::probe::{Probe, of_host};
use crate::diff::sample::{ANY, of_pattern, of_patterns};
use crate::policy::model::authz::{Attribute, Operation, Pattern, Rule};
use crate::policy::model::server::ServerRule;
use crate::trial::question::Asked;
use crate::trial::read::{Scheme, header_map, url_of};

/// What a caller does; what is `None` is as plain as can be.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Act {
    pub(super) path: Option<String>,
    pub(super) method: Option<String>,
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) headers: BTreeMap<String, String>,
}

/// Operations that a rule names, and those that break one of its conditions.
pub(super) fn acts_of(rule: &Rule) -> BTreeSet<Act> {
    let mut acts: BTreeSet<Act> = rule.to.iter().flat_map(operations).collect();
    if acts.is_empty() {
        acts.insert(Act::default());
    }
    for condition in &rule.when {
        acts = match &condition.attribute {
            Attribute::Header(name) => with_each(&acts, &of_values(&condition.values), |act, text| {
                act.set_header(name.as_str(), text);
            }),
            Attribute::Pseudo(name) if name == ":method" => {
                with_each(&acts, &of_values(&condition.values), |act, text| act.method = text)
            }
            Attribute::DestinationPort => {
                let ports: Vec<String> = written(&condition.values).cloned().collect();
                with_each(&acts, &ports, |act, text| {
                    act.port = text.and_then(|text| text.parse().ok())
                })
            }
            _ => acts,
        };
    }
    acts
}

/// Each of them with the first text; the first of them with the others, and without any.
pub(super) fn with_each<T: Clone + Ord>(
    bases: &BTreeSet<T>,
    texts: &[String],
    set: impl Fn(&mut T, Option<String>),
) -> BTreeSet<T> {
    let with = |base: &T, text: Option<&String>| {
        let mut varied = base.clone();
        set(&mut varied, text.cloned());
        varied
    };
    let mut all: BTreeSet<T> = bases.iter().map(|base| with(base, texts.first())).collect();
    for base in bases.iter().take(1) {
        all.extend(texts.iter().map(Some).chain([None]).map(|text| with(base, text)));
    }
    all
}

/// The same at ports that a policy guards on its own.
pub(super) fn at_ports(acts: BTreeSet<Act>, ports: &[u16]) -> BTreeSet<Act> {
    let everywhere = acts.clone().into_iter().filter(|act| act.port.is_none());
    let at = |act: Act| ports.iter().map(move |port| act.clone().at(*port));
    let mut all: BTreeSet<Act> = everywhere.flat_map(at).collect();
    all.extend(acts);
    all
}

/// Operations that the route of a server takes, and those that it just does not.
pub(super) fn acts_of_route(rule: &ServerRule) -> BTreeSet<Act> {
    let written = Written {
        matches: vec![&rule.matches],
        ..Written::default()
    };
    let acts: BTreeSet<Act> = of_host(&written).into_iter().map(Act::of_probe).collect();
    let hosts: Vec<String> = rule.hosts.iter().map(|host| host.host.replace('*', ANY)).collect();
    with_each(&acts, &hosts, |act, text| act.host = text)
}

fn operations(operation: &Operation) -> Vec<Act> {
    let texts = [&operation.paths, &operation.methods, &operation.hosts].map(of_patterns);
    let ports: Vec<u16> = operation
        .ports
        .any_of
        .iter()
        .chain(&operation.ports.none_of)
        .copied()
        .collect();
    let [paths, methods, hosts] = &texts;
    let mut base = Act {
        path: paths.first().cloned(),
        method: methods.first().cloned(),
        host: hosts.first().cloned(),
        port: ports.first().copied(),
        ..Act::default()
    };
    for (name, pattern) in &operation.headers {
        base.set_header(name.as_str(), of_pattern(pattern).into_iter().next());
    }
    let mut acts = vec![base.clone()];
    let mut vary = |vary: &dyn Fn(&mut Act)| {
        let mut act = base.clone();
        vary(&mut act);
        acts.push(act);
    };
    for path in paths {
        vary(&|act| act.path = Some(path.clone()));
        // Each method with each path is what most policies list.
        for method in methods {
            vary(&|act| (act.path, act.method) = (Some(path.clone()), Some(method.clone())));
        }
    }
    methods
        .iter()
        .for_each(|method| vary(&|act| act.method = Some(method.clone())));
    hosts.iter().for_each(|host| vary(&|act| act.host = Some(host.clone())));
    ports.iter().for_each(|port| vary(&|act| act.port = Some(*port)));
    for (name, pattern) in &operation.headers {
        vary(&|act| act.set_header(name.as_str(), None));
        for text in of_pattern(pattern) {
            vary(&|act| act.set_header(name.as_str(), Some(text.clone())));
        }
    }
    vary(&|act| act.path = None);
    vary(&|act| act.method = None);
    vary(&|act| act.host = None);
    vary(&|act| act.port = None);
    acts
}

/// What a rule about an operation does not mean, all of it at once.
pub(super) fn exempted(operation: &Operation) -> Option<Act> {
    let first = |patterns: &[Pattern]| patterns.iter().flat_map(of_pattern).next();
    let act = Act {
        path: first(&operation.paths.none_of),
        method: first(&operation.methods.none_of),
        host: first(&operation.hosts.none_of),
        port: operation.ports.none_of.first().copied(),
        ..Act::default()
    };
    (act != Act::default()).then_some(act)
}

impl Act {
    /// The same, where it says nothing as another one does.
    pub(super) fn or(&self, other: &Self) -> Self {
        let or = |own: &Option<String>, other: &Option<String>| own.clone().or_else(|| other.clone());
        Self {
            path: or(&self.path, &other.path),
            method: or(&self.method, &other.method),
            host: or(&self.host, &other.host),
            port: self.port.or(other.port),
            headers: self.headers.clone(),
        }
    }

    fn of_probe(probe: Probe) -> Self {
        Self {
            path: (probe.path.is_some() || !probe.query.is_empty()).then(|| probe.target()),
            method: probe.method,
            host: None,
            port: probe.port,
            headers: probe.headers,
        }
    }

    pub(super) fn at(self, port: u16) -> Self {
        let port = Some(port);
        Self { port, ..self }
    }

    pub(super) fn of_method(method: &str) -> Self {
        Self {
            method: Some(method.to_owned()),
            ..Self::default()
        }
    }

    fn set_header(&mut self, name: &str, text: Option<String>) {
        match text {
            Some(text) => self.headers.insert(name.to_owned(), text),
            None => self.headers.remove(name),
        };
    }

    fn method(&self) -> &str {
        self.method.as_deref().unwrap_or("GET")
    }

    fn path(&self) -> &str {
        self.path.as_deref().unwrap_or("/")
    }

    /// `None` where no request can be made of it.
    pub(super) fn asked(&self) -> Option<Asked> {
        let host = self.host.as_deref().unwrap_or("localhost");
        let slash = if self.path().starts_with('/') { "" } else { "/" };
        Some(Asked {
            method: Method::from_bytes(self.method().as_bytes()).ok()?,
            url: url_of(&format!("http://{host}{slash}{}", self.path()), Scheme::Required).ok()?,
            headers: header_map(self.headers.iter().map(|(name, text)| (name.as_str(), text.as_str()))).ok()?,
        })
    }
}

/// `GET /api host orders port 8080`.
impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method(), self.path())?;
        if let Some(host) = &self.host {
            write!(f, " host {host}")?;
        }
        if let Some(port) = self.port {
            write!(f, " port {port}")?;
        }
        self.headers
            .iter()
            .try_for_each(|(name, text)| write!(f, " {name}: {text}"))
    }
}
