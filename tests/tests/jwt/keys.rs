//! Where keys come from: servers that rotate, hang, lie and die.

use std::time::{Duration, Instant};

use mesh_tests::issuer::key_set;
use mesh_tests::world::{generation, until};
use mesh_tests::{KeyServer, Page, SigningKey, World};
use serde_json::json;

use crate::scene::{ISSUER, Scene, claims, rules};

/// A service of the mesh that publishes keys.
fn key_service(server: &KeyServer) -> String {
    format!(
        "namespace: shop\nservices:\n  keys:\n    endpoints: [\"{}\"]\n",
        server.address
    )
}

fn in_mesh(more: &str) -> String {
    rules(&format!(
        "keys: {{ fetched: 'http://keys.shop.svc.cluster.local/jwks' }}{more}"
    ))
}

#[tokio::test]
async fn keys_come_from_a_service_of_the_mesh() {
    let (server, key) = (KeyServer::plain().await, SigningKey::rsa("a"));
    server.publish("/jwks", &key_set(&[&key]));
    let scene = Scene::new(&[&in_mesh(""), &key_service(&server)]).await;

    // The first request waits for the keys, where they are not there yet.
    for _ in 0..20 {
        assert_eq!(scene.bearing(&key.token(&claims(&json!({})))).await.status, 200);
    }

    assert_eq!(server.hits("/jwks"), 1);
    scene.counts("mesh_jwks_fetches_total{result=\"ok\"} 1");
}

#[tokio::test]
async fn keys_come_over_tls_from_where_the_issuer_says() {
    let world = World::new();
    let (server, key) = (KeyServer::tls(world.ca()).await, SigningKey::p256("a"));
    let issuer = format!("https://127.0.0.1:{}/realm", server.address.port());
    let configuration =
        json!({ "issuer": issuer, "jwks_uri": format!("https://127.0.0.1:{}/keys", server.address.port()) });
    server.publish("/realm/.well-known/openid-configuration", &configuration.to_string());
    server.publish("/keys", &key_set(&[&key]));
    let authorities = world.folder("web").join("ca.pem");
    std::fs::write(&authorities, world.ca().certificate_pem()).unwrap();
    let policy = format!(
        "
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{ name: tokens, namespace: shop }}
spec: {{ selector: {{ matchLabels: {{ app: orders }} }}, jwtRules: [{{ issuer: '{issuer}' }}] }}
"
    );
    let scene = Scene::with(world, &[&policy], |builder| builder.web_authorities(authorities)).await;

    let token = key.token(&claims(&json!({ "iss": issuer })));
    assert_eq!(scene.bearing(&token).await.status, 200);
    assert_eq!(
        scene
            .bearing(&key.token(&claims(&json!({ "iss": ISSUER }))))
            .await
            .status,
        401
    );
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_gives_no_keys() {
    let world = World::new();
    let (stranger, key) = (World::new(), SigningKey::p256("a"));
    let server = KeyServer::tls(stranger.ca()).await;
    server.publish("/keys", &key_set(&[&key]));
    let authorities = world.folder("web").join("ca.pem");
    std::fs::write(&authorities, world.ca().certificate_pem()).unwrap();
    let policy = rules(&format!(
        "keys: {{ fetched: 'https://127.0.0.1:{}/keys' }}",
        server.address.port()
    ));
    let scene = Scene::with(world, &[&policy], |builder| builder.web_authorities(authorities)).await;

    let refused = scene.bearing(&key.token(&claims(&json!({})))).await;

    assert_eq!(
        (refused.status, refused.text.as_str()),
        (401, "Jwks remote fetch is failed")
    );
    assert_eq!(server.hits("/keys"), 0);
}

/// H4: a key that is not there is looked for once, not for each token that names one.
#[tokio::test]
async fn a_new_key_is_found_and_a_made_up_one_is_not_looked_for_again() {
    let (server, first, second) = (KeyServer::plain().await, SigningKey::p256("a"), SigningKey::p256("b"));
    server.publish("/jwks", &key_set(&[&first]));
    let scene = Scene::new(&[&in_mesh(""), &key_service(&server)]).await;
    assert_eq!(scene.bearing(&first.token(&claims(&json!({})))).await.status, 200);

    server.publish("/jwks", &key_set(&[&first, &second]));
    assert_eq!(scene.bearing(&second.token(&claims(&json!({})))).await.status, 200);
    assert_eq!(server.hits("/jwks"), 2);

    let long = "x".repeat(10 << 10);
    for id in ["c", "../../x", "", &long] {
        let token = second.token_with(&json!({ "alg": "ES256", "kid": id }), &claims(&json!({})));
        assert_eq!(scene.bearing(&token).await.status, 401);
    }
    let nameless = second.token_with(&json!({ "alg": "ES256" }), &claims(&json!({})));
    assert_eq!(scene.bearing(&nameless).await.status, 401);
    assert_eq!(server.hits("/jwks"), 2);
}

/// H17: a key that is taken away verifies nothing after the next look, remembered tokens included.
#[tokio::test]
async fn a_key_that_is_taken_away_verifies_nothing_any_more() {
    let (server, old, new) = (KeyServer::plain().await, SigningKey::p256("a"), SigningKey::p256("b"));
    server.publish("/jwks", &key_set(&[&old]));
    let scene = Scene::new(&[&in_mesh(", refresh: 100ms"), &key_service(&server)]).await;
    let token = old.token(&claims(&json!({})));
    assert_eq!(scene.bearing(&token).await.status, 200);

    server.publish("/jwks", &key_set(&[&new]));

    scene.until_status(&token, 401).await;
    assert_eq!(scene.bearing(&new.token(&claims(&json!({})))).await.status, 200);
}

