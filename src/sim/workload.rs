//! What clients ask: every operation, valid and invalid, on a tree small enough that they meet.

use super::options::Options;
use crate::base::ids::Zxid;
use crate::base::prng::Prng;
use crate::model::acl::{AclEntry, Identity, OPEN_UNSAFE, READ_UNSAFE, encode, perms};
use crate::model::op_code::OpCode;
use crate::model::request::{Create, CreateOp, Request, SetWatches};
use crate::wire::client::client_side::{put_request, request_op};
use crate::wire::client::decode::decode_request;
use std::collections::BTreeSet;

/// Credentials that clients use.
pub const CREDENTIALS: [&[u8]; 3] = [b"ann:secret", b"bob:hidden", b"super:test"];
/// `super:test`, as the server is configured with it.
pub const SUPER_DIGEST: &str = "super:D/InIHSb7yEEbrWz8b9l71RjZJU=";

/// Who a connection is known as after it gave `credentials`, said apart from the server's own words for it.
#[must_use]
pub fn known_as(credentials: &[u8], before: &[Identity]) -> Vec<Identity> {
    let mut known = before.to_vec();
    let mut add = |scheme: &[u8], id: Vec<u8>| {
        let one = Identity { scheme: scheme.to_vec(), id };
        if !known.contains(&one) {
            known.push(one);
        }
    };
    if credentials == b"super:test" {
        add(b"super", Vec::new());
    }
    add(b"digest", crate::auth::digest_id(credentials));
    known
}

/// One request as it goes over the wire.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Operation as sent.
    pub op: i32,
    /// Behind the header.
    pub body: Vec<u8>,
}

/// What a client remembers to watch, to register it again after a reconnect.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs, reason = "the lists of setWatches")]
pub struct Remembered {
    pub data: BTreeSet<Vec<u8>>,
    pub exist: BTreeSet<Vec<u8>>,
    pub child: BTreeSet<Vec<u8>>,
    pub persistent: BTreeSet<Vec<u8>>,
    pub recursive: BTreeSet<Vec<u8>>,
}

impl Remembered {
    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        [&self.data, &self.exist, &self.child, &self.persistent, &self.recursive].iter().all(|set| set.is_empty())
    }

    /// The request that registers everything again.
    #[must_use]
    pub fn request(&self, relative_zxid: Zxid) -> Frame {
        let list = |set: &'_ BTreeSet<Vec<u8>>| -> Vec<Vec<u8>> { set.iter().cloned().collect() };
        let lists = [list(&self.data), list(&self.exist), list(&self.child), list(&self.persistent), list(&self.recursive)];
        let of = |idx: usize| lists[idx].iter().map(Vec::as_slice).collect();
        let request = Request::SetWatches(SetWatches {
            relative_zxid,
            data: of(0),
            exist: of(1),
            child: of(2),
            persistent: of(3),
            persistent_recursive: of(4),
        });
        frame(&request)
    }
}

/// Encodes a request.
#[must_use]
pub fn frame(request: &Request<'_>) -> Frame {
    let mut bytes = Vec::new();
    put_request(&mut bytes, 0, request);
    let frame = Frame { op: request_op(request).wire(), body: bytes.split_off(12) };
    if matches!(request, Request::Create(_) | Request::SetData { .. }) {
        let read = decode_request(request_op(request), &frame.body);
        crate::invariant!(read.as_ref() == Ok(request), "{request:?} is read as {read:?}");
    }
    frame
}

fn path(p: &mut Prng) -> Vec<u8> {
    const TOP: [&str; 4] = ["/a", "/b", "/c", "/q"];
    let mut path = TOP[p.index(TOP.len())].to_owned();
    for _ in 0..[0, 0, 1, 1, 1, 2][p.index(6)] {
        path.push_str(["/x", "/y", "/z"][p.index(3)]);
    }
    if p.chance(1, 12) {
        path.push_str(&format!("/n-{:010}", p.below(9)));
    }
    path.into_bytes()
}

fn data(p: &mut Prng) -> Option<Vec<u8>> {
    let len = match p.below(40) {
        0 => return None,
        1 => 0,
        2 => p.between(2000, 9000),
        4..=11 => p.between(300, 1800),
        3 => p.between(10_000, 30_000),
        _ => p.between(1, 120),
    };
    Some(vec![p.below(256) as u8; len as usize])
}

