//! mesh-tower

pub mod admin;
pub mod clock;
pub mod reload;
pub mod telemetry;
