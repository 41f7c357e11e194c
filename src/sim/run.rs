//! One seed from beginning to end. A broken invariant anywhere (a panic) is a failing seed like any other.

use super::checker::{Checker, with_name_in_front};
use super::coverage::Coverage;
use super::options::Options;
use super::world::{Verdict, World};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps panics of runs off standard error, with what they said for the outcome.
fn catch_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            let payload = info.payload();
            let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
            let text = text.unwrap_or("a panic");
            let place = info.location().map_or_else(String::new, |l| format!(" ({}:{})", l.file(), l.line()));
            PANIC.with(|slot| *slot.borrow_mut() = Some(format!("{text}{place}")));
        }));
    });
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended, or what is wrong.
    pub verdict: Result<Verdict, String>,
    /// Hash of all its events.
    pub hash: u64,
    /// What it went through.
    pub coverage: Coverage,
    /// Steps of the disk.
    pub disk_steps: u64,
}

/// Runs a seed with its options. `aloud` prints its story.
#[must_use]
pub fn run(options: &Options, aloud: bool) -> Outcome {
    catch_panics();
    let mut world = match World::new(options.clone(), aloud) {
        Ok(world) => world,
        Err(what) => return Outcome { verdict: Err(what), hash: 0, coverage: Coverage::default(), disk_steps: 0 },
    };
    let verdict = match catch_unwind(AssertUnwindSafe(|| world.run())) {
        Ok(verdict) => verdict,
        Err(_) => {
            let what = PANIC.with(|slot| slot.borrow_mut().take());
            Err(Checker::Assertion.says(&what.unwrap_or_else(|| "a panic".to_owned())))
        }
    };
    let verdict = verdict.map_err(|what| with_name_in_front(&what));
    Outcome { verdict, hash: world.hash(), coverage: world.coverage().clone(), disk_steps: world.disk_steps() }
}
