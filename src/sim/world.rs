//! Virtual time and everything in it: the agenda of events, the links of clients, the lives of the server, the disk's faults.

use super::client::{Client, Phase, Whim};
use super::coverage::Coverage;
use super::disk::SimDisk;
use super::history::History;
use super::host::{Life, Mood, TICK_US};
use super::options::{Ending, Options};
use super::replay::Replay;
use super::trace::Trace;
use super::{checks, watching, workload};
use crate::auth::AuthOptions;
use crate::base::ids::{ConnId, Zxid};
use crate::base::memory::BatchMemory;
use crate::base::prng::Prng;
use crate::base::time::{MonoMs, Now};
use crate::log::{Case, DiskDone};
use crate::model::file::{DiskError, FileOp, FilePath, Ticket};
use crate::server::boot::{Boot, recover_server};
use crate::server::config::{Config, ConfigFile, Input, check};
use crate::server::front::FrontOptions;
use crate::server::mail::Outbox;
use std::collections::BTreeMap;

/// Something that will happen.
#[derive(Debug)]
#[allow(missing_docs, reason = "named after what happens")]
pub enum Event {
    Act { client: usize, link: u64 },
    Connect { client: usize },
    Arrive { link: u64 },
    ToServer { link: u64, bytes: Vec<u8> },
    ClientLeft { link: u64 },
    ToClient { link: u64, bytes: Vec<u8> },
    Flush { life: u64, front: usize },
    Outbox { life: u64, front: usize, outbox: Box<Outbox> },
    Turn { life: u64 },
    Wanted { life: u64 },
    Tick { life: u64 },
    AppendEnds { life: u64, ticket: Ticket },
    ScriptStep { life: u64, lane: usize },
    DiskDone { life: u64, done: Box<DiskDone> },
    Start,
    BootStep { life: u64 },
    End { ending: Ending, life: Option<u64> },
    WallJump,
    Full { full: bool },
    QuietBegins,
    QuietEnds,
    Finish,
}

/// One connection between a client and a front.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    client: usize,
    front: usize,
    life: u64,
    /// Its name at the front, once it is accepted.
    pub conn: Option<ConnId>,
    up_us: u64,
    down_us: u64,
}

/// What will happen when, and what it takes to put something on it.
pub struct Agenda {
    now_us: u64,
    wall_offset_ms: i64,
    next: u64,
    queue: BTreeMap<(u64, u64), Event>,
    prng: Prng,
    net_us: u64,
    mail_us: u64,
    disk_us: u64,
    slow_disk_one_in: u64,
    mail_last: BTreeMap<usize, u64>,
    /// Open and closed links.
    pub links: BTreeMap<u64, Link>,
    /// Steps of the disk so far: appends begun and ended, steps of scripts.
    pub disk_steps: u64,
    trace: Trace,
}

/// Wall clock at the beginning.
const EPOCH_MS: i64 = 1_700_000_000_000;

impl Agenda {
    /// The clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        let ms = self.now_us / 1000;
        Now { mono: MonoMs(ms), mono_ns: self.now_us * 1000, wall_ms: EPOCH_MS + ms as i64 + self.wall_offset_ms }
    }

    /// A line of the story.
    pub fn say(&mut self, text: impl FnOnce() -> String) {
        self.trace.say(self.now_us, text);
    }

    fn at(&mut self, time_us: u64, event: Event) {
        self.next += 1;
        self.queue.insert((time_us.max(self.now_us), self.next), event);
    }

    /// Puts an event some time ahead.
    pub fn after(&mut self, us: u64, event: Event) {
        self.at(self.now_us + us, event);
    }

    /// Mail between roles: late by chance, in order on its `way`.
    pub fn mail(&mut self, way: usize, event: Event) {
        let late = self.now_us + self.prng.between(0, self.mail_us);
        let time = late.max(self.mail_last.get(&way).copied().unwrap_or(0));
        self.mail_last.insert(way, time);
        self.at(time, event);
    }

    fn disk_delay(&mut self) -> u64 {
        let us = self.prng.between(1, self.disk_us);
        if self.slow_disk_one_in > 0 && self.prng.chance(1, self.slow_disk_one_in) { us * 100 } else { us }
    }

    /// The end of a disk operation.
    pub fn disk(&mut self, event: Event) {
        let delay = self.disk_delay();
        self.after(delay, event);
    }

    /// Bytes to a client; none: the server closes.
    pub fn to_client(&mut self, link: u64, bytes: Vec<u8>) {
        let late = self.now_us + self.prng.between(1, self.net_us);
        if let Some(known) = self.links.get_mut(&link) {
            known.down_us = late.max(known.down_us);
            let time = known.down_us;
            self.at(time, Event::ToClient { link, bytes });
        }
    }

    fn to_server(&mut self, link: u64, event: Event) {
        let late = self.now_us + self.prng.between(1, self.net_us);
        if let Some(known) = self.links.get_mut(&link) {
            known.up_us = late.max(known.up_us);
            let time = known.up_us;
            self.at(time, event);
        }
    }
}

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

