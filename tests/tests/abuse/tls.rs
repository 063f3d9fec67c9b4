//! TLS whose first message comes in pieces.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use mesh_core::identity::SpiffeId;
use mesh_tls::clock::Clock;
use mesh_tls::config::Alpn;
use mesh_tls::handshake::connect_tls;
use mesh_tls::source::StaticSource;
use mesh_tls::svid::{TrustBundle, TrustBundles};
use mesh_tls::verify::ExpectedPeer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use super::*;

/// How the first flight is cut.
#[derive(Clone, Copy, Debug)]
enum Cuts {
    /// The hello in this many records.
    Records(usize),
    /// The hello in this many segments of TCP.
    Segments(usize),
}

/// A socket whose first write goes out in pieces.
struct Cut {
    stream: TcpStream,
    cuts: Cuts,
    pieces: Option<Vec<Vec<u8>>>,
}

impl Cut {
    fn pieces(&self, hello: &[u8]) -> Vec<Vec<u8>> {
        match self.cuts {
            Cuts::Segments(count) => hello.chunks(hello.len().div_ceil(count)).map(<[u8]>::to_vec).collect(),
            Cuts::Records(count) => {
                let (head, message) = hello.split_at(5);
                let records = message.chunks(message.len().div_ceil(count)).map(|part| {
                    let length = u16::try_from(part.len()).unwrap().to_be_bytes();
                    [&head[..3], &length, part].concat()
                });
                records.collect()
            }
        }
    }
}

impl AsyncWrite for Cut {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.pieces.is_none() {
            let mut pieces = this.pieces(bytes);
            pieces.reverse();
            this.pieces = Some(pieces);
            // The pieces stand for these bytes, and are written as the socket takes them.
            cx.waker().wake_by_ref();
            return Poll::Ready(Ok(bytes.len()));
        }
        match this.poll_pieces(cx) {
            Poll::Ready(Ok(())) => Pin::new(&mut this.stream).poll_write(cx, bytes),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_pieces(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl Cut {
    /// One piece each time, so that the server sees them one by one.
    fn poll_pieces(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(piece) = self.pieces.as_mut().and_then(Vec::pop) else {
            return Poll::Ready(Ok(()));
        };
        match Pin::new(&mut self.stream).poll_write(cx, &piece) {
            Poll::Ready(Ok(length)) => {
                assert_eq!(length, piece.len());
                cx.waker().wake_by_ref();
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => self.pieces.as_mut().unwrap().push(piece),
        }
        Poll::Pending
    }
}

impl AsyncRead for Cut {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

const CUTS: [Cuts; 6] = [
    Cuts::Segments(1),
    Cuts::Segments(5),
    Cuts::Segments(usize::MAX / 2),
    Cuts::Records(2),
    Cuts::Records(5),
    Cuts::Records(100),
];

async fn connect(scene: &Scene, cuts: Cuts) -> Cut {
    let stream = TcpStream::connect(scene.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    Cut {
        stream,
        cuts,
        pieces: None,
    }
}

/// B16, G8: however the hello comes, the same is asked of the caller.
#[tokio::test]
async fn a_hello_in_pieces() {
    let scene = Scene::new().await;
    let orders = SpiffeId::for_workload(scene.world.ca().trust_domain(), "shop", "orders").unwrap();
    let web = scene.world.identity("shop", "web");
    let config = web
        .client_config(&ExpectedPeer::one_of([orders]), &[Alpn::Http1])
        .unwrap();
    for cuts in CUTS {
        let stream = connect(&scene, cuts).await;
        let limit = Duration::from_secs(10);
        let connected = connect_tls(stream, std::sync::Arc::clone(&config), "orders", limit).await;
        let (mut stream, ..) = connected.unwrap_or_else(|error| panic!("{cuts:?}: {error}"));
        let request = b"GET / HTTP/1.1\r\nhost: orders\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{cuts:?}: {answer}");
    }
    assert_eq!(scene.backend.hits(), CUTS.len());
}

/// B16: and nobody is let in for it: a certificate of a stranger is refused as it is in one piece.
#[tokio::test]
async fn a_hello_in_pieces_of_a_stranger() {
    let (scene, stranger) = (Scene::new().await, World::new());
    let orders = SpiffeId::for_workload(scene.world.ca().trust_domain(), "shop", "orders").unwrap();
    let both = scene.world.ca().certificate_pem().to_owned() + stranger.ca().certificate_pem();
    let bundle = TrustBundle::from_pem(both.as_bytes()).unwrap();
    let bundles = TrustBundles::of(scene.world.ca().trust_domain().clone(), bundle);
    let own = stranger.identity("shop", "web").current().svid().clone();
    let web = StaticSource::new(own, bundles, Clock::system()).unwrap().source();
    let config = web
        .client_config(&ExpectedPeer::exactly(orders), &[Alpn::Http1])
        .unwrap();
    for cuts in CUTS {
        let stream = connect(&scene, cuts).await;
        let limit = Duration::from_secs(10);
        let connected = connect_tls(stream, std::sync::Arc::clone(&config), "orders", limit).await;
        // The server judges after our side of the handshake: the refusal is the first that is read.
        let (mut stream, ..) = connected.unwrap_or_else(|error| panic!("{cuts:?}: {error}"));
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: orders\r\n\r\n").await;
        let mut answer = String::new();
        let refused = stream.read_to_string(&mut answer).await;
        assert!(refused.is_err() && answer.is_empty(), "{cuts:?}: {answer}");
    }
    assert_eq!(scene.backend.hits(), 0);
    scene.lives().await;
}
