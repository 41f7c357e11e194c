//! The file of a snapshot that comes into being piece by piece: synced and read back as it grows, named in the end.
//!
//! Guarantees: the final name appears only after every byte was synced and seen on the medium as it was written, and is durable when the last
//! script completes. A step never syncs or reads more than a few megabytes, so that whoever waits for the same disk, or for the thread that
//! carries scripts out, waits briefly. Leaves to others: what the bytes are (`writer`, `install`).

use super::format::{file_of, keep_names, temp_file_of};
use crate::base::ids::Zxid;
use crate::model::file::{FileOp, FilePath, Script};
use crate::mutant;
use xxhash_rust::xxh3::Xxh3;

/// So much is written before it is synced and read back: all of a large snapshot at once would hold up the log's syncs.
const SETTLE_BYTES: u64 = 4 << 20;

/// See the module's description.
#[derive(Clone)]
pub(super) struct Output {
    temp: FilePath,
    name: FilePath,
    made: bool,
    len: u64,
    /// Synced and read back through here.
    settled: u64,
    /// Over what was written since.
    hash: Xxh3,
}

impl Output {
    /// Of the snapshot at `zxid`. Nothing exists yet.
    pub(super) fn new(zxid: Zxid) -> Output {
        Output { temp: temp_file_of(zxid), name: file_of(zxid), made: false, len: 0, settled: 0, hash: Xxh3::new() }
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Steps that append `bytes`; with the last ones they also give the file its name. Scripts are carried out one after the other.
    pub(super) fn append(&mut self, bytes: Vec<u8>, is_last: bool) -> Script {
        let mut script = Script::default();
        if !std::mem::replace(&mut self.made, true) {
            script.ops.extend([FileOp::MakeDir(self.temp.dir()), FileOp::Create(self.temp.clone())]);
        }
        let at = self.len;
        self.len += bytes.len() as u64;
        self.hash.update(&bytes);
        script.ops.push(FileOp::Write { path: self.temp.clone(), at, bytes });
        if is_last || self.len - self.settled >= SETTLE_BYTES {
            self.settle(&mut script.ops);
        }
        if is_last {
            script.ops.push(FileOp::Rename { from: self.temp.clone(), to: self.name.clone() });
            script.ops.extend(keep_names().ops);
        }
        script
    }

    /// Read back before the file gets its name: only a snapshot that was seen whole on the medium lets the log behind it go.
    fn settle(&mut self, ops: &mut Vec<FileOp>) {
        if !mutant!("snapshot-renamed-unsynced") {
            ops.push(FileOp::Sync(self.temp.clone()));
        }
        let (at, len, checksum) = (self.settled, self.len - self.settled, self.hash.digest());
        ops.push(FileOp::Verify { path: self.temp.clone(), at, len, checksum });
        self.settled = self.len;
        self.hash = Xxh3::new();
    }

    /// Removes what was written so far.
    pub(super) fn abort(self) -> Script {
        Script { ops: vec![FileOp::Remove(self.temp)] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(script: &Script) -> String {
        let name = |op: &FileOp| match op {
            FileOp::MakeDir(_) => "d".to_owned(),
            FileOp::Create(_) => "c".to_owned(),
            FileOp::Write { at, .. } => format!("w{}", at >> 20),
            FileOp::Sync(_) => "s".to_owned(),
            FileOp::Verify { at, len, .. } => format!("v{}+{}", at >> 20, len >> 20),
            FileOp::Rename { .. } => "r".to_owned(),
            FileOp::SyncDir(_) => "D".to_owned(),
            FileOp::Zero { .. } | FileOp::Copy { .. } | FileOp::Rewrite { .. } | FileOp::Remove(_) => "?".to_owned(),
        };
        script.ops.iter().map(name).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_large_file_is_synced_and_read_back_as_it_grows() {
        let mut output = Output::new(Zxid(7));
        let all: Vec<String> = (0..18).map(|idx| steps(&output.append(vec![idx; 1 << 20], idx == 17))).collect();
        assert_eq!(all[0], "d c w0");
        assert_eq!((all[2].as_str(), all[3].as_str(), all[4].as_str()), ("w2", "w3 s v0+4", "w4"));
        assert_eq!((all[15].as_str(), all[17].as_str()), ("w15 s v12+4", "w17 s v16+2 r D D"));
        assert_eq!(output.len(), 18 << 20);
    }
}
