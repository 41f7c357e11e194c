//! Rot, lost and foreign files: told apart from a torn tail, never cut below the evidence, accepted only by order.

use super::disk::Disk;
use super::driver::{CLUSTER, Driver, after, tiny};
use crate::base::ids::{ClusterId, Zxid};
use crate::base::prng::Prng;
use crate::log::case::Case;
use crate::log::mark::mark_path;
use crate::log::meta::meta_path;
use crate::log::{Log, accept_loss, recover};

/// A server that wrote `count` transactions, all durable; with a mark of the last one if `marked`.
fn written(shards: u8, count: u64, marked: bool) -> Driver {
    written_in(CLUSTER, shards, count, marked)
}

fn written_in(cluster: ClusterId, shards: u8, count: u64, marked: bool) -> Driver {
    let mut driver = Driver::new(tiny(shards));
    driver.fresh = cluster;
    let mut prng = Prng::from_seed(9);
    driver.start(None);
    for idx in 0..count {
        driver.append(vec![idx as u8; 900], false).unwrap();
        driver.with_log(|log, out| log.submit(out));
        driver.finish(&mut prng);
    }
    if marked {
        driver.with_log(|log, out| log.write_mark(out));
        driver.finish(&mut prng);
    }
    driver
}

fn case_of(driver: &Driver) -> Case {
    recover(&driver.disk, after(driver.snapshot), &driver.options, CLUSTER).case
}

fn segments(disk: &Disk) -> Vec<String> {
    disk.names().into_iter().filter(|n| n.ends_with(".log")).collect()
}

#[test]
fn no_flipped_bit_loses_anything_below_the_evidence() {
    for (shards, marked) in [(1, true), (1, false), (2, true), (4, false)] {
        let mut driver = written(shards, 20, marked);
        let whole = recover(&driver.disk, after(Zxid::ZERO), &driver.options, CLUSTER);
        assert_eq!(whole.case, Case::Whole);
        let evidence = driver.history_len(whole.evidence);
        assert!(!marked || evidence == 20);
        driver.acked = evidence;
        drop(whole);
        let mut prng = Prng::from_seed(u64::from(shards));
        let (mut damaged, mut cut) = (0, 0);
        for name in driver.disk.names() {
            let len = driver.disk.content(&name).len();
            for at in (0..len).filter(|at| at % 4096 < 260 || at % 61 == 0) {
                let bit = 1 << prng.below(8);
                driver.disk.content(&name)[at] ^= bit;
                let recovery = recover(&driver.disk, after(Zxid::ZERO), &driver.options, CLUSTER);
                if recovery.case.is_damage() {
                    damaged += 1;
                    assert!(!recovery.damages.is_empty() && recovery.start.is_none(), "{name} byte {at}");
                } else {
                    cut += u32::from(recovery.tail.zxid.counter() < 20);
                    driver.check(&recovery);
                }
                drop(recovery);
                driver.disk.content(&name)[at] ^= bit;
            }
        }
        assert!(damaged > 100, "{damaged} of the flips were damage");
        assert_eq!(cut > 0, !marked, "{cut} flips cut something");
    }
}

/// Or a start would make a segment under a name that is taken.
#[test]
fn a_directory_that_cannot_be_listed_is_never_taken_for_an_empty_one() {
    let mut driver = written(2, 6, true);
    driver.disk.hide("log/shard-1");
    // Even where the snapshot covers everything that is known to have been there.
    let recovery = recover(&driver.disk, after(driver.zxid_of(5)), &driver.options, CLUSTER);
    assert_eq!(recovery.case, Case::Missing);
    let told: Vec<String> = recovery.damages.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["log/shard-1 at byte 0: listing it fails"]);
    let mut nothing = Disk::default();
    nothing.hide("log/shard-0");
    let first = recover(&nothing, after(Zxid::ZERO), &driver.options, CLUSTER);
    assert_eq!((first.case, first.damages.len()), (Case::MetadataLost, 2));
}

#[test]
fn a_rotten_acknowledged_tail_is_no_torn_tail() {
    let mut driver = written(1, 5, true);
    let name = segments(&driver.disk)[1].clone();
    let bytes = driver.disk.content(&name);
    let last = (0..bytes.len() / 4096).rev().find(|b| bytes[b * 4096] != 0).unwrap() * 4096;
    bytes[last..].fill(0);
    assert_eq!(case_of(&driver), Case::Missing);
    driver.disk.content(&mark_path().name).fill(0);
    assert_eq!(case_of(&driver), Case::MarkLost);
}

