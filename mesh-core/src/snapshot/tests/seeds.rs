//! What is said of requests under the seed policies, read in place where they are.

#![expect(
    clippy::disallowed_methods,
    reason = "the files are named at run time, by the environment"
)]

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use http::Method;

use super::*;
use crate::explain::Caller;
use crate::identity::SpiffeId;
use crate::policy::model::identity::MtlsMode;

/// The seeds of these numbers as one policy; `None`, and a word about it, where they are missing.
fn seeds(numbers: &[&str], workload: &Workload) -> Option<Snapshot> {
    let given = std::env::var_os("MESH_SEEDS").map(PathBuf::from);
    let defaults = ["../", "../../"].map(|up| PathBuf::from(format!("{up}shared/seeds-yaml")));
    let root = given.or_else(|| defaults.into_iter().find(|path| path.is_dir()));
    let root = root.filter(|path| path.is_dir());
    let Some(root) = root else {
        println!("skipped: no seeds, name their place in MESH_SEEDS");
        return None;
    };
    let files = std::fs::read_dir(root).unwrap().map(|file| file.unwrap().path());
    let files: Vec<_> = files.collect();
    let text = |number: &&str| {
        let is = |path: &&PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(*number);
        std::fs::read_to_string(files.iter().find(is).unwrap()).unwrap()
    };
    let texts: Vec<_> = numbers.iter().map(text).collect();
    Some(compile(&texts.join("\n---\n"), workload))
}

fn client(numbers: &[&str]) -> Option<Snapshot> {
    seeds(numbers, &Workload::new("default", "caller"))
}

/// `service/subset share` of each destination, the service without its domain.
fn shares(snapshot: &Snapshot, uri: &str, headers: &[(&str, &str)]) -> String {
    let answer = explained(snapshot, uri, headers);
    let share = |to: &explain::Destination| {
        let name = to.service.split('.').next().unwrap();
        let subset = to
            .subset
            .as_deref()
            .map(|subset| format!("/{subset}"))
            .unwrap_or_default();
        format!("{name}{subset} {}", to.share)
    };
    answer.destinations.iter().map(share).collect::<Vec<_>>().join(", ")
}

/// The answer to a request to port 8080 of the workload, by a caller `namespace/account` or in plain text.
fn received(snapshot: &Snapshot, method: &Method, path: &str, caller: Option<&str>) -> explain::Inbound {
    let request = Request::builder().method(method).uri(format!("http://workload{path}"));
    let request = request.body(()).unwrap();
    let canonical = canonicalize(&request, Options::outbound()).unwrap();
    let id = caller.map(|caller| {
        let (namespace, account) = caller.split_once('/').unwrap();
        SpiffeId::parse(&format!("spiffe://cluster.local/ns/{namespace}/sa/{account}")).unwrap()
    });
    let caller = id.as_ref().map_or(Caller::Plaintext, Caller::Mtls);
    explain::inbound(
        snapshot,
        &canonical.view(),
        caller,
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        8080,
    )
}

/// Each case is a method, a path, a caller (`-` in plain text) and the decision.
#[track_caller]
fn assert_received(snapshot: &Snapshot, cases: &[(Method, &str, &str, &str)]) {
    for (method, path, caller, decision) in cases {
        let caller = (*caller != "-").then_some(*caller);
        let answer = received(snapshot, method, path, caller);
        assert_eq!(
            answer.decision, *decision,
            "{method} {path} {caller:?}: {}",
            answer.reason
        );
        assert_eq!(answer.status, if *decision == "allow" { 200 } else { 403 });
    }
}

