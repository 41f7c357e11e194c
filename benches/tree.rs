//! What applying transactions to the tree costs: create, setData, delete, the close of a session.
//!
//! `cargo bench --bench tree`. Every figure is for [`BURST`] transactions over a tree of [`NODES`] nodes; criterion also prints
//! the transactions a second.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringkeeper::base::ids::{SessionId, Zxid};
use ringkeeper::model::acl::OPEN_UNSAFE;
use ringkeeper::model::txn::{OpRef, TxnHead};
use ringkeeper::tree::{IgnoreChanges, NodeId, Tree, TreeOptions};
use std::hint::black_box;
use std::time::Duration;

/// Transactions of one figure.
const BURST: usize = 64;
/// Nodes of the tree before.
const NODES: usize = 20_000;
/// Parents that they hang below.
const PARENTS: usize = 100;
/// A usual value.
const VALUE: &[u8] = &[7; 100];
const SESSION: SessionId = SessionId(0x0100_0000_0000_0001);

/// Applies `op` as a transaction of its own.
fn apply(tree: &mut Tree, op: OpRef<'_>) {
    let zxid = Zxid(tree.last_zxid().0 + 1);
    let head = TxnHead { zxid, session: SESSION, cxid: 1, time_ms: 1_700_000_000_000 };
    tree.apply(&head, op, &mut IgnoreChanges);
    tree.end_txn(zxid);
}

fn create(tree: &mut Tree, parent: &[u8], path: &[u8], owner: i64) {
    let parent = tree.find(parent).unwrap_or(NodeId::ROOT);
    let parent_cversion = tree.persisted(parent).cversion + 1;
    apply(tree, OpRef::Create { path, data: Some(VALUE), acl: OPEN_UNSAFE, owner, parent_cversion });
}

fn parent(number: usize) -> Vec<u8> {
    format!("/parent-{:03}", number % PARENTS).into_bytes()
}

fn node(number: usize) -> Vec<u8> {
    [parent(number), format!("/node-{number:010}").into_bytes()].concat()
}

fn grown() -> Tree {
    let mut tree = Tree::new(TreeOptions { hash_seed: 7, ..TreeOptions::default() });
    (0..PARENTS).for_each(|n| create(&mut tree, b"/", &parent(n), 0));
    (0..NODES).for_each(|n| create(&mut tree, &parent(n), &node(n), 0));
    tree
}

fn applying(c: &mut Criterion) {
    let mut group = c.benchmark_group("tree/apply");
    group.throughput(Throughput::Elements(BURST as u64)).sample_size(20);
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    let mut tree = grown();
    let paths: Vec<Vec<u8>> = (0..BURST).map(|n| node(n * 211 % NODES)).collect();
    group.bench_function(BenchmarkId::from_parameter("setData"), |b| {
        b.iter(|| {
            for path in &paths {
                let version = tree.find(path).map_or(0, |node| tree.persisted(node).version) + 1;
                apply(&mut tree, OpRef::SetData { path, data: Some(VALUE), version });
            }
        });
    });
    let new: Vec<(Vec<u8>, Vec<u8>)> = (NODES..NODES + BURST).map(|n| (parent(n), node(n))).collect();
    group.bench_function(BenchmarkId::from_parameter("create and delete"), |b| {
        b.iter(|| {
            new.iter().for_each(|(parent, path)| create(&mut tree, parent, path, 0));
            new.iter().for_each(|(_, path)| apply(&mut tree, OpRef::Delete { path }));
        });
    });
    group.bench_function(BenchmarkId::from_parameter("ephemerals and their session's end"), |b| {
        b.iter(|| {
            new.iter().for_each(|(parent, path)| create(&mut tree, parent, path, SESSION.0));
            apply(&mut tree, OpRef::CloseSession);
        });
    });
    group.finish();
}

fn growing(c: &mut Criterion) {
    let mut group = c.benchmark_group("tree");
    group.throughput(Throughput::Elements((NODES + PARENTS) as u64)).sample_size(10);
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    group.bench_function("grow from nothing", |b| b.iter_batched(|| (), |()| black_box(grown()), BatchSize::PerIteration));
    group.finish();
}

criterion_group!(tree, applying, growing);
criterion_main!(tree);
