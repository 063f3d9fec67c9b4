//! Hosts that no policy names, as long as they are called.

use std::sync::Arc;
use std::time::Duration;

use mesh_core::decide::cluster::ClusterKey;
use mesh_core::time::Timestamp;
use rustc_hash::FxHashMap;

use super::ClusterRuntime;

/// How many are kept; more only as long as all have requests.
pub(super) const LIMIT: usize = 1024;
/// How many go where there is no room for another one: not all, as some are called all the time, nor one by one.
const ROOM: usize = LIMIT / 4;
/// How long one is kept after its last request, where no connection to it is open.
pub(super) const IDLE: Duration = Duration::from_secs(300);

/// Clusters by key. What leaves is handed out, so that it ends outside of the lock.
#[derive(Debug, Default)]
pub(super) struct Passthrough {
    hosts: FxHashMap<ClusterKey, Host>,
}

#[derive(Debug)]
struct Host {
    cluster: Arc<ClusterRuntime>,
    used: Timestamp,
}

impl Host {
    /// Whether a request is under way.
    fn is_busy(&self) -> bool {
        Arc::strong_count(&self.cluster) > 1
    }

    fn is_over(&mut self, now: Timestamp) -> bool {
        if self.is_busy() {
            self.used = now;
        }
        now.since(self.used) >= IDLE && self.cluster.state.connections().active == 0
    }
}

impl Passthrough {
    /// The cluster of a host that is called now.
    pub(super) fn find(&mut self, key: &ClusterKey, now: Timestamp) -> Option<Arc<ClusterRuntime>> {
        let host = self.hosts.get_mut(key)?;
        host.used = now;
        Some(Arc::clone(&host.cluster))
    }

    pub(super) fn add(&mut self, key: ClusterKey, cluster: Arc<ClusterRuntime>, now: Timestamp) {
        self.hosts.insert(key, Host { cluster, used: now });
    }

    /// At the limit, takes out those that have not been called for longest.
    pub(super) fn make_room(&mut self) -> Vec<Arc<ClusterRuntime>> {
        if self.hosts.len() < LIMIT {
            return Vec::new();
        }
        let idle = self.hosts.values().filter(|host| !host.is_busy());
        let mut used: Vec<Timestamp> = idle.map(|host| host.used).collect();
        let Some(last) = ROOM.min(used.len()).checked_sub(1) else {
            return Vec::new();
        };
        let last = *used.select_nth_unstable(last).1;
        let old = self.hosts.extract_if(|_, host| host.used <= last && !host.is_busy());
        old.take(ROOM).map(|(_, host)| host.cluster).collect()
    }

    /// Takes out those that are not called any more.
    pub(super) fn sweep(&mut self, now: Timestamp) -> Vec<Arc<ClusterRuntime>> {
        let over = self.hosts.extract_if(|_, host| host.is_over(now));
        over.map(|(_, host)| host.cluster).collect()
    }
}
