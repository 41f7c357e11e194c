//! Whether to look for a lone client's next request before going to sleep.
//!
//! A client that asks one thing at a time and asks again at once costs the executor a sleep and a wake-up for each request: seven
//! enters of its rings, and on a virtual machine an exit for each core that must be roused. Looking at that one socket for a moment
//! is cheaper, if the client comes. So it's done only for a client that was the only one to be answered for some turns, while
//! nobody waits for anything, and only while it pays ([`Backoff`]): where less than half of the looks find something they cost more than
//! they save, and become rare.
//!
//! Leaves to others: for how long (`ringkeeper.attend.us`), what becomes of the bytes ([`Fronts`]).

use super::super::backoff::Backoff;
use super::{Conn, Fronts};
use crate::base::ids::ConnId;
use crate::server::mail::Hold;
use rustix::fd::BorrowedFd;
use rustix::net::RecvFlags;
use std::os::fd::AsRawFd;

/// Turns in a row that answered nobody else.
const TURNS_ALONE: u32 = 4;
/// How long looks may follow each other before the executor sees to everything else: other sockets, files, timers.
const ROW_NS_MAX: u64 = 100_000;

/// What the last turns were like. One for each executor with connections.
#[derive(Debug, Default)]
pub(super) struct Attention {
    alone: Option<ConnId>,
    turns: u32,
    /// How many turns pass without a look.
    backoff: Backoff,
    /// When the looks of this row began.
    row_since_ns: Option<u64>,
    /// A look was worth it, but its row had been long enough.
    row_ended: bool,
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
        self.backoff.passed();
    }

    /// The connection whose next request is worth a look now. The executor goes back to its rings after `None`.
    pub(super) fn due(&mut self, now_ns: u64) -> Option<ConnId> {
        let since = *self.row_since_ns.get_or_insert(now_ns);
        let worth_it = self.alone.filter(|_| self.turns >= TURNS_ALONE && self.backoff.may_try());
        self.row_ended = worth_it.is_some() && now_ns - since >= ROW_NS_MAX;
        let due = worth_it.filter(|_| !self.row_ended);
        if due.is_none() {
            self.row_since_ns = None;
        }
        due
    }

    /// The look found something.
    pub(super) fn found(&mut self) {
        self.backoff.paid();
    }

    /// A look wasn't possible: the executor goes back to its rings.
    pub(super) fn not_now(&mut self) {
        self.row_since_ns = None;
    }

    /// Nothing came in time.
    pub(super) fn in_vain(&mut self) {
        self.row_since_ns = None;
        self.backoff.in_vain();
    }
}

impl Fronts {
    /// A turn worked for clients of other servers alone.
    pub(in super::super) fn others_were_served(&self) {
        if !self.0.front.borrow().owes_answers() {
            self.0.attention.borrow_mut().answered(None);
        }
    }

    /// Whether the last look wasn't made only because the executor has to see to everything else first.
    pub(in super::super) fn attends_after_a_look_at_io(&self) -> bool {
        self.0.attention.borrow().row_ended
    }

    /// Looks for the next request of a client that is served alone, for at most `ns`, if that is worth it now: see
    /// [`Attention`]. Whether something was found; it is handed on. Meanwhile nothing else happens on this executor.
    pub(in super::super) fn attend(&self, ns: u64) -> bool {
        let inner = &self.0;
        let now_ns = inner.clock.mono_ns();
        let Some(id) = inner.attention.borrow_mut().due(now_ns) else { return false };
        let conn = inner.conns.borrow().get(&id).cloned();
        let Some(conn) = conn.filter(|conn| ns > 0 && self.may_attend(conn)) else {
            inner.attention.borrow_mut().not_now();
            return false;
        };
        let until = now_ns.saturating_add(ns);
        loop {
            let received = receive(&conn, &mut inner.buffer.borrow_mut());
            match received {
                Ok(n) if n > 0 => {
                    inner.attention.borrow_mut().found();
                    self.take(id, &conn, &inner.buffer.borrow()[..n]);
                    return true;
                }
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) if inner.clock.mono_ns() < until => {}
                // An end or an error stays on the socket for the reading task, which tidies up.
                _ => break,
            }
        }
        inner.attention.borrow_mut().in_vain();
        false
    }

    fn may_attend(&self, conn: &Conn) -> bool {
        let inner = &self.0;
        let may_read = inner.hold.get() == Hold::Nothing && !inner.share.is_spent();
        may_read && !inner.front.borrow().owes_answers() && !conn.paused.get() && !conn.writing.get()
    }
}

/// What is there to be read, without waiting. The stream's own poll, if one is under way, finds the socket empty then and goes on.
fn receive(conn: &Conn, buffer: &mut [u8]) -> rustix::io::Result<usize> {
    let stream = conn.stream.borrow();
    // SAFETY: the descriptor is the stream's, which is borrowed for as long as it is used here.
    let fd = unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) };
    rustix::net::recv(fd, buffer, RecvFlags::DONTWAIT).map(|(n, _)| n)
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
    fn a_turn_passes_for_each_that_the_backoff_demands() {
        let mut attention = Attention::default();
        (0..TURNS_ALONE).for_each(|_| attention.answered(Some(conn(1))));
        attention.in_vain();
        let mut turns = 0;
        while attention.due(0).is_none() {
            attention.answered(Some(conn(1)));
            turns += 1;
        }
        assert_eq!(turns, 2);
        attention.found();
        assert_eq!(attention.due(0), Some(conn(1)));
    }

    #[test]
    fn the_executor_sees_to_everything_else_now_and_then() {
        let mut attention = Attention::default();
        let mut visits = 0;
        for us in 0..10_000 {
            attention.answered(Some(conn(1)));
            match attention.due(us * 1000) {
                Some(_) => attention.found(),
                None => {
                    assert_eq!(attention.row_ended, us >= u64::from(TURNS_ALONE) - 1, "it goes on after that");
                    visits += 1;
                }
            }
        }
        let least = 10_000_000 / ROW_NS_MAX;
        assert!((least - 1..least + 10).contains(&visits), "{visits} visits in 10 ms");
    }
}
