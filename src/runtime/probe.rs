//! `ringkeeper probe-disk`: how long a durable write of the log takes on a directory's disk, and how parallel ones scale.
//!
//! Files of the measurement's own are prepared as the log's segments are (really written zeros, synced) and then written over in
//! place. Every case is measured in several short slices in turn, so that a moment's trouble falls on all of them alike. Guarantees:
//! space and time are bounded, and the files are removed at the end, on an error and on Ctrl-C (a `kill -9` leaves a directory that
//! says by its name what it is). What the figures mean is left to [`crate::doctor::disk_advice`].

mod ring;
mod threads;

use super::direct::probe as probe_direct;
use super::files::Roots;
use super::script::run_script;
use super::{limits, signals};
use crate::base::fatal::{Fatal, FatalError};
use crate::doctor::called::Direct;
use crate::doctor::disk_report::{Case, DiskReport, Figure, Sync, WRITERS, cases, cpu_waited_us};
use crate::doctor::tree::Tree;
use crate::model::file::{DiskError, FileOp, FilePath, Script, Volume};
use crossbeam::channel::Receiver;
use hdrhistogram::Histogram;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Bytes of each file that is written over.
const FILE_BYTES: u64 = 4 << 20;
/// Files; as many as the widest case writes at the same time.
const FILES: u8 = WRITERS[WRITERS.len() - 1];
/// Bytes that must be left when the files are there: others write on this disk too.
const LEFT_BYTES: u64 = 64 << 20;
/// Slices of each case.
const ROUNDS: u32 = 3;
/// Longest time that is told apart from a longer one.
const LONGEST: Duration = Duration::from_secs(60);

/// How measuring ended.
#[derive(Clone, PartialEq, Debug)]
pub enum Probed {
    /// All is measured that there was time for.
    Done(Box<DiskReport>),
    /// A signal came first.
    Stopped,
}

/// What a slice is to do, and how it knows its end. Clones share the order to stop.
#[derive(Clone, Debug)]
struct Watch {
    signals: Receiver<i32>,
    stopped: Arc<AtomicBool>,
    end: Instant,
}

impl Watch {
    fn stopped(&self) -> bool {
        if self.signals.try_recv().is_ok() {
            self.stopped.store(true, Ordering::Relaxed);
        }
        self.stopped.load(Ordering::Relaxed)
    }

    /// Whether a slice that ends at `until` may go on.
    fn goes_on(&self, until: Instant) -> bool {
        Instant::now() < until && !self.stopped()
    }
}

/// What one case gave so far.
struct Tally {
    nanos: Histogram<u64>,
    took: Duration,
}

impl Tally {
    fn new() -> Result<Tally, FatalError> {
        let longest = u64::try_from(LONGEST.as_nanos()).unwrap_or(u64::MAX);
        let nanos = Histogram::new_with_bounds(1, longest, 3)
            .map_err(|error| FatalError::new(Fatal::Invariant, format!("no histogram can be made: {error}")))?;
        Ok(Tally { nanos, took: Duration::ZERO })
    }

    fn record(&mut self, took: Duration) {
        self.nanos.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    fn figure(&self, case: Case) -> Option<Figure> {
        let us = |nanos: u64| nanos as f64 / 1000.0;
        (!self.nanos.is_empty()).then(|| Figure {
            case,
            syncs: self.nanos.len(),
            per_second: self.nanos.len() as f64 / self.took.as_secs_f64().max(f64::MIN_POSITIVE),
            p50_us: us(self.nanos.value_at_quantile(0.5)),
            p99_us: us(self.nanos.value_at_quantile(0.99)),
            max_us: us(self.nanos.max()),
        })
    }
}

/// Everything that both ways of measuring share.
struct Measurement {
    files: Vec<PathBuf>,
    watch: Watch,
    slice: Duration,
    tallies: Vec<(Case, Tally)>,
}

impl Measurement {
    /// Cases in the order in which their slices come, by place in `tallies`.
    fn slices(&self) -> impl Iterator<Item = usize> + use<> {
        let cases = self.tallies.len();
        (0..ROUNDS).flat_map(move |_| 0..cases)
    }

