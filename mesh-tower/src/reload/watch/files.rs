//! Which files are policy, and what they hold at one moment.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File, FileType, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::ReadError;

/// A single file's limit. Read before it is parsed, a larger one is refused.
pub const FILE_LIMIT: u64 = 8 * 1024 * 1024;
/// The limit of all files together.
pub const TOTAL_LIMIT: u64 = 64 * 1024 * 1024;
/// How many files there may be.
const COUNT_LIMIT: usize = 10_000;
/// How deep directories may lie in each other.
const DEPTH_LIMIT: usize = 16;

/// Which files are policy: single files, and directories with all that lies in them.
///
/// Of a directory, files named `*.yaml`, `*.yml` and `*.json` are taken, those of its subdirectories, too. Names
/// that start with a dot are not: they are Kubernetes' own (`..data`), or an editor's. Every other name must lead
/// somewhere: what is behind a link that leads nowhere may have been a directory with rules that deny.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyFiles {
    roots: Vec<PathBuf>,
}

/// What the policy files hold at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileSet {
    /// The fingerprint of names and contents: the same files have the same one, in every process.
    pub fingerprint: Fingerprint,
    /// The files, by name.
    pub files: Vec<PolicyFile>,
    /// What is unsafe about the files themselves, for the log.
    pub warnings: Vec<String>,
}

/// A policy file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PolicyFile {
    /// Its path, as the configuration says it.
    pub name: String,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// A SHA-256 digest of names and contents.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The digest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl PolicyFiles {
    /// The files and directories `paths`.
    #[must_use]
    pub fn new<P: Into<PathBuf>>(paths: impl IntoIterator<Item = P>) -> Self {
        Self {
            roots: paths.into_iter().map(Into::into).collect(),
        }
    }

    /// The paths, as they were given.
    #[must_use]
    pub fn paths(&self) -> &[PathBuf] {
        &self.roots
    }

    /// Reads all files. Links are followed anew at every call; a file that is named twice is read once.
    ///
    /// Blocks, but never on what is no regular file: pipes, sockets and devices are refused unopened.
    ///
    /// # Errors
    ///
    /// [`ReadError`], with the path, at the first file that cannot be read: the set is taken whole or not at all.
    pub fn read(&self) -> Result<FileSet, ReadError> {
        self.look().result
    }

    /// Reads all files, and says which directories would show a change of them.
    pub(super) fn look(&self) -> Look {
        let mut walk = Walk::default();
        let found = self.roots.iter().try_for_each(|root| walk.root(root));
        let result = match found {
            Ok(()) if self.roots.is_empty() => Err(ReadError::NoPaths),
            Ok(()) => walk.read_all(),
            Err(error) => Err(error),
        };
        let mut held = walk.seen;
        held.append(&mut walk.named);
        Look {
            result,
            directories: walk.directories,
            held,
        }
    }
}

/// What one look at the files found.
pub(super) struct Look {
    pub(super) result: Result<FileSet, ReadError>,
    /// The directories to watch: all that hold a file, a link on the way to one, or another such directory.
    pub(super) directories: BTreeSet<PathBuf>,
    /// The files that are policy, and the directories whose files are: not those that are only on the way to them.
    pub(super) held: BTreeSet<PathBuf>,
}

/// Whether a file of this name is policy.
pub(super) fn is_policy_name(path: &Path) -> bool {
    let is_hidden = path
        .file_name()
        .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    !is_hidden
        && path
            .extension()
            .is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
}

/// A file that was found, not yet read.
struct Found {
    path: PathBuf,
    /// Its path within its root, which is the same wherever the root is mounted.
    inner_name: PathBuf,
}

#[derive(Default)]
struct Walk {
    found: Vec<Found>,
    /// Where the files and directories really are, so that each is taken once.
    seen: BTreeSet<PathBuf>,
    /// Where the roots are by their names.
    named: BTreeSet<PathBuf>,
    directories: BTreeSet<PathBuf>,
    warnings: Vec<String>,
}

