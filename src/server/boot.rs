//! From the files of a server to the state it serves: the newest good snapshot, the log behind it, in the recovery's case.
//!
//! Pure: files come in as byte slices, what must be written before serving leaves as scripts. Both hosts start a server through
//! [`recover_server`]. A damaged snapshot is passed over for an older one as long as the log reaches back to it. Damage in the log of a
//! standalone server is never cut: the start is refused with the file, the offset, and the command that accepts the loss. A member of an
//! ensemble puts what is damaged aside, begins with what is left, and is repaired by its peers before its word counts again.

use crate::base::fatal::{Fatal, FatalError};
use crate::base::ids::{ClusterId, ServerId, Zxid};
use crate::base::memory::BatchMemory;
use crate::base::prng::Prng;
use crate::base::time::{MonoMs, Now};
use crate::log::meta::Meta;
use crate::log::{self, Base, Case, DiskEffect, Identity, Log, LogOptions, LogStart, Recovery};
use crate::model::file::{Damage, FilePath, Files, Script, Volume};
use crate::model::image::{AclImage, NodeImage, SessionImage};
use crate::model::txn::OpRef;
use crate::mutant;
use crate::server::config::{Config, Ensemble};
use crate::server::findings;
use crate::server::keeper::ensemble::EnsembleOptions;
use crate::server::keeper::{Keeper, KeeperOptions, Recovered};
use crate::server::note::{Level, Note};
use crate::session::{SessionOptions, Sessions};
use crate::snapshot::{self, Head, SnapshotSink};
use crate::tree::{IgnoreChanges, Tree, TreeLoader, TreeOptions};
use crate::zab::Persisted;

/// First ticket of a process's disk effects; the host's own tickets lie below.
const FIRST_TICKET: u64 = 1 << 16;
/// Batches held in memory before the keeper takes nothing more.
const BATCHES_HELD_MAX: usize = 1024;

/// A recovered server that doesn't serve yet.
pub struct Boot {
    tree: Tree,
    sessions: Sessions,
    log: LogStart,
    log_options: LogOptions,
    snapshots: Vec<(Zxid, bool)>,
    /// Where the snapshot stands that was loaded; the default: none was.
    snapshot_at: Identity,
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
        let persisted = Persisted {
            cluster: self.log.meta.cluster,
            accepted_epoch: self.log.meta.accepted_epoch,
            current_epoch: self.log.meta.current_epoch,
            repairing: self.log.meta.repairing,
        };
        let mut log = Log::new(self.log, self.log_options, FIRST_TICKET);
        let mut effects = Vec::new();
        log.on_tick(now.mono, &mut effects);
        let newest_snapshot = (self.snapshot_at != Identity::default()).then_some(self.snapshot_at);
        let ensemble = EnsembleOptions::from_config(config).map(|options| (options, persisted));
        let recovered = Recovered { tree: self.tree, sessions: self.sessions, log, snapshots: self.snapshots, newest_snapshot, ensemble };
        (Keeper::new(KeeperOptions::from_config(config, fronts), recovered, self.prng, self.hash_seed, now), effects)
    }

    /// The last transaction that was recovered and applied: of a member, what is known to be committed.
    #[must_use]
    pub fn last_zxid(&self) -> Zxid {
        self.tree.last_zxid()
    }

    /// Whose history it is; [`ClusterId`] 0: a member that doesn't know yet.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.log.meta.cluster
    }

    /// The highest epoch that this server promised.
    #[must_use]
    pub fn accepted_epoch(&self) -> u32 {
        self.log.meta.accepted_epoch
    }

    /// The epoch of the leader whose history this server holds.
    #[must_use]
    pub fn current_epoch(&self) -> u32 {
        self.log.meta.current_epoch
    }

    /// It lacks something that it once made durable: its word doesn't count until a leader has synchronised it.
    #[must_use]
    pub fn repairing(&self) -> bool {
        self.log.meta.repairing
    }

    /// Where its durable history ends, at or beyond [`Boot::last_zxid`].
    #[must_use]
    pub fn history_end(&self) -> Identity {
        self.log.tail
    }

    /// The epoch metadata with which the server goes on.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        &self.log.meta
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
    LogOptions {
        shards: u8::try_from(config.log_shards).unwrap_or(1),
        segment_bytes: config.log_segment_kb.saturating_mul(1024),
        first_segment_bytes: config.log_first_segment_kb.saturating_mul(1024),
        batches_held_max: BATCHES_HELD_MAX,
        // Nobody asks a standalone server for batches.
        cache_bytes_max: 0,
        ..LogOptions::default()
    }
}

/// What the log of a member of an ensemble is told.
#[must_use]
pub fn member_log_options(config: &Config, ensemble: &Ensemble) -> LogOptions {
    let cache_bytes_max = usize::try_from(ensemble.catchup_cache_bytes).unwrap_or(usize::MAX);
    LogOptions { member: true, cache_bytes_max, ..log_options(config) }
}

