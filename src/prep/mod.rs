//! Judges client writes against the tree plus all outstanding changes, and leaves the resulting values for the log.
//!
//! Guarantees: the first error in ZooKeeper's order of checks wins (T13 to T22); a judgement is the one that would be made
//! if every earlier transaction were applied already; what it leaves (final names, versions, the parent's counter, resolved
//! ACLs) can be applied without another decision; a refused request leaves no trace. Leaves to others: which session a
//! connection may speak for (`session`), turning credentials into identities and resolving ACL lists (`auth`, through
//! [`Asker::resolve`]), zxids and their order (the keeper), applying (`tree`).

mod create;
mod delete;
mod multi;
mod pending;
mod quota;
mod set;
#[cfg(test)]
pub(crate) mod test_bench;
#[cfg(test)]
mod test_bounds;
#[cfg(test)]
mod test_equivalence;
#[cfg(test)]
mod test_precedence;
#[cfg(test)]
pub(crate) mod test_requests;

use crate::base::ids::{SessionId, Zxid};
use crate::base::limits::{FRAME_BYTES_DEFAULT, RECORD_BYTES_MAX};
use crate::base::time::MonoMs;
use crate::invariant;
use crate::model::acl::Identity;
use crate::model::error_code::ErrorCode;
use crate::model::ops::OpBuf;
use crate::model::request::Request;
use crate::model::txn::OpRef;
use crate::mutant;
use crate::tree::Tree;
use pending::{Look, NodeState, Pending};
use quota::PendingUse;
use std::collections::{BTreeMap, VecDeque};

/// How writes are judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PrepOptions {
    /// `skipACL`: no ACL is checked. Lists that are given are still resolved.
    pub skip_acl: bool,
    /// `zookeeper.extendedTypesEnabled`: whether TTL nodes may be created. Must equal the tree's option.
    pub extended_types: bool,
    /// `enforceQuota`: whether hard limits refuse.
    pub enforce_quota: bool,
    /// `reconfigEnabled`.
    pub reconfig_enabled: bool,
}

/// Turns an ACL list as it was sent into the list to store, appended to the second argument, or refuses it with
/// [`ErrorCode::InvalidAcl`].
pub type ResolveAcl<'a> = dyn Fn(Option<&[u8]>, &mut Vec<u8>) -> Result<(), ErrorCode> + 'a;

/// Who asks.
#[derive(Clone, Copy)]
pub struct Asker<'a> {
    /// Owner of ephemeral nodes that the request creates.
    pub session: SessionId,
    /// What the connection is known as.
    pub identities: &'a [Identity],
    /// Resolves the ACL lists of create and setACL for these identities.
    pub resolve: &'a ResolveAcl<'a>,
}

/// Bytes that resolving may add to the ACL lists of one request.
const EXPANDED_BYTES_MAX: usize = FRAME_BYTES_DEFAULT;
/// At least what a record needs besides its changes, and for each change besides its texts (a test of the keeper holds the log to it).
pub(crate) const TXN_HEAD_BYTES: usize = 64;
/// See [`TXN_HEAD_BYTES`].
pub(crate) const OP_BYTES: usize = 64;

/// Why a request makes no transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// For the reply header.
    Code(ErrorCode),
    /// A multi of `count` operations failed at `failed_idx`: a reply without an error in its header, whose results are OK
    /// before that index, `code` at it, and [`ErrorCode::RuntimeInconsistency`] after it.
    Multi {
        /// First operation that failed.
        failed_idx: usize,
        /// Why.
        code: ErrorCode,
        /// Number of operations.
        count: usize,
    },
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Refusal {
        Refusal::Code(code)
    }
}

/// The judge of one leader's term.
#[derive(Debug)]
pub struct Prep {
    options: PrepOptions,
    pending: Pending,
    quota: PendingUse,
    /// Sessions whose closing is outstanding.
    closing: BTreeMap<SessionId, Zxid>,
    /// The same in zxid order.
    closing_order: VecDeque<(Zxid, SessionId)>,
    /// The name being made, reused.
    path: Vec<u8>,
    /// The ACL list being resolved, reused.
    acl: Vec<u8>,
    /// Bytes that resolving has added to the lists of the request being judged.
    expanded_bytes: usize,
}

