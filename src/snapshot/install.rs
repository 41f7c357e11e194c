//! Installs a snapshot that another server sent, piece by piece, beside the ones that are there.
//!
//! Guarantees: no byte is written that wasn't checked (chunk by chunk, as a reader would), the file was read back from the medium before
//! it gets its name, and a name that ends in `.snap` is durable when the last script completes. Leaves to others: fetching the pieces
//! (the keeper), comparing the digest of the tree (whoever loads it).

use super::format::{CHUNK_HEAD_BYTES, CHUNK_SUM_BYTES, Summary, file_of};
use super::output::Output;
use super::reader::{Broken, Chunks, Nothing, chunk_at};
use crate::base::ids::ClusterId;
use crate::base::limits::RECORD_BYTES_MAX;
use crate::model::file::{Damage, Script};
use crate::model::position::Identity;
use crate::mutant;

/// Longest chunk that is believed: a record of its own, and what a chunk adds.
const CHUNK_BYTES_MAX: usize = RECORD_BYTES_MAX + (1 << 20);

/// Checks one snapshot that comes, or goes, piece by piece: chunk by chunk as a reader would, and whether it is the one that is meant.
#[derive(Clone)]
pub struct PieceCheck {
    at: Identity,
    cluster: ClusterId,
    chunks: Chunks,
    /// The beginning of a chunk that isn't whole yet.
    rest: Vec<u8>,
    /// Bytes that were taken so far.
    taken: u64,
    summary: Option<Summary>,
}

impl PieceCheck {
    /// Of the snapshot at `at` of a history of `cluster`.
    #[must_use]
    pub fn new(at: Identity, cluster: ClusterId) -> PieceCheck {
        PieceCheck { at, cluster, chunks: Chunks::default(), rest: Vec::new(), taken: 0, summary: None }
    }

    /// Where it stands.
    #[must_use]
    pub fn at(&self) -> Identity {
        self.at
    }

    /// The byte that the next piece has to begin with.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.taken
    }

    /// Whether all of it was taken, the trailer included.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.summary.is_some() || (mutant!("snapshot-part-is-whole") && self.taken > 0)
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// What is wrong with the bytes, and where.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), Damage> {
        self.rest.extend_from_slice(bytes);
        let path = file_of(self.at.zxid).name;
        self.check().map_err(|(offset, what)| Damage { path, offset: offset as u64, what })?;
        self.taken += bytes.len() as u64;
        Ok(())
    }

    /// Takes every chunk that is whole by now.
    fn check(&mut self) -> Result<(), Broken> {
        let mut used = 0;
        while let Some(len) = chunk_len(&self.rest[used..], self.chunks.at)? {
            let (start, end) = (used, used + len);
            if self.rest.len() < end {
                break;
            }
            if self.is_whole() {
                return Err((self.chunks.at, "bytes after the trailer".to_owned()));
            }
            let chunk = chunk_at(&self.rest[start..end], self.chunks.at)?;
            let is_first = self.chunks.at == 0;
            self.summary = self.chunks.take(&chunk, &mut Nothing)?;
            if is_first {
                self.check_head()?;
            }
            used = end;
        }
        self.rest.drain(..used);
        if self.is_whole() && !self.rest.is_empty() {
            return Err((self.chunks.at, format!("{} bytes after the trailer", self.rest.len())));
        }
        Ok(())
    }

    fn check_head(&self) -> Result<(), Broken> {
        let Some(head) = self.chunks.head() else { return Ok(()) };
        if head.identity() != self.at || head.cluster != self.cluster {
            let (at, found) = (self.at, head.identity());
            let what = format!(
                "the snapshot at {} ({:016x}) of cluster {} came, asked for was the one at {} ({:016x}) of {}",
                found.zxid, found.checksum, head.cluster, at.zxid, at.checksum, self.cluster
            );
            return Err((0, what));
        }
        Ok(())
    }
}

/// One snapshot that is being received.
#[derive(Clone)]
pub struct Installer {
    check: PieceCheck,
    output: Output,
}

impl Installer {
    /// Of the snapshot at `at` of a history of `cluster`.
    #[must_use]
    pub fn new(at: Identity, cluster: ClusterId) -> Installer {
        Installer { check: PieceCheck::new(at, cluster), output: Output::new(at.zxid) }
    }

    /// Where it stands.
    #[must_use]
    pub fn at(&self) -> Identity {
        self.check.at()
    }

    /// The byte that the next piece has to begin with.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.check.offset()
    }

    /// Whether all of it came, the trailer included.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.check.is_whole()
    }

    /// Takes the next piece. The script writes it; with the last piece it also syncs the file, reads it back, gives it its name and makes
    /// that durable. Scripts are carried out one after the other.
    ///
    /// # Errors
    /// What is wrong with the bytes, and where; [`Installer::abort`] then.
    pub fn piece(&mut self, bytes: &[u8]) -> Result<Script, Damage> {
        self.check.take(bytes)?;
        Ok(self.output.append(bytes.to_vec(), self.is_whole()))
    }

    /// Gives up: removes what was written so far.
    #[must_use]
    pub fn abort(self) -> Script {
        self.output.abort()
    }
}

/// Bytes of the chunk that begins with `rest`, once enough of it is there to tell.
fn chunk_len(rest: &[u8], at: usize) -> Result<Option<usize>, Broken> {
    let Some(head) = rest.first_chunk::<CHUNK_HEAD_BYTES>() else { return Ok(None) };
    let [.., a, b, c, d, _, _, _, _, _, _, _, _] = *head;
    let body = u32::from_le_bytes([a, b, c, d]) as usize;
    let len = CHUNK_HEAD_BYTES + body + CHUNK_SUM_BYTES;
    if len > CHUNK_BYTES_MAX {
        return Err((at + 12, format!("a chunk of {len} bytes, the longest has {CHUNK_BYTES_MAX}")));
    }
    Ok(Some(len))
}
