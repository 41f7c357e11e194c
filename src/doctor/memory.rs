//! Memory: swap, huge pages, and how much unwritten data other programs may pile up before the disk.

use super::finding::{Finding, known};
use super::tree::{Fact, Tree};

const SWAPS: &str = "/proc/swaps";
const SWAPPINESS: &str = "/proc/sys/vm/swappiness";
const HUGE: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
const MEMINFO: &str = "/proc/meminfo";
const DIRTY_BYTES: &str = "/proc/sys/vm/dirty_background_bytes";
const DIRTY_RATIO: &str = "/proc/sys/vm/dirty_background_ratio";
/// More unwritten data than this takes a device seconds.
const DIRTY_BYTES_MAX: u64 = 1 << 30;

#[derive(Clone, Debug)]
pub(super) struct Memory {
    /// Names of active swap devices that aren't compressed memory.
    swaps: Fact<Vec<String>>,
    swappiness: Fact<u64>,
    huge: Fact<String>,
    /// Reserved huge pages, and bytes of one.
    reserved: Fact<(u64, u64)>,
    /// Unwritten bytes from which the kernel begins to write.
    dirty_bytes: Fact<u64>,
}

impl Memory {
    pub(super) fn read(tree: &Tree) -> Memory {
        let meminfo = tree.text(MEMINFO);
        let of = |name: &str| meminfo.known().and_then(|text| line(text, name));
        let reserved = match (of("HugePages_Total:"), of("Hugepagesize:")) {
            (Some(pages), Some(kb)) => Fact::Known((pages, kb.saturating_mul(1024))),
            _ => Fact::Absent,
        };
        let dirty_bytes = tree.number(DIRTY_BYTES).and_then(|bytes| match (bytes, of("MemTotal:")) {
            (0, Some(total_kb)) => tree.number(DIRTY_RATIO).map(|percent| (total_kb.saturating_mul(1024) / 100).saturating_mul(percent)),
            (0, None) => Fact::Unread(format!("{MEMINFO} doesn't say how much memory there is")),
            _ => Fact::Known(bytes),
        });
        let swaps = tree
            .text(SWAPS)
            .map(|text| text.lines().skip(1).filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect());
        Memory { swaps, swappiness: tree.number(SWAPPINESS), huge: tree.chosen(HUGE), reserved, dirty_bytes }
    }
}