/// One judgement under way.
struct Bench<'j> {
    prep: &'j mut Prep,
    tree: &'j Tree,
    zxid: Zxid,
    ops: &'j mut OpBuf,
}

impl Prep {
    /// A judge with nothing outstanding. `hash_seed` keeps clients from building colliding paths.
    #[must_use]
    pub fn new(options: PrepOptions, hash_seed: u64) -> Prep {
        Prep {
            options,
            pending: Pending::new(hash_seed, options.extended_types),
            quota: PendingUse::default(),
            closing: BTreeMap::new(),
            closing_order: VecDeque::new(),
            path: Vec::new(),
            acl: Vec::new(),
            expanded_bytes: 0,
        }
    }

    /// Judges `request`, which will be transaction `zxid` if it passes; then `ops` holds its changes (none for a multi that
    /// is empty or only checks) and they count as outstanding. `ops` is cleared first.
    ///
    /// # Errors
    /// Why it is refused. Nothing is outstanding then, `ops` is empty and `zxid` may be used for the next request.
    ///
    /// # Panics
    /// If `zxid` isn't above that of every outstanding transaction, or `request` isn't a write.
    pub fn judge(&mut self, tree: &Tree, asker: &Asker<'_>, request: &Request<'_>, zxid: Zxid, ops: &mut OpBuf) -> Result<(), Refusal> {
        self.begin(zxid, ops);
        let mut bench = Bench { prep: self, tree, zxid, ops };
        let judged = match request {
            Request::Multi(list) => bench.multi(asker, list),
            Request::Check { .. } => Err(ErrorCode::Unimplemented.into()),
            Request::Reconfig { .. } => Err(bench.prep.refuse_reconfig(asker).into()),
            single => bench.single(asker, single).map_err(Refusal::Code),
        };
        if judged.is_err() {
            ops.clear();
        }
        judged
    }

    /// Closes `session` as transaction `zxid`: `ops` gets the one change, its ephemeral nodes (those in the tree and those
    /// outstanding) count as deleted, and its further requests are refused. False, with nothing changed and no
    /// transaction to make, when its closing is outstanding already.
    ///
    /// # Panics
    /// If `zxid` isn't above that of every outstanding transaction.
    pub fn judge_close(&mut self, tree: &Tree, session: SessionId, zxid: Zxid, ops: &mut OpBuf) -> bool {
        self.begin(zxid, ops);
        if self.closing.contains_key(&session) {
            return false;
        }
        ops.push(OpRef::CloseSession);
        self.closing.insert(session, zxid);
        self.closing_order.push_back((zxid, session));
        Bench { prep: self, tree, zxid, ops }.delete_ephemerals(session);
        true
    }

    /// Judges the reaper's proposal to delete `path`: whether it still is a container or TTL node that may go.
    ///
    /// # Errors
    /// [`ErrorCode::NoNode`] if it is gone, [`ErrorCode::NotEmpty`] if it has children, [`ErrorCode::BadVersion`] if it is
    /// of another kind or too young.
    ///
    /// # Panics
    /// If `zxid` isn't above that of every outstanding transaction.
    pub fn judge_reap(&mut self, tree: &Tree, path: &[u8], now: MonoMs, zxid: Zxid, ops: &mut OpBuf) -> Result<(), Refusal> {
        self.begin(zxid, ops);
        Bench { prep: self, tree, zxid, ops }.reap(path, now).map_err(Refusal::Code)
    }

    /// Whether the closing of `session` is outstanding.
    #[must_use]
    pub fn is_closing(&self, session: SessionId) -> bool {
        self.closing.contains_key(&session)
    }

    /// The tree has applied everything through `zxid`. To be called before the next judgement against that tree.
    pub fn applied(&mut self, zxid: Zxid) {
        self.pending.applied(zxid);
        self.quota.applied(zxid);
        while let Some((closed, session)) = self.closing_order.front().copied() {
            if closed > zxid {
                break;
            }
            self.closing_order.pop_front();
            self.closing.remove(&session);
        }
    }

