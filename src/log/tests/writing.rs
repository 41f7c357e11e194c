//! The writing side: order, limits, full devices, faults, marks, segments.

use super::driver::{Driver, head, set_data, tiny};
use crate::base::ids::{ShardId, Zxid};
use crate::base::memory::{BatchMemory, HeapMemory, HeapPool};
use crate::base::prng::Prng;
use crate::log::segment::shard_dir;
use crate::log::{DiskDone, DiskEffect, LogFull, LogOptions};
use crate::model::file::{DiskError, Files};

fn error(no_space: bool) -> DiskError {
    DiskError { no_space, message: "test".to_owned() }
}

/// Starts a server and gives it its spares.
fn started(shards: u8) -> Driver {
    let mut driver = Driver::new(tiny(shards));
    driver.start(None);
    driver.with_log(|log, out| log.submit(out));
    driver.finish(&mut Prng::from_seed(0));
    driver
}

#[test]
fn a_later_batch_that_lands_first_is_not_durable() {
    let mut driver = started(2);
    let log = driver.log.as_mut().unwrap();
    let (mut pool, mut out) = (HeapPool::default(), Vec::new());
    for counter in 1..=2 {
        log.append(&mut pool, &head(Zxid::new(0, counter)), &set_data(b"x")).unwrap();
        log.submit(&mut out);
    }
    let tickets = out.iter().map(|e| match e {
        DiskEffect::Append { ticket, .. } => *ticket,
        DiskEffect::Script { .. } | DiskEffect::Read { .. } => panic!("no append"),
    });
    let tickets = tickets.collect::<Vec<_>>();
    assert_eq!((tickets.len(), log.durable_zxid()), (2, Zxid::ZERO));
    log.on_disk(DiskDone::of(tickets[1], Ok(())), &mut out);
    assert_eq!(log.durable_zxid(), Zxid::ZERO);
    log.on_disk(DiskDone::of(tickets[0], Ok(())), &mut out);
    assert_eq!(log.durable_zxid(), Zxid::new(0, 2));
    assert!(!log.on_disk(DiskDone::of(tickets[0], Ok(())), &mut out));
    assert_eq!(log.next_applicable(Zxid::new(0, 1)).unwrap().last(), Zxid::new(0, 1));
    assert!(log.next_applicable(Zxid::new(0, 1)).is_none());
    assert_eq!(log.next_applicable(Zxid::new(0, 2)).unwrap().records().count(), 1);
}

#[test]
fn the_open_batch_fills_while_shards_are_busy_and_closes_at_its_limits() {
    let mut driver = started(1);
    driver.append(vec![1; 10], false).unwrap();
    driver.with_log(|log, out| log.submit(out));
    for _ in 0..12 {
        driver.append(vec![1; 10], false).unwrap();
        driver.with_log(|log, out| log.submit(out));
    }
    assert_eq!(driver.log.as_ref().unwrap().stats().in_flight, 1);
    driver.finish(&mut Prng::from_seed(0));
    driver.with_log(|log, out| log.submit(out));
    driver.finish(&mut Prng::from_seed(0));
    // 1 alone, then 5, 5 and 2.
    assert_eq!((driver.acked, driver.log.as_ref().unwrap().stats().batches), (13, 4));
}

#[test]
fn records_of_any_size_travel_and_come_back() {
    for shards in [1, 2] {
        let mut driver = started(shards);
        let mut prng = Prng::from_seed(4);
        let around = [0, 1, 3700, 3840, 4096, 5900, 6000, 8192, 12_000, 12_288, 24_000, 24_576, 100_000, 1 << 20, (1 << 20) + 5000];
        for len in around.into_iter().flat_map(|l: usize| l.saturating_sub(2)..l + 3) {
            driver.append(vec![len as u8; len], false).unwrap();
            driver.with_log(|log, out| log.submit(out));
            driver.finish(&mut prng);
            driver.with_log(|log, out| log.submit(out));
            driver.finish(&mut prng);
        }
        assert_eq!(driver.acked, driver.history.len());
        driver.start(None);
        assert_eq!(driver.acked, 15 * 5 - 3);
    }
}

#[test]
fn batches_in_memory_are_bounded() {
    let mut driver = Driver::new(tiny(1));
    driver.start(None);
    let refused = (0..200).find(|_| driver.append(vec![0; 10], false) == Err(LogFull::Busy));
    assert_eq!(refused, Some(12 * 5));
}

