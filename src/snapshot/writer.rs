//! Writes a snapshot: images in, scripts for the host out, one in flight at a time.
//!
//! Guarantees that nothing is written that a reader wouldn't take. Memory: [`SnapshotWriter::wants_more`] says when
//! the scan should pause; beyond that only the old images of changed nodes add up, which can't wait.

use super::format::{CHUNK_BODY_BYTES, CHUNK_HEAD_BYTES, Head, Kind, MAGIC, NODE_FIXED_BYTES, NULL_DATA, SESSION_BYTES, VERSION};
use super::output::Output;
use crate::base::checksum::checksum;
use crate::base::ids::Zxid;
use crate::invariant;
use crate::model::file::Script;
use crate::model::image::{AclImage, ImageSink, NodeImage, SessionImage};

/// Finished bytes above which the scan should pause.
const PENDING_BYTES_MAX: usize = 4 << 20;
/// Bytes of one script.
const PIECE_BYTES: usize = 1 << 20;

/// One snapshot that is being written.
#[derive(Clone)]
pub struct SnapshotWriter {
    head: Head,
    /// Finished chunks that no script carries yet.
    pending: Vec<u8>,
    /// Body of the open chunk.
    body: Vec<u8>,
    kind: Kind,
    chunk_count: u32,
    counts: [u64; 3],
    output: Output,
    in_flight: bool,
    finishing: bool,
    renamed: bool,
}

