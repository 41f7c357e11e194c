//! A keeper in miniature: a log of identities with a durable part, and the rules of synchronisation (`docs/replication.md`).

use super::oracle::count_through;
use super::world::{Event, Wire, World};
use crate::base::ids::{ServerId, Zxid};
use crate::model::peer::Message;
use crate::model::position::Identity;
use crate::zab::{Input, Output, Persisted, Role, Zab};
use std::collections::{BTreeSet, VecDeque};

/// What survives a crash.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    pub(super) persisted: Persisted,
    /// All batches appended; the tail beyond `durable` may be lost.
    pub(super) log: Vec<Identity>,
    pub(super) durable: usize,
    /// Committed as some batch header on this disk says.
    pub(super) committed: Zxid,
}

impl Disk {
    pub(super) fn end(&self) -> Identity {
        self.log.last().copied().unwrap_or_default()
    }

    pub(super) fn durable_end(&self) -> Identity {
        self.log[..self.durable].last().copied().unwrap_or_default()
    }

    pub(super) fn has(&self, what: Identity) -> bool {
        what == Identity::default() || self.log.binary_search_by_key(&what.zxid, |i| i.zxid).is_ok_and(|at| self.log[at] == what)
    }

    pub(super) fn has_durable(&self, what: Identity) -> bool {
        self.has(what) && what.zxid <= self.durable_end().zxid
    }

    pub(super) fn last_before(&self, zxid: Zxid) -> Identity {
        let before = self.log.partition_point(|i| i.zxid < zxid);
        self.log[..before].last().copied().unwrap_or_default()
    }
}

/// What a crash loses.
pub(super) struct Keeper {
    pub(super) zab: Zab,
    /// As the outputs said, one after the other.
    role: Role,
    /// Appends that the disk hasn't answered.
    pub(super) in_flight: usize,
    pub(super) log_busy_until: u64,
    pub(super) store_busy_until: u64,
    cutting: bool,
    /// The role ended, or a fetch: the log must come to rest.
    owes_settled: bool,
    /// Learner: the leader said Diff.
    streamed_to: bool,
    new_leader: Option<Identity>,
    /// Leader: whom it streams to.
    streams: BTreeSet<ServerId>,
    told: (Zxid, u64, u64),
    /// Rounds that wait, each with the latest established epoch when it was opened.
    rounds: Vec<(u64, u32)>,
    pub(super) applied: usize,
    todo: VecDeque<Input<'static>>,
}

impl Keeper {
    pub(super) fn new(zab: Zab) -> Keeper {
        Keeper {
            zab,
            role: Role::Looking,
            in_flight: 0,
            log_busy_until: 0,
            store_busy_until: 0,
            cutting: false,
            owes_settled: false,
            streamed_to: false,
            new_leader: None,
            streams: BTreeSet::new(),
            told: (Zxid::ZERO, 0, 0),
            rounds: Vec::new(),
            applied: 0,
            todo: VecDeque::new(),
        }
    }

    pub(super) fn is_established(&self) -> bool {
        matches!(self.zab.role(), Role::Leading { established: true, .. })
    }
}

impl World {
    fn keeper(&mut self, id: ServerId) -> &mut Keeper {
        self.server(id).keeper.as_mut().expect("a running server")
    }

    /// One turn: the input, all that follows, the flush.
    pub(super) fn turn(&mut self, id: ServerId, input: Input<'static>) {
        self.keeper(id).todo.push_back(input);
        self.work(id);
        self.end_turn(id);
    }

    fn work(&mut self, id: ServerId) {
        while let Some(input) = self.keeper(id).todo.pop_front() {
            let now = self.now();
            let mut out = Vec::new();
            self.keeper(id).zab.step(now, input, &mut out);
            for output in out {
                self.obey(id, output);
            }
            self.settle_if_at_rest(id);
        }
    }

    pub(super) fn end_turn(&mut self, id: ServerId) {
        self.keeper(id).todo.push_back(Input::Flush);
        self.work(id);
        let keeper = self.keeper(id);
        if let Some(Message::Progress { committed, beat, confirmed, .. }) = keeper.zab.progress()
            && keeper.told != (committed, beat, confirmed)
        {
            keeper.told = (committed, beat, confirmed);
            let progress = keeper.zab.progress().expect("looked at above");
            for peer in keeper.streams.clone() {
                self.send(id, peer, Wire::Plain(progress));
            }
        }
    }

