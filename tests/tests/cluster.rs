//! Kubernetes' services, SMI's splits and targets, and Cilium's policies over sockets.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking"
)]

use std::net::SocketAddr;

use http::Request;
use mesh_core::workload::Workload;
use mesh_tests::world::{get, plain_text_of, send};
use mesh_tests::{Backend, World};
use mesh_tower::Mesh;
use mesh_tower::client::Client;
use tokio::net::TcpListener;

/// A service of the namespace `shop`, and the slice that lists its only endpoint.
fn service(name: &str, endpoint: SocketAddr) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{ name: {name}, namespace: shop }}
spec:
  selector: {{ app: {name} }}
  ports: [{{ name: http, port: 80, targetPort: web }}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{ name: {name}-x7k2p, namespace: shop, labels: {{ kubernetes.io/service-name: {name} }} }}
addressType: IPv4
endpoints:
- {{ addresses: [{}], conditions: {{ ready: true }} }}
- {{ addresses: [192.0.2.1], conditions: {{ ready: false }} }}
ports: [{{ name: http, port: {} }}]
---
",
        endpoint.ip(),
        endpoint.port()
    )
}

const STRICT: &str = "apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: all, namespace: shop }
spec: { mtls: { mode: STRICT } }
---
";

/// The server `web` of `shop` behind its mesh, under a policy that may name its port.
async fn guarded(world: &World, policy: impl Fn(u16) -> String) -> (SocketAddr, Backend, Mesh) {
    let backend = Backend::start("web").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    world.write("services.yaml", &service("web", address));
    world.write("policy.yaml", &policy(address.port()));
    let mesh = world.mesh(&Workload::new("shop", "web").label("app", "web")).await;
    let (serving, app) = (mesh.clone(), backend.router());
    tokio::spawn(async move { serving.serve(listener, app).await.unwrap() });
    (address, backend, mesh)
}

async fn status(client: &Client, method: &str, uri: &str) -> u16 {
    let request = Request::builder().method(method).uri(uri);
    send(client, request).await.unwrap().status
}

#[tokio::test]
async fn a_service_is_called_at_the_ready_endpoints_of_its_slices() {
    let world = World::new();
    let backend = Backend::start("web").await;
    let alias = |name: &str, of: &str| {
        format!(
            "apiVersion: v1
kind: Service
metadata: {{ name: {name}, namespace: shop }}
spec: {{ type: ExternalName, externalName: {of}.shop.svc.cluster.local }}
---
"
        )
    };
    // A name of a name stands before that one.
    let aliases = alias("older", "old") + &alias("old", "web");
    world.write("web.yaml", &(aliases + &service("web", backend.address)));
    let (_mesh, client) = world.client("shop", "caller").await;

    for host in ["web", "web.shop", "web.shop.svc.cluster.local", "old", "older"] {
        for _ in 0..2 {
            assert_eq!(
                get(&client, &format!("http://{host}/")).await.unwrap().text,
                "web",
                "{host}"
            );
        }
    }
    assert_eq!(backend.hits(), 10);
}

#[tokio::test]
async fn a_split_of_some_requests_leaves_the_others_with_the_service() {
    let world = World::new();
    let mut text = String::new();
    for name in ["web", "v1", "v2"] {
        let backend = Backend::start(name).await;
        text.push_str(&service(name, backend.address));
    }
    text.push_str(
        "apiVersion: split.smi-spec.io/v1alpha4
kind: TrafficSplit
metadata: { name: beta, namespace: shop }
spec:
  service: web
  matches: [{ kind: HTTPRouteGroup, name: beta, apiGroup: specs.smi-spec.io }]
  backends: [{ service: v1, weight: 0 }, { service: v2, weight: 100 }]
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: { name: beta, namespace: shop }
spec:
  matches:
  - { name: users, headers: { x-user: '.*@beta' } }
  - { name: path, pathRegex: /beta, methods: [GET] }
",
    );
    world.write("all.yaml", &text);
    let (_mesh, client) = world.client("shop", "caller").await;
    let text = async |request: http::request::Builder| send(&client, request).await.unwrap().text;

    assert_eq!(text(Request::get("http://web/")).await, "web");
    assert_eq!(text(Request::get("http://web/").header("x-user", "a@beta")).await, "v2");
    assert_eq!(
        text(Request::get("http://web/").header("x-user", "a@beta.org")).await,
        "web"
    );
    assert_eq!(text(Request::get("http://web/beta/1")).await, "v2");
    assert_eq!(text(Request::post("http://web/beta/1")).await, "web");
    assert_eq!(text(Request::get("http://v1/beta")).await, "v1");
}

