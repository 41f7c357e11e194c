//! What the host must grant: descriptors, locked memory, io_uring. Checked before anything is touched, so that the reason is
//! one clear sentence and not a failure deep inside.

use crate::base::fatal::{Fatal, FatalError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Registered I/O memory of one executor; glommio registers it in three rings.
pub(super) const IO_MEMORY_BYTES: usize = 128 << 10;
/// Locked memory that one executor needs: its registered memory thrice, and the rings.
const LOCKED_BYTES_PER_EXECUTOR: u64 = 3 * IO_MEMORY_BYTES as u64 + (128 << 10);
/// Below this glommio refuses to start an executor.
const LOCKED_BYTES_MIN: u64 = 512 << 10;
/// Descriptors below which a server of clients makes no sense.
const DESCRIPTORS_MIN: u64 = 64;

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

/// Whether `executors` executors can lock what they need.
///
/// # Errors
/// [`Fatal::LockedMemory`] with the limit found, the need and the remedy.
pub(super) fn check_locked_memory(executors: usize) -> Result<(), FatalError> {
    let limit = getrlimit(Resource::Memlock);
    // The soft limit may be raised up to the hard one without privilege.
    let _ = setrlimit(Resource::Memlock, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let have = getrlimit(Resource::Memlock).current.unwrap_or(u64::MAX);
    let need = (LOCKED_BYTES_PER_EXECUTOR * executors as u64).max(LOCKED_BYTES_MIN);
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

/// Whether io_uring can be used at all.
///
/// # Errors
/// [`Fatal::IoUring`] with the reason (missing, disabled by sysctl, blocked by seccomp) and the remedy.
pub(super) fn check_io_uring() -> Result<(), FatalError> {
    let mut params = [0u64; 15];
    // SAFETY: io_uring_setup reads and writes a structure of 120 bytes, which the array is; the returned descriptor is ours.
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 4u32, params.as_mut_ptr()) };
    if fd >= 0 {
        // SAFETY: closing the descriptor just made, which nobody else knows.
        unsafe { libc::close(i32::try_from(fd).unwrap_or(-1)) };
        return Ok(());
    }
    let error = std::io::Error::last_os_error();
    let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    let remedy = match error.raw_os_error() {
        Some(libc::ENOSYS) => "this kernel has no io_uring: Linux 5.8 or later is needed".to_owned(),
        Some(libc::EPERM) if matches!(disabled.trim(), "1" | "2") => {
            format!("it is disabled (kernel.io_uring_disabled={}): run `sysctl kernel.io_uring_disabled=0`", disabled.trim())
        }
        Some(libc::EPERM | libc::EACCES) => {
            "it is blocked, probably by the container's seccomp profile: allow the calls io_uring_setup, io_uring_enter and \
             io_uring_register"
                .to_owned()
        }
        Some(libc::ENOMEM) => "the kernel has no locked memory left for a ring: raise `ulimit -l`".to_owned(),
        _ => "see `man 2 io_uring_setup` for this error".to_owned(),
    };
    Err(FatalError::new(Fatal::IoUring, format!("io_uring can't be used: {error}; {remedy}")))
}
