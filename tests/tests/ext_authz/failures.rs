//! Authorizers that give no answer.

use std::time::Duration;

use http::Request;
use mesh_tests::Backend;
use mesh_tests::world::generation;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::scene::{CUSTOM, Scene, http_provider};

/// An address at which nobody listens.
async fn nowhere() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn a_dead_authorizer_denies() {
    let scene = Scene::new(nowhere().await, &http_provider(""), &[CUSTOM]).await;

    assert_eq!(scene.get("/admin").await.status, 403);
    assert_eq!(scene.get("/free").await.status, 200);

    assert_eq!((scene.orders.hits(), scene.checks("error")), (1, 1));
    let lines = scene.logged(2).await;
    assert_eq!(lines[0]["response_code_details"], "ext_authz_error");
    assert_eq!(
        (&lines[0]["response_flags"], &lines[0]["authorizer_result"]),
        (&"UAEX".into(), &"error".into())
    );
    assert_eq!(lines[1]["authorizer"], serde_json::Value::Null);
}

#[tokio::test]
async fn a_failure_has_the_status_that_the_policy_gives_it() {
    let scene = Scene::new(nowhere().await, &http_provider("statusOnError: '503'"), &[CUSTOM]).await;
    assert_eq!(scene.get("/admin").await.status, 503);

    let call = Request::post("http://orders/admin/a").header("content-type", "application/grpc");
    let answer = scene.send(call).await;
    assert_eq!(
        (answer.status, answer.headers["grpc-status"].to_str().unwrap()),
        (200, "14")
    );
}

#[tokio::test]
async fn a_dead_authorizer_that_may_be_passed_over_is() {
    let scene = Scene::new(nowhere().await, &http_provider("failOpen: true"), &[CUSTOM]).await;

    assert_eq!(scene.get("/admin").await.status, 200);

    assert_eq!(
        (scene.orders.hits(), scene.checks("failed_open"), scene.checks("error")),
        (1, 1, 0)
    );
    assert_eq!(scene.logged(1).await[0]["authorizer_result"], "failed_open");
}

#[tokio::test]
async fn failing_open_allows_no_more_than_the_authorizer_could() {
    const DENY: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: keep, namespace: shop }
spec: { action: DENY, rules: [{ to: [{ operation: { methods: [DELETE] } }] }] }
";
    let scene = Scene::new(nowhere().await, &http_provider("failOpen: true"), &[CUSTOM, DENY]).await;
    assert_eq!(scene.send(Request::delete("http://orders/admin")).await.status, 403);
    assert_eq!(scene.orders.hits(), 0);
}

#[tokio::test]
async fn an_answer_of_5xx_is_none() {
    let authz = Backend::start("authz").await;
    authz.answer_with(500);
    let scene = Scene::new(authz.address, &http_provider(""), &[CUSTOM]).await;

    let answer = scene.get("/admin").await;

    assert_eq!((answer.status, answer.text.as_str()), (403, ""));
    assert_eq!((scene.checks("error"), scene.checks("denied")), (1, 0));
}

#[tokio::test]
async fn a_slow_authorizer_denies_in_time() {
    let authz = Backend::start("authz").await;
    authz.delay(Duration::from_secs(30));
    let scene = Scene::new(authz.address, &http_provider("timeout: 100ms"), &[CUSTOM]).await;

    let asked = tokio::time::timeout(Duration::from_secs(10), scene.get("/admin"));

    assert_eq!(asked.await.unwrap().status, 403);
    assert_eq!((scene.orders.hits(), scene.checks("timeout")), (0, 1));
    assert_eq!(scene.logged(1).await[0]["authorizer_result"], "timeout");
}

#[tokio::test]
async fn an_authorizer_that_nobody_defines_denies() {
    let authz = Backend::start("authz").await;
    let other = http_provider("failOpen: true").replace("- name: authz", "- name: other");
    let policy = CUSTOM.replace("provider: { name: authz }", "provider: { name: another }");
    let scene = Scene::new(
        authz.address,
        &other.replace("- name: other", "- name: another"),
        &[&policy],
    )
    .await;
    assert_eq!(scene.get("/admin").await.status, 200);

    // A set of files in which nobody is defined, as where another team's file is missing.
    scene.world.write("mesh.yaml", "mesh: { mtls: permissive }\n");
    generation(&scene.mesh, 2).await;
    assert_eq!(scene.get("/admin").await.status, 403);
    assert_eq!(scene.get("/free").await.status, 200);
    assert_eq!(authz.hits(), 1);
}

