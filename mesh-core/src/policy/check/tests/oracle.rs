//! What Istio's own analysis finds in its test inputs, against what is found here. The inputs are no part of the project:
//! they are read in place, below `MESH_CORPORA`.

#![expect(
    clippy::disallowed_methods,
    reason = "the files are named at run time, by the environment"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::policy::Loaded;
use crate::policy::diagnostic::{Code, JsonDiagnostic};

/// Codes of Istio's analysis, and those that say the same here.
const SAME: &[(&str, &[Code])] = &[
    ("IST0002", &[Code::DEPRECATED]),
    ("IST0101", &[Code::UNKNOWN_REFERENCE, Code::UNRESOLVED_REFERENCE]),
    ("IST0109", &[Code::SHARED_HOST]),
    ("IST0128", &[Code::SYSTEM_AUTHORITIES]),
    ("IST0129", &[Code::SYSTEM_AUTHORITIES]),
    ("IST0130", &[Code::UNREACHABLE_RULE]),
    ("IST0131", &[Code::INEFFECTIVE_MATCH, Code::UNREACHABLE_RULE]),
    ("IST0132", &[Code::HOST_NOT_SERVED]),
    ("IST0149", &[Code::CLAIMS_NOT_CHECKED]),
    ("IST0173", &[Code::EMPTY_SUBSET]),
    ("IST0174", &[Code::UNRESOLVED_REFERENCE]),
    ("IST0177", &[Code::PROTOCOLS_DIFFER]),
];

/// What Istio finds and is not found here, whatever the object, and why.
const ELSEWHERE: &[(&str, &str)] = &[
    (
        "IST0112",
        "the port that the caller dials is taken: a destination needs none",
    ),
    ("IST0134", "addresses are not taken over: hosts are called by name"),
    (
        "IST0145",
        "servers of one port share their routes, whichever gateway names them",
    ),
    ("IST0157", "no telemetry provider can be named"),
    ("IST0159", "telemetry is the same for all workloads"),
    (
        "IST0162",
        "the port of a gateway is the one that the process listens on: there is no Service before it",
    ),
    (
        "IST0165",
        "the name of an internal gateway is no name that can be written: an error",
    ),
    (
        "IST0166",
        "a selector picks processes by their labels, of gateways as well",
    ),
    ("IST0175", "it is about the settings of Istio's own deployment"),
];

/// Inputs and objects (`*` is each) that differ, and why.
const DIFFERENCES: &[(&str, &str, &str)] = &[
    (
        "deprecation",
        "default/no-selector",
        "sidecars with a selector are told of as a whole",
    ),
    (
        "virtualservice_destinationhosts",
        "*",
        "the input has errors by Istio's own schema, and is not looked at further",
    ),
    (
        "virtualservice_destinationrules",
        "*",
        "its tables have no hosts, so that no request reaches the missing subset",
    ),
    (
        "virtualservice_gateways",
        "*",
        "its gateways have no servers and its tables no rules: errors",
    ),
    (
        "virtualservice_host_not_found_gateway",
        "*",
        "port names of a gateway are given twice: an error",
    ),
    (
        "virtualservice_host_not_found_gateway_beta",
        "*",
        "port names of a gateway are given twice: an error",
    ),
    (
        "virtualservice_kubernetes_gateways",
        "*",
        "listeners of a Gateway of Gateway API take its own routes alone",
    ),
    (
        "virtualservice_overlappingmatches",
        "default/uri-with-prefix-exact",
        "a prefix covers an exact path, which Istio does not compare",
    ),
    ("telemetry-selector", "*", "telemetry is the same for all workloads"),
    (
        "destinationrule-with-fake-host",
        "*",
        "the files define no service at all: another place may",
    ),
    (
        "destinationrule-subsets-not-select-pods",
        "*",
        "pods are no endpoints: they are found by DNS",
    ),
    (
        "destinationrule-empty-topology-labels",
        "*",
        "pods are no endpoints: they are found by DNS",
    ),
];

/// The directory of the inputs, if it is there.
fn directory() -> Option<PathBuf> {
    let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/corpora"));
    let corpora = std::env::var_os("MESH_CORPORA").map_or(beside, PathBuf::from);
    let directory = corpora.join("istio/pkg/config/analysis/analyzers");
    directory.join("EXPECTED.tsv").exists().then_some(directory)
}

/// A line of the table: inputs, and pairs of code and object.
struct Case {
    inputs: Vec<String>,
    expected: Vec<(String, String)>,
}

fn cases(directory: &Path) -> Vec<Case> {
    let table = std::fs::read_to_string(directory.join("EXPECTED.tsv")).unwrap();
    table.lines().skip(1).map(case).collect()
}

/// `IST0101 Name @ Kind object; …` is the last column.
fn case(line: &str) -> Case {
    let columns: Vec<&str> = line.split('\t').collect();
    let expected = columns[4].split("; ").filter_map(|one| {
        let (code, object) = one.split_once(" @ ")?;
        let (_, name) = object.split_once(' ')?;
        Some((code.split_once(' ')?.0.to_owned(), full_name(name)))
    });
    Case {
        inputs: columns[1].split(',').map(str::to_owned).collect(),
        expected: expected.collect(),
    }
}

