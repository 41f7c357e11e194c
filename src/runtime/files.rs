//! Reading files at a start: listed, read through once with plain reads, then mapped.
//!
//! The plain reads come first so that a bad sector is an error with a file and an offset, not a SIGBUS in the middle of
//! recovery.

use crate::model::file::{Damage, FileEntry, FilePath, Files, Stored, Volume};
use memmap2::Mmap;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Where the two volumes lie.
#[derive(Clone, Debug)]
pub struct Roots {
    /// `dataDir`.
    pub data: PathBuf,
    /// `dataLogDir`.
    pub log: PathBuf,
}

impl Roots {
    /// The file's place in the filesystem.
    #[must_use]
    pub fn resolve(&self, path: &FilePath) -> PathBuf {
        let root: &Path = match path.volume {
            Volume::Data => &self.data,
            Volume::Log => &self.log,
        };
        if path.name.is_empty() { root.to_owned() } else { root.join(&path.name) }
    }
}

/// Files below two roots. Content that was asked for once stays mapped as long as this lives.
pub struct DiskFiles {
    roots: Roots,
    mapped: RefCell<HashMap<FilePath, &'static Mapped>>,
    open: RefCell<HashMap<FilePath, File>>,
}

enum Mapped {
    Empty,
    Content(Mmap),
    Unreadable(Damage),
}

impl DiskFiles {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(roots: Roots) -> DiskFiles {
        DiskFiles { roots, mapped: RefCell::default(), open: RefCell::default() }
    }

    fn load(&self, path: &FilePath) -> Mapped {
        let place = self.roots.resolve(path);
        match open_and_map(&place) {
            Ok(Some(map)) => Mapped::Content(map),
            Ok(None) => Mapped::Empty,
            Err((offset, error)) => {
                Mapped::Unreadable(Damage { path: place.display().to_string(), offset, what: format!("reading it fails: {error}") })
            }
        }
    }
}

impl DiskFiles {
    /// Plain reads: the file may be written to meanwhile. `None` when there is no such file.
    fn read_range(&self, path: &FilePath, offset: u64, len: usize) -> io::Result<Option<Vec<u8>>> {
        let mut open = self.open.borrow_mut();
        if !open.contains_key(path) {
            match File::open(self.roots.resolve(path)) {
                Ok(file) => drop(open.insert(path.clone(), file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let Some(file) = open.get(path) else { return Ok(None) };
        let left = file.metadata()?.len().saturating_sub(offset);
        let mut bytes = vec![0; len.min(usize::try_from(left).unwrap_or(usize::MAX))];
        let mut done = 0;
        while done < bytes.len() {
            match file.read_at(&mut bytes[done..], offset + done as u64) {
                Ok(0) => bytes.truncate(done),
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Some(bytes))
    }
}

/// Maps a file after reading it through. `None` when there is no such file.
fn open_and_map(place: &Path) -> Result<Option<Mmap>, (u64, io::Error)> {
    let mut file = match File::open(place) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err((0, error)),
    };
    let mut read = 0;
    let mut chunk = vec![0; 1 << 20];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => read += n as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((read, error)),
        }
    }
    // SAFETY: the server holds the directory's lock and doesn't change a file that recovery reads while it is mapped: recovery
    // ends before the first write, and files are replaced by rename afterwards.
    let map = unsafe { Mmap::map(&file) }.map_err(|error| (0, error))?;
    Ok(Some(map))
}

impl Files for DiskFiles {
    fn list(&self, dir: &FilePath) -> Result<Vec<FileEntry>, Damage> {
        let place = self.roots.resolve(dir);
        let damage = |error: io::Error| Damage { path: place.display().to_string(), offset: 0, what: format!("listing it fails: {error}") };
        let entries = match fs::read_dir(&place) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(damage(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(damage)?;
            let meta = entry.metadata().map_err(damage)?;
            if let (true, Ok(name)) = (meta.is_file(), entry.file_name().into_string()) {
                found.push(FileEntry { name, len: meta.len() });
            }
        }
        found.sort();
        Ok(found)
    }

    fn bytes(&self, path: &FilePath) -> Stored<&[u8]> {
        let known = self.mapped.borrow().get(path).copied();
        let mapped: &Mapped = match known {
            Some(mapped) => mapped,
            None => {
                // Given back in `drop`; until then the slices handed out borrow from `self`.
                let mapped: &'static Mapped = Box::leak(Box::new(self.load(path)));
                self.mapped.borrow_mut().insert(path.clone(), mapped);
                mapped
            }
        };
        match mapped {
            Mapped::Empty => Stored::Empty,
            Mapped::Content(map) => Stored::Present(map),
            Mapped::Unreadable(damage) => Stored::Unreadable(damage.clone()),
        }
    }

    fn range(&self, path: &FilePath, offset: u64, len: usize) -> Stored<Vec<u8>> {
        match self.read_range(path, offset, len) {
            Ok(Some(bytes)) => Stored::Present(bytes),
            Ok(None) => Stored::Empty,
            Err(error) => {
                let place = self.roots.resolve(path).display().to_string();
                Stored::Unreadable(Damage { path: place, offset, what: format!("reading it fails: {error}") })
            }
        }
    }
}

impl Drop for DiskFiles {
    fn drop(&mut self) {
        for (_, mapped) in self.mapped.borrow_mut().drain() {
            // SAFETY: the box was leaked in `bytes`, once for each entry, and no slice of it outlives `self`.
            drop(unsafe { Box::from_raw(std::ptr::from_ref(mapped).cast_mut()) });
        }
    }
}
