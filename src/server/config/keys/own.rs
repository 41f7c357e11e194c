//! Ringkeeper's own keys. All begin with `ringkeeper.`, and none is needed.

use super::super::kind::Kind;
use super::super::zoo_cfg::{SEGMENT_KB_MAX, SEGMENT_KB_MIN};
use super::{Key, honoured, in_ensemble};
use crate::base::limits::{FRONTS_MAX, SHARDS_MAX};

/// In the order of the documentation.
pub(super) const KEYS: &[Key] = &[
    honoured(
        "ringkeeper.log.shards",
        Kind::Int { min: 1, max: SHARDS_MAX as i64 },
        "2",
        "stripes of the log, each with one write in flight",
    ),
    honoured(
        "ringkeeper.log.sync",
        Kind::Choice(&["dsync", "fdatasync"]),
        "dsync",
        "how a batch becomes durable: written through (O_DSYNC), or written and then synced",
    ),
    honoured(
        "ringkeeper.log.segment.kb",
        Kind::Int { min: SEGMENT_KB_MIN as i64, max: SEGMENT_KB_MAX as i64 },
        "preAllocSize",
        "KiB of a log segment",
    ),
    honoured(
        "ringkeeper.fronts",
        Kind::Int { min: 1, max: FRONTS_MAX as i64 },
        "1 on one or two cores, else cores / 2, at most 16",
        "executors that serve connections",
    ),
    honoured(
        "ringkeeper.placement",
        Kind::Choice(&["one", "spread"]),
        "one on one or two cores, else spread",
        "one executor for all roles, or one for each",
    ),
    honoured(
        "ringkeeper.executor",
        Kind::Choice(&["ring", "glommio"]),
        "ring",
        "what runs one executor that has all roles: one io_uring of its own (glommio's are used before Linux 5.13), or glommio; spread roles run on glommio",
    ),
    honoured(
        "ringkeeper.cores",
        Kind::Cores,
        "all that the process may use",
        "cores that executors are pinned to, in this order: keeper, fronts, log shards",
    ),
    honoured(
        "ringkeeper.attend.us",
        Kind::Int { min: 0, max: 1000 },
        "80",
        "µs to look for the next request of a client that is served alone before going to sleep, where one executor holds all roles; 0: never",
    ),
    honoured("ringkeeper.log.format", Kind::Choice(&["text", "json"]), "text", "form of the lines on standard error"),
    honoured(
        "ringkeeper.log.level",
        Kind::Choice(&["error", "warn", "info", "debug", "trace"]),
        "info",
        "least weight of a line that is written",
    ),
    honoured(
        "ringkeeper.slow.request.ms",
        Kind::Int { min: 0, max: 3_600_000 },
        "1000",
        "ms; a slower request is logged with the stage that took longest; 0: never",
    ),
    in_ensemble("ringkeeper.pulse.intervalMs", Kind::Int { min: 10, max: 60_000 }, "100", "ms between two heartbeats"),
    in_ensemble(
        "ringkeeper.pulse.silenceMs",
        Kind::Int { min: 30, max: 600_000 },
        "800",
        "ms; a server that was silent for so long counts as gone; at least 3 * ringkeeper.pulse.intervalMs",
    ),
    in_ensemble(
        "ringkeeper.election.gatherMs",
        Kind::Int { min: 0, max: 60_000 },
        "60",
        "ms to wait for better candidates once a quorum is heard",
    ),
    in_ensemble(
        "ringkeeper.bootstrap",
        Kind::Choice(&["all", "quorum"]),
        "all",
        "voters that must be heard, all of them without a history, before a new ensemble makes its first leader",
    ),
    in_ensemble(
        "ringkeeper.peer.backlogKb",
        Kind::Int { min: 1024, max: 16 << 20 },
        "65536",
        "KiB that may wait for one server before it is dropped and synchronised anew; at least 4 * jute.maxbuffer",
    ),
    in_ensemble(
        "ringkeeper.catchup.cacheKb",
        Kind::Int { min: 0, max: 16 << 20 },
        "65536",
        "KiB of the log kept in memory for servers that catch up",
    ),
];
