//! Four-letter words: the facts behind each answer, gathered from the keeper's own state; `server::words` renders them.
//!
//! What only the host knows (directories, descriptors, memory, durations of syncs) it hands in as [`Environment`] once and as
//! [`HostFigures`] from time to time. A figure that nobody measures is left out, never shown as 0.

use super::conns::{Conn, ConnStats, Phase};
use super::ensemble::Duty;
use super::{Cx, Keeper, replies};
use crate::base::ids::{ConnId, Zxid};
use crate::base::memory::BatchMemory;
use crate::base::time::{MonoMs, Now};
use crate::model::membership_text::membership_text;
use crate::server::config::{Config, Ensemble};
use crate::server::words::dump::{Deadline, DumpConn, SessionNodes, SessionsShown};
use crate::server::words::ensemble::Positions;
use crate::server::words::facts::{Latency, built};
use crate::server::words::latency::{self, Stage};
use crate::server::words::mntr::{self, MntrFacts, Number, Summary};
use crate::server::words::simple::{self, ConfFacts, DirSizes, EnsembleConf, EnviFacts};
use crate::server::words::{ConnFacts, ServerFacts, SessionFacts, Version, Word, WordSet, dump, refusal, status, watches};
use crate::tree::Tree;
use std::collections::{BTreeMap, VecDeque};

/// A digest of the tree is kept for each multiple of this.
const DIGEST_EVERY: u64 = 128;
/// Digests that are kept.
const DIGESTS_MAX: usize = 1024;
/// Our own version.
const OWN_VERSION: &str = env!("CARGO_PKG_VERSION");

/// What the configuration and the build say for the words.
#[derive(Clone, Debug)]
pub struct WordOptions {
    whitelist: WordSet,
    built: String,
    tick_ms: u32,
    session_timeout_ms_min: u32,
    session_timeout_ms_max: u32,
    max_client_cnxns: Option<u32>,
    listen_backlog: Option<u32>,
    sessionless_timeout_ms: u32,
    log_segment_kb: u64,
    ensemble: Option<EnsembleOptions>,
}

/// What `conf` says of an ensemble.
#[derive(Clone, Debug)]
struct EnsembleOptions {
    server_id: u8,
    /// All but the membership's text.
    conf: EnsembleConf<'static>,
    membership: String,
}

impl EnsembleOptions {
    fn new(ensemble: &Ensemble, tick_ms: u32) -> Option<EnsembleOptions> {
        let own = ensemble.membership.get(ensemble.me)?;
        let ticks = |ms: u64| ms.checked_div(u64::from(tick_ms)).unwrap_or(0);
        let conf = EnsembleConf {
            init_limit: ticks(ensemble.init_ms),
            sync_limit: ticks(ensemble.sync_ms),
            election_port: own.election_port,
            quorum_port: own.quorum_port,
            observer: !own.votes,
            membership: "",
        };
        Some(EnsembleOptions { server_id: ensemble.me.0, conf, membership: membership_text(&ensemble.membership) })
    }
}

impl WordOptions {
    /// From the configuration.
    #[must_use]
    pub fn from_config(config: &Config) -> WordOptions {
        WordOptions {
            whitelist: config.words,
            built: built(),
            tick_ms: config.tick_ms,
            session_timeout_ms_min: config.min_session_timeout_ms,
            session_timeout_ms_max: config.max_session_timeout_ms,
            max_client_cnxns: config.max_client_cnxns,
            listen_backlog: config.listen_backlog,
            sessionless_timeout_ms: config.sessionless_timeout_ms,
            log_segment_kb: config.log_segment_kb,
            ensemble: config.ensemble.as_ref().and_then(|ensemble| EnsembleOptions::new(ensemble, config.tick_ms)),
        }
    }

    /// `tickTime`.
    pub(super) fn tick_ms(&self) -> u32 {
        self.tick_ms
    }

    fn version(&self) -> Version<'_> {
        Version { own: OWN_VERSION, built: &self.built }
    }
}