/// What the session table is told.
#[must_use]
pub fn session_options(config: &Config) -> SessionOptions {
    SessionOptions {
        tick_ms: config.tick_ms,
        timeout_ms_min: config.min_session_timeout_ms,
        timeout_ms_max: config.max_session_timeout_ms,
        server_id: config.ensemble.as_ref().map_or(ServerId::STANDALONE, |ensemble| ensemble.me),
    }
}

/// Recovers a server from its files. `prng` gives the hash seeds, the identity of a standalone server's first start and the keeper's own
/// stream. Of a member of an ensemble only what is known to be committed is applied, and damage is left to its peers to repair.
///
/// # Errors
/// [`Fatal::Damage`] (of a member only when the snapshots can't be read at all), [`Fatal::ForeignFormat`] or [`Fatal::Digest`], each with
/// the file, the offset and the remedy.
pub fn recover_server(files: &dyn Files, config: &Config, prng: &mut Prng) -> Result<Boot, FatalError> {
    let options = match &config.ensemble {
        None => log_options(config),
        Some(ensemble) => member_log_options(config, ensemble),
    };
    recover_with(files, config, options, prng)
}

fn recover_with(files: &dyn Files, config: &Config, options: LogOptions, prng: &mut Prng) -> Result<Boot, FatalError> {
    let hash_seed = prng.next_u64();
    let drawn = ClusterId((u128::from(prng.next_u64()) << 64) | u128::from(prng.next_u64()));
    // A member learns whose history it will hold when the ensemble is founded, or from those who know.
    let fresh = if options.member { ClusterId(0) } else { drawn };
    let tree_options = TreeOptions { hash_seed, extended_types: config.extended_types, skip_digest: !config.digest_enabled };
    let mut notes = Vec::new();
    let Loaded { mut tree, mut sessions, snapshots, newest_good, base } = load_snapshot(files, config, tree_options, &mut notes)?;
    let at = base.at;
    log::expect_segments(files);
    let recovery = log::recover(files, base, &options, fresh);
    notes.extend(findings::summarise(&recovery.findings));
    if recovery.case.is_damage() {
        if recovery.start.is_none() {
            return Err(refuse(&recovery, config));
        }
        notes.extend(repair_notes(&recovery));
    }
    tree.set_container_never_used_ms(config.container_max_never_used_ms.unwrap_or(0));
    replay(&mut tree, &mut sessions, &recovery)?;
    let Recovery { case, start, .. } = recovery;
    let Some(start) = start else {
        return Err(FatalError::new(Fatal::Damage, format!("recovery ended in case {} without a start", case.letter())));
    };
    let from = newest_good.map_or_else(|| "no snapshot".to_owned(), |z| format!("snapshot {z}"));
    let mut before_serving = start.scripts;
    if newest_good.is_some() && !mutant!("boot-trusts-snapshot-names") {
        // Whoever gave it its name may have been ended before that was durable; from now on it is built upon.
        before_serving.insert(0, snapshot::keep_names());
    }
    let text =
        format!("recovered through {} from {from} and the log (case {}): {} znodes", tree.last_zxid(), case.letter(), tree.node_count());
    notes.push(Note { level: Level::Info, text });
    Ok(Boot {
        tree,
        sessions,
        log: start.log,
        log_options: options,
        snapshots,
        snapshot_at: at,
        prng: prng.stream("keeper"),
        hash_seed,
        before_serving,
        notes,
        case,
    })
}

/// What was loaded of the snapshots.
struct Loaded {
    tree: Tree,
    sessions: Sessions,
    /// Oldest first, and whether each was seen whole.
    snapshots: Vec<(Zxid, bool)>,
    newest_good: Option<Zxid>,
    /// Where it stands in which history.
    base: Base,
}

fn load_snapshot(files: &dyn Files, config: &Config, options: TreeOptions, notes: &mut Vec<Note>) -> Result<Loaded, FatalError> {
    let unreadable = |damage: Damage| {
        FatalError::new(Fatal::Damage, format!("the snapshots of {} can't be read: {damage}. Restore a backup", config.data_dir))
    };
    let begin = || {
        // The snapshot is in memory: from now on the device is free for the log.
        log::expect_segments(files);
        LoadInto { loader: TreeLoader::new(options), sessions: Sessions::new(session_options(config)) }
    };
    let (choice, loaded) = snapshot::load_newest_good(files, begin).map_err(unreadable)?;
    for damage in &choice.damaged {
        notes.push(Note { level: Level::Error, text: format!("a snapshot is damaged and passed over for an older one: {damage}") });
    }
    let mut snapshots = list_snapshots(files).map_err(unreadable)?;
    let Some(((path, summary), sink)) = choice.newest_good.zip(loaded) else {
        let sessions = Sessions::new(session_options(config));
        return Ok(Loaded { tree: Tree::new(options), sessions, snapshots, newest_good: None, base: Base::default() });
    };
    let zxid = summary.head.zxid;
    let tree = sink.loader.finish(zxid, summary.digest).map_err(|error| {
        let text =
            format!("the snapshot {path} doesn't give the tree that it was taken of: {error}. Move it away to start from an older one");
        FatalError::new(Fatal::Digest, text)
    })?;
    for (of, good) in &mut snapshots {
        *good = *of == zxid;
    }
    let base = Base { at: summary.head.identity(), of: Some((summary.head.cluster, path)) };
    Ok(Loaded { tree, sessions: sink.sessions, snapshots, newest_good: Some(zxid), base })
}

