//! `mesh diff`.

use serde_json::json;

use crate::mesh::{Folder, keys};
use crate::seeds::seeds;

const SHOP: &str = "\
namespace: shop
services:
  orders:
    endpoints: [{ address: '10.0.0.4:8080', labels: { version: v1 } }, { address: '10.0.0.5:8080', labels: { version: v2 } }]
    subsets: { v1: { version: v1 }, v2: { version: v2 } }
    routes:
      - { name: split, to: { v1: 90, v2: 10 }, timeout: 10s }
authorization:
  - { name: orders-api, service: orders, allow: [{ from: [cluster.local/ns/shop/sa/web], methods: [GET] }] }
";

/// A policy beside `policy/`, with this edit.
fn edited(from: &str, to: &str) -> Folder {
    assert!(SHOP.contains(from), "{from}");
    let folder = Folder::new(&[("shop.yaml", SHOP)]);
    folder.write("../next/renamed.yaml", SHOP.replace(from, to).as_bytes());
    folder
}

const DIFF: [&str; 3] = ["diff", "policy", "next"];

#[test]
fn the_same_meaning_exits_0_however_it_is_written() {
    for (from, to) in [
        ("namespace: shop\n", "namespace: shop\n# Orders.\n"),
        ("10s", "10000ms"),
        ("{ v1: 90, v2: 10 }", "{ v2: 1, v1: 9 }"),
    ] {
        let run = edited(from, to).mesh(&DIFF);
        assert_eq!((run.code, run.err.as_str()), (0, ""));
        assert_eq!(run.out, "no change in meaning, asked for 2 workloads\n");
    }
}

#[test]
fn changes_are_told_with_their_rules_and_exit_1() {
    let folder = edited("v1: 90, v2: 10 }, timeout: 10s", "v1: 50, v2: 50 }, timeout: 3s");
    let run = folder.mesh(&DIFF);
    assert_eq!(run.code, 1);
    assert_eq!(
        run.out,
        "\
routes
  ~ orders.shop.svc.cluster.local: route `split`  (policy/shop.yaml:7 → next/renamed.yaml:7)
      destination orders.shop.svc.cluster.local:80 subset v1: 90% → 50%
      destination orders.shop.svc.cluster.local:80 subset v2: 10% → 50%
      timeout: 10s → 3s
      for GET /
          POST /
          GET /x
1 change, asked for 2 workloads
"
    );
    assert_eq!(folder.mesh(&[&DIFF as &[&str], &["--exit-zero"]].concat()).code, 0);
}

#[test]
fn who_gains_and_who_loses_is_told() {
    let run = edited("sa/web], methods: [GET]", "sa/admin], methods: [GET, POST]").mesh(&DIFF);
    assert_eq!(run.code, 1);
    for part in [
        "  + gained by cluster.local/ns/shop/sa/admin  (none → next/renamed.yaml:9)\n      decision: deny: no rule of an ALLOW policy matched → allow: rule 0 of policy `shop/orders-api` allows it\n      for GET /\n",
        "  - lost by cluster.local/ns/shop/sa/web  (policy/shop.yaml:9 → none)\n",
        "      at namespace=shop,app=orders\n",
    ] {
        assert!(run.out.contains(part), "{part}\n{}", run.out);
    }
}

#[test]
fn one_workload_can_be_asked_for() {
    let folder = edited("methods: [GET]", "methods: [POST]");
    let run = |workload| folder.mesh(&[&DIFF as &[&str], &["--as", workload]].concat());
    assert_eq!(run("namespace=shop,app=orders").code, 1);
    let other = run("namespace=shop,app=web");
    assert_eq!(
        (other.code, other.out.as_str()),
        (0, "no change in meaning, asked for 1 workload\n")
    );
}

#[test]
fn programs_get_every_change_with_both_sides() {
    let folder = edited("timeout: 10s", "timeout: 3s");
    let run = folder.mesh(&[&DIFF as &[&str], &["-o", "json"]].concat());
    let answer = run.json();
    assert_eq!(keys(&answer), ["changes", "impact", "notes", "workloads"]);
    let change = &answer["changes"][0];
    assert_eq!(
        keys(change),
        [
            "area",
            "facts",
            "kind",
            "more_requests",
            "new",
            "old",
            "requests",
            "subject",
            "workloads"
        ]
    );
    assert_eq!(
        (&change["area"], &change["kind"]),
        (&json!("routes"), &json!("changed"))
    );
    assert_eq!(
        change["facts"],
        json!([{ "field": "timeout_ms", "old": 10000, "new": 3000 }])
    );
    assert_eq!((run.code, &answer["impact"]), (1, &json!(null)));
}

