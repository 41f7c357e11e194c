//! Client requests of every operation, drawn at random over a stock of paths, values and ACL lists.

use ringkeeper::base::ids::Zxid;
use ringkeeper::base::prng::Prng;
use ringkeeper::model::acl::{AclEntry, OPEN_UNSAFE, encode};
use ringkeeper::model::create_mode::CreateMode;
use ringkeeper::model::op_code::OpCode;
use ringkeeper::model::request::{Create, CreateOp, Request, SetWatches};

/// Every operation that a client may send.
pub fn all_ops() -> impl Iterator<Item = OpCode> {
    (-20..128).filter_map(OpCode::from_wire)
}

/// What requests borrow from.
pub struct Stock {
    texts: Vec<Vec<u8>>,
    acls: Vec<Vec<u8>>,
}

impl Stock {
    /// A few texts and lists.
    pub fn draw(prng: &mut Prng) -> Stock {
        let mut texts: Vec<Vec<u8>> = vec![b"/".to_vec(), b"".to_vec(), b"/a/b".to_vec(), "/ä/\u{1f600}".into()];
        for _ in 0..3 {
            let mut text = vec![0; prng.index(40)];
            prng.fill(&mut text);
            texts.push(text);
        }
        if prng.chance(1, 20) {
            texts.push(vec![b'x'; 1 + prng.index(3000)]);
        }
        let entries = (0..prng.below(4)).map(|n| AclEntry { perms: n as i32, scheme: b"digest", id: b"u:h" });
        Stock { acls: vec![OPEN_UNSAFE.to_vec(), vec![0; 4], encode(entries)], texts }
    }

    fn text(&self, prng: &mut Prng) -> &[u8] {
        &self.texts[prng.index(self.texts.len())]
    }

    fn data(&self, prng: &mut Prng) -> Option<&[u8]> {
        if prng.chance(1, 5) { None } else { Some(self.text(prng)) }
    }

    fn acl(&self, prng: &mut Prng) -> Option<&[u8]> {
        if prng.chance(1, 8) { None } else { Some(&self.acls[prng.index(self.acls.len())]) }
    }

    fn list(&self, prng: &mut Prng) -> Vec<&[u8]> {
        (0..prng.below(4)).map(|_| self.text(prng)).collect()
    }

