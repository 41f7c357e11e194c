//! Lives of the server: how they end, what the next start finds, what rots in between.

use super::{Event, Stage, Verdict, World};
use crate::base::ids::{ClusterId, Zxid};
use crate::base::memory::BatchMemory;
use crate::log::Case;
use crate::model::file::FilePath;
use crate::server::boot::{Boot, recover_server};
use crate::server::front::FrontOptions;
use crate::server::links::LinkOptions;
use crate::sim::agenda::Who;
use crate::sim::checker::{Checker, NoticedBy};
use crate::sim::checks;
use crate::sim::client::Phase;
use crate::sim::host::{Life, Mood, TICK_US};
use crate::sim::ledger::{membership, server_id};
use crate::sim::node::Server;
use crate::sim::options::Ending;
use crate::sim::peers::Peers;
use crate::sim::role::{self, Role};

impl World {
    pub(super) fn turn(&mut self, who: Who) -> Result<(), String> {
        let steps = self.agenda.disk_steps;
        let Some(life) = self.nodes[who.node].life(who) else { return Ok(()) };
        let mood = life.turn(&mut self.agenda, &mut self.history, &mut self.coverage)?;
        let expired = std::mem::take(&mut life.expired);
        let (applied, digest) = (life.keeper.applied(), life.keeper.tree().digest());
        let role = role::role(&life.keeper);
        self.agenda.trace.event(self.agenda.now_us, "turn", &[applied.0, digest]);
        self.nodes[who.node].disk_steps += self.agenda.disk_steps - steps;
        self.same_digest(who.node, applied, digest)?;
        // Of a leader that was deposed without noticing no expiry is ever committed, and what others hear since isn't its to know.
        let deposed = matches!(role, Role::Leading { .. }) && self.nodes[who.node].timers_from_ms < self.history.presence.timers_from_ms;
        if !deposed {
            for session in expired {
                self.history.presence.expired(session, self.agenda.now_ms()).by(Checker::Sessions)?;
            }
        }
        self.new_role(who.node, role)?;
        self.mend(who.node);
        match mood {
            Mood::Serves => Ok(()),
            Mood::Stopped => {
                self.coverage.hit("orderly-stop");
                self.nodes[who.node].clean = true;
                self.end(who.node, Ending::Stop)
            }
            Mood::Cut => {
                self.coverage.hit("mid-turn-crash");
                let ending = if self.prng.chance(1, 2) { Ending::Power } else { Ending::Kill };
                self.end(who.node, ending)
            }
            Mood::Reboot => self.reboot(who.node),
            Mood::Fatal(why) => {
                if !self.nodes[who.node].failed {
                    return Err(Checker::Assertion.says(&format!("server {} ended by itself: {why}", who.node + 1)));
                }
                self.end(who.node, Ending::Kill)
            }
        }
    }

    fn timers_start(&mut self, node: usize) {
        self.nodes[node].timers_from_ms = self.agenda.now_ms();
        self.history.presence.timers_from_ms = self.agenda.now_ms();
    }

    /// A server does something else now.
    fn new_role(&mut self, node: usize, role: Role) -> Result<(), String> {
        let before = std::mem::replace(&mut self.nodes[node].role, role);
        if before == role {
            return Ok(());
        }
        self.agenda.say(|| format!("server {} is now {role:?}", node + 1));
        if let Role::Leading { epoch, established } = role {
            self.history.protocol.leads(node, epoch).by(Checker::OneLeader)?;
            if established {
                self.coverage.hit("established");
                self.timers_start(node);
            }
        }
        if matches!(before, Role::Leading { established: true, .. })
            && self.agenda.links.values().any(|l| l.node == node && self.clients[l.client].outstanding() > 0)
        {
            self.coverage.hit("deposed-with-requests");
        }
        if matches!(before, Role::Following { serving: false, .. }) && role == Role::Looking {
            self.coverage.hit("epoch-change-in-sync");
        }
        if node >= self.options.voters() && role.serves() {
            self.coverage.hit("observer");
        }
        Ok(())
    }

