//! Direct I/O by plain system calls: blocks aligned as O_DIRECT wants them, and a try whether a directory's filesystem has it.

use crate::doctor::called::Direct;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Alignment that every device accepts; the log's blocks have it too.
pub(super) const ALIGNMENT: usize = 4096;

/// What the filesystems in memory call themselves.
const TMPFS_MAGIC: i128 = 0x0102_1994;
const RAMFS_MAGIC: i128 = 0x8584_58f6;

/// Aligned zeros.
pub(super) struct Block {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl Block {
    /// `len` zeros.
    pub(super) fn zeros(len: usize) -> Block {
        let memory = vec![0; len + ALIGNMENT];
        // A vector isn't moved in memory, so it stays aligned.
        let start = memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Block { memory, start, len }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.len]
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.len]
    }
}

/// A file without a name below `dir`, for writing with O_DSYNC; where the filesystem makes none, one whose name is removed at once.
///
/// # Errors
/// When no file can be made there.
pub(super) fn scratch(dir: &Path) -> io::Result<File> {
    let options = |flags: i32| {
        let mut options = OpenOptions::new();
        options.write(true).mode(0o600).custom_flags(flags | libc::O_DSYNC);
        options
    };
    match options(libc::O_TMPFILE).open(dir) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL | libc::ENOENT)) => {
            let name = dir.join(format!("ringkeeper.probe.{}", std::process::id()));
            let file = options(0).create_new(true).open(&name)?;
            fs::remove_file(&name)?;
            Ok(file)
        }
        other => other,
    }
}

/// Writes one block in `dir` as the log does, and leaves nothing.
pub(super) fn probe(dir: &Path) -> Direct {
    match scratch(dir) {
        Ok(file) => probe_file(dir, &file),
        Err(error) => Direct::Untried(format!("no file can be made in {}: {error}", dir.display())),
    }
}

fn probe_file(dir: &Path, file: &File) -> Direct {
    // The very call that the log's files are made direct with.
    match fcntl_getfl(file).and_then(|flags| fcntl_setfl(file, flags | OFlags::DIRECT)) {
        Ok(()) => match file.write_all_at(Block::zeros(ALIGNMENT).bytes(), 0) {
            Ok(()) => Direct::Works,
            Err(error) => Direct::Untried(format!("writing a block with O_DIRECT in {} fails: {error}", dir.display())),
        },
        Err(rustix::io::Errno::INVAL) => Direct::Missing { in_memory: is_one_of(dir, &[TMPFS_MAGIC]) },
        Err(error) => Direct::Untried(format!("asking {} for O_DIRECT fails: {error}", dir.display())),
    }
}

/// Whether the filesystem of `dir` lies in memory. It may have O_DIRECT all the same: tmpfs does since Linux 6.6.
pub(super) fn in_memory(dir: &Path) -> bool {
    is_one_of(dir, &[TMPFS_MAGIC, RAMFS_MAGIC])
}

fn is_one_of(dir: &Path, kinds: &[i128]) -> bool {
    rustix::fs::statfs(dir).is_ok_and(|found| kinds.contains(&i128::from(found.f_type)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_and_a_try_leaves_nothing() {
        for len in [ALIGNMENT, 16 * ALIGNMENT] {
            let block = Block::zeros(len);
            assert_eq!((block.bytes().len(), block.bytes().as_ptr() as usize % ALIGNMENT), (len, 0));
        }
        let dir = tempfile::tempdir().unwrap();
        assert_ne!(probe(dir.path()), Direct::Missing { in_memory: false }, "no test directory is without O_DIRECT");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(matches!(probe(&dir.path().join("none")), Direct::Untried(_)));
    }

    #[test]
    fn a_filesystem_in_memory_is_known_whatever_else_it_can() {
        let shm = Path::new("/dev/shm");
        assert!(in_memory(shm) || !shm.is_dir(), "/dev/shm is a tmpfs wherever it is");
        assert!(!in_memory(Path::new("/proc")) && !in_memory(Path::new("/none")));
    }
}
