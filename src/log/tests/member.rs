//! A member's start: what is known to be committed is applied, the rest is kept, damage is put aside and repaired.

use super::driver::{CLUSTER, Driver, tiny};
use super::ensemble::{receive_all, started, wire, written};
use crate::base::ids::{ClusterId, Zxid};
use crate::base::prng::Prng;
use crate::log::mark::mark_path;
use crate::log::meta::{meta_path, read_meta};
use crate::log::{Base, Case, Identity, Recovery, accept_loss, recover};
use crate::model::file::{FileOp, FilePath, Stored, Volume};

/// Batches that each say what was committed when they were closed: `lag` behind.
fn committing(shards: u8, count: u64, lag: u64) -> (Driver, Vec<(Identity, Vec<u8>)>) {
    let mut driver = started(shards);
    let mut chain = Vec::new();
    for idx in 0..count {
        driver.with_log(|log, _| log.set_committed(Zxid(idx.saturating_sub(lag))));
        chain.extend(written(&mut driver, 1));
    }
    driver.with_log(|log, out| log.write_mark(out));
    driver.finish(&mut Prng::from_seed(0));
    (driver, chain)
}

#[test]
fn a_start_applies_what_is_known_to_be_committed_and_keeps_the_rest() {
    for shards in [1, 2, 4] {
        for lag in 0..9 {
            let (mut driver, chain) = committing(shards, 9, lag);
            driver.crash_after(0, true, &mut Prng::from_seed(lag));
            let found = driver.restart(None);
            // The last batch was closed when eight were there.
            let applied = (8 - lag) as usize;
            let expected = applied.checked_sub(1).map_or_else(Identity::default, |idx| chain[idx].0);
            assert_eq!((found.applied, found.tail, found.replayed.len()), (expected, chain[8].0, applied));
            let log = driver.log.as_mut().unwrap();
            assert_eq!((log.applied_identity(), log.known_committed(), log.durable()), (expected, expected.zxid, chain[8].0));
            assert!(log.is_idle() && log.stats().held == 0);
            // In memory, whole, and applied when somebody says so.
            let recent: Vec<_> = log.recent_after(expected).unwrap().iter().map(wire).collect();
            assert!(recent.iter().eq(chain[applied..].iter().map(|(_, bytes)| bytes)));
            assert!(log.next_applicable(expected.zxid).is_none());
            for (identity, _) in &chain[applied..] {
                let batch = log.next_applicable(identity.zxid).unwrap();
                assert_eq!((batch.identity(), batch.records().count()), (*identity, 1));
                assert_eq!(log.applied_identity(), *identity);
            }
            // A standalone server's word is its own: everything that it holds counts.
            driver.options.member = false;
            driver.crash_after(0, true, &mut Prng::from_seed(lag));
            assert_eq!(driver.restart(None).applied, chain[8].0);
        }
    }
}

#[test]
fn the_committed_position_travels_with_received_batches() {
    let (_, chain) = committing(2, 6, 1);
    let mut follower = started(1);
    receive_all(&mut follower, &chain);
    assert_eq!(follower.log.as_ref().unwrap().known_committed(), chain[3].0.zxid);
    follower.crash_after(0, true, &mut Prng::from_seed(1));
    assert_eq!(follower.restart(None).applied, chain[3].0);
}

#[test]
fn a_snapshot_ahead_of_what_is_known_to_be_committed_counts() {
    let (mut driver, chain) = committing(2, 9, 6);
    driver.exact = Some(chain[5].0);
    driver.crash_after(0, true, &mut Prng::from_seed(1));
    let found = driver.restart(None);
    assert_eq!((found.applied, found.tail, found.replayed.len()), (chain[5].0, chain[8].0, 0));
    // One without the name of its batch is given it by the log.
    (driver.exact, driver.snapshot) = (None, chain[5].0.zxid);
    driver.crash_after(0, true, &mut Prng::from_seed(1));
    assert_eq!(driver.restart(None).applied, chain[5].0);
}

/// What happens to the files, and what a member finds then: the case, where its history ends, its current epoch.
type Harm = (fn(&mut Driver), char, u64, u32);

fn segments(driver: &Driver) -> Vec<String> {
    driver.disk.names().into_iter().filter(|n| n.ends_with(".log")).collect()
}

