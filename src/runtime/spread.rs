//! Roles on executors of their own: each front, the keeper, each log shard. The same machines as on one executor; mail crosses
//! between cores through bounded single-producer channels of glommio, batches in plain aligned memory.
//!
//! The keeper never waits for anybody: what a front can't take yet is gathered for it (bounded by its unanswered requests), and
//! when the log falls behind, the fronts leave sockets unread. A front waits for the keeper: of its bursts only a few are under way.

use super::aside::Aside;
use super::boot::{
    Ending, Prepared, begin, blocking_threads, boot, cannot_start, complain, ended, executor, require_descriptors, shard_ids, start_peers,
};
use super::figures::{self, Measured};
use super::fronts::Fronts;
use super::limits;
use super::logging::log_note;
use super::peers::Peers;
use super::placement;
use super::shard::{Append, ShardDisk};
use super::wake::{Wake, ring_after_io};
use crate::base::fatal::FatalError;
use crate::base::ids::FrontId;
use crate::base::memory::{HeapMemory, HeapPool};
use crate::base::time::MonoMs;
use crate::log::{DiskDone, DiskEffect};
use crate::server::config::Config;
use crate::server::front::Front;
use crate::server::keeper::{Cx, Effects, Keeper, Tell};
use crate::server::mail::{Burst, Hold, Outbox};
use crate::server::note::RateLimit;
use glommio::channels::shared_channel::{self, SharedReceiver, SharedSender};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// Mails of one kind between two executors.
const MAIL_MAX: usize = 64;
/// Bursts of one front between it and the keeper: each may be megabytes long.
const BURSTS_MAX: usize = 2;
/// Bursts that a turn of the keeper takes in.
const BURSTS_AT_ONCE: usize = 4;
const TICK: Duration = Duration::from_millis(20);
/// How long an orderly end may take.
const STOP_MS_MAX: u64 = 4000;
/// What the fronts get to send the last replies.
const LAST_REPLIES: Duration = Duration::from_millis(100);

struct FrontEnds {
    bursts: SharedReceiver<Burst>,
    outboxes: SharedSender<Outbox>,
}

struct ShardEnds {
    appends: SharedSender<Append<HeapMemory>>,
    dones: SharedReceiver<DiskDone>,
}

/// What the keeper wants unread, as the fronts see it.
#[derive(Clone, Default)]
struct SharedHold(Arc<AtomicU8>);

impl SharedHold {
    fn set(&self, hold: Hold) {
        self.0.store(hold as u8, Ordering::Relaxed);
    }

    fn get(&self) -> Hold {
        let seen = self.0.load(Ordering::Relaxed);
        [Hold::Nothing, Hold::Waiting].into_iter().find(|hold| *hold as u8 == seen).unwrap_or(Hold::All)
    }
}

/// Serves until the keeper ends. Executors of fronts and shards end with the process.
pub(super) fn serve(config: Config, prepared: Prepared, sockets: Vec<socket2::Socket>, fronts: usize) -> Result<Ending, FatalError> {
    let held = SharedHold::default();
    let conns_max = limits::conns_max(limits::executors(&config), fronts);
    let mut front_ends = Vec::new();
    for (number, socket) in (0u16..).zip(sockets) {
        let (burst_sender, bursts) = shared_channel::new_bounded(BURSTS_MAX);
        let (outboxes, outbox_receiver) = shared_channel::new_bounded(MAIL_MAX);
        let (front, clock, held) = (Front::new(FrontId(number), prepared.front), prepared.clock, held.clone());
        let place = placement::place(&config.cores, usize::from(number) + 1);
        let run = move || async move {
            let wake = Wake::default();
            let sockets = Fronts::new(front, clock, wake.clone(), fronts, conns_max);
            run_front(sockets, wake, clock, socket, burst_sender, outbox_receiver, held).await;
        };
        begin(&format!("the executor of front {number}"), executor(place, "front", 1), run)?;
        front_ends.push(FrontEnds { bursts, outboxes });
    }
    let mut shard_ends = Vec::new();
    for shard in shard_ids(prepared.shards) {
        let (appends, append_receiver) = shared_channel::new_bounded(MAIL_MAX);
        let (done_sender, dones) = shared_channel::new_bounded(MAIL_MAX);
        let (roots, how) = (prepared.roots.clone(), prepared.shard.clone());
        let place = placement::place(&config.cores, 1 + fronts + shard.idx());
        let run = move || async move {
            let ring = Wake::default();
            let disk = ShardDisk::start(shard, roots, how, ring.clone());
            run_shard(disk, ring, append_receiver, done_sender).await;
        };
        begin(&format!("the executor of log shard {}", shard.idx()), executor(place, "log-shard", 1), run)?;
        shard_ends.push(ShardEnds { appends, dones });
    }
    let place = placement::place(&config.cores, 0);
    require_descriptors("the keeper's executor")?;
    let handle = executor(place, "keeper", blocking_threads(prepared.shards))
        .spawn(move || async move {
            let booted = boot(&config, &prepared)?;
            let (keeper, startup) = booted.keeper(&config, fronts, prepared.clock.now());
            run_keeper(&config, prepared, keeper, startup, front_ends, shard_ends, held).await
        })
        .map_err(|e| cannot_start("the keeper's executor", e))?;
    handle.join().map_err(|e| ended("the keeper's executor", e))?
}

