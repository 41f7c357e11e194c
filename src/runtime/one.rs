//! All roles on one executor: no hop, no copy between them. Tasks collect, one turn does the work.

use super::aside::Aside;
use super::boot::{Ending, Prepared, boot, start_peers};
use super::exec;
use super::figures::{self, Measured};
use super::fronts::Fronts;
use super::limits;
use super::logging::log_note;
use super::memory::{DmaMemory, DmaPool};
use super::patience::{Left, Patience};
use super::peers::Peers;
use super::shard::{Append, ShardDisk};
use super::wake::{Wake, ring_after_io};
use crate::base::fatal::FatalError;
use crate::base::ids::{FrontId, ShardId};
use crate::base::time::MonoMs;
use crate::log::{DiskDone, DiskEffect};
use crate::server::config::Config;
use crate::server::front::Front;
use crate::server::keeper::{Cx, Effects, Keeper, Tell};
use crate::server::mail::Burst;
use crate::server::peer_mail::PeerBurst;
use futures_lite::future::or;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// How often time is handed to the roles.
const TICK: Duration = Duration::from_millis(20);
/// How long an orderly end may take.
const STOP_MS_MAX: u64 = 4000;

/// Everything the turn task owns.
struct Host {
    keeper: Keeper<DmaMemory>,
    pool: DmaPool,
    effects: Effects<DmaMemory>,
    burst: Burst,
    dones: Vec<DiskDone>,
    fronts: Fronts,
    /// Links to the other servers of an ensemble.
    peers: Option<Peers>,
    mail: PeerBurst,
    shards: Vec<ShardDisk<DmaMemory>>,
    aside: Aside,
    wake: Wake,
    /// Rung for another turn when the keeper has more to do without anybody's mail.
    again: Wake,
    measured: Measured,
    prepared: Prepared,
    stopping_since: Option<MonoMs>,
    tick_due: bool,
}

/// Runs the server on the current executor until it ends.
pub(super) async fn run(
    config: &Config,
    prepared: Prepared,
    mut keeper: Keeper<DmaMemory>,
    sockets: Vec<socket2::Socket>,
    startup: Vec<DiskEffect<DmaMemory>>,
) -> Result<Ending, FatalError> {
    keeper.set_environment(figures::environment(&prepared.roots, prepared.client_port));
    let wake = Wake::default();
    let conns_max = limits::conns_max(limits::executors(config), 1);
    let fronts = Fronts::new(Front::new(FrontId(0), prepared.front), prepared.clock, wake.clone(), 1, conns_max);
    let shards =
        (0..prepared.shards).map(|n| ShardDisk::start(ShardId(n), prepared.roots.clone(), prepared.shard.clone(), wake.clone())).collect();
    let measured = figures::start(&prepared);
    let peers = start_peers(config, &keeper, prepared.clock, wake.clone())?;
    let mut host = Host {
        peers,
        mail: PeerBurst::default(),
        keeper,
        pool: DmaPool,
        effects: Effects::new(1),
        burst: Burst::default(),
        dones: Vec::new(),
        fronts: fronts.clone(),
        shards,
        aside: Aside::new(prepared.roots.clone(), wake.clone()),
        again: ring_after_io(wake.clone()),
        wake: wake.clone(),
        measured,
        prepared,
        stopping_since: None,
        tick_due: false,
    };
    host.effects.disk.extend(startup);
    host.carry_out_disk();
    for socket in sockets {
        exec::spawn_local(fronts.clone().accept_all(socket)).detach();
    }
    host.prepared.announce();
    let due = Rc::new(Cell::new(false));
    exec::spawn_local(tick(Rc::clone(&due), wake.clone())).detach();
    let mut patience = Patience::default();
    loop {
        let left = host.tell_progress(Tell::Awaited);
        // If it finds a write, its batch carries to the learners what is left.
        let mut found = host.fronts.attend(host.prepared.attend_ns);
        if !found && host.fronts.attends_after_a_look_at_io() && exec::looks_without_waiting() {
            exec::look_at_io().await;
            found = wake.is_rung() || host.fronts.attend(host.prepared.attend_ns);
        }
        let until = host.may_leave(&mut patience, left, found);
        match until {
            Some(ns) => or(wake.rung(), exec::sleep(Duration::from_nanos(ns))).await,
            None => wake.rung().await,
        }
        host.tick_due = due.replace(false);
        if let Some(ending) = host.turn() {
            return Ok(ending);
        }
        if std::mem::take(&mut host.effects.reboot) {
            // Nothing of the old keeper may touch the files that the new one recovers from, nor be taken for the new one's: its tickets count
            // from the same number.
            host.aside.at_rest().await;
            if host.ends_before_reboot() {
                return Ok(Ending::Stopped);
            }
            host.reboot(config)?;
        }
    }
}

async fn tick(due: Rc<Cell<bool>>, wake: Wake) {
    loop {
        exec::sleep(TICK).await;
        due.set(true);
        wake.ring();
    }
}