    fn obey(&mut self, id: ServerId, output: Output) {
        match output {
            Output::Send { peer, message } => {
                self.check_vow(id, &message);
                self.send(id, peer, Wire::Plain(message));
            }
            Output::Store(persisted) => self.store(id, persisted),
            Output::Role { role, .. } => self.begin_role(id, role),
            Output::Committed(zxid) => self.on_committed(id, zxid),
            Output::Confirmed(beat) => self.on_confirmed(id, beat),
            Output::Drop { peer } => self.drop_links(id, peer),
            Output::CatchUp { peer, last } => self.catch_up(id, peer, last),
            Output::Say { text, .. } => self.trace(|| format!("{id:?} says: {text}")),
        }
    }

    /// What others count on is durable when it leaves.
    fn check_vow(&mut self, id: ServerId, message: &Message<'_>) {
        let disk = &self.server(id).disk;
        let durable = disk.durable_end().zxid;
        let kept = match *message {
            Message::NewEpoch { epoch, .. } | Message::Promise { epoch, .. } => disk.persisted.accepted_epoch >= epoch,
            Message::AckLeader { epoch, last } => disk.persisted.current_epoch == epoch && disk.has_durable(last),
            Message::Ack { durable: acked, .. } => acked <= durable,
            _ => true,
        };
        assert!(kept, "{id:?} says {message:?} with {:?} and {durable} durable", disk.persisted);
    }

    fn store(&mut self, id: ServerId, persisted: Persisted) {
        let new_leader = self.keeper(id).new_leader;
        let disk = &self.server(id).disk;
        if let Some(last) = new_leader
            && persisted.current_epoch != disk.persisted.current_epoch
        {
            assert!(disk.has_durable(last), "{id:?} stores epoch {} before {last:?} is durable", persisted.current_epoch);
        }
        assert!(persisted.accepted_epoch >= disk.persisted.accepted_epoch, "{id:?} forgets a promise");
        let life = self.server(id).life;
        let delay = self.disk_delay();
        let due = self.keeper(id).store_busy_until.max(self.time) + delay;
        self.keeper(id).store_busy_until = due;
        self.at(due, Event::StoreDone { id, life, persisted });
    }

    fn begin_role(&mut self, id: ServerId, role: Role) {
        self.trace(|| format!("{id:?} is {role:?}"));
        let life = self.server(id).life;
        let history = self.server(id).disk.log.clone();
        let keeper = self.keeper(id);
        keeper.role = role;
        match role {
            Role::Looking => {
                keeper.streams.clear();
                keeper.rounds.clear();
                (keeper.streamed_to, keeper.new_leader, keeper.owes_settled) = (false, None, true);
            }
            Role::Leading { epoch, established: false } => {
                keeper.told = (Zxid::ZERO, 0, 0);
                self.oracle.leads(id, life, epoch, &history);
            }
            Role::Leading { epoch, .. } => self.oracle.establishes(epoch),
            Role::Following { leader, epoch, serving: false } => {
                assert!(keeper.in_flight == 0 && !keeper.cutting && !keeper.owes_settled, "{id:?} follows before its log is at rest");
                let last = self.server(id).disk.end();
                self.send(id, leader, Wire::Plain(Message::Follow { epoch, last, probe: false }));
            }
            Role::Following { .. } => {}
        }
    }

    fn settle_if_at_rest(&mut self, id: ServerId) {
        let last = self.server(id).disk.end();
        let keeper = self.keeper(id);
        if keeper.owes_settled && keeper.in_flight == 0 && !keeper.cutting {
            keeper.owes_settled = false;
            keeper.todo.push_back(Input::Settled { last });
        }
    }

    fn on_committed(&mut self, id: ServerId, zxid: Zxid) {
        let log = self.server(id).disk.log.clone();
        if let Role::Leading { epoch, .. } = self.keeper(id).role {
            self.check_quorum(id, zxid);
            self.oracle.commits(id, epoch, &log, zxid);
        }
        self.apply(id);
    }

    /// A commit rests on the disks of a quorum (a wiped one held it when it said so).
    fn check_quorum(&mut self, id: ServerId, zxid: Zxid) {
        let last = self.server(id).disk.last_before(Zxid(zxid.0 + 1));
        let epoch = match self.keeper(id).role {
            Role::Leading { epoch, .. } => epoch,
            _ => return,
        };
        let holds = |s: &super::world::Server| s.disk.persisted.current_epoch >= epoch && s.disk.has_durable(last);
        let time = self.time;
        let set: BTreeSet<ServerId> =
            self.servers.iter().filter(|s| holds(s) || s.hurt_at.is_some_and(|at| time - at < 5000)).map(|s| s.id).collect();
        assert!(self.membership.is_quorum(&set), "{id:?} commits {zxid:?} in epoch {epoch}, held by {set:?} only");
    }

