//! The documents of the projects themselves, read in place: every valid one loads, every invalid one is refused.
//!
//! `MESH_CORPORA` names their directory (default `../shared/corpora`); without it there is nothing to read, and the test
//! says so. `cargo test -p mesh-tests --test corpora -- --nocapture` prints how many documents of each set are read as
//! their project means them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "a test fails by panicking, and tells its figures"
)]

use std::path::{Path, PathBuf};

use jsonschema::Validator;
use mesh_core::policy::diagnostic::Report;
use mesh_core::policy::model::filter::HeaderOrder;
use mesh_core::policy::model::{Meta, Policy};
use mesh_core::policy::source::{Node, Sources, Style, Value, parse};
use mesh_core::policy::{Loaded, convert};
use regex::Regex;

/// What a project says of a document.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meant {
    Valid,
    Invalid,
}

/// A set of documents of one project.
struct Set {
    name: &'static str,
    /// Directories below that of all sets.
    folders: &'static [&'static str],
    /// What is meant by a file of this path, with its text; `None` is no part of the set.
    meant: fn(&str, &str) -> Option<Meant>,
    /// Makes a whole document of what a page of documentation leaves out.
    complete: fn(&str, &str) -> String,
}

/// Documents that are read otherwise on purpose: how their path ends, and the reason. docs/dialects.md tells users.
const DIFFERENCES: &[(&str, &str)] = &[
    (
        "integration/pilot/testdata/some-dir/missing-gateway.yaml",
        "a virtual service without any route, which Istio's own validation refuses as well",
    ),
    (
        "virtual_service/example-09.yaml",
        "a namespace in upper case, which Kubernetes refuses",
    ),
];

fn as_is(_: &str, text: &str) -> String {
    text.to_owned()
}

fn valid(path: &str, _: &str) -> Option<Meant> {
    let is_result = path.ends_with(".golden") || path.contains("-out") || !path.ends_with(".yaml");
    (!is_result).then_some(Meant::Valid)
}

const SETS: &[Set] = &[
    Set {
        name: "istio-validation-crds",
        folders: &["istio/pkg/config/validation/testdata/crds"],
        meant: |path, text| {
            let is_valid = path.contains("-valid") || !text.contains("_err:");
            Some(if is_valid { Meant::Valid } else { Meant::Invalid })
        },
        complete: |_, text| {
            text.lines()
                .filter(|line| !line.starts_with("_err:"))
                .map(|line| format!("{line}\n"))
                .collect()
        },
    },
    Set {
        name: "istio-validation-dataset",
        folders: &["istio/pkg/test/datasets/validation/dataset"],
        meant: valid,
        complete: as_is,
    },
    Set {
        name: "istio-authz-golden",
        folders: &["istio/pilot/pkg/security/authz/builder/testdata"],
        meant: valid,
        complete: as_is,
    },
    Set {
        name: "istio-gatewayapi-golden",
        folders: &["istio/pilot/pkg/config/kube/gateway/testdata"],
        meant: valid,
        complete: as_is,
    },
    Set {
        name: "istio-samples",
        folders: &["istio/samples"],
        meant: valid,
        complete: as_is,
    },
    Set {
        name: "istio-tests",
        folders: &["istio/tests"],
        meant: valid,
        complete: as_is,
    },
    Set {
        name: "istio-api-doc-examples",
        folders: &["istio-api"],
        meant: valid,
        complete: as_is,
    },
    Set {
        name: "gwapi-examples",
        folders: &["gateway-api/examples"],
        meant: valid,
        complete: as_is,
    },
    Set {
        name: "gwapi-invalid",
        folders: &["gateway-api/hack"],
        meant: |_, _| Some(Meant::Invalid),
        complete: as_is,
    },
    Set {
        name: "gwapi-conformance",
        folders: &["gateway-api/conformance"],
        meant: valid,
        complete: as_is,
    },
    Set {
        name: "linkerd-tests",
        folders: &["linkerd2/test", "linkerd2/grafana"],
        meant: valid,
        complete: as_is,
    },
    Set {
        name: "linkerd-doc-examples",
        folders: &["linkerd-website"],
        meant: valid,
        complete: as_is,
    },
    Set {
        name: "linkerd-serviceprofile-cases",
        folders: &["linkerd2/pkg"],
        meant: |_, text| {
            let is_valid = text
                .lines()
                .next()
                .unwrap_or_default()
                .trim()
                .ends_with("upstream: valid");
            Some(if is_valid { Meant::Valid } else { Meant::Invalid })
        },
        complete: as_is,
    },
    Set {
        name: "smi-doc-examples",
        folders: &["smi-spec"],
        meant: valid,
        complete: with_api_version,
    },
    Set {
        name: "cilium-l7-examples",
        folders: &["cilium"],
        meant: |path, _| {
            Some(if path.ends_with("l7/http/http.yaml") {
                Meant::Invalid
            } else {
                Meant::Valid
            })
        },
        complete: as_is,
    },
];