enum Server {
    Down,
    Booting { boot: Box<Boot>, ops: Vec<FileOp>, next: usize },
    Up(Box<Life>),
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
    disk: SimDisk,
    server: Server,
    life: u64,
    config: Config,
    clients: Vec<Client>,
    next_link: u64,
    history: History,
    replay: Replay,
    auth: AuthOptions,
    coverage: Coverage,
    prng: Prng,
    boot_prng: Prng,
    requests: u32,
    endings: Vec<u32>,
    end_at_step: Option<(u64, Ending)>,
    rot_left: u8,
    rotten: bool,
    clean: bool,
    marked: Zxid,
    written: Vec<(FilePath, u64, u64, Zxid)>,
    full: bool,
    disk_ops: u64,
    stage: Stage,
    failed: bool,
    verdict: Option<Verdict>,
    digests: BTreeMap<Zxid, u64>,
}

/// Virtual time after which a run that isn't done is stuck.
const STUCK_US: u64 = 3_600_000_000;
/// Steps that a crash waits for the disk to be busy.
const PATIENCE_STEPS: u64 = 60;
/// Longest pause of a client in the quiet phase.
const POLITE_US: u64 = 800_000;
/// Events after which a run that isn't done is stuck.
const EVENTS_MAX: u64 = 3_000_000;

fn config(options: &Options) -> Result<Config, String> {
    let text = format!(
        "dataDir=/sim\nclientPort=2181\ntickTime={}\nminSessionTimeout={}\nmaxSessionTimeout=60000\nmaxClientCnxns=0\n\
         extendedTypesEnabled={}\nskipACL={}\nznode.container.checkIntervalMs=500\nsnapCount={}\n4lw.commands.whitelist=*\n\
         DigestAuthenticationProvider.superDigest={}\nringkeeper.log.shards={}\n",
        options.tick_ms,
        2 * options.tick_ms,
        options.extended_types,
        if options.skip_acl { "yes" } else { "no" },
        options.snap_count.max(2),
        workload::SUPER_DIGEST,
        options.shards
    );
    let checked = check(&Input { file: Some(ConfigFile { name: "zoo.cfg", bytes: text.as_bytes() }), overrides: &[], cores_available: 1 });
    let (mut config, _) = checked.into_config().map_err(|findings| format!("the run's configuration is refused: {findings:?}"))?;
    // Far below what a configuration may ask for, so that segments end often.
    config.log_segment_kb = u64::from(options.segment_kb);
    Ok(config)
}

