//! What benchmarks measure: policies of any size, a bare hop and one through the mesh.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a benchmark of what cannot be set up has nothing to measure"
)]

pub mod bare;
pub mod call;
pub mod callgrind;
pub mod case;
pub mod curve;
pub mod gate;
pub mod meshed;
pub mod plot;
pub mod profile;

use std::fmt::Write as _;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;

use http::Request;
use mesh_core::decide::cluster::{Cluster, EndpointSpec};
use mesh_core::policy::Loaded;
use mesh_core::policy::model::Policy;
use mesh_core::policy::model::authz::Pattern;
use mesh_core::policy::model::route::StringMatch;
use mesh_core::snapshot::Snapshot;
use mesh_core::workload::Workload;

/// A request under way, that ends with the length of the answer's body.
pub type Sending = Pin<Box<dyn Future<Output = usize> + Send>>;

/// The policy of a text.
#[must_use]
pub fn policy(text: &str) -> Policy {
    let loaded = Loaded::from_files([("policy.yaml", text.as_bytes())]);
    loaded.policy.expect("a policy without errors")
}

/// What a policy means for the workload `orders` in `shop`.
#[must_use]
pub fn snapshot(policy: &Policy) -> Snapshot {
    let workload = Workload::new("shop", "orders").label("app", "orders");
    Snapshot::compile(policy, &workload, 1).expect("a policy that compiles")
}

/// A service with `rules` routes by prefix and header; the last one takes what no other does.
#[must_use]
pub fn routes(rules: usize) -> Policy {
    let text = "namespace: shop
services:
  orders:
    endpoints: [10.0.0.1:80]
    routes:
      - { match: { path: { prefix: /api }, headers: { x-tenant: t } }, timeout: 1s }
      - { timeout: 2s }
";
    let mut policy = policy(text);
    let table = policy.routes.first_mut().expect("a table");
    let rest = table.rules.pop().expect("a rule for the rest");
    let first = table.rules.pop().expect("a rule with conditions");
    for number in 1..rules {
        let mut rule = first.clone();
        for conditions in &mut rule.matches {
            conditions.path = Some(StringMatch::Prefix(format!("/api/v{number}")));
            for (_, value) in &mut conditions.headers {
                *value = StringMatch::Exact(format!("t{number}"));
            }
        }
        table.rules.push(rule);
    }
    table.rules.push(rest);
    policy
}

/// A service with `endpoints` endpoints.
#[must_use]
pub fn endpoints(endpoints: usize) -> String {
    listed(endpoints, |text, _, address| writeln!(text, "      - {address}"))
}

/// The same with weights from 1 to 3.
#[must_use]
pub fn weighted_endpoints(endpoints: usize) -> String {
    listed(endpoints, |text, number, address| {
        let weight = number % 3 + 1;
        writeln!(text, "      - {{ address: \"{address}\", weight: {weight} }}")
    })
}

fn listed(endpoints: usize, line: impl Fn(&mut String, usize, &str) -> std::fmt::Result) -> String {
    let mut text = String::from("namespace: shop\nservices:\n  orders:\n    endpoints:\n");
    for number in 0..endpoints {
        let (high, middle, low) = (number / 65_536, number / 256 % 256, number % 256);
        let _ = line(&mut text, number, &format!("10.{high}.{middle}.{low}:80"));
    }
    text
}

/// A request that the rule of this number takes, as a client makes it.
#[must_use]
pub fn request(number: usize) -> Request<()> {
    let uri = format!("http://orders/api/v{number}/items?page=2");
    let request = Request::get(uri).header("x-tenant", format!("t{number}"));
    let request = request.header("user-agent", "bench").header("accept", "*/*");
    request.body(()).unwrap()
}

/// The same as it comes in by HTTP/1.
#[must_use]
pub fn received(number: usize) -> Request<()> {
    let request = Request::get(format!("/api/v{number}/items?page=2")).header("host", "orders");
    let request = request.header("x-tenant", format!("t{number}"));
    let request = request.header("user-agent", "bench").header("accept", "*/*");
    request.body(()).unwrap()
}

/// The cluster of a policy's first service.
#[must_use]
pub fn cluster(text: &str) -> Cluster<()> {
    let snapshot = snapshot(&policy(text));
    let target = snapshot.targets.first().unwrap().resolve(80);
    let cluster = Cluster::new(target.key, target.settings);
    let all = target.endpoints.iter().map(|endpoint| {
        let nowhere = || SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
        let address = endpoint.socket_address().unwrap_or_else(nowhere);
        (EndpointSpec::new(address, endpoint.weight), ())
    });
    cluster.set_endpoints(all.collect(), |_, ()| (), |_, ()| ());
    cluster
}

/// `rules` rules that each let one caller do one thing.
#[must_use]
pub fn authorization(rules: usize) -> Policy {
    allowing(rules, |number| format!("cluster.local/ns/shop/sa/s{number}"))
}

/// `rules` rules that each let the same caller, `s0`, do one thing.
#[must_use]
pub fn authorization_of_one(rules: usize) -> Policy {
    allowing(rules, |_| "cluster.local/ns/shop/sa/s0".to_owned())
}

fn allowing(rules: usize, caller: impl Fn(usize) -> String) -> Policy {
    let text = "namespace: shop
authorization:
  - name: api
    service: orders
    allow:
      - { from: [cluster.local/ns/shop/sa/s], methods: [GET], paths: [/api] }
";
    let mut policy = policy(text);
    let api = policy.authorizations.first_mut().expect("a policy");
    let first = api.rules.pop().expect("a rule");
    for number in 0..rules {
        let mut rule = first.clone();
        for source in &mut rule.from {
            source.principals.any_of = vec![Pattern::Exact(caller(number))];
        }
        for operation in &mut rule.to {
            operation.paths.any_of = vec![Pattern::Prefix(format!("/api/v{number}/"))];
        }
        api.rules.push(rule);
    }
    policy
}

/// Both: as many routes as rules of authorization.
#[must_use]
pub fn whole(rules: usize) -> Policy {
    let mut policy = routes(rules);
    policy.authorizations = authorization(rules).authorizations;
    policy
}
