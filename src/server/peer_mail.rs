//! What the keeper and the connections to other servers hand each other: buffers, as between front and keeper ([`super::mail`]).
//!
//! A link is one connection of one lane; its number is never used again, so mail for a link that is gone reaches nobody. Mail of
//! one link is never reordered.

use crate::base::ids::ServerId;
use crate::model::peer::Lane;
use std::ops::Range;

/// One connection to another server, numbered by this process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId(pub u64);

/// One thing that happened on the links.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PeerItem {
    /// The handshake succeeded. A link of the same peer and lane that was up before is down now without another word.
    Up {
        /// Who.
        peer: ServerId,
        /// Which lane.
        lane: Lane,
        /// Its number.
        link: LinkId,
    },
    /// It is gone.
    Down {
        /// Who.
        peer: ServerId,
        /// Which lane.
        lane: Lane,
        /// Its number.
        link: LinkId,
    },
    /// A whole frame with a good checksum, still to be decoded (`wire::peer::decode`).
    Message {
        /// Who.
        peer: ServerId,
        /// Which lane.
        lane: Lane,
        /// On which link.
        link: LinkId,
        /// Kind and fields, as a range of [`PeerBurst::bytes`].
        body: Range<usize>,
    },
}

/// What the links hand to the keeper.
#[derive(Clone, Debug, Default)]
pub struct PeerBurst {
    /// Bodies of the frames, one behind the other.
    pub bytes: Vec<u8>,
    /// What happened, in order.
    pub items: Vec<PeerItem>,
}

/// Memory that an emptied burst or outbox keeps.
const BYTES_KEPT_MAX: usize = 4 << 20;

impl PeerBurst {
    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Forgets everything, keeps the memory (within reason).
    pub fn clear(&mut self) {
        self.items.clear();
        self.bytes.clear();
        self.bytes.shrink_to(BYTES_KEPT_MAX);
    }
}

/// A run of bytes for one link. Several links may be given the same bytes: a proposal is encoded once for all followers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerPart {
    /// For whom.
    pub link: LinkId,
    /// Which of the outbox's bytes: whole frames.
    pub range: Range<usize>,
    /// The link is closed after them.
    pub close: bool,
}

/// What the keeper hands to the links.
#[derive(Clone, Debug, Default)]
pub struct PeerOutbox {
    /// Whole frames (`wire::peer::put`).
    pub bytes: Vec<u8>,
    /// Whom they are for, in order for each link.
    pub parts: Vec<PeerPart>,
}

impl PeerOutbox {
    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Forgets everything, keeps the memory (within reason).
    pub fn clear(&mut self) {
        self.parts.clear();
        self.bytes.clear();
        self.bytes.shrink_to(BYTES_KEPT_MAX);
    }

    /// Books the bytes from `from` on for `link`, merged into the part before where that is for it too and ends there.
    pub fn book(&mut self, link: LinkId, from: usize) {
        let range = from..self.bytes.len();
        if let Some(last) = self.parts.last_mut()
            && last.link == link
            && last.range.end == range.start
            && !last.close
        {
            last.range.end = range.end;
            return;
        }
        self.parts.push(PeerPart { link, range, close: false });
    }

    /// Closes `link` after everything that was booked for it.
    pub fn close(&mut self, link: LinkId) {
        let end = self.bytes.len();
        self.parts.push(PeerPart { link, range: end..end, close: true });
    }
}
