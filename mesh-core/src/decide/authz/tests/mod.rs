//! Policies are written in one line here: `principals=a|b* not_ports=80` is one source or operation.

mod attacks;
mod cases;
mod conditions;
mod modes;
mod properties;
mod spellings;
mod tokens;

use std::net::IpAddr;

use http::Request;

use super::*;
use crate::identity::SpiffeId;
use crate::policy::model::Meta;
use crate::policy::model::authz::{Condition, Operation, Pattern, Rule, Source};
use crate::request::{BadRequest, Options, Transport, canonicalize};

const ROOT: &str = "istio-system";

/// A rule that takes everything.
fn anything() -> Vec<Rule> {
    vec![Rule::default()]
}

/// Where the workload of these tests runs.
fn httpbin() -> Workload {
    Workload::new("foo", "httpbin").label("app", "httpbin")
}

fn policy(name: &str, action: Action, rules: Vec<Rule>) -> AuthorizationPolicy {
    let meta = Meta {
        name: name.into(),
        namespace: "foo".into(),
        ..Meta::default()
    };
    let mut policy = AuthorizationPolicy::new(meta, action);
    policy.rules = rules.into();
    policy
}

fn allow(rules: Vec<Rule>) -> AuthorizationPolicy {
    policy("allow", Action::Allow, rules)
}

fn deny(rules: Vec<Rule>) -> AuthorizationPolicy {
    policy("deny", Action::Deny, rules)
}

/// A rule of sources and operations; an empty text is none.
fn rule(from: &[&str], to: &[&str]) -> Rule {
    Rule {
        from: from.iter().map(|text| source(text)).collect(),
        to: to.iter().map(|text| operation(text)).collect(),
        ..Rule::default()
    }
}

fn fields(text: &str) -> impl Iterator<Item = (&str, bool, std::str::Split<'_, char>)> {
    text.split_whitespace().map(|field| {
        let (name, values) = field.split_once('=').expect("a field has a value");
        let inverted = name.starts_with("not_");
        (name.trim_start_matches("not_"), inverted, values.split('|'))
    })
}

fn extend<T>(condition: &mut Condition<T>, inverted: bool, values: impl Iterator<Item = T>) {
    let list = if inverted {
        &mut condition.none_of
    } else {
        &mut condition.any_of
    };
    list.extend(values);
}

fn source(text: &str) -> Source {
    let mut source = Source::default();
    for (name, inverted, values) in fields(text) {
        match name {
            "principals" => extend(&mut source.principals, inverted, values.map(Pattern::wildcard)),
            "namespaces" => extend(
                &mut source.namespaces,
                inverted,
                values.map(|v| Pattern::Glob(v.into())),
            ),
            "accounts" => extend(
                &mut source.service_accounts,
                inverted,
                values.map(|v| Pattern::Exact(v.into())),
            ),
            "ip" => extend(&mut source.ip_blocks, inverted, values.map(|v| v.parse().unwrap())),
            other => panic!("no field {other}"),
        }
    }
    source
}

fn operation(text: &str) -> Operation {
    let path = |text: &str| {
        if text.contains('{') {
            Pattern::Template(text.into())
        } else {
            Pattern::wildcard(text)
        }
    };
    let mut operation = Operation::default();
    for (name, inverted, values) in fields(text) {
        match name {
            "hosts" => extend(&mut operation.hosts, inverted, values.map(Pattern::wildcard)),
            "ports" => extend(&mut operation.ports, inverted, values.map(|v| v.parse().unwrap())),
            "methods" => extend(&mut operation.methods, inverted, values.map(Pattern::wildcard)),
            "paths" => extend(&mut operation.paths, inverted, values.map(path)),
            other => panic!("no field {other}"),
        }
    }
    operation
}

fn compile(policies: &[AuthorizationPolicy]) -> Authorizer {
    Authorizer::compile(policies, &httpbin(), ROOT).unwrap()
}

/// A caller with the identity `spiffe://…`, or on plain text.
#[derive(Clone, Debug)]
struct Caller {
    identity: Option<SpiffeId>,
    address: IpAddr,
    port: u16,
}

impl Caller {
    fn new(id: &str) -> Self {
        Self {
            identity: Some(SpiffeId::parse(&format!("spiffe://{id}")).unwrap()),
            ..Self::plain()
        }
    }

    fn plain() -> Self {
        Self {
            identity: None,
            address: "10.0.0.1".parse().unwrap(),
            port: 8080,
        }
    }

    fn at(mut self, address: &str) -> Self {
        self.address = address.parse().unwrap();
        self
    }

    fn on_port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    fn peer(&self) -> Peer<'_> {
        Peer::new(self.identity.as_ref(), self.address, self.port)
    }
}

/// A workload of namespace `default`.
fn sleep() -> Caller {
    Caller::new("cluster.local/ns/default/sa/sleep")
}

/// What a server answers: 200, 403, or the status of a request without canonical form.
fn status(policies: &[AuthorizationPolicy], caller: &Caller, request: &Request<()>) -> u16 {
    let authorizer = compile(policies);
    let options = Options::inbound(Transport::Plain, authorizer.path_rules());
    let canonical = match canonicalize(request, options) {
        Ok(canonical) => canonical,
        Err(refused) => return BadRequest::status(refused).as_u16(),
    };
    let view = canonical.view();
    let once = authorizer.authorize(&view, &caller.peer());
    let for_connection = authorizer.for_peer(&caller.peer());
    assert_eq!(once, for_connection.authorize(&view), "{once}");
    once.status().as_u16()
}

fn request(method: &str, host: &str, target: &str) -> Request<()> {
    Request::builder()
        .method(method)
        .uri(target)
        .header("host", host)
        .body(())
        .unwrap()
}

fn get(target: &str) -> Request<()> {
    request("GET", "httpbin.foo", target)
}