#[test]
fn lost_files_are_damage_unless_the_snapshot_covers_them() {
    let mut driver = written(2, 12, true);
    let all = driver.disk.clone();
    for name in segments(&all) {
        driver.disk = all.clone();
        let had_batches = driver.disk.content(&name)[4096..].iter().any(|b| *b != 0);
        driver.disk.remove(&name);
        driver.snapshot = Zxid::ZERO;
        assert_eq!(case_of(&driver).is_damage(), had_batches, "{name}");
        driver.snapshot = Zxid::new(0, 12);
        assert!(!case_of(&driver).is_damage(), "{name} under a snapshot");
        for len in [0, 100, 4096] {
            driver.disk = all.clone();
            driver.disk.content(&name).truncate(len);
            driver.snapshot = Zxid::ZERO;
            assert_eq!(case_of(&driver).is_damage(), had_batches, "{name} of {len} bytes");
        }
    }
    driver.disk = all.clone();
    segments(&all).iter().for_each(|name| driver.disk.remove(name));
    driver.snapshot = Zxid::new(0, 12);
    assert_eq!(case_of(&driver), Case::SnapshotAhead);
    driver.snapshot = Zxid::new(0, 5);
    assert_eq!(case_of(&driver), Case::Missing);
}

#[test]
fn a_log_that_starts_after_the_snapshot_is_a_gap() {
    let mut driver = written(1, 12, true);
    let first = segments(&driver.disk)[0].clone();
    driver.disk.remove(&first);
    assert_eq!(case_of(&driver), Case::Gap);
}

#[test]
fn metadata_survives_one_copy_and_no_more() {
    let mut driver = written(1, 3, false);
    driver.disk.content(&meta_path(0).name).clear();
    assert_eq!(case_of(&driver), Case::Whole);
    driver.disk.remove(&meta_path(1).name);
    assert_eq!(case_of(&driver), Case::MetadataLost);
    driver.disk.remove(&meta_path(0).name);
    assert_eq!(case_of(&driver), Case::MetadataLost);
    let empty = Driver::new(tiny(1));
    assert_eq!(recover(&empty.disk, after(Zxid::new(0, 1)), &empty.options, CLUSTER).case, Case::MetadataLost);
}

#[test]
fn older_metadata_than_the_log_is_lost_metadata() {
    let mut driver = written(1, 3, false);
    let old: Vec<Vec<u8>> = (0..2).map(|c| driver.disk.content(&meta_path(c).name).clone()).collect();
    driver.start(None);
    for (copy, bytes) in old.into_iter().enumerate() {
        *driver.disk.content(&meta_path(copy).name) = bytes;
    }
    assert_eq!(case_of(&driver), Case::MetadataLost);
}

#[test]
fn files_of_another_cluster_are_refused_and_not_accepted() {
    let mut driver = written(1, 3, true);
    let mut other = Driver::new(tiny(2));
    let strange = recover(&other.disk, after(Zxid::ZERO), &other.options, ClusterId(5)).start.unwrap();
    strange.scripts.iter().flat_map(|s| &s.ops).for_each(|op| other.disk.apply(op).unwrap());
    let name = "log/shard-1/0000000000000001.log";
    let bytes = other.disk.content(name).clone();
    driver.disk.put(name, bytes);
    let recovery = accept_loss(&driver.disk, after(Zxid::ZERO), &driver.options, CLUSTER);
    assert_eq!((recovery.case, recovery.start), (Case::Foreign, None));
}

#[test]
fn files_of_two_clusters_are_refused_although_no_metadata_says_whose_they_are() {
    let (mut ours, mut theirs) = (written(2, 3, true), written_in(ClusterId(5), 2, 3, true));
    (0..2).for_each(|copy| ours.disk.remove(&meta_path(copy).name));
    let case = |driver: &Driver| {
        let recovery = recover(&driver.disk, after(Zxid::ZERO), &driver.options, CLUSTER);
        assert!(recovery.start.is_none() && recovery.case.is_damage());
        (recovery.case, recovery.batches.is_empty())
    };
    assert_eq!(case(&ours), (Case::MetadataLost, false));
    for name in ["log/shard-0/0000000000000001.log", "log/shard-1/0000000000000001.log", &mark_path().name] {
        let own = ours.disk.content(name).clone();
        ours.disk.put(name, theirs.disk.content(name).clone());
        assert_eq!(case(&ours), (Case::Foreign, true), "{name}");
        assert!(accept_loss(&ours.disk, after(Zxid::ZERO), &ours.options, CLUSTER).start.is_none());
        ours.disk.put(name, own);
    }
}

/// What is written after such a start isn't behind the contradiction: both batches are cut, or the start is refused.
#[test]
fn two_whole_batches_for_the_same_zxids_are_both_doubted() {
    for (marked, expected) in [(true, None), (false, Some('F'))] {
        let (mut ours, mut theirs) = (written(1, 3, marked), written(1, 2, marked));
        let mut prng = Prng::from_seed(9);
        theirs.append(vec![77; 900], false).unwrap();
        theirs.with_log(|log, out| log.submit(out));
        theirs.finish(&mut prng);
        ours.disk.put("log/shard-0/0000000000000099.log", theirs.disk.content("log/shard-0/0000000000000001.log").clone());
        let Some(letter) = expected else {
            assert_eq!(case_of(&ours), Case::Fork);
            continue;
        };
        ours.acked = 2;
        assert_eq!(ours.start(None), (letter, true));
        assert_eq!(ours.history.len(), 2);
        ours.append(vec![78; 900], false).unwrap();
        ours.with_log(|log, out| log.submit(out));
        ours.finish(&mut prng);
        ours.acked = 3;
        assert_eq!(ours.start(None), ('D', true));
    }
}