/// What the host knows from the start on and what doesn't change; empty and `None` where it doesn't know.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// The port that is open.
    pub client_port: u16,
    /// Absolute.
    pub data_dir: String,
    /// Absolute.
    pub data_log_dir: String,
    /// Of the machine.
    pub host_name: Option<String>,
    /// Such as `Linux`.
    pub os_name: Option<String>,
    /// Such as `amd64`.
    pub os_arch: Option<String>,
    /// Of the kernel.
    pub os_version: Option<String>,
    /// Of the process.
    pub user_name: Option<String>,
    /// Of the user.
    pub user_home: Option<String>,
    /// Working directory.
    pub user_dir: Option<String>,
}

/// What the host measures from time to time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HostFigures {
    /// Of the data directories.
    pub sizes: DirSizes,
    /// Descriptors that are open.
    pub descriptors_open: Option<u64>,
    /// Descriptors that may be open.
    pub descriptors_max: Option<u64>,
    /// Free memory of the machine.
    pub memory_free_mb: Option<u64>,
    /// Memory of the machine.
    pub memory_total_mb: Option<u64>,
    /// What is free where the log lies.
    pub log_free_bytes: Option<u64>,
    /// Durable writes of the log in milliseconds.
    pub sync_ms: Option<Summary>,
}

/// What the keeper keeps for words alone.
#[derive(Debug)]
pub(super) struct Words {
    started: MonoMs,
    environment: Environment,
    figures: HostFigures,
    trace_mask: i64,
    /// Zxid and digest of the tree, oldest first.
    digests: VecDeque<(Zxid, u64)>,
}

impl Words {
    pub(super) fn new(now: Now) -> Words {
        Words {
            started: now.mono,
            environment: Environment::default(),
            figures: HostFigures::default(),
            trace_mask: simple::TRACE_MASK_DEFAULT,
            digests: VecDeque::new(),
        }
    }

    /// A transaction was applied: keeps the tree's digest when its turn has come.
    pub(super) fn on_applied(&mut self, zxid: Zxid, tree: &Tree) {
        if !zxid.0.is_multiple_of(DIGEST_EVERY) || tree.options().skip_digest {
            return;
        }
        if self.digests.len() >= DIGESTS_MAX {
            self.digests.pop_front();
        }
        self.digests.push_back((zxid, tree.digest()));
    }
}

impl<M: BatchMemory> Keeper<M> {
    /// What the host knows from the start on.
    pub fn set_environment(&mut self, environment: Environment) {
        self.words.environment = environment;
    }

    /// What the host measured just now.
    pub fn set_host_figures(&mut self, figures: HostFigures) {
        self.words.figures = figures;
    }

    /// What there is to say of a full disk: where, what a segment needs, and what was free a moment ago.
    pub(super) fn full_disk(&self) -> String {
        let Words { environment, figures, .. } = &self.words;
        full_disk(&environment.data_log_dir, self.options.words.log_segment_kb, figures.log_free_bytes.map(|bytes| bytes / 1024))
    }

    /// Answers a word and closes the connection.
    pub(super) fn on_word(&mut self, cx: &mut Cx<'_, M>, conn: ConnId, word: Word, argument: i64) {
        // Booking adds the four bytes that a frame's length has, and a word is just them.
        let more = if word == Word::Stmk { size_of::<i64>() } else { 0 };
        let Some(idx) = self.ready_to_hear(conn, more) else { return };
        let answer = refusal(word, self.options.words.whitelist, !self.stopping && (self.serves() || self.serves_read_only(cx.now.mono)))
            .unwrap_or_else(|| self.answer_word(cx, idx, word, argument));
        replies::text(&mut self.conns, &mut self.stats, cx.fx, idx, &String::from_utf8_lossy(&answer));
    }

