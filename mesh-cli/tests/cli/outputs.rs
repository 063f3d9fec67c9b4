//! `mesh check -o github|sarif|junit`, and what is the same in every format.

use serde_json::json;

use crate::mesh::{Folder, Run};

const FORMATS: [&str; 5] = ["human", "json", "github", "sarif", "junit"];
const GOOD: &str = "services:\n  orders: { endpoints: [10.0.0.4:8080] }\n";
const WARNED: &str = "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: orders }
spec: { host: orders, trafficPolicy: { connectionPool: { http: { pendingRequests: 100 } } } }
";
const BAD: &str = "services:\n  web: { endpoint: [10.0.0.7:80] }\n  web: {}\n";

fn check(folder: &Folder, arguments: &[&str]) -> Run {
    folder.mesh(&[&["check", "policy"], arguments].concat())
}

#[test]
fn the_exit_code_does_not_depend_on_the_format() {
    let good = Folder::new(&[("a.yaml", GOOD)]);
    let warned = Folder::new(&[("a.yaml", WARNED)]);
    let bad = Folder::new(&[("a.yaml", BAD)]);
    let empty = Folder::new(&[]);
    for format in FORMATS {
        for (folder, code, denied) in [(&good, 0, 0), (&warned, 0, 1), (&bad, 1, 1), (&empty, 2, 2)] {
            let run = check(folder, &["-o", format]);
            assert_eq!(run.code, code, "{format}: {run:#?}");
            let run = check(folder, &["-o", format, "--deny", "warnings"]);
            assert_eq!(run.code, denied, "{format}: {run:#?}");
        }
    }
}

#[test]
fn warnings_that_are_denied_are_shown_as_errors() {
    let folder = Folder::new(&[("a.yaml", WARNED)]);
    let run = check(&folder, &["--deny", "warnings"]);
    assert!(run.out.starts_with("error[MESH0502]"), "{run:#?}");
    assert!(run.out.ends_with("\nrefused: 1 file, 1 error\n"), "{run:#?}");
}

#[test]
fn github_gets_a_command_for_each_problem() {
    let folder = Folder::new(&[("a.yaml", BAD), ("b.yaml", WARNED)]);
    let run = check(&folder, &["-o", "github"]);
    let expected = "\
::error file=policy/a.yaml,line=2,endLine=2,col=10,endColumn=18,title=MESH0101%3A unknown field::unknown field `endpoint`%0Ahelp: did you mean `endpoints`?
::error file=policy/a.yaml,line=3,endLine=3,col=3,endColumn=6,title=MESH0002%3A duplicate key::key `web` is given twice%0Anote: first given here (policy/a.yaml:2)%0Ahelp: remove one of the two
::warning file=policy/b.yaml,line=4,endLine=4,col=66,endColumn=81,title=MESH0502%3A non-standard field::";
    assert!(run.out.starts_with(expected), "{run:#?}");
    assert_eq!(run.out.lines().count(), 3);
    assert_eq!(check(&Folder::new(&[("a.yaml", GOOD)]), &["-o", "github"]).out, "");
}

#[test]
fn github_properties_cannot_be_ended_by_the_name_of_a_file() {
    let folder = Folder::new(&[("a,b%.yaml", "x: 1\n")]);
    let run = check(&folder, &["-o", "github"]);
    assert!(
        run.out.starts_with("::error file=policy/a%2Cb%25.yaml,line=1,"),
        "{run:#?}"
    );
}

#[test]
fn beyond_a_thousand_problems_github_is_told_their_number() {
    let folder = Folder::new(&[("a.yaml", &format!("services: {{ {} }}\n", "x: { y: 1 }, ".repeat(1200)))]);
    let run = check(&folder, &["-o", "github"]);
    let last = run.out.lines().last().unwrap_or_default();
    assert!(last.starts_with("::notice title=mesh check::… and "), "{last}");
    assert_eq!(run.out.lines().count(), 1001);
}

