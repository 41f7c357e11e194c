//! The keeper: the single writer of all state, and so the place where order, atomic multis and watch order are free.
//!
//! It is handed bursts of requests, completions of the disk and the time, and leaves encoded replies, disk effects and notes
//! in [`Effects`]. It never waits. The life of a write: `intake` decodes it, `prep` judges it, its record goes into the open
//! batch ([`crate::log`]), a turn submits the batch, its completion moves the durable position, `apply` applies what is
//! committed, fires watches and then releases the reply. Everything a connection must see goes through one outbox in order,
//! so no reply overtakes the event of a change it shows.

use crate::auth::AuthOptions;
use crate::base::fatal::FatalError;
use crate::base::ids::{ConnId, SessionId, Zxid};
use crate::base::memory::{BatchMemory, BatchPool};
use crate::base::prng::Prng;
use crate::base::time::{MonoMs, Now};
use crate::log::{DiskEffect, Log};
use crate::model::membership_text::membership_text;
use crate::model::ops::OpBuf;
use crate::model::position::Identity;
use crate::mutant;
use crate::prep::{Prep, PrepOptions};
use crate::server::config::Config;
use crate::server::mail::{Burst, Hold, Item, Outboxes};
use crate::server::note::{Level, Note, RateLimit};
use crate::server::peer_mail::PeerOutbox;
use crate::session::Sessions;
use crate::snapshot::Policy;
use crate::tree::Tree;
use crate::tree::watch::Watches;
use crate::zab::Persisted;
use conns::{Conns, Due};
use ensemble::{Ensemble, EnsembleOptions};
use hashbrown::HashMap;
use session_clock::SessionClock;
use snapshots::Snapshots;
use stages::Stages;
use stats::Stats;
use std::collections::VecDeque;

mod apply;
mod connect;
pub mod conns;
pub mod ensemble;
mod intake;
mod owed;
mod reads;
mod replies;
mod retention;
mod session_clock;
mod silence;
mod snapshots;
mod stages;
pub mod stats;
mod upkeep;
#[cfg(test)]
mod tests;
mod watching;
mod words;
mod writes;

pub use ensemble::Tell;
pub use snapshots::{SnapshotFigures, SnapshotOptions};
pub use words::{Environment, HostFigures, WordOptions};

/// What the keeper needs to know of the configuration.
#[derive(Clone, Debug)]
pub struct KeeperOptions {
    /// How writes are judged.
    pub prep: PrepOptions,
    /// How credentials are judged.
    pub auth: AuthOptions,
    /// When snapshots are taken.
    pub snapshot: SnapshotOptions,
    /// Facts that four-letter words show.
    pub words: WordOptions,
    /// Number of fronts.
    pub fronts: usize,
    /// Connections from one address, 0 for any number.
    pub conns_per_address_max: usize,
    /// All connections, 0 for any number.
    pub conns_max: usize,
    /// How often containers and TTL nodes are looked for.
    pub reap_interval_ms: u64,
    /// Nodes reaped in a minute.
    pub reap_per_minute_max: usize,
    /// A request that takes longer is noted with the stage it waited for.
    pub slow_request_ms: u64,
    /// Batches in memory, not yet durable and applied, before no more is taken in.
    pub batches_held_max: usize,
}

/// What a turn leaves for the host.
#[derive(Debug)]
pub struct Effects<M> {
    /// For the fronts.
    pub outboxes: Outboxes,
    /// For the log shards.
    pub disk: Vec<DiskEffect<M>>,
    /// For the log of the process.
    pub notes: Vec<Note>,
    /// The process must end.
    pub stop: Option<FatalError>,
    /// For the links to other servers.
    pub peers: PeerOutbox,
    /// The host drops this keeper and recovers a new one from the files, as at a start. Nothing is on its way to the disk.
    pub reboot: bool,
}

impl<M> Effects<M> {
    /// Empty ones.
    #[must_use]
    pub fn new(fronts: usize) -> Effects<M> {
        Effects {
            outboxes: Outboxes::new(fronts),
            disk: Vec::new(),
            notes: Vec::new(),
            stop: None,
            peers: PeerOutbox::default(),
            reboot: false,
        }
    }

    /// Adds a line.
    pub fn note(&mut self, level: Level, text: impl Into<String>) {
        self.notes.push(Note { level, text: text.into() });
    }
}

/// What every entry into the keeper is given: the time, memory, and where to leave effects.
pub struct Cx<'a, M: BatchMemory> {
    /// Read once for the turn.
    pub now: Now,
    /// Memory for batches.
    pub pool: &'a mut dyn BatchPool<Memory = M>,
    /// Where effects go.
    pub fx: &'a mut Effects<M>,
}

/// Somebody waits until an answer is due.
#[derive(Clone, Copy, Debug)]
struct Gate {
    due: Due,
    conn: ConnId,
}

