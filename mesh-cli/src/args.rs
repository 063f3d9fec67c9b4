//! The command line, and what its texts mean.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use http::{HeaderName, HeaderValue, Method, Uri};
use mesh_core::identity::SpiffeId;
use mesh_core::workload::Workload;

use crate::cert::CertCommand;

/// Asks the code that serves traffic what a mesh policy means.
#[derive(Debug, Parser)]
#[command(
    name = "mesh",
    version,
    arg_required_else_help = true,
    after_help = "\
Examples:
  mesh check policy/
  mesh explain --policy policy/ http://orders/api/orders
  mesh explain --inbound --policy policy/ --as namespace=production,app=orders --plaintext http://orders/
  mesh test policy-tests/
  mesh diff policy/ policy-next/
  mesh convert istio/ > policy/shop.yaml
  mesh schema > mesh.schema.json
  mesh cert verify /run/identity"
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Whether to print colours; `auto` does on terminals, unless NO_COLOR is set
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub(crate) color: Color,
}

/// What can be asked.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Report every problem of policy files, each with its place
    Check(CheckArguments),
    /// Tell what becomes of one request, and which rule says so; or what a code means
    Explain(Box<ExplainArguments>),
    /// Try whether policies do what files of tests say
    Test(TestArguments),
    /// Tell what changes in meaning from one policy to another
    Diff(DiffArguments),
    /// Print policies of any dialect in the native one
    Convert(ConvertArguments),
    /// Print the JSON Schema of the native dialect, for editors
    Schema,
    /// Make certificates for development, look at certificates, judge them as a peer does
    #[command(subcommand)]
    Cert(CertCommand),
}

/// When to print colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

/// How to print answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    #[default]
    Human,
    Json,
}

/// How to print the answer of `mesh check`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum CheckFormat {
    /// The offending text, underlined
    #[default]
    Human,
    /// One object
    Json,
    /// Workflow commands, shown beside the lines of a change
    Github,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// A test suite with a case for each file
    Junit,
}

/// What `mesh check` makes an error of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Deny {
    /// Every warning
    Warnings,
}

/// Arguments of `mesh check`.
#[derive(Args, Debug)]
#[command(after_help = "\
All files together are one policy, as they are for a service. Of a directory, files *.yaml, *.yml and *.json are read,
those of its subdirectories, too; names that start with a dot are passed over.

Exit codes, whatever the format: 0 no errors (there may be warnings), 1 errors, 2 nothing to read or wrong usage.

Examples:
  mesh check policy/
  mesh check base/ production/orders.yaml
  kubectl get virtualservices,destinationrules -o yaml | mesh check -
  mesh check --deny warnings -o github policy/
  mesh check --seen http://127.0.0.1:15000/plaintext policy-strict/
  mesh check -o sarif policy/ > mesh.sarif
  mesh check -o json policy/ | jq -r '.diagnostics[] | \"\\(.file):\\(.line): \\(.message)\"'")]
pub(crate) struct CheckArguments {
    /// Policy files and directories; `-` is the standard input
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: CheckFormat,
    /// What to treat as errors
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) deny: Option<Deny>,
    /// Also warn of callers in plain text that the policy would cut off: a server's list of them, `http://…/plaintext` of
    /// its admin listener or a file with what that says; may be given again
    #[arg(long, value_name = "URL | FILE")]
    pub(crate) seen: Vec<String>,
    /// How long before the list was made a caller counts
    #[arg(long, requires = "seen", default_value = "1h", value_name = "TIME", value_parser = crate::check::seen::within)]
    pub(crate) seen_within: Duration,
}

/// Arguments of `mesh explain`.
#[derive(Args, Debug)]
#[command(after_help = "\
Without --inbound the workload of --as sends the request: its route, destinations, timeout and retries are told.
With --inbound that workload receives it: mTLS and authorization are told. Nothing is sent.
A code of a finding, without --policy, is explained with an example.

Exit codes: 0 told (inbound: allowed), 1 the policy has errors, 2 nothing to read or wrong usage, 3 inbound: denied.

Examples:
  mesh explain --policy policy/ http://orders/api/orders
  mesh explain --policy policy/ -H 'x-version: canary' -X POST orders.production:8080/api/orders
  mesh explain --policy policy/ --as namespace=production,sa=web,app=web,version=v2 http://orders/
  mesh explain --inbound --policy policy/ --as namespace=production,app=orders \\
      --from cluster.local/ns/production/sa/web http://orders:8080/api/orders
  mesh explain --inbound --policy policy/ --as namespace=production,app=orders --plaintext http://orders:8080/
  mesh explain MESH0104")]
