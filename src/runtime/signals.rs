//! Signals, from a thread of their own to the executor through a bounded channel: those that end a server in order, and those that
//! would end it at once although whoever sends them wants something else.
//!
//! Guarantees: an ending signal is always seen to: by the server while it serves, else by the thread here, which ends the process.

use crossbeam::channel::{Receiver, bounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Signals that wait to be seen; more say nothing new.
const SIGNALS_MAX: usize = 4;
/// Ends in order what runs.
const ENDING: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];
/// What operators of other servers send to have something shown. Left to itself, each ends the process without a word.
const ASKING: [i32; 2] = [SIGQUIT, SIGUSR1];

/// A channel that yields the number of each ending signal.
///
/// # Errors
/// When no handler can be installed.
pub(super) fn ending() -> io::Result<Receiver<i32>> {
    listen(&[], Arc::new(AtomicBool::new(true)))
}

/// The ending signals of a server, which may be busy with recovery for long and doesn't look for them then.
#[derive(Debug)]
pub(super) struct ServerSignals {
    came: Receiver<i32>,
    serving: Arc<AtomicBool>,
}

impl ServerSignals {
    /// The same as [`ending`] for a server, which lives on when it is only asked for something. It doesn't serve yet.
    ///
    /// # Errors
    /// When no handler can be installed.
    pub(super) fn start() -> io::Result<ServerSignals> {
        let serving = Arc::new(AtomicBool::new(false));
        Ok(ServerSignals { came: listen(&ASKING, Arc::clone(&serving))?, serving })
    }

    /// Whether one came since the last call.
    pub(super) fn came(&self) -> bool {
        self.came.try_recv().is_ok()
    }

    /// From now on the server looks for signals itself and ends in order.
    pub(super) fn serve(&self) {
        self.serving.store(true, Ordering::SeqCst);
    }

    /// From now on a signal ends the process at once, until [`ServerSignals::serve`]: only while a crash does no harm. True: one came
    /// before, and nobody but the caller sees to it.
    pub(super) fn recover(&self) -> bool {
        self.serving.store(false, Ordering::SeqCst);
        self.came()
    }
}

fn listen(asking: &'static [i32], serving: Arc<AtomicBool>) -> io::Result<Receiver<i32>> {
    let (send, receive) = bounded(SIGNALS_MAX);
    // Whoever started it with `nohup` wants it to outlive the terminal.
    let ending = ENDING.into_iter().filter(|signal| *signal != SIGHUP || !is_ignored(SIGHUP));
    let mut signals = Signals::new(ending.chain(asking.iter().copied()))?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        let mut told = false;
        for signal in signals.forever() {
            if asking.contains(&signal) {
                tracing::warn!(
                    "{} came and changes nothing: `ringkeeper latency HOST:PORT` and the word mntr show what this server does, SIGTERM ends it",
                    name(signal)
                );
                continue;
            }
            // A supervisor may send it to the process and to its group, too.
            if serving.load(Ordering::SeqCst) && !std::mem::replace(&mut told, true) {
                tracing::info!("{} came: this process is to end", name(signal));
            }
            // A full channel has told the executor already.
            let _ = send.try_send(signal);
            // Looked at after the signal was sent: a server that stopped looking before this is sure to have found it.
            if !serving.load(Ordering::SeqCst) {
                end_recovery(signal);
            }
        }
    })?;
    Ok(receive)
}

/// Ends the process in the midst of recovery, which a crash may do at any step.
fn end_recovery(signal: i32) -> ! {
    tracing::info!("{} came before this server served: it ends at once, and the next start goes on from what is there", name(signal));
    super::logging::flush();
    std::process::exit(0)
}

fn name(signal: i32) -> String {
    signal_hook::low_level::signal_name(signal).map_or_else(|| format!("signal {signal}"), str::to_owned)
}

/// Whether the process was started with that signal ignored.
fn is_ignored(signal: i32) -> bool {
    // SAFETY: a sigaction of zeros is a valid one, and with no new action the call only writes the present one into it.
    let (asked, action) = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        (libc::sigaction(signal, std::ptr::null(), &raw mut action), action)
    };
    asked == 0 && action.sa_sigaction == libc::SIG_IGN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_the_names_that_kill_knows() {
        let names: Vec<String> = ENDING.into_iter().chain(ASKING).map(name).collect();
        assert_eq!(names, ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1"]);
        assert_eq!(name(63), "signal 63");
        assert!(!is_ignored(SIGTERM));
    }

    #[test]
    fn a_signal_that_a_serving_server_was_sent_is_left_to_it() {
        let (send, came) = bounded(SIGNALS_MAX);
        let signals = ServerSignals { came, serving: Arc::default() };
        signals.serve();
        assert!(signals.serving.load(Ordering::SeqCst) && !signals.came());
        send.try_send(SIGTERM).unwrap();
        assert!(signals.recover() && !signals.recover(), "it came before");
        assert!(!signals.serving.load(Ordering::SeqCst));
    }
}
