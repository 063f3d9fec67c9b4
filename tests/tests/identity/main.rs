//! Identities from a Workload API, a development authority and files, and how they are seen: over real sockets.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking"
)]

mod authority;

use std::time::{Duration, SystemTime};

use axum::Router;
use axum::routing::get as route_get;
use mesh_core::identity::{SpiffeId, TrustDomain};
use mesh_core::random::SplitMix64;
use mesh_core::workload::Workload;
use mesh_tests::agent::{self, Agent, granted, response};
use mesh_tests::world::{get, plain_text_of, until};
use mesh_tests::{Answer, World};
use mesh_tls::authority::{DevCa, Issued};
use mesh_tls::clock::{Clock, ManualClock};
use mesh_tls::source::workload_api::WorkloadApi;
use mesh_tls::source::{FailureReason, IdentitySource, SourceError, StaticSource};
use mesh_tls::svid::Svid;
use mesh_tower::Mesh;
use mesh_tower::admin::AdminOptions;
use mesh_tower::client::Client;
use mesh_tower::mesh::MeshBuilder;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;
use tonic::Code;

const ORDERS: &str = "spiffe://cluster.local/ns/shop/sa/orders";
const HOUR: Duration = Duration::from_secs(3600);

fn domain(name: &str) -> TrustDomain {
    TrustDomain::parse(name).unwrap()
}

/// Follows an agent until the test ends.
async fn connected(api: WorkloadApi) -> Result<IdentitySource, SourceError> {
    let granted = api.connect(Clock::system(), SplitMix64::new(7)).await?;
    let source = granted.source();
    tokio::spawn(granted.watch());
    Ok(source)
}

/// How often the source failed for a reason.
fn failures(source: &IdentitySource, reason: FailureReason) -> u64 {
    let failures = source.status().failures;
    failures.iter().find(|(known, _)| *known == reason).unwrap().1
}

/// A policy, and the service `orders` behind mTLS.
struct Shop {
    world: World,
    orders: Mesh,
}

impl Shop {
    /// Starts `orders` with an identity of the caller's choice; `web` may call it.
    async fn open(world: World, identity: impl FnOnce(MeshBuilder) -> MeshBuilder) -> Self {
        world.write("mesh.yaml", "namespace: shop\nmesh: { mtls: strict }\n");
        let builder = Mesh::builder()
            .policy(world.policies())
            .workload(Workload::new("shop", "orders"))
            .poll(Duration::from_millis(20));
        let builder = identity(builder).admin(AdminOptions::default());
        let orders = builder.build().await.unwrap_or_else(|error| panic!("{error}"));
        let app = Router::new().route("/", route_get(|| async { "an order" }));
        let address = world.serve(&orders, app).await;
        let policy = format!(
            "namespace: shop\nmesh: {{ mtls: strict }}\nservices:\n  orders:\n    endpoints: [{{ address: \"{address}\", \
             service_account: orders }}]\n"
        );
        world.write("mesh.yaml", &policy);
        Self { world, orders }
    }

    async fn web(&self) -> Client {
        self.world.client("shop", "web").await.1
    }

