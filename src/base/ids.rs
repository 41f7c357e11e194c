//! Identifiers as types, so that two of them can't be swapped.
//!
//! A [`Zxid`] is the one order of the system: 24 bits of epoch, 40 of counter (ZooKeeper splits 32/32; clients only compare).
//! Leaves to others: how session ids are drawn (`session`), how connections are numbered (`server::front`).

use std::fmt;

/// Bits of a [`Zxid`] that count transactions within one epoch.
pub const ZXID_COUNTER_BITS: u32 = 40;
/// The highest counter of one epoch.
pub const ZXID_COUNTER_MAX: u64 = (1 << ZXID_COUNTER_BITS) - 1;
/// The highest epoch.
pub const EPOCH_MAX: u32 = (1 << (64 - ZXID_COUNTER_BITS)) - 1;

/// Identity of a transaction and position in the one order of all transactions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Zxid(pub u64);

impl Zxid {
    /// Before every transaction.
    pub const ZERO: Zxid = Zxid(0);

    /// The zxid of transaction number `counter` in `epoch`.
    ///
    /// # Panics
    /// If either part doesn't fit its bits: that would break the order of all later transactions.
    #[must_use]
    pub fn new(epoch: u32, counter: u64) -> Zxid {
        assert!(epoch <= EPOCH_MAX, "epoch {epoch} is above the highest epoch {EPOCH_MAX}");
        assert!(counter <= ZXID_COUNTER_MAX, "zxid counter {counter} is above {ZXID_COUNTER_MAX}");
        Zxid((u64::from(epoch) << ZXID_COUNTER_BITS) | counter)
    }

    /// The epoch part.
    #[must_use]
    pub fn epoch(self) -> u32 {
        // 24 bits remain after the shift.
        (self.0 >> ZXID_COUNTER_BITS) as u32
    }

    /// The counter part.
    #[must_use]
    pub fn counter(self) -> u64 {
        self.0 & ZXID_COUNTER_MAX
    }

    /// The zxid that follows in the same epoch, or `None` when the counter is used up and a new epoch must begin.
    #[must_use]
    pub fn next(self) -> Option<Zxid> {
        (self.counter() < ZXID_COUNTER_MAX).then(|| Zxid(self.0 + 1))
    }

    /// As clients see it on the wire: a signed 64-bit number with the same bits.
    #[must_use]
    pub fn as_i64(self) -> i64 {
        self.0.cast_signed()
    }

    /// From the signed number on the wire.
    #[must_use]
    pub fn from_i64(raw: i64) -> Zxid {
        Zxid(raw.cast_unsigned())
    }
}

impl fmt::Display for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

impl fmt::Debug for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zxid({}:{})", self.epoch(), self.counter())
    }
}

/// A client session. The bits are opaque; ZooKeeper shows them as a signed number, and so do stats (`ephemeralOwner`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SessionId(pub i64);

impl SessionId {
    /// "No session": a connect request with it asks for a new one; transactions of the server itself carry it.
    pub const NONE: SessionId = SessionId(0);
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId(0x{:x})", self.0)
    }
}

/// One member of an ensemble (`myid`, 1 to 255); a standalone server is [`ServerId::STANDALONE`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ServerId(pub u8);

impl ServerId {
    /// The id under which a standalone server hands out sessions, as ZooKeeper's does.
    pub const STANDALONE: ServerId = ServerId(1);
}

/// One front (an executor that owns client connections) of this server.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FrontId(pub u16);

/// One client connection, never reused in the life of the process. The front that owns it is part of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(u64);

impl ConnId {
    /// The `serial`-th connection that `front` accepted.
    ///
    /// # Panics
    /// If `serial` needs more than 48 bits (2.8 * 10^14 connections on one front).
    #[must_use]
    pub fn new(front: FrontId, serial: u64) -> ConnId {
        assert!(serial >> 48 == 0, "connection serial {serial} exceeds 48 bits");
        ConnId((u64::from(front.0) << 48) | serial)
    }

    /// The whole as one number.
    #[must_use]
    pub fn raw(self) -> u64 {
        self.0
    }

    /// The front that owns the connection.
    #[must_use]
    pub fn front(self) -> FrontId {
        FrontId((self.0 >> 48) as u16)
    }

    /// Its number on that front.
    #[must_use]
    pub fn serial(self) -> u64 {
        self.0 & ((1 << 48) - 1)
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conn {}.{}", self.front().0, self.serial())
    }
}

/// One stripe of the replicated log on this server, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ShardId(pub u8);

impl ShardId {
    /// As an index into an array of shards.
    #[must_use]
    pub fn idx(self) -> usize {
        usize::from(self.0)
    }
}

/// Identity of an ensemble's history, drawn once at its first start; servers of different identities refuse each other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ClusterId(pub u128);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zxid_parts_round_trip_and_order() {
        let z = Zxid::new(7, 9);
        assert_eq!((z.epoch(), z.counter()), (7, 9));
        assert!(Zxid::new(8, 0) > Zxid::new(7, ZXID_COUNTER_MAX));
        assert_eq!(Zxid::new(1, ZXID_COUNTER_MAX).next(), None);
        assert_eq!(Zxid::from_i64(Zxid::new(EPOCH_MAX, 3).as_i64()), Zxid::new(EPOCH_MAX, 3));
    }

    #[test]
    fn conn_id_keeps_its_front() {
        let c = ConnId::new(FrontId(513), 77);
        assert_eq!((c.front(), c.serial()), (FrontId(513), 77));
    }
}
