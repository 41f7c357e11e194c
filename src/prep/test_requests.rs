//! Random requests for the tests: few paths, few sessions, much that collides.

use crate::base::ids::SessionId;
use crate::model::acl::{AclEntry, Identity, OPEN_UNSAFE, READ_UNSAFE, encode};
use crate::model::request::{Create, CreateOp, Request};
use proptest::prelude::*;

const PATHS: [&str; 22] = [
    "/a",
    "/b",
    "/a/x",
    "/a/y",
    "/b/x",
    "/a/x/p",
    "/a/s",
    "/a/s0000000000",
    "/a/s0000000001",
    "/a/s0000000002",
    "/q",
    "/q/1",
    "/q/2",
    "/zookeeper/quota/q",
    "/zookeeper/quota/q/zookeeper_limits",
    "/zookeeper/quota/q/zookeeper_stats",
    "/",
    "/a/",
    "a",
    "/a/..",
    "/zookeeper/config",
    "/b/\u{7f}",
];

/// Connections that ask; each keeps a session until it closes it, and then gets a new one.
pub(crate) const CONNECTIONS: usize = 3;

/// What `connection` is known as.
pub(crate) fn identities(connection: usize) -> Vec<Identity> {
    let mut known = vec![Identity { scheme: b"ip".into(), id: b"127.0.0.1".into() }];
    if connection == 0 {
        known.push(Identity { scheme: b"digest".into(), id: b"me:hash".into() });
    }
    known
}

/// The session of `connection` after so many closed ones.
pub(crate) fn session(connection: usize, closed: usize) -> SessionId {
    SessionId((closed * 16 + connection + 1) as i64)
}

/// A request that owns what it names.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Create { op: CreateOp, path: &'static str, data: Option<Vec<u8>>, acl: Option<Vec<u8>>, flags: i32, ttl_ms: i64 },
    Delete { path: &'static str, version: i32 },
    SetData { path: &'static str, data: Option<Vec<u8>>, version: i32 },
    SetAcl { path: &'static str, acl: Option<Vec<u8>>, version: i32 },
    Check { path: &'static str, version: i32 },
    Multi(Vec<Ask>),
    Reconfig,
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Ask(usize, Ask),
    Close(usize),
    Reap(&'static str),
    /// So many outstanding transactions are applied.
    Apply(usize),
}

impl Ask {
    pub(crate) fn request(&self) -> Request<'_> {
        match self {
            Ask::Create { op, path, data, acl, flags, ttl_ms } => Request::Create(Create {
                op: *op,
                path: path.as_bytes(),
                data: data.as_deref(),
                acl: acl.as_deref(),
                flags: *flags,
                ttl_ms: *ttl_ms,
            }),
            Ask::Delete { path, version } => Request::Delete { path: path.as_bytes(), version: *version },
            Ask::SetData { path, data, version } => Request::SetData { path: path.as_bytes(), data: data.as_deref(), version: *version },
            Ask::SetAcl { path, acl, version } => Request::SetAcl { path: path.as_bytes(), acl: acl.as_deref(), version: *version },
            Ask::Check { path, version } => Request::Check { path: path.as_bytes(), version: *version },
            Ask::Multi(list) => Request::Multi(list.iter().map(Ask::request).collect()),
            Ask::Reconfig => Request::Reconfig { joining: b"", leaving: b"", members: b"", config_id: -1 },
        }
    }
}

fn path() -> impl Strategy<Value = &'static str> {
    // The first few are asked for much more often, so that something is there to collide with.
    prop_oneof![6 => prop::sample::select(&PATHS[..7]), 3 => prop::sample::select(&PATHS[7..16]), 1 => prop::sample::select(&PATHS[16..])]
}

fn acl() -> impl Strategy<Value = Option<Vec<u8>>> {
    let mine = encode([AclEntry { perms: 31, scheme: b"digest", id: b"me:hash" }]);
    let write =
        encode([AclEntry { perms: 2 | 4, scheme: b"world", id: b"anyone" }, AclEntry { perms: 9, scheme: b"ip", id: b"127.0.0.0/8" }]);
    prop_oneof![
        12 => Just(Some(OPEN_UNSAFE.to_vec())),
        1 => Just(Some(READ_UNSAFE.to_vec())),
        1 => Just(Some(mine)),
        1 => Just(Some(write)),
        1 => Just(None),
    ]
}

fn data() -> impl Strategy<Value = Option<Vec<u8>>> {
    let limits = b"count=-1,bytes=-1=;countHardLimit=2;byteHardLimit=9".to_vec();
    prop_oneof![6 => prop::collection::vec(any::<u8>(), 0..8).prop_map(Some), 1 => Just(Some(limits)), 1 => Just(None)]
}

fn version() -> impl Strategy<Value = i32> {
    prop_oneof![5 => Just(-1), 3 => Just(0), 2 => 1..4]
}

fn single() -> impl Strategy<Value = Ask> {
    let op =
        prop_oneof![6 => Just(CreateOp::Create), 2 => Just(CreateOp::Create2), 2 => Just(CreateOp::Container), 2 => Just(CreateOp::Ttl)];
    let create = (op, path(), data(), acl(), prop_oneof![4 => Just(0), 4 => 1..4, 4 => 0..7, 1 => -1..9], 0..4_i64).prop_map(
        |(op, path, data, acl, flags, ttl_ms)| {
            // Mostly a mode that the operation can have.
            let flags = if op == CreateOp::Ttl && ttl_ms > 0 { 5 + (flags & 1) } else { flags };
            Ask::Create { op, path, data, acl, flags, ttl_ms }
        },
    );
    prop_oneof![
        8 => create,
        4 => (path(), version()).prop_map(|(path, version)| Ask::Delete { path, version }),
        4 => (path(), data(), version()).prop_map(|(path, data, version)| Ask::SetData { path, data, version }),
        2 => (path(), acl(), version()).prop_map(|(path, acl, version)| Ask::SetAcl { path, acl, version }),
    ]
}

fn in_multi() -> impl Strategy<Value = Ask> {
    let check = (path(), version()).prop_map(|(path, version)| Ask::Check { path, version });
    prop_oneof![2 => check, 9 => single()].prop_map(|ask| match ask {
        // What doesn't decode in a multi has a test of its own and would hide everything else here.
        Ask::SetAcl { path, version, .. } => Ask::Check { path, version },
        Ask::Create { op, path, data, acl, flags, ttl_ms } if op != CreateOp::Ttl => {
            Ask::Create { op, path, data, acl, flags: flags.clamp(0, 4), ttl_ms }
        }
        other => other,
    })
}

/// One request.
pub(crate) fn ask() -> impl Strategy<Value = Ask> {
    prop_oneof![12 => single(), 4 => prop::collection::vec(in_multi(), 0..5).prop_map(Ask::Multi), 1 => Just(Ask::Reconfig)]
}

/// A long story.
pub(crate) fn steps(len: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        20 => (0..CONNECTIONS, ask()).prop_map(|(connection, ask)| Step::Ask(connection, ask)),
        1 => (0..CONNECTIONS).prop_map(Step::Close),
        1 => path().prop_map(Step::Reap),
        4 => (0..6_usize).prop_map(Step::Apply),
    ];
    prop::collection::vec(step, 1..len)
}