/// The file and the byte of a batch of the one shard.
fn place_of(driver: &Driver, zxid: u64) -> (String, usize) {
    let recovery = recover(&driver.disk, Identity::default(), &tiny(1), CLUSTER);
    assert!(!recovery.case.is_damage());
    for name in segments(driver) {
        let Stored::Present(bytes) = crate::model::file::Files::bytes(&driver.disk, &FilePath::new(Volume::Log, name.clone())) else {
            continue;
        };
        let found = (1..bytes.len() / 4096)
            .find(|block| crate::log::batch::Header::read(&bytes[block * 4096..]).is_ok_and(|h| h.replicated.first == Zxid(zxid)));
        if let Some(block) = found {
            return (name, block * 4096);
        }
    }
    panic!("no batch {zxid}");
}

fn spoil(driver: &mut Driver, zxid: u64, byte: usize) {
    let (name, at) = place_of(driver, zxid);
    driver.disk.content(&name)[at + byte] ^= 1;
}

const HARMS: [Harm; 9] = [
    (|d| spoil(d, 5, 700), 'G', 4, 2),
    (|d| spoil(d, 5, 40), 'H', 4, 2),
    (|d| spoil(d, 1, 40), 'J', 0, 2),
    (|d| spoil(d, 9, 300), 'G', 8, 2),
    (|d| d.disk.content(&mark_path().name).fill(0), 'L', 9, 2),
    (|d| d.disk.remove(&mark_path().name), 'L', 9, 2),
    (|d| (0..2).for_each(|c| d.disk.content(&meta_path(c).name)[20] ^= 1), 'C', 9, 0),
    (|d| (0..2).for_each(|c| d.disk.remove(&meta_path(c).name)), 'C', 9, 0),
    (|d| segments(d).iter().for_each(|n| d.disk.remove(n)), 'H', 0, 2),
];

#[test]
fn damage_is_put_aside_and_said_in_the_metadata_until_somebody_clears_it() {
    for (idx, (harm, letter, kept, current_epoch)) in HARMS.into_iter().enumerate() {
        let (mut driver, chain) = committing(1, 9, 0);
        let epochs = crate::log::MetaChange { cluster: None, accepted_epoch: 3, current_epoch: 2, repairing: false };
        driver.with_log(|log, out| log.set_meta(epochs, out));
        driver.finish(&mut Prng::from_seed(0));
        harm(&mut driver);
        driver.disk = driver.disk.settled();
        let before = driver.disk.clone();
        let recovery = recover(&before, Identity::default(), &driver.options, CLUSTER);
        assert_eq!((recovery.case.letter(), recovery.damages.is_empty()), (letter, false), "harm {idx}");
        let steps: Vec<FileOp> = recovery.start.as_ref().unwrap().scripts.iter().flat_map(|s| s.ops.clone()).collect();
        assert!(!steps.iter().any(|op| matches!(op, FileOp::Remove(_))), "harm {idx}: nothing is deleted");
        drop(recovery);
        for cut in 0..=steps.len() {
            driver.disk = before.clone();
            steps[..cut].iter().for_each(|op| driver.disk.apply(op).unwrap());
            driver.disk = driver.disk.after_power_cut(&mut Prng::from_seed(cut as u64));
            let found = driver.restart(None);
            let end = kept.checked_sub(1).map_or_else(Identity::default, |at| chain[at as usize].0);
            assert_eq!((found.tail, found.meta.repairing), (end, true), "harm {idx} after {cut} steps: {found:?}");
            assert_eq!(found.meta.current_epoch, current_epoch, "harm {idx}");
        }
        // It stays so over starts, is repaired, and is itself again.
        driver.crash_after(0, false, &mut Prng::from_seed(0));
        let found = driver.restart(None);
        assert!(found.meta.repairing && found.letter == 'D' || kept == 0, "harm {idx}: {found:?}");
        receive_all(&mut driver, &chain[kept as usize..]);
        let whole = crate::log::MetaChange { accepted_epoch: 4, current_epoch: 4, ..epochs };
        driver.with_log(|log, out| log.set_meta(whole, out));
        driver.finish(&mut Prng::from_seed(0));
        driver.crash_after(0, true, &mut Prng::from_seed(0));
        let found = driver.restart(None);
        assert_eq!((found.tail, found.meta.repairing, found.meta.accepted_epoch), (chain[8].0, false, 4), "harm {idx}");
        assert_eq!(found.applied, chain[7].0);
    }
}

