//! The block device below a directory: its write cache, FUA, the queue's scheduler.

use super::Volume;
use super::finding::{Finding, known};
use super::mounts::Mount;
use super::tree::{Fact, Tree};

/// What `/sys` says about a device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Device {
    /// For example `nvme0n1`: the whole device, not the partition.
    name: String,
    /// For example `write back`.
    write_cache: Fact<String>,
    fua: Fact<u64>,
    scheduler: Fact<String>,
    rotational: Fact<u64>,
    /// Devices that this one is made of.
    below: Vec<String>,
    /// The file that a loop device shows as a device.
    backing_file: Option<String>,
}

/// Looks the device up by its number, or by the name that was mounted where the number says nothing (btrfs, zfs).
pub(super) fn read(tree: &Tree, device: (u32, u32), mount: &Fact<Mount>) -> Fact<Device> {
    let by_number = format!("/sys/dev/block/{}:{}", device.0, device.1);
    if device.0 != 0 && tree.has(&by_number) {
        return at(tree, &by_number);
    }
    let Fact::Known(mount) = mount else { return Fact::Absent };
    if !mount.source.starts_with("/dev/") {
        return Fact::Absent;
    }
    // Names below /dev/mapper are links.
    let name = tree.real_name(&mount.source).known().cloned().or_else(|| mount.source.rsplit('/').next().map(str::to_owned));
    at(tree, &format!("/sys/class/block/{}", name.unwrap_or_default()))
}

fn at(tree: &Tree, entry: &str) -> Fact<Device> {
    if !tree.has(entry) {
        return Fact::Absent;
    }
    // A partition has no queue of its own; its directory lies in that of the device.
    let base = if tree.has(&format!("{entry}/partition")) { format!("{entry}/..") } else { entry.to_owned() };
    tree.real_name(&base).map(|name| Device {
        name,
        write_cache: tree.text(&format!("{base}/queue/write_cache")),
        fua: tree.number(&format!("{base}/queue/fua")),
        scheduler: tree.chosen(&format!("{base}/queue/scheduler")),
        rotational: tree.number(&format!("{base}/queue/rotational")),
        below: tree.names(&format!("{base}/slaves")).known().cloned().unwrap_or_default(),
        backing_file: tree.text(&format!("{base}/loop/backing_file")).known().cloned(),
    })
}

impl Device {
    fn described(&self) -> String {
        if self.below.is_empty() { self.name.clone() } else { format!("{} on {}", self.name, self.below.join(", ")) }
    }

    fn is_virtual(&self) -> bool {
        ["vd", "xvd", "loop", "zram", "nbd", "rbd"].iter().any(|prefix| self.name.starts_with(prefix))
    }
}

pub(super) fn judge(volume: &Volume, out: &mut Vec<Finding>) {
    const ID: &str = "disk.device";
    let absent = Finding::unknown(ID, "/sys/dev/block", format!("{}: no block device is to be seen below the filesystem", volume.keys));
    match known(ID, "/sys/dev/block", &volume.device, absent) {
        Ok(device) => {
            out.push(layers(volume, device));
            out.push(write_cache(device));
            out.push(scheduler(device));
        }
        Err(finding) => out.push(*finding),
    }
}

fn layers(volume: &Volume, device: &Device) -> Finding {
    let found = Finding::ok("disk.device", format!("/sys/block/{}", device.name), format!("{}: {}", volume.keys, device.described()));
    match &device.backing_file {
        None => found,
        Some(file) => found.warning(
            format!("each sync goes through a second filesystem, that of {file}"),
            "put the directory on a device or a partition of its own",
        ),
    }
}

fn write_cache(device: &Device) -> Finding {
    const ID: &str = "disk.write-cache";
    let place = format!("/sys/block/{}/queue/write_cache, fua", device.name);
    let cache = match known(
        ID,
        &place,
        &device.write_cache,
        Finding::unknown(ID, place.as_str(), "the device doesn't say whether it has a write cache"),
    ) {
        Ok(cache) => cache.as_str(),
        Err(finding) => return *finding,
    };
    let found = |text: &str| Finding::ok(ID, place.as_str(), format!("{}: {cache}{text}", device.name));
    match (cache, &device.fua) {
        ("write through", _) => found(": no volatile cache to flush"),
        ("write back", Fact::Known(1)) => found(" with FUA: a durable write is one command"),
        ("write back", Fact::Unread(why)) => Finding::unknown(ID, place.as_str(), why.clone()),
        ("write back", _) => found(" without FUA").advice(
            "each durable write is a write and a flush of the whole cache, one after the other",
            "ringkeeper probe-disk DIR measures what it costs; a device with power-loss protection, or one with FUA, saves the flush \
             (never declare a volatile cache \"write through\")",
        ),
        _ => Finding::unknown(ID, place.as_str(), format!("an unknown kind of cache: {}", super::tree::shown(cache))),
    }
}

