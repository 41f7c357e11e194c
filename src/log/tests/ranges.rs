//! Ranges for servers that catch up: exactly the chain, from any position, over shards, segments and generations.

use super::driver::Driver;
use super::ensemble::{started, wire, written};
use crate::base::ids::Zxid;
use crate::base::memory::HeapMemory;
use crate::base::prng::Prng;
use crate::log::batch::{HEADER_BYTES, REPLICATED_BYTES};
use crate::log::{DiskEffect, Identity, Located, Log, ReadOutcome, ReadRequest, serve_read};
use crate::model::file::{FilePath, Ticket, Volume};

type Chain = Vec<(Identity, Vec<u8>)>;

/// A log over several segments and generations, with a cut in between.
fn grown(shards: u8) -> (Driver, Chain) {
    let mut driver = started(shards);
    let mut prng = Prng::from_seed(u64::from(shards));
    let mut chain = written(&mut driver, 14);
    for round in 0..3 {
        driver.crash_after(0, true, &mut prng);
        driver.restart(None);
        chain.extend(written(&mut driver, 10));
        if round == 1 {
            let keep = chain.len() - 4;
            let to = chain[keep - 1].0;
            driver.with_log(|log, out| log.cut(to, out));
            driver.finish(&mut prng);
            chain.truncate(keep);
            driver.truncate(keep);
        }
    }
    driver.append(vec![5; 30_000], true).unwrap();
    driver.with_log(|log, out| log.submit(out));
    driver.finish(&mut prng);
    driver.with_log(|log, out| log.submit(out));
    driver.finish(&mut prng);
    let log = driver.log.as_mut().unwrap();
    chain.extend(std::iter::from_fn(|| log.next_to_send()).map(|b| (b.identity(), wire(&b))));
    (driver, chain)
}

/// What a read gives.
fn read(driver: &mut Driver, ask: impl FnOnce(&mut Log<HeapMemory>, &mut Vec<DiskEffect<HeapMemory>>) -> Ticket) -> ReadOutcome {
    driver.reads.clear();
    driver.with_log(ask);
    driver.finish(&mut Prng::from_seed(0));
    driver.reads.pop().unwrap()
}

fn batches(driver: &mut Driver, after: Identity, bytes_max: usize) -> ReadOutcome {
    read(driver, |log, out| log.read_batches(after, bytes_max, out))
}

fn located(driver: &mut Driver, at: Identity) -> Located {
    match read(driver, |log, out| log.locate(at, out)) {
        ReadOutcome::Located(found) => found,
        other => panic!("{other:?}"),
    }
}

#[test]
fn from_every_position_the_rest_of_the_chain_comes_in_any_pieces() {
    for shards in [1, 2, 4] {
        let (mut driver, chain) = grown(shards);
        for begin in 0..=chain.len() {
            for bytes_max in [1, 3000, 10_000, 1 << 20] {
                let mut at = if begin == 0 { Identity::default() } else { chain[begin - 1].0 };
                let mut done = begin;
                loop {
                    let ReadOutcome::Batches { bytes, more } = batches(&mut driver, at, bytes_max) else { panic!("after {at:?}") };
                    let mut left = &bytes[..];
                    let mut count = 0;
                    while !left.is_empty() {
                        let (expected, rest) = (&chain[done].1, left);
                        assert_eq!(&rest[..expected.len()], &expected[..], "the batch {:?} after {at:?}", chain[done].0);
                        left = &rest[expected.len()..];
                        (at, done, count) = (chain[done].0, done + 1, count + 1);
                    }
                    assert!(bytes.len() <= bytes_max || count == 1);
                    assert_eq!(more, done < chain.len());
                    if !more {
                        break;
                    }
                    assert!(count > 0);
                }
                assert_eq!(done, chain.len());
            }
        }
    }
}

#[test]
fn every_position_is_found_and_what_isnt_in_the_log_is_led_back_to_what_is() {
    for shards in [1, 2, 4] {
        let (mut driver, chain) = grown(shards);
        let all: Vec<Identity> = std::iter::once(Identity::default()).chain(chain.iter().map(|(i, _)| *i)).collect();
        for (idx, at) in all.iter().enumerate() {
            assert_eq!(located(&mut driver, *at), Located::Here);
            let phantom = Identity { checksum: at.checksum ^ 1, ..*at };
            let expected = if idx == 0 { Located::Older } else { Located::Before(all[idx - 1]) };
            assert_eq!(located(&mut driver, phantom), expected, "{shards} shards, beside {at:?}");
            assert_eq!(batches(&mut driver, phantom, 1000), ReadOutcome::Gone);
        }
        let beyond = Identity { zxid: Zxid::new(9, 1), checksum: 5 };
        assert_eq!(located(&mut driver, beyond), Located::Before(all[all.len() - 1]));
        assert_eq!(batches(&mut driver, beyond, 1000), ReadOutcome::Gone);
    }
}