async fn run_front(
    fronts: Fronts,
    wake: Wake,
    clock: super::clock::Clock,
    socket: socket2::Socket,
    bursts: SharedSender<Burst>,
    outboxes: SharedReceiver<Outbox>,
    held: SharedHold,
) {
    let (bursts, outboxes) = (bursts.connect().await, outboxes.connect().await);
    glommio::spawn_local(fronts.clone().accept_all(socket)).detach();
    let receiving = fronts.clone();
    let held_seen = held.clone();
    glommio::spawn_local(async move {
        while let Some(mut outbox) = outboxes.recv().await {
            receiving.deliver(&mut outbox);
            receiving.hold(held_seen.get());
        }
    })
    .detach();
    let ticking = fronts.clone();
    glommio::spawn_local(async move {
        let mut limit = RateLimit::default();
        loop {
            glommio::timer::sleep(TICK).await;
            ticking.tick();
            ticking.hold(held.get());
            ticking.take_complaints().iter().for_each(|c| complain(&mut limit, clock.now().mono, c));
        }
    })
    .detach();
    loop {
        wake.rung().await;
        let burst = fronts.with_burst(std::mem::take);
        if !burst.is_empty() && bursts.send(burst).await.is_err() {
            return;
        }
    }
}

async fn run_shard(disk: ShardDisk<HeapMemory>, ring: Wake, appends: SharedReceiver<Append<HeapMemory>>, dones: SharedSender<DiskDone>) {
    let (appends, dones) = (appends.connect().await, dones.connect().await);
    let submitting = disk.clone();
    glommio::spawn_local(async move {
        while let Some(append) = appends.recv().await {
            submitting.append(append);
        }
    })
    .detach();
    let mut done = Vec::new();
    loop {
        ring.rung().await;
        disk.take_done(&mut done);
        for one in done.drain(..) {
            if dones.send(one).await.is_err() {
                return;
            }
        }
    }
}

/// A queue to another executor that the keeper fills without waiting.
struct Outgoing<T> {
    waiting: RefCell<VecDeque<T>>,
    work: Wake,
    busy: Cell<bool>,
    /// The other executor is gone: what is for it is dropped.
    over: Cell<bool>,
}

impl<T: Send + 'static> Outgoing<T> {
    fn start(sender: SharedSender<T>) -> Rc<Outgoing<T>> {
        let queue =
            Rc::new(Outgoing { waiting: RefCell::default(), work: Wake::default(), busy: Cell::new(false), over: Cell::new(false) });
        let feeding = Rc::clone(&queue);
        glommio::spawn_local(async move {
            let sender = sender.connect().await;
            loop {
                let next = feeding.waiting.borrow_mut().pop_front();
                feeding.busy.set(next.is_some());
                let Some(mail) = next else {
                    feeding.work.rung().await;
                    continue;
                };
                if sender.send(mail).await.is_err() {
                    feeding.over.set(true);
                    feeding.busy.set(false);
                    feeding.waiting.borrow_mut().clear();
                    return;
                }
            }
        })
        .detach();
        queue
    }

    fn push(&self, mail: T) {
        if self.over.get() {
            return;
        }
        self.waiting.borrow_mut().push_back(mail);
        self.work.ring();
    }

    fn is_empty(&self) -> bool {
        !self.busy.get() && self.waiting.borrow().is_empty()
    }
}

