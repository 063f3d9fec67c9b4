use std::collections::BTreeMap;

use futures_util::FutureExt;
use mesh_core::decide::cluster::HostConnections;
use mesh_core::decide::health::Verdict;
use mesh_core::policy::Loaded;
use mesh_core::policy::model::traffic::OutlierDetection;
use mesh_core::snapshot::{ResolvedEndpoint, ResolvedTarget};
use mesh_core::workload::Workload;

use super::*;
use crate::discovery::{ResolveError, Resolving, Update};
use crate::telemetry::metrics::MetricsOptions;

/// A name server that never answers.
#[derive(Debug)]
struct Silent;

impl Resolve for Silent {
    fn resolve<'a>(&'a self, _: &'a str) -> Resolving<'a> {
        Box::pin(std::future::pending())
    }
}

fn clusters() -> Clusters {
    let metrics = Metrics::new(MetricsOptions::default());
    Clusters::new(None, metrics, Party::unknown(), Clock::new(), Arc::new(Silent))
}

/// A service that takes any port, with a limit that tells the policies apart.
fn policy(generation: u64) -> Arc<Snapshot> {
    let text = format!("services:\n  orders: {{ limits: {{ requests: {generation} }} }}\n");
    let loaded = Loaded::from_files([("orders.yaml", text)]);
    let policy = loaded
        .policy
        .unwrap_or_else(|| panic!("{:?}", loaded.report.lines(&loaded.sources)));
    Arc::new(Snapshot::compile(&policy, &Workload::default(), generation).unwrap())
}

fn dial(clusters: &Clusters, live: &Live, port: u16) -> Arc<ClusterRuntime> {
    let target = live.snapshot.target(0).unwrap();
    clusters
        .of_target(&live.snapshot, target, &live.targets[0], port)
        .unwrap()
}

fn limit(cluster: &ClusterRuntime) -> Option<u32> {
    cluster.state.settings().limits.requests
}

#[tokio::test]
async fn a_reload_changes_parameters_and_keeps_the_state() {
    let clusters = clusters();
    let first = clusters.apply(policy(1));
    let before = dial(&clusters, &first, 8080);
    assert_eq!(limit(&before), Some(1));

    let second = clusters.apply(policy(2));

    assert!(Arc::ptr_eq(&before, &dial(&clusters, &second, 8080)));
    assert_eq!(limit(&before), Some(2));
}

#[tokio::test]
async fn a_target_knows_each_of_its_ports() {
    let clusters = clusters();
    let live = clusters.apply(policy(1));
    let ports = [8080, 9090, 7070];
    let dialled = ports.map(|port| dial(&clusters, &live, port));

    for (port, cluster) in ports.iter().zip(&dialled) {
        assert_eq!(cluster.key().port, *port);
        let known = live.targets[0].get(*port);
        assert!(known.is_some_and(|known| Arc::ptr_eq(&known, cluster)), "{port}");
    }
    assert!(live.targets[0].get(1).is_none());
}

#[tokio::test]
async fn a_request_of_an_old_policy_does_not_bring_its_parameters_back() {
    let clusters = clusters();
    let (old, new) = (clusters.apply(policy(1)), clusters.apply(policy(2)));
    let cluster = dial(&clusters, &new, 8080);

    assert!(Arc::ptr_eq(&cluster, &dial(&clusters, &old, 8080)));

    assert_eq!(limit(&cluster), Some(2));
}

#[tokio::test]
async fn what_a_policy_drops_is_forgotten_with_its_last_user() {
    let clusters = clusters();
    let live = clusters.apply(policy(1));
    let cluster = dial(&clusters, &live, 8080);
    assert_eq!(clusters.alive().len(), 1);

    drop(live);
    assert_eq!(clusters.alive().len(), 1, "a request is under way");
    drop(cluster);

    assert_eq!(clusters.alive().len(), 0);
}

