use super::*;
use crate::base::ids::{ClusterId, SessionId, Zxid};
use crate::base::prng::Prng;
use crate::model::acl::OPEN_UNSAFE;
use crate::model::file::{Damage, FileEntry, FileOp, FilePath, Files, Stored};
use crate::model::image::{AclImage, ImageSink, NodeImage, SessionImage};
use crate::model::stat::PersistedStat;
use std::collections::BTreeMap;

const HEAD: Head = Head { zxid: Zxid(0x1_0000_0007), cluster: ClusterId(9), generation: 3, checksum: 0x0102_0304_0506_0708 };

/// Carries out scripts the way a host does.
#[derive(Default)]
struct Disk(BTreeMap<String, Vec<u8>>, Vec<&'static str>);

impl Disk {
    fn run(&mut self, ops: Vec<FileOp>) {
        for op in ops {
            self.1.push(match op {
                FileOp::Create(path) => self.0.insert(path.name, Vec::new()).map_or("create", |_| "empty"),
                FileOp::Write { path, at, bytes } => {
                    let file = self.0.get_mut(&path.name).expect("created before");
                    assert_eq!(file.len() as u64, at, "pieces follow each other");
                    file.extend(bytes);
                    "write"
                }
                FileOp::Rename { from, to } => {
                    let file = self.0.remove(&from.name).expect("there before");
                    self.0.insert(to.name, file).map_or("rename", |_| "replace")
                }
                FileOp::Remove(path) => self.0.remove(&path.name).map_or("nothing", |_| "remove"),
                FileOp::Sync(_) => "sync",
                FileOp::SyncDir(_) => "syncdir",
                FileOp::Verify { path, at, len, checksum } => {
                    let bytes = &self.0[&path.name][at as usize..];
                    assert_eq!((bytes.len() as u64, crate::base::checksum::checksum(bytes)), (len, checksum));
                    "verify"
                }
                FileOp::MakeDir(_) => "mkdir",
                FileOp::Zero { .. } | FileOp::Copy { .. } | FileOp::Rewrite { .. } => panic!("a snapshot is never zero-filled or copied"),
            });
        }
    }
}

impl Files for Disk {
    fn list(&self, dir: &FilePath) -> Result<Vec<FileEntry>, Damage> {
        let below = self.0.iter().filter_map(|(name, bytes)| Some((name.strip_prefix(&dir.name)?.strip_prefix('/')?, bytes.len())));
        Ok(below.map(|(name, len)| FileEntry { name: name.to_owned(), len: len as u64 }).collect())
    }
    fn bytes(&self, path: &FilePath) -> Stored<&[u8]> {
        self.0.get(&path.name).map_or(Stored::Empty, |bytes| Stored::Present(bytes))
    }
}

#[derive(Default, PartialEq, Debug)]
struct Taken(Vec<String>);

impl SnapshotSink for Taken {
    fn head(&mut self, head: &Head) -> Result<(), String> {
        self.0.push(format!("{head:?}"));
        Ok(())
    }
    fn session(&mut self, image: SessionImage) -> Result<(), String> {
        self.0.push(format!("{image:?}"));
        Ok(())
    }
    fn acl(&mut self, image: AclImage<'_>) -> Result<(), String> {
        self.0.push(format!("{image:?}"));
        Ok(())
    }
    fn node(&mut self, image: NodeImage<'_>) -> Result<(), String> {
        self.0.push(format!("{image:?}"));
        Ok(())
    }
}

/// Writes a snapshot of `nodes` nodes; the disk and what a reader must get.
fn written(head: Head, nodes: u32, data: &[u8]) -> (Disk, Taken) {
    let session = SessionImage { session: SessionId(-2), timeout_ms: 4000, password: [7; 16] };
    let acl = AclImage { acl: 1, list: OPEN_UNSAFE };
    let mut writer = SnapshotWriter::begin(head, [session].into_iter(), [acl].into_iter());
    let mut taken = Taken(vec![format!("{head:?}"), format!("{session:?}"), format!("{acl:?}")]);
    let mut disk = Disk::default();
    for slot in 0..nodes {
        let stat = PersistedStat { czxid: Zxid(1), version: -1, owner: i64::MIN, ..PersistedStat::default() };
        let data = (slot % 3 != 1).then_some(&data[..data.len() * (slot as usize % 3) / 2]);
        let image = NodeImage { slot, parent_slot: slot / 2, name: b"name", data, acl: 1, stat };
        taken.0.push(format!("{image:?}"));
        writer.node(image);
        if let Some(script) = writer.next_script() {
            assert_eq!(writer.next_script(), None, "one in flight");
            disk.run(script.ops);
            assert!(!writer.on_done());
        }
    }
    writer.finish(0xabcd);
    let mut stands = false;
    while let Some(script) = writer.next_script() {
        disk.run(script.ops);
        stands = writer.on_done();
    }
    assert!(stands);
    (disk, taken)
}

fn file(disk: &Disk, zxid: Zxid) -> &[u8] {
    &disk.0[&file_of(zxid).name]
}

#[test]
fn what_was_written_is_read() {
    for (nodes, len) in [(0, 0), (6, 10), (5_000, 1000), (6, 3 << 20)] {
        let (disk, expected) = written(HEAD, nodes, &vec![5; len]);
        let mut taken = Taken::default();
        let summary = read("s", file(&disk, HEAD.zxid), &mut taken).unwrap();
        assert_eq!(summary, Summary { head: HEAD, sessions: 1, acls: 1, nodes: u64::from(nodes), digest: 0xabcd });
        assert!(taken == expected, "{nodes} nodes of {len} bytes");
        assert_eq!(disk.0.len(), 1, "no temporary file stays");
    }
}

#[test]
fn the_name_appears_after_the_sync_and_the_reading_back() {
    let (disk, _) = written(HEAD, 3, b"x");
    assert_eq!(disk.1, ["mkdir", "create", "write", "sync", "verify", "rename", "syncdir", "syncdir"]);
    let writer = SnapshotWriter::begin(HEAD, std::iter::empty(), std::iter::empty());
    assert_eq!(writer.abort().ops, [FileOp::Remove(temp_file_of(HEAD.zxid))]);
}

#[test]
fn golden_bytes_of_an_empty_snapshot() {
    let mut writer = SnapshotWriter::begin(HEAD, std::iter::empty(), std::iter::empty());
    writer.finish(0xabcd);
    let Some(FileOp::Write { bytes, .. }) = writer.next_script().unwrap().ops.into_iter().nth(2) else { panic!("a write") };
    let mut expected = b"RKSN\x01\0\x01\0\0\0\0\0\x20\0\0\0\x07\0\0\0\x01\0\0\0\x09".to_vec();
    expected.extend([0; 15]);
    expected.extend(b"\x03\0\0\0\0\0\0\0\x08\x07\x06\x05\x04\x03\x02\x01");
    assert_eq!(&bytes[..56], expected);
    assert_eq!(&bytes[56..64], xxhash_rust::xxh3::xxh3_64(&bytes[..56]).to_le_bytes());
    expected = b"RKSN\x01\0\x05\0\x01\0\0\0\x20\0\0\0\x07\0\0\0\x01\0\0\0".to_vec();
    expected.extend([0; 24]);
    expected.extend(b"\xcd\xab\0\0\0\0\0\0");
    assert_eq!(&bytes[64..120], expected);
    assert_eq!(bytes.len(), 128);
}

#[test]
fn every_truncation_and_every_flipped_bit_is_found() {
    let (disk, _) = written(HEAD, 7, b"some data");
    let good = file(&disk, HEAD.zxid).to_vec();
    for len in 0..good.len() {
        let damage = verify("s", &good[..len]).expect_err("a truncated file");
        assert!(damage.offset <= len as u64);
    }
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let damage = verify("s", &bad).expect_err("a flipped bit");
        assert!(damage.offset <= bit as u64 / 8 && damage.path == "s", "bit {bit}: {damage}");
    }
    assert!(verify("s", &[&good[..], b"x"].concat()).is_err());
}

