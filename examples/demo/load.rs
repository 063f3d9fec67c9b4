//! Steady load through the front door, and what came of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use hdrhistogram::Histogram;
use http::Request;
use http_body_util::BodyExt;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use mesh_tls::config::Alpn;
use mesh_tls::web::{WebClientConfig, connect_web};
use mesh_tower::Body;
use tokio::task::JoinHandle;

use crate::shop::{HOST, Shop};

/// Shoppers at a time, and what each waits between two orders.
const SHOPPERS: usize = 8;
const PAUSE: Duration = Duration::from_millis(10);

/// What came of the requests since the last look.
#[derive(Debug)]
pub(crate) struct Counts {
    pub(crate) since: Instant,
    pub(crate) requests: u64,
    pub(crate) successes: u64,
    pub(crate) v2: u64,
    /// Why requests failed, and how often.
    pub(crate) failures: BTreeMap<String, u64>,
    /// Microseconds.
    pub(crate) latency: Histogram<u64>,
}

impl Counts {
    #[expect(clippy::expect_used, reason = "the bounds are within the histogram's range")]
    fn new() -> Self {
        Self {
            since: Instant::now(),
            requests: 0,
            successes: 0,
            v2: 0,
            failures: BTreeMap::new(),
            latency: Histogram::new_with_bounds(1, 60_000_000, 3).expect("a histogram of a minute"),
        }
    }

    /// The share of successes that came from version 2.
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    pub(crate) fn share_of_v2(&self) -> f64 {
        self.v2 as f64 / (self.successes.max(1)) as f64
    }
}

/// A response of the shop.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) version: String,
    pub(crate) text: String,
}

/// The shoppers.
pub(crate) struct Load {
    counts: Arc<Mutex<Counts>>,
    shoppers: Vec<JoinHandle<()>>,
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shoppers.iter().for_each(JoinHandle::abort);
    }
}

impl Load {
    pub(crate) fn start(shop: &Shop) -> Self {
        let counts = Arc::new(Mutex::new(Counts::new()));
        let shopper = |_| {
            let (counts, door) = (Arc::clone(&counts), Door::of(shop).map_err(|error| error.to_string()));
            tokio::spawn(async move {
                match door {
                    Ok(door) => shopping(door, &counts).await,
                    Err(error) => tracing::error!(error, "no shopper"),
                }
            })
        };
        let shoppers = (0..SHOPPERS).map(shopper).collect();
        Self { counts, shoppers }
    }

    /// What came of the requests since the last call.
    pub(crate) fn take(&self) -> Counts {
        std::mem::replace(&mut *lock(&self.counts), Counts::new())
    }
}

fn lock(counts: &Mutex<Counts>) -> std::sync::MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn shopping(mut door: Door, counts: &Mutex<Counts>) {
    loop {
        let start = Instant::now();
        let answer = door.get("/orders/7", None).await;
        let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        {
            let mut counts = lock(counts);
            counts.requests += 1;
            counts.latency.saturating_record(micros);
            match answer {
                Ok(answer) if answer.status == 200 => {
                    counts.successes += 1;
                    counts.v2 += u64::from(answer.version == "v2");
                }
                Ok(answer) => {
                    *counts
                        .failures
                        .entry(format!("{} {}", answer.status, answer.text))
                        .or_default() += 1
                }
                Err(error) => *counts.failures.entry(format!("{error:#}")).or_default() += 1,
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A connection to the front door, as a browser has one.
pub(crate) struct Door {
    address: SocketAddr,
    config: Arc<WebClientConfig>,
    connection: Option<SendRequest<Body>>,
}

impl Door {
    pub(crate) fn of(shop: &Shop) -> anyhow::Result<Self> {
        let roots = shop.ca.certificate_pem().as_bytes();
        let config = WebClientConfig::with_roots(roots, &[Alpn::Http1], &mesh_tls::clock::Clock::system())?;
        Ok(Self {
            address: shop.gateway()?,
            config: Arc::new(config),
            connection: None,
        })
    }

    /// Orders something; a version may be asked for.
    pub(crate) async fn get(&mut self, path: &str, version: Option<&str>) -> anyhow::Result<Answer> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        connection
            .ready()
            .await
            .context("the front door closed the connection")?;
        let mut request = Request::get(path).header("host", HOST);
        if let Some(version) = version {
            request = request.header("x-version", version);
        }
        let response = connection.send_request(request.body(Body::empty())?).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        self.connection = Some(connection);
        let order: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let version = order
            .get("version")
            .and_then(|version| version.as_str())
            .unwrap_or_default();
        Ok(Answer {
            status,
            version: version.to_owned(),
            text: String::from_utf8_lossy(&body).into_owned(),
        })
    }

    async fn connect(&self) -> anyhow::Result<SendRequest<Body>> {
        let stream = tokio::net::TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let limit = Duration::from_secs(5);
        let (stream, _) = connect_web(stream, Arc::clone(&self.config), HOST, limit).await?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }
}
