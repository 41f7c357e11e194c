//! multi and multiRead: several operations in one request, each behind a small header, and as many results.
//!
//! Decoding follows ZooKeeper 3.9.5 to the letter where its rules are odd (which operations may stand where, what flags turn a
//! create into); these rules are on the functions below.

use crate::model::create_mode::CreateMode;
use crate::model::error_code::ErrorCode;
use crate::model::op_code::OpCode;
use crate::model::request::{Create, CreateOp, Request};
use crate::model::stat::Stat;
use crate::mutant;
use crate::wire::client::decode;
use crate::wire::client::reply::Reply;
use crate::wire::jute::reader::{DecodeError, Reader};
use crate::wire::jute::writer::{put_bool, put_buffer, put_int, put_stat, put_text, put_texts};

/// Type of a result that is an error, and of the header that ends the list.
pub const TYPE_ERROR: i32 = -1;

/// In front of each operation and each result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct MultiHeader {
    /// Operation or kind of result.
    pub(super) kind: i32,
    /// Ends the list.
    pub(super) done: bool,
    /// The error's code in an error result.
    pub(super) err: i32,
}

impl MultiHeader {
    pub(super) const END: MultiHeader = MultiHeader { kind: TYPE_ERROR, done: true, err: -1 };

    pub(super) fn read(r: &mut Reader<'_>) -> Result<MultiHeader, DecodeError> {
        Ok(MultiHeader { kind: r.int()?, done: r.boolean()?, err: r.int()? })
    }

    pub(super) fn put(self, out: &mut Vec<u8>) {
        put_int(out, self.kind);
        put_bool(out, self.done);
        put_int(out, self.err);
    }
}

/// The writes of a multi: create in all forms, delete, setData, check. An empty list is legal.
pub(super) fn decode_multi<'a>(r: &mut Reader<'a>) -> Result<Vec<Request<'a>>, DecodeError> {
    decode_list(r, |r, kind| match OpCode::from_wire(kind) {
        Some(OpCode::Create) => create(r, CreateOp::Create),
        Some(OpCode::Create2) => create(r, CreateOp::Create2),
        Some(OpCode::CreateContainer) => create(r, CreateOp::Container),
        Some(OpCode::CreateTtl) => create_ttl(r),
        Some(OpCode::Delete) => decode::delete(r),
        Some(OpCode::SetData) => decode::set_data(r),
        Some(OpCode::Check) => decode::check(r),
        _ => Err(DecodeError::BadMultiOp(kind)),
    })
}

/// The reads of a multiRead: getChildren and getData. Their watch flags don't count.
pub(super) fn decode_multi_read<'a>(r: &mut Reader<'a>) -> Result<Vec<Request<'a>>, DecodeError> {
    decode_list(r, |r, kind| {
        let (path, _ignored_watch) = match OpCode::from_wire(kind) {
            Some(OpCode::GetChildren | OpCode::GetData) => (r.text()?, r.boolean()?),
            _ => return Err(DecodeError::BadMultiOp(kind)),
        };
        Ok(if kind == OpCode::GetData.wire() {
            Request::GetData { path, watch: false }
        } else {
            Request::GetChildren { path, watch: false }
        })
    })
}

/// Reads up to the header that is marked as the end; its other fields don't count.
fn decode_list<'a>(
    r: &mut Reader<'a>,
    mut decode_one: impl FnMut(&mut Reader<'a>, i32) -> Result<Request<'a>, DecodeError>,
) -> Result<Vec<Request<'a>>, DecodeError> {
    // The list grows with the operations that were really there, so the frame bounds it.
    let mut ops = Vec::new();
    loop {
        let header = MultiHeader::read(r)?;
        if header.done {
            return Ok(ops);
        }
        // Every operation begins with its path, and a null one ends in MARSHALLINGERROR for all of them.
        if Reader::new(r.rest()).path() == Err(DecodeError::Null) {
            return Err(DecodeError::Null);
        }
        ops.push(decode_one(r, header.kind)?);
    }
}

/// A create, create2 or createContainer: unlike a stand-alone one, its flags must be of a mode, must not be of a TTL mode
/// (there is no field for it), the container flag makes a container whatever the operation, and a null ACL isn't left to
/// whoever judges the create.
fn create<'a>(r: &mut Reader<'a>, op: CreateOp) -> Result<Request<'a>, DecodeError> {
    let create = decode::create(r, op)?;
    let op = match CreateMode::from_flags(create.flags) {
        None => return Err(DecodeError::BadMultiFlags(create.flags)),
        Some(mode) if mode.is_ttl() => return Err(DecodeError::BadMultiFlags(create.flags)),
        Some(CreateMode::Container) if !mutant!("wire-container-in-multi-is-plain") => CreateOp::Container,
        Some(_) => op,
    };
    if create.acl.is_none() {
        return Err(DecodeError::Null);
    }
    Ok(Request::Create(Create { op, ..create }))
}

