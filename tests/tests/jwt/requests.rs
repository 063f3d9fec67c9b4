//! Requests with tokens of all kinds.

use http::Request;
use mesh_tests::SigningKey;
use mesh_tests::issuer::{encoded, key_set, unix_now};
use mesh_tests::world::{generation, plain_text_of, until};
use mesh_tls::clock::ManualClock;
use serde_json::{Value, json};

use crate::scene::{ISSUER, Scene, claims, inline, rules};

const ALLOW_ANN: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: who, namespace: shop }
spec:
  rules:
    - from: [{ source: { requestPrincipals: ['https://id.example.com/ann'] } }]
      to: [{ operation: { paths: [/ann] } }]
    - to: [{ operation: { paths: [/staff] } }]
      when: [{ key: 'request.auth.claims[realm][roles]', values: [staff] }, { key: 'request.auth.audiences', values: [orders] }]
    - to: [{ operation: { paths: [/scope] } }]
      when: [{ key: 'request.auth.claims[scope]', values: [read] }, { key: request.auth.presenter, values: ['web*'] }]
    - to: [{ operation: { paths: [/free, /me, /maybe] } }]
";

const DENY_STRANGERS: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: tokens, namespace: shop }
spec:
  action: DENY
  rules: [{ from: [{ source: { notRequestPrincipals: ['*'] } }] }]
";

#[tokio::test]
async fn tokens_are_verified_and_rules_see_their_claims() {
    let (key, other) = (SigningKey::rsa("a"), SigningKey::rsa("a"));
    let scene = Scene::new(&[&rules(&inline(&[&key])), ALLOW_ANN]).await;
    let ann = key.token(&claims(
        &json!({ "realm": { "roles": ["staff"] }, "aud": ["orders"], "scope": "read write", "azp": "web-1" }),
    ));
    let bob = key.token(&claims(&json!({ "sub": "bob", "aud": "orders" })));

    for (token, path, status) in [
        (Some(&ann), "/ann", 200),
        (Some(&ann), "/staff", 200),
        (Some(&ann), "/scope", 200),
        (Some(&bob), "/ann", 403),
        (Some(&bob), "/staff", 403),
        (Some(&bob), "/free", 200),
        (None, "/free", 200),
        (None, "/ann", 403),
        (Some(&other.token(&claims(&json!({})))), "/free", 401),
    ] {
        let mut request = Request::get(format!("http://orders{path}"));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        assert_eq!(scene.send(request).await.status, status, "{path}");
    }

    scene.counts("mesh_jwt_validations_total{result=\"ok\"} 6");
    scene.counts("mesh_jwt_validations_total{result=\"signature\"} 1");
    let lines = scene.logged(9).await;
    assert_eq!(lines[0]["request_principal"], "https://id.example.com/ann");
    assert_eq!(lines[6]["request_principal"], Value::Null);
    assert_eq!(
        lines[8]["response_code_details"],
        "jwt_authn_access_denied{Jwt_verification_fails}"
    );
    assert!(
        lines[8]["policy_origin"].as_str().unwrap().contains("rules-0.yaml:6"),
        "{}",
        lines[8]
    );
}

#[tokio::test]
async fn a_refusal_says_why_and_how_to_come_back() {
    let key = SigningKey::p256("a");
    let scene = Scene::new(&[&rules(&format!("{}, audiences: [orders]", inline(&[&key])))]).await;

    let expired = scene
        .bearing(&key.token(&claims(&json!({ "aud": "orders", "exp": 1 }))))
        .await;
    assert_eq!((expired.status, expired.text.as_str()), (401, "Jwt is expired"));
    assert_eq!(expired.headers["www-authenticate"], "Bearer error=\"invalid_token\"");

    let others = scene.bearing(&key.token(&claims(&json!({ "aud": ["billing"] })))).await;
    assert_eq!(
        (others.status, others.text.as_str()),
        (403, "Audiences in Jwt are not allowed")
    );
    assert!(!others.headers.contains_key("www-authenticate"));

    let good = scene
        .bearing(&key.token(&claims(&json!({ "aud": ["billing", "orders"] }))))
        .await;
    assert_eq!(good.status, 200);
    assert_eq!(scene.backend.hits(), 1);
}

