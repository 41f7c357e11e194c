//! Snapshots of real small trees, taken apart into chunks, damaged, and put together again with right checksums.

use super::mutate;
use ringkeeper::base::checksum::checksum;
use ringkeeper::base::ids::{ClusterId, SessionId};
use ringkeeper::base::prng::Prng;
use ringkeeper::model::acl::{OPEN_UNSAFE, READ_UNSAFE};
use ringkeeper::model::create_mode::NodeKind;
use ringkeeper::model::file::FileOp;
use ringkeeper::model::image::SessionImage;
use ringkeeper::model::txn::{OpRef, TxnHead};
use ringkeeper::snapshot::{Head, SnapshotWriter};
use ringkeeper::tree::{IgnoreChanges, NodeId, Tree, TreeOptions};

/// Sessions that own ephemeral nodes.
const SESSIONS: [i64; 3] = [5, 0x0100_0000_0000_0001, -9];

/// Applies up to `count` transactions that a server could have judged good on `tree`.
pub fn change(prng: &mut Prng, tree: &mut Tree, count: u64) {
    for _ in 0..count {
        let Some(zxid) = tree.last_zxid().next() else { return };
        let session = SessionId(SESSIONS[prng.index(3)]);
        let head = TxnHead { zxid, session, cxid: 1, time_ms: 1_700_000_000_000 };
        one_change(prng, tree, &head);
        tree.end_txn(zxid);
    }
}

/// Every node with its path.
fn nodes(tree: &Tree) -> Vec<(NodeId, Vec<u8>)> {
    let path = |node: NodeId| {
        let mut path = Vec::new();
        tree.path_of(node, &mut path);
        path
    };
    tree.walk(NodeId::ROOT).map(|node| (node, path(node))).collect()
}

fn one_change(prng: &mut Prng, tree: &mut Tree, head: &TxnHead) {
    let all = nodes(tree);
    let (node, path) = &all[prng.index(all.len())];
    let mut data = vec![0; prng.index(60)];
    prng.fill(&mut data);
    let (stat, acl) = (tree.persisted(*node), [OPEN_UNSAFE, READ_UNSAFE][prng.index(2)]);
    let op = match prng.below(10) {
        0..=4 => return create(prng, tree, head, *node, path),
        5 => OpRef::SetData { path, data: if prng.chance(1, 4) { None } else { Some(&data) }, version: stat.version.wrapping_add(1) },
        6 => OpRef::SetAcl { path, acl, aversion: stat.aversion.wrapping_add(1) },
        7 if prng.chance(1, 2) => OpRef::CloseSession,
        _ if tree.num_children(*node) == 0 && !path.starts_with(b"/zookeeper") && path.len() > 1 => OpRef::Delete { path },
        _ => return,
    };
    tree.apply(head, op, &mut IgnoreChanges);
}

fn create(prng: &mut Prng, tree: &mut Tree, head: &TxnHead, parent: NodeId, parent_path: &[u8]) {
    const NAMES: [&[u8]; 6] = [b"a", b"b", b"long-name-of-a-node-0000000001", b"\xff\0", b"zookeeper_limits", b"zookeeper_stats"];
    let name = NAMES[prng.index(NAMES.len())];
    let path = [if parent_path == b"/" { b"" } else { parent_path }, b"/", name].concat();
    if matches!(tree.kind(parent), NodeKind::Ephemeral(_)) || tree.find(&path).is_some() {
        return;
    }
    let owner = match prng.below(6) {
        0 => head.session.0,
        1 => NodeKind::Container.owner(),
        2 if tree.options().extended_types => NodeKind::Ttl { ttl_ms: 9 }.owner(),
        _ => 0,
    };
    let data: &[u8] = if name.starts_with(b"zookeeper_") { b"count=3,bytes=100" } else { &path };
    let acl = [OPEN_UNSAFE, READ_UNSAFE, b"\0\0\0\0"][prng.index(3)];
    let parent_cversion = tree.persisted(parent).cversion.wrapping_add(1);
    let data = if prng.chance(1, 5) { None } else { Some(data) };
    tree.apply(head, OpRef::Create { path: &path, data, acl, owner, parent_cversion }, &mut IgnoreChanges);
}

/// A tree after some transactions, and sessions.
pub fn draw(prng: &mut Prng, options: TreeOptions) -> (Tree, Vec<SessionImage>) {
    let mut tree = Tree::new(options);
    let count = prng.below(40);
    change(prng, &mut tree, count);
    let sessions =
        SESSIONS.iter().take(prng.index(4)).map(|id| SessionImage { session: SessionId(*id), timeout_ms: 4000, password: [7; 16] });
    (tree, sessions.collect())
}

/// The file of a snapshot.
pub fn write(tree: &mut Tree, sessions: &[SessionImage]) -> Vec<u8> {
    let head = Head { zxid: tree.last_zxid(), cluster: ClusterId(9), generation: 3, checksum: 0x5eed };
    let mut writer = SnapshotWriter::begin(head, sessions.iter().copied(), tree.acl_images());
    let digest = tree.digest();
    tree.begin_scan();
    while !tree.scan_step(16, &mut writer) {}
    writer.finish(digest);
    let mut file = Vec::new();
    while let Some(script) = writer.next_script() {
        for op in script.ops {
            if let FileOp::Write { bytes, .. } = op {
                file.extend(bytes);
            }
        }
        writer.on_done();
    }
    file
}