    /// Paths with outstanding changes.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.pending.len()
    }

    /// Forgets everything outstanding, for a leader that stops leading.
    pub fn clear(&mut self) {
        self.pending.clear();
        self.quota = PendingUse::default();
        self.closing.clear();
        self.closing_order.clear();
    }

    fn begin(&mut self, zxid: Zxid, ops: &mut OpBuf) {
        self.expanded_bytes = 0;
        let newest = self.pending.newest_zxid().max(self.closing_order.back().map(|(zxid, _)| *zxid));
        invariant!(newest.is_none_or(|newest| newest < zxid), "judged {zxid} after {newest:?}");
        ops.clear();
    }

    /// What every request of a closing session gets (T40).
    fn check_session(&self, asker: &Asker<'_>) -> Result<(), ErrorCode> {
        if self.is_closing(asker.session) && !mutant!("prep-closing-session-writes") { Err(ErrorCode::SessionExpired) } else { Ok(()) }
    }

    /// Reconfiguration isn't offered: refused as a standalone ZooKeeper does.
    fn refuse_reconfig(&self, asker: &Asker<'_>) -> ErrorCode {
        if !self.options.reconfig_enabled {
            return ErrorCode::ReconfigDisabled;
        }
        self.check_session(asker).err().unwrap_or(ErrorCode::Unimplemented)
    }
}

impl Bench<'_> {
    /// One write outside or inside a multi.
    fn single(&mut self, asker: &Asker<'_>, request: &Request<'_>) -> Result<(), ErrorCode> {
        match request {
            Request::Create(create) => {
                let shape = create::Shape::of_request(create, self.prep.options.extended_types)?;
                self.create(asker, create, shape)
            }
            Request::Delete { path, version } => self.delete(asker, path, *version),
            Request::SetData { path, data, version } => self.set_data(asker, path, *data, *version),
            Request::SetAcl { path, acl, version } => self.set_acl(asker, path, *acl, *version),
            Request::Check { path, version } => self.check(asker, path, *version),
            other => crate::base::check::broken(format_args!("{other:?} isn't for prep to judge")),
        }
    }

    fn look(&self, path: &[u8]) -> Look {
        self.prep.pending.look(self.tree, path)
    }

    /// The node at `path`.
    fn look_existing(&self, path: &[u8]) -> Result<Look, ErrorCode> {
        let look = self.look(path);
        if look.state.exists { Ok(look) } else { Err(ErrorCode::NoNode) }
    }

    fn check_acl(&self, asker: &Asker<'_>, look: &Look, wanted: i32) -> Result<(), ErrorCode> {
        if self.prep.options.skip_acl || self.prep.pending.permits(self.tree, look, wanted, asker.identities) {
            Ok(())
        } else {
            Err(ErrorCode::NoAuth)
        }
    }

    /// Whether a change with so many bytes of texts still fits the transaction: small operations grow when they are logged.
    fn check_room(&self, text_bytes: usize) -> Result<(), ErrorCode> {
        let bytes = TXN_HEAD_BYTES + (self.ops.len() + 1) * OP_BYTES + self.ops.payload_len() + text_bytes;
        if bytes > RECORD_BYTES_MAX { Err(ErrorCode::MarshallingError) } else { Ok(()) }
    }

    fn put(&mut self, path: &[u8], look: &Look, state: NodeState, acl: Option<&[u8]>) {
        self.prep.pending.put(self.zxid, path, look, state, acl);
    }
}

/// The version after a change, if `expected` fits `current` (T18). It wraps.
fn next_version(current: i32, expected: i32) -> Result<i32, ErrorCode> {
    if expected != -1 && expected != current { Err(ErrorCode::BadVersion) } else { Ok(current.wrapping_add(1)) }
}

/// Resolves an ACL list into a buffer that is taken from `prep` and must be given back.
fn resolved(prep: &mut Prep, asker: &Asker<'_>, list: Option<&[u8]>) -> Result<Vec<u8>, ErrorCode> {
    let mut out = std::mem::take(&mut prep.acl);
    out.clear();
    match (asker.resolve)(list, &mut out) {
        Ok(()) => {
            // One list's growth is bounded where it is resolved; a multi has thousands of lists.
            prep.expanded_bytes += out.len().saturating_sub(list.map_or(0, <[u8]>::len));
            if prep.expanded_bytes > EXPANDED_BYTES_MAX {
                prep.acl = out;
                return Err(ErrorCode::InvalidAcl);
            }
            Ok(out)
        }
        Err(code) => {
            prep.acl = out;
            Err(code)
        }
    }
}
