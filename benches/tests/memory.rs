//! What is kept in memory, counted by an allocator.
#![allow(clippy::unwrap_used, reason = "a test may stop")]

use std::alloc::System;
use std::net::{Ipv4Addr, SocketAddr};

use mesh_core::decide::balance::ALGORITHMS;
use mesh_core::decide::cluster::{Cluster, ClusterKey, ClusterSettings, Endpoint, EndpointSpec};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const ENDPOINTS: u32 = 10_000;

/// What picks read of an endpoint beside its own state, which outlives every set.
const LIMIT: usize = 64;

#[test]
fn picks_keep_at_most_64_bytes_an_endpoint() {
    let own = size_of::<Endpoint<()>>() + 2 * size_of::<usize>();
    for row in ALGORITHMS {
        let mut settings = ClusterSettings::default();
        settings.algorithm = row.algorithm;
        let cluster: Cluster<()> = Cluster::new(ClusterKey::new("orders", None, 80), settings);
        let specs = (0..ENDPOINTS).map(|number| {
            let address = SocketAddr::from((Ipv4Addr::from_bits(number), 80));
            (EndpointSpec::new(address, number % 3 + 1), ())
        });
        let specs = specs.collect();

        let region = Region::new(ALLOCATOR);
        drop(cluster.set_endpoints(specs, |_, ()| (), |_, ()| ()));
        let change = region.change();

        // The list of what to set was there before, and is gone now.
        let given = ENDPOINTS as usize * size_of::<(EndpointSpec, ())>();
        let kept = change.bytes_allocated + given - change.bytes_deallocated;
        let an_endpoint = kept / ENDPOINTS as usize;
        assert!(an_endpoint >= own, "{}: {an_endpoint} bytes", row.name);
        assert!(an_endpoint - own <= LIMIT, "{}: {an_endpoint} bytes", row.name);
    }
}
