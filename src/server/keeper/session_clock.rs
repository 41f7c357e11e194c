//! The clock by which sessions time out. It stands still while the host leaves all clients' sockets unread ([`super::Keeper::hold`]): a
//! client that pings faithfully isn't heard then, and its session must not pay for a slow quorum.
//!
//! Nor for a process that didn't run: what came meanwhile lies in the sockets, and may reach the keeper later than the time does. So a turn
//! that comes long after the one before finds the clock where that left it.
//!
//! ZooKeeper goes on reading; here a session loses none of its timeout to a time in which nobody was listening.

use crate::base::time::MonoMs;
use crate::mutant;

/// Hosts hand the time in every 20 ms. A turn that is later than this found the process, or its host, standing still.
const LATE_MS: u64 = 200;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SessionClock {
    /// For how long it has stood still, up to the last time that it went on.
    stood_ms: u64,
    /// Since when it stands still.
    standing_since: Option<MonoMs>,
    /// Since when it goes, if it does.
    going_since: MonoMs,
    /// When the last turn was.
    looked: Option<MonoMs>,
}

impl SessionClock {
    /// A turn is over: whether clients are heard from `now` on.
    pub(super) fn go(&mut self, now: MonoMs, hears: bool) {
        let missed_ms = self.missed_ms(now);
        if self.standing_since.is_none() && missed_ms > 0 {
            self.stood_ms += missed_ms;
            self.going_since = now;
        }
        self.looked = Some(now);
        match (self.standing_since, hears) {
            (None, false) => self.standing_since = Some(now),
            (Some(since), true) => {
                self.stood_ms += now.since(since);
                self.standing_since = None;
                self.going_since = now;
            }
            _ => {}
        }
    }

    /// Whether it stands still.
    pub(super) fn stands(&self) -> bool {
        self.standing_since.is_some()
    }

    /// What it shows.
    pub(super) fn at(&self, now: MonoMs) -> MonoMs {
        let going = MonoMs(now.0 - self.missed_ms(now).min(now.0));
        MonoMs(self.standing_since.map_or(going, |since| since.min(now)).0.saturating_sub(self.stood_ms))
    }

    /// What it showed so many ms ago, or what it shows since it goes on if that was later.
    pub(super) fn before(&self, now: MonoMs, ms: u64) -> MonoMs {
        let going_ms = if mutant!("session-clock-forgets-it-stood") {
            ms
        } else if self.stands() || self.missed_ms(now) > 0 {
            0
        } else {
            now.since(self.going_since)
        };
        MonoMs(self.at(now).0.saturating_sub(ms.min(going_ms)))
    }

    /// For how long no turn came that was due.
    fn missed_ms(&self, now: MonoMs) -> u64 {
        self.looked.map(|last| now.since(last)).filter(|ms| *ms > LATE_MS).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Turns as a host takes them, from one time to another.
    fn run(clock: &mut SessionClock, from: u64, to: u64, hears: bool) {
        (from..=to).step_by(10).for_each(|ms| clock.go(MonoMs(ms), hears));
    }

    #[test]
    fn time_without_hearing_does_not_count() {
        let mut clock = SessionClock::default();
        assert_eq!(clock.at(MonoMs(10)), MonoMs(10));
        clock.go(MonoMs(100), false);
        clock.go(MonoMs(150), false);
        assert_eq!((clock.at(MonoMs(170)), clock.stands()), (MonoMs(100), true));
        clock.go(MonoMs(180), true);
        assert_eq!((clock.at(MonoMs(180)), clock.at(MonoMs(200)), clock.stands()), (MonoMs(100), MonoMs(120), false));
        clock.go(MonoMs(300), false);
        clock.go(MonoMs(310), true);
        assert_eq!(clock.at(MonoMs(320)), MonoMs(230));
    }

    #[test]
    fn time_in_which_the_process_did_not_run_does_not_count() {
        let mut clock = SessionClock::default();
        run(&mut clock, 0, 1000, true);
        // Before the turn, when sessions are looked at, and after it.
        assert_eq!(clock.at(MonoMs(9000)), MonoMs(1000));
        clock.go(MonoMs(9000), true);
        assert_eq!((clock.at(MonoMs(9000)), clock.at(MonoMs(9050))), (MonoMs(1000), MonoMs(1050)));
        // A pause while nobody is heard counts once.
        run(&mut clock, 9010, 9100, true);
        clock.go(MonoMs(9100), false);
        clock.go(MonoMs(12_000), true);
        assert_eq!(clock.at(MonoMs(12_010)), MonoMs(1110));
    }

    #[test]
    fn the_past_is_told_back_to_where_it_last_went_on() {
        let mut clock = SessionClock::default();
        run(&mut clock, 0, 1000, true);
        assert_eq!([0, 300, 2000].map(|ms| clock.before(MonoMs(1000), ms)), [1000, 700, 0].map(MonoMs));
        // While it stands, and after that.
        clock.go(MonoMs(1000), false);
        assert_eq!([0, 300].map(|ms| clock.before(MonoMs(1100), ms)), [1000, 1000].map(MonoMs));
        clock.go(MonoMs(1200), true);
        assert_eq!([0, 50, 300].map(|ms| clock.before(MonoMs(1300), ms)), [1100, 1050, 1000].map(MonoMs));
        // While a turn is missed, and after it.
        run(&mut clock, 1210, 2000, true);
        assert_eq!([0, 50].map(|ms| clock.before(MonoMs(5000), ms)), [1800, 1800].map(MonoMs));
        clock.go(MonoMs(5000), true);
        assert_eq!([0, 10, 300].map(|ms| clock.before(MonoMs(5020), ms)), [1820, 1810, 1800].map(MonoMs));
    }

    #[test]
    fn turns_that_come_a_little_late_take_nothing_off() {
        let mut clock = SessionClock::default();
        (0..=5).for_each(|turn| clock.go(MonoMs(turn * LATE_MS), true));
        assert_eq!((clock.at(MonoMs(1000)), clock.at(MonoMs(1000 + LATE_MS))), (MonoMs(1000), MonoMs(1000 + LATE_MS)));
    }
}