/// A createTTL: with flags that aren't of a TTL mode it is a create and its ttl doesn't count (a container flag makes a
/// container; flags of no mode at all are left for whoever judges the create).
fn create_ttl<'a>(r: &mut Reader<'a>) -> Result<Request<'a>, DecodeError> {
    let create = decode::create_ttl(r)?;
    Ok(Request::Create(match CreateMode::from_flags(create.flags) {
        Some(mode) if mode.is_ttl() => create,
        Some(CreateMode::Container) => Create { op: CreateOp::Container, ttl_ms: 0, ..create },
        Some(_) | None => Create { op: CreateOp::Create, ttl_ms: 0, ..create },
    }))
}

/// Results, in the order of the operations. [`Reply::put_multi_end`] comes last.
impl Reply<'_> {
    fn put_multi_header(&mut self, op: OpCode) -> &mut Vec<u8> {
        MultiHeader { kind: op.wire(), done: false, err: 0 }.put(self.out());
        self.out()
    }

    /// Of a create of form `op`: the path, and for every form but the first the stat at creation, which all share one type.
    pub fn put_multi_created(&mut self, op: CreateOp, path: &[u8], stat: &Stat) {
        if op == CreateOp::Create {
            put_text(self.put_multi_header(OpCode::Create), path);
        } else {
            put_text(self.put_multi_header(OpCode::Create2), path);
            put_stat(self.out(), stat);
        }
    }

    /// Of a delete.
    pub fn put_multi_deleted(&mut self) {
        self.put_multi_header(OpCode::Delete);
    }

    /// Of a setData.
    pub fn put_multi_set(&mut self, stat: &Stat) {
        put_stat(self.put_multi_header(OpCode::SetData), stat);
    }

    /// Of a check.
    pub fn put_multi_checked(&mut self) {
        self.put_multi_header(OpCode::Check);
    }

    /// Of a getChildren in a multiRead.
    pub fn put_multi_children<'t>(&mut self, names: impl IntoIterator<Item = &'t [u8]>) {
        put_texts(self.put_multi_header(OpCode::GetChildren), names);
    }

    /// Of a getData in a multiRead.
    pub fn put_multi_data(&mut self, data: Option<&[u8]>, stat: &Stat) {
        put_buffer(self.put_multi_header(OpCode::GetData), data);
        put_stat(self.out(), stat);
    }

    /// Of an operation that failed (`None`: that didn't fail itself, in a multi that did).
    pub fn put_multi_error(&mut self, error: Option<ErrorCode>) {
        let err = error.map_or(0, ErrorCode::code);
        MultiHeader { kind: TYPE_ERROR, done: false, err }.put(self.out());
        put_int(self.out(), err);
    }

    /// After the last result.
    pub fn put_multi_end(&mut self) {
        MultiHeader::END.put(self.out());
    }
}

impl Reply<'_> {
    /// The body of the reply to a multi of `count` operations of which number `failed_idx` failed with `error`: 0 for those
    /// before it, RUNTIMEINCONSISTENCY for those after it. The reply's own header carries no error.
    pub fn put_failed_multi(&mut self, count: usize, failed_idx: usize, error: ErrorCode) {
        for idx in 0..count {
            self.put_multi_error(match idx.cmp(&failed_idx) {
                std::cmp::Ordering::Less => None,
                std::cmp::Ordering::Equal => Some(error),
                std::cmp::Ordering::Greater if mutant!("wire-failed-multi-tail-is-ok") => None,
                std::cmp::Ordering::Greater => Some(ErrorCode::RuntimeInconsistency),
            });
        }
        self.put_multi_end();
    }
}

/// One result of a multi or multiRead as a client reads it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the fields are those of ZooKeeper's records")]
pub enum MultiResult<'a> {
    Created { path: &'a [u8] },
    Created2 { path: &'a [u8], stat: Stat },
    Deleted,
    Set { stat: Stat },
    Checked,
    Children { names: Vec<&'a [u8]> },
    Data { data: Option<&'a [u8]>, stat: Stat },
    Error { code: i32 },
}

/// Reads the results (client side).
///
/// # Errors
/// What is wrong.
pub fn decode_results<'a>(r: &mut Reader<'a>) -> Result<Vec<MultiResult<'a>>, DecodeError> {
    let mut results = Vec::new();
    loop {
        let header = MultiHeader::read(r)?;
        if header.done {
            return Ok(results);
        }
        results.push(match OpCode::from_wire(header.kind) {
            _ if header.kind == TYPE_ERROR => MultiResult::Error { code: r.int()? },
            Some(OpCode::Create) => MultiResult::Created { path: r.text()? },
            Some(OpCode::Create2) => MultiResult::Created2 { path: r.text()?, stat: r.stat()? },
            Some(OpCode::Delete) => MultiResult::Deleted,
            Some(OpCode::SetData) => MultiResult::Set { stat: r.stat()? },
            Some(OpCode::Check) => MultiResult::Checked,
            Some(OpCode::GetChildren) => MultiResult::Children { names: r.texts()? },
            Some(OpCode::GetData) => MultiResult::Data { data: r.buffer()?, stat: r.stat()? },
            _ => return Err(DecodeError::BadType(header.kind)),
        });
    }
}
