//! Where and when something was measured: kind of machine, kernel, commit and date, without its name.

use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

/// What a reader of figures has to know about the machine.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Host {
    /// Virtual or not, and the processor.
    pub kind: String,
    /// Processors that may be used.
    pub cores: usize,
    /// Memory.
    pub memory_mib: u64,
    /// Release of the kernel.
    pub kernel: String,
    /// Type of the filesystem below the data, and its device.
    pub filesystem: String,
    /// Of the sources beside which the measured program lies.
    pub commit: String,
    /// Day on which the measurement began.
    pub date: String,
    /// Load average of the last minute before it began: how quiet the machine was.
    pub load_average: f64,
}

impl Host {
    /// Looks at this machine; `program` was built beside its sources, `data` is where servers keep their data.
    pub fn look(program: Option<&Path>, data: &Path) -> Host {
        let cpu = read("/proc/cpuinfo");
        let field = |name: &str| cpu.lines().find(|line| line.starts_with(name)).and_then(|line| line.split_once(':'));
        let model = field("model name").map_or("unknown processor", |(_, model)| model.trim());
        let is_virtual = field("flags").is_some_and(|(_, flags)| flags.split_whitespace().any(|flag| flag == "hypervisor"));
        Host {
            kind: format!("{}, {model}", if is_virtual { "virtual machine" } else { "physical machine" }),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: memory_mib(&read("/proc/meminfo")),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            filesystem: filesystem(&read("/proc/self/mounts"), data),
            commit: program.and_then(Path::parent).and_then(commit).unwrap_or_else(|| "unknown".to_owned()),
            date: today(),
            load_average: read("/proc/loadavg").split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0.0),
        }
    }
}

/// What isn't there says nothing.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn memory_mib(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) >> 10
}

/// Of the deepest mount above `dir`.
fn filesystem(mounts: &str, dir: &Path) -> String {
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).filter(|fields| fields.len() > 2);
    let above = fields.filter(|fields| dir.starts_with(fields[1])).max_by_key(|fields| fields[1].len());
    above.map_or_else(|| "unknown".to_owned(), |fields| format!("{} on {}", fields[2], fields[0]))
}

fn commit(dir: &Path) -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(dir).stderr(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|list| !list.is_empty());
    git(&["rev-parse", "--short", "HEAD"]).map(|id| if changed { format!("{id} with changes") } else { id })
}

/// Today in UTC, year first.
pub fn today() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    date_of((now.as_secs() / 86_400) as i64)
}

/// The date of a day counted from 1970-01-01, in the Gregorian calendar. Years are counted from March, so that the leap day is last.
fn date_of(days: i64) -> String {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_dates() {
        for (days, date) in [(0, "1970-01-01"), (11_016, "2000-02-29"), (11_017, "2000-03-01"), (20_088, "2024-12-31")] {
            assert_eq!(date_of(days), date);
        }
    }

    #[test]
    fn the_deepest_mount_counts() {
        let mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n";
        assert_eq!(filesystem(mounts, Path::new("/tmp/x")), "tmpfs on tmpfs");
        assert_eq!(filesystem(mounts, Path::new("/home")), "ext4 on /dev/vda");
        assert_eq!(memory_mib("MemTotal:  2048 kB\n"), 2);
    }

    #[test]
    fn this_machine_has_facts() {
        let host = Host::look(None, Path::new("/"));
        assert!(host.cores > 0 && !host.kernel.is_empty() && host.commit == "unknown");
    }
}
