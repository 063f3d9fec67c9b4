//! The front door: a process whose labels a `Gateway` selects serves its hosts and routes by the rules bound to it.
//!
//! ```no_run
//! # async fn example(mesh: mesh_tower::Mesh) -> std::io::Result<()> {
//! let listener = tokio::net::TcpListener::bind("0.0.0.0:8443").await?;
//! mesh.gateway().port(443).serve(listener).await
//! # }
//! ```
//!
//! TLS (mode SIMPLE) shows the certificate in the folder that `credentialName` names, below
//! [`MeshBuilder::credentials`](crate::mesh::MeshBuilder::credentials); new files are used from the next handshake on. A
//! request whose host is not the one that its connection was made for is answered with 421.

mod credentials;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use mesh_core::request::{Transport, lines};
use mesh_tls::web::accept_web;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tower_service::Service;

pub(crate) use credentials::Credentials;

use crate::body::{Body, BoxError};
use crate::client::stack::{Via, exchange};
use crate::mesh::{Live, Mesh, Shared};
use crate::server::Peer;
use crate::server::accept::{self, Port};
use crate::server::connection::{Connection, Security};
use crate::server::secure::{Refused, Secured, left, plain_version_within, version};
use crate::server::stack::{self, Answered};
use crate::stream::Stream;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

impl Mesh {
    /// The gateways that the policy gives to this process.
    #[must_use]
    pub fn gateway(&self) -> Gateway {
        Gateway {
            shared: Arc::clone(self.shared()),
            port: None,
        }
    }
}

/// Serves the gateways of this process: as a listener, or as a tower service behind one. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gateway {
    shared: Arc<Shared>,
    port: Option<u16>,
}

impl Gateway {
    /// The port as the policy numbers it (443), which need not be the one that is listened on.
    #[must_use]
    pub const fn port(mut self, number: u16) -> Self {
        self.port = Some(number);
        self
    }

    /// Serves a listener until [`Mesh::shutdown`].
    ///
    /// Without [`port`](Self::port), the policy's port is the listener's number, or the only one that the gateways have.
    ///
    /// # Errors
    ///
    /// Where the policy gives this process no gateway with that port, or the port cannot be told.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the listener and all connections.
    pub async fn serve(self, listener: TcpListener) -> io::Result<()> {
        let local = listener.local_addr()?;
        let number = self.number(local.port()).map_err(io::Error::other)?;
        let shared = Arc::clone(&self.shared);
        let port = GatewayPort {
            shared: Arc::clone(&shared),
            number,
        };
        accept::run(listener, shared, port).await
    }

    fn number(&self, local: u16) -> Result<u16, String> {
        let numbers = self.shared.live.load().gateway_ports();
        let wanted = self.port.unwrap_or(local);
        match numbers.as_slice() {
            _ if numbers.contains(&wanted) => Ok(wanted),
            [only] if self.port.is_none() => Ok(*only),
            [] => Err("the policy gives no gateway to this workload: no `selector` matches its labels".into()),
            known => Err(format!(
                "the gateways of this workload have the ports {known:?}, not {wanted}: name one with `Gateway::port`"
            )),
        }
    }
}

impl Live {
    /// The ports of all gateways, ascending.
    fn gateway_ports(&self) -> Vec<u16> {
        let mut numbers: Vec<u16> = self.gateway_numbers().collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    fn first_gateway_port(&self) -> Option<u16> {
        self.gateway_numbers().min()
    }

    fn gateway_numbers(&self) -> impl Iterator<Item = u16> {
        let ports = self.snapshot.gateways.iter().flat_map(|gateway| &gateway.ports);
        ports.map(|port| port.number)
    }
}

/// A gateway behind a listener of the application's own: routes and forwards; TLS is the listener's.
impl<B> Service<Request<B>> for Gateway
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let first = || self.shared.live.load().first_gateway_port();
        let port = self.port.or_else(first).unwrap_or_default();
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { Ok(forward(shared, port, request.map(Body::new)).await) })
    }
}

/// A port of the gateways, as connections come in on it.
#[derive(Clone)]
struct GatewayPort {
    shared: Arc<Shared>,
    number: u16,
}

impl Port for GatewayPort {
    async fn secure(&self, stream: TcpStream, remote: SocketAddr) -> Result<Secured, Refused> {
        let deadline = Instant::now() + self.shared.settings.handshake_timeout;
        let local = stream.local_addr()?;
        stream.set_nodelay(true)?;
        let live = self.shared.live.load_full();
        let config = self.shared.credentials.of_port(&live.snapshot, self.number);
        let Some(config) = config else {
            let http = plain_version_within(&stream, deadline).await?;
            let connection = self.connection(Transport::Plain, None, remote, local);
            let stream = Stream::plain(stream);
            return Ok(Secured {
                stream,
                connection,
                http,
            });
        };
        let config = config.map_err(Refused::Config)?;
        let accepted = accept_web(stream, config, left(deadline)).await;
        let handshakes = &self.shared.handshakes;
        let (stream, alpn, name) = accepted.inspect_err(|error| handshakes.failed(remote, error))?;
        handshakes.succeeded(None);
        Ok(Secured {
            stream: Stream::tls(stream),
            connection: self.connection(
                Transport::Tls,
                name.map(|name| name.to_ascii_lowercase().into()),
                remote,
                local,
            ),
            http: version(alpn),
        })
    }

    fn answer(&self, connection: &Arc<Connection>, request: Request<Body>) -> Answered<BoxError> {
        let (shared, number) = (Arc::clone(&self.shared), self.number);
        stack::serve(connection, request, move |request| async move {
            Ok::<_, BoxError>(forward(shared, number, request).await)
        })
    }
}

impl GatewayPort {
    fn connection(
        &self,
        transport: Transport,
        server_name: Option<Arc<str>>,
        remote: SocketAddr,
        local: SocketAddr,
    ) -> Arc<Connection> {
        let security = Security::Web {
            transport,
            port: self.number,
            server_name,
        };
        Arc::new(Connection::new(Arc::clone(&self.shared), security, remote, local))
    }
}

/// Sends a request on by the gateway's routes; what fails is a response, as of a proxy.
async fn forward(shared: Arc<Shared>, port: u16, mut request: Request<Body>) -> Response<Body> {
    let peer = request.extensions_mut().remove::<Peer>();
    let caller = peer.as_ref().map(|peer| (peer.transport(), peer.remote_addr().ip()));
    if let Some(peer) = peer {
        say_who(request.headers_mut(), &peer);
    }
    let via = Via::Gateway { port, caller };
    match exchange(shared, via, Box::new(request)).await {
        Ok(response) => response,
        Err(error) if error.is_grpc() => error.to_grpc_response(),
        Err(error) => error.to_response(),
    }
}

/// Tells the service where the request came from: the address is appended to what earlier proxies said.
fn say_who(headers: &mut HeaderMap, peer: &Peer) {
    let address = peer.remote_addr().ip().to_string();
    let mut chain = Vec::new();
    for line in lines(headers, &FORWARDED_FOR) {
        chain.extend_from_slice(line);
        chain.extend_from_slice(b", ");
    }
    chain.extend_from_slice(address.as_bytes());
    if let Ok(chain) = HeaderValue::from_bytes(&chain) {
        headers.insert(FORWARDED_FOR, chain);
    }
    let scheme = match peer.transport() {
        Transport::Tls => "https",
        Transport::Plain => "http",
    };
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(scheme));
}
