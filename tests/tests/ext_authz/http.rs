//! Authorizers over HTTP.

use http::{HeaderMap, Request};
use mesh_core::workload::Workload;
use mesh_tests::world::{generation, plain_text_of, until};
use mesh_tests::{Backend, World};

use tokio::net::TcpListener;

use super::scene::{CUSTOM, Scene, http_provider};

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn only_what_the_rule_matches_is_asked_about() {
    let authz = Backend::start("authz").await;
    let scene = Scene::new(authz.address, &http_provider("pathPrefix: /check"), &[CUSTOM]).await;

    assert_eq!(scene.get("/free").await.status, 200);
    assert_eq!(authz.hits(), 0);

    assert_eq!(scene.get("/%61dmin/users?page=2").await.status, 200);
    assert_eq!(authz.last_target(), "/check/admin/users?page=2");
    assert_eq!(scene.orders.last_target(), "/admin/users?page=2");
    assert_eq!((authz.hits(), scene.orders.hits(), scene.checks("allowed")), (1, 2, 1));
    let metrics = scene.mesh.metrics().render();
    for line in [
        "mesh_ext_authz_duration_seconds_count{provider=\"authz\"} 1",
        "mesh_ext_authz_duration_seconds_bucket{provider=\"authz\",le=\"60\"} 1",
    ] {
        assert!(metrics.lines().any(|one| one == line), "{line}\n{metrics}");
    }
}

#[tokio::test]
async fn the_check_has_the_headers_that_the_policy_names() {
    let authz = Backend::start("authz").await;
    let provider = http_provider(
        "includeRequestHeadersInCheck: [x-user, x-t*, '*-id'], includeAdditionalHeadersInCheck: { x-from: mesh, x-user: nobody }",
    );
    let scene = Scene::new(authz.address, &provider, &[CUSTOM]).await;

    let request = Request::post("http://orders/admin")
        .header("authorization", "Bearer a")
        .header("x-user", "me")
        .header("x-team", "red")
        .header("x-team", "blue")
        .header("x-session-id", "7")
        .header("x-secret", "s")
        .header("x-forwarded-client-cert", "URI=spiffe://cluster.local/ns/shop/sa/admin");
    assert_eq!(scene.send(request).await.status, 200);

    let (headers, body) = authz.last();
    assert_eq!(text(&headers, "host"), Some("orders"));
    assert_eq!(text(&headers, "authorization"), Some("Bearer a"));
    assert_eq!(
        (text(&headers, "x-user"), text(&headers, "x-from")),
        (Some("nobody"), Some("mesh"))
    );
    let teams: Vec<_> = headers.get_all("x-team").iter().collect();
    assert_eq!(teams, ["red", "blue"]);
    assert_eq!(text(&headers, "x-session-id"), Some("7"));
    assert_eq!(
        (text(&headers, "x-secret"), text(&headers, "x-forwarded-client-cert")),
        (None, None)
    );
    assert!(body.is_empty());
}

#[tokio::test]
async fn an_answer_that_allows_changes_headers_as_the_policy_says() {
    let authz = Backend::start("authz").await;
    for (name, value) in [
        ("x-user", "alice"),
        ("x-internal", "secret"),
        ("x-forwarded-client-cert", "URI=spiffe://cluster.local/ns/shop/sa/admin"),
        ("x-mesh-peer", "admin"),
        ("x-rate", "9"),
        ("x-envoy-auth-headers-to-remove", "x-token, cookie"),
    ] {
        authz.say(name, value);
    }
    let provider = http_provider(
        "headersToUpstreamOnAllow: [x-user, x-forwarded-client-cert, 'x-mesh*'], headersToDownstreamOnAllow: [x-rate]",
    );
    let scene = Scene::new(authz.address, &provider, &[CUSTOM]).await;

    let request = Request::get("http://orders/admin")
        .header("x-user", "forged")
        .header("x-token", "t")
        .header("cookie", "a=b");
    let answer = scene.send(request).await;

    assert_eq!((answer.status, answer.text.as_str()), (200, "orders"));
    assert_eq!(text(&answer.headers, "x-rate"), Some("9"));
    let (headers, _) = scene.orders.last();
    assert_eq!(text(&headers, "x-user"), Some("alice"));
    for name in [
        "x-internal",
        "x-forwarded-client-cert",
        "x-mesh-peer",
        "x-token",
        "cookie",
    ] {
        assert_eq!(text(&headers, name), None, "{name}");
    }
}

#[tokio::test]
async fn a_denial_is_the_authorizers_own() {
    let authz = Backend::start("not you").await;
    authz.answer_with(401);
    authz.say("www-authenticate", "Bearer");
    authz.say("x-reason", "none");
    let scene = Scene::new(authz.address, &http_provider(""), &[CUSTOM]).await;

    let answer = scene.get("/admin").await;

    assert_eq!((answer.status, answer.text.as_str()), (401, "not you"));
    assert_eq!(text(&answer.headers, "www-authenticate"), Some("Bearer"));
    assert_eq!(text(&answer.headers, "x-reason"), Some("none"));
    assert_eq!((scene.orders.hits(), scene.checks("denied")), (0, 1));
    let line = scene.logged(1).await.remove(0);
    assert_eq!(line["response_code"], 401);
    assert_eq!(
        (&line["response_flags"], &line["response_code_details"]),
        (&"UAEX".into(), &"ext_authz_denied".into())
    );
    assert_eq!(
        (&line["authorizer"], &line["authorizer_result"]),
        (&"authz".into(), &"denied".into())
    );
    assert!(
        line["policy_origin"].as_str().unwrap().contains("rules.yaml:"),
        "{line}"
    );
}