/// The cluster of a subset, whose only endpoint is ejected.
fn ejected(clusters: &Clusters, subset: &str) -> Arc<ClusterRuntime> {
    let mut rules = OutlierDetection::default();
    (rules.consecutive_5xx, rules.max_ejected_percent) = (1, 100);
    let mut settings = ClusterSettings::default();
    settings.outliers = Some(rules);
    let (settings, key) = (Arc::new(settings), ClusterKey::new("orders", Some(subset), 8080));
    let cluster = clusters.find_or_add(&key, &settings, "default");
    let endpoint = ResolvedEndpoint::by_host("127.0.0.1", 8080);
    cluster.configure(ResolvedTarget::passthrough(key, settings, endpoint), 1);
    let endpoint = cluster.state.endpoints().remove(0);
    let event = cluster
        .state
        .record(&endpoint, Verdict::ServerError, clusters.context.clock.now());
    cluster.observe(&event.unwrap());
    cluster
}

#[tokio::test]
async fn the_ejected_of_all_subsets_are_counted_as_long_as_they_are_there() {
    let clusters = clusters();
    let is_counted = |number: u32| {
        let text = clusters.context.metrics.render();
        text.contains(&format!("mesh_outlier_ejected{{service=\"orders\"}} {number}\n"))
    };
    let (v1, v2) = (ejected(&clusters, "v1"), ejected(&clusters, "v2"));
    assert!(is_counted(2));

    let returned = v1.state.endpoints().remove(0);
    v1.state.configure(ClusterSettings::default());
    assert!(!returned.health().is_ejected());
    v1.sweep();
    assert!(is_counted(1));

    drop(v2);
    assert!(is_counted(0));
}

