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
    Mutant { name: "prep-check-skips-acl", what: "a check in a multi passes without READ" },
    Mutant { name: "prep-closing-session-writes", what: "a session whose closing is outstanding still creates ephemeral nodes" },
    Mutant { name: "prep-delete-checks-node-before-acl", what: "delete says NONODE for a missing node that it may not delete anyway" },
    Mutant { name: "prep-failed-multi-leaves-overlay", what: "later requests are judged against a multi that failed" },
    Mutant { name: "prep-sequence-ignores-outstanding", what: "sequence numbers come from the applied parent alone" },
    Mutant { name: "prep-version-ignores-outstanding", what: "setData compares its version with the applied node alone" },
    Mutant { name: "tree-digest-keeps-old", what: "a change leaves the node's old part in the tree digest" },
    Mutant { name: "tree-ephemeral-forgotten", what: "closing a session leaves its last ephemeral node" },
    Mutant { name: "tree-old-image-skipped", what: "a node that changes during a scan is snapshot as it is afterwards" },
    Mutant { name: "tree-parent-cversion-lost", what: "a creation doesn't count in its parent, so a sequence number comes twice" },
    Mutant { name: "tree-pzxid-not-moved", what: "a deletion doesn't show in its parent's pzxid" },
    Mutant { name: "tree-quota-not-charged", what: "usage below a quota isn't counted" },
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
