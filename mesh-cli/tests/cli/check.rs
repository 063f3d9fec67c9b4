//! `mesh check`.

use serde_json::json;

use crate::mesh::{Folder, keys};

const GOOD: &str = "services:\n  orders: { endpoints: [10.0.0.4:8080] }\n";

#[test]
fn a_good_policy_is_clean() {
    let folder = Folder::new(&[("shop.yaml", GOOD)]);

    let run = folder.mesh(&["check", "policy"]);
    assert_eq!(
        (run.code, run.out.as_str(), run.err.as_str()),
        (0, "ok: 1 file, no problems\n", "")
    );

    let run = folder.mesh(&["check", "policy", "-o", "json"]);
    assert_eq!(run.code, 0);
    assert_eq!(run.json(), json!({ "errors": 0, "warnings": 0, "diagnostics": [] }));
}

#[test]
fn warnings_are_allowed() {
    let text = "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: orders }
spec:
  host: orders
  trafficPolicy: { connectionPool: { http: { pendingRequests: 100 } } }
";
    let folder = Folder::new(&[("orders.yaml", text)]);

    let run = folder.mesh(&["check", "policy"]);
    assert_eq!(run.code, 0, "{run:#?}");
    assert!(run.out.ends_with("\nok: 1 file, 1 warning\n"), "{run:#?}");

    let json = folder.mesh(&["check", "-o", "json", "policy"]).json();
    assert_eq!((&json["errors"], &json["warnings"]), (&json!(0), &json!(1)));
    assert_eq!(json["diagnostics"][0]["severity"], "warning");
    assert_eq!(json["diagnostics"][0]["help"], "write `http1MaxPendingRequests`");
}

#[test]
fn all_problems_of_all_files_come_out_in_one_run() {
    let folder = Folder::new(&[
        (
            "a.yaml",
            "mesh: { mtls: strikt }\nservices:\n  orders: { endpoint: [10.0.0.4:8080] }\n",
        ),
        (
            "deep/b.yml",
            "services:\n  payments: { endpoints: [10.0.0.5:8080] }\n  payments: {}\n",
        ),
        ("c.json", "{ \"services\": { \"web\": { \"balance\": 7 } } }\n"),
        ("notes.txt", "no: policy: at: all"),
    ]);

    let run = folder.mesh(&["check", "-o", "json", "policy"]);

    assert_eq!(run.code, 1);
    let json = run.json();
    assert_eq!(keys(&json), ["diagnostics", "errors", "warnings"]);
    assert_eq!((&json["errors"], &json["warnings"]), (&json!(4), &json!(0)));
    let diagnostics = json["diagnostics"].as_array().unwrap();
    let found: Vec<_> = diagnostics
        .iter()
        .map(|one| {
            assert_eq!(
                keys(one),
                [
                    "code",
                    "column",
                    "end_column",
                    "end_line",
                    "file",
                    "fix",
                    "help",
                    "labels",
                    "line",
                    "message",
                    "severity"
                ]
            );
            let place = format!("{}:{}:{}", one["file"].as_str().unwrap(), one["line"], one["column"]);
            (place, one["code"].as_str().unwrap())
        })
        .collect();
    let expected = [
        ("policy/a.yaml:1:15", "MESH0104"),
        ("policy/a.yaml:3:13", "MESH0101"),
        ("policy/c.json:1:37", "MESH0104"),
        ("policy/deep/b.yml:3:3", "MESH0002"),
    ];
    assert_eq!(found, expected.map(|(place, code)| (place.to_owned(), code)));
}

#[test]
fn people_see_the_offending_text_underlined() {
    let folder = Folder::new(&[("shop.yaml", "services:\n  orders: { endpoint: [10.0.0.4:8080] }\n")]);

    let run = folder.mesh(&["check", "policy"]);

    assert_eq!(run.code, 1);
    let expected = "\
error[MESH0101]: unknown field `endpoint`
 --> policy/shop.yaml:2:13
  |
2 |   orders: { endpoint: [10.0.0.4:8080] }
  |             ^^^^^^^^
  |
  = help: did you mean `endpoints`?

refused: 1 file, 1 error
";
    assert_eq!(run.out, expected);
}

#[test]
fn a_name_that_nothing_defines_is_an_error() {
    let text = "services:\n  orders:\n    endpoints: [10.0.0.4:8080]\n    routes: [{ to: v9 }]\n";
    let folder = Folder::new(&[("shop.yaml", text)]);

    let run = folder.mesh(&["check", "-o", "json", "policy"]);

    assert_eq!(run.code, 1);
    assert_eq!(run.json()["diagnostics"][0]["line"], 4);
}

#[test]
fn a_key_given_twice_is_refused_at_the_second_place() {
    let folder = Folder::new(&[("shop.yaml", "mesh: { mtls: strict }\nmesh: { mtls: disable }\n")]);

    let run = folder.mesh(&["check", "-o", "json", "policy"]);

    assert_eq!(run.code, 1);
    let diagnostic = &run.json()["diagnostics"][0];
    assert_eq!(
        (&diagnostic["code"], &diagnostic["line"], &diagnostic["column"]),
        (&json!("MESH0002"), &json!(2), &json!(1))
    );
}

