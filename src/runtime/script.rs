//! Carrying out [`Script`]s with plain system calls, on a thread that may block: making segments and snapshots, renaming,
//! syncing directories. The steps are the same that the simulator carries out.

use super::direct::Block;
use super::files::Roots;
use crate::base::limits::BLOCK_BYTES;
use crate::model::file::{DiskError, FileOp, FilePath, Script};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::Duration;
use xxhash_rust::xxh3::Xxh3;

/// Bytes of zeros written at once.
const ZERO_CHUNK_BYTES: usize = 256 << 10;
/// Between them the disk is others': at most 250 MB/s are filled.
const ZERO_PAUSE: Duration = Duration::from_millis(1);
/// Bytes read back, or written again, at once.
const READ_CHUNK_BYTES: usize = 256 << 10;

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
        FileOp::Rewrite { path, at, len } => ("writing again", path, rewrite(roots, path, *at..at.saturating_add(*len))),
        FileOp::Sync(path) => ("syncing", path, writable(roots, path).and_then(|file| file.sync_all())),
        FileOp::Verify { path, at, len, checksum } => ("reading back", path, verify(roots, path, *at..at.saturating_add(*len), *checksum)),
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

/// Room that segments leave to everything else: metadata, snapshots, the log of messages.
const ROOM_LEFT_BYTES: u64 = 1 << 20;

/// Whether `len` more bytes fit, and a little beside them. Asked before they are written: a disk that is nearly full would be filled and
/// emptied again at each try.
fn has_room(file: &File, len: u64) -> io::Result<()> {
    let volume = rustix::fs::fstatvfs(file)?;
    let free = volume.f_bavail.saturating_mul(volume.f_frsize);
    if free < len.saturating_add(ROOM_LEFT_BYTES.min(len)) {
        return Err(io::Error::from(io::ErrorKind::StorageFull));
    }
    Ok(())
}

/// After zeros that found no more room: what was taken goes back.
fn give_back(file: &File, at: u64, error: io::Error) -> io::Error {
    if disk_error("", "", &error).no_space {
        // If that fails too, the file goes when it is made again.
        let _ = file.set_len(at);
    }
    error
}

/// For writes of whole blocks (`aligned`) past the page cache, where the filesystem can.
fn writable_past_cache(roots: &Roots, path: &FilePath, aligned: bool) -> io::Result<File> {
    match OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(roots.resolve(path)) {
        Ok(file) if aligned => Ok(file),
        _ => writable(roots, path),
    }
}

/// Really written zeros: a hole or an unwritten extent would make every later sync change metadata.
///
/// Past the page cache and with pauses: tens of megabytes that are written back at once would keep the log's small writes waiting, also
/// those of other servers on the same disk.
fn zero(roots: &Roots, path: &FilePath, at: u64, len: u64) -> io::Result<()> {
    let aligned = at.is_multiple_of(BLOCK_BYTES as u64) && len.is_multiple_of(BLOCK_BYTES as u64);
    let file = writable_past_cache(roots, path, aligned)?;
    has_room(&file, len)?;
    let zeros = Block::zeros(ZERO_CHUNK_BYTES);
    let mut done = 0;
    while done < len {
        let now = usize::try_from(len - done).unwrap_or(usize::MAX).min(ZERO_CHUNK_BYTES);
        file.write_all_at(&zeros.bytes()[..now], at + done).map_err(|error| give_back(&file, at, error))?;
        done += now as u64;
        if done < len {
            std::thread::sleep(ZERO_PAUSE);
        }
    }
    Ok(())
}

/// Through the page cache, where the bytes may be the last copy there is, so that they are dirty once more.
fn rewrite(roots: &Roots, path: &FilePath, range: Range<u64>) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(roots.resolve(path))?;
    let mut chunk = vec![0; READ_CHUNK_BYTES];
    let mut at = range.start;
    while at < range.end {
        let now = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(chunk.len());
        file.read_exact_at(&mut chunk[..now], at)?;
        file.write_all_at(&chunk[..now], at)?;
        at += now as u64;
    }
    Ok(())
}

