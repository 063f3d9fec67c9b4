//! Policy tests: files that say what a policy must do to requests, tried without a network.
//!
//! `docs/testing.md` describes the files, `mesh test` runs them from a shell, and this module from `cargo test`:
//!
//! ```no_run
//! #[test]
//! fn policies() -> Result<(), mesh_tower::testing::PolicyTestFailure> {
//!     mesh_tower::testing::policy_tests("policy-tests").into_result()
//! }
//! ```
//!
//! All decisions are [`mesh_core::trial`]'s, which needs texts; here they are read.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use mesh_core::trial::{Selection, TrialReport, run_selected};

use crate::reload::watch::{PolicyFile, PolicyFiles, ReadError};

/// What became of the tests of some files.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PolicyTests {
    /// The files, by name.
    pub reports: Vec<TrialReport>,
    /// Why files could not be read; then none was tried.
    pub unread: Option<ReadError>,
    /// What is unsafe about the files themselves.
    pub warnings: Vec<String>,
}

/// Policy tests that have not all passed. Both its forms say which, and why.
#[derive(Clone)]
pub struct PolicyTestFailure(PolicyTests);

/// Tries a file of policy tests, or all of a directory: `*.yaml`, `*.yml` and `*.json`, those of its subdirectories, too.
///
/// A relative path is one of the working directory, which in `cargo test` is the package's. The policies that a file
/// names are read relative to that file. Blocks.
#[must_use]
pub fn policy_tests(path: impl AsRef<Path>) -> PolicyTests {
    selected_tests([path.as_ref()], Selection::All)
}

/// Tries some tests of files and directories.
#[must_use]
pub fn selected_tests<P: Into<PathBuf>>(paths: impl IntoIterator<Item = P>, selection: Selection<'_>) -> PolicyTests {
    let mut tests = PolicyTests::default();
    match PolicyFiles::new(paths).read() {
        Ok(set) => {
            let report = |file: &PolicyFile| {
                let base = Path::new(&file.name).parent().unwrap_or_else(|| Path::new(""));
                tests_of(&file.name, &file.bytes, base, selection)
            };
            tests.reports = set.files.iter().map(report).collect();
            tests.warnings = set.warnings;
        }
        Err(error) => tests.unread = Some(error),
    }
    tests
}

/// Tries the tests of one text; the policies that it names are read relative to the directory `base`.
#[must_use]
pub fn tests_of(name: &str, bytes: &[u8], base: &Path, selection: Selection<'_>) -> TrialReport {
    run_selected(name, bytes, selection, &mut |path| {
        let set = PolicyFiles::new([tidy(&base.join(path))]).read();
        let files = set.map_err(|error| error.to_string())?.files;
        Ok(files.into_iter().map(|file| (file.name, file.bytes)).collect())
    })
}

/// Directories that hold no tests of one's own, below which [`find_tests`] does not look.
const PASSED_OVER: [&str; 2] = ["target", "node_modules"];
/// How deep [`find_tests`] looks.
const DEPTH: usize = 16;

/// The files `*.test.yaml` and `*.test.yml` below a directory, by name; not below `target`, `node_modules`, links, and
/// names that start with a dot.
///
/// # Errors
///
/// Where a directory cannot be read.
pub fn find_tests(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    look(root, DEPTH, &mut found)?;
    found.sort();
    Ok(found)
}

fn look(directory: &Path, depth: usize, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type()?;
        let path = match directory == Path::new(".") {
            true => PathBuf::from(entry.file_name()),
            false => entry.path(),
        };
        if name.starts_with('.') || kind.is_symlink() {
            continue;
        }
        if kind.is_dir() && depth > 0 && !PASSED_OVER.contains(&name.as_str()) {
            look(&path, depth - 1, found)?;
        } else if kind.is_file() && [".test.yaml", ".test.yml"].iter().any(|end| name.ends_with(end)) {
            found.push(path);
        }
    }
    Ok(())
}

/// The same place without `a/..`, for messages; a link may lead elsewhere, and is left alone.
fn tidy(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for part in path.components() {
        let is_plain = matches!(tidy.components().next_back(), Some(Component::Normal(_)));
        match part {
            Component::ParentDir if is_plain && !tidy.is_symlink() => {
                tidy.pop();
            }
            Component::CurDir => {}
            part => tidy.push(part),
        }
    }
    match tidy.as_os_str().is_empty() {
        true => PathBuf::from("."),
        false => tidy,
    }
}

