//! For `ringkeeper doctor`: facts about this host that take a system call, and what a server by a configuration would need.
//!
//! Nothing is changed: a file without a name is written and forgotten, a ring made and closed. No limit is raised.

use super::dirs::zookeeper_data;
use super::{boot, direct, limits, placement};
use crate::base::fatal::FatalError;
use crate::doctor::called::{Called, Direct, Directory, Limit, Ring, Standing};
use crate::doctor::tree::{Fact, Tree};
use crate::doctor::{Host, Plan};
use crate::server::config::Config;
use rustix::process::{Resource, getrlimit};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Operations that the executor asks for at its start, as it names them, with their numbers.
const CALLS: &[(&str, usize)] = &[
    ("NOP", 0),
    ("READV", 1),
    ("WRITEV", 2),
    ("FSYNC", 3),
    ("READ_FIXED", 4),
    ("WRITE_FIXED", 5),
    ("POLL_ADD", 6),
    ("POLL_REMOVE", 7),
    ("SENDMSG", 9),
    ("RECVMSG", 10),
    ("TIMEOUT", 11),
    ("TIMEOUT_REMOVE", 12),
    ("ACCEPT", 13),
    ("ASYNC_CANCEL", 14),
    ("LINK_TIMEOUT", 15),
    ("CONNECT", 16),
    ("FALLOCATE", 17),
    ("OPENAT", 18),
    ("CLOSE", 19),
    ("STATX", 21),
    ("READ", 22),
    ("WRITE", 23),
    ("SEND", 26),
    ("RECV", 27),
];
/// `IORING_REGISTER_PROBE`.
const REGISTER_PROBE: u32 = 8;
/// Operations that a probe has room for.
const PROBE_OPS: usize = 256;
/// Bytes of a probe's head, and of each operation in it.
const PROBE_HEAD: usize = 16;
const PROBE_OP: usize = 8;

/// What a server by this configuration would need.
///
/// # Errors
/// When a directory can't be named.
pub fn plan(config: &Config) -> Result<Plan, FatalError> {
    let roots = boot::roots(config)?;
    // For each shard room for the first segment and one of the configured size; a young server takes less.
    let segment_bytes = config.log_segment_kb.saturating_add(config.log_first_segment_kb).saturating_mul(1024);
    Ok(Plan {
        data_dir: roots.data,
        log_dir: roots.log,
        autocreate: config.data_dir_autocreate,
        locked_bytes: limits::locked_bytes(limits::executors(config)),
        cores: config.cores.clone(),
        cores_available: placement::cores_available().len(),
        log_bytes: segment_bytes.saturating_mul(config.log_shards as u64),
        listen_backlog: config.listen_backlog.map_or(u64::from(boot::LISTEN_BACKLOG_DEFAULT.unsigned_abs()), u64::from),
        in_ensemble: config.ensemble.is_some(),
    })
}

/// Everything there is to know about this host.
#[must_use]
pub fn examine(plan: &Plan) -> Host {
    let limit = |of| {
        let limit = getrlimit(of);
        Limit { soft: limit.current, hard: limit.maximum }
    };
    let called = Called {
        ring: ring(),
        locked: limit(Resource::Memlock),
        descriptors: limit(Resource::Nofile),
        data: directory(&plan.data_dir),
        log: directory(&plan.log_dir),
    };
    Host::read(&Tree::below("/"), called)
}

fn ring() -> Ring {
    let refused = |call, error: &io::Error| Ring::Refused { call, errno: error.raw_os_error().unwrap_or(0) };
    let (ring, features) = match limits::open_ring() {
        Ok(made) => made,
        Err(error) => return refused("io_uring_setup", &error),
    };
    let none = std::ptr::null::<u8>();
    // SAFETY: nothing is submitted, nothing is waited for, and no signal mask is given, so no memory is touched.
    let entered = unsafe { libc::syscall(libc::SYS_io_uring_enter, ring.as_raw_fd(), 0u32, 0u32, 0u32, none, 0usize) };
    if entered < 0 {
        return refused("io_uring_enter", &io::Error::last_os_error());
    }
    match missing_calls(&ring) {
        Ok(missing) => Ring::Usable { features, missing_calls: Fact::Known(missing) },
        Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES | libc::ENOSYS)) => {
            refused("io_uring_register", &error)
        }
        Err(error) => Ring::Usable { features, missing_calls: Fact::Unread(error.to_string()) },
    }
}

fn missing_calls(ring: &OwnedFd) -> io::Result<Vec<&'static str>> {
    let mut probe = [0u8; PROBE_HEAD + PROBE_OP * PROBE_OPS];
    // SAFETY: the kernel writes at most a head and PROBE_OPS operations into `probe`, which has that room.
    let asked = unsafe {
        libc::syscall(libc::SYS_io_uring_register, ring.as_raw_fd(), REGISTER_PROBE, probe.as_mut_ptr(), PROBE_OPS as libc::c_uint)
    };
    if asked < 0 {
        return Err(io::Error::last_os_error());
    }
    // Of an operation: number, reserved, then flags, whose lowest bit says that it is there.
    let has = |number: usize| probe[PROBE_HEAD + PROBE_OP * number + 2] & 1 != 0;
    Ok(CALLS.iter().filter(|(_, number)| !has(*number)).map(|(name, _)| *name).collect())
}

fn directory(path: &Path) -> Directory {
    let nearest = nearest(path);
    let at = nearest.canonicalize().unwrap_or(nearest);
    let scratch = direct::scratch(&at);
    let standing = match (&scratch, path.exists()) {
        (_, true) if !path.is_dir() => Standing::NoDirectory,
        (Err(error), _) => Standing::Unwritable(error.to_string()),
        (Ok(_), true) => Standing::Writable,
        (Ok(_), false) => Standing::Makeable,
    };
    drop(scratch);
    let direct = if matches!(standing, Standing::Writable | Standing::Makeable) {
        direct::probe(&at)
    } else {
        Direct::Untried("it can't be tried where no file can be made".to_owned())
    };
    let device = rustix::fs::stat(&at).map_or((0, 0), |found| (rustix::fs::major(found.st_dev), rustix::fs::minor(found.st_dev)));
    let free_bytes = match rustix::fs::statvfs(&at) {
        Ok(found) => Fact::Known(found.f_bavail.saturating_mul(found.f_frsize)),
        Err(error) => Fact::Unread(error.to_string()),
    };
    Directory { path: path.to_owned(), nearest: at, standing, direct, device, free_bytes, foreign: zookeeper_data(path).is_some() }
}

/// `path`, or the nearest directory above it that exists.
fn nearest(path: &Path) -> PathBuf {
    path.ancestors().find(|above| above.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn directories_are_told_apart_and_left_as_they_were() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| directory(&home.path().join(name));
        fs::write(home.path().join("file"), "").unwrap();
        fs::create_dir_all(home.path().join("zk/version-2")).unwrap();
        assert_eq!(directory(home.path()).standing, Standing::Writable);
        let missing = at("a/b");
        assert_eq!((missing.standing, missing.nearest), (Standing::Makeable, home.path().canonicalize().unwrap()));
        assert_eq!(at("file").standing, Standing::NoDirectory);
        assert!(at("zk").foreign && at("zk").free_bytes.known().is_some());
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 2);
        assert!(matches!(directory(Path::new("/proc/none")).standing, Standing::Unwritable(_)));
    }
}