/// See the module's description.
pub struct Keeper<M: BatchMemory> {
    options: KeeperOptions,
    tree: Tree,
    watches: Watches,
    sessions: Sessions,
    session_clock: SessionClock,
    /// When the connections are looked over for those that can't be heard, and those that are silent.
    next_look: MonoMs,
    /// Clients that wait for an answer were unread at some time since the last look.
    crowded_lately: bool,
    prep: Prep,
    log: Log<M>,
    conns: Conns,
    /// Connections whose new session is being created.
    joining: HashMap<SessionId, u32>,
    /// In order of their position and round.
    gates: VecDeque<Gate>,
    /// The last transaction that was judged and encoded.
    proposed: Zxid,
    /// The same as the tree's position.
    applied: Zxid,
    prng: Prng,
    /// For the ids of new sessions.
    session_salt: u32,
    ops: OpBuf,
    scratch: Vec<u8>,
    snapshots: Snapshots,
    stats: Stats,
    stages: Stages,
    words: words::Words,
    complaints: RateLimit,
    /// Lines about slow requests.
    slow: RateLimit,
    next_reap: MonoMs,
    stopping: bool,
    was_full: bool,
    /// For a member of an ensemble.
    ensemble: Option<Box<Ensemble>>,
}

/// What recovery gives the keeper to begin with.
pub struct Recovered<M: BatchMemory> {
    /// The tree with everything applied.
    pub tree: Tree,
    /// The sessions that live.
    pub sessions: Sessions,
    /// The log, ready to append.
    pub log: Log<M>,
    /// Snapshots on disk, oldest first, and whether each was seen whole.
    pub snapshots: Vec<(Zxid, bool)>,
    /// Where the snapshot stands that was loaded.
    pub newest_snapshot: Option<Identity>,
    /// Of a member of an ensemble: what it is told, and what its epoch metadata says.
    pub ensemble: Option<(EnsembleOptions, Persisted)>,
}

impl<M: BatchMemory> Keeper<M> {
    /// A keeper over recovered state. `prng` is its own stream (session passwords, snapshot jitter).
    #[must_use]
    pub fn new(options: KeeperOptions, recovered: Recovered<M>, prng: Prng, hash_seed: u64, now: Now) -> Keeper<M> {
        let Recovered { mut tree, mut sessions, log, snapshots, newest_snapshot, ensemble } = recovered;
        tree.restart_reap_clocks(now);
        let applied = tree.last_zxid();
        sessions.restart_timers(now.mono);
        let newest = snapshots.iter().filter(|(_, good)| *good).map(|(zxid, _)| zxid.0).max().unwrap_or(0);
        let snapshots =
            Snapshots::new(options.snapshot, snapshots, newest_snapshot, applied.0 - newest.min(applied.0), prng.stream("snapshot"));
        if let Some((options, _)) = &ensemble {
            let membership = &options.zab.membership;
            tree.set_config(membership_text(membership).as_bytes(), membership.version(), now.wall_ms);
        }
        let ensemble = ensemble
            .map(|(options, persisted)| Box::new(Ensemble::new(options, persisted, log.durable(), applied, prng.stream("zab"), now)));
        Keeper {
            ensemble,
            prep: Prep::new(options.prep, hash_seed),
            watches: Watches::new(hash_seed),
            snapshots,
            next_reap: now.mono.plus(options.reap_interval_ms),
            options,
            tree,
            sessions,
            session_clock: SessionClock::default(),
            next_look: now.mono,
            crowded_lately: false,
            log,
            conns: Conns::default(),
            joining: HashMap::new(),
            gates: VecDeque::new(),
            session_salt: prng.stream("session ids").next_u64() as u32,
            proposed: applied,
            applied,
            prng,
            ops: OpBuf::default(),
            scratch: Vec::new(),
            stats: Stats::default(),
            stages: Stages::new(applied, now),
            words: words::Words::new(now),
            complaints: RateLimit::default(),
            slow: RateLimit::default(),
            stopping: false,
            was_full: false,
        }
    }

    /// Takes in what a front collected. Replies that need no transaction are encoded at once.
    pub fn on_burst(&mut self, cx: &mut Cx<'_, M>, burst: &Burst) {
        for item in &burst.items {
            match item {
                Item::Opened { conn, peer } => self.on_opened(cx, *conn, *peer),
                Item::Connect { conn, body } => self.on_connect(cx, *conn, &burst.bytes[body.clone()], burst.received_ns),
                Item::Request { conn, xid, op, body } => {
                    self.on_request(cx, *conn, *xid, *op, &burst.bytes[body.clone()], burst.received_ns);
                }
                Item::Word { conn, word, argument } => self.on_word(cx, *conn, *word, *argument),
                Item::Ready { conn } => self.on_client_ready(cx, *conn),
                Item::Heard { conn } => self.on_heard(cx, *conn),
                Item::Closed { conn } => self.on_closed(*conn),
            }
        }
    }

