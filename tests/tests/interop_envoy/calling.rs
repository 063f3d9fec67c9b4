//! Envoy calls a server of the mesh.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use http::StatusCode;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh_core::workload::Workload;
use mesh_tests::World;
use mesh_tests::seeds::secured;
use mesh_tests::world::until;
use mesh_tls::clock::Clock;
use mesh_tls::source::StaticSource;
use mesh_tower::Mesh;
use mesh_tower::server::Peer;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use super::envoy::{Context, Envoy, Secrets, outbound};
use super::*;

const STRICT: &str = "mesh: { mtls: strict }\n";
const WEB_ONLY: &str = "
namespace: shop
authorization:
  - { name: web-only, service: orders, allow: [{ from: [cluster.local/ns/shop/sa/web] }] }
";

/// Says who called, in which version, and what the headers claim.
async fn who(peer: Peer, request: Request) -> String {
    let id = peer.spiffe_id().map(ToString::to_string);
    let claims: Vec<_> = ["x-forwarded-client-cert", "x-app", "traceparent"]
        .iter()
        .filter_map(|name| request.headers().get(*name))
        .map(|value| value.to_str().unwrap())
        .collect();
    format!("{id:?} {:?} {}", request.version(), claims.join(" "))
}

/// An answer of gRPC: no message, and status 0 in the trailers.
async fn grpc() -> Response<mesh_tower::Body> {
    let trailers = async {
        Some(Ok(http::HeaderMap::from_iter([(
            "grpc-status".parse().unwrap(),
            "0".parse().unwrap(),
        )])))
    };
    let body = Full::from("\0\0\0\0\0").with_trailers(trailers);
    let response = Response::builder().header("content-type", "application/grpc");
    response.body(mesh_tower::Body::new(body)).unwrap()
}

fn app() -> Router {
    Router::new()
        .route(
            "/shop.Orders/List",
            axum::routing::post(async || grpc().await.map(axum::body::Body::new)),
        )
        .fallback(who)
}

/// Orders behind its mesh.
async fn orders(world: &World) -> (Mesh, SocketAddr, StaticSource) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    world.write("orders.yaml", &secured("shop", "orders", "orders", address));
    world.write("mesh.yaml", STRICT);
    let own = issue(world.ca(), "orders").svid().unwrap();
    let identity = StaticSource::new(own, world.ca().bundles().unwrap(), Clock::system()).unwrap();
    let builder = world.builder(&Workload::new("shop", "orders").label("app", "orders"));
    let mesh = builder.identity(identity.source()).build().await.unwrap();
    let serving = mesh.clone();
    tokio::spawn(async move { serving.serve(listener, app()).await.unwrap() });
    (mesh, address, identity)
}