impl Walk {
    fn root(&mut self, root: &Path) -> Result<(), ReadError> {
        let absolute = std::path::absolute(root).map_err(|error| ReadError::from_io(root, &error))?;
        self.directories.extend(absolute.parent().map(Path::to_path_buf));
        let metadata = metadata(root)?;
        let real = canonical(root)?;
        if !metadata.is_dir() {
            self.directories.extend(real.parent().map(Path::to_path_buf));
            self.named.insert(absolute);
            let inner_name = root.file_name().map(PathBuf::from).unwrap_or_default();
            return self.file(root, inner_name, real);
        }
        let before = self.found.len();
        self.named.insert(absolute.clone());
        self.directories.insert(absolute);
        self.directory(root, Path::new(""), &real, 0)?;
        if self.found.len() > before || self.has_all_of(root, &real)? {
            return Ok(());
        }
        Err(ReadError::Empty {
            path: root.to_path_buf(),
        })
    }

    /// Whether a directory that added nothing holds files, all of which were taken with others before it.
    fn has_all_of(&self, root: &Path, real: &Path) -> Result<bool, ReadError> {
        let mut alone = Self::default();
        alone.directory(root, Path::new(""), real, 0)?;
        // A file that has come since then is not taken: until the next look the directory was empty.
        Ok(!alone.found.is_empty() && alone.seen.is_subset(&self.seen))
    }

