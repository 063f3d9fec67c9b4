//! Istio's own translations of authorization policies as an oracle: what its filters for Envoy decide, and what we
//! decide by the policies that they were made from, is compared request by request.
//!
//! The files are read in place (`MESH_CORPORA`, default `../shared/corpora`); without them there is nothing to compare, and
//! the test says so. The oracle is an evaluator of its own, over the documents: it shares nothing with the library but the
//! reader of YAML.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking, and tells its figures"
)]

mod documents;
mod envoy;
mod requests;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use http::{Method, Request};
use mesh_core::decide::authz::{Authorizer, Decision, Peer};
use mesh_core::policy::Loaded;
use mesh_core::policy::source::Node;
use mesh_core::request::{Options, Transport, canonicalize};
use mesh_core::workload::Workload;
use regex::Regex;

use documents::{at, documents, items, text};
use envoy::{Oracle, Part, Slice, Stars, Unknown, Verdict};
use requests::{Asked, Pools, spiffe};

/// Why we decide otherwise than Envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    /// A rule looks at what is not known: a token, an address from a header, the identity or the name of a peer that has
    /// none. Envoy takes it as different from every value; here it never allows, and denies.
    NotKnown,
    /// Hosts are compared without the port that the request names.
    HostPort,
    /// A path that is denied is denied with a slash at its end, too.
    FinalSlash,
    /// A path with doubled slashes has to be allowed with them and without.
    Slashes,
    /// Nobody can be asked about a connection, and the rule demands that somebody is; Istio leaves it out.
    NotAsked,
}

/// Files of which something is decided otherwise, and why; all others agree in everything.
const DIFFERENCES: &[(&str, &[Why])] = &[
    ("http/custom-bad", &[Why::FinalSlash]),
    ("http/custom-bad-multiple-providers", &[Why::FinalSlash]),
    ("http/custom-grpc-provider", &[Why::FinalSlash]),
    ("http/custom-grpc-provider-no-namespace", &[Why::FinalSlash]),
    ("http/custom-http-provider", &[Why::FinalSlash]),
    ("http/multiple-policies", &[Why::HostPort]),
    ("http/trust-domains", &[Why::NotKnown]),
    ("tcp/custom-only-http", &[Why::NotAsked]),
];

/// Outputs of one input, where they are not named after it.
const INPUTS: &[(&str, &str)] = &[
    ("http/custom-bad", "http/custom-simple-http"),
    ("http/custom-grpc-provider", "http/custom-simple-http"),
    ("http/custom-grpc-provider-no-namespace", "http/custom-simple-http"),
    ("http/custom-http-provider", "http/custom-simple-http"),
];

/// Inputs of which Istio makes no filter.
const WITHOUT_FILTERS: &[&str] = &["tcp/custom-only-http"];

/// The trust domain and its aliases that a file was translated with; `cluster.local` alone where none are named.
const DOMAINS: &[(&str, &str, &str)] = &[
    ("http/simple-policy-td-aliases", "td1", "cluster.local"),
    ("http/simple-policy-principal-with-wildcard", "td1", "foobar"),
    ("http/td-aliases-source-principal", "new-td", "old-td, some-trustdomain"),
];

fn corpora() -> Option<PathBuf> {
    let directory = mesh_tests::seeds::corpora().join("istio/pilot/pkg/security/authz/builder/testdata");
    let is_there = directory.is_dir();
    if !is_there {
        println!(
            "skipped: there are no files at {}; set MESH_CORPORA",
            directory.display()
        );
    }
    is_there.then_some(directory)
}

/// Ids and methods with brackets cannot be sent: `rule[0]` becomes `rule0`, in texts and in regular expressions.
fn without_brackets(text: &str) -> String {
    let escaped = text.replace("\\[", "[").replace("\\]", "]");
    Regex::new(r"\[(\d)\]")
        .unwrap()
        .replace_all(&escaped, "$1")
        .into_owned()
}

/// What is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http,
    Tcp,
}

