//! Cuts, new beginnings and the metadata: each crash leaves the state before or the state after, on all shards at once.

use super::driver::{CLUSTER, Driver};
use super::ensemble::{member, receive_all, sent, started, written};
use crate::base::ids::{ClusterId, Zxid};
use crate::base::prng::Prng;
use crate::log::{Identity, MetaChange, recover};

/// Identities of the chain, the start included.
fn positions(driver: &mut Driver, count: u8) -> Vec<Identity> {
    std::iter::once(Identity::default()).chain(written(driver, count).into_iter().map(|(i, _)| i)).collect()
}

fn apply(driver: &mut Driver, upto: Zxid) {
    let log = driver.log.as_mut().unwrap();
    while log.next_applicable(upto).is_some() {}
}

/// Cuts, appends, crashes, recovers.
fn goes_on_after(driver: &mut Driver, to: Identity, shards: u8, seed: u64) {
    let mut prng = Prng::from_seed(seed);
    driver.truncate(to.zxid.counter() as usize);
    let mut chain = vec![];
    for idx in 0..shards * 2 + 1 {
        driver.append(vec![0x80 | idx; 700], idx == 0).unwrap();
        driver.with_log(|log, out| log.submit(out));
        driver.finish(&mut prng);
        chain.extend(sent(driver));
    }
    let (tail, last) = (driver.log.as_ref().unwrap().durable(), chain.last().unwrap().0);
    assert_eq!(tail, last);
    driver.crash_after(0, true, &mut prng);
    let found = driver.restart(None);
    assert_eq!((found.tail, found.letter, found.meta.repairing), (last, 'D', false), "after a cut at {to:?}");
    let log = driver.log.as_ref().unwrap();
    assert!(chain.iter().all(|(i, _)| log.knows(*i)) && log.knows(to));
    assert!(log.nearest_at_or_below(Zxid(chain[0].0.zxid.0 - 1)) == Some(to), "nothing lies between {to:?} and what came after it");
}

#[test]
fn a_cut_at_any_boundary_keeps_exactly_what_is_at_or_below_it_and_the_log_goes_on_there() {
    for shards in [1, 2, 4] {
        for keep in 0..=9 {
            let mut driver = started(shards);
            let chain = positions(&mut driver, 9);
            let to = chain[keep];
            let log = driver.log.as_mut().unwrap();
            let applicable = std::iter::from_fn(|| log.next_applicable(Zxid(keep as u64 / 2))).count();
            driver.with_log(|log, out| log.cut(to, out));
            let log = driver.log.as_ref().unwrap();
            assert!(log.is_cutting());
            assert_eq!((log.tail(), log.durable(), log.oldest_known()), (to, to, Some(Identity::default())));
            for (idx, at) in chain.iter().enumerate() {
                assert_eq!((log.knows(*at), log.recent_after(*at).map(|b| b.len())), (idx <= keep, (idx <= keep).then(|| keep - idx)));
            }
            driver.finish(&mut Prng::from_seed(1));
            let log = driver.log.as_mut().unwrap();
            assert!(!log.is_cutting());
            let left = std::iter::from_fn(|| log.next_applicable(Zxid(u64::MAX))).map(|b| b.identity()).collect::<Vec<_>>();
            assert_eq!(left, chain[applicable + 1..=keep]);
            goes_on_after(&mut driver, to, shards, keep as u64);
        }
    }
}

#[test]
fn a_crash_at_any_step_of_a_cut_leaves_what_was_before_or_after_on_all_shards() {
    let (mut before, mut after) = (0, 0);
    for shards in [1, 2, 4] {
        let mut driver = started(shards);
        let chain = positions(&mut driver, 9);
        apply(&mut driver, Zxid(3));
        driver.with_log(|log, out| log.write_mark(out));
        driver.finish(&mut Prng::from_seed(0));
        let (end, to) = (chain[9], chain[5]);
        driver.with_log(|log, out| log.cut(to, out));
        let all = driver.steps_left();
        assert!(all > 12);
        for steps in 0..=all {
            for (seed, power) in [(0, false), (1, true), (2, true), (3, true)] {
                let mut driver = again(shards);
                apply(&mut driver, Zxid(3));
                driver.with_log(|log, out| log.write_mark(out));
                driver.finish(&mut Prng::from_seed(0));
                driver.with_log(|log, out| log.cut(to, out));
                let mut prng = Prng::from_seed(seed);
                driver.crash_after(steps, power, &mut prng);
                let found = driver.restart(None);
                assert!(!found.meta.repairing && found.letter == 'D', "{steps} steps: {found:?}");
                match found.tail {
                    tail if tail == end && steps < all => before += 1,
                    tail if tail == to => {
                        after += 1;
                        goes_on_after(&mut driver, to, shards, seed);
                    }
                    tail => panic!("after {steps} of {all} steps of a cut at {to:?} the log ends at {tail:?}"),
                }
            }
        }
    }
    assert!(before > 8 && after > 20, "{before} before, {after} after");
}