    fn apply(&mut self, id: ServerId) {
        let committed = self.keeper(id).zab.committed();
        let disk = &mut self.server(id).disk;
        let reach = count_through(&disk.log, committed);
        // A later batch carries this in its header.
        disk.committed = committed.min(disk.durable_end().zxid).max(disk.committed);
        let applied = disk.log[..reach].to_vec();
        if reach > self.keeper(id).applied {
            self.oracle.applies(id, &applied);
            self.keeper(id).applied = reach;
        }
    }

    fn on_confirmed(&mut self, id: ServerId, beat: u64) {
        let keeper = self.keeper(id);
        let Role::Leading { epoch, .. } = keeper.role else { return };
        let done: Vec<(u64, u32)> = keeper.rounds.iter().copied().filter(|(b, _)| *b <= beat).collect();
        keeper.rounds.retain(|(b, _)| *b > beat);
        for (beat, established) in done {
            assert!(established <= epoch, "{id:?} answers round {beat} of epoch {epoch}, begun after {established} was established");
        }
    }

    /// A client asks for what the leader's state alone answers.
    pub(super) fn open_round(&mut self, id: ServerId) {
        let established = self.oracle.established;
        let keeper = self.keeper(id);
        if keeper.is_established() {
            let beat = keeper.zab.open_round();
            keeper.rounds.push((beat, established));
            let confirmed = keeper.zab.confirmed();
            self.on_confirmed(id, confirmed);
            self.end_turn(id);
        }
    }

    /// A client writes.
    pub(super) fn propose(&mut self, id: ServerId) {
        let checksum = self.prng.next_u64();
        let end = self.server(id).disk.end().zxid;
        let keeper = self.keeper(id);
        let Role::Leading { epoch, established: true } = keeper.zab.role() else { return };
        let zxid = if end.epoch() == epoch { end.next().expect("few batches") } else { Zxid::new(epoch, 1) };
        let last = Identity { zxid, checksum };
        keeper.todo.push_back(Input::Proposed { last });
        let (committed, beat, confirmed) = (keeper.zab.committed(), keeper.zab.beat(), keeper.zab.confirmed());
        let streams = keeper.streams.clone();
        let before = self.server(id).disk.end();
        for peer in streams {
            self.send(id, peer, Wire::Batch { epoch, before, last, committed, beat, confirmed });
        }
        self.append(id, last);
        self.work(id);
        self.end_turn(id);
    }

    fn append(&mut self, id: ServerId, last: Identity) {
        let delay = self.disk_delay();
        let time = self.time;
        let server = self.server(id);
        server.disk.log.push(last);
        let (life, len) = (server.life, server.disk.log.len());
        let keeper = self.keeper(id);
        keeper.in_flight += 1;
        let due = keeper.log_busy_until.max(time + delay);
        keeper.log_busy_until = due;
        self.at(due, Event::LogDone { id, life, len });
    }

    pub(super) fn on_log_done(&mut self, id: ServerId) {
        self.keeper(id).in_flight -= 1;
        let last = self.server(id).disk.durable_end();
        self.turn(id, Input::Durable { last });
        self.apply(id);
    }

    pub(super) fn on_main(&mut self, id: ServerId, peer: ServerId, wire: Wire) {
        let message = match wire {
            Wire::Plain(message) => message,
            Wire::Batch { epoch, committed, beat, confirmed, .. } => Message::Batch { epoch, committed, beat, confirmed, bytes: &[] },
            Wire::Snapshot { epoch, ref history } => {
                Message::Snapshot { epoch, at: history.last().copied().unwrap_or_default(), len: history.len() as u64 }
            }
        };
        let accepted = self.keeper(id).zab.accepts(peer, &message);
        if accepted {
            match (&message, &wire) {
                (Message::NewLeader { last, .. }, _) => self.keeper(id).new_leader = Some(*last),
                (Message::Batch { .. }, Wire::Batch { before, last, .. }) => self.on_batch(id, *before, *last),
                _ => {}
            }
        }
        self.keeper(id).todo.push_back(Input::Message { peer, message });
        self.work(id);
        if accepted && self.keeper(id).zab.accepts(peer, &message) {
            match (message, wire) {
                (Message::Follow { epoch, last, probe }, _) => self.on_follow(id, peer, epoch, last, probe),
                (Message::Diff { after, .. }, _) => {
                    let at_end = self.server(id).disk.end() == after;
                    assert!(at_end, "{id:?} is told to continue at {after:?}");
                    self.keeper(id).streamed_to = true;
                }
                (Message::Back { epoch, to }, _) => self.on_back(id, peer, epoch, to),
                (Message::Snapshot { .. }, Wire::Snapshot { history, .. }) => self.begin_cut(id, history),
                _ => {}
            }
        }
        self.apply(id);
        self.end_turn(id);
    }