#[test]
fn a_lost_snapshot_that_the_log_doesnt_reach_back_to_leaves_an_empty_history_to_repair() {
    let (mut driver, chain) = committing(2, 30, 0);
    let log = driver.log.as_mut().unwrap();
    while log.next_applicable(Zxid(29)).is_some() {}
    driver.with_log(|log, out| log.retain_from(Zxid(20), out));
    driver.finish(&mut Prng::from_seed(0));
    driver.crash_after(0, true, &mut Prng::from_seed(0));
    let mut with_snapshot = Driver::new(driver.options);
    with_snapshot.disk = driver.disk.clone();
    with_snapshot.exact = Some(chain[19].0);
    assert_eq!(with_snapshot.restart(None).tail, chain[29].0);
    let found = driver.restart(None);
    assert_eq!((found.letter, found.tail, found.meta.repairing), ('J', Identity::default(), true));
    assert!(driver.disk.names().iter().any(|n| n.starts_with("log/aside-")));
}

#[test]
fn a_torn_tail_is_cut_and_needs_no_repair_and_a_standalone_server_still_refuses_damage() {
    let (mut driver, chain) = committing(1, 9, 0);
    // Beyond the mark nothing proves that the next one was durable.
    driver.append(vec![1; 900], false).unwrap();
    driver.with_log(|log, out| log.submit(out));
    driver.finish(&mut Prng::from_seed(0));
    driver.crash_after(0, false, &mut Prng::from_seed(0));
    spoil(&mut driver, 10, 700);
    driver.disk = driver.disk.settled();
    let found = driver.restart(None);
    assert_eq!((found.letter, found.tail, found.meta.repairing), ('E', chain[8].0, false));
    spoil(&mut driver, 5, 700);
    let alone = recover(&driver.disk, Identity::default(), &tiny(1), CLUSTER);
    assert!(alone.start.is_none() && alone.case == Case::Corrupt);
}

#[test]
fn a_directory_that_cant_be_listed_is_no_loss_that_anybody_may_accept() {
    let (mut driver, _) = committing(2, 9, 0);
    driver.disk.hide("log/shard-1");
    for options in [driver.options, tiny(2)] {
        assert!(recover(&driver.disk, Identity::default(), &options, CLUSTER).start.is_none());
        assert!(accept_loss(&driver.disk, Identity::default(), &options, CLUSTER).start.is_none());
    }
}

#[test]
fn files_of_another_cluster_are_refused_by_a_member_too() {
    let (mut driver, _) = committing(1, 3, 0);
    let mut other = Driver::new(tiny(2));
    other.fresh = ClusterId(5);
    other.restart(None);
    let name = "log/shard-1/0000000000000001.log";
    let bytes = other.disk.content(name).clone();
    driver.disk.put(name, bytes);
    let recovery = recover(&driver.disk, Identity::default(), &driver.options, CLUSTER);
    assert!(recovery.case == Case::Foreign && recovery.start.is_none());
    assert!(matches!(read_meta(&driver.disk).meta, Stored::Present(meta) if meta.cluster == CLUSTER));
}

/// What is loaded of a snapshot of `cluster`.
fn snapshot_of(cluster: ClusterId, at: Identity) -> Base {
    Base { at, of: Some((cluster, FilePath::new(Volume::Data, "snapshots/5.snap"))) }
}

fn steps(recovery: Recovery<'_>) -> Vec<FileOp> {
    recovery.start.expect("a start").scripts.into_iter().flat_map(|s| s.ops).collect()
}