#[tokio::test]
async fn grpc_is_refused_in_its_own_words() {
    let key = SigningKey::ed25519("a");
    let scene = Scene::new(&[&rules(&format!("{}, audiences: [orders]", inline(&[&key])))]).await;
    let call = |token: String| {
        let request = Request::post("http://orders/shop.Orders/List").header("content-type", "application/grpc");
        scene.send(request.header("authorization", format!("Bearer {token}")))
    };

    let expired = call(key.token(&claims(&json!({ "aud": "orders", "exp": 1 })))).await;
    assert_eq!(
        (expired.status, &expired.headers["grpc-status"]),
        (200, &"16".parse().unwrap())
    );
    let others = call(key.token(&claims(&json!({ "aud": "billing" })))).await;
    assert_eq!(others.headers["grpc-status"], "7");
}

#[tokio::test]
async fn a_rule_may_demand_a_token() {
    let key = SigningKey::p256("a");
    let scene = Scene::new(&[&rules(&inline(&[&key])), DENY_STRANGERS]).await;

    assert_eq!(scene.send(Request::get("http://orders/")).await.status, 403);
    assert_eq!(scene.bearing(&key.token(&claims(&json!({})))).await.status, 200);
    // A principal needs issuer and subject.
    let nameless = json!({ "iss": ISSUER, "exp": unix_now() + 60 });
    assert_eq!(scene.bearing(&key.token(&nameless)).await.status, 403);
}

#[tokio::test]
async fn the_application_reads_verified_claims() {
    let key = SigningKey::p384("a");
    let scene = Scene::new(&[&rules(&inline(&[&key]))]).await;
    let token = key.token(&claims(&json!({ "tier": 3 })));
    let with =
        |path: &str| Request::get(format!("http://orders{path}")).header("authorization", format!("Bearer {token}"));

    let me: Value = serde_json::from_str(&scene.send(with("/me")).await.text).unwrap();
    assert_eq!(me["principal"], "https://id.example.com/ann");
    assert_eq!(me["all"]["tier"], 3);
    assert_eq!(scene.send(with("/maybe")).await.text, "ann");

    assert_eq!(scene.send(Request::get("http://orders/me")).await.status, 401);
    assert_eq!(scene.send(Request::get("http://orders/maybe")).await.text, "nobody");
}

/// G12: what is told about tokens does not hold them.
#[tokio::test]
async fn the_application_gets_what_the_rule_says() {
    let key = SigningKey::p256("a");
    let fields = "payload_header: x-payload, claim_headers: { x-sub: sub, x-tier: plan.tier, x-list: roles }";
    let scene = Scene::new(&[&rules(&format!("{}, {fields}", inline(&[&key])))]).await;
    let said = claims(&json!({ "plan": { "tier": 3 }, "roles": ["a"] }));
    let token = key.token(&said);

    let forged = |request: http::request::Builder| {
        let request = request.header("x-sub", "root").header("x_payload", "forged");
        request.header("X-Tier", "9").header("x-list", "all")
    };
    let request = forged(Request::get("http://orders/a")).header("authorization", format!("Bearer {token}"));
    assert_eq!(scene.send(request).await.status, 200);
    let (headers, _) = scene.backend.last();
    assert_eq!(headers["x-payload"], encoded(said.to_string()));
    assert_eq!(
        (&headers["x-sub"], &headers["x-tier"]),
        (&"ann".parse().unwrap(), &"3".parse().unwrap())
    );
    for gone in ["x-list", "x_payload", "authorization"] {
        assert!(!headers.contains_key(gone), "{gone}");
    }

    assert_eq!(scene.send(forged(Request::get("http://orders/a"))).await.status, 200);
    let (headers, _) = scene.backend.last();
    for gone in ["x-sub", "x-tier", "x-payload", "x_payload", "x-list"] {
        assert!(!headers.contains_key(gone), "{gone}");
    }
    let printed = format!("{:?} {:?}", scene.mesh, scene.mesh.policy_status());
    assert!(!printed.contains(&token), "{printed}");
}

