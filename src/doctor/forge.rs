//! A forged host for tests: files below a temporary directory, and facts of system calls that a good host would give.

use super::called::{Called, Direct, Directory, Limit, Ring, Standing};
use super::tree::{Fact, Tree};
use super::{Finding, Host, Plan, judge};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

pub(super) struct Forged(TempDir);

impl Forged {
    /// Nothing is there.
    pub(super) fn new() -> Forged {
        Forged(TempDir::new().unwrap())
    }

    /// A host that nothing is to be said about.
    pub(super) fn good() -> Forged {
        let host = Forged::new();
        host.put("/proc/sys/kernel/osrelease", "6.18.1\n").put("/proc/sys/kernel/io_uring_disabled", "0\n");
        host.put("/proc/self/status", "Name:\tringkeeper\nSeccomp:\t0\n").put("/proc/self/cgroup", "0::/\n");
        host.put("/proc/self/mountinfo", "27 1 259:1 / / rw,noatime - ext4 /dev/nvme0n1p1 rw\n");
        host.put("/proc/meminfo", "MemTotal:       16777216 kB\nHugePages_Total:       0\nHugepagesize:       2048 kB\n");
        host.put("/proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n").put("/proc/sys/vm/swappiness", "60\n");
        host.put("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
        host.put("/proc/sys/vm/dirty_background_bytes", "268435456\n").put("/proc/sys/vm/dirty_background_ratio", "0\n");
        host.put("/proc/sys/net/core/somaxconn", "4096\n").put("/proc/sys/net/ipv4/tcp_max_syn_backlog", "4096\n");
        host.put("/proc/sys/net/ipv4/tcp_slow_start_after_idle", "0\n");
        host.put("/sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n");
        host.put("/sys/devices/system/cpu/online", "0-3\n");
        for core in 0..4 {
            host.put(&format!("/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor"), "performance\n");
        }
        host.put("/proc/stat", "cpu  1000 0 1000 8000 0 0 0 0 0 0\n");
        host.put("/proc/interrupts", "     CPU0 CPU1 CPU2 CPU3\n 30: 5 0 0 0 PCI-MSIX nvme0q1\n 31: 0 0 0 900 PCI-MSIX eth0-rx-0\n");
        host.put("/proc/irq/30/effective_affinity_list", "2\n").put("/proc/irq/31/effective_affinity_list", "3\n");
        let disk = "/sys/devices/pci0/block/nvme0n1";
        host.put(&format!("{disk}/queue/write_cache"), "write through\n").put(&format!("{disk}/queue/fua"), "0\n");
        host.put(&format!("{disk}/queue/scheduler"), "[none] mq-deadline\n").put(&format!("{disk}/queue/rotational"), "0\n");
        host.put(&format!("{disk}/nvme0n1p1/partition"), "1\n");
        host.link("/sys/dev/block/259:1", "../../devices/pci0/block/nvme0n1/nvme0n1p1");
        host.link("/sys/class/block/nvme0n1p1", "../../devices/pci0/block/nvme0n1/nvme0n1p1");
        host
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path.trim_start_matches('/'))
    }

    /// Puts a file, in the place of what is there.
    pub(super) fn put(&self, path: &str, text: &str) -> &Forged {
        self.put_bytes(path, text.as_bytes())
    }

    pub(super) fn put_bytes(&self, path: &str, bytes: &[u8]) -> &Forged {
        let place = self.path(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, bytes).unwrap();
        self
    }

    pub(super) fn link(&self, path: &str, target: &str) -> &Forged {
        let place = self.path(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, place).unwrap();
        self
    }

    /// Takes a file or a directory away.
    pub(super) fn take(&self, path: &str) -> &Forged {
        let place = self.path(path);
        if place.is_dir() {
            fs::remove_dir_all(place).unwrap()
        } else {
            fs::remove_file(place).unwrap()
        }
        self
    }

    pub(super) fn tree(&self) -> Tree {
        Tree::below(self.0.path())
    }

    /// What is said about it.
    pub(super) fn findings(&self) -> Vec<Finding> {
        judge(&Host::read(&self.tree(), called()), &plan())
    }

    /// What is said about one thing.
    pub(super) fn finding(&self, id: &str) -> Finding {
        self.findings().into_iter().find(|finding| finding.id == id).unwrap_or_else(|| panic!("no finding {id}"))
    }
}

/// A server of the plan's shape that nothing is to be said about.
pub(super) fn plan() -> Plan {
    Plan {
        data_dir: "/srv/data".into(),
        log_dir: "/srv/log".into(),
        autocreate: true,
        locked_bytes: 2 << 20,
        cores: Vec::new(),
        cores_available: 4,
        log_bytes: 256 << 20,
        listen_backlog: 4096,
        in_ensemble: true,
    }
}

/// Facts of system calls on a good host.
pub(super) fn called() -> Called {
    let limit = |n| Limit { soft: Some(n), hard: Some(n) };
    let at = |path: &str| Directory {
        path: path.into(),
        nearest: path.into(),
        standing: Standing::Writable,
        direct: Direct::Works,
        device: (259, 1),
        free_bytes: Fact::Known(100 << 30),
        foreign: false,
    };
    Called {
        ring: Ring::Usable { features: u32::MAX, missing_calls: Fact::Known(Vec::new()) },
        locked: limit(64 << 20),
        descriptors: limit(1 << 20),
        data: at("/srv/data"),
        log: at("/srv/log"),
    }
}

/// The one finding `id` for changed facts.
pub(super) fn finding_of(id: &str, called: Called, plan: &Plan) -> Finding {
    let host = Host::read(&Forged::good().tree(), called);
    judge(&host, plan).into_iter().find(|finding| finding.id == id).unwrap_or_else(|| panic!("no finding {id}"))
}
