//! Log lines to standard error, as text or JSON, written by a thread of their own so that a slow terminal stalls no executor.

use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;

/// Lines that may wait for the writing thread; beyond, they are dropped and counted by the writer.
const LINES_WAITING_MAX: usize = 8192;

/// Sets logging up for the process. The guard writes what is left when it is dropped.
///
/// `level` is a level or a filter (`info`, `ringkeeper=debug`); one that can't be understood falls back to `info`.
#[must_use = "dropping the guard ends the writing"]
pub fn init(json: bool, level: &str) -> WorkerGuard {
    let (writer, guard) =
        tracing_appender::non_blocking::NonBlockingBuilder::default().buffered_lines_limit(LINES_WAITING_MAX).finish(std::io::stderr());
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_target(false).with_ansi(false);
    let set = if json { lines.json().try_init() } else { lines.try_init() };
    if set.is_err() {
        tracing::debug!("logging was set up before");
    }
    guard
}
