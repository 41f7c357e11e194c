//! Logs of several servers: the same chain of the same bytes, whatever the shards; what is known of it without the disk.

use super::driver::{CLUSTER, Driver, tiny};
use crate::base::ids::{ClusterId, Zxid};
use crate::base::prng::Prng;
use crate::log::batch::{BadHeader, REPLICATED_BYTES};
use crate::log::{Batch, Identity, LogOptions, ReceiveError};

/// A member's options.
pub(super) fn member(shards: u8) -> LogOptions {
    LogOptions { member: true, batches_held_max: 64, ..tiny(shards) }
}

/// A running member whose history has its identity.
pub(super) fn started(shards: u8) -> Driver {
    started_with(member(shards))
}

fn started_with(options: LogOptions) -> Driver {
    let mut driver = Driver::new(options);
    driver.applies = false;
    driver.restart(None);
    driver.with_log(|log, out| log.submit(out));
    driver.finish(&mut Prng::from_seed(0));
    driver
}

/// What a peer gets of a batch.
pub(super) fn wire<M: crate::base::memory::BatchMemory>(batch: &Batch<M>) -> Vec<u8> {
    [batch.replicated_bytes(), batch.body()].concat()
}

/// Batches that were submitted since the last call.
pub(super) fn sent(driver: &mut Driver) -> Vec<(Identity, Vec<u8>)> {
    let log = driver.log.as_mut().unwrap();
    std::iter::from_fn(|| log.next_to_send()).map(|b| (b.identity(), wire(&b))).collect()
}

/// Appends transactions, one batch each, durable at the end.
pub(super) fn written(driver: &mut Driver, count: u8) -> Vec<(Identity, Vec<u8>)> {
    let mut prng = Prng::from_seed(3);
    for idx in 0..count {
        driver.append(vec![idx; 900], false).unwrap();
        driver.with_log(|log, out| log.submit(out));
        driver.finish(&mut prng);
    }
    sent(driver)
}

/// Takes batches in; all durable at the end.
pub(super) fn receive_all(driver: &mut Driver, batches: &[(Identity, Vec<u8>)]) {
    let mut prng = Prng::from_seed(4);
    for (identity, bytes) in batches {
        let (log, pool) = driver.parts();
        assert_eq!(log.receive(pool, bytes), Ok(*identity));
        driver.with_log(|log, out| log.submit(out));
        driver.finish(&mut prng);
    }
}

#[test]
fn a_followers_log_is_the_same_chain_through_any_crash() {
    for seed in 0..120 {
        let mut prng = Prng::from_seed(seed);
        let shards = [1, 2, 4];
        let mut leader = started(shards[prng.index(3)]);
        let mut follower = started(shards[prng.index(3)]);
        let mut chain: Vec<(Identity, Vec<u8>)> = Vec::new();
        let mut durable = Identity::default();
        for _ in 0..400 {
            match prng.below(12) {
                0..=2 => {
                    let mut data = vec![0; prng.below(3000) as usize];
                    prng.fill(&mut data);
                    let new_epoch = prng.chance(1, 20);
                    let _ = leader.append(data, new_epoch);
                }
                3 => leader.with_log(|log, out| {
                    log.set_committed(log.durable().zxid);
                    log.submit(out);
                }),
                4..=6 => leader.step(&mut prng),
                7..=8 => {
                    let (log, pool) = follower.parts();
                    let at = chain.partition_point(|(i, _)| i.zxid <= log.tail().zxid);
                    for (identity, bytes) in chain[at..].iter().take(3) {
                        match log.receive(pool, bytes) {
                            Ok(got) => assert_eq!(got, *identity),
                            Err(error) => assert_eq!(error, ReceiveError::Busy),
                        }
                    }
                    follower.with_log(|log, out| log.submit(out));
                }
                9 if prng.chance(1, 10) => {
                    durable = durable.max(follower.log.as_ref().unwrap().durable());
                    follower.crash_after(0, prng.chance(1, 2), &mut prng);
                    let found = follower.restart(None);
                    assert!(found.tail >= durable, "seed {seed}: {:?} was durable, {:?} came back", durable, found.tail);
                    assert!(found.tail == Identity::default() || chain.iter().any(|(i, _)| *i == found.tail));
                }
                _ => follower.step(&mut prng),
            }
            chain.extend(sent(&mut leader));
            // What is applied leaves the log's memory; the bounds are another test's.
            let log = leader.log.as_mut().unwrap();
            while log.next_applicable(log.durable().zxid).is_some() {}
        }
        leader.with_log(|log, out| log.submit(out));
        leader.finish(&mut prng);
        leader.with_log(|log, out| log.submit(out));
        leader.finish(&mut prng);
        chain.extend(sent(&mut leader));
        let tail = follower.log.as_ref().unwrap().tail();
        let at = chain.partition_point(|(i, _)| i.zxid <= tail.zxid);
        receive_all(&mut follower, &chain[at..]);
        let (a, b) = (leader.log.as_ref().unwrap(), follower.log.as_ref().unwrap());
        assert_eq!((a.tail(), b.tail(), b.durable()), (b.tail(), a.tail(), a.tail()), "seed {seed}");
        assert!(chain.len() > 20);
    }
}