/// SMI's pages leave the version out: it is that of the page. So is the kind of the first `TrafficTarget`.
fn with_api_version(path: &str, text: &str) -> String {
    let completed = documents(text)
        .iter()
        .map(|document| completed(path, document))
        .collect::<Vec<_>>();
    completed.join("---\n")
}

/// Takes off the indentation of a document that was printed inside of a list.
fn outdented(text: &str) -> String {
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let indentation = &first[..first.len() - first.trim_start().len()];
    text.lines()
        .map(|line| format!("{}\n", line.strip_prefix(indentation).unwrap_or(line)))
        .collect()
}

fn completed(path: &str, text: &str) -> String {
    let text = &outdented(text);
    let has = |field: &str| text.lines().any(|line| line.starts_with(field));
    let version = ["v1alpha1", "v1alpha2", "v1alpha3", "v1alpha4"]
        .into_iter()
        .find(|version| path.contains(version));
    let kind = text
        .lines()
        .find_map(|line| line.strip_prefix("kind:"))
        .map_or("TrafficTarget", str::trim);
    let group = match kind {
        "TrafficSplit" => "split.smi-spec.io/",
        "TrafficTarget" => "access.smi-spec.io/",
        "HTTPRouteGroup" | "TCPRoute" | "UDPRoute" => "specs.smi-spec.io/",
        _ => "",
    };
    // Of the specifications' third page the group is a version behind.
    let version = if group.is_empty() {
        "v1"
    } else {
        version.unwrap_or("v1alpha4")
    };
    let api_version = if has("apiVersion:") {
        String::new()
    } else {
        format!("apiVersion: {group}{version}\n")
    };
    let kind = if has("kind:") {
        String::new()
    } else {
        format!("kind: {kind}\n")
    };
    format!("{api_version}{kind}{text}")
}

fn corpora() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpora");
    let directory = std::env::var_os("MESH_CORPORA").map_or(beside, PathBuf::from);
    let is_there = directory.is_dir();
    if !is_there {
        println!("skipped: there are no corpora at {}", directory.display());
    }
    is_there.then_some(directory)
}

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        match path.is_dir() {
            true => files(&path, found),
            false => found.push(path),
        }
    }
}

/// The documents of a file: what stands between lines of `---`.
fn documents(text: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for line in text.lines() {
        match line.trim_end() == "---" {
            true => documents.push(String::new()),
            false => documents.last_mut().unwrap().push_str(&format!("{line}\n")),
        }
    }
    let has_text = |document: &String| {
        document
            .lines()
            .any(|line| !line.trim().is_empty() && !line.starts_with('#'))
    };
    documents.into_iter().filter(has_text).collect()
}

/// What is wrong with a document, or with what is read of it.
fn judged(set: &Set, path: &str, text: &str) -> Option<(bool, String)> {
    let meant = (set.meant)(path, text)?;
    let whole = (set.complete)(path, text);
    let loaded = Loaded::from_files([(path, whole.as_bytes())]);
    let errors = loaded
        .report
        .lines(&loaded.sources)
        .into_iter()
        .filter(|line| line.contains(": error["));
    let told: Vec<String> = errors.collect();
    let is_good = told.is_empty() == (meant == Meant::Valid);
    Some((
        is_good,
        told.first()
            .cloned()
            .unwrap_or_else(|| format!("{path}: loads, and is not valid:\n{text}")),
    ))
}