struct Host {
    keeper: Keeper<HeapMemory>,
    pool: HeapPool,
    effects: Effects<HeapMemory>,
    bursts: Rc<RefCell<VecDeque<Burst>>>,
    /// Rung, one for each front, when a turn has taken in the bursts.
    taken: Vec<Wake>,
    /// Links to the other servers of an ensemble; they live on the keeper's executor.
    peers: Option<Peers>,
    dones: Rc<RefCell<Vec<DiskDone>>>,
    aside: Aside,
    fronts: Vec<Rc<Outgoing<Outbox>>>,
    shards: Vec<Rc<Outgoing<Append<HeapMemory>>>>,
    held: SharedHold,
    wake: Wake,
    /// Rung for another turn when the keeper has more to do without anybody's mail.
    again: Wake,
    measured: Measured,
    prepared: Prepared,
    stopping_since: Option<MonoMs>,
}

async fn run_keeper(
    config: &Config,
    prepared: Prepared,
    mut keeper: Keeper<HeapMemory>,
    startup: Vec<DiskEffect<HeapMemory>>,
    front_ends: Vec<FrontEnds>,
    shard_ends: Vec<ShardEnds>,
    held: SharedHold,
) -> Result<Ending, FatalError> {
    let wake = Wake::default();
    let (bursts, dones) = (Rc::<RefCell<VecDeque<Burst>>>::default(), Rc::<RefCell<Vec<DiskDone>>>::default());
    let (mut fronts, mut taken) = (Vec::new(), Vec::new());
    for ends in front_ends {
        fronts.push(Outgoing::start(ends.outboxes));
        let (bursts, wake, room) = (Rc::clone(&bursts), wake.clone(), Wake::default());
        taken.push(room.clone());
        glommio::spawn_local(async move {
            let receiver = ends.bursts.connect().await;
            while let Some(burst) = receiver.recv().await {
                bursts.borrow_mut().push_back(burst);
                wake.ring();
                while bursts.borrow().len() >= BURSTS_AT_ONCE {
                    room.rung().await;
                }
            }
        })
        .detach();
    }
    let mut shards = Vec::new();
    for ends in shard_ends {
        shards.push(Outgoing::start(ends.appends));
        let (dones, wake) = (Rc::clone(&dones), wake.clone());
        glommio::spawn_local(async move {
            let receiver = ends.dones.connect().await;
            while let Some(done) = receiver.recv().await {
                dones.borrow_mut().push(done);
                wake.ring();
            }
        })
        .detach();
    }
    let effects = Effects::new(fronts.len());
    keeper.set_environment(figures::environment(&prepared.roots, prepared.client_port));
    let measured = figures::start(&prepared);
    let peers = start_peers(config, &keeper, prepared.clock, wake.clone())?;
    let mut host = Host {
        peers,
        keeper,
        pool: HeapPool::default(),
        effects,
        bursts,
        taken,
        dones,
        aside: Aside::new(prepared.roots.clone(), wake.clone()),
        fronts,
        shards,
        held,
        again: ring_after_io(wake.clone()),
        wake,
        measured,
        prepared,
        stopping_since: None,
    };
    host.effects.disk.extend(startup);
    host.carry_out_disk();
    host.prepared.announce();
    let due = Rc::new(Cell::new(false));
    let (ticking, wake) = (Rc::clone(&due), host.wake.clone());
    glommio::spawn_local(async move {
        loop {
            glommio::timer::sleep(TICK).await;
            ticking.set(true);
            wake.ring();
        }
    })
    .detach();
    loop {
        host.wake.clone().rung().await;
        if let Some(ending) = host.turn(due.replace(false)) {
            while !host.fronts.iter().all(|f| f.is_empty()) {
                glommio::timer::sleep(Duration::from_millis(1)).await;
            }
            glommio::timer::sleep(LAST_REPLIES).await;
            return Ok(ending);
        }
        if std::mem::take(&mut host.effects.reboot) {
            // As on one executor: nothing of the old keeper may reach the files or the mail of the new one.
            host.aside.at_rest().await;
            if host.ends_before_reboot() {
                return Ok(Ending::Stopped);
            }
            host.reboot(config)?;
        }
    }
}

