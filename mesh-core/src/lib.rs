//! What should happen to a request in a service mesh: parse, check and compile policies, then decide.
//!
//! The tree is the pipeline. Text becomes a [`Policy`](policy::model::Policy), a policy becomes a
//! [`snapshot::Snapshot`] for one workload, and the snapshot answers one pure question at a time
//! ([`decide`]): which route, which endpoint, another try, allowed or denied.
//!
//! # Determinism
//!
//! Nothing here reads a clock, draws a random number of its own, opens a file or waits. Time
//! ([`time::Timestamp`]) and randomness ([`random::Rng`]) are arguments, so that the same policy,
//! request, time and seed give the same decision in a service, in a test and in `mesh explain`.

pub mod decide;
pub mod diff;
pub mod explain;
pub mod identity;
pub mod outcome;
pub mod policy;
pub mod random;
pub mod request;
pub mod snapshot;
pub mod time;
pub mod trial;
pub mod workers;
pub mod workload;
