//! What a snapshot costs without a disk: scanning and encoding a tree, checking the file, and building the tree from it.
//!
//! `cargo bench --bench snapshot`. Throughput is in nodes.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ringkeeper::base::ids::{ClusterId, SessionId, Zxid};
use ringkeeper::model::acl::OPEN_UNSAFE;
use ringkeeper::model::file::FileOp;
use ringkeeper::model::image::{AclImage, NodeImage, SessionImage};
use ringkeeper::model::txn::{OpRef, TxnHead};
use ringkeeper::snapshot::{Head, SnapshotSink, SnapshotWriter, read, verify};
use ringkeeper::tree::{IgnoreChanges, NodeId, Tree, TreeLoader, TreeOptions};
use std::hint::black_box;
use std::time::Duration;

const OPTIONS: TreeOptions = TreeOptions { hash_seed: 7, extended_types: false, skip_digest: false };
/// Nodes of the tree.
const NODES: usize = 20_000;
/// Places that a scan passes at once, as the server's turns do.
const SCAN_NODES: usize = 256;

fn grown() -> Tree {
    let mut tree = Tree::new(OPTIONS);
    for n in 0..NODES {
        let zxid = Zxid(n as u64 + 1);
        let head = TxnHead { zxid, session: SessionId(1), cxid: 1, time_ms: 1_700_000_000_000 };
        let path = format!("/node-{n:010}").into_bytes();
        let parent_cversion = tree.persisted(NodeId::ROOT).cversion + 1;
        let create = OpRef::Create { path: &path, data: Some(&[7; 100]), acl: OPEN_UNSAFE, owner: 0, parent_cversion };
        tree.apply(&head, create, &mut IgnoreChanges);
        tree.end_txn(zxid);
    }
    tree
}

/// The whole file.
fn written(tree: &mut Tree) -> Vec<u8> {
    let head = Head { zxid: tree.last_zxid(), cluster: ClusterId(9), generation: 1, checksum: 1 };
    let mut writer = SnapshotWriter::begin(head, std::iter::empty(), tree.acl_images());
    let digest = tree.digest();
    let mut file = Vec::new();
    tree.begin_scan();
    let mut done = false;
    while !done {
        done = tree.scan_step(SCAN_NODES, &mut writer);
        if done {
            writer.finish(digest);
        }
        while let Some(script) = writer.next_script() {
            for op in script.ops {
                if let FileOp::Write { bytes, .. } = op {
                    file.extend(bytes);
                }
            }
            writer.on_done();
        }
    }
    file
}

/// Builds the tree.
struct Load(TreeLoader);

impl SnapshotSink for Load {
    fn head(&mut self, _: &Head) -> Result<(), String> {
        Ok(())
    }

    fn session(&mut self, _: SessionImage) -> Result<(), String> {
        Ok(())
    }

    fn acl(&mut self, image: AclImage<'_>) -> Result<(), String> {
        self.0.acl(image).map_err(|error| error.to_string())
    }

    fn node(&mut self, image: NodeImage<'_>) -> Result<(), String> {
        self.0.node(image).map_err(|error| error.to_string())
    }
}

fn loaded(file: &[u8]) -> Tree {
    let mut sink = Load(TreeLoader::new(OPTIONS));
    let summary = read("file", file, &mut sink).expect("a whole snapshot");
    sink.0.finish(summary.head.zxid, summary.digest).expect("the same tree")
}

fn snapshots(c: &mut Criterion) {
    let mut group = c.benchmark_group("snapshot");
    group.throughput(Throughput::Elements(NODES as u64)).sample_size(20);
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    let mut tree = grown();
    let file = written(&mut tree);
    group.bench_function("write", |b| b.iter(|| black_box(written(&mut tree)).len()));
    group.bench_function("verify", |b| b.iter(|| verify("file", black_box(&file)).expect("a whole snapshot").nodes));
    group.bench_function("read and build the tree", |b| b.iter_batched(|| (), |()| loaded(black_box(&file)), BatchSize::PerIteration));
    group.finish();
}

criterion_group!(snapshot, snapshots);
criterion_main!(snapshot);
