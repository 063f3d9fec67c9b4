//! Certificates of gateways, by `credentialName`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use mesh_core::snapshot::{GatewayVirtualTls, Snapshot};
use mesh_tls::web::{CredentialFiles, HostPattern, WebCredential, WebServerConfig};
use rustc_hash::FxHashMap;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::server::secure::OFFERED;

type Configured = Result<Arc<WebServerConfig>, String>;

/// The certificates of a process's gateways, read when they are first needed and followed from then on.
pub(crate) struct Credentials {
    root: Option<PathBuf>,
    poll: Duration,
    open: Mutex<BTreeMap<String, Open>>,
    /// By port; made for one generation of the policy.
    configs: ArcSwap<Configs>,
}

#[derive(Default)]
struct Configs {
    generation: u64,
    by_port: FxHashMap<u16, Configured>,
}

struct Open {
    credential: WebCredential,
    watch: Option<AbortHandle>,
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.abort();
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

impl Credentials {
    pub(crate) fn new(root: Option<PathBuf>, poll: Duration) -> Self {
        Self {
            root,
            poll,
            open: Mutex::default(),
            configs: ArcSwap::default(),
        }
    }

    /// The TLS of a gateway port; `None` where it is plain text.
    pub(super) fn of_port(&self, snapshot: &Snapshot, number: u16) -> Option<Configured> {
        let servers: Vec<&GatewayVirtualTls> = tls_of(snapshot, number).collect();
        if servers.is_empty() {
            return None;
        }
        let known = self.configs.load();
        if known.generation == snapshot.generation
            && let Some(config @ Ok(_)) = known.by_port.get(&number)
        {
            return Some(config.clone());
        }
        let config = self.configure(&servers);
        if let Err(error) = &config {
            tracing::error!(port = number, %error, "gateway port has no usable certificate");
        }
        self.configs.rcu(|known| {
            let is_current = known.generation == snapshot.generation;
            let mut by_port = if is_current {
                known.by_port.clone()
            } else {
                FxHashMap::default()
            };
            by_port.insert(number, config.clone());
            Configs {
                generation: snapshot.generation,
                by_port,
            }
        });
        Some(config)
    }

    fn configure(&self, servers: &[&GatewayVirtualTls]) -> Configured {
        let mut hosts = Vec::new();
        for server in servers {
            let credential = self.credential(&server.tls.credential_name)?;
            for host in &server.hosts {
                let pattern = HostPattern::parse(host).ok_or_else(|| format!("`{host}` is no host name"))?;
                hosts.push((pattern, credential.clone()));
            }
        }
        let config = WebServerConfig::by_host(hosts, &OFFERED).map_err(|error| error.to_string())?;
        Ok(Arc::new(config))
    }

    fn credential(&self, name: &str) -> Result<WebCredential, String> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = open.get(name) {
            return Ok(known.credential.clone());
        }
        let files =
            CredentialFiles::open(self.folder(name)?).map_err(|error| format!("credential `{name}`: {error}"))?;
        let credential = files.credential();
        let watch = Handle::try_current()
            .ok()
            .map(|runtime| runtime.spawn(files.watch(self.poll)).abort_handle());
        let opened = Open {
            credential: credential.clone(),
            watch,
        };
        open.insert(name.to_owned(), opened);
        Ok(credential)
    }

    /// The folder of a credential: a name, never a path.
    fn folder(&self, name: &str) -> Result<PathBuf, String> {
        let root = self.root.as_ref();
        let root =
            root.ok_or_else(|| format!("credential `{name}`: no folder is set with `MeshBuilder::credentials`"))?;
        let is_name = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
        if is_name {
            Ok(root.join(name))
        } else {
            Err(format!(
                "credential `{name}`: expected the name of a folder, not a path"
            ))
        }
    }
}

fn tls_of(snapshot: &Snapshot, number: u16) -> impl Iterator<Item = &GatewayVirtualTls> {
    let ports = snapshot.gateways.iter().flat_map(|gateway| &gateway.ports);
    ports
        .filter(move |port| port.number == number)
        .flat_map(|port| &port.tls)
}
