//! The filesystem below a directory and how it is mounted.

use super::Volume;
use super::finding::{Finding, known};
use super::mounts::{MOUNTINFO, Mount};

/// Filesystems that write over a block in its place and know O_DIRECT.
const GOOD: &[&str] = &["ext4", "xfs"];
/// Filesystems of another machine.
const REMOTE: &[&str] = &["nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "virtiofs", "glusterfs", "lustre"];
/// Filesystems that never write over a block.
const COPYING: &[&str] = &["btrfs", "zfs", "bcachefs", "f2fs", "nilfs2"];

pub(super) fn judge(volume: &Volume, out: &mut Vec<Finding>) {
    const ID: &str = "filesystem.type";
    let absent = Finding::unknown(ID, MOUNTINFO, "the file is missing: is /proc mounted?");
    match known(ID, MOUNTINFO, &volume.mount, absent) {
        Ok(mount) => {
            out.push(kind(volume, mount));
            out.push(options(volume, mount));
        }
        Err(finding) => out.push(*finding),
    }
}

fn kind(volume: &Volume, mount: &Mount) -> Finding {
    let point = mount.point.display();
    let kind = mount.kind.as_str();
    let found = Finding::ok("filesystem.type", format!("{MOUNTINFO}, mounted on {point}"), format!("{}: {kind}", volume.keys));
    let mend = "put the directory on a local ext4 or xfs";
    if GOOD.contains(&kind) {
        return found;
    }
    if matches!(kind, "tmpfs" | "ramfs") {
        return found.warning("it lies in memory: what is acknowledged doesn't outlive a restart of the host", mend);
    }
    if kind == "overlay" {
        let mend = "mount a volume of the host there (docker run -v), on ext4 or xfs";
        return found.warning("the data goes with the container, and each file is looked up in several layers", mend);
    }
    if COPYING.contains(&kind) {
        return found.warning("it writes every block to a new place: each sync also writes what finds it there", mend);
    }
    if REMOTE.contains(&kind) || kind.starts_with("fuse") {
        return found.warning("each sync goes over a network or another process, which decides what durable means", mend);
    }
    found.advice("only ext4 and xfs are tried", mend)
}

fn options(volume: &Volume, mount: &Mount) -> Finding {
    let point = mount.point.display();
    let has = |option: &str| mount.options.iter().any(|o| o == option);
    let shown = mount.options.join(",");
    let found = Finding::ok("filesystem.options", format!("{MOUNTINFO}, mounted on {point}"), format!("{}: {shown}", volume.keys));
    let remount = |option: &str| format!("mount -o remount,{option} {point}, and in /etc/fstab");
    if has("nobarrier") || has("barrier=0") {
        let cost = "the device's cache isn't flushed: acknowledged writes may be lost with the power";
        return found.warning(cost, remount("barrier=1"));
    }
    if has("data=journal") {
        return found.warning("every write is done twice, and none directly", "mount it without data=journal");
    }
    if has("sync") || has("dirsync") {
        return found.advice("every write of snapshots is a sync too", remount("async"));
    }
    if !has("noatime") && !has("relatime") && !has("ro") {
        return found.advice("every read of a file writes its time", remount("noatime"));
    }
    if has("discard") {
        let cost = "freed blocks are discarded as the journal commits, and syncs wait behind that";
        return found.advice(cost, format!("systemctl enable --now fstrim.timer; {}", remount("nodiscard")));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::super::forge::Forged;
    use super::*;

    fn mounted(kind: &str, own: &str, filesystem: &str) -> Forged {
        let host = Forged::good();
        host.put(MOUNTINFO, &format!("27 1 259:1 / / {own} - {kind} /dev/nvme0n1p1 {filesystem}\n"));
        host
    }

    #[test]
    fn filesystems_that_write_in_place_are_good() {
        for kind in ["ext4", "xfs"] {
            assert_eq!(mounted(kind, "rw,noatime", "rw").finding("filesystem.type").severity, Severity::Ok);
        }
        for kind in ["tmpfs", "ramfs", "overlay", "btrfs", "zfs", "nfs4", "fuse.sshfs"] {
            let finding = mounted(kind, "rw,noatime", "rw").finding("filesystem.type");
            assert!(finding.severity == Severity::Warning && !finding.cost.is_empty() && !finding.mend.is_empty(), "{finding:?}");
        }
        assert_eq!(mounted("minix", "rw", "rw").finding("filesystem.type").severity, Severity::Advice);
        assert_eq!(Forged::good().take(MOUNTINFO).finding("filesystem.type").severity, Severity::Unknown);
    }

    #[test]
    fn options_that_endanger_or_cost_are_named() {
        let cases = [
            ("rw,noatime", "rw", Severity::Ok),
            ("rw,relatime", "rw,data=ordered", Severity::Ok),
            ("rw,noatime", "rw,nobarrier", Severity::Warning),
            ("rw,noatime", "rw,barrier=0", Severity::Warning),
            ("rw,noatime", "rw,data=journal", Severity::Warning),
            ("rw,noatime", "rw,sync", Severity::Advice),
            ("rw", "rw", Severity::Advice),
            ("rw,noatime", "rw,discard", Severity::Advice),
        ];
        for (own, filesystem, severity) in cases {
            let finding = mounted("ext4", own, filesystem).finding("filesystem.options");
            assert_eq!(finding.severity, severity, "{finding:?}");
        }
    }
}
