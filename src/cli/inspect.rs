//! `ringkeeper inspect PATH`: what a file of ours holds, as lines of text. Reads only; takes no lock, so a running server's files
//! may be looked at (a segment that it writes to ends where it ended a moment ago).
//!
//! A single file is shown with its records, a directory file by file without them. Passwords of sessions and data of nodes are
//! never shown.

use crate::base::fatal::{Fatal, FatalError};
use crate::log;
use crate::model::acl::{AclEntry, AclList};
use crate::model::image::{AclImage, NodeImage, SessionImage};
use crate::model::stat::PersistedStat;
use crate::snapshot::{self, Head, SnapshotSink, Summary};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// First bytes of a snapshot (`docs/formats/snapshot.md`).
const SNAPSHOT_MAGIC: &[u8] = b"RKSN";
/// First bytes of the log's files (`docs/formats/log.md`): what else lies in a directory is named and passed over.
const LOG_MAGICS: [u64; 3] = [log::segment::SEGMENT_MAGIC, log::meta::META_MAGIC, log::mark::MARK_MAGIC];
/// Files of a directory that are shown.
const FILES_MAX: usize = 10_000;

/// Prints a file, or everything below a directory.
///
/// # Errors
/// [`Fatal::Directory`] when `path` can't be read.
pub fn run(path: &Path, out: &mut dyn Write) -> Result<(), FatalError> {
    let unreadable = |error: io::Error| FatalError::new(Fatal::Directory, format!("{} can't be read: {error}", path.display()));
    let is_dir = fs::metadata(path).map_err(unreadable)?.is_dir();
    let mut out = io::BufWriter::new(out);
    let printed = if is_dir {
        let mut files = Vec::new();
        list(path, &mut files).map_err(unreadable)?;
        files.iter().try_for_each(|file| print_in_directory(file, &mut out))
    } else {
        let bytes = fs::read(path).map_err(unreadable)?;
        print_file(path, &bytes, true, &mut out)
    };
    // A reader that saw enough (`head`) closes the pipe: that is no error.
    let _ = printed.and_then(|()| out.flush());
    Ok(())
}

/// All files below `dir`, sorted.
fn list(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut waiting = vec![dir.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                waiting.push(entry.path());
            } else if kind.is_file() && files.len() < FILES_MAX {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(())
}

fn print_in_directory(path: &Path, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "== {}", path.display())?;
    match fs::read(path) {
        Ok(bytes) if is_ours(&bytes) => print_file(path, &bytes, false, out),
        Ok(bytes) => writeln!(out, "{} bytes, neither log nor snapshot", bytes.len()),
        Err(error) => writeln!(out, "can't be read: {error}"),
    }
}

fn is_ours(bytes: &[u8]) -> bool {
    let magic = bytes.first_chunk::<8>().map(|first| u64::from_le_bytes(*first));
    bytes.starts_with(SNAPSHOT_MAGIC) || magic.is_some_and(|magic| LOG_MAGICS.contains(&magic))
}

fn print_file(path: &Path, bytes: &[u8], with_records: bool, out: &mut dyn Write) -> io::Result<()> {
    if !bytes.starts_with(SNAPSHOT_MAGIC) {
        return log::inspect(bytes, with_records).iter().try_for_each(|line| writeln!(out, "{line}"));
    }
    let name = path.display().to_string();
    let read = if with_records { snapshot::read(&name, bytes, &mut Printing { out: &mut *out }) } else { snapshot::verify(&name, bytes) };
    match read {
        Ok(summary) => writeln!(out, "{}", summary_line(&summary, bytes.len())),
        Err(damage) => writeln!(out, "damaged: {damage}"),
    }
}

fn summary_line(summary: &Summary, bytes: usize) -> String {
    let Summary { head, sessions, acls, nodes, digest } = summary;
    format!(
        "whole snapshot at {}, cluster {}, generation {}: {sessions} sessions, {acls} ACL lists, {nodes} nodes, digest {digest:016x}, {bytes} bytes",
        head.zxid, head.cluster, head.generation
    )
}

/// Prints each record as it is read.
struct Printing<'a> {
    out: &'a mut dyn Write,
}

impl Printing<'_> {
    fn line(&mut self, text: std::fmt::Arguments<'_>) -> Result<(), String> {
        writeln!(self.out, "{text}").map_err(|error| error.to_string())
    }
}

impl SnapshotSink for Printing<'_> {
    fn head(&mut self, head: &Head) -> Result<(), String> {
        self.line(format_args!("snapshot at {}, cluster {}, generation {}", head.zxid, head.cluster, head.generation))
    }

    fn session(&mut self, image: SessionImage) -> Result<(), String> {
        self.line(format_args!("session {} timeout {} ms", image.session, image.timeout_ms))
    }

    fn acl(&mut self, image: AclImage<'_>) -> Result<(), String> {
        let Some(list) = AclList::parse(image.list) else {
            return self.line(format_args!("ACL {}: can't be read", image.acl));
        };
        let entries: Vec<String> = list.entries().map(|entry| entry_text(&entry)).collect();
        self.line(format_args!("ACL {}: {}", image.acl, entries.join(" ")))
    }

    fn node(&mut self, image: NodeImage<'_>) -> Result<(), String> {
        let size = image.data.map_or_else(|| "null".to_owned(), |data| format!("{} bytes", data.len()));
        let name = String::from_utf8_lossy(image.name);
        let NodeImage { slot, parent_slot, acl, stat, .. } = image;
        self.line(format_args!("node {slot} in {parent_slot} {name:?}: {size}, ACL {acl}, {}", stat_text(&stat)))
    }
}

