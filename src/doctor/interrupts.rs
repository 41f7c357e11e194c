//! Which cores answer the interrupts of disks and networks. Only what is busy counts; which lines belong to a disk or a network is
//! told by their names, so an unknown driver's are passed over.

use super::Plan;
use super::finding::{Finding, known};
use super::tree::{Fact, Tree};

const INTERRUPTS: &str = "/proc/interrupts";
/// Fewer cores leave nothing to choose.
const CORES_MIN: usize = 4;
/// Lines that are looked at.
const LINES_MAX: usize = 16_384;
/// Highest number of a core that is believed.
const CORE_MAX: usize = 8191;
/// A line with a smaller share of all counted interrupts, one of so many, is idle.
const BUSY_SHARE: u64 = 50;
/// How names of disk and network interrupts begin, or what they contain.
const BEGINNINGS: &[&str] = &["nvme", "eth", "en", "mlx", "ixgbe", "i40e", "ice-", "bnxt", "ena-", "ahci", "megasas", "mpt", "blkif"];
const PARTS: &[&str] = &["-req", "-input", "-output", "-rx", "-tx", "TxRx"];
/// Interrupts that a message names.
const NAMED_MAX: usize = 4;

/// A busy interrupt of a disk or a network.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Line {
    number: u32,
    name: String,
    count: u64,
    /// Cores that answer it; empty when the host doesn't say.
    cores: Vec<usize>,
}

#[derive(Clone, Debug)]
pub(super) struct Interrupts {
    busy: Fact<Vec<Line>>,
    cores_online: usize,
}

impl Interrupts {
    pub(super) fn read(tree: &Tree) -> Interrupts {
        let busy = tree.text(INTERRUPTS).map(|text| {
            let mut lines: Vec<Line> = text.lines().take(LINES_MAX).filter_map(parse).collect();
            let all = lines.iter().fold(0, |sum: u64, line| sum.saturating_add(line.count));
            lines.retain(|line| line.count > 0 && line.count.saturating_mul(BUSY_SHARE) >= all);
            for line in &mut lines {
                let at = |file: &str| tree.text(&format!("/proc/irq/{}/{file}", line.number)).known().map(|list| cores(list));
                line.cores = at("effective_affinity_list").or_else(|| at("smp_affinity_list")).unwrap_or_default();
            }
            lines
        });
        let online = tree.text("/sys/devices/system/cpu/online");
        Interrupts { busy, cores_online: online.known().map_or(0, |list| cores(list).len()) }
    }
}

/// ` 36:          0    2380007 PCI-MSIX-0000:00:02.0   1-edge      virtio1-req.0`
fn parse(line: &str) -> Option<Line> {
    let mut words = line.split_whitespace();
    let number = words.next()?.strip_suffix(':')?.parse().ok()?;
    let name = words.clone().next_back()?;
    let ours = BEGINNINGS.iter().any(|start| name.starts_with(start)) || PARTS.iter().any(|part| name.contains(part));
    let counts = words.map_while(|word| word.parse::<u64>().ok());
    ours.then(|| Line { number, name: name.to_owned(), count: counts.fold(0, u64::saturating_add), cores: Vec::new() })
}

/// `0-3,5` as numbers; what isn't of that form is left out.
fn cores(list: &str) -> Vec<usize> {
    let mut out = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) {
            out.extend(first.min(CORE_MAX)..=last.min(CORE_MAX));
        }
    }
    out.truncate(CORE_MAX + 1);
    out
}

pub(super) fn judge(interrupts: &Interrupts, plan: &Plan, out: &mut Vec<Finding>) {
    const ID: &str = "interrupts.placement";
    let absent = Finding::unknown(ID, INTERRUPTS, "the file is missing: is /proc mounted?");
    out.push(match known(ID, INTERRUPTS, &interrupts.busy, absent) {
        Ok(busy) => placement(busy, interrupts.cores_online, plan),
        Err(finding) => *finding,
    });
}