#[test]
fn a_snapshot_of_another_cluster_than_the_log_is_refused_and_both_are_named() {
    let (mut driver, chain) = committing(2, 9, 0);
    for options in [driver.options, tiny(2)] {
        for at in [chain[4].0, Identity { zxid: Zxid::new(3, 1), checksum: 7 }] {
            let base = snapshot_of(ClusterId(5), at);
            for recovery in [recover(&driver.disk, base.clone(), &options, CLUSTER), accept_loss(&driver.disk, base, &options, CLUSTER)] {
                assert!(recovery.case == Case::Foreign && recovery.start.is_none());
                let damage = &recovery.damages[0];
                let named = [ClusterId(5), CLUSTER].map(|c| damage.what.contains(&c.to_string()));
                assert!(damage.path == "snapshots/5.snap" && named == [true; 2] && damage.what.contains(&meta_path(0).name), "{damage}");
            }
        }
        assert_eq!(recover(&driver.disk, snapshot_of(CLUSTER, chain[4].0), &options, CLUSTER).case, Case::Whole);
    }
    (0..2).for_each(|copy| driver.disk.remove(&meta_path(copy).name));
    assert_eq!(recover(&driver.disk, snapshot_of(ClusterId(5), chain[4].0), &driver.options, CLUSTER).case, Case::Foreign);
}

#[test]
fn a_lost_log_beside_a_snapshot_keeps_the_snapshots_identity() {
    let at = Identity { zxid: Zxid::new(3, 8), checksum: 7 };
    let base = || snapshot_of(CLUSTER, at);
    let mut driver = started(2);
    driver.disk = Default::default();
    let alone = accept_loss(&driver.disk, base(), &tiny(2), ClusterId(77)).start.expect("a start").log.meta;
    assert_eq!((alone.cluster, alone.repairing), (CLUSTER, true), "a snapshot of an epoch is a member's");
    let recovery = recover(&driver.disk, base(), &driver.options, ClusterId(0));
    assert_eq!(recovery.case, Case::MetadataLost);
    let meta = &recovery.start.as_ref().unwrap().log.meta;
    assert_eq!((meta.cluster, meta.accepted_epoch, meta.current_epoch, meta.repairing), (CLUSTER, 3, 0, true));
    // So it was left when the snapshot wasn't asked.
    let nameless = steps(recover(&driver.disk, at, &driver.options, ClusterId(0)));
    nameless.iter().for_each(|op| driver.disk.apply(op).unwrap());
    assert!(matches!(read_meta(&driver.disk).meta, Stored::Present(meta) if meta.cluster == ClusterId(0)));
    driver.disk = driver.disk.settled();
    let before = driver.disk.clone();
    let named = steps(recover(&before, base(), &driver.options, ClusterId(0)));
    for cut in 0..=named.len() {
        let mut disk = before.clone();
        named[..cut].iter().for_each(|op| disk.apply(op).unwrap());
        let disk = disk.after_power_cut(&mut Prng::from_seed(cut as u64));
        let recovery = recover(&disk, base(), &driver.options, ClusterId(0));
        assert!(!recovery.case.is_damage(), "after {cut} steps: {:?} {:?}", recovery.case, recovery.damages);
        let start = recovery.start.unwrap();
        assert_eq!((start.log.meta.cluster, start.log.meta.repairing, start.log.tail), (CLUSTER, true, at), "after {cut} steps");
    }
}

#[test]
fn whoever_accepts_a_members_loss_leaves_it_to_be_repaired() {
    for (accepted_epoch, lost) in [(3, false), (0, false), (3, true), (0, true)] {
        let (mut driver, _) = committing(1, 9, 0);
        let epochs = crate::log::MetaChange { cluster: None, accepted_epoch, current_epoch: accepted_epoch, repairing: false };
        driver.with_log(|log, out| log.set_meta(epochs, out));
        driver.finish(&mut Prng::from_seed(0));
        if lost {
            // Only the batches tell then.
            driver.append(vec![9; 900], accepted_epoch > 0).unwrap();
            driver.with_log(|log, out| log.submit(out));
            driver.finish(&mut Prng::from_seed(0));
            (0..2).for_each(|copy| driver.disk.remove(&meta_path(copy).name));
        } else {
            spoil(&mut driver, 5, 700);
        }
        let meta = accept_loss(&driver.disk, Identity::default(), &tiny(1), CLUSTER).start.expect("a start").log.meta;
        let is_member = accepted_epoch > 0;
        let current = if lost { 0 } else { accepted_epoch };
        assert_eq!((meta.repairing, meta.current_epoch), (is_member, current), "{accepted_epoch} {lost}");
    }
}
