//! Measuring where there is no ring: a thread for each writer, with plain system calls on files opened the same way.

use super::{Measurement, Tally, Watch, open_flag, position, write_failed};
use crate::base::fatal::{Fatal, FatalError};
use crate::doctor::disk_report::{Case, Sync};
use crate::runtime::direct::Block;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// All slices, one after the other, until time is up.
pub(super) fn measure(mut measurement: Measurement) -> Result<Vec<(Case, Tally)>, FatalError> {
    for at in measurement.slices() {
        let Some(until) = measurement.slice_end() else { break };
        let (case, tally) = &mut measurement.tallies[at];
        slice(&measurement.files, *case, &measurement.watch, until, tally)?;
    }
    Ok(measurement.tallies)
}

fn slice(files: &[PathBuf], case: Case, watch: &Watch, until: Instant, tally: &mut Tally) -> Result<(), FatalError> {
    let began = Instant::now();
    let results: Vec<Result<Vec<Duration>, FatalError>> = thread::scope(|scope| {
        let files = files.iter().take(usize::from(case.writers));
        let writers: Vec<_> = files.map(|file| scope.spawn(move || write(file, case, watch, until))).collect();
        let ended = |_| Err(FatalError::new(Fatal::Invariant, "a writer ended by a panic"));
        writers.into_iter().map(|writer| writer.join().unwrap_or_else(ended)).collect()
    });
    for took in results {
        took?.into_iter().for_each(|took| tally.record(took));
    }
    tally.took += began.elapsed();
    Ok(())
}

/// Writes one block after the other; returns how long each took.
fn write(path: &Path, case: Case, watch: &Watch, until: Instant) -> Result<Vec<Duration>, FatalError> {
    let failed = |error: io::Error| write_failed(path, &error);
    let open = |flags: i32| OpenOptions::new().write(true).custom_flags(flags | open_flag(case.sync)).open(path);
    // A filesystem in memory may have no O_DIRECT, and was let through for that.
    let file = match open(libc::O_DIRECT) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => open(0),
        other => other,
    };
    let file = file.map_err(failed)?;
    let block = Block::zeros(usize::try_from(case.block_bytes).unwrap_or(usize::MAX));
    let mut took = Vec::new();
    loop {
        let began = Instant::now();
        file.write_all_at(block.bytes(), position(case, took.len() as u64)).map_err(failed)?;
        if case.sync == Sync::Fdatasync {
            file.sync_data().map_err(failed)?;
        }
        took.push(began.elapsed());
        if !watch.goes_on(until) {
            return Ok(took);
        }
    }
}