/// Checksums made right again, so that the checks behind them are reached; no outcome but a panic is wrong.
#[test]
fn lying_records_never_panic() {
    let (disk, _) = written(HEAD, 7, b"some data");
    let good = file(&disk, HEAD.zxid).to_vec();
    let mut prng = Prng::from_seed(1);
    let mut refused = 0;
    for _ in 0..20_000 {
        let mut bad = good.clone();
        for _ in 0..prng.between(1, 4) {
            let at = prng.index(bad.len());
            bad[at] = [0, 1, 0xff, prng.next_u64() as u8][prng.index(4)];
        }
        let mut at = 0;
        while let Some(len) = bad.get(at + 12..at + 16).map(|l| u32::from_le_bytes(l.try_into().unwrap()) as usize) {
            let end = at.saturating_add(24 + len);
            let Some(covered) = bad.get(at..end) else { break };
            let sum = xxhash_rust::xxh3::xxh3_64(covered).to_le_bytes();
            let Some(stored) = bad.get_mut(end..end + 8) else { break };
            stored.copy_from_slice(&sum);
            at = end + 8;
        }
        refused += usize::from(verify("s", &bad).is_err());
    }
    assert!(refused > 1000, "{refused} refused");
}

#[test]
fn the_newest_good_one_is_chosen() {
    let mut disk = Disk::default();
    for zxid in [5, 6, 7, 8] {
        disk.0.append(&mut written(Head { zxid: Zxid(zxid), ..HEAD }, 3, b"d").0.0);
    }
    disk.0.insert(format!("{DIR}/other.snap"), Vec::new());
    disk.0.get_mut(&file_of(Zxid(8)).name).unwrap()[40] ^= 4;
    let six = disk.0[&file_of(Zxid(6)).name].clone();
    disk.0.insert(file_of(Zxid(7)).name, six);
    let choice = choose_newest_good(&disk).unwrap();
    assert_eq!(choice.newest_good.unwrap().1.head.zxid, Zxid(6));
    assert_eq!(choice.damaged.iter().map(|d| &d.path).collect::<Vec<_>>(), [&file_of(Zxid(8)).name, &file_of(Zxid(7)).name]);
    assert_eq!(choose_newest_good(&Disk::default()).unwrap(), Choice { newest_good: None, damaged: Vec::new() });
}

