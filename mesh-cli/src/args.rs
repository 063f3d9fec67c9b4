//! What may be written on the command line.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use http::{HeaderName, HeaderValue, Method};
use mesh_core::identity::SpiffeId;
use mesh_core::workload::Workload;

/// Checks mesh policies, and explains what they do to a request.
#[derive(Debug, Parser)]
#[command(name = "mesh", version, about, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Reads policies as a service would, and reports every problem.
    ///
    /// Exits with 0 where they can be put in force (warnings allowed), 1 where they cannot, 2 where there is nothing to read.
    #[command(after_help = "Example:\n  mesh check policy/ -o json")]
    Check(CheckArguments),
    /// Says what becomes of a request: where it goes, or whether it is let in, and which rule says so.
    ///
    /// Exits with 0 where it is routed or allowed, 3 where an inbound request is denied, 1 where the policies have errors.
    #[command(after_help = "Examples:
  mesh explain --policy policy/ --as namespace=shop,sa=web http://orders/api/orders -H 'x-version: canary'
  mesh explain --inbound --policy policy/ --as namespace=shop,app=orders --from cluster.local/ns/shop/sa/web -X POST http://orders/api/orders")]
    Explain(Box<ExplainArguments>),
}

#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// Policy files, or directories of `*.yaml`, `*.yml` and `*.json`; all together are one policy.
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Human)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// A policy file or directory; may be given several times.
    #[arg(long, required = true, value_name = "PATH")]
    pub(crate) policy: Vec<PathBuf>,
    /// The workload that sends the request, or with --inbound receives it: `namespace=NS,sa=SA`, all else are labels.
    #[arg(long = "as", value_name = "KEY=VALUE,…", value_parser = workload, default_value = "", hide_default_value = true)]
    pub(crate) workload: Workload,
    /// The method.
    #[arg(short = 'X', long, value_name = "METHOD", default_value = "GET")]
    pub(crate) method: Method,
    /// A header; may be given several times.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// Explains what the workload does with the request when it receives it.
    #[arg(long)]
    pub(crate) inbound: bool,
    /// The caller's identity: `spiffe://DOMAIN/ns/NS/sa/SA`, with or without the scheme.
    #[arg(long, value_name = "ID", requires = "inbound", conflicts_with = "plaintext", value_parser = identity)]
    pub(crate) from: Option<SpiffeId>,
    /// The caller uses plain text, which is also assumed without --from.
    #[arg(long, requires = "inbound")]
    pub(crate) plaintext: bool,
    /// The caller's address.
    #[arg(long, value_name = "IP", requires = "inbound", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub(crate) source_ip: IpAddr,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Human)]
    pub(crate) output: Output,
    /// The URL, such as `http://orders/api/orders?page=2`.
    pub(crate) url: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Human,
    /// For programs.
    Json,
}

/// Reads `namespace=shop,sa=web,app=orders,version=v2`.
fn workload(text: &str) -> Result<Workload, String> {
    let mut workload = Workload::default();
    let (mut account, mut labels) = (None, Vec::new());
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let (key, value) = entry
            .split_once('=')
            .ok_or_else(|| format!("`{entry}` is not KEY=VALUE"))?;
        match key.trim() {
            "namespace" | "ns" => workload.namespace = value.trim().into(),
            "sa" | "service_account" => account = Some(value.trim()),
            label => labels.push((label, value.trim())),
        }
    }
    let workload = Workload::new(workload.namespace, account.unwrap_or("default"));
    Ok(labels
        .into_iter()
        .fold(workload, |workload, (key, value)| workload.label(key, value)))
}

/// Reads `name: value`.
fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or_else(|| format!("`{text}` is not `NAME: VALUE`"))?;
    let name = HeaderName::try_from(name.trim()).map_err(|_| format!("`{}` is no name of a header", name.trim()))?;
    let value =
        HeaderValue::try_from(value.trim()).map_err(|_| format!("`{}` is no value of a header", value.trim()))?;
    Ok((name, value))
}

fn identity(text: &str) -> Result<SpiffeId, String> {
    let full = if text.contains("://") {
        text.to_owned()
    } else {
        format!("spiffe://{text}")
    };
    SpiffeId::parse(&full).map_err(|error| error.to_string())
}
