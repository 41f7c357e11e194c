//! A simulated disk: files with a volatile and a durable image, names that are durable only after their directory was synced.
//!
//! Guarantees: nothing but [`SimDisk::write_through`], `Sync` and `SyncDir` makes anything durable; [`SimDisk::power_fails`] keeps
//! any subset, chosen by the caller bit by bit, of the sectors, sizes and names that weren't. Leaves to others: when steps happen
//! and which of them fail (the world).

use crate::base::prng::Prng;
use crate::model::file::{Damage, DiskError, FileEntry, FileOp, FilePath, Files, Stored};
use std::collections::{BTreeMap, BTreeSet};

/// What a disk writes at once or not at all.
pub const SECTOR_BYTES: usize = 512;
/// Old contents of sectors that are remembered, for reads that return them again.
const STALE_MAX: usize = 32;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Name {
    Dir,
    File(usize),
}

#[derive(Clone, Debug, Default)]
struct Inode {
    volatile: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors of the volatile image that differ, or may, from the durable one.
    dirty: BTreeSet<usize>,
}

/// Names that change together: all of them are there after a crash, or none.
#[derive(Clone, Debug)]
struct NameChange {
    dirs: Vec<FilePath>,
    sets: Vec<(FilePath, Option<Name>)>,
}

/// See the module's description.
#[derive(Clone, Debug, Default)]
pub struct SimDisk {
    inodes: Vec<Inode>,
    names: BTreeMap<FilePath, Name>,
    durable_names: BTreeMap<FilePath, Name>,
    unsynced: Vec<NameChange>,
    stale: Vec<(usize, usize, Vec<u8>)>,
    writes: u64,
}

fn sector(image: &[u8], number: usize) -> &[u8] {
    let from = (number * SECTOR_BYTES).min(image.len());
    &image[from..(from + SECTOR_BYTES).min(image.len())]
}

fn error(what: &str, path: &FilePath) -> DiskError {
    DiskError { no_space: false, message: format!("{what} {path}: no such file or directory (simulated)") }
}

impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> SimDisk {
        SimDisk::default()
    }

    fn file(&self, path: &FilePath) -> Option<usize> {
        match self.names.get(path) {
            Some(Name::File(inode)) => Some(*inode),
            _ => None,
        }
    }

    fn has_dir(&self, dir: &FilePath) -> bool {
        dir.name.is_empty() || self.names.get(dir) == Some(&Name::Dir)
    }

    /// Whether `path` is durable by name and at least `len` bytes long on the medium: what a log segment must be.
    #[must_use]
    pub fn is_reserved(&self, path: &FilePath, len: u64) -> bool {
        match self.durable_names.get(path) {
            Some(Name::File(inode)) => self.file(path) == Some(*inode) && self.inodes[*inode].durable.len() as u64 >= len,
            _ => false,
        }
    }

    /// What a file holds, as it reads.
    #[must_use]
    pub fn content(&self, path: &FilePath) -> Option<Vec<u8>> {
        self.file(path).map(|inode| self.inodes[inode].volatile.clone())
    }

    /// What a file would hold if the power failed now and nothing else were kept.
    #[must_use]
    pub fn durable(&self, path: &FilePath) -> Option<Vec<u8>> {
        match self.durable_names.get(path) {
            Some(Name::File(inode)) => Some(self.inodes[*inode].durable.clone()),
            _ => None,
        }
    }

    /// Whether the step makes a file longer and so needs room.
    #[must_use]
    pub fn needs_room(&self, op: &FileOp) -> bool {
        let grows = |path: &FilePath, end: u64| self.file(path).is_none_or(|i| (self.inodes[i].volatile.len() as u64) < end);
        match op {
            FileOp::Write { path, at, bytes } => grows(path, at + bytes.len() as u64),
            FileOp::Zero { path, at, len } => grows(path, at + len),
            FileOp::Copy { .. } => true,
            _ => false,
        }
    }

    /// Carries out one step.
    ///
    /// # Errors
    /// When it names something that isn't there.
    pub fn run(&mut self, op: &FileOp) -> Result<(), DiskError> {
        match op {
            FileOp::MakeDir(dir) => self.make_dir(dir),
            FileOp::Create(path) => return self.create(path),
            FileOp::Write { path, at, bytes } => return self.write(path, *at, bytes),
            FileOp::Zero { path, at, len } => return self.write(path, *at, &vec![0; *len as usize]),
            FileOp::Copy { from, to } => {
                let inode = self.file(from).ok_or_else(|| error("copying", from))?;
                let bytes = self.inodes[inode].volatile.clone();
                self.create(to)?;
                return self.write(to, 0, &bytes);
            }
            FileOp::Rewrite { path, at, len } => {
                let bytes = self.file(path).and_then(|inode| self.inodes[inode].volatile.get(*at as usize..(at + len) as usize));
                let bytes = bytes.ok_or_else(|| error("writing again", path))?.to_vec();
                return self.write(path, *at, &bytes);
            }
            FileOp::Sync(path) => {
                let inode = self.file(path).ok_or_else(|| error("syncing", path))?;
                self.inodes[inode].sync();
            }
            FileOp::Verify { path, at, len, checksum } => {
                let inode = self.file(path).ok_or_else(|| error("reading back", path))?;
                let found = self.inodes[inode].volatile.get(*at as usize..).unwrap_or_default();
                if found.len() as u64 != *len || crate::base::checksum::checksum(found) != *checksum {
                    return Err(DiskError { no_space: false, message: format!("reading back {path}: it isn't what was written") });
                }
            }
            FileOp::Rename { from, to } => {
                let inode = self.file(from).ok_or_else(|| error("renaming", from))?;
                self.rename(&[(from.clone(), None), (to.clone(), Some(Name::File(inode)))]);
            }
            FileOp::SyncDir(dir) => {
                if !self.has_dir(dir) {
                    return Err(error("syncing the directory", dir));
                }
                self.sync_dir(dir);
            }
            FileOp::Remove(path) => {
                if self.file(path).is_some() {
                    self.rename(&[(path.clone(), None)]);
                }
            }
        }
        Ok(())
    }

    fn make_dir(&mut self, dir: &FilePath) {
        if self.has_dir(dir) {
            return;
        }
        self.make_dir(&dir.dir());
        self.rename(&[(dir.clone(), Some(Name::Dir))]);
    }

    fn create(&mut self, path: &FilePath) -> Result<(), DiskError> {
        if !self.has_dir(&path.dir()) {
            return Err(error("creating", path));
        }
        if let Some(inode) = self.file(path) {
            self.inodes[inode].volatile.clear();
            return Ok(());
        }
        self.inodes.push(Inode::default());
        self.rename(&[(path.clone(), Some(Name::File(self.inodes.len() - 1)))]);
        Ok(())
    }

    fn rename(&mut self, sets: &[(FilePath, Option<Name>)]) {
        for (path, name) in sets {
            match name {
                Some(name) => self.names.insert(path.clone(), *name),
                None => self.names.remove(path),
            };
        }
        self.unsynced.push(NameChange { dirs: sets.iter().map(|(path, _)| path.dir()).collect(), sets: sets.to_vec() });
    }

    fn write(&mut self, path: &FilePath, at: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let inode = self.file(path).ok_or_else(|| error("writing", path))?;
        self.inodes[inode].write(at as usize, bytes);
        self.writes += 1;
        Ok(())
    }

    /// The names in `dir` become durable; a rename between two directories with either.
    fn sync_dir(&mut self, dir: &FilePath) {
        let (now, later) = std::mem::take(&mut self.unsynced).into_iter().partition(|change| change.dirs.contains(dir));
        self.unsynced = later;
        let now: Vec<NameChange> = now;
        now.into_iter().for_each(|change| self.keep_names(change));
    }

    fn keep_names(&mut self, change: NameChange) {
        for (path, name) in change.sets {
            match name {
                Some(name) => self.durable_names.insert(path, name),
                None => self.durable_names.remove(&path),
            };
        }
    }

    /// A write that is durable once it is done (O_DSYNC). The file is long enough; see [`SimDisk::is_reserved`].
    pub fn write_through(&mut self, path: &FilePath, at: u64, bytes: &[u8]) {
        let Some(inode) = self.file(path) else { return };
        self.writes += 1;
        if self.writes.is_multiple_of(7) {
            let number = at as usize / SECTOR_BYTES;
            self.remember(inode, number);
        }
        let file = &mut self.inodes[inode];
        file.write(at as usize, bytes);
        for number in at as usize / SECTOR_BYTES..(at as usize + bytes.len()).div_ceil(SECTOR_BYTES) {
            file.keep(number);
        }
    }

    fn remember(&mut self, inode: usize, number: usize) {
        let old = sector(&self.inodes[inode].durable, number).to_vec();
        if self.stale.len() == STALE_MAX {
            self.stale.remove(0);
        }
        self.stale.push((inode, number, old));
    }

    /// A write was under way when the process ended: each of its sectors that would differ can be read or not, and none is
    /// durable yet (the power may fail next). Returns whether it was torn, some sectors there and others not.
    pub fn tear(&mut self, path: &FilePath, at: u64, bytes: &[u8], keep: &mut dyn FnMut() -> bool) -> bool {
        let Some(inode) = self.file(path) else { return false };
        let file = &mut self.inodes[inode];
        let (mut kept, mut lost) = (0, 0);
        for (idx, chunk) in bytes.chunks(SECTOR_BYTES).enumerate() {
            let from = at as usize + idx * SECTOR_BYTES;
            if file.volatile.get(from..from + chunk.len()) == Some(chunk) {
                continue;
            }
            if keep() {
                kept += 1;
                file.write(from, chunk);
            } else {
                lost += 1;
            }
        }
        kept > 0 && lost > 0
    }

    /// The power fails: of everything that isn't durable, `keep` says what is. Afterwards both images are the same.
    pub fn power_fails(&mut self, keep: &mut dyn FnMut() -> bool) {
        for change in std::mem::take(&mut self.unsynced) {
            if keep() {
                self.keep_names(change);
            }
        }
        // A file without its directory is lost.
        let names = &self.durable_names;
        let orphans: Vec<FilePath> = names
            .keys()
            .filter(|path| {
                let mut dir = path.dir();
                while !dir.name.is_empty() {
                    if names.get(&dir) != Some(&Name::Dir) {
                        return true;
                    }
                    dir = dir.dir();
                }
                false
            })
            .cloned()
            .collect();
        for path in &orphans {
            self.durable_names.remove(path);
        }
        self.names = self.durable_names.clone();
        self.inodes.iter_mut().for_each(|inode| inode.power_fails(keep));
    }

    /// How many choices [`SimDisk::power_fails`] would ask for.
    #[must_use]
    pub fn choices(&self) -> usize {
        let mut count = 0;
        self.clone().power_fails(&mut || {
            count += 1;
            false
        });
        count
    }

    /// A sync failed: its pages count as clean although only some of them reached the medium.
    pub fn sync_fails(&mut self, path: &FilePath, prng: &mut Prng) {
        if let Some(inode) = self.file(path) {
            let file = &mut self.inodes[inode];
            for number in std::mem::take(&mut file.dirty) {
                if prng.chance(1, 2) {
                    file.keep(number);
                }
            }
        }
    }

    /// Flips a bit somewhere in `path`, or brings back old content of a sector. Returns the byte, if there was one to spoil.
    pub fn rot(&mut self, path: &FilePath, within: (u64, u64), prng: &mut Prng) -> Option<u64> {
        let inode = self.file(path)?;
        let end = within.1.min(self.inodes[inode].durable.len() as u64);
        if within.0 >= end {
            return None;
        }
        let at = prng.between(within.0, end - 1) as usize;
        let file = &mut self.inodes[inode];
        let bit = 1 << prng.below(8);
        file.durable[at] ^= bit;
        if let Some(byte) = file.volatile.get_mut(at) {
            *byte ^= bit;
        }
        Some(at as u64)
    }

    /// Brings back old content of a sector below `path`, if one is remembered for it. Returns the sector's first byte.
    pub fn go_stale(&mut self, path: &FilePath, within: (u64, u64)) -> Option<u64> {
        let inode = self.file(path)?;
        let fits = |at: u64| at >= within.0 && at + SECTOR_BYTES as u64 <= within.1;
        let found = self.stale.iter().rposition(|(i, number, _)| *i == inode && fits((number * SECTOR_BYTES) as u64))?;
        let (_, number, old) = self.stale.remove(found);
        let from = number * SECTOR_BYTES;
        let file = &mut self.inodes[inode];
        if old.len() != SECTOR_BYTES || file.durable.get(from..from + SECTOR_BYTES) == Some(&old[..]) {
            return None;
        }
        file.durable[from..from + SECTOR_BYTES].copy_from_slice(&old);
        file.volatile[from..from + SECTOR_BYTES].copy_from_slice(&old);
        Some(from as u64)
    }

    /// All files.
    pub fn files(&self) -> impl Iterator<Item = &FilePath> {
        self.names.iter().filter(|(_, name)| matches!(name, Name::File(_))).map(|(path, _)| path)
    }
}

