//! Virtual time and everything in it: the agenda of events, the links of clients, the lives of the server, the disk's faults.

use super::agenda::{Agenda, Event, Who};
use super::checker::{Checker, NoticedBy};
use super::client::Client;
use super::coverage::Coverage;
use super::disk::SimDisk;
use super::history::History;
use super::host::Life;
use super::ledger::membership;
use super::net::Arrival;
use super::node::Node;
use super::options::{Ending, Options};
use super::replay::Replay;
use super::workload;
use crate::auth::AuthOptions;
use crate::base::ids::Zxid;
use crate::base::prng::Prng;
use crate::model::membership_text::membership_text;
use crate::server::boot::recover_server;
use std::collections::BTreeMap;

mod clients;
mod disk_ops;
mod lives;
mod losses;
mod nemesis;
mod quiet;

/// How far a run has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Clients work, faults happen.
    Work,
    /// No new faults; what is under way ends.
    Calming,
    /// Polite clients must be served.
    Quiet,
    /// Nobody asks for anything any more.
    Over,
}

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Everything held.
    Passed,
    /// The server found the rot that was planted, said so and didn't start.
    Refused,
}

/// See the module's description.
pub struct World {
    options: Options,
    agenda: Agenda,
    nodes: Vec<Node>,
    clients: Vec<Client>,
    next_link: u64,
    history: History,
    replay: Replay,
    coverage: Coverage,
    prng: Prng,
    /// How much a read of a server's files brings at once.
    pieces: Prng,
    requests: u32,
    endings: Vec<u32>,
    rot_left: u8,
    faults_left: u8,
    partitions: u64,
    stage: Stage,
    /// When whatever was committed must be everywhere.
    settle_until_ms: u64,
    verdict: Option<Verdict>,
    digests: BTreeMap<Zxid, u64>,
}

/// Virtual time after which a run that isn't done is stuck.
const STUCK_US: u64 = 3_600_000_000;
/// Longest pause of a client in the quiet phase.
const POLITE_US: u64 = 800_000;
/// Events after which a run that isn't done is stuck.
const EVENTS_MAX: u64 = 3_000_000;

/// The judge of what clients see.
pub(super) fn new_replay(options: &Options) -> Replay {
    let auth = AuthOptions { digest_enabled: true, super_digest: Some(workload::SUPER_DIGEST.into()), ensemble_names: Vec::new() };
    let model = super::model::ModelOptions {
        skip_acl: options.skip_acl,
        extended_types: options.extended_types,
        enforce_quota: false,
        reconfig_enabled: false,
    };
    let mut replay = Replay::new(model, auth);
    replay.may_lag = options.servers > 1;
    replay.config = (options.servers > 1).then(|| {
        let membership = super::ledger::membership(options);
        (membership_text(&membership).into_bytes(), membership.version())
    });
    replay.may_refuse = options.full_ms > 0 || options.fail_op > 0 || options.stop_percent > 0;
    replay
}

impl World {
    /// A world that hasn't begun. `aloud` tells its story.
    ///
    /// # Errors
    /// When the options make no configuration.
    pub fn new(options: Options, aloud: bool) -> Result<World, String> {
        let root = Prng::from_seed(options.seed);
        let mut prng = root.stream("world");
        let clients = (0..usize::from(options.clients)).map(|id| Client::new(id, root.stream(&format!("client-{id}")))).collect();
        let mut endings: Vec<u32> = (0..options.endings).map(|_| prng.between(1, u64::from(options.requests)) as u32).collect();
        endings.sort_unstable();
        let mut nodes = Vec::new();
        for idx in 0..usize::from(options.servers) {
            nodes.push(Node::new(idx, &options, &root)?);
        }
        let failing = if options.servers == 1 { 0 } else { prng.index(nodes.len()) };
        nodes[failing].fail_op = options.fail_op;
        let agenda = Agenda::new(&options, root.stream("delays"), aloud);
        Ok(World {
            agenda,
            nodes,
            clients,
            next_link: 1,
            history: History::new(membership(&options)),
            replay: new_replay(&options),
            coverage: Coverage::default(),
            prng,
            pieces: root.stream("pieces"),
            requests: 0,
            endings,
            rot_left: options.rot,
            faults_left: options.faults,
            partitions: 0,
            stage: Stage::Work,
            settle_until_ms: 0,
            verdict: None,
            digests: BTreeMap::new(),
            options,
        })
    }

