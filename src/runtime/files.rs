//! Reading files at a start: listed, read through once with plain reads, then mapped.
//!
//! The plain reads come first so that a bad sector is an error with a file and an offset, not a SIGBUS in the middle of
//! recovery. They ask for little at a time: other servers of the ensemble may share the device, and their syncs wait behind these.
//! Files that are expected are fetched by a thread of their own (`ahead`), while recovery works on what it has.
//!
//! Guarantees: what couldn't be looked at at all (permission, descriptors, memory) is kept apart from what the device gives back
//! damaged, and its first case is remembered: it says nothing of what is there, so nobody may act on it.

mod ahead;

use crate::model::file::{Damage, FileEntry, FilePath, Files, Stored, Volume};
use ahead::Ahead;
use memmap2::{Mmap, MmapOptions};
use rustix::fs::{Advice, fadvise};
use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

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

/// What the system says of a device or a filesystem that gives back something else than was written, or nothing.
const DAMAGE: [i32; 7] = [libc::EIO, libc::ENXIO, libc::EREMOTEIO, libc::ENODATA, libc::EBADMSG, libc::EUCLEAN, libc::EILSEQ];

/// Files below two roots. Content that was asked for once stays mapped as long as this lives.
pub struct DiskFiles {
    roots: Roots,
    mapped: RefCell<HashMap<FilePath, &'static Mapped>>,
    open: RefCell<HashMap<FilePath, File>>,
    ahead: RefCell<Option<Ahead>>,
    unseen: OnceCell<String>,
}

/// A file as it was read: nothing when there is none; or where reading failed, and why.
type Fetched = Result<Option<Mmap>, (u64, io::Error)>;

enum Mapped {
    Empty,
    Content(Mmap),
    Unreadable(Damage),
}

impl DiskFiles {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(roots: Roots) -> DiskFiles {
        DiskFiles { roots, mapped: RefCell::default(), open: RefCell::default(), ahead: RefCell::default(), unseen: OnceCell::new() }
    }

    /// The first file or directory that couldn't be looked at though it may be whole: its place, the system's words and the
    /// remedy, without a full stop. Whoever has one must not go by what was made of these files.
    #[must_use]
    pub fn unseen(&self) -> Option<&str> {
        self.unseen.get().map(String::as_str)
    }

    /// What the core is told of a failure; it knows damage only, so any other one is remembered here.
    fn failure(&self, place: &Path, offset: u64, doing: &str, error: &io::Error) -> Damage {
        if !is_damage(error) {
            self.unseen.get_or_init(|| format!("{} can't be read: {error}. {}", place.display(), remedy(error)));
        }
        Damage { path: place.display().to_string(), offset, what: format!("{doing} it fails: {error}") }
    }

    fn load(&self, path: &FilePath) -> Mapped {
        let place = self.roots.resolve(path);
        let fetched = self.ahead.borrow_mut().as_mut().and_then(|ahead| ahead.take(path));
        match fetched.unwrap_or_else(|| open_and_map(&place, &AtomicBool::new(false))) {
            Ok(Some(map)) => Mapped::Content(map),
            Ok(None) => Mapped::Empty,
            Err((offset, error)) => Mapped::Unreadable(self.failure(&place, offset, "reading", &error)),
        }
    }
}

impl DiskFiles {
    /// Plain reads: the file may be written to meanwhile. `None` when there is no such file.
    fn read_range(&self, path: &FilePath, offset: u64, len: usize) -> io::Result<Option<Vec<u8>>> {
        let mut open = self.open.borrow_mut();
        if !open.contains_key(path) {
            match File::open(self.roots.resolve(path)) {
                Ok(file) => {
                    read_no_further(&file);
                    open.insert(path.clone(), file);
                }
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

/// Whether what is stored is bad, by the system's word. Anything else says only that nobody could look.
fn is_damage(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|errno| DAMAGE.contains(&errno))
}

/// What lets a start look at what it couldn't.
fn remedy(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => {
            format!("See that the user with the number {} may read and write it", rustix::process::geteuid().as_raw())
        }
        Some(libc::EMFILE) => "Raise the limit of descriptors (LimitNOFILE= or `ulimit -n`)".to_owned(),
        Some(libc::ENFILE) => "Raise the host's limit of descriptors (`sysctl fs.file-max`)".to_owned(),
        Some(libc::ENOMEM) => {
            "Give it more memory, or raise the limits of mappings and address space (`sysctl vm.max_map_count`, `ulimit -v`)".to_owned()
        }
        _ => "See to that".to_owned(),
    }
}

/// How much of a file is read at once. Read ahead by the kernel (8 MiB where this was measured), a start of 160 MiB made the syncs
/// of its neighbours on the device wait for 20 to 50 ms; with reads of this size alone it took as long and they didn't notice.
const READ_BYTES: usize = 512 << 10;

/// How much is fetched ahead: a log that is larger than the memory would push out what was fetched before it is looked at.
const AHEAD_BYTES_MAX: u64 = 1 << 30;

/// Tells the kernel to read what it is asked for and nothing ahead. A filesystem that doesn't take the advice is read all the same.
fn read_no_further(file: &File) {
    let _ = fadvise(file, 0, None, Advice::Random);
}

/// Maps a file after reading it through. `None` when there is no such file. It is given up when `stop` is set.
fn open_and_map(place: &Path, stop: &AtomicBool) -> Fetched {
    let mut file = match File::open(place) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err((0, error)),
    };
    read_no_further(&file);
    let mut read = 0;
    let mut chunk = vec![0; READ_BYTES];
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err((read, io::ErrorKind::Interrupted.into()));
        }
        match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => read += n as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((read, error)),
        }
    }
    // SAFETY: the server holds the directory's lock and doesn't change a file while anybody looks at what is mapped: recovery ends
    // before the first write, and afterwards the mapping is only given back.
    let map = unsafe { MmapOptions::new().populate().map(&file) }.map_err(|error| (0, error))?;
    Ok(Some(map))
}

