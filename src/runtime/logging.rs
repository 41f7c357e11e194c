//! Log lines to standard error, as text or JSON, written by a thread of their own so that a slow terminal stalls no executor;
//! and the end of a process whose own state turned out to be wrong.

use crate::base::fatal::Fatal;
use crate::server::note::{Level, Note};
use std::io::Write;
use std::sync::Mutex;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;

/// Lines that may wait for the writing thread; beyond, they are dropped and counted by the writer.
const LINES_WAITING_MAX: usize = 8192;

/// Writes what is left when it is dropped.
static WRITER: Mutex<Option<WorkerGuard>> = Mutex::new(None);

/// Sets logging up for the process.
///
/// `level` is a level or a filter (`info`, `ringkeeper=debug`); one that can't be understood falls back to `info`.
pub fn init(json: bool, level: &str) {
    let (writer, guard) =
        tracing_appender::non_blocking::NonBlockingBuilder::default().buffered_lines_limit(LINES_WAITING_MAX).finish(std::io::stderr());
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_target(false).with_ansi(false);
    let set = if json { lines.json().try_init() } else { lines.try_init() };
    if set.is_err() {
        tracing::debug!("logging was set up before");
    }
    if let Ok(mut kept) = WRITER.lock() {
        kept.get_or_insert(guard);
    }
}

/// Writes the lines that wait. Nothing is logged afterwards: it is for the end of the process.
pub fn flush() {
    // Whoever holds the lock is flushing already.
    if let Ok(mut kept) = WRITER.try_lock() {
        drop(kept.take());
    }
}

/// From now on a panic on any thread ends the process with the status of a broken invariant: no state that may be wrong is served
/// or written any further.
pub fn end_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        flush();
        let what = panic
            .payload()
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.payload().downcast_ref::<String>().map(String::as_str))
            .unwrap_or("a panic without a text");
        let place = panic.location().map_or_else(String::new, |at| format!(" ({at})"));
        let status = Fatal::Invariant.status();
        // With standard error closed there is nobody to tell.
        let _ = writeln!(
            std::io::stderr().lock(),
            "ringkeeper: {what}{place}. This is a defect of Ringkeeper: the process ends at once (status {status}), before anything wrong is \
             acknowledged. Please report it with this message; what was acknowledged is kept, so start the server again"
        );
        std::process::exit(status);
    }));
}

/// Prints a line of the core.
pub fn log_note(note: &Note) {
    match note.level {
        Level::Debug => tracing::debug!("{}", note.text),
        Level::Info => tracing::info!("{}", note.text),
        Level::Warn => tracing::warn!("{}", note.text),
        Level::Error => tracing::error!("{}", note.text),
    }
}