/// A line of `/proc/meminfo`: its number, whatever the unit.
fn line(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

pub(super) fn judge(memory: &Memory, out: &mut Vec<Finding>) {
    out.push(swap(memory));
    out.push(huge_pages(memory));
    out.push(reserved(memory));
    out.push(dirty(memory));
}

fn swap(memory: &Memory) -> Finding {
    const ID: &str = "memory.swap";
    let swaps = match known(ID, SWAPS, &memory.swaps, Finding::ok(ID, SWAPS, "the kernel has no swap")) {
        Ok(swaps) => swaps,
        Err(finding) => return *finding,
    };
    let swappiness = match &memory.swappiness {
        Fact::Known(n) => format!("vm.swappiness={n}"),
        _ => "vm.swappiness unknown".to_owned(),
    };
    if swaps.is_empty() {
        return Finding::ok(ID, SWAPS, format!("no swap is active ({swappiness})"));
    }
    let found = Finding::ok(ID, SWAPS, format!("active: {} ({swappiness})", swaps.join(", ")));
    let cost = "a part of the tree that was swapped out stops every request until it is read back";
    if swaps.iter().all(|name| name.contains("zram")) || memory.swappiness.known().is_some_and(|n| *n <= 1) {
        return found.advice(cost, "swapoff -a, and take it out of /etc/fstab");
    }
    found.warning(cost, "swapoff -a; or at least sysctl -w vm.swappiness=1 (tuning/90-ringkeeper.conf)")
}

fn huge_pages(memory: &Memory) -> Finding {
    const ID: &str = "memory.huge-pages";
    let mode = match known(ID, HUGE, &memory.huge, Finding::ok(ID, HUGE, "the kernel has no transparent huge pages")) {
        Ok(mode) => mode.as_str(),
        Err(finding) => return *finding,
    };
    let found = Finding::ok(ID, HUGE, format!("transparent huge pages: {mode}"));
    if mode != "always" {
        return found;
    }
    found.advice(
        "memory is moved together at a page fault or from behind: pauses while the tree grows, and more memory than it needs",
        "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
    )
}

fn reserved(memory: &Memory) -> Finding {
    const ID: &str = "memory.reserved-huge-pages";
    let (pages, bytes) = match known(ID, MEMINFO, &memory.reserved, Finding::ok(ID, MEMINFO, "the kernel reserves no huge pages")) {
        Ok(reserved) => *reserved,
        Err(finding) => return *finding,
    };
    let found = Finding::ok(ID, MEMINFO, format!("{pages} huge pages are reserved"));
    if pages == 0 {
        return found;
    }
    let cost = format!("{} MiB that this server can't use", pages.saturating_mul(bytes) >> 20);
    found.advice(cost, "sysctl -w vm.nr_hugepages=0, unless another program wants them")
}

fn dirty(memory: &Memory) -> Finding {
    const ID: &str = "memory.dirty-pages";
    let bytes =
        match known(ID, DIRTY_RATIO, &memory.dirty_bytes, Finding::unknown(ID, DIRTY_RATIO, "the file is missing: is /proc mounted?")) {
            Ok(bytes) => *bytes,
            Err(finding) => return *finding,
        };
    let found = Finding::ok(
        ID,
        format!("{DIRTY_BYTES}, {DIRTY_RATIO}"),
        format!("the kernel begins to write at {} MiB of unwritten data", bytes >> 20),
    );
    if bytes <= DIRTY_BYTES_MAX {
        return found;
    }
    found.advice(
        "other programs' unwritten data comes to the disk in one rush, and syncs wait behind it",
        "sysctl -w vm.dirty_background_bytes=268435456 (tuning/90-ringkeeper.conf)",
    )
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::super::forge::Forged;
    use super::*;

    #[test]
    fn swap_stops_everything_for_a_while() {
        assert_eq!(Forged::good().finding("memory.swap").severity, Severity::Ok);
        let host = Forged::good();
        host.put(SWAPS, "Filename Type Size Used Priority\n/dev/sda2 partition 1 0 -2\n");
        let finding = host.finding("memory.swap");
        assert!(finding.severity == Severity::Warning && finding.found.starts_with("active: /dev/sda2"), "{finding:?}");
        assert_eq!(host.put(SWAPPINESS, "1").finding("memory.swap").severity, Severity::Advice);
        host.put(SWAPS, "Filename\n/dev/zram0 partition 1 0 100\n").put(SWAPPINESS, "60");
        assert_eq!(host.finding("memory.swap").severity, Severity::Advice);
        assert_eq!(host.take(SWAPS).finding("memory.swap").severity, Severity::Ok);
    }

    #[test]
    fn huge_pages_only_where_they_are_asked_for() {
        assert_eq!(Forged::good().finding("memory.huge-pages").severity, Severity::Ok);
        assert_eq!(Forged::good().put(HUGE, "[always] madvise never").finding("memory.huge-pages").severity, Severity::Advice);
        assert_eq!(Forged::good().put(HUGE, "always madvise").finding("memory.huge-pages").severity, Severity::Unknown);
        let host = Forged::good();
        assert_eq!(host.finding("memory.reserved-huge-pages").severity, Severity::Ok);
        let reserved =
            host.put(MEMINFO, "MemTotal: 100 kB\nHugePages_Total: 512\nHugepagesize: 2048 kB\n").finding("memory.reserved-huge-pages");
        assert!(reserved.severity == Severity::Advice && reserved.cost.starts_with("1024 MiB"), "{reserved:?}");
    }

    #[test]
    fn unwritten_data_is_counted_in_bytes_or_as_a_share() {
        assert_eq!(Forged::good().finding("memory.dirty-pages").severity, Severity::Ok);
        let host = Forged::good();
        host.put(DIRTY_BYTES, "0").put(DIRTY_RATIO, "10");
        let finding = host.finding("memory.dirty-pages");
        assert!(finding.severity == Severity::Advice && finding.found.contains("1638 MiB"), "{finding:?}");
        assert_eq!(host.put(DIRTY_RATIO, "5").finding("memory.dirty-pages").severity, Severity::Ok);
        assert_eq!(host.put(MEMINFO, "").finding("memory.dirty-pages").severity, Severity::Unknown);
    }
}