fn compile(policies: &str, domains: Option<(&str, &str)>) -> Authorizer {
    let (domain, aliases) = domains.unwrap_or(("cluster.local", ""));
    let settings = format!(
        "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\n\
         spec: {{ meshConfig: {{ trustDomain: {domain}, trustDomainAliases: [{aliases}] }} }}\n"
    );
    let loaded = Loaded::from_files([("mesh.yaml", settings.as_str()), ("policies.yaml", policies)]);
    let policy = loaded
        .policy
        .unwrap_or_else(|| panic!("{:?}", loaded.report.lines(&loaded.sources)));
    let workload = Workload::new("foo", "httpbin")
        .label("app", "httpbin")
        .label("version", "v1");
    Authorizer::compile(&policy.authorizations, &workload, "istio-system").unwrap()
}

/// What we decide; `None` where the request has no unambiguous form, and is served by nobody.
fn ours(authorizer: &Authorizer, asked: &Asked, protocol: Protocol) -> Option<Verdict> {
    let id = asked.id.as_deref().and_then(spiffe);
    let mut peer = Peer::new(id.as_ref(), asked.address, asked.port).to(asked.local);
    peer.server_name = asked.server_name.as_deref();
    let verdict = |decision: Decision<'_>| (decision.is_allowed(), decision.trial().map(|trial| trial.is_allowed()));
    if protocol == Protocol::Tcp {
        return Some(verdict(authorizer.authorize_connection(&peer)));
    }
    let uri = format!("http://{}{}", asked.authority, asked.path);
    let mut request = Request::get(uri);
    if let Some((name, value)) = &asked.header {
        request = request.header(name, value);
    }
    let request = request.body(()).ok()?;
    let options = Options::inbound(Transport::Tls, authorizer.path_rules());
    let canonical = canonicalize(&request, options).ok()?;
    // Methods that nobody registered are refused: what rules say of them is compared nevertheless.
    let method = Method::from_bytes(asked.method.as_bytes()).ok()?;
    let mut view = canonical.view();
    view.method = &method;
    let decision = authorizer.authorize(&view, &peer);
    assert_eq!(
        decision,
        authorizer.for_peer(&peer).authorize(&view),
        "once a connection"
    );
    (view.path == asked.path).then(|| verdict(decision))
}

/// One comparison: how many requests agree, and why the others do not.
#[derive(Debug, Default)]
struct Tally {
    compared: usize,
    allowed: usize,
    agreed: usize,
    differences: BTreeMap<Why, usize>,
    unexplained: Vec<String>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.compared += other.compared;
        self.allowed += other.allowed;
        self.agreed += other.agreed;
        self.unexplained.extend(other.unexplained);
        for (why, count) in other.differences {
            *self.differences.entry(why).or_default() += count;
        }
    }
}

fn compare(oracle: Oracle<'_>, authorizer: &Authorizer, requests: &[Asked], protocol: Protocol) -> Tally {
    let strict = Oracle {
        unknown: Unknown::Stays,
        ..oracle
    };
    let mut tally = Tally::default();
    for asked in requests {
        let Some(ours) = ours(authorizer, asked, protocol) else {
            continue;
        };
        let envoy = oracle.verdict(asked);
        tally.compared += 1;
        tally.allowed += usize::from(envoy.0 && envoy.1 != Some(false));
        if ours == envoy {
            tally.agreed += 1;
            continue;
        }
        let without_port = Asked {
            authority: asked.authority.trim_end_matches(":8080").to_owned(),
            ..asked.clone()
        };
        let without_slash = Asked {
            path: asked.path.trim_end_matches('/').to_owned(),
            ..asked.clone()
        };
        let merged = Asked {
            path: asked.path.replace("//", "/"),
            ..asked.clone()
        };
        let why = if ours == strict.verdict(asked) {
            assert!(!ours.0 || ours.1 == Some(false), "what is not known allows: {asked:?}");
            Why::NotKnown
        } else if ours == strict.verdict(&without_port) {
            Why::HostPort
        } else if ours == strict.verdict(&without_slash) {
            assert!(!ours.0 || ours.1 == Some(false), "a final slash allows: {asked:?}");
            Why::FinalSlash
        } else if ours == strict.verdict(&merged) {
            assert!(!ours.0 || ours.1 == Some(false), "slashes allow: {asked:?}");
            Why::Slashes
        } else if oracle.filters.is_empty() && !ours.0 {
            Why::NotAsked
        } else {
            tally
                .unexplained
                .push(format!("Envoy: {envoy:?}, we: {ours:?}, of {asked:?}"));
            continue;
        };
        *tally.differences.entry(why).or_default() += 1;
    }
    tally
}

