//! The write path without disk and network: judging, watches, a hop between two executors, and a burst of writes through the whole keeper.
//!
//! `cargo bench --bench write_path`. Every figure but the hop's is for [`BURST`] requests. `ringkeeper-bench budget` adds the pieces up
//! and compares them with the keeper here and with a measured server.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use glommio::LocalExecutorBuilder;
use glommio::channels::shared_channel;
use ringkeeper::base::ids::{ConnId, FrontId, SessionId, Zxid};
use ringkeeper::base::memory::{HeapMemory, HeapPool};
use ringkeeper::base::prng::Prng;
use ringkeeper::base::time::{MonoMs, Now};
use ringkeeper::log::{DiskDone, DiskEffect};
use ringkeeper::model::acl::{Identity, OPEN_UNSAFE};
use ringkeeper::model::file::NoFiles;
use ringkeeper::model::ops::OpBuf;
use ringkeeper::model::request::{Connect, Create, CreateOp, Request};
use ringkeeper::model::txn::{OpRef, TxnHead};
use ringkeeper::model::watch_kind::{EventType, WatchMode};
use ringkeeper::prep::{Asker, Prep, PrepOptions};
use ringkeeper::server::boot::recover_server;
use ringkeeper::server::config::{ConfigFile, Input, check};
use ringkeeper::server::keeper::{Cx, Effects, Keeper, Tell};
use ringkeeper::server::mail::{Burst, Item};
use ringkeeper::tree::watch::Watches;
use ringkeeper::tree::{IgnoreChanges, Tree, TreeOptions};
use ringkeeper::wire::client::client_side::{put_connect, put_request, request_op};
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Requests of one figure.
const BURST: usize = 64;
/// A usual path and value.
const PATH: &[u8] = b"/n0000000017";
const VALUE: &[u8] = &[7; 100];
const SESSION: SessionId = SessionId(0x0100_0000_0000_0001);

fn judging(c: &mut Criterion) {
    let mut tree = Tree::new(TreeOptions { hash_seed: 7, ..TreeOptions::default() });
    let head = TxnHead { zxid: Zxid(1), session: SESSION, cxid: 1, time_ms: 1_700_000_000_000 };
    tree.apply(&head, OpRef::Create { path: PATH, data: Some(VALUE), acl: OPEN_UNSAFE, owner: 0, parent_cversion: 1 }, &mut IgnoreChanges);
    tree.end_txn(Zxid(1));
    let options = PrepOptions { skip_acl: false, extended_types: false, enforce_quota: false, reconfig_enabled: false };
    let mut prep = Prep::new(options, 7);
    let identities: Vec<Identity> = Vec::new();
    let resolve = |list: Option<&[u8]>, out: &mut Vec<u8>| {
        out.extend_from_slice(list.unwrap_or_default());
        Ok(())
    };
    let asker = Asker { session: SESSION, identities: &identities, resolve: &resolve };
    let request = Request::SetData { path: PATH, data: Some(VALUE), version: -1 };
    let (mut ops, mut zxid) = (OpBuf::default(), 2);
    let mut group = c.benchmark_group("write path");
    group.throughput(Throughput::Elements(BURST as u64));
    group.bench_function("prep setData", |b| {
        b.iter(|| {
            for _ in 0..BURST {
                zxid += 1;
                ops.clear();
                prep.judge(&tree, &asker, black_box(&request), Zxid(zxid), &mut ops).expect("a legal write");
            }
            prep.applied(Zxid(zxid));
        });
    });
    group.finish();
}

fn watching(c: &mut Criterion) {
    let mut watches = Watches::new(7);
    watches.add(1, PATH, WatchMode::Persistent);
    let mut group = c.benchmark_group("write path");
    group.throughput(Throughput::Elements(BURST as u64));
    group.bench_function("fire a watch", |b| {
        b.iter(|| {
            let mut fired = 0;
            for _ in 0..BURST {
                watches.fire(black_box(PATH), EventType::NodeDataChanged, &mut |_| fired += 1);
            }
            assert_eq!(fired, BURST);
        });
    });
    group.finish();
}

/// From one executor to another and back, so two hops.
fn hopping(c: &mut Criterion) {
    let mut group = c.benchmark_group("write path");
    group.sample_size(20).measurement_time(Duration::from_secs(2));
    group.bench_function("mailbox there and back", |b| {
        b.iter_custom(|rounds| {
            let (there, come) = shared_channel::new_bounded::<u64>(64);
            let (back, again) = shared_channel::new_bounded::<u64>(64);
            let other = LocalExecutorBuilder::default()
                .spawn(|| async move {
                    let (come, back) = (come.connect().await, back.connect().await);
                    while let Some(mail) = come.recv().await {
                        if back.send(mail).await.is_err() {
                            return;
                        }
                    }
                })
                .expect("an executor");
            let here = LocalExecutorBuilder::default()
                .spawn(move || async move {
                    let (there, again) = (there.connect().await, again.connect().await);
                    let began = std::time::Instant::now();
                    for mail in 0..rounds {
                        there.send(mail).await.expect("the other one lives");
                        again.recv().await;
                    }
                    began.elapsed()
                })
                .expect("an executor");
            let took = here.join().expect("an end");
            other.join().expect("an end");
            took
        });
    });
    group.finish();
}