/// Past the page cache, which only knows what it was given.
fn verify(roots: &Roots, path: &FilePath, range: Range<u64>, checksum: u64) -> io::Result<()> {
    let path = roots.resolve(path);
    let file = match OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(&path) {
        Ok(file) => file,
        // A filesystem without it.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => File::open(&path)?,
        Err(error) => return Err(error),
    };
    let differs = |what: String| Err(io::Error::new(io::ErrorKind::InvalidData, what));
    let len = file.metadata()?.len();
    if len != range.end {
        return differs(format!("{len} bytes, {} were written", range.end));
    }
    let (mut block, mut hash) = (Block::zeros(READ_CHUNK_BYTES), Xxh3::new());
    let mut at = range.start - range.start % BLOCK_BYTES as u64;
    while at < range.end {
        let read = file.read_at(block.bytes_mut(), at)?;
        if read == 0 {
            return differs(format!("it ends at {at}, {} bytes were written", range.end));
        }
        let from = usize::try_from(range.start.saturating_sub(at)).unwrap_or(usize::MAX).min(read);
        let to = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(read);
        hash.update(&block.bytes()[from..to]);
        at += read as u64;
    }
    if hash.digest() == checksum {
        Ok(())
    } else {
        differs(format!("bytes {} to {} aren't those that were written", range.start, range.end))
    }
}

fn remove(roots: &Roots, path: &FilePath) -> io::Result<()> {
    match fs::remove_file(roots.resolve(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::checksum::checksum;
    use crate::model::file::Volume;

    #[test]
    fn what_is_written_again_stays_as_it_is_and_the_file_as_long() {
        let dir = tempfile::tempdir().expect("a directory");
        let roots = Roots { data: dir.path().to_owned(), log: dir.path().to_owned() };
        let path = FilePath::new(Volume::Log, "file");
        let bytes: Vec<u8> = (0..700_001u32).map(|n| (n % 251) as u8).collect();
        fs::write(dir.path().join("file"), &bytes).expect("written");
        let again = |at, len| run_op(&roots, &FileOp::Rewrite { path: path.clone(), at, len });
        for (at, len) in [(0, 700_001), (4096, 8192), (699_904, 97), (5, 0)] {
            again(at, len).expect("bytes that are there");
            assert!(fs::read(dir.path().join("file")).expect("a file") == bytes, "{len} at {at}");
        }
        assert!(again(700_000, 2).is_err(), "more than there is");
        assert_eq!(fs::metadata(dir.path().join("file")).expect("a file").len(), 700_001);
    }

    #[test]
    fn what_is_read_back_is_the_end_of_the_file_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a directory");
        let roots = Roots { data: dir.path().to_owned(), log: dir.path().to_owned() };
        let path = FilePath::new(Volume::Data, "file");
        let bytes: Vec<u8> = (0..700_001u32).map(|n| (n % 251) as u8).collect();
        fs::write(dir.path().join("file"), &bytes).expect("written");
        let end = bytes.len() as u64;
        for at in [0, 1, 4096, 262_144, 300_000, end - 1, end] {
            let rest = &bytes[at as usize..];
            let read = |len: u64, sum| run_op(&roots, &FileOp::Verify { path: path.clone(), at, len, checksum: sum });
            read(rest.len() as u64, checksum(rest)).expect("as it was written");
            assert!(read(rest.len() as u64, checksum(rest) ^ 1).is_err(), "another checksum, from {at}");
            assert!(read(rest.len() as u64 + 1, checksum(rest)).is_err(), "a longer file was written");
        }
        let shorter = FileOp::Verify { path, at: 0, len: end - 1, checksum: checksum(&bytes[..end as usize - 1]) };
        assert!(run_op(&roots, &shorter).is_err(), "a shorter file was written");
    }
}
