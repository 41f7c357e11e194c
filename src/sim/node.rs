//! One server of the world: its disk, its life, its configuration, and what was done to it.

use super::agenda::{Agenda, Event, Who};
use super::disk::SimDisk;
use super::host::Life;
use super::ledger::{membership, server_id};
use super::options::{Ending, Options};
use super::role::Role;
use super::workload;
use crate::base::ids::Zxid;
use crate::base::memory::BatchMemory;
use crate::base::prng::Prng;
use crate::model::file::{FileOp, FilePath};
use crate::server::boot::Boot;
use crate::server::config::{Bootstrap, Config, ConfigFile, Ensemble, Input, check};

/// The process.
pub enum Server {
    /// There is none.
    Down,
    /// It starts: the steps of its first scripts are carried out.
    Booting {
        /// What was recovered.
        boot: Box<Boot>,
        /// The steps.
        ops: Vec<FileOp>,
        /// The next of them.
        next: usize,
    },
    /// It runs.
    Up(Box<Life>),
}

/// Where something was written durably.
#[derive(Clone, Debug)]
pub struct Spot {
    /// File.
    pub path: FilePath,
    /// First byte and the one behind the last.
    pub range: (u64, u64),
    /// Last transaction in it.
    pub last: Zxid,
}

/// See the module's description.
pub struct Node {
    /// Its index.
    pub idx: usize,
    /// Its disk.
    pub disk: SimDisk,
    /// Its process.
    pub server: Server,
    /// Its lives so far, counting ends and starts.
    pub life: u64,
    /// As it is configured.
    pub config: Config,
    /// Where its starts draw from.
    pub boot_prng: Prng,
    /// It came to an orderly end.
    pub clean: bool,
    /// When it last started all sessions' timers, as a leader or alone (milliseconds).
    pub timers_from_ms: u64,
    /// What its durable mark vouches for.
    pub marked: Zxid,
    /// Everything appended durably.
    pub written: Vec<Spot>,
    /// Flipped bits and stale sectors were planted.
    pub rotten: bool,
    /// Its device has no room.
    pub full: bool,
    /// Operations of its disk.
    pub ops_done: u64,
    /// This one fails; 0: none.
    pub fail_op: u64,
    /// An operation failed: its process may end by itself.
    pub failed: bool,
    /// Steps of its disk so far: appends begun and ended, steps of scripts.
    pub disk_steps: u64,
    /// It ends at that step of its disk, or a little later when it isn't busy.
    pub end_at_step: Option<(u64, Ending)>,
    /// It ends once one of its shards is durable beyond another, or at that time.
    pub end_when_torn: Option<(u64, Ending)>,
    /// What its process said last that it does.
    pub role: Role,
    /// How long it stays down when it ends, in microseconds.
    pub down_us: u64,
    /// Its process stands still: what reaches it meanwhile waits here.
    pub paused: Option<Vec<Event>>,
}

/// Steps that a crash waits for the disk to be busy.
const PATIENCE_STEPS: u64 = 60;

/// The ensemble of a server.
fn ensemble(idx: usize, options: &Options) -> Ensemble {
    Ensemble {
        me: server_id(idx),
        membership: membership(options),
        init_ms: 8000,
        sync_ms: 5 * u64::from(options.tick_ms),
        pulse_interval_ms: 100,
        silence_ms: 800,
        gather_ms: 60,
        bootstrap: Bootstrap::All,
        founder: false,
        peer_backlog_bytes: 1 << 20,
        catchup_cache_bytes: u64::from(options.cache_kb) * 1024,
        listen_on_all: false,
        read_only_enabled: false,
    }
}

/// The configuration of a server.
///
/// # Errors
/// When the options make none.
pub fn config(idx: usize, options: &Options) -> Result<Config, String> {
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
    config.log_first_segment_kb = u64::from(options.first_segment_kb.min(options.segment_kb));
    config.ensemble = (options.servers > 1).then(|| ensemble(idx, options));
    Ok(config)
}

impl Node {
    /// A server that never ran.
    ///
    /// # Errors
    /// When the options make no configuration.
    pub fn new(idx: usize, options: &Options, root: &Prng) -> Result<Node, String> {
        // The lone server's streams keep their names.
        let boot_prng = if options.servers == 1 { root.stream("boot") } else { root.stream(&format!("boot-{idx}")) };
        Ok(Node {
            idx,
            disk: SimDisk::new(),
            server: Server::Down,
            life: 0,
            config: config(idx, options)?,
            boot_prng,
            clean: false,
            timers_from_ms: 0,
            marked: Zxid::ZERO,
            written: Vec::new(),
            rotten: false,
            full: false,
            ops_done: 0,
            fail_op: 0,
            failed: false,
            disk_steps: 0,
            end_at_step: None,
            end_when_torn: None,
            role: if options.servers == 1 { Role::Alone } else { Role::Looking },
            down_us: 50_000,
            paused: None,
        })
    }

    /// Its life of now.
    #[must_use]
    pub fn who(&self) -> Who {
        Who { node: self.idx, life: self.life }
    }

    /// Its process, if it runs.
    #[must_use]
    pub fn up(&self) -> Option<&Life> {
        match &self.server {
            Server::Up(life) => Some(life),
            _ => None,
        }
    }

    /// The same, to be changed.
    pub fn up_mut(&mut self) -> Option<&mut Life> {
        match &mut self.server {
            Server::Up(life) => Some(life),
            _ => None,
        }
    }

    /// That life of it, if it still runs.
    pub fn life(&mut self, who: Who) -> Option<&mut Life> {
        self.up_mut().filter(|life| life.who == who)
    }

    /// Whether nothing of it runs.
    #[must_use]
    pub fn is_down(&self) -> bool {
        matches!(self.server, Server::Down)
    }

    /// Whether appends are on their way, two of them where there is more than one shard: where a crash does most.
    fn is_busy(&self, shards: u8) -> bool {
        let wanted = usize::from(shards).min(2);
        self.up().is_some_and(|life| life.appends.len() >= wanted)
    }

    /// The end that was planned for this step of its disk, if it is due.
    pub fn due_end(&mut self, shards: u8) -> Option<Ending> {
        let (at, ending) = self.end_at_step.filter(|(at, _)| *at <= self.disk_steps)?;
        if !self.is_busy(shards) && self.disk_steps <= at + PATIENCE_STEPS {
            return None;
        }
        self.end_at_step = None;
        Some(ending)
    }

    /// The disk as it would be if the power failed now, before anything is chosen: what was on its way is written, not durable.
    #[must_use]
    pub fn disk_in_flight(&self) -> SimDisk {
        let mut disk = self.disk.clone();
        for append in self.up().into_iter().flat_map(|life| life.appends.values()) {
            disk.tear(&append.file, append.at, &append.memory.bytes()[..append.len], &mut || true);
        }
        disk
    }

    /// What happens to a process that stands still waits; what happens to its disk doesn't. Gives the event back if it happens.
    pub fn unless_paused(&mut self, event: Event) -> Option<Event> {
        match &mut self.paused {
            Some(waiting) => {
                waiting.push(event);
                None
            }
            None => Some(event),
        }
    }

    /// It goes on: everything that waited reaches it now.
    pub fn resume(&mut self, agenda: &mut Agenda) {
        for event in self.paused.take().unwrap_or_default() {
            agenda.after(0, event);
        }
    }
}