/// Prints the figures, and tells what is wrong: differences that are not on the list, and those that are there no more.
fn judge(name: &str, tally: &Tally, listed: &[Why]) -> Vec<String> {
    println!(
        "{name}: {} compared, {} agree, {} allowed by Envoy, otherwise: {:?}",
        tally.compared, tally.agreed, tally.allowed, tally.differences
    );
    let found: Vec<Why> = tally.differences.keys().copied().collect();
    let mut wrong: Vec<String> = tally
        .unexplained
        .iter()
        .take(3)
        .map(|one| format!("{name}: {one}"))
        .collect();
    if found != listed {
        wrong.push(format!("{name}: {found:?}, listed are {listed:?}"));
    }
    if tally.compared == 0 {
        wrong.push(format!("{name}: nothing was compared"));
    }
    wrong
}

#[test]
fn policies_decide_what_istios_filters_decide() {
    let Some(directory) = corpora() else { return };
    let regexes = RefCell::default();
    let mut files: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for protocol in ["http", "tcp"] {
        for entry in std::fs::read_dir(directory.join(protocol)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            if let Some((name, _)) = name.split_once("-out") {
                files.entry(format!("{protocol}/{name}")).or_default().push(path);
            }
        }
    }
    files.extend(WITHOUT_FILTERS.iter().map(|name| ((*name).to_owned(), Vec::new())));
    let mut wrong = Vec::new();
    for (name, outputs) in files {
        let input = INPUTS
            .iter()
            .find(|(of, _)| *of == name)
            .map_or(&*name, |(_, input)| input);
        let read = |path: &PathBuf| without_brackets(&std::fs::read_to_string(path).unwrap());
        let policies = read(&directory.join(format!("{input}-in.yaml")));
        let filters: Vec<Node> = outputs.iter().flat_map(|path| documents(&read(path))).collect();
        let domains = DOMAINS
            .iter()
            .find(|(of, ..)| *of == name)
            .map(|(_, domain, aliases)| (*domain, *aliases));
        let oracle = Oracle {
            filters: &filters,
            unknown: Unknown::Differs,
            stars: Stars::Count,
            slice: None,
            regexes: &regexes,
        };
        let protocol = if name.starts_with("tcp") {
            Protocol::Tcp
        } else {
            Protocol::Http
        };
        let requests = Pools::new(&documents(&policies)).requests();
        let tally = compare(oracle, &compile(&policies, domains), &requests, protocol);
        let listed = DIFFERENCES.iter().find(|(of, _)| *of == name);
        wrong.extend(judge(&name, &tally, listed.map_or(&[], |(_, why)| why)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const NOT_KNOWN: &[Why] = &[Why::NotKnown];

/// The fields of the second rule of the file that has them all: the list of their conditions in the filter, and the
/// place there; and why something is decided otherwise.
const FIELDS: &[(&str, &str, usize, &[Why])] = &[
    ("hosts", "andRules", 0, &[Why::HostPort]),
    ("methods", "andRules", 1, &[]),
    ("paths", "andRules", 2, &[Why::FinalSlash, Why::Slashes]),
    ("ports", "andRules", 3, &[]),
    ("destination.ip", "andRules", 4, &[]),
    ("destination.port", "andRules", 5, &[]),
    ("connection.sni", "andRules", 6, NOT_KNOWN),
    ("experimental.envoy.filters.a.b[c]", "andRules", 7, NOT_KNOWN),
    ("principals", "andIds", 0, NOT_KNOWN),
    ("requestPrincipals", "andIds", 1, NOT_KNOWN),
    ("namespaces", "andIds", 2, NOT_KNOWN),
    ("remoteIpBlocks", "andIds", 3, &[]),
    ("ipBlocks", "andIds", 4, &[]),
    ("request.headers[X-header]", "andIds", 5, &[]),
    ("source.ip", "andIds", 6, &[]),
    ("remote.ip", "andIds", 7, &[]),
    ("source.namespace", "andIds", 8, NOT_KNOWN),
    ("source.principal", "andIds", 9, NOT_KNOWN),
    ("request.auth.principal", "andIds", 10, NOT_KNOWN),
    ("request.auth.audiences", "andIds", 11, NOT_KNOWN),
    ("request.auth.presenter", "andIds", 12, NOT_KNOWN),
    ("request.auth.claims[iss]", "andIds", 13, NOT_KNOWN),
    ("request.auth.claims[nested1][nested2]", "andIds", 14, NOT_KNOWN),
];

/// The file's second rule asks for so much that nothing ever meets it. Each field is compared for itself: values and
/// not-values, with the `*` among them and without, where they allow and where they deny.
#[test]
fn each_field_alone_decides_what_istios_filter_decides() {
    let Some(directory) = corpora() else { return };
    let regexes = RefCell::default();
    let read = |name: &str| std::fs::read_to_string(directory.join("http").join(name)).unwrap();
    let input = documents(&read("allow-full-rule-in.yaml")).remove(0);
    let filters = documents(&read("allow-full-rule-out.yaml"));
    let rule = &items(&input, &["spec", "rules"])[1];
    let mut wrong = Vec::new();
    for (field, list, place, why) in FIELDS {
        for action in [None, Some("DENY")] {
            let mut tally = Tally::default();
            for (part, stars) in variants() {
                let policy = written(rule, field, (part, stars), action.unwrap_or("ALLOW"));
                let (list, place) = (*list, *place);
                let slice = Slice {
                    list,
                    place,
                    part,
                    action,
                };
                let oracle = Oracle {
                    filters: &filters,
                    unknown: Unknown::Differs,
                    stars,
                    slice: Some(slice),
                    regexes: &regexes,
                };
                let requests = Pools::new(&documents(&policy)).requests();
                tally.add(compare(oracle, &compile(&policy, None), &requests, Protocol::Http));
            }
            wrong.extend(judge(&format!("{} {field}", action.unwrap_or("ALLOW")), &tally, why));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn variants() -> impl Iterator<Item = (Part, Stars)> {
    let parts = [Part::Both, Part::Values, Part::NotValues];
    parts
        .into_iter()
        .flat_map(|part| [(part, Stars::Count), (part, Stars::Skipped)])
}

/// A policy of one field of a rule.
fn written(rule: &Node, field: &str, (part, stars): (Part, Stars), action: &str) -> String {
    let quoted = |nodes: &[Node]| {
        let texts = nodes.iter().filter_map(Node::as_text);
        let kept = texts.filter(|text| stars == Stars::Count || *text != "*");
        kept.map(|text| format!("'{text}'")).collect::<Vec<_>>().join(", ")
    };
    let (first, rest) = field.split_at(1);
    let not = format!("not{}{rest}", first.to_uppercase());
    let lists = |node: &Node, names: [&str; 2]| {
        let [values, others] = names.map(|name| format!("{name}: [{}]", quoted(items(node, &[name]))));
        match part {
            Part::Both => format!("{values}, {others}"),
            Part::Values => values,
            Part::NotValues => others,
        }
    };
    let source = at(&items(rule, &["from"])[0], &["source"]).unwrap();
    let operation = at(&items(rule, &["to"])[0], &["operation"]).unwrap();
    let rule = if source.get(field).is_some() {
        format!("from: [{{ source: {{ {} }} }}]", lists(source, [field, &not]))
    } else if operation.get(field).is_some() {
        format!("to: [{{ operation: {{ {} }} }}]", lists(operation, [field, &not]))
    } else {
        let conditions = items(rule, &["when"]);
        let when = conditions
            .iter()
            .find(|when| text(when, &["key"]) == Some(field))
            .unwrap();
        format!("when: [{{ key: '{field}', {} }}]", lists(when, ["values", "notValues"]))
    };
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{ name: slice, namespace: foo }}\n\
         spec: {{ action: {action}, rules: [{{ {rule} }}] }}\n"
    )
}
