//! A disk in memory: names and contents as programs see them, and as they survive a power cut.
//!
//! Content survives by sectors, any subset of the unsynced ones; names survive up to any of the unsynced changes of names.

use crate::base::prng::Prng;
use crate::model::file::{Damage, FileEntry, FileOp, FilePath, Files, Stored};
use std::collections::{BTreeMap, BTreeSet};

const SECTOR: usize = 512;

#[derive(Clone, Debug, Default)]
struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
}

impl Inode {
    /// All sectors count as clean afterwards; those that `reaches` names are durable.
    fn sync(&mut self, mut reaches: impl FnMut() -> bool) {
        self.durable.resize(self.live.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            let (start, end) = (sector * SECTOR, ((sector + 1) * SECTOR).min(self.live.len()));
            if reaches() {
                self.durable[start..end].copy_from_slice(&self.live[start..end]);
            }
        }
    }
}

type Names = BTreeMap<String, usize>;

/// The disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    inodes: Vec<Inode>,
    names: Names,
    /// Names after each change that isn't durable yet; the first is durable.
    name_log: Vec<Names>,
    /// Directories that can't be listed.
    unlisted: BTreeSet<String>,
}

impl Disk {
    /// How often a new file was made.
    pub(super) fn made(&self) -> usize {
        self.inodes.len()
    }

    pub(super) fn apply(&mut self, op: &FileOp) -> Result<(), String> {
        match op {
            FileOp::MakeDir(_) => {}
            FileOp::Create(path) => {
                self.inodes.push(Inode::default());
                self.names.insert(path.name.clone(), self.inodes.len() - 1);
                self.renamed();
            }
            FileOp::Write { path, at, bytes } => self.write(&path.name, *at, bytes)?,
            FileOp::Zero { path, at, len } => self.write(&path.name, *at, &vec![0; *len as usize])?,
            FileOp::Copy { from, to } => {
                let bytes = self.inode(&from.name)?.live.clone();
                self.apply(&FileOp::Create(to.clone()))?;
                self.write(&to.name, 0, &bytes)?;
            }
            FileOp::Rewrite { path, at, len } => {
                let live = &self.inode(&path.name)?.live;
                let bytes = live.get(*at as usize..(at + len) as usize).ok_or_else(|| format!("{path} is shorter"))?.to_vec();
                self.write(&path.name, *at, &bytes)?;
            }
            FileOp::Sync(path) => {
                self.inode(&path.name)?.sync(|| true);
            }
            FileOp::Verify { .. } => return Err("the log verifies no file".to_owned()),
            FileOp::Rename { from, to } => {
                let ino = self.names.remove(&from.name).ok_or_else(|| format!("no file {from}"))?;
                self.names.insert(to.name.clone(), ino);
                self.renamed();
            }
            FileOp::SyncDir(_) => {
                // A journal commits all names at once.
                self.name_log = vec![self.names.clone()];
            }
            FileOp::Remove(path) => {
                self.names.remove(&path.name);
                self.renamed();
            }
        }
        Ok(())
    }

    fn renamed(&mut self) {
        if self.name_log.is_empty() {
            self.name_log.push(Names::new());
        }
        self.name_log.push(self.names.clone());
    }

    fn inode(&mut self, name: &str) -> Result<&mut Inode, String> {
        let ino = *self.names.get(name).ok_or_else(|| format!("no file {name}"))?;
        Ok(&mut self.inodes[ino])
    }

    /// Writes without making it durable.
    pub(super) fn write(&mut self, name: &str, at: u64, bytes: &[u8]) -> Result<(), String> {
        let inode = self.inode(name)?;
        let (at, end) = (at as usize, at as usize + bytes.len());
        if inode.live.len() < end {
            inode.live.resize(end, 0);
        }
        inode.live[at..end].copy_from_slice(bytes);
        inode.dirty.extend(at / SECTOR..end.div_ceil(SECTOR));
        Ok(())
    }