fn full_name(name: &str) -> String {
    match name.contains('/') {
        true => name.to_owned(),
        false => format!("default/{name}"),
    }
}

/// The objects of a file: last line, namespace and name.
fn objects(text: &str) -> Vec<(u32, String)> {
    let mut objects = Vec::new();
    let (mut name, mut namespace, mut is_metadata) = (None, None, false);
    for (number, line) in (1..).zip(text.lines().chain(["---"])) {
        if line.starts_with("---") {
            let full = format!("{}/{}", namespace.unwrap_or("default"), name.unwrap_or("?"));
            objects.push((number, full));
            (name, namespace) = (None, None);
        }
        if !line.starts_with(' ') {
            is_metadata = line.starts_with("metadata:");
        }
        let value = |key| line.strip_prefix(key).filter(|_| is_metadata).map(str::trim);
        name = name.or_else(|| value("  name:"));
        namespace = namespace.or_else(|| value("  namespace:"));
    }
    objects
}

/// The objects that a finding is about: those of its labels, and its own as the last.
fn touched(one: &JsonDiagnostic, objects: &[(String, Vec<(u32, String)>)]) -> Vec<String> {
    let labels = one.labels.iter().map(|label| (&label.place.file, label.place.line));
    let places = labels.chain([(&one.file, one.line)]);
    let of_place = |(file, line): (&Option<String>, Option<u32>)| {
        let (_, objects) = objects.iter().find(|(name, _)| Some(name) == file.as_ref())?;
        let object = objects.iter().find(|(end, _)| Some(*end) >= line)?;
        Some(object.1.clone())
    };
    places.filter_map(of_place).collect()
}

/// Pairs of code and object.
type Pairs = BTreeSet<(&'static str, String)>;

/// What is found in the inputs at objects, and what is found about them with its place at another one, too.
fn found(directory: &Path, case: &Case) -> (Pairs, Pairs) {
    let texts = case.inputs.iter().map(|name| {
        let text = std::fs::read_to_string(directory.join(name)).unwrap();
        (name.clone(), text)
    });
    let texts: Vec<(String, String)> = texts.collect();
    let objects: Vec<_> = texts.iter().map(|(name, text)| (name.clone(), objects(text))).collect();
    let loaded = Loaded::from_files(texts.iter().map(|(name, text)| (name.as_str(), text)));
    let (mut at, mut about) = (Pairs::new(), Pairs::new());
    for one in loaded.report.json(&loaded.sources).diagnostics {
        let touched = touched(&one, &objects);
        at.extend(touched.last().map(|object| (one.code, object.clone())));
        about.extend(touched.into_iter().map(|object| (one.code, object)));
    }
    (at, about)
}

fn same(code: &str) -> &'static [Code] {
    let row = SAME.iter().find(|(istio, _)| *istio == code);
    row.map_or(&[], |(_, codes)| *codes)
}

fn is_difference(case: &Case, object: &str) -> bool {
    let stem = |input: &String| Path::new(input).file_stem().unwrap().to_string_lossy().into_owned();
    let stems: Vec<String> = case.inputs.iter().map(stem).collect();
    DIFFERENCES
        .iter()
        .any(|(input, name, _)| stems.iter().any(|stem| stem == input) && (*name == "*" || *name == object))
}

#[test]
fn what_istios_analysis_finds_is_found_or_listed_with_a_reason() {
    let Some(directory) = directory() else {
        eprintln!("skipped: there are no inputs of Istio's analysis");
        return;
    };
    let (mut wrong, mut matched, mut listed) = (Vec::new(), 0, 0);
    for case in cases(&directory) {
        let (at, about) = found(&directory, &case);
        for (code, object) in &case.expected {
            let is_found = same(code).iter().any(|one| about.contains(&(one.id(), object.clone())));
            let is_elsewhere = ELSEWHERE.iter().any(|(istio, _)| istio == code);
            match (is_found, is_elsewhere || is_difference(&case, object)) {
                (true, _) => matched += 1,
                (false, true) => listed += 1,
                (false, false) => wrong.push(format!("{:?}: {code} of {object} is missing", case.inputs)),
            }
        }
        let codes: BTreeSet<&str> = case
            .expected
            .iter()
            .flat_map(|(code, _)| same(code))
            .map(|code| code.id())
            .collect();
        let of_case = at.iter().filter(|(code, _)| codes.contains(code));
        for (code, object) in of_case {
            let is_expected = case.expected.iter().any(|(_, name)| name == object);
            if !is_expected && !is_difference(&case, object) {
                wrong.push(format!("{:?}: {code} of {object} is not expected", case.inputs));
            }
        }
    }
    eprintln!("Istio's analysis: {matched} findings are the same, {listed} differ with a reason");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(matched >= 35, "{matched}");
}
