//! Reads, answered from the applied state. A read comes here only when nothing of its own session is still to be applied.

use super::replies::Answer;
use super::{Cx, Keeper, replies};
use crate::auth;
use crate::base::limits::{MULTI_READ_BYTES_MAX, REPLY_BYTES_MAX};
use crate::base::memory::BatchMemory;
use crate::model::acl::{AclList, permits, perms};
use crate::model::error_code::ErrorCode;
use crate::model::op_code::OpCode;
use crate::model::request::Request;
use crate::model::watch_kind::WatchMode;
use crate::server::words::latency::Stage;
use crate::tree::{NodeId, Tree};
use crate::wire::client::decode::decode_request;
use crate::wire::client::reply::Reply;
use std::cell::Cell;

/// Which nodes a connection may look at.
pub(super) struct Eyes<'a> {
    pub(super) tree: &'a Tree,
    pub(super) identities: &'a [crate::model::acl::Identity],
    pub(super) skip_acl: bool,
}

impl Eyes<'_> {
    fn may(&self, node: NodeId, wanted: i32) -> bool {
        self.skip_acl || permits(self.tree.acl(node), wanted, self.identities)
    }

    /// The node, if it exists and one of the `wanted` permissions is there (T16: first existence, then permission).
    fn open(&self, path: &[u8], wanted: i32) -> Result<NodeId, ErrorCode> {
        let node = self.tree.find(path).ok_or(ErrorCode::NoNode)?;
        if self.may(node, wanted) { Ok(node) } else { Err(ErrorCode::NoAuth) }
    }
}

impl<M: BatchMemory> Keeper<M> {
    /// Carries out one read and sends its answer.
    pub(super) fn execute(&mut self, cx: &mut Cx<'_, M>, idx: u32, xid: i32, op: OpCode, body: &[u8], received_ns: u64) {
        let zxid = self.applied;
        self.stages.record(Stage::Read, cx.now.mono_ns.saturating_sub(received_ns));
        let Ok(request) = decode_request(op, body) else {
            let head = Answer::error(xid, zxid, ErrorCode::MarshallingError, received_ns);
            return replies::answer(&mut self.conns, &mut self.stats, cx, idx, head, |_| {});
        };
        let head = Answer::ok(xid, zxid, received_ns);
        let done = match &request {
            Request::Ping => Ok(()),
            Request::SetWatches(lists) => self.set_watches(cx, idx, lists),
            Request::AddWatch { path, mode } => self.add_watch(idx, path, *mode),
            Request::CheckWatches { path, kind } => self.check_watches(idx, path, *kind),
            Request::RemoveWatches { path, kind } => self.remove_watches(idx, path, *kind),
            _ => return self.look(cx, idx, head, &request),
        };
        match done {
            Ok(()) if op == OpCode::AddWatch => {
                replies::answer(&mut self.conns, &mut self.stats, cx, idx, head, |r| {
                    r.put_ok_record();
                });
            }
            Ok(()) => replies::answer(&mut self.conns, &mut self.stats, cx, idx, head, |_| {}),
            Err(code) => {
                let head = Answer { err: Some(code), ..head };
                replies::answer(&mut self.conns, &mut self.stats, cx, idx, head, |_| {});
            }
        }
    }

    /// Reads of the tree. Registering the watch and looking are one step, so no event can fall between (T26).
    fn look(&mut self, cx: &mut Cx<'_, M>, idx: u32, head: Answer, request: &Request<'_>) {
        let Some(conn) = self.conns.get_mut(idx) else { return };
        // The identities are lent out for the look, because answering needs the connection.
        let identities = std::mem::take(&mut conn.identities);
        let session = conn.session;
        let eyes = Eyes { tree: &self.tree, identities: &identities, skip_acl: self.options.prep.skip_acl };
        let (conns, stats) = (&mut self.conns, &mut self.stats);
        let found = find(&eyes, request);
        let watch = watch_of(request, found.is_ok(), found.as_ref().err().copied());
        let mut fits = true;
        match found {
            Err(code) => replies::answer(conns, stats, cx, idx, Answer { err: Some(code), ..head }, |_| {}),
            Ok(node) => {
                let who = Who { session, extended: &eyes };
                let room = Room::of(request);
                fits = replies::answer_if_it_fits(conns, stats, cx, idx, head, |reply| who.write(reply, request, node, &room));
                if !fits {
                    let head = Answer { err: Some(ErrorCode::MarshallingError), ..head };
                    replies::answer(conns, stats, cx, idx, head, |_| {});
                }
            }
        }
        if let Some(conn) = self.conns.get_mut(idx) {
            conn.identities = identities;
        }
        // What is refused leaves no watch (T25).
        if let Some((path, mode)) = watch.filter(|_| fits) {
            self.watches.add(idx, path, mode);
        }
        if !fits {
            let bytes = Room::bytes(request);
            self.complain(cx, &format!("session {session} asked for more than {bytes} bytes in one answer: refused (MARSHALLINGERROR)"));
        }
    }
}

/// The node that a read is about, or why it can't be shown. Reads without a node give the root.
fn find(eyes: &Eyes<'_>, request: &Request<'_>) -> Result<NodeId, ErrorCode> {
    match request {
        Request::Exists { path, .. } if path.contains(&0) => Err(ErrorCode::BadArguments),
        Request::Exists { path, .. }
        | Request::GetData { path, .. }
        | Request::GetChildren { path, .. }
        | Request::GetChildren2 { path, .. }
        | Request::GetAllChildrenNumber { path } => eyes.open(path, perms::READ),
        Request::GetAcl { path } => eyes.open(path, perms::READ | perms::ADMIN),
        Request::MultiRead(_) | Request::GetEphemerals { .. } | Request::WhoAmI => eyes.tree.find(b"/").ok_or(ErrorCode::SystemError),
        _ => Err(ErrorCode::Unimplemented),
    }
}

