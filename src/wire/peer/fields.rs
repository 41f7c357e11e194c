//! Fields of peer messages: takes them from the front of a byte slice, appends them to a vector.
//!
//! Guarantees: never panics on what it reads, never allocates; a value outside its range is refused here, so an epoch that was read
//! fits a zxid and a flag is 0 or 1.

use crate::base::ids::{ClusterId, EPOCH_MAX, ServerId, SessionId, Zxid};
use crate::invariant;
use crate::model::position::{Identity, Position};

/// Why bytes are not the message they should be. Whoever sent them has a defect, or is no server of ours: the link is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadMessage {
    /// The bytes end within a field.
    #[error("the message ends within a field")]
    Truncated,
    /// Bytes behind the last field.
    #[error("{0} bytes follow the last field of the message")]
    Trailing(usize),
    /// No such kind of message, or not here.
    #[error("a message of kind {0} doesn't belong here")]
    Kind(u8),
    /// A value outside its range.
    #[error("{what} of {value} is out of range")]
    Field {
        /// Which.
        what: &'static str,
        /// As received.
        value: u64,
    },
}

/// The bytes that are still to be read.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Reads from the start of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Fields<'a> {
        Fields { rest: bytes }
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Bytes left.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rest.len()
    }

    /// Everything that is left.
    pub fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Says that nothing may follow.
    ///
    /// # Errors
    /// [`BadMessage::Trailing`] unless everything was read.
    pub fn end(&self) -> Result<(), BadMessage> {
        if self.rest.is_empty() { Ok(()) } else { Err(BadMessage::Trailing(self.rest.len())) }
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// [`BadMessage::Truncated`].
    #[inline]
    pub fn chunk<const N: usize>(&mut self) -> Result<[u8; N], BadMessage> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(BadMessage::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// [`BadMessage::Truncated`].
    #[inline]
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], BadMessage> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(BadMessage::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    /// A byte.
    ///
    /// # Errors
    /// [`BadMessage::Truncated`].
    #[inline]
    pub fn u8(&mut self) -> Result<u8, BadMessage> {
        self.chunk::<1>().map(|[byte]| byte)
    }

    /// 2 bytes.
    ///
    /// # Errors
    /// [`BadMessage::Truncated`].
    #[inline]
    pub fn u16(&mut self) -> Result<u16, BadMessage> {
        self.chunk().map(u16::from_le_bytes)
    }

    /// 4 bytes.
    ///
    /// # Errors
    /// [`BadMessage::Truncated`].
    #[inline]
    pub fn u32(&mut self) -> Result<u32, BadMessage> {
        self.chunk().map(u32::from_le_bytes)
    }

    /// 4 bytes, signed.
    ///
    /// # Errors
    /// [`BadMessage::Truncated`].
    #[inline]
    pub fn i32(&mut self) -> Result<i32, BadMessage> {
        self.chunk().map(i32::from_le_bytes)
    }

    /// 8 bytes.
    ///
    /// # Errors
    /// [`BadMessage::Truncated`].
    #[inline]
    pub fn u64(&mut self) -> Result<u64, BadMessage> {
        self.chunk().map(u64::from_le_bytes)
    }

    /// A zxid.
    ///
    /// # Errors
    /// [`BadMessage::Truncated`].
    #[inline]
    pub fn zxid(&mut self) -> Result<Zxid, BadMessage> {
        self.u64().map(Zxid)
    }

    /// A session's id.
    ///
    /// # Errors
    /// [`BadMessage::Truncated`].
    #[inline]
    pub fn session(&mut self) -> Result<SessionId, BadMessage> {
        self.u64().map(|raw| SessionId(raw.cast_signed()))
    }

    /// A server's id.
    ///
    /// # Errors
    /// [`BadMessage::Truncated`].
    #[inline]
    pub fn server(&mut self) -> Result<ServerId, BadMessage> {
        self.u8().map(ServerId)
    }

    /// An ensemble's identity.
    ///
    /// # Errors
    /// [`BadMessage::Truncated`].
    pub fn cluster(&mut self) -> Result<ClusterId, BadMessage> {
        self.chunk().map(|raw| ClusterId(u128::from_le_bytes(raw)))
    }

    /// A flag; `what` names it if it is none.
    ///
    /// # Errors
    /// [`BadMessage::Field`] for anything but 0 and 1.
    #[inline]
    pub fn flag(&mut self, what: &'static str) -> Result<bool, BadMessage> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(BadMessage::Field { what, value: u64::from(other) }),
        }
    }

    /// An epoch.
    ///
    /// # Errors
    /// [`BadMessage::Field`] for one that doesn't fit a zxid.
    #[inline]
    pub fn epoch(&mut self) -> Result<u32, BadMessage> {
        let epoch = self.u32()?;
        if epoch > EPOCH_MAX {
            return Err(BadMessage::Field { what: "an epoch", value: u64::from(epoch) });
        }
        Ok(epoch)
    }

    /// An identity.
    ///
    /// # Errors
    /// [`BadMessage::Truncated`].
    pub fn identity(&mut self) -> Result<Identity, BadMessage> {
        Ok(Identity { zxid: self.zxid()?, checksum: self.u64()? })
    }

    /// A position.
    ///
    /// # Errors
    /// Those of its fields.
    pub fn position(&mut self) -> Result<Position, BadMessage> {
        Ok(Position { current_epoch: self.epoch()?, last: self.identity()? })
    }

    /// A length and so many bytes, `max` of them at most.
    ///
    /// # Errors
    /// [`BadMessage::Field`] for a greater length.
    pub fn counted(&mut self, what: &'static str, max: usize) -> Result<&'a [u8], BadMessage> {
        let len = self.u32()?;
        if len as usize > max {
            return Err(BadMessage::Field { what, value: u64::from(len) });
        }
        self.bytes(len as usize)
    }
}

/// Appends numbers as they are.
macro_rules! putters {
    ($($name:ident: $type:ty),*) => {
        $(
            #[doc = concat!("Appends a `", stringify!($type), "`.")]
            #[inline]
            pub fn $name(out: &mut Vec<u8>, value: $type) {
                out.extend_from_slice(&value.to_le_bytes());
            }
        )*
    };
}

putters!(put_u16: u16, put_u32: u32, put_i32: i32, put_u64: u64, put_u128: u128);

/// Appends a zxid.
#[inline]
pub fn put_zxid(out: &mut Vec<u8>, zxid: Zxid) {
    put_u64(out, zxid.0);
}

/// Appends a session's id.
#[inline]
pub fn put_session(out: &mut Vec<u8>, session: SessionId) {
    put_u64(out, session.0.cast_unsigned());
}

/// Appends a flag.
#[inline]
pub fn put_flag(out: &mut Vec<u8>, flag: bool) {
    out.push(u8::from(flag));
}

/// Appends an epoch.
///
/// # Panics
/// If it doesn't fit a zxid.
#[inline]
pub fn put_epoch(out: &mut Vec<u8>, epoch: u32) {
    invariant!(epoch <= EPOCH_MAX, "epoch {epoch} doesn't fit a zxid");
    put_u32(out, epoch);
}

/// Appends an identity.
pub fn put_identity(out: &mut Vec<u8>, identity: Identity) {
    put_zxid(out, identity.zxid);
    put_u64(out, identity.checksum);
}

/// Appends a position.
pub fn put_position(out: &mut Vec<u8>, position: Position) {
    put_epoch(out, position.current_epoch);
    put_identity(out, position.last);
}

/// Appends a length and the bytes.
///
/// # Panics
/// If there are 4 GiB of them; whoever collects them has a lower bound.
pub fn put_counted(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).expect("a field of a peer message is shorter than 4 GiB");
    put_u32(out, len);
    out.extend_from_slice(bytes);
}