#[test]
fn where_the_log_begins_later_is_said_and_nothing_is_led_below_it() {
    for shards in [1, 2, 4] {
        let (mut driver, chain) = grown(shards);
        let upto = chain[25].0.zxid;
        let log = driver.log.as_mut().unwrap();
        while log.next_applicable(Zxid(u64::MAX)).is_some() {}
        driver.with_log(|log, out| log.write_mark(out));
        driver.finish(&mut Prng::from_seed(0));
        driver.with_log(|log, out| log.retain_from(upto, out));
        driver.finish(&mut Prng::from_seed(0));
        let mut begins = None;
        for (idx, (at, _)) in chain.iter().enumerate() {
            let phantom = Identity { checksum: 1, ..*at };
            match (located(&mut driver, *at), begins) {
                (Located::Here, _) => _ = begins.get_or_insert(idx),
                (Located::Older, None) => {
                    assert_eq!(located(&mut driver, phantom), Located::Older);
                    assert_eq!(batches(&mut driver, *at, 1000), ReadOutcome::Gone);
                    continue;
                }
                other => panic!("{at:?}: {other:?}"),
            }
            match located(&mut driver, phantom) {
                Located::Before(before) => assert_eq!(before, chain[idx - 1].0),
                Located::Older => assert_eq!(begins, Some(idx)),
                Located::Here => panic!("a phantom"),
            }
            assert!(matches!(batches(&mut driver, *at, 1000), ReadOutcome::Batches { .. }), "{at:?}");
        }
        assert!(begins.is_some_and(|b| b > 0 && b <= 26), "{begins:?}");
    }
}

#[test]
fn a_segment_that_may_be_read_is_not_used_again_meanwhile() {
    let (mut driver, chain) = grown(1);
    let log = driver.log.as_mut().unwrap();
    while log.next_applicable(Zxid(u64::MAX)).is_some() {}
    driver.with_log(|log, out| log.write_mark(out));
    driver.finish(&mut Prng::from_seed(0));
    let files = driver.disk.names();
    let last = chain[chain.len() - 1].0.zxid;
    driver.with_log(|log, out| log.read_batches(Identity::default(), 1 << 20, out));
    driver.with_log(|log, out| log.retain_from(last, out));
    assert_eq!((driver.disk.names(), driver.steps_left()), (files.clone(), 1), "only the read is under way");
    driver.finish(&mut Prng::from_seed(0));
    assert!(matches!(driver.reads.pop(), Some(ReadOutcome::Batches { .. })));
    driver.tick(50);
    driver.finish(&mut Prng::from_seed(0));
    assert!(driver.disk.names().len() < files.len());
}

#[test]
fn what_is_worn_is_named_and_never_sent() {
    let (mut driver, chain) = grown(1);
    let name = "log/shard-0/0000000000000001.log";
    let at = 4096 + HEADER_BYTES + 300;
    driver.disk.content(name)[at] ^= 1;
    let ReadOutcome::Damaged(damage) = batches(&mut driver, Identity::default(), 1 << 20) else { panic!("no damage") };
    assert_eq!((damage.path.as_str(), damage.offset), (name, 4096));
    assert!(matches!(batches(&mut driver, chain[0].0, 1 << 20), ReadOutcome::Batches { more: false, .. }));
    driver.disk.content(name)[at] ^= 1;
    driver.disk.content(name)[4096 + 40] ^= 1;
    let ReadOutcome::Damaged(damage) = batches(&mut driver, Identity::default(), 1 << 20) else { panic!("no damage") };
    assert_eq!((damage.path.as_str(), damage.offset), (name, 4096));
    driver.disk.content(name)[4096 + 40] ^= 1;
    // Good ones before it are sent.
    let second = chain[0].1.len() - REPLICATED_BYTES + HEADER_BYTES;
    driver.disk.content(name)[4096 + second.next_multiple_of(4096) + 300] ^= 1;
    assert_eq!(batches(&mut driver, Identity::default(), 1 << 20), ReadOutcome::Batches { bytes: chain[0].1.clone(), more: true });
}

#[test]
fn a_block_that_reads_as_nothing_is_damage_where_batches_are_known_to_follow() {
    for shards in [1, 2] {
        let (mut driver, chain) = grown(shards);
        let name = "log/shard-0/0000000000000001.log";
        driver.disk.content(name)[4096..8192].fill(0);
        let ReadOutcome::Damaged(damage) = batches(&mut driver, Identity::default(), 1 << 20) else { panic!("no damage") };
        assert!(damage.path.starts_with("log/shard-") && damage.what.contains("the batch after 0x0 isn't found"), "{damage}");
        assert!(matches!(batches(&mut driver, chain[0].0, 1 << 20), ReadOutcome::Batches { more: false, .. }));
        // What this log never held is no damage.
        let phantom = Identity { checksum: 1, ..Identity::default() };
        assert_eq!(batches(&mut driver, phantom, 1 << 20), ReadOutcome::Gone);
    }
}

#[test]
fn pieces_of_files_end_where_the_file_ends() {
    let mut driver = started(1);
    let path = FilePath::new(Volume::Data, "snapshots/x.snap");
    driver.disk.put(&path.name, (0..100).collect());
    let piece = |driver: &mut Driver, path: &FilePath, offset, len| {
        let path = path.clone();
        read(driver, |log, out| log.read_file(path, offset, len, out))
    };
    assert_eq!(piece(&mut driver, &path, 10, 3), ReadOutcome::Bytes(vec![10, 11, 12]));
    assert_eq!(piece(&mut driver, &path, 98, 30), ReadOutcome::Bytes(vec![98, 99]));
    assert_eq!(piece(&mut driver, &path, 100, 30), ReadOutcome::Bytes(vec![]));
    assert_eq!(piece(&mut driver, &path, u64::MAX, usize::MAX), ReadOutcome::Bytes(vec![]));
    assert_eq!(piece(&mut driver, &FilePath::new(Volume::Data, "none"), 0, 1), ReadOutcome::Gone);
    let request = ReadRequest::File { path, offset: 0, len: 4 };
    assert_eq!(serve_read(&driver.disk, &request), ReadOutcome::Bytes(vec![0, 1, 2, 3]));
}
