//! Keys of connections and limits, and of administration and metrics.

use super::super::kind::Kind;
use super::{Key, honoured, later, moot};

const FRONTS: &str = "connections are served by fronts, see ringkeeper.fronts";
const ONE_KEEPER: &str = "one keeper executes all requests in order, there is no commit stage with workers";
const BOUNDS: &str = "what waits is bounded for each connection, and by what the log holds in memory";
const NO_NETTY: &str = "there is one connection layer";
const NO_THROTTLE: &str = "it only matters with a key that switches throttling on, which is not built yet";
const NO_ADMIN: &str = "it only matters with the admin server, which is not built yet";
const NO_PATH_STATS: &str = "it only matters with pathStats.enabled, which is not built yet";

/// Connections and limits.
pub(super) const KEYS: &[Key] = &[
    moot(
        "globalOutstandingLimit",
        Kind::Int { min: 1, max: 1_000_000 },
        "1000",
        BOUNDS,
        "unanswered requests in all before sockets are no longer read",
    ),
    honoured(
        "nio.sessionlessCnxnTimeout",
        Kind::Int { min: 1, max: i32::MAX as i64 },
        "10000",
        "ms; life of a connection that sets up no session",
    ),
    honoured("clientTcpKeepAlive", Kind::Bool, "false", "SO_KEEPALIVE on client sockets"),
    moot("serverCnxnFactory", Kind::Name, "NIOServerCnxnFactory", NO_NETTY, "class of the connection layer"),
    moot("nio.numSelectorThreads", Kind::COUNT, "sqrt(cores / 2)", FRONTS, "selector threads"),
    moot("nio.numWorkerThreads", Kind::COUNT, "2 * cores", FRONTS, "input and output threads"),
    moot("nio.directBufferBytes", Kind::COUNT, "65536", FRONTS, "bytes of a send buffer"),
    moot("nio.shutdownTimeout", Kind::COUNT, "5000", FRONTS, "ms to wait for threads at the end"),
    moot("intBufferStartingSizeBytes", Kind::COUNT, "1024", FRONTS, "bytes of a new reply buffer"),
    moot(
        "netty.advancedFlowControl.enabled",
        Kind::Bool,
        "false",
        "every connection is held back by its own unsent replies, always",
        "read control for each connection",
    ),
    moot("netty.server.earlyDropSecureConnectionHandshakes", Kind::Bool, "false", NO_NETTY, "drops TLS connections while not serving"),
    moot("netty.server.outstandingHandshake.limit", Kind::INT, "-1", NO_NETTY, "TLS handshakes at a time"),
    moot("commitProcessor.numWorkerThreads", Kind::COUNT, "cores", ONE_KEEPER, "commit threads"),
    moot("commitProcessor.maxReadBatchSize", Kind::INT, "-1", ONE_KEEPER, "reads before commits get a turn"),
    moot("commitProcessor.maxCommitBatchSize", Kind::INT, "1", ONE_KEEPER, "commits before reads get a turn"),
    moot("commitProcessor.shutdownTimeout", Kind::COUNT, "5000", ONE_KEEPER, "ms to wait for threads at the end"),
    moot(
        "request_stale_connection_check",
        Kind::Bool,
        "true",
        "a closed connection's reads are dropped, its writes are carried out",
        "drops requests of closed connections",
    ),
    later("request_stale_latency_check", Kind::Bool, "false", "false", "drops requests older than their session's timeout"),
    later("request_throttle_max_requests", Kind::COUNT, "0", "0", "requests in flight before new ones wait"),
    moot("request_throttle_stall_time", Kind::COUNT, "100", NO_THROTTLE, "ms; longest wait"),
    moot("request_throttle_drop_stale", Kind::Bool, "true", NO_THROTTLE, "drops stale requests"),
    moot("request_throttler.shutdownTimeout", Kind::COUNT, "10000", NO_THROTTLE, "ms to drain at the end"),
    later("throttled_op_wait_time", Kind::COUNT, "0", "0", "ms of waiting after which a request is refused"),
    later("largeRequestThreshold", Kind::INT, "-1", "-1", "bytes from which a request counts as large"),
    moot(
        "largeRequestMaxBytes",
        Kind::COUNT,
        "104857600",
        "it only matters with largeRequestThreshold, which is not built yet",
        "bytes of large requests in flight",
    ),
    later("connection_throttle_tokens", Kind::COUNT, "0", "0", "new connections that may come at once"),
    moot("connection_throttle_fill_time", Kind::COUNT, "1", NO_THROTTLE, "ms between two refills"),
    moot("connection_throttle_fill_count", Kind::COUNT, "1", NO_THROTTLE, "tokens of a refill"),
    moot("connection_throttle_freeze_time", Kind::INT, "-1", NO_THROTTLE, "ms between two changes of the drop probability"),
    moot("connection_throttle_drop_increase", Kind::Decimal, "0.02", NO_THROTTLE, "step up of the drop probability"),
    moot("connection_throttle_drop_decrease", Kind::Decimal, "0.002", NO_THROTTLE, "step down of the drop probability"),
    moot("connection_throttle_decrease_ratio", Kind::Decimal, "0", NO_THROTTLE, "share by which the limit shrinks"),
    moot("connection_throttle_weight_enabled", Kind::Bool, "false", NO_THROTTLE, "charges by weight"),
    moot("connection_throttle_global_session_weight", Kind::COUNT, "3", NO_THROTTLE, "tokens of a new session"),
    moot("connection_throttle_local_session_weight", Kind::COUNT, "1", NO_THROTTLE, "tokens of a new local session"),
    moot("connection_throttle_renew_session_weight", Kind::COUNT, "2", NO_THROTTLE, "tokens of a resumed session"),
];

