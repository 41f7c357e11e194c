//! Progress of a long run, on a terminal only: one line that is written over again each second, and wiped at the end.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Runs shorter than this show nothing.
const SHORTEST: Duration = Duration::from_secs(3);

/// Of one run.
pub struct Progress {
    began: Instant,
    whole: Duration,
    shown_s: u64,
    on: bool,
}

impl Progress {
    /// A run that will take `whole`.
    pub fn new(whole: Duration) -> Progress {
        let on = whole >= SHORTEST && std::io::stderr().is_terminal();
        Progress { began: Instant::now(), whole, shown_s: 0, on }
    }

    /// Shows where it is, if a second has passed.
    pub fn show(&mut self, what: impl FnOnce() -> String) {
        let elapsed_s = if self.on { self.began.elapsed().as_secs() } else { 0 };
        if elapsed_s > self.shown_s {
            self.shown_s = elapsed_s;
            // A terminal that is gone has nobody to tell.
            let _ = write!(std::io::stderr(), "\r\x1b[K{elapsed_s} of {:.0} s: {}", self.whole.as_secs_f64(), what());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown_s > 0 {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
