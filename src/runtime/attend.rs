//! Whether to look for a lone client's next request before going to sleep.
//!
//! A client that asks one thing at a time and asks again at once costs the executor a sleep and a wake-up for each request: seven
//! enters of its rings, and on a virtual machine an exit for each core that must be roused. Looking at that one socket for a moment
//! is cheaper, if the client comes. So it's done only for a client that was the only one to be answered for some turns, while
//! nobody waits for anything, and only while it pays: each look in vain doubles the requests that pass without one.
//!
//! Leaves to others: the looking itself (`fronts`), and for how long (`ringkeeper.attend.us`).

use crate::base::ids::ConnId;

/// Turns in a row that answered nobody else.
const TURNS_ALONE: u32 = 4;
/// After so many looks in vain without a success between them, one of 2^this requests is looked for.
const DOUBLINGS_MAX: u32 = 5;
/// How long looks may follow each other before the executor sees to everything else: other sockets, files, timers.
const ROW_NS_MAX: u64 = 100_000;

/// What the last turns were like. One for each executor with connections.
#[derive(Debug, Default)]
pub(super) struct Attention {
    alone: Option<ConnId>,
    turns: u32,
    /// Looks in vain less successes, at most [`DOUBLINGS_MAX`].
    vain: u32,
    /// Turns that still pass without a look.
    pass: u32,
    /// When the looks of this row began.
    row_since_ns: Option<u64>,
}

impl Attention {
    /// A turn answered `conn` alone, or others, or had other work than that of clients who wait (`None`).
    pub(super) fn answered(&mut self, conn: Option<ConnId>) {
        if conn.is_some() && conn == self.alone {
            self.turns = self.turns.saturating_add(1);
        } else {
            self.alone = conn;
            self.turns = 1;
        }
        self.pass = self.pass.saturating_sub(1);
    }

    /// The connection whose next request is worth a look now. The executor goes back to its rings after `None`.
    pub(super) fn due(&mut self, now_ns: u64) -> Option<ConnId> {
        let since = *self.row_since_ns.get_or_insert(now_ns);
        let due = self.alone.filter(|_| self.turns >= TURNS_ALONE && self.pass == 0 && now_ns - since < ROW_NS_MAX);
        if due.is_none() {
            self.row_since_ns = None;
        }
        due
    }

    /// The look found something.
    pub(super) fn found(&mut self) {
        self.vain = 0;
    }

    /// A look wasn't possible: the executor goes back to its rings.
    pub(super) fn not_now(&mut self) {
        self.row_since_ns = None;
    }

    /// Nothing came in time.
    pub(super) fn in_vain(&mut self) {
        self.row_since_ns = None;
        self.vain = (self.vain + 1).min(DOUBLINGS_MAX);
        self.pass = 1 << self.vain;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::FrontId;

    fn conn(n: u64) -> ConnId {
        ConnId::new(FrontId(0), n)
    }

    #[test]
    fn only_a_client_that_was_alone_for_some_turns_is_looked_for() {
        let mut attention = Attention::default();
        for _ in 1..TURNS_ALONE {
            attention.answered(Some(conn(1)));
            assert_eq!(attention.due(0), None);
        }
        attention.answered(Some(conn(1)));
        assert_eq!(attention.due(0), Some(conn(1)));
        attention.answered(Some(conn(2)));
        assert_eq!(attention.due(0), None, "another client was served");
        for _ in 0..TURNS_ALONE {
            attention.answered(None);
        }
        assert_eq!(attention.due(0), None, "several were served");
    }

    #[test]
    fn looks_in_vain_become_rare_and_successes_bring_them_back() {
        let mut attention = Attention::default();
        let mut looks = 0;
        for _ in 0..100_000 {
            attention.answered(Some(conn(1)));
            if attention.due(0).is_some() {
                looks += 1;
                attention.in_vain();
            }
        }
        let rare = 100_000 >> DOUBLINGS_MAX;
        assert!((rare..rare + 2 * DOUBLINGS_MAX).contains(&looks), "{looks} looks in vain");
        let mut found = 0;
        for _ in 0..2 << DOUBLINGS_MAX {
            attention.answered(Some(conn(1)));
            if attention.due(0).is_some() {
                found += 1;
                attention.found();
            }
        }
        assert!(found > 1 << (DOUBLINGS_MAX - 1), "found {found}");
    }

    #[test]
    fn the_executor_sees_to_everything_else_now_and_then() {
        let mut attention = Attention::default();
        let mut visits = 0;
        for us in 0..10_000 {
            attention.answered(Some(conn(1)));
            match attention.due(us * 1000) {
                Some(_) => attention.found(),
                None => visits += 1,
            }
        }
        let least = 10_000_000 / ROW_NS_MAX;
        assert!((least - 1..least + 10).contains(&visits), "{visits} visits in 10 ms");
    }
}
