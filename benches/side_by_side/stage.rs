//! One run of one row: fresh processes, one measurement.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::matrix::{Cell, Flavour};
use crate::options::Plan;
use crate::outcome::{Failures, Outcome};
use crate::peers::{Link, Peers, Place, is_http2_between, places};
use crate::process::{Process, free_ports};
use crate::role::{Load, Role, Side};

const POLICY: &str = include_str!("configs/mesh.yaml");

/// Where everything of a session lies, and who takes part.
pub(crate) struct Stage {
    pub(crate) directory: PathBuf,
    pub(crate) identities: PathBuf,
    pub(crate) peers: Peers,
    /// Threads of service and load client.
    pub(crate) workers: usize,
}

impl Stage {
    /// Starts the service, the proxies and the client, and returns what the client measured; a run with failed requests is none.
    pub(crate) fn run(&self, cell: Cell, plan: Plan) -> Result<Outcome, String> {
        let directory = self.directory.join(cell.name().replace('/', "-"));
        fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
        let [service, first, second] = free_ports()?;
        let side = self.side(cell, service, &directory)?;
        let mut server = Process::role(&Role::Server(side.clone()))?;
        server.line()?;
        let (proxies, entry) = self.proxies(cell, service, [first, second], &directory)?;
        let load = Load {
            warm_up: plan.warm_up,
            saturation: plan.saturation,
            fixed: plan.fixed,
            server: server.id(),
            proxies: proxies.iter().map(Process::id).collect(),
        };
        let side = Side { address: entry, ..side };
        let told = Process::role(&Role::Client(side, load))?.line()?;
        let outcome: Outcome = serde_json::from_str(&told).map_err(|error| format!("`{told}`: {error}"))?;
        checked(outcome)
    }

    /// Starts a service and a client that stay, without proxies: the service first.
    pub(crate) fn pair(&self, cell: Cell) -> Result<[Process; 2], String> {
        let directory = self.directory.join(format!("turns-{}", cell.name().replace('/', "-")));
        fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
        let [service] = free_ports()?;
        let side = self.side(cell, service, &directory)?;
        let mut server = Process::role(&Role::Server(side.clone()))?;
        server.line()?;
        let mut client = Process::role(&Role::Turns(side))?;
        client.line()?;
        Ok([server, client])
    }

    /// As many requests as go through the bare pair: tells how fast the machine is just now.
    pub(crate) fn control(&self, plan: Plan) -> Result<Outcome, String> {
        let fixed = Duration::ZERO;
        self.run(Cell::CONTROL, Plan { fixed, ..plan })
    }

    fn side(&self, cell: Cell, address: SocketAddr, directory: &Path) -> Result<Side, String> {
        let policy = directory.join("mesh.yaml");
        if cell.configuration.flavour() == Flavour::Mesh {
            let text = policy_text(cell, address, &directory.join("access.log"));
            fs::write(&policy, text).map_err(|error| error.to_string())?;
        }
        Ok(Side {
            flavour: cell.configuration.flavour(),
            traffic: cell.traffic,
            is_tls: cell.configuration.is_tls_of_the_process(),
            address,
            identities: self.identities.clone(),
            policy,
            workers: self.workers,
        })
    }

    /// The proxies, started from the service on, and where the client finds the first of them.
    fn proxies(
        &self,
        cell: Cell,
        service: SocketAddr,
        ports: [SocketAddr; 2],
        directory: &Path,
    ) -> Result<(Vec<Process>, SocketAddr), String> {
        let Some(product) = cell.configuration.product() else {
            return Ok((Vec::new(), service));
        };
        let (mut processes, mut upstream) = (Vec::new(), service);
        let is_http2 = cell.traffic.is_http2();
        let is_between = is_http2_between(cell.configuration, cell.traffic);
        for (&place, listen) in places(cell.configuration).iter().rev().zip(ports) {
            let link = Link {
                place,
                listen,
                upstream,
                is_http2: if place == Place::Inbound { is_between } else { is_http2 },
                is_upstream_http2: if place == Place::Outbound { is_between } else { is_http2 },
                identities: &self.identities,
                directory,
            };
            processes.push(Process::proxy(self.peers.command(product, &link)?, listen)?);
            upstream = listen;
        }
        Ok((processes, upstream))
    }
}

fn policy_text(cell: Cell, service: SocketAddr, log: &Path) -> String {
    let (mtls, from) = match cell.configuration.is_encrypted() {
        true => ("strict", "from: [cluster.local/ns/shop/sa/web], "),
        false => ("disable", ""),
    };
    let http = if cell.traffic.is_http2() { "h2" } else { "h1" };
    let values = [
        ("@MTLS@", mtls),
        ("@FROM@", from),
        ("@HTTP@", http),
        ("@SERVER@", &service.to_string()),
        ("@LOG@", &log.display().to_string()),
    ];
    let fill = |text: String, (key, value): (&str, &str)| text.replace(key, value);
    values.into_iter().fold(POLICY.to_owned(), fill)
}

/// Fewer requests cost less, so that a run with failures would flatter.
pub(crate) fn checked(outcome: Outcome) -> Result<Outcome, String> {
    let complaint = |failures: &Failures| {
        let first = failures.first.as_ref()?;
        Some(format!(
            "{} requests failed, the first one with: {first}",
            failures.count
        ))
    };
    let at_rate = outcome.fixed.as_ref().and_then(|fixed| complaint(&fixed.failures));
    match complaint(&outcome.saturation.failures).or(at_rate) {
        None => Ok(outcome),
        Some(why) => Err(why),
    }
}
