//! Bytes on the wire as no library would write them: HTTP/1.1 by hand, HTTP/2 frame by frame.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The longest that an answer may take.
const LIMIT: Duration = Duration::from_secs(20);

/// Kinds of frames (RFC 9113 section 6).
pub mod kind {
    /// DATA
    pub const DATA: u8 = 0;
    /// HEADERS
    pub const HEADERS: u8 = 1;
    /// PRIORITY
    pub const PRIORITY: u8 = 2;
    /// RST_STREAM
    pub const RST_STREAM: u8 = 3;
    /// SETTINGS
    pub const SETTINGS: u8 = 4;
    /// PING
    pub const PING: u8 = 6;
    /// GOAWAY
    pub const GOAWAY: u8 = 7;
    /// WINDOW_UPDATE
    pub const WINDOW_UPDATE: u8 = 8;
    /// CONTINUATION
    pub const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub mod flag {
    /// The stream's last frame of this side; the answer to settings and pings.
    pub const END_STREAM: u8 = 1;
    /// The last frame of a head.
    pub const END_HEADERS: u8 = 4;
}

/// A frame.
#[derive(Clone, Debug)]
pub struct Frame {
    /// What it is.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream.
    pub stream: u32,
    /// Its payload.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A frame.
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        let payload = payload.into();
        Self {
            kind,
            flags,
            stream,
            payload,
        }
    }

    /// The head of a request.
    #[must_use]
    pub fn head(stream: u32, fields: &[(&str, &[u8])], is_end: bool) -> Self {
        let end = if is_end { flag::END_STREAM } else { 0 };
        Self::new(kind::HEADERS, flag::END_HEADERS | end, stream, block(fields))
    }

    /// The reset of a stream.
    #[must_use]
    pub fn reset(stream: u32) -> Self {
        Self::new(kind::RST_STREAM, 0, stream, 8_u32.to_be_bytes())
    }

    fn write(&self, to: &mut Vec<u8>) {
        let length = u32::try_from(self.payload.len()).unwrap().to_be_bytes();
        to.extend_from_slice(&length[1..]);
        to.extend([self.kind, self.flags]);
        to.extend(self.stream.to_be_bytes());
        to.extend_from_slice(&self.payload);
    }
}

/// A block of header fields: literals without index and without Huffman's code (RFC 7541 section 6.2.2).
#[must_use]
pub fn block(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        string(name.as_bytes(), &mut block);
        string(value, &mut block);
    }
    block
}

fn string(text: &[u8], to: &mut Vec<u8>) {
    let mut length = text.len();
    if length < 127 {
        to.push(u8::try_from(length).unwrap());
    } else {
        to.push(127);
        length -= 127;
        while length >= 128 {
            to.push(u8::try_from(length % 128 + 128).unwrap());
            length /= 128;
        }
        to.push(u8::try_from(length).unwrap());
    }
    to.extend_from_slice(text);
}

/// How a request over HTTP/2 ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With an answer; whether it is a 200.
    Answered(bool),
    /// With a reset stream.
    Reset,
    /// With the end of the connection.
    Closed,
}

/// A connection in HTTP/2 that keeps no rule of its own accord.
#[derive(Debug)]
pub struct Http2 {
    stream: TcpStream,
    buffer: Vec<u8>,
    next: u32,
    ends: HashMap<u32, End>,
    /// Answers that ended with their head.
    pub bare: usize,
    /// The reason of the server's GOAWAY, where it is not "no error".
    pub goaway: Option<u32>,
    /// Whether the server takes no further streams.
    pub is_going: bool,
    is_closed: bool,
}

impl Http2 {
    /// Connects in plain text, with the preface and empty settings.
    pub async fn connect(address: SocketAddr) -> Self {
        Self::connect_with(address, &[]).await
    }

