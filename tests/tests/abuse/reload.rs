//! Requests while the policy changes under them.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use mesh_tests::wire::{End, Frame, Http2};
use mesh_tests::world::{generation, plain_text, until};

use super::*;

/// Either denies `POST /both`, one by the method, one by the path: a request that saw half of each would be let through.
const EITHER: [&str; 2] = [
    "namespace: shop\nauthorization:\n  - { name: a, service: orders, deny: [{ methods: [POST] }] }\n",
    "namespace: shop\nauthorization:\n  - { name: b, service: orders, deny: [{ paths: [/both] }] }\n",
];

/// How often the policy changes; `MESH_RELOADS` asks for more.
const RELOADS: usize = 100;

/// I14, L18: a request that every policy denies is denied by each that comes along, and each is judged by one of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_every_policy_denies_is_never_served() {
    let scene = Scene::new().await;
    scene.world.write("rules.yaml", EITHER[0]);
    generation(&scene.mesh, 2).await;
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..4)
        .map(|_| tokio::spawn(ask(scene.address, Arc::clone(&stop), Arc::clone(&sent))))
        .collect();

    let reloads = std::env::var("MESH_RELOADS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(RELOADS);
    for turn in 1..=reloads {
        scene.world.write("rules.yaml", EITHER[turn % 2]);
        generation(&scene.mesh, 2 + turn as u64).await;
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }

    println!("{} requests during {reloads} reloads", sent.load(Ordering::Relaxed));
    assert!(sent.load(Ordering::Relaxed) > 10 * reloads);
    assert_eq!(scene.backend.hits_of("/both"), 0);
    scene.lives().await;
}

async fn ask(address: SocketAddr, stop: Arc<AtomicBool>, sent: Arc<AtomicUsize>) {
    let fields: [(&str, &[u8]); 4] = [
        (":method", b"POST"),
        (":scheme", b"http"),
        (":authority", b"orders"),
        (":path", b"/both"),
    ];
    let mut connection = Http2::connect(address).await;
    while !stop.load(Ordering::Relaxed) {
        let heads: Vec<_> = (0..10)
            .map(|_| Frame::head(connection.stream(), &fields, true))
            .collect();
        connection.send(&heads).await;
        for head in heads {
            assert_eq!(connection.end(head.stream).await, End::Answered(false));
            sent.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// L20: a policy that takes long to read never takes the place of one that was written after it.
#[tokio::test]
async fn the_policy_that_was_written_last_wins() {
    let scene = Scene::new().await;
    let mut large = String::from("namespace: shop\nauthorization:\n");
    for number in 0..3_000 {
        writeln!(
            large,
            "  - {{ name: r{number}, service: orders, deny: [{{ paths: [/free, /x{number}] }}] }}"
        )
        .unwrap();
    }
    for turn in 0..3 {
        let small = format!(
            "namespace: shop\nauthorization:\n  - {{ name: last{turn}, service: orders, deny: [{{ paths: [/last] }}] }}\n"
        );
        let before = scene.mesh.policy_status().generation;
        scene.world.write("rules.yaml", &large);
        // The large one is read by now, or is not; the small one comes after it in any case.
        tokio::time::sleep(SHORT / 3).await;
        scene.world.write("rules.yaml", &small);
        generation(&scene.mesh, before + 1).await;
        let denied = || async { plain_text(scene.address, "/last").await.starts_with("HTTP/1.1 403") };
        while !denied().await {
            tokio::time::sleep(SHORT / 10).await;
        }
        // And it stays.
        let now = scene.mesh.policy_status().generation;
        for _ in 0..10 {
            assert!(denied().await);
            assert!(plain_text(scene.address, "/free").await.starts_with("HTTP/1.1 200"));
            tokio::time::sleep(SHORT / 10).await;
        }
        assert_eq!(scene.mesh.policy_status().generation, now);
    }
}

/// L22: a change of policy makes nobody connect anew: there is no herd where nobody runs.
#[tokio::test]
async fn a_reload_makes_no_connection() {
    let scene = Scene::new().await;
    let (web, client) = scene.world.client("shop", "web").await;
    let get = || mesh_tests::world::get(&client, "http://orders/");
    let handshakes = || {
        let text = scene.mesh.metrics().render();
        let line = text.lines().find_map(|line| {
            line.strip_prefix("mesh_tls_handshakes_total{side=\"server\",result=\"ok\",reason=\"none\"} ")
        });
        line.map(str::to_owned)
    };
    assert_eq!(get().await.unwrap().status, 200);
    let before = handshakes();
    assert!(before.is_some(), "{}", scene.mesh.metrics().render());

    for turn in 0..10 {
        scene.world.write("rules.yaml", EITHER[turn % 2]);
        generation(&scene.mesh, 2 + turn as u64).await;
        generation(&web, 2 + turn as u64).await;
        assert_eq!(get().await.unwrap().status, 200);
    }
    until("the handshakes are counted", || handshakes() == before).await;
}

/// L7: a file that cannot be read is no empty policy, and is taken again when it can.
#[cfg(unix)]
#[tokio::test]
async fn a_file_that_cannot_be_read_for_a_while() {
    use std::os::unix::fs::PermissionsExt;
    let scene = Scene::new().await;
    let rules = scene.world.policies().join("rules.yaml");
    let allow = |mode| std::fs::set_permissions(&rules, std::fs::Permissions::from_mode(mode)).unwrap();
    allow(0o000);
    if std::fs::read(&rules).is_ok() {
        println!("skipped: this user reads every file");
        return;
    }
    until("the unreadable file is refused", || {
        scene.mesh.policy_status().rejected.is_some()
    })
    .await;
    assert!(plain_text(scene.address, "/admin").await.starts_with("HTTP/1.1 403"));
    allow(0o600);
    until("the file is taken again", || {
        scene.mesh.policy_status().rejected.is_none()
    })
    .await;
    assert!(plain_text(scene.address, "/admin").await.starts_with("HTTP/1.1 403"));
}
