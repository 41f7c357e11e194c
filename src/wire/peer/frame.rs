//! Frames between servers: a fixed header, then a body whose first byte is the kind of message.
//!
//! | byte | field |
//! |---|---|
//! | 0 | magic `RKpr` |
//! | 4 | version of this layout, 2 bytes |
//! | 6 | id of the sender |
//! | 7 | flags: none are defined, so 0 |
//! | 8 | bytes of the body, 4 bytes |
//! | 12 | checksum of bytes 0 to 11 and the body, 8 bytes |
//!
//! Guarantees: a length is judged as soon as its header is there, before anything is reserved for the body; what isn't whole is kept,
//! one frame's beginning at most; the same bytes give the same frames however they arrive.

use crate::base::checksum::checksum_of_two;
use crate::base::ids::ServerId;
use crate::invariant;
use crate::mutant;
use crate::wire::client::frame::Foreign;

/// First bytes of every frame.
pub const MAGIC: [u8; 4] = *b"RKpr";
/// Version of the header's layout, which says nothing about the messages.
pub const FRAME_VERSION: u16 = 1;
/// Bytes before the body.
pub const HEADER_BYTES: usize = 20;
/// Bytes of the header that the checksum covers.
const COVERED_BYTES: usize = 12;
/// Memory that a splitter keeps for the beginning of a frame once it has none: a usual batch.
const PARTIAL_BYTES_KEPT_MAX: usize = 2 << 20;

/// Why bytes aren't a frame. Where the next one starts is unknown, so the link is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadFrame {
    /// Something else speaks.
    #[error("this is no server of Ringkeeper's: {}", foreign(.0))]
    Foreign([u8; 4]),
    /// Another layout.
    #[error("frames of layout {0}, this program knows layout {FRAME_VERSION}: run the same version of Ringkeeper on all servers")]
    Version(u16),
    /// Flags that aren't defined.
    #[error("a frame with flags {0:#04x}")]
    Flags(u8),
    /// A body longer than allowed here, or none.
    #[error("a frame with {len} bytes, 1 to {max} are allowed here")]
    Length {
        /// As received.
        len: u32,
        /// The most.
        max: usize,
    },
    /// Changed on its way.
    #[error("a frame with a wrong checksum: it was changed on its way")]
    Checksum,
}

fn foreign(head: &[u8; 4]) -> &'static str {
    match head {
        // A learner's first packet (a length, then FOLLOWERINFO or OBSERVERINFO), or the election's protocol version.
        [0, 0, 0, _] | [0xff, 0xff, 0xff, 0xff] => {
            "it looks like a ZooKeeper server, which can't be in one ensemble with servers of Ringkeeper's"
        }
        head => Foreign::recognise(i32::from_be_bytes(*head)).map_or("the first bytes aren't ours", Foreign::name),
    }
}

/// A whole frame with a good checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RawFrame<'a> {
    /// Who says it sent it.
    pub sender: ServerId,
    /// Kind and fields; one byte at least.
    pub body: &'a [u8],
}

/// Appends a header to be completed by [`end`]. Returns where it starts.
pub(super) fn begin(out: &mut Vec<u8>, sender: ServerId) -> usize {
    let start = out.len();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&FRAME_VERSION.to_le_bytes());
    out.extend_from_slice(&[sender.0, 0]);
    out.extend_from_slice(&[0; HEADER_BYTES - 8]);
    start
}

/// Completes the header at `start`: everything behind it is the body, `max` bytes at most.
pub(super) fn end(out: &mut [u8], start: usize, max: usize) {
    let (header, body) = out[start..].split_at_mut(HEADER_BYTES);
    invariant!(!body.is_empty() && body.len() <= max, "a peer message of {} bytes, {max} are allowed", body.len());
    header[8..COVERED_BYTES].copy_from_slice(&(body.len() as u32).to_le_bytes());
    let sum = checksum_of_two(&header[..COVERED_BYTES], body);
    header[COVERED_BYTES..].copy_from_slice(&sum.to_le_bytes());
}

