//! Reads sets of files one after the other, each time only the files that have changed.

use std::sync::Arc;

use super::check::Checked;
use super::diagnostic::Report;
use super::load::{Loaded, OtherMesh, Read, load_documents};
use super::model::MeshSettings;
use super::source::{FileId, SourceFile, Sources, parse};
use crate::workers::{self, Alone, Workers};

/// Reads the files of a policy again and again, and keeps what it can for the next time.
///
/// What it gives is what [`Loaded::from_files`] gives for the same files. Texts are compared with those of the last time; of
/// a file that has not changed neither the text is parsed again nor a native document lowered, and what was checked in
/// it alone is not checked again.
///
/// ```
/// use mesh_core::policy::Loader;
///
/// let mut loader = Loader::default();
/// let orders = ("orders.yaml", "services: { orders: { endpoints: [10.0.0.4:8080] } }");
/// let before = loader.load([orders, ("web.yaml", "services: { web: { endpoints: [10.0.0.5:80] } }")]);
/// let after = loader.load([orders, ("web.yaml", "services: { web: { endpoints: [10.0.0.6:80] } }")]);
/// assert_ne!(before.policy, after.policy);
/// ```
#[derive(Debug, Default)]
pub struct Loader {
    /// By their numbers; none of those that could not be read.
    files: Vec<Option<KnownFile>>,
    /// For which documents were lowered.
    mesh: MeshSettings,
    checked: Checked,
}

/// A file that was read.
#[derive(Debug)]
struct KnownFile {
    id: FileId,
    source: SourceFile,
    state: State,
    /// What is wrong with its syntax.
    problems: Report,
    documents: Vec<Read>,
}

/// Whether the text of a file was parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Parsed,
    New,
}

/// What is less is read before another thread has begun.
const WORTH_A_THREAD: usize = 64 << 10;

impl Loader {
    /// Reads the bytes of files, each with its name, in the order of the names.
    #[must_use]
    pub fn load<N: Into<Arc<str>>, B: AsRef<[u8]>>(&mut self, files: impl IntoIterator<Item = (N, B)>) -> Loaded {
        self.load_with(files, &Alone)
    }

    /// The same with the help of further threads, which changes nothing but the time that it takes: each file is parsed, and
    /// lowered, by one of them. What is small, or has hardly changed, needs no help.
    #[must_use]
    pub fn load_with<N: Into<Arc<str>>, B: AsRef<[u8]>>(
        &mut self,
        files: impl IntoIterator<Item = (N, B)>,
        workers: &dyn Workers,
    ) -> Loaded {
        let mut files: Vec<(Arc<str>, B)> = files.into_iter().map(|(name, bytes)| (name.into(), bytes)).collect();
        files.sort_by(|(left, _), (right, _)| left.cmp(right));
        self.load_sorted(&files, workers).unwrap_or_else(|OtherMesh| {
            self.files.clear();
            // Nothing is known now that could be of another mesh.
            self.load_sorted(&files, workers)
                .unwrap_or_else(|OtherMesh| Loaded::nothing())
        })
    }

    fn load_sorted<B: AsRef<[u8]>>(
        &mut self,
        files: &[(Arc<str>, B)],
        workers: &dyn Workers,
    ) -> Result<Loaded, OtherMesh> {
        let (mut sources, mut report) = (Sources::new(), Report::new());
        let mut before = std::mem::take(&mut self.files).into_iter();
        let mut add = |(name, bytes): &(Arc<str>, B)| {
            let known = before.next().flatten();
            KnownFile::add(name, bytes.as_ref(), known, &mut sources, &mut report)
        };
        self.files = files.iter().map(&mut add).collect();
        let is_new = |file: &&mut KnownFile| file.state == State::New;
        let mut new: Vec<&mut KnownFile> = self.files.iter_mut().flatten().filter(is_new).collect();
        let bytes: usize = new.iter().map(|file| file.source.text().len()).sum();
        let workers = if bytes < WORTH_A_THREAD { &Alone } else { workers };
        workers::for_each(workers, &mut new, |file| file.parse(&sources));
        let mut documents = Vec::new();
        for file in self.files.iter_mut().flatten() {
            report.append(file.problems.clone());
            documents.extend(&mut file.documents);
        }
        let (mesh, checked) = (&mut self.mesh, &mut self.checked);
        let policy = load_documents((&sources, workers), &mut documents, mesh, checked, &mut report)?;
        Ok(Loaded {
            policy,
            sources,
            report,
        })
    }
}

impl KnownFile {
    /// Adds a file: the known one, where it is that.
    fn add(
        name: &Arc<str>,
        bytes: &[u8],
        known: Option<Self>,
        sources: &mut Sources,
        report: &mut Report,
    ) -> Option<Self> {
        // Positions in it have the file's number.
        let is_it = |known: &Self| known.id == sources.next_id() && known.is(name, bytes);
        if let Some(known) = known.filter(is_it) {
            sources.push(known.source.clone());
            return Some(known);
        }
        let id = sources.add_bytes(Arc::clone(name), bytes, report)?;
        Some(Self {
            id,
            source: sources.file(id)?.clone(),
            state: State::New,
            problems: Report::new(),
            documents: Vec::new(),
        })
    }

    fn parse(&mut self, sources: &Sources) {
        let documents = parse(sources, self.id, &mut self.problems);
        self.documents = documents.into_iter().map(Read::Tree).collect();
        self.state = State::Parsed;
    }

    fn is(&self, name: &str, bytes: &[u8]) -> bool {
        **self.source.name() == *name && self.source.holds(bytes)
    }
}
