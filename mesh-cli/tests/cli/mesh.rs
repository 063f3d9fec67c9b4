//! A directory of policies and the command run on it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// What a run printed, and its exit code.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    /// The answer of a run with `-o json`.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// The lines after a label of an answer for people.
    #[track_caller]
    pub(crate) fn fact(&self, label: &str) -> Vec<&str> {
        let mut lines = self
            .out
            .lines()
            .skip_while(|line| !line.starts_with(&format!("{label} ")));
        let first = lines.next().unwrap_or_else(|| panic!("no `{label}`: {self:#?}"));
        let rest = lines.take_while(|line| line.starts_with(' '));
        std::iter::once(&first[label.len()..])
            .chain(rest)
            .map(str::trim)
            .collect()
    }
}

/// Runs the command in `directory`, with `input` to read.
pub(crate) fn run_in(directory: &Path, arguments: &[&str], input: &str) -> Run {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mesh"))
        .args(arguments)
        .current_dir(directory)
        .env_remove("NO_COLOR")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A run that ends on wrong usage closes its input unread.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Run {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A directory that holds policies in `policy/`.
pub(crate) struct Folder(TempDir);

impl Folder {
    /// With these files in `policy/`.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(folder.policy()).unwrap();
        for (name, text) in files {
            folder.write(name, text.as_bytes());
        }
        folder
    }

    /// The directory that the command runs in.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn policy(&self) -> PathBuf {
        self.0.path().join("policy")
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.policy().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        // Whatever the umask is: the command remarks on files that anybody can write.
        #[cfg(unix)]
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    }

    /// Runs the command beside `policy/`.
    pub(crate) fn mesh(&self, arguments: &[&str]) -> Run {
        run_in(self.0.path(), arguments, "")
    }

    /// Runs the command with an input.
    pub(crate) fn mesh_reading(&self, arguments: &[&str], input: &str) -> Run {
        run_in(self.0.path(), arguments, input)
    }

    /// Explains by the policy, for programs.
    pub(crate) fn explain(&self, arguments: &[&str]) -> Run {
        self.mesh(&[&["explain", "-o", "json", "--policy", "policy"], arguments].concat())
    }

    /// Explains by the policy, for people.
    pub(crate) fn tell(&self, arguments: &[&str]) -> Run {
        self.mesh(&[&["explain", "--policy", "policy"], arguments].concat())
    }
}

/// The keys of an object, in the order in which they were printed or sorted.
#[track_caller]
pub(crate) fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}