#[test]
fn a_batch_that_isnt_the_next_is_refused_with_what_was_found_and_expected() {
    let mut leader = started(2);
    let chain = written(&mut leader, 4);
    let mut follower = started(1);
    receive_all(&mut follower, &chain[..2]);
    let (log, pool) = follower.parts();
    let tail = log.tail();
    let mut refused = |bytes: &[u8]| log.receive(pool, bytes).unwrap_err();
    assert_eq!(refused(&chain[3].1), ReceiveError::Chain { first: Zxid::new(0, 4), found: chain[2].0, expected: chain[1].0 });
    assert_eq!(refused(&chain[1].1), ReceiveError::Chain { first: Zxid::new(0, 2), found: chain[0].0, expected: chain[1].0 });
    assert_eq!(refused(&chain[2].1[..60]), ReceiveError::Header { after: tail.zxid, what: BadHeader::NoBatch });
    let good = chain[2].1.clone();
    let mut bad = good.clone();
    bad[33] ^= 1;
    assert_eq!(refused(&bad), ReceiveError::Header { after: tail.zxid, what: BadHeader::Checksum });
    let (last, expected) = (Zxid::new(0, 3), good.len() - REPLICATED_BYTES);
    assert_eq!(refused(&good[..good.len() - 1]), ReceiveError::Length { last, found: expected - 1, expected });
    for at in REPLICATED_BYTES..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        assert_eq!(refused(&bad), ReceiveError::Body { last }, "byte {at}");
    }
    let text = refused(&chain[3].1).to_string();
    assert!(text.contains("the batch from 0x4 follows 0x3") && text.contains("this log ends at 0x2"), "{text}");
    assert_eq!(log.receive(pool, &good), Ok(chain[2].0));
}

#[test]
fn a_batch_of_the_same_zxid_and_another_checksum_is_no_predecessor() {
    let (mut leader, mut other, mut follower) = (started(1), started(1), started(2));
    let (ours, theirs) = (written(&mut leader, 2), {
        other.append(vec![7; 10], false).unwrap();
        other.with_log(|log, out| log.submit(out));
        sent(&mut other)
    });
    receive_all(&mut follower, &theirs);
    let (log, pool) = follower.parts();
    assert_eq!((ours[0].0.zxid, log.tail().zxid), (theirs[0].0.zxid, theirs[0].0.zxid));
    assert_eq!(log.receive(pool, &ours[1].1), Err(ReceiveError::Chain { first: Zxid(2), found: ours[0].0, expected: theirs[0].0 }));
}

#[test]
fn a_batch_of_another_cluster_or_beyond_a_gap_is_refused() {
    use crate::log::batch::Replicated;
    let mut follower = started(1);
    let mut leader = started(1);
    let chain = written(&mut leader, 1);
    let remade = |change: &dyn Fn(&mut Replicated)| {
        let (mut part, _) = Replicated::read(&chain[0].1).unwrap();
        change(&mut part);
        let mut bytes = chain[0].1.clone();
        part.write(&mut bytes);
        bytes
    };
    let (log, pool) = follower.parts();
    let strange = remade(&|part| part.cluster = ClusterId(9));
    let expected = ReceiveError::Cluster { last: Zxid(1), found: ClusterId(9), expected: CLUSTER };
    assert_eq!(log.receive(pool, &strange), Err(expected));
    for zxid in [Zxid(2), Zxid::new(1, 2)] {
        let far = remade(&|part| (part.first, part.last) = (zxid, zxid));
        assert_eq!(log.receive(pool, &far), Err(ReceiveError::Gap { first: zxid, after: Zxid::ZERO }));
    }
}

