//! From changed policy files to the snapshot in force, while the service runs.

pub mod watch;
