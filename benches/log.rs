//! What the log costs without a disk: encoding and closing a batch, and finding it again at a start.
//!
//! `cargo bench --bench log`. The disk is a table of files in memory; every append completes at once.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringkeeper::base::ids::{ClusterId, SessionId, Zxid};
use ringkeeper::base::memory::{BatchMemory, HeapMemory, HeapPool};
use ringkeeper::log::{DiskDone, DiskEffect, Identity, Log, LogOptions, recover};
use ringkeeper::model::file::{Damage, FileEntry, FileOp, FilePath, Files, Stored};
use ringkeeper::model::ops::OpBuf;
use ringkeeper::model::txn::{OpRef, TxnHead};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

const CLUSTER: ClusterId = ClusterId(9);
/// A usual path.
const PATH: &[u8] = b"/services/frontend/instances/n0000000017";
/// Records of a batch under load.
const BATCH_RECORDS: [usize; 3] = [1, 64, 1000];
/// Bytes for batches in a segment.
const SEGMENT_BYTES: u64 = 8 << 20;

/// Files in memory.
#[derive(Clone, Default)]
struct Disk(BTreeMap<String, Vec<u8>>);

impl Disk {
    fn run(&mut self, ops: &[FileOp]) {
        for op in ops {
            match op {
                FileOp::Create(path) => _ = self.0.insert(path.name.clone(), Vec::new()),
                FileOp::Write { path, at, bytes } => self.write(&path.name, *at, bytes),
                FileOp::Zero { path, at, len } => self.write(&path.name, *at, &vec![0; *len as usize]),
                FileOp::Rename { from, to } => {
                    let bytes = self.0.remove(&from.name).expect("a file to rename");
                    self.0.insert(to.name.clone(), bytes);
                }
                FileOp::Copy { .. } => panic!("a log that isn't damaged copies nothing"),
                FileOp::Remove(path) => _ = self.0.remove(&path.name),
                FileOp::MakeDir(_) | FileOp::Rewrite { .. } | FileOp::Sync(_) | FileOp::SyncDir(_) | FileOp::Verify { .. } => {}
            }
        }
    }

    fn write(&mut self, name: &str, at: u64, bytes: &[u8]) {
        let file = self.0.entry(name.to_owned()).or_default();
        let at = at as usize;
        file.resize(file.len().max(at + bytes.len()), 0);
        file[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

impl Files for Disk {
    fn list(&self, dir: &FilePath) -> Result<Vec<FileEntry>, Damage> {
        let inside = self.0.iter().filter_map(|(name, bytes)| {
            let rest = name.strip_prefix(dir.name.as_str())?.strip_prefix('/').filter(|rest| !rest.contains('/'))?;
            Some(FileEntry { name: rest.to_owned(), len: bytes.len() as u64 })
        });
        Ok(inside.collect())
    }

    fn bytes(&self, path: &FilePath) -> Stored<&[u8]> {
        self.0.get(&path.name).map_or(Stored::Empty, |bytes| Stored::Present(bytes))
    }
}

fn options() -> LogOptions {
    LogOptions { shards: 1, segment_bytes: SEGMENT_BYTES, first_segment_bytes: SEGMENT_BYTES, ..LogOptions::default() }
}

/// A log on a fresh disk, and a pool that gives its memory again.
struct Bed {
    disk: Disk,
    log: Log<HeapMemory>,
    pool: HeapPool,
    next: Zxid,
    ops: OpBuf,
}

impl Bed {
    fn new() -> Bed {
        let mut disk = Disk::default();
        let start = recover(&disk, Identity::default(), &options(), CLUSTER).start.expect("a first start");
        start.scripts.iter().for_each(|script| disk.run(&script.ops));
        let mut ops = OpBuf::default();
        ops.push(OpRef::SetData { path: PATH, data: Some(&[7; 100]), version: 3 });
        Bed { disk, log: Log::new(start.log, options(), 1), pool: HeapPool::default(), next: Zxid::new(0, 1), ops }
    }

    /// Appends and closes a batch; the disk keeps it if `keeps`, and everything completes at once.
    fn batch(&mut self, records: usize, keeps: bool) {
        for _ in 0..records {
            let head = TxnHead { zxid: self.next, session: SessionId(1), cxid: 1, time_ms: 1_700_000_000_000 };
            self.log.append(&mut self.pool, &head, &self.ops).expect("room for a record");
            self.next = self.next.next().expect("a counter far from its end");
        }
        let mut effects = Vec::new();
        self.log.submit(&mut effects);
        while let Some(effect) = effects.pop() {
            let ticket = match effect {
                DiskEffect::Append { file, at, memory, len, ticket, .. } => {
                    if keeps {
                        self.disk.write(&file.name, at, &memory.bytes()[..len]);
                    }
                    self.pool.keep(&memory);
                    ticket
                }
                DiskEffect::Script { script, ticket, .. } => {
                    if keeps {
                        self.disk.run(&script.ops);
                    }
                    ticket
                }
                DiskEffect::Read { .. } => panic!("nobody asked for a read"),
            };
            self.log.on_disk(DiskDone::of(ticket, Ok(())), &mut effects);
        }
        let durable = self.log.durable_zxid();
        while let Some(batch) = self.log.next_applicable(durable) {
            black_box(batch.last());
        }
    }
}

fn writing(c: &mut Criterion) {
    let mut group = c.benchmark_group("log/append and close a batch");
    group.sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    for records in BATCH_RECORDS {
        group.throughput(Throughput::Elements(records as u64));
        let mut bed = Bed::new();
        group.bench_function(BenchmarkId::from_parameter(records), |b| b.iter(|| bed.batch(records, false)));
    }
    group.finish();
}

fn recovering(c: &mut Criterion) {
    let mut group = c.benchmark_group("log/recover 16 submissions");
    group.sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    for records in BATCH_RECORDS {
        let mut bed = Bed::new();
        (0..16).for_each(|_| bed.batch(records, true));
        let written = bed.log.durable_zxid();
        group.throughput(Throughput::Elements(16 * records as u64));
        group.bench_function(BenchmarkId::from_parameter(records), |b| {
            b.iter_batched(
                || &bed.disk,
                |disk| {
                    let recovery = recover(black_box(disk), Identity::default(), &options(), CLUSTER);
                    assert_eq!(recovery.tail.zxid, written, "{:?}", recovery.case);
                    recovery.tail
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(log, writing, recovering);
criterion_main!(log);
