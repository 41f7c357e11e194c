//! Plain values from which several words are rendered. The keeper and the fronts fill them.

use super::text::{average, minute};
use crate::base::ids::{SessionId, Zxid};
use std::net::SocketAddr;

/// The ZooKeeper whose protocol is spoken; tools read this number out of the version line.
pub const ZOOKEEPER_VERSION: &str = "3.9.5";

/// When this version was released, in seconds since 1970; stands in where a build doesn't say its date.
const RELEASED_S: i64 = 1_795_478_400;

/// When this program was built, in UTC. Reproducible: SOURCE_DATE_EPOCH of the build, or else the date of the version.
#[must_use]
pub fn built() -> String {
    let said = option_env!("SOURCE_DATE_EPOCH").and_then(|s| s.trim().parse::<i64>().ok());
    minute(said.unwrap_or(RELEASED_S).saturating_mul(1000))
}

/// Which server this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Version<'a> {
    /// Our own version, such as `0.1.0`.
    pub own: &'a str,
    /// When it was built, in UTC, as `2026-02-11 20:18`.
    pub built: &'a str,
}

impl Version<'_> {
    /// `3.9.5-ringkeeper-0.1.0, built on 2026-02-11 20:18 UTC`: the form in which tools expect it.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{ZOOKEEPER_VERSION}-ringkeeper-{}, built on {} UTC", self.own, self.built)
    }
}

/// What the server is at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Alone.
    Standalone,
    /// Leads an ensemble.
    Leader,
    /// Follows, with a vote.
    Follower,
    /// Follows, without a vote.
    Observer,
    /// Cut off from its ensemble, answers reads only.
    ReadOnly,
}

impl Mode {
    /// As `srvr` and `mntr` say it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mode::Standalone => "standalone",
            Mode::Leader => "leader",
            Mode::Follower => "follower",
            Mode::Observer => "observer",
            Mode::ReadOnly => "read-only",
        }
    }
}

/// Latencies in whole milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Latency {
    /// Lowest; 0 before the first.
    pub min_ms: u64,
    /// Highest.
    pub max_ms: u64,
    /// Of all.
    pub sum_ms: u64,
    /// How many.
    pub count: u64,
}

impl Latency {
    /// Adds one.
    pub fn record(&mut self, ms: u64) {
        self.min_ms = if self.count == 0 { ms } else { self.min_ms.min(ms) };
        self.max_ms = self.max_ms.max(ms);
        self.sum_ms = self.sum_ms.saturating_add(ms);
        self.count += 1;
    }

    /// Mean, with four decimals.
    #[must_use]
    pub fn avg_ms(&self) -> f64 {
        average(self.sum_ms, self.count)
    }
}

/// What `srvr` and `stat` say about the whole server.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ServerFacts<'a> {
    /// Which server.
    pub version: Version<'a>,
    /// In which role.
    pub mode: Mode,
    /// Of requests since the start or the last `srst`.
    pub latency: Latency,
    /// Messages from clients.
    pub packets_received: u64,
    /// Messages to clients.
    pub packets_sent: u64,
    /// Open client connections, this one included.
    pub connections: u64,
    /// Requests without an answer yet.
    pub outstanding: u64,
    /// Last transaction that was applied.
    pub zxid: Zxid,
    /// Nodes as ZooKeeper counts them (an empty tree says 5).
    pub node_count: u64,
    /// Bytes of the last, smallest and largest proposal; of a leader only.
    pub proposal_bytes: Option<(i64, i64, i64)>,
}

/// A connection as `stat` and `cons` show it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnFacts {
    /// The client's address.
    pub peer: SocketAddr,
    /// What the server waits for on the socket, as bits: 1 reading, 4 writing, 0 neither.
    pub interest: u8,
    /// Requests without an answer yet.
    pub queued: u64,
    /// Messages from it.
    pub received: u64,
    /// Messages to it.
    pub sent: u64,
    /// Only with a session.
    pub session: Option<SessionFacts>,
}

/// What `cons` says about a connection with a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionFacts {
    /// Which session.
    pub id: SessionId,
    /// Short name of the last operation; `NA` before the first.
    pub last_op: &'static str,
    /// Wall clock at which the connection came.
    pub established_wall_ms: i64,
    /// Negotiated.
    pub timeout_ms: u32,
    /// Client's number of the last request; shown only if it isn't negative.
    pub last_cxid: i64,
    /// Zxid of the last reply; all bits set before the first, as in ZooKeeper.
    pub last_zxid: Zxid,
    /// Monotonic clock at the last reply.
    pub last_response_mono_ms: u64,
    /// Of the last request.
    pub last_latency_ms: u64,
    /// Of all its requests.
    pub latency: Latency,
}
