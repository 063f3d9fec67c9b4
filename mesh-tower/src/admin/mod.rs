//! The admin listener: metrics, readiness, the policy in force and the endpoints, over HTTP/1.
//!
//! It listens on a port of its own, by default a free one of `127.0.0.1`, and is never on the path of a
//! request. It only reads. There is no log-in: who reaches the address sees what it tells, so a request
//! whose `Host` is neither `localhost` nor an IP address nor a name that was allowed is refused, which keeps web
//! pages of strangers out (DNS rebinding).
//!
//! | path | answer |
//! |---|---|
//! | `/` | a page that lists the others |
//! | `/metrics` | Prometheus' text exposition format 0.0.4 |
//! | `/ready` | 200 once a policy is in force, 503 before and while shutting down |
//! | `/policy` | JSON: generation, fingerprint, files, result of the last reload |
//! | `/endpoints` | JSON: services, their endpoints and who is ejected |
//! | `/identity` | JSON: who this process is, where from, how long, what failed last; `null` without an identity |
//! | `/tokens` | JSON: keys of tokens, their age, and what went wrong |
//! | `/plaintext` | JSON: callers that speak plain text, for `mesh check --seen` |
//!
//! ```
//! use std::sync::Arc;
//! use mesh_tower::admin::{Admin, AdminOptions, AdminSource};
//! use serde_json::{Value, json};
//!
//! struct Nothing;
//!
//! impl AdminSource for Nothing {
//!     fn metrics(&self) -> String { String::new() }
//!     fn is_ready(&self) -> bool { true }
//!     fn policy(&self) -> Value { json!({ "generation": 1 }) }
//!     fn endpoints(&self) -> Value { json!({}) }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let admin = Admin::start(AdminOptions::default(), Arc::new(Nothing)).await?;
//! println!("http://{}/metrics", admin.local_addr());
//! admin.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod host;
mod pages;
mod plaintext;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

/// As many connections are served at once; further ones wait.
const CONNECTIONS: usize = 64;
/// How long a client may take to send its headers, which is also how long an idle connection stays open.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long open answers may take once the listener shuts down.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);
/// How long to wait after the system refused a connection, out of file descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the admin pages tell. Methods run off the runtime's threads and may take their time.
pub trait AdminSource: Send + Sync + 'static {
    /// The metrics in Prometheus' text exposition format 0.0.4.
    fn metrics(&self) -> String;
    /// Whether a policy is in force and the process takes requests.
    fn is_ready(&self) -> bool;
    /// The policy in force: generation, fingerprint, files, and the last reload with its diagnostics.
    fn policy(&self) -> serde_json::Value;
    /// Where keys of tokens come from, how old they are, and what went wrong with the last attempt to get them.
    fn tokens(&self) -> serde_json::Value {
        serde_json::json!({ "sources": [] })
    }
    /// The services with their endpoints: active requests, ejected or not, weight.
    fn endpoints(&self) -> serde_json::Value;
    /// The identity of the process and how its source does; `null` without one.
    fn identity(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
    /// The callers that speak plain text, a [`PlainCallers`](mesh_core::policy::seen::PlainCallers); `null` where nobody looks.
    fn plaintext(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
}

/// Where to listen, and for whom.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AdminOptions {
    /// The address. Default `127.0.0.1:0`: a free port that only this machine reaches.
    pub address: SocketAddr,
    /// Names that `Host` may have beside `localhost` and IP addresses, without port. Default none.
    pub allowed_hosts: Vec<String>,
}

impl Default for AdminOptions {
    fn default() -> Self {
        Self {
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            allowed_hosts: Vec::new(),
        }
    }
}

/// A running admin listener. Dropping it ends the listener at once.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Admin {
    /// Binds the address and starts to serve.
    ///
    /// # Errors
    ///
    /// Where the address cannot be bound.
    pub async fn start(options: AdminOptions, source: Arc<dyn AdminSource>) -> io::Result<Self> {
        let listener = TcpListener::bind(options.address).await?;
        let address = listener.local_addr()?;
        let (stop, stopping) = watch::channel(false);
        let site = Arc::new(pages::Site::new(source, options.allowed_hosts));
        Ok(Self {
            address,
            stop,
            accepting: tokio::spawn(accept(listener, site, stopping)),
        })
    }

    /// The address that it listens on.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Takes no further connection, and ends when open answers are sent, after two seconds at the latest.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        // A panic in a connection's task has ended that connection, and nothing else.
        let _ = (&mut self.accepting).await;
    }
}

async fn accept(listener: TcpListener, site: Arc<pages::Site>, mut stopping: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let place = tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => break,
            Ok(place) = Arc::clone(&places).acquire_owned() => place,
        };
        let accepted = tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = serve(stream, Arc::clone(&site), stopping.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, drained).await;
}

async fn serve(stream: TcpStream, site: Arc<pages::Site>, mut stopping: watch::Receiver<bool>) {
    let service = service_fn(move |request| {
        let site = Arc::clone(&site);
        async move { Ok::<_, std::convert::Infallible>(site.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // What goes wrong with a connection is the client's to notice.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stopping.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