    /// The same with settings: identifiers and values.
    pub async fn connect_with(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut connection = Self {
            stream,
            buffer: Vec::new(),
            next: 1,
            ends: HashMap::new(),
            bare: 0,
            goaway: None,
            is_going: false,
            is_closed: false,
        };
        let mut payload = Vec::new();
        for (id, value) in settings {
            payload.extend(id.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        Frame::new(kind::SETTINGS, 0, 0, payload).write(&mut bytes);
        connection.stream.write_all(&bytes).await.unwrap();
        connection
    }

    /// The number of the next stream.
    pub const fn stream(&mut self) -> u32 {
        let stream = self.next;
        self.next += 2;
        stream
    }

    /// Sends frames in one write; whether the connection takes them.
    pub async fn send(&mut self, frames: &[Frame]) -> bool {
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.write(&mut bytes));
        self.stream.write_all(&bytes).await.is_ok()
    }

    /// Reads frames until this stream has ended.
    pub async fn end(&mut self, stream: u32) -> End {
        while !self.is_closed {
            if let Some(end) = self.ends.get(&stream) {
                return *end;
            }
            self.read().await;
        }
        self.ends.get(&stream).copied().unwrap_or(End::Closed)
    }

    /// Reads until the server closes; whether it does in time.
    pub async fn closes(&mut self) -> bool {
        let closing = async {
            while !self.is_closed {
                self.read().await;
            }
        };
        tokio::time::timeout(LIMIT, closing).await.is_ok()
    }

    /// Streams that were answered, and those that were reset, so far.
    #[must_use]
    pub fn tally(&self) -> (usize, usize) {
        let of = |wanted: fn(&End) -> bool| self.ends.values().filter(|end| wanted(end)).count();
        (of(|end| matches!(end, End::Answered(_))), of(|end| *end == End::Reset))
    }

    /// Takes what has come so far, and waits for something to come.
    pub async fn read(&mut self) {
        let mut chunk = [0; 16 * 1024];
        let read = tokio::time::timeout(LIMIT, self.stream.read(&mut chunk)).await;
        match read.expect("the server is silent") {
            Ok(length @ 1..) => self.buffer.extend_from_slice(chunk.get(..length).unwrap()),
            _ => self.is_closed = true,
        }
        while let Some(frame) = self.take() {
            self.note(&frame).await;
        }
    }

    fn take(&mut self) -> Option<Frame> {
        let head = self.buffer.get(..9)?;
        let number = |bytes: &[u8]| bytes.iter().fold(0_u32, |all, byte| all << 8 | u32::from(*byte));
        let length = number(head.get(..3)?) as usize;
        let (kind, flags, stream) = (*head.get(3)?, *head.get(4)?, number(head.get(5..9)?) & 0x7fff_ffff);
        let payload = self.buffer.get(9..9 + length)?.to_vec();
        self.buffer.drain(..9 + length);
        Some(Frame::new(kind, flags, stream, payload))
    }

    async fn note(&mut self, frame: &Frame) {
        match frame.kind {
            kind::SETTINGS if frame.flags == 0 => {
                let done = Frame::new(kind::SETTINGS, 1, 0, Vec::new());
                self.send(&[done]).await;
            }
            kind::DATA if !frame.payload.is_empty() => {
                let length = u32::try_from(frame.payload.len()).unwrap();
                let taken = Frame::new(kind::WINDOW_UPDATE, 0, 0, length.to_be_bytes());
                self.send(&[taken]).await;
            }
            // `:status 200` is entry 8 of the static table; a change of the table's size may stand before it.
            kind::HEADERS => {
                let mut block = frame.payload.iter().skip_while(|byte| **byte & 0xe0 == 0x20);
                let is_ok = block.next() == Some(&0x88);
                self.bare += usize::from(frame.flags & flag::END_STREAM != 0);
                self.ends.entry(frame.stream).or_insert(End::Answered(is_ok));
            }
            kind::RST_STREAM => {
                self.ends.entry(frame.stream).or_insert(End::Reset);
            }
            kind::GOAWAY => {
                self.is_going = true;
                let reason = frame.payload.get(4..8).unwrap().iter();
                let reason = reason.fold(0, |all, byte| all << 8 | u32::from(*byte));
                self.goaway = Some(reason).filter(|reason| *reason != 0).or(self.goaway);
            }
            _ => {}
        }
    }
}

/// Sends bytes on a connection of their own, and gives all that comes back until the server closes.
pub async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may close before it has all of it.
    let _ = stream.write_all(bytes).await;
    rest(&mut stream).await
}

/// All that comes until the server closes; fails where it does not.
pub async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(LIMIT, stream.read_to_end(&mut answer)).await;
    let text = String::from_utf8_lossy(&answer).into_owned();
    // A reset is an end, too.
    assert!(read.is_ok(), "still open after: {text}");
    text
}
