//! From a configuration to a serving process, and to its end: host checks, directories, recovery, executors, the one line on
//! standard output.

use super::clock::Clock;
use super::dirs;
use super::figures::SyncFigures;
use super::files::{DiskFiles, Roots};
use super::limits;
use super::listener::{any_ip, listen};
use super::one;
use super::peers::{PeerOptions, Peers};
use super::placement;
use super::reactor;
use super::script::run_script;
use super::shard::{ShardOptions, SyncMethod};
use super::signals::ServerSignals;
use super::spread;
use super::wake::Wake;
use crate::base::fatal::{Fatal, FatalError};
use crate::base::ids::ShardId;
use crate::base::memory::BatchMemory;
use crate::base::prng::Prng;
use crate::base::time::MonoMs;
use crate::model::file::Files;
use crate::server::boot::{Boot, recover_server};
use crate::server::config::{Config, Executor, LogSync, Placement};
use crate::server::front::FrontOptions;
use crate::server::keeper::Keeper;
use crate::server::links::LinkOptions;
use crate::server::note::RateLimit;
use crossbeam::channel::bounded;
use glommio::{BuilderErrorKind, GlommioError, LocalExecutorBuilder, PoolPlacement};
use std::cell::RefCell;
use std::fmt;
use std::io::Write;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

/// Marks that the server ended by itself, in order.
#[derive(Clone, Copy, Debug)]
pub struct Started;

/// How the serving ended.
pub(super) enum Ending {
    /// As it was told to.
    Stopped,
    /// It had to.
    Fatal(FatalError),
}

/// What an executor needs to run its roles.
pub(super) struct Prepared {
    pub(super) clock: Clock,
    pub(super) roots: Roots,
    pub(super) front: FrontOptions,
    pub(super) shards: u8,
    pub(super) shard: ShardOptions,
    pub(super) client_port: u16,
    /// How long to look for a lone client's next request.
    pub(super) attend_ns: u64,
    pub(super) signals: ServerSignals,
    pub(super) ready_line: String,
    complaints: RefCell<RateLimit>,
}

impl Prepared {
    /// The one line on standard output. From now on signals are the keeper's.
    pub(super) fn announce(&self) {
        self.signals.serve();
        let mut out = std::io::stdout().lock();
        // A closed standard output is no reason not to serve.
        let _ = writeln!(out, "{}", self.ready_line).and_then(|()| out.flush());
        tracing::info!("{}", self.ready_line);
    }

    /// A line about trouble that a client can cause at will.
    pub(super) fn complain(&self, now: MonoMs, text: &str) {
        complain(&mut self.complaints.borrow_mut(), now, text);
    }
}

/// A line about trouble that a client can cause at will, if `limit` has room for it.
pub(super) fn complain(limit: &mut RateLimit, now: MonoMs, text: &str) {
    match limit.admit(now) {
        Some(0) => tracing::warn!("{text}"),
        Some(left_out) => tracing::warn!("{text} ({left_out} lines like it left out)"),
        None => {}
    }
}

/// How long a client may leave replies unread.
const STUCK_TIMEOUT_MS: u64 = 30_000;
/// How long a connection of another server may take to greet.
const HANDSHAKE_TIMEOUT_MS: u64 = 5000;
/// A pulse lane on which nothing comes for so many times the silence is half open: it is closed and opened again.
const QUIET_FACTOR: u64 = 3;
/// Accept queue unless configured.
pub(super) const LISTEN_BACKLOG_DEFAULT: i32 = 4096;