#[tokio::test]
async fn a_denial_shows_the_headers_that_the_policy_names() {
    let authz = Backend::start("elsewhere").await;
    authz.answer_with(302);
    authz.say("location", "https://id.example.com");
    authz.say("x-reason", "none");
    authz.say("x-internal", "secret");
    let scene = Scene::new(
        authz.address,
        &http_provider("headersToDownstreamOnDeny: [x-r*]"),
        &[CUSTOM],
    )
    .await;

    let answer = scene.get("/admin").await;

    assert_eq!(answer.status, 302);
    assert_eq!(text(&answer.headers, "location"), Some("https://id.example.com"));
    assert_eq!(text(&answer.headers, "x-reason"), Some("none"));
    assert_eq!(text(&answer.headers, "x-internal"), None);
}

#[tokio::test]
async fn the_other_rules_decide_on_what_the_authorizer_leaves() {
    const DENY: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: guests, namespace: shop }
spec:
  action: DENY
  rules: [{ to: [{ operation: { paths: [/admin*] } }], when: [{ key: 'request.headers[x-role]', values: [guest] }] }]
";
    let authz = Backend::start("authz").await;
    authz.say("x-role", "guest");
    let scene = Scene::new(
        authz.address,
        &http_provider("headersToUpstreamOnAllow: [x-role]"),
        &[CUSTOM, DENY],
    )
    .await;

    let forged = Request::get("http://orders/admin").header("x-role", "admin");
    assert_eq!(scene.send(forged).await.status, 403);
    assert_eq!((scene.checks("allowed"), scene.orders.hits()), (1, 0));
    let line = scene.logged(1).await.remove(0);
    assert_eq!(line["response_code_details"], "rbac_access_denied");
    assert_eq!(line["authorizer_result"], "allowed");
}

#[tokio::test]
async fn the_body_is_sent_as_far_as_the_policy_says_and_reaches_the_application_whole() {
    let authz = Backend::start("authz").await;
    let part = "includeRequestBodyInCheck: { maxRequestBytes: 4, allowPartialMessage: true }";
    let scene = Scene::new(authz.address, &http_provider(part), &[CUSTOM]).await;

    for (body, seen, is_partial) in [
        ("abcdefgh", "abcd", "true"),
        ("abcd", "abcd", "false"),
        ("", "", "false"),
    ] {
        assert_eq!(scene.post("/admin", body).await.status, 200);
        let (headers, checked) = authz.last();
        assert_eq!(checked, seen.as_bytes());
        assert_eq!(text(&headers, "x-envoy-auth-partial-body"), Some(is_partial));
        assert_eq!(scene.orders.last().1, body.as_bytes());
    }
}

#[tokio::test]
async fn a_body_that_must_be_checked_whole_and_is_too_large_is_refused() {
    let authz = Backend::start("authz").await;
    let whole = "includeRequestBodyInCheck: { maxRequestBytes: 4 }";
    let scene = Scene::new(authz.address, &http_provider(whole), &[CUSTOM]).await;

    assert_eq!(scene.post("/admin", "abcde").await.status, 413);
    assert_eq!((authz.hits(), scene.orders.hits()), (0, 0));
    assert_eq!(scene.post("/admin", "abcd").await.status, 200);
    assert_eq!(scene.post("/free", "abcde").await.status, 200);
}

#[tokio::test]
async fn a_grpc_call_is_denied_in_its_own_words() {
    let authz = Backend::start("not you").await;
    authz.answer_with(403);
    let scene = Scene::new(authz.address, &http_provider(""), &[CUSTOM]).await;

    let call = Request::post("http://orders/admin.Users/List").header("content-type", "application/grpc");
    let answer = scene.send(call).await;

    assert_eq!(answer.status, 200);
    assert_eq!(text(&answer.headers, "grpc-status"), Some("7"));
    assert_eq!(text(&answer.headers, "grpc-message"), Some("not you"));
    assert_eq!(scene.orders.hits(), 0);
}

#[tokio::test]
async fn a_reload_changes_who_is_asked() {
    let (first, second) = (Backend::start("first").await, Backend::start("second").await);
    second.answer_with(403);
    let scene = Scene::new(first.address, &http_provider(""), &[CUSTOM]).await;
    assert_eq!(scene.get("/admin").await.status, 200);

    let services = format!(
        "namespace: shop\nservices:\n  authz: {{ endpoints: [\"{}\"] }}\n",
        second.address
    );
    scene.world.write("authz.yaml", &services);
    generation(&scene.mesh, 2).await;
    assert_eq!(scene.get("/admin").await.status, 403);
    assert_eq!((first.hits(), second.hits()), (1, 1));

    scene.world.write("rules.yaml", "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: { name: none, namespace: shop }\nspec: { rules: [{}] }\n");
    generation(&scene.mesh, 3).await;
    assert_eq!(scene.get("/admin").await.status, 200);
    assert_eq!((first.hits(), second.hits()), (1, 1));
}