    /// One turn, after everything that was ready has been taken in: commit and apply what is durable, then submit what was
    /// taken in meanwhile.
    pub fn turn(&mut self, cx: &mut Cx<'_, M>) {
        self.tree.set_now(cx.now.mono);
        self.begin_ensemble_turn(cx);
        self.commit_and_apply(cx);
        self.judge_held_back(cx);
        self.step_snapshot(cx);
        self.flush_forward(cx);
        self.log.submit(&mut cx.fx.disk);
        self.stages_take_in(cx.now);
        self.end_ensemble_turn(cx);
        let hold = self.hold();
        self.crowded_lately |= hold == Hold::Waiting;
        let hears = hold != Hold::All || mutant!("sessions-expire-unheard");
        self.session_clock.go(cx.now.mono, hears);
        self.look_over_conns(cx);
        self.look_for_fault(cx);
    }

    /// The time by which sessions time out.
    fn session_now(&self, cx: &Cx<'_, M>) -> MonoMs {
        self.session_clock.at(cx.now.mono)
    }

    /// Which sockets the host leaves unread, until a turn changes that.
    #[must_use]
    pub fn hold(&self) -> Hold {
        // A member that ends answers what it has; a client that goes on asking would keep it from that.
        let ends = self.stopping && self.ensemble.is_some();
        // Clients that waited for nothing have filled the log further: it would come to the point at which writes are refused.
        let is_overfull = self.log.stats().held >= OVERFULL_FACTOR * self.options.batches_held_max;
        if ends || is_overfull || self.is_waiting_for_leader() {
            Hold::All
        } else if self.is_crowded() {
            Hold::Waiting
        } else {
            Hold::Nothing
        }
    }

    /// Whether requests may be handed in by whomever.
    #[must_use]
    pub fn takes_more(&self) -> bool {
        self.hold() == Hold::Nothing
    }

    /// As many batches are held as may be before more is judged.
    fn is_crowded(&self) -> bool {
        self.log.stats().held >= self.options.batches_held_max
    }

    /// Whether there is work that no mail will bring: the host runs another turn soon.
    #[must_use]
    pub fn wants_turn(&self) -> bool {
        self.snapshots.wants_turn()
    }

    /// The last applied transaction.
    #[must_use]
    pub fn applied(&self) -> Zxid {
        self.applied
    }

    /// The last transaction that was judged and encoded.
    #[must_use]
    pub fn proposed(&self) -> Zxid {
        self.proposed
    }

    /// The tree, to be looked at.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The sessions, to be looked at.
    #[must_use]
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// The log, to be looked at.
    #[must_use]
    pub fn log(&self) -> &Log<M> {
        &self.log
    }

    /// A line about trouble that a client can cause at will.
    fn complain(&mut self, cx: &mut Cx<'_, M>, text: &str) {
        if let Some(left_out) = self.complaints.admit(cx.now.mono) {
            let more = if left_out > 0 { format!(" ({left_out} lines like it left out)") } else { String::new() };
            cx.fx.note(Level::Warn, format!("{text}{more}"));
        }
    }
}

impl KeeperOptions {
    /// From the configuration.
    #[must_use]
    pub fn from_config(config: &Config, fronts: usize) -> KeeperOptions {
        KeeperOptions {
            prep: PrepOptions {
                skip_acl: config.skip_acl,
                extended_types: config.extended_types,
                enforce_quota: config.enforce_quota,
                reconfig_enabled: config.reconfig_enabled,
            },
            auth: AuthOptions {
                digest_enabled: config.digest_auth_enabled,
                super_digest: config.super_digest.as_ref().map(|d| d.as_bytes().to_vec()),
                ensemble_names: config.ensemble_names.clone(),
            },
            snapshot: SnapshotOptions {
                policy: Policy {
                    snap_count: u64::from(config.snap_count),
                    snap_bytes: config.snap_size_limit_kb.unwrap_or(0).saturating_mul(1024),
                },
                retain: config.purge_retain_count as usize,
            },
            words: WordOptions::from_config(config),
            fronts,
            conns_per_address_max: config.max_client_cnxns.unwrap_or(0) as usize,
            conns_max: config.max_cnxns.unwrap_or(0) as usize,
            reap_interval_ms: u64::from(config.container_check_interval_ms),
            reap_per_minute_max: config.container_max_per_minute as usize,
            slow_request_ms: config.slow_request_ms.unwrap_or(u64::MAX),
            batches_held_max: BATCHES_HELD_SOFT_MAX,
        }
    }
}

/// Batches in memory at which clients that wait for an answer are left unread.
const BATCHES_HELD_SOFT_MAX: usize = 64;
/// At so many times as many all clients are left unread.
const OVERFULL_FACTOR: usize = 4;