/// Serves until a signal or a fatal error.
///
/// # Errors
/// The reason to end with a status of its own.
pub fn serve(config: &Config) -> Result<Started, FatalError> {
    let clock = Clock::start();
    limits::raise_descriptors();
    let ring = runs_on_ring(config, limits::check_io_uring()?);
    limits::check_locked_memory(limits::executors(config))?;
    placement::check(&config.cores)?;
    let roots = roots(config)?;
    let locks = dirs::prepare(&roots, config.data_dir_autocreate)?;
    dirs::refuse_lost_log(&roots)?;
    let durable = if dirs::require_durable(&roots)? { "yes" } else { "no" };
    let fronts = if config.placement == Placement::One { 1 } else { config.fronts };
    let backlog = config.listen_backlog.and_then(|b| i32::try_from(b).ok()).unwrap_or(LISTEN_BACKLOG_DEFAULT);
    let (sockets, address) = listen(client_address(config)?, fronts, backlog, config.tcp_keepalive)?;
    let signals =
        ServerSignals::start().map_err(|e| FatalError::new(Fatal::Directory, format!("no signal handler can be installed: {e}")))?;
    let ready_line = format!(
        "ringkeeper ready client={address} data={} cores={} durable={durable}",
        roots.data.display(),
        placement::describe(&config.cores)
    );
    let prepared = Prepared {
        clock,
        roots,
        front: FrontOptions {
            frame_bytes_max: config.frame_bytes_max,
            sessionless_timeout_ms: u64::from(config.sessionless_timeout_ms),
            stuck_timeout_ms: STUCK_TIMEOUT_MS,
        },
        shards: u8::try_from(config.log_shards).unwrap_or(1),
        shard: ShardOptions {
            method: if config.log_sync == LogSync::Dsync { SyncMethod::Dsync } else { SyncMethod::Fdatasync },
            warn_after: Duration::from_millis(config.fsync_warning_ms),
            figures: SyncFigures::default(),
        },
        client_port: address.port(),
        attend_ns: u64::from(config.attend_us) * 1000,
        signals,
        ready_line,
        complaints: RefCell::default(),
    };
    let ending = match config.placement {
        Placement::One => serve_on_one(config.clone(), prepared, sockets, ring)?,
        Placement::Spread => spread::serve(config.clone(), prepared, sockets, fronts)?,
    };
    drop(locks);
    match ending {
        Ending::Stopped => {
            tracing::info!("stopped");
            Ok(Started)
        }
        Ending::Fatal(error) => Err(error),
    }
}

/// `ring`: whether an executor of our own is to run the roles.
fn serve_on_one(config: Config, prepared: Prepared, sockets: Vec<socket2::Socket>, ring: bool) -> Result<Ending, FatalError> {
    const WHO: &str = "the executor";
    const NAME: &str = "ringkeeper";
    let (place, threads) = (placement::place(&config.cores, 0), blocking_threads(prepared.shards));
    require_descriptors(WHO)?;
    let roles = move || async move {
        let booted = boot(&config, &prepared)?;
        let (keeper, startup) = booted.keeper(&config, 1, prepared.clock.now());
        one::run(&config, prepared, keeper, sockets, startup).await
    };
    if !ring {
        let handle = executor(place, NAME, threads).spawn(roles).map_err(|e| cannot_start(WHO, e))?;
        return handle.join().map_err(|e| ended(WHO, e))?;
    }
    let run = move || {
        // Only once the threads for what blocks are there, which aren't bound to its core.
        let root = async move {
            placement::pin(&place);
            roles().await
        };
        reactor::run(root, threads).map_err(|e| cannot_start(WHO, e))?
    };
    let thread = std::thread::Builder::new().name(NAME.to_owned()).spawn(run).map_err(|e| cannot_start(WHO, e))?;
    thread.join().map_err(|_| FatalError::new(Fatal::Invariant, format!("{WHO} ended by a panic")))?
}

/// Whether the executor that has all roles is one of our own: as configured, if the kernel has what that needs.
fn runs_on_ring(config: &Config, features: u32) -> bool {
    let can = features & reactor::IS_NEEDED == reactor::IS_NEEDED;
    if config.placement == Placement::One && config.executor == Executor::Ring && !can {
        tracing::info!("this kernel is older than Linux 5.13: glommio runs the executor instead, which costs more processor time");
    }
    can && config.executor == Executor::Ring
}

/// Descriptors that an executor takes when it starts: its three rings, what wakes it, and what it looks at the kernel with.
const DESCRIPTORS_TO_START: usize = 8;