/// The same server again: everything in it is decided by its inputs.
fn again(shards: u8) -> Driver {
    let mut driver = started(shards);
    positions(&mut driver, 9);
    driver
}

#[test]
fn a_cut_waits_for_a_segment_that_is_being_made_and_reaches_back_over_starts() {
    for shards in [1, 2] {
        let mut driver = started(shards);
        let mut chain = positions(&mut driver, 4);
        for _ in 0..2 {
            driver.crash_after(0, true, &mut Prng::from_seed(5));
            driver.restart(None);
            // Spares are asked for here and not finished.
            driver.with_log(|log, out| log.submit(out));
            chain.extend(written(&mut driver, 3).into_iter().map(|(i, _)| i));
        }
        let to = chain[5];
        driver.crash_after(0, true, &mut Prng::from_seed(6));
        driver.restart(None);
        driver.with_log(|log, out| log.submit(out));
        driver.with_log(|log, out| log.cut(to, out));
        driver.finish(&mut Prng::from_seed(7));
        let mut twice = driver.log.take().unwrap();
        assert_eq!(twice.tail(), to);
        // A second cut, further back, of what the first left.
        let mut out = Vec::new();
        twice.cut(chain[2], &mut out);
        driver.log = Some(twice);
        driver.with_log(|_, mine| mine.append(&mut out));
        driver.finish(&mut Prng::from_seed(8));
        goes_on_after(&mut driver, chain[2], shards, 3);
    }
}

#[test]
#[should_panic(expected = "is applied")]
fn a_cut_below_what_is_applied_is_a_broken_invariant() {
    let mut driver = started(1);
    let chain = positions(&mut driver, 5);
    apply(&mut driver, Zxid(4));
    driver.with_log(|log, out| log.cut(chain[3], out));
}

#[test]
#[should_panic(expected = "isn't in the log")]
fn a_cut_at_a_position_of_another_history_is_a_broken_invariant() {
    let mut driver = started(1);
    let chain = positions(&mut driver, 5);
    driver.with_log(|log, out| log.cut(Identity { checksum: 1, ..chain[3] }, out));
}

#[test]
fn a_new_beginning_at_a_snapshot_kills_what_isnt_applied_at_any_step() {
    // Beyond the log, and beside it: at a zxid that the log has with another batch.
    for (shards, zxid) in [(1, 60), (2, 60), (4, 60), (2, 7), (2, 9)] {
        let at = Identity { zxid: Zxid(zxid), checksum: 0xfeed };
        let begun = || {
            let mut driver = again(shards);
            apply(&mut driver, Zxid(3));
            driver.with_log(|log, out| log.write_mark(out));
            driver.finish(&mut Prng::from_seed(0));
            driver.exact = Some(at);
            driver.with_log(|log, out| log.begin_at(at, out));
            driver
        };
        let all = begun().steps_left();
        for steps in 0..=all {
            for (seed, power) in [(0, false), (1, true), (2, true)] {
                let mut driver = begun();
                let mut prng = Prng::from_seed(seed);
                driver.crash_after(steps, power, &mut prng);
                let found = driver.restart(None);
                assert_eq!((found.tail, found.applied, found.replayed.len()), (at, at, 0), "{steps} of {all} steps: {found:?}");
                assert!(!found.meta.repairing || steps < all && zxid < 9, "{steps} of {all} steps: {found:?}");
                let log = driver.log.as_ref().unwrap();
                assert_eq!((log.oldest_known(), log.tail()), (Some(at), at));
                // What the history has next is taken in, and is all that comes back.
                driver.epochs = vec![at.zxid];
                driver.history = vec![vec![]];
                let next: Vec<Identity> = written(&mut driver, 3).into_iter().map(|(i, _)| i).collect();
                driver.crash_after(0, true, &mut prng);
                assert_eq!(driver.restart(None).tail, next[2]);
                assert_eq!(driver.log.as_ref().unwrap().oldest_known(), Some(at));
            }
        }
        // Without that snapshot the log that is left is no history.
        let mut driver = begun();
        driver.finish(&mut Prng::from_seed(1));
        written_after(&mut driver, at);
        driver.exact = None;
        driver.crash_after(0, false, &mut Prng::from_seed(1));
        let found = driver.restart(None);
        assert!(found.meta.repairing && found.tail.zxid <= Zxid(3), "{found:?}");
    }
}