/// A whole file, or each of its documents where they are judged one by one.
fn pieces(set: &Set, path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    match set.name {
        "istio-validation-crds" => documents(&text),
        _ => vec![text],
    }
}

/// A policy as text, without the places where it was written, its items by name.
fn meaning(policy: &Policy) -> Vec<String> {
    let mut policy = policy.clone();
    let by_name = |meta: &Meta| (meta.namespace.clone(), meta.name.clone(), meta.created);
    policy.services.sort_by_key(|one| by_name(&one.meta));
    policy.workload_entries.sort_by_key(|one| by_name(&one.meta));
    policy.destinations.sort_by_key(|one| by_name(&one.meta));
    policy.routes.sort_by_key(|one| by_name(&one.meta));
    policy.profiles.sort_by_key(|one| by_name(&one.meta));
    policy.gateways.sort_by_key(|one| by_name(&one.meta));
    policy.peer_authentications.sort_by_key(|one| by_name(&one.meta));
    policy.authorizations.sort_by_key(|one| by_name(&one.meta));
    policy.sidecars.sort_by_key(|one| by_name(&one.meta));
    policy.servers.sort_by_key(|one| by_name(&one.meta));
    for rule in policy.routes.iter_mut().flat_map(|table| &mut table.rules) {
        // Of a single destination the weight means nothing, nor does the order of changes that only one side makes.
        if let [only] = rule.destinations.as_mut_slice() {
            only.weight = 1;
        }
        for mirror in &mut rule.mirrors {
            mirror.destination.weight = 1;
        }
        if rule.headers.is_empty() || rule.destinations.iter().all(|one| one.headers.is_empty()) {
            rule.header_order = HeaderOrder::default();
        }
    }
    let streams = policy
        .routes
        .iter_mut()
        .flat_map(|table| table.tls.iter_mut().chain(&mut table.tcp));
    for rule in streams {
        if let [only] = rule.destinations.as_mut_slice() {
            only.weight = 1;
        }
    }
    let text = format!("{policy:#?}");
    let text = Regex::new(r"(?s)Origin \{.*?\}").unwrap().replace_all(&text, "_");
    let text = Regex::new(r"(?s)delegated: Some\(\s*_,\s*\)")
        .unwrap()
        .replace_all(&text, "delegated: None");
    text.lines().map(str::to_owned).collect()
}

/// Documents as a file.
fn text_of(documents: &[convert::Tree]) -> String {
    let texts = documents
        .iter()
        .map(|one| format!("---\n{}\n", serde_json::to_string(one).unwrap()));
    texts.collect()
}

/// What a converted policy says otherwise than the original.
fn lost(path: &str, text: &str, schema: &Validator) -> Option<String> {
    let loaded = Loaded::from_files([(path, text.as_bytes())]);
    let policy = loaded.policy.as_ref()?;
    let documents = convert::to_native(&loaded).unwrap();
    if documents.is_empty() {
        let is_nothing = *policy == Policy::default();
        return (!is_nothing).then(|| format!("{path}: there is nothing, of {policy:#?}"));
    }
    for document in &documents {
        let document = serde_json::to_value(document).unwrap();
        if let Some(error) = schema.iter_errors(&document).next() {
            return Some(format!("{path}: {error} at {}\n{document}", error.instance_path));
        }
    }
    let native = text_of(&documents);
    let converted = Loaded::from_files([("native", native.as_bytes())]);
    let Some(again) = &converted.policy else {
        let told = converted.report.lines(&converted.sources);
        return Some(format!("{path}: {}\n{native}", told.join("\n")));
    };
    let printed = text_of(&convert::to_native(&converted).unwrap());
    if printed != native {
        return Some(format!(
            "{path}: is printed otherwise the second time\n{native}\n{printed}"
        ));
    }
    let (before, after) = (meaning(policy), meaning(again));
    let first = before.iter().zip(&after).position(|(left, right)| left != right)?;
    let around = |lines: &[String]| {
        let end = lines.len().min(first + 3);
        lines.get(first.saturating_sub(8)..end).unwrap_or_default().join("\n")
    };
    Some(format!("{path}:\n{}\nbecomes\n{}\n", around(&before), around(&after)))
}

