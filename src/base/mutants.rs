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
    Mutant { name: "auth-any-id-is-valid", what: "an ACL may name unknown schemes and invalid ids" },
    Mutant { name: "auth-everybody-is-super", what: "any digest token makes a super user" },
    Mutant { name: "session-expires-early", what: "a session's deadline lies a tick before its timeout" },
    Mutant { name: "session-password-unchecked", what: "any password resumes a session" },
    Mutant { name: "snapshot-checksum-ignored", what: "a chunk is taken whatever its checksum says" },
    Mutant { name: "snapshot-renamed-unsynced", what: "a snapshot gets its final name before its bytes are durable" },
    Mutant { name: "watch-one-shot-stays", what: "a one-shot watch fires again and again" },
    Mutant { name: "watch-outlives-connection", what: "the watches of a closed connection stay" },
    Mutant { name: "watch-recursive-skips-ancestor", what: "a recursive watch sees children only, no deeper nodes" },
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