#[test]
fn what_is_no_text_or_no_yaml_is_refused_without_a_panic() {
    for (bytes, code) in [
        (b"\x7fELF\x02\x01\xff\xfe\x00".as_slice(), "MESH0005"),
        (b"services: { orders: [", "MESH0001"),
        (b"", "MESH0006"),
        (b"# nothing\n", "MESH0006"),
    ] {
        let folder = Folder::new(&[]);
        folder.write("bad.yaml", bytes);

        let run = folder.mesh(&["check", "-o", "json", "policy"]);

        assert_eq!(run.code, 1, "{run:#?}");
        assert_eq!(run.json()["diagnostics"][0]["code"], code, "{run:#?}");
        assert_eq!(run.json()["diagnostics"][0]["file"], "policy/bad.yaml", "{run:#?}");
    }
}

#[test]
fn a_file_beyond_the_limit_is_refused() {
    let folder = Folder::new(&[("small.yaml", GOOD)]);
    folder.write("large.yaml", &vec![b'#'; 8 * 1024 * 1024 + 1]);

    let run = folder.mesh(&["check", "-o", "json", "policy"]);

    assert_eq!(run.code, 1);
    let diagnostic = &run.json()["diagnostics"][0];
    assert_eq!(
        (&diagnostic["code"], &diagnostic["file"], &diagnostic["line"]),
        (&json!("MESH0003"), &json!("policy/large.yaml"), &json!(null))
    );
}

/// What cannot be read might deny something.
#[cfg(unix)]
#[test]
fn a_link_to_a_directory_that_is_not_there_is_a_failure() {
    let folder = Folder::new(&[("policy/mesh.yaml", "mesh: { mtls: strict }\n")]);
    std::os::unix::fs::symlink("/nowhere/team-a", folder.path().join("policy/team-a")).unwrap();
    let run = folder.mesh(&["check", "policy"]);
    let reason = "error: `policy/team-a` does not exist\n";
    assert_eq!((run.code, run.out.as_str(), run.err.as_str()), (2, "", reason));
}

#[test]
fn nothing_to_read_is_another_failure_than_a_bad_policy() {
    let folder = Folder::new(&[]);
    folder.write("notes.txt", b"");
    for (path, reason) in [
        (
            "policy",
            "error: no policy in `policy`, expected at least one file `*.yaml`, `*.yml` or `*.json`\n",
        ),
        ("missing", "error: `missing` does not exist\n"),
        ("missing.yaml", "error: `missing.yaml` does not exist\n"),
    ] {
        let run = folder.mesh(&["check", path]);
        assert_eq!((run.code, run.out.as_str(), run.err.as_str()), (2, "", reason));
        let run = folder.mesh(&["check", path, "-o", "json"]);
        assert_eq!((run.code, run.err.as_str()), (2, reason));
        let report = run.json();
        assert_eq!((&report["errors"], &report["warnings"]), (&json!(1), &json!(0)));
        let message = report["diagnostics"][0]["message"].as_str().unwrap();
        assert!(reason.contains(message), "{message}");
    }
}

#[test]
fn files_are_one_policy_however_they_are_named() {
    let folder = Folder::new(&[("a.yaml", GOOD), ("b.yaml", GOOD)]);
    assert_eq!(folder.mesh(&["check", "policy/a.yaml"]).code, 0);

    let run = folder.mesh(&["check", "policy/a.yaml", "policy/b.yaml"]);

    assert_eq!(run.code, 1);
    assert!(run.out.contains("policy/b.yaml:2:3"), "{run:#?}");
    assert!(run.out.ends_with("refused: 2 files, 1 error\n"), "{run:#?}");
}

#[test]
fn a_dash_is_the_standard_input() {
    let folder = Folder::new(&[("a.yaml", GOOD)]);
    let run = folder.mesh_reading(&["check", "-"], GOOD);
    assert_eq!((run.code, run.out.as_str()), (0, "ok: 1 file, no problems\n"));

    let run = folder.mesh_reading(&["check", "-", "-o", "json"], "services: { orders: { endpoint: 1 } }");
    assert_eq!(
        (run.code, &run.json()["diagnostics"][0]["file"]),
        (1, &json!("<stdin>"))
    );

    let run = folder.mesh_reading(
        &["check", "policy", "-"],
        "services: { payments: { endpoints: [10.0.0.5:80] } }",
    );
    assert_eq!((run.code, run.out.as_str()), (0, "ok: 2 files, no problems\n"));

    let run = folder.mesh_reading(&["check", "-"], "");
    assert_eq!(run.code, 1);
}

#[cfg(unix)]
#[test]
fn a_file_that_anybody_can_write_is_remarked_upon() {
    use std::os::unix::fs::PermissionsExt;

    let folder = Folder::new(&[("a.yaml", GOOD)]);
    let path = folder.policy().join("a.yaml");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).unwrap();

    let run = folder.mesh(&["check", "policy", "-o", "json"]);

    assert_eq!((run.code, &run.json()["warnings"]), (0, &json!(0)));
    assert_eq!(
        run.err,
        "warning: `policy/a.yaml` can be written by every user of this machine\n"
    );
}
