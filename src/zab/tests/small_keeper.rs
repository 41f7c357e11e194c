//! What a server of the small world does around its machine: its log and its part in synchronisation (`docs/replication.md`), without
//! snapshots, ranges from disk and rounds.
//!
//! Guarantees: an output is obeyed in the turn in which it comes; only the moves `Write` and `Store` make anything durable.

use super::SILENCE_MS;
use super::keeper::Disk;
use super::oracle::count_through;
use super::small_world::{Link, Packet, SERVERS, SmallWorld, index, pair};
use crate::base::ids::{ServerId, Zxid};
use crate::base::prng::Prng;
use crate::base::time::MonoMs;
use crate::model::peer::Message;
use crate::model::position::Identity;
use crate::mutant;
use crate::zab::words::Words;
use crate::zab::{Input, Output, Persisted, Role, Zab};
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

/// A server that waits sees its clock in steps of this, ms: less than a pause.
const WAIT_STEP_MS: u64 = SILENCE_MS / 2;
/// After so many nothing will make it act: longer than a candidacy and the longest wait for one.
const WAIT_STEPS: usize = 8;

/// A write that the log has begun.
#[derive(Clone, Hash, Debug)]
pub(super) enum Write {
    Append(Identity),
    /// The log becomes this.
    Cut(Vec<Identity>),
    /// Of a role that ended (deliberate fault).
    Late(Identity),
}

/// What a crash loses.
#[derive(Clone)]
pub(super) struct Life {
    pub(super) zab: Zab,
    /// As the outputs said, one after the other.
    pub(super) role: Role,
    pub(super) writes: VecDeque<Write>,
    pub(super) store: Option<Persisted>,
    /// The role ended: the log must come to rest.
    pub(super) owes_settled: bool,
    /// Learner: the leader said Diff.
    pub(super) streamed_to: bool,
    /// Leader: whom it streams to.
    pub(super) streams: BTreeSet<ServerId>,
    pub(super) told: Zxid,
    pub(super) applied: usize,
    todo: VecDeque<Input<'static>>,
    /// Something else than a pulse came out.
    acted: bool,
}

impl Life {
    pub(super) fn new(zab: Zab) -> Life {
        Life {
            zab,
            role: Role::Looking,
            writes: VecDeque::new(),
            store: None,
            owes_settled: false,
            streamed_to: false,
            streams: BTreeSet::new(),
            told: Zxid::ZERO,
            applied: 0,
            todo: VecDeque::new(),
            acted: false,
        }
    }

    pub(super) fn is_established(&self) -> bool {
        matches!(self.zab.role(), Role::Leading { established: true, .. })
    }

    fn is_at_rest(&self) -> bool {
        self.writes.iter().all(|w| matches!(w, Write::Late(_)))
    }
}

impl SmallWorld {
    pub(super) fn alive(&mut self, n: usize) -> &mut Life {
        self.server(n).life.as_mut().expect("a running server")
    }

    /// One turn: the input, all that follows, the flush.
    pub(super) fn turn(&mut self, n: usize, input: Input<'static>) {
        self.alive(n).todo.push_back(input);
        self.work(n);
        self.end_turn(n);
    }

    fn work(&mut self, n: usize) {
        while let Some(input) = self.alive(n).todo.pop_front() {
            let now = MonoMs(self.servers[n].clock);
            let mut out = Vec::new();
            let zab = &mut self.alive(n).zab;
            // Draws and lines for people are the same whatever came before: they make no states.
            (zab.prng, zab.words) = (Prng::from_seed(0), Words::default());
            zab.step(now, input, &mut out);
            for output in out {
                self.obey(n, output);
            }
            self.settle_if_at_rest(n);
        }
    }

    fn end_turn(&mut self, n: usize) {
        self.alive(n).todo.push_back(Input::Flush);
        self.work(n);
        let life = self.alive(n);
        if let Some(message @ Message::Progress { committed, .. }) = life.zab.progress()
            && life.told != committed
        {
            life.told = committed;
            for peer in life.streams.clone() {
                self.send(n, index(peer), message, None);
            }
        }
    }

    fn send(&mut self, from: usize, to: usize, message: Message<'static>, batch: Option<(Identity, Identity)>) {
        if self.is_up(from, to) {
            let lane = from * SERVERS + to;
            let joins = self.fresh & (1 << lane) != 0 && !self.lanes[lane].packets.is_empty();
            self.fresh |= 1 << lane;
            Rc::make_mut(&mut self.lanes[lane]).packets.push_back(Packet { message, batch, joins });
        }
    }