impl Inode {
    fn write(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if self.volatile.len() < end {
            self.volatile.resize(end, 0);
        }
        self.volatile[at..end].copy_from_slice(bytes);
        self.dirty.extend(at / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES));
    }

    /// One sector becomes durable.
    fn keep(&mut self, number: usize) {
        let from = number * SECTOR_BYTES;
        let new = sector(&self.volatile, number);
        if self.durable.len() < from + new.len() {
            self.durable.resize(from + new.len(), 0);
        }
        self.durable[from..from + new.len()].copy_from_slice(new);
        self.dirty.remove(&number);
    }

    fn sync(&mut self) {
        self.durable.resize(self.volatile.len(), 0);
        for number in std::mem::take(&mut self.dirty) {
            self.keep(number);
        }
    }

    fn power_fails(&mut self, keep: &mut dyn FnMut() -> bool) {
        let shorter = self.volatile.len() < self.durable.len();
        if shorter && keep() {
            self.durable.truncate(self.volatile.len());
        }
        for number in std::mem::take(&mut self.dirty) {
            let new = sector(&self.volatile, number);
            let old = sector(&self.durable, number);
            if new != old && !(new.len() >= old.len() && old.is_empty() && new.iter().all(|b| *b == 0)) && keep() {
                self.keep(number);
            }
        }
        self.volatile.clone_from(&self.durable);
    }
}