fn scheduler(device: &Device) -> Finding {
    const ID: &str = "disk.scheduler";
    let place = format!("/sys/block/{}/queue/scheduler", device.name);
    let absent = Finding::ok(ID, place.as_str(), format!("{}: no scheduler of its own", device.name));
    let chosen = match known(ID, &place, &device.scheduler, absent) {
        Ok(chosen) => chosen.as_str(),
        Err(finding) => return *finding,
    };
    let found = Finding::ok(ID, place.as_str(), format!("{}: {chosen}", device.name));
    let mend = format!("echo none > {place}; to keep it: tuning/60-ringkeeper-disk.rules");
    let spins = device.rotational == Fact::Known(1) && !device.is_virtual();
    match chosen {
        "none" | "noop" => found,
        "mq-deadline" | "deadline" if spins => found,
        "mq-deadline" | "deadline" => {
            found.advice("each write is sorted and counted before it goes to a device that sorts by itself", mend)
        }
        _ if spins => found.advice("it may hold back the log's writes for other processes'", format!("echo mq-deadline > {place}")),
        _ => found.warning("it may hold back the log's writes for other processes'", mend),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::super::forge::{Forged, called, plan};
    use super::super::{Host, judge as judge_host};

    const DISK: &str = "/sys/devices/pci0/block/nvme0n1";

    fn with(file: &str, text: &str) -> Forged {
        let host = Forged::good();
        host.put(&format!("{DISK}/queue/{file}"), text);
        host
    }

    #[test]
    fn a_volatile_cache_without_fua_costs_a_flush() {
        let cases = [
            ("write through", "0", Severity::Ok),
            ("write back", "1", Severity::Ok),
            ("write back", "0", Severity::Advice),
            ("odd", "0", Severity::Unknown),
        ];
        for (cache, fua, severity) in cases {
            let host = with("write_cache", cache);
            let finding = host.put(&format!("{DISK}/queue/fua"), fua).finding("disk.write-cache");
            assert_eq!(finding.severity, severity, "{finding:?}");
            assert!(finding.place.starts_with("/sys/block/nvme0n1/queue/"), "{finding:?}");
        }
        let host = Forged::good();
        assert_eq!(host.take(&format!("{DISK}/queue/write_cache")).finding("disk.write-cache").severity, Severity::Unknown);
    }

    #[test]
    fn schedulers_that_hold_writes_back() {
        let cases = [
            ("[none] bfq", "0", Severity::Ok),
            ("[mq-deadline] none", "0", Severity::Advice),
            ("none [bfq]", "0", Severity::Warning),
            ("[mq-deadline]", "1", Severity::Ok),
        ];
        for (scheduler, rotational, severity) in cases {
            let host = with("scheduler", scheduler);
            let finding = host.put(&format!("{DISK}/queue/rotational"), rotational).finding("disk.scheduler");
            assert_eq!(finding.severity, severity, "{finding:?}");
        }
        assert_eq!(with("scheduler", "a b").finding("disk.scheduler").severity, Severity::Unknown);
    }

    #[test]
    fn devices_are_found_by_number_by_name_and_through_layers() {
        let name = |host: &Forged, device: (u32, u32)| {
            let mut all = called();
            (all.data.device, all.log.device) = (device, device);
            let findings = judge_host(&Host::read(&host.tree(), all), &plan());
            findings.into_iter().find(|f| f.id == "disk.device").unwrap()
        };
        let host = Forged::good();
        assert!(name(&host, (259, 1)).found.ends_with(": nvme0n1"));
        assert!(name(&host, (0, 30)).found.ends_with(": nvme0n1"), "by the mounted name");
        host.put("/proc/self/mountinfo", "27 1 0:30 / / rw - overlay overlay rw\n");
        assert_eq!(name(&host, (0, 30)).severity, Severity::Unknown);
        host.put("/proc/self/mountinfo", "27 1 253:0 / / rw - ext4 /dev/mapper/vg-log rw\n")
            .put("/dev/dm-0", "")
            .link("/dev/mapper/vg-log", "../dm-0");
        host.put("/sys/devices/virtual/block/dm-0/queue/fua", "1").put("/sys/devices/virtual/block/dm-0/slaves/sda", "");
        host.link("/sys/class/block/dm-0", "../../devices/virtual/block/dm-0");
        assert!(name(&host, (253, 0)).found.ends_with(": dm-0 on sda"));
        host.put("/sys/devices/virtual/block/loop0/loop/backing_file", "/img")
            .link("/sys/dev/block/7:0", "../../devices/virtual/block/loop0");
        let looped = name(&host, (7, 0));
        assert!(looped.severity == Severity::Warning && looped.cost.ends_with("/img"), "{looped:?}");
    }
}