    fn obey(&mut self, n: usize, output: Output) {
        let acts = !matches!(output, Output::Say { .. } | Output::Send { message: Message::Pulse(_), .. });
        self.alive(n).acted |= acts;
        match output {
            Output::Send { peer, message: message @ Message::Pulse(_) } => {
                self.due.push_back((index(peer), Input::Message { peer: self.servers[n].id, message }));
            }
            // Pulses are as fast, so this says nothing that isn't known.
            Output::Send { message: Message::Lead { .. }, .. } => {}
            Output::Send { peer, message } => self.send(n, index(peer), message, None),
            Output::Store(persisted) => {
                let before = self.servers[n].disk.persisted;
                let rises = persisted.accepted_epoch >= before.accepted_epoch && persisted.current_epoch >= before.current_epoch;
                assert!(rises, "server {} goes back from {before:?} to {persisted:?}", n + 1);
                self.alive(n).store = Some(persisted);
            }
            Output::Role { role, .. } => self.begin_role(n, role),
            Output::Committed(zxid) => self.on_committed(n, zxid),
            Output::Drop { peer } => {
                let other = index(peer);
                if self.links[pair(n, other)] == Link::Up {
                    self.break_link(n, other, Link::Broken);
                    self.due.push_back((other, Input::Down { peer: self.servers[n].id }));
                }
            }
            // It fails always.
            Output::CatchUp { .. } => self.alive(n).owes_settled = true,
            Output::Confirmed(_) | Output::Say { .. } => {}
        }
    }

    fn begin_role(&mut self, n: usize, role: Role) {
        let server = self.server(n);
        let life = server.life.as_mut().expect("a running server");
        life.role = role;
        match role {
            Role::Looking => {
                life.streams.clear();
                (life.streamed_to, life.owes_settled) = (false, true);
                if mutant!("zab-late-write-counts") {
                    server.disk.log.truncate(server.disk.durable);
                    life.writes.iter_mut().for_each(|w| {
                        if let Write::Append(identity) = *w {
                            *w = Write::Late(identity);
                        }
                    });
                }
            }
            Role::Leading { epoch, established: false } => {
                life.told = Zxid::ZERO;
                let (id, history) = (server.id, server.disk.log.clone());
                Rc::make_mut(&mut self.oracle).1.leads(id, 0, epoch, &history);
            }
            Role::Following { leader, epoch, serving: false } => {
                let last = server.disk.end();
                self.send(n, index(leader), Message::Follow { epoch, last, probe: false }, None);
            }
            Role::Leading { .. } | Role::Following { .. } => {}
        }
    }

    fn settle_if_at_rest(&mut self, n: usize) {
        let last = self.servers[n].disk.end();
        let life = self.alive(n);
        if life.owes_settled && life.is_at_rest() {
            life.owes_settled = false;
            life.todo.push_back(Input::Settled { last });
        }
    }

    fn on_committed(&mut self, n: usize, zxid: Zxid) {
        if let Role::Leading { epoch, .. } = self.alive(n).role {
            let (id, history) = (self.servers[n].id, self.servers[n].disk.log.clone());
            Rc::make_mut(&mut self.oracle).1.commits(id, epoch, &history, zxid);
        }
        self.apply(n);
    }

    pub(super) fn apply(&mut self, n: usize) {
        let server = self.server(n);
        let life = server.life.as_mut().expect("a running server");
        let committed = life.zab.committed();
        let disk = &mut server.disk;
        let reach = count_through(&disk.log, committed);
        // A later batch carries this in its header.
        disk.committed = committed.min(disk.durable_end().zxid).max(disk.committed);
        if reach > life.applied {
            life.applied = reach;
            self.oracle.1.applies(server_id(n), &self.servers[n].disk.log[..reach]);
        }
    }

    /// A client writes. No two proposals of one path are equal, whoever makes them.
    pub(super) fn propose(&mut self, n: usize) {
        let checksum = (n as u64 + 1) * 10 + u64::from(self.left.proposals);
        self.left.proposals -= 1;
        let before = self.servers[n].disk.end();
        let life = self.alive(n);
        let Role::Leading { epoch, .. } = life.zab.role() else { return };
        let zxid = if before.zxid.epoch() == epoch { before.zxid.next().expect("few batches") } else { Zxid::new(epoch, 1) };
        let last = Identity { zxid, checksum };
        life.todo.push_back(Input::Proposed { last });
        let streams = life.streams.clone();
        for peer in streams {
            self.send_batch(n, index(peer), before, last);
        }
        self.append(n, last);
        self.work(n);
        self.end_turn(n);
    }

    fn send_batch(&mut self, from: usize, to: usize, before: Identity, last: Identity) {
        let zab = &self.alive(from).zab;
        if let Role::Leading { epoch, .. } = zab.role() {
            let message = Message::Batch { epoch, committed: zab.committed(), beat: zab.beat(), confirmed: zab.confirmed(), bytes: &[] };
            self.send(from, to, message, Some((before, last)));
        }
    }

    fn append(&mut self, n: usize, last: Identity) {
        self.server(n).disk.log.push(last);
        self.alive(n).writes.push_back(Write::Append(last));
    }

