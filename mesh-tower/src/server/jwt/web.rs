//! One question to a web server outside of the mesh: `GET`, and nothing that leads elsewhere.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HOST, USER_AGENT};
use http::{Request, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mesh_core::decide::jwt::{is_forbidden, literal};
use mesh_tls::clock::Clock as WallClock;
use mesh_tls::config::Alpn;
use mesh_tls::web::{WebClientConfig, connect_web};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;

use super::fetch::{FetchError, body_of};
use crate::discovery::Resolve;

/// Asks web servers over TLS.
#[derive(Debug)]
pub(crate) struct Web {
    /// A file with the authorities to trust; the system's, where there is none.
    authorities: Option<PathBuf>,
    system: OnceCell<Arc<WebClientConfig>>,
    resolver: Arc<dyn Resolve>,
    clock: WallClock,
}

/// Which addresses a name may lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Those of the policy's own words: all but the ones that are never asked.
    Named,
    /// What another server said: not this machine, either.
    Told,
}

impl Web {
    pub(super) const fn new(authorities: Option<PathBuf>, resolver: Arc<dyn Resolve>, clock: WallClock) -> Self {
        Self {
            authorities,
            system: OnceCell::const_new(),
            resolver,
            clock,
        }
    }

    /// The body of what is at an address.
    pub(super) async fn get(&self, uri: &Uri, reach: Reach, limit: Duration) -> Result<Bytes, FetchError> {
        let (host, port) = (uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(443));
        let stream = self.connect(host, port, reach).await?;
        let config = self.config().await?;
        let (stream, _) = connect_web(stream, config, bare(host), limit).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let answered = async {
            let response = sender.send_request(request(uri)).await?;
            body_of(response).await
        };
        tokio::pin!(answered);
        tokio::select! {
            answer = &mut answered => answer,
            // The connection ends before the body where the server says where the body ends by closing.
            _ = connection => answered.await,
        }
    }

    /// Connects to the first of the host's addresses that answers.
    async fn connect(&self, host: &str, port: u16, reach: Reach) -> Result<TcpStream, FetchError> {
        let mut last = FetchError::NoAddress(host.into());
        for address in self.addresses(host).await? {
            if !may_ask(address, host, reach) {
                last = FetchError::Forbidden(address);
                continue;
            }
            match TcpStream::connect(SocketAddr::new(address, port)).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }

    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, FetchError> {
        match literal(host) {
            Some(address) => Ok(vec![address]),
            None => Ok(self.resolver.resolve(&host.to_ascii_lowercase()).await?.addresses),
        }
    }

    /// Reads files off the runtime's threads; a file of the caller's own may have changed since.
    async fn config(&self) -> Result<Arc<WebClientConfig>, FetchError> {
        let clock = self.clock.clone();
        let Some(path) = self.authorities.clone() else {
            let system = || off_thread(move || Ok(WebClientConfig::with_system_roots(&[Alpn::Http1], &clock)?));
            return self.system.get_or_try_init(system).await.cloned();
        };
        off_thread(move || {
            Ok(WebClientConfig::with_roots(
                &std::fs::read(path)?,
                &[Alpn::Http1],
                &clock,
            )?)
        })
        .await
    }
}

async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FetchError> + Send + 'static,
) -> Result<Arc<T>, FetchError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| FetchError::Interrupted)?.map(Arc::new)
}

/// Without the brackets of an IPv6 address.
fn bare(host: &str) -> &str {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    bare.unwrap_or(host)
}

/// This machine is asked only where the policy itself names it: a name of somebody else's must not lead here.
fn may_ask(address: IpAddr, host: &str, reach: Reach) -> bool {
    let names_us = literal(host).is_some() || host.eq_ignore_ascii_case("localhost");
    let is_us = address.to_canonical().is_loopback();
    !is_forbidden(address) && (!is_us || (names_us && reach == Reach::Named))
}

fn request(uri: &Uri) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    *request.uri_mut() = target.parse().unwrap_or_default();
    let headers = request.headers_mut();
    if let Some(Ok(host)) = uri.authority().map(|authority| authority.as_str().parse()) {
        headers.insert(HOST, host);
    }
    headers.insert(ACCEPT, http::HeaderValue::from_static("application/json"));
    headers.insert(
        USER_AGENT,
        http::HeaderValue::from_static(concat!("mesh/", env!("CARGO_PKG_VERSION"))),
    );
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    /// H12: names lead neither to link-local addresses nor, unless the policy names it, to this machine.
    #[test]
    fn names_of_strangers_do_not_lead_here() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        for forbidden in [
            "169.254.169.254",
            "fe80::1",
            "0.0.0.0",
            "::",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
        ] {
            assert!(
                !may_ask(address(forbidden), "keys.example.com", Reach::Named),
                "{forbidden}"
            );
        }
        for (text, host, reach, may) in [
            ("127.0.0.1", "keys.example.com", Reach::Named, false),
            ("127.0.0.1", "127.0.0.1", Reach::Named, true),
            ("127.0.0.1", "127.0.0.1", Reach::Told, false),
            ("::1", "localhost", Reach::Named, true),
            ("::1", "localhost", Reach::Told, false),
            ("10.0.0.7", "keys.example.com", Reach::Told, true),
        ] {
            assert_eq!(may_ask(address(text), host, reach), may, "{text} {host} {reach:?}");
        }
    }
}
