//! What two states of the small world must have in common to be one: all that later moves can depend on, as 64 bits, and one copy of
//! each part that is met.
//!
//! Of a time only this is kept: to come, within the silence, longer ago. Counts of lines said, figures for people and the state of the
//! generator are left out (it begins anew in each turn). Two different states of a hundred million share a fingerprint with a chance
//! of one in three thousand.

use super::SILENCE_MS;
use super::oracle::Oracle;
use super::small_keeper::Life;
use super::small_world::{Lane, Server, SmallWorld};
use crate::base::time::MonoMs;
use crate::zab::Zab;
use std::collections::HashMap;
use std::fmt::{Debug, Write};
use std::hash::{Hash, Hasher};
use std::rc::Rc;

/// Mixes words; the standard hasher takes three times as long.
#[derive(Clone, Copy)]
struct Mixer(u64);

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word) ^ ((chunk.len() as u64) << 59));
        }
    }

    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word ^ 0xf39c_c060_5ced_c835) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product ^ (product >> 64)) as u64 ^ self.0.rotate_left(23);
    }

    fn finish(&self) -> u64 {
        let mut last = *self;
        last.write_u64(0x51_7c_c1_b7_27_22_0a_95);
        last.0
    }
}

/// Takes what `Debug` writes; a time becomes its place relative to `now`.
struct Words {
    text: Vec<u8>,
    now: MonoMs,
    /// Pieces since the name of a time.
    since_name: Option<u8>,
}

impl Write for Words {
    fn write_str(&mut self, piece: &str) -> std::fmt::Result {
        self.since_name = match self.since_name {
            None if piece == "MonoMs" => Some(0),
            None => {
                self.text.extend_from_slice(piece.as_bytes());
                None
            }
            Some(0) => Some(1),
            Some(_) => {
                let time = MonoMs(piece.parse().map_err(|_| std::fmt::Error)?);
                let within = self.now.since(time) <= SILENCE_MS;
                self.text.push(if time > self.now { 2 } else { u8::from(within) });
                None
            }
        };
        Ok(())
    }
}

impl Words {
    fn new(now: MonoMs) -> Words {
        Words { text: Vec::with_capacity(4096), now, since_name: None }
    }

    fn add(&mut self, what: &dyn Debug) {
        write!(self, "{what:?};").expect("a time is written as its name, a bracket and a number");
    }

    fn add_zab(&mut self, zab: &Zab) {
        // Whole, so that a new field must be put in its place here.
        let Zab {
            now: _,
            deaf_until,
            peers,
            vault,
            durable,
            settled,
            committed,
            state,
            held,
            promised_to,
            promised_cluster,
            not_standing_until,
            stepped_up_at,
            options: _,
            prng: _,
            started: _,
            applied: _,
            search_began: _,
            election_ms: _,
            pulsed_at: _,
            pulse_shown: _,
            words: _,
        } = zab;
        let parts: [&dyn Debug; 12] = [
            deaf_until,
            peers,
            vault,
            durable,
            settled,
            committed,
            state,
            held,
            promised_to,
            promised_cluster,
            not_standing_until,
            stepped_up_at,
        ];
        parts.iter().for_each(|part| self.add(part));
    }
}

fn of_server(server: &Server) -> u64 {
    let mut mixer = Mixer(u64::from(server.id.0));
    let disk = &server.disk;
    (&disk.log, disk.durable, disk.committed).hash(&mut mixer);
    let mut words = Words::new(MonoMs(server.clock));
    words.add(&disk.persisted);
    if let Some(life) = &server.life {
        let Life { zab, role, writes, store, owes_settled, streamed_to, streams, told, applied, .. } = life;
        words.add(role);
        words.add(store);
        words.add_zab(zab);
        (writes, owes_settled, streamed_to, streams, told, applied).hash(&mut mixer);
    }
    mixer.write(&words.text);
    mixer.finish()
}

fn of_lane(lane: &Lane) -> u64 {
    let mut words = Words::new(MonoMs(0));
    lane.packets.iter().for_each(|packet| words.add(packet));
    let mut mixer = Mixer(7);
    mixer.write(&words.text);
    mixer.finish()
}

fn of_oracle(oracle: &Oracle) -> u64 {
    let mut mixer = Mixer(9);
    oracle.memory().hash(&mut mixer);
    mixer.finish()
}

/// Every part that was met, once.
#[derive(Default)]
pub(super) struct Parts {
    servers: HashMap<u64, Rc<Server>>,
    lanes: HashMap<u64, Rc<Lane>>,
    oracles: HashMap<u64, Rc<(u64, Oracle)>>,
}

impl Parts {
    /// Puts the known copy of each part into `world`, and gives the fingerprint of the whole. `before` is the state that it came from.
    pub(super) fn seal(&mut self, world: &mut SmallWorld, before: Option<&SmallWorld>) -> u64 {
        let mut mixer = Mixer(1);
        for (n, server) in world.servers.iter_mut().enumerate() {
            if !before.is_some_and(|b| Rc::ptr_eq(&b.servers[n], server)) {
                let hash = of_server(server);
                Rc::make_mut(server).hash = hash;
                *server = self.servers.entry(hash).or_insert_with(|| server.clone()).clone();
            }
            mixer.write_u64(server.hash);
        }
        for (n, lane) in world.lanes.iter_mut().enumerate() {
            if !before.is_some_and(|b| Rc::ptr_eq(&b.lanes[n], lane)) {
                let hash = of_lane(lane);
                Rc::make_mut(lane).hash = hash;
                *lane = self.lanes.entry(hash).or_insert_with(|| lane.clone()).clone();
            }
            mixer.write_u64(lane.hash);
        }
        if !before.is_some_and(|b| Rc::ptr_eq(&b.oracle, &world.oracle)) {
            let hash = of_oracle(&world.oracle.1);
            Rc::make_mut(&mut world.oracle).0 = hash;
            world.oracle = self.oracles.entry(hash).or_insert_with(|| world.oracle.clone()).clone();
        }
        mixer.write_u64(world.oracle.0);
        (world.links, world.left).hash(&mut mixer);
        mixer.finish()
    }
}