    pub(super) fn on_write_done(&mut self, n: usize) {
        let server = self.server(n);
        let disk = &mut server.disk;
        let life = server.life.as_mut().expect("a running server");
        let write = life.writes.pop_front().expect("moves are possible ones");
        let follow_again = matches!(write, Write::Cut(_)).then_some(life.role);
        match write {
            Write::Append(_) => disk.durable += 1,
            Write::Cut(history) => (disk.durable, disk.log) = (history.len(), history),
            // On a leader the machine itself would notice.
            Write::Late(_) if matches!(life.role, Role::Leading { .. }) => {}
            Write::Late(batch) => lands_late(disk, batch),
        }
        let (last, end) = (disk.durable_end(), disk.end());
        life.todo.push_back(Input::Durable { last });
        self.work(n);
        // A cut that outlived its relation belongs to no other one.
        if let Some(role @ Role::Following { leader, epoch, .. }) = follow_again
            && self.alive(n).role == role
        {
            self.send(n, index(leader), Message::Follow { epoch, last: end, probe: false }, None);
        }
        self.apply(n);
        self.end_turn(n);
    }

    pub(super) fn on_store_done(&mut self, n: usize) {
        let server = self.server(n);
        let life = server.life.as_mut().expect("a running server");
        server.disk.persisted = life.store.take().expect("moves are possible ones");
        self.turn(n, Input::Stored);
    }

    pub(super) fn on_main(&mut self, n: usize, peer: ServerId, packet: Packet) {
        let Packet { message, batch, .. } = packet;
        let accepted = self.alive(n).zab.accepts(peer, &message);
        if let Some((before, last)) = batch.filter(|_| accepted) {
            let follows = self.servers[n].disk.end() == before || mutant!("zab-late-write-counts");
            assert!(follows && self.alive(n).streamed_to, "server {} is sent a batch that doesn't follow its history", n + 1);
            self.append(n, last);
        }
        self.alive(n).todo.push_back(Input::Message { peer, message });
        self.work(n);
        if accepted && self.alive(n).zab.accepts(peer, &message) {
            match message {
                Message::Follow { epoch, last, probe } => self.on_follow(n, index(peer), epoch, last, probe),
                Message::Diff { .. } => self.alive(n).streamed_to = true,
                Message::Back { epoch, to } => self.on_back(n, index(peer), epoch, to),
                _ => {}
            }
        }
        self.apply(n);
        self.end_turn(n);
    }

    fn on_follow(&mut self, n: usize, to: usize, epoch: u32, last: Identity, probe: bool) {
        let disk = &self.servers[n].disk;
        let has = disk.has(last);
        if probe || !has {
            let back = if has { last } else { disk.last_before(last.zxid) };
            return self.send(n, to, Message::Back { epoch, to: back }, None);
        }
        let later: Vec<Identity> = disk.log[count_through(&disk.log, last.zxid)..].to_vec();
        self.send(n, to, Message::Diff { epoch, after: last }, None);
        let mut before = last;
        for last in later {
            self.send_batch(n, to, before, last);
            before = last;
        }
        let peer = server_id(to);
        let life = self.alive(n);
        life.streams.insert(peer);
        life.todo.push_back(Input::Streamed { peer, last: before });
        self.work(n);
    }

    fn on_back(&mut self, n: usize, from: usize, epoch: u32, to: Identity) {
        let disk = &self.servers[n].disk;
        if disk.has(to) {
            let kept = disk.log[..count_through(&disk.log, to.zxid)].to_vec();
            let life = self.servers[n].life.as_ref().expect("a running server");
            assert!(kept.len() >= life.applied, "server {} cuts below what it applied", n + 1);
            return self.alive(n).writes.push_back(Write::Cut(kept));
        }
        let last = disk.last_before(to.zxid);
        self.send(n, from, Message::Follow { epoch, last, probe: true }, None);
    }

    /// The clock goes on, with all that linked servers say again and again, until something comes of it.
    pub(super) fn wait(&mut self, n: usize) -> bool {
        self.alive(n).acted = false;
        for _ in 0..WAIT_STEPS {
            self.server(n).clock += WAIT_STEP_MS;
            for peer in (0..SERVERS).filter(|p| *p != n && self.is_up(n, *p)).map(server_id).collect::<Vec<_>>() {
                if let Some(pulse) = self.alive(n).zab.peers[&peer].pulse {
                    self.turn(n, Input::Message { peer, message: Message::Pulse(pulse) });
                }
            }
            self.turn(n, Input::Tick);
            if self.alive(n).acted {
                return true;
            }
        }
        false
    }
}

/// The log takes in what an ended role wrote.
fn lands_late(disk: &mut Disk, batch: Identity) {
    if !disk.has(batch) {
        disk.log.insert(count_through(&disk.log, batch.zxid), batch);
        disk.durable += 1;
    }
}

fn server_id(n: usize) -> ServerId {
    ServerId(n as u8 + 1)
}