    fn on_batch(&mut self, id: ServerId, before: Identity, last: Identity) {
        assert!(self.keeper(id).streamed_to, "{id:?} is sent a batch that it didn't ask for");
        assert_eq!(self.server(id).disk.end(), before, "{id:?} is sent a batch that doesn't follow its history");
        self.append(id, last);
    }

    fn on_follow(&mut self, id: ServerId, peer: ServerId, epoch: u32, last: Identity, probe: bool) {
        let disk = &self.server(id).disk;
        let has = disk.has(last);
        let back = if has { last } else { disk.last_before(last.zxid) };
        let later: Vec<Identity> = disk.log[count_through(&disk.log, last.zxid)..].to_vec();
        if probe || !has {
            return self.send(id, peer, Wire::Plain(Message::Back { epoch, to: back }));
        }
        let committed = self.keeper(id).zab.committed();
        let disk = &self.server(id).disk;
        let history = disk.log[..count_through(&disk.log, committed)].to_vec();
        if last == Identity::default() && history.len() > 3 && self.prng.chance(1, 3) {
            return self.send(id, peer, Wire::Snapshot { epoch, history });
        }
        self.send(id, peer, Wire::Plain(Message::Diff { epoch, after: last }));
        let keeper = self.keeper(id);
        let (beat, confirmed) = (keeper.zab.beat(), keeper.zab.confirmed());
        let mut before = last;
        for last in later {
            self.send(id, peer, Wire::Batch { epoch, before, last, committed, beat, confirmed });
            before = last;
        }
        let keeper = self.keeper(id);
        keeper.streams.insert(peer);
        keeper.todo.push_back(Input::Streamed { peer, last: before });
        self.work(id);
    }

    fn on_back(&mut self, id: ServerId, peer: ServerId, epoch: u32, to: Identity) {
        let disk = &self.server(id).disk;
        if disk.has(to) {
            let kept = disk.log[..count_through(&disk.log, to.zxid)].to_vec();
            return self.begin_cut(id, kept);
        }
        let last = disk.last_before(to.zxid);
        self.send(id, peer, Wire::Plain(Message::Follow { epoch, last, probe: true }));
    }

    /// The log becomes `history`: a cut, or an installed snapshot. One durable intent.
    fn begin_cut(&mut self, id: ServerId, history: Vec<Identity>) {
        assert!(history.len() >= self.keeper(id).applied, "{id:?} cuts below what it applied");
        assert!(!self.keeper(id).cutting && self.keeper(id).in_flight == 0, "{id:?} cuts a log that moves");
        self.keeper(id).cutting = true;
        let life = self.server(id).life;
        let due = self.time + self.disk_delay();
        self.at(due, Event::CutDone { id, life, history });
    }

    pub(super) fn on_cut_done(&mut self, id: ServerId) {
        let last = self.server(id).disk.end();
        let keeper = self.keeper(id);
        keeper.cutting = false;
        // A cut that outlived its relation belongs to no other one.
        let role = keeper.role;
        keeper.todo.push_back(Input::Durable { last });
        self.work(id);
        if let Role::Following { leader, epoch, .. } = role
            && self.keeper(id).role == role
        {
            self.send(id, leader, Wire::Plain(Message::Follow { epoch, last, probe: false }));
        }
        self.end_turn(id);
    }

    fn catch_up(&mut self, id: ServerId, peer: ServerId, last: Identity) {
        self.catch_ups += 1;
        let life = self.server(id).life;
        let due = self.time + self.prng.between(5, 60);
        self.at(due, Event::CatchUp { id, life, peer, last });
    }

    pub(super) fn on_catch_up(&mut self, id: ServerId, peer: ServerId, last: Identity) {
        let end = self.server(id).disk.end();
        let reachable = !self.blocked(id, peer) && !self.blocked(peer, id) && self.server(peer).keeper.is_some();
        let disk = &self.server(peer).disk;
        if reachable && disk.has(end) {
            let durable = &disk.log[..disk.durable];
            let more = durable[count_through(durable, end.zxid)..count_through(durable, last.zxid)].to_vec();
            more.into_iter().for_each(|batch| self.append(id, batch));
        }
        self.keeper(id).owes_settled = true;
        self.settle_if_at_rest(id);
        self.work(id);
        self.end_turn(id);
    }

    /// The connection is gone: nothing streams on it.
    pub(super) fn forget_stream(&mut self, id: ServerId, peer: ServerId) {
        self.keeper(id).streams.remove(&peer);
    }
}
