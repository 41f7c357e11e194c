//! Many seeds, on several threads, with their outcomes in the order of the seeds.

use super::coverage::Coverage;
use super::options::Options;
use super::run::{Outcome, run};
use super::world::Verdict;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

/// What a batch came to.
#[derive(Debug, Default)]
pub struct Tally {
    /// Runs in which everything held.
    pub passed: u64,
    /// Runs in which the server found planted rot and refused to start.
    pub refused: u64,
    /// The first failing run and what is wrong with it.
    pub failed: Option<(Options, String)>,
    /// What the runs went through.
    pub coverage: Coverage,
}

/// Runs all of `plans` on `jobs` threads; ends early when one fails.
#[must_use]
pub fn run_all(plans: &[Options], jobs: usize) -> Tally {
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (sender, results) = mpsc::channel::<(usize, Outcome)>();
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            let (sender, next, stop) = (sender.clone(), &next, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let idx = next.fetch_add(1, Ordering::Relaxed);
                    let Some(options) = plans.get(idx) else { return };
                    let outcome = run(options, false);
                    if outcome.verdict.is_err() {
                        stop.store(true, Ordering::Relaxed);
                    }
                    if sender.send((idx, outcome)).is_err() {
                        return;
                    }
                }
            });
        }
    });
    drop(sender);
    let mut outcomes: Vec<(usize, Outcome)> = results.into_iter().collect();
    outcomes.sort_by_key(|(idx, _)| *idx);
    let mut tally = Tally::default();
    for (idx, outcome) in outcomes {
        match outcome.verdict {
            Ok(Verdict::Passed) => tally.passed += 1,
            Ok(Verdict::Refused) => tally.refused += 1,
            Err(what) => {
                tally.failed.get_or_insert_with(|| (plans[idx].clone(), what));
            }
        }
        tally.coverage.add_run(&outcome.coverage);
    }
    tally
}