/// Administration and metrics.
pub(super) const ADMIN: &[Key] = &[
    later("admin.enableServer", Kind::Bool, "true", "false", "HTTP server for administration"),
    later("admin.serverPort", Kind::PORT, "8080", "", "its port"),
    later("admin.serverAddress", Kind::Name, "0.0.0.0", "", "its address"),
    moot("admin.commandURL", Kind::Name, "/commands", NO_ADMIN, "its path"),
    moot("admin.idleTimeout", Kind::COUNT, "30000", NO_ADMIN, "ms; idle connections are closed"),
    moot("admin.httpVersion", Kind::COUNT, "11", NO_ADMIN, "HTTP version"),
    moot("admin.portUnification", Kind::Bool, "false", NO_ADMIN, "HTTP and HTTPS on one port"),
    moot("admin.forceHttps", Kind::Bool, "false", NO_ADMIN, "HTTPS only"),
    moot("admin.needClientAuth", Kind::Bool, "false", NO_ADMIN, "asks for client certificates"),
    moot("admin.rateLimiterIntervalInMS", Kind::COUNT, "300000", NO_ADMIN, "ms between two snapshot or restore commands"),
    moot("admin.snapshot.enabled", Kind::Bool, "true", NO_ADMIN, "the snapshot command"),
    moot("admin.restore.enabled", Kind::Bool, "true", NO_ADMIN, "the restore command"),
    later(
        "metricsProvider.className",
        Kind::Name,
        "the default provider",
        "org.apache.zookeeper.metrics.impl.DefaultMetricsProvider",
        "class that publishes metrics",
    ),
    later("metricsProvider.*", Kind::Text, "none", "", "settings of that class, such as httpPort"),
    later("audit.enable", Kind::Bool, "false", "false", "audit log: without it, nobody records who changed what"),
    moot(
        "audit.impl.class",
        Kind::Name,
        "the log file",
        "it only matters with audit.enable, which is not built yet",
        "class that writes the audit log",
    ),
    later("pathStats.enabled", Kind::Bool, "false", "false", "statistics by path"),
    moot("pathStats.delay", Kind::COUNT, "5", NO_PATH_STATS, "seconds between two reports"),
    moot("pathStats.initialDelay", Kind::COUNT, "5", NO_PATH_STATS, "seconds before the first report"),
    moot("pathStats.maxDepth", Kind::COUNT, "6", NO_PATH_STATS, "path components that are kept"),
    moot("pathStats.sampleRate", Kind::Decimal, "0.1", NO_PATH_STATS, "share of requests that is counted"),
    moot("pathStats.slotCapacity", Kind::COUNT, "60", NO_PATH_STATS, "slots that are kept"),
    moot("pathStats.slotDuration", Kind::COUNT, "15", NO_PATH_STATS, "seconds of a slot"),
    moot("pathStats.topPathMax", Kind::COUNT, "20", NO_PATH_STATS, "paths that are reported"),
];
