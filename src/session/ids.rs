//! Which id a new session gets: server id in the top byte, then 40 bits of milliseconds, then a counter of 16 bits.
//!
//! Guarantees that no id is handed out twice in the life of a process, and none that [`SessionIds::observe`] has seen. After a
//! restart the clock has moved on; should it have been set back, the ids go on behind those of surviving sessions, at a distance that is drawn,
//! because sessions that nobody remembers lie there too. Source: ZooKeeper's `SessionTrackerImpl.initializeNextSessionId`, which begins the counter
//! at 0 and doesn't look at the sessions there are.

use crate::base::ids::{ServerId, SessionId};

/// Bits below the server id.
const LOW_BITS: u32 = 56;
const LOW_MASK: u64 = (1 << LOW_BITS) - 1;
/// The counter within a millisecond.
const COUNTER_MASK: u32 = 0xffff;
/// The id that marks container nodes as an ephemeral owner, so no session may have it.
const CONTAINER_MARK: u64 = 1 << 63;

/// The source of new session ids of one server.
#[derive(Clone, Debug)]
pub struct SessionIds {
    server: ServerId,
    /// The low bits of the next id, once the first was drawn or a session of this server was seen.
    next_low: Option<u64>,
    /// Whether the clock has been taken into account.
    clock_seen: bool,
}

impl SessionIds {
    /// Ids of `server`.
    #[must_use]
    pub fn new(server: ServerId) -> SessionIds {
        SessionIds { server, next_low: None, clock_seen: false }
    }

    /// Keeps clear of an id that exists: later draws lie above it if it is one of this server's.
    pub fn observe(&mut self, id: SessionId) {
        let raw = id.0.cast_unsigned();
        if raw >> LOW_BITS == u64::from(self.server.0) {
            let above = (raw + 1) & LOW_MASK;
            self.next_low = Some(self.next_low.map_or(above, |low| low.max(above)));
        }
    }

    /// The next id. `wall_ms` (milliseconds since 1970) and `salt` count at the first draw only: from then on ids go up by one.
    pub fn draw(&mut self, wall_ms: i64, salt: u32) -> SessionId {
        if !self.clock_seen {
            let from_clock = (wall_ms.cast_unsigned() << 24) >> 8 | u64::from(salt & COUNTER_MASK);
            self.next_low = Some(match self.next_low {
                Some(low) if low > from_clock => (low + u64::from(salt)) & LOW_MASK,
                _ => from_clock,
            });
            self.clock_seen = true;
        }
        let mut low = self.next_low.unwrap_or(0);
        let mut raw = self.compose(low);
        while raw == 0 || raw == CONTAINER_MARK {
            low += 1;
            raw = self.compose(low);
        }
        self.next_low = Some((low + 1) & LOW_MASK);
        SessionId(raw.cast_signed())
    }

    fn compose(&self, low: u64) -> u64 {
        (u64::from(self.server.0) << LOW_BITS) | (low & LOW_MASK)
    }
}
