//! One transaction as bytes: an rkyv archive, encoded once straight into a batch and read back as borrowed views.
//!
//! Guarantees: encoding allocates nothing once its scratch arena has grown; reading checks the whole record first, so that no
//! bytes whatever can panic or lead outside the slice. Leaves to others: checksums (`batch`), what a transaction means (`tree`).

use crate::base::ids::{SessionId, Zxid};
use crate::model::ops::OpBuf;
use crate::model::txn::{OpRef, PASSWORD_BYTES, TxnHead};
use rkyv::api::low::to_bytes_in_with_alloc;
use rkyv::rancor::{Failure, Fallible, Source};
use rkyv::ser::allocator::Arena;
use rkyv::ser::writer::Buffer;
use rkyv::ser::{Allocator, Writer};
use rkyv::vec::{ArchivedVec, VecResolver};
use rkyv::with::{ArchiveWith, Inline, InlineAsBox, Map, SerializeWith};
use rkyv::{Archive, Place, Serialize};
use std::fmt;

#[derive(Archive, Serialize)]
struct TxnRecord<'a> {
    zxid: u64,
    session: i64,
    time_ms: i64,
    cxid: i32,
    #[rkyv(with = OpList)]
    ops: &'a OpBuf,
}

#[derive(Archive, Serialize)]
enum OpRecord<'a> {
    Create {
        #[rkyv(with = InlineAsBox)]
        path: &'a [u8],
        #[rkyv(with = Map<InlineAsBox>)]
        data: Option<&'a [u8]>,
        #[rkyv(with = InlineAsBox)]
        acl: &'a [u8],
        owner: i64,
        parent_cversion: i32,
    },
    Delete {
        #[rkyv(with = InlineAsBox)]
        path: &'a [u8],
    },
    SetData {
        #[rkyv(with = InlineAsBox)]
        path: &'a [u8],
        #[rkyv(with = Map<InlineAsBox>)]
        data: Option<&'a [u8]>,
        version: i32,
    },
    SetAcl {
        #[rkyv(with = InlineAsBox)]
        path: &'a [u8],
        #[rkyv(with = InlineAsBox)]
        acl: &'a [u8],
        aversion: i32,
    },
    CreateSession {
        timeout_ms: u32,
        #[rkyv(with = Inline)]
        password: &'a [u8; PASSWORD_BYTES],
    },
    CloseSession,
}

impl<'a> From<OpRef<'a>> for OpRecord<'a> {
    fn from(op: OpRef<'a>) -> OpRecord<'a> {
        match op {
            OpRef::Create { path, data, acl, owner, parent_cversion } => OpRecord::Create { path, data, acl, owner, parent_cversion },
            OpRef::Delete { path } => OpRecord::Delete { path },
            OpRef::SetData { path, data, version } => OpRecord::SetData { path, data, version },
            OpRef::SetAcl { path, acl, aversion } => OpRecord::SetAcl { path, acl, aversion },
            OpRef::CreateSession { timeout_ms, password } => OpRecord::CreateSession { timeout_ms, password },
            OpRef::CloseSession => OpRecord::CloseSession,
        }
    }
}

/// Archives an [`OpBuf`] as a list of [`OpRecord`]s without building one in between.
struct OpList;

impl<'a> ArchiveWith<&'a OpBuf> for OpList {
    type Archived = ArchivedVec<ArchivedOpRecord<'a>>;
    type Resolver = VecResolver;

    fn resolve_with(field: &&'a OpBuf, resolver: VecResolver, out: Place<Self::Archived>) {
        ArchivedVec::resolve_from_len(field.len(), resolver, out);
    }
}

impl<'a, S> SerializeWith<&'a OpBuf, S> for OpList
where
    S: Fallible<Error: Source> + Allocator + Writer + ?Sized,
{
    fn serialize_with(field: &&'a OpBuf, serializer: &mut S) -> Result<VecResolver, S::Error> {
        let ops: &'a OpBuf = field;
        let records = (0..ops.len()).map(|idx| OpRecord::from(ops.get(idx).expect("an index below the length")));
        ArchivedVec::<ArchivedOpRecord<'a>>::serialize_from_iter::<OpRecord<'a>, _, _>(records, serializer)
    }
}

/// Bytes in front of each record in a batch body: its length, little-endian.
pub const FRAME_BYTES: usize = 4;
/// A record without any change.
const EMPTY_RECORD_BYTES: usize = 36;
/// What one change adds besides its texts; rounded up from the largest variant.
const OP_BYTES_MAX: usize = 48;

