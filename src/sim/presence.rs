//! When something was last heard of each session, in the world's own time: what expiry is judged by.

use crate::base::ids::SessionId;
use std::collections::{BTreeMap, BTreeSet};

/// See the module's description. Times are milliseconds.
#[derive(Clone, Debug, Default)]
pub struct Presence {
    heard: BTreeMap<SessionId, u64>,
    resumed: BTreeMap<SessionId, u64>,
    timeouts: BTreeMap<SessionId, u32>,
    /// Were silent for their whole timeout once: they may expire although they were heard again.
    lapsed: BTreeSet<SessionId>,
    /// How fast a clock may run, in thousandths of the right rate; 0: exactly.
    pub fast_permille: u64,
    /// How long the word of a session may be on its way to the leader; 0: it isn't.
    pub late_ms: u64,
    /// When the timers were last started anew: a start of a lone server, a new leader.
    pub timers_from_ms: u64,
    /// Until when something was wrong with servers or the network: nobody is to blame for silence before it.
    pub trouble_ms: u64,
}

impl Presence {
    /// A server that serves took in something of the session.
    pub fn heard(&mut self, session: SessionId, now_ms: u64) {
        if self.is_over(session, now_ms) {
            self.lapsed.insert(session);
        }
        self.heard.insert(session, now_ms);
    }

    /// The session's creation is written.
    pub fn created(&mut self, session: SessionId, timeout_ms: u32, now_ms: u64) {
        self.heard.entry(session).or_insert(now_ms);
        self.timeouts.insert(session, timeout_ms);
    }

    /// A client learns that it has its session: the server knew a little earlier.
    pub fn resumed(&mut self, session: SessionId, now_ms: u64) {
        self.resumed.insert(session, now_ms);
    }

    /// The session expires now.
    ///
    /// # Errors
    /// When its timeout wasn't over.
    pub fn expired(&self, session: SessionId, now_ms: u64) -> Result<(), String> {
        let Some(timeout) = self.timeouts.get(&session) else { return Ok(()) };
        // What was heard may have been on its way to the leader when something went wrong.
        let on_its_way = self.late_ms > 0 && self.trouble_ms >= self.since(session);
        if on_its_way || self.lapsed.contains(&session) || self.is_over(session, now_ms) {
            return Ok(());
        }
        let silent = now_ms.saturating_sub(self.since(session));
        Err(format!("session {session} expired after {silent} ms of silence, its timeout is {timeout} ms"))
    }

    fn since(&self, session: SessionId) -> u64 {
        self.heard.get(&session).copied().unwrap_or(0).max(self.timers_from_ms)
    }

    /// Whether its whole timeout has passed, by the fastest clock.
    fn is_over(&self, session: SessionId, now_ms: u64) -> bool {
        let silent = now_ms.saturating_sub(self.since(session)) + self.late_ms;
        self.timeouts.get(&session).is_some_and(|timeout| silent * (1000 + self.fast_permille) / 1000 >= u64::from(*timeout))
    }

    /// How long a living session was silent: since it was heard, or resumed, or all timers were started.
    #[must_use]
    pub fn silent_ms(&self, session: SessionId, now_ms: u64) -> u64 {
        let of = |from: &BTreeMap<SessionId, u64>| from.get(&session).copied().unwrap_or(0);
        now_ms - of(&self.heard).max(of(&self.resumed)).max(self.timers_from_ms)
    }
}
