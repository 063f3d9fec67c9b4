//! Files that are no part of the project, read in place where they are.

#![expect(
    clippy::disallowed_methods,
    reason = "the files are named at run time, by the environment"
)]

use std::path::{Path, PathBuf};

use super::*;
use crate::explain;
use crate::policy::diagnostic::{Code, Diagnostic, Severity};
use crate::policy::model::Policy;
use crate::policy::model::route::{Binding, RouteTable};
use crate::request::{Options, canonicalize};
use crate::snapshot::Snapshot;
use crate::workload::Workload;

/// All files below a directory with the end `.yaml`; none, and a word about it, where it is missing.
fn files(variable: &str, default: &str, below: &str) -> Vec<(String, Vec<u8>)> {
    let given = std::env::var_os(variable).map(PathBuf::from);
    let defaults = ["../", "../../"].map(|up| PathBuf::from(format!("{up}{default}")));
    let root = given
        .or_else(|| defaults.into_iter().find(|path| path.is_dir()))
        .unwrap_or_default();
    let mut found = Vec::new();
    collect(&root.join(below), &mut found);
    if found.is_empty() {
        println!(
            "skipped: no files in {}, name their place in {variable}",
            root.display()
        );
    }
    found.sort();
    found
}

fn collect(directory: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|end| end == "yaml") {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    files("MESH_SEEDS", "shared/seeds-yaml", "")
}

fn corpus(below: &str) -> Vec<(String, Vec<u8>)> {
    files("MESH_CORPORA", "shared/corpora", below)
}

/// The codes of all findings of one file, in order.
fn codes(loaded: &Loaded) -> Vec<Code> {
    loaded
        .report
        .sorted(&loaded.sources)
        .iter()
        .map(|one| one.code)
        .collect()
}

/// The number that a seed's name begins with; `al` is the one that holds alerts, no policy.
fn number(name: &str) -> &str {
    let file = Path::new(name).file_name().unwrap().to_str().unwrap();
    &file[..2]
}

/// All findings, without the directory of their files.
fn lines_by_name(loaded: &Loaded) -> Vec<String> {
    let short = |line: String| match line.split_once(".yaml:") {
        Some((file, rest)) => format!("{}:{rest}", number(file)),
        None => line,
    };
    let lines = loaded.report.lines(&loaded.sources);
    lines.into_iter().map(short).collect()
}

/// Seeds that have something to say, and what.
const WARNED: &[(&str, &[&str])] = &[
    (
        "01",
        &[
            "01:14:11: warning[MESH0524]: subset `canary` of `product-service.default.svc.cluster.local` has no endpoint: no file lists those of the host",
        ],
    ),
    (
        "05",
        &["05:14:11: warning[MESH0506]: no file defines subsets of `myapp.default.svc.cluster.local`, such as `v2`"],
    ),
    (
        "09",
        &["09:14:11: warning[MESH0506]: no file defines subsets of `reviews.default.svc.cluster.local`, such as `v3`"],
    ),
    (
        "13",
        &[
            "13:10:11: warning[MESH0524]: subset `stable` of `api-service.default.svc.cluster.local` has no endpoint: no file lists those of the host",
        ],
    ),
    (
        "19",
        &[
            "19:17:9: warning[MESH0502]: field `pendingRequests` is not part of the standard: it is taken as `http1MaxPendingRequests`",
            "19:23:5: warning[MESH0502]: field `retryPolicy` is not part of the standard: it is taken as the retries of routes that set none",
        ],
    ),
    (
        "20",
        &[
            "20:11:11: warning[MESH0506]: no file defines subsets of `orders-api.production.svc.cluster.local`, such as `v1`",
        ],
    ),
    (
        "21",
        &[
            "21:15:11: warning[MESH0506]: no file defines subsets of `orders-api.production.svc.cluster.local`, such as `v2`",
        ],
    ),
    (
        "22",
        &[
            "22:5:5: warning[MESH0501]: field `enableTracing` is not yet in force: spans are not exported",
            "22:7:7: warning[MESH0501]: field `tracing` is not yet in force: spans are not exported",
        ],
    ),
    (
        "al",
        &["al:3:1: error[MESH0106]: this is no policy: it looks like rules of Prometheus"],
    ),
];

/// What is due for a seed.
fn due(seed: &str) -> &'static [&'static str] {
    let row = WARNED.iter().find(|(number, _)| *number == seed);
    row.map_or(&[], |(_, lines)| lines)
}