impl World {
    /// A world that hasn't begun. `aloud` tells its story.
    ///
    /// # Errors
    /// When the options make no configuration.
    pub fn new(options: Options, aloud: bool) -> Result<World, String> {
        let root = Prng::from_seed(options.seed);
        let mut prng = root.stream("world");
        let auth = AuthOptions { digest_enabled: true, super_digest: Some(workload::SUPER_DIGEST.into()), ensemble_names: Vec::new() };
        let clients =
            (0..usize::from(options.clients)).map(|id| Client::new(id, root.stream(&format!("client-{id}")), auth.clone())).collect();
        let mut endings: Vec<u32> = (0..options.endings).map(|_| prng.between(1, u64::from(options.requests)) as u32).collect();
        endings.sort_unstable();
        let model = super::model::ModelOptions {
            skip_acl: options.skip_acl,
            extended_types: options.extended_types,
            enforce_quota: false,
            reconfig_enabled: false,
        };
        let agenda = Agenda {
            now_us: 0,
            wall_offset_ms: 0,
            next: 0,
            queue: BTreeMap::new(),
            prng: root.stream("delays"),
            net_us: u64::from(options.net_us),
            mail_us: u64::from(options.mail_us),
            disk_us: u64::from(options.disk_us),
            slow_disk_one_in: u64::from(options.slow_disk_one_in),
            mail_last: BTreeMap::new(),
            links: BTreeMap::new(),
            disk_steps: 0,
            trace: Trace::new(options.seed, aloud),
        };
        let mut replay = Replay::new(model, auth.clone());
        replay.may_refuse = options.full_ms > 0 || options.fail_op > 0 || options.stop_percent > 0;
        Ok(World {
            config: config(&options)?,
            agenda,
            disk: SimDisk::new(),
            server: Server::Down,
            life: 0,
            clients,
            next_link: 1,
            history: History::default(),
            replay,
            auth,
            coverage: Coverage::default(),
            boot_prng: root.stream("boot"),
            prng,
            requests: 0,
            endings,
            end_at_step: None,
            rot_left: options.rot,
            rotten: false,
            clean: false,
            marked: Zxid::ZERO,
            written: Vec::new(),
            full: false,
            disk_ops: 0,
            stage: Stage::Work,
            failed: false,
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
        self.agenda.at(0, Event::Start);
        for client in 0..self.clients.len() {
            let late = self.prng.between(0, 20_000);
            self.agenda.after(late, Event::Connect { client });
        }
        for _ in 0..self.options.wall_jumps {
            let at = self.prng.between(1000, 5_000_000);
            self.agenda.after(at, Event::WallJump);
        }
        if self.options.full_ms > 0 {
            let at = self.prng.between(1000, 1_000_000);
            self.agenda.after(at, Event::Full { full: true });
            self.agenda.after(at + u64::from(self.options.full_ms) * 1000, Event::Full { full: false });
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
            if let Some((at, ending)) = self.end_at_step.filter(|(at, _)| *at <= self.agenda.disk_steps)
                && (self.is_busy() || self.agenda.disk_steps > at + PATIENCE_STEPS)
            {
                self.end_at_step = None;
                self.end(ending)?;
            }
            let at = self.options.crash_at_step;
            if steps < at && at <= self.agenda.disk_steps {
                self.end(Ending::Power)?;
            }
            if time > STUCK_US || self.agenda.trace.events() > EVENTS_MAX {
                return Err(format!("nothing comes to an end: {} requests after {} virtual seconds", self.requests, time / 1_000_000));
            }
        }
        Err("nothing is left to happen".to_owned())
    }

    /// Whether appends are on their way, two of them where there is more than one shard: where a crash does most.
    fn is_busy(&self) -> bool {
        let wanted = usize::from(self.options.shards).min(2);
        matches!(&self.server, Server::Up(life) if life.appends.len() >= wanted)
    }

    /// The disk as it would be if the power failed now, before anything is chosen: what was on its way is written, not durable.
    #[must_use]
    pub fn disk_in_flight(&self) -> SimDisk {
        let mut disk = self.disk.clone();
        if let Server::Up(life) = &self.server {
            for append in life.appends.values() {
                disk.tear(&append.file, append.at, &append.memory.bytes()[..append.len], &mut || true);
            }
        }
        disk
    }

    /// Starts a server from `disk` and says what it recovered: how far, and the digest of the tree.
    ///
    /// # Errors
    /// When it refuses, or lacks something that is durable.
    pub fn recover_from(&self, disk: &SimDisk) -> Result<(Zxid, u64), String> {
        let boot = recover_server(disk, &self.config, &mut self.boot_prng.clone()).map_err(|e| format!("the start is refused: {e}"))?;
        let zxid = boot.last_zxid();
        if zxid < self.history.durable || zxid < self.history.seen_by_anybody {
            return Err(format!("durable through {}, recovered through {zxid}: a lost write", self.history.durable));
        }
        if zxid.0 > self.history.txns.len() as u64 {
            return Err(format!("recovered through {zxid}, but only {} transactions were written", self.history.txns.len()));
        }
        Ok((zxid, boot.tree().digest()))
    }

    /// Whether an append is on its way.
    #[must_use]
    pub fn is_appending(&self) -> bool {
        matches!(&self.server, Server::Up(life) if !life.appends.is_empty())
    }

    /// What happened so far.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    fn life(&mut self, number: u64) -> Option<(&mut Life, &mut Agenda, &mut History)> {
        match &mut self.server {
            Server::Up(life) if life.number == number => Some((life, &mut self.agenda, &mut self.history)),
            _ => None,
        }
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Act { client, link } => self.act(client, link),
            Event::Connect { client } => self.connect(client),
            Event::Arrive { link } => self.arrive(link),
            Event::ToServer { link, bytes } => self.to_server(link, &bytes),
            Event::ClientLeft { link } => self.client_left(link),
            Event::ToClient { link, bytes } => return self.to_client(link, &bytes),
            Event::Flush { life, front } => {
                if let Some((life, agenda, _)) = self.life(life) {
                    life.flush(agenda, front);
                }
            }
            Event::Outbox { life, front, outbox } => {
                if let Some((life, agenda, _)) = self.life(life) {
                    agenda.trace.bytes(agenda.now_us, "outbox", front as u64, &outbox.bytes);
                    life.outbox(agenda, front, &outbox);
                }
            }
            Event::Turn { life } => return self.turn(life),
            Event::Wanted { life } => {
                if let Some((life, agenda, _)) = self.life(life) {
                    life.wanted(agenda);
                }
            }
            Event::Tick { life } => {
                if let Some((life, agenda, _)) = self.life(life) {
                    life.tick(agenda);
                }
            }
            Event::AppendEnds { life, ticket } => self.append_ends(life, ticket),
            Event::ScriptStep { life, lane } => self.script_step(life, lane),
            Event::DiskDone { life, done } => {
                if let Some((life, agenda, _)) = self.life(life) {
                    life.done(agenda, *done);
                }
            }
            Event::Start => return self.start(),
            Event::BootStep { life } => return self.boot_step(life),
            Event::End { ending, life } => {
                if life.is_none_or(|life| life == self.life) {
                    return self.end(ending);
                }
            }
            Event::WallJump => {
                self.coverage.hit("wall-jump");
                self.agenda.wall_offset_ms += self.prng.between(0, 7_200_000) as i64 - 3_600_000;
            }
            Event::Full { full } => {
                self.agenda.say(|| format!("the disk is {}", if full { "full" } else { "no longer full" }));
                self.full = full;
            }
            Event::QuietBegins => self.quiet_begins(),
            Event::QuietEnds => return self.quiet_ends(),
            Event::Finish => return self.finish(),
        }
        Ok(())
    }

