//! A Workload API on a Unix socket, as a SPIRE agent serves it, that does what a test tells it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::routing::post;
use futures_util::Stream;
use futures_util::stream::unfold;
use mesh_core::identity::SpiffeId;
use mesh_tls::authority::DevCa;
use mesh_tls::source::workload_api::WorkloadApi;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::server::{Grpc, ServerStreamingService};
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;

/// The messages of the contract, as `prost-build` would write them.
#[derive(Clone, PartialEq, prost::Message)]
pub struct X509SvidRequest {}

/// All that an agent tells.
#[derive(Clone, PartialEq, prost::Message)]
pub struct X509SvidResponse {
    /// The identities, the default first.
    #[prost(message, repeated, tag = "1")]
    pub svids: Vec<X509Svid>,
    /// Revocation lists.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub crl: Vec<Vec<u8>>,
    /// By the id of the trust domain.
    #[prost(map = "string, bytes", tag = "3")]
    pub federated_bundles: HashMap<String, Vec<u8>>,
}

/// One identity.
#[derive(Clone, PartialEq, prost::Message)]
pub struct X509Svid {
    /// Its id.
    #[prost(string, tag = "1")]
    pub spiffe_id: String,
    /// Its certificates.
    #[prost(bytes = "vec", tag = "2")]
    pub x509_svid: Vec<u8>,
    /// Its key.
    #[prost(bytes = "vec", tag = "3")]
    pub x509_svid_key: Vec<u8>,
    /// Whom to trust.
    #[prost(bytes = "vec", tag = "4")]
    pub bundle: Vec<u8>,
    /// What it is for.
    #[prost(string, tag = "5")]
    pub hint: String,
}

/// The DER of an authority's certificate.
#[must_use]
pub fn bundle(ca: &DevCa) -> Vec<u8> {
    CertificateDer::from_pem_slice(ca.certificate_pem().as_bytes())
        .unwrap()
        .to_vec()
}

/// An identity for an hour.
#[must_use]
pub fn granted(ca: &DevCa, id: &str) -> X509Svid {
    let parsed = SpiffeId::parse(id).unwrap();
    let issued = ca.issue(&parsed, Duration::from_secs(3600), SystemTime::now()).unwrap();
    let chain = CertificateDer::pem_slice_iter(issued.chain_pem.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).unwrap();
    X509Svid {
        spiffe_id: id.to_owned(),
        x509_svid: chain.flat_map(|certificate| certificate.unwrap().to_vec()).collect(),
        x509_svid_key: key.secret_der().to_vec(),
        bundle: bundle(ca),
        hint: String::new(),
    }
}

/// A response with these identities.
#[must_use]
pub fn response(svids: Vec<X509Svid>) -> X509SvidResponse {
    X509SvidResponse {
        svids,
        ..X509SvidResponse::default()
    }
}

/// What is done on open streams, and on those that come.
#[derive(Clone, Debug)]
enum Act {
    Wait,
    Send(X509SvidResponse),
    Refuse(Code),
    End,
}

/// A running agent. Dropping it takes its socket away.
#[derive(Debug)]
pub struct Agent {
    directory: tempfile::TempDir,
    act: watch::Sender<Act>,
    calls: Arc<AtomicUsize>,
    serving: Option<JoinHandle<()>>,
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Agent {
    /// An agent that is not there yet.
    #[must_use]
    pub fn absent() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            act: watch::Sender::new(Act::Wait),
            calls: Arc::default(),
            serving: None,
        }
    }

    /// An agent that grants these identities.
    #[must_use]
    pub fn granting(svids: Vec<X509Svid>) -> Self {
        let mut agent = Self::absent();
        agent.send(response(svids));
        agent.start();
        agent
    }

    /// Binds the socket.
    pub fn start(&mut self) {
        let listener = UnixListener::bind(self.socket()).unwrap();
        let calls = Call {
            act: self.act.subscribe(),
            count: Arc::clone(&self.calls),
        };
        let call = move |request: http::Request<axum::body::Body>| async move {
            Grpc::new(ProstCodec::<X509SvidResponse, X509SvidRequest>::default())
                .server_streaming(calls, request)
                .await
        };
        let app = Router::new().route("/SpiffeWorkloadAPI/FetchX509SVID", post(call));
        self.serving = Some(tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }));
    }

    /// Ends all streams, and is not there any more.
    pub fn stop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            std::fs::remove_file(self.socket()).unwrap();
        }
        self.act.send_replace(Act::End);
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("agent.sock")
    }

    /// Its endpoint, as `SPIFFE_ENDPOINT_SOCKET` has it.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// How to ask it.
    pub fn api(&self) -> WorkloadApi {
        WorkloadApi::at(self.endpoint()).unwrap()
    }

    /// Sends a response on all streams, and first on those that come.
    pub fn send(&self, response: X509SvidResponse) {
        self.act.send_replace(Act::Send(response));
    }

    /// Ends all streams with an error, and those that come.
    pub fn refuse(&self, code: Code) {
        self.act.send_replace(Act::Refuse(code));
    }

    /// Ends all streams.
    pub fn end(&self) {
        self.act.send_replace(Act::End);
    }

    /// How many calls there were.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

#[derive(Clone)]
struct Call {
    act: watch::Receiver<Act>,
    count: Arc<AtomicUsize>,
}

type Answers = Pin<Box<dyn Stream<Item = Result<X509SvidResponse, Status>> + Send>>;

impl ServerStreamingService<X509SvidRequest> for Call {
    type Response = X509SvidResponse;
    type ResponseStream = Answers;
    type Future = std::future::Ready<Result<Response<Answers>, Status>>;

    fn call(&mut self, request: Request<X509SvidRequest>) -> Self::Future {
        self.count.fetch_add(1, Ordering::SeqCst);
        let header = request.metadata().get("workload.spiffe.io");
        if header.is_none_or(|value| value != "true") {
            return std::future::ready(Err(Status::invalid_argument("security header missing from request")));
        }
        let mut act = self.act.clone();
        act.mark_changed();
        std::future::ready(Ok(Response::new(Box::pin(unfold(Some(act), answer)))))
    }
}

type Acting = Option<watch::Receiver<Act>>;

async fn answer(act: Acting) -> Option<(Result<X509SvidResponse, Status>, Acting)> {
    let mut act = act?;
    loop {
        act.changed().await.ok()?;
        let now = act.borrow_and_update().clone();
        match now {
            Act::Wait => {}
            Act::Send(response) => return Some((Ok(response), Some(act))),
            Act::Refuse(code) => return Some((Err(Status::new(code, "no identity issued")), None)),
            Act::End => return None,
        }
    }
}