/// The authorizer is a workload of the mesh, and knows by mTLS who asks.
#[tokio::test]
async fn an_authorizer_of_the_mesh_is_asked_over_mtls() {
    let (world, authz) = (World::new(), Backend::start("authz").await);
    world.write("authz.yaml", "namespace: shop\nmesh: { mtls: strict }\n");
    let guard = world.mesh(&Workload::new("shop", "authz")).await;
    let address = world.serve(&guard, authz.router()).await;
    let services = format!(
        "namespace: shop\nservices:\n  authz: {{ endpoints: [{{ address: \"{address}\", service_account: authz }}] }}\n\
         mtls: [{{ name: all, mode: strict }}]\n\
         authorization: [{{ name: asked, selector: {{ app: authz }}, allow: [{{ from: [cluster.local/ns/shop/sa/orders] }}] }}]\n"
    );
    let scene = Scene::in_world(world, &services, &http_provider(""), &[CUSTOM]).await;

    assert_eq!(scene.get("/admin").await.status, 200);
    assert_eq!((authz.hits(), scene.checks("allowed")), (1, 1));
}

/// Each check waits at the authorizer, and none for another.
#[tokio::test]
async fn many_requests_are_asked_about_beside_each_other() {
    let authz = Backend::start("authz").await;
    let held = CUSTOM.replace("/admin*", "/hold*");
    let scene = Scene::new(authz.address, &http_provider("timeout: 60s"), &[&held]).await;

    let requests = (0..32).map(|_| {
        let client = scene.client.clone();
        tokio::spawn(async move {
            mesh_tests::world::get(&client, "http://orders/hold")
                .await
                .unwrap()
                .status
        })
    });
    let requests: Vec<_> = requests.collect();
    until("all are asked about", || authz.held() == 32).await;
    assert_eq!(scene.orders.hits(), 0);
    authz.release(32);
    scene.orders.release(32);
    for request in requests {
        assert_eq!(request.await.unwrap(), 200);
    }
    assert_eq!(
        (authz.hits(), scene.orders.hits(), scene.checks("allowed")),
        (32, 32, 32)
    );
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_its_check_along() {
    let authz = Backend::start("authz").await;
    let held = CUSTOM.replace("/admin*", "/hold*");
    let scene = Scene::new(authz.address, &http_provider("timeout: 60s"), &[&held]).await;

    let client = scene.client.clone();
    let asked = tokio::spawn(async move { mesh_tests::world::get(&client, "http://orders/hold").await });
    until("it is asked about", || authz.held() == 1).await;
    asked.abort();
    // The line of the log is written when the request is given up, long before the check would be.
    let line = scene.logged(1).await.remove(0);
    assert_eq!(
        (&line["response_flags"], &line["authorizer"]),
        (&"DC".into(), &serde_json::Value::Null)
    );

    authz.release(1);
    assert_eq!((scene.orders.hits(), scene.checks("allowed")), (0, 0));
    assert_eq!(scene.get("/free").await.status, 200);
}

/// The gateway is a workload like any other: its rules are asked before its routes.
#[tokio::test]
async fn a_gateway_asks_before_it_forwards() {
    const GATEWAY: &str = "
namespace: shop
services: { authz: { endpoints: [AUTHZ] }, orders: { endpoints: [ORDERS] } }
gateways: { front: { selector: { app: front }, servers: [{ port: 80, hosts: ['*'] }] } }
routes: [{ name: all, hosts: ['*'], gateways: [front], rules: [{ to: [{ service: orders }] }] }]
authorizers: [{ name: authz, protocol: { http: { to_server_on_allow: [x-user] } }, service: authz, port: 80 }]
authorization: [{ name: ask, selector: { app: front }, provider: authz, custom: [{ paths: ['/admin*'] }] }]
";
    let (world, authz, orders) = (
        World::new(),
        Backend::start("authz").await,
        Backend::start("orders").await,
    );
    authz.say("x-user", "alice");
    let policy = GATEWAY.replace("AUTHZ", &format!("\"{}\"", authz.address));
    world.write(
        "all.yaml",
        &policy.replace("ORDERS", &format!("\"{}\"", orders.address)),
    );
    let mesh = world.mesh(&Workload::new("shop", "front").label("app", "front")).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(mesh.gateway().port(80).serve(listener));

    let answer = plain_text_of("shop.example", address, "/admin").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(text(&orders.last().0, "x-user"), Some("alice"));
    authz.answer_with(403);
    let answer = plain_text_of("shop.example", address, "/admin").await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert_eq!((authz.hits(), orders.hits()), (2, 1));
}
