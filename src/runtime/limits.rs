//! What the host must grant: descriptors, locked memory, io_uring. Checked before anything is touched, so that the reason is
//! one clear sentence and not a failure deep inside.

use crate::base::fatal::{Fatal, FatalError};
use crate::doctor::{status_of, why_ring_refused};
use crate::server::config::{Config, Placement};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// Registered I/O memory of one executor; glommio registers it in three rings.
pub(super) const IO_MEMORY_BYTES: usize = 128 << 10;
/// Locked memory that one executor needs: its registered memory thrice, and the rings.
const LOCKED_BYTES_PER_EXECUTOR: u64 = 3 * IO_MEMORY_BYTES as u64 + (128 << 10);
/// Below this glommio refuses to start an executor.
const LOCKED_BYTES_MIN: u64 = 512 << 10;
/// Descriptors below which a server of clients makes no sense.
const DESCRIPTORS_MIN: u64 = 64;
/// Descriptors that a server keeps for itself: its files, its listening sockets, the links to other servers…
const OWN_DESCRIPTORS: u64 = 64;
/// … and the rings of each executor, with the files it works on.
const DESCRIPTORS_PER_EXECUTOR: u64 = 16;
/// Under a limit so low that this is most of it, clients get one of so many.
const CLIENTS_SHARE_MIN: u64 = 4;

/// Raises the soft limit of descriptors to the hard one. Returns the limit.
pub(super) fn raise_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let now = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if now < DESCRIPTORS_MIN {
        tracing::warn!("only {now} descriptors: few clients will fit (raise `ulimit -n` or LimitNOFILE=)");
    }
    now
}

/// Connections of clients that each of `fronts` fronts of a server with `executors` executors may hold, so that it doesn't run out of
/// descriptors for what it owes them.
pub(super) fn conns_max(executors: usize, fronts: usize) -> usize {
    conns_within(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX), executors, fronts)
}

fn conns_within(descriptors: u64, executors: usize, fronts: usize) -> usize {
    let own = OWN_DESCRIPTORS + DESCRIPTORS_PER_EXECUTOR * executors as u64;
    let clients = descriptors.saturating_sub(own).max(descriptors / CLIENTS_SHARE_MIN);
    usize::try_from(clients).unwrap_or(usize::MAX).div_euclid(fronts.max(1)).max(1)
}

/// Executors of a server by this configuration.
pub(super) fn executors(config: &Config) -> usize {
    match config.placement {
        Placement::One => 1,
        Placement::Spread => config.fronts + 1 + config.log_shards,
    }
}

/// Bytes that `executors` executors lock.
pub(super) fn locked_bytes(executors: usize) -> u64 {
    (LOCKED_BYTES_PER_EXECUTOR * executors as u64).max(LOCKED_BYTES_MIN)
}

/// Whether `executors` executors can lock what they need.
///
/// # Errors
/// [`Fatal::LockedMemory`] with the limit found, the need and the remedy.
pub(super) fn check_locked_memory(executors: usize) -> Result<(), FatalError> {
    let limit = getrlimit(Resource::Memlock);
    // The soft limit may be raised up to the hard one without privilege.
    let _ = setrlimit(Resource::Memlock, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let have = getrlimit(Resource::Memlock).current.unwrap_or(u64::MAX);
    let need = locked_bytes(executors);
    if have >= need {
        return Ok(());
    }
    Err(FatalError::new(
        Fatal::LockedMemory,
        format!(
            "too little locked memory: the limit is {} KiB, {executors} executor(s) need {} KiB. Raise it with `ulimit -l {}`, with \
             LimitMEMLOCK= in the systemd unit, or with `--ulimit memlock=` of the container",
            have / 1024,
            need / 1024,
            need.div_ceil(1024)
        ),
    ))
}

/// Whether io_uring can be used at all. Returns the bits of `IORING_FEAT_…`.
///
/// # Errors
/// [`Fatal::IoUring`] with the reason (missing, disabled by sysctl, blocked by seccomp) and the remedy; [`Fatal::LockedMemory`] when no memory
/// is left for a ring.
pub(super) fn check_io_uring() -> Result<u32, FatalError> {
    let error = match open_ring() {
        Ok((_, features)) => return Ok(features),
        Err(error) => error,
    };
    let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok();
    let errno = error.raw_os_error().unwrap_or(0);
    let remedy = why_ring_refused(errno, disabled.as_deref().map(str::trim));
    Err(FatalError::new(status_of(errno), format!("io_uring can't be used: {error}; {remedy}")))
}

/// A ring of 4 entries, and the bits of `IORING_FEAT_…`.
///
/// # Errors
/// What the system said.
pub(super) fn open_ring() -> io::Result<(OwnedFd, u32)> {
    // `struct io_uring_params`: 120 bytes, the features at byte 20.
    let mut params = [0u32; 30];
    // SAFETY: io_uring_setup reads and writes a structure of 120 bytes, which the array is.
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 4u32, params.as_mut_ptr()) };
    match i32::try_from(fd) {
        // SAFETY: the descriptor was just made, and nobody else knows it.
        Ok(fd) if fd >= 0 => Ok((unsafe { OwnedFd::from_raw_fd(fd) }, params[5])),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_descriptors_for_the_server() {
        assert_eq!((conns_within(1024, 1, 1), conns_within(1024, 5, 2)), (944, 440));
        // Little is left, and still somebody is served.
        assert_eq!((conns_within(100, 1, 1), conns_within(100, 5, 2), conns_within(2, 1, 1)), (25, 12, 1));
        assert_eq!(conns_within(u64::MAX, 1, 1), usize::MAX - 80);
    }
}
