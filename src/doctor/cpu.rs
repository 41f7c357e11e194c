//! Processors: how fast they run, how deep they sleep, how dear a look at the clock is, and whether another host takes them.

use super::finding::{Finding, known};
use super::tree::{Fact, Tree};

const CPUS: &str = "/sys/devices/system/cpu";
const CLOCK: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
const STAT: &str = "/proc/stat";
/// How long a virtual processor without work waits for some before it is given back to the host; the driver `haltpoll` reads it.
const HALT_POLL: &str = "/sys/module/haltpoll/parameters/guest_halt_poll_ns";
const IDLE_DRIVER: &str = "/sys/devices/system/cpu/cpuidle/current_driver";
/// Cores whose settings are read.
const CORES_MAX: usize = 4096;
/// A core that sleeps deeper wakes up later than a sync on a fast device takes.
const WAKE_US_MAX: u64 = 50;
/// Clocks that are read without a system call.
const CHEAP_CLOCKS: &[&str] =
    &["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter", "tb", "timebase", "tod", "riscv_clocksource"];
/// Share of the time, in percent, above which stolen time is worth a word.
const STOLEN_PERCENT_MAX: u64 = 1;

/// One idle state of a core.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Idle {
    name: String,
    wake_us: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Cpu {
    /// Each governor that is in use.
    governors: Fact<Vec<String>>,
    /// The deepest idle state that is allowed.
    deepest: Fact<Idle>,
    /// Of a virtual machine that uses halt polling: for how many ns.
    halt_poll_ns: Fact<u64>,
    clock: Fact<String>,
    /// Clock ticks stolen, and all.
    stolen: Fact<(u64, u64)>,
}

impl Cpu {
    pub(super) fn read(tree: &Tree) -> Cpu {
        Cpu {
            governors: governors(tree),
            deepest: deepest(tree),
            halt_poll_ns: match tree.text(IDLE_DRIVER) {
                Fact::Known(driver) if driver == "haltpoll" => tree.number(HALT_POLL),
                _ => Fact::Absent,
            },
            clock: tree.text(CLOCK),
            stolen: tree.text(STAT).and_then(|text| stolen(&text)),
        }
    }
}

fn governors(tree: &Tree) -> Fact<Vec<String>> {
    tree.names(CPUS).and_then(|names| {
        let cores =
            names.iter().filter(|name| name.strip_prefix("cpu").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit())));
        let mut found = Vec::new();
        for core in cores.take(CORES_MAX) {
            match tree.text(&format!("{CPUS}/{core}/cpufreq/scaling_governor")) {
                Fact::Known(governor) if !found.contains(&governor) => found.push(governor),
                Fact::Unread(why) => return Fact::Unread(why),
                _ => {}
            }
        }
        if found.is_empty() { Fact::Absent } else { Fact::Known(found) }
    })
}

/// Cores of a host have the same states; the first one's are read.
fn deepest(tree: &Tree) -> Fact<Idle> {
    let states = format!("{CPUS}/cpu0/cpuidle");
    tree.names(&states).and_then(|names| {
        let mut deepest: Option<Idle> = None;
        for state in names.iter().filter(|name| name.starts_with("state")) {
            if tree.number(&format!("{states}/{state}/disable")).known().is_some_and(|disabled| *disabled != 0) {
                continue;
            }
            let wake_us = match tree.number(&format!("{states}/{state}/latency")) {
                Fact::Known(us) => us,
                Fact::Absent => continue,
                Fact::Unread(why) => return Fact::Unread(why),
            };
            if deepest.as_ref().is_none_or(|idle| wake_us > idle.wake_us) {
                let name = tree.text(&format!("{states}/{state}/name")).known().cloned().unwrap_or_else(|| state.clone());
                deepest = Some(Idle { name, wake_us });
            }
        }
        deepest.map_or(Fact::Absent, Fact::Known)
    })
}

