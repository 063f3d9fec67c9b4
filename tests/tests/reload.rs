//! Changes of the policy under load, and files as people and Kubernetes change them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mesh_tests::seeds::service;
use mesh_tests::world::{generation, get, plain_text, until};
use mesh_tests::{Backend, World};

const SPLIT: &str = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: orders }
spec:
  hosts: [orders]
  http:
    - route:
        - { destination: { host: orders, subset: v1 }, weight: WEIGHT }
        - { destination: { host: orders, subset: v2 }, weight: REST }
      timeout: TIMEOUTs
      retries: { attempts: 1, retryOn: 5xx }
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: orders }
spec:
  host: orders
  subsets: [{ name: v1, labels: { version: v1 } }, { name: v2, labels: { version: v2 } }]
  trafficPolicy: { connectionPool: { http: { http2MaxRequests: LIMIT } } }
";

/// The policy of a step: each has another weight, timeout and limit.
fn policy(step: usize) -> String {
    let weight = 10 + step % 80;
    SPLIT
        .replace("WEIGHT", &weight.to_string())
        .replace("REST", &(100 - weight).to_string())
        .replace("TIMEOUT", &(5 + step % 10).to_string())
        .replace("LIMIT", &(1_000 + step).to_string())
}

/// L18, L22.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_requests_during_fifty_reloads_and_none_fails() {
    let (v1, v2) = (Backend::start("v1").await, Backend::start("v2").await);
    let world = World::new();
    world.write("split.yaml", &policy(0));
    world.write(
        "endpoints.yaml",
        &service("default", "orders", &[(&v1, "v1"), (&v2, "v2")]),
    );
    let (mesh, client) = world.client("default", "web").await;
    let (sent, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));

    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (client, sent, stop) = (client.clone(), Arc::clone(&sent), Arc::clone(&stop));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) || sent.load(Ordering::Relaxed) < 10_000 {
                    let answer = get(&client, "http://orders/").await;
                    assert!(matches!(&answer, Ok(answer) if answer.status == 200), "{answer:?}");
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for step in 1..=50 {
        world.write("split.yaml", &policy(step));
        generation(&mesh, step as u64 + 1).await;
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }

    assert!(sent.load(Ordering::Relaxed) >= 10_000);
    // State outlives reloads: the connections are those of eight callers, not fifty times theirs.
    assert!(
        v1.connections() + v2.connections() <= 32,
        "{} and {}",
        v1.connections(),
        v2.connections()
    );
}

/// Services with a hundred routes each.
fn large(services: usize) -> String {
    use std::fmt::Write as _;
    let mut text = String::from("services:\n");
    for service in 0..services {
        let _ = write!(text, "  s{service}:\n    endpoints: [10.0.0.1:80]\n    routes:\n");
        for route in 0..100 {
            let _ = writeln!(
                text,
                "      - {{ match: {{ path: {{ prefix: /v{route}/ }} }}, timeout: 1s }}"
            );
        }
    }
    text
}

/// The runtime has one thread: had it to read the policy, no request could go on meanwhile.
#[tokio::test(flavor = "current_thread")]
async fn requests_go_on_while_a_large_policy_is_read() {
    let orders = Backend::start("v1").await;
    let world = World::new();
    world.write("endpoints.yaml", &service("default", "orders", &[(&orders, "v1")]));
    let (mesh, client) = world.client("default", "web").await;
    assert_eq!(get(&client, "http://orders/").await.unwrap().text, "v1");

    let generations = mesh.generations();
    let start = Instant::now();
    world.write("large.yaml", &large(50));
    let mut longest = Duration::ZERO;
    while *generations.borrow() == 1 {
        let began = Instant::now();
        assert_eq!(get(&client, "http://orders/").await.unwrap().text, "v1");
        longest = longest.max(began.elapsed());
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", mesh.policy_status());
    }
    assert!(longest < start.elapsed() / 2, "{longest:?} of {:?}", start.elapsed());
}

