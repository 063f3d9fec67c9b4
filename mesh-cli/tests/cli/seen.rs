//! `mesh check --seen`: callers in plain text that a policy would cut off.

use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::{Value, json};

use crate::mesh::Folder;

const STRICT: &str = "\
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: all, namespace: shop }
spec: { mtls: { mode: STRICT } }
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: orders, namespace: shop }
spec: { selector: { matchLabels: { app: orders } }, mtls: { mode: STRICT }, portLevelMtls: { 9090: { mode: PERMISSIVE } } }
";

fn list(app: &str, callers: &[(&str, u16, u64)]) -> Value {
    let caller = |(address, port, last_seen): &(&str, u16, u64)| json!({ "address": address, "port": port, "requests": 3, "first_seen": 1, "last_seen": last_seen, "user_agent": "curl/8" });
    json!({
        "now": 10_000,
        "workload": { "namespace": "shop", "service_account": app, "name": app, "labels": { "app": app } },
        "service": format!("{app}.shop.svc.cluster.local"),
        "callers": callers.iter().map(caller).collect::<Vec<_>>(),
        "forgotten": 0,
    })
}

fn folder(lists: &[(&str, &Value)]) -> Folder {
    let folder = Folder::new(&[("mesh.yaml", STRICT)]);
    for (name, list) in lists {
        folder.write(&format!("../{name}"), list.to_string().as_bytes());
    }
    folder
}

#[test]
fn callers_that_strict_would_cut_off_are_a_warning_at_the_mode() {
    let orders = list(
        "orders",
        &[
            ("10.0.0.7", 8080, 9_000),
            ("10.0.0.8", 9090, 9_000),
            ("10.0.0.9", 8080, 100),
        ],
    );
    let folder = folder(&[("orders.json", &orders)]);

    let run = folder.mesh(&["check", "policy", "--seen", "orders.json"]);
    assert_eq!(run.code, 0, "{run:#?}");
    let message = "warning[MESH0540]: `STRICT` on port 8080 of `orders` in namespace `shop` cuts off 1 caller that spoke plain text within 1h: 10.0.0.7 (3 requests, `curl/8`)";
    assert!(run.out.starts_with(message), "{}", run.out);
    assert!(
        run.out.contains("mesh.yaml:6:1"),
        "the mode of the workload: {}",
        run.out
    );
    assert_eq!(
        run.out.matches("MESH0540").count(),
        1,
        "9090 stays permissive: {}",
        run.out
    );

    let longer = folder.mesh(&["check", "policy", "--seen", "orders.json", "--seen-within", "3h"]);
    assert!(
        longer.out.contains("cuts off 2 callers") && longer.out.contains("10.0.0.9"),
        "{}",
        longer.out
    );
    let denied = folder.mesh(&["check", "policy", "--seen", "orders.json", "--deny", "warnings"]);
    assert_eq!(denied.code, 1, "{denied:#?}");
}

#[test]
fn lists_of_several_processes_are_looked_at_together() {
    let first = list("orders", &[("10.0.0.7", 8080, 9_000)]);
    let second = list("orders", &[("10.0.0.7", 8080, 9_500), ("10.0.0.8", 8080, 9_500)]);
    let other = list("web", &[("10.0.0.9", 8080, 9_500)]);
    let folder = folder(&[("a", &first), ("b", &second), ("c", &other)]);

    let run = folder.mesh(&[
        "check", "policy", "-o", "json", "--seen", "a", "--seen", "b", "--seen", "c",
    ]);
    let found = run.json();
    let messages: Vec<&str> = found["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["message"].as_str().unwrap())
        .collect();
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(
        messages
            .iter()
            .any(|text| text.contains("10.0.0.7 (6 requests, `curl/8`), 10.0.0.8 (3 requests")),
        "{messages:?}"
    );
    assert!(messages.iter().any(|text| text.contains("of `web`")), "{messages:?}");
}

#[test]
fn a_list_is_fetched_from_a_running_service() {
    let text = list("orders", &[("10.0.0.7", 8080, 9_000)]).to_string();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        let length = stream.read(&mut request).unwrap();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
        stream.write_all(answer.as_bytes()).unwrap();
        String::from_utf8_lossy(&request[..length]).into_owned()
    });

    let folder = folder(&[]);
    let run = folder.mesh(&["check", "policy", "--seen", &format!("http://{address}/plaintext")]);
    assert!(run.out.contains("MESH0540"), "{run:#?}");
    let request = serving.join().unwrap();
    assert!(request.starts_with("GET /plaintext HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("host: {address}\r\n")), "{request}");
}

#[test]
fn what_is_no_list_is_told() {
    let folder = folder(&[("policy.json", &json!({ "generation": 1 }))]);
    for (place, reason) in [
        ("policy.json", "no list of callers"),
        ("missing.json", "No such file"),
        ("https://127.0.0.1:1/plaintext", "expected `http://`"),
        ("http://127.0.0.1:1/plaintext", "refused"),
    ] {
        let run = folder.mesh(&["check", "policy", "--seen", place]);
        assert_eq!(run.code, 2, "{run:#?}");
        assert!(run.err.contains(place) && run.err.contains(reason), "{run:#?}");
    }
    let run = folder.mesh(&["check", "policy", "--seen", "a", "--seen-within", "soon"]);
    assert_eq!(run.code, 2, "{run:#?}");
}