/// Never, as far as an executor is concerned.
///
/// glommio 0.9 takes an executor that was preempted before its first task for an idle one and lets it sleep on its ready tasks,
/// until something else wakes it. A thread that waits for a core longer than the timer meets that. So no task here relies on being
/// preempted: each is short, or looks at I/O by itself ([`super::exec::look_at_io`]).
const PREEMPT_TIMER: Duration = Duration::from_secs(30 * 24 * 3600);

/// Threads for blocking work beside an executor that hosts the keeper: one for each shard's segments, one for everything else that
/// touches the disk, one for figures.
pub(super) fn blocking_threads(shards: u8) -> usize {
    usize::from(shards) + 2
}

/// An executor that needs little locked memory and runs blocking work on `blocking_threads` threads.
pub(super) fn executor(place: glommio::Placement, name: &str, blocking_threads: usize) -> LocalExecutorBuilder {
    LocalExecutorBuilder::new(place)
        .name(name)
        .io_memory(limits::IO_MEMORY_BYTES)
        .preempt_timer(PREEMPT_TIMER)
        .blocking_thread_pool_placement(PoolPlacement::Unbound(blocking_threads))
}

/// Starts an executor that lives as long as the process, and waits until it runs: without that a server would call itself ready and hang
/// at the first mail to it. `who` is for messages.
pub(super) fn begin<F: Future<Output = ()> + 'static>(
    who: &str,
    builder: LocalExecutorBuilder,
    make: impl FnOnce() -> F + Send + 'static,
) -> Result<(), FatalError> {
    require_descriptors(who)?;
    begin_with_what_there_is(who, builder, make)
}

fn begin_with_what_there_is<F: Future<Output = ()> + 'static>(
    who: &str,
    builder: LocalExecutorBuilder,
    make: impl FnOnce() -> F + Send + 'static,
) -> Result<(), FatalError> {
    let (tell, up) = bounded(1);
    let made = move || {
        // It is waited for below.
        let _ = tell.send(());
        make()
    };
    let handle = builder.spawn(made).map_err(|e| cannot_start(who, e))?;
    if up.recv().is_ok() {
        return Ok(());
    }
    // Rings are set up on its own thread, which ended before it ran anything; only that thread's end says why.
    Err(handle.join().map_or_else(|e| ended(who, e), |()| cannot_start(who, "its thread ended at once")))
}

/// Whether an executor gets the descriptors that it needs: glommio answers some of the cases where it doesn't with a panic.
pub(super) fn require_descriptors(who: &str) -> Result<(), FatalError> {
    let flags = rustix::event::EventfdFlags::CLOEXEC;
    let tried: Result<Vec<_>, _> = (0..DESCRIPTORS_TO_START).map(|_| rustix::event::eventfd(0, flags)).collect();
    tried.map(drop).map_err(|e| cannot_start(who, e))
}

/// Why an executor gave no result: a panic ended it, or it never ran.
pub(super) fn ended(who: &str, error: GlommioError<()>) -> FatalError {
    match error {
        GlommioError::BuilderError(BuilderErrorKind::ThreadPanic(_)) => {
            FatalError::new(Fatal::Invariant, format!("{who} ended by a panic: {error}"))
        }
        error => cannot_start(who, error),
    }
}

/// What an executor needs and didn't get.
pub(super) fn cannot_start(who: &str, error: impl fmt::Display) -> FatalError {
    let text = format!(
        "{who} can't start: {error}. It needs a thread, {DESCRIPTORS_TO_START} descriptors and locked memory for its rings: raise what is \
         short of LimitNOFILE= (`ulimit -n`), LimitMEMLOCK= (`ulimit -l`), LimitNPROC= (`ulimit -u`) and memory, then start again"
    );
    FatalError::new(Fatal::IoUring, text)
}

