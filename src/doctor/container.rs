//! What a control group takes away: processor time, memory, the disk's rate. Both versions of control groups are read; a limit
//! holds for everything below it, so all groups above the process count, as far as they are to be seen.

use super::Plan;
use super::finding::{Finding, known};
use super::tree::{Fact, Tree, shown};

const OWN: &str = "/proc/self/cgroup";
const ROOT: &str = "/sys/fs/cgroup";
/// Groups above one another that are looked at.
const DEPTH_MAX: usize = 32;
/// A limit as high as this is none; the first version writes one where there is none.
const MEMORY_NONE: u64 = 1 << 60;
/// Less is soon used up by a tree of some hundred thousand nodes and its snapshots.
const MEMORY_LOW: u64 = 512 << 20;

/// A limit, and the file that holds it.
type Limit<T> = Fact<(T, String)>;

#[derive(Clone, Debug)]
pub(super) struct Container {
    /// Thousandths of a core, and how often it was taken away so far.
    cpu: Limit<(u64, u64)>,
    /// Bytes.
    memory: Limit<u64>,
    /// What limits the log's device, as it stands there.
    disk: Limit<String>,
}

impl Container {
    /// `device` is the log's.
    pub(super) fn read(tree: &Tree, device: (u32, u32)) -> Container {
        let groups = match tree.text(OWN) {
            Fact::Known(groups) => groups,
            Fact::Absent => String::new(),
            Fact::Unread(why) => {
                return Container { cpu: Fact::Unread(why.clone()), memory: Fact::Unread(why.clone()), disk: Fact::Unread(why) };
            }
        };
        let above = |controller: &str| directories(tree, &groups, controller);
        Container { cpu: cpu(tree, &above("cpu")), memory: memory(tree, &above("memory")), disk: disk(tree, &above("blkio"), device) }
    }
}

/// The group of `controller` and all above it, the lowest first: those of the second version, then those of the first.
fn directories(tree: &Tree, groups: &str, controller: &str) -> Vec<String> {
    let mut out = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let bases = if controllers.is_empty() {
            vec![ROOT.to_owned(), format!("{ROOT}/unified")]
        } else if controllers.split(',').any(|name| name == controller) {
            vec![format!("{ROOT}/{controllers}"), format!("{ROOT}/{controller}")]
        } else {
            continue;
        };
        let Some(base) = bases.into_iter().find(|base| tree.has(base)) else { continue };
        let mut path = path.trim_end_matches('/');
        for _ in 0..DEPTH_MAX {
            out.push(format!("{base}{path}"));
            match path.rfind('/') {
                Some(end) => path = &path[..end],
                None => break,
            }
        }
    }
    out
}

/// The tightest limit of processor time.
fn cpu(tree: &Tree, groups: &[String]) -> Limit<(u64, u64)> {
    let mut tightest: Limit<(u64, u64)> = Fact::Absent;
    for group in groups {
        let second = tree.text(&format!("{group}/cpu.max"));
        let (place, quota, period) = match &second {
            Fact::Known(text) => {
                let mut words = text.split_whitespace();
                (format!("{group}/cpu.max"), words.next().map(str::to_owned), words.next().map(str::to_owned))
            }
            _ => {
                let of = |file: &str| tree.text(&format!("{group}/{file}")).known().cloned();
                (format!("{group}/cpu.cfs_quota_us"), of("cpu.cfs_quota_us"), of("cpu.cfs_period_us"))
            }
        };
        let (Some(Ok(quota)), Some(Ok(period))) = (quota.map(|text| text.parse::<u64>()), period.map(|text| text.parse::<u64>())) else {
            continue;
        };
        let thousandths = quota.saturating_mul(1000) / period.max(1);
        let throttled = tree.text(&format!("{group}/cpu.stat"));
        let throttled =
            throttled.known().and_then(|text| text.lines().find_map(|line| line.strip_prefix("nr_throttled ")?.trim().parse().ok()));
        if tightest.known().is_none_or(|((now, _), _)| thousandths < *now) {
            tightest = Fact::Known(((thousandths, throttled.unwrap_or(0)), place));
        }
    }
    tightest
}

/// The tightest limit of memory.
fn memory(tree: &Tree, groups: &[String]) -> Limit<u64> {
    let places = groups.iter().flat_map(|group| [format!("{group}/memory.max"), format!("{group}/memory.limit_in_bytes")]);
    let limits = places.filter_map(|place| {
        let bytes = tree.text(&place).known()?.parse::<u64>().ok()?;
        (bytes < MEMORY_NONE).then_some((bytes, place))
    });
    limits.min().map_or(Fact::Absent, Fact::Known)
}

/// The lowest group's limit of the device. Limits stand at the whole device, whose partitions have higher minor numbers; a line for
/// the same major number is taken to be it.
fn disk(tree: &Tree, groups: &[String], device: (u32, u32)) -> Limit<String> {
    const FILES: [&str; 3] = ["io.max", "blkio.throttle.write_iops_device", "blkio.throttle.write_bps_device"];
    for group in groups {
        for file in FILES {
            let place = format!("{group}/{file}");
            let text = tree.text(&place);
            let line = text.known().and_then(|text| text.lines().find(|line| line.starts_with(&format!("{}:", device.0))));
            if let Some(line) = line {
                return Fact::Known((shown(line), place));
            }
        }
    }
    Fact::Absent
}

