//! What a server needs to know at its start, typed, with the unit in each name; and how settings become it.
//!
//! Defaults are ZooKeeper's unless a field says otherwise. Rules over several keys are checked here.

use super::rules::{self, Reader};
use super::settings::Settings;
use super::{Beside, Ensemble, Finding, Origin, ensemble_rules, kind};
use crate::base::limits::FRAME_BYTES_DEFAULT;
use crate::server::words::{Word, WordSet};
use std::collections::BTreeMap;

/// Smallest log segment: it holds any batch but a single huge record.
pub const SEGMENT_KB_MIN: u64 = 4096;
/// Largest log segment.
pub const SEGMENT_KB_MAX: u64 = 4 << 20;
/// Segment that is filled before serving, so that a start stays short.
const FIRST_SEGMENT_KB_MAX: u64 = 4 << 10;
/// Fewest snapshots that a purge keeps, as in ZooKeeper.
pub const SNAP_RETAIN_MIN: u32 = 3;
/// Words that are answered unless the configuration says otherwise: the cheap ones that change nothing. (ZooKeeper: `srvr` only.)
pub const WORDS_DEFAULT: WordSet = WordSet::EMPTY
    .with(Word::Ruok)
    .with(Word::Srvr)
    .with(Word::Mntr)
    .with(Word::Conf)
    .with(Word::Stat)
    .with(Word::Isro)
    .with(Word::Dirs)
    .with(Word::Late);

/// How a batch becomes durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogSync {
    /// Every write goes through to the medium (`O_DSYNC`).
    Dsync,
    /// A write, then `fdatasync`.
    Fdatasync,
}

/// How roles are spread over executors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placement {
    /// One executor holds all roles; no hop between threads.
    One,
    /// Each front, the keeper and each log shard has an executor of its own.
    Spread,
}

/// What runs an executor that holds all roles.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Executor {
    /// One io_uring of its own.
    Ring,
    /// glommio's three.
    Glommio,
}

/// Form of log lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Least weight of a log line that is written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[allow(missing_docs, reason = "the five usual levels")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// The configuration of one server.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// Directory of identity and snapshots, as written (relative to the working directory).
    pub data_dir: String,
    /// Directory of the log; the same unless configured.
    pub data_log_dir: String,
    /// Host name or address that clients connect to; `None` is every address of the machine.
    pub client_host: Option<String>,
    /// Port for clients; 0 takes a free one.
    pub client_port: u16,
    /// Length of the accept queue; `None` leaves it to the system.
    pub listen_backlog: Option<u32>,
    /// Unit of session expiry.
    pub tick_ms: u32,
    /// Lowest session timeout that is granted.
    pub min_session_timeout_ms: u32,
    /// Highest session timeout that is granted.
    pub max_session_timeout_ms: u32,
    /// Connections from one address; `None` is no limit.
    pub max_client_cnxns: Option<u32>,
    /// Connections in all; `None` is no limit.
    pub max_cnxns: Option<u32>,
    /// Four-letter words that are answered.
    pub words: WordSet,
    /// Largest frame of a client (`jute.maxbuffer`).
    pub frame_bytes_max: usize,
    /// Life of a connection that sets up no session.
    pub sessionless_timeout_ms: u32,
    /// SO_KEEPALIVE on client sockets.
    pub tcp_keepalive: bool,
    /// Transactions between two snapshots; the policy takes a random share between half and all of it.
    pub snap_count: u32,
    /// Log between two snapshots in KiB, by the same rule; `None` is no such limit.
    pub snap_size_limit_kb: Option<u64>,
    /// Snapshots that a purge keeps.
    pub purge_retain_count: u32,
    /// Size of a log segment (`ringkeeper.log.segment.kb`, or else `preAllocSize`).
    pub log_segment_kb: u64,
    /// Size of the first segment of a generation, from which the next ones grow; follows from the usual size.
    pub log_first_segment_kb: u64,
    /// Stripes of the log.
    pub log_shards: usize,
    /// How a batch becomes durable.
    pub log_sync: LogSync,
    /// A slower durable write is logged.
    pub fsync_warning_ms: u64,
    /// µs to look for the next request of a client that is served alone, before going to sleep; 0 is never.
    pub attend_us: u32,
    /// A slower request is logged; `None` is never.
    pub slow_request_ms: Option<u64>,
    /// Whether missing data directories are made.
    pub data_dir_autocreate: bool,
    /// Whether a digest of the tree is kept.
    pub digest_enabled: bool,
    /// Whether nodes may have a time to live.
    pub extended_types: bool,
    /// Whether hard quotas are enforced.
    pub enforce_quota: bool,
    /// Whether reconfig is answered "not on a standalone server" rather than "disabled".
    pub reconfig_enabled: bool,
    /// Between two looks for empty containers and expired nodes.
    pub container_check_interval_ms: u32,
    /// Containers and expired nodes that are removed in a minute.
    pub container_max_per_minute: u32,
    /// After this, a container that never had a child is removed; `None` is never.
    pub container_max_never_used_ms: Option<u64>,
    /// Whether every ACL check is off.
    pub skip_acl: bool,
    /// Whether the scheme digest is offered. Its hash is SHA-1.
    pub digest_auth_enabled: bool,
    /// `user:base64(sha1(user:password))` of the super user.
    pub super_digest: Option<String>,
    /// Names that clients of the scheme ensemble may give; empty accepts any.
    pub ensemble_names: Vec<String>,
    /// Executors that serve connections.
    pub fronts: usize,
    /// How roles are spread over executors.
    pub placement: Placement,
    /// What runs the executor that has all roles.
    pub executor: Executor,
    /// Cores to pin executors to, in this order; empty leaves the choice to the host.
    pub cores: Vec<usize>,
    /// Form of log lines.
    pub log_format: LogFormat,
    /// Least weight of a log line that is written.
    pub log_level: LogLevel,
    /// The ensemble that this server belongs to; `None` is a standalone server.
    pub ensemble: Option<Ensemble>,
}