impl SnapshotWriter {
    /// Begins a snapshot with everything that comes before the nodes.
    pub fn begin<'a>(head: Head, sessions: impl Iterator<Item = SessionImage>, acls: impl Iterator<Item = AclImage<'a>>) -> SnapshotWriter {
        let mut writer = SnapshotWriter {
            head,
            pending: Vec::new(),
            body: Vec::new(),
            kind: Kind::Head,
            chunk_count: 0,
            counts: [0; 3],
            output: Output::new(head.zxid),
            in_flight: false,
            finishing: false,
            renamed: false,
        };
        writer.body.extend_from_slice(&head.cluster.0.to_le_bytes());
        writer.body.extend_from_slice(&head.generation.to_le_bytes());
        writer.body.extend_from_slice(&head.checksum.to_le_bytes());
        writer.turn_to(Kind::Sessions);
        sessions.for_each(|session| writer.session(&session));
        writer.turn_to(Kind::Acls);
        acls.for_each(|acl| writer.acl(&acl));
        writer.turn_to(Kind::Nodes);
        writer
    }

    fn session(&mut self, image: &SessionImage) {
        self.room_for(SESSION_BYTES);
        self.body.extend_from_slice(&image.session.0.to_le_bytes());
        self.body.extend_from_slice(&image.timeout_ms.to_le_bytes());
        self.body.extend_from_slice(&image.password);
        self.counts[0] += 1;
    }

    fn acl(&mut self, image: &AclImage<'_>) {
        self.room_for(8 + image.list.len());
        self.body.extend_from_slice(&image.acl.to_le_bytes());
        self.body.extend_from_slice(&length(image.list));
        self.body.extend_from_slice(image.list);
        self.counts[1] += 1;
    }

    /// Closes the open chunk if `bytes` more would make it too large, so that a record never spans two.
    fn room_for(&mut self, bytes: usize) {
        if self.body.len() + bytes > CHUNK_BODY_BYTES {
            self.close_chunk();
        }
    }

    fn turn_to(&mut self, kind: Kind) {
        self.close_chunk();
        self.kind = kind;
    }

    fn close_chunk(&mut self) {
        if self.body.is_empty() {
            return;
        }
        let start = self.pending.len();
        self.pending.extend_from_slice(&MAGIC);
        self.pending.extend_from_slice(&VERSION.to_le_bytes());
        self.pending.extend_from_slice(&[self.kind as u8, 0]);
        self.pending.extend_from_slice(&self.chunk_count.to_le_bytes());
        self.pending.extend_from_slice(&length(&self.body));
        self.pending.extend_from_slice(&self.head.zxid.0.to_le_bytes());
        invariant!(self.pending.len() - start == CHUNK_HEAD_BYTES, "a chunk head of {} bytes", self.pending.len() - start);
        self.pending.extend_from_slice(&self.body);
        let sum = checksum(&self.pending[start..]);
        self.pending.extend_from_slice(&sum.to_le_bytes());
        self.body.clear();
        self.chunk_count += 1;
    }

    /// Bytes that were handed to the disk.
    #[must_use]
    pub fn written_bytes(&self) -> u64 {
        self.output.len()
    }

    /// The zxid it is of.
    #[must_use]
    pub fn zxid(&self) -> Zxid {
        self.head.zxid
    }

    /// Whether the scan should go on; otherwise the disk has to catch up first.
    #[must_use]
    pub fn wants_more(&self) -> bool {
        self.pending.len() < PENDING_BYTES_MAX
    }

    /// Whether so much waits for the disk, old images of changed nodes above all, that it mustn't wait for anything else.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.pending.len() > 2 * PENDING_BYTES_MAX
    }

    /// Every node has been handed in; `digest` is the tree's at the snapshot's zxid.
    pub fn finish(&mut self, digest: u64) {
        invariant!(!self.finishing, "a snapshot is finished twice");
        self.turn_to(Kind::Trailer);
        for number in self.counts.into_iter().chain([digest]) {
            self.body.extend_from_slice(&number.to_le_bytes());
        }
        self.close_chunk();
        self.finishing = true;
    }

    /// The next script to carry out, when none is in flight and there is enough to write.
    pub fn next_script(&mut self) -> Option<Script> {
        let whole_piece = self.pending.len() >= PIECE_BYTES || (self.finishing && !self.pending.is_empty());
        if self.in_flight || self.renamed || !whole_piece {
            return None;
        }
        let rest = self.pending.split_off(self.pending.len().min(PIECE_BYTES));
        let bytes = std::mem::replace(&mut self.pending, rest);
        self.renamed = self.finishing && self.pending.is_empty();
        self.in_flight = true;
        Some(self.output.append(bytes, self.renamed))
    }

    /// The script in flight was carried out. True when the snapshot stands, durable, under its final name.
    pub fn on_done(&mut self) -> bool {
        invariant!(self.in_flight, "a snapshot's script completes that isn't in flight");
        self.in_flight = false;
        self.renamed
    }

    /// Gives up (a script failed, or the snapshot isn't wanted any more): removes what was written so far.
    #[must_use]
    pub fn abort(self) -> Script {
        self.output.abort()
    }
}

impl ImageSink for SnapshotWriter {
    fn node(&mut self, image: NodeImage<'_>) {
        invariant!(!self.finishing, "a node comes after the end of its snapshot");
        let data = image.data.unwrap_or_default();
        self.room_for(NODE_FIXED_BYTES + image.name.len() + data.len());
        let out = &mut self.body;
        for word in [image.slot, image.parent_slot, image.acl] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&length(image.name));
        out.extend_from_slice(&if image.data.is_some() { length(data) } else { NULL_DATA.to_le_bytes() });
        let stat = &image.stat;
        for zxid in [stat.czxid, stat.mzxid, stat.pzxid] {
            out.extend_from_slice(&zxid.0.to_le_bytes());
        }
        for long in [stat.ctime_ms, stat.mtime_ms, stat.owner] {
            out.extend_from_slice(&long.to_le_bytes());
        }
        for int in [stat.version, stat.cversion, stat.aversion] {
            out.extend_from_slice(&int.to_le_bytes());
        }
        out.extend_from_slice(image.name);
        out.extend_from_slice(data);
        self.counts[2] += 1;
    }
}

fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).ok().filter(|len| *len != NULL_DATA).expect("names, data and chunks are bounded by the frame").to_le_bytes()
}
