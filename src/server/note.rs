//! Things worth a line in the log, as values: the core has no logger. Hosts print them (`runtime`) or keep them (`sim`).
//!
//! One kind of trouble that outsiders can cause at will is limited to a few lines a second by [`RateLimit`]; what was left
//! out is counted and said with the next line.

use crate::base::time::MonoMs;

/// How much a line matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// For those who look for something.
    Debug,
    /// Normal life.
    Info,
    /// Somebody should look at it some day.
    Warn,
    /// Somebody should look at it now.
    Error,
}

/// One line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// How much it matters.
    pub level: Level,
    /// What was found, where, what follows.
    pub text: String,
}

/// Lines of one kind in a second.
const LINES_PER_SECOND_MAX: u32 = 5;

/// Lets a few lines of one kind through each second and counts the rest.
#[derive(Clone, Debug, Default)]
pub struct RateLimit {
    second: u64,
    said: u32,
    left_out: u64,
}

impl RateLimit {
    /// Whether a line may be said at `now`; if so, with how many were left out since the last one.
    pub fn admit(&mut self, now: MonoMs) -> Option<u64> {
        let second = now.0 / 1000;
        if second != self.second {
            self.second = second;
            self.said = 0;
        }
        if self.said >= LINES_PER_SECOND_MAX {
            self.left_out += 1;
            return None;
        }
        self.said += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_kind_becomes_a_few_lines_and_a_count() {
        let mut limit = RateLimit::default();
        let said = (0..100).filter(|_| limit.admit(MonoMs(1500)).is_some()).count();
        assert_eq!(said, 5);
        assert_eq!(limit.admit(MonoMs(2000)), Some(95));
    }
}
