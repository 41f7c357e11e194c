//! Virtual time and everything in it: the agenda of events, the links of clients, the lives of the server, the disk's faults.

use super::agenda::{Agenda, Event};
use super::client::Client;
use super::coverage::Coverage;
use super::disk::SimDisk;
use super::history::History;
use super::host::Life;
use super::options::{Ending, Options};
use super::replay::Replay;
use super::workload;
use crate::auth::AuthOptions;
use crate::base::ids::Zxid;
use crate::base::memory::BatchMemory;
use crate::base::prng::Prng;
use crate::model::file::{FileOp, FilePath};
use crate::server::boot::{Boot, recover_server};
use crate::server::config::{Config, ConfigFile, Input, check};
use std::collections::BTreeMap;

mod clients;
mod disk_ops;
mod lives;
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
        let clients = (0..usize::from(options.clients)).map(|id| Client::new(id, root.stream(&format!("client-{id}")))).collect();
        let mut endings: Vec<u32> = (0..options.endings).map(|_| prng.between(1, u64::from(options.requests)) as u32).collect();
        endings.sort_unstable();
        let model = super::model::ModelOptions {
            skip_acl: options.skip_acl,
            extended_types: options.extended_types,
            enforce_quota: false,
            reconfig_enabled: false,
        };
        let agenda = Agenda::new(&options, root.stream("delays"), aloud);
        let mut replay = Replay::new(model, auth);
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
            Event::ToServer { link, bytes } => self.at_server(link, &bytes),
            Event::ClientLeft { link } => self.client_left(link),
            Event::ToClient { link, bytes } => return self.at_client(link, &bytes),
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
            Event::ReadEnds { life, ticket, request } => self.read_ends(life, ticket, &request),
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
}