    /// Collects the files of the directory `root/inner`; `top` is where the root really is.
    fn directory(&mut self, root: &Path, inner: &Path, top: &Path, depth: usize) -> Result<(), ReadError> {
        let path = root.join(inner);
        if depth > DEPTH_LIMIT {
            let (what, limit) = ("directories in each other", DEPTH_LIMIT);
            return Err(ReadError::TooMany { path, what, limit });
        }
        let real = canonical(&path)?;
        if !self.seen.insert(real.clone()) {
            return Ok(());
        }
        self.directories.insert(real);
        for name in names_in(&path)? {
            let inner = inner.join(&name);
            let path = root.join(&inner);
            let is_policy = is_policy_name(&path);
            match metadata(&path) {
                Ok(metadata) if metadata.is_dir() => self.directory(root, &inner, top, depth + 1)?,
                Ok(_) if is_policy => {
                    let real = canonical(&path)?;
                    self.note_link_outside(&path, &real, top);
                    self.file(&path, inner, real)?;
                }
                Ok(_) => {}
                // What is not told apart may be a directory: without its files the policy would be another one.
                Err(error) if is_policy || !is_gone(&path) => return Err(error),
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, inner_name: PathBuf, real: PathBuf) -> Result<(), ReadError> {
        if !self.seen.insert(real) {
            return Ok(());
        }
        let path = path.to_path_buf();
        if self.found.len() >= COUNT_LIMIT {
            let (what, limit) = ("files", COUNT_LIMIT);
            return Err(ReadError::TooMany { path, what, limit });
        }
        self.found.push(Found { path, inner_name });
        Ok(())
    }

    fn note_link_outside(&mut self, path: &Path, real: &Path, top: &Path) {
        if !real.starts_with(top) {
            let (path, real, top) = (path.display(), real.display(), top.display());
            self.warnings
                .push(format!("`{path}` leads to `{real}`, outside of `{top}`"));
        }
    }

    fn read_all(&mut self) -> Result<FileSet, ReadError> {
        self.found.sort_by(|a, b| a.path.cmp(&b.path));
        let mut digest = Digest::new();
        let mut files = Vec::with_capacity(self.found.len());
        let mut total = 0;
        for found in &self.found {
            let (bytes, metadata) = read_file(&found.path)?;
            total += bytes.len() as u64;
            if total > TOTAL_LIMIT {
                let (path, limit) = (found.path.clone(), TOTAL_LIMIT);
                return Err(ReadError::TotalTooLarge { path, limit });
            }
            digest.add(found.inner_name.as_os_str().as_encoded_bytes());
            digest.add(&bytes);
            let name = found.path.to_string_lossy().into_owned();
            if is_writable_by_all(&metadata) {
                self.warnings
                    .push(format!("`{name}` can be written by every user of this machine"));
            }
            files.push(PolicyFile { name, bytes });
        }
        Ok(FileSet {
            fingerprint: digest.finish(),
            files,
            warnings: std::mem::take(&mut self.warnings),
        })
    }
}

/// The names in a directory, sorted, without hidden ones.
fn names_in(path: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let broken = |error| ReadError::from_io(path, &error);
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(broken)? {
        let name = entry.map_err(broken)?.file_name();
        if !name.as_encoded_bytes().starts_with(b".") {
            names.push(PathBuf::from(name));
        }
    }
    names.sort();
    Ok(names)
}

/// Reads a regular file whole, from one inode, whatever happens to its name meanwhile.
fn read_file(path: &Path) -> Result<(Vec<u8>, Metadata), ReadError> {
    // Before opening: a device's driver may act on being opened.
    expect_regular(path, metadata(path)?.file_type())?;
    let broken = |error| ReadError::from_io(path, &error);
    let file = open(path).map_err(broken)?;
    let metadata = file.metadata().map_err(broken)?;
    // Once more: the name may have changed hands in between, which is why opening does not wait for a pipe's writer.
    expect_regular(path, metadata.file_type())?;
    let too_large = || ReadError::TooLarge {
        path: path.to_path_buf(),
        limit: FILE_LIMIT,
    };
    if metadata.len() > FILE_LIMIT {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    file.take(FILE_LIMIT + 1).read_to_end(&mut bytes).map_err(broken)?;
    if bytes.len() as u64 > FILE_LIMIT {
        return Err(too_large());
    }
    Ok((bytes, metadata))
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    }
    options.open(path)
}

fn expect_regular(path: &Path, file_type: FileType) -> Result<(), ReadError> {
    if file_type.is_file() {
        return Ok(());
    }
    Err(ReadError::NotRegular {
        path: path.to_path_buf(),
        found: describe(file_type),
    })
}

#[cfg(unix)]
fn describe(file_type: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    if file_type.is_dir() {
        "a directory"
    } else if file_type.is_fifo() {
        "a pipe"
    } else if file_type.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(not(unix))]
fn describe(_file_type: FileType) -> &'static str {
    "something else"
}

#[cfg(unix)]
fn is_writable_by_all(metadata: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o002 != 0
}

#[cfg(not(unix))]
fn is_writable_by_all(_metadata: &Metadata) -> bool {
    false
}

fn metadata(path: &Path) -> Result<Metadata, ReadError> {
    fs::metadata(path).map_err(|error| ReadError::from_io(path, &error))
}

/// Whether the name itself was removed since its directory was read. A link that leads nowhere is still there.
fn is_gone(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn canonical(path: &Path) -> Result<PathBuf, ReadError> {
    fs::canonicalize(path).map_err(|error| ReadError::from_io(path, &error))
}

/// SHA-256 of the TLS provider, which is there anyway, over parts with their lengths.
struct Digest(Box<dyn rustls::crypto::hash::Context>);

impl Digest {
    fn new() -> Self {
        let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
        Self(match suite {
            rustls::SupportedCipherSuite::Tls12(suite) => suite.common.hash_provider.start(),
            rustls::SupportedCipherSuite::Tls13(suite) => suite.common.hash_provider.start(),
        })
    }

    fn add(&mut self, part: &[u8]) {
        self.0.update(&(part.len() as u64).to_be_bytes());
        self.0.update(part);
    }

    fn finish(self) -> Fingerprint {
        let output = self.0.finish();
        let mut digest = [0; 32];
        for (byte, computed) in digest.iter_mut().zip(output.as_ref()) {
            *byte = *computed;
        }
        Fingerprint(digest)
    }
}
