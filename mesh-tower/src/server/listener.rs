use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::accept::{self, ACCEPT_PAUSE};
use super::live;
use super::peer::Peer;
use super::places::Places;
use super::secure::{self, Secured};
use crate::mesh::Shared;
use crate::stream::Stream;

/// Connections that are ready and not taken yet.
const READY: usize = 16;

/// A listener whose connections have a proven identity. Made by [`Mesh::listener`](crate::Mesh::listener).
///
/// Dropping it closes the socket and gives up handshakes that are under way.
#[derive(Debug)]
pub struct MeshListener {
    address: io::Result<SocketAddr>,
    ready: mpsc::Receiver<(Stream, Peer)>,
    accepting: AbortHandle,
}

impl Drop for MeshListener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl MeshListener {
    pub(super) fn new(shared: Arc<Shared>, listener: TcpListener) -> Self {
        let (sender, ready) = mpsc::channel(READY);
        let address = listener.local_addr();
        let accepting = tokio::spawn(accept_all(shared, listener, sender)).abort_handle();
        Self {
            address,
            ready,
            accepting,
        }
    }

    /// Waits for the next connection whose handshake is done.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no connection is lost.
    pub async fn accept(&mut self) -> (Stream, Peer) {
        match self.ready.recv().await {
            Some(accepted) => accepted,
            // The runtime is shutting down.
            None => std::future::pending().await,
        }
    }

    /// The address that it listens on.
    ///
    /// # Errors
    ///
    /// That of the system, where it did not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.address {
            Ok(address) => Ok(*address),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        }
    }
}

async fn accept_all(shared: Arc<Shared>, listener: TcpListener, sender: mpsc::Sender<(Stream, Peer)>) {
    let places = Places::new(shared.settings.handshakes, shared.metrics.clone());
    let mut handshakes = JoinSet::new();
    loop {
        let (stream, remote, mut place) = match accept::accept(&listener, &places).await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "connections cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (shared, sender) = (Arc::clone(&shared), sender.clone());
        handshakes.spawn(async move {
            match place.hold(secure::mesh(&shared, stream, remote)).await {
                Ok(Secured { stream, connection, .. }) => {
                    let watching = live::watch(shared, Arc::clone(&connection), stream.switch());
                    tokio::spawn(watching);
                    drop(sender.send((stream, Peer { connection })).await);
                }
                Err(error) => tracing::debug!(%remote, %error, "connection refused"),
            }
            drop(place);
        });
        while handshakes.try_join_next().is_some() {}
    }
}

#[cfg(feature = "axum")]
mod axum_serve {
    use std::io;

    use axum::extract::connect_info::Connected;
    use axum::serve::{IncomingStream, Listener};

    use super::{MeshListener, Peer, Stream};

    impl Listener for MeshListener {
        type Io = Stream;
        type Addr = Peer;

        async fn accept(&mut self) -> (Stream, Peer) {
            Self::accept(self).await
        }

        /// A listener is its own peer nowhere: axum asks for an address to print.
        fn local_addr(&self) -> io::Result<Peer> {
            Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "ask `MeshListener::local_addr`",
            ))
        }
    }

    impl Connected<IncomingStream<'_, MeshListener>> for Peer {
        fn connect_info(stream: IncomingStream<'_, MeshListener>) -> Self {
            stream.remote_addr().clone()
        }
    }
}