pub(crate) struct ExplainArguments {
    /// A policy file or directory; `-` is the standard input; may be given again
    #[arg(long, value_name = "PATH")]
    pub(crate) policy: Vec<PathBuf>,
    /// The workload that asks: `namespace`, `sa` (service account), and labels: any other key [default: namespace=default,sa=default]
    #[arg(long = "as", value_name = "KEY=VALUE,…", value_parser = workload, default_value = "", hide_default_value = true)]
    pub(crate) workload: Workload,
    /// The request's method
    #[arg(short = 'X', long, default_value = "GET", value_name = "METHOD", value_parser = method)]
    pub(crate) method: Method,
    /// A header of the request; may be given again
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Format,
    /// Explain a request that the workload receives
    #[arg(long)]
    pub(crate) inbound: bool,
    /// Inbound: the caller's identity over mTLS, `spiffe://` may be left out
    #[arg(long, requires = "inbound", conflicts_with = "plaintext", value_name = "SPIFFE ID", value_parser = identity)]
    pub(crate) from: Option<SpiffeId>,
    /// Inbound: the caller uses plain text, which it does without --from
    #[arg(long, requires = "inbound")]
    pub(crate) plaintext: bool,
    /// Inbound: the caller's address
    #[arg(long, requires = "inbound", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), value_name = "IP")]
    pub(crate) source_ip: IpAddr,
    /// Inbound: a claim of the request's token, which counts as genuine; JSON or text; may be given again
    #[arg(long = "claim", requires = "inbound", conflicts_with = "token", value_name = "NAME=VALUE", value_parser = claim)]
    pub(crate) claims: Vec<(String, serde_json::Value)>,
    /// Inbound: the file of the request's token, which is verified now; `-` is the standard input
    #[arg(long, requires = "inbound", value_name = "FILE")]
    pub(crate) token: Option<PathBuf>,
    /// Inbound: the file of a JSON Web Key Set, in place of those that services fetch
    #[arg(long, requires = "inbound", conflicts_with = "claims", value_name = "FILE")]
    pub(crate) jwks: Option<PathBuf>,
    /// The request's URL; `http://` may be left out. Without --policy, the code of a finding
    #[arg(value_name = "URL | CODE", value_parser = url)]
    pub(crate) url: Uri,
}

/// How to print the results of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum TestFormat {
    #[default]
    Human,
    Json,
    Junit,
}

/// Arguments of `mesh test`.
#[derive(Args, Debug)]
#[command(after_help = "\
A file of tests names a policy and says what it must do to requests; docs/testing.md describes it. Nothing is sent, and
time is virtual. Of a directory, files *.yaml, *.yml and *.json are tried. Without any, the files *.test.yaml below this
directory are.

Exit codes: 0 all tests pass, 1 a test fails or its policy does not load, 2 a file of tests is wrong, or nothing to try.

Examples:
  mesh test
  mesh test policy-tests/ --filter canary
  mesh test -o junit policy-tests/ > results.xml")]
pub(crate) struct TestArguments {
    /// Files of tests and directories; `-` is the standard input
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Try only tests with this text in their name
    #[arg(long, value_name = "TEXT")]
    pub(crate) filter: Option<String>,
    /// How to print the results
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: TestFormat,
}

/// Arguments of `mesh diff`.
#[derive(Args, Debug)]
#[command(after_help = "\
Both policies are asked the same questions: what becomes of the requests and callers that either of them names. Order,
names of files, comments and equivalent spellings are no change. Without --as they are asked for every workload that
they name.

A file of --impact holds one JSON object a line: {\"as\": {\"namespace\": \"shop\"}, \"method\": \"GET\", \"url\":
\"http://orders/api\", \"headers\": {}}, with \"direction\": \"inbound\" also \"from\", \"source_ip\" and \"port\"; or a line
of the mesh's access log in JSON.

Exit codes: 0 no change, 1 changes, 2 a policy cannot be read or does not load.

Examples:
  mesh diff old/ new/
  mesh diff --as namespace=production,app=web policy/ policy-next/
  mesh diff policy/ policy-next/ --impact access.log
  git show main:policy/shop.yaml | mesh diff - policy/shop.yaml")]
pub(crate) struct DiffArguments {
    /// The old policy: a file or directory; `-` is the standard input
    #[arg(value_name = "OLD")]
    pub(crate) old: PathBuf,
    /// The new policy
    #[arg(value_name = "NEW")]
    pub(crate) new: PathBuf,
    /// Ask for this workload alone: `namespace`, `sa` (service account), and labels
    #[arg(long = "as", value_name = "KEY=VALUE,…", value_parser = workload)]
    pub(crate) workload: Option<Workload>,
    /// Also ask for recorded requests, and count those that change
    #[arg(long, value_name = "FILE")]
    pub(crate) impact: Option<PathBuf>,
    /// Exit with 0 where there are changes, too
    #[arg(long)]
    pub(crate) exit_zero: bool,
    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Format,
}

/// Reads `namespace=NS,sa=SA,app=APP,…`.
fn workload(text: &str) -> Result<Workload, String> {
    let mut keys = Vec::new();
    for pair in text.split(',').filter(|_| !text.is_empty()) {
        let (key, value) = pair
            .split_once('=')
            .map(|(key, value)| (key.trim(), value.trim()))
            .filter(|(key, value)| !key.is_empty() && !value.is_empty())
            .ok_or_else(|| format!("expected `key=value`, found `{pair}`"))?;
        if keys.iter().any(|(known, _)| *known == key) {
            return Err(format!("`{key}` is given twice"));
        }
        keys.push((key, value));
    }
    let field = |name: &str| {
        let found = keys.iter().find(|(key, _)| *key == name);
        found.map_or("default", |(_, value)| *value)
    };
    let workload = Workload::new(field("namespace"), field("sa"));
    let labels = keys.iter().filter(|(key, _)| !matches!(*key, "namespace" | "sa"));
    Ok(labels.fold(workload, |workload, (key, value)| workload.label(*key, *value)))
}

fn method(text: &str) -> Result<Method, String> {
    Method::from_bytes(text.as_bytes()).map_err(|_| "a method has letters and no white space".into())
}

/// Reads `name: value`.
fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("expected `name: value`")?;
    let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| format!("`{name}` is no header name"))?;
    let value =
        HeaderValue::from_str(value.trim()).map_err(|_| format!("no value of `{name}`: it has control characters"))?;
    Ok((name, value))
}

