//! Lives of the server: how they end, what the next start finds, what rots in between.

use super::{Event, Server, Stage, Verdict, World};
use crate::base::memory::BatchMemory;
use crate::log::Case;
use crate::model::file::FilePath;
use crate::server::boot::{Boot, recover_server};
use crate::server::front::FrontOptions;
use crate::sim::checks;
use crate::sim::client::Phase;
use crate::sim::host::{Life, Mood, TICK_US};
use crate::sim::options::Ending;

impl World {
    pub(super) fn turn(&mut self, number: u64) -> Result<(), String> {
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

    /// The life of the server ends.
    pub(super) fn end(&mut self, ending: Ending) -> Result<(), String> {
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
            self.agenda.send_down(link, Vec::new());
        }
        self.agenda.after(50_000, Event::Start);
        Ok(())
    }

    pub(super) fn start(&mut self) -> Result<(), String> {
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
    pub(super) fn welcome_back(&mut self, boot: &Boot) -> Result<(), String> {
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
    pub(super) fn judge_start(&mut self, boot: &Boot) -> Result<(), String> {
        let zxid = boot.last_zxid();
        self.judge(zxid)?;
        checks::same_tree(&mut self.replay, boot.tree()).map_err(|what| format!("recovered through {zxid}: {what}"))
    }

    pub(super) fn boot_step(&mut self, number: u64) -> Result<(), String> {
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
    pub(super) fn plant_rot(&mut self) {
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
