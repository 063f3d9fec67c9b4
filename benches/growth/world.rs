//! A directory with policies and identities, for processes to share.

use std::path::Path;
use std::time::{Duration, SystemTime};

use mesh_core::identity::{SpiffeId, TrustDomain};
use mesh_tls::authority::DevCa;
use tempfile::TempDir;

const DAY: Duration = Duration::from_secs(86_400);

/// A directory with a policy, and identities for `orders`, who serves, and `web`, who calls.
pub(crate) fn directory(policy: Option<&str>) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    if let Some(policy) = policy {
        write(directory.path(), "policy", policy);
    }
    let domain = TrustDomain::parse("cluster.local").unwrap();
    let ca = DevCa::new(domain, SystemTime::now()).unwrap();
    for account in ["orders", "web"] {
        issue(&ca, account, directory.path());
    }
    directory
}

/// Writes a file of the policy, as a tool would that spares its readers half a file.
pub(crate) fn write(directory: &Path, name: &str, text: &str) {
    let (folder, new) = (directory.join("policy"), directory.join("new"));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, folder.join(format!("{name}.yaml"))).unwrap();
}

fn issue(ca: &DevCa, account: &str, directory: &Path) {
    let id = SpiffeId::for_workload(ca.trust_domain(), "shop", account).unwrap();
    let folder = directory.join(account);
    ca.write_workload(folder, &id, DAY, SystemTime::now()).unwrap();
}
