//! What the mesh tells about itself: metrics, access log lines, spans and trace headers.
//!
//! Telemetry fails open. A full queue, a full disk or a missing exporter never delays or fails a
//! request: what is lost is counted. Nothing global is installed: no recorder, no subscriber, no tracer.

pub mod access_log;
pub mod metrics;
pub mod trace;
