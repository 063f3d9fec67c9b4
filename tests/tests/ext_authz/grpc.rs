//! Authorizers over gRPC, served by tonic.

use std::collections::HashMap;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::post;
use http::Request;
use tokio::net::TcpListener;
use tonic::server::UnaryService;
use tonic::{Response, Status};
use tonic_prost::ProstCodec;

use super::scene::{CUSTOM, Scene, grpc_provider};

/// `envoy.service.auth.v3`, as `prost-build` writes it, as far as these tests look.
mod pb {
    use std::collections::HashMap;

    use prost::{Message, Oneof};

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct CheckRequest {
        #[prost(message, optional, tag = "1")]
        pub(super) attributes: Option<Attributes>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Attributes {
        #[prost(message, optional, tag = "1")]
        pub(super) source: Option<Peer>,
        #[prost(message, optional, tag = "2")]
        pub(super) destination: Option<Peer>,
        #[prost(message, optional, tag = "4")]
        pub(super) request: Option<AttributeRequest>,
        #[prost(message, optional, tag = "12")]
        pub(super) tls_session: Option<Text>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Peer {
        #[prost(message, optional, tag = "1")]
        pub(super) address: Option<Address>,
        #[prost(string, tag = "4")]
        pub(super) principal: String,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Address {
        #[prost(message, optional, tag = "1")]
        pub(super) socket: Option<Socket>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Socket {
        #[prost(string, tag = "2")]
        pub(super) address: String,
        #[prost(uint32, tag = "3")]
        pub(super) port: u32,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Text {
        #[prost(string, tag = "1")]
        pub(super) text: String,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct AttributeRequest {
        #[prost(message, optional, tag = "1")]
        pub(super) time: Option<Time>,
        #[prost(message, optional, tag = "2")]
        pub(super) http: Option<Http>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Time {
        #[prost(int64, tag = "1")]
        pub(super) seconds: i64,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Http {
        #[prost(string, tag = "1")]
        pub(super) id: String,
        #[prost(string, tag = "2")]
        pub(super) method: String,
        #[prost(map = "string, string", tag = "3")]
        pub(super) headers: HashMap<String, String>,
        #[prost(string, tag = "4")]
        pub(super) path: String,
        #[prost(string, tag = "5")]
        pub(super) host: String,
        #[prost(string, tag = "6")]
        pub(super) scheme: String,
        #[prost(int64, tag = "9")]
        pub(super) size: i64,
        #[prost(string, tag = "10")]
        pub(super) protocol: String,
        #[prost(string, tag = "11")]
        pub(super) body: String,
        #[prost(bytes = "vec", tag = "12")]
        pub(super) raw_body: Vec<u8>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct CheckResponse {
        #[prost(message, optional, tag = "1")]
        pub(super) status: Option<Code>,
        #[prost(oneof = "Said", tags = "2, 3, 5")]
        pub(super) said: Option<Said>,
    }

    #[derive(Clone, Copy, PartialEq, Message)]
    pub(super) struct Code {
        #[prost(int32, tag = "1")]
        pub(super) code: i32,
    }

    #[derive(Clone, PartialEq, Oneof)]
    pub(super) enum Said {
        #[prost(message, tag = "2")]
        Denied(Denied),
        #[prost(message, tag = "3")]
        Ok(Allowed),
        #[prost(message, tag = "5")]
        Error(Denied),
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Denied {
        #[prost(message, optional, tag = "1")]
        pub(super) status: Option<Code>,
        #[prost(message, repeated, tag = "2")]
        pub(super) headers: Vec<HeaderOption>,
        #[prost(string, tag = "3")]
        pub(super) body: String,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Allowed {
        #[prost(message, repeated, tag = "2")]
        pub(super) headers: Vec<HeaderOption>,
        #[prost(string, repeated, tag = "5")]
        pub(super) headers_to_remove: Vec<String>,
        #[prost(message, repeated, tag = "6")]
        pub(super) response_headers: Vec<HeaderOption>,
        #[prost(message, repeated, tag = "7")]
        pub(super) query_set: Vec<Pair>,
        #[prost(string, repeated, tag = "8")]
        pub(super) query_removed: Vec<String>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct HeaderOption {
        #[prost(message, optional, tag = "1")]
        pub(super) header: Option<Pair>,
        #[prost(message, optional, tag = "2")]
        pub(super) append: Option<Flag>,
        #[prost(int32, tag = "3")]
        pub(super) action: i32,
    }

    #[derive(Clone, Copy, PartialEq, Message)]
    pub(super) struct Flag {
        #[prost(bool, tag = "1")]
        pub(super) value: bool,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Pair {
        #[prost(string, tag = "1")]
        pub(super) key: String,
        #[prost(string, tag = "2")]
        pub(super) value: String,
    }
}

use pb::{Allowed, CheckRequest, CheckResponse, Code, Denied, Flag, HeaderOption, Pair, Said};

/// What was asked, and the metadata of the call.
type Call = (CheckRequest, HashMap<String, String>);

/// Answers as it is told to, and keeps what it was asked.
#[derive(Clone)]
struct Authz {
    answer: Arc<Mutex<Result<CheckResponse, Status>>>,
    asked: Arc<Mutex<Vec<Call>>>,
}

impl UnaryService<CheckRequest> for Authz {
    type Response = CheckResponse;
    type Future = Ready<Result<Response<CheckResponse>, Status>>;

    fn call(&mut self, request: tonic::Request<CheckRequest>) -> Self::Future {
        let metadata = request.metadata().clone().into_headers();
        let metadata = metadata
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
        let metadata = metadata.collect();
        self.asked.lock().unwrap().push((request.into_inner(), metadata));
        ready(self.answer.lock().unwrap().clone().map(Response::new))
    }
}

impl Authz {
    async fn start(answer: CheckResponse) -> (Self, SocketAddr) {
        let authz = Self {
            answer: Arc::new(Mutex::new(Ok(answer))),
            asked: Arc::default(),
        };
        let served = authz.clone();
        let check = move |request: Request<axum::body::Body>| async move {
            let codec = ProstCodec::<CheckResponse, CheckRequest>::default();
            tonic::server::Grpc::new(codec).unary(served.clone(), request).await
        };
        let app = Router::new().route("/envoy.service.auth.v3.Authorization/Check", post(check));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        (authz, address)
    }

    fn answer(&self, answer: Result<CheckResponse, Status>) {
        *self.answer.lock().unwrap() = answer;
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn last(&self) -> (pb::Attributes, HashMap<String, String>) {
        let (request, metadata) = self.asked.lock().unwrap().last().cloned().unwrap();
        (request.attributes.unwrap(), metadata)
    }
}

fn allowed(allowed: Allowed) -> CheckResponse {
    CheckResponse {
        status: Some(Code { code: 0 }),
        said: Some(Said::Ok(allowed)),
    }
}

fn denied(code: i32, denied: Denied) -> CheckResponse {
    CheckResponse {
        status: Some(Code { code }),
        said: Some(Said::Denied(denied)),
    }
}

fn pair(key: &str, value: &str) -> Pair {
    let (key, value) = (key.to_owned(), value.to_owned());
    Pair { key, value }
}

fn header(key: &str, value: &str) -> HeaderOption {
    HeaderOption {
        header: Some(pair(key, value)),
        ..HeaderOption::default()
    }
}

async fn scene(fields: &str, answer: CheckResponse) -> (Authz, Scene) {
    let (authz, address) = Authz::start(answer).await;
    let scene = Scene::new(address, &grpc_provider(fields), &[CUSTOM]).await;
    (authz, scene)
}

#[tokio::test]
async fn the_check_tells_who_asks_for_what() {
    let (authz, scene) = scene("timeout: 5s", allowed(Allowed::default())).await;

    let request = Request::post("http://orders/%61dmin//users?page=2")
        .header("X-Team", "red")
        .header("x-team", "blue")
        .header("x-request-id", "42")
        .header("x-forwarded-client-cert", "URI=spiffe://cluster.local/ns/shop/sa/admin");
    assert_eq!(scene.send(request).await.status, 200);

    let (attributes, metadata) = authz.last();
    let source = attributes.source.unwrap();
    assert_eq!(source.principal, "spiffe://cluster.local/ns/shop/sa/web");
    assert_eq!(source.address.unwrap().socket.unwrap().address, "127.0.0.1");
    let destination = attributes.destination.unwrap();
    assert_eq!(destination.principal, "spiffe://cluster.local/ns/shop/sa/orders");
    let socket = destination.address.unwrap().socket.unwrap();
    assert_eq!(socket.port, u32::from(scene.address.port()));
    let request = attributes.request.unwrap();
    assert!(request.time.unwrap().seconds > 1_700_000_000);
    let http = request.http.unwrap();
    assert_eq!(
        (http.method.as_str(), http.path.as_str()),
        ("POST", "/admin/users?page=2")
    );
    assert_eq!((http.host.as_str(), http.scheme.as_str()), ("orders", "https"));
    assert_eq!(http.id, "42");
    assert_eq!(http.headers["x-team"], "red,blue");
    assert_eq!(
        (http.headers[":path"].as_str(), http.headers[":authority"].as_str()),
        ("/admin/users?page=2", "orders")
    );
    assert!(!http.headers.contains_key("x-forwarded-client-cert"));
    assert!(["HTTP/1.1", "HTTP/2"].contains(&http.protocol.as_str()));
    assert!(http.body.is_empty() && http.raw_body.is_empty());
    let timeout = metadata["grpc-timeout"].as_str();
    assert!(timeout.starts_with(['4', '5']), "{timeout}");
    assert_eq!(scene.orders.last_target(), "/admin/users?page=2");
    assert_eq!((scene.checks("allowed"), authz.asked()), (1, 1));
}

#[tokio::test]
async fn an_answer_that_allows_changes_the_request_and_the_response() {
    let append = HeaderOption {
        append: Some(Flag { value: true }),
        ..header("x-team", "green")
    };
    let absent = HeaderOption {
        action: 1,
        ..header("x-user", "late")
    };
    let answer = Allowed {
        headers: vec![
            header("x-user", "alice"),
            append,
            absent,
            header("x-forwarded-client-cert", "URI=spiffe://cluster.local/ns/shop/sa/admin"),
            header(":path", "/elsewhere"),
            header("host", "elsewhere"),
            header("content-length", "7"),
        ],
        headers_to_remove: vec!["x-token".into(), "host".into()],
        response_headers: vec![header("x-rate", "9")],
        query_set: vec![pair("tenant", "a b")],
        query_removed: vec!["token".into()],
    };
    let (_authz, scene) = scene("", allowed(answer)).await;

    let request = Request::get("http://orders/admin?token=t&page=2")
        .header("x-user", "forged")
        .header("x-team", "red")
        .header("x-token", "t");
    let answer = scene.send(request).await;

    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["x-rate"], "9");
    let (headers, _) = scene.orders.last();
    assert_eq!(headers["x-user"], "alice");
    let teams: Vec<_> = headers.get_all("x-team").iter().collect();
    assert_eq!(teams, ["red", "green"]);
    assert_eq!(
        (headers.get("x-token"), headers.get("x-forwarded-client-cert")),
        (None, None)
    );
    assert_eq!(scene.orders.last_target(), "/admin?page=2&tenant=a%20b");
}

#[tokio::test]
async fn a_denial_brings_status_headers_and_body() {
    let body = Denied {
        status: Some(Code { code: 429 }),
        headers: vec![header("retry-after", "7"), header("content-length", "1")],
        body: "slow down".into(),
    };
    let (authz, scene) = scene("", denied(7, body)).await;

    let answer = scene.get("/admin").await;
    assert_eq!((answer.status, answer.text.as_str()), (429, "slow down"));
    assert_eq!(answer.headers["retry-after"], "7");

    // Without words of its own a denial is 403.
    authz.answer(Ok(CheckResponse {
        status: Some(Code { code: 16 }),
        said: None,
    }));
    let answer = scene.get("/admin").await;
    assert_eq!((answer.status, answer.text.as_str()), (403, ""));
    assert_eq!((scene.checks("denied"), scene.orders.hits()), (2, 0));
    assert_eq!(scene.logged(1).await[0]["response_code_details"], "ext_authz_denied");
}

#[tokio::test]
async fn a_grpc_call_is_denied_with_a_status_of_grpc() {
    let body = Denied {
        status: Some(Code { code: 401 }),
        headers: vec![header("x-reason", "none")],
        body: "who are you?".into(),
    };
    let (_authz, scene) = scene("", denied(16, body)).await;

    let call = Request::post("http://orders/admin.Users/List").header("content-type", "application/grpc");
    let answer = scene.send(call).await;

    assert_eq!((answer.status, answer.text.as_str()), (200, ""));
    let header = |name: &str| answer.headers[name].to_str().unwrap().to_owned();
    assert_eq!(
        (header("grpc-status"), header("grpc-message")),
        ("16".into(), "who are you?".into())
    );
    assert_eq!(header("x-reason"), "none");
    assert_eq!(scene.logged(1).await[0]["grpc_status"], 16);
}

#[tokio::test]
async fn answers_that_say_nothing_or_two_things_deny() {
    let empty = CheckResponse::default();
    let contradiction = denied(0, Denied::default());
    let failed = CheckResponse {
        status: Some(Code { code: 0 }),
        said: Some(Said::Error(Denied::default())),
    };
    let split = allowed(Allowed {
        headers: vec![header("x-user", "a\r\nx-admin: true")],
        ..Allowed::default()
    });
    let nonsense = denied(
        7,
        Denied {
            status: Some(Code { code: 99 }),
            ..Denied::default()
        },
    );
    let (authz, scene) = scene("", empty.clone()).await;
    let answers = [
        Ok(empty),
        Ok(contradiction),
        Ok(failed),
        Ok(split),
        Ok(nonsense),
        Err(Status::internal("broken")),
    ];
    let count = answers.len();
    for answer in answers {
        authz.answer(answer.clone());
        assert_eq!(scene.get("/admin").await.status, 403, "{answer:?}");
    }
    assert_eq!((scene.checks("error"), scene.orders.hits()), (count as u64, 0));
}

#[tokio::test]
async fn the_body_is_told_as_text_or_as_bytes() {
    let part = "includeRequestBodyInCheck: { maxRequestBytes: 3, allowPartialMessage: true";
    for (form, body, raw) in [("}", "a\u{fffd}b", &b""[..]), (", packAsBytes: true }", "", b"a\xffb")] {
        let (authz, scene) = scene(&format!("{part}{form}"), allowed(Allowed::default())).await;
        assert_eq!(scene.post("/admin", b"a\xffbc".to_vec()).await.status, 200);

        let http = authz.last().0.request.unwrap().http.unwrap();
        assert_eq!((http.body.as_str(), http.raw_body.as_slice()), (body, raw));
        assert_eq!(http.headers["x-envoy-auth-partial-body"], "true");
        assert_eq!(scene.orders.last().1, b"a\xffbc");
    }
}

#[tokio::test]
async fn native_policies_name_authorizers_too() {
    const ASK: &str = "
namespace: shop
authorization:
  - { name: ask, selector: { app: orders }, provider: opa, custom: [{ paths: ['/admin*'] }] }
authorizers:
  - { name: opa, protocol: { grpc: true }, service: authz, port: 80, timeout: 2s, failure_status: 503 }
";
    let (authz, address) = Authz::start(allowed(Allowed::default())).await;
    let scene = Scene::new(address, "mesh: { access_log: { path: LOG, encoding: json } }\n", &[ASK]).await;

    assert_eq!(scene.get("/admin").await.status, 200);
    authz.answer(Err(Status::unavailable("gone")));
    assert_eq!(scene.get("/admin").await.status, 503);
    assert!(authz.asked() >= 2);
}