#[tokio::test]
async fn a_change_is_in_force_within_a_second() {
    let (v1, v2) = (Backend::start("v1").await, Backend::start("v2").await);
    let world = World::new();
    let all_to = |v1: u32| {
        SPLIT
            .replace("WEIGHT", &v1.to_string())
            .replace("REST", &(100 - v1).to_string())
            .replace("TIMEOUT", "5")
            .replace("LIMIT", "9")
    };
    world.write("split.yaml", &all_to(100));
    world.write(
        "endpoints.yaml",
        &service("default", "orders", &[(&v1, "v1"), (&v2, "v2")]),
    );
    let mesh = world
        .builder(&mesh_core::workload::Workload::default())
        .poll(Duration::from_millis(500))
        .build()
        .await
        .unwrap();
    let client = mesh.client();
    assert_eq!(get(&client, "http://orders/").await.unwrap().text, "v1");

    let start = Instant::now();
    world.write("split.yaml", &all_to(0));
    generation(&mesh, 2).await;

    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(get(&client, "http://orders/").await.unwrap().text, "v2");
}

/// L15.
#[tokio::test]
async fn bad_files_leave_the_last_good_policy_in_force_and_say_why() {
    let a = Backend::start("a").await;
    let world = World::new();
    world.write("endpoints.yaml", &service("default", "orders", &[(&a, "v1")]));
    let (mesh, client) = world.client("default", "web").await;
    let anchors = format!("a: &a [{}]\nb: [{}]\n", "x, ".repeat(200_000), "*a, ".repeat(100_000));
    let good = service("default", "more", &[(&a, "v1")]);

    for (bad, word) in [
        ("services:\n  more:\n    endpoints: [", "MESH"),
        ("services: { more: { endpionts: [] } }", "endpionts"),
        ("services: { more: { endpoints: 7 } }", "endpoints"),
        ("services: { more: {} }\nservices: { more: {} }", "services"),
        ("routes:\n  - hosts: [orders]\n    rules: [{ to: nowhere/v9 }]", "MESH"),
        (anchors.as_str(), "MESH"),
        ("\u{1}\u{2}binary", "MESH"),
    ] {
        world.write("more.yaml", bad);
        until("the set is refused", || mesh.policy_status().rejected.is_some()).await;
        let reasons = mesh.policy_status().rejected.unwrap().reasons;
        assert!(
            reasons
                .iter()
                .any(|reason| reason.contains("more.yaml") && reason.contains(word)),
            "{reasons:?}"
        );
        assert_eq!(get(&client, "http://orders/").await.unwrap().status, 200);
        assert!(
            mesh.metrics()
                .render()
                .contains("mesh_policy_reloads_total{result=\"rejected\"}")
        );

        let before = mesh.policy_status().generation;
        world.write("more.yaml", &good);
        until("the good set is taken", || mesh.policy_status().rejected.is_none()).await;
        assert_eq!(mesh.policy_status().generation, before + 1);
        std::fs::remove_file(world.policies().join("more.yaml")).unwrap();
        generation(&mesh, before + 2).await;
    }
}

/// L5.
#[tokio::test]
async fn files_that_vanish_and_come_back_are_no_empty_policy() {
    let a = Backend::start("a").await;
    let world = World::new();
    let text = service("default", "orders", &[(&a, "v1")]);
    world.write("endpoints.yaml", &text);
    let (mesh, client) = world.client("default", "web").await;

    std::fs::remove_file(world.policies().join("endpoints.yaml")).unwrap();
    until("the empty directory is refused", || {
        mesh.policy_status().rejected.is_some()
    })
    .await;
    assert_eq!(get(&client, "http://orders/").await.unwrap().status, 200);

    world.write("endpoints.yaml", &text);
    until("the file is taken again", || mesh.policy_status().rejected.is_none()).await;
    assert_eq!(get(&client, "http://orders/").await.unwrap().status, 200);
}