/// Judges what is there of a header. `Some`: the length of the whole frame.
fn judge(head: &[u8], max: usize) -> Result<Option<usize>, BadFrame> {
    let known = head.len().min(MAGIC.len());
    if head[..known] != MAGIC[..known] {
        // A stranger's first four bytes name it; as long as they aren't there nothing is lost by waiting.
        return head.first_chunk().map_or(Ok(None), |first| Err(BadFrame::Foreign(*first)));
    }
    let Some(header) = head.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let version = u16::from_le_bytes([header[4], header[5]]);
    if version != FRAME_VERSION {
        return Err(BadFrame::Version(version));
    }
    if header[7] != 0 {
        return Err(BadFrame::Flags(header[7]));
    }
    let len = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
    if len == 0 || len as usize > max {
        return Err(BadFrame::Length { len, max });
    }
    Ok(Some(HEADER_BYTES + len as usize))
}

fn open(frame: &[u8]) -> Result<RawFrame<'_>, BadFrame> {
    let (header, body) = frame.split_at(HEADER_BYTES);
    if header[COVERED_BYTES..] != checksum_of_two(&header[..COVERED_BYTES], body).to_le_bytes() && !mutant!("wire-peer-checksum-ignored") {
        return Err(BadFrame::Checksum);
    }
    Ok(RawFrame { sender: ServerId(header[6]), body })
}

/// Cuts a stream into frames.
///
/// ```
/// use ringkeeper::base::ids::ServerId;
/// use ringkeeper::wire::peer::{PeerFrames, put_goodbye};
/// let mut sent = Vec::new();
/// put_goodbye(&mut sent, ServerId(3), "enough");
/// let mut frames = PeerFrames::new(1024);
/// let (used, frame) = frames.next(&sent[..10]).unwrap();
/// assert_eq!((used, frame), (10, None));
/// let (used, frame) = frames.next(&sent[10..]).unwrap();
/// assert_eq!((used, frame.map(|f| f.sender)), (sent.len() - 10, Some(ServerId(3))));
/// ```
#[derive(Clone, Debug)]
pub struct PeerFrames {
    body_bytes_max: usize,
    /// The beginning of a frame, or a whole one that was given out last.
    partial: Vec<u8>,
    given: bool,
}

impl PeerFrames {
    /// Nothing received; bodies have `body_bytes_max` bytes at most.
    #[must_use]
    pub fn new(body_bytes_max: usize) -> PeerFrames {
        PeerFrames { body_bytes_max, partial: Vec::new(), given: false }
    }

    /// From the next frame on, bodies have so many bytes at most.
    pub fn set_body_bytes_max(&mut self, max: usize) {
        self.body_bytes_max = max;
    }

    /// The next whole frame, and how many bytes at the front of `bytes` were used up. Call it again with the rest until it gives
    /// none; then all bytes are used up.
    ///
    /// # Errors
    /// [`BadFrame`]: nothing that follows can be read.
    pub fn next<'a>(&'a mut self, bytes: &'a [u8]) -> Result<(usize, Option<RawFrame<'a>>), BadFrame> {
        if std::mem::take(&mut self.given) {
            self.partial.clear();
            self.partial.shrink_to(PARTIAL_BYTES_KEPT_MAX);
        }
        if self.partial.is_empty() {
            return self.next_whole(bytes);
        }
        let mut used = 0;
        if self.partial.len() < HEADER_BYTES {
            used = bytes.len().min(HEADER_BYTES - self.partial.len());
            self.partial.extend_from_slice(&bytes[..used]);
        }
        let Some(len) = judge(&self.partial, self.body_bytes_max)? else { return Ok((used, None)) };
        // Only what came is kept: memory grows with what the peer has really sent.
        let more = (bytes.len() - used).min(len - self.partial.len());
        self.partial.extend_from_slice(&bytes[used..used + more]);
        used += more;
        if self.partial.len() < len {
            return Ok((used, None));
        }
        self.given = true;
        Ok((used, Some(open(&self.partial)?)))
    }

    fn next_whole<'a>(&'a mut self, bytes: &'a [u8]) -> Result<(usize, Option<RawFrame<'a>>), BadFrame> {
        match judge(bytes, self.body_bytes_max)? {
            Some(len) if len <= bytes.len() => Ok((len, Some(open(&bytes[..len])?))),
            _ => {
                self.partial.extend_from_slice(bytes);
                Ok((bytes.len(), None))
            }
        }
    }

    /// Bytes of a frame that isn't whole.
    #[must_use]
    pub fn pending(&self) -> usize {
        if self.given { 0 } else { self.partial.len() }
    }
}