#[test]
fn sarif_has_all_that_the_schema_requires() {
    let folder = Folder::new(&[("my shop.yaml", BAD)]);
    let log = check(&folder, &["-o", "sarif"]).json();

    assert_eq!(log["version"], "2.1.0");
    assert!(log["$schema"].as_str().unwrap().ends_with("sarif-schema-2.1.0.json"));
    let run = &log["runs"][0];
    assert_eq!(run["tool"]["driver"]["name"], "mesh");
    assert_eq!(run["columnKind"], "unicodeCodePoints");
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    for rule in rules {
        assert!(rule["id"].as_str().unwrap().starts_with("MESH"), "{rule}");
        for field in ["shortDescription", "fullDescription", "help"] {
            assert!(!rule[field]["text"].as_str().unwrap().is_empty(), "{rule}");
        }
        let level = rule["defaultConfiguration"]["level"].as_str().unwrap();
        assert!(["error", "warning"].contains(&level), "{rule}");
    }
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), 2);
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
    }
    let region = |line: u32, start: u32, end: u32| json!({ "startLine": line, "startColumn": start, "endLine": line, "endColumn": end });
    let file = json!({ "uri": "policy/my%20shop.yaml" });
    assert_eq!(
        results[0],
        json!({
            "ruleId": "MESH0101",
            "ruleIndex": results[0]["ruleIndex"],
            "level": "error",
            "message": { "text": "unknown field `endpoint`\nhelp: did you mean `endpoints`?" },
            "locations": [{ "physicalLocation": { "artifactLocation": file, "region": region(2, 10, 18) } }],
            "fixes": [{
                "description": { "text": "write `endpoints`" },
                "artifactChanges": [{
                    "artifactLocation": file,
                    "replacements": [{
                        "deletedRegion": region(2, 10, 18),
                        "insertedContent": { "text": "endpoints" },
                    }],
                }],
            }],
        })
    );
    assert_eq!(
        results[1]["relatedLocations"],
        json!([{
            "id": 0,
            "message": { "text": "first given here" },
            "physicalLocation": { "artifactLocation": file, "region": region(2, 3, 6) },
        }])
    );
}

#[test]
fn sarif_of_a_clean_policy_has_rules_and_no_results() {
    let log = check(&Folder::new(&[("a.yaml", GOOD)]), &["-o", "sarif"]).json();
    assert_eq!(log["runs"][0]["results"], json!([]));
    assert!(log["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap().len() > 20);
}

#[test]
fn junit_tells_the_other_places_of_a_problem() {
    let twice = "services:\n  web: {}\n  web: {}\n";
    let folder = Folder::new(&[("twice.yaml", twice)]);
    let run = check(&folder, &["-o", "junit"]);

    let expected = "policy/twice.yaml:3:3: error[MESH0002]: key `web` is given twice
  note: first given here (policy/twice.yaml:2)
  help: remove one of the two</failure>";
    assert!(run.out.contains(expected), "{}", run.out);
}

#[test]
fn junit_has_a_case_for_each_file() {
    let bad = "services: { web: { endpoint: [\"<&>\"] } }\n";
    let folder = Folder::new(&[("a.yaml", GOOD), ("b.yaml", bad), ("c.yaml", WARNED)]);
    let run = check(&folder, &["-o", "junit"]);
    let expected = "\
<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<testsuites name=\"mesh check\">
  <testsuite name=\"mesh check\" tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"0\">
    <testcase classname=\"mesh check\" name=\"policy/a.yaml\" file=\"policy/a.yaml\"/>
    <testcase classname=\"mesh check\" name=\"policy/b.yaml\" file=\"policy/b.yaml\">
      <failure type=\"MESH0101\" message=\"unknown field `endpoint`\">policy/b.yaml:1:20: error[MESH0101]: unknown field `endpoint`
  help: did you mean `endpoints`?</failure>
    </testcase>
    <testcase classname=\"mesh check\" name=\"policy/c.yaml\" file=\"policy/c.yaml\">
      <system-out>policy/c.yaml:4:66: warning[MESH0502]: ";
    assert!(run.out.starts_with(expected), "{run:#?}");
    assert!(
        run.out
            .ends_with("</system-out>\n    </testcase>\n  </testsuite>\n</testsuites>\n"),
        "{run:#?}"
    );
}

#[test]
fn where_nothing_can_be_read_programs_get_the_reason_in_their_format() {
    let folder = Folder::new(&[]);
    for (format, part) in [
        ("github", "::error title=MESH0006%3A no document::no policy in `policy`"),
        ("sarif", "\"text\": \"no policy in `policy`"),
        ("junit", "name=\"the policy as a whole\""),
    ] {
        let run = check(&folder, &["-o", format]);
        assert!(run.code == 2 && run.out.contains(part), "{run:#?}");
    }
}

#[test]
fn a_document_that_cannot_be_read_gives_no_follow_up_findings() {
    let broken = "services: { orders: [\n";
    let route = "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: orders }
spec: { hosts: [orders], gateways: [front, mesh], http: [{ route: [{ destination: { host: orders, subset: v1 } }] }] }
---
apiVersion: networking.istio.io/v1
kind: Gatway
metadata: { name: front }
spec: {}
";
    let folder = Folder::new(&[("a.yaml", broken), ("b.yaml", route)]);
    let json = check(&folder, &["-o", "json"]).json();
    let codes: Vec<_> = json["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["code"])
        .collect();
    assert_eq!(codes, ["MESH0001", "MESH0106"]);
}
