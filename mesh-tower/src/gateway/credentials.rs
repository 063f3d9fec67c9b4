//! Certificates of gateways, by `credentialName`.

use std::collections::{BTreeMap, BTreeSet};
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
use tokio::time::Instant;

use crate::server::secure::OFFERED;

type Configured = Result<Arc<WebServerConfig>, String>;
type Opened = BTreeMap<String, Result<Open, Missing>>;

/// The certificates of a process's gateways, read when they are first needed and followed as long as the policy names them.
pub(crate) struct Credentials {
    root: Option<PathBuf>,
    poll: Duration,
    opened: Mutex<Opened>,
    ports: ArcSwap<FxHashMap<u16, PortTls>>,
}

/// The TLS of a port, made for one generation of the policy.
#[derive(Clone)]
struct PortTls {
    generation: u64,
    config: Configured,
    /// Why some of its hosts are not served; they have been logged.
    faults: Arc<[String]>,
    /// When to look for their certificates again.
    again: Option<Instant>,
}

impl PortTls {
    fn is_current(&self, generation: u64) -> bool {
        self.generation == generation && self.again.is_none_or(|again| Instant::now() < again)
    }

    /// Whether a policy still asks for it, or it says what has been logged of its port.
    fn is_of_use(&self, snapshot: &Snapshot, number: u16) -> bool {
        let is_tls = tls_of(snapshot, number).next().is_some();
        is_tls && (self.generation >= snapshot.generation || !self.faults.is_empty())
    }
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

/// A credential that could not be read, and when to try again.
struct Missing {
    error: String,
    again: Instant,
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
            opened: Mutex::default(),
            ports: ArcSwap::default(),
        }
    }

    /// The TLS of a gateway port; `None` where it is plain text. Hosts without a usable certificate are left out, and a
    /// port that has no other refuses all handshakes: what is to be TLS is never plain.
    pub(super) fn of_port(&self, snapshot: &Snapshot, number: u16) -> Option<Configured> {
        let mut servers = tls_of(snapshot, number).peekable();
        servers.peek()?;
        if let Some(known) = self.known(snapshot, number) {
            return Some(known);
        }
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        // Another connection may have been first: one of them reads the files, and logs.
        if let Some(known) = self.known(snapshot, number) {
            return Some(known);
        }
        let made = self.configure(servers, snapshot.generation, &mut opened);
        self.log_new(number, &made);
        self.ports.rcu(|known| {
            let mut ports = FxHashMap::clone(known);
            ports.insert(number, made.clone());
            ports
        });
        Some(made.config)
    }

    /// Forgets the certificates that the policy in force does not name: their files are no longer read, nor their keys kept.
    pub(crate) fn retire(&self, in_force: impl FnOnce() -> Arc<Snapshot>) {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        // ORDER: asked while nobody can open any, so that what a newer policy has opened is named.
        let snapshot = in_force();
        let ports = snapshot.gateways.iter().flat_map(|gateway| &gateway.ports);
        let servers = ports.flat_map(|port| &port.tls);
        let named: BTreeSet<&str> = servers.map(|server| &*server.tls.credential_name).collect();
        opened.retain(|name, _| named.contains(&**name));
        self.ports.rcu(|known| {
            let mut ports = FxHashMap::clone(known);
            ports.retain(|number, made| made.is_of_use(&snapshot, *number));
            ports
        });
    }

    fn known(&self, snapshot: &Snapshot, number: u16) -> Option<Configured> {
        let ports = self.ports.load();
        let known = ports.get(&number)?;
        known.is_current(snapshot.generation).then(|| known.config.clone())
    }

    fn configure<'s>(
        &self,
        servers: impl Iterator<Item = &'s GatewayVirtualTls>,
        generation: u64,
        opened: &mut Opened,
    ) -> PortTls {
        let (mut hosts, mut faults) = (Vec::new(), Vec::new());
        for server in servers {
            let at = &server.tls.origin;
            match self.credential(&server.tls.credential_name, opened) {
                Ok(credential) => served(server, &credential, &mut hosts, &mut faults),
                Err(error) => faults.push(format!("{at}: {error}")),
            }
        }
        let config = WebServerConfig::by_host(hosts, &OFFERED).map_err(|error| error.to_string());
        faults.extend(config.as_ref().err().cloned());
        PortTls {
            generation,
            config: config.map(Arc::new),
            again: (!faults.is_empty()).then(|| Instant::now() + self.poll),
            faults: faults.into(),
        }
    }

    /// Each fault is logged when it appears or changes, not at every look.
    fn log_new(&self, number: u16, made: &PortTls) {
        let ports = self.ports.load();
        let before = ports.get(&number).map(|known| &*known.faults).unwrap_or_default();
        for fault in made.faults.iter().filter(|fault| !before.contains(fault)) {
            tracing::error!(port = number, %fault, "hosts of a gateway have no usable certificate");
        }
    }

    fn credential(&self, name: &str, opened: &mut Opened) -> Result<WebCredential, String> {
        match opened.get(name) {
            Some(Ok(open)) => return Ok(open.credential.clone()),
            Some(Err(missing)) if Instant::now() < missing.again => return Err(missing.error.clone()),
            _ => {}
        }
        let open = self.open(name);
        let credential = open.as_ref().map(|open| open.credential.clone()).map_err(Clone::clone);
        let again = Instant::now() + self.poll;
        opened.insert(name.to_owned(), open.map_err(|error| Missing { error, again }));
        credential
    }

    fn open(&self, name: &str) -> Result<Open, String> {
        let files =
            CredentialFiles::open(self.folder(name)?).map_err(|error| format!("credential `{name}`: {error}"))?;
        let credential = files.credential();
        let watch = Handle::try_current()
            .ok()
            .map(|runtime| runtime.spawn(files.watch(self.poll)).abort_handle());
        Ok(Open { credential, watch })
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

/// Adds the hosts of a server that clients can ask for.
fn served(
    server: &GatewayVirtualTls,
    credential: &WebCredential,
    hosts: &mut Vec<(HostPattern, WebCredential)>,
    faults: &mut Vec<String>,
) {
    for host in &server.hosts {
        // Policies may write a final dot; clients send none.
        match HostPattern::parse(host.trim_end_matches('.')) {
            Some(pattern) => hosts.push((pattern, credential.clone())),
            None => faults.push(format!("{}: no client can ask for `{host}`", server.tls.origin)),
        }
    }
}

fn tls_of(snapshot: &Snapshot, number: u16) -> impl Iterator<Item = &GatewayVirtualTls> {
    let ports = snapshot.gateways.iter().flat_map(|gateway| &gateway.ports);
    ports
        .filter(move |port| port.number == number)
        .flat_map(|port| &port.tls)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use mesh_core::identity::TrustDomain;
    use mesh_core::policy::Loaded;
    use mesh_core::workload::Workload;
    use mesh_tls::authority::DevCa;

    use super::*;

    const POLL: Duration = Duration::from_secs(10);
    const DOOR: &str = "namespace: shop\ngateways:\n  door:\n    servers: [{ port: 443, hosts: [shop.example.com], tls: { credential: shop } }]\n";

    fn door(generation: u64) -> Snapshot {
        let loaded = Loaded::from_files([("door.yaml", DOOR)]);
        Snapshot::compile(&loaded.policy.unwrap(), &Workload::new("shop", "door"), generation).unwrap()
    }

    /// A door with a port for each credential, from 8443 on.
    fn doors(credentials: &[&str], generation: u64) -> Arc<Snapshot> {
        let server = |(at, name)| {
            format!(
                "{{ port: {}, hosts: [{name}.test], tls: {{ credential: {name} }} }}",
                8443 + at
            )
        };
        let servers: Vec<_> = credentials.iter().enumerate().map(server).collect();
        let text = format!(
            "namespace: shop\ngateways: {{ door: {{ servers: [{}] }} }}\n",
            servers.join(", ")
        );
        let loaded = Loaded::from_files([("door.yaml", text)]);
        let compiled = Snapshot::compile(&loaded.policy.unwrap(), &Workload::new("shop", "door"), generation);
        Arc::new(compiled.unwrap())
    }

    /// The folders of credentials of these names.
    fn issued(names: &[&str]) -> tempfile::TempDir {
        let (root, now) = (tempfile::tempdir().unwrap(), SystemTime::now());
        let authority = DevCa::new(TrustDomain::parse("shop.test").unwrap(), now).unwrap();
        for name in names {
            let issued = authority.issue_web(&[&format!("{name}.test")], Duration::from_secs(3600), now);
            let (folder, issued) = (root.path().join(name), issued.unwrap());
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join("tls.crt"), issued.chain_pem).unwrap();
            std::fs::write(folder.join("tls.key"), issued.key_pem).unwrap();
        }
        root
    }

    #[tokio::test(start_paused = true)]
    async fn what_no_policy_in_force_names_is_no_longer_followed() {
        let root = issued(&["kept", "gone"]);
        let credentials = Credentials::new(Some(root.path().into()), POLL);
        let (first, second) = (doors(&["kept", "gone"], 1), doors(&["kept"], 2));
        for port in [8443, 8444] {
            credentials.of_port(&first, port).unwrap().unwrap();
        }
        let watch = |name| match &credentials.opened.lock().unwrap()[name] {
            Ok(open) => open.watch.clone().unwrap(),
            Err(missing) => panic!("{}", missing.error),
        };
        let (kept, gone) = (watch("kept"), watch("gone"));

        credentials.of_port(&second, 8443).unwrap().unwrap();
        credentials.retire(|| Arc::clone(&second));
        tokio::task::yield_now().await;

        assert!(gone.is_finished() && !kept.is_finished());
        assert!(credentials.opened.lock().unwrap().keys().eq(["kept"]));
        assert!(credentials.ports.load().keys().eq(&[8443]));
        credentials.retire(|| doors(&["kept"], 3));
        assert!(
            credentials.ports.load().is_empty(),
            "what was made for older policies is of no use"
        );
        assert!(!kept.is_finished());
    }

    fn error_of(credentials: &Credentials) -> String {
        let opened = credentials.opened.lock().unwrap();
        opened["shop"].as_ref().err().unwrap().error.clone()
    }

    #[tokio::test(start_paused = true)]
    async fn a_credential_that_fails_is_read_once_a_poll() {
        let root = tempfile::tempdir().unwrap();
        let credentials = Credentials::new(Some(root.path().into()), POLL);
        let port = |generation| credentials.of_port(&door(generation), 443).unwrap().unwrap();

        let first = port(1);
        let missing = error_of(&credentials);
        let folder = root.path().join("shop");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("tls.crt"), "broken").unwrap();
        std::fs::write(folder.join("tls.key"), "broken").unwrap();
        tokio::time::advance(POLL / 2).await;

        assert!(Arc::ptr_eq(&first, &port(1)), "nothing is made anew");
        port(2);
        assert_eq!(error_of(&credentials), missing, "a reload reads no files again");
        tokio::time::advance(POLL).await;
        assert!(!Arc::ptr_eq(&first, &port(2)));
        assert_ne!(error_of(&credentials), missing);
    }
}