    fn answer_word(&mut self, cx: &Cx<'_, M>, idx: u32, word: Word, argument: i64) -> Vec<u8> {
        let mut out = Vec::new();
        match word {
            Word::Ruok => out.extend_from_slice(simple::RUOK),
            Word::Isro => out.extend_from_slice(simple::isro(self.is_read_only(cx.now.mono))),
            Word::Srvr => status::srvr(&mut out, &self.server_facts()),
            Word::Stat => status::stat(&mut out, &self.server_facts(), self.conn_facts(idx)),
            Word::Cons => status::cons(&mut out, self.conn_facts(idx)),
            Word::Conf => simple::conf(&mut out, &self.conf_facts()),
            Word::Dirs => simple::dirs(&mut out, self.words.figures.sizes),
            Word::Dump => self.dump(&mut out, cx.now),
            Word::Envi => simple::envi(&mut out, &self.envi_facts(&self.options.words.version().text())),
            Word::Hash => simple::hash(&mut out, self.words.digests.iter().copied()),
            Word::Late => {
                let (window_ms, figures) = self.stages.figures(cx.now.mono);
                latency::late(&mut out, self.mode(), window_ms, &figures);
            }
            Word::Mntr => mntr::mntr(&mut out, &self.mntr_facts(cx.now)),
            Word::Wchs => {
                let counts = self.watches.counts();
                watches::wchs(&mut out, counts.connections as u64, counts.paths as u64, counts.watches as u64);
            }
            Word::Wchc => {
                watches::wchc(&mut out, self.watches.by_conn().filter_map(|(c, paths)| Some((self.conns.get(c)?.session, paths))))
            }
            Word::Wchp => {
                let session = |c: u32| self.conns.get(c).map(|conn| conn.session);
                watches::wchp(&mut out, self.watches.by_path().map(|(path, conns)| (path, conns.filter_map(session))));
            }
            Word::Gtmk => out = simple::trace_mask(self.words.trace_mask),
            Word::Stmk => {
                self.words.trace_mask = argument;
                out = simple::trace_mask(argument);
            }
            Word::Crst => {
                self.conns.iter_mut().for_each(|conn| conn.stats.reset());
                out.extend_from_slice(simple::CRST);
            }
            Word::Srst => {
                self.stats.reset();
                out.extend_from_slice(simple::SRST);
            }
            // The front closes the connection of a telnet break and hands nothing on.
            Word::TelnetBreak => {}
        }
        out
    }

    fn outstanding(&self) -> u64 {
        self.conns.iter().map(|(_, conn)| conn.queue.len() as u64).sum()
    }

    fn latency(&self) -> Latency {
        let s = &self.stats;
        Latency { min_ms: s.min_latency_ms, max_ms: s.max_latency_ms, sum_ms: s.total_latency_ms, count: s.answered }
    }

