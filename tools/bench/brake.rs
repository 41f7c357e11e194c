//! Slows processes down on purpose: stopped for a share of each period of 100 ms, to show that a comparison notices.

use rustix::process::{Pid, Signal, kill_process};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const PERIOD_MS: u64 = 100;

/// The processes run freely again once it is dropped.
pub struct Brake {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Brake {
    /// Stops `pids` for `percent` of the time; 0 leaves them alone.
    pub fn on(pids: &[u32], percent: u8) -> Brake {
        let done = Arc::new(AtomicBool::new(false));
        let pids: Vec<Pid> = pids.iter().filter_map(|pid| Pid::from_raw(i32::try_from(*pid).ok()?)).collect();
        let stopped_ms = PERIOD_MS * u64::from(percent.min(99)) / 100;
        let (until, share) = (Arc::clone(&done), stopped_ms);
        let thread = (share > 0).then(|| {
            std::thread::spawn(move || {
                while !until.load(Ordering::Relaxed) {
                    tell(&pids, Signal::STOP);
                    std::thread::sleep(Duration::from_millis(share));
                    tell(&pids, Signal::CONT);
                    std::thread::sleep(Duration::from_millis(PERIOD_MS - share));
                }
            })
        });
        Brake { done, thread }
    }
}

impl Drop for Brake {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It can't panic, and a thread that did has nothing left to undo.
            let _ = thread.join();
        }
    }
}

fn tell(pids: &[Pid], signal: Signal) {
    for pid in pids {
        // One that ended by itself is told nothing.
        let _ = kill_process(*pid, signal);
    }
}