pub(super) fn judge(container: &Container, plan: &Plan, out: &mut Vec<Finding>) {
    out.push(judge_cpu(container, plan));
    out.push(judge_memory(container));
    out.push(judge_disk(container));
}

fn judge_cpu(container: &Container, plan: &Plan) -> Finding {
    const ID: &str = "container.cpu";
    let ((thousandths, throttled), place) = match known(ID, OWN, &container.cpu, Finding::ok(ID, OWN, "no limit of processor time")) {
        Ok(limit) => limit,
        Err(finding) => return *finding,
    };
    let (whole, part) = (thousandths / 1000, thousandths % 1000 / 10);
    let found = Finding::ok(
        ID,
        place.as_str(),
        format!("{whole}.{part:02} cores of {}, taken away {throttled} times so far", plan.cores_available),
    );
    if *thousandths >= (plan.cores_available as u64).saturating_mul(1000) && *throttled == 0 {
        return found;
    }
    found.warning(
        "when the share of a period (100 ms by default) is used up, everything stands still until the next one: heartbeats too",
        "give whole cores (--cpuset-cpus, static CPU manager) and no quota (--cpus)",
    )
}

fn judge_memory(container: &Container) -> Finding {
    const ID: &str = "container.memory";
    let (bytes, place) = match known(ID, OWN, &container.memory, Finding::ok(ID, OWN, "no limit of memory")) {
        Ok(limit) => limit,
        Err(finding) => return *finding,
    };
    let found = Finding::ok(ID, place.as_str(), format!("{} MiB", bytes >> 20));
    if *bytes >= MEMORY_LOW {
        return found;
    }
    found.advice(
        "beyond it the kernel ends the server; the page cache of snapshots counts too",
        "a limit of 512 MiB or more, twice what the tree takes",
    )
}

fn judge_disk(container: &Container) -> Finding {
    const ID: &str = "container.disk";
    let (limit, place) = match known(ID, OWN, &container.disk, Finding::ok(ID, OWN, "no limit of the log's device is to be seen")) {
        Ok(limit) => limit,
        Err(finding) => return *finding,
    };
    Finding::ok(ID, place.as_str(), limit.as_str()).warning(
        "beyond it each sync waits, however fast the device is",
        "take the limit of the log's device away, or measure it with ringkeeper probe-disk",
    )
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::super::forge::Forged;
    use super::*;

    #[test]
    fn the_tightest_limit_above_the_process_counts() {
        let host = Forged::good();
        for id in ["container.cpu", "container.memory", "container.disk"] {
            assert_eq!(host.finding(id).severity, Severity::Ok);
        }
        host.put(OWN, "0::/pod/box\n")
            .put("/sys/fs/cgroup/pod/box/cpu.max", "max 100000\n")
            .put("/sys/fs/cgroup/pod/cpu.max", "150000 100000\n");
        host.put("/sys/fs/cgroup/pod/cpu.stat", "nr_periods 9\nnr_throttled 7\n").put("/sys/fs/cgroup/pod/box/memory.max", "268435456\n");
        host.put("/sys/fs/cgroup/pod/memory.max", "max\n")
            .put("/sys/fs/cgroup/pod/box/io.max", "8:0 wiops=5\n259:0 rbps=max wbps=1048576\n");
        let cpu = host.finding("container.cpu");
        assert!(cpu.severity == Severity::Warning && cpu.found == "1.50 cores of 4, taken away 7 times so far", "{cpu:?}");
        assert_eq!(cpu.place, "/sys/fs/cgroup/pod/cpu.max");
        let memory = host.finding("container.memory");
        assert_eq!((memory.severity, memory.found.as_str()), (Severity::Advice, "256 MiB"));
        let disk = host.finding("container.disk");
        assert!(disk.severity == Severity::Warning && disk.found.ends_with("wbps=1048576"), "{disk:?}");
    }

    #[test]
    fn the_first_version_of_control_groups() {
        let host = Forged::good();
        host.put(OWN, "5:memory:/a\n4:cpu,cpuacct:/a\n3:blkio:/\n1:name=systemd:/\n")
            .put("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "800000");
        host.put("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000")
            .put("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712");
        host.put("/sys/fs/cgroup/blkio/blkio.throttle.write_iops_device", "259:0 100\n");
        let cpu = host.finding("container.cpu");
        assert!(cpu.severity == Severity::Ok && cpu.found.starts_with("8.00 cores of 4"), "{cpu:?}");
        assert_eq!(host.finding("container.memory").found, "no limit of memory");
        assert_eq!(host.finding("container.disk").found, "259:0 100");
        host.put("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "-1");
        assert_eq!(host.finding("container.cpu").found, "no limit of processor time");
    }

    #[test]
    fn strange_groups_are_passed_over() {
        let host = Forged::good();
        host.put(OWN, "::\n0::/../../..\nno colon\n9:cpu\n0::/a\n")
            .put("/sys/fs/cgroup/a/cpu.max", "many few\n")
            .put("/sys/fs/cgroup/cpu.max", "0 0\n");
        assert_eq!(host.finding("container.cpu").found, "0.00 cores of 4, taken away 0 times so far");
        host.take(OWN);
        std::fs::create_dir(host.path(OWN)).unwrap();
        assert_eq!(host.finding("container.cpu").severity, Severity::Unknown);
    }
}
