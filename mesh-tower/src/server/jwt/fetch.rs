//! Getting the keys of a source: from a file, a web server, or a service of the mesh.

use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::ACCEPT;
use http::uri::Scheme;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use mesh_core::decide::jwt::{
    InvalidAddress, KeyPlace, KeySet, KeySetError, KeySource, MAX_KEY_SET, address, discovery,
};
use mesh_tls::handshake::HandshakeError;
use mesh_tls::web::WebClientError;

use super::web::Reach;
use crate::body::{Body, BoxError};
use crate::client::{Client, Error};
use crate::discovery::ResolveError;
use crate::mesh::Shared;

/// Why keys could not be got.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("no answer within {0:?}")]
    Timeout(std::time::Duration),
    #[error("`{0}` has no address")]
    NoAddress(String),
    #[error("the name leads to {0}, where no keys are taken from")]
    Forbidden(IpAddr),
    #[error("the answer leads elsewhere ({0}): redirects are not followed")]
    Redirect(StatusCode),
    #[error("the answer is {0}, expected 200")]
    Status(StatusCode),
    #[error("the answer has more than 1 MiB")]
    TooLong,
    #[error("the answer broke off: {0}")]
    Body(BoxError),
    #[error("the configuration of the issuer is no JSON with `issuer` and `jwks_uri`")]
    Configuration,
    #[error("the configuration is that of the issuer `{0}`")]
    OtherIssuer(String),
    #[error("`{0}` is no file")]
    NoFile(String),
    #[error("interrupted")]
    Interrupted,
    #[error(transparent)]
    Keys(#[from] KeySetError),
    #[error(transparent)]
    Address(#[from] InvalidAddress),
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error(transparent)]
    Tls(#[from] HandshakeError),
    #[error(transparent)]
    Authorities(#[from] WebClientError),
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error(transparent)]
    Mesh(#[from] Error),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Gets the keys of a source, within its timeout.
pub(super) async fn fetch(shared: &Arc<Shared>, source: &KeySource) -> Result<KeySet, FetchError> {
    let keys = tokio::time::timeout(source.timeout, from(shared, source)).await;
    keys.map_err(|_| FetchError::Timeout(source.timeout))?
}

async fn from(shared: &Arc<Shared>, source: &KeySource) -> Result<KeySet, FetchError> {
    let text = match &source.from {
        KeyPlace::File(path) => read(path.clone()).await?,
        KeyPlace::At(uri) => get(shared, uri, Reach::Named, source).await?,
        KeyPlace::Discovered(issuer) => {
            let (uri, reach) = discover(shared, issuer, source).await?;
            get(shared, &uri, reach, source).await?
        }
        _ => return Err(FetchError::Interrupted),
    };
    Ok(KeySet::parse(&text)?)
}

/// Plain text stays within the mesh, which secures it as the policy says.
async fn get(shared: &Arc<Shared>, uri: &Uri, reach: Reach, source: &KeySource) -> Result<Bytes, FetchError> {
    if uri.scheme() == Some(&Scheme::HTTPS) {
        return shared.tokens.web.get(uri, reach, source.timeout).await;
    }
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = uri.clone();
    let json = http::HeaderValue::from_static("application/json");
    request.headers_mut().insert(ACCEPT, json);
    body_of(Client::new(Arc::clone(shared)).send(request).await?).await
}

/// The address of an issuer's keys, as the issuer tells it (OpenID Connect Discovery §4).
async fn discover(shared: &Arc<Shared>, issuer: &str, source: &KeySource) -> Result<(Uri, Reach), FetchError> {
    let live = shared.live.load_full();
    let cluster = format!(".svc.{}", live.snapshot.mesh.cluster_domain);
    let in_mesh = |host: &str| host.ends_with(&cluster) || live.snapshot.outbound.virtual_host(host).is_some();
    let asked: Uri = discovery(issuer).parse().map_err(|_| FetchError::Configuration)?;
    let text = get(shared, &asked, Reach::Named, source).await?;
    let configuration: serde_json::Value = serde_json::from_slice(&text).map_err(|_| FetchError::Configuration)?;
    let member = |name| configuration.get(name).and_then(serde_json::Value::as_str);
    let (Some(said), Some(keys)) = (member("issuer"), member("jwks_uri")) else {
        return Err(FetchError::Configuration);
    };
    if said != issuer {
        return Err(FetchError::OtherIssuer(said.into()));
    }
    let keys = address(keys, &in_mesh)?;
    // An issuer outside does not send us into the mesh, nor to this machine.
    let is_downgrade = asked.scheme() == Some(&Scheme::HTTPS) && keys.scheme() != Some(&Scheme::HTTPS);
    if is_downgrade {
        return Err(InvalidAddress::PlainText(keys.to_string()).into());
    }
    let reach = if keys.host() == asked.host() {
        Reach::Named
    } else {
        Reach::Told
    };
    Ok((keys, reach))
}

/// The body of an answer that is one, up to the limit.
pub(super) async fn body_of<B>(response: Response<B>) -> Result<Bytes, FetchError>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    match response.status() {
        StatusCode::OK => {}
        status if status.is_redirection() => return Err(FetchError::Redirect(status)),
        status => return Err(FetchError::Status(status)),
    }
    let body = Limited::new(response.into_body(), MAX_KEY_SET).collect().await;
    match body {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(FetchError::TooLong),
        Err(error) => Err(FetchError::Body(error)),
    }
}

async fn read(path: String) -> Result<Bytes, FetchError> {
    let reading = tokio::task::spawn_blocking(move || read_now(&path));
    reading.await.map_err(|_| FetchError::Interrupted)?
}

fn read_now(path: &str) -> Result<Bytes, FetchError> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(FetchError::NoFile(path.into()));
    }
    let mut text = Vec::new();
    let limit = MAX_KEY_SET as u64 + 1;
    File::open(path)?.take(limit).read_to_end(&mut text)?;
    match text.len() > MAX_KEY_SET {
        true => Err(FetchError::TooLong),
        false => Ok(text.into()),
    }
}
