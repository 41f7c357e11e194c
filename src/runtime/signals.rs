//! SIGTERM and Ctrl-C, from a thread of their own to the executor through a bounded channel.

use crossbeam::channel::{Receiver, bounded};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;

/// Signals that wait to be seen; more say nothing new.
const SIGNALS_MAX: usize = 4;

/// A channel that yields the number of each ending signal.
///
/// # Errors
/// When no handler can be installed.
pub(super) fn ending() -> io::Result<Receiver<i32>> {
    let (send, receive) = bounded(SIGNALS_MAX);
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            // A full channel has told the executor already.
            let _ = send.try_send(signal);
        }
    })?;
    Ok(receive)
}
