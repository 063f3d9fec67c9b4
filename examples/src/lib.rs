//! What the examples share: a directory for policies and identities, which goes with the example.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use http_body_util::BodyExt;
use mesh_core::identity::{SpiffeId, TrustDomain};
use mesh_core::workload::Workload;
use mesh_tls::authority::DevCa;
use mesh_tower::mesh::MeshBuilder;
use mesh_tower::{Body, Mesh};
use tempfile::TempDir;

/// How long the identities of an example are valid.
const HOUR: Duration = Duration::from_secs(3600);

/// A directory with a policy and with identities of a development CA.
#[derive(Debug)]
pub struct Workshop {
    directory: TempDir,
    ca: DevCa,
}

impl Workshop {
    /// An empty one.
    ///
    /// # Errors
    ///
    /// Where there is no place for temporary files.
    pub fn open() -> anyhow::Result<Self> {
        let domain = TrustDomain::parse("cluster.local")?;
        Ok(Self {
            directory: tempfile::tempdir()?,
            ca: DevCa::new(domain, SystemTime::now())?,
        })
    }

    /// Where the policies are.
    #[must_use]
    pub fn policies(&self) -> PathBuf {
        self.directory.path().join("policy")
    }

    /// Writes a policy file in one step, as deployments should.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let draft = self.directory.path().join("draft");
        std::fs::create_dir_all(self.policies())?;
        std::fs::write(&draft, text)?;
        Ok(std::fs::rename(draft, self.policies().join(name))?)
    }

    /// Describes the mesh of a workload with an identity of its own.
    ///
    /// # Errors
    ///
    /// Those of the authority.
    pub fn builder(&self, workload: Workload) -> anyhow::Result<MeshBuilder> {
        let directory = self.identity(&workload.namespace, &workload.service_account)?;
        let builder = Mesh::builder().policy(self.policies()).identity_directory(directory);
        Ok(builder.workload(workload).without_admin())
    }

    /// Issues an identity into a directory, where [`MeshBuilder::identity_directory`] finds it.
    ///
    /// # Errors
    ///
    /// Those of the authority.
    pub fn identity(&self, namespace: &str, account: &str) -> anyhow::Result<PathBuf> {
        let id = SpiffeId::for_workload(self.ca.trust_domain(), namespace, account)?;
        let directory = self.directory.path().join(namespace).join(account);
        self.ca.write_workload(&directory, &id, HOUR, SystemTime::now())?;
        Ok(directory)
    }

    /// The directory of everything.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// Reads a response to its end.
///
/// # Errors
///
/// Where it breaks off.
pub async fn text(response: http::Response<Body>) -> anyhow::Result<String> {
    let bytes = response
        .into_body()
        .collect()
        .await
        .map_err(anyhow::Error::from_boxed)?
        .to_bytes();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use mesh_tower::testing::{PolicyTestFailure, policy_tests};

    #[test]
    fn policies_do_what_their_tests_say() -> Result<(), PolicyTestFailure> {
        policy_tests("policy-tests").into_result()
    }
}
