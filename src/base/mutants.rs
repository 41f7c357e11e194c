//! Deliberate faults, compiled in only by the feature `mutants`, chosen by name with `ringkeeper-sim --mutant NAME`.
//!
//! `mutant!("name")` is `false`, a constant, in every normal build. Each name used in the code must stand in [`CATALOGUE`]
//! (a test checks it), so that the kill matrix can't forget one.

/// True when the named fault is switched on. A constant `false` without the feature `mutants`.
#[macro_export]
macro_rules! mutant {
    ($name:literal) => {{
        #[cfg(feature = "mutants")]
        {
            $crate::base::mutants::is_on($name)
        }
        #[cfg(not(feature = "mutants"))]
        {
            false
        }
    }};
}

/// One deliberate fault.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    /// As given to `--mutant`.
    pub name: &'static str,
    /// What the faulty code does, in a few words.
    pub what: &'static str,
}

/// Every fault that the code can be built with, in alphabetical order.
pub const CATALOGUE: &[Mutant] = &[
    Mutant { name: "log_acks_before_completion", what: "counts a batch as durable when it is handed to the disk" },
    Mutant { name: "log_cuts_at_corruption", what: "cuts the log at damage below the evidence as if it were a torn tail" },
    Mutant { name: "log_durable_is_maximum", what: "takes the furthest completed batch over all shards as the durable position" },
    Mutant { name: "log_generation_not_raised", what: "starts again in the old log generation" },
    Mutant { name: "log_ignores_hole", what: "replays past a missing batch" },
    Mutant { name: "log_mark_ahead", what: "writes a durable mark for what isn't durable yet" },
    Mutant { name: "log_revives_dead_generation", what: "replays whole batches beyond the end of their generation" },
    Mutant { name: "log_skips_chain_check", what: "replays batches that don't follow each other" },
    Mutant { name: "log_trusts_unsynced_tail", what: "serves batches that recovery read without making them durable" },
];

#[cfg(feature = "mutants")]
mod chosen {
    use std::sync::OnceLock;

    static CHOSEN: OnceLock<String> = OnceLock::new();

    /// Switches one fault on for the life of the process. Returns false if it isn't in the catalogue or one is on already.
    pub fn choose(name: &str) -> bool {
        super::CATALOGUE.iter().any(|m| m.name == name) && CHOSEN.set(name.to_owned()).is_ok()
    }

    /// Whether `name` was chosen.
    #[must_use]
    pub fn is_on(name: &str) -> bool {
        CHOSEN.get().is_some_and(|c| c == name)
    }
}

#[cfg(feature = "mutants")]
pub use chosen::{choose, is_on};