/// An upper bound for the bytes that a transaction takes in a batch body, frame included.
#[must_use]
pub fn record_bytes_bound(ops: &OpBuf) -> usize {
    FRAME_BYTES + EMPTY_RECORD_BYTES + ops.len() * OP_BYTES_MAX + ops.payload_len()
}

/// The memory that was handed in is too short for the record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the record doesn't fit")]
pub struct TooSmall;

/// Encodes records; keeps the scratch memory that doing so needs.
#[derive(Default)]
pub struct Encoder {
    arena: Arena,
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Encoder")
    }
}

impl Encoder {
    /// Encodes a transaction at the start of `out` and returns its length.
    ///
    /// # Errors
    /// [`TooSmall`] when it doesn't fit; `out` then holds rubbish.
    pub fn encode(&mut self, head: &TxnHead, ops: &OpBuf, out: &mut [u8]) -> Result<usize, TooSmall> {
        let record = TxnRecord { zxid: head.zxid.0, session: head.session.0, time_ms: head.time_ms, cxid: head.cxid, ops };
        let written = to_bytes_in_with_alloc::<_, _, Failure>(&record, Buffer::from(out), self.arena.acquire()).map_err(|_| TooSmall)?;
        Ok(written.len())
    }
}

/// Encodes one transaction with scratch memory of its own; for tools and tests.
///
/// # Errors
/// [`TooSmall`] when it doesn't fit.
pub fn encode_record(head: &TxnHead, ops: &OpBuf, out: &mut [u8]) -> Result<usize, TooSmall> {
    Encoder::default().encode(head, ops, out)
}

/// The bytes aren't a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a record")]
pub struct BadRecord;

/// A checked view of one transaction.
#[derive(Clone, Copy)]
pub struct Record<'a>(&'a ArchivedTxnRecord<'static>);

impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Record({:?}, {} changes)", self.head(), self.op_count())
    }
}

impl<'a> Record<'a> {
    /// Checks `bytes` and gives the view.
    ///
    /// # Errors
    /// [`BadRecord`] when anything in it is wrong.
    pub fn access(bytes: &'a [u8]) -> Result<Record<'a>, BadRecord> {
        rkyv::api::low::access::<ArchivedTxnRecord<'static>, Failure>(bytes).map(Record).map_err(|_| BadRecord)
    }

    /// Who and when.
    #[must_use]
    pub fn head(&self) -> TxnHead {
        TxnHead {
            zxid: Zxid(self.0.zxid.to_native()),
            session: SessionId(self.0.session.to_native()),
            cxid: self.0.cxid.to_native(),
            time_ms: self.0.time_ms.to_native(),
        }
    }

    /// Number of changes.
    #[must_use]
    pub fn op_count(&self) -> usize {
        self.0.ops.len()
    }

    /// The changes in order.
    pub fn ops(&self) -> impl ExactSizeIterator<Item = OpRef<'a>> + use<'a> {
        self.0.ops.as_slice().iter().map(view)
    }
}

fn view<'a>(op: &'a ArchivedOpRecord<'static>) -> OpRef<'a> {
    match op {
        ArchivedOpRecord::Create { path, data, acl, owner, parent_cversion } => OpRef::Create {
            path: path.get(),
            data: data.as_ref().map(|d| d.get()),
            acl: acl.get(),
            owner: owner.to_native(),
            parent_cversion: parent_cversion.to_native(),
        },
        ArchivedOpRecord::Delete { path } => OpRef::Delete { path: path.get() },
        ArchivedOpRecord::SetData { path, data, version } => {
            OpRef::SetData { path: path.get(), data: data.as_ref().map(|d| d.get()), version: version.to_native() }
        }
        ArchivedOpRecord::SetAcl { path, acl, aversion } => {
            OpRef::SetAcl { path: path.get(), acl: acl.get(), aversion: aversion.to_native() }
        }
        ArchivedOpRecord::CreateSession { timeout_ms, password } => OpRef::CreateSession { timeout_ms: timeout_ms.to_native(), password },
        ArchivedOpRecord::CloseSession => OpRef::CloseSession,
    }
}

/// Iterates the framed records of a batch body; ends after the first that is wrong.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    /// The records of `body`.
    #[must_use]
    pub fn new(body: &'a [u8]) -> Records<'a> {
        Records { rest: body }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, BadRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let taken = self.rest.split_first_chunk::<FRAME_BYTES>().and_then(|(len, rest)| {
            let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
            rest.split_at_checked(len)
        });
        let Some((bytes, rest)) = taken else {
            self.rest = &[];
            return Some(Err(BadRecord));
        };
        let record = Record::access(bytes);
        self.rest = if record.is_ok() { rest } else { &[] };
        Some(record)
    }
}