fn list_snapshots(files: &dyn Files) -> Result<Vec<(Zxid, bool)>, Damage> {
    let entries = files.list(&FilePath::new(Volume::Data, snapshot::DIR))?;
    let mut found: Vec<(Zxid, bool)> = entries.iter().filter_map(|e| snapshot::zxid_of(&e.name)).map(|zxid| (zxid, false)).collect();
    found.sort_unstable();
    Ok(found)
}

/// Takes a snapshot's parts where they belong.
struct LoadInto {
    loader: TreeLoader,
    sessions: Sessions,
}

impl SnapshotSink for LoadInto {
    fn head(&mut self, _: &Head) -> Result<(), String> {
        Ok(())
    }

    fn session(&mut self, image: SessionImage) -> Result<(), String> {
        if self.sessions.get(image.session).is_some() {
            return Err(format!("session {} comes twice", image.session));
        }
        self.sessions.apply_create(MonoMs(0), image.session, image.timeout_ms, &image.password);
        Ok(())
    }

    fn acl(&mut self, image: AclImage<'_>) -> Result<(), String> {
        self.loader.acl(image).map_err(|e| e.to_string())
    }

    fn node(&mut self, image: NodeImage<'_>) -> Result<(), String> {
        self.loader.node(image).map_err(|e| e.to_string())
    }
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

/// What a member says when it begins with damage.
fn repair_notes(recovery: &Recovery<'_>) -> Vec<Note> {
    let error = |text: String| Note { level: Level::Error, text };
    let (letter, name) = (recovery.case.letter(), recovery.case.name());
    let mut notes: Vec<Note> = recovery.damages.iter().map(|d| error(format!("the log is damaged (case {letter}, {name}): {d}"))).collect();
    let promises = if recovery.case == Case::MetadataLost { ", and what it promised isn't known" } else { "" };
    notes.push(error(format!(
        "this server had made its log durable through {} and holds it through {}{promises}: what is damaged was put aside below {}, the peers \
         repair it, and until then it doesn't vote",
        recovery.evidence,
        recovery.tail.zxid,
        log::segment::LOG_DIR
    )));
    notes
}

fn refuse(recovery: &Recovery<'_>, config: &Config) -> FatalError {
    // A damage names its file below the directory, or already in full.
    let place = |path: &str| if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", config.data_log_dir) };
    let found =
        recovery.damages.iter().map(|d| format!("  {}", Damage { path: place(&d.path), ..d.clone() })).collect::<Vec<_>>().join("\n");
    if recovery.case == Case::Foreign {
        let text = format!(
            "{} holds data that this server can't take:\n{found}\nGive it its own directory, or a newer Ringkeeper",
            config.data_log_dir
        );
        return FatalError::new(Fatal::ForeignFormat, text);
    }
    // Without the log's filesystem the snapshots are there and the log isn't: accepting that loss would be the worst to do.
    let absent = if recovery.case == Case::MetadataLost {
        format!("Is {} mounted, and is dataLogDir right? If so, restore", config.data_log_dir)
    } else {
        "Restore".to_owned()
    };
    FatalError::new(
        Fatal::Damage,
        format!(
            "the log is damaged at or below what this server once made durable (case {}); nothing was changed:\n{found}\n{absent} a backup, or \
             accept the loss of everything from there on with `ringkeeper accept-loss {}`",
            recovery.case.letter(),
            if config.data_log_dir == config.data_dir {
                config.data_dir.clone()
            } else {
                format!("{} --log-dir {}", config.data_dir, config.data_log_dir)
            }
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_with_a_session_twice_is_damage_and_no_panic() {
        let options = SessionOptions { tick_ms: 2000, timeout_ms_min: 4000, timeout_ms_max: 40_000, server_id: ServerId::STANDALONE };
        let mut sink = LoadInto { loader: TreeLoader::new(TreeOptions::default()), sessions: Sessions::new(options) };
        let image = SessionImage { session: crate::base::ids::SessionId(5), timeout_ms: 4000, password: [7; 16] };
        assert_eq!(sink.session(image), Ok(()));
        assert_eq!(sink.session(image), Err("session 0x5 comes twice".to_owned()));
    }
}