/// A keeper over a disk that does everything at once.
struct Bed {
    keeper: Keeper<HeapMemory>,
    pool: HeapPool,
    fx: Effects<HeapMemory>,
    dones: Vec<DiskDone>,
    conn: ConnId,
}

fn now() -> Now {
    Now { mono: MonoMs(1000), mono_ns: 1_000_000_000, wall_ms: 1_700_000_000_000 }
}

impl Bed {
    fn new() -> Bed {
        let text = b"dataDir=/d\nclientPort=0\nsnapCount=1000000000\n";
        let input = Input { file: Some(ConfigFile { name: "zoo.cfg", bytes: text }), overrides: &[], cores_available: 1 };
        let (config, _) = check(&input).into_config().expect("a good configuration");
        let boot = recover_server(&NoFiles, &config, &mut Prng::from_seed(7)).expect("an empty directory");
        let (keeper, effects) = boot.keeper(&config, 1, now());
        let mut fx = Effects::new(1);
        fx.disk.extend(effects);
        let conn = ConnId::new(FrontId(0), 1);
        let mut bed = Bed { keeper, pool: HeapPool::default(), fx, dones: Vec::new(), conn };
        bed.settle();
        let mut bytes = Vec::new();
        let connect = Connect {
            protocol_version: 0,
            last_zxid_seen: Zxid::ZERO,
            timeout_ms: 30_000,
            session: SessionId::NONE,
            password: &[0; 16],
            read_only: Some(false),
        };
        put_connect(&mut bytes, &connect);
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 4000));
        let body = 4..bytes.len();
        bed.take(&Burst { items: vec![Item::Opened { conn, peer }, Item::Connect { conn, body }], bytes, received_ns: 0 });
        let create = Create { op: CreateOp::Create, path: PATH, data: Some(VALUE), acl: Some(OPEN_UNSAFE), flags: 0, ttl_ms: 0 };
        bed.take(&bed.burst_of(&Request::Create(create), 1));
        bed
    }

    fn burst_of(&self, request: &Request<'_>, count: usize) -> Burst {
        let (mut bytes, mut items) = (Vec::new(), Vec::new());
        for xid in 1..=count as i32 {
            let from = bytes.len();
            put_request(&mut bytes, xid, request);
            // Behind length, number and operation.
            items.push(Item::Request { conn: self.conn, xid, op: request_op(request).wire(), body: from + 12..bytes.len() });
        }
        Burst { items, bytes, received_ns: now().mono_ns }
    }

    fn take(&mut self, burst: &Burst) {
        let mut cx = Cx { now: now(), pool: &mut self.pool, fx: &mut self.fx };
        self.keeper.on_burst(&mut cx, burst);
        self.settle();
    }

    /// Turns until the disk has nothing more to do. Returns the bytes of the answers.
    fn settle(&mut self) -> usize {
        let mut answered = 0;
        loop {
            let mut cx = Cx { now: now(), pool: &mut self.pool, fx: &mut self.fx };
            self.dones.drain(..).for_each(|done| self.keeper.on_disk(&mut cx, done));
            self.keeper.turn(&mut cx);
            self.keeper.tell_progress(&mut cx, Tell::All);
            self.dones.extend(self.fx.disk.drain(..).map(|effect| match effect {
                DiskEffect::Append { ticket, .. } | DiskEffect::Script { ticket, .. } | DiskEffect::Read { ticket, .. } => {
                    DiskDone::of(ticket, Ok(()))
                }
            }));
            let outbox = self.fx.outboxes.of(FrontId(0));
            answered += outbox.bytes.len();
            outbox.clear();
            if self.dones.is_empty() {
                return answered;
            }
        }
    }
}

fn keeping(c: &mut Criterion) {
    let mut bed = Bed::new();
    let mut group = c.benchmark_group("write path");
    group.throughput(Throughput::Elements(BURST as u64));
    for (name, request) in [
        ("keeper setData", Request::SetData { path: PATH, data: Some(VALUE), version: -1 }),
        ("keeper getData", Request::GetData { path: PATH, watch: false }),
    ] {
        let burst = bed.burst_of(&request, BURST);
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut cx = Cx { now: now(), pool: &mut bed.pool, fx: &mut bed.fx };
                bed.keeper.on_burst(&mut cx, black_box(&burst));
                assert!(bed.settle() > BURST * 80, "each is answered");
            });
        });
    }
    group.finish();
}

criterion_group!(benches, judging, watching, keeping, hopping);
criterion_main!(benches);
