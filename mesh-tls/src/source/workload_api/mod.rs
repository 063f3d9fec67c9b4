//! The identity that a SPIFFE Workload API grants: SPIRE's agent, and others that speak its contract.
//!
//! The process keeps a stream open, on which the API sends everything anew when anything changes: certificate, key, own
//! and federated bundles. A response is taken whole or not at all.
//!
//! | what comes | what happens |
//! |---|---|
//! | a new certificate, or new bundles | in force, where peers would accept them |
//! | a response that is damaged, or that peers would refuse | refused; the last good identity stays, the stream too |
//! | a certificate that is not valid yet | the last good identity stays; tried again with growing pauses, since it does not come again |
//! | a bundle or a list of another trust domain that cannot be used | the last good ones of that domain stay, all else is taken |
//! | the end of the stream, an error, no API | the last good identity stays; asked again with growing pauses |
//! | `PermissionDenied`, or a response that grants others and not the identity in force | the identity is taken back: handshakes fail until it is granted again |
//!
//! ```no_run
//! use mesh_core::random::SplitMix64;
//! use mesh_tls::clock::Clock;
//! use mesh_tls::source::workload_api::WorkloadApi;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let api = WorkloadApi::at("unix:///run/spire/agent.sock")?;
//! let granted = api.connect(Clock::system(), SplitMix64::new(7)).await?;
//! println!("this is {}", granted.source().current().svid().id());
//! tokio::spawn(granted.watch());
//! # Ok(())
//! # }
//! ```
//!
//! Source: <https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE_Workload_API.md>.

mod contract;
mod foreign;
mod grant;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use mesh_core::identity::SpiffeId;
use mesh_core::random::Rng;
use spiffe::transport::Endpoint;
use tokio::time::{Instant, sleep, timeout};
use tonic::Streaming;

use self::contract::X509SvidResponse;
use self::grant::Granted;
use super::renew::schedule::pause;
use super::{Failure, FailureReason, IdentitySource, Origin, SourceError, fingerprint};
use crate::clock::Clock;

/// Where the standard has the endpoint named.
pub const ENDPOINT_VARIABLE: &str = "SPIFFE_ENDPOINT_SOCKET";

/// An API that takes longer for its first response has failed.
const ANSWER: Duration = Duration::from_secs(10);

/// Which Workload API to ask, and for what.
#[derive(Clone, Debug)]
#[must_use]
pub struct WorkloadApi {
    endpoint: Endpoint,
    name: String,
    hint: Option<String>,
    patience: Duration,
}

impl WorkloadApi {
    /// The API at `unix:/path`, `unix:///path` or `tcp://address:port`.
    ///
    /// # Errors
    ///
    /// [`SourceError`] for any other text.
    pub fn at(endpoint: impl Into<String>) -> Result<Self, SourceError> {
        let name = endpoint.into();
        let parsed = Endpoint::parse(&name).map_err(|error| {
            let reason =
                format!("`{name}` is no endpoint of a Workload API, such as `unix:///run/spire/agent.sock`: {error}");
            Failure::new(FailureReason::Unavailable, reason)
        })?;
        Ok(Self {
            endpoint: parsed,
            name,
            hint: None,
            patience: Duration::from_secs(30),
        })
    }

    /// The API that the environment names in `SPIFFE_ENDPOINT_SOCKET`.
    ///
    /// # Errors
    ///
    /// [`SourceError`] where it names none.
    pub fn from_env() -> Result<Self, SourceError> {
        match std::env::var(ENDPOINT_VARIABLE) {
            Ok(endpoint) => Self::at(endpoint),
            Err(error) => {
                let reason = format!("no Workload API: `{ENDPOINT_VARIABLE}`: {error}");
                Err(Failure::new(FailureReason::Unavailable, reason).into())
            }
        }
    }

    /// Takes the identity with this hint where there are several. Default: the first.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// How long to wait for a first identity: agents start late, and learn late of new workloads. Default 30 s.
    pub const fn patience(mut self, limit: Duration) -> Self {
        self.patience = limit;
        self
    }

    /// Asks until there is an identity, or patience ends.
    ///
    /// # Errors
    ///
    /// [`SourceError`]: what failed last.
    pub async fn connect(self, clock: Clock, rng: impl Rng + Send + 'static) -> Result<WorkloadApiSource, SourceError> {
        let mut rng: Box<dyn Rng + Send> = Box::new(rng);
        let end = Instant::now() + self.patience;
        let mut failures = 0;
        loop {
            let failure = match self.first(&clock).await {
                Ok(first) => return Ok(first.into_source(self, rng)),
                Err(failure) => failure,
            };
            failures += 1;
            let wait = pause(failures, &mut *rng);
            if Instant::now() + wait > end {
                return Err(failure.into());
            }
            tracing::debug!(endpoint = self.name, %failure, "no identity yet");
            sleep(wait).await;
        }
    }

    async fn first(&self, clock: &Clock) -> Result<First, Failure> {
        let (stream, response) = self.open().await?;
        let Granted { material, foreign } = grant::read(&response, self.hint.as_deref(), None)?;
        let origin = Origin::WorkloadApi(self.name.as_str().into());
        let source = IdentitySource::new(material.svid, material.bundles, clock.clone(), origin)?;
        if let Some(failure) = &foreign {
            source.failed(failure);
        }
        Ok(First {
            source,
            stream,
            response,
            is_whole: foreign.is_none(),
        })
    }

