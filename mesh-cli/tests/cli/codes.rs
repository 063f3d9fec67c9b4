//! `mesh explain MESH0104`.

use crate::mesh::{Folder, keys};

#[test]
fn a_code_alone_is_explained_with_an_example() {
    let folder = Folder::new(&[]);
    let run = folder.mesh(&["explain", "MESH0104"]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    assert!(
        run.out
            .starts_with("error[MESH0104]: invalid value\n\nThe value has the right type")
    );
    for part in [
        "\nWrong:\n\n```yaml\nmesh: { mtls: strikt }\n```\n",
        "\nRight:\n\n```yaml\nmesh: { mtls: strict }\n```\n",
    ] {
        assert!(run.out.contains(part), "{run:#?}");
    }
    assert_eq!(folder.mesh(&["explain", "mesh0104"]).out, run.out);
    assert_eq!(folder.mesh(&["explain", "104"]).out, run.out);
}

#[test]
fn programs_get_the_parts_of_a_code() {
    let json = Folder::new(&[]).mesh(&["explain", "MESH0507", "-o", "json"]).json();
    assert_eq!(keys(&json), ["code", "explanation", "severity", "text", "title"]);
    assert_eq!(
        (&json["code"], &json["severity"]),
        (&"MESH0507".into(), &"warning".into())
    );
}

#[test]
fn an_unknown_code_is_answered_with_the_nearest() {
    let folder = Folder::new(&[]);
    for (code, reason) in [
        ("MESH1004", "there is no code `MESH1004`, did you mean `MESH0004`?"),
        ("MSH0507", "there is no code `MSH0507`, did you mean `MESH0507`?"),
        (
            "E0308",
            "there is no code `E0308`, codes are `MESH` and four digits, such as `MESH0101`",
        ),
    ] {
        let run = folder.mesh(&["explain", code]);
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{code}");
        assert_eq!(run.err, format!("error: {reason}\n"));
    }
}

#[test]
fn beside_a_policy_the_same_text_is_a_host() {
    let folder = Folder::new(&[("a.yaml", "services: { mesh0104: { endpoints: [10.0.0.4:80] } }\n")]);
    let run = folder.explain(&["mesh0104"]);
    assert_eq!((run.code, run.json()["outcome"].as_str()), (0, Some("routed")));
}

#[test]
fn a_request_needs_a_policy() {
    let run = Folder::new(&[]).mesh(&["explain", "http://orders/"]);
    assert_eq!((run.code, run.out.as_str()), (2, ""));
    assert_eq!(
        run.err,
        "error: a request is explained by a policy: give `--policy PATH`\n"
    );
}