    /// What the run went through.
    #[must_use]
    pub fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// The hash of all events.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.agenda.trace.hash()
    }

    /// Disk steps so far.
    #[must_use]
    pub fn disk_steps(&self) -> u64 {
        self.agenda.disk_steps
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// The first thing that is wrong, in words.
    pub fn run(&mut self) -> Result<Verdict, String> {
        self.run_watched(&mut |_| Ok(()))
    }

    /// The same, with a look at the world after every step of the disk.
    ///
    /// # Errors
    /// As [`World::run`], and what `look` finds.
    pub fn run_watched(&mut self, look: &mut dyn FnMut(&World) -> Result<(), String>) -> Result<Verdict, String> {
        for node in 0..self.nodes.len() {
            let late = if self.nodes.len() == 1 { 0 } else { self.prng.between(0, u64::from(self.options.start_ms) * 1000) };
            self.agenda.at(late, Event::Start { node });
        }
        for client in 0..self.clients.len() {
            let late = self.prng.between(0, 20_000);
            self.agenda.after(late, Event::Connect { client });
        }
        for _ in 0..self.options.wall_jumps {
            let at = self.prng.between(1000, 5_000_000);
            let node = if self.nodes.len() == 1 { 0 } else { self.prng.index(self.nodes.len()) };
            self.agenda.after(at, Event::WallJump { node });
        }
        if self.options.full_ms > 0 && self.nodes.len() == 1 {
            let at = self.prng.between(1000, 1_000_000);
            self.agenda.after(at, Event::Full { node: 0, full: true });
            self.agenda.after(at + u64::from(self.options.full_ms) * 1000, Event::Full { node: 0, full: false });
        }
        if self.nodes.len() > 1 {
            let o = &self.options;
            let late_ms = o.tick_ms + (o.peer_us + 4 * o.mail_us) / 1000 + 60;
            (self.history.presence.fast_permille, self.history.presence.late_ms) = (u64::from(o.drift_permille), u64::from(late_ms));
            self.set_clocks();
            self.next_fault();
        }
        while let Some(((time, _), event)) = self.agenda.queue.pop_first() {
            self.agenda.now_us = time;
            let steps = self.agenda.disk_steps;
            self.happen(event)?;
            if let Some(verdict) = self.verdict {
                return Ok(verdict);
            }
            if steps < self.agenda.disk_steps {
                look(self)?;
            }
            for node in 0..self.nodes.len() {
                if let Some(ending) = self.nodes[node].due_end(self.options.shards) {
                    self.end(node, ending)?;
                }
                if let Some((until_us, ending)) = self.nodes[node].end_when_torn
                    && (self.history.ledger.is_partly_durable(node) || time >= until_us)
                {
                    self.nodes[node].end_when_torn = None;
                    self.end(node, ending)?;
                }
            }
            let at = self.options.crash_at_step;
            if steps < at && at <= self.agenda.disk_steps {
                self.end(0, Ending::Power)?;
            }
            if time > STUCK_US || self.agenda.trace.events() > EVENTS_MAX {
                let what = format!("nothing comes to an end: {} requests after {} virtual seconds", self.requests, time / 1_000_000);
                return Err(Checker::Liveness.says(&what));
            }
        }
        Err(Checker::Liveness.says("nothing is left to happen"))
    }

    /// The disk of the first server as it would be if the power failed now, before anything is chosen.
    #[must_use]
    pub fn disk_in_flight(&self) -> SimDisk {
        self.nodes[0].disk_in_flight()
    }

    /// Starts a server from `disk` and says what it recovered: how far, and the digest of the tree.
    ///
    /// # Errors
    /// When it refuses, or lacks something that is durable.
    pub fn recover_from(&self, disk: &SimDisk) -> Result<(Zxid, u64), String> {
        let node = &self.nodes[0];
        let boot = recover_server(disk, &node.config, &mut node.boot_prng.clone()).map_err(|e| format!("the start is refused: {e}"))?;
        let zxid = boot.last_zxid();
        let durable = self.history.ledger.end_of(0).zxid;
        if zxid < durable || zxid < self.history.seen_by_anybody {
            return Err(format!("durable through {durable}, recovered through {zxid}: a lost write"));
        }
        let written = self.history.ledger.log_of(0).count() as u64;
        if zxid.0 > written {
            return Err(format!("recovered through {zxid}, but only {written} transactions were written"));
        }
        Ok((zxid, boot.tree().digest()))
    }

    /// Something arrives from another server.
    fn wire(&mut self, wire: u64, end: usize) {
        let Some((who, other)) = self.agenda.net.who(wire, end).zip(self.agenda.net.who(wire, 1 - end)) else { return };
        let Some(arrival) = self.agenda.wire_next(wire, end) else { return };
        if let Arrival::Bytes(bytes) = &arrival {
            self.agenda.trace.bytes(self.agenda.now_us, "wire", wire, bytes);
        }
        match self.nodes[who.node].life(who) {
            Some(life) => life.arrival(&mut self.agenda, (wire, end), other.node, arrival),
            None => self.agenda.wire_close(wire, end),
        }
    }

    /// Whether an append is on its way.
    #[must_use]
    pub fn is_appending(&self) -> bool {
        self.nodes[0].up().is_some_and(|life| !life.appends.is_empty())
    }

    /// What happened so far.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    fn life(&mut self, who: Who) -> Option<(&mut Life, &mut Agenda, &mut History)> {
        let life = self.nodes[who.node].life(who)?;
        Some((life, &mut self.agenda, &mut self.history))
    }

    /// Each server's clocks begin anywhere and run a little fast or slow.
    fn set_clocks(&mut self) {
        let drift = u64::from(self.options.drift_permille);
        for node in 0..self.nodes.len() {
            self.agenda.clocks[node].rate_permille = self.prng.between(1000 - drift, 1000 + drift);
            self.agenda.clocks[node].mono_offset_us = self.prng.between(0, 1_000_000_000);
        }
    }

    /// The server whose process an event is for, if it is for one: what is for its disk isn't.
    fn process_of(&self, event: &Event) -> Option<usize> {
        match event {
            Event::Flush { who, .. }
            | Event::Outbox { who, .. }
            | Event::Turn { who }
            | Event::Wanted { who }
            | Event::Tick { who }
            | Event::DiskDone { who, .. }
            | Event::PeerFlush { who }
            | Event::PeerOutbox { who, .. } => Some(who.node),
            Event::Wire { wire, end } => self.agenda.net.who(*wire, *end).map(|who| who.node),
            Event::Arrive { link } | Event::ToServer { link, .. } | Event::ClientLeft { link } => {
                self.agenda.links.get(link).map(|link| link.node)
            }
            _ => None,
        }
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        let event = match self.process_of(&event) {
            Some(node) => match self.nodes[node].unless_paused(event) {
                Some(event) => event,
                None => return Ok(()),
            },
            None => event,
        };
        match event {
            Event::Wire { wire, end } => self.wire(wire, end),
            Event::PeerFlush { who } => {
                if let Some((life, agenda, _)) = self.life(who) {
                    life.peer_flush(agenda);
                }
            }
            Event::PeerOutbox { who, outbox } => {
                if let Some((life, agenda, _)) = self.life(who) {
                    agenda.trace.bytes(agenda.now_us, "peer-outbox", who.node as u64, &outbox.bytes);
                    life.send_mail(agenda, &outbox);
                }
            }
            Event::Patience { client, link } => self.patience(client, link),
            Event::Fault => return self.fault(),
            Event::Calm => self.calm(),
            Event::Weaken { spoiled, behind } => return self.weakened(spoiled, &behind),
            Event::Heal { number } => self.heal(number),
            Event::Resume { who } => {
                if self.nodes[who.node].life == who.life {
                    self.resume(who.node);
                }
            }
            Event::SlowEnds { node } => self.slow_ends(node),
            Event::Act { client, link } => self.act(client, link),
            Event::Connect { client } => self.connect(client),
            Event::Arrive { link } => self.arrive(link),
            Event::ToServer { link, bytes } => self.at_server(link, &bytes),
            Event::ClientLeft { link } => self.client_left(link),
            Event::ToClient { link, bytes } => return self.at_client(link, &bytes),
            Event::Flush { who, front } => {
                if let Some((life, agenda, _)) = self.life(who) {
                    life.flush(agenda, front);
                }
            }
            Event::Outbox { who, front, outbox } => {
                if let Some((life, agenda, _)) = self.life(who) {
                    agenda.trace.bytes(agenda.now_us, "outbox", front as u64, &outbox.bytes);
                    life.outbox(agenda, front, &outbox);
                }
            }
            Event::Turn { who } => return self.turn(who),
            Event::Wanted { who } => {
                if let Some((life, agenda, _)) = self.life(who) {
                    life.wanted(agenda);
                }
            }
            Event::Tick { who } => {
                let lives: Vec<Option<u64>> = self.nodes.iter().map(|n| n.up().map(|life| life.who.life)).collect();
                if self.nodes.len() > 1 && self.is_troubled() {
                    self.history.presence.trouble_ms = self.agenda.now_ms();
                }
                if let Some((life, agenda, _)) = self.life(who) {
                    life.tick(agenda, &lives);
                }
            }
            Event::ReadEnds { who, ticket, request } => self.read_ends(who, ticket, &request),
            Event::AppendEnds { who, ticket } => self.append_ends(who, ticket),
            Event::ScriptStep { who, lane } => return self.script_step(who, lane),
            Event::DiskDone { who, done } => {
                if let Some((life, agenda, _)) = self.life(who) {
                    life.done(agenda, *done);
                }
            }
            Event::Start { node } => return self.start(node),
            Event::BootStep { who } => return self.boot_step(who),
            Event::End { node, ending, life } => {
                if life.is_none_or(|life| life == self.nodes[node].life) {
                    return self.end(node, ending);
                }
            }
            Event::WallJump { node } => {
                self.coverage.hit("wall-jump");
                self.agenda.clocks[node].wall_offset_ms += self.prng.between(0, 7_200_000) as i64 - 3_600_000;
            }
            Event::Full { node, full } => {
                self.agenda.say(|| format!("the disk of server {} is {}", node + 1, if full { "full" } else { "no longer full" }));
                self.nodes[node].full = full;
            }
            Event::QuietBegins => self.quiet_begins(),
            Event::QuietEnds => return self.quiet_ends().by(Checker::Liveness),
            Event::Finish => return self.finish().by(Checker::Liveness),
        }
        Ok(())
    }
}