#[test]
fn canaries_get_marked_requests_and_their_share_of_the_others() {
    let Some(products) = client(&["01"]) else { return };
    let uri = "http://product-service/";
    assert_eq!(
        shares(&products, uri, &[]),
        "product-service/stable 0.95, product-service/canary 0.05"
    );
    assert_eq!(
        shares(&products, uri, &[("X-Canary", "true")]),
        "product-service/canary 1"
    );
    assert!(shares(&products, uri, &[("x-canary", "TRUE")]).contains("stable"));
    let settings = target(&products, uri).settings;
    assert_eq!(settings.limits.connections, Some(100));
    assert_eq!(settings.outliers.as_ref().unwrap().consecutive_5xx, 3);

    let Some(myapp) = client(&["05"]) else { return };
    assert_eq!(shares(&myapp, "http://myapp/", &[]), "myapp/v1 0.9, myapp/v2 0.1");
    assert_eq!(
        shares(&myapp, "http://myapp/", &[("user-type", "beta-tester")]),
        "myapp/v2 1"
    );
}

#[test]
fn reviews_go_by_the_first_rule_that_matches_the_user() {
    let Some(snapshot) = client(&["09"]) else { return };
    let of = |headers: &[(&str, &str)]| shares(&snapshot, "http://reviews/", headers);
    let (premium, beta) = (("user-tier", "premium"), ("user-group", "beta"));
    assert_eq!(of(&[premium]), "reviews/v3 1");
    assert_eq!(of(&[beta]), "reviews/v2 1");
    assert_eq!(of(&[beta, premium]), "reviews/v3 1");
    assert_eq!(of(&[("user-tier", "basic")]), "reviews/v1 1");
}

#[test]
fn limits_and_ejections_are_those_of_the_destination_rules() {
    let Some(snapshot) = client(&["02", "06", "12"]) else {
        return;
    };
    let of = |name: &str| target(&snapshot, &format!("http://{name}/")).settings;
    let limits = |name: &str| {
        let limits = of(name).limits.clone();
        [
            limits.connections,
            limits.pending,
            limits.requests,
            limits.requests_per_connection,
        ]
    };
    assert_eq!(limits("payment-service"), [Some(50), Some(25), Some(100), Some(10)]);
    assert_eq!(limits("service-b"), [Some(100), Some(50), Some(100), Some(2)]);
    assert_eq!(limits("tuned"), [Some(1000), None, Some(1000), None]);
    assert_eq!(of("payment-service").outliers.as_ref().unwrap().max_ejected_percent, 50);
    assert_eq!(of("tuned").outliers, None);
}

#[test]
fn a_route_has_its_timeout_and_its_retries() {
    let Some(snapshot) = client(&["13"]) else { return };
    let answer = explained(&snapshot, "http://api-service/", &[]);
    assert_eq!(answer.timeout_ms, Some(10_000));
    let retry = answer.retry.unwrap();
    assert_eq!((retry.attempts, retry.per_try_timeout_ms), (3, Some(3_000)));
    assert_eq!(retry.on, ["5xx", "reset", "connect-failure"]);
    assert_eq!(
        shares(&snapshot, "http://api-service/", &[]),
        "api-service/stable 0.9, api-service/canary 0.1"
    );
}

#[test]
fn a_split_and_a_profile_hold_for_the_same_service() {
    let Some(snapshot) = client(&["15", "16"]) else { return };
    let uri = |path: &str| format!("http://api-service{path}");
    assert_eq!(
        shares(&snapshot, &uri("/"), &[]),
        "api-service-stable 0.9, api-service-canary 0.1"
    );
    assert_eq!(explained(&snapshot, &uri("/api/users"), &[]).timeout_ms, Some(5_000));

    let Some(alone) = client(&["16"]) else { return };
    let users = explained(&alone, &uri("/api/users"), &[]);
    assert_eq!(
        (users.route.as_deref(), users.timeout_ms),
        (Some("GET /api/users"), Some(5_000))
    );
    assert_eq!(users.retry.unwrap().on, ["5xx"]);
    let longer = explained(&alone, &uri("/api/users/1"), &[]);
    assert_eq!((longer.route.as_deref(), longer.timeout_ms), (Some("default"), None));
    let request = Request::post(uri("/api/orders")).body(()).unwrap();
    let canonical = canonicalize(&request, Options::outbound()).unwrap();
    let order = explain::outbound(&alone, &canonical.view());
    assert_eq!((order.timeout_ms, order.retry), (Some(30_000), None));
}