/// H17: the last good keys are used for their time, and then none are.
#[tokio::test]
async fn a_dead_server_is_survived_for_as_long_as_the_rule_says() {
    let (server, key) = (KeyServer::plain().await, SigningKey::p256("a"));
    server.publish("/jwks", &key_set(&[&key]));
    let fields = ", refresh: 100ms, stale: 1s";
    let scene = Scene::new(&[&in_mesh(fields), &key_service(&server)]).await;
    let token = key.token(&claims(&json!({})));
    assert_eq!(scene.bearing(&token).await.status, 200);

    server.put("/jwks", Page::Status(503));
    let (dead, failed) = (Instant::now(), server.hits("/jwks"));
    until("it was asked again", || server.hits("/jwks") > failed + 1).await;
    if dead.elapsed() < Duration::from_millis(800) {
        assert_eq!(scene.bearing(&token).await.status, 200);
    }
    scene.until_status(&token, 401).await;
    assert!(dead.elapsed() > Duration::from_millis(900));

    server.publish("/jwks", &key_set(&[&key]));
    scene.until_status(&token, 200).await;
}

/// H17: other times are no reason to forget the keys, whose server may be down just then.
#[tokio::test]
async fn keys_stay_when_a_reload_changes_their_times() {
    let (server, key) = (KeyServer::plain().await, SigningKey::p256("a"));
    server.publish("/jwks", &key_set(&[&key]));
    let scene = Scene::new(&[&in_mesh(""), &key_service(&server)]).await;
    let token = key.token(&claims(&json!({})));
    assert_eq!(scene.bearing(&token).await.status, 200);

    server.put("/jwks", Page::Status(503));
    for fields in [", refresh: 10m", ", refresh: 10m, stale: 2h", ", timeout: 1s"] {
        let (next, asked) = (scene.mesh.policy_status().generation + 1, server.hits("/jwks"));
        scene.world.write("rules-0.yaml", &in_mesh(fields));
        generation(&scene.mesh, next).await;
        assert_eq!(scene.bearing(&token).await.status, 200, "{fields}");
        until("it was asked again", || server.hits("/jwks") > asked).await;
        assert_eq!(scene.bearing(&token).await.status, 200, "{fields}");
    }
}

/// H12: what is too long, too slow, elsewhere or no key set at all gives no keys.
#[tokio::test]
async fn answers_that_are_no_keys_are_not_taken() {
    let (server, elsewhere, key) = (
        KeyServer::plain().await,
        KeyServer::plain().await,
        SigningKey::p256("a"),
    );
    elsewhere.publish("/jwks", &key_set(&[&key]));
    let huge = format!("{}{}", key_set(&[&key]), " ".repeat(1 << 20));
    let token = key.token(&claims(&json!({})));

    for page in [
        Page::Text(huge),
        Page::Silence,
        Page::Elsewhere(format!("http://{}/jwks", elsewhere.address)),
        Page::Status(204),
        Page::Text("{\"keys\": []}".into()),
        Page::Text("<html>".into()),
    ] {
        server.put("/jwks", page.clone());
        let scene = Scene::new(&[&in_mesh(", timeout: 300ms"), &key_service(&server)]).await;
        let refused = scene.bearing(&token).await;
        assert_eq!(
            (refused.status, refused.text.as_str()),
            (401, "Jwks remote fetch is failed"),
            "{page:?}"
        );
    }
    assert_eq!(elsewhere.hits("/jwks"), 0);
}

/// H12: addresses that keys are not fetched from are refused when the policy is read.
#[tokio::test]
async fn no_policy_has_keys_fetched_from_the_surroundings() {
    for (keys, reason) in [
        ("fetched: 'http://169.254.169.254/latest'", "keys are not fetched from"),
        ("fetched: 'https://[fe80::1]/jwks'", "keys are not fetched from"),
        (
            "fetched: 'https://metadata.google.internal/keys'",
            "keys are not fetched from",
        ),
        (
            "fetched: 'file:///etc/passwd'",
            "expected an address with `https` or `http`",
        ),
        (
            "fetched: 'http://keys.example.com/jwks'",
            "in plain text from services of the mesh only",
        ),
        (
            "fetched: 'https://user:pass@keys.example.com/'",
            "has a user name or a password in it",
        ),
    ] {
        let world = World::new();
        world.write("rules.yaml", &rules(&format!("keys: {{ {keys} }}")));
        let workload = mesh_core::workload::Workload::new("shop", "orders");
        let error = world.builder(&workload).build().await.unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains("rules.yaml:6:"), "{error}");
    }
}

#[tokio::test]
async fn keys_come_from_a_file_that_changes() {
    let (world, old, new) = (World::new(), SigningKey::p256("a"), SigningKey::p256("b"));
    let path = world.folder("keys").join("jwks.json");
    std::fs::write(&path, key_set(&[&old])).unwrap();
    let policy = rules(&format!("keys: {{ file: {} }}", path.display()));
    let scene = Scene::with(world, &[&policy], |builder| builder).await;
    let token = old.token(&claims(&json!({})));
    assert_eq!(scene.bearing(&token).await.status, 200);

    // A file that is no key set changes nothing.
    std::fs::write(&path, "").unwrap();
    let failed = "mesh_jwks_fetches_total{result=\"failed\"} 0";
    until("the file was read", || !scene.mesh.metrics().render().contains(failed)).await;
    assert_eq!(scene.bearing(&token).await.status, 200);

    std::fs::write(&path, key_set(&[&new])).unwrap();
    scene.until_status(&token, 401).await;
    assert_eq!(scene.bearing(&new.token(&claims(&json!({})))).await.status, 200);
}
