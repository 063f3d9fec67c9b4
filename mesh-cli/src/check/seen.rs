//! Lists of callers in plain text, from a running service or from a file.

use std::time::Duration;

use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use mesh_core::policy::seen::PlainCallers;
use mesh_core::time::parse_duration;
use tokio::net::TcpStream;

use crate::Failure;

/// For the connection and the answer together.
const LIMIT: Duration = Duration::from_secs(10);
/// 4096 callers take less than a tenth of it.
const BYTES: usize = 16 << 20;

/// Reads each list: `http://HOST:PORT/plaintext` of an admin listener, or a file that it was saved to.
///
/// # Errors
///
/// Where one cannot be read or is no such list: a check that has seen nothing finds nothing.
pub(super) fn read(places: &[String]) -> Result<Vec<PlainCallers>, Failure> {
    places.iter().map(|place| list(place)).collect()
}

fn list(place: &str) -> Result<PlainCallers, Failure> {
    let text = match place.contains("://") {
        true => fetched(place),
        false => std::fs::read(place).map_err(Failure::from),
    };
    let text = text.map_err(|error| format!("{place}: {error}"))?;
    let list = serde_json::from_slice(&text).map_err(|error| {
        format!("{place}: no list of callers, as `/plaintext` of the admin listener gives it: {error}")
    })?;
    Ok(list)
}

fn fetched(place: &str) -> Result<Vec<u8>, Failure> {
    let uri: Uri = place.parse()?;
    let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http"));
    let authority = authority
        .ok_or("expected `http://`, as the admin listener speaks it")?
        .clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let answer = tokio::time::timeout(LIMIT, get(&uri, authority.as_str()));
        answer.await.map_err(|_| "no answer within 10s")?
    })
}

async fn get(uri: &Uri, authority: &str) -> Result<Vec<u8>, Failure> {
    let with_port = match uri.port_u16() {
        Some(_) => authority.to_owned(),
        None => format!("{authority}:80"),
    };
    let stream = TcpStream::connect(with_port).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path)
        .header(header::HOST, authority)
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    if response.status() != StatusCode::OK {
        return Err(format!("answered with {}", response.status()).into());
    }
    let body = Limited::new(response.into_body(), BYTES).collect().await;
    let body = body.map_err(|error| error.to_string())?;
    connection.abort();
    Ok(body.to_bytes().to_vec())
}

/// Reads `1h`.
pub(crate) fn within(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}