    /// When a slice that begins now ends; `None` when time is up or a signal came.
    fn slice_end(&self) -> Option<Instant> {
        let now = Instant::now();
        (now < self.watch.end && !self.watch.stopped()).then(|| (now + self.slice).min(self.watch.end))
    }
}

/// Measures the disk of `dir` for about `seconds`.
///
/// # Errors
/// [`Fatal::Directory`] when nothing can be written there as the log writes, or there is too little room; [`Fatal::WriteFailed`] when
/// a write fails meanwhile.
pub fn probe_disk(dir: &Path, seconds: u64) -> Result<Probed, FatalError> {
    let refuse = |what: String| FatalError::new(Fatal::Directory, what);
    let place =
        dir.canonicalize().map_err(|error| refuse(format!("{} can't be used: {error}; name a directory that is there", dir.display())))?;
    match probe_direct(&place) {
        Direct::Missing { in_memory: false } => {
            return Err(refuse(format!(
                "the filesystem of {} has no O_DIRECT, and a server needs it; name a directory on a local ext4 or xfs",
                place.display()
            )));
        }
        Direct::Untried(why) => return Err(refuse(why)),
        Direct::Works | Direct::Missing { in_memory: true } => {}
    }
    require_room(&place)?;
    let signals = signals::ending().map_err(|error| refuse(format!("no signal handler can be installed: {error}")))?;
    let watch = Watch { signals, stopped: Arc::default(), end: Instant::now() };
    let scratch = Scratch::make(&place)?;
    let Some(files) = scratch.fill(&watch)? else { return Ok(Probed::Stopped) };
    let why_threads = limits::check_io_uring().and_then(|_| limits::check_locked_memory(1)).err().map(|error| error.message);
    let slices = ROUNDS * u32::try_from(cases().len()).unwrap_or(u32::MAX);
    let time = Duration::from_secs(seconds);
    let tallies = cases().into_iter().map(|case| Ok((case, Tally::new()?))).collect::<Result<_, FatalError>>()?;
    let waited_before = cpu_waited_us(&Tree::below("/"));
    let began = Instant::now();
    let watch = Watch { end: began + time, ..watch };
    let measurement = Measurement { files, watch: watch.clone(), slice: time / slices, tallies };
    let tallies = if why_threads.is_none() { ring::measure(measurement)? } else { threads::measure(measurement)? };
    let seconds = began.elapsed().as_secs_f64();
    let waited_us = waited_before.zip(cpu_waited_us(&Tree::below("/"))).map(|(before, after)| after.saturating_sub(before));
    let waited_percent = waited_us.map(|us| us as f64 / 10_000.0 / seconds.max(f64::MIN_POSITIVE));
    drop(scratch);
    if watch.stopped() {
        return Ok(Probed::Stopped);
    }
    let figures = tallies.iter().filter_map(|(case, tally)| tally.figure(*case)).collect();
    Ok(Probed::Done(Box::new(DiskReport::of(place.display().to_string(), why_threads, seconds, waited_percent, figures))))
}

fn require_room(place: &Path) -> Result<(), FatalError> {
    let refuse = |what: String| FatalError::new(Fatal::Directory, what);
    let found = rustix::fs::statvfs(place).map_err(|error| refuse(format!("{} can't be looked at: {error}", place.display())))?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let want = u64::from(FILES) * FILE_BYTES + LEFT_BYTES;
    if free >= want {
        return Ok(());
    }
    Err(refuse(format!(
        "{} has {} MiB free, and measuring wants {} MiB of it to be there: make room",
        place.display(),
        free >> 20,
        want >> 20
    )))
}

/// A write that failed while it was measured.
fn write_failed(path: &Path, error: &std::io::Error) -> FatalError {
    FatalError::new(Fatal::WriteFailed, format!("writing {} fails: {error}; a log on this disk would end the server", path.display()))
}

/// The files' directory; goes with this value.
struct Scratch(Roots);

impl Scratch {
    fn make(place: &Path) -> Result<Scratch, FatalError> {
        let dir = place.join(format!("ringkeeper-probe-{}", std::process::id()));
        fs::create_dir(&dir).map_err(|error| {
            let text = format!("{} can't be made: {error}; name a directory that this user may write to", dir.display());
            FatalError::new(Fatal::Directory, text)
        })?;
        Ok(Scratch(Roots { data: dir.clone(), log: dir }))
    }

    /// The files, prepared as segments are; `None` when a signal came.
    fn fill(&self, watch: &Watch) -> Result<Option<Vec<PathBuf>>, FatalError> {
        let mut files = Vec::new();
        for number in 0..FILES {
            if watch.stopped() {
                return Ok(None);
            }
            let path = FilePath::new(Volume::Log, format!("file-{number}"));
            files.push(self.0.resolve(&path));
            let zero = FileOp::Zero { path: path.clone(), at: 0, len: FILE_BYTES };
            let ops = vec![FileOp::Create(path.clone()), zero, FileOp::Sync(path.clone()), FileOp::SyncDir(path.dir())];
            run_script(&self.0, &Script { ops }).map_err(|DiskError { no_space, message }| {
                FatalError::new(
                    if no_space { Fatal::Directory } else { Fatal::WriteFailed },
                    format!("preparing the files fails: {message}"),
                )
            })?;
        }
        Ok(Some(files))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What can't be removed is there to be seen, under a name that says whose it is.
        let _ = fs::remove_dir_all(&self.0.log);
    }
}

/// The flag that a file is opened with beside O_DIRECT.
fn open_flag(sync: Sync) -> i32 {
    if sync == Sync::Dsync { libc::O_DSYNC } else { 0 }
}

/// Where the `n`-th block of a file goes: over and over from the front.
fn position(case: Case, n: u64) -> u64 {
    let block = u64::from(case.block_bytes);
    n % (FILE_BYTES / block) * block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_stay_inside_their_file_and_aligned() {
        for case in cases() {
            for n in [0, 1, 63, 64, 1023, 1024, u64::MAX] {
                let at = position(case, n);
                assert!(at + u64::from(case.block_bytes) <= FILE_BYTES && at.is_multiple_of(u64::from(case.block_bytes)));
            }
        }
    }

    #[test]
    fn the_files_go_with_the_measurement() {
        let home = tempfile::tempdir().unwrap();
        let scratch = Scratch::make(home.path()).unwrap();
        let watch = Watch { signals: crossbeam::channel::never(), stopped: Arc::default(), end: Instant::now() };
        let files = scratch.fill(&watch).unwrap().unwrap();
        assert!(files.len() == usize::from(FILES) && files.iter().all(|file| fs::metadata(file).unwrap().len() == FILE_BYTES));
        watch.stopped.store(true, Ordering::Relaxed);
        assert_eq!(scratch.fill(&watch).unwrap(), None);
        drop(scratch);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_can_not_be_measured_is_refused_before_anything_is_written() {
        let error = probe_disk(Path::new("/nowhere/dir"), 1).unwrap_err();
        assert!(error.kind == Fatal::Directory && error.message.contains("/nowhere/dir"), "{error}");
    }
}