fn list(p: &mut Prng, unusual: bool) -> Option<Vec<u8>> {
    if !unusual || p.chance(2, 3) {
        return Some(OPEN_UNSAFE.to_vec());
    }
    let one = |perms: i32, scheme: &[u8], id: &[u8]| Some(encode([AclEntry { perms, scheme, id }]));
    match p.below(7) {
        0 => None,
        1 => one(perms::ALL, b"auth", b""),
        2 => one(perms::ALL, b"digest", &crate::auth::digest_id(CREDENTIALS[p.index(2)])),
        3 => one(perms::READ | perms::ADMIN, b"ip", b"10.0.0.1"),
        4 => one(perms::ALL, b"nobody", b"knows"),
        5 => Some(encode([])),
        _ => Some(READ_UNSAFE.to_vec()),
    }
}

fn version(p: &mut Prng) -> i32 {
    if p.chance(2, 3) { -1 } else { p.below(4) as i32 }
}

/// A create of some kind, judged by the server for its sense.
fn create(p: &mut Prng, options: &Options) -> Frame {
    let flags = [0, 0, 0, 1, 1, 2, 3, 4, 5, 6][p.index(10)];
    let (op, flags) = match (flags, p.below(30)) {
        (_, 0) => (CreateOp::Ttl, p.below(9) as i32 - 1),
        (_, 1) => (CreateOp::Create, p.below(9) as i32 - 1),
        (4, _) => (CreateOp::Container, 4),
        (5 | 6, _) => (CreateOp::Ttl, flags),
        _ => (if p.chance(1, 2) { CreateOp::Create } else { CreateOp::Create2 }, flags),
    };
    let path = if matches!(flags, 2 | 3 | 6) { b"/q/n-".to_vec() } else { path(p) };
    let (data, acl) = (data(p), list(p, options.acls > 0));
    let ttl_ms = if op == CreateOp::Ttl { p.between(1, 3000) as i64 } else { 0 };
    frame(&Request::Create(Create { op, path: &path, data: data.as_deref(), acl: acl.as_deref(), flags, ttl_ms }))
}

fn multi(p: &mut Prng) -> Frame {
    let count = p.below(5) as usize;
    let paths: Vec<Vec<u8>> = (0..count).map(|_| path(p)).collect();
    let ops = paths.iter().map(|path| match p.below(5) {
        0 | 1 => Request::Create(Create {
            op: if p.chance(1, 2) { CreateOp::Create } else { CreateOp::Create2 },
            path,
            data: Some(b"multi"),
            acl: Some(OPEN_UNSAFE),
            flags: [0, 1, 2, 4][p.index(4)],
            ttl_ms: 0,
        }),
        2 => Request::Delete { path, version: version(p) },
        3 => Request::SetData { path, data: Some(b"changed"), version: version(p) },
        _ => Request::Check { path, version: version(p) },
    });
    frame(&Request::Multi(ops.collect()))
}

fn read(p: &mut Prng) -> Frame {
    let path = if p.chance(1, 6) { b"/".to_vec() } else { path(p) };
    let path = path.as_slice();
    match p.below(9) {
        0 => frame(&Request::Exists { path, watch: false }),
        1 | 2 => frame(&Request::GetData { path, watch: false }),
        3 => frame(&Request::GetChildren { path, watch: false }),
        4 => frame(&Request::GetChildren2 { path, watch: false }),
        5 => frame(&Request::GetEphemerals { prefix: path }),
        6 => frame(&Request::GetAllChildrenNumber { path }),
        7 => frame(&Request::GetAcl { path }),
        _ => frame(&Request::MultiRead(vec![Request::GetData { path, watch: false }, Request::GetChildren { path: b"/q", watch: false }])),
    }
}

fn watch(p: &mut Prng) -> Frame {
    let path = if p.chance(1, 10) { b"/".to_vec() } else { path(p) };
    let path = path.as_slice();
    match p.below(12) {
        0 => frame(&Request::AddWatch { path, mode: 0 }),
        1 => frame(&Request::AddWatch { path, mode: 1 }),
        2 => frame(&Request::CheckWatches { path, kind: p.between(1, 5) as i32 }),
        3 => frame(&Request::RemoveWatches { path, kind: p.between(1, 5) as i32 }),
        4..=6 => frame(&Request::Exists { path, watch: true }),
        7..=9 => frame(&Request::GetData { path, watch: true }),
        10 => frame(&Request::GetChildren { path, watch: true }),
        _ => frame(&Request::GetChildren2 { path, watch: true }),
    }
}

