//! After the faults: everybody must be served, nothing may be left over, and all that was seen is judged.

use super::{Event, Stage, Verdict, World};
use crate::base::ids::Zxid;
use crate::server::boot::recover_server;
use crate::sim::options::Ending;
use crate::sim::{checks, watching};

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
        let ms = 3 * u64::from(self.options.session_timeout_ms) + 8 * u64::from(self.options.tick_ms) + 2000;
        self.agenda.after(ms * 1000, Event::QuietEnds);
    }

    pub(super) fn quiet_ends(&mut self) -> Result<(), String> {
        if let Some(client) = self.clients.iter().find(|c| c.polite_writes == 0) {
            return Err(format!("client {} couldn't write anything after all faults were over", client.id));
        }
        self.stage = Stage::Over;
        self.agenda.after(1_000_000, Event::Finish);
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<(), String> {
        if let Some(client) = self.clients.iter().find(|c| c.outstanding() > 0) {
            return Err(format!("{} requests of client {} were never answered", client.outstanding(), client.id));
        }
        let Some(life) = self.nodes[0].up() else { return Err("the server went away without a fault".to_owned()) };
        let ticks_ms = 3 * u64::from(self.options.tick_ms);
        for image in life.keeper.sessions().images() {
            let silent = self.history.presence.silent_ms(image.session, self.agenda.now_ms());
            if silent > u64::from(image.timeout_ms) + ticks_ms {
                return Err(format!(
                    "session {} lives after {silent} ms of silence, its timeout is {} ms",
                    image.session, image.timeout_ms
                ));
            }
        }
        let applied = life.keeper.applied();
        self.judge(applied)?;
        if let Some(life) = self.nodes[0].up() {
            checks::same_tree(&mut self.replay, life.keeper.tree())?;
            checks::same_sessions(self.replay.sessions(), life.keeper.sessions())?;
        }
        self.end(0, Ending::Power)?;
        self.verdict = Some(Verdict::Passed);
        let node = &self.nodes[0];
        let mut prng = node.boot_prng.clone();
        match recover_server(&node.disk, &node.config, &mut prng) {
            Ok(boot) => self.welcome_back(0, &boot).and_then(|()| self.judge_start(0, &boot)),
            Err(_) if node.rotten => Ok(()),
            Err(error) => Err(format!("the last start is refused: {error}")),
        }
    }

    /// Judges what clients saw, with the model led through `to`.
    pub(super) fn judge(&mut self, to: Zxid) -> Result<(), String> {
        self.replay.advance(&mut self.history, to, &mut self.coverage)?;
        watching::judge(&mut self.history, self.options.skip_acl, to, &mut self.coverage)
    }
}
