//! `/proc/self/mountinfo`: which filesystem a directory lies on, with its options.

use super::tree::{Fact, Tree};
use std::path::{Path, PathBuf};

pub(super) const MOUNTINFO: &str = "/proc/self/mountinfo";

/// A mounted filesystem.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Mount {
    pub(super) point: PathBuf,
    /// For example `ext4`.
    pub(super) kind: String,
    /// For example `/dev/sda1`.
    pub(super) source: String,
    /// Options of the mount and of the filesystem.
    pub(super) options: Vec<String>,
}

/// All mounts, in order. Lines that can't be read are left out.
pub(super) fn read(tree: &Tree) -> Fact<Vec<Mount>> {
    tree.text(MOUNTINFO).map(|text| text.lines().filter_map(parse).collect())
}

/// The mount that `path` lies on: the longest mount point above it, of equal ones the last, which covers the others.
pub(super) fn of(mounts: &Fact<Vec<Mount>>, path: &Path) -> Fact<Mount> {
    mounts.clone().and_then(|mounts| {
        let above = mounts.into_iter().filter(|mount| path.starts_with(&mount.point));
        match above.max_by_key(|mount| mount.point.components().count()) {
            Some(mount) => Fact::Known(mount),
            None => Fact::Unread(format!("{MOUNTINFO} names no mount above {}", path.display())),
        }
    })
}

/// `27 1 254:0 / /srv rw,relatime shared:1 - ext4 /dev/vda rw,discard`
fn parse(line: &str) -> Option<Mount> {
    let (own, filesystem) = line.split_once(" - ")?;
    let own: Vec<&str> = own.split(' ').collect();
    let mut filesystem = filesystem.split(' ');
    let (kind, source, more) = (filesystem.next()?, filesystem.next()?, filesystem.next().unwrap_or_default());
    let options = own.get(5)?.split(',').chain(more.split(',')).filter(|option| !option.is_empty());
    Some(Mount {
        point: unescape(own.get(4)?).into(),
        kind: kind.to_owned(),
        source: unescape(source),
        options: options.map(str::to_owned).collect(),
    })
}

/// Blanks and the like stand as three octal digits (`\040`).
fn unescape(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let digits = bytes.get(at + 1..at + 4).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.filter(|_| *byte == b'\\').and_then(|digits| u8::from_str_radix(digits, 8).ok());
        out.push(escaped.unwrap_or(*byte));
        at += if escaped.is_some() { 4 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::super::forge::Forged;
    use super::*;

    #[test]
    fn the_nearest_mount_counts() {
        let host = Forged::new();
        host.put(
            MOUNTINFO,
            "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\nstrange\n28 27 254:1 / /srv/a\\040b rw,noatime shared:1 master:2 - xfs /dev/vdb rw,discard\n\
             29 28 0:40 / /srv/a\\040b rw - tmpfs none rw\n30 27 8:1 - ext4\n",
        );
        let mounts = read(&host.tree());
        let kind = |path: &str| of(&mounts, Path::new(path)).map(|mount| mount.kind);
        assert_eq!(kind("/srv/a b/data"), Fact::Known("tmpfs".into()));
        assert_eq!(kind("/srv/a bc"), Fact::Known("ext4".into()));
        assert!(matches!(kind("relative"), Fact::Unread(_)));
        assert_eq!(mounts.known().map(|all| all[1].options.join(",")), Some("rw,noatime,rw,discard".into()));
        assert_eq!(of(&read(&Forged::new().tree()), Path::new("/")), Fact::Absent);
        assert_eq!(unescape("a\\999\\04\\"), "a\\999\\04\\");
    }
}
