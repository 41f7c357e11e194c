//! Files of log segments: opened with O_DIRECT, written at a place, synced.

use super::{ring, spawn_blocking};
use glommio::io::DmaBuffer;
use rustix::fs::{Mode, OFlags, open};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;

/// A file for direct writes; one at a time is waited for.
pub(in super::super) struct DirectFile(Rc<OwnedFd>);

impl DirectFile {
    /// Opens it on a thread that may block; where the filesystem has no O_DIRECT, without. `durable`: each write is durable when it ends.
    ///
    /// # Errors
    /// The system's.
    pub(in super::super) async fn open(path: PathBuf, durable: bool) -> io::Result<DirectFile> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | if durable { OFlags::DSYNC } else { OFlags::empty() };
        let opened = spawn_blocking(move || match open(&path, flags | OFlags::DIRECT, Mode::empty()) {
            Err(rustix::io::Errno::INVAL) => open(&path, flags, Mode::empty()),
            other => other,
        });
        Ok(DirectFile(Rc::new(opened.await?)))
    }

    /// Writes `buffer` at byte `at`. Returns how much was written.
    ///
    /// # Errors
    /// The system's.
    pub(in super::super) async fn write_at(&self, buffer: Rc<DmaBuffer>, at: u64) -> io::Result<usize> {
        let bytes: *const [u8] = buffer.as_bytes();
        // SAFETY: the buffer's memory isn't moved or changed while a handle on it exists, and the descriptor is kept with it.
        let wrote = unsafe { ring::write(self.0.as_raw_fd(), bytes, at, (buffer, Rc::clone(&self.0))) };
        Ok(wrote.await? as usize)
    }

    /// Makes what was written durable.
    ///
    /// # Errors
    /// The system's.
    pub(in super::super) async fn sync_data(&self) -> io::Result<()> {
        // SAFETY: this handle, which is borrowed until the answer is there, keeps the descriptor open.
        unsafe { ring::sync_data(self.0.as_raw_fd()) }.await.map(drop)
    }
}
