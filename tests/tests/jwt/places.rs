//! Where tokens may be, and how many of them.

use http::Request;
use mesh_tests::SigningKey;
use mesh_tests::world::plain_text_of;
use serde_json::json;

use crate::scene::{Scene, claims, inline, rules};

#[tokio::test]
async fn a_token_in_the_query_is_taken_out_and_not_logged() {
    let key = SigningKey::p256("a");
    let scene = Scene::new(&[&rules(&inline(&[&key]))]).await;
    let token = key.token(&claims(&json!({})));

    for (target, seen) in [
        (format!("/a?x=1&access_token={token}&y=2"), "/a?x=1&y=2"),
        (format!("/a?access_token={token}"), "/a"),
        (format!("/a?%61ccess_token={token}"), "/a"),
        (format!("//a?access_token={token}"), "//a"),
    ] {
        assert_eq!(
            scene.send(Request::get(format!("http://orders{target}"))).await.status,
            200
        );
        assert_eq!(scene.backend.last_target(), seen);
    }
    for (target, status) in [
        ("/a?access_token=x.y.z".to_owned(), 401),
        (format!("/a?access_token={token}&access_token={token}"), 401),
    ] {
        let refused = scene.send(Request::get(format!("http://orders{target}"))).await;
        assert_eq!(refused.status, status, "{target}");
    }
    // Refused before anybody looks for a token.
    let refused = plain_text_of("orders", scene.address, &format!("/a%00?access_token={token}&x=1")).await;
    assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");

    let lines = scene.logged(7).await;
    assert_eq!(lines.len(), 7);
    for line in &lines {
        assert!(!line.to_string().contains("access_token"), "{line}");
    }
    assert!(lines.iter().any(|line| line["path"] == "/a%00?x=1"), "{lines:?}");
}

#[tokio::test]
async fn cookies_headers_and_parameters_of_a_rule_take_the_place_of_the_usual_ones() {
    let key = SigningKey::p256("a");
    let places = "from_headers: { x-jwt: 'Token ', x-raw: '' }, from_params: [jwt], from_cookies: [session]";
    let scene = Scene::new(&[&rules(&format!("{}, {places}", inline(&[&key])))]).await;
    let token = key.token(&claims(&json!({})));
    let maybe = |query: &str| Request::get(format!("http://orders/maybe{query}"));

    for (request, who) in [
        (maybe("").header("x-jwt", format!("Token {token}")), "ann"),
        (maybe("").header("x-raw", &token), "ann"),
        (maybe(&format!("?jwt={token}")), "ann"),
        (maybe("").header("cookie", format!("a=b; session={token}; c=d")), "ann"),
        // Not where the rule looks, or not in the form that it has there.
        (maybe("").header("authorization", format!("Bearer {token}")), "nobody"),
        (maybe(&format!("?access_token={token}")), "nobody"),
        (maybe("").header("x-jwt", &token), "nobody"),
    ] {
        let answer = scene.send(request).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, who));
    }

    let request = Request::get("http://orders/").header("cookie", format!("a=b; session={token}; c=d"));
    assert_eq!(scene.send(request).await.status, 200);
    assert_eq!(scene.backend.last().0["cookie"], "a=b; c=d");
}

#[tokio::test]
async fn a_token_that_is_forwarded_stays_where_it_is() {
    let key = SigningKey::p256("a");
    let scene = Scene::new(&[&rules(&format!("{}, forward: keep", inline(&[&key])))]).await;
    let token = key.token(&claims(&json!({})));

    assert_eq!(scene.bearing(&token).await.status, 200);

    assert_eq!(scene.backend.last().0["authorization"], format!("Bearer {token}"));
}

/// H9: more than one token is refused, be they valid, alike, or of two subjects.
#[tokio::test]
async fn several_tokens_are_refused() {
    let key = SigningKey::p256("a");
    let scene = Scene::new(&[&rules(&inline(&[&key]))]).await;
    let (ann, bob) = (
        key.token(&claims(&json!({}))),
        key.token(&claims(&json!({ "sub": "bob" }))),
    );
    let bearer = |token: &str| format!("Bearer {token}");
    let get = |query: &str| Request::get(format!("http://orders/{query}"));

    for request in [
        get("")
            .header("authorization", bearer(&ann))
            .header("authorization", bearer(&ann)),
        get("")
            .header("authorization", bearer(&ann))
            .header("authorization", bearer(&bob)),
        get("")
            .header("authorization", bearer(&ann))
            .header("authorization", "Bearer x"),
        get("").header("authorization", format!("Bearer {ann}, Bearer {bob}")),
        get(&format!("?access_token={bob}")).header("authorization", bearer(&ann)),
        get(&format!("?access_token={ann}&access_token={ann}")),
    ] {
        assert_eq!(scene.send(request).await.status, 401);
    }
    // Another scheme is no token.
    let request = get("")
        .header("authorization", "Basic eDp5")
        .header("authorization", bearer(&ann));
    assert_eq!(scene.send(request).await.status, 200);
    assert_eq!(scene.backend.hits(), 1);
}

/// H11: rules are for workloads, not for paths: no spelling of a path goes round them.
#[tokio::test]
async fn no_path_goes_round_a_rule() {
    let key = SigningKey::p256("a");
    let scene = Scene::new(&[&rules(&inline(&[&key]))]).await;

    for path in [
        "/productpage",
        "/productpage?x",
        "/productpage/",
        "/%70roductpage",
        "//productpage",
    ] {
        let request = Request::get(format!("http://orders{path}")).header("authorization", "Bearer a.b.c");
        assert_eq!(scene.send(request).await.status, 401, "{path}");
    }
}

/// H8: a token is optional, and an invalid one is not the same as none.
#[tokio::test]
async fn no_token_passes_and_a_wrong_one_does_not() {
    let (key, other) = (SigningKey::p256("a"), SigningKey::p256("a"));
    let scene = Scene::new(&[&rules(&inline(&[&key]))]).await;

    assert_eq!(scene.send(Request::get("http://orders/")).await.status, 200);
    let wrong_issuer = key.token(&claims(&json!({ "iss": "https://evil.example.com" })));
    assert_eq!(scene.bearing(&wrong_issuer).await.status, 401);
    assert_eq!(scene.bearing(&other.token(&claims(&json!({})))).await.status, 401);
    let preflight = Request::options("http://orders/").header("origin", "https://shop.example.com");
    let preflight = preflight
        .header("access-control-request-method", "GET")
        .header("authorization", "Bearer x");
    assert_eq!(scene.send(preflight).await.status, 200);
}

#[tokio::test]
async fn a_rule_may_demand_its_token() {
    let key = SigningKey::p256("a");
    let scene = Scene::new(&[&rules(&format!("{}, presence: required", inline(&[&key])))]).await;

    let none = scene.send(Request::get("http://orders/")).await;

    assert_eq!((none.status, none.text.as_str()), (401, "Jwt is missing"));
    assert_eq!(none.headers["www-authenticate"], "Bearer");
    assert_eq!(scene.bearing(&key.token(&claims(&json!({})))).await.status, 200);
    scene.counts("mesh_jwt_validations_total{result=\"missing\"} 1");
}