/// `cpu  user nice system idle iowait irq softirq steal …`; guest time is part of user time.
fn stolen(stat: &str) -> Fact<(u64, u64)> {
    let Some(line) = stat.lines().find_map(|line| line.strip_prefix("cpu ")) else { return Fact::Absent };
    let ticks: Vec<u64> = line.split_whitespace().take(8).map_while(|word| word.parse().ok()).collect();
    match ticks.get(7) {
        Some(stolen) => Fact::Known((*stolen, ticks.iter().fold(0, |sum: u64, n| sum.saturating_add(*n)))),
        None => Fact::Absent,
    }
}

pub(super) fn judge(cpu: &Cpu, out: &mut Vec<Finding>) {
    out.push(judge_governor(cpu));
    out.push(judge_idle(cpu));
    out.push(judge_halt_poll(cpu));
    out.push(judge_clock(cpu));
    out.push(judge_stolen(cpu));
}

fn judge_governor(cpu: &Cpu) -> Finding {
    const ID: &str = "cpu.governor";
    let place = format!("{CPUS}/cpu*/cpufreq/scaling_governor");
    let absent = Finding::ok(ID, place.as_str(), "no governor is to be seen: the firmware or the host of this machine decides");
    let governors = match known(ID, &place, &cpu.governors, absent) {
        Ok(governors) => governors,
        Err(finding) => return *finding,
    };
    let found = Finding::ok(ID, place, governors.join(", "));
    if governors.iter().all(|governor| governor == "performance") {
        return found;
    }
    found.advice(
        "after an idle moment a core runs slowly until the governor notices work: single requests take longer",
        "cpupower frequency-set -g performance",
    )
}

fn judge_idle(cpu: &Cpu) -> Finding {
    const ID: &str = "cpu.idle";
    let place = format!("{CPUS}/cpu0/cpuidle");
    let absent = Finding::ok(ID, place.as_str(), "no idle states are to be seen: the host of this machine decides");
    let idle = match known(ID, &place, &cpu.deepest, absent) {
        Ok(idle) => idle,
        Err(finding) => return *finding,
    };
    let found = Finding::ok(ID, place, format!("deepest state {}, {} µs to wake up", idle.name, idle.wake_us));
    if idle.wake_us <= WAKE_US_MAX {
        return found;
    }
    let cost = format!("a request that finds its core asleep waits up to {} µs, once for the socket and once for the sync", idle.wake_us);
    found.advice(cost, format!("cpupower idle-set -D {WAKE_US_MAX} (costs power)"))
}

fn judge_halt_poll(cpu: &Cpu) -> Finding {
    const ID: &str = "cpu.halt-poll";
    let absent = Finding::ok(ID, HALT_POLL, "no halt polling is in use here: this is no virtual machine, or its host decides");
    let ns = match known(ID, HALT_POLL, &cpu.halt_poll_ns, absent) {
        Ok(ns) => *ns,
        Err(finding) => return *finding,
    };
    let found = Finding::ok(ID, HALT_POLL, format!("{} µs", ns / 1000));
    if ns > 0 {
        return found;
    }
    found.advice(
        "a virtual processor that has nothing to do is given back to the host at once, and waking it costs more than a request",
        format!("echo 200000 > {HALT_POLL} (costs processor time while idle)"),
    )
}

fn judge_clock(cpu: &Cpu) -> Finding {
    const ID: &str = "cpu.clock";
    let clock = match known(ID, CLOCK, &cpu.clock, Finding::unknown(ID, CLOCK, "the file is missing: is /sys mounted?")) {
        Ok(clock) => clock,
        Err(finding) => return *finding,
    };
    let found = Finding::ok(ID, CLOCK, clock.as_str());
    if CHEAP_CLOCKS.contains(&clock.as_str()) {
        return found;
    }
    found.warning(
        "every look at the clock is a system call, and the executor looks several times for each operation",
        "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource (if available_clocksource names it)",
    )
}