fn written_after(driver: &mut Driver, at: Identity) {
    driver.epochs = vec![at.zxid];
    driver.history = vec![vec![]];
    written(driver, 2);
}

fn change(accepted_epoch: u32, current_epoch: u32) -> MetaChange {
    MetaChange { cluster: None, accepted_epoch, current_epoch, repairing: true }
}

#[test]
fn epochs_are_the_old_or_the_new_ones_after_any_crash() {
    let before = MetaChange { repairing: false, ..change(3, 2) };
    let begun = || {
        let mut driver = started(2);
        written(&mut driver, 2);
        driver.with_log(|log, out| log.set_meta(before, out));
        driver.finish(&mut Prng::from_seed(0));
        driver.with_log(|log, out| log.set_meta(change(5, 4), out));
        driver
    };
    let all = begun().steps_left();
    assert_eq!(all, 4, "each copy is written and synced");
    for steps in 0..=all {
        for (seed, power) in [(0, false), (1, true), (2, true), (3, true)] {
            let mut driver = begun();
            driver.crash_after(steps, power, &mut Prng::from_seed(seed));
            let meta = driver.restart(None).meta;
            let is_new = (meta.accepted_epoch, meta.current_epoch, meta.repairing) == (5, 4, true);
            let is_old = (meta.accepted_epoch, meta.current_epoch, meta.repairing) == (3, 2, false);
            assert!(is_new || is_old && steps < all, "{steps} steps: {meta:?}");
        }
    }
}

#[test]
fn a_full_disk_keeps_no_epoch_waiting_and_a_cut_only_until_there_is_room() {
    for shards in [1, 2] {
        let mut driver = started(shards);
        let chain = positions(&mut driver, 9);
        driver.full = true;
        // Until a spare is used up and no other can be made: the cut needs new segments.
        while !driver.log.as_ref().unwrap().is_full() {
            driver.append(vec![7; 3000], false).unwrap();
            driver.with_log(|log, out| log.submit(out));
            driver.finish(&mut Prng::from_seed(1));
        }
        let before = driver.done.len();
        let ticket = driver.with_log(|log, out| log.set_meta(MetaChange { repairing: false, ..change(9, 2) }, out));
        driver.finish(&mut Prng::from_seed(2));
        assert!(driver.done[before..].contains(&ticket), "a promise is durable although the disk is full");
        driver.with_log(|log, out| log.cut(chain[4], out));
        for _ in 0..3 {
            driver.finish(&mut Prng::from_seed(3));
            driver.tick(1000);
        }
        let log = driver.log.as_ref().unwrap();
        assert!(log.is_cutting() && log.fault().is_none(), "it waits for room");
        driver.full = false;
        driver.tick(1000);
        driver.finish(&mut Prng::from_seed(4));
        assert!(!driver.log.as_ref().unwrap().is_cutting());
        goes_on_after(&mut driver, chain[4], shards, 5);
    }
}

#[test]
#[should_panic(expected = "the accepted epoch falls")]
fn a_promise_is_never_taken_back() {
    let mut driver = started(1);
    driver.with_log(|log, out| log.set_meta(change(3, 2), out));
    driver.with_log(|log, out| log.set_meta(change(2, 2), out));
}

/// A member that doesn't know its cluster yet.
fn unnamed(shards: u8) -> Driver {
    let mut driver = Driver::new(member(shards));
    driver.applies = false;
    driver.fresh = ClusterId(0);
    driver.restart(None);
    driver.with_log(|log, out| log.submit(out));
    driver.finish(&mut Prng::from_seed(0));
    driver
}