/// What is denied stays so while the share is away that says it.
#[cfg(unix)]
#[tokio::test]
async fn a_directory_behind_a_link_that_goes_takes_no_rules_along() {
    let world = World::new();
    let share = world.folder("share");
    let deny = "namespace: shop\nauthorization:\n  - { name: no, service: orders, deny: [{ paths: [/admin] }] }\n";
    std::fs::create_dir(share.join("team-a")).unwrap();
    std::fs::write(share.join("team-a/deny.yaml"), deny).unwrap();
    world.write("other.yaml", "services: { other: { endpoints: [10.0.0.4:80] } }\n");
    std::os::unix::fs::symlink(share.join("team-a"), world.policies().join("team-a")).unwrap();
    let mesh = world
        .mesh(&mesh_core::workload::Workload::new("shop", "orders").label("app", "orders"))
        .await;
    let address = world.serve(&mesh, Backend::start("orders").await.router()).await;
    assert!(plain_text(address, "/admin").await.starts_with("HTTP/1.1 403"));

    std::fs::rename(share.join("team-a"), share.join("away")).unwrap();
    // A change beside it brings a look for certain.
    world.write("other.yaml", "services: { other: { endpoints: [10.0.0.5:80] } }\n");
    until("the directory is missed", || {
        let status = mesh.policy_status();
        status.rejected.is_some() || status.generation > 1
    })
    .await;
    assert!(plain_text(address, "/admin").await.starts_with("HTTP/1.1 403"));
    assert_eq!(mesh.policy_status().generation, 1);

    std::fs::rename(share.join("away"), share.join("team-a")).unwrap();
    generation(&mesh, 2).await;
    assert!(plain_text(address, "/admin").await.starts_with("HTTP/1.1 403"));
    assert!(plain_text(address, "/").await.starts_with("HTTP/1.1 200"));
}

#[cfg(unix)]
#[tokio::test]
async fn a_config_map_of_kubernetes_is_followed() {
    use std::os::unix::fs::symlink;
    let (a, b) = (Backend::start("a").await, Backend::start("b").await);
    let world = World::new();
    let mount = world.folder("mount");
    let version = |name: &str, backend: &Backend| {
        std::fs::create_dir(mount.join(name)).unwrap();
        std::fs::write(
            mount.join(name).join("orders.yaml"),
            service("default", "orders", &[(backend, "v1")]),
        )
        .unwrap();
    };
    version("..2026_1", &a);
    symlink("..2026_1", mount.join("..data")).unwrap();
    symlink("..data/orders.yaml", mount.join("orders.yaml")).unwrap();
    let mesh = mesh_tower::Mesh::builder()
        .policy(&mount)
        .without_admin()
        .build()
        .await
        .unwrap();
    let client = mesh.client();
    assert_eq!(get(&client, "http://orders/").await.unwrap().text, "a");

    version("..2026_2", &b);
    symlink("..2026_2", mount.join("..data_tmp")).unwrap();
    std::fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    generation(&mesh, 2).await;

    assert_eq!(get(&client, "http://orders/").await.unwrap().text, "b");
}