fn judge_stolen(cpu: &Cpu) -> Finding {
    const ID: &str = "cpu.stolen";
    let (stolen, all) = match known(ID, STAT, &cpu.stolen, Finding::unknown(ID, STAT, "no line says how the processors' time was spent")) {
        Ok(ticks) => *ticks,
        Err(finding) => return *finding,
    };
    let tenths = u128::from(stolen) * 1000 / u128::from(all.max(1));
    let found = Finding::ok(ID, STAT, format!("{}.{} % of the time since the boot was stolen", tenths / 10, tenths % 10));
    if tenths <= u128::from(STOLEN_PERCENT_MAX) * 10 {
        return found;
    }
    found.advice(
        "another machine on the same host had the core while this one wanted it: pauses nobody here can explain",
        "a machine with cores of its own",
    )
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::super::forge::Forged;
    use super::*;

    fn idle_state(host: &Forged, state: u8, name: &str, wake_us: &str, disabled: &str) {
        let dir = format!("{CPUS}/cpu0/cpuidle/state{state}");
        host.put(&format!("{dir}/name"), name).put(&format!("{dir}/latency"), wake_us).put(&format!("{dir}/disable"), disabled);
    }

    #[test]
    fn every_core_must_run_at_full_speed() {
        let host = Forged::good();
        assert_eq!(host.finding("cpu.governor").severity, Severity::Ok);
        let saving = host.put(&format!("{CPUS}/cpu2/cpufreq/scaling_governor"), "powersave\n").finding("cpu.governor");
        assert_eq!((saving.severity, saving.found.as_str()), (Severity::Advice, "performance, powersave"));
        assert!(saving.mend.starts_with("cpupower frequency-set"));
        assert_eq!(Forged::good().take(CPUS).finding("cpu.governor").severity, Severity::Ok, "a virtual machine shows none");
    }

    #[test]
    fn deep_sleep_is_named_unless_it_is_disabled() {
        let host = Forged::good();
        assert_eq!(host.finding("cpu.idle").severity, Severity::Ok);
        idle_state(&host, 0, "POLL", "0", "0");
        idle_state(&host, 1, "C1", "2", "0");
        assert_eq!(host.finding("cpu.idle").severity, Severity::Ok);
        idle_state(&host, 2, "C6", "133", "0");
        let deep = host.finding("cpu.idle");
        assert!(deep.severity == Severity::Advice && deep.found.contains("C6, 133 µs"), "{deep:?}");
        idle_state(&host, 2, "C6", "133", "1");
        assert_eq!(host.finding("cpu.idle").severity, Severity::Ok);
        idle_state(&host, 2, "C6", "long", "0");
        assert_eq!(host.finding("cpu.idle").severity, Severity::Unknown);
    }

    #[test]
    fn halt_polling_that_is_switched_off_is_named() {
        assert_eq!(
            Forged::good().put(HALT_POLL, "0\n").finding("cpu.halt-poll").severity,
            Severity::Ok,
            "another driver doesn't look there"
        );
        let guest = |ns: &str| Forged::good().put(IDLE_DRIVER, "haltpoll\n").put(HALT_POLL, ns).finding("cpu.halt-poll");
        let off = guest("0\n");
        assert!(off.severity == Severity::Advice && off.mend.starts_with("echo 200000 > /sys/module/haltpoll"), "{off:?}");
        assert_eq!(guest("200000\n").severity, Severity::Ok);
        assert_eq!(guest("much\n").severity, Severity::Unknown);
    }

    #[test]
    fn the_clock_must_be_cheap() {
        assert_eq!(Forged::good().put(CLOCK, "kvm-clock\n").finding("cpu.clock").severity, Severity::Ok);
        assert_eq!(Forged::good().put(CLOCK, "hpet\n").finding("cpu.clock").severity, Severity::Warning);
        assert_eq!(Forged::good().take(CLOCK).finding("cpu.clock").severity, Severity::Unknown);
    }

    #[test]
    fn stolen_time_is_counted_since_the_boot() {
        let of = |line: &str| Forged::good().put(STAT, line).finding("cpu.stolen");
        assert_eq!(of("cpu  100 0 100 800 0 0 0 5 0 0\n").severity, Severity::Ok);
        let much = of("cpu  100 0 100 700 0 0 0 100 0 0\n");
        assert!(much.severity == Severity::Advice && much.found.starts_with("10.0 %"), "{much:?}");
        for strange in ["", "cpu  1 2\n", "cpu  a b c d e f g h\n"] {
            assert_eq!(of(strange).severity, Severity::Unknown);
        }
        assert_eq!(of("cpu  18446744073709551615 1 1 1 1 1 1 1\n").severity, Severity::Ok);
    }
}
