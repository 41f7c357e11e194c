//! Disks that lose something, and the fault atlas: never on so many servers that a quorum couldn't do without them, so whatever was
//! acknowledged must survive.

use super::{Event, Stage, World};
use crate::server::boot::recover_server;
use crate::sim::disk::SimDisk;
use crate::sim::node::Server;
use crate::sim::options::Ending;

impl World {
    /// If the power failed everywhere now and nothing were kept that needn't be, every server would find what it said was durable.
    pub(super) fn nothing_durable_would_be_lost(&mut self) -> Result<(), String> {
        for node in &self.nodes {
            if node.up().is_none() || node.rotten || self.history.ledger.is_excused(node.idx) {
                continue;
            }
            let mut disk = node.disk.clone();
            disk.power_fails(&mut || false);
            let boot = recover_server(&disk, &node.config, &mut node.boot_prng.clone());
            let boot = boot.map_err(|e| format!("server {} wouldn't start after a power failure: {e}", node.idx + 1))?;
            let kept = self.history.ledger.is_kept(node.idx, boot.history_end());
            kept.map_err(|what| format!("server {}, if the power failed: {what}", node.idx + 1))?;
        }
        Ok(())
    }

    /// A server loses its disk and starts with an empty one.
    pub(super) fn wipe(&mut self) -> Result<(), String> {
        let node = self.victim();
        if !self.may_impair(node) {
            return Ok(());
        }
        self.nodes[node].down_us = self.fault_us();
        self.end(node, Ending::Kill)?;
        self.wipe_disk(node);
        Ok(())
    }

    /// The case that must not cost anything: some voters are away while the others write, then one of those loses what it has, and just
    /// enough for a quorum come back who lack it.
    pub(super) fn weaken(&mut self) -> Result<(), String> {
        let voters = self.options.voters();
        let mut order: Vec<usize> = (0..voters).collect();
        for idx in (1..voters).rev() {
            order.swap(idx, self.prng.index(idx + 1));
        }
        let (spoiled, behind) = (order[0], order[1..=voters / 2].to_vec());
        let away_us = self.prng.between(1_500_000, 4_000_000);
        for node in &behind {
            self.nodes[*node].down_us = away_us + 50_000;
            self.end_if_up(*node)?;
        }
        self.agenda.after(away_us, Event::Weaken { spoiled, behind });
        Ok(())
    }

    pub(super) fn weakened(&mut self, spoiled: usize, behind: &[usize]) -> Result<(), String> {
        if self.stage != Stage::Work || !self.may_impair(spoiled) {
            return Ok(());
        }
        self.coverage.hit("weakest-first");
        for node in (0..self.nodes.len()).filter(|node| !behind.contains(node)) {
            self.nodes[node].down_us = if node == spoiled { 20_000 } else { 4_000_000 };
            self.end_if_up(node)?;
        }
        if self.rot_left == 0 || self.prng.chance(1, 2) {
            self.wipe_disk(spoiled);
        }
        // Each try is made half of the time only.
        for _ in 0..4 {
            if !self.history.ledger.is_excused(spoiled) {
                self.plant_rot(spoiled);
            }
        }
        Ok(())
    }

    fn end_if_up(&mut self, node: usize) -> Result<(), String> {
        if matches!(self.nodes[node].server, Server::Down) { Ok(()) } else { self.end(node, Ending::Power) }
    }

    pub(super) fn wipe_disk(&mut self, node: usize) {
        self.agenda.say(|| format!("server {} loses its disk", node + 1));
        self.coverage.hit("wiped");
        self.nodes[node].disk = SimDisk::new();
        self.nodes[node].written.clear();
        self.nodes[node].clean = false;
        self.history.ledger.excuse(node, true);
    }

    /// Whether a server may lose something of its disk: the ensemble exists, and enough others have all of theirs.
    pub(super) fn may_impair(&self, node: usize) -> bool {
        let voters = self.options.voters();
        let ledger = &self.history.ledger;
        // One that never acknowledged a leader counts for as little as one that lost everything.
        let worn = (0..voters).filter(|n| *n != node && (ledger.is_excused(*n) || ledger.epochs_of(*n).1 == 0)).count();
        self.history.protocol.established() > 0 && !ledger.is_excused(node) && worn < (voters - 1) / 2
    }
}
