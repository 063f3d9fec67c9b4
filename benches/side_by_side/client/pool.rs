//! hyper-util's pooled client, over TCP and over TLS.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;
use mesh_benches::bare::Connector;
use tokio_rustls::TlsConnector;

use super::{BoxError, Sends};
use crate::identities::client_config;
use crate::role::Side;

pub(super) type Pool<C> = Client<C, Full<Bytes>>;

pub(super) fn plain(side: &Side) -> Pool<HttpConnector> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    pool(connector, side)
}

pub(super) fn tls(side: &Side) -> Result<Pool<Connector>, Box<dyn std::error::Error>> {
    let config = client_config(&side.identities, side.traffic.is_http2())?;
    Ok(pool(Connector::new(TlsConnector::from(Arc::new(config))), side))
}

fn pool<C: Connect + Clone>(connector: C, side: &Side) -> Pool<C> {
    let mut builder = Client::builder(TokioExecutor::new());
    builder.http2_only(side.traffic.is_http2());
    builder.build(connector)
}

impl<C: Connect + Clone + Send + Sync + 'static> Sends for Pool<C> {
    type Body = Incoming;

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Incoming>, BoxError> {
        Ok(self.request(request.map(Full::new)).await?)
    }
}