#[test]
fn an_accepted_loss_keeps_the_good_prefix_and_copies_the_rest_aside() {
    for victim in ["log", "meta", "mark"] {
        let mut driver = written(2, 12, true);
        if victim == "meta" {
            (0..2).for_each(|c| driver.disk.content(&meta_path(c).name)[20] ^= 1);
        } else if victim == "mark" {
            driver.disk.content(&mark_path().name).fill(7);
        } else {
            let name = segments(&driver.disk).into_iter().find(|n| n.contains("shard-1")).unwrap();
            driver.disk.content(&name)[4096 + 700] ^= 1;
        }
        let disk = driver.disk.clone();
        let refused = recover(&disk, after(Zxid::ZERO), &driver.options, CLUSTER);
        assert!(refused.start.is_none(), "{:?}", refused.case);
        let accepted = accept_loss(&disk, after(Zxid::ZERO), &driver.options, CLUSTER);
        driver.acked = if victim == "log" { 1 } else { 12 };
        driver.check(&accepted);
        let start = accepted.start.unwrap();
        for op in start.scripts.iter().flat_map(|s| &s.ops) {
            assert!(!matches!(op, crate::model::file::FileOp::Remove(_)), "{op:?}");
            driver.disk.apply(op).unwrap();
        }
        assert!(driver.disk.names().iter().any(|n| n.starts_with("log/aside-")), "{victim}: nothing was kept");
        let kept = driver.history_len(start.log.tail.zxid);
        driver.truncate(kept);
        driver.log = Some(Log::new(start.log, driver.options, 50));
        driver.append(vec![1; 10], false).unwrap();
        driver.with_log(|log, out| log.submit(out));
        driver.finish(&mut Prng::from_seed(1));
        assert_eq!(driver.acked, kept + 1);
        // What was given up proves nothing and doesn't come back.
        driver.start(None);
        assert_eq!(driver.history.len(), kept + 1, "{victim}");
    }
}

#[test]
fn a_crash_while_a_loss_is_accepted_leaves_it_refused_or_accepted() {
    let mut driver = written(2, 12, true);
    let name = segments(&driver.disk).into_iter().find(|n| n.contains("shard-1")).unwrap();
    driver.disk.content(&name)[4096 + 700] ^= 1;
    driver.disk = driver.disk.settled();
    let accepted = accept_loss(&driver.disk, after(Zxid::ZERO), &driver.options, CLUSTER);
    let (kept, start) = (driver.history_len(accepted.tail.zxid), accepted.start.unwrap());
    let steps: Vec<_> = start.scripts.iter().flat_map(|s| s.ops.clone()).collect();
    let (mut refused, mut done) = (0, 0);
    for cut in 0..=steps.len() {
        for subset in 0..4 {
            let mut disk = driver.disk.clone();
            steps[..cut].iter().for_each(|op| disk.apply(op).unwrap());
            let disk = disk.after_power_cut(&mut Prng::from_seed(subset));
            let recovery = recover(&disk, after(Zxid::ZERO), &driver.options, CLUSTER);
            if recovery.case.is_damage() {
                refused += 1;
            } else {
                done += 1;
                driver.acked = kept;
                assert_eq!(driver.history_len(recovery.tail.zxid), kept, "after {cut} steps: {:?}", recovery.case);
                driver.check(&recovery);
            }
        }
    }
    assert!(refused > 4 && done > 4, "{refused} refused, {done} accepted");
}

#[test]
fn files_are_shown_to_people() {
    let mut driver = written(1, 3, true);
    let name = segments(&driver.disk)[0].clone();
    let bytes = driver.disk.content(&name);
    let lines = crate::log::inspect(bytes, true);
    assert!(lines[0].starts_with("segment 1 of shard 0, generation 1, logical offsets 0 to 12288"), "{}", lines[0]);
    assert!(lines[1].starts_with("byte 4096: batch 0x1 to 0x1 (whole), 1 records"), "{}", lines[1]);
    assert!(lines[2].contains("set /a/node (900 bytes, version 3)"), "{}", lines[2]);
    bytes[4096 + 700] ^= 1;
    assert!(crate::log::inspect(bytes, true)[1].contains("(body not whole)"));
    bytes[4096 + 20] ^= 1;
    assert!(crate::log::inspect(bytes, true)[1].contains("checksum is wrong"));
    let mark = crate::log::inspect(driver.disk.content(&mark_path().name), false);
    assert!(mark.iter().any(|l| l.contains("durable through 0x3")), "{mark:?}");
}