/// Takes snapshots of any zxid but one.
struct Picky(Option<Zxid>);

impl SnapshotSink for Picky {
    fn head(&mut self, head: &Head) -> Result<(), String> {
        self.0.replace(head.zxid);
        if head.zxid == Zxid(6) { Err("not this one".to_owned()) } else { Ok(()) }
    }
    fn session(&mut self, _: SessionImage) -> Result<(), String> {
        Ok(())
    }
    fn acl(&mut self, _: AclImage<'_>) -> Result<(), String> {
        Ok(())
    }
    fn node(&mut self, _: NodeImage<'_>) -> Result<(), String> {
        Ok(())
    }
}

#[test]
fn the_newest_good_one_is_loaded_and_what_is_whole_and_refused_is_not_passed_over() {
    let mut disk = Disk::default();
    for zxid in [4, 5, 6] {
        disk.0.append(&mut written(Head { zxid: Zxid(zxid), ..HEAD }, 3, b"d").0.0);
    }
    let six = file_of(Zxid(6)).name;
    let refused = load_newest_good(&disk, || Picky(None)).map(|_| ()).unwrap_err();
    assert_eq!((refused.path, refused.what), (six.clone(), "not this one".to_owned()));
    let last = disk.0[&six].len() - 1;
    disk.0.get_mut(&six).unwrap()[last] ^= 1;
    let (choice, sink) = load_newest_good(&disk, || Picky(None)).unwrap();
    assert_eq!((choice.newest_good.unwrap().1.head.zxid, sink.unwrap().0), (Zxid(5), Some(Zxid(5))), "damage goes before a refusal");
    assert_eq!(choice.damaged.into_iter().map(|d| d.path).collect::<Vec<_>>(), [six]);
    assert!(load_newest_good(&Disk::default(), || Picky(None)).unwrap().1.is_none());
}