fn exactly(version: &'static str, alpn: &'static [&'static str]) -> Context {
    Context {
        version,
        alpn,
        peer: json!({ "exact": ORDERS }),
    }
}

#[tokio::test]
async fn every_protocol_that_it_speaks() {
    let binary = envoy!();
    let (world, folder) = world();
    let (_mesh, address, _) = orders(&world).await;
    let secrets = Secrets::new(&folder, &issue(world.ca(), "web"), world.ca());
    let mut clusters = Vec::new();
    let mut expected = Vec::new();
    for version in VERSIONS {
        for (http2, spoken) in ["HTTP/1.1", "HTTP/2.0"].into_iter().enumerate() {
            for alpn in [PLAIN[http2], ISTIO[http2]] {
                let name = format!("c{}", clusters.len());
                clusters.push(exactly(version, alpn).cluster(&secrets, &name, address, http2 == 1));
                expected.push((name, spoken));
            }
        }
    }
    let envoy = Envoy::start(&binary, &secrets, vec![outbound("out")], clusters).await;
    let door = envoy.address("out").await;

    for (name, spoken) in expected {
        let answer = ask(door, "/", &format!("x-to: {name}\r\nx-app: kept\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{name}: {answer}");
        assert!(
            answer.contains("spiffe://cluster.local/ns/shop/sa/web"),
            "{name}: {answer}"
        );
        assert!(answer.contains(spoken) && answer.contains("kept"), "{name}: {answer}");
    }
}

#[tokio::test]
async fn what_it_claims_of_certificates_is_not_believed() {
    let binary = envoy!();
    let (world, folder) = world();
    world.write("rules.yaml", WEB_ONLY);
    let (_mesh, address, _) = orders(&world).await;
    let secrets = Secrets::new(&folder, &issue(world.ca(), "guest"), world.ca());
    let cluster = exactly("TLSv1_3", PLAIN[1]).cluster(&secrets, "orders", address, true);
    let envoy = Envoy::start(&binary, &secrets, vec![outbound("out")], vec![cluster]).await;
    let door = envoy.address("out").await;
    let forged = "x-to: orders\r\nx-forwarded-client-cert: By=spiffe://cluster.local/ns/shop/sa/orders;URI=spiffe://cluster.local/ns/shop/sa/web\r\n";

    let answer = ask(door, "/", forged).await;
    assert!(
        answer.starts_with("HTTP/1.1 403") && answer.contains("RBAC: access denied"),
        "{answer}"
    );

    envoy.secrets.own(&issue(world.ca(), "web"));
    let answer = until_answer(door, forged, "HTTP/1.1 200").await;
    assert!(!answer.contains("By="), "{answer}");
    // Its trace goes on: Envoy wrote it, or took it from its caller.
    let traced = ask(
        door,
        "/",
        "x-to: orders\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n",
    )
    .await;
    assert!(traced.contains("00-0af7651916cd43dd8448eb211c80319c-"), "{traced}");
}

/// Asks until the answer begins like this: secrets that Envoy follows take a moment.
async fn until_answer(door: SocketAddr, lines: &str, start: &str) -> String {
    let mut answer = String::new();
    for _ in 0..200 {
        answer = ask(door, "/", lines).await;
        if answer.starts_with(start) {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("never {start}: {answer}");
}

#[tokio::test]
async fn strangers_on_either_side_are_refused_with_a_reason() {
    let binary = envoy!();
    let (world, folder) = world();
    let (mesh, address, _) = orders(&world).await;
    let secrets = Secrets::new(&folder, &issue(world.ca(), "web"), world.ca());
    let wrong = |peer| Context {
        peer,
        ..exactly("TLSv1_3", PLAIN[0])
    };
    let clusters = vec![
        // Where the server's refusal comes after the client's side of the handshake, Envoy does not tell it.
        exactly("TLSv1_2", PLAIN[0]).cluster(&secrets, "good", address, false),
        wrong(json!({ "exact": "spiffe://cluster.local/ns/shop/sa/billing" }))
            .cluster(&secrets, "other", address, false),
        wrong(json!({ "prefix": "spiffe://cluster.local/ns/bank/" })).cluster(&secrets, "bank", address, false),
    ];
    let envoy = Envoy::start(&binary, &secrets, vec![outbound("out")], clusters).await;
    let door = envoy.address("out").await;

    // Envoy expects somebody else.
    for name in ["other", "bank"] {
        let answer = ask(door, "/", &format!("x-to: {name}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.contains("CERTIFICATE_VERIFY_FAILED"), "{answer}");
    }
    assert!(envoy.counter("cluster.other.ssl.fail_verify_san").await > 0);

    // Envoy is somebody else: an authority of the same name, which is not ours.
    let stranger = World::new();
    envoy.secrets.own(&issue(stranger.ca(), "web"));
    let answer = until_answer(door, "x-to: good\r\n", "HTTP/1.1 503").await;
    assert!(answer.contains("TLS_error") && answer.contains("ALERT"), "{answer}");
    assert!(
        mesh.metrics().render().contains("result=\"failed\""),
        "{}",
        mesh.metrics().render()
    );

    envoy.secrets.own(&issue(world.ca(), "web"));
    until_answer(door, "x-to: good\r\n", "HTTP/1.1 200").await;
}

#[tokio::test]
async fn a_whole_authority_is_replaced_under_both() {
    let binary = envoy!();
    let (world, folder) = world();
    let (_mesh, address, identity) = orders(&world).await;
    let (old, new) = (world.ca(), World::new());
    let secrets = Secrets::new(&folder, &issue(old, "web"), old);
    let cluster = exactly("TLSv1_3", ISTIO[1]).cluster(&secrets, "orders", address, true);
    let envoy = Envoy::start(&binary, &secrets, vec![outbound("out")], vec![cluster]).await;
    let door = envoy.address("out").await;
    let (good, refused) = ("HTTP/1.1 200", "HTTP/1.1 503");
    until_answer(door, "x-to: orders\r\n", good).await;

    // Our side alone: Envoy does not know the new authority, nor is its certificate known.
    let own = || issue(new.ca(), "orders").svid().unwrap();
    identity.rotate(own(), new.ca().bundles().unwrap()).unwrap();
    until_answer(door, "x-to: orders\r\n", refused).await;

    envoy.secrets.trust(&[old, new.ca()]);
    envoy.secrets.own(&issue(new.ca(), "web"));
    until_answer(door, "x-to: orders\r\n", good).await;

    // And once more within the new authority, without a request that fails.
    identity.rotate(own(), new.ca().bundles().unwrap()).unwrap();
    envoy.secrets.own(&issue(new.ca(), "web"));
    for _ in 0..20 {
        assert!(ask(door, "/", "x-to: orders\r\n").await.starts_with(good));
    }
}

#[tokio::test]
async fn grpc_with_its_trailers_and_its_refusals() {
    let binary = envoy!();
    let (world, folder) = world();
    let denied = "
namespace: shop
authorization:
  - { name: no-deletes, service: orders, deny: [{ paths: [/shop.Orders/Delete] }] }
";
    world.write("rules.yaml", denied);
    let (_mesh, address, _) = orders(&world).await;
    let secrets = Secrets::new(&folder, &issue(world.ca(), "web"), world.ca());
    let cluster = exactly("TLSv1_3", ISTIO[1]).cluster(&secrets, "orders", address, true);
    let envoy = Envoy::start(&binary, &secrets, vec![outbound("out")], vec![cluster]).await;
    let door = envoy.address("out").await;

    let (head, trailers) = call(door, "/shop.Orders/List").await;
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(trailers.unwrap()["grpc-status"], "0");
    let (head, trailers) = call(door, "/shop.Orders/Delete").await;
    let status = head.headers().get("grpc-status").cloned();
    assert_eq!(status.or_else(|| trailers?.remove("grpc-status")).unwrap(), "7");
}

/// A gRPC call over HTTP/2 with prior knowledge; head and trailers of the answer.
async fn call(address: SocketAddr, path: &str) -> (Response<()>, Option<http::HeaderMap>) {
    let stream = TcpStream::connect(address).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post(format!("http://orders{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("x-to", "orders");
    let body = Full::<bytes::Bytes>::from(&b"\0\0\0\0\0"[..]);
    let response = sender.send_request(request.body(body).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    let trailers = body.collect().await.unwrap().trailers().cloned();
    (Response::from_parts(head, ()), trailers)
}

#[tokio::test]
async fn a_mode_that_turns_strict_shuts_its_plain_text_out() {
    let binary = envoy!();
    let (world, folder) = world();
    let (mesh, address, _) = orders(&world).await;
    let secrets = Secrets::new(&folder, &issue(world.ca(), "web"), world.ca());
    let clusters = vec![envoy::plain_cluster("plain", address, false)];
    let envoy = Envoy::start(&binary, &secrets, vec![outbound("out")], clusters).await;
    let door = envoy.address("out").await;
    assert!(ask(door, "/", "x-to: plain\r\n").await.starts_with("HTTP/1.1 503"));

    world.write("mesh.yaml", "mesh: { mtls: permissive }\n");
    mesh_tests::world::generation(&mesh, 2).await;
    let answer = ask(door, "/", "x-to: plain\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("None"),
        "{answer}"
    );
    until("the request is counted as plain text", || {
        mesh.metrics().render().contains("mesh_plaintext_requests_total")
    })
    .await;
}