impl Files for SimDisk {
    fn list(&self, dir: &FilePath) -> Result<Vec<FileEntry>, Damage> {
        let entry = |(path, name): (&FilePath, &Name)| match name {
            Name::File(inode) if path.dir() == *dir => {
                let last = path.name.rsplit('/').next().unwrap_or_default().to_owned();
                Some(FileEntry { name: last, len: self.inodes[*inode].volatile.len() as u64 })
            }
            _ => None,
        };
        let mut found: Vec<FileEntry> = self.names.iter().filter_map(entry).collect();
        found.sort();
        Ok(found)
    }

    fn bytes(&self, path: &FilePath) -> Stored<&[u8]> {
        self.file(path).map_or(Stored::Empty, |inode| Stored::Present(&self.inodes[inode].volatile))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::file::Volume;

    fn path(name: &str) -> FilePath {
        FilePath::new(Volume::Log, name)
    }

    fn run(disk: &mut SimDisk, ops: &[FileOp]) {
        ops.iter().for_each(|op| disk.run(op).unwrap());
    }

    fn content(disk: &SimDisk, name: &str) -> Option<Vec<u8>> {
        match disk.bytes(&path(name)) {
            Stored::Present(bytes) => Some(bytes.to_vec()),
            _ => None,
        }
    }

    #[test]
    fn only_what_was_synced_surely_survives() {
        let mut disk = SimDisk::new();
        run(
            &mut disk,
            &[FileOp::Create(path("a")), FileOp::Write { path: path("a"), at: 0, bytes: vec![1; 600] }, FileOp::Sync(path("a"))],
        );
        let mut lost = disk.clone();
        lost.power_fails(&mut || false);
        assert_eq!(content(&lost, "a"), None, "the name wasn't synced");
        run(&mut disk, &[FileOp::SyncDir(path("")), FileOp::Write { path: path("a"), at: 0, bytes: vec![2; 600] }]);
        let mut asked = 0;
        let mut torn = disk.clone();
        torn.power_fails(&mut || {
            asked += 1;
            asked == 2
        });
        let torn = content(&torn, "a").unwrap();
        assert_eq!((asked, torn[0], torn[599]), (2, 1, 2), "the second sector alone was kept");
    }

    #[test]
    fn a_rename_is_there_or_not_and_needs_its_directory() {
        let mut disk = SimDisk::new();
        run(&mut disk, &[FileOp::MakeDir(path("d")), FileOp::Create(path("d/t")), FileOp::Sync(path("d/t")), FileOp::SyncDir(path("d"))]);
        run(&mut disk, &[FileOp::Rename { from: path("d/t"), to: path("d/f") }]);
        let mut without_dir = disk.clone();
        without_dir.power_fails(&mut || false);
        assert_eq!((content(&without_dir, "d/t"), content(&without_dir, "d/f")), (None, None), "the directory wasn't synced");
        run(&mut disk, &[FileOp::SyncDir(path(""))]);
        for keeps in [false, true] {
            let mut after = disk.clone();
            after.power_fails(&mut || keeps);
            assert_eq!(content(&after, "d/f").is_some(), keeps);
            assert_eq!(content(&after, "d/t").is_some(), !keeps);
        }
    }

    #[test]
    fn a_torn_append_keeps_any_subset() {
        let mut disk = SimDisk::new();
        run(&mut disk, &[FileOp::Create(path("a")), FileOp::Zero { path: path("a"), at: 0, len: 2048 }, FileOp::Sync(path("a"))]);
        run(&mut disk, &[FileOp::SyncDir(path(""))]);
        assert!(disk.is_reserved(&path("a"), 2048) && !disk.is_reserved(&path("a"), 2049));
        let mut turn = false;
        assert!(disk.tear(&path("a"), 512, &[7; 1024], &mut || {
            turn = !turn;
            turn
        }));
        let found = content(&disk, "a").unwrap();
        assert_eq!((found[511], found[512], found[1024]), (0, 7, 0));
    }
}