#[test]
fn a_history_gets_its_identity_and_the_first_promise_in_one_step_whatever_crashes() {
    gets_its_identity(ClusterId(0), 0);
}

#[test]
fn a_founders_identity_gives_way_to_the_one_that_others_founded_whatever_crashes() {
    gets_its_identity(ClusterId(9), 1);
}

/// `former` and `accepted` is what a server without a history says before.
fn gets_its_identity(former: ClusterId, accepted: u32) {
    let founding = MetaChange { cluster: Some(CLUSTER), accepted_epoch: accepted + 1, current_epoch: 0, repairing: false };
    for shards in [1, 2, 4] {
        let begun = || {
            let mut driver = unnamed(shards);
            if former != ClusterId(0) {
                let first = MetaChange { cluster: Some(former), accepted_epoch: accepted, ..founding };
                driver.with_log(|log, out| log.set_meta(first, out));
                driver.finish(&mut Prng::from_seed(0));
            }
            driver.with_log(|log, out| log.set_meta(founding, out));
            driver
        };
        let all = begun().steps_left();
        let mut found_old = 0;
        for steps in 0..=all {
            for (seed, power) in [(0, false), (1, true), (2, true), (3, true)] {
                let mut driver = begun();
                let mut prng = Prng::from_seed(seed);
                driver.crash_after(steps, power, &mut prng);
                // A second crash, in the start that finishes the first.
                if prng.chance(1, 2) && !driver.restart(Some(prng.index(20))).finished {
                    driver.disk = driver.disk.after_power_cut(&mut prng);
                }
                let found = driver.restart(None);
                let is_new = (found.meta.cluster, found.meta.accepted_epoch) == (CLUSTER, accepted + 1);
                let is_old = (found.meta.cluster, found.meta.accepted_epoch) == (former, accepted);
                assert!(is_new || is_old && steps < all, "{steps} of {all}: {found:?}");
                found_old += u32::from(is_old);
                if is_old {
                    driver.with_log(|log, out| log.set_meta(founding, out));
                    driver.finish(&mut prng);
                }
                // The history is that cluster's from here on.
                let chain = written(&mut driver, 3);
                driver.crash_after(0, true, &mut prng);
                assert_eq!(driver.restart(None).tail, chain[2].0);
                let other = recover(&driver.disk, Identity::default(), &driver.options, CLUSTER);
                assert!(!other.case.is_damage());
            }
        }
        assert!(found_old > 4, "{found_old}");
    }
}

#[test]
fn an_unwritten_standalone_server_becomes_a_member_without_an_identity() {
    let mut driver = Driver::new(super::driver::tiny(2));
    driver.start(None);
    driver.options = member(2);
    driver.fresh = ClusterId(0);
    driver.applies = false;
    for cut in 0..40 {
        let disk = driver.disk.clone();
        let mut driver = Driver::new(member(2));
        driver.disk = disk;
        (driver.fresh, driver.applies) = (ClusterId(0), false);
        driver.restart(Some(cut));
        driver.disk = driver.disk.after_power_cut(&mut Prng::from_seed(cut as u64));
        let found = driver.restart(None);
        assert_eq!((found.meta.cluster, found.meta.repairing, found.tail), (ClusterId(0), false, Identity::default()));
    }
}

#[test]
fn a_received_history_goes_on_after_a_cut() {
    let (mut leader, mut follower) = (started(2), started(1));
    let chain = written(&mut leader, 6);
    receive_all(&mut follower, &chain);
    follower.with_log(|log, out| log.cut(chain[2].0, out));
    follower.finish(&mut Prng::from_seed(0));
    leader.with_log(|log, out| log.cut(chain[2].0, out));
    leader.finish(&mut Prng::from_seed(0));
    leader.truncate(3);
    leader.append(vec![9; 30], true).unwrap();
    leader.with_log(|log, out| log.submit(out));
    leader.finish(&mut Prng::from_seed(0));
    let next = sent(&mut leader);
    receive_all(&mut follower, &next);
    follower.crash_after(0, true, &mut Prng::from_seed(0));
    assert_eq!(follower.restart(None).tail, next[0].0);
}
