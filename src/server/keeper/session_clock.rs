//! The clock by which sessions time out. It stands still while the host leaves the clients' sockets unread ([`super::Keeper::takes_more`]): a
//! client that pings faithfully isn't heard then, and its session must not pay for a slow disk or a slow quorum.
//!
//! ZooKeeper goes on reading; here a session loses none of its timeout to a time in which nobody was listening.

use crate::base::time::MonoMs;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SessionClock {
    /// For how long it has stood still, up to the last time that it went on.
    stood_ms: u64,
    /// Since when it stands still.
    standing_since: Option<MonoMs>,
}

impl SessionClock {
    /// Whether clients are heard from `now` on.
    pub(super) fn go(&mut self, now: MonoMs, hears: bool) {
        match (self.standing_since, hears) {
            (None, false) => self.standing_since = Some(now),
            (Some(since), true) => {
                self.stood_ms += now.since(since);
                self.standing_since = None;
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
        MonoMs(self.standing_since.map_or(now, |since| since.min(now)).0.saturating_sub(self.stood_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
