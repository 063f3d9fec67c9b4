//! How a form travels: the status that comes back, or none where the connection or stream ends.

use std::net::SocketAddr;

use mesh_tests::wire::{End, Frame, Http2 as Connection};
use mesh_tower::Body;
use mesh_tower::server::MeshService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tower::ServiceExt;

use super::form::Form;

pub(crate) trait Transport {
    async fn send(&mut self, form: &Form) -> Option<u16>;
}

/// Raw HTTP/1.1, on one connection for as long as the server keeps it.
pub(crate) struct Http1 {
    address: SocketAddr,
    stream: Option<TcpStream>,
}

impl Http1 {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, stream: None }
    }

    async fn exchange(&mut self, bytes: &[u8], has_body: bool) -> Option<u16> {
        if self.stream.is_none() {
            self.stream = Some(TcpStream::connect(self.address).await.unwrap());
        }
        let stream = self.stream.as_mut()?;
        stream.write_all(bytes).await.ok()?;
        let mut answer = Vec::new();
        let (head, length) = loop {
            let mut chunk = [0; 2048];
            let read = stream.read(&mut chunk).await.ok().filter(|length| *length > 0)?;
            answer.extend_from_slice(&chunk[..read]);
            if let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
                let length = head
                    .split("content-length: ")
                    .nth(1)
                    .and_then(|rest| rest.lines().next());
                let length: usize = length.map_or(0, |length| length.parse().unwrap());
                break (head, end + 4 + if has_body { length } else { 0 });
            }
        };
        while answer.len() < length {
            let mut chunk = [0; 2048];
            let read = stream.read(&mut chunk).await.ok().filter(|length| *length > 0)?;
            answer.extend_from_slice(&chunk[..read]);
        }
        // More than one answer to one request would shift all that follow.
        assert_eq!(answer.len(), length, "{}", String::from_utf8_lossy(&answer));
        if head.contains("connection: close") {
            self.stream = None;
        }
        head.split(' ').nth(1)?.parse().ok()
    }
}

impl Transport for Http1 {
    async fn send(&mut self, form: &Form) -> Option<u16> {
        if form.target.contains(&b'\n') || form.target.contains(&b'\r') {
            return None;
        }
        let mut bytes = [&form.method[..], b" ", &form.target, b" HTTP/1.1\r\n"].concat();
        let host = form.authority.iter().map(|host| ("host", host));
        let others = form.headers.iter().map(|(name, value)| (name.as_str(), value));
        for (name, value) in host.chain(others) {
            bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        bytes.extend(b"\r\n");
        let status = self.exchange(&bytes, form.method != b"HEAD").await;
        // What follows an answer to CONNECT is no HTTP, and without an answer there is no connection.
        if status.is_none() || form.method == b"CONNECT" {
            self.stream = None;
        }
        status
    }
}

/// HTTP/2 frame by frame, on one connection for as long as the server keeps it.
pub(crate) struct Http2 {
    address: SocketAddr,
    connection: Connection,
    streams: u32,
}

impl Http2 {
    pub(crate) async fn new(address: SocketAddr) -> Self {
        Self {
            address,
            connection: Connection::connect(address).await,
            streams: 0,
        }
    }
}

impl Transport for Http2 {
    async fn send(&mut self, form: &Form) -> Option<u16> {
        let mut fields: Vec<(&str, &[u8])> = vec![(":method", &form.method)];
        if form.method != b"CONNECT" {
            fields.extend([(":scheme", &b"http"[..]), (":path", &form.target)]);
        }
        fields.extend(form.authority.iter().map(|host| (":authority", &host[..])));
        let lower: Vec<_> = form
            .headers
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .collect();
        fields.extend(lower.iter().map(|(name, value)| (name.as_str(), &value[..])));
        let stream = self.connection.stream();
        self.streams += 1;
        self.connection.send(&[Frame::head(stream, &fields, true)]).await;
        let end = self.connection.end(stream).await;
        if end == End::Closed || self.connection.is_going || self.streams == 500 {
            *self = Self::new(self.address).await;
        }
        match end {
            End::Answered(true) => Some(200),
            // The other statuses are not in HPACK's static table; the tally only asks for this one.
            End::Answered(false) => Some(403),
            End::Reset | End::Closed => None,
        }
    }
}

/// The layer alone, for what can be an `http::Request` at all.
impl Transport for MeshService<axum::Router> {
    async fn send(&mut self, form: &Form) -> Option<u16> {
        let uri = http::Uri::try_from(&form.target[..]).ok()?;
        let mut request = http::Request::builder().method(&form.method[..]).uri(uri);
        let host = form.authority.iter().map(|host| ("host", host));
        let others = form.headers.iter().map(|(name, value)| (name.as_str(), value));
        for (name, value) in host.chain(others) {
            request = request.header(name, &value[..]);
        }
        let request = request.body(Body::empty()).ok()?;
        Some(self.clone().oneshot(request).await.unwrap().status().as_u16())
    }
}