    async fn page(&self, path: &str) -> String {
        let answer = plain_text_of("localhost", self.orders.admin_address().unwrap(), path).await;
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    async fn identity_page(&self) -> Value {
        serde_json::from_str(&self.page("/identity").await).unwrap()
    }

    fn status(&self) -> mesh_tls::source::IdentityStatus {
        self.orders.identity_status().unwrap()
    }
}

async fn order(client: &Client) -> Result<Answer, mesh_tower::client::Error> {
    get(client, "http://orders/").await
}

#[tokio::test]
async fn a_workload_api_gives_the_identity_and_renews_it_under_load() {
    let world = World::new();
    let agent = Agent::granting(vec![granted(world.ca(), ORDERS)]);
    let shop = Shop::open(world, |builder| builder.workload_api(agent.api())).await;
    let web = shop.web().await;
    let requests = tokio::spawn(async move {
        for _ in 0..400 {
            assert_eq!(order(&web).await.unwrap().text, "an order");
        }
    });

    for generation in 2..12 {
        agent.send(response(vec![granted(shop.world.ca(), ORDERS)]));
        until("the rotation", || shop.status().generation == generation).await;
    }

    requests.await.unwrap();
    assert_eq!(agent.calls(), 1, "one stream did it all");
    assert_eq!(shop.status().rotations, 10);
    let page = shop.identity_page().await;
    assert_eq!((&page["id"], &page["generation"]), (&ORDERS.into(), &11.into()));
    assert_eq!(page["source"]["kind"], "workload_api");
    assert!(page["source"]["name"].as_str().unwrap().contains(&agent.endpoint()));
}

#[tokio::test]
async fn of_several_identities_the_first_is_taken_or_the_one_with_the_hint() {
    let world = World::new();
    let internal = "spiffe://cluster.local/ns/shop/sa/internal";
    let mut second = granted(world.ca(), internal);
    second.hint = "internal".into();
    let agent = Agent::granting(vec![granted(world.ca(), ORDERS), second]);

    let first = connected(agent.api()).await.unwrap();
    let hinted = connected(agent.api().hint("internal")).await.unwrap();
    let unknown = agent.api().hint("external").patience(Duration::ZERO);
    let error = connected(unknown).await.unwrap_err();

    assert_eq!(first.current().svid().id().as_str(), ORDERS);
    assert_eq!(hinted.current().svid().id().as_str(), internal);
    assert_eq!(
        error.to_string(),
        "the Workload API grants no identity with the hint `external`, found ``, `internal`"
    );
}

#[tokio::test]
async fn the_identity_in_force_stays_when_others_are_granted_before_it() {
    let world = World::new();
    let agent = Agent::granting(vec![granted(world.ca(), ORDERS)]);
    let source = connected(agent.api()).await.unwrap();

    let other = granted(world.ca(), "spiffe://cluster.local/ns/shop/sa/other");
    agent.send(response(vec![other, granted(world.ca(), ORDERS)]));

    until("the rotation", || source.generation() == 2).await;
    assert_eq!(source.current().svid().id().as_str(), ORDERS);
    assert!(!source.status().failing);
}

#[tokio::test]
async fn federated_trust_domains_come_and_go_with_the_responses() {
    let world = World::new();
    let other = DevCa::new(domain("other"), SystemTime::now()).unwrap();
    let agent = Agent::granting(vec![granted(world.ca(), ORDERS)]);
    let source = connected(agent.api()).await.unwrap();
    let trusts = |source: &IdentitySource| {
        let id = SpiffeId::parse("spiffe://other/web").unwrap();
        let web = other.issue(&id, HOUR, SystemTime::now()).unwrap().svid().unwrap();
        web.check(source.current().bundles(), &Clock::system()).is_ok()
    };
    assert!(!trusts(&source));

    let mut federated = response(vec![granted(world.ca(), ORDERS)]);
    federated
        .federated_bundles
        .insert("spiffe://other".into(), agent::bundle(&other));
    agent.send(federated.clone());
    until("the federation", || source.generation() == 2).await;
    assert!(trusts(&source));

    federated.federated_bundles.insert("spiffe://third".into(), Vec::new());
    agent.send(federated.clone());
    until("an empty bundle", || source.generation() == 3).await;
    assert!(source.current().bundles().bundle(&domain("third")).unwrap().is_empty());

    agent.send(response(vec![granted(world.ca(), ORDERS)]));
    until("its end", || source.generation() == 4).await;
    assert!(!trusts(&source), "what is left out is taken back");
}

#[tokio::test]
async fn what_is_broken_of_other_trust_domains_does_not_keep_the_own_certificate_from_renewal() {
    let world = World::new();
    let other = DevCa::new(domain("other"), SystemTime::now()).unwrap();
    let federated = |id: &str, bundle: Vec<u8>| {
        let mut response = response(vec![granted(world.ca(), ORDERS)]);
        response.federated_bundles.insert(id.into(), bundle);
        response
    };
    let agent = Agent::granting(vec![granted(world.ca(), ORDERS)]);
    agent.send(federated("spiffe://other", agent::bundle(&other)));
    let source = connected(agent.api()).await.unwrap();

    for (response, generation, text, stays) in [
        (
            federated("spiffe://other", vec![1, 2, 3]),
            2,
            "the bundle of `other` is malformed",
            true,
        ),
        (
            federated("spiffe://cluster.local", agent::bundle(&other)),
            3,
            "two bundles for `cluster.local`",
            false,
        ),
    ] {
        agent.send(response);
        until(text, || source.generation() == generation && source.status().failing).await;
        let (_, failure) = source.status().last_failure.unwrap();
        assert!(failure.message.contains(text), "{failure}");
        assert_eq!(source.current().bundles().bundle(&domain("other")).is_some(), stays);
    }

    agent.send(federated("spiffe://other", agent::bundle(&other)));
    until("the good one", || source.generation() == 4).await;
    assert!(!source.status().failing);
}

#[tokio::test]
async fn revocation_lists_come_with_the_responses_and_count_for_their_own_trust_domain() {
    let world = World::new();
    let other = DevCa::new(domain("other"), SystemTime::now()).unwrap();
    let issue = |ca: &DevCa, id: &str| {
        let id = SpiffeId::parse(id).unwrap();
        ca.issue(&id, HOUR, SystemTime::now()).unwrap()
    };
    let gone = issue(world.ca(), "spiffe://cluster.local/ns/shop/sa/gone");
    let web = issue(world.ca(), "spiffe://cluster.local/ns/shop/sa/web");
    let foreign = issue(&other, "spiffe://other/web");
    let mut told = response(vec![granted(world.ca(), ORDERS)]);
    told.federated_bundles
        .insert("spiffe://other".into(), agent::bundle(&other));
    let list = world.ca().revocation_list(&[&gone], HOUR, SystemTime::now()).unwrap();
    told.crl.push(
        CertificateRevocationListDer::from_pem_slice(list.as_bytes())
            .unwrap()
            .to_vec(),
    );
    let agent = Agent::granting(vec![granted(world.ca(), ORDERS)]);
    let source = connected(agent.api()).await.unwrap();
    let is_revoked = |issued: &Issued| {
        let current = source.current();
        issued
            .svid()
            .unwrap()
            .check_revocation(current.bundles(), current.clock())
            .is_err()
    };
    assert!(!is_revoked(&gone));

    agent.send(told.clone());
    until("the list", || source.generation() == 2).await;

    assert!(is_revoked(&gone) && !is_revoked(&web));
    assert!(!is_revoked(&foreign), "no list of its authority is missed");
    told.crl.push(vec![1, 2, 3]);
    agent.send(told);
    until("the broken list", || source.status().failing).await;
    assert!(is_revoked(&gone));
}

#[tokio::test]
async fn responses_that_cannot_be_used_leave_the_last_good_identity_and_the_stream() {
    let world = World::new();
    let stranger = DevCa::new(domain("cluster.local"), SystemTime::now()).unwrap();
    let good = granted(world.ca(), ORDERS);
    let agent = Agent::granting(vec![good.clone()]);
    let source = connected(agent.api()).await.unwrap();

    let broken = |change: &dyn Fn(&mut agent::X509Svid)| {
        let mut svid = good.clone();
        change(&mut svid);
        response(vec![svid])
    };
    let own = agent::bundle(&stranger);
    for (response, reason, text) in [
        (
            broken(&|svid| svid.x509_svid.truncate(100)),
            FailureReason::Invalid,
            "a certificate is malformed",
        ),
        (
            broken(&|svid| svid.x509_svid.clear()),
            FailureReason::Invalid,
            "holds no certificate",
        ),
        (
            broken(&|svid| svid.x509_svid_key = vec![0; 8]),
            FailureReason::Invalid,
            "private key is unusable",
        ),
        (
            broken(&|svid| svid.bundle.clear()),
            FailureReason::Invalid,
            "its bundle is empty",
        ),
        (
            broken(&|svid| svid.bundle = own.clone()),
            FailureReason::Unsuitable,
            "would be refused by peers",
        ),
    ] {
        let before = failures(&source, reason);
        agent.send(response);
        until(text, || failures(&source, reason) > before).await;
        let (_, failure) = source.status().last_failure.unwrap();
        assert!(failure.message.contains(text), "{failure}");
        assert_eq!(source.generation(), 1);
    }

    agent.send(response(vec![granted(world.ca(), ORDERS)]));
    until("the rotation", || source.generation() == 2).await;
    assert!(!source.status().failing);
    assert_eq!(agent.calls(), 1, "the stream stayed open");
}

#[tokio::test]
async fn a_stream_that_ends_is_opened_again_and_nothing_is_lost_meanwhile() {
    let world = World::new();
    let mut agent = Agent::granting(vec![granted(world.ca(), ORDERS)]);
    let same = response(vec![granted(world.ca(), ORDERS)]);
    let shop = Shop::open(world, |builder| builder.workload_api(agent.api())).await;
    let web = shop.web().await;
    agent.send(same.clone());
    until("the rotation", || shop.status().generation == 2).await;

    agent.stop();
    until("the end of the stream", || shop.status().failing).await;
    assert_eq!(order(&web).await.unwrap().status, 200, "the last good identity serves");
    assert!(
        shop.identity_page().await["last_failure"]["message"]
            .as_str()
            .unwrap()
            .contains("ended the stream")
    );
    until("a try without an agent", || {
        failures_of(&shop, FailureReason::Unavailable) > 1
    })
    .await;
    agent.send(same);
    agent.start();

    until("the stream", || !shop.status().failing).await;
    assert_eq!(shop.status().generation, 2, "what is sent again is no rotation");
    agent.refuse(Code::Unavailable);
    until("the error", || shop.status().failing).await;
    assert!(!shop.status().withdrawn);
    assert_eq!(order(&web).await.unwrap().status, 200);
}

fn failures_of(shop: &Shop, reason: FailureReason) -> u64 {
    let failures = shop.status().failures;
    failures.iter().find(|(known, _)| *known == reason).unwrap().1
}

#[tokio::test]
async fn an_identity_that_is_denied_is_given_up_until_it_is_granted_again() {
    let world = World::new();
    let agent = Agent::granting(vec![granted(world.ca(), ORDERS)]);
    let shop = Shop::open(world, |builder| builder.workload_api(agent.api())).await;
    let web = shop.web().await;
    assert_eq!(order(&web).await.unwrap().status, 200);

    agent.refuse(Code::PermissionDenied);
    until("the withdrawal", || shop.status().withdrawn).await;

    let refused = async |what: &str| {
        for _ in 0..200 {
            if order(&web).await.is_err() {
                return;
            }
        }
        panic!("{what}: requests go on");
    };
    refused("denied").await;
    assert!(
        order(&shop.web().await).await.is_err(),
        "nor is a new connection accepted"
    );
    assert_eq!(shop.identity_page().await["withdrawn"], true);
    assert!(shop.page("/metrics").await.contains("mesh_identity_withdrawn 1"));

    agent.send(response(vec![granted(shop.world.ca(), ORDERS)]));
    until("the grant", || !shop.status().withdrawn).await;
    assert_eq!(order(&shop.web().await).await.unwrap().status, 200);

    let other = granted(shop.world.ca(), "spiffe://cluster.local/ns/shop/sa/other");
    agent.send(response(vec![other]));
    until("the omission", || shop.status().withdrawn).await;
    let (_, failure) = shop.status().last_failure.unwrap();
    assert_eq!(
        &*failure.message,
        format!("the Workload API no longer grants `{ORDERS}`")
    );
}

#[tokio::test]
async fn a_start_waits_for_the_agent_and_for_the_grant() {
    let world = World::new();
    let mut agent = Agent::absent();
    let starting = tokio::spawn(connected(agent.api()));
    agent.refuse(Code::PermissionDenied);
    agent.start();
    until("a call", || agent.calls() > 0).await;
    agent.send(response(vec![granted(world.ca(), ORDERS)]));

    let source = starting.await.unwrap().unwrap();

    assert_eq!((source.generation(), source.status().failing), (1, false));
}

#[tokio::test]
async fn without_an_agent_or_a_grant_there_is_no_start() {
    let agent = Agent::absent();
    let error = connected(agent.api().patience(Duration::ZERO)).await.unwrap_err();
    assert!(error.to_string().contains("No such file"), "{error}");

    let denying = Agent::granting(Vec::new());
    let error = connected(denying.api().patience(Duration::ZERO)).await.unwrap_err();
    assert!(error.to_string().contains("it has no identity"), "{error}");
    denying.refuse(Code::PermissionDenied);
    let error = connected(denying.api().patience(Duration::ZERO)).await.unwrap_err();
    assert_eq!(error.to_string(), "PermissionDenied: no identity issued");

    let error = WorkloadApi::at("http://agent").unwrap_err();
    assert!(error.to_string().contains("`http://agent` is no endpoint"), "{error}");
}

fn issued(ca: &DevCa, id: &str, ttl: Duration) -> Svid {
    let id = SpiffeId::parse(id).unwrap();
    ca.issue(&id, ttl, SystemTime::now()).unwrap().svid().unwrap()
}

#[tokio::test]
async fn a_workload_of_another_trust_domain_is_a_caller_like_any_other_while_it_is_trusted() {
    let world = World::new();
    let other = DevCa::new(domain("other"), SystemTime::now()).unwrap();
    let directory = world.folder("identity");
    let orders = SpiffeId::parse(ORDERS).unwrap();
    world
        .ca()
        .write_workload(&directory, &orders, HOUR, SystemTime::now())
        .unwrap();
    std::fs::create_dir(directory.join("bundles")).unwrap();
    std::fs::write(directory.join("bundles/other.pem"), other.certificate_pem()).unwrap();
    let shop = Shop::open(world, |builder| builder.identity_directory(&directory)).await;
    let both = shop
        .world
        .ca()
        .bundles()
        .unwrap()
        .with(domain("other"), other.bundle().unwrap());
    let web = StaticSource::new(
        issued(&other, "spiffe://other/ns/shop/sa/web", HOUR),
        both,
        Clock::system(),
    )
    .unwrap();
    let builder = Mesh::builder()
        .policy(shop.world.policies())
        .identity(web.source())
        .without_admin();
    let web = builder.workload(Workload::new("shop", "web")).build().await.unwrap();

    assert_eq!(order(&web.client()).await.unwrap().text, "an order");
    assert_eq!(shop.identity_page().await["trust"]["other"]["authorities"], 1);

    std::fs::remove_file(directory.join("bundles/other.pem")).unwrap();
    until("the end of the federation", || shop.status().trusted.len() == 1).await;
    until("the end of its connections", || {
        let open = web.metrics().render();
        open.lines().any(|line| line == r#"mesh_connections{side="client"} 0"#)
    })
    .await;
    assert!(order(&web.client()).await.is_err());
}

#[tokio::test]
async fn an_identity_that_expired_shakes_no_hands_and_leaves_open_connections_alone() {
    let world = World::new();
    let time = ManualClock::at(SystemTime::now());
    let bundles = || world.ca().bundles().unwrap();
    let orders = StaticSource::new(issued(world.ca(), ORDERS, HOUR), bundles(), time.clock()).unwrap();
    let long = issued(world.ca(), "spiffe://cluster.local/ns/shop/sa/web", HOUR * 24);
    let web = StaticSource::new(long, bundles(), Clock::system()).unwrap();
    let shop = Shop::open(world, |builder| builder.identity(orders.source())).await;
    let caller = || {
        let builder = Mesh::builder()
            .policy(shop.world.policies())
            .identity(web.source())
            .without_admin();
        builder.workload(Workload::new("shop", "web")).build()
    };
    let known = caller().await.unwrap().client();
    assert_eq!(order(&known).await.unwrap().status, 200);

    time.advance(HOUR * 2);

    assert_eq!(order(&known).await.unwrap().status, 200, "its connection is open");
    let error = order(&caller().await.unwrap().client()).await;
    assert!(error.is_err(), "{error:?}");
    let metrics = shop.page("/metrics").await;
    assert!(
        metrics.contains("mesh_identity_phase{phase=\"expired\"} 1"),
        "{metrics}"
    );
    assert!(metrics.contains("mesh_identity_expires_in_seconds -3"), "{metrics}");
    assert_eq!(shop.identity_page().await["phase"], "expired");
}

/// Runs itself anew, since a process's own environment is not to be changed.
#[tokio::test]
async fn the_environment_names_the_workload_api() {
    const NAME: &str = "the_environment_names_the_workload_api";
    const VARIABLE: &str = "SPIFFE_ENDPOINT_SOCKET";
    if std::env::var_os(VARIABLE).is_some() {
        let source = connected(WorkloadApi::from_env().unwrap()).await.unwrap();
        assert_eq!(source.current().svid().id().as_str(), ORDERS);
        return;
    }
    assert!(WorkloadApi::from_env().unwrap_err().to_string().contains(VARIABLE));
    let agent = Agent::granting(vec![granted(World::new().ca(), ORDERS)]);
    let mut itself = tokio::process::Command::new(std::env::current_exe().unwrap());
    let run = itself.args(["--exact", NAME]).env(VARIABLE, agent.endpoint()).output();

    let output = run.await.unwrap();

    assert!(output.status.success(), "{output:?}");
    assert_eq!(agent.calls(), 1);
}
