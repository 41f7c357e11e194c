//! What the tests of this module share: a tree, its judge, transactions under way, and short ways to write requests.

use super::{Asker, Prep, PrepOptions, Refusal};
use crate::base::ids::{SessionId, Zxid};
use crate::base::time::MonoMs;
use crate::model::acl::{AclList, Identity, OPEN_UNSAFE};
use crate::model::error_code::ErrorCode;
use crate::model::ops::OpBuf;
use crate::model::request::{Create, CreateOp, Request};
use crate::model::txn::{OpRef, TxnHead};
use crate::tree::{IgnoreChanges, Tree, TreeOptions};
use std::collections::VecDeque;

/// The session that asks unless a test says otherwise.
pub(crate) const ME: SessionId = SessionId(0x11);
/// Another one.
pub(crate) const OTHER: SessionId = SessionId(0x22);
/// A list that the tests' resolver refuses.
pub(crate) const BAD_ACL: &[u8] = b"\0\0\0\x01\0\0\0\x1f\0\0\0\x03bad\0\0\0\0";

/// Stores a list as it is; refuses none, an empty one and [`BAD_ACL`].
pub(crate) fn resolve(list: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), ErrorCode> {
    match list.and_then(AclList::parse) {
        Some(good) if good.count() > 0 && good.bytes() != BAD_ACL => {
            out.extend_from_slice(good.bytes());
            Ok(())
        }
        _ => Err(ErrorCode::InvalidAcl),
    }
}

/// One leader.
pub(crate) struct World {
    pub(crate) tree: Tree,
    pub(crate) prep: Prep,
    pub(crate) identities: Vec<Identity>,
    under_way: VecDeque<(TxnHead, OpBuf)>,
    last: Zxid,
    pub(crate) now: MonoMs,
}

impl World {
    pub(crate) fn new(options: PrepOptions) -> World {
        let tree = Tree::new(TreeOptions { hash_seed: 5, extended_types: options.extended_types, skip_digest: false });
        let identities = vec![Identity { scheme: b"ip".into(), id: b"127.0.0.1".into() }];
        World { tree, prep: Prep::new(options, 5), identities, under_way: VecDeque::new(), last: Zxid::ZERO, now: MonoMs(0) }
    }

    /// The zxid of the next transaction.
    pub(crate) fn next_zxid(&self) -> Zxid {
        Zxid(self.last.0 + 1)
    }

    fn head(&self, session: SessionId) -> TxnHead {
        let zxid = self.next_zxid();
        TxnHead { zxid, session, cxid: 1, time_ms: 1_000 + zxid.0.cast_signed() }
    }

    /// Judges as `session`; a transaction that comes of it stays outstanding.
    pub(crate) fn judge_as(&mut self, session: SessionId, request: &Request<'_>) -> Result<OpBuf, Refusal> {
        let mut ops = OpBuf::default();
        let head = self.head(session);
        let asker = Asker { session, identities: &self.identities, resolve: &resolve };
        let judged = self.prep.judge(&self.tree, &asker, request, head.zxid, &mut ops);
        if let Err(refusal) = judged {
            assert!(ops.is_empty(), "a refused request left changes");
            return Err(refusal);
        }
        Ok(self.commit(head, ops))
    }

    pub(crate) fn judge(&mut self, request: &Request<'_>) -> Result<OpBuf, Refusal> {
        self.judge_as(ME, request)
    }

    /// Judges and expects success.
    pub(crate) fn must(&mut self, request: &Request<'_>) -> OpBuf {
        self.judge(request).unwrap_or_else(|refusal| panic!("{request:?} was refused: {refusal:?}"))
    }

    /// Judges and expects a plain refusal.
    pub(crate) fn code(&mut self, session: SessionId, request: &Request<'_>) -> ErrorCode {
        match self.judge_as(session, request) {
            Err(Refusal::Code(code)) => code,
            other => panic!("{request:?} gave {other:?}"),
        }
    }

    pub(crate) fn close(&mut self, session: SessionId) -> bool {
        let mut ops = OpBuf::default();
        let head = self.head(session);
        let began = self.prep.judge_close(&self.tree, session, head.zxid, &mut ops);
        if began {
            self.commit(head, ops);
        }
        began
    }

    pub(crate) fn reap(&mut self, path: &str) -> Result<(), Refusal> {
        let mut ops = OpBuf::default();
        let head = self.head(SessionId::NONE);
        self.prep.judge_reap(&self.tree, path.as_bytes(), self.now, head.zxid, &mut ops)?;
        self.commit(head, ops);
        Ok(())
    }

    fn commit(&mut self, head: TxnHead, ops: OpBuf) -> OpBuf {
        self.last = head.zxid;
        self.under_way.push_back((head, ops.clone()));
        ops
    }

    /// Applies the oldest `count` transactions under way.
    pub(crate) fn apply(&mut self, count: usize) {
        for _ in 0..count {
            let Some((head, ops)) = self.under_way.pop_front() else { return };
            self.tree.set_now(self.now);
            ops.iter().for_each(|op| self.tree.apply(&head, op, &mut IgnoreChanges));
            self.tree.end_txn(head.zxid);
            self.prep.applied(head.zxid);
        }
    }

    pub(crate) fn apply_all(&mut self) {
        self.apply(usize::MAX);
    }

    /// Transactions under way.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Creates plain nodes with the open list and applies everything.
    pub(crate) fn with(mut self, paths: &[&str]) -> World {
        paths.iter().for_each(|path| drop(self.must(&create(path))));
        self.apply_all();
        self
    }
}

/// A plain create with the open list.
pub(crate) fn create(path: &str) -> Request<'_> {
    create_of(path, CreateOp::Create, 0, Some(OPEN_UNSAFE))
}

pub(crate) fn create_of<'a>(path: &'a str, op: CreateOp, flags: i32, acl: Option<&'a [u8]>) -> Request<'a> {
    Request::Create(Create { op, path: path.as_bytes(), data: Some(b"data"), acl, flags, ttl_ms: 0 })
}

pub(crate) fn create_ttl(path: &str, ttl_ms: i64) -> Request<'_> {
    Request::Create(Create { op: CreateOp::Ttl, path: path.as_bytes(), data: None, acl: Some(OPEN_UNSAFE), flags: 5, ttl_ms })
}

pub(crate) fn delete(path: &str, version: i32) -> Request<'_> {
    Request::Delete { path: path.as_bytes(), version }
}

pub(crate) fn set(path: &str, version: i32) -> Request<'_> {
    Request::SetData { path: path.as_bytes(), data: Some(b"new"), version }
}

pub(crate) fn set_acl<'a>(path: &'a str, acl: &'a [u8], version: i32) -> Request<'a> {
    Request::SetAcl { path: path.as_bytes(), acl: Some(acl), version }
}

pub(crate) fn check(path: &str, version: i32) -> Request<'_> {
    Request::Check { path: path.as_bytes(), version }
}

/// The path of the only change, a creation.
pub(crate) fn created(ops: &OpBuf) -> String {
    match ops.get(0) {
        Some(OpRef::Create { path, .. }) => String::from_utf8_lossy(path).into_owned(),
        other => panic!("{other:?} isn't a creation"),
    }
}