/// Recovers the server's state from its directories, and carries out what must be done before it may serve.
pub(super) fn boot(config: &Config, prepared: &Prepared) -> Result<Boot, FatalError> {
    let files = DiskFiles::new(prepared.roots.clone());
    let mut prng = Prng::from_seed(entropy());
    // Messages name the directories as anybody finds them, not as they look from where the server was started.
    let named = |dir: &std::path::Path| dir.display().to_string();
    let (data_dir, data_log_dir) = (named(&prepared.roots.data), named(&prepared.roots.log));
    let config = &Config { data_dir, data_log_dir, ..config.clone() };
    let recovered = recover_server(&files as &dyn Files, config, &mut prng);
    // Before its result, good or bad: recovery takes for damaged what nobody could look at, and a member would put a good log aside.
    if let Some(unseen) = files.unseen() {
        return Err(FatalError::new(Fatal::Directory, format!("nothing was touched, since {unseen}, then start again")));
    }
    let boot = recovered?;
    for note in &boot.notes {
        super::logging::log_note(note);
    }
    for script in &boot.before_serving {
        run_script(&prepared.roots, script).map_err(|error| {
            let kind = if error.no_space { Fatal::Directory } else { Fatal::WriteFailed };
            FatalError::new(
                kind,
                format!("preparing the log fails: {error}. Make room or see that the directory is writable, then start again"),
            )
        })?;
    }
    dirs::remember_log(&prepared.roots);
    drop_aside(files);
    Ok(boot)
}

/// Gives back what was mapped, a tenth of a second for a gigabyte, while the server begins to serve.
fn drop_aside(files: DiskFiles) {
    // Without a thread the closure is dropped here, and the files with it.
    let _ = std::thread::Builder::new().name("unmap".to_owned()).spawn(move || drop(files));
}

/// The links to the other servers, if this one is a member of an ensemble.
pub(super) fn start_peers<M: BatchMemory>(
    config: &Config,
    keeper: &Keeper<M>,
    clock: Clock,
    wake: Wake,
) -> Result<Option<Peers>, FatalError> {
    let Some(ensemble) = &config.ensemble else { return Ok(None) };
    let options = PeerOptions {
        links: LinkOptions {
            me: ensemble.me,
            membership: ensemble.membership.clone(),
            cluster: keeper.bound_cluster(),
            incarnation: entropy(),
            handshake_timeout_ms: HANDSHAKE_TIMEOUT_MS,
            quiet_timeout_ms: QUIET_FACTOR * ensemble.silence_ms,
        },
        listen_on_all_ips: ensemble.listen_on_all,
        backlog_bytes: usize::try_from(ensemble.peer_backlog_bytes).unwrap_or(usize::MAX),
        seed: entropy(),
    };
    Peers::start(options, clock, wake).map(Some)
}

/// 64 bits of the kernel's randomness.
pub(super) fn entropy() -> u64 {
    let mut seed = [0; 8];
    // SAFETY: getrandom writes at most 8 bytes into an array of 8.
    let got = unsafe { libc::getrandom(seed.as_mut_ptr().cast(), seed.len(), 0) };
    crate::invariant!(got == 8, "getrandom gave {got} bytes");
    u64::from_ne_bytes(seed)
}

/// The configured directories, absolute.
pub(super) fn roots(config: &Config) -> Result<Roots, FatalError> {
    let absolute = |dir: &str| {
        std::path::absolute(PathBuf::from(dir))
            .map_err(|e| FatalError::new(Fatal::Directory, format!("the directory {dir:?} can't be named: {e}")))
    };
    Ok(Roots { data: absolute(&config.data_dir)?, log: absolute(&config.data_log_dir)? })
}

fn client_address(config: &Config) -> Result<SocketAddr, FatalError> {
    let Some(host) = &config.client_host else {
        return Ok(SocketAddr::new(any_ip(), config.client_port));
    };
    let found = (host.as_str(), config.client_port).to_socket_addrs().ok().and_then(|mut all| all.next());
    found.ok_or_else(|| {
        FatalError::new(
            Fatal::Configuration,
            format!("clientPortAddress {host} doesn't resolve to an address: correct it or its DNS entry"),
        )
    })
}

/// All shards of a server.
pub(super) fn shard_ids(shards: u8) -> impl Iterator<Item = ShardId> {
    (0..shards).map(ShardId)
}

#[cfg(test)]
mod tests;