    // ---- clients ----

    fn connect(&mut self, client: usize) {
        if self.clients[client].phase != Phase::Away {
            return;
        }
        self.open_link(client);
    }

    fn open_link(&mut self, client: usize) {
        let link = self.next_link;
        self.next_link += 1;
        let front = self.prng.index(usize::from(self.options.fronts));
        self.agenda.links.insert(link, Link { client, front, life: 0, conn: None, up_us: 0, down_us: 0 });
        let hello = self.clients[client].connect(link, &mut self.history, &self.options, &mut self.coverage);
        self.agenda.to_server(link, Event::Arrive { link });
        self.send(link, hello);
        // A handshake that nobody answers is given up.
        self.agenda.trace.event(self.agenda.now_us, "connect", &[client as u64, link]);
    }

    fn send(&mut self, link: u64, bytes: Vec<u8>) {
        if !self.options.cuts {
            return self.agenda.to_server(link, Event::ToServer { link, bytes });
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let len = self.prng.between(1, rest.len().min(400) as u64) as usize;
            self.agenda.to_server(link, Event::ToServer { link, bytes: rest[..len].to_vec() });
            rest = &rest[len..];
        }
    }

    fn arrive(&mut self, link: u64) {
        let Some(known) = self.agenda.links.get_mut(&link) else { return };
        let Link { client, front, .. } = *known;
        known.life = self.life;
        let peer = self.clients[client].peer();
        match &mut self.server {
            Server::Up(life) => life.accept(&mut self.agenda, link, front, peer),
            // Nobody listens.
            Server::Down | Server::Booting { .. } => self.agenda.to_client(link, Vec::new()),
        }
    }

    /// The server's end of a link, if both still are what they were.
    fn far_end(&mut self, link: u64) -> Option<(&mut Life, &mut Agenda, usize, ConnId)> {
        let Link { front, life, conn, .. } = *self.agenda.links.get(&link)?;
        let conn = conn?;
        match &mut self.server {
            Server::Up(up) if up.number == life => Some((up, &mut self.agenda, front, conn)),
            _ => None,
        }
    }

    fn to_server(&mut self, link: u64, bytes: &[u8]) {
        self.agenda.trace.bytes(self.agenda.now_us, "to-server", link, bytes);
        if let Some((life, agenda, front, conn)) = self.far_end(link) {
            life.receive(agenda, front, conn, bytes);
        }
    }

    fn client_left(&mut self, link: u64) {
        if let Some((life, agenda, front, conn)) = self.far_end(link) {
            life.client_left(agenda, front, conn);
        }
    }

    fn to_client(&mut self, link: u64, bytes: &[u8]) -> Result<(), String> {
        self.agenda.trace.bytes(self.agenda.now_us, "to-client", link, bytes);
        let Some(&Link { client, conn, .. }) = self.agenda.links.get(&link) else { return Ok(()) };
        if self.clients[client].link != link || self.clients[client].phase == Phase::Away {
            return Ok(());
        }
        if bytes.is_empty() {
            self.clients[client].hang_up();
            self.agenda.links.remove(&link);
            self.come_back(client);
            return Ok(());
        }
        let before = self.clients[client].phase;
        self.agenda.say(|| format!("client {client} hears {} bytes", bytes.len()));
        let answer = self.clients[client].hear(bytes, &mut self.history, &mut self.coverage)?;
        if !answer.is_empty() {
            self.send(link, answer);
        }
        match (before, self.clients[client].phase) {
            (Phase::Joining, Phase::Up) => {
                let session = self.clients[client].session();
                self.agenda.say(|| format!("client {client} has {session}"));
                if let (Server::Up(life), Some(conn)) = (&mut self.server, conn) {
                    life.has_session(conn, session, self.agenda.now().mono);
                }
                self.agenda.after(1, Event::Act { client, link });
            }
            (_, Phase::Away) => {
                self.leave(client);
                self.come_back(client);
            }
            _ => {}
        }
        Ok(())
    }

    fn leave(&mut self, client: usize) {
        let link = self.clients[client].link;
        self.agenda.to_server(link, Event::ClientLeft { link });
    }