#[test]
fn every_seed_loads_alone_with_the_warnings_that_are_due() {
    let seeds = seeds();
    let count = seeds.len();
    for (name, bytes) in seeds {
        let loaded = Loaded::from_files([(name.as_str(), bytes)]);
        let number = number(&name);
        assert_eq!(lines_by_name(&loaded), due(number));
        assert_eq!(loaded.policy.is_some(), number != "al", "{name}");
    }
    assert!(matches!(count, 0 | 23), "{count} seeds");
}

/// Two texts print another object of the same name: 10 that of 04, 21 that of 20.
const AGAIN: [&str; 2] = ["10", "21"];

/// All seeds but the alerts and those `without`, as one set.
fn set(without: &[&str]) -> Option<Loaded> {
    let mut seeds = seeds();
    seeds.retain(|(name, _)| number(name) != "al" && !without.contains(&number(name)));
    (!seeds.is_empty()).then(|| Loaded::from_files(seeds))
}

#[test]
fn all_seeds_together_are_one_policy_but_for_names_that_are_printed_twice() {
    let (Some(whole), Some(once)) = (set(&[]), set(&AGAIN)) else {
        return;
    };
    assert!(whole.policy.is_none());
    let mut errors = lines_by_name(&whole);
    errors.retain(|line| line.contains(": error["));
    assert_eq!(
        errors,
        [
            "10:4:9: error[MESH0202]: `PeerAuthentication` `default` of namespace `istio-system` is defined twice",
            "21:5:9: error[MESH0202]: `VirtualService` `orders-api` of namespace `production` is defined twice",
        ]
    );
    let shared = "15:6:12: warning[MESH0508]: host `api-service.default.svc.cluster.local` is routed twice: the routes of `api-service` of namespace `default` are used, not these";
    // 19 defines the subsets of 20; nothing lists endpoints.
    let subset = "20:11:11: warning[MESH0524]: subset `v1` of `orders-api.production.svc.cluster.local` has no endpoint: no file lists those of the host";
    let before = ["01", "05", "09", "13"].into_iter().flat_map(due).copied();
    let expected: Vec<&str> = before
        .chain([shared])
        .chain(due("19").iter().copied())
        .chain([subset])
        .chain(due("22").iter().copied())
        .collect();
    assert_eq!(lines_by_name(&once), expected);
    let policy = once.policy.unwrap();
    let counts = [
        policy.routes.len(),
        policy.profiles.len(),
        policy.gateways.len(),
        policy.authorizations.len(),
    ];
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}

#[test]
fn a_seed_that_is_cut_anywhere_is_read_or_refused_with_a_place() {
    for (name, bytes) in seeds() {
        for end in 0..bytes.len() {
            properties::read(&bytes[..end]);
        }
        println!("{name}: {} cuts", bytes.len());
    }
}

/// Samples of Istio's own kinds about which something is said, by the ends of their names, and its codes.
const SAMPLES: &[(&str, &[Code])] = &[
    // Its second rule stands behind one that takes everything.
    ("fault-injection-details-v1.yaml", &[Code::UNREACHABLE_RULE]),
    (
        "expose-services.yaml",
        &[Code::NOT_YET_IN_FORCE, Code::NOT_YET_IN_FORCE],
    ),
    (
        "tcp-echo-20-v2.yaml",
        &[Code::UNRESOLVED_REFERENCE, Code::NOT_YET_IN_FORCE],
    ),
    ("loki/telemetry.yaml", &[Code::NOT_YET_IN_FORCE]),
];

#[test]
fn istios_samples_load_with_the_warnings_that_are_due() {
    for (name, bytes) in corpus("istio/samples") {
        let loaded = Loaded::from_files([(name.as_str(), &bytes)]);
        let lines = loaded.report.lines(&loaded.sources);
        let policy = loaded.policy.unwrap_or_else(|| panic!("{lines:#?}"));
        policy.routes.iter().for_each(|table| assert_routes(&policy, table));
        if name.contains("gateway-api") || name.contains("ambient") {
            // What is said of other kinds is tested by their dialects.
            continue;
        }
        // Samples leave subsets, and always endpoints, to other files.
        let is_elsewhere =
            |one: &Diagnostic| one.code == Code::EMPTY_SUBSET || one.message.starts_with("no file defines subsets");
        let sorted = loaded.report.sorted(&loaded.sources);
        let found = sorted.iter().filter(|one| !is_elsewhere(one)).map(|one| one.code);
        let found: Vec<Code> = found.collect();
        let due = SAMPLES.iter().find(|(end, _)| name.ends_with(end));
        assert_eq!(found, due.map_or(&[][..], |(_, codes)| *codes), "{lines:#?}");
    }
}