#[test]
fn at_least_two_verified_ones_stay() {
    let all = [(Zxid(1), true), (Zxid(2), true), (Zxid(3), false), (Zxid(4), true), (Zxid(5), false)];
    assert_eq!(select_removable(&all, 0), [Zxid(1)]);
    assert_eq!(select_removable(&all, 3), []);
    assert_eq!(select_removable(&all[2..], 2), []);
}

#[test]
fn a_snapshot_is_due_between_a_half_and_the_whole() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let mut by_count = Trigger::new(Policy { snap_count: 100, snap_bytes: 0 }, Prng::from_seed(seed));
        let due = (1..).find(|_| by_count.logged(1 << 40)).unwrap();
        assert!((51..=100).contains(&due), "{due}");
        seen.insert(due);
        let mut by_bytes = Trigger::new(Policy { snap_count: 1 << 40, snap_bytes: 1000 }, Prng::from_seed(seed));
        assert!((51..=100).contains(&(1..).find(|_| by_bytes.logged(10)).unwrap()));
    }
    assert!(seen.len() > 10, "the draws differ");
}

/// Takes a file in pieces of up to `len` bytes.
fn install(bytes: &[u8], at: crate::model::position::Identity, len: usize) -> (Disk, Result<bool, Damage>) {
    let mut disk = Disk::default();
    let mut installer = Installer::new(at, HEAD.cluster);
    for piece in bytes.chunks(len) {
        assert_eq!(installer.offset() as usize, piece.as_ptr() as usize - bytes.as_ptr() as usize);
        match installer.piece(piece) {
            Ok(script) => disk.run(script.ops),
            Err(damage) => {
                disk.run(installer.abort().ops);
                return (disk, Err(damage));
            }
        }
    }
    (disk, Ok(installer.is_whole()))
}

#[test]
fn a_snapshot_that_comes_in_pieces_is_installed_like_one_of_our_own() {
    for (nodes, data, len) in [(0, 0, 1), (7, 9, 1), (7, 9, 7), (3_000, 500, 100_000), (4, 3 << 20, 1 << 20), (3_000, 500, usize::MAX)] {
        let (made, _) = written(HEAD, nodes, &vec![5; data]);
        let bytes = file(&made, HEAD.zxid);
        let (disk, whole) = install(bytes, HEAD.identity(), len);
        assert_eq!((whole, file(&disk, HEAD.zxid) == bytes, disk.0.len()), (Ok(true), true, 1));
        let tail: Vec<_> = disk.1.iter().rev().take(5).rev().copied().collect();
        assert_eq!(tail, ["sync", "verify", "rename", "syncdir", "syncdir"]);
    }
}

#[test]
fn no_snapshot_with_a_flipped_bit_a_missing_end_or_another_position_is_installed() {
    let (made, _) = written(HEAD, 7, b"some data");
    let good = file(&made, HEAD.zxid).to_vec();
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let (disk, result) = install(&bad, HEAD.identity(), 50);
        // A length that lies may leave it waiting for bytes that never come.
        assert!(result != Ok(true) && !disk.0.contains_key(&file_of(HEAD.zxid).name), "bit {bit}: {result:?}");
    }
    for len in 0..good.len() {
        let (disk, result) = install(&good[..len], HEAD.identity(), 50);
        assert!(result == Ok(false) && !disk.0.contains_key(&file_of(HEAD.zxid).name));
    }
    let longer = [&good[..], b"x"].concat();
    assert!(install(&longer, HEAD.identity(), longer.len()).1.is_err());
    let other = crate::model::position::Identity { checksum: 1, ..HEAD.identity() };
    let text = install(&good, other, 100).1.unwrap_err().to_string();
    assert!(text.contains("asked for was the one at"), "{text}");
}

#[test]
fn a_head_from_before_the_batch_was_named_is_read() {
    let (made, _) = written(HEAD, 0, b"");
    let new = file(&made, HEAD.zxid);
    let mut old = new[..48].to_vec();
    old[12] = 24;
    let sum = xxhash_rust::xxh3::xxh3_64(&old).to_le_bytes();
    let old = [&old[..], &sum, &new[64..]].concat();
    assert_eq!(verify("s", &old).unwrap().head, Head { checksum: 0, ..HEAD });
}
