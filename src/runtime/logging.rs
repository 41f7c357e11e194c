//! Log lines to standard error, as text or JSON, written by a thread of their own so that a slow terminal stalls no executor;
//! and the end of a process whose own state turned out to be wrong.

use crate::base::fatal::Fatal;
use crate::base::time::MonoMs;
use crate::server::note::{Level, Note};
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

/// Lines that may wait for the writing thread; beyond, they are dropped and counted by the writer.
const LINES_WAITING_MAX: usize = 8192;

/// Writes what is left when it is dropped.
static WRITER: Mutex<Option<WorkerGuard>> = Mutex::new(None);

/// Whether lines are JSON.
static JSON: AtomicBool = AtomicBool::new(false);

/// Sets logging up for the process.
///
/// `level` is a level or a filter (`info`, `ringkeeper=debug`); one that can't be understood falls back to `info`.
pub fn init(json: bool, level: &str) {
    let (writer, guard) =
        tracing_appender::non_blocking::NonBlockingBuilder::default().buffered_lines_limit(LINES_WAITING_MAX).finish(std::io::stderr());
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_target(false).with_ansi(false);
    JSON.store(json, Ordering::Relaxed);
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

/// The last line of a process that ends with `status`, in the form of the log lines before it. It isn't one of them: those may be dropped
/// when too many wait, and this one mustn't.
#[must_use]
pub fn last_line(status: i32, text: &str) -> String {
    if !JSON.load(Ordering::Relaxed) {
        return text.to_owned();
    }
    let mut timestamp = String::new();
    // Writing to a String can't fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut timestamp));
    serde_json::json!({ "timestamp": timestamp, "level": "ERROR", "fields": { "message": text, "status": status } }).to_string()
}

/// From now on a panic on any thread ends the process with the status of a broken invariant: no state that may be wrong is served
/// or written any further.
pub fn end_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        flush();
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let what = text.unwrap_or("a panic without a text");
        let place = panic.location().map_or_else(String::new, |at| format!(" ({at})"));
        let status = Fatal::Invariant.status();
        let said = format!(
            "ringkeeper: status {status}, {}: {what}{place}. This is a defect of Ringkeeper: the process ends at once, before anything wrong is \
             acknowledged. Please report it with this message; what was acknowledged is kept, so start the server again",
            Fatal::Invariant.name()
        );
        // With standard error closed there is nobody to tell.
        let _ = writeln!(std::io::stderr().lock(), "{}", last_line(status, &said));
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

/// Between two lines about the same thing.
const SAY_AGAIN_MS: u64 = 1000;

/// Whether it is time for a line about something that may go on for long, tens of times a second.
#[derive(Debug, Default)]
pub(super) struct Seldom(Option<MonoMs>);

impl Seldom {
    /// True at most once a second.
    pub(super) fn due(&mut self, now: MonoMs) -> bool {
        let due = self.0.is_none_or(|last| now.since(last) >= SAY_AGAIN_MS);
        if due {
            self.0 = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Set for the process that is to panic.
    const CHILD: &str = "RINGKEEPER_TEST_PANICS";

    #[test]
    fn what_goes_on_is_said_once_a_second() {
        let mut seldom = Seldom::default();
        let said: Vec<u64> = (0..50).map(|n| n * 50).filter(|ms| seldom.due(MonoMs(*ms))).collect();
        assert_eq!(said, [0, 1000, 2000]);
    }

    #[test]
    fn a_panic_on_any_thread_ends_the_process_and_says_that_it_is_a_defect() {
        if std::env::var_os(CHILD).is_some() {
            init(false, "info");
            end_on_panic();
            log_note(&Note { level: Level::Warn, text: "the line before".to_owned() });
            let other = std::thread::spawn(|| crate::base::check::broken(format_args!("two is {}", 3)));
            other.join().unwrap();
            std::process::exit(0);
        }
        let name = "runtime::logging::tests::a_panic_on_any_thread_ends_the_process_and_says_that_it_is_a_defect";
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let said = String::from_utf8(child.stderr).unwrap();
        assert_eq!(child.status.code(), Some(30), "{said}");
        let (log, last) = said.trim_end().rsplit_once('\n').unwrap();
        assert!(log.ends_with("the line before"), "{said}");
        assert!(last.starts_with("ringkeeper: status 30, invariant: invariant broken: two is 3 (") && last.contains("a defect"), "{said}");
    }
}
