//! What is known of the policy in force and of the last attempt to change it.

use std::time::SystemTime;

use serde::Serialize;

/// The policy in force, and what became of the last change of its files.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PolicyStatus {
    /// Counts the policies that were in force, from 1.
    pub generation: u64,
    /// When it was put in force, in seconds since 1970.
    pub since: u64,
    /// The files that it came from.
    pub files: Vec<String>,
    /// Why the files as they are now are not in force; `None` where they are.
    pub rejected: Option<Rejected>,
    /// Warnings about the policy in force, one line each.
    pub warnings: Vec<String>,
}

/// A set of files that was not put in force.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Rejected {
    /// When it was read, in seconds since 1970.
    pub at: u64,
    /// `file:line:column: error[CODE]: message`, or why the files could not be read.
    pub reasons: Vec<String>,
}

impl Rejected {
    pub(crate) fn new(at: SystemTime, reasons: Vec<String>) -> Self {
        Self {
            at: unix_seconds(at),
            reasons,
        }
    }
}

pub(crate) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
