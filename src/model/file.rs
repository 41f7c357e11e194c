//! Files as the core sees them: names below two roots, steps that a host carries out in order, and what reading one gives.
//!
//! The core never touches a file. Writes leave it as [`Script`]s (and as log appends, see `log`); reads come in as byte
//! slices through [`Files`]. Both hosts carry out the very same steps, so a simulated crash can fall between any two.

use std::fmt;

/// Which configured directory a path lies below.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Volume {
    /// `dataDir`: identity, snapshots.
    Data,
    /// `dataLogDir` (the same directory unless configured): the log, its epoch metadata and its mark.
    Log,
}

/// A file or directory of ours, relative to its volume, with `/` between components.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FilePath {
    /// The root.
    pub volume: Volume,
    /// For example `log/shard-0/0000000000000001.log`; empty for the root itself.
    pub name: String,
}

impl FilePath {
    /// `name` below `volume`.
    pub fn new(volume: Volume, name: impl Into<String>) -> FilePath {
        FilePath { volume, name: name.into() }
    }

    /// The directory that holds it.
    #[must_use]
    pub fn dir(&self) -> FilePath {
        let end = self.name.rfind('/').unwrap_or(0);
        FilePath { volume: self.volume, name: self.name[..end].to_owned() }
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// One step on files. A host carries out each wholly or reports an error; a crash may fall before, after and (for `Write` and
/// `Zero`) anywhere inside it. Nothing but `Sync` and `SyncDir` makes an earlier step durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FileOp {
    /// Makes a directory and its parents; fine if it exists.
    MakeDir(FilePath),
    /// Makes an empty file, or empties the one that is there.
    Create(FilePath),
    /// Writes bytes at an offset, growing the file if needed.
    Write {
        /// Which file.
        path: FilePath,
        /// Where, in bytes.
        at: u64,
        /// What.
        bytes: Vec<u8>,
    },
    /// Really writes zeros (no hole, no unwritten extent), growing the file if needed.
    Zero {
        /// Which file.
        path: FilePath,
        /// Where, in bytes.
        at: u64,
        /// How many.
        len: u64,
    },
    /// Makes a new file with the content of another one, replacing what has its name.
    Copy {
        /// Which file.
        from: FilePath,
        /// The copy.
        to: FilePath,
    },
    /// Writes bytes of a file again as they are read, so that the next sync covers them whatever became of them before.
    Rewrite {
        /// Which file.
        path: FilePath,
        /// Where, in bytes.
        at: u64,
        /// How many; no more than there are.
        len: u64,
    },
    /// Makes the file's content and size durable. If it fails, what it should have covered may be gone although it still reads well, and
    /// another sync says nothing about it: hosts count as clean what they failed to write.
    Sync(FilePath),
    /// Reads the end of a file back from the medium and compares its checksum ([`crate::base::checksum::checksum`]); a difference, or a
    /// file of another length, is an error.
    Verify {
        /// Which file.
        path: FilePath,
        /// Where what is read begins, in bytes.
        at: u64,
        /// Bytes from there to the end of the file.
        len: u64,
        /// Expected checksum of them.
        checksum: u64,
    },
    /// Renames within one directory or between two, replacing the target.
    Rename {
        /// Old name.
        from: FilePath,
        /// New name.
        to: FilePath,
    },
    /// Makes the names in a directory durable.
    SyncDir(FilePath),
    /// Removes a file; fine if it is gone already.
    Remove(FilePath),
}

/// Steps carried out in order; the first error ends it, and nothing after it is done.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Script {
    /// The steps.
    pub ops: Vec<FileOp>,
}

/// Why a step or an append failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct DiskError {
    /// The device or quota is full: a reservation may be tried again later. Everything else is final.
    pub no_space: bool,
    /// Operation, file and the system's words.
    pub message: String,
}

/// Damage that was found on a disk.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{path} at byte {offset}: {what}")]
pub struct Damage {
    /// The file, as [`FilePath`] shows it.
    pub path: String,
    /// Where in it.
    pub offset: u64,
    /// What was found and what was expected.
    pub what: String,
}

/// What reading a persistent fact gives. Never an `Option`: an unreadable fact is not an absent one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stored<T> {
    /// It was never written.
    Empty,
    /// It is there and checked.
    Present(T),
    /// Something is there that can't be trusted.
    Unreadable(Damage),
}

/// One name in a directory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FileEntry {
    /// Last component.
    pub name: String,
    /// Bytes.
    pub len: u64,
}

/// Read access to files as they are at a start; both hosts provide one (mapped files, a simulated image).
pub trait Files {
    /// Files (not directories) in a directory, sorted by name; a missing directory has none.
    ///
    /// # Errors
    /// When the directory can't be listed.
    fn list(&self, dir: &FilePath) -> Result<Vec<FileEntry>, Damage>;

    /// The whole content. `Empty` when there is no such file; `Unreadable` when reading it fails anywhere.
    fn bytes(&self, path: &FilePath) -> Stored<&[u8]>;

    /// Says that these files will be asked for, in this order: a host may fetch them meanwhile. What they hold is the same either way.
    fn expect(&self, _paths: Vec<FilePath>) {}

    /// `len` bytes from `offset` on, fewer where the file ends; also of a file that is being written to.
    fn range(&self, path: &FilePath, offset: u64, len: usize) -> Stored<Vec<u8>> {
        match self.bytes(path) {
            Stored::Empty => Stored::Empty,
            Stored::Unreadable(damage) => Stored::Unreadable(damage),
            Stored::Present(bytes) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                Stored::Present(bytes[from..from.saturating_add(len).min(bytes.len())].to_vec())
            }
        }
    }
}

/// No file at all: what a start finds in empty directories.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFiles;

impl Files for NoFiles {
    fn list(&self, _dir: &FilePath) -> Result<Vec<FileEntry>, Damage> {
        Ok(Vec::new())
    }

    fn bytes(&self, _path: &FilePath) -> Stored<&[u8]> {
        Stored::Empty
    }
}

/// Identifies one effect; its completion carries the same ticket. Never reused in the life of a process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);