/// The watch that a read leaves: exists also on a missing node, the others only when they succeed (T25).
fn watch_of<'a>(request: &Request<'a>, found: bool, error: Option<ErrorCode>) -> Option<(&'a [u8], WatchMode)> {
    match request {
        Request::Exists { path, watch: true } if found || error == Some(ErrorCode::NoNode) => Some((path, WatchMode::Data)),
        Request::GetData { path, watch: true } if found => Some((path, WatchMode::Data)),
        Request::GetChildren { path, watch: true } | Request::GetChildren2 { path, watch: true } if found => {
            Some((path, WatchMode::Children))
        }
        _ => None,
    }
}

/// Without the bytes up to the blank at both ends, as Java's `String.trim`.
fn java_trim(mut text: &[u8]) -> &[u8] {
    while let [0..=b' ', rest @ ..] | [rest @ .., 0..=b' '] = text {
        text = rest;
    }
    text
}

/// Who reads.
struct Who<'a> {
    session: crate::base::ids::SessionId,
    extended: &'a Eyes<'a>,
}

/// What an answer may still take. Counted before it is written: no request may fill the memory, and no answer may outgrow what its length
/// on the wire can say.
struct Room {
    left: Cell<Option<usize>>,
}

impl Room {
    fn of(request: &Request<'_>) -> Room {
        Room { left: Cell::new(Some(Room::bytes(request))) }
    }

    fn bytes(request: &Request<'_>) -> usize {
        if matches!(request, Request::MultiRead(_)) { MULTI_READ_BYTES_MAX } else { REPLY_BYTES_MAX }
    }

    /// Whether there is room for a text or a value of so many bytes, and all before it.
    fn take(&self, bytes: usize) -> bool {
        self.left.set(self.left.get().and_then(|left| left.checked_sub(TEXT_OVERHEAD_BYTES + bytes)));
        self.left.get().is_some()
    }

    /// As many of the texts as there is room for.
    fn take_all<'t>(&self, texts: impl Iterator<Item = &'t [u8]>) -> impl Iterator<Item = &'t [u8]> {
        texts.take_while(|text| self.take(text.len()))
    }

    fn sufficed(&self) -> bool {
        self.left.get().is_some()
    }
}

/// What stands around a text or a value in an answer, at most: lengths, a result's header, a stat.
const TEXT_OVERHEAD_BYTES: usize = 96;

impl Who<'_> {
    /// False if there isn't room for all of it; what was written then means nothing.
    fn write(&self, reply: &mut Reply<'_>, request: &Request<'_>, node: NodeId, room: &Room) -> bool {
        let tree = self.extended.tree;
        match request {
            Request::Exists { .. } => {
                reply.put_stat(&tree.stat(node));
            }
            Request::GetData { .. } => {
                reply.put_buffer(tree.data(node)).put_stat(&tree.stat(node));
            }
            Request::GetChildren { .. } => {
                reply.put_texts(room.take_all(tree.children(node)));
            }
            Request::GetChildren2 { .. } => {
                reply.put_texts(room.take_all(tree.children(node))).put_stat(&tree.stat(node));
            }
            Request::GetAllChildrenNumber { path } => {
                // Asked by its other name, the empty path, ZooKeeper counts the root among its descendants.
                let count = tree.descendants_count(node) + usize::from(path.is_empty());
                reply.put_int(i32::try_from(count).unwrap_or(i32::MAX));
            }
            Request::GetAcl { .. } => {
                if self.extended.may(node, perms::ADMIN) {
                    reply.put_acl(tree.acl(node));
                } else {
                    let masked = auth::masked_acl(tree.acl(node));
                    reply.put_acl(AclList::parse(&masked).unwrap_or(tree.acl(node)));
                }
                reply.put_stat(&tree.stat(node));
            }
            Request::GetEphemerals { prefix } => self.write_ephemerals(reply, prefix, room),
            Request::WhoAmI => {
                reply.put_identities(&auth::who_am_i(self.extended.identities));
            }
            Request::MultiRead(ops) => self.write_multi(reply, ops, room),
            _ => {}
        }
        room.sufficed()
    }

    /// The prefix is plain text; empty, blank or `/`, with blanks around it or without, means all (T50).
    fn write_ephemerals(&self, reply: &mut Reply<'_>, prefix: &[u8], room: &Room) {
        let tree = self.extended.tree;
        let all = matches!(java_trim(prefix), b"" | b"/");
        let mut paths = Vec::new();
        for node in tree.ephemerals_of(self.session) {
            let mut path = Vec::new();
            tree.path_of(node, &mut path);
            if all || path.starts_with(prefix) {
                if !room.take(path.len()) {
                    return;
                }
                paths.push(path);
            }
        }
        paths.sort_unstable();
        reply.put_texts(paths.iter().map(Vec::as_slice));
    }

    /// Every operation stands alone, errors in their places; watch flags count for nothing.
    fn write_multi(&self, reply: &mut Reply<'_>, ops: &[Request<'_>], room: &Room) {
        let tree = self.extended.tree;
        for op in ops {
            match (op, find(self.extended, op)) {
                (_, Err(code)) => reply.put_multi_error(Some(code)),
                (Request::GetData { .. }, Ok(node)) => {
                    let data = tree.data(node);
                    if !room.take(data.map_or(0, <[u8]>::len)) {
                        return;
                    }
                    reply.put_multi_data(data, &tree.stat(node));
                }
                (_, Ok(node)) => reply.put_multi_children(room.take_all(tree.children(node))),
            }
            if !room.sufficed() {
                return;
            }
        }
        reply.put_multi_end();
    }
}