/// The mission's own policies, where they are.
fn seeds() -> Vec<(String, String)> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/seeds-yaml");
    let directory = std::env::var_os("MESH_SEEDS").map_or(beside, PathBuf::from);
    let mut paths = Vec::new();
    match directory.is_dir() {
        true => files(&directory, &mut paths),
        false => println!("skipped: there are no seeds at {}", directory.display()),
    }
    let policies = paths
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"));
    policies
        .map(|path| (path.display().to_string(), std::fs::read_to_string(path).unwrap()))
        .collect()
}

#[test]
fn what_loads_means_the_same_in_the_native_dialect() {
    let Some(directory) = corpora() else { return };
    let schema = jsonschema::validator_for(&convert::schema()).unwrap();
    let (mut problems, mut all) = (Vec::new(), 0);
    for set in SETS {
        let mut paths = Vec::new();
        set.folders
            .iter()
            .for_each(|folder| files(&directory.join(folder), &mut paths));
        for path in &paths {
            let name = path.strip_prefix(&directory).unwrap().to_string_lossy().into_owned();
            for text in pieces(set, path) {
                let Some(Meant::Valid) = (set.meant)(&name, &text) else {
                    continue;
                };
                all += 1;
                problems.extend(lost(&name, &(set.complete)(&name, &text), &schema));
            }
        }
    }
    for (name, text) in seeds() {
        all += 1;
        problems.extend(lost(&name, &text, &schema));
    }
    println!("converted: {} of {all}", all - problems.len());
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// The examples of the page on the dialect, a value for each document.
fn examples(policy_page: &str) -> Vec<serde_json::Value> {
    let blocks = policy_page.split("```y").skip(1);
    let blocks = blocks.map(|block| block.split_once('\n').unwrap().1.split("```").next().unwrap());
    blocks.flat_map(values).collect()
}

/// The documents of a YAML file as JSON.
fn values(text: &str) -> Vec<serde_json::Value> {
    let (mut sources, mut report) = (Sources::default(), Report::default());
    let file = sources.add("f", text);
    let documents = parse(&sources, file, &mut report);
    documents.iter().map(|document| json(&document.root)).collect()
}

fn json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Mapping(entries) => {
            let entries = entries.iter().map(|(key, value)| (key.name.to_string(), json(value)));
            serde_json::Value::Object(entries.collect())
        }
        Value::Sequence(items) => items.iter().map(json).collect(),
        Value::Scalar(scalar) if scalar.style == Style::Plain => {
            serde_json::from_str(&scalar.text).unwrap_or_else(|_| scalar.text.as_str().into())
        }
        Value::Scalar(scalar) => (*scalar.text).into(),
        _ => serde_json::Value::Null,
    }
}

#[test]
fn the_schema_takes_every_example_of_the_documentation() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/policy.md")).unwrap();
    let schema = jsonschema::validator_for(&convert::schema()).unwrap();
    let examples = examples(&page);
    let refused = |example: &serde_json::Value| {
        let errors = schema.iter_errors(example);
        errors.map(|error| format!("{error} at {}", error.instance_path)).next()
    };
    let problems: Vec<String> = examples.iter().filter_map(refused).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(examples.len() >= 15, "{} examples", examples.len());
}

