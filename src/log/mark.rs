//! The durable mark: how far this server is durable, in a file of its own, so that a rotten tail can't pass for a torn one.
//!
//! Two checksummed sectors in blocks of their own are written in turn, so a crash tears at most one; the one with the higher sequence
//! counts. Guarantees: a mark never names more than was durable when it was written.

use crate::base::checksum::checksum;
use crate::base::ids::{ClusterId, Zxid};
use crate::base::limits::BLOCK_BYTES;
use crate::log::batch::{FORMAT_VERSION, Identity, RUNNING_NUMBER_MAX};
use crate::log::fields::{get_u32, get_u64, get_u128, newer_format, put_u32, put_u64, put_u128};
use crate::log::segment::LOG_DIR;
use crate::model::file::{Damage, FileOp, FilePath, Files, Script, Stored, Volume};

/// First bytes of a sector.
pub const MARK_MAGIC: u64 = u64::from_le_bytes(*b"RKmark-\n");
/// What a disk writes at once or not at all.
pub const SECTOR_BYTES: usize = 512;
const SUM: usize = SECTOR_BYTES - 8;
/// Bytes of the file: two blocks, a sector at the start of each.
pub const MARK_FILE_BYTES: usize = 2 * BLOCK_BYTES;

/// One mark.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    /// Whose history.
    pub cluster: ClusterId,
    /// Which of two sectors is newer.
    pub sequence: u64,
    /// Log generation that was in use.
    pub generation: u64,
    /// Durable through this batch.
    pub durable: Identity,
}

/// File of the mark.
#[must_use]
pub fn mark_path() -> FilePath {
    FilePath::new(Volume::Log, format!("{LOG_DIR}/durable.mark"))
}

impl Mark {
    /// The sector.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; SECTOR_BYTES];
        put_u64(&mut out, 0, MARK_MAGIC);
        put_u32(&mut out, 8, FORMAT_VERSION);
        put_u128(&mut out, 16, self.cluster.0);
        put_u64(&mut out, 32, self.sequence);
        put_u64(&mut out, 40, self.generation);
        put_u64(&mut out, 48, self.durable.zxid.0);
        put_u64(&mut out, 56, self.durable.checksum);
        let sum = checksum(&out[..SUM]);
        put_u64(&mut out, SUM, sum);
        out
    }

    /// Reads and checks a sector.
    ///
    /// # Errors
    /// A sentence that says what was found.
    pub fn decode(sector: &[u8]) -> Result<Mark, String> {
        if sector.len() < SECTOR_BYTES {
            return Err(format!("{} bytes, a mark has {SECTOR_BYTES}", sector.len()));
        }
        if get_u64(sector, 0) != MARK_MAGIC {
            return Err("no mark".to_owned());
        }
        if checksum(&sector[..SUM]) != get_u64(sector, SUM) {
            return Err("the checksum of the mark is wrong".to_owned());
        }
        let version = get_u32(sector, 8);
        if version != FORMAT_VERSION {
            return Err(newer_format(version));
        }
        let mark = Mark {
            cluster: ClusterId(get_u128(sector, 16)),
            sequence: get_u64(sector, 32),
            generation: get_u64(sector, 40),
            durable: Identity { zxid: Zxid(get_u64(sector, 48)), checksum: get_u64(sector, 56) },
        };
        let plausible = mark.sequence <= RUNNING_NUMBER_MAX && mark.generation <= RUNNING_NUMBER_MAX;
        if plausible { Ok(mark) } else { Err("a field of the mark is out of range".to_owned()) }
    }

    /// Byte at which the sector of this mark's sequence lies.
    #[must_use]
    pub fn offset(&self) -> u64 {
        (self.sequence % 2) * BLOCK_BYTES as u64
    }

    /// Steps that write this mark into its sector.
    #[must_use]
    pub fn update_script(&self) -> Script {
        Script { ops: vec![FileOp::Write { path: mark_path(), at: self.offset(), bytes: self.encode() }, FileOp::Sync(mark_path())] }
    }

    /// Steps that write this mark and a second one that says the same into both sectors, one after the other. They need no room on the disk.
    #[must_use]
    pub fn overwrite_script(&self) -> Script {
        let ops = [*self, self.next(self.generation, self.durable)].into_iter().flat_map(|mark| mark.update_script().ops);
        Script { ops: ops.collect() }
    }

    /// The mark that follows this one.
    #[must_use]
    pub fn next(&self, generation: u64, durable: Identity) -> Mark {
        Mark { cluster: self.cluster, sequence: self.sequence + 1, generation, durable }
    }

    /// Steps that make the file anew, with this mark and a second one that says the same in the other sector.
    #[must_use]
    pub fn create_script(&self) -> Script {
        let second = self.next(self.generation, self.durable);
        let temp = FilePath::new(Volume::Log, format!("{}.tmp", mark_path().name));
        Script {
            ops: vec![
                FileOp::Create(temp.clone()),
                FileOp::Zero { path: temp.clone(), at: 0, len: MARK_FILE_BYTES as u64 },
                FileOp::Write { path: temp.clone(), at: self.offset(), bytes: self.encode() },
                FileOp::Write { path: temp.clone(), at: second.offset(), bytes: second.encode() },
                FileOp::Sync(temp.clone()),
                FileOp::Rename { from: temp, to: mark_path() },
                FileOp::SyncDir(FilePath::new(Volume::Log, LOG_DIR)),
            ],
        }
    }
}

/// What reading the mark gave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MarkSectors {
    /// The newer good sector; unreadable when neither is good.
    pub mark: Stored<Mark>,
    /// The other sector holds something that isn't a mark: torn by a crash, or rotten.
    pub torn: Option<Damage>,
}

/// Reads both sectors.
#[must_use]
pub fn read_mark(files: &dyn Files) -> MarkSectors {
    let bytes = match files.bytes(&mark_path()) {
        Stored::Empty => return MarkSectors { mark: Stored::Empty, torn: None },
        Stored::Unreadable(damage) => return MarkSectors { mark: Stored::Unreadable(damage), torn: None },
        Stored::Present(bytes) => bytes,
    };
    let read = |at: usize| {
        let sector = bytes.get(at..(at + SECTOR_BYTES).min(bytes.len())).unwrap_or_default();
        Mark::decode(sector).map_err(|what| Damage { path: mark_path().name, offset: at as u64, what })
    };
    match (read(0), read(BLOCK_BYTES)) {
        (Ok(a), Ok(b)) => MarkSectors { mark: Stored::Present(if a.sequence > b.sequence { a } else { b }), torn: None },
        (Ok(good), Err(torn)) | (Err(torn), Ok(good)) => MarkSectors { mark: Stored::Present(good), torn: Some(torn) },
        (Err(damage), Err(_)) => MarkSectors { mark: Stored::Unreadable(damage), torn: None },
    }
}