/// A name server that knows a name until it forgets it.
#[derive(Debug, Default)]
struct Forgetful(Mutex<Option<&'static str>>);

impl Resolve for Forgetful {
    fn resolve<'a>(&'a self, name: &'a str) -> Resolving<'a> {
        let is_forgotten = *self.0.lock().unwrap() == Some(name);
        let address = match name {
            _ if is_forgotten => Vec::new(),
            "a.example" => vec!["192.0.2.1".parse().unwrap()],
            _ => vec!["192.0.2.2".parse().unwrap()],
        };
        Box::pin(async move { Ok(crate::discovery::Answer::new(address, Duration::from_secs(60))) })
    }
}

fn named(names: &str, generation: u64) -> Arc<Snapshot> {
    let text = format!("services:\n  orders: {{ port: 80, endpoints: [{names}] }}\n");
    let loaded = Loaded::from_files([("orders.yaml", text)]);
    Arc::new(Snapshot::compile(&loaded.policy.unwrap(), &Workload::default(), generation).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_reload_that_adds_a_name_keeps_what_is_known_of_the_others() {
    let names = Arc::new(Forgetful::default());
    let metrics = Metrics::new(MetricsOptions::default());
    let clusters = Clusters::new(
        None,
        metrics,
        Party::unknown(),
        Clock::new(),
        Arc::clone(&names) as Arc<dyn Resolve>,
    );
    let live = clusters.apply(named("a.example", 1));
    let cluster = dial(&clusters, &live, 80);
    let addresses = || addresses(&cluster);
    cluster.ready().await;
    assert_eq!(addresses(), ["192.0.2.1:80"]);

    *names.0.lock().unwrap() = Some("a.example");
    let _both = clusters.apply(named("a.example, b.example", 2));
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(addresses(), ["192.0.2.1:80", "192.0.2.2:80"]);

    let _other = clusters.apply(named("b.example", 3));
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(addresses(), ["192.0.2.2:80"]);
}

/// Knows `a.example` at once, `b.example` after a second, and nothing else.
#[derive(Debug)]
struct Slow;

impl Resolve for Slow {
    fn resolve<'a>(&'a self, name: &'a str) -> Resolving<'a> {
        Box::pin(async move {
            let address = match name {
                "a.example" => "192.0.2.1",
                "b.example" => {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    "192.0.2.2"
                }
                _ => return Ok(crate::discovery::Answer::new(Vec::new(), Duration::ZERO)),
            };
            let addresses = vec![address.parse().unwrap()];
            Ok(crate::discovery::Answer::new(addresses, Duration::from_secs(60)))
        })
    }
}

fn slow() -> Clusters {
    let metrics = Metrics::new(MetricsOptions::default());
    Clusters::new(None, metrics, Party::unknown(), Clock::new(), Arc::new(Slow))
}

fn addresses(cluster: &ClusterRuntime) -> Vec<String> {
    let endpoints = cluster.state.endpoints();
    endpoints
        .iter()
        .map(|endpoint| endpoint.address().to_string())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn requests_wait_for_the_names_that_a_reload_brings() {
    for before in ["a.example", "typo.example", "192.0.2.9", "192.0.2.9, typo.example"] {
        let clusters = slow();
        let live = clusters.apply(named(before, 1));
        let cluster = dial(&clusters, &live, 80);
        let was_known = cluster.ready().await == Readiness::Known;
        assert_eq!(was_known, before != "typo.example", "{before}");

        let _next = clusters.apply(named("b.example", 2));

        assert!(!cluster.is_ready(), "{before}");
        assert_eq!(cluster.ready().await, Readiness::Known, "{before}");
        assert_eq!(addresses(&cluster), ["192.0.2.2:80"], "{before}");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_wait_for_no_name_where_an_address_is_left() {
    for (before, after, left) in [
        ("a.example", "a.example, b.example", "192.0.2.1:80"),
        ("a.example", "192.0.2.9, b.example", "192.0.2.9:80"),
        ("typo.example", "192.0.2.9, typo.example", "192.0.2.9:80"),
    ] {
        let clusters = slow();
        let live = clusters.apply(named(before, 1));
        let cluster = dial(&clusters, &live, 80);
        cluster.ready().await;

        let _next = clusters.apply(named(after, 2));

        assert!(cluster.is_ready(), "{after}");
        assert_eq!(addresses(&cluster), [left]);
        // What fails meanwhile does not take it away.
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(cluster.is_ready(), "{after}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_whose_neighbour_is_removed_is_waited_for_and_fails_by_itself() {
    let clusters = slow();
    let live = clusters.apply(named("192.0.2.9, typo.example", 1));
    let cluster = dial(&clusters, &live, 80);
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(cluster.is_ready(), "nobody waits for a name where there is an address");

    let _next = clusters.apply(named("typo.example", 2));

    assert!(!cluster.is_ready());
    let failed = cluster.ready().await;
    assert!(
        matches!(&failed, Readiness::Failed(reason) if reason.contains("typo.example")),
        "{failed:?}"
    );
    let _same = clusters.apply(named("typo.example", 3));
    assert_eq!(cluster.ready().now_or_never(), Some(failed), "it is not asked for anew");
}

#[tokio::test(start_paused = true)]
async fn what_an_older_policy_asked_for_is_not_heard() {
    let clusters = slow();
    let live = clusters.apply(named("a.example", 1));
    let cluster = dial(&clusters, &live, 80);
    cluster.ready().await;
    let _next = clusters.apply(named("b.example", 2));

    let late = BTreeMap::from([("a.example".into(), vec!["192.0.2.7".parse().unwrap()])]);
    let heard = cluster.resolved(1, Update::Addresses(&late));

    assert!(heard.is_break() && !cluster.is_ready());
    let name = "a.example".to_owned();
    assert!(
        cluster
            .resolved(1, Update::Failed(&ResolveError::NotFound { name }))
            .is_break()
    );
    assert_eq!(cluster.ready().await, Readiness::Known);
    assert_eq!(addresses(&cluster), ["192.0.2.2:80"]);
}

/// Answers for each name once.
#[derive(Debug, Default)]
struct Once(Mutex<Vec<String>>);

impl Resolve for Once {
    fn resolve<'a>(&'a self, name: &'a str) -> Resolving<'a> {
        let mut asked = self.0.lock().unwrap();
        if asked.iter().any(|known| known == name) {
            return Box::pin(std::future::pending());
        }
        asked.push(name.to_owned());
        let address = std::net::Ipv4Addr::new(10, 0, 0, u8::try_from(asked.len()).unwrap());
        let answer = crate::discovery::Answer::new(vec![address.into()], Duration::from_secs(60));
        Box::pin(std::future::ready(Ok(answer)))
    }
}

#[tokio::test]
async fn a_name_that_is_slow_after_a_reload_keeps_its_addresses() {
    let listing = |endpoints: &str, generation| {
        let text = format!("services:\n  orders: {{ endpoints: [{endpoints}] }}\n");
        let loaded = Loaded::from_files([("orders.yaml", text)]);
        Arc::new(Snapshot::compile(&loaded.policy.unwrap(), &Workload::default(), generation).unwrap())
    };
    let metrics = Metrics::new(MetricsOptions::default());
    let clusters = Clusters::new(None, metrics, Party::unknown(), Clock::new(), Arc::new(Once::default()));
    let count = async |cluster: &ClusterRuntime, expected: usize| {
        let reached = async {
            while cluster.state.endpoints().len() != expected {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), reached).await
    };
    let first = clusters.apply(listing("a.test:80", 1));
    let cluster = dial(&clusters, &first, 80);
    count(&cluster, 1).await.unwrap();

    let _second = clusters.apply(listing("a.test:80, b.test:80", 2));

    count(&cluster, 2).await.expect("the addresses of both names");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_no_policy_names_is_no_label() {
    let clusters = clusters();

    let cluster = clusters.passthrough("intruder.example", 80, Timestamp::ZERO);
    cluster.metrics.ejection();

    let text = clusters.context.metrics.render();
    assert!(!text.contains("intruder"), "{text}");
    assert!(
        text.contains("mesh_outlier_ejections_total{service=\"PassthroughCluster\"} 1\n"),
        "{text}"
    );
}

/// Knows every name for a minute, and counts how often it was asked.
#[derive(Debug, Default)]
struct Counting(std::sync::atomic::AtomicUsize);

impl Resolve for Counting {
    fn resolve<'a>(&'a self, _: &'a str) -> Resolving<'a> {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let address = vec!["192.0.2.1".parse().unwrap()];
        Box::pin(async move { Ok(crate::discovery::Answer::new(address, Duration::from_secs(60))) })
    }
}

fn counting() -> (Clusters, Arc<Counting>) {
    let (metrics, names) = (Metrics::new(MetricsOptions::default()), Arc::<Counting>::default());
    let resolver = Arc::clone(&names) as Arc<dyn Resolve>;
    (
        Clusters::new(None, metrics, Party::unknown(), Clock::new(), resolver),
        names,
    )
}

fn call(clusters: &Clusters, host: &str) -> Arc<ClusterRuntime> {
    clusters.passthrough(host, 80, clusters.context.clock.now())
}

/// Lets a time pass as housekeeping does, second by second.
async fn pass(clusters: &Clusters, time: Duration) {
    for _ in 0..time.as_secs() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        clusters.sweep();
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_nobody_calls_any_more_is_not_asked_for() {
    let (clusters, names) = counting();
    let asked = || names.0.load(std::sync::atomic::Ordering::Relaxed);
    let first = call(&clusters, "far.example");
    pass(&clusters, passthrough::IDLE * 2).await;
    assert!(asked() > 5, "a request is under way");
    let connection = first.state.try_connect(HostConnections::Some).unwrap();
    let known = Arc::downgrade(&first);
    drop(first);
    pass(&clusters, passthrough::IDLE * 2).await;
    assert!(known.strong_count() > 0, "a connection is open");

    call(&clusters, "far.example");
    drop(connection);
    pass(&clusters, passthrough::IDLE - Duration::from_secs(1)).await;
    assert!(known.strong_count() > 0, "it was called a short time ago");
    pass(&clusters, Duration::from_secs(1)).await;
    assert_eq!(known.strong_count(), 0);

    let before = asked();
    tokio::time::sleep(passthrough::IDLE).await;
    assert_eq!(asked(), before);
}

#[tokio::test(start_paused = true)]
async fn of_too_many_hosts_those_go_that_were_called_longest_ago() {
    let (clusters, _) = counting();
    let host = |number: usize| format!("h{number}.example");
    let mut known = Vec::new();
    let busy = call(&clusters, &host(0));
    for number in 1..passthrough::LIMIT {
        tokio::time::advance(Duration::from_millis(1)).await;
        known.push(Arc::downgrade(&call(&clusters, &host(number))));
    }
    tokio::time::advance(Duration::from_millis(1)).await;
    call(&clusters, &host(1));

    call(&clusters, "another.example");

    let gone: Vec<usize> = (1..)
        .zip(&known)
        .filter(|(_, known)| known.strong_count() == 0)
        .map(|(number, _)| number)
        .collect();
    assert!(gone.iter().copied().eq(2..2 + passthrough::LIMIT / 4), "{gone:?}");
    assert!(Arc::ptr_eq(&busy, &call(&clusters, &host(0))));
}