#[test]
fn recorded_requests_tell_how_many_change() {
    let folder = edited("timeout: 10s", "timeout: 3s");
    let requests = "{\"as\":{\"namespace\":\"shop\"},\"url\":\"http://orders/1\"}\n{\"url\":\"http://orders/2\"}\n{\"as\":{\"namespace\":\"shop\"},\"url\":\"http://orders/3\"}\n";
    folder.write("../requests.jsonl", requests.as_bytes());
    let impact = [&DIFF as &[&str], &["--impact", "requests.jsonl"]].concat();

    let run = folder.mesh(&impact);
    let told = "\
impact
  ~ 2 outbound requests
      timeout: 10s → 3s
      for GET http://orders/1  (line 1, namespace=shop)
          GET http://orders/3  (line 3, namespace=shop)
2 of 3 recorded requests change
";
    assert!(run.out.ends_with(told), "{}", run.out);

    let json = folder.mesh(&[impact.as_slice(), &["-o", "json"]].concat()).json();
    assert_eq!(
        (
            &json["impact"]["requests"],
            &json["impact"]["changed"],
            &json["impact"]["groups"][0]["requests"]
        ),
        (&json!(3), &json!(2), &json!(2))
    );
}

#[test]
fn lines_of_the_access_log_tell_it_as_well() {
    let folder = edited("sa/web]", "sa/admin]");
    let log = "{\"start_time\":\"2026-03-01T12:00:00.000Z\",\"method\":\"GET\",\"path\":\"/api\",\"protocol\":\"HTTP/1.1\",\"response_code\":200,\"authority\":\"orders\",\"downstream_local_address\":\"10.0.0.4:8080\",\"downstream_remote_address\":\"10.0.0.9:4711\",\"reporter\":\"destination\",\"source_principal\":\"spiffe://cluster.local/ns/shop/sa/web\"}\n{\"reporter\":\"source\",\"method\":\"GET\",\"path\":\"*\",\"authority\":null}\n";
    folder.write("../access.log", log.as_bytes());
    let run = folder.mesh(
        &[
            &DIFF as &[&str],
            &["--impact", "access.log", "--as", "namespace=shop,app=orders"],
        ]
        .concat(),
    );
    for part in [
        "      decision: allow → deny\n      status: 200 → 403\n",
        "1 of 1 recorded request change, 1 could not be asked\n",
    ] {
        assert!(run.out.contains(part), "{part}\n{}", run.out);
    }
}

#[test]
fn what_cannot_be_compared_exits_2() {
    let folder = edited("timeout: 10s", "timeot: 3s");
    folder.write("../requests.jsonl", b"{\"url\": \"http://orders/\"}\n{\"ulr\": 1}\n");
    for (arguments, reason) in [
        (&DIFF as &[&str], "error: the policy `next` does not load, 1 error\n"),
        (&["diff", "policy", "missing"], "error: `missing` does not exist\n"),
        (&["diff", "policy"], "<NEW>"),
        (
            &["diff", "policy", "policy", "--impact", "missing"],
            "error: cannot read `missing`: ",
        ),
        (
            &["diff", "policy", "policy", "--impact", "requests.jsonl"],
            "error: requests.jsonl:2: unknown field `ulr`, did you mean `url`?\n",
        ),
    ] {
        let run = folder.mesh(arguments);
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{arguments:?}");
        assert!(run.err.contains(reason), "{arguments:?}: {}", run.err);
    }
    let told = folder.mesh(&DIFF).err;
    assert!(told.contains("did you mean `timeout`?"), "{told}");
}

#[test]
fn an_old_policy_can_come_from_the_standard_input() {
    let folder = edited("timeout: 10s", "timeout: 3s");
    let run = folder.mesh_reading(&["diff", "-", "next"], SHOP);
    assert!(
        run.code == 1 && run.out.contains("(<stdin>:7 → next/renamed.yaml:7)"),
        "{run:#?}"
    );
}

#[test]
fn garbage_is_never_more_than_exit_2() {
    let folder = Folder::new(&[("shop.yaml", SHOP)]);
    for bytes in [b"\xff\xfe".as_slice(), b"{", b"", b"a: b", b"services: 1"] {
        folder.write("../next/bad.yaml", bytes);
        assert_eq!(folder.mesh(&DIFF).code, 2, "{bytes:?}");
        folder.write("../requests.jsonl", bytes);
        let run = folder.mesh(&["diff", "policy", "policy", "--impact", "requests.jsonl"]);
        assert_eq!(run.code, 2, "{bytes:?}");
    }
}

#[test]
fn documents_of_the_seeds_mean_the_same_in_any_order() {
    for path in seeds() {
        let text = std::fs::read_to_string(&path).unwrap();
        let mut documents: Vec<&str> = text
            .split("\n---")
            .map(|document| document.trim_start_matches("---"))
            .collect();
        documents.reverse();
        let folder = Folder::new(&[("a.yaml", &text)]);
        folder.write("../next/b.yaml", documents.join("\n---\n").as_bytes());

        let run = folder.mesh(&DIFF);

        assert_eq!(run.code, 0, "{}: {}{}", path.display(), run.out, run.err);
    }
}
