//! Measuring as a server writes: one executor, each writer a task with a file and one block in flight on the ring.

use super::{Measurement, Tally, Watch, open_flag, position, write_failed};
use crate::base::fatal::{Fatal, FatalError};
use crate::doctor::disk_report::{Case, Sync};
use crate::runtime::boot::executor;
use glommio::io::OpenOptions;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// All slices, one after the other, until time is up.
pub(super) fn measure(mut measurement: Measurement) -> Result<Vec<(Case, Tally)>, FatalError> {
    let handle = executor(glommio::Placement::Unbound, "probe", 1)
        .spawn(move || async move {
            for at in measurement.slices() {
                let Some(until) = measurement.slice_end() else { break };
                let (case, tally) = &mut measurement.tallies[at];
                slice(&measurement.files, *case, &measurement.watch, until, tally).await?;
            }
            Ok(measurement.tallies)
        })
        .map_err(|error| FatalError::new(Fatal::IoUring, format!("the executor can't start: {error}")))?;
    handle.join().map_err(|error| FatalError::new(Fatal::Invariant, format!("the executor ended by a panic: {error}")))?
}

async fn slice(files: &[PathBuf], case: Case, watch: &Watch, until: Instant, tally: &mut Tally) -> Result<(), FatalError> {
    let began = Instant::now();
    let writers: Vec<_> = files
        .iter()
        .take(usize::from(case.writers))
        .map(|file| {
            let (file, watch) = (file.clone(), watch.clone());
            glommio::spawn_local(async move { write(&file, case, &watch, until).await })
        })
        .collect();
    let mut failed = None;
    for writer in writers {
        match writer.await {
            Ok(took) => took.into_iter().for_each(|took| tally.record(took)),
            Err(error) => failed = Some(error),
        }
    }
    tally.took += began.elapsed();
    failed.map_or(Ok(()), Err)
}

/// Writes one block after the other; returns how long each took.
async fn write(path: &Path, case: Case, watch: &Watch, until: Instant) -> Result<Vec<Duration>, FatalError> {
    let failed = |error: std::io::Error| write_failed(path, &error);
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(open_flag(case.sync));
    let file = options.dma_open(path).await.map_err(|error| failed(error.into()))?;
    let mut block = glommio::allocate_dma_buffer_global(usize::try_from(case.block_bytes).unwrap_or(usize::MAX));
    block.as_bytes_mut().fill(0);
    let block = Rc::new(block);
    let mut took = Vec::new();
    loop {
        let began = Instant::now();
        let wrote = file.write_rc_at(Rc::clone(&block), position(case, took.len() as u64)).await.map_err(|error| failed(error.into()))?;
        if wrote != block.len() {
            return Err(failed(std::io::Error::new(
                std::io::ErrorKind::WriteZero,
                format!("{wrote} of {} bytes were written", block.len()),
            )));
        }
        if case.sync == Sync::Fdatasync {
            file.fdatasync().await.map_err(|error| failed(error.into()))?;
        }
        took.push(began.elapsed());
        if !watch.goes_on(until) {
            break;
        }
    }
    let _ = file.close().await;
    Ok(took)
}