    fn come_back(&mut self, client: usize) {
        let late = self.prng.between(100, 200_000);
        self.agenda.after(late, Event::Connect { client });
    }

    fn act(&mut self, client: usize, link: u64) {
        if self.clients[client].phase != Phase::Up || self.clients[client].link != link {
            return;
        }
        let think_us = if self.stage == Stage::Work {
            2 * u64::from(self.options.think_ms) * 1000
        } else {
            POLITE_US.min(u64::from(self.options.session_timeout_ms) * 300)
        };
        let mut pause = self.prng.between(1, think_us);
        let may_ask = self.stage == Stage::Quiet || self.stage == Stage::Work && self.requests < self.options.requests;
        if may_ask {
            let mut out = Vec::new();
            let from = self.history.asked.len();
            self.requests += self.clients[client].act(&mut self.history, &self.options, &mut self.coverage, &mut out);
            if !out.is_empty() {
                for idx in from..self.history.asked.len() {
                    let history = &self.history;
                    self.agenda.say(|| format!("sent by {}", super::replay::describe(history, idx)));
                }
                self.send(link, out);
            }
            match self.clients[client].whim(&self.options) {
                Whim::None => {}
                Whim::Drop => {
                    self.agenda.say(|| format!("client {client} drops its connection"));
                    self.leave(client);
                    self.clients[client].hang_up();
                    return self.come_back(client);
                }
                Whim::Move => {
                    self.coverage.hit("session-move");
                    self.agenda.say(|| format!("client {client} moves to another connection"));
                    return self.open_link(client);
                }
                Whim::Silence(ms) => pause = ms * 1000,
            }
        }
        self.agenda.after(pause, Event::Act { client, link });
        self.plan();
    }

    /// What is due by the number of requests: the next end of a life, or the quiet phase.
    fn plan(&mut self) {
        if self.stage != Stage::Work {
            return;
        }
        if let Some(at) = self.endings.first().copied() {
            if self.requests >= at {
                self.endings.remove(0);
                let ending = self.draw_ending();
                if ending == Ending::Stop || self.prng.chance(1, 4) {
                    let late = self.prng.between(0, 3000);
                    self.agenda.after(late, Event::End { ending, life: None });
                } else {
                    // Where it hurts: between two steps of the disk.
                    self.end_at_step = Some((self.agenda.disk_steps + self.prng.between(1, 12), ending));
                }
            }
        } else if self.requests >= self.options.requests && !self.full {
            self.stage = Stage::Calming;
            self.agenda.after(300_000, Event::QuietBegins);
        }
    }

    fn draw_ending(&mut self) -> Ending {
        let at = self.prng.below(100);
        let (power, stop) = (u64::from(self.options.power_percent), u64::from(self.options.stop_percent));
        match at {
            _ if at < stop => Ending::Stop,
            _ if self.prng.below(100) < power => Ending::Power,
            _ => Ending::Kill,
        }
    }

    // ---- the quiet phase ----

    fn quiet_begins(&mut self) {
        if !matches!(self.server, Server::Up(_)) {
            return self.agenda.after(200_000, Event::QuietBegins);
        }
        self.stage = Stage::Quiet;
        self.agenda.say(|| "faults are over; everybody is polite".to_owned());
        for client in 0..self.clients.len() {
            self.clients[client].polite = true;
            let link = self.clients[client].link;
            self.agenda.after(1, Event::Act { client, link });
            self.agenda.after(1, Event::Connect { client });
        }
        let ms = 3 * u64::from(self.options.session_timeout_ms) + 8 * u64::from(self.options.tick_ms) + 2000;
        self.agenda.after(ms * 1000, Event::QuietEnds);
    }

    fn quiet_ends(&mut self) -> Result<(), String> {
        if let Some(client) = self.clients.iter().find(|c| c.polite_writes == 0) {
            return Err(format!("client {} couldn't write anything after all faults were over", client.id));
        }
        self.stage = Stage::Over;
        self.agenda.after(1_000_000, Event::Finish);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), String> {
        if let Some(client) = self.clients.iter().find(|c| c.outstanding() > 0) {
            return Err(format!("{} requests of client {} were never answered", client.outstanding(), client.id));
        }
        let Server::Up(life) = &self.server else { return Err("the server went away without a fault".to_owned()) };
        let now_ms = self.agenda.now().mono.0;
        let ticks_ms = 3 * u64::from(self.options.tick_ms);
        for image in life.keeper.sessions().images() {
            let sign = |from: &BTreeMap<_, u64>| from.get(&image.session).copied().unwrap_or(0);
            let silent = now_ms - sign(&life.heard).max(sign(&life.resumed));
            if silent > u64::from(image.timeout_ms) + ticks_ms {
                return Err(format!(
                    "session {} lives after {silent} ms of silence, its timeout is {} ms",
                    image.session, image.timeout_ms
                ));
            }
        }
        let applied = life.keeper.applied();
        self.judge(applied)?;
        if let Server::Up(life) = &self.server {
            checks::same_tree(&mut self.replay, life.keeper.tree())?;
            checks::same_sessions(self.replay.sessions(), life.keeper.sessions())?;
        }
        self.end(Ending::Power)?;
        self.verdict = Some(Verdict::Passed);
        let mut prng = self.boot_prng.clone();
        match recover_server(&self.disk, &self.config, &mut prng) {
            Ok(boot) => self.welcome_back(&boot).and_then(|()| self.judge_start(&boot)),
            Err(_) if self.rotten => Ok(()),
            Err(error) => Err(format!("the last start is refused: {error}")),
        }
    }

