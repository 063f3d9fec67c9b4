//! What the mesh tells about itself: metrics, access log lines, spans and trace headers.
//!
//! Telemetry fails open. A full queue, a full disk or a missing exporter never delays or fails a
//! request: what is lost is counted. Nothing global is installed: no recorder, no subscriber, no tracer.

pub mod access_log;
pub(crate) mod handshakes;
pub(crate) mod head;
pub mod metrics;
pub mod trace;

/// Runs `test` with a subscriber of its own.
///
/// While a process has a single subscriber, `tracing` asks the thread that first reaches an event whether it is
/// wanted, and remembers the answer for all threads. A second subscriber that stays keeps tests apart.
#[cfg(test)]
fn with_subscriber<S: tracing::Subscriber + Clone + Send + Sync>(subscriber: &S, test: impl FnOnce()) {
    static STAYS: std::sync::OnceLock<tracing::Dispatch> = std::sync::OnceLock::new();
    STAYS.get_or_init(|| tracing::Dispatch::new(subscriber.clone()));
    tracing::subscriber::with_default(subscriber.clone(), test);
}