impl Host {
    /// One turn. `Some`: the process ends.
    fn turn(&mut self) -> Option<Ending> {
        let now = self.prepared.clock.now();
        let mut cx = Cx { now, pool: &mut self.pool, fx: &mut self.effects };
        for shard in &self.shards {
            shard.take_done(&mut self.dones);
        }
        self.dones.extend(self.aside.take_done());
        for done in self.dones.drain(..) {
            self.keeper.on_disk(&mut cx, done);
        }
        if let Some(peers) = &self.peers {
            peers.with_burst(|mail| std::mem::swap(mail, &mut self.mail));
            self.keeper.on_peers(&mut cx, &self.mail);
            self.mail.clear();
        }
        self.fronts.with_burst(|burst| std::mem::swap(burst, &mut self.burst));
        self.keeper.on_burst(&mut cx, &self.burst);
        self.burst.clear();
        if self.tick_due {
            self.measured.take().into_iter().for_each(|figures| self.keeper.set_host_figures(figures));
            self.keeper.on_tick(&mut cx);
        }
        let applied = self.keeper.applied();
        self.keeper.turn(&mut cx);
        // To the learners before the own disk is asked: their syncs and ours run side by side.
        if let Some(peers) = &self.peers {
            peers.set_cluster(self.keeper.bound_cluster());
            peers.deliver(&mut self.effects.peers);
        }
        if self.effects.reboot {
            // What the old keeper still wants (spare segments, a mark) would be done over the files that the new one begins with.
            self.effects.disk.clear();
        }
        self.carry_out_disk();
        let outbox = self.effects.outboxes.of(FrontId(0));
        if outbox.is_empty() && (self.keeper.applied() != applied || self.keeper.proposed() != applied) {
            self.fronts.others_were_served();
        }
        self.fronts.deliver(outbox);
        self.note_sent();
        self.fronts.hold(self.keeper.hold());
        self.effects.notes.drain(..).for_each(|note| log_note(&note));
        for complaint in self.fronts.take_complaints() {
            self.prepared.complain(now.mono, &complaint);
        }
        if let Some(peers) = &self.peers {
            peers.take_notes().iter().for_each(log_note);
            peers.hold(!self.keeper.takes_batches());
            if self.tick_due {
                peers.tick();
            }
        }
        if self.tick_due {
            self.fronts.tick();
        }
        if self.keeper.wants_turn() {
            self.again.ring();
        }
        self.ending(now.mono)
    }

    /// Whether something was left untold.
    fn tell_progress(&mut self, what: Tell) -> bool {
        let Some(peers) = &self.peers else { return false };
        let now = self.prepared.clock.now();
        let left = self.keeper.tell_progress(&mut Cx { now, pool: &mut self.pool, fx: &mut self.effects }, what);
        peers.deliver(&mut self.effects.peers);
        left
    }

    /// For how many nanoseconds what was left of the progress may stay untold, if for any; otherwise it is told now, also while a client
    /// that only reads has one turn follow the other. `found`: there is a request already, so nothing is waited for.
    fn may_leave(&mut self, patience: &mut Patience, left: bool, found: bool) -> Option<u64> {
        if !left {
            patience.nothing_left();
            return None;
        }
        let now_ns = self.prepared.clock.mono_ns();
        match patience.left(now_ns) {
            Left::Until(until_ns) => (!found).then_some(until_ns - now_ns),
            Left::Tell => {
                self.tell_progress(Tell::All);
                None
            }
        }
    }

    /// Whether this server was told to end, so that it doesn't begin anew: what it holds lies on its disk. If not, a signal ends the
    /// process until the new keeper is there, since recovery takes long and looks for none.
    fn ends_before_reboot(&self) -> bool {
        let ends = self.prepared.signals.recover() || self.stopping_since.is_some();
        if let (true, Some(peers)) = (ends, &self.peers) {
            peers.stop();
        }
        ends
    }

    /// The keeper asked to begin anew from the files: a snapshot of the leader is there. Its clients are gone, its disk is at rest; the links
    /// to the other servers begin anew too, so that nothing of before reaches the new keeper.
    fn reboot(&mut self, config: &Config) -> Result<(), FatalError> {
        let booted = boot(config, &self.prepared)?;
        let (keeper, startup) = booted.keeper(config, 1, self.prepared.clock.now());
        self.keeper = keeper;
        self.keeper.set_environment(figures::environment(&self.prepared.roots, self.prepared.client_port));
        self.dones.clear();
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
        let settled = self.keeper.is_settled();
        if settled || now.since(since) > STOP_MS_MAX {
            if !settled {
                tracing::warn!("the disk didn't settle within {STOP_MS_MAX} ms; what wasn't acknowledged may be lost");
            }
            if let Some(peers) = &self.peers {
                peers.stop();
            }
            return Some(Ending::Stopped);
        }
        None
    }

    fn note_sent(&mut self) {
        if self.keeper.wants_to_know_when_sent() {
            self.keeper.on_sent(self.prepared.clock.now());
        }
    }

    fn carry_out_disk(&mut self) {
        for effect in self.effects.disk.drain(..) {
            match effect {
                DiskEffect::Append { shard, file, at, memory, ticket, .. } => {
                    self.shards[shard.idx()].append(Append { file, at, memory, ticket });
                }
                DiskEffect::Script { shard, script, ticket } => self.aside.script(shard, script, ticket),
                DiskEffect::Read { request, ticket } => self.aside.read(request, ticket),
            }
        }
    }
}