    /// What a server lost is there again, once it serves and holds all that is committed.
    fn mend(&mut self, node: usize) {
        if !self.nodes[node].role.serves() || !self.history.ledger.is_excused(node) {
            return;
        }
        let wiped = self.history.ledger.is_wiped(node);
        if self.history.ledger.mended(node) {
            self.coverage.hit(if wiped { "wiped-rejoined" } else { "repaired" });
            self.agenda.say(|| format!("server {} has everything again", node + 1));
        }
    }

    /// The keeper asked to be recovered anew: its disk is at rest, nothing is lost.
    fn reboot(&mut self, node: usize) -> Result<(), String> {
        self.coverage.hit("reboot");
        self.nodes[node].clean = false;
        self.nodes[node].down_us = 1;
        self.end(node, Ending::Kill)
    }

    /// State at the same place is the same everywhere and always.
    pub(super) fn same_digest(&mut self, node: usize, zxid: Zxid, digest: u64) -> Result<(), String> {
        let known = *self.digests.entry(zxid).or_insert(digest);
        let same =
            if known == digest { Ok(()) } else { Err(format!("server {} has digest {digest:x} at {zxid}, it was {known:x}", node + 1)) };
        same.by(Checker::Digest)
    }

    /// The life of a server ends.
    pub(super) fn end(&mut self, idx: usize, ending: Ending) -> Result<(), String> {
        let node = &mut self.nodes[idx];
        if ending == Ending::Stop && !node.clean {
            if let Some(life) = node.up_mut() {
                self.agenda.say(|| format!("server {} is told to stop", idx + 1));
                life.stop(&mut self.agenda);
            }
            return Ok(());
        }
        let server = std::mem::replace(&mut node.server, Server::Down);
        self.agenda.say(|| format!("server {} ends: {ending:?}", idx + 1));
        self.agenda.trace.event(self.agenda.now_us, "end", &[ending as u64]);
        let style = self.prng.below(5);
        let mut prng = self.prng.stream(&format!("end of life {}", node.life));
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
            node.marked = life.keeper.log().marked_zxid();
            for append in life.appends.values() {
                // With the power, each sector is asked for once, below.
                let mut there = || ending == Ending::Power || keep();
                let torn = node.disk.tear(&append.file, append.at, &append.memory.bytes()[..append.len], &mut there);
                self.agenda
                    .say(|| format!("{} to {} were on their way to {} at {}", append.first, append.identity.zxid, append.file, append.at));
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
                node.disk.power_fails(&mut || {
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
        if self.history.ledger.is_partly_durable(idx) && ending != Ending::Stop {
            self.coverage.hit("shard-partly-durable-at-crash");
        }
        self.agenda.process_ended(node.who(), ending == Ending::Power);
        node.paused = None;
        node.role = if self.options.servers == 1 { Role::Alone } else { Role::Looking };
        node.life += 1;
        if ending != Ending::Stop {
            node.clean = false;
        }
        let links: Vec<u64> = self.agenda.links.iter().filter(|(_, link)| link.node == idx).map(|(link, _)| *link).collect();
        for link in links {
            self.agenda.send_down(link, Vec::new());
        }
        let down_us = std::mem::replace(&mut node.down_us, 50_000);
        self.agenda.after(down_us, Event::Start { node: idx });
        Ok(())
    }

    pub(super) fn start(&mut self, idx: usize) -> Result<(), String> {
        if !self.nodes[idx].is_down() {
            return Ok(());
        }
        self.forget_links(idx);
        if self.nodes.len() == 1 || self.may_impair(idx) {
            self.plant_rot(idx);
        }
        let node = &mut self.nodes[idx];
        node.life += 1;
        let who = node.who();
        let boot = match recover_server(&node.disk, &node.config, &mut node.boot_prng) {
            Ok(boot) => boot,
            Err(error) if node.rotten && error.message.contains(" at byte ") && self.options.servers > 1 => {
                // As an operator would: it comes back with an empty disk.
                self.agenda.say(|| format!("the start of server {} is refused: {error}", idx + 1));
                self.coverage.hit("start-refused");
                self.wipe_disk(idx);
                self.agenda.after(50_000, Event::Start { node: idx });
                return Ok(());
            }
            Err(error) if node.rotten && error.message.contains(" at byte ") => {
                self.agenda.say(|| format!("the start is refused: {error}"));
                self.verdict = Some(Verdict::Refused);
                return Ok(());
            }
            Err(error) => return Err(Checker::Durability.says(&format!("the start is refused ({:?}): {error}", error.kind))),
        };
        node.clean = false;
        self.agenda.say(|| format!("server {} starts: case {}, through {}", idx + 1, boot.case.letter(), boot.last_zxid()));
        self.welcome_back(idx, &boot)?;
        let ops = boot.before_serving.iter().flat_map(|script| script.ops.iter().cloned()).collect();
        self.nodes[idx].server = Server::Booting { boot: Box::new(boot), ops, next: 0 };
        self.agenda.disk(idx, Event::BootStep { who });
        if (who.life > 2 || self.nodes.len() > 1)
            && self.stage == Stage::Work
            && self.prng.below(100) < u64::from(self.options.boot_crash_percent)
        {
            let late = self.prng.between(0, 40 * u64::from(self.options.disk_us));
            let ending = if self.prng.chance(2, 3) { Ending::Power } else { Ending::Kill };
            self.agenda.after(late, Event::End { node: idx, ending, life: Some(who.life) });
        }
        Ok(())
    }

    /// What was still on the wire between clients and this server is gone by now.
    fn forget_links(&mut self, idx: usize) {
        let links: Vec<(u64, usize)> = self.agenda.links.iter().filter(|(_, l)| l.node == idx).map(|(id, l)| (*id, l.client)).collect();
        for (link, client) in links {
            self.agenda.links.remove(&link);
            if self.clients[client].phase != Phase::Away && self.clients[client].link == link {
                self.clients[client].hang_up();
                self.come_back(client);
            }
        }
    }

    /// What was recovered holds everything that anybody saw.
    pub(super) fn welcome_back(&mut self, node: usize, boot: &Boot) -> Result<(), String> {
        let zxid = boot.last_zxid();
        match boot.case {
            Case::Whole => self.coverage.hit("case-D"),
            Case::TornTail => self.coverage.hit("case-E"),
            Case::Hole => self.coverage.hit("case-F"),
            _ => {}
        }
        if self.nodes.len() == 1 && zxid < self.history.seen_by_anybody {
            let what = format!("acknowledged through {}, recovered through {zxid}: a lost write", self.history.seen_by_anybody);
            return Err(Checker::Durability.says(&what));
        }
        let found = self.history.ledger.recovered(node, boot.history_end()).map_err(|what| format!("server {}: {what}", node + 1));
        found.by(Checker::Durability)?;
        match self.digests.get(&zxid).filter(|digest| **digest != boot.tree().digest()) {
            Some(digest) => {
                Err(Checker::Digest.says(&format!("recovered {zxid} with digest {:x}, it was {digest:x}", boot.tree().digest())))
            }
            None => Ok(()),
        }
    }

    /// The state with which the server goes on is what the model has at that place.
    pub(super) fn judge_start(&mut self, node: usize, boot: &Boot) -> Result<(), String> {
        let zxid = boot.last_zxid();
        self.history.ledger.started(node, boot.meta()).by(Checker::Epochs)?;
        self.history.ledger.committed(node, zxid).by(Checker::OneHistory)?;
        if self.nodes.len() > 1 {
            return self.same_digest(node, zxid, boot.tree().digest());
        }
        self.judge(zxid)?;
        checks::same_tree(&mut self.replay, boot.tree()).map_err(|what| format!("recovered through {zxid}: {what}")).by(Checker::State)
    }

    pub(super) fn boot_step(&mut self, who: Who) -> Result<(), String> {
        let idx = who.node;
        if who.life != self.nodes[idx].life {
            return Ok(());
        }
        let Server::Booting { ops, next, .. } = &mut self.nodes[idx].server else { return Ok(()) };
        if let Some(op) = ops.get(*next).cloned() {
            *next += 1;
            let done = self.run_op(idx, &op);
            if let Err(error) = done {
                self.agenda.say(|| format!("the start of server {} fails: {error}", idx + 1));
                return self.end(idx, Ending::Kill);
            }
            self.agenda.disk(idx, Event::BootStep { who });
            return Ok(());
        }
        let Server::Booting { boot, .. } = std::mem::replace(&mut self.nodes[idx].server, Server::Down) else { return Ok(()) };
        self.judge_start(idx, &boot)?;
        let now = self.agenda.now(idx);
        let fronts = self.options.fronts;
        let (keeper, startup) = boot.keeper(&self.nodes[idx].config, usize::from(fronts), now);
        if self.nodes.len() == 1 {
            checks::same_sessions(self.replay.sessions(), keeper.sessions()).by(Checker::Sessions)?;
            self.timers_start(idx);
        }
        let options = FrontOptions {
            frame_bytes_max: self.nodes[idx].config.frame_bytes_max,
            sessionless_timeout_ms: 10_000,
            stuck_timeout_ms: 30_000,
        };
        let peers = self.peers_of(who, keeper.bound_cluster());
        let life = Life::new(who, keeper, startup, fronts, options, peers);
        self.nodes[idx].server = Server::Up(Box::new(life));
        self.agenda.say(|| format!("server {} is up", idx + 1));
        self.agenda.after(0, Event::Turn { who });
        self.agenda.after(TICK_US, Event::Tick { who });
        Ok(())
    }

    fn peers_of(&self, who: Who, cluster: ClusterId) -> Peers {
        let mut prng = self.prng.stream(&format!("peers of {} in life {}", who.node, who.life));
        let ensemble = self.nodes[who.node].config.ensemble.as_ref();
        let options = LinkOptions {
            me: server_id(who.node),
            membership: membership(&self.options),
            cluster,
            incarnation: prng.next_u64(),
            handshake_timeout_ms: 1000,
            quiet_timeout_ms: 3 * ensemble.map_or(0, |e| e.silence_ms),
        };
        let backlog = ensemble.map_or(0, |e| e.peer_backlog_bytes);
        Peers::new(who, options, usize::try_from(backlog).unwrap_or(usize::MAX), prng)
    }

    /// Spoils a sector while the server is down: anywhere after an orderly end, else where the durable mark vouches for it.
    pub(super) fn plant_rot(&mut self, idx: usize) {
        let node = &mut self.nodes[idx];
        if self.rot_left == 0 || node.life < 2 || self.prng.chance(1, 2) {
            return;
        }
        self.rot_left -= 1;
        let (path, within) = if node.clean {
            let files: Vec<FilePath> = node.disk.files().cloned().collect();
            if files.is_empty() {
                return;
            }
            (files[self.prng.index(files.len())].clone(), (0, u64::MAX))
        } else {
            let safe: Vec<_> = node.written.iter().filter(|w| w.last <= node.marked).collect();
            if safe.is_empty() {
                return;
            }
            let spot = safe[self.prng.index(safe.len())];
            (spot.path.clone(), spot.range)
        };
        let spoiled = if self.prng.chance(1, 3) { node.disk.go_stale(&path, within) } else { node.disk.rot(&path, within, &mut self.prng) };
        if let Some(at) = spoiled {
            node.rotten = true;
            if self.options.servers > 1 {
                self.history.ledger.excuse(idx, false);
            }
            self.coverage.hit("rot");
            self.agenda.say(|| format!("{path} of server {} rots at byte {at}", idx + 1));
        }
    }
}