    /// A request of operation `op`.
    pub fn request<'a>(&'a self, prng: &mut Prng, op: OpCode) -> Request<'a> {
        let path = self.text(prng);
        let number = super::mutate::number(prng) as i32;
        let watch = prng.chance(1, 2);
        match op {
            OpCode::Create => self.create(prng, CreateOp::Create, number),
            OpCode::Create2 => self.create(prng, CreateOp::Create2, number),
            OpCode::CreateContainer => self.create(prng, CreateOp::Container, number),
            OpCode::CreateTtl => self.create(prng, CreateOp::Ttl, number),
            OpCode::Delete => Request::Delete { path, version: number },
            OpCode::Exists => Request::Exists { path, watch },
            OpCode::GetData => Request::GetData { path, watch },
            OpCode::SetData => Request::SetData { path, data: self.data(prng), version: number },
            OpCode::GetAcl => Request::GetAcl { path },
            OpCode::SetAcl => Request::SetAcl { path, acl: self.acl(prng), version: number },
            OpCode::GetChildren => Request::GetChildren { path, watch },
            OpCode::GetChildren2 => Request::GetChildren2 { path, watch },
            OpCode::Sync => Request::Sync { path: self.data(prng) },
            OpCode::Ping => Request::Ping,
            OpCode::Check => Request::Check { path, version: number },
            OpCode::Multi => Request::Multi((0..prng.below(6)).map(|_| self.multi_op(prng)).collect()),
            OpCode::MultiRead => Request::MultiRead((0..prng.below(6)).map(|_| self.multi_read_op(prng)).collect()),
            OpCode::Reconfig => {
                Request::Reconfig { joining: path, leaving: self.text(prng), members: self.text(prng), config_id: i64::from(number) }
            }
            OpCode::CheckWatches => Request::CheckWatches { path, kind: number },
            OpCode::RemoveWatches => Request::RemoveWatches { path, kind: number },
            OpCode::AddWatch => Request::AddWatch { path, mode: number },
            OpCode::Auth => Request::Auth { scheme: path, auth: self.data(prng) },
            OpCode::SetWatches => self.set_watches(prng, false),
            OpCode::SetWatches2 => self.set_watches(prng, true),
            OpCode::Sasl => Request::Sasl { token: path },
            OpCode::GetEphemerals => Request::GetEphemerals { prefix: path },
            OpCode::GetAllChildrenNumber => Request::GetAllChildrenNumber { path },
            OpCode::WhoAmI => Request::WhoAmI,
            OpCode::CloseSession => Request::CloseSession,
        }
    }

    fn create<'a>(&'a self, prng: &mut Prng, op: CreateOp, flags: i32) -> Request<'a> {
        let ttl_ms = if op == CreateOp::Ttl { super::mutate::number(prng) } else { 0 };
        Request::Create(Create { op, path: self.text(prng), data: self.data(prng), acl: self.acl(prng), flags, ttl_ms })
    }

    fn set_watches<'a>(&'a self, prng: &mut Prng, persistent: bool) -> Request<'a> {
        let mut lists =
            SetWatches { relative_zxid: Zxid(prng.next_u64()), data: self.list(prng), exist: self.list(prng), ..SetWatches::default() };
        lists.child = self.list(prng);
        if persistent {
            lists.persistent = vec![self.text(prng)];
            lists.persistent_recursive = self.list(prng);
        }
        Request::SetWatches(lists)
    }

    /// An operation inside a multi, seldom one that can't stand there.
    fn multi_op<'a>(&'a self, prng: &mut Prng) -> Request<'a> {
        const OPS: [OpCode; 7] =
            [OpCode::Create, OpCode::Create2, OpCode::CreateContainer, OpCode::CreateTtl, OpCode::Delete, OpCode::SetData, OpCode::Check];
        if prng.chance(1, 30) {
            return self.request(prng, OpCode::GetData);
        }
        let op = OPS[prng.index(OPS.len())];
        match self.request(prng, op) {
            Request::Create(create) if !prng.chance(1, 20) => {
                let flags = if create.op == CreateOp::Ttl { 5 + prng.below(2) } else { prng.below(4) };
                Request::Create(Create { acl: create.acl.or(Some(&self.acls[0])), flags: flags as i32, ..create })
            }
            other => other,
        }
    }

    fn multi_read_op<'a>(&'a self, prng: &mut Prng) -> Request<'a> {
        let path = self.text(prng);
        match prng.below(20) {
            0 => Request::Delete { path, version: 1 },
            n if n % 2 == 0 => Request::GetData { path, watch: false },
            _ => Request::GetChildren { path, watch: false },
        }
    }
}

/// Whether the request reads back equal when it is encoded: a multi can hold creates that no client encodes like that, and
/// operations that it can't hold.
pub fn is_canonical(request: &Request<'_>) -> bool {
    match request {
        Request::Multi(ops) => ops.iter().all(is_canonical_in_multi),
        Request::MultiRead(ops) => ops.iter().all(|op| matches!(op, Request::GetData { .. } | Request::GetChildren { .. })),
        _ => true,
    }
}

fn is_canonical_in_multi(op: &Request<'_>) -> bool {
    match op {
        Request::Create(create) => {
            let mode = CreateMode::from_flags(create.flags);
            match create.op {
                CreateOp::Ttl => mode.is_some_and(CreateMode::is_ttl),
                CreateOp::Container => create.acl.is_some() && mode.is_some_and(|m| !m.is_ttl()),
                _ => create.acl.is_some() && mode.is_some_and(|m| !m.is_ttl() && m != CreateMode::Container),
            }
        }
        Request::Delete { .. } | Request::SetData { .. } | Request::Check { .. } => true,
        _ => false,
    }
}
