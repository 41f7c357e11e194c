//! The trace of a run: a hash of every event, and its story in words when somebody wants to read it.

use crate::base::checksum::seeded_hash;
use std::collections::VecDeque;

/// Lines of the story that are kept for a failure when it isn't printed as it happens.
const LAST_LINES_MAX: usize = 40;

/// See the module's description.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    events: u64,
    aloud: bool,
    last: VecDeque<String>,
    keeps: bool,
}

impl Trace {
    /// Nothing happened yet. `aloud` prints each line as it comes.
    #[must_use]
    pub fn new(seed: u64, aloud: bool) -> Trace {
        Trace { hash: seed, events: 0, aloud, last: VecDeque::new(), keeps: aloud }
    }

    /// Something happened at `now_us`: a word for its kind, and the numbers that make it what it is.
    pub fn event(&mut self, now_us: u64, kind: &str, numbers: &[u64]) {
        let mut hash = seeded_hash(self.hash ^ now_us.rotate_left(17), kind.as_bytes());
        for number in numbers {
            hash = seeded_hash(hash, &number.to_le_bytes());
        }
        self.hash = hash;
        self.events += 1;
    }

    /// Bytes went from one to another.
    pub fn bytes(&mut self, now_us: u64, kind: &str, who: u64, bytes: &[u8]) {
        self.event(now_us, kind, &[who, seeded_hash(0, bytes)]);
    }

    /// A line of the story. `text` is only called when somebody reads.
    pub fn say(&mut self, now_us: u64, text: impl FnOnce() -> String) {
        if !self.keeps {
            return;
        }
        let line = format!("{:>10}.{:03} ms  {}", now_us / 1000, now_us % 1000, text());
        if self.aloud {
            println!("{line}");
        }
        if self.last.len() == LAST_LINES_MAX {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// The hash of everything so far.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many events there were.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }
}