#[test]
fn a_gateway_routes_by_path_and_is_nothing_to_clients() {
    let door = Workload::new("default", "door").label("istio", "ingressgateway");
    let Some(snapshot) = seeds(&["17"], &door) else { return };
    let uri = |path: &str| format!("https://api.example.com{path}");
    for (path, service) in [("/v1/x", "api-v1 1"), ("/v2", "api-v2 1")] {
        assert_eq!(shares(&snapshot, &uri(path), &[]), service);
    }
    let answer = explained(&snapshot, &uri("/v1"), &[]);
    assert_eq!(
        (answer.gateway.as_deref(), answer.destinations[0].port),
        (Some("main-gateway"), 8080)
    );
    assert_eq!(explained(&snapshot, &uri("/v3"), &[]).outcome, "no_route");
    assert_eq!(
        explained(&snapshot, "https://www.example.com/v1", &[]).outcome,
        "passthrough"
    );
    let tls = &snapshot.gateways[0].ports[0].tls[0];
    assert_eq!(
        (&*tls.tls.credential_name, &*tls.hosts[0]),
        ("example-tls-secret", "*.example.com")
    );

    let Some(inside) = client(&["17"]) else { return };
    assert_eq!(explained(&inside, &uri("/v1"), &[]).outcome, "passthrough");
}

#[test]
fn orders_take_their_retries_from_the_service_and_their_versions_from_the_route() {
    let caller = Workload::new("production", "caller");
    let uri = "http://orders-api/";
    let Some(canary) = seeds(&["19", "20"], &caller) else {
        return;
    };
    assert_eq!(shares(&canary, uri, &[]), "orders-api/v1 0.9, orders-api/v2 0.1");
    let retry = explained(&canary, uri, &[]).retry.unwrap();
    assert_eq!((retry.attempts, retry.per_try_timeout_ms), (3, Some(5_000)));
    assert_eq!(target(&canary, uri).settings.limits.pending, Some(100));

    let Some(by_header) = seeds(&["19", "21"], &caller) else {
        return;
    };
    assert_eq!(shares(&by_header, uri, &[]), "orders-api/v1 1");
    assert_eq!(shares(&by_header, uri, &[("x-version", "canary")]), "orders-api/v2 1");
}

#[test]
fn payments_take_two_callers_over_mtls_and_two_paths() {
    let payments = Workload::new("production", "payment").label("app", "payment-service");
    let Some(snapshot) = seeds(&["03"], &payments) else {
        return;
    };
    assert_eq!(snapshot.inbound.mtls(8080).0, MtlsMode::Strict);
    assert_received(
        &snapshot,
        &[
            (Method::POST, "/api/v1/charge", "production/order-service", "allow"),
            (Method::POST, "/api/v1/refund", "production/billing-service", "allow"),
            (Method::POST, "/api//v1/charge", "production/order-service", "deny"),
            (Method::GET, "/api/v1/charge", "production/order-service", "deny"),
            (Method::POST, "/api/v1/charge/all", "production/order-service", "deny"),
            (Method::POST, "/api/v1/charge", "production/web", "deny"),
            (Method::POST, "/api/v1/charge", "staging/order-service", "deny"),
            (Method::POST, "/api/v1/charge", "-", "deny"),
        ],
    );
    let allowed = received(
        &snapshot,
        &Method::POST,
        "/api/v1/charge",
        Some("production/order-service"),
    );
    assert_eq!(
        (allowed.policy.as_deref(), allowed.rule),
        (Some("payment-service"), Some(0))
    );
    let other = Workload::new("production", "other").label("app", "other");
    let other = seeds(&["03"], &other).unwrap();
    assert_received(&other, &[(Method::GET, "/", "production/web", "allow")]);
}

#[test]
fn modes_hold_for_their_namespace() {
    for (number, namespace, here, elsewhere) in [
        ("04", "production", MtlsMode::Strict, MtlsMode::Permissive),
        ("11", "staging", MtlsMode::Permissive, MtlsMode::Permissive),
        ("10", "default", MtlsMode::Strict, MtlsMode::Strict),
        ("14", "default", MtlsMode::Strict, MtlsMode::Permissive),
        ("18", "production", MtlsMode::Strict, MtlsMode::Permissive),
    ] {
        let mode = |namespace| Some(seeds(&[number], &Workload::new(namespace, "x"))?.inbound.mtls(8080).0);
        let (Some(found), Some(other)) = (mode(namespace), mode("another")) else {
            return;
        };
        assert_eq!((found, other), (here, elsewhere), "{number}");
    }
}