fn placement(busy: &[Line], cores_online: usize, plan: &Plan) -> Finding {
    let found = |text: String| Finding::ok("interrupts.placement", "/proc/interrupts, /proc/irq/N/effective_affinity_list", text);
    if busy.is_empty() {
        return found("no busy interrupt of a disk or a network is to be seen".into());
    }
    let shown: Vec<String> = busy.iter().take(NAMED_MAX).map(|line| format!("{} on {}", line.name, list(&line.cores))).collect();
    let found = found(shown.join(", "));
    let pinned = busy.iter().find(|line| line.cores.iter().any(|core| plan.cores.contains(core)));
    if let Some(line) = pinned {
        return found.advice(
            "an executor on a core of ringkeeper.cores waits while that core answers interrupts",
            format!(
                "systemctl disable --now irqbalance; echo {} > /proc/irq/{}/smp_affinity_list",
                free_cores(cores_online, plan),
                line.number
            ),
        );
    }
    let one = busy.first().map(|line| line.cores.clone()).filter(|cores| cores.len() == 1);
    if cores_online >= CORES_MIN && busy.len() > 1 && one.is_some_and(|one| busy.iter().all(|line| line.cores == one)) {
        return found.advice(
            "one core answers for disk and network: both wait for each other",
            format!("systemctl enable --now irqbalance, or echo CORE > /proc/irq/{}/smp_affinity_list", busy[0].number),
        );
    }
    found
}

fn list(cores: &[usize]) -> String {
    match cores {
        [] => "cores that aren't named".to_owned(),
        [core] => format!("core {core}"),
        [first, .., last] => format!("{} cores from {first} to {last}", cores.len()),
    }
}

/// Cores that no executor is pinned to, for a command.
fn free_cores(cores_online: usize, plan: &Plan) -> String {
    let free: Vec<String> = (0..cores_online).filter(|core| !plan.cores.contains(core)).map(|core| core.to_string()).collect();
    if free.is_empty() { "CORES".to_owned() } else { free.join(",") }
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::super::forge::{Forged, called, plan};
    use super::super::{Host, judge as judge_host};
    use super::*;

    #[test]
    fn lists_of_cores() {
        assert_eq!(cores("0-2,5\n"), [0, 1, 2, 5]);
        assert_eq!(cores("0-99999999999999999999,x,,3-1"), Vec::<usize>::new());
        assert_eq!(cores("0-4000000000").len(), CORE_MAX + 1);
    }

    #[test]
    fn busy_interrupts_of_disks_and_networks_are_told_from_others() {
        let line = parse(" 36:   0  2380007 PCI-MSIX-0000:00:02.0   1-edge      virtio1-req.0").unwrap();
        assert_eq!((line.number, line.name.as_str(), line.count), (36, "virtio1-req.0", 2_380_007));
        for other in ["LOC: 4517825 4717695 Local timer interrupts", " 26: 0 15 IO-APIC 4-edge ttyS0", "", "x", " 1:"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn all_on_one_core_of_many() {
        let host = Forged::good();
        assert_eq!(
            host.put("/proc/irq/30/effective_affinity_list", "3").finding("interrupts.placement").severity,
            Severity::Ok,
            "the disk is idle"
        );
        host.put("/proc/interrupts", " CPU0 CPU1\n 30: 500 0 PCI nvme0q1\n 31: 0 900 PCI eth0-rx-0\n");
        let one = host.finding("interrupts.placement");
        assert!(one.severity == Severity::Advice && one.found == "nvme0q1 on core 3, eth0-rx-0 on core 3", "{one:?}");
        host.put("/proc/irq/30/effective_affinity_list", "2");
        assert_eq!(host.finding("interrupts.placement").severity, Severity::Ok);
        host.put("/proc/irq/30/effective_affinity_list", "3").put("/sys/devices/system/cpu/online", "0-1");
        assert_eq!(host.finding("interrupts.placement").severity, Severity::Ok, "two cores leave nothing to choose");
        assert_eq!(Forged::good().take("/proc/interrupts").finding("interrupts.placement").severity, Severity::Unknown);
    }

    #[test]
    fn an_interrupt_on_a_pinned_core_is_in_the_way() {
        let pinned = |cores: Vec<usize>| {
            let plan = super::super::Plan { cores, ..plan() };
            judge_host(&Host::read(&Forged::good().tree(), called()), &plan).into_iter().find(|f| f.id == "interrupts.placement").unwrap()
        };
        assert_eq!(pinned(vec![0, 1]).severity, Severity::Ok);
        let finding = pinned(vec![2, 3]);
        assert!(finding.severity == Severity::Advice && finding.mend.ends_with("echo 0,1 > /proc/irq/31/smp_affinity_list"), "{finding:?}");
    }
}
