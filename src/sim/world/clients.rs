//! Clients in the world: their links, what they feel like, and what is due by the number of their requests.

use super::{Event, POLITE_US, Stage, World};
use crate::base::ids::ConnId;
use crate::sim::agenda::{Agenda, Link, Who};
use crate::sim::checker::{Checker, NoticedBy};
use crate::sim::client::{Phase, Whim};
use crate::sim::host::Life;
use crate::sim::options::Ending;
use crate::sim::replay::describe;

impl World {
    pub(super) fn connect(&mut self, client: usize) {
        if self.clients[client].phase != Phase::Away {
            return;
        }
        self.open_link(client);
    }

    pub(super) fn open_link(&mut self, client: usize) {
        let link = self.next_link;
        self.next_link += 1;
        let front = self.prng.index(usize::from(self.options.fronts));
        let node = if self.nodes.len() == 1 { 0 } else { self.prng.index(self.nodes.len()) };
        self.agenda.links.insert(link, Link { client, node, front, life: 0, conn: None, up_us: 0, down_us: 0 });
        self.clients[client].heard_us = self.agenda.now_us;
        let hello = self.clients[client].connect(link, &mut self.history, &self.options, &mut self.coverage);
        self.agenda.send_up(link, Event::Arrive { link });
        self.send(link, hello);
        if self.nodes.len() > 1 {
            let ms = u64::from(self.options.session_timeout_ms) * 2 / 3;
            self.agenda.after(ms * 1000, Event::Patience { client, link });
        }
        self.agenda.trace.event(self.agenda.now_us, "connect", &[client as u64, link]);
    }

    pub(super) fn send(&mut self, link: u64, bytes: Vec<u8>) {
        if !self.options.cuts {
            return self.agenda.send_up(link, Event::ToServer { link, bytes });
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let len = self.prng.between(1, rest.len().min(400) as u64) as usize;
            self.agenda.send_up(link, Event::ToServer { link, bytes: rest[..len].to_vec() });
            rest = &rest[len..];
        }
    }

    pub(super) fn arrive(&mut self, link: u64) {
        let Some(known) = self.agenda.links.get_mut(&link) else { return };
        let Link { client, node, front, .. } = *known;
        known.life = self.nodes[node].life;
        let peer = self.clients[client].peer();
        match self.nodes[node].up_mut() {
            Some(life) => life.accept(&mut self.agenda, link, front, peer),
            // Nobody listens.
            None => self.agenda.send_down(link, Vec::new()),
        }
    }

    /// The server's end of a link, if both still are what they were.
    pub(super) fn far_end(&mut self, link: u64) -> Option<(&mut Life, &mut Agenda, usize, ConnId)> {
        let Link { node, front, life, conn, .. } = *self.agenda.links.get(&link)?;
        let up = self.nodes[node].life(Who { node, life })?;
        Some((up, &mut self.agenda, front, conn?))
    }

    pub(super) fn at_server(&mut self, link: u64, bytes: &[u8]) {
        self.agenda.trace.bytes(self.agenda.now_us, "to-server", link, bytes);
        if let Some((life, agenda, front, conn)) = self.far_end(link) {
            life.receive(agenda, front, conn, bytes);
        }
    }

    pub(super) fn client_left(&mut self, link: u64) {
        if let Some((life, agenda, front, conn)) = self.far_end(link) {
            life.client_left(agenda, front, conn);
        }
    }