fn stat_text(stat: &PersistedStat) -> String {
    let PersistedStat { czxid, mzxid, pzxid, ctime_ms, mtime_ms, version, cversion, aversion, owner } = stat;
    format!(
        "czxid {czxid}, mzxid {mzxid}, pzxid {pzxid}, ctime {ctime_ms} ms, mtime {mtime_ms} ms, version {version}, cversion {cversion}, \
         aversion {aversion}, owner {owner:#x}"
    )
}

/// An entry of an ACL; of a digest only the user.
fn entry_text(entry: &AclEntry<'_>) -> String {
    let (scheme, id) = (String::from_utf8_lossy(entry.scheme), String::from_utf8_lossy(entry.id));
    let id = if scheme == "digest" { id.split(':').next().unwrap_or_default() } else { &id };
    format!("{scheme}:{id} ({:#x})", entry.perms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::{ClusterId, SessionId, Zxid};
    use crate::log::mark::{Mark, mark_path};
    use crate::model::file::{FileOp, Script};
    use crate::snapshot::SnapshotWriter;

    fn shown(path: &Path) -> String {
        let mut out = Vec::new();
        run(path, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// A snapshot without nodes, as the writer makes it.
    fn snapshot() -> Vec<u8> {
        let head = Head { zxid: Zxid(9), cluster: ClusterId(5), generation: 2, checksum: 6 };
        let sessions = [SessionImage { session: SessionId(0x30), timeout_ms: 4000, password: [0xab; 16] }];
        let acls = [AclImage { acl: 1, list: crate::model::acl::OPEN_UNSAFE }];
        let mut writer = SnapshotWriter::begin(head, sessions.into_iter(), acls.into_iter());
        writer.finish(7);
        let mut bytes = Vec::new();
        while let Some(Script { ops }) = writer.next_script() {
            for op in ops {
                if let FileOp::Write { at, bytes: piece, .. } = op {
                    bytes.resize(bytes.len().max(at as usize + piece.len()), 0);
                    bytes[at as usize..at as usize + piece.len()].copy_from_slice(&piece);
                }
            }
            if writer.on_done() {
                break;
            }
        }
        bytes
    }

    #[test]
    fn a_snapshot_is_shown_with_its_records_but_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.snap");
        let mut bytes = snapshot();
        fs::write(&path, &bytes).unwrap();
        let text = shown(&path);
        assert!(
            text.starts_with("snapshot at 0x9, cluster 00000000000000000000000000000005, generation 2\nsession 0x30 timeout 4000 ms\n"),
            "{text}"
        );
        assert!(text.contains("ACL 1: world:anyone (0x1f)\nwhole snapshot at 0x9"), "{text}");
        assert!(!text.contains("abab"), "{text}");
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert!(shown(&path).contains("damaged: "), "{}", shown(&path));
    }

    #[test]
    fn a_stat_is_shown_as_the_rest_is() {
        let stat = PersistedStat { czxid: Zxid(0x2402), mzxid: Zxid(0x100_0000_0001), owner: 0x30, version: 2, ..PersistedStat::default() };
        let text = stat_text(&stat);
        assert!(text.starts_with("czxid 0x2402, mzxid 0x10000000001, pzxid 0x0, ctime 0 ms, "), "{text}");
        assert!(text.ends_with("version 2, cversion 0, aversion 0, owner 0x30"), "{text}");
    }

    #[test]
    fn a_directory_is_shown_file_by_file() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("log")).unwrap();
        let mark = Mark { cluster: ClusterId(5), sequence: 1, generation: 2, durable: log::Identity::default() };
        let mut sectors = vec![0; log::mark::MARK_FILE_BYTES];
        let encoded = mark.encode();
        sectors[..encoded.len()].copy_from_slice(&encoded);
        fs::write(dir.path().join(mark_path().name), &sectors).unwrap();
        fs::write(dir.path().join("log/other"), "hello").unwrap();
        fs::write(dir.path().join("s.snap"), snapshot()).unwrap();
        let text = shown(dir.path());
        assert!(text.contains("mark sector 0: sequence 1, generation 2, durable through 0x0"), "{text}");
        assert!(text.contains("5 bytes, neither log nor snapshot"), "{text}");
        assert!(text.contains("1 sessions, 1 ACL lists, 0 nodes") && !text.contains("session 0x30"), "{text}");
        assert_eq!(run(&dir.path().join("none"), &mut Vec::new()).unwrap_err().kind, Fatal::Directory);
    }
}
