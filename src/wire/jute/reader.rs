//! Takes fields from the front of a byte slice; what it gives borrows from that slice.
//!
//! Guarantees: never panics, never allocates. A length is checked against the bytes left, which a frame limits, so the extra
//! limit on single fields that ZooKeeper has (`jute.maxbuffer` plus an extra size) can't be the one that is hit first.

use crate::base::ids::Zxid;
use crate::model::acl::AclList;
use crate::model::stat::Stat;
use crate::mutant;

/// Why bytes are not the record they should be. A server answers MARSHALLINGERROR (-5) to it, or closes if it is in a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end within a field.
    #[error("the bytes end within a field")]
    Truncated,
    /// A null where ZooKeeper's handling of the operation stumbles over it.
    #[error("null where a value has to be")]
    Null,
    /// A length below -1.
    #[error("a length of {0} bytes")]
    BadLength(i32),
    /// More elements announced than the bytes left could hold.
    #[error("a count of {0} elements in a record too short for them")]
    BadCount(i32),
    /// An operation that can't stand inside this multi: of another kind, or unknown.
    #[error("operation {0} inside a multi that can't hold it")]
    BadMultiOp(i32),
    /// Flags under which this create operation inside a multi can't be read.
    #[error("create flags {0} inside a multi")]
    BadMultiFlags(i32),
    /// An event type that no server sends, or a result type that no multi has (client side).
    #[error("type {0} is unknown")]
    BadType(i32),
    /// A negotiated timeout or another number outside its range (client side).
    #[error("number {0} is out of its range")]
    BadNumber(i64),
}

/// What a null or negative count of an ACL list stands for when it isn't null: a list without entries.
const NO_ENTRIES: &[u8] = &[0; 4];

