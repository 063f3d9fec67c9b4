//! How many handshakes run beside each other, and which of them give way to those who wait.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use super::secure::Refused;
use crate::telemetry::metrics::{Cut, Metrics};

/// How long a handshake may take while others wait for its place. One that makes progress needs a fraction of it, even
/// where all of them share a processor.
const GRACE: Duration = Duration::from_secs(2);

/// The places for the handshakes of a listener. All further connections but the next one wait in the kernel's queue.
#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    /// Whether somebody waits for a place.
    is_wanted: watch::Sender<bool>,
    metrics: Metrics,
}

impl Places {
    pub(super) fn new(number: usize, metrics: Metrics) -> Self {
        Self {
            free: Arc::new(Semaphore::new(number)),
            is_wanted: watch::Sender::new(false),
            metrics,
        }
    }

    /// Waits for a place; handshakes that have had theirs for long make room.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no place is lost. The wish for one stands until the next call.
    pub(super) async fn take(&self) -> io::Result<Place> {
        let free = Arc::clone(&self.free);
        let free = match Arc::clone(&free).try_acquire_owned() {
            Ok(place) => place,
            Err(_) => {
                self.is_wanted.send_replace(true);
                free.acquire_owned().await.map_err(io::Error::other)?
            }
        };
        self.is_wanted.send_if_modified(std::mem::take);
        Ok(Place {
            _free: free,
            is_wanted: self.is_wanted.subscribe(),
            metrics: self.metrics.clone(),
        })
    }
}

/// A place for a handshake, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _free: OwnedSemaphorePermit,
    is_wanted: watch::Receiver<bool>,
    metrics: Metrics,
}

impl Place {
    /// The handshake, until the place is wanted by others and has been held for long enough.
    pub(super) async fn hold<T>(&mut self, handshake: impl Future<Output = Result<T, Refused>>) -> Result<T, Refused> {
        let began = Instant::now();
        let given_up = async {
            tokio::time::sleep_until(began + GRACE).await;
            // An error says that the listener is gone, which ends its handshakes itself.
            if self.is_wanted.wait_for(|is_wanted| *is_wanted).await.is_err() {
                std::future::pending().await
            }
        };
        tokio::select! {
            biased;
            secured = handshake => secured,
            () = given_up => {
                self.metrics.cut(Cut::SlowHandshake);
                Err(Refused::GaveWay(began.elapsed()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    /// A handshake whose peer says nothing.
    async fn silent(mut place: Place) -> Duration {
        match place.hold(pending::<Result<(), _>>()).await {
            Err(Refused::GaveWay(after)) => after,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_handshake_gives_way_once_its_place_is_wanted() {
        let metrics = Metrics::default();
        let places = Places::new(1, metrics.clone());
        let holding = tokio::spawn(silent(places.take().await.unwrap()));
        tokio::time::sleep(GRACE * 100).await;
        assert!(!holding.is_finished(), "nobody else wants it");

        let next = places.take().await.unwrap();

        assert!(holding.await.unwrap() >= GRACE * 100);
        let cut = r#"mesh_peers_cut_total{reason="slow_handshake"} 1"#;
        assert!(metrics.render().contains(cut), "{}", metrics.render());
        // Whoever took it is not asked for it in turn.
        let holding = tokio::spawn(silent(next));
        tokio::time::sleep(GRACE * 100).await;
        assert!(!holding.is_finished());
    }

    #[tokio::test(start_paused = true)]
    async fn a_handshake_has_its_time_whoever_waits() {
        let places = Places::new(1, Metrics::default());
        let holding = tokio::spawn(silent(places.take().await.unwrap()));

        let began = Instant::now();
        places.take().await.unwrap();

        assert!(began.elapsed() >= GRACE);
        assert!(holding.await.unwrap() >= GRACE);
    }
}