    /// Opens a stream and waits for its first response.
    async fn open(&self) -> Result<(Streaming<X509SvidResponse>, X509SvidResponse), Failure> {
        let opened = timeout(ANSWER, async {
            let mut stream = contract::open(&self.endpoint).await?;
            let response = next(&mut stream).await?;
            Ok((stream, response))
        });
        opened.await.unwrap_or_else(|_| {
            let reason = format!("the Workload API did not answer within {} s", ANSWER.as_secs());
            Err(Failure::new(FailureReason::Unavailable, reason))
        })
    }
}

async fn next(stream: &mut Streaming<X509SvidResponse>) -> Result<X509SvidResponse, Failure> {
    match stream.message().await {
        Ok(Some(response)) => Ok(response),
        Ok(None) => Err(Failure::new(
            FailureReason::Unavailable,
            "the Workload API ended the stream",
        )),
        Err(status) => Err(contract::refused(&status)),
    }
}

/// A stream with what came first on it.
struct First {
    source: IdentitySource,
    stream: Streaming<X509SvidResponse>,
    response: X509SvidResponse,
    is_whole: bool,
}

impl First {
    fn into_source(self, api: WorkloadApi, rng: Box<dyn Rng + Send>) -> WorkloadApiSource {
        WorkloadApiSource {
            id: self.source.current().svid().id().clone(),
            seen: digest(&self.response),
            source: self.source,
            stream: Some(self.stream),
            is_whole: self.is_whole,
            early: None,
            api,
            failures: 0,
            rng,
        }
    }
}

/// The identity of this process as a Workload API grants it.
pub struct WorkloadApiSource {
    api: WorkloadApi,
    source: IdentitySource,
    id: SpiffeId,
    stream: Option<Streaming<X509SvidResponse>>,
    /// Of the response in force: what is sent again is no rotation.
    seen: u64,
    /// Nothing of it had to be left out.
    is_whole: bool,
    early: Option<Early>,
    /// In a row.
    failures: u32,
    rng: Box<dyn Rng + Send>,
}

/// A response that is not valid yet. An API sends it once.
struct Early {
    response: X509SvidResponse,
    tries: u32,
}

impl fmt::Debug for WorkloadApiSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkloadApiSource")
            .field("api", &self.api)
            .field("id", &self.id.as_str())
            .finish_non_exhaustive()
    }
}

impl WorkloadApiSource {
    /// The handle for servers and clients.
    #[must_use]
    pub fn source(&self) -> IdentitySource {
        self.source.clone()
    }

    /// Follows what the API sends, and asks again when it ends; for ever.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the watch; the identity in force stays until it expires.
    pub async fn watch(mut self) {
        loop {
            let failure = match self.follow().await {
                Ok(never) => match never {},
                Err(failure) => failure,
            };
            self.stream = None;
            self.note(&failure);
            self.failures = self.failures.saturating_add(1);
            sleep(pause(self.failures, &mut *self.rng)).await;
            self.try_again();
        }
    }

    /// Ends with the stream.
    async fn follow(&mut self) -> Result<std::convert::Infallible, Failure> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let (stream, response) = self.api.open().await?;
                self.take(response);
                stream
            }
        };
        loop {
            let wait = self.early.as_ref().map(|early| pause(early.tries, &mut *self.rng));
            tokio::select! {
                response = next(&mut stream) => self.take(response?),
                () = sleep(wait.unwrap_or_default()), if wait.is_some() => self.try_again(),
            }
        }
    }

    fn take(&mut self, response: X509SvidResponse) {
        (self.failures, self.early) = (0, None);
        let is_seen = digest(&response) == self.seen && !self.source.current().svid().is_withdrawn();
        match is_seen {
            true if self.is_whole => self.source.recovered(),
            true => self.source.persists(),
            false => self.put_in_force(Early { response, tries: 0 }),
        }
    }

    fn try_again(&mut self) {
        if let Some(early) = self.early.take() {
            self.put_in_force(early);
        }
    }

    fn put_in_force(&mut self, tried: Early) {
        let Early { response, tries } = tried;
        let current = self.source.current();
        let granted = match grant::read(&response, self.api.hint.as_deref(), Some(&current)) {
            Ok(granted) => granted,
            Err(failure) => return self.note(&failure),
        };
        match self.source.publish(granted.material.svid, granted.material.bundles) {
            Ok(_) => {
                (self.seen, self.is_whole) = (digest(&response), granted.foreign.is_none());
                granted.foreign.iter().for_each(|failure| self.source.failed(failure));
            }
            Err(error) => {
                // Told once: each try would say another number of seconds.
                match tries {
                    0 => self.note(&error.clone().into()),
                    _ => self.source.persists(),
                }
                let tries = tries.saturating_add(1);
                self.early = error.is_early().then_some(Early { response, tries });
            }
        }
    }

    /// The standard: an identity that is denied is not to be used any more.
    fn note(&mut self, failure: &Failure) {
        match failure.reason {
            FailureReason::Denied => {
                self.early = None;
                self.source.withdraw(failure);
            }
            _ => self.source.failed(failure),
        }
    }
}

fn digest(response: &X509SvidResponse) -> u64 {
    fingerprint(&prost::Message::encode_to_vec(response))
}
