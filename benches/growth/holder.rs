//! A client that holds many connections and hardly anything else: requests are bytes, answers are counted.

use std::path::Path;
use std::time::{Duration, Instant};

use mesh_core::identity::TrustDomain;
use mesh_tls::clock::Clock;
use mesh_tls::config::Alpn;
use mesh_tls::handshake::connect_tls;
use mesh_tls::source::{FileSource, IdentitySource};
use mesh_tls::verify::ExpectedPeer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;

use crate::process;

const REQUEST: &[u8] = b"GET /api/orders HTTP/1.1\r\nhost: orders\r\n\r\n";
const BODY: usize = 1024;
/// Handshakes at a time.
const WIDTH: usize = 16;
const LIMIT: Duration = Duration::from_secs(30);

/// Does as it is told: `hold N` connections, `send N` requests, one after the other, each on the next connection.
pub(crate) async fn play(directory: &Path, address: &str) {
    let source = FileSource::open(directory.join("web"), Clock::system()).unwrap();
    let mut held = Held {
        source: source.source(),
        address: address.to_owned(),
        connections: Vec::new(),
    };
    process::answer("ready");
    for order in process::orders() {
        let count: usize = order[1].parse().unwrap();
        let begun = Instant::now();
        match order[0].as_str() {
            "hold" => held.hold(count).await,
            _ => held.send(count).await,
        }
        process::answer(begun.elapsed().as_nanos());
    }
}

struct Held {
    source: IdentitySource,
    address: String,
    connections: Vec<TlsStream<TcpStream>>,
}

impl Held {
    /// Opens connections until there are so many, and sends a request on each new one.
    async fn hold(&mut self, count: usize) {
        let mut opening = JoinSet::new();
        while self.connections.len() + opening.len() < count || !opening.is_empty() {
            while opening.len() < WIDTH && self.connections.len() + opening.len() < count {
                opening.spawn(open(self.source.clone(), self.address.clone()));
            }
            self.connections.extend(opening.join_next().await.transpose().unwrap());
        }
    }

    async fn send(&mut self, count: usize) {
        let connections = self.connections.len();
        for number in 0..count {
            request(&mut self.connections[number % connections]).await;
        }
    }
}

async fn open(source: IdentitySource, address: String) -> TlsStream<TcpStream> {
    let expected = ExpectedPeer::any_in(TrustDomain::parse("cluster.local").unwrap());
    let config = source.client_config(&expected, &[Alpn::Http1]).unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut stream, ..) = connect_tls(stream, config, "orders", LIMIT).await.unwrap();
    request(&mut stream).await;
    stream
}

/// Sends a request and reads its answer: a head and a body of known length.
async fn request(stream: &mut TlsStream<TcpStream>) {
    stream.write_all(REQUEST).await.unwrap();
    let (mut answer, mut length) = ([0; 4096], 0);
    while !is_whole(&answer[..length]) {
        let read = stream.read(&mut answer[length..]).await.unwrap();
        assert!(read > 0, "the server closed a connection");
        length += read;
    }
    assert!(answer.starts_with(b"HTTP/1.1 200"), "the server refused a request");
}

fn is_whole(answer: &[u8]) -> bool {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    end.is_some_and(|end| answer.len() == end + 4 + BODY)
}
