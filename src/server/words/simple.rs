//! The words whose answer is a line or a list of `key=value`.

use super::text::put;

/// The answer to `ruok`.
pub const RUOK: &[u8] = b"imok";
/// The answer to `crst`, after the connections' figures were set to zero.
pub const CRST: &[u8] = b"Connection stats reset.\n";
/// The answer to `srst`, after the server's figures were set to zero.
pub const SRST: &[u8] = b"Server stats reset.\n";
/// ZooKeeper's trace mask before anybody changes it. The mask changes nothing here; it is kept and answered.
pub const TRACE_MASK_DEFAULT: i64 = 306;

/// The answer to `isro`: whether writes are accepted; `None` while the server isn't serving.
#[must_use]
pub fn isro(read_only: Option<bool>) -> &'static [u8] {
    match read_only {
        Some(true) => b"ro",
        Some(false) => b"rw",
        None => b"null",
    }
}

/// The answer to `gtmk`, and to `stmk` with the mask that came after it.
#[must_use]
pub fn trace_mask(mask: i64) -> Vec<u8> {
    mask.to_string().into_bytes()
}

/// Directory sizes in bytes for `dirs` and `conf`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DirSizes {
    /// Of everything that belongs to `dataDir`.
    pub data_bytes: u64,
    /// Of everything that belongs to `dataLogDir`.
    pub log_bytes: u64,
}

/// The answer to `dirs`.
pub fn dirs(out: &mut Vec<u8>, sizes: DirSizes) {
    put(out, format_args!("datadir_size: {}\nlogdir_size: {}\n", sizes.data_bytes, sizes.log_bytes));
}

/// What `conf` shows of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConfFacts<'a> {
    /// The port that is open, also when a free one was asked for.
    pub client_port: u16,
    /// Absolute.
    pub data_dir: &'a str,
    /// Absolute.
    pub data_log_dir: &'a str,
    /// Bytes.
    pub sizes: DirSizes,
    /// Unit of session expiry.
    pub tick_ms: u32,
    /// `None`, no limit, shows as 0.
    pub max_client_cnxns: Option<u32>,
    /// Lowest session timeout that is granted.
    pub min_session_timeout_ms: u32,
    /// Highest session timeout that is granted.
    pub max_session_timeout_ms: u32,
    /// `None`, the system's choice, shows as -1.
    pub listen_backlog: Option<u32>,
    /// 0 for a standalone server.
    pub server_id: u8,
    /// What only a server of an ensemble has.
    pub ensemble: Option<EnsembleConf<'a>>,
}

/// What `conf` shows of a server of an ensemble beyond that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EnsembleConf<'a> {
    /// Ticks to connect and be synchronised.
    pub init_limit: u64,
    /// Ticks that a synchronised server may lag.
    pub sync_limit: u64,
    /// Second port of its `server.N` line.
    pub election_port: u16,
    /// First port.
    pub quorum_port: u16,
    /// Whether it has no vote.
    pub observer: bool,
    /// As in `/zookeeper/config` ([`crate::model::membership_text`]).
    pub membership: &'a str,
}

/// The answer to `conf`.
pub fn conf(out: &mut Vec<u8>, facts: &ConfFacts<'_>) {
    put(out, format_args!("clientPort={}\nsecureClientPort=-1\n", facts.client_port));
    put(out, format_args!("dataDir={}\ndataDirSize={}\n", facts.data_dir, facts.sizes.data_bytes));
    put(out, format_args!("dataLogDir={}\ndataLogSize={}\n", facts.data_log_dir, facts.sizes.log_bytes));
    put(out, format_args!("tickTime={}\nmaxClientCnxns={}\n", facts.tick_ms, facts.max_client_cnxns.unwrap_or(0)));
    put(out, format_args!("minSessionTimeout={}\n", facts.min_session_timeout_ms));
    put(out, format_args!("maxSessionTimeout={}\n", facts.max_session_timeout_ms));
    put(out, format_args!("clientPortListenBacklog={}\n", facts.listen_backlog.map_or(-1, i64::from)));
    put(out, format_args!("serverId={}\n", facts.server_id));
    let Some(e) = &facts.ensemble else { return };
    // There is one way to elect, and 3 is its number in ZooKeeper.
    put(out, format_args!("initLimit={}\nsyncLimit={}\nelectionAlg=3\n", e.init_limit, e.sync_limit));
    put(out, format_args!("electionPort={}\nquorumPort={}\npeerType={}\n", e.election_port, e.quorum_port, u8::from(e.observer)));
    // The blank at the end of the line is ZooKeeper's, and so is the missing newline behind the text.
    put(out, format_args!("membership: \n{}", e.membership));
}

/// What `envi` shows. There are no lines of a Java machine, since there is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EnviFacts<'a> {
    /// As [`super::Version::text`] gives it.
    pub version: &'a str,
    /// `None` where unknown, as for all that follow.
    pub host_name: Option<&'a str>,
    /// Such as `Linux`.
    pub os_name: Option<&'a str>,
    /// Such as `amd64`.
    pub os_arch: Option<&'a str>,
    /// Of the kernel.
    pub os_version: Option<&'a str>,
    /// Of the process.
    pub user_name: Option<&'a str>,
    /// Of the user.
    pub user_home: Option<&'a str>,
    /// Working directory.
    pub user_dir: Option<&'a str>,
    /// Free memory of the machine.
    pub memory_free_mb: Option<u64>,
    /// Memory of the machine.
    pub memory_total_mb: Option<u64>,
}

/// The answer to `envi`.
pub fn envi(out: &mut Vec<u8>, facts: &EnviFacts<'_>) {
    put(out, format_args!("Environment:\nzookeeper.version={}\n", facts.version));
    for (key, value) in [
        ("host.name", facts.host_name),
        ("os.name", facts.os_name),
        ("os.arch", facts.os_arch),
        ("os.version", facts.os_version),
        ("user.name", facts.user_name),
        ("user.home", facts.user_home),
        ("user.dir", facts.user_dir),
    ] {
        put(out, format_args!("{key}={}\n", value.unwrap_or("<NA>")));
    }
    for (key, megabytes) in [("os.memory.free", facts.memory_free_mb), ("os.memory.total", facts.memory_total_mb)] {
        if let Some(megabytes) = megabytes {
            put(out, format_args!("{key}={megabytes}MB\n"));
        }
    }
}

/// The answer to `hash`: one line for each kept digest of the tree.
pub fn hash(out: &mut Vec<u8>, digests: impl Iterator<Item = (crate::base::ids::Zxid, u64)>) {
    for (zxid, digest) in digests {
        put(out, format_args!("{:x}: {}\n", zxid.0, digest.cast_signed()));
    }
}
