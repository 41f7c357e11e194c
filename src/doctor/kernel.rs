//! The kernel and its io_uring: without it there is no server.

use super::called::Ring;
use super::finding::{Finding, known};
use super::tree::{Fact, Tree, shown};
use crate::base::fatal::Fatal;

const OSRELEASE: &str = "/proc/sys/kernel/osrelease";
const RING_DISABLED: &str = "/proc/sys/kernel/io_uring_disabled";
const STATUS: &str = "/proc/self/status";
/// Below this the executor can't run.
const VERSION_MIN: (u32, u32) = (5, 8);
/// From here on what the log and the sockets use is mature.
const VERSION_GOOD: (u32, u32) = (6, 1);
/// Features that save work or waiting, with the bit and the kernel that brought it.
const FEATURES: &[(&str, u32, &str)] = &[
    ("NODROP", 1 << 1, "5.5"),
    ("SUBMIT_STABLE", 1 << 2, "5.5"),
    ("FAST_POLL", 1 << 5, "5.7"),
    ("EXT_ARG", 1 << 8, "5.11"),
    ("NATIVE_WORKERS", 1 << 9, "5.12"),
];

/// What the kernel says about itself.
#[derive(Clone, Debug)]
pub(super) struct Kernel {
    release: Fact<String>,
    ring_disabled: Fact<String>,
    /// 0 none, 1 strict, 2 a filter.
    seccomp: Fact<String>,
}

impl Kernel {
    pub(super) fn read(tree: &Tree) -> Kernel {
        let seccomp = tree.text(STATUS).and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("Seccomp:"));
            line.map_or(Fact::Absent, |value| Fact::Known(value.trim().to_owned()))
        });
        Kernel { release: tree.text(OSRELEASE), ring_disabled: tree.text(RING_DISABLED), seccomp }
    }
}

/// Why `io_uring_setup` and the like fail, and what mends it; `disabled` is the content of `kernel.io_uring_disabled`.
#[must_use]
pub fn why_ring_refused(errno: i32, disabled: Option<&str>) -> String {
    match (errno, disabled) {
        (libc::ENOSYS, _) => "this kernel has no io_uring: Linux 5.8 or later is needed".to_owned(),
        (libc::EPERM, Some(level @ ("1" | "2"))) => {
            format!("it is disabled (kernel.io_uring_disabled={level}): run `sysctl kernel.io_uring_disabled=0`")
        }
        (libc::EPERM | libc::EACCES, _) => "it is blocked, probably by the container's seccomp profile: allow the calls io_uring_setup, \
             io_uring_enter and io_uring_register"
            .to_owned(),
        (libc::ENOMEM, _) => "the kernel has no locked memory left for a ring: raise `ulimit -l`".to_owned(),
        _ => "see `man 2 io_uring_setup` for this error".to_owned(),
    }
}

/// With which status a start ends that can't open a ring: for want of locked memory there is one of its own. A user's rings that ended a
/// moment ago may still count.
#[must_use]
pub fn status_of(errno: i32) -> Fatal {
    if errno == libc::ENOMEM { Fatal::LockedMemory } else { Fatal::IoUring }
}

pub(super) fn judge(kernel: &Kernel, ring: &Ring, out: &mut Vec<Finding>) {
    out.push(version(kernel));
    match ring {
        Ring::Refused { call, errno } => out.push(refused(kernel, call, *errno)),
        Ring::Usable { features, missing_calls } => {
            let filter = if kernel.seccomp.known().is_some_and(|mode| mode == "2") {
                "; a seccomp filter is active and lets it through"
            } else {
                ""
            };
            out.push(Finding::ok("io_uring", "io_uring_setup, io_uring_register, io_uring_enter", format!("io_uring can be used{filter}")));
            out.push(calls(missing_calls));
            out.push(feature_bits(*features));
        }
    }
}

fn version(kernel: &Kernel) -> Finding {
    const ID: &str = "kernel.version";
    let release = match known(ID, OSRELEASE, &kernel.release, Finding::unknown(ID, OSRELEASE, "the file is missing: is /proc mounted?")) {
        Ok(release) => release,
        Err(finding) => return *finding,
    };
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        return Finding::unknown(ID, OSRELEASE, format!("it holds {:?}, no version", shown(release)));
    };
    let found = Finding::ok(ID, OSRELEASE, format!("Linux {release}"));
    if (major, minor) < VERSION_MIN {
        return found.stops(
            Fatal::IoUring,
            "calls of io_uring that the executor needs are missing",
            "install Linux 5.8 or later, best 6.1 or later",
        );
    }
    if (major, minor) < VERSION_GOOD {
        return found
            .advice("older rings do more in kernel threads, and had hangs and leaks that were mended since", "install Linux 6.1 or later");
    }
    found
}

