//! Carrying out [`Script`]s with plain system calls, on a thread that may block: making segments and snapshots, renaming,
//! syncing directories. The steps are the same that the simulator carries out.

use super::direct::Block;
use super::files::Roots;
use crate::base::limits::BLOCK_BYTES;
use crate::model::file::{DiskError, FileOp, FilePath, Script};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::Duration;

/// Bytes of zeros written at once.
const ZERO_CHUNK_BYTES: usize = 256 << 10;
/// Between them the disk is others': at most 250 MB/s are filled.
const ZERO_PAUSE: Duration = Duration::from_millis(1);

/// Carries out the steps in order. Stops at the first error.
///
/// # Errors
/// The step that failed, in words; `no_space` when the device or a quota is full.
pub fn run_script(roots: &Roots, script: &Script) -> Result<(), DiskError> {
    script.ops.iter().try_for_each(|op| run_op(roots, op))
}

fn run_op(roots: &Roots, op: &FileOp) -> Result<(), DiskError> {
    let (what, path, done) = match op {
        FileOp::MakeDir(path) => ("making the directory", path, fs::create_dir_all(roots.resolve(path))),
        FileOp::Create(path) => ("creating", path, File::create(roots.resolve(path)).map(drop)),
        FileOp::Write { path, at, bytes } => ("writing", path, writable(roots, path).and_then(|file| file.write_all_at(bytes, *at))),
        FileOp::Zero { path, at, len } => ("zero-filling", path, zero(roots, path, *at, *len)),
        FileOp::Copy { from, to } => ("copying", from, fs::copy(roots.resolve(from), roots.resolve(to)).map(drop)),
        FileOp::Sync(path) => ("syncing", path, writable(roots, path).and_then(|file| file.sync_all())),
        FileOp::Verify { path, len, checksum } => ("reading back", path, verify(roots, path, *len, *checksum)),
        FileOp::Rename { from, to } => ("renaming", from, fs::rename(roots.resolve(from), roots.resolve(to))),
        FileOp::SyncDir(path) => ("syncing the directory", path, File::open(roots.resolve(path)).and_then(|dir| dir.sync_all())),
        FileOp::Remove(path) => ("removing", path, remove(roots, path)),
    };
    done.map_err(|error| disk_error(what, &roots.resolve(path).display().to_string(), &error))
}

/// An I/O error in the house's form.
pub(super) fn disk_error(what: &str, path: &str, error: &io::Error) -> DiskError {
    let no_space = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    DiskError { no_space, message: format!("{what} {path}: {error}") }
}

fn writable(roots: &Roots, path: &FilePath) -> io::Result<File> {
    OpenOptions::new().write(true).open(roots.resolve(path))
}

/// Really written zeros: a hole or an unwritten extent would make every later sync change metadata.
///
/// Past the page cache and with pauses: tens of megabytes that are written back at once would keep the log's small writes waiting, also
/// those of other servers on the same disk.
fn zero(roots: &Roots, path: &FilePath, at: u64, len: u64) -> io::Result<()> {
    let aligned = at.is_multiple_of(BLOCK_BYTES as u64) && len.is_multiple_of(BLOCK_BYTES as u64);
    let direct = OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(roots.resolve(path));
    let file = match direct {
        Ok(file) if aligned => file,
        // A filesystem without it.
        _ => writable(roots, path)?,
    };
    let zeros = Block::zeros(ZERO_CHUNK_BYTES);
    let mut done = 0;
    while done < len {
        let now = usize::try_from(len - done).unwrap_or(usize::MAX).min(ZERO_CHUNK_BYTES);
        file.write_all_at(&zeros.bytes()[..now], at + done)?;
        done += now as u64;
        if done < len {
            std::thread::sleep(ZERO_PAUSE);
        }
    }
    Ok(())
}

fn verify(roots: &Roots, path: &FilePath, len: u64, checksum: u64) -> io::Result<()> {
    let bytes = fs::read(roots.resolve(path))?;
    if bytes.len() as u64 == len && crate::base::checksum::checksum(&bytes) == checksum {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("{} bytes that differ from the {len} written", bytes.len())))
}

fn remove(roots: &Roots, path: &FilePath) -> io::Result<()> {
    match fs::remove_file(roots.resolve(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
