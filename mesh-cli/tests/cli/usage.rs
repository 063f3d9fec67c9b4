//! The command line itself.

use crate::mesh::Folder;

fn shop() -> Folder {
    Folder::new(&[("shop.yaml", "services: { orders: { endpoints: [10.0.0.4:8080] } }\n")])
}

#[test]
fn wrong_usage_is_told_with_exit_code_2() {
    let folder = shop();
    let explain = ["explain", "--policy", "policy"];
    for arguments in [
        &[] as &[&str],
        &["chek", "policy"],
        &["check"],
        &["check", "policy", "-o", "yaml"],
        &["explain", "http://orders/"],
        &explain,
        &[&explain as &[&str], &["/api"]].concat(),
        &[&explain as &[&str], &["ftp://orders/"]].concat(),
        &[&explain as &[&str], &["--as", "web", "orders"]].concat(),
        &[&explain as &[&str], &["-X", "a b", "orders"]].concat(),
        &[&explain as &[&str], &["-H", "no colon", "orders"]].concat(),
        &[&explain as &[&str], &["--plaintext", "orders"]].concat(),
        &[
            &explain as &[&str],
            &[
                "--inbound",
                "--plaintext",
                "--from",
                "cluster.local/ns/a/sa/b",
                "orders",
            ],
        ]
        .concat(),
        &[&explain as &[&str], &["--inbound", "--from", "cluster.local", "orders"]].concat(),
        &[
            &explain as &[&str],
            &["--inbound", "--source-ip", "localhost", "orders"],
        ]
        .concat(),
        &["explain", "--policy", "missing", "orders"],
    ] {
        let run = folder.mesh(arguments);
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{arguments:?}");
        assert!(!run.err.is_empty(), "{arguments:?}");
    }
}

#[test]
fn version_and_help_are_answers() {
    let folder = shop();
    let version = folder.mesh(&["--version"]);
    assert_eq!(
        (version.code, version.out),
        (0, format!("mesh {}\n", env!("CARGO_PKG_VERSION")))
    );

    for (arguments, example) in [
        (&["--help"] as &[&str], "mesh check policy/"),
        (&["check", "--help"], "| mesh check -"),
        (&["explain", "--help"], "-H 'x-version: canary'"),
    ] {
        let help = folder.mesh(arguments);
        assert_eq!(help.code, 0);
        assert!(
            help.out.contains("Examples:") && help.out.contains(example),
            "{help:#?}"
        );
    }
}

#[test]
fn colours_are_only_printed_on_demand_where_there_is_no_terminal() {
    let folder = shop();
    folder.write("bad.yaml", b"services: { web: { endpoint: [] } }\n");

    assert!(!folder.mesh(&["check", "policy"]).out.contains('\u{1b}'));
    assert!(
        folder
            .mesh(&["check", "policy", "--color", "always"])
            .out
            .contains("\u{1b}[")
    );
    let explain = ["explain", "--policy", "policy/shop.yaml", "orders"];
    assert!(!folder.mesh(&explain).out.contains('\u{1b}'));
    assert!(
        folder
            .mesh(&[&["--color", "always"], explain.as_slice()].concat())
            .out
            .contains("\u{1b}[")
    );
}

#[test]
fn warnings_of_a_policy_are_mentioned_beside_an_answer() {
    let text = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: { name: a }\nspec: { host: a, trafficPolicy: { connectionPool: { http: { pendingRequests: 1 } } } }\n";
    let folder = Folder::new(&[("a.yaml", text)]);

    let run = folder.explain(&["http://a/"]);

    assert_eq!((run.code, &run.json()["outcome"]), (0, &"routed".into()));
    assert_eq!(run.err, "warning: the policy has 1 warning: `mesh check` shows more\n");
}
