//! Policy files: read by the rules of the running service, and compiled by its code.

use std::io::Read;
use std::path::{Path, PathBuf};

use mesh_core::policy::Loaded;
use mesh_core::policy::convert::{self, Tree};
use mesh_core::policy::diagnostic::{Code, Diagnostic, JsonReport, Paint, Place, Report};
use mesh_core::policy::model::Policy;
use mesh_core::policy::source::Sources;
use mesh_core::snapshot::{CompileError, Snapshot};
use mesh_core::workload::Workload;
use mesh_tower::reload::watch::{FILE_LIMIT, FileSet, PolicyFiles, ReadError};

use crate::Failure;

/// The path that stands for the standard input.
const STDIN_PATH: &str = "-";
/// What the standard input is called in messages.
const STDIN_NAME: &str = "<stdin>";

/// What the files hold, and what is to be said about them.
#[derive(Debug)]
pub(crate) struct PolicyText {
    /// The policy, unless it has errors.
    pub(crate) policy: Option<Policy>,
    sources: Sources,
    /// All problems.
    pub(crate) report: Report,
    /// How many files there are.
    pub(crate) files: usize,
    /// What is unsafe about the files themselves.
    pub(crate) remarks: Vec<String>,
}

impl PolicyText {
    /// Reads files and directories; `-` is the standard input.
    ///
    /// # Errors
    ///
    /// Where something cannot be read or there is nothing to read. That a policy is none is no error here: the report
    /// says so.
    pub(crate) fn read(paths: &[PathBuf]) -> Result<Self, Failure> {
        let is_stdin = |path: &&PathBuf| path.as_path() == Path::new(STDIN_PATH);
        let stdin = paths.iter().any(|path| is_stdin(&path));
        let named: Vec<&PathBuf> = paths.iter().filter(|path| !is_stdin(path)).collect();
        let set = match (stdin, named.as_slice()) {
            (true, []) => None,
            _ => match PolicyFiles::new(named).read() {
                Ok(set) => Some(set),
                Err(error) => return Self::unread(error),
            },
        };
        let input = if stdin { Some(read_stdin()?) } else { None };
        Ok(Self::load(set, input))
    }

    fn load(set: Option<FileSet>, input: Option<Vec<u8>>) -> Self {
        let (files, remarks) = set.map_or_else(Default::default, |set| (set.files, set.warnings));
        let files = files.into_iter().map(|file| (file.name, file.bytes));
        let files: Vec<_> = files.chain(input.map(|bytes| (STDIN_NAME.into(), bytes))).collect();
        let count = files.len();
        let Loaded {
            policy,
            sources,
            report,
            ..
        } = Loaded::from_files(files);
        Self {
            policy,
            sources,
            report,
            files: count,
            remarks,
        }
    }

    /// A file beyond the limit is there, but is no policy.
    fn unread(error: ReadError) -> Result<Self, Failure> {
        let (ReadError::TooLarge { path, limit } | ReadError::TotalTooLarge { path, limit }) = &error else {
            return Err(error.into());
        };
        let place = Place::Path(path.to_string_lossy().into());
        let message = match &error {
            ReadError::TooLarge { .. } => format!("the file is larger than {limit} bytes"),
            _ => format!("the files up to this one are larger than {limit} bytes together"),
        };
        let mut report = Report::new();
        report.push(Diagnostic::new(Code::TOO_LARGE, place, message).with_help(Code::TOO_LARGE.explanation()));
        Ok(Self {
            policy: None,
            sources: Sources::new(),
            report,
            files: 1,
            remarks: Vec::new(),
        })
    }

    /// What the policy means for a workload; `None`, with the reasons in the report, where it means nothing.
    pub(crate) fn compile(&mut self, workload: &Workload) -> Option<Snapshot> {
        match Snapshot::compile(self.policy.as_ref()?, workload, 1) {
            Ok(snapshot) => Some(snapshot),
            Err(error) => {
                for diagnostic in uncompiled(&error) {
                    self.report.push(diagnostic);
                }
                None
            }
        }
    }

    /// The policy in the native dialect; `None` where it has errors.
    pub(crate) fn native(&self) -> Option<Vec<Tree>> {
        let policy = self.policy.as_ref()?;
        Some(convert::documents(policy, &self.report, &self.sources))
    }

    /// The report for people.
    pub(crate) fn render(&self, paint: Paint) -> String {
        self.report.render(&self.sources, paint)
    }

    /// The report for programs.
    pub(crate) fn json(&self) -> JsonReport {
        self.report.json(&self.sources)
    }

    /// The files that are text, in order.
    pub(crate) fn file_names(&self) -> Vec<&str> {
        self.sources.iter().map(|(_, file)| &**file.name()).collect()
    }
}

fn uncompiled(error: &CompileError) -> Vec<Diagnostic> {
    let diagnostic = |place, message: String| Diagnostic::new(Code::INVALID_POLICY, place, message);
    match error {
        CompileError::Match { origin, source, .. } => vec![diagnostic(Place::from(origin), source.to_string())],
        CompileError::Shape { origin, source, .. } => vec![diagnostic(Place::from(origin), source.to_string())],
        CompileError::Authorization(rules) => rules
            .iter()
            .map(|rule| diagnostic(Place::from(&rule.origin), rule.reason.to_string()))
            .collect(),
        other => vec![diagnostic(Place::Nowhere, other.to_string())],
    }
}

/// Reads one byte more than a policy may have, so that the loader sees that it is too large.
fn read_stdin() -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(FILE_LIMIT + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
