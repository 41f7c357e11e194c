//! Partial connectivity (Cloudflare 2020; Ng et al., Omni-Paxos, EuroSys 2023): a server that sees a quorum leads within a bound.

use super::explorer::words;
use super::world::{Event, World};
use crate::base::ids::ServerId;
use crate::zab::Role;

/// Within this after the connections break, ms, a leader commits a write.
const WITHIN_MS: u64 = 10_000;
const SEEDS: u64 = 30;

/// Five servers with a leader that has committed, which is the server with the highest id.
fn settled(seed: u64) -> World {
    let mut world = World::new(seed, 5, 0);
    for id in world.ids() {
        world.at(1, Event::Restart { id });
    }
    world.at(100, Event::Client);
    let everybody_serves = |w: &mut World| {
        w.oracle.committed.len() > 3
            && w.servers.iter().all(|s| s.keeper.as_ref().is_some_and(|k| !matches!(k.zab.role(), Role::Looking) && k.applied > 2))
    };
    let until = world.time + 10_000;
    assert!(world.run(until, everybody_serves), "seed {seed}: {}", words(&world));
    world
}

/// Only these pairs are connected any more.
fn connect_only(world: &mut World, pairs: &[(u8, u8)]) {
    for a in world.ids() {
        for b in world.ids() {
            if a != b && !pairs.contains(&(a.0, b.0)) && !pairs.contains(&(b.0, a.0)) {
                world.block(a, b);
            }
        }
    }
}

fn commits_again(world: &mut World, shape: &str, seed: u64) {
    let (began, before) = (world.time, world.oracle.committed.len());
    // What the old leader had proposed already is no proof.
    let enough = before + 10;
    let elected = world.run(began + WITHIN_MS, |w| w.oracle.committed.len() >= enough && w.established_leader().is_some());
    assert!(elected, "{shape}, seed {seed}: nobody leads after {WITHIN_MS} ms: {}", words(world));
}

#[test]
fn with_one_hub_that_sees_everybody_the_hub_leads() {
    for seed in 0..SEEDS {
        let mut world = settled(seed);
        // Quorum loss: the leader has lost its quorum, only one server sees one.
        let leader = world.established_leader().expect("settled").0;
        let hub = if leader == 1 { 2 } else { 1 };
        let pairs: Vec<(u8, u8)> = (1..=5).filter(|id| *id != hub).map(|id| (hub, id)).collect();
        connect_only(&mut world, &pairs);
        commits_again(&mut world, "quorum loss", seed);
        assert_eq!(world.established_leader(), Some(ServerId(hub)));
    }
}

#[test]
fn a_hub_that_lacks_history_fetches_it_and_leads() {
    for seed in 0..SEEDS {
        let mut world = settled(seed);
        let leader = world.established_leader().expect("settled").0;
        // Constrained election: the server that will be the hub misses writes first, then the leader goes.
        let hub = if leader == 1 { 2 } else { 1 };
        let all: Vec<(u8, u8)> = (1..=5).flat_map(|a| (1..=5).map(move |b| (a, b))).collect();
        let others: Vec<(u8, u8)> = all.iter().copied().filter(|(a, b)| *a != hub && *b != hub).collect();
        connect_only(&mut world, &others);
        let enough = world.oracle.committed.len() + 5;
        let until = world.time + 3000;
        assert!(world.run(until, |w| w.oracle.committed.len() >= enough), "seed {seed}: {}", words(&world));
        world.cut.clear();
        let spokes: Vec<(u8, u8)> = (1..=5).filter(|id| *id != hub && *id != leader).map(|id| (hub, id)).collect();
        connect_only(&mut world, &spokes);
        let before = world.catch_ups;
        commits_again(&mut world, "constrained election", seed);
        assert_eq!(world.established_leader(), Some(ServerId(hub)));
        assert!(world.catch_ups > before, "seed {seed}: the hub lacked nothing");
    }
}

#[test]
fn in_a_chain_one_in_the_middle_leads_and_stays() {
    for seed in 0..SEEDS {
        let mut world = settled(seed);
        connect_only(&mut world, &[(1, 2), (2, 3), (3, 4), (4, 5)]);
        commits_again(&mut world, "chain", seed);
        // The one that led before may not have noticed yet.
        let until = world.time + 2000;
        world.run(until, |_| false);
        let led = world.established_leader().expect("elected");
        let elections = world.oracle.elections;
        let until = world.time + 10_000;
        world.run(until, |_| false);
        assert_eq!((world.established_leader(), world.oracle.elections), (Some(led), elections), "chain, seed {seed}: elected again");
    }
}

#[test]
fn a_server_that_is_deaf_or_comes_back_deposes_nobody() {
    for seed in 0..SEEDS {
        let mut world = settled(seed);
        let leader = world.established_leader().expect("settled");
        let other = world.ids().into_iter().find(|id| *id != leader).expect("five servers");
        for peer in world.ids().into_iter().filter(|id| *id != other) {
            world.block(peer, other);
            if seed % 2 == 0 {
                world.block(other, peer);
            }
        }
        let until = world.time + 3000;
        world.run(until, |_| false);
        world.cut.clear();
        let until = world.time + 5000;
        let back = world.run(until, |w| {
            let role = w.server(other).keeper.as_ref().map(|k| k.zab.role());
            matches!(role, Some(Role::Following { serving: true, .. }))
        });
        assert!(back, "seed {seed}: {}", words(&world));
        assert_eq!((world.established_leader(), world.oracle.elections), (Some(leader), 1), "seed {seed}");
    }
}
