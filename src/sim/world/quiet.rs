//! After the faults: everybody must be served, nothing may be left over, and all that was seen is judged.

use super::{Event, Stage, Verdict, World};
use crate::base::ids::Zxid;
use crate::server::boot::recover_server;
use crate::sim::checker::{Checker, NoticedBy};
use crate::sim::options::Ending;
use crate::sim::{checks, watching};

/// Time in which an ensemble without faults must serve everybody again.
const CONVERGE_MS: u64 = 15_000;
/// Time in which every server must have what is committed, once nobody writes: slow disks make segments one step after the other.
const SETTLE_MS: u64 = 10_000;
/// Longest that a slow disk takes for one transaction.
const SLOW_DISK_MS: u64 = 2000;
/// Between two looks at that.
const LOOK_US: u64 = 1_000_000;

impl World {
    pub(super) fn quiet_begins(&mut self) {
        if self.nodes.iter().any(|node| node.up().is_none()) {
            return self.agenda.after(200_000, Event::QuietBegins);
        }
        self.stage = Stage::Quiet;
        self.agenda.say(|| "faults are over; everybody is polite".to_owned());
        for client in 0..self.clients.len() {
            self.clients[client].polite = true;
            let link = self.clients[client].link;
            self.agenda.after(1, Event::Act { client, link });
            self.agenda.after(1, Event::Connect { client });
        }
        let converge_ms = if self.nodes.len() > 1 { CONVERGE_MS } else { 0 };
        let ms = 3 * u64::from(self.options.session_timeout_ms) + 8 * u64::from(self.options.tick_ms) + 2000 + converge_ms;
        self.agenda.after(ms * 1000, Event::QuietEnds);
    }