/// Settings as a configuration, and where each value comes from. Contradictions become findings.
pub(super) fn build(
    settings: &Settings,
    beside: &Beside<'_>,
    cores_available: usize,
    findings: &mut Vec<Finding>,
) -> (Config, BTreeMap<String, Origin>) {
    let mut r = Reader { settings, origins: BTreeMap::new(), findings };
    let members = ensemble_rules::members(&mut r, beside);
    let (client_host, client_port) = rules::client_address(&mut r, members.own_line());
    let (data_dir, data_log_dir) = rules::directories(&mut r);
    let tick_ms = r.int("tickTime", 3000);
    let (min_session_timeout_ms, max_session_timeout_ms) = rules::session_timeouts(&mut r, tick_ms);
    let (placement, fronts) = rules::placement(&mut r, cores_available);
    let log_segment_kb = rules::segment_kb(&mut r);
    let never = |n: i64| u64::try_from(n).ok().filter(|n| *n > 0);
    let mut config = Config {
        data_dir,
        data_log_dir,
        client_host,
        client_port,
        listen_backlog: u32::try_from(r.int("clientPortListenBacklog", -1_i64)).ok(),
        tick_ms,
        min_session_timeout_ms,
        max_session_timeout_ms,
        max_client_cnxns: r.int_or_none("maxClientCnxns", 60),
        max_cnxns: r.int_or_none("maxCnxns", 0),
        words: rules::words(&mut r),
        frame_bytes_max: r.int("jute.maxbuffer", FRAME_BYTES_DEFAULT),
        sessionless_timeout_ms: r.int("nio.sessionlessCnxnTimeout", 10_000),
        tcp_keepalive: r.bool("clientTcpKeepAlive", false),
        snap_count: r.int("snapCount", 100_000),
        snap_size_limit_kb: never(r.int("snapSizeLimitInKb", 4_194_304)),
        purge_retain_count: rules::retain_count(&mut r),
        log_segment_kb,
        log_first_segment_kb: log_segment_kb.min(FIRST_SEGMENT_KB_MAX),
        log_shards: r.int("ringkeeper.log.shards", 2),
        log_sync: if r.text("ringkeeper.log.sync") == Some("fdatasync") { LogSync::Fdatasync } else { LogSync::Dsync },
        fsync_warning_ms: r.int("fsync.warningthresholdms", 1000),
        attend_us: r.int("ringkeeper.attend.us", 80),
        slow_request_ms: r.int_or_none("ringkeeper.slow.request.ms", 1000),
        data_dir_autocreate: r.bool("datadir.autocreate", true),
        digest_enabled: r.bool("digest.enabled", true),
        extended_types: r.bool("extendedTypesEnabled", false),
        enforce_quota: r.bool("enforceQuota", false),
        reconfig_enabled: r.bool("reconfigEnabled", false),
        container_check_interval_ms: r.int("znode.container.checkIntervalMs", 60_000),
        container_max_per_minute: r.int("znode.container.maxPerMinute", 10_000),
        container_max_never_used_ms: r.int_or_none("znode.container.maxNeverUsedIntervalMs", 0),
        skip_acl: rules::skip_acl(&mut r),
        digest_auth_enabled: r.bool("DigestAuthenticationProvider.enabled", true),
        super_digest: rules::super_digest(&mut r),
        ensemble_names: r.text("ensembleAuthName").map(rules::names).unwrap_or_default(),
        fronts,
        placement,
        executor: if r.text("ringkeeper.executor") == Some("glommio") { Executor::Glommio } else { Executor::Ring },
        cores: r.text("ringkeeper.cores").and_then(kind::cores).unwrap_or_default(),
        log_format: if r.text("ringkeeper.log.format") == Some("json") { LogFormat::Json } else { LogFormat::Text },
        log_level: rules::log_level(&mut r),
        ensemble: None,
    };
    config.ensemble = ensemble_rules::ensemble(&mut r, members, &config);
    (config, r.origins)
}
