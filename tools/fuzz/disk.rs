//! A disk in memory that carries out the scripts of log and snapshots, and reads as damaged where it is told to.

use ringkeeper::model::file::{Damage, FileEntry, FileOp, FilePath, Files, Script, Stored};
use std::collections::{BTreeMap, BTreeSet};

/// Names and contents; both volumes are one.
#[derive(Clone, Default)]
pub struct Disk {
    files: BTreeMap<String, Vec<u8>>,
    /// Files that can't be read and directories that can't be listed.
    unreadable: BTreeSet<String>,
}

impl Disk {
    /// Carries out a script.
    ///
    /// # Errors
    /// A step that names a file that isn't there, or reads back wrongly.
    pub fn run(&mut self, script: &Script) -> Result<(), String> {
        script.ops.iter().try_for_each(|op| self.step(op))
    }

    /// Carries out one step.
    ///
    /// # Errors
    /// As [`Disk::run`].
    pub fn step(&mut self, op: &FileOp) -> Result<(), String> {
        match op {
            FileOp::MakeDir(_) | FileOp::Rewrite { .. } | FileOp::Sync(_) | FileOp::SyncDir(_) => {}
            FileOp::Create(path) => {
                self.unreadable.remove(&path.name);
                self.files.insert(path.name.clone(), Vec::new());
            }
            FileOp::Write { path, at, bytes } => self.write(&path.name, *at, bytes)?,
            FileOp::Zero { path, at, len } => self.write(&path.name, *at, &vec![0; *len as usize])?,
            FileOp::Rename { from, to } => {
                let content = self.files.remove(&from.name).ok_or_else(|| format!("no file {from} to rename"))?;
                self.unreadable.remove(&to.name);
                if self.unreadable.remove(&from.name) {
                    self.unreadable.insert(to.name.clone());
                }
                self.files.insert(to.name.clone(), content);
            }
            FileOp::Copy { from, to } => {
                let content = self.files.get(&from.name).cloned().ok_or_else(|| format!("no file {from} to copy"))?;
                self.unreadable.remove(&to.name);
                self.files.insert(to.name.clone(), content);
            }
            FileOp::Remove(path) => {
                self.files.remove(&path.name);
                self.unreadable.remove(&path.name);
            }
            FileOp::Verify { path, at, len, checksum } => {
                let bytes = self.files.get(&path.name).ok_or_else(|| format!("no file {path} to verify"))?;
                let bytes = bytes.get(*at as usize..).unwrap_or_default();
                if (bytes.len() as u64, ringkeeper::base::checksum::checksum(bytes)) != (*len, *checksum) {
                    return Err(format!("{path} reads back differently"));
                }
            }
        }
        Ok(())
    }

    /// Writes bytes, growing the file if needed.
    ///
    /// # Errors
    /// There is no such file.
    pub fn write(&mut self, name: &str, at: u64, bytes: &[u8]) -> Result<(), String> {
        let file = self.files.get_mut(name).ok_or_else(|| format!("no file {name} to write to"))?;
        let at = at as usize;
        if file.len() < at + bytes.len() {
            file.resize(at + bytes.len(), 0);
        }
        file[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    /// Names of all files.
    pub fn names(&self) -> Vec<String> {
        self.files.keys().cloned().collect()
    }

    /// A file's content, to be looked at.
    pub fn content(&self, name: &str) -> Option<&[u8]> {
        self.files.get(name).map(Vec::as_slice)
    }

    /// A file's content, to be damaged.
    pub fn content_mut(&mut self, name: &str) -> Option<&mut Vec<u8>> {
        self.files.get_mut(name)
    }

    /// Puts a file there.
    pub fn put(&mut self, name: &str, bytes: Vec<u8>) {
        self.files.insert(name.to_owned(), bytes);
    }

    /// Takes a file away.
    pub fn take(&mut self, name: &str) -> Option<Vec<u8>> {
        self.files.remove(name)
    }

    /// From now on the file can't be read, or the directory not be listed.
    pub fn spoil(&mut self, name: &str) {
        self.unreadable.insert(name.to_owned());
    }

    /// Whether anything can't be read.
    pub fn is_spoiled(&self) -> bool {
        !self.unreadable.is_empty()
    }

    /// Bytes of all files.
    pub fn len(&self) -> usize {
        self.files.values().map(Vec::len).sum()
    }

    fn damage(&self, name: &str) -> Option<Damage> {
        self.unreadable.contains(name).then(|| Damage { path: name.to_owned(), offset: 0, what: "reading it fails: planted".to_owned() })
    }
}

impl Files for Disk {
    fn list(&self, dir: &FilePath) -> Result<Vec<FileEntry>, Damage> {
        if let Some(damage) = self.damage(&dir.name) {
            return Err(damage);
        }
        let inside = self.files.iter().filter_map(|(name, bytes)| {
            let rest = name.strip_prefix(dir.name.as_str())?.strip_prefix('/').filter(|rest| !rest.contains('/'))?;
            Some(FileEntry { name: rest.to_owned(), len: bytes.len() as u64 })
        });
        Ok(inside.collect())
    }

    fn bytes(&self, path: &FilePath) -> Stored<&[u8]> {
        match (self.damage(&path.name), self.files.get(&path.name)) {
            (Some(damage), Some(_)) => Stored::Unreadable(damage),
            (_, Some(bytes)) => Stored::Present(bytes),
            (_, None) => Stored::Empty,
        }
    }
}