/// Documents that the dialect refuses: fields that are misspelt, values of the wrong type, and values that cannot be.
const REFUSED: &[&str] = &[
    r#"{ "service": {} }"#,
    r#"{ "services": { "orders": { "ballance": "random" } } }"#,
    r#"{ "services": { "orders": { "balance": "randm" } } }"#,
    r#"{ "services": { "orders": { "balance": { "maglev": { "sise": 1 } } } } }"#,
    r#"{ "services": { "orders": { "limits": { "requests": 0 } } } }"#,
    r#"{ "services": { "orders": { "limits": { "requests": "10" } } } }"#,
    r#"{ "services": { "orders": { "subsets": { "v1": { "labels": { "v": "1" }, "limit": {} } } } } }"#,
    r#"{ "services": { "orders": { "tls": { "disable": false } } } }"#,
    r#"{ "services": { "orders": { "routes": [] } } }"#,
    r#"{ "services": { "orders": { "routes": [{ "to": "v1", "redirect": { "scheme": "https" } }] } } }"#,
    r#"{ "services": { "orders": { "routes": [{ "redirect": { "status": 200, "scheme": "https" } }] } } }"#,
    r#"{ "services": { "orders": { "routes": [{ "fault": { "abort": { "percent": 1 } } }] } } }"#,
    r#"{ "services": { "orders": { "routes": [{ "match": { "method": "GET", "methods": ["GET"] } }] } } }"#,
    r#"{ "services": { "orders": { "routes": [{ "to": [] }] } } }"#,
    r#"{ "services": { "orders": { "port": 80, "ports": [80] } } }"#,
    r#"{ "services": [{ "name": "orders" }] }"#,
    r#"{ "routes": [{ "name": "t", "hosts": [] , "rules": [{ "to": "a" }] }] }"#,
    r#"{ "routes": [{ "name": "t", "hosts": ["a"] }] }"#,
    r#"{ "routes": [{ "name": "t", "hosts": ["a"], "rules": [{ "timeout": "1s" }] }] }"#,
    r#"{ "authorization": [{ "name": "a" }] }"#,
    r#"{ "authorization": [{ "name": "a", "allow": [], "deny": [{}] }] }"#,
    r#"{ "authorization": [{ "name": "a", "deny": [] }] }"#,
    r#"{ "authorization": [{ "name": "a", "service": "b", "selector": { "app": "b" }, "allow": [] }] }"#,
    r#"{ "authorization": [{ "name": "a", "allow": [{ "paths": [{ "present": false }] }] }] }"#,
    r#"{ "authorization": [{ "name": "a", "allow": [{ "when": [{ "attribute": "source.ip" }] }] }] }"#,
    r#"{ "mtls": [{ "name": "a" }] }"#,
    r#"{ "mtls": [{ "name": "a", "mode": "strickt" }] }"#,
    r#"{ "servers": [{ "name": "a", "ports": [] }] }"#,
    r#"{ "mesh": { "trustDomain": "a" } }"#,
];

#[test]
fn the_schema_refuses_what_the_dialect_refuses() {
    let schema = jsonschema::validator_for(&convert::schema()).unwrap();
    let is_taken = |text: &&&str| schema.is_valid(&serde_json::from_str(text).unwrap());
    let taken: Vec<&&str> = REFUSED.iter().filter(is_taken).collect();
    assert!(taken.is_empty(), "the schema takes {taken:#?}");
    let loads = |text: &&&str| Loaded::from_files([("f", **text)]).policy.is_some();
    let loading: Vec<&&str> = REFUSED.iter().filter(loads).collect();
    assert!(loading.is_empty(), "these load: {loading:#?}");
}

#[test]
fn what_projects_call_valid_loads_and_what_they_refuse_is_refused() {
    let Some(directory) = corpora() else { return };
    let (mut problems, mut good_of_all, mut all) = (String::new(), 0, 0);
    let mut listed: Vec<&str> = DIFFERENCES.iter().map(|(end, _)| *end).collect();
    for set in SETS {
        let mut paths = Vec::new();
        set.folders
            .iter()
            .for_each(|folder| files(&directory.join(folder), &mut paths));
        let (mut good, mut of_set) = (0, 0);
        for path in &paths {
            let name = path.strip_prefix(&directory).unwrap().to_string_lossy().into_owned();
            for text in pieces(set, path) {
                let Some((is_good, told)) = judged(set, &name, &text) else {
                    continue;
                };
                of_set += 1;
                good += usize::from(is_good);
                if !is_good {
                    listed.retain(|end| !name.ends_with(end));
                }
                if !is_good && !DIFFERENCES.iter().any(|(end, _)| name.ends_with(end)) {
                    problems.push_str(&format!("{}: {told}\n", set.name));
                }
            }
        }
        println!("{}: {good} of {of_set}", set.name);
        good_of_all += good;
        all += of_set;
    }
    println!("all: {good_of_all} of {all}");
    assert!(problems.is_empty(), "{problems}");
    assert!(listed.is_empty(), "these are read as they are meant: {listed:?}");
}