fn refused(kernel: &Kernel, call: &str, errno: i32) -> Finding {
    let disabled = kernel.ring_disabled.known().map(String::as_str);
    let filter = match kernel.seccomp.known().map(String::as_str) {
        Some("2") => "; a seccomp filter is active (Seccomp: 2 in /proc/self/status)",
        _ => "",
    };
    let error = std::io::Error::from_raw_os_error(errno);
    let why = why_ring_refused(errno, disabled);
    let mend = match (errno, disabled) {
        (libc::EPERM, Some("1" | "2")) => "sysctl -w kernel.io_uring_disabled=0",
        (libc::EPERM | libc::EACCES, _) => {
            "run the container with tuning/seccomp-io-uring.json merged into its profile (docker run --security-opt seccomp=FILE)"
        }
        (libc::ENOMEM, _) => "ulimit -l 65536, or LimitMEMLOCK=64M in the systemd unit",
        _ => "install Linux 5.8 or later, built with CONFIG_IO_URING",
    };
    Finding::ok("io_uring", call, format!("io_uring can't be used: {error}; {why}{filter}")).stops(
        status_of(errno),
        "no server starts",
        mend,
    )
}

fn calls(missing: &Fact<Vec<&'static str>>) -> Finding {
    const ID: &str = "io_uring.calls";
    const PLACE: &str = "io_uring_register(IORING_REGISTER_PROBE)";
    match missing {
        Fact::Known(missing) if missing.is_empty() => Finding::ok(ID, PLACE, "every operation that the executor needs is there"),
        Fact::Known(missing) => Finding::ok(ID, PLACE, format!("operations are missing: {}", missing.join(", "))).stops(
            Fatal::IoUring,
            "the executor ends at its start",
            "install Linux 5.8 or later, best 6.1 or later",
        ),
        Fact::Absent => Finding::unknown(ID, PLACE, "the kernel can't say which operations it has"),
        Fact::Unread(why) => Finding::unknown(ID, PLACE, why.clone()),
    }
}

fn feature_bits(features: u32) -> Finding {
    let missing: Vec<String> =
        FEATURES.iter().filter(|(_, bit, _)| features & bit == 0).map(|(name, _, since)| format!("{name} (since {since})")).collect();
    let found = |text: String| Finding::ok("io_uring.features", "io_uring_setup", text);
    if missing.is_empty() {
        return found(format!("features {features:#x}: all that save work here"));
    }
    found(format!("features {features:#x}, without {}", missing.join(", ")))
        .advice("sockets and syncs take detours over kernel threads", "install Linux 6.1 or later")
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::super::forge::{Forged, called, finding_of, plan};
    use super::*;

    #[test]
    fn the_kernel_must_be_new_enough() {
        let cases = [("6.18.1", Severity::Ok), ("6.1", Severity::Ok), ("5.15.0-97-generic", Severity::Advice), ("5.7.19", Severity::Error)];
        for (release, severity) in cases {
            let finding = Forged::good().put("/proc/sys/kernel/osrelease", release).finding("kernel.version");
            assert_eq!(finding.severity, severity, "{release}: {finding:?}");
        }
        assert_eq!(Forged::good().put("/proc/sys/kernel/osrelease", "newest").finding("kernel.version").severity, Severity::Unknown);
        assert_eq!(Forged::good().take("/proc").finding("kernel.version").severity, Severity::Unknown);
    }

    #[test]
    fn a_refused_ring_stops_a_server_and_the_reason_is_told() {
        let refused = |errno, disabled: &str, seccomp: &str| {
            let host = Forged::good();
            host.put("/proc/sys/kernel/io_uring_disabled", disabled).put("/proc/self/status", &format!("Seccomp:\t{seccomp}\n"));
            let mut out = Vec::new();
            judge(&Kernel::read(&host.tree()), &Ring::Refused { call: "io_uring_setup", errno }, &mut out);
            let finding = out.pop().unwrap();
            let status = if errno == libc::ENOMEM { 16 } else { 15 };
            assert_eq!((finding.id, finding.severity, finding.status), ("io_uring", Severity::Error, Some(status)));
            format!("{} | {}", finding.found, finding.mend)
        };
        let blocked = refused(libc::EPERM, "0", "2");
        assert!(
            blocked.contains("seccomp profile") && blocked.contains("Seccomp: 2") && blocked.contains("seccomp-io-uring.json"),
            "{blocked}"
        );
        assert!(refused(libc::EPERM, "2", "0").contains("| sysctl -w kernel.io_uring_disabled=0"));
        assert!(refused(libc::ENOSYS, "0", "0").contains("has no io_uring"));
        assert!(refused(libc::ENOMEM, "0", "0").contains("| ulimit -l"));
    }

    #[test]
    fn operations_and_features_that_are_missing() {
        let ring = |features, missing_calls| super::super::called::Called { ring: Ring::Usable { features, missing_calls }, ..called() };
        let finding = finding_of("io_uring.calls", ring(u32::MAX, Fact::Known(vec!["STATX"])), &plan());
        assert!(finding.status == Some(15) && finding.found.ends_with("STATX"), "{finding:?}");
        assert_eq!(finding_of("io_uring.calls", ring(0, Fact::Unread("EPERM".into())), &plan()).severity, Severity::Unknown);
        assert_eq!(finding_of("io_uring.features", ring(!(1 << 9), Fact::Absent), &plan()).severity, Severity::Advice);
        assert_eq!(finding_of("io_uring.features", called(), &plan()).severity, Severity::Ok);
        let filtered = Forged::good().put("/proc/self/status", "Seccomp:\t2\n").finding("io_uring");
        assert!(filtered.severity == Severity::Ok && filtered.found.contains("lets it through"));
    }
}