/// Requests to the hosts of a table are taken by its rules, at its gateways or by the clients of the mesh.
fn assert_routes(policy: &Policy, table: &RouteTable) {
    let mut workload = Workload::new(&table.meta.namespace, "caller");
    for binding in &table.bindings {
        let Binding::Gateway { name, .. } = binding else {
            continue;
        };
        let Some(gateway) = policy.gateways.iter().find(|gateway| gateway.meta.name == *name) else {
            // In another file of the sample.
            return;
        };
        workload.labels.extend(gateway.selector.clone());
    }
    let snapshot = Snapshot::compile(policy, &workload, 1).unwrap();
    for host in &table.hosts {
        let request = http::Request::get(format!("http://{}/", host.host.replace('*', "any")))
            .body(())
            .unwrap();
        let canonical = canonicalize(&request, Options::outbound()).unwrap();
        let answer = explain::outbound(&snapshot, &canonical.view());
        let takes_all = table.rules.iter().any(|rule| rule.matches.is_empty());
        let expected: &[&str] = if takes_all {
            &["routed"]
        } else {
            &["routed", "no_route"]
        };
        assert!(expected.contains(&answer.outcome), "{}: {answer:?}", table.meta.origin);
    }
}

/// What upstream accepts may only be refused as not in force.
#[track_caller]
fn assert_accepted(files: Vec<(String, Vec<u8>)>) {
    let mut failures = Vec::new();
    for (name, bytes) in files {
        let loaded = Loaded::from_files([(name.as_str(), bytes)]);
        let is_refusal = |code| [Code::NOT_YET_IN_FORCE, Code::NOT_IN_PROCESS].contains(&code);
        let errors = |one: &&Diagnostic| one.severity == Severity::Error && !is_refusal(one.code);
        let found = loaded.report.sorted(&loaded.sources);
        failures.extend(
            found
                .into_iter()
                .filter(errors)
                .map(|one| format!("{name}: {}", one.message)),
        );
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn upstreams_samples_load_or_are_not_yet_in_force() {
    assert_accepted(corpus("istio/samples"));
    assert_accepted(corpus("istio/tests/testdata"));
    assert_accepted(corpus("istio/pkg/test"));
    assert_accepted(corpus("gateway-api/examples/standard"));
    assert_accepted(corpus("gateway-api/conformance"));
    assert_accepted(corpus("linkerd-website"));
    assert_accepted(corpus("linkerd2/test"));
    let (misspelt, others): (Vec<_>, Vec<_>) = corpus("cilium")
        .into_iter()
        .partition(|(name, _)| name.ends_with("/http/http.yaml"));
    assert_accepted(others);
    for (name, bytes) in misspelt {
        let loaded = Loaded::from_files([("f", bytes)]);
        let told = loaded.report.lines(&loaded.sources);
        assert_eq!(told, ["f:15:9: error[MESH0101]: unknown field `HTTP`"], "{name}");
    }
}

#[test]
fn linkerds_profiles_are_read_or_refused_as_upstream_does() {
    for (name, bytes) in corpus("linkerd2/pkg/profiles") {
        let loaded = Loaded::from_files([(name.as_str(), bytes)]);
        let found = codes(&loaded);
        let is_not_yet = !found.is_empty() && found.iter().all(|code| *code == Code::NOT_YET_IN_FORCE);
        if name.ends_with("-invalid.yaml") {
            assert!(loaded.policy.is_none(), "{name}");
        } else {
            assert!(loaded.policy.is_some() || is_not_yet, "{name}: {found:?}");
        }
    }
}

#[test]
fn splits_of_the_specification_are_read() {
    let mut read = 0;
    for (name, bytes) in corpus("smi-spec/apis/traffic-split") {
        let text = String::from_utf8(bytes).unwrap();
        // Examples leave out the version, which their directory has.
        let version = Path::new(&name)
            .ancestors()
            .nth(2)
            .unwrap()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap();
        let is_whole = text.starts_with("kind: TrafficSplit") && !text.contains("matches:") && !text.contains("\n---");
        if is_whole {
            let text = format!("apiVersion: split.smi-spec.io/{version}\n{text}");
            let loaded = Loaded::from_files([(name.as_str(), text)]);
            assert_eq!(loaded.report.lines(&loaded.sources), [""; 0]);
            read += 1;
        }
    }
    println!("{read} splits read");
}
