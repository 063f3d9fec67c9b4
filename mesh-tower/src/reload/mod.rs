//! From changed policy files to the snapshot in force, while the service runs.

mod processors;
pub mod watch;

pub use processors::Processors;
