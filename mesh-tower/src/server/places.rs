//! How many handshakes run beside each other, and which of them give way to those who wait.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use super::secure::{Refused, Secured};
use crate::mesh::Shared;
use crate::telemetry::metrics::Cut;

/// How long a handshake may take while others wait for its place. One that makes progress needs a fraction of it, even
/// where all of them share a processor.
const GRACE: Duration = Duration::from_secs(2);

/// The places for the handshakes of a listener. Further connections wait in the kernel's queue.
#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    /// Whether somebody waits for a place.
    is_wanted: watch::Sender<bool>,
}

impl Places {
    pub(super) fn new(number: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(number)),
            is_wanted: watch::Sender::new(false),
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
        })
    }
}

/// A place for a handshake, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _free: OwnedSemaphorePermit,
    is_wanted: watch::Receiver<bool>,
}

impl Place {
    /// The handshake, until the place is wanted by others and has been held for long enough.
    pub(super) async fn hold(
        &mut self,
        shared: &Shared,
        handshake: impl Future<Output = Result<Secured, Refused>>,
    ) -> Result<Secured, Refused> {
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
                shared.metrics.cut(Cut::SlowHandshake);
                Err(Refused::GaveWay(began.elapsed()))
            }
        }
    }
}
