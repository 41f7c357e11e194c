//! When something was last heard of each session, in the world's own time: what expiry is judged by.

use crate::base::ids::SessionId;
use std::collections::BTreeMap;

/// See the module's description. Times are milliseconds.
#[derive(Clone, Debug, Default)]
pub struct Presence {
    heard: BTreeMap<SessionId, u64>,
    resumed: BTreeMap<SessionId, u64>,
    timeouts: BTreeMap<SessionId, u32>,
    /// When the timers were last started anew: a start of a lone server, a new leader.
    pub timers_from_ms: u64,
    /// Until when something was wrong with servers or the network: nobody is to blame for silence before it.
    pub trouble_ms: u64,
}

impl Presence {
    /// A server that serves took in something of the session.
    pub fn heard(&mut self, session: SessionId, now_ms: u64) {
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
    /// When its timeout wasn't over. `slack_permille` is how fast a clock may run, 1000 being right.
    pub fn expired(&self, session: SessionId, now_ms: u64, slack_permille: u64, late_ms: u64) -> Result<(), String> {
        let heard = self.heard.get(&session).copied().unwrap_or(0);
        let since = heard.max(self.timers_from_ms);
        let silent = now_ms.saturating_sub(since);
        let Some(timeout) = self.timeouts.get(&session) else { return Ok(()) };
        // What was heard may have been on its way to the leader when something went wrong.
        if late_ms > 0 && self.trouble_ms >= since {
            return Ok(());
        }
        if (silent + late_ms) * slack_permille / 1000 < u64::from(*timeout) {
            return Err(format!("session {session} expired after {silent} ms of silence, its timeout is {timeout} ms"));
        }
        Ok(())
    }

    /// How long a living session was silent: since it was heard, or resumed, or all timers were started.
    #[must_use]
    pub fn silent_ms(&self, session: SessionId, now_ms: u64) -> u64 {
        let of = |from: &BTreeMap<SessionId, u64>| from.get(&session).copied().unwrap_or(0);
        now_ms - of(&self.heard).max(of(&self.resumed)).max(self.timers_from_ms)
    }
}