    pub(super) fn quiet_ends(&mut self) -> Result<(), String> {
        if let Some(client) = self.clients.iter().find(|c| c.polite_writes == 0) {
            return Err(format!("client {} couldn't write anything after all faults were over", client.id));
        }
        self.stage = Stage::Over;
        self.settle_until_ms = self.agenda.now_ms() + SETTLE_MS;
        self.agenda.after(LOOK_US, Event::Finish);
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<(), String> {
        if self.nodes.len() > 1 {
            if !self.has_settled() && self.agenda.now_ms() < self.settle_until_ms {
                self.agenda.after(LOOK_US, Event::Finish);
                return Ok(());
            }
            return self.finish_ensemble();
        }
        // The crash that a sweep asks for may fall here, and the start after it may meet the slow disk.
        let at_rest = self.nodes[0].up().is_some() && self.clients.iter().all(|c| c.outstanding() == 0);
        if self.options.crash_at_step > 0 && !at_rest && self.agenda.now_ms() < self.settle_until_ms {
            self.agenda.after(LOOK_US, Event::Finish);
            return Ok(());
        }
        if let Some(client) = self.clients.iter().find(|c| c.outstanding() > 0) {
            return Err(format!("{} requests of client {} were never answered", client.outstanding(), client.id));
        }
        let Some(life) = self.nodes[0].up() else { return Err("the server went away without a fault".to_owned()) };
        let ticks_ms = 3 * u64::from(self.options.tick_ms);
        for image in life.keeper.sessions().images() {
            let silent = self.history.presence.silent_ms(image.session, self.agenda.now_ms());
            // Its end is decided and on its way to a disk that may be slow.
            let closing = life.keeper.sessions().get(image.session).is_some_and(|s| s.closing);
            if silent > u64::from(image.timeout_ms) + ticks_ms + if closing { SLOW_DISK_MS } else { 0 } {
                let (session, timeout) = (image.session, image.timeout_ms);
                let what = format!("session {session} lives after {silent} ms of silence, its timeout is {timeout} ms");
                return Err(Checker::Sessions.says(&what));
            }
        }
        let applied = life.keeper.applied();
        self.judge(applied)?;
        self.replay.were_gone(&self.history.told_gone)?;
        if let Some(life) = self.nodes[0].up() {
            checks::same_tree(&mut self.replay, life.keeper.tree()).by(Checker::State)?;
            checks::same_sessions(self.replay.sessions(), life.keeper.sessions()).by(Checker::Sessions)?;
        }
        self.end(0, Ending::Power)?;
        self.verdict = Some(Verdict::Passed);
        let node = &self.nodes[0];
        let mut prng = node.boot_prng.clone();
        match recover_server(&node.disk, &node.config, &mut prng) {
            Ok(boot) => self.welcome_back(0, &boot).and_then(|()| self.judge_start(0, &boot)),
            Err(_) if node.rotten => Ok(()),
            Err(error) => Err(Checker::Durability.says(&format!("the last start is refused: {error}"))),
        }
    }

    /// Whether every server serves, and has applied everything.
    fn has_settled(&self) -> bool {
        let end = self.history.ledger.end().zxid;
        self.nodes.iter().all(|node| node.role.serves() && node.up().is_some_and(|life| life.keeper.applied() == end))
    }

    /// All servers have the same, and everything that clients saw is judged by it.
    fn finish_ensemble(&mut self) -> Result<(), String> {
        let end = self.history.ledger.end().zxid;
        for node in &self.nodes {
            let Some(life) = node.up() else { return Err(format!("server {} went away without a fault", node.idx + 1)) };
            if !node.role.serves() {
                return Err(format!("server {} is {:?} long after all faults", node.idx + 1, node.role));
            }
            if life.keeper.applied() != end {
                return Err(format!("server {} has applied through {}, committed is {end}", node.idx + 1, life.keeper.applied()));
            }
        }
        if let Some(client) = self.clients.iter().find(|c| c.outstanding() > 0) {
            return Err(format!("{} requests of client {} were never answered", client.outstanding(), client.id));
        }
        self.judge(end)?;
        self.replay.were_gone(&self.history.told_gone)?;
        for idx in 0..self.nodes.len() {
            let Some(life) = self.nodes[idx].up() else { continue };
            let same = checks::same_tree(&mut self.replay, life.keeper.tree());
            same.map_err(|what| format!("server {}: {what}", idx + 1)).by(Checker::State)?;
            let same = checks::same_sessions(self.replay.sessions(), life.keeper.sessions());
            same.map_err(|what| format!("server {}: {what}", idx + 1)).by(Checker::Sessions)?;
        }
        self.no_session_lives_too_long().by(Checker::Sessions)?;
        for idx in 0..self.nodes.len() {
            self.end(idx, Ending::Power)?;
        }
        for idx in 0..self.nodes.len() {
            let node = &self.nodes[idx];
            let mut prng = node.boot_prng.clone();
            match recover_server(&node.disk, &node.config, &mut prng) {
                Ok(boot) => self.welcome_back(idx, &boot)?,
                Err(_) if node.rotten => {}
                Err(error) => {
                    return Err(Checker::Durability.says(&format!("the last start of server {} is refused: {error}", idx + 1)));
                }
            }
        }
        self.verdict = Some(Verdict::Passed);
        Ok(())
    }

    fn no_session_lives_too_long(&self) -> Result<(), String> {
        let Some(life) = self.leader().and_then(|leader| self.nodes[leader].up()) else {
            return Err("nobody leads long after all faults".to_owned());
        };
        let slow_ms = |ms: u64| ms * 1000 / (1000 - u64::from(self.options.drift_permille)) + 4 * u64::from(self.options.tick_ms) + 200;
        for image in life.keeper.sessions().images() {
            let silent = self.history.presence.silent_ms(image.session, self.agenda.now_ms());
            if silent > slow_ms(u64::from(image.timeout_ms)) {
                let timeout = image.timeout_ms;
                return Err(format!("session {} lives after {silent} ms of silence, its timeout is {timeout} ms", image.session));
            }
        }
        Ok(())
    }

    /// Judges what clients saw, with the model led through `to`.
    pub(super) fn judge(&mut self, to: Zxid) -> Result<(), String> {
        self.replay.advance(&mut self.history, to, &mut self.coverage).by(Checker::Replies)?;
        watching::judge(&mut self.history, self.options.skip_acl, to, &mut self.coverage).by(Checker::Watches)
    }
}