/// A token that is remembered is looked at again: time goes on, and policies change.
#[tokio::test]
async fn a_token_that_was_verified_before_does_not_outlive_itself() {
    let (key, start) = (SigningKey::p256("a"), std::time::SystemTime::now());
    let time = ManualClock::at(start);
    let clock = time.clock();
    let world = mesh_tests::World::new();
    let scene = Scene::with(world, &[&rules(&inline(&[&key]))], |builder| builder.wall_clock(clock)).await;
    let token = key.token(&claims(&json!({ "exp": unix_now() + 60 })));

    assert_eq!(scene.bearing(&token).await.status, 200);
    assert_eq!(scene.bearing(&token).await.status, 200);
    time.advance(std::time::Duration::from_secs(61));
    let late = scene.bearing(&token).await;
    assert_eq!((late.status, late.text.as_str()), (401, "Jwt is expired"));

    time.set(start);
    assert_eq!(scene.bearing(&token).await.status, 200);
    let other = SigningKey::p256("a");
    let before = *scene.mesh.generations().borrow();
    scene.world.write("rules-0.yaml", &rules(&inline(&[&other])));
    generation(&scene.mesh, before + 1).await;
    assert_eq!(scene.bearing(&token).await.status, 401);
}

/// H2, H15: whatever is done to a genuine token, it is genuine no more.
#[tokio::test]
async fn tokens_that_were_tampered_with_are_refused() {
    let key = SigningKey::rsa("a");
    let scene = Scene::new(&[&rules(&inline(&[&key]))]).await;
    let good = key.token(&claims(&json!({})));
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let root = encoded(claims(&json!({ "sub": "root" })).to_string());
    let none = encoded(r#"{"alg":"none","kid":"a"}"#);
    let secret = encoded(r#"{"alg":"HS256","kid":"a"}"#);

    assert_eq!(scene.bearing(&good).await.status, 200);
    for token in [
        format!("{header}.{root}.{signature}"),
        format!("{none}.{payload}."),
        format!("{none}.{payload}.{signature}"),
        format!(
            "{secret}.{payload}.{}",
            hmac_with_public_key(&key, &format!("{secret}.{payload}"))
        ),
        format!("{header}.{payload}.{signature}=="),
        format!("{header}.{payload}.{signature}.{signature}"),
        format!("{header}.{payload}"),
    ] {
        assert_eq!(scene.bearing(&token).await.status, 401, "{token}");
    }
    assert_eq!(scene.backend.hits(), 1);
}

/// The signature that a verifier would take which mistakes a public key for a secret.
fn hmac_with_public_key(key: &SigningKey, message: &str) -> String {
    let secret = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key_set(&[key]).as_bytes());
    encoded(aws_lc_rs::hmac::sign(&secret, message.as_bytes()))
}

#[tokio::test]
async fn every_algorithm_verifies_what_it_signed_and_nothing_else() {
    let keys = [
        SigningKey::rsa("r"),
        SigningKey::p256("p"),
        SigningKey::p384("q"),
        SigningKey::ed25519("e"),
    ];
    let all: Vec<_> = keys.iter().collect();
    let scene = Scene::new(&[&rules(&inline(&all))]).await;
    let algorithms = [
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA",
    ];

    for algorithm in algorithms {
        for key in &keys {
            let token = key.token_with(&json!({ "alg": algorithm, "kid": key.id }), &claims(&json!({})));
            let fits =
                algorithm == key.algorithm() || (key.id == "r" && !["ES256", "ES384", "EdDSA"].contains(&algorithm));
            let expected = if fits { 200 } else { 401 };
            assert_eq!(scene.bearing(&token).await.status, expected, "{algorithm} {}", key.id);
        }
    }
}

/// A front door that routes by the claims of tokens it has verified. It passes them on, and neither of its sides logs them.
#[tokio::test]
async fn gateways_route_by_claims() {
    let (world, key) = (mesh_tests::World::new(), SigningKey::p256("a"));
    let (staff, guests) = (
        mesh_tests::Backend::start("staff").await,
        mesh_tests::Backend::start("guests").await,
    );
    world.write(
        "rules.yaml",
        &rules(&format!("{}, forward: keep", inline(&[&key]))).replace("app: orders", "app: front"),
    );
    let log = world.folder("logs").join("access.log");
    let policy = format!(
        "
namespace: shop
mesh: {{ access_log: {{ path: {}, encoding: json }} }}
gateways:
  front: {{ selector: {{ app: front }}, servers: [{{ port: 80, hosts: [shop.example.com] }}] }}
services:
  staff: {{ endpoints: [\"{}\"] }}
  guests: {{ endpoints: [\"{}\"] }}
routes:
  - name: shop
    hosts: [shop.example.com]
    gateways: [front]
    rules:
      - {{ match: {{ claims: {{ realm/roles: staff }} }}, to: staff }}
      - {{ to: guests }}
",
        log.display(),
        staff.address,
        guests.address
    );
    world.write("shop.yaml", &policy);
    let workload = mesh_core::workload::Workload::new("shop", "front").label("app", "front");
    let mesh = world.mesh(&workload).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let gateway = mesh.gateway().port(80);
    tokio::spawn(async move { gateway.serve(listener).await.unwrap() });
    let get = |target: String| async move { plain_text_of("shop.example.com", address, &target).await };

    let said = json!({ "realm": { "roles": ["staff"] } });
    let answer = get(format!("/?access_token={}", key.token(&claims(&said)))).await;
    assert!(answer.ends_with("staff"), "{answer}");
    let answer = get(format!("/?access_token={}", key.token(&claims(&json!({}))))).await;
    assert!(answer.ends_with("guests"), "{answer}");
    let answer = get("/".into()).await;
    assert!(answer.ends_with("guests"), "{answer}");
    let other = SigningKey::p256("a");
    let answer = get(format!("/?access_token={}", other.token(&claims(&said)))).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert_eq!((staff.hits(), guests.hits()), (1, 2));

    assert!(staff.last_target().starts_with("/?access_token="));
    let logged = || std::fs::read_to_string(&log).unwrap_or_default();
    until("all is logged", || logged().lines().count() == 7).await;
    assert!(!logged().contains("access_token"), "{}", logged());
}

/// Rules see the request as the application gets it: with the headers that the token fills, and without the token.
#[tokio::test]
async fn rules_look_at_what_the_token_fills_in() {
    let key = SigningKey::p256("a");
    let tokens = rules(&format!("{}, claim_headers: {{ x-tier: tier }}", inline(&[&key])));
    let denial = "namespace: shop\nauthorization:\n  - name: tiers\n    service: orders\n    deny:\n      \
        - { when: [{ attribute: 'request.headers[x-tier]', values: [suspended] }] }\n      \
        - { when: [{ attribute: 'request.headers[x-kind]', values: [\"*\"] }, { attribute: 'request.headers[authorization]', values: [\"*\"] }] }\n";
    let scene = Scene::new(&[&tokens, denial]).await;
    let of = |tier: &str| format!("Bearer {}", key.token(&claims(&json!({ "tier": tier }))));
    let with = |tier: &str| Request::get("http://orders/a").header("authorization", of(tier));

    assert_eq!(scene.send(with("suspended")).await.status, 403);
    assert_eq!(scene.send(with("paid")).await.status, 200);
    assert_eq!(scene.send(with("paid").header("x-kind", "a")).await.status, 200);
}