impl PolicyTests {
    /// Whether all files could be read and all tests have passed, of which there must be one.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.unread.is_none() && self.passed() > 0 && self.reports.iter().all(TrialReport::is_ok)
    }

    /// How many tests have passed.
    #[must_use]
    pub fn passed(&self) -> usize {
        self.reports.iter().map(TrialReport::passed).sum()
    }

    /// The same as a result, for a test function to return.
    ///
    /// # Errors
    ///
    /// [`PolicyTestFailure`] unless [`is_ok`](Self::is_ok).
    pub fn into_result(self) -> Result<(), PolicyTestFailure> {
        match self.is_ok() {
            true => Ok(()),
            false => Err(PolicyTestFailure(self)),
        }
    }
}

impl fmt::Display for PolicyTests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(unread) = &self.unread {
            return unread.fmt(f);
        }
        let mut reports = self.reports.iter();
        if let Some(first) = reports.next() {
            first.fmt(f)?;
        }
        reports.try_for_each(|report| write!(f, "\n{report}"))
    }
}

impl PolicyTestFailure {
    /// All tests, those that have passed among them.
    #[must_use]
    pub const fn tests(&self) -> &PolicyTests {
        &self.0
    }
}

impl fmt::Display for PolicyTestFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The text, as this is what `cargo test` prints of a test that returns it.
impl fmt::Debug for PolicyTestFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "policy tests\n{}", self.0)
    }
}

impl std::error::Error for PolicyTestFailure {}

/// Keeps the guide's code true.
#[cfg(doctest)]
#[doc = include_str!("../../docs/testing.md")]
pub struct Guide;

#[cfg(test)]
mod tests {
    use super::*;

    fn written(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    const TEST: &str =
        "policy: ../policy\ntests:\n  - { name: it, outbound: { url: http://orders/ }, expect: { outcome: routed } }\n";
    const POLICY: &str = "services: { orders: { endpoints: [10.0.0.4:8080] } }\n";

    #[test]
    fn tests_and_their_policies_are_read_from_files() {
        let folder = written(&[("tests/a.test.yaml", TEST), ("policy/shop.yaml", POLICY)]);
        let tests = policy_tests(folder.path().join("tests"));
        assert!(tests.is_ok() && tests.passed() == 1, "{tests}");
        assert!(tests.into_result().is_ok());
    }

    #[test]
    fn a_failure_says_in_both_its_forms_what_is_wrong() {
        let wrong = TEST.replace("routed", "refused");
        let folder = written(&[("tests/a.test.yaml", &wrong), ("policy/shop.yaml", POLICY)]);
        let failure = policy_tests(folder.path().join("tests")).into_result().unwrap_err();
        for text in [failure.to_string(), format!("{failure:?}")] {
            assert!(text.contains("expected \"refused\"\n    found    \"routed\""), "{text}");
        }
        assert_eq!(failure.tests().reports.len(), 1);
    }

    #[test]
    fn nothing_to_try_is_no_success() {
        let folder = written(&[("empty/readme.md", "")]);
        for path in ["missing", "empty"] {
            let tests = policy_tests(folder.path().join(path));
            assert!(!tests.is_ok() && tests.unread.is_some(), "{tests}");
        }
    }

    #[test]
    fn tests_are_found_by_their_names() {
        let folder = written(&[
            ("b.test.yml", ""),
            ("a/x.test.yaml", ""),
            ("a/x.yaml", ""),
            (".git/y.test.yaml", ""),
            ("target/z.test.yaml", ""),
        ]);
        let found = find_tests(folder.path()).unwrap();
        let names: Vec<_> = found
            .iter()
            .map(|path| path.strip_prefix(folder.path()).unwrap())
            .collect();
        assert_eq!(names, [Path::new("a/x.test.yaml"), Path::new("b.test.yml")]);
    }

    #[test]
    fn places_are_told_without_detours() {
        for (path, told) in [("a/../b", "b"), ("../b", "../b"), ("a/./b", "a/b"), ("a/..", ".")] {
            assert_eq!(tidy(Path::new(path)), Path::new(told));
        }
    }
}