    /// Judges what clients saw, with the model led through `to`.
    fn judge(&mut self, to: Zxid) -> Result<(), String> {
        self.replay.advance(&mut self.history, to, &mut self.coverage)?;
        watching::judge(&mut self.history, &self.auth, self.options.skip_acl, to, &mut self.coverage)
    }

    // ---- the server ----

    fn turn(&mut self, number: u64) -> Result<(), String> {
        let Some((life, agenda, history)) = self.life(number) else { return Ok(()) };
        let mood = life.turn(agenda, history)?;
        let expired = std::mem::take(&mut life.expired);
        let (applied, digest) = (life.keeper.applied(), life.keeper.tree().digest());
        agenda.trace.event(agenda.now_us, "turn", &[applied.0, digest]);
        self.digests.insert(applied, digest);
        for (session, silent) in expired {
            let timeout = self.history.txns.iter().rev().find_map(|t| match t.ops.get(0) {
                Some(crate::model::txn::OpRef::CreateSession { timeout_ms, .. }) if t.head.session == session => Some(timeout_ms),
                _ => None,
            });
            if let Some(timeout) = timeout.filter(|timeout| silent < u64::from(*timeout)) {
                return Err(format!("session {session} expired after {silent} ms of silence, its timeout is {timeout} ms"));
            }
        }
        match mood {
            Mood::Serves => Ok(()),
            Mood::Stopped => {
                self.coverage.hit("orderly-stop");
                self.clean = true;
                self.end(Ending::Stop)
            }
            Mood::Fatal(why) => {
                if !self.failed {
                    return Err(format!("the server ended by itself: {why}"));
                }
                self.end(Ending::Kill)
            }
        }
    }

    /// Whether this disk operation is the one that fails.
    fn fails(&mut self) -> bool {
        self.disk_ops += 1;
        let fails = self.disk_ops == self.options.fail_op && self.stage == Stage::Work;
        if fails {
            self.failed = true;
            self.coverage.hit("disk-write-failed");
            self.agenda.say(|| "this disk operation fails".to_owned());
        }
        fails
    }

    fn append_ends(&mut self, number: u64, ticket: Ticket) {
        let Some((life, ..)) = self.life(number) else { return };
        let Some(append) = life.appends.remove(&ticket) else { return };
        self.agenda.disk_steps += 1;
        let bytes = &append.memory.bytes()[..append.len];
        let result = if self.fails() {
            let mut prng = self.prng.stream("failed append");
            self.disk.tear(&append.file, append.at, bytes, &mut || prng.chance(1, 2));
            Err(DiskError { no_space: false, message: format!("writing {}: input/output error (simulated)", append.file) })
        } else {
            crate::invariant!(
                self.disk.is_reserved(&append.file, append.at + append.len as u64),
                "an append to {} at {} beyond what is durably reserved",
                append.file,
                append.at
            );
            self.disk.write_through(&append.file, append.at, bytes);
            self.history.landed(append.zxids.0, append.zxids.1);
            self.written.push((append.file.clone(), append.at, append.at + append.len as u64, append.zxids.1));
            Ok(())
        };
        self.agenda.trace.event(self.agenda.now_us, "append", &[append.zxids.0.0, append.zxids.1.0, u64::from(result.is_ok())]);
        self.agenda.say(|| format!("{} to {} are on disk: {}", append.zxids.0, append.zxids.1, result.is_ok()));
        let done = Box::new(DiskDone { ticket, result });
        let way = 1000 + ticket.0 as usize;
        self.agenda.mail(way, Event::DiskDone { life: number, done });
        self.agenda.mail_last.remove(&way);
    }

    fn script_step(&mut self, number: u64, lane: usize) {
        let Some((life, ..)) = self.life(number) else { return };
        let Some(running) = life.lanes.get_mut(&lane).and_then(|queue| queue.front_mut()) else { return };
        let (ticket, op) = (running.ticket, running.script.ops.get(running.next).cloned());
        running.next += 1;
        let last = running.next >= running.script.ops.len();
        let result = op.map_or(Ok(()), |op| self.run_op(&op, lane != 0));
        let over = last || result.is_err();
        if let Some((life, agenda, _)) = self.life(number) {
            let queue = life.lanes.entry(lane).or_default();
            if over {
                queue.pop_front();
                agenda.mail(2000 + lane, Event::DiskDone { life: number, done: Box::new(DiskDone { ticket, result }) });
            }
            if !queue.is_empty() {
                agenda.disk(Event::ScriptStep { life: number, lane });
            }
        }
    }