impl Files for DiskFiles {
    fn list(&self, dir: &FilePath) -> Result<Vec<FileEntry>, Damage> {
        let place = self.roots.resolve(dir);
        let damage = |error: io::Error| self.failure(&place, 0, "listing", &error);
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

    /// Once; what more is expected is read when it is asked for.
    fn expect(&self, paths: Vec<FilePath>) {
        let mut ahead = self.ahead.borrow_mut();
        if ahead.is_none() {
            let known = self.mapped.borrow();
            let paths = paths.into_iter().filter(|path| !known.contains_key(path)).map(|path| (self.roots.resolve(&path), path));
            *ahead = Ahead::start(paths.collect(), AHEAD_BYTES_MAX);
        }
    }

    fn range(&self, path: &FilePath, offset: u64, len: usize) -> Stored<Vec<u8>> {
        match self.read_range(path, offset, len) {
            Ok(Some(bytes)) => Stored::Present(bytes),
            Ok(None) => Stored::Empty,
            Err(error) => Stored::Unreadable(self.failure(&self.roots.resolve(path), offset, "reading", &error)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn files_of(dir: &Path) -> DiskFiles {
        DiskFiles::new(Roots { data: dir.to_owned(), log: dir.to_owned() })
    }

    fn path(name: &str) -> FilePath {
        FilePath::new(Volume::Log, name)
    }

    #[test]
    fn what_can_not_be_looked_at_is_remembered_and_what_is_not_there_is_not() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("good"), "x").unwrap();
        // Not even the superuser can open a name that leads back to itself.
        symlink("loop", dir.path().join("loop")).unwrap();
        let files = files_of(dir.path());
        assert_eq!(files.bytes(&path("good")), Stored::Present(&b"x"[..]));
        assert_eq!(files.bytes(&path("none")), Stored::Empty);
        assert_eq!(files.range(&path("none"), 0, 9), Stored::Empty);
        assert_eq!(files.list(&path("none")), Ok(Vec::new()));
        assert_eq!(files.unseen(), None);
        assert!(matches!(files.bytes(&path("loop")), Stored::Unreadable(_)));
        let said = files.unseen().unwrap().to_owned();
        assert!(said.contains("/loop can't be read: ") && said.ends_with(". See to that"), "{said}");
        assert!(files.list(&path("good")).is_err(), "no directory");
        assert_eq!(files.unseen(), Some(&*said), "the first one is told");
        let listing = files_of(dir.path());
        assert!(listing.list(&path("loop")).is_err() && listing.unseen().is_some());
        let ranging = files_of(dir.path());
        assert!(matches!(ranging.range(&path("loop"), 0, 9), Stored::Unreadable(_)) && ranging.unseen().is_some());
    }

    /// Pages of a file that lie in memory.
    fn resident(file: &File) -> usize {
        // SAFETY: nobody changes the length of the test's own file.
        let map = unsafe { Mmap::map(file) }.unwrap();
        let mut pages = vec![0u8; map.len().div_ceil(4096)];
        // SAFETY: one byte for each page of the mapping, which is looked at and not touched.
        let told = unsafe { libc::mincore(map.as_ptr().cast_mut().cast(), map.len(), pages.as_mut_ptr()) };
        assert_eq!(told, 0);
        pages.iter().filter(|page| **page & 1 == 1).count()
    }

    #[test]
    fn nothing_is_read_ahead_of_what_is_asked_for() {
        // Where files lie in memory, or the kernel reads nothing ahead, there is nothing to see.
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("f");
        fs::write(&place, vec![7; 4 << 20]).unwrap();
        let file = File::open(&place).unwrap();
        file.sync_all().unwrap();
        let cold = || {
            fadvise(&file, 0, None, Advice::DontNeed).unwrap();
            resident(&file) == 0
        };
        if !cold() {
            return;
        }
        File::open(&place).unwrap().read_exact_at(&mut [0; 4096], 0).unwrap();
        let ahead = resident(&file);
        if ahead <= 1 || !cold() {
            return;
        }
        let read = files_of(dir.path()).range(&path("f"), 0, 4096);
        assert!(matches!(read, Stored::Present(bytes) if bytes.len() == 4096));
        let ours = resident(&file);
        assert!(ours < ahead, "{ours} pages were read for one that was asked for; the kernel by itself reads {ahead}");
    }

    #[test]
    fn only_what_the_device_says_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        for (errno, of) in [(libc::EIO, true), (libc::ENODATA, true), (libc::EUCLEAN, true), (libc::EBADMSG, true)]
            .into_iter()
            .chain([libc::EACCES, libc::EPERM, libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EINTR].map(|errno| (errno, false)))
        {
            let (files, error) = (files_of(dir.path()), io::Error::from_raw_os_error(errno));
            let damage = files.failure(dir.path(), 7, "reading", &error);
            assert_eq!((damage.offset, damage.what), (7, format!("reading it fails: {error}")));
            assert_eq!(files.unseen().is_none(), of, "{error}");
        }
        let of = |errno: i32| remedy(&io::Error::from_raw_os_error(errno));
        assert!(of(libc::EACCES).contains("may read and write it") && of(libc::EMFILE).contains("ulimit -n"));
    }
}
