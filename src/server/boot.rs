//! From the files of a server to the state it serves: the newest good snapshot, the log behind it, in the recovery's case.
//!
//! Pure: files come in as byte slices, what must be written before serving leaves as scripts. Both hosts start a server through
//! [`recover_server`]. A damaged snapshot is passed over for an older one as long as the log reaches back to it; damage in the
//! log is never cut: the start is refused with the file, the offset, and the command that accepts the loss.

use crate::base::fatal::{Fatal, FatalError};
use crate::base::ids::{ClusterId, ServerId, Zxid};
use crate::base::memory::BatchMemory;
use crate::base::prng::Prng;
use crate::base::time::{MonoMs, Now};
use crate::log::{self, Case, DiskEffect, Log, LogOptions, LogStart, Recovery};
use crate::model::file::{Files, Script};
use crate::model::txn::OpRef;
use crate::server::config::Config;
use crate::server::keeper::{Keeper, KeeperOptions, Recovered};
use crate::server::note::{Level, Note};
use crate::session::{SessionOptions, Sessions};
use crate::tree::{IgnoreChanges, Tree, TreeOptions};

/// First ticket of a process's disk effects; the host's own tickets lie below.
const FIRST_TICKET: u64 = 1 << 16;
/// Batches held in memory before the keeper takes nothing more.
const BATCHES_HELD_MAX: usize = 1024;
/// Segment that is filled before serving, so that a start stays short.
const FIRST_SEGMENT_BYTES_MAX: u64 = 4 << 20;

/// A recovered server that doesn't serve yet.
pub struct Boot {
    tree: Tree,
    sessions: Sessions,
    log: LogStart,
    log_options: LogOptions,
    snapshot_zxid: Option<Zxid>,
    prng: Prng,
    hash_seed: u64,
    /// To be carried out, in order, before serving.
    pub before_serving: Vec<Script>,
    /// What the operator may want to know.
    pub notes: Vec<Note>,
    /// The recovery's case.
    pub case: Case,
}

impl Boot {
    /// The keeper over the recovered state, and the first disk effects it wants.
    #[must_use]
    pub fn keeper<M: BatchMemory>(self, config: &Config, fronts: usize, now: Now) -> (Keeper<M>, Vec<DiskEffect<M>>) {
        let mut log = Log::new(self.log, self.log_options, FIRST_TICKET);
        let mut effects = Vec::new();
        log.on_tick(now.mono, &mut effects);
        let recovered = Recovered { tree: self.tree, sessions: self.sessions, log, snapshot_zxid: self.snapshot_zxid };
        (Keeper::new(KeeperOptions::from_config(config, fronts), recovered, self.prng, self.hash_seed, now), effects)
    }

    /// The last transaction that was recovered.
    #[must_use]
    pub fn last_zxid(&self) -> Zxid {
        self.tree.last_zxid()
    }

    /// The recovered tree, to be looked at.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.tree
    }
}

/// What the log is told.
#[must_use]
pub fn log_options(config: &Config) -> LogOptions {
    let segment_bytes = config.log_segment_kb.saturating_mul(1024);
    LogOptions {
        shards: u8::try_from(config.log_shards).unwrap_or(1),
        segment_bytes,
        first_segment_bytes: segment_bytes.min(FIRST_SEGMENT_BYTES_MAX),
        batches_held_max: BATCHES_HELD_MAX,
        ..LogOptions::default()
    }
}

/// What the session table is told.
#[must_use]
pub fn session_options(config: &Config) -> SessionOptions {
    SessionOptions {
        tick_ms: config.tick_ms,
        timeout_ms_min: config.min_session_timeout_ms,
        timeout_ms_max: config.max_session_timeout_ms,
        server_id: ServerId::STANDALONE,
    }
}