#[test]
fn a_full_device_shows_at_the_reservation_and_heals_by_itself() {
    let mut driver = started(1);
    let mut prng = Prng::from_seed(2);
    driver.full = true;
    let mut taken = 0;
    while driver.append(vec![0; 3000], false).is_ok() {
        driver.with_log(|log, out| log.submit(out));
        driver.finish(&mut prng);
        taken += 1;
        assert!(taken < 100);
    }
    let log = driver.log.as_ref().unwrap();
    assert!(log.is_full() && log.fault().is_none());
    driver.tick(50);
    driver.finish(&mut prng);
    assert!(driver.log.as_ref().unwrap().is_full());
    driver.full = false;
    for _ in 0..200 {
        driver.tick(50);
        driver.finish(&mut prng);
        driver.with_log(|log, out| log.submit(out));
    }
    assert!(!driver.log.as_ref().unwrap().is_full());
    assert_eq!(driver.acked, driver.history.len());
}

#[test]
fn the_first_failed_write_latches() {
    for no_space in [false, true] {
        let mut driver = started(2);
        for _ in 0..3 {
            driver.append(vec![0; 10], false).unwrap();
            driver.with_log(|log, out| log.submit(out));
        }
        driver.fail_lane(0, error(no_space));
        driver.finish(&mut Prng::from_seed(0));
        assert_eq!(driver.acked, 0, "nothing after a failed write is acknowledged");
        assert_eq!(driver.append(vec![0; 10], false), Err(LogFull::Failed));
        driver.tick(1000);
        assert!(!driver.is_busy() && driver.log.as_ref().unwrap().fault().is_some());
    }
}

#[test]
fn the_mark_is_written_at_rest_and_every_interval_under_load() {
    let mut driver = started(1);
    let mut prng = Prng::from_seed(0);
    let mut marks = Vec::new();
    for _ in 0..30 {
        driver.append(vec![0; 10], false).unwrap();
        driver.with_log(|log, out| log.submit(out));
        driver.finish(&mut prng);
        driver.tick(10);
        driver.finish(&mut prng);
        marks.push(driver.log.as_ref().unwrap().stats().marks);
    }
    assert!((2..=4).contains(&marks[29]), "{marks:?}");
    driver.tick(10);
    driver.tick(10);
    driver.finish(&mut prng);
    assert_eq!(driver.log.as_ref().unwrap().marked_zxid(), Zxid::new(0, 30));
}

#[test]
fn segments_below_a_snapshot_are_used_again_or_removed() {
    let mut driver = started(1);
    let mut prng = Prng::from_seed(0);
    let mut most = 0;
    for idx in 0..300 {
        driver.append(vec![idx as u8; 5000], false).unwrap();
        driver.with_log(|log, out| log.submit(out));
        driver.finish(&mut prng);
        driver.tick(200);
        driver.finish(&mut prng);
        driver.snapshot = Zxid::new(0, (idx as u64).max(1));
        let snapshot = driver.snapshot;
        driver.with_log(|log, out| log.retain_from(snapshot, out));
        driver.finish(&mut prng);
        most = most.max(driver.disk.names().len());
    }
    assert!(most < 12, "{most} files");
    driver.start(None);
}

/// Writes so that about `segments` more are filled, then lets go of all that was written before the last two times.
fn fill_and_retire(driver: &mut Driver, segments: usize, ends: &mut Vec<Zxid>) {
    let mut prng = Prng::from_seed(0);
    // Six blocks to a segment, two to a batch.
    for _ in 0..3 * segments {
        driver.append(vec![7; 5000], false).unwrap();
        driver.with_log(|log, out| log.submit(out));
        driver.finish(&mut prng);
    }
    driver.tick(200);
    driver.finish(&mut prng);
    ends.push(driver.zxid_of(driver.acked - 1));
    if let [.., upto, _, _] = ends[..] {
        driver.snapshot = upto;
        driver.with_log(|log, out| log.retain_from(upto, out));
        driver.finish(&mut prng);
    }
}

#[test]
fn segments_that_are_retired_together_are_all_used_again() {
    let (mut driver, mut ends) = (started(1), Vec::new());
    (0..6).for_each(|_| fill_and_retire(&mut driver, 5, &mut ends));
    let before = driver.disk.made();
    (0..6).for_each(|_| fill_and_retire(&mut driver, 5, &mut ends));
    assert_eq!(driver.disk.made(), before, "files that were filled with zeros while there are retired ones");
    driver.start(None);
}