    pub(super) fn at_client(&mut self, link: u64, bytes: &[u8]) -> Result<(), String> {
        self.agenda.trace.bytes(self.agenda.now_us, "to-client", link, bytes);
        let Some(&Link { client, node, conn, .. }) = self.agenda.links.get(&link) else { return Ok(()) };
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
        self.clients[client].heard_us = self.agenda.now_us;
        let answer = self.clients[client].hear(bytes, &mut self.history, &mut self.coverage).by(Checker::Replies)?;
        if !answer.is_empty() {
            self.send(link, answer);
        }
        match (before, self.clients[client].phase) {
            (Phase::Joining, Phase::Up) => {
                let session = self.clients[client].session();
                self.agenda.say(|| format!("client {client} has {session}"));
                self.history.presence.resumed(session, self.agenda.now_ms());
                if let (Some(life), Some(conn)) = (self.nodes[node].up_mut(), conn) {
                    life.has_session(conn, session);
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

    /// A client that isn't answered for two thirds of its timeout tries another server.
    pub(super) fn patience(&mut self, client: usize, link: u64) {
        let known = &self.clients[client];
        if known.link != link || known.phase == Phase::Away {
            return;
        }
        let patience_us = u64::from(self.options.session_timeout_ms) * 2000 / 3;
        let waits = known.phase == Phase::Joining || known.outstanding() > 0;
        let quiet_us = self.agenda.now_us - known.heard_us;
        if waits && quiet_us >= patience_us {
            self.coverage.hit("client-gives-up");
            self.agenda.say(|| format!("client {client} hears nothing and leaves"));
            self.leave(client);
            self.clients[client].hang_up();
            return self.come_back(client);
        }
        let wait = if waits { patience_us - quiet_us } else { patience_us };
        self.agenda.after(wait.max(1000), Event::Patience { client, link });
    }

    pub(super) fn leave(&mut self, client: usize) {
        let link = self.clients[client].link;
        self.agenda.send_up(link, Event::ClientLeft { link });
    }

    pub(super) fn come_back(&mut self, client: usize) {
        let late = self.prng.between(100, 200_000);
        self.agenda.after(late, Event::Connect { client });
    }

    pub(super) fn act(&mut self, client: usize, link: u64) {
        if self.clients[client].phase != Phase::Up || self.clients[client].link != link {
            return;
        }
        let think_us = if self.stage == Stage::Work {
            2 * u64::from(self.options.think_ms) * 1000
        } else {
            POLITE_US.min(u64::from(self.options.session_timeout_ms) * 300)
        };
        let mut pause = self.prng.between(1, think_us);
        let may_ask = self.stage == Stage::Quiet
            || self.stage == Stage::Work && self.requests < self.options.requests * if self.faults_left > 0 { 3 } else { 1 };
        if may_ask {
            let mut out = Vec::new();
            let from = self.history.asked.len();
            if self.clients[client].outstanding() == 0 {
                self.clients[client].heard_us = self.agenda.now_us;
            }
            self.requests += self.clients[client].act(&mut self.history, &self.options, &mut self.coverage, &mut out);
            if !out.is_empty() {
                for idx in from..self.history.asked.len() {
                    let history = &self.history;
                    self.agenda.say(|| format!("sent by {}", describe(history, idx)));
                }
                self.send(link, out);
            }
            match self.clients[client].whim(&self.options) {
                Whim::None => {}
                Whim::Drop => {
                    self.agenda.say(|| format!("client {client} drops its connection"));
                    if self.options.losses == 0 || self.prng.chance(1, 2) {
                        self.leave(client);
                    } else {
                        self.coverage.hit("client-lost-silently");
                    }
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
    pub(super) fn plan(&mut self) {
        if self.stage != Stage::Work {
            return;
        }
        if let Some(at) = self.endings.first().copied() {
            if self.requests >= at {
                self.endings.remove(0);
                let ending = self.draw_ending();
                if ending == Ending::Stop || self.prng.chance(1, 4) {
                    let late = self.prng.between(0, 3000);
                    self.agenda.after(late, Event::End { node: 0, ending, life: None });
                } else {
                    // Where it hurts: between two steps of the disk.
                    let steps = self.nodes[0].disk_steps;
                    self.nodes[0].end_at_step = Some((steps + self.prng.between(1, 12), ending));
                }
            }
        } else if self.requests >= self.options.requests && self.faults_left == 0 && self.nodes.iter().all(|n| !n.full) {
            self.calm();
        }
    }

    /// No new faults from now on.
    pub(super) fn calm(&mut self) {
        if self.stage != Stage::Work {
            return;
        }
        self.stage = Stage::Calming;
        if self.nodes.len() > 1 {
            self.heal_all();
        }
        self.agenda.after(300_000, Event::QuietBegins);
    }

    pub(super) fn draw_ending(&mut self) -> Ending {
        let at = self.prng.below(100);
        let (power, stop) = (u64::from(self.options.power_percent), u64::from(self.options.stop_percent));
        match at {
            _ if at < stop => Ending::Stop,
            _ if self.prng.below(100) < power => Ending::Power,
            _ => Ending::Kill,
        }
    }
}