#[tokio::test]
async fn where_two_authorizers_are_named_none_is_asked() {
    let authz = Backend::start("authz").await;
    let provider = http_provider("failOpen: true");
    let two = format!(
        "{provider}      - name: second\n        envoyExtAuthzHttp: {{ service: authz.shop.svc.cluster.local, port: 80 }}\n"
    );
    let second = CUSTOM
        .replace("name: ask", "name: second")
        .replace("{ name: authz }", "{ name: second }");
    let scene = Scene::new(authz.address, &two, &[CUSTOM, &second]).await;

    assert_eq!(scene.get("/admin").await.status, 403);
    assert_eq!((authz.hits(), scene.get("/free").await.status), (0, 200));
}

/// The rule holds for the authorizer, too: each check would have to be checked.
#[tokio::test]
async fn an_authorizer_that_guards_itself_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let everything = CUSTOM
        .replace("  selector: { matchLabels: { app: orders } }\n", "")
        .replace("/admin*", "/*");
    let scene = Scene::new(address, &http_provider(""), &[&everything]).await;
    let itself = scene.mesh.clone();
    let authz = Backend::start("authz").await;
    let app = authz.router();
    tokio::spawn(async move { itself.serve(listener, app).await.unwrap() });

    let asked = tokio::time::timeout(Duration::from_secs(10), scene.get("/admin"));

    assert_eq!(asked.await.unwrap().status, 403);
    assert_eq!((authz.hits(), scene.orders.hits()), (0, 0));
    // Three checks of checks, of which the last is not asked any more.
    assert_eq!((scene.checks("denied"), scene.checks("error")), (3, 1));
}

#[tokio::test]
async fn who_claims_to_be_a_check_gains_nothing() {
    let authz = Backend::start("authz").await;
    authz.answer_with(403);
    let scene = Scene::new(authz.address, &http_provider(""), &[CUSTOM]).await;
    for depth in ["0", "1", "9", "-1", "x"] {
        let request = Request::get("http://orders/admin").header("x-mesh-check-depth", depth);
        assert_eq!(scene.send(request).await.status, 403, "{depth}");
    }
    assert_eq!(scene.orders.hits(), 0);
}

/// A caller must not get past an authorizer by making it impossible to ask.
#[tokio::test]
async fn no_caller_talks_himself_past_an_authorizer_that_may_fail_open() {
    let authz = Backend::start("authz").await;
    authz.answer_with(403);
    let body =
        "failOpen: true, timeout: 200ms, includeRequestBodyInCheck: { maxRequestBytes: 8, allowPartialMessage: true }";
    let everything = CUSTOM.replace("[/admin*]", "['*']");
    let scene = Scene::new(authz.address, &http_provider(body), &[&everything]).await;

    let deep = Request::get("http://orders/admin").header("x-mesh-check-depth", "9");
    assert_eq!(scene.send(deep).await.status, 403);
    for request in [
        // A body that never comes, so that there is no part of it to send.
        "POST /admin HTTP/1.1\r\nhost: orders\r\ncontent-length: 5\r\n\r\n",
        // A path that an authorizer over HTTP cannot be sent.
        "OPTIONS * HTTP/1.1\r\nhost: orders\r\n\r\n",
    ] {
        let answer = first_bytes(&scene, request).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{request}: {answer}");
    }
    assert_eq!((scene.orders.hits(), scene.checks("failed_open")), (0, 0));
}

/// A3: what an authorizer allows is still asked about as every path that a server may take it for.
#[tokio::test]
async fn readings_of_a_path_are_asked_about_behind_an_authorizer() {
    let authz = Backend::start("authz").await;
    let denial = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: { name: keep, namespace: shop }\nspec:\n  action: DENY\n  rules: [{ to: [{ operation: { paths: [/b] } }] }]\n";
    let everything = CUSTOM.replace("[/admin*]", "['*']");
    let scene = Scene::new(authz.address, &http_provider(""), &[&everything, denial]).await;

    let answer = first_bytes(&scene, "GET /a//../b HTTP/1.1\r\nhost: orders\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    let answer = first_bytes(&scene, "GET /a HTTP/1.1\r\nhost: orders\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!((scene.orders.hits(), scene.checks("allowed")), (1, 2));
}

/// What comes first of the answer to a request in plain text.
async fn first_bytes(scene: &Scene, request: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(scene.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}