    fn server_facts(&self) -> ServerFacts<'_> {
        ServerFacts {
            version: self.options.words.version(),
            mode: self.mode(),
            latency: self.latency(),
            packets_received: self.stats.received,
            packets_sent: self.stats.sent,
            connections: self.conns.count() as u64,
            outstanding: self.outstanding(),
            zxid: self.applied,
            node_count: self.tree.node_count() as u64,
            proposal_bytes: self.ensemble_facts(MonoMs(0)).and_then(|e| e.proposal_bytes()),
        }
    }

    /// All connections; nothing is read any more from the one that `asks`.
    fn conn_facts(&self, asks: u32) -> impl Iterator<Item = ConnFacts> {
        self.conns.iter().map(move |(idx, conn)| ConnFacts {
            peer: conn.peer,
            interest: u8::from(idx != asks && conn.phase != Phase::Closing),
            queued: conn.queue.len() as u64,
            received: conn.stats.received,
            sent: conn.stats.sent,
            session: self.session_facts(conn),
        })
    }

    fn session_facts(&self, conn: &Conn) -> Option<SessionFacts> {
        let ConnStats { established_ms, last_op, last_cxid, last_response_ms, last_latency_ms, answered, .. } = conn.stats;
        let session = self.sessions.get(conn.session).filter(|_| conn.phase != Phase::Fresh)?;
        Some(SessionFacts {
            id: session.id,
            last_op: last_op.unwrap_or("NA"),
            established_wall_ms: established_ms,
            timeout_ms: session.timeout_ms,
            last_cxid,
            last_zxid: if answered == 0 { Zxid(u64::MAX) } else { conn.stats.last_zxid },
            last_response_mono_ms: last_response_ms,
            last_latency_ms,
            latency: Latency {
                min_ms: conn.stats.min_latency_ms,
                max_ms: conn.stats.max_latency_ms,
                sum_ms: conn.stats.total_latency_ms,
                count: answered,
            },
        })
    }

    fn conf_facts(&self) -> ConfFacts<'_> {
        let (options, environment) = (&self.options.words, &self.words.environment);
        ConfFacts {
            client_port: environment.client_port,
            data_dir: &environment.data_dir,
            data_log_dir: &environment.data_log_dir,
            sizes: self.words.figures.sizes,
            tick_ms: options.tick_ms,
            max_client_cnxns: options.max_client_cnxns,
            min_session_timeout_ms: options.session_timeout_ms_min,
            max_session_timeout_ms: options.session_timeout_ms_max,
            listen_backlog: options.listen_backlog,
            server_id: options.ensemble.as_ref().map_or(0, |e| e.server_id),
            ensemble: options.ensemble.as_ref().map(|e| EnsembleConf { membership: &e.membership, ..e.conf }),
        }
    }

    fn positions(&self) -> Positions {
        let progress = self.log.progress();
        let durable = self.log.durable_zxid();
        Positions {
            proposed: self.proposed,
            accepted: Zxid(progress.accepted()),
            submitted: Zxid(progress.submitted()),
            durable,
            committed: self.committed(),
            applied: self.applied,
        }
    }

    fn envi_facts<'a>(&'a self, version: &'a str) -> EnviFacts<'a> {
        let e = &self.words.environment;
        EnviFacts {
            version,
            host_name: e.host_name.as_deref(),
            os_name: e.os_name.as_deref(),
            os_arch: e.os_arch.as_deref(),
            os_version: e.os_version.as_deref(),
            user_name: e.user_name.as_deref(),
            user_home: e.user_home.as_deref(),
            user_dir: e.user_dir.as_deref(),
            memory_free_mb: self.words.figures.memory_free_mb,
            memory_total_mb: self.words.figures.memory_total_mb,
        }
    }

    /// A connection is due with its session, or, without one, when its time to set one up is over. Who doesn't end sessions shows
    /// their timeouts, as ZooKeeper does: when one is due, the leader knows.
    fn dump(&self, out: &mut Vec<u8>, now: Now) {
        let session_now = self.session_clock.at(now.mono);
        let wall = |at: MonoMs| now.wall_ms.saturating_add_unsigned(at.0).saturating_sub_unsigned(session_now.0);
        let sessions: Vec<_> =
            self.sessions.deadlines().map(|(at, items)| Deadline { wall_ms: wall(at), items: items.collect() }).collect();
        let mut owners: Vec<_> = self.tree.sessions_with_ephemerals().map(|(session, _)| session).collect();
        owners.sort_unstable();
        let nodes: Vec<Vec<Vec<u8>>> = owners.iter().map(|session| self.ephemeral_paths(*session)).collect();
        let ephemerals: Vec<_> = owners
            .iter()
            .zip(&nodes)
            .map(|(session, paths)| SessionNodes { session: *session, paths: paths.iter().map(Vec::as_slice).collect() })
            .collect();
        let mut connections: BTreeMap<i64, Vec<DumpConn>> = BTreeMap::new();
        for (_, conn) in self.conns.iter() {
            let due = self.sessions.get(conn.session).filter(|_| conn.phase == Phase::Ready).and_then(|s| s.deadline);
            let sessionless = conn.stats.established_ms + i64::from(self.options.words.sessionless_timeout_ms);
            let due = due.map_or(sessionless, wall);
            connections.entry(due).or_default().push(DumpConn { peer: conn.peer, session: conn.session });
        }
        let connections: Vec<_> = connections.into_iter().map(|(wall_ms, items)| Deadline { wall_ms, items }).collect();
        let timeouts: Vec<_> = self.sessions.images().map(|image| (image.session, image.timeout_ms)).collect();
        let shown = if self.duty() == Duty::Decide { SessionsShown::Deadlines(&sessions) } else { SessionsShown::Timeouts(&timeouts) };
        dump::dump(out, shown, &ephemerals, &connections);
    }

    fn ephemeral_paths(&self, session: crate::base::ids::SessionId) -> Vec<Vec<u8>> {
        let mut paths: Vec<Vec<u8>> = self
            .tree
            .ephemerals_of(session)
            .map(|node| {
                let mut path = Vec::new();
                self.tree.path_of(node, &mut path);
                path
            })
            .collect();
        paths.sort_unstable();
        paths
    }

    fn mntr_facts(&self, now: Now) -> MntrFacts<'_> {
        MntrFacts {
            version: self.options.words.version(),
            mode: self.mode(),
            gauges: self.gauges(now),
            counters: self.counters(),
            basic: self.summaries(),
            advanced: self.ranks(),
            stages: self.stages.figures(now.mono).1,
            positions: Some(self.positions()),
            log_full: Some(self.log.is_full()),
            ensemble: self.ensemble_facts(now.mono),
        }
    }

    fn gauges(&self, now: Now) -> mntr::Gauges {
        fn whole<T: TryInto<i64>>(n: T) -> Option<Number> {
            Some(Number::Whole(n.try_into().unwrap_or(i64::MAX)))
        }
        let (stats, latency, figures) = (&self.stats, self.latency(), &self.words.figures);
        let response = |bytes: u64| if stats.last_response_len.is_some() { whole(bytes) } else { Some(Number::Whole(-1)) };
        mntr::Gauges {
            ephemerals_count: whole(self.tree.ephemerals_count()),
            num_alive_connections: whole(self.conns.count()),
            avg_latency: Some(Number::Fraction(latency.avg_ms())),
            outstanding_requests: whole(self.outstanding()),
            znode_count: whole(self.tree.node_count()),
            global_sessions: whole(self.sessions.count()),
            last_client_response_size: response(stats.last_response_len.unwrap_or(0)),
            packets_sent: whole(stats.sent),
            packets_received: whole(stats.received),
            max_client_response_size: response(stats.max_response_len),
            watch_count: whole(self.watches.counts().watches_both_tables),
            auth_failed_count: whole(stats.auth_failed),
            min_latency: whole(latency.min_ms),
            max_file_descriptor_count: figures.descriptors_max.and_then(whole),
            approximate_data_size: whole(self.tree.approximate_data_bytes()),
            open_file_descriptor_count: figures.descriptors_open.and_then(whole),
            uptime: whole(now.mono.since(self.words.started)),
            max_latency: whole(latency.max_ms),
            min_client_response_size: response(stats.min_response_len),
        }
    }

    fn counters(&self) -> mntr::Counters {
        let stats = &self.stats;
        // Everything proposed is applied in the end, so what isn't yet is the difference.
        let proposed = stats.commits + self.proposed.0.abs_diff(self.applied.0);
        mntr::Counters {
            connection_rejected: Some(stats.connections_rejected),
            bytes_received_count: Some(stats.received_bytes),
            response_bytes: Some(stats.response_bytes),
            connection_revalidate_count: Some(stats.revalidated),
            unrecoverable_error_count: Some(u64::from(self.log.fault().is_some())),
            commit_count: Some(stats.commits),
            proposal_count: Some(proposed),
            connection_request_count: Some(stats.connect_requests),
            stale_sessions_expired: Some(stats.sessions_expired),
            sync_processor_request_queued: Some(proposed),
            ..mntr::Counters::default()
        }
    }

    fn ranks(&self) -> mntr::AdvancedSummaries {
        mntr::AdvancedSummaries {
            updatelatency: self.stages.percentiles(Stage::Write),
            readlatency: self.stages.percentiles(Stage::Read),
            prep_processor_queue_time_ms: self.stages.percentiles(Stage::Prepare),
            sync_processor_queue_time_ms: self.stages.percentiles(Stage::Submit),
            sync_processor_queue_flush_time_ms: self.stages.percentiles(Stage::Sync),
            ..mntr::AdvancedSummaries::default()
        }
    }

    fn summaries(&self) -> mntr::BasicSummaries {
        let [created, deleted, changed, children] = self.stats.triggers;
        mntr::BasicSummaries {
            node_created_watch_count: Some(created),
            node_deleted_watch_count: Some(deleted),
            node_changed_watch_count: Some(changed),
            node_children_watch_count: Some(children),
            fsynctime: self.words.figures.sync_ms,
            ..mntr::BasicSummaries::default()
        }
    }
}

fn full_disk(dir: &str, segment_kb: u64, free_kb: Option<u64>) -> String {
    let free = free_kb.map_or_else(String::new, |kb| format!(", {kb} KiB were free just now"));
    format!(
        "the disk of {dir} has no room for the next segment of the log (up to {segment_kb} KiB are needed{free}): writes are refused \
         (SYSTEMERROR), reads go on. Make room; the server tries again by itself"
    )
}

#[cfg(test)]
mod tests;