const HEAD_BYTES: usize = 24;
const SUM_BYTES: usize = 8;
const LEN_AT: usize = 12;

/// The chunks of a whole snapshot, checksums left out.
fn chunks(file: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = file;
    let mut out = Vec::new();
    while let Some(len) = rest.get(LEN_AT..LEN_AT + 4) {
        let len = u32::from_le_bytes([len[0], len[1], len[2], len[3]]) as usize;
        let (chunk, after) = rest.split_at(HEAD_BYTES + len + SUM_BYTES);
        out.push(chunk[..HEAD_BYTES + len].to_vec());
        rest = after;
    }
    out
}

/// Damages a whole snapshot. Whether it did, and whether with right checksums.
pub fn damage(prng: &mut Prng, file: &mut Vec<u8>, other: &[u8]) -> (bool, bool) {
    let before = file.clone();
    let forged = match prng.below(8) {
        0 => false,
        1 | 2 => {
            mutate::some(prng, file, other);
            false
        }
        _ => {
            forge(prng, file, other);
            true
        }
    };
    (*file != before, forged)
}

fn forge(prng: &mut Prng, file: &mut Vec<u8>, other: &[u8]) {
    let mut all = chunks(file);
    let mut renumber = prng.chance(1, 2);
    for _ in 0..1 + prng.below(2) {
        let idx = prng.index(all.len());
        match prng.below(14) {
            0 => {
                all.remove(idx);
            }
            1 => all.insert(prng.index(all.len() + 1), all[idx].clone()),
            2 => {
                let with = prng.index(all.len());
                all.swap(idx, with);
            }
            3 => {
                let theirs = chunks(other);
                all[idx] = theirs[prng.index(theirs.len())].clone();
            }
            4 => all[idx][6 + prng.index(2)] = prng.below(7) as u8,
            5 => all[idx][4] = prng.below(3) as u8,
            6 => {
                let at = 8 + prng.index(16);
                all[idx][at] ^= 1 << prng.below(8);
                renumber = false;
            }
            7 => {
                let mut body = all[idx].split_off(HEAD_BYTES);
                mutate::some(prng, &mut body, b"/");
                all[idx].extend(body);
            }
            _ => forge_fields(prng, &mut all),
        }
        if all.is_empty() {
            break;
        }
    }
    file.clear();
    for (number, mut chunk) in all.into_iter().enumerate() {
        if renumber {
            chunk[8..LEN_AT].copy_from_slice(&(number as u32).to_le_bytes());
            let len = (chunk.len() - HEAD_BYTES) as u32;
            chunk[LEN_AT..LEN_AT + 4].copy_from_slice(&len.to_le_bytes());
        }
        let sum = checksum(&chunk);
        file.extend(chunk);
        file.extend_from_slice(&sum.to_le_bytes());
    }
}

/// Offsets of a node's fields that decide something: place, parent, ACL, lengths of name and data.
const NODE_FIELDS: [usize; 5] = [0, 4, 8, 12, 16];
/// Bytes of a node before its name.
const NODE_FIXED_BYTES: usize = 80;
const KIND_AT: usize = 6;
const ACLS: u8 = 3;
const NODES: u8 = 4;

/// Walks over the nodes and changes fields of one, as a program with a defect would write them.
fn forge_fields(prng: &mut Prng, all: &mut [Vec<u8>]) {
    let kind = if prng.chance(1, 5) { ACLS } else { NODES };
    let Some(chunk) = all.iter_mut().find(|chunk| chunk[KIND_AT] == kind) else { return };
    let mut starts = Vec::new();
    let mut at = HEAD_BYTES;
    let word = |chunk: &[u8], at: usize| chunk.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    while at < chunk.len() {
        starts.push(at);
        at += if kind == ACLS {
            8 + word(chunk, at + 4) as usize
        } else {
            let data = word(chunk, at + 16);
            NODE_FIXED_BYTES + word(chunk, at + 12) as usize + if data == u32::MAX { 0 } else { data as usize }
        };
    }
    if starts.is_empty() {
        // A chunk whose body an earlier damage took away.
        return;
    }
    let start = starts[prng.index(starts.len())];
    let near = word(chunk, starts[prng.index(starts.len())]);
    let value = match prng.below(8) {
        0 => mutate::number(prng) as u32,
        1 => [1 << 30, (1 << 30) - 1, 2000, 1 << 20][prng.index(4)],
        2 => prng.below(40) as u32,
        _ => near,
    };
    let at = match (kind, prng.below(6)) {
        (ACLS, _) => start + [0, 8][prng.index(2)],
        (_, 0..=3) => start + NODE_FIELDS[prng.index(3)],
        (_, 4) => start + NODE_FIELDS[prng.index(NODE_FIELDS.len())],
        // Any number of the stat, or the name.
        _ => start + 20 + prng.index(NODE_FIXED_BYTES - 16),
    };
    if let Some(field) = chunk.get_mut(at..at + 4) {
        field.copy_from_slice(&value.to_le_bytes());
    }
}