#[tokio::test]
async fn a_hundred_writes_in_a_second_end_at_the_last_one() {
    let (a, b) = (Backend::start("a").await, Backend::start("b").await);
    let world = World::new();
    world.write("orders.yaml", &service("default", "orders", &[(&a, "v1")]));
    let (mesh, client) = world.client("default", "web").await;

    for step in 0..100 {
        let backend = if step % 2 == 0 { &a } else { &b };
        std::fs::write(
            world.policies().join("orders.yaml"),
            service("default", "orders", &[(backend, "v1")]),
        )
        .unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    until("the last one is in force", || {
        mesh.policy_status().rejected.is_none() && mesh.policy_status().generation > 1
    })
    .await;

    let mut last = String::new();
    for _ in 0..200 {
        last = get(&client, "http://orders/").await.unwrap().text;
        if last == "b" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(last, "b");
}

#[tokio::test]
async fn an_ejection_outlives_a_reload() {
    let (a, b) = (Backend::start("a").await, Backend::start("b").await);
    let world = World::new();
    let text = |seconds: u32| {
        format!(
            "services:\n  orders:\n    endpoints: [\"{}\", \"{}\"]\n    outliers: {{ consecutive_5xx: 3, max_ejected_percent: 50 }}\n    routes: [{{ timeout: {seconds}s }}]\n",
            a.address, b.address
        )
    };
    world.write("orders.yaml", &text(5));
    let (mesh, client) = world.client("default", "web").await;
    a.answer_with(500);
    for _ in 0..40 {
        get(&client, "http://orders/").await.unwrap();
    }
    assert_eq!(a.hits(), 3);

    world.write("orders.yaml", &text(6));
    generation(&mesh, 2).await;

    for _ in 0..40 {
        assert_eq!(get(&client, "http://orders/").await.unwrap().status, 200);
    }
    assert_eq!(a.hits(), 3);
}

#[tokio::test]
async fn an_endpoint_of_another_version_is_counted_as_that_and_keeps_its_connection() {
    let backend = Backend::start("a").await;
    let world = World::new();
    let text = |version: &str| {
        format!(
            "services:\n  orders:\n    endpoints: [{{ address: \"{}\", labels: {{ version: {version} }} }}]\n",
            backend.address
        )
    };
    world.write("orders.yaml", &text("v1"));
    let (mesh, client) = world.client("default", "web").await;
    assert_eq!(get(&client, "http://orders/").await.unwrap().status, 200);
    let is_counted = |version: &str| {
        let text = mesh.metrics().render();
        let label = format!("destination_version=\"{version}\"");
        text.lines()
            .any(|line| line.starts_with("istio_requests_total") && line.contains(&label))
    };
    assert!(is_counted("v1") && !is_counted("v2"), "{}", mesh.metrics().render());

    for (version, number) in [("v2", 2), ("v3", 3)] {
        world.write("orders.yaml", &text(version));
        generation(&mesh, number).await;
        assert!(!is_counted(version), "{}", mesh.metrics().render());
        assert_eq!(get(&client, "http://orders/").await.unwrap().status, 200);
        assert!(is_counted(version), "{}", mesh.metrics().render());
    }
    assert_eq!(backend.connections(), 1);
}

/// I15.
#[tokio::test]
async fn a_bad_first_policy_refuses_to_start_in_words() {
    let world = World::new();
    world.write("orders.yaml", "services: { orders: { endpionts: [] } }\n");
    let error = world
        .builder(&mesh_core::workload::Workload::default())
        .build()
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("orders.yaml:1:") && text.contains("endpionts") && text.contains("help"),
        "{text}"
    );

    let empty = World::new();
    let error = empty.builder(&mesh_core::workload::Workload::default()).build().await;
    assert!(error.is_err(), "an empty directory is no policy");
}

/// What the admin listener answers.
async fn page(address: std::net::SocketAddr, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn the_admin_pages_tell_of_policy_endpoints_and_readiness() {
    let a = Backend::start("a").await;
    let world = World::new();
    world.write("orders.yaml", &service("default", "orders", &[(&a, "v1")]));
    let builder = world.builder(&mesh_core::workload::Workload::default());
    let mesh = builder
        .admin(mesh_tower::admin::AdminOptions::default())
        .build()
        .await
        .unwrap();
    let admin = mesh.admin_address().unwrap();
    assert!(admin.ip().is_loopback());
    assert_eq!(get(&mesh.client(), "http://orders/").await.unwrap().status, 200);

    assert!(page(admin, "/ready").await.starts_with("HTTP/1.1 200"));
    let endpoints = page(admin, "/endpoints").await;
    assert!(
        endpoints.contains(&a.address.to_string()) && endpoints.contains("\"connections\": 1"),
        "{endpoints}"
    );
    assert!(page(admin, "/metrics").await.contains("istio_requests_total{"));
    world.write("bad.yaml", "services: 7\n");
    until("the set is refused", || mesh.policy_status().rejected.is_some()).await;
    let policy = page(admin, "/policy").await;
    assert!(
        policy.contains("\"generation\": 1") && policy.contains("bad.yaml:1:11"),
        "{policy}"
    );

    mesh.shutdown();
    assert!(page(admin, "/ready").await.starts_with("HTTP/1.1 503"));
}

/// It does not return, so that nobody would say that it is ejected no more.
#[tokio::test]
async fn an_ejected_endpoint_that_a_reload_removes_is_counted_no_more() {
    let (a, b) = (Backend::start("a").await, Backend::start("b").await);
    let world = World::new();
    let text = |endpoints: &str| {
        format!(
            "services:\n  orders:\n    endpoints: [{endpoints}]\n    outliers: {{ consecutive_5xx: 3, max_ejected_percent: 50 }}\n"
        )
    };
    world.write("orders.yaml", &text(&format!("\"{}\", \"{}\"", a.address, b.address)));
    let (mesh, client) = world.client("default", "web").await;
    let ejected = || {
        let text = mesh.metrics().render();
        let line = text.lines().find(|line| line.starts_with("mesh_outlier_ejected{"));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
    };
    a.answer_with(500);
    for _ in 0..40 {
        get(&client, "http://orders/").await.unwrap();
    }
    assert_eq!((a.hits(), ejected()), (3, Some(1)));

    world.write("orders.yaml", &text(&format!("\"{}\"", b.address)));
    generation(&mesh, 2).await;

    assert_eq!(ejected(), Some(0));
}