/// A claim whose value is JSON, or else a text.
fn claim(text: &str) -> Result<(String, serde_json::Value), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
            Ok((name.into(), value))
        }
        _ => Err("expected NAME=VALUE".into()),
    }
}

/// Reads an identity, whose scheme may be left out.
pub(crate) fn identity(text: &str) -> Result<SpiffeId, String> {
    let id = match text.contains("://") {
        true => SpiffeId::parse(text),
        false => SpiffeId::parse(&format!("spiffe://{text}")),
    };
    let id = id.map_err(|error| format!("the id {error}"))?;
    if id.is_root() {
        return Err("the id names a trust domain, expected a workload such as `cluster.local/ns/shop/sa/web`".into());
    }
    Ok(id)
}

/// Reads an absolute URL, whose scheme may be left out.
fn url(text: &str) -> Result<Uri, String> {
    if text.starts_with('/') {
        return Err("expected a host, such as in `http://orders/api`".into());
    }
    let uri: Uri = match has_scheme(text) {
        true => text.parse(),
        false => format!("http://{text}").parse(),
    }
    .map_err(|error: http::uri::InvalidUri| error.to_string())?;
    match uri.scheme_str() {
        Some("http" | "https") => Ok(uri),
        scheme => Err(format!(
            "expected `http` or `https`, found `{}`",
            scheme.unwrap_or_default()
        )),
    }
}

/// Whether a URL begins with a scheme; one in its query is none.
fn has_scheme(text: &str) -> bool {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| !scheme.contains(['/', '?', '#']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn a_workload_has_two_fields_and_labels() {
        let web = workload("namespace=shop,sa=web-sa,app=web,version=v2,topology.kubernetes.io/zone=a").unwrap();
        assert_eq!(
            (&*web.namespace, &*web.service_account, &*web.name),
            ("shop", "web-sa", "web")
        );
        assert_eq!(web.labels.len(), 3);
        assert_eq!(web.label_value("topology.kubernetes.io/zone"), Some("a"));
        assert_eq!(workload("").unwrap(), Workload::new("default", "default"));
    }

    #[test]
    fn a_workload_with_doubled_or_empty_keys_is_refused() {
        for text in ["app", "app=", "=web", "app=web,", "app=web,app=api", "sa=a,sa=b"] {
            assert!(workload(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_url_needs_a_host_and_may_lack_the_scheme() {
        assert_eq!(url("orders:8080/api?x=1").unwrap(), "http://orders:8080/api?x=1");
        assert_eq!(url("https://orders").unwrap().scheme_str(), Some("https"));
        assert_eq!(
            url("orders/login?next=https://shop/")
                .ok()
                .map(|uri| uri.path().to_owned()),
            Some("/login".into())
        );
        for text in ["/api", "", "ftp://orders/", "http:///api", "orders/a b"] {
            assert!(url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_identity_is_a_workloads() {
        let long = identity("spiffe://cluster.local/ns/shop/sa/web").unwrap();
        assert_eq!(identity("cluster.local/ns/shop/sa/web").unwrap(), long);
        for text in [
            "cluster.local",
            "https://cluster.local/ns/shop/sa/web",
            "Cluster.local/ns/a/sa/b",
            "",
        ] {
            assert!(identity(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_header_has_a_name_and_may_have_colons_in_its_value() {
        let (name, value) = header("X-Next:  http://shop/ ").unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("x-next", "http://shop/"));
        assert!(header("x-empty:").is_ok());
        for text in ["x-next", ": value", "a b: c", "x: a\nb"] {
            assert!(header(text).is_err(), "{text:?}");
        }
    }
}

/// What `mesh convert` is given.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct ConvertArguments {
    /// Policy files and directories; `-` is the standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) paths: Vec<PathBuf>,
    /// The dialect to print
    #[arg(long, value_enum, default_value_t, value_name = "DIALECT")]
    pub(crate) to: Dialect,
}

/// A dialect that can be printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dialect {
    #[default]
    Native,
}
