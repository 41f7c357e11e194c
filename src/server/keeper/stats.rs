//! Counters of the server as a whole, as `srvr`, `stat` and `mntr` show them. Plain integers: the keeper is their only owner.

use crate::model::watch_kind::EventType;
use crate::server::words::mntr::Summary;

/// See the module's description.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Frames and words received.
    pub received: u64,
    /// Replies and events sent.
    pub sent: u64,
    /// Bytes received in frames.
    pub received_bytes: u64,
    /// Bytes of replies.
    pub response_bytes: u64,
    /// Requests answered, and their latencies in milliseconds.
    pub answered: u64,
    /// Lowest; meaningless while `answered` is 0.
    pub min_latency_ms: u64,
    /// Highest.
    pub max_latency_ms: u64,
    /// Sum of all.
    pub total_latency_ms: u64,
    /// Connect requests.
    pub connect_requests: u64,
    /// Connections refused by a limit.
    pub connections_rejected: u64,
    /// Resumed sessions.
    pub revalidated: u64,
    /// Sessions closed because they were silent.
    pub sessions_expired: u64,
    /// Failed authentications.
    pub auth_failed: u64,
    /// Transactions applied.
    pub commits: u64,
    /// Bytes of the last, smallest and largest reply; -1 before the first.
    pub last_response_len: Option<u64>,
    /// See `last_response_len`.
    pub min_response_len: u64,
    /// See `last_response_len`.
    pub max_response_len: u64,
    /// Events sent, by type (created, deleted, data changed, children changed).
    pub events: [u64; 4],
    /// How many events each change caused that caused any, by the same types.
    pub triggers: [Summary; 4],
    /// Turns taken.
    pub turns: u64,
}

impl Stats {
    /// Books an answer that took `latency_ms`.
    pub fn answer(&mut self, latency_ms: u64) {
        self.min_latency_ms = if self.answered == 0 { latency_ms } else { self.min_latency_ms.min(latency_ms) };
        self.max_latency_ms = self.max_latency_ms.max(latency_ms);
        self.total_latency_ms += latency_ms;
        self.answered += 1;
    }

    /// Books a reply of `len` bytes.
    pub fn respond(&mut self, len: u64) {
        self.sent += 1;
        self.response_bytes += len;
        self.min_response_len = if self.last_response_len.is_none() { len } else { self.min_response_len.min(len) };
        self.max_response_len = self.max_response_len.max(len);
        self.last_response_len = Some(len);
    }

    /// Books a change that caused events: `before` is what [`Stats::events`] said of its type before it.
    pub fn triggered(&mut self, event: EventType, before: [u64; 4]) {
        let kind = event as usize - 1;
        let caused = self.events[kind] - before[kind];
        if caused > 0 {
            self.triggers[kind].record(caused);
        }
    }

    /// Forgets what `srst` resets.
    pub fn reset(&mut self) {
        self.received = 0;
        self.sent = 0;
        self.answered = 0;
        self.min_latency_ms = 0;
        self.max_latency_ms = 0;
        self.total_latency_ms = 0;
        self.last_response_len = None;
        self.min_response_len = 0;
        self.max_response_len = 0;
    }
}
