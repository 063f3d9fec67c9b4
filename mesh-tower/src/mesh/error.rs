use std::fmt;
use std::io;

use mesh_core::policy::Loaded;
use mesh_core::policy::diagnostic::Paint;
use mesh_core::snapshot::CompileError;
use mesh_tls::source::SourceError;

use crate::reload::watch::ReadError;

/// Why a mesh cannot start. Nothing runs then: a first policy that is bad is never "no policy".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// No place of policy files was given.
    #[error("no policy: name its files or directories with `MeshBuilder::policy`")]
    NoPolicy,
    /// The files cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The files are no policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The identity is not usable.
    #[error("identity cannot be used: {0}")]
    Identity(#[from] SourceError),
    /// The development authority is not usable.
    #[cfg(feature = "authority")]
    #[error("identity cannot be used: {0}")]
    Authority(#[from] mesh_tls::authority::AuthorityError),
    /// The workload's names make no identity.
    #[cfg(feature = "authority")]
    #[error("the workload has no identity: its id {0}")]
    NoId(#[from] mesh_core::identity::SpiffeIdError),
    /// The admin listener cannot be opened.
    #[error("admin listener cannot be opened: {0}")]
    Admin(#[source] io::Error),
    /// The access log cannot be opened.
    #[error("access log cannot be opened: {0}")]
    AccessLog(#[source] io::Error),
}

/// Why a set of files is not put in force.
#[derive(Debug)]
#[non_exhaustive]
pub enum PolicyError {
    /// The report has errors.
    Invalid(Box<Loaded>),
    /// It does not compile.
    Compile(CompileError),
}

impl PolicyError {
    /// One line for each reason: `file:line:column: error[CODE]: message`.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Invalid(loaded) => loaded.report.lines(&loaded.sources),
            Self::Compile(error) => vec![error.to_string()],
        }
    }
}

/// All diagnostics with the text that they speak of.
impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(loaded) => {
                writeln!(f, "policy not accepted: {}", loaded.report.summary())?;
                f.write_str(&loaded.report.render(&loaded.sources, Paint::Plain))
            }
            Self::Compile(error) => write!(f, "policy not accepted: {error}"),
        }
    }
}

impl std::error::Error for PolicyError {}
