//! Why policy files could not be read.

use std::io;
use std::path::{Path, PathBuf};

/// Why a set of policy files could not be read. The policy in force stays so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A file or directory is not there, or a link leads nowhere.
    #[error("`{}` does not exist", path.display())]
    Missing {
        /// What is not there.
        path: PathBuf,
    },
    /// A directory holds no policy. That is never taken as a policy without rules.
    #[error("no policy in `{}`, expected at least one file `*.yaml`, `*.yml` or `*.json`", path.display())]
    Empty {
        /// The directory.
        path: PathBuf,
    },
    /// No path was given at all.
    #[error("no policy files are named")]
    NoPaths,
    /// Something has a policy's name and is no file.
    #[error("`{}` is {found}, expected a regular file", path.display())]
    NotRegular {
        /// What it is called.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// A file is too large to be a policy.
    #[error("`{}` is larger than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit, in bytes.
        limit: u64,
    },
    /// All files together are too large.
    #[error("the policy files up to `{}` are larger than {limit} bytes together", path.display())]
    TotalTooLarge {
        /// The file that went beyond the limit.
        path: PathBuf,
        /// The limit, in bytes.
        limit: u64,
    },
    /// There are too many files, or directories too deep in each other.
    #[error("`{}` goes beyond {limit} {what}", path.display())]
    TooMany {
        /// The first that was too many.
        path: PathBuf,
        /// What was counted.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The system refused.
    #[error("cannot read `{}`: {message}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What kind of refusal.
        kind: io::ErrorKind,
        /// The system's words.
        message: String,
    },
}

impl ReadError {
    /// Whether something that should be there is not: deleted, say, and perhaps soon restored.
    #[must_use]
    pub const fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::Empty { .. })
    }

    pub(super) fn from_io(path: &Path, error: &io::Error) -> Self {
        let path = path.to_path_buf();
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing { path },
            kind => Self::Io {
                path,
                kind,
                message: error.to_string(),
            },
        }
    }
}