#[tokio::test]
async fn a_target_lets_its_sources_send_its_requests_and_no_others() {
    let world = World::new();
    let policy = |port: u16| {
        format!(
            "{STRICT}apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {{ name: readers, namespace: shop }}
spec:
  destination: {{ kind: ServiceAccount, name: web, port: {port} }}
  rules: [{{ kind: HTTPRouteGroup, name: api, matches: [read] }}]
  sources: [{{ kind: ServiceAccount, name: front, namespace: edge }}]
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {{ name: api, namespace: shop }}
spec:
  matches: [{{ name: read, pathRegex: /api, methods: [GET] }}, {{ name: all, methods: ['*'] }}]
"
        )
    };
    let (_address, backend, _mesh) = guarded(&world, policy).await;
    let (_front, front) = world.client("edge", "front").await;
    let (_other, other) = world.client("shop", "front").await;

    assert_eq!(status(&front, "GET", "http://web.shop/api/orders").await, 200);
    assert_eq!(status(&front, "POST", "http://web.shop/api/orders").await, 403);
    assert_eq!(status(&front, "GET", "http://web.shop/admin").await, 403);
    assert_eq!(status(&other, "GET", "http://web.shop/api/orders").await, 403);
    assert_eq!(backend.hits(), 1);
}

#[tokio::test]
async fn a_network_policy_of_cilium_lets_in_whom_and_what_it_names() {
    let world = World::new();
    let policy = |port: u16| {
        format!(
            "apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {{ name: web, namespace: shop }}
spec:
  endpointSelector: {{ matchLabels: {{ app: web }} }}
  ingress:
  - toPorts:
    - ports: [{{ port: '{port}', protocol: TCP }}]
      rules:
        http:
        - {{ method: GET, path: '/public([?].*)?' }}
        - {{ method: PUT, path: /public, headers: ['X-Token: open'] }}
  - fromEndpoints:
    - matchLabels: {{ 'k8s:io.kubernetes.pod.namespace': edge, io.cilium.k8s.policy.serviceaccount: front }}
  ingressDeny:
  - fromEndpoints: [{{ matchLabels: {{ io.kubernetes.pod.namespace: attic }} }}]
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{ name: all, namespace: shop }}
spec: {{ mtls: {{ mode: STRICT }} }}
"
        )
    };
    let (address, backend, _mesh) = guarded(&world, policy).await;
    let (_front, front) = world.client("edge", "front").await;
    let (_other, other) = world.client("edge", "other").await;
    let (_attic, attic) = world.client("attic", "front").await;

    assert_eq!(status(&front, "DELETE", "http://web.shop/private").await, 200);
    assert_eq!(status(&other, "GET", "http://web.shop/public?page=2").await, 200);
    assert_eq!(status(&other, "GET", "http://web.shop/public/x").await, 403);
    assert_eq!(status(&other, "PUT", "http://web.shop/public").await, 403);
    let request = Request::put("http://web.shop/public").header("x-token", "open");
    assert_eq!(send(&other, request).await.unwrap().status, 200);
    assert_eq!(status(&attic, "GET", "http://web.shop/public").await, 403);
    assert_eq!(plain_text_of("web", address, "/public").await, "");
    assert_eq!(backend.hits(), 3);
}