impl Host {
    fn turn(&mut self, tick_due: bool) -> Option<Ending> {
        let now = self.prepared.clock.now();
        let mut cx = Cx { now, pool: &mut self.pool, fx: &mut self.effects };
        let mut dones = self.dones.take();
        dones.extend(self.aside.take_done());
        for done in dones.drain(..) {
            self.keeper.on_disk(&mut cx, done);
        }
        // Nothing was added meanwhile: no task ran.
        self.dones.replace(dones);
        if let Some(peers) = &self.peers {
            let mail = peers.with_burst(std::mem::take);
            self.keeper.on_peers(&mut cx, &mail);
        }
        for burst in self.bursts.borrow_mut().drain(..) {
            self.keeper.on_burst(&mut cx, &burst);
        }
        self.taken.iter().for_each(Wake::ring);
        if tick_due {
            self.measured.take().into_iter().for_each(|figures| self.keeper.set_host_figures(figures));
            self.keeper.on_tick(&mut cx);
        }
        self.keeper.turn(&mut cx);
        self.keeper.tell_progress(&mut cx, Tell::All);
        if let Some(peers) = &self.peers {
            peers.set_cluster(self.keeper.bound_cluster());
            peers.deliver(&mut self.effects.peers);
            peers.take_notes().iter().for_each(log_note);
            peers.hold(!self.keeper.takes_batches());
            if tick_due {
                peers.tick();
            }
        }
        if self.effects.reboot {
            self.effects.disk.clear();
        }
        self.carry_out_disk();
        for (front, outbox) in self.effects.outboxes.iter_mut() {
            if !outbox.is_empty() {
                self.fronts[usize::from(front.0)].push(std::mem::take(outbox));
            }
        }
        if self.keeper.wants_to_know_when_sent() {
            self.keeper.on_sent(self.prepared.clock.now());
        }
        self.held.set(self.keeper.hold());
        self.effects.notes.drain(..).for_each(|note| log_note(&note));
        if self.keeper.wants_turn() {
            self.again.ring();
        }
        self.ending(now.mono)
    }

    /// As on one executor: whether this server was told to end; if not, a signal ends the process until the new keeper is there.
    fn ends_before_reboot(&self) -> bool {
        let ends = self.prepared.signals.recover() || self.stopping_since.is_some();
        if let (true, Some(peers)) = (ends, &self.peers) {
            peers.stop();
        }
        ends
    }

    /// As on one executor: the keeper begins anew from the files.
    fn reboot(&mut self, config: &Config) -> Result<(), FatalError> {
        let booted = boot(config, &self.prepared)?;
        let (keeper, startup) = booted.keeper(config, self.fronts.len(), self.prepared.clock.now());
        self.keeper = keeper;
        self.keeper.set_environment(figures::environment(&self.prepared.roots, self.prepared.client_port));
        // What the old keeper still waited for (a read, a removal) reports to nobody.
        self.aside.forget();
        self.effects.disk.extend(startup);
        self.carry_out_disk();
        if let Some(peers) = &self.peers {
            peers.restart();
        }
        self.prepared.signals.serve();
        self.wake.ring();
        Ok(())
    }

    fn ending(&mut self, now: MonoMs) -> Option<Ending> {
        if let Some(stop) = self.effects.stop.take() {
            return Some(Ending::Fatal(stop));
        }
        if self.stopping_since.is_none() && self.prepared.signals.came() {
            tracing::info!("stopping: what was taken in is made durable and answered");
            self.stopping_since = Some(now);
            self.keeper.stop();
        }
        let since = self.stopping_since?;
        if !self.keeper.is_settled() && now.since(since) <= STOP_MS_MAX {
            return None;
        }
        if let Some(peers) = &self.peers {
            peers.stop();
        }
        Some(Ending::Stopped)
    }

    fn carry_out_disk(&mut self) {
        for effect in self.effects.disk.drain(..) {
            match effect {
                DiskEffect::Append { shard, file, at, memory, ticket, .. } => {
                    self.pool.keep(&memory);
                    self.shards[shard.idx()].push(Append { file, at, memory, ticket });
                }
                DiskEffect::Script { shard, script, ticket } => self.aside.script(shard, script, ticket),
                DiskEffect::Read { request, ticket } => self.aside.read(request, ticket),
            }
        }
    }
}