    /// Makes a range durable, as the completion of a synchronous write does.
    pub(super) fn sync_range(&mut self, name: &str, at: u64, len: usize) {
        let inode = self.inode(name).unwrap();
        let (at, end) = (at as usize, at as usize + len);
        assert!(inode.durable.len() >= end, "an append grows {name}");
        inode.durable[at..end].copy_from_slice(&inode.live[at..end]);
        inode.dirty.retain(|s| *s < at / SECTOR || *s >= end.div_ceil(SECTOR));
    }

    /// What is there after a power cut: any subset of what wasn't synced.
    pub(super) fn after_power_cut(&self, prng: &mut Prng) -> Disk {
        let keep_all = prng.chance(1, 4);
        let odds = prng.between(0, 4);
        let names = match self.name_log.len() {
            0 => Names::new(),
            n => self.name_log[prng.index(n)].clone(),
        };
        let inodes = self.inodes.iter().map(|inode| {
            let mut bytes = inode.durable.clone();
            if prng.chance(1, 2) && bytes.len() < inode.live.len() {
                bytes.resize(inode.live.len(), 0);
            }
            for sector in &inode.dirty {
                let (start, end) = (sector * SECTOR, ((sector + 1) * SECTOR).min(inode.live.len()));
                if end <= bytes.len() && (keep_all || prng.chance(odds, 4)) {
                    bytes[start..end].copy_from_slice(&inode.live[start..end]);
                }
            }
            Inode { live: bytes.clone(), durable: bytes, dirty: BTreeSet::new() }
        });
        Disk { inodes: inodes.collect(), name_log: vec![names.clone()], names, unlisted: BTreeSet::new() }
    }

    /// A device that lost its cache: what wasn't synced still reads well and counts as clean, but only some of it is there for good.
    pub(super) fn sync_fails(&mut self, prng: &mut Prng) {
        self.inodes.iter_mut().for_each(|inode| inode.sync(|| prng.chance(1, 2)));
    }

    pub(super) fn content(&mut self, name: &str) -> &mut Vec<u8> {
        &mut self.inode(name).unwrap().live
    }

    /// The same with everything durable.
    pub(super) fn settled(&self) -> Disk {
        let durable = |i: &Inode| Inode { live: i.live.clone(), durable: i.live.clone(), dirty: BTreeSet::new() };
        Disk {
            inodes: self.inodes.iter().map(durable).collect(),
            names: self.names.clone(),
            name_log: vec![self.names.clone()],
            unlisted: self.unlisted.clone(),
        }
    }

    /// Puts a file there, replacing what has its name.
    pub(super) fn put(&mut self, name: &str, bytes: Vec<u8>) {
        self.inodes.push(Inode { live: bytes.clone(), durable: bytes, dirty: BTreeSet::new() });
        self.names.insert(name.to_owned(), self.inodes.len() - 1);
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.names.keys().cloned().collect()
    }

    /// From now on the directory can't be listed.
    pub(super) fn hide(&mut self, dir: &str) {
        self.unlisted.insert(dir.to_owned());
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.names.remove(name);
    }
}

impl Files for Disk {
    fn list(&self, dir: &FilePath) -> Result<Vec<FileEntry>, Damage> {
        if self.unlisted.contains(&dir.name) {
            return Err(Damage { path: dir.name.clone(), offset: 0, what: "listing it fails".to_owned() });
        }
        let prefix = format!("{}/", dir.name);
        let inside = self.names.iter().filter_map(|(name, ino)| {
            let rest = name.strip_prefix(&prefix).filter(|rest| !rest.contains('/'))?;
            Some(FileEntry { name: rest.to_owned(), len: self.inodes[*ino].live.len() as u64 })
        });
        Ok(inside.collect())
    }

    fn bytes(&self, path: &FilePath) -> Stored<&[u8]> {
        self.names.get(&path.name).map_or(Stored::Empty, |ino| Stored::Present(&self.inodes[*ino].live))
    }
}
