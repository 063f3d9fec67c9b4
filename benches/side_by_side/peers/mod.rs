//! Other people's proxies, where they are found.

mod envoy;
mod haproxy;
mod nginx;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::matrix::{Configuration, Product, Traffic};

/// Where a proxy stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Alone between client and service, all in plain text.
    Hop,
    /// Beside the client; opens mutual TLS.
    Outbound,
    /// Beside the service; ends mutual TLS.
    Inbound,
}

/// What one proxy is set up for.
pub(crate) struct Link<'a> {
    pub(crate) place: Place,
    pub(crate) listen: SocketAddr,
    pub(crate) upstream: SocketAddr,
    /// Whether the nearer side speaks HTTP/2 to it.
    pub(crate) is_http2: bool,
    /// Whether it speaks HTTP/2 to the farther side.
    pub(crate) is_upstream_http2: bool,
    /// Where certificates are.
    pub(crate) identities: &'a Path,
    /// Where its configuration goes.
    pub(crate) directory: &'a Path,
}

impl Link<'_> {
    /// Fills in a template, and writes it down.
    fn write(&self, name: &str, template: &str, values: &[(&str, &str)]) -> Result<PathBuf, String> {
        let filled = values.iter().fold(template.to_owned(), |text, (key, value)| {
            text.replace(&format!("@{key}@"), value)
        });
        let file = self.directory.join(name);
        fs::write(&file, filled).map_err(|error| format!("`{}` cannot be written: {error}", file.display()))?;
        Ok(file)
    }

    fn identity(&self, name: &str, file: &str) -> String {
        self.identities.join(name).join(file).display().to_string()
    }
}

/// The proxies of a configuration from the client to the service, each with where it stands.
pub(crate) fn places(configuration: Configuration) -> &'static [Place] {
    match (configuration.product(), configuration.is_encrypted()) {
        (None, _) => &[],
        (Some(_), false) => &[Place::Hop],
        (Some(_), true) => &[Place::Outbound, Place::Inbound],
    }
}

/// Whether HTTP/2 is spoken between the proxies of a pair.
pub(crate) fn is_http2_between(configuration: Configuration, traffic: Traffic) -> bool {
    configuration == Configuration::EnvoyPairH2 || traffic.is_http2()
}

/// The programs that were found.
pub(crate) struct Peers(BTreeMap<&'static str, PathBuf>);

const PRODUCTS: [Product; 3] = [Product::Haproxy, Product::Nginx, Product::Envoy];

impl Product {
    const fn name(self) -> &'static str {
        match self {
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::Envoy => "envoy",
        }
    }
}

impl Peers {
    pub(crate) fn find() -> Self {
        let found = PRODUCTS.into_iter().filter_map(|product| {
            let file = match product {
                Product::Envoy => envoy::file(),
                _ => in_path(product.name()),
            };
            Some((product.name(), file?))
        });
        Self(found.collect())
    }

    pub(crate) fn has(&self, product: Product) -> bool {
        self.0.contains_key(product.name())
    }

    /// A line for each: its version, or that it was not found.
    pub(crate) fn versions(&self) -> Vec<String> {
        PRODUCTS.into_iter().map(|product| self.version(product)).collect()
    }

    fn version(&self, product: Product) -> String {
        let name = product.name();
        let Some(file) = self.0.get(name) else {
            return format!("{name}: NOT FOUND, its rows are left out; `--help` tells where it is looked for");
        };
        let flag = if product == Product::Envoy { "--version" } else { "-v" };
        let Ok(said) = Command::new(file).arg(flag).output() else {
            return format!("{name}: {} does not run", file.display());
        };
        // nginx speaks to standard error, Envoy begins with an empty line.
        let said = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
        let line = said.lines().find(|line| line.contains("version")).unwrap_or_default();
        format!("{name}: {}", line.rsplit_once("  ").map_or(line, |(_, end)| end).trim())
    }

    /// How a proxy is started.
    pub(crate) fn command(&self, product: Product, link: &Link<'_>) -> Result<Command, String> {
        let file = self.0.get(product.name()).ok_or("not found")?;
        let mut command = Command::new(file);
        match product {
            Product::Haproxy => haproxy::arguments(&mut command, link)?,
            Product::Nginx => nginx::arguments(&mut command, link)?,
            Product::Envoy => envoy::arguments(&mut command, link)?,
        }
        Ok(command)
    }
}

/// A program of `PATH`, or of the directories for administrators, which are not in everybody's.
fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    let mut files = std::env::split_paths(&path)
        .chain(system)
        .map(|directory| directory.join(name));
    files.find(|file| file.is_file())
}