    /// Carries out one step of a script, or lets it fail.
    fn run_op(&mut self, op: &FileOp, reserves: bool) -> Result<(), DiskError> {
        self.agenda.disk_steps += 1;
        self.agenda.say(|| format!("disk: {}", describe(op)));
        if self.full && reserves && self.disk.needs_room(op) {
            return Err(DiskError { no_space: true, message: "no space left on device (simulated)".to_owned() });
        }
        if self.fails() {
            if let FileOp::Sync(path) = op {
                self.disk.sync_fails(path, &mut self.prng);
            }
            return Err(DiskError { no_space: false, message: format!("{}: input/output error (simulated)", describe(op)) });
        }
        if let FileOp::Rename { from, to } = op
            && from.name.ends_with(".log")
            && to.name.ends_with(".tmp")
        {
            self.coverage.hit("recycled-segment");
        }
        self.disk.run(op)
    }

    /// The life of the server ends.
    fn end(&mut self, ending: Ending) -> Result<(), String> {
        if ending == Ending::Stop && !self.clean {
            if let Server::Up(life) = &mut self.server {
                self.agenda.say(|| "the server is told to stop".to_owned());
                life.stop(&mut self.agenda);
            }
            return Ok(());
        }
        let server = std::mem::replace(&mut self.server, Server::Down);
        self.agenda.say(|| format!("the server ends: {ending:?}"));
        self.agenda.trace.event(self.agenda.now_us, "end", &[ending as u64]);
        let style = self.prng.below(5);
        let mut prng = self.prng.stream(&format!("end of life {}", self.life));
        let mut keep = || match style {
            0 => false,
            1 => true,
            2 => prng.chance(1, 8),
            3 => prng.chance(7, 8),
            _ => prng.chance(1, 2),
        };
        if matches!(server, Server::Booting { .. }) {
            self.coverage.hit("boot-crash");
        }
        let mut in_flight = false;
        if let Server::Up(life) = &server {
            self.marked = life.keeper.log().marked_zxid();
            for append in life.appends.values() {
                // With the power, each sector is asked for once, below.
                let mut there = || ending == Ending::Power || keep();
                let torn = self.disk.tear(&append.file, append.at, &append.memory.bytes()[..append.len], &mut there);
                self.agenda
                    .say(|| format!("{} to {} were on their way to {} at {}", append.zxids.0, append.zxids.1, append.file, append.at));
                in_flight = true;
                if torn {
                    self.coverage.hit("torn-append");
                }
            }
        }
        match ending {
            Ending::Power => {
                let (mut kept, mut lost) = (false, false);
                self.coverage.hit("power-failure");
                self.disk.power_fails(&mut || {
                    let keeps = keep();
                    (kept, lost) = (kept | keeps, lost | !keeps);
                    keeps
                });
                if in_flight && kept && lost {
                    self.coverage.hit("torn-append");
                }
            }
            Ending::Kill => self.coverage.hit("kill"),
            Ending::Stop => {}
        }
        self.life += 1;
        if ending != Ending::Stop {
            self.clean = false;
        }
        let links: Vec<u64> = self.agenda.links.keys().copied().collect();
        for link in links {
            self.agenda.to_client(link, Vec::new());
        }
        self.agenda.after(50_000, Event::Start);
        Ok(())
    }

    fn start(&mut self) -> Result<(), String> {
        if !matches!(self.server, Server::Down) {
            return Ok(());
        }
        // What was still on the wire is gone by now.
        let clients: Vec<usize> = (0..self.clients.len()).filter(|c| self.clients[*c].phase != Phase::Away).collect();
        for client in clients {
            self.clients[client].hang_up();
            self.come_back(client);
        }
        self.agenda.links.clear();
        self.plant_rot();
        self.life += 1;
        let boot = match recover_server(&self.disk, &self.config, &mut self.boot_prng) {
            Ok(boot) => boot,
            Err(error) if self.rotten && error.message.contains(" at byte ") => {
                self.agenda.say(|| format!("the start is refused: {error}"));
                self.verdict = Some(Verdict::Refused);
                return Ok(());
            }
            Err(error) => return Err(format!("the start is refused ({:?}): {error}", error.kind)),
        };
        self.agenda.say(|| format!("the server starts: case {}, through {}", boot.case.letter(), boot.last_zxid()));
        self.welcome_back(&boot)?;
        self.clean = false;
        let ops = boot.before_serving.iter().flat_map(|script| script.ops.iter().cloned()).collect();
        self.server = Server::Booting { boot: Box::new(boot), ops, next: 0 };
        self.agenda.disk(Event::BootStep { life: self.life });
        if self.life > 2 && self.stage == Stage::Work && self.prng.below(100) < u64::from(self.options.boot_crash_percent) {
            let late = self.prng.between(0, 40 * u64::from(self.options.disk_us));
            let ending = if self.prng.chance(2, 3) { Ending::Power } else { Ending::Kill };
            self.agenda.after(late, Event::End { ending, life: Some(self.life) });
        }
        Ok(())
    }

