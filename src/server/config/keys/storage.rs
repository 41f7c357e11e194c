//! Keys of the log, the snapshots and the tree.

use super::super::kind::Kind;
use super::{Key, honoured, later, moot, refused};

const BATCHES: &str = "a batch is written as soon as its log shard is free, without a timer or a size to tune";
const OWN_FORMAT: &str = "log and snapshots have a format of their own";
const ALWAYS_DURABLE: &str = "every write is on durable media before it is acknowledged, also with forceSync=no";
const NO_CACHE: &str = "replies are written straight from the tree, there is no cache of them";
const ONE_WATCH_TABLE: &str = "there is one watch table, and dropping a connection cleans it at once";
const PRUNED: &str = "old snapshots and the log behind them go by themselves after each new snapshot";
const SELF_ROLLING: &str = "log segments have a fixed size, see ringkeeper.log.segment.kb";

/// In the order of the documentation.
pub(super) const KEYS: &[Key] = &[
    honoured(
        "snapCount",
        Kind::Int { min: 2, max: i32::MAX as i64 },
        "100000",
        "transactions between two snapshots (a random share between half and all of it), and, behind one of 16 MiB and more, half as many bytes of log as it has",
    ),
    honoured(
        "snapSizeLimitInKb",
        Kind::Int { min: -1, max: i64::MAX >> 10 },
        "4194304",
        "KiB of log between two snapshots (the same rule); not positive: no such limit",
    ),
    honoured("autopurge.snapRetainCount", Kind::COUNT, "3", "snapshots that are kept; at least 3"),
    moot("autopurge.purgeInterval", Kind::Int { min: 0, max: 100_000 }, "0", PRUNED, "hours between two purges; 0: never"),
    honoured(
        "preAllocSize",
        Kind::Int { min: 1, max: i64::MAX >> 10 },
        "65536",
        "KiB; size of a log segment when ringkeeper.log.segment.kb isn't set",
    ),
    moot("txnLogSizeLimitInKb", Kind::Int { min: -1, max: i64::MAX >> 10 }, "-1", SELF_ROLLING, "KiB; size at which a log file ends"),
    moot("forceSync", Kind::OffIfNo, "yes", ALWAYS_DURABLE, "sync before acknowledging"),
    honoured("fsync.warningthresholdms", Kind::LONG, "1000", "ms; a slower durable write is logged"),
    moot("flushDelay", Kind::LONG, "0", BATCHES, "ms to wait for a fuller batch"),
    moot("maxWriteQueuePollTime", Kind::LONG, "flushDelay / 3", BATCHES, "ms; longest wait for a batch"),
    moot("maxBatchSize", Kind::COUNT, "1000", BATCHES, "requests of one batch"),
    honoured("digest.enabled", Kind::Bool, "true", "keeps a digest of the tree and verifies it when a snapshot loads"),
    moot("closeSessionTxn.enabled", Kind::Bool, "true", OWN_FORMAT, "lists the ephemeral nodes in a session's last transaction"),
    moot("serializeLastProcessedZxid.enabled", Kind::Bool, "true", OWN_FORMAT, "ends a snapshot with its zxid"),
    later("snapshot.compression.method", Kind::Choice(&["", "gz", "snappy"]), "empty", "", "compression of snapshots"),
    moot("snapshot.trust.empty", Kind::Bool, "false", OWN_FORMAT, "accepts a log without a snapshot"),
    honoured("datadir.autocreate", Kind::Bool, "true", "makes missing data directories"),
    refused("db.autocreate", Kind::Bool, "true", "true", "starts empty when nothing is found (false: only beside a file named initialize)"),
    honoured(
        "jute.maxbuffer",
        Kind::Int { min: 1024, max: crate::base::limits::FRAME_BYTES_MAX as i64 },
        "1048575",
        "bytes; largest frame of a client",
    ),
    moot(
        "jute.maxbuffer.extrasize",
        Kind::LONG,
        "jute.maxbuffer",
        "a field can't be larger than the frame it came in",
        "bytes of slack for fields",
    ),
    honoured("extendedTypesEnabled", Kind::Bool, "false", "nodes with a time to live"),
    moot("emulate353TTLNodes", Kind::Bool, "false", OWN_FORMAT, "reads owners as ZooKeeper 3.5.3 wrote them"),
    honoured("enforceQuota", Kind::Bool, "false", "refuses what would exceed a hard quota"),
    honoured(
        "znode.container.checkIntervalMs",
        Kind::Int { min: 1, max: i32::MAX as i64 },
        "60000",
        "ms between two looks for empty containers and expired nodes",
    ),
    honoured(
        "znode.container.maxPerMinute",
        Kind::Int { min: 1, max: i32::MAX as i64 },
        "10000",
        "containers and expired nodes that are removed in a minute",
    ),
    honoured(
        "znode.container.maxNeverUsedIntervalMs",
        Kind::LONG,
        "0",
        "ms after which a container that never had a child is removed; 0: never",
    ),
    moot("maxResponseCacheSize", Kind::COUNT, "400", NO_CACHE, "cached replies of getData"),
    moot("maxGetChildrenResponseCacheSize", Kind::COUNT, "400", NO_CACHE, "cached replies of getChildren"),
    moot("watchManagerName", Kind::Name, "WatchManager", ONE_WATCH_TABLE, "class of the watch table"),
    moot("watcherCleanThreadsNum", Kind::COUNT, "2", ONE_WATCH_TABLE, "cleaning threads"),
    moot("watcherCleanThreshold", Kind::COUNT, "1000", ONE_WATCH_TABLE, "dead watchers that start a cleaning"),
    moot("watcherCleanIntervalInSeconds", Kind::COUNT, "600", ONE_WATCH_TABLE, "seconds between two cleanings"),
    moot("maxInProcessingDeadWatchers", Kind::OR_MINUS_ONE, "-1", ONE_WATCH_TABLE, "dead watchers that may wait"),
    moot("bitHashCacheSize", Kind::COUNT, "10", ONE_WATCH_TABLE, "size at which a set of watchers becomes a bit set"),
];