#[test]
fn a_log_that_is_short_again_lets_go_of_retired_files() {
    let (mut driver, mut ends) = (started(1), Vec::new());
    (0..6).for_each(|_| fill_and_retire(&mut driver, 7, &mut ends));
    let of_a_long_log = driver.disk.names().len();
    (0..3).for_each(|_| fill_and_retire(&mut driver, 1, &mut ends));
    for _ in 0..20 {
        driver.tick(1000);
        driver.finish(&mut Prng::from_seed(0));
    }
    let of_a_short_one = driver.disk.names().len();
    assert!(of_a_long_log >= 20 && of_a_short_one <= 12, "{of_a_long_log} files, then {of_a_short_one}");
    driver.start(None);
}

#[test]
fn padding_is_zero_whatever_the_pool_gives() {
    let mut driver = started(1);
    let log = driver.log.as_mut().unwrap();
    struct Dirty;
    impl crate::base::memory::BatchPool for Dirty {
        type Memory = HeapMemory;
        fn take(&mut self, len: usize) -> HeapMemory {
            let mut memory = HeapMemory::zeroed(len);
            memory.bytes_mut().unwrap().fill(0xee);
            memory
        }
    }
    log.append(&mut Dirty, &head(Zxid::new(0, 1)), &set_data(b"x")).unwrap();
    let mut out = Vec::new();
    log.submit(&mut out);
    let Some(DiskEffect::Append { memory, len, .. }) = out.pop() else { panic!("no append") };
    let body_len = log.next_applicable(Zxid::new(0, 1)).unwrap().body().len();
    assert!(memory.bytes()[256 + body_len..len].iter().all(|b| *b == 0));
}

#[test]
fn restarts_take_only_the_room_that_was_written_in() {
    for shards in [1, 2] {
        let mut driver = started(shards);
        let mut prng = Prng::from_seed(1);
        let segments = |driver: &mut Driver| driver.disk.settled().names().iter().filter(|name| name.ends_with(".log")).count();
        let before = segments(&mut driver);
        for _ in 0..20 {
            driver.start(None);
            driver.with_log(|log, out| log.submit(out));
            driver.finish(&mut prng);
        }
        assert_eq!(segments(&mut driver), before, "{shards} shards, nothing written");
        for _ in 0..20 {
            driver.append(vec![7; 10], false).unwrap();
            driver.with_log(|log, out| log.submit(out));
            driver.finish(&mut prng);
            driver.start(None);
            driver.with_log(|log, out| log.submit(out));
            driver.finish(&mut prng);
        }
        assert_eq!(driver.acked, driver.history.len(), "everything is still there");
        assert_eq!(segments(&mut driver), before + 20, "{shards} shards, one short segment for each start after a write");
    }
}

#[test]
fn segments_grow_to_their_usual_size_and_an_unused_one_in_between_is_taken_again() {
    const BLOCKS: u64 = 40;
    let mut driver = Driver::new(LogOptions { segment_bytes: BLOCKS * 4096, first_segment_bytes: 2 * 4096, ..tiny(1) });
    let mut prng = Prng::from_seed(1);
    let blocks = |driver: &Driver| {
        let mut entries = driver.disk.settled().list(&shard_dir(ShardId(0))).unwrap();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        entries.iter().map(|entry| entry.len / 4096 - 1).collect::<Vec<_>>()
    };
    let write = |driver: &mut Driver, prng: &mut Prng| {
        driver.append(vec![7; 10], false).unwrap();
        driver.with_log(|log, out| log.submit(out));
        driver.finish(prng);
    };
    driver.start(None);
    driver.with_log(|log, out| log.submit(out));
    driver.finish(&mut prng);
    assert_eq!(blocks(&driver), [2, 8]);
    (0..3).for_each(|_| write(&mut driver, &mut prng));
    assert_eq!(blocks(&driver), [2, 8, 32]);
    (0..8).for_each(|_| write(&mut driver, &mut prng));
    assert_eq!(blocks(&driver), [2, 8, 32, BLOCKS]);
    (0..60).for_each(|_| write(&mut driver, &mut prng));
    assert_eq!(blocks(&driver), [2, 8, 32, BLOCKS, BLOCKS]);
    // The last one holds nothing: it is the new generation's second, though a smaller one is due.
    driver.start(None);
    write(&mut driver, &mut prng);
    assert_eq!(blocks(&driver), [2, 8, 32, BLOCKS, 2, BLOCKS]);
    let mut young = Driver::new(driver.options);
    for _ in 0..5 {
        young.start(None);
        young.with_log(|log, out| log.submit(out));
        young.finish(&mut prng);
        assert_eq!(blocks(&young), [2, 8], "restarts without a write");
    }
    write(&mut young, &mut prng);
    young.start(None);
    write(&mut young, &mut prng);
    assert_eq!(blocks(&young), [2, 2, 8], "the unused second segment again");
    assert_eq!((driver.acked, young.acked), (driver.history.len(), 2));
}