    /// What was recovered holds everything that anybody saw.
    fn welcome_back(&mut self, boot: &Boot) -> Result<(), String> {
        let zxid = boot.last_zxid();
        match boot.case {
            Case::Whole => self.coverage.hit("case-D"),
            Case::TornTail => self.coverage.hit("case-E"),
            Case::Hole => self.coverage.hit("case-F"),
            _ => {}
        }
        self.history.recovered(zxid)?;
        self.digests.retain(|known, _| *known <= zxid);
        if let Some(digest) = self.digests.get(&zxid).filter(|digest| **digest != boot.tree().digest()) {
            return Err(format!("recovered {zxid} with digest {:x}, it was {digest:x}", boot.tree().digest()));
        }
        Ok(())
    }

    /// The state with which the server goes on is what the model has at that place.
    fn judge_start(&mut self, boot: &Boot) -> Result<(), String> {
        let zxid = boot.last_zxid();
        self.judge(zxid)?;
        checks::same_tree(&mut self.replay, boot.tree()).map_err(|what| format!("recovered through {zxid}: {what}"))
    }

    fn boot_step(&mut self, number: u64) -> Result<(), String> {
        if number != self.life {
            return Ok(());
        }
        let Server::Booting { ops, next, .. } = &mut self.server else { return Ok(()) };
        if let Some(op) = ops.get(*next).cloned() {
            *next += 1;
            let done = self.run_op(&op, true);
            if let Err(error) = done {
                self.agenda.say(|| format!("the start fails: {error}"));
                return self.end(Ending::Kill);
            }
            self.agenda.disk(Event::BootStep { life: number });
            return Ok(());
        }
        let Server::Booting { boot, .. } = std::mem::replace(&mut self.server, Server::Down) else { return Ok(()) };
        self.judge_start(&boot)?;
        self.history.serves();
        let now = self.agenda.now();
        let fronts = self.options.fronts;
        let (keeper, startup) = boot.keeper(&self.config, usize::from(fronts), now);
        checks::same_sessions(self.replay.sessions(), keeper.sessions())?;
        let options =
            FrontOptions { frame_bytes_max: self.config.frame_bytes_max, sessionless_timeout_ms: 10_000, stuck_timeout_ms: 30_000 };
        let life = Life::new(number, keeper, startup, fronts, options, now);
        self.server = Server::Up(Box::new(life));
        self.agenda.say(|| "the server serves".to_owned());
        self.agenda.after(0, Event::Turn { life: number });
        self.agenda.after(TICK_US, Event::Tick { life: number });
        Ok(())
    }

    /// Spoils a sector while the server is down: anywhere after an orderly end, else where the durable mark vouches for it.
    fn plant_rot(&mut self) {
        if self.rot_left == 0 || self.life < 2 || self.prng.chance(1, 2) {
            return;
        }
        self.rot_left -= 1;
        let (path, within) = if self.clean {
            let files: Vec<FilePath> = self.disk.files().cloned().collect();
            if files.is_empty() {
                return;
            }
            (files[self.prng.index(files.len())].clone(), (0, u64::MAX))
        } else {
            let safe: Vec<_> = self.written.iter().filter(|w| w.3 <= self.marked).collect();
            if safe.is_empty() {
                return;
            }
            let (path, from, to, _) = safe[self.prng.index(safe.len())];
            (path.clone(), (*from, *to))
        };
        let spoiled = if self.prng.chance(1, 3) { self.disk.go_stale(&path, within) } else { self.disk.rot(&path, within, &mut self.prng) };
        if let Some(at) = spoiled {
            self.rotten = true;
            self.coverage.hit("rot");
            self.agenda.say(|| format!("{path} rots at byte {at}"));
        }
    }
}

fn describe(op: &FileOp) -> String {
    match op {
        FileOp::MakeDir(path) => format!("make directory {path}"),
        FileOp::Create(path) => format!("create {path}"),
        FileOp::Write { path, at, bytes } => format!("write {} bytes at {at} of {path}", bytes.len()),
        FileOp::Zero { path, at, len } => format!("zero {len} bytes at {at} of {path}"),
        FileOp::Sync(path) => format!("sync {path}"),
        FileOp::Verify { path, .. } => format!("read back {path}"),
        FileOp::Rename { from, to } => format!("rename {from} to {to}"),
        FileOp::SyncDir(path) => format!("sync directory {path}"),
        FileOp::Remove(path) => format!("remove {path}"),
    }
}
