//! The command line of `mesh cert`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand, ValueEnum};
use mesh_core::identity::{SpiffeId, TrustDomain};
use mesh_tower::tls::leaf::Role;
use mesh_tower::tls::source::Layout;

use super::moment;
use crate::args::{Format, identity};

/// What can be done with certificates.
#[derive(Debug, Subcommand)]
pub(crate) enum CertCommand {
    /// Make a certificate authority for development, or show the one that is there
    DevCa(DevCaArguments),
    /// Issue a workload's certificate from a development authority
    Issue(IssueArguments),
    /// Tell what certificates say, and which rules of SPIFFE they break
    Inspect(InspectArguments),
    /// Judge a certificate as a client or a server would in a handshake
    Verify(VerifyArguments),
}

/// Arguments of `mesh cert dev-ca`.
#[derive(Args, Debug)]
#[command(after_help = "\
It lies in DIR as ca.crt and ca.key. One that is there is never replaced. Not for production: who can read ca.key can be
any workload.

Exit codes: 0 made or found, 2 DIR holds something else.

Examples:
  mesh cert dev-ca ca
  mesh cert dev-ca ca --trust-domain example.org")]
pub(crate) struct DevCaArguments {
    /// Its directory
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// The trust domain that it vouches for
    #[arg(long, value_name = "NAME", default_value = "cluster.local", value_parser = trust_domain)]
    pub(crate) trust_domain: TrustDomain,
    /// The time, instead of now
    #[arg(long, value_name = "RFC 3339", value_parser = moment::parse)]
    pub(crate) at: Option<SystemTime>,
}

/// Arguments of `mesh cert issue`.
#[derive(Args, Debug)]
#[command(after_help = "\
DIR gets certificate, key and bundle, each file replaced at once; a service that follows it takes the new identity.

Exit codes: 0 issued, 2 no authority of that trust domain, or DIR cannot be written.

Examples:
  mesh cert issue --ca ca cluster.local/ns/shop/sa/orders identity
  mesh cert issue --ca ca --ttl 1h --layout istio cluster.local/ns/shop/sa/orders identity")]
pub(crate) struct IssueArguments {
    /// The directory of the development authority
    #[arg(long, value_name = "DIR")]
    pub(crate) ca: PathBuf,
    /// How long the certificate is to last
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = duration)]
    pub(crate) ttl: Duration,
    /// The names of the files
    #[arg(long, value_name = "LAYOUT", default_value = "kubernetes", value_parser = layout)]
    pub(crate) layout: Layout,
    /// The time, instead of now
    #[arg(long, value_name = "RFC 3339", value_parser = moment::parse)]
    pub(crate) at: Option<SystemTime>,
    /// The workload's identity, `spiffe://` may be left out
    #[arg(value_name = "SPIFFE ID", value_parser = identity)]
    pub(crate) id: SpiffeId,
    /// The workload's directory
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
}

/// Arguments of `mesh cert inspect`.
#[derive(Args, Debug)]
#[command(after_help = "\
Of a directory the certificate of its layout is read; `*.json` is a SPIFFE bundle, everything else PEM.

Exit codes: 0 valid now and no rule broken, 1 expired, not valid yet or a rule broken, 2 nothing to read.

Examples:
  mesh cert inspect /run/identity
  mesh cert inspect tls.crt ca.crt
  kubectl get secret orders-tls -o jsonpath='{.data.tls\\.crt}' | base64 -d | mesh cert inspect -
  mesh cert inspect -o json tls.crt | jq -r '.certificates[0].not_after'")]
pub(crate) struct InspectArguments {
    /// Files and directories; `-` is the standard input
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// The time, instead of now
    #[arg(long, value_name = "RFC 3339", value_parser = moment::parse)]
    pub(crate) at: Option<SystemTime>,
    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Format,
}

/// The side of a handshake on which a certificate is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Side {
    Client,
    Server,
}

impl Side {
    pub(crate) const fn role(self) -> Role {
        match self {
            Self::Client => Role::Client,
            Self::Server => Role::Server,
        }
    }
}

/// A bundle, and of which trust domain; that of the certificate where none is named.
#[derive(Clone, Debug)]
pub(crate) struct BundleFile {
    pub(crate) trust_domain: Option<TrustDomain>,
    pub(crate) path: PathBuf,
}

/// Arguments of `mesh cert verify`.
#[derive(Args, Debug)]
#[command(after_help = "\
Of a directory certificate, key and bundles are taken from its layout, as a service does. The code that judges is that
of a handshake.

Exit codes: 0 accepted, 1 refused, 2 nothing to read.

Examples:
  mesh cert verify /run/identity
  mesh cert verify peer.pem --bundle ca.crt --as client
  mesh cert verify peer.pem --bundle example.org=example.json --id example.org/ns/shop/sa/orders --as server
  mesh cert verify /run/identity --at 2030-01-01T00:00:00Z")]
pub(crate) struct VerifyArguments {
    /// A certificate chain in PEM, leaf first, or a directory; `-` is the standard input
    #[arg(value_name = "PATH")]
    pub(crate) certificate: PathBuf,
    /// The private key, to see whether it belongs to the certificate
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// A bundle (PEM, or `*.json`: a SPIFFE bundle) of the certificate's trust domain, or of the one that is named; may be
    /// given again
    #[arg(long, value_name = "[DOMAIN=]FILE", value_parser = bundle)]
    pub(crate) bundle: Vec<BundleFile>,
    /// Revocation lists (PEM or DER) for the bundle of the certificate's trust domain; may be given again
    #[arg(long, value_name = "FILE")]
    pub(crate) crl: Vec<PathBuf>,
    /// The side that presents it [default: both]
    #[arg(long = "as", value_enum, value_name = "SIDE")]
    pub(crate) side: Option<Side>,
    /// The identity that the peer expects, `spiffe://` may be left out; may be given again
    #[arg(long, value_name = "SPIFFE ID", value_parser = identity)]
    pub(crate) id: Vec<SpiffeId>,
    /// The peer expects any workload of this trust domain
    #[arg(long, value_name = "NAME", conflicts_with = "id", value_parser = trust_domain)]
    pub(crate) trust_domain: Option<TrustDomain>,
    /// The time, instead of now
    #[arg(long, value_name = "RFC 3339", value_parser = moment::parse)]
    pub(crate) at: Option<SystemTime>,
    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Format,
}

fn trust_domain(text: &str) -> Result<TrustDomain, String> {
    TrustDomain::parse(text).map_err(|error| format!("the name {error}"))
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = mesh_core::time::parse_duration(text).map_err(|error| error.to_string())?;
    match duration.is_zero() {
        true => Err("expected a time such as `24h`, found none".into()),
        false => Ok(duration),
    }
}

fn layout(text: &str) -> Result<Layout, String> {
    let found = Layout::ALL.into_iter().find(|layout| layout.as_str() == text);
    found.ok_or_else(|| {
        let names = Layout::ALL.map(|layout| format!("`{}`", layout.as_str()));
        format!("expected one of {}", names.join(", "))
    })
}

fn bundle(text: &str) -> Result<BundleFile, String> {
    let (name, path) = match text.split_once('=') {
        Some((name, path)) => (Some(trust_domain(name)?), path),
        None => (None, text),
    };
    Ok(BundleFile {
        trust_domain: name,
        path: path.into(),
    })
}