#[test]
fn received_batches_that_wait_for_the_disk_are_bounded() {
    let (mut leader, mut follower) = (started(2), started_with(LogOptions { batches_held_max: 12, ..member(1) }));
    let mut chain = Vec::new();
    for _ in 0..3 {
        chain.extend(written(&mut leader, 10));
        let log = leader.log.as_mut().unwrap();
        while log.next_applicable(log.durable().zxid).is_some() {}
    }
    let (log, pool) = follower.parts();
    let taken = chain.iter().take_while(|(_, bytes)| log.receive(pool, bytes).is_ok()).count();
    assert_eq!((taken, log.receive(pool, &chain[taken].1)), (12, Err(ReceiveError::Busy)));
    follower.with_log(|log, out| log.submit(out));
    follower.finish(&mut Prng::from_seed(1));
    // Durable ones don't count, applied or not: nobody can tell the leader to commit before it is synchronised.
    receive_all(&mut follower, &chain[taken..]);
    assert_eq!(follower.log.as_ref().unwrap().durable(), chain[29].0);
}

#[test]
fn what_wasnt_submitted_is_forgotten_when_a_role_ends() {
    let mut leader = started(1);
    let chain = written(&mut leader, 3);
    let mut follower = started(1);
    receive_all(&mut follower, &chain[..1]);
    let (log, pool) = follower.parts();
    log.receive(pool, &chain[1].1).unwrap();
    log.receive(pool, &chain[2].1).unwrap();
    assert!(log.knows(chain[2].0) && !log.is_idle());
    log.drop_unsubmitted();
    assert!(log.is_idle() && !log.knows(chain[1].0) && log.knows(chain[0].0));
    assert_eq!((log.tail(), log.progress().accepted()), (chain[0].0, chain[0].0.zxid.0));
    receive_all(&mut follower, &chain[1..]);
    // The same for our own: the zxids are used again.
    leader.append(vec![1; 10], false).unwrap();
    leader.with_log(|log, _| log.drop_unsubmitted());
    leader.truncate(3);
    assert_eq!(leader.log.as_ref().unwrap().tail(), chain[2].0);
    let again = written(&mut leader, 1);
    receive_all(&mut follower, &again);
}

#[test]
fn what_is_known_without_the_disk_ends_at_the_tail_and_has_no_holes() {
    let mut driver = started(2);
    let chain: Vec<Identity> = written(&mut driver, 9).into_iter().map(|(i, _)| i).collect();
    let log = driver.log.as_ref().unwrap();
    assert_eq!(log.oldest_known(), Some(Identity::default()));
    let positions: Vec<Identity> = std::iter::once(Identity::default()).chain(chain).collect();
    for (idx, at) in positions.iter().enumerate() {
        assert!(log.knows(*at));
        assert!(!log.knows(Identity { checksum: at.checksum + 1, ..*at }));
        assert_eq!(log.nearest_at_or_below(at.zxid), Some(*at));
        let later = log.recent_after(*at).unwrap();
        assert!(later.iter().map(Batch::identity).eq(positions[idx + 1..].iter().copied()));
    }
    assert_eq!(log.nearest_at_or_below(Zxid(u64::MAX)), positions.last().copied());
    assert!(log.recent_after(Identity { zxid: Zxid(4), checksum: 1 }).is_none());
}

#[test]
fn memory_for_recent_batches_is_bounded_by_bytes_and_number_and_identities_reach_further() {
    for (bytes, count, known) in [(5 * 8192, 100, 100), (1 << 30, 5, 100), (1 << 30, 100, 5)] {
        let options = LogOptions { cache_bytes_max: bytes, cache_count_max: count, identities_max: known, ..member(1) };
        let mut driver = started_with(options);
        let chain = written(&mut driver, 12);
        let log = driver.log.as_ref().unwrap();
        let reach = chain.iter().filter(|(i, _)| log.recent_after(*i).is_some()).count();
        let named = chain.iter().filter(|(i, _)| log.knows(*i)).count();
        assert!((4..=7).contains(&reach), "{reach} of 12 with {bytes} bytes, {count} batches, {known} identities");
        assert_eq!(named, if known == 5 { 5 } else { 12 });
        assert_eq!(log.oldest_known() == Some(Identity::default()), known != 5);
        let floor = log.oldest_known().unwrap().zxid;
        assert_eq!(log.nearest_at_or_below(floor), log.oldest_known());
        assert!(floor == Zxid::ZERO || log.nearest_at_or_below(Zxid(floor.0 - 1)).is_none());
    }
}
