//! What only the host can say for the four-letter words: its names and directories once, sizes, descriptors and memory about
//! once a second, durations of syncs as they happen.

use super::boot::Prepared;
use super::exec;
use super::files::Roots;
use crate::server::keeper::{Environment, HostFigures};
use crate::server::words::mntr::Summary;
use crate::server::words::simple::DirSizes;
use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often the figures are measured.
const EVERY: Duration = Duration::from_secs(1);
/// Entries of a data directory that are looked at.
const ENTRIES_MAX: usize = 100_000;
/// A name for each descriptor of this process.
const DESCRIPTORS: &str = "/proc/self/fd";

/// Durable writes of all log shards since the start, in microseconds. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct SyncFigures(Arc<SyncCounters>);

#[derive(Debug)]
struct SyncCounters {
    count: AtomicU64,
    sum_us: AtomicU64,
    min_us: AtomicU64,
    max_us: AtomicU64,
}

impl Default for SyncFigures {
    fn default() -> SyncFigures {
        let zero = AtomicU64::default;
        SyncFigures(Arc::new(SyncCounters { count: zero(), sum_us: zero(), min_us: AtomicU64::new(u64::MAX), max_us: zero() }))
    }
}

impl SyncFigures {
    /// Books one durable write.
    pub(super) fn record(&self, us: u64) {
        // The four may be read while they don't fit each other yet; a figure for people bears that.
        self.0.count.fetch_add(1, Ordering::Relaxed);
        self.0.sum_us.fetch_add(us, Ordering::Relaxed);
        self.0.min_us.fetch_min(us, Ordering::Relaxed);
        self.0.max_us.fetch_max(us, Ordering::Relaxed);
    }

    fn summary_ms(&self) -> Option<Summary> {
        let ms = |us: &AtomicU64| us.load(Ordering::Relaxed) / 1000;
        Summary::of(ms(&self.0.min_us), ms(&self.0.max_us), self.0.count.load(Ordering::Relaxed), ms(&self.0.sum_us))
    }
}

/// Measures. Reads directories, so it belongs on a thread that may block.
fn measure(roots: &Roots, syncs: &SyncFigures) -> HostFigures {
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    HostFigures {
        sizes: DirSizes { data_bytes: size_of_tree(&roots.data), log_bytes: size_of_tree(&roots.log) },
        descriptors_open: descriptors_open(),
        descriptors_max: rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
        memory_free_mb: megabytes(&memory, "MemAvailable:"),
        memory_total_mb: megabytes(&memory, "MemTotal:"),
        log_free_bytes: rustix::fs::statvfs(&roots.log).ok().map(|found| found.f_bavail.saturating_mul(found.f_frsize)),
        sync_ms: syncs.summary_ms(),
    }
}

/// Descriptors of this process. Since Linux 6.2 the directory's size is their number; counting its thousands of names takes tens of
/// milliseconds.
fn descriptors_open() -> Option<u64> {
    fs::metadata(DESCRIPTORS).map(|dir| dir.len()).ok().filter(|open| *open > 0).or_else(descriptors_counted)
}

/// The same on an older kernel. The one that reads the directory doesn't count.
fn descriptors_counted() -> Option<u64> {
    fs::read_dir(DESCRIPTORS).ok().map(|entries| (entries.count() as u64).saturating_sub(1))
}

/// Bytes of all files below `root`; what vanishes meanwhile counts nothing.
fn size_of_tree(root: &Path) -> u64 {
    let mut waiting = vec![root.to_owned()];
    let (mut bytes, mut seen) = (0, 0);
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            seen += 1;
            if seen > ENTRIES_MAX {
                return bytes;
            }
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => waiting.push(entry.path()),
                Ok(meta) => bytes += meta.len(),
                Err(_) => {}
            }
        }
    }
    bytes
}

/// A line of `/proc/meminfo`, which counts in kB.
fn megabytes(memory: &str, name: &str) -> Option<u64> {
    let line = memory.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kb| kb / 1024)
}

/// The newest figures that the keeper hasn't got yet.
pub(super) type Measured = Rc<Cell<Option<HostFigures>>>;

/// Measures once, then again and again on this executor's blocking thread.
pub(super) fn start(prepared: &Prepared) -> Measured {
    let (roots, syncs) = (prepared.roots.clone(), prepared.shard.figures.clone());
    let measured: Measured = Rc::new(Cell::new(Some(measure(&roots, &syncs))));
    let newest = Rc::clone(&measured);
    exec::spawn_local(async move {
        loop {
            exec::sleep(EVERY).await;
            let (roots, syncs) = (roots.clone(), syncs.clone());
            newest.set(Some(exec::spawn_blocking(move || measure(&roots, &syncs)).await));
        }
    })
    .detach();
    measured
}

/// What doesn't change while the process lives.
pub(super) fn environment(roots: &Roots, client_port: u16) -> Environment {
    let uname = rustix::system::uname();
    let text = |value: &std::ffi::CStr| Some(value.to_string_lossy().into_owned());
    let variable = |name: &str| std::env::var(name).ok();
    let (user_name, user_home) = user();
    Environment {
        client_port,
        data_dir: roots.data.display().to_string(),
        data_log_dir: roots.log.display().to_string(),
        host_name: text(uname.nodename()),
        os_name: text(uname.sysname()),
        os_arch: text(uname.machine()).map(|arch| if arch == "x86_64" { "amd64".to_owned() } else { arch }),
        os_version: text(uname.release()),
        user_name: user_name.or_else(|| variable("USER")),
        user_home: user_home.or_else(|| variable("HOME")),
        user_dir: std::env::current_dir().ok().map(|dir| dir.display().to_string()),
    }
}

/// Name and home of the process's user, by the local list of users.
fn user() -> (Option<String>, Option<String>) {
    let uid = rustix::process::geteuid().as_raw().to_string();
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let found = users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields.get(2) == Some(&uid.as_str()));
    let field = |at: usize| found.as_ref().and_then(|fields| fields.get(at)).map(|text| (*text).to_owned());
    (field(0), field(5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_syncs_add_up() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("log")).unwrap();
        fs::write(dir.path().join("log/a"), [0; 100]).unwrap();
        fs::write(dir.path().join("b"), [0; 23]).unwrap();
        assert_eq!(size_of_tree(dir.path()), 123);
        assert_eq!(size_of_tree(&dir.path().join("none")), 0);
        let roots = Roots { data: dir.path().to_owned(), log: dir.path().join("log") };
        let syncs = SyncFigures::default();
        assert_eq!(measure(&roots, &syncs).sync_ms, None);
        [1500, 3500].into_iter().for_each(|us| syncs.record(us));
        let figures = measure(&roots, &syncs);
        assert_eq!(figures.sync_ms, Summary::of(1, 3, 2, 5));
        assert_eq!(figures.sizes, DirSizes { data_bytes: 123, log_bytes: 100 });
        assert!(figures.descriptors_open.is_some_and(|n| n > 2) && figures.descriptors_max.is_some());
    }

    #[test]
    fn descriptors_are_known_with_and_without_counting() {
        let few = descriptors_open().unwrap();
        let held: Vec<fs::File> = (0..300).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        assert!(few > 2 && descriptors_open().unwrap() >= 300 && descriptors_counted().unwrap() >= 300, "{few}, {}", held.len());
    }

    #[test]
    fn memory_is_read_in_megabytes() {
        assert_eq!(megabytes("MemTotal:        2048 kB\nMemFree: 1 kB\n", "MemTotal:"), Some(2));
        assert_eq!(megabytes("", "MemTotal:"), None);
    }
}
