//! Writes a snapshot while the server serves: images in, bounded pieces of a file out, one piece in flight.

use super::format::{
    CHUNK_BYTES, CHUNK_HEADER_BYTES, ChunkHead, Kind, SNAPSHOT_DIR, file_path, header, put_acl, put_node, put_session, temporary_path,
};
use crate::base::ids::Zxid;
use crate::model::file::{FileOp, FilePath, Script, Volume};
use crate::model::image::{AclImage, ImageSink, NodeImage, SessionImage};
use crate::mutant;
use xxhash_rust::xxh3::Xxh3;

/// What is known when a snapshot begins.
#[derive(Clone, Copy, Debug)]
pub struct Begin {
    /// Everything through it is in, nothing after it.
    pub zxid: Zxid,
    /// The tree's digest at it.
    pub digest: u64,
}

/// A snapshot being written.
pub struct SnapshotWriter {
    begin: Begin,
    /// The chunk that is being filled.
    kind: Kind,
    chunk: Vec<u8>,
    items: u32,
    /// Bytes of whole chunks that no script holds yet, for the offset `at`.
    ready: Vec<u8>,
    at: u64,
    chunks: u32,
    /// Items by kind: sessions, ACLs, nodes.
    counts: [u64; 3],
    hash: Xxh3,
    created: bool,
    sealed: bool,
    finished: bool,
}

impl SnapshotWriter {
    /// Begins with what is small and must be of the very moment: sessions and the ACL table.
    pub fn new<'a>(begin: Begin, sessions: impl Iterator<Item = SessionImage>, acls: impl Iterator<Item = AclImage<'a>>) -> SnapshotWriter {
        let mut writer = SnapshotWriter {
            begin,
            kind: Kind::Sessions,
            chunk: Vec::with_capacity(CHUNK_BYTES),
            items: 0,
            ready: Vec::new(),
            at: 0,
            chunks: 0,
            counts: [0; 3],
            hash: Xxh3::new(),
            created: false,
            sealed: false,
            finished: false,
        };
        writer.ready.extend_from_slice(&header(begin.zxid));
        for session in sessions {
            writer.item(Kind::Sessions, |out| put_session(out, &session));
        }
        for acl in acls {
            writer.item(Kind::Acls, |out| put_acl(out, acl));
        }
        writer
    }

    /// The zxid it is of.
    #[must_use]
    pub fn zxid(&self) -> Zxid {
        self.begin.zxid
    }

    /// Bytes that wait to be written.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.ready.len()
    }

    /// Every node has been given: the trailer follows.
    pub fn seal(&mut self) {
        crate::invariant!(!self.sealed, "the snapshot {} is sealed twice", self.begin.zxid);
        self.close_chunk();
        self.kind = Kind::Trailer;
        let counts = self.counts;
        for count in counts {
            self.chunk.extend_from_slice(&count.to_le_bytes());
        }
        self.chunk.extend_from_slice(&self.begin.zxid.0.to_le_bytes());
        self.chunk.extend_from_slice(&self.begin.digest.to_le_bytes());
        self.items = 1;
        self.close_chunk();
        self.sealed = true;
    }

    /// The next piece for the disk; `None` when nothing waits. To be asked again when the piece before is done.
    pub fn next_script(&mut self) -> Option<Script> {
        if self.finished || (self.ready.is_empty() && !self.sealed) {
            return None;
        }
        let (path, dir) = (temporary_path(self.begin.zxid), FilePath::new(Volume::Data, SNAPSHOT_DIR));
        let mut ops = Vec::new();
        if !std::mem::replace(&mut self.created, true) {
            ops.push(FileOp::MakeDir(dir.clone()));
            ops.push(FileOp::SyncDir(dir.dir()));
            ops.push(FileOp::Create(path.clone()));
        }
        if !self.ready.is_empty() {
            let bytes = std::mem::take(&mut self.ready);
            self.hash.update(&bytes);
            let at = self.at;
            self.at += bytes.len() as u64;
            ops.push(FileOp::Write { path: path.clone(), at, bytes });
        }
        if self.sealed {
            if !mutant!("snapshot-rename-before-sync") {
                ops.push(FileOp::Sync(path.clone()));
            }
            ops.push(FileOp::Verify { path: path.clone(), len: self.at, checksum: self.hash.digest() });
            ops.push(FileOp::Rename { from: path, to: file_path(self.begin.zxid) });
            ops.push(FileOp::SyncDir(dir));
            self.finished = true;
        }
        Some(Script { ops })
    }

    /// Whether the last script was handed out: when it is done, the snapshot counts.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// What removes the unfinished file.
    #[must_use]
    pub fn abandon(&self) -> Script {
        Script { ops: vec![FileOp::Remove(temporary_path(self.begin.zxid))] }
    }

    fn item(&mut self, kind: Kind, put: impl FnOnce(&mut Vec<u8>)) {
        crate::invariant!(!self.sealed, "an image after the snapshot {} was sealed", self.begin.zxid);
        if self.kind != kind {
            self.close_chunk();
            self.kind = kind;
        }
        put(&mut self.chunk);
        self.items += 1;
        self.counts[kind as usize - 1] += 1;
        if self.chunk.len() >= CHUNK_BYTES {
            self.close_chunk();
        }
    }

    fn close_chunk(&mut self) {
        if self.items == 0 {
            return;
        }
        let len = u32::try_from(self.chunk.len()).expect("a chunk is closed long before 4 GiB");
        let head = ChunkHead { kind: self.kind as u32, number: self.chunks, items: self.items, len };
        self.ready.reserve(CHUNK_HEADER_BYTES + self.chunk.len());
        self.ready.extend_from_slice(&head.fields());
        self.ready.extend_from_slice(&head.checksum(&self.chunk).to_le_bytes());
        self.ready.extend_from_slice(&self.chunk);
        self.chunk.clear();
        self.items = 0;
        self.chunks += 1;
    }
}

impl ImageSink for SnapshotWriter {
    fn node(&mut self, image: NodeImage<'_>) {
        self.item(Kind::Nodes, |out| put_node(out, image));
    }
}