/// Requests that every server refuses one way or the other.
fn bad(p: &mut Prng) -> Frame {
    let strange: [&[u8]; 8] = [b"", b"a", b"/a/", b"//", b"/a/../b", b"/a\0", b"/\xff", b"/zookeeper"];
    let path = strange[p.index(strange.len())];
    match p.below(8) {
        0 => frame(&Request::Delete { path, version: -1 }),
        1 => frame(&Request::SetData { path, data: Some(b"x"), version: -1 }),
        // The empty path is another name of the root, which the model doesn't know.
        2 if !path.is_empty() => frame(&Request::Exists { path, watch: false }),
        2 | 3 => frame(&Request::Create(Create { op: CreateOp::Create, path, data: None, acl: Some(OPEN_UNSAFE), flags: 0, ttl_ms: 0 })),
        4 => Frame { op: OpCode::Create.wire(), body: vec![p.below(256) as u8; p.below(20) as usize] },
        5 => Frame { op: OpCode::GetData.wire(), body: vec![0x7f; 4] },
        6 => Frame { op: [99, -10, 20, 13, 0, -1][p.index(6)], body: Vec::new() },
        _ => frame(&Request::Reconfig { joining: b"", leaving: b"", members: b"", config_id: -1 }),
    }
}

/// Quotas are nodes like others: their own, the limits, what is used of them.
fn quota(p: &mut Prng) -> Frame {
    let of = ["/a", "/a/x", "/q"][p.index(3)];
    let path = |tail: &str| format!("/zookeeper/quota{of}{tail}").into_bytes();
    let limits = format!("count={0},bytes={1}=;byteHardLimit={1};countHardLimit={0}", p.between(3, 9), p.between(100, 900)).into_bytes();
    let (node, limits_node, stats) = (path(""), path("/zookeeper_limits"), path("/zookeeper_stats"));
    let create = |path: &[u8], data: &[u8]| {
        frame(&Request::Create(Create { op: CreateOp::Create2, path, data: Some(data), acl: Some(OPEN_UNSAFE), flags: 0, ttl_ms: 0 }))
    };
    match p.below(8) {
        0 => create(b"/zookeeper/quota/a", b""),
        1 => create(&node, b""),
        2 => create(&stats, b"count=0,bytes=0"),
        3 => create(&limits_node, &limits),
        4 => frame(&Request::SetData { path: &limits_node, data: Some(&limits), version: -1 }),
        5 => frame(&Request::Delete { path: &limits_node, version: -1 }),
        _ => frame(&Request::GetData { path: &stats, watch: false }),
    }
}

/// Nodes that fill the tree, numbered from `from`, in one transaction.
#[must_use]
pub fn fill(from: u16, count: u16) -> Frame {
    let paths: Vec<Vec<u8>> = (from..from + count).map(|n| format!("/f{n}").into_bytes()).collect();
    let create =
        |path| Request::Create(Create { op: CreateOp::Create, path, data: Some(b"full"), acl: Some(OPEN_UNSAFE), flags: 0, ttl_ms: 0 });
    frame(&Request::Multi(paths.iter().map(|path| create(path)).collect()))
}

/// Draws one request.
#[must_use]
pub fn draw(p: &mut Prng, options: &Options) -> Frame {
    let weights = [
        options.creates,
        options.sets,
        options.deletes,
        options.multis,
        options.reads,
        options.watches,
        options.syncs,
        options.acls,
        options.bad,
        options.quotas,
        1,
    ];
    let total: u64 = weights.iter().map(|w| u64::from(*w)).sum();
    let mut at = p.below(total);
    let kind = weights.iter().position(|w| {
        let here = at < u64::from(*w);
        at = at.saturating_sub(u64::from(*w));
        here
    });
    match kind.unwrap_or_default() {
        0 => create(p, options),
        1 => {
            let (path, data, version) = (path(p), data(p), version(p));
            frame(&Request::SetData { path: &path, data: data.as_deref(), version })
        }
        2 => {
            let (path, version) = (path(p), version(p));
            frame(&Request::Delete { path: &path, version })
        }
        3 => multi(p),
        4 => read(p),
        5 => watch(p),
        6 => frame(&Request::Sync { path: Some(&path(p)) }),
        7 => {
            let (path, acl, version) = (path(p), list(p, true), version(p));
            frame(&Request::SetAcl { path: &path, acl: acl.as_deref(), version })
        }
        8 => bad(p),
        9 => quota(p),
        _ => frame(if p.chance(1, 3) { &Request::WhoAmI } else { &Request::Ping }),
    }
}