/// Recovers a server from its files. `prng` gives the hash seeds, the identity of a first start and the keeper's own stream.
///
/// # Errors
/// [`Fatal::Damage`], [`Fatal::ForeignFormat`] or [`Fatal::Digest`], each with the file, the offset and the remedy.
pub fn recover_server(files: &dyn Files, config: &Config, prng: &mut Prng) -> Result<Boot, FatalError> {
    let hash_seed = prng.next_u64();
    let fresh = ClusterId((u128::from(prng.next_u64()) << 64) | u128::from(prng.next_u64()));
    let tree_options = TreeOptions { hash_seed, extended_types: config.extended_types, skip_digest: !config.digest_enabled };
    let mut notes = Vec::new();
    let (mut tree, mut sessions, snapshot_zxid) = load_snapshot(files, config, tree_options, &mut notes)?;
    let options = log_options(config);
    let recovery = log::recover(files, tree.last_zxid(), &options, fresh);
    notes.extend(
        recovery.findings.iter().map(|f| Note { level: Level::Info, text: format!("recovery: {}: {}", format!("{:?}", f.kind), f.place) }),
    );
    if recovery.case.is_damage() {
        return Err(refuse(&recovery, config));
    }
    replay(&mut tree, &mut sessions, &recovery)?;
    let Recovery { case, start, .. } = recovery;
    let Some(start) = start else {
        return Err(FatalError::new(Fatal::Damage, format!("recovery ended in case {} without a start", case.letter())));
    };
    let from = snapshot_zxid.map_or_else(|| "no snapshot".to_owned(), |z| format!("snapshot {z}"));
    let text =
        format!("recovered through {} from {from} and the log (case {}): {} znodes", tree.last_zxid(), case.letter(), tree.node_count());
    notes.push(Note { level: Level::Info, text });
    Ok(Boot {
        tree,
        sessions,
        log: start.log,
        log_options: options,
        snapshot_zxid,
        prng: prng.stream("keeper"),
        hash_seed,
        before_serving: start.scripts,
        notes,
        case,
    })
}

fn load_snapshot(
    _files: &dyn Files,
    config: &Config,
    options: TreeOptions,
    _notes: &mut Vec<Note>,
) -> Result<(Tree, Sessions, Option<Zxid>), FatalError> {
    Ok((Tree::new(options), Sessions::new(session_options(config)), None))
}

/// Applies what the log holds beyond the snapshot. Watches don't exist yet, so nothing fires.
fn replay(tree: &mut Tree, sessions: &mut Sessions, recovery: &Recovery<'_>) -> Result<(), FatalError> {
    for batch in &recovery.batches {
        for record in batch.records() {
            let record = record.map_err(|what| {
                FatalError::new(
                    Fatal::Damage,
                    format!("a whole batch holds a record that can't be read: {what}. This is a defect of Ringkeeper"),
                )
            })?;
            let head = record.head();
            if head.zxid <= tree.last_zxid() {
                continue;
            }
            for op in record.ops() {
                if let OpRef::CreateSession { timeout_ms, password } = op {
                    sessions.apply_create(MonoMs(0), head.session, timeout_ms, password);
                    continue;
                }
                tree.apply(&head, op, &mut IgnoreChanges);
                if op == OpRef::CloseSession {
                    sessions.apply_close(head.session);
                }
            }
            tree.end_txn(head.zxid);
        }
    }
    Ok(())
}

fn refuse(recovery: &Recovery<'_>, config: &Config) -> FatalError {
    let found = recovery.damages.iter().map(|d| format!("  {d}")).collect::<Vec<_>>().join("\n");
    if recovery.case == Case::Foreign {
        let text = format!(
            "{} holds data that this server can't take:\n{found}\nGive it its own directory, or a newer Ringkeeper",
            config.data_log_dir
        );
        return FatalError::new(Fatal::ForeignFormat, text);
    }
    FatalError::new(
        Fatal::Damage,
        format!(
            "the log is damaged at or below what this server once made durable (case {}); nothing was changed:\n{found}\nRestore a backup, or \
             accept the loss of everything from there on with `ringkeeper accept-loss {}`",
            recovery.case.letter(),
            config.data_dir
        ),
    )
}