/// The bytes that are still to be read.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// What is left.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    /// A boolean: any byte but 0 is true.
    ///
    /// # Errors
    /// `Truncated`.
    #[inline]
    pub fn boolean(&mut self) -> Result<bool, DecodeError> {
        self.chunk::<1>().map(|[byte]| byte != 0)
    }

    /// A 32-bit number.
    ///
    /// # Errors
    /// `Truncated`.
    #[inline]
    pub fn int(&mut self) -> Result<i32, DecodeError> {
        self.chunk().map(i32::from_be_bytes)
    }

    /// A 64-bit number.
    ///
    /// # Errors
    /// `Truncated`.
    #[inline]
    pub fn long(&mut self) -> Result<i64, DecodeError> {
        self.chunk().map(i64::from_be_bytes)
    }

    /// A zxid.
    ///
    /// # Errors
    /// `Truncated`.
    #[inline]
    pub fn zxid(&mut self) -> Result<Zxid, DecodeError> {
        self.long().map(Zxid::from_i64)
    }

    /// Bytes of any content; `None` for null, which differs from empty.
    ///
    /// # Errors
    /// `BadLength` below -1, `Truncated` if they aren't there.
    #[inline]
    pub fn buffer(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        let len = self.int()?;
        if len == -1 {
            return Ok(if mutant!("wire-null-buffer-is-empty") { Some(&[]) } else { None });
        }
        let len = usize::try_from(len).map_err(|_| DecodeError::BadLength(len))?;
        let (head, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(Some(head))
    }

    /// A string as bytes, neither checked nor normalised (Java clients send CESU-8); null gives an empty one.
    ///
    /// # Errors
    /// As [`Reader::buffer`].
    #[inline]
    pub fn text(&mut self) -> Result<&'a [u8], DecodeError> {
        self.buffer().map(Option::unwrap_or_default)
    }

    /// A string that must not be null: the path of an operation that ZooKeeper answers with MARSHALLINGERROR then.
    ///
    /// # Errors
    /// `Null`; as [`Reader::buffer`].
    #[inline]
    pub fn path(&mut self) -> Result<&'a [u8], DecodeError> {
        self.buffer()?.ok_or(DecodeError::Null)
    }

    /// A vector's count; `None` for null. Other negative counts are 0, as in ZooKeeper. A count is believed only if that
    /// many elements of `element_bytes_min` bytes fit into what is left, so it bounds an allocation.
    ///
    /// # Errors
    /// `BadCount`, `Truncated`.
    pub fn count(&mut self, element_bytes_min: usize) -> Result<Option<usize>, DecodeError> {
        let raw = self.int()?;
        if raw == -1 {
            return Ok(None);
        }
        let count = usize::try_from(raw).unwrap_or(0);
        if count > self.rest.len() / element_bytes_min.max(1) {
            return Err(DecodeError::BadCount(raw));
        }
        Ok(Some(count))
    }

    /// A vector of strings; null gives an empty one, and so do null strings.
    ///
    /// # Errors
    /// As [`Reader::count`] and [`Reader::buffer`].
    pub fn texts(&mut self) -> Result<Vec<&'a [u8]>, DecodeError> {
        let count = self.count(4)?.unwrap_or(0);
        (0..count).map(|_| self.text()).collect()
    }

    /// A vector of strings that must not be null; a null string in it is an empty one.
    ///
    /// # Errors
    /// `Null`; as [`Reader::count`] and [`Reader::buffer`].
    pub fn texts_not_null(&mut self) -> Result<Vec<&'a [u8]>, DecodeError> {
        let count = self.count(4)?.ok_or(DecodeError::Null)?;
        (0..count).map(|_| self.text()).collect()
    }

    /// A vector of paths, none of which may be null, nor the vector itself.
    ///
    /// # Errors
    /// `Null`; as [`Reader::count`] and [`Reader::buffer`].
    pub fn paths(&mut self) -> Result<Vec<&'a [u8]>, DecodeError> {
        let count = self.count(4)?.ok_or(DecodeError::Null)?;
        (0..count).map(|_| self.path()).collect()
    }

    /// An ACL list as the bytes it is sent in, for which [`AclList::parse`] is true; `None` for null.
    ///
    /// # Errors
    /// As [`Reader::count`] and [`Reader::buffer`].
    pub fn acl(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        let start = self.rest;
        let Some(count) = self.count(12)? else {
            return Ok(None);
        };
        if count == 0 {
            return Ok(Some(NO_ENTRIES));
        }
        for _ in 0..count {
            self.int()?;
            self.text()?;
            self.text()?;
        }
        Ok(Some(&start[..start.len() - self.rest.len()]))
    }

    /// An ACL list; null gives an empty one.
    ///
    /// # Errors
    /// As [`Reader::acl`].
    pub fn acl_list(&mut self) -> Result<AclList<'a>, DecodeError> {
        let bytes = self.acl()?.unwrap_or(NO_ENTRIES);
        AclList::parse(bytes).ok_or(DecodeError::Truncated)
    }

    /// A stat (68 bytes).
    ///
    /// # Errors
    /// `Truncated`.
    pub fn stat(&mut self) -> Result<Stat, DecodeError> {
        Ok(Stat {
            czxid: self.zxid()?,
            mzxid: self.zxid()?,
            ctime_ms: self.long()?,
            mtime_ms: self.long()?,
            version: self.int()?,
            cversion: self.int()?,
            aversion: self.int()?,
            ephemeral_owner: self.long()?,
            data_len: self.int()?,
            num_children: self.int()?,
            pzxid: self.zxid()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::acl::OPEN_UNSAFE;
    use proptest::prelude::*;

    #[test]
    fn null_and_empty_differ() {
        let mut r = Reader::new(b"\xff\xff\xff\xff\0\0\0\0\0\0\0\x02ab!");
        assert_eq!(r.buffer(), Ok(None));
        assert_eq!(r.buffer(), Ok(Some(&b""[..])));
        assert_eq!(r.buffer(), Ok(Some(&b"ab"[..])));
        assert_eq!(r.rest(), b"!");
    }

    #[test]
    fn what_must_not_be_null_is_refused_when_it_is() {
        assert_eq!(Reader::new(b"\xff\xff\xff\xff").path(), Err(DecodeError::Null));
        assert_eq!(Reader::new(b"\0\0\0\0").path(), Ok(&b""[..]));
        assert_eq!(Reader::new(b"\xff\xff\xff\xff").texts(), Ok(vec![]));
        assert_eq!(Reader::new(b"\xff\xff\xff\xff").paths(), Err(DecodeError::Null));
        assert_eq!(Reader::new(b"\xff\xff\xff\xff").texts_not_null(), Err(DecodeError::Null));
        let null_within = b"\0\0\0\x01\xff\xff\xff\xff";
        assert_eq!(Reader::new(null_within).paths(), Err(DecodeError::Null));
        assert_eq!(Reader::new(null_within).texts_not_null(), Ok(vec![&b""[..]]));
    }

    #[test]
    fn lengths_and_counts_that_lie_are_refused() {
        assert_eq!(Reader::new(b"\xff\xff\xff\xfe").buffer(), Err(DecodeError::BadLength(-2)));
        assert_eq!(Reader::new(b"\x7f\xff\xff\xffabc").buffer(), Err(DecodeError::Truncated));
        assert_eq!(Reader::new(b"\x7f\xff\xff\xff\0\0\0\0").texts(), Err(DecodeError::BadCount(i32::MAX)));
        assert_eq!(Reader::new(b"\0\0\0\x02\0\0\0\0").texts(), Err(DecodeError::BadCount(2)));
        assert_eq!(Reader::new(b"\0\0\0").int(), Err(DecodeError::Truncated));
    }

    #[test]
    fn any_byte_but_zero_is_true() {
        assert_eq!(Reader::new(b"\x02").boolean(), Ok(true));
        assert_eq!(Reader::new(b"\0").boolean(), Ok(false));
    }

    #[test]
    fn an_acl_list_is_the_exact_slice() {
        let bytes = [OPEN_UNSAFE, b"tail"].concat();
        let mut r = Reader::new(&bytes);
        assert_eq!(r.acl(), Ok(Some(OPEN_UNSAFE)));
        assert_eq!(r.rest(), b"tail");
        assert_eq!(Reader::new(b"\xff\xff\xff\xff").acl(), Ok(None));
        assert_eq!(Reader::new(b"\xff\xff\xff\xf0").acl(), Ok(Some(NO_ENTRIES)), "a negative count is an empty list");
        assert_eq!(Reader::new(&OPEN_UNSAFE[..20]).acl(), Err(DecodeError::Truncated));
        let null_strings = b"\0\0\0\x01\0\0\0\x1f\xff\xff\xff\xff\xff\xff\xff\xff";
        assert_eq!(Reader::new(null_strings).acl(), Ok(Some(&null_strings[..])));
    }

    proptest! {
        #[test]
        fn a_list_that_is_read_is_a_list(bytes in proptest::collection::vec(prop_oneof![Just(0u8), 0u8..8, Just(255), any::<u8>()], 0..80)) {
            if let Ok(Some(list)) = Reader::new(&bytes).acl() {
                prop_assert!(AclList::parse(list).is_some());
            }
            let _ = Reader::new(&bytes).texts();
            let _ = Reader::new(&bytes).stat();
        }
    }
}