#[test]
fn strict_servers_refuse_plain_text_and_are_called_over_mtls() {
    let Some(snapshot) = client(&["02", "03"]) else { return };
    let called = target(&snapshot, "http://payment-service/");
    assert_eq!(called.endpoints[0].tls, EndpointTls::Mutual([].into()));
    let refused = received(&snapshot, &Method::GET, "/", None);
    assert_eq!(
        (refused.decision, refused.status, refused.mtls),
        ("deny", 403, MtlsMode::Strict)
    );
    assert!(refused.origin.is_some());
}

#[test]
fn a_database_is_read_by_one_caller() {
    let database = Workload::new("production", "db").label("app", "database");
    let Some(snapshot) = seeds(&["07"], &database) else {
        return;
    };
    assert_received(
        &snapshot,
        &[
            (Method::GET, "/rows", "production/read-api", "allow"),
            (Method::POST, "/rows", "production/read-api", "deny"),
            (Method::GET, "/rows", "production/write-api", "deny"),
            (Method::GET, "/rows", "-", "deny"),
        ],
    );
}

#[test]
fn tenants_see_their_own_paths() {
    let Some(snapshot) = client(&["08"]) else { return };
    assert_received(
        &snapshot,
        &[
            (Method::GET, "/api/tenant-a/x", "tenant-a/any", "allow"),
            (Method::GET, "/api/tenant-b/x", "tenant-b/any", "allow"),
            (Method::GET, "/api/tenant-b/x", "tenant-a/any", "deny"),
            (Method::GET, "/api/tenant-a/../tenant-b/x", "tenant-a/any", "deny"),
            (Method::GET, "/api/tenant-a/x", "tenant-ab/any", "deny"),
            (Method::GET, "/api/tenant-a/x", "-", "deny"),
        ],
    );
}

#[test]
fn the_api_takes_its_callers() {
    let api = |app: &str| Workload::new("default", "api").label("app", app);
    let Some(zero_trust) = seeds(&["10"], &api("api")) else {
        return;
    };
    assert_received(
        &zero_trust,
        &[
            (Method::DELETE, "/", "default/frontend", "allow"),
            (Method::GET, "/", "default/other", "deny"),
            (Method::GET, "/", "-", "deny"),
        ],
    );
    assert_received(
        &seeds(&["14"], &api("api-service")).unwrap(),
        &[
            (Method::GET, "/api/x", "default/frontend", "allow"),
            (Method::PUT, "/api/x", "default/frontend", "deny"),
            (Method::GET, "/apix", "default/frontend", "deny"),
            (Method::POST, "/api/internal/x", "default/worker", "allow"),
            (Method::POST, "/api/x", "default/worker", "deny"),
            (Method::GET, "/api/internal/x", "default/worker", "deny"),
        ],
    );
    let orders = Workload::new("production", "orders").label("app", "orders-api");
    assert_received(
        &seeds(&["18"], &orders).unwrap(),
        &[
            (Method::GET, "/api/orders", "production/api-service", "allow"),
            (Method::POST, "/api/orders/1", "production/api-service", "allow"),
            (Method::DELETE, "/api/orders/1", "production/api-service", "deny"),
            (Method::GET, "/api/order", "production/api-service", "deny"),
            (Method::GET, "/api/orders", "production/other", "deny"),
        ],
    );
}

#[test]
fn the_mesh_writes_its_access_log_as_json() {
    let Some(snapshot) = client(&["22"]) else { return };
    let log = snapshot.mesh.access_log.unwrap();
    assert_eq!(log.path, "/dev/stdout");
    assert_eq!(log.encoding, crate::policy::model::AccessLogEncoding::Json);
}
