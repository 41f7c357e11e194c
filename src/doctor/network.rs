//! The network's queues: how many connections may wait to be accepted, and whether a link starts slowly after a pause.

use super::Plan;
use super::finding::{Finding, known};
use super::tree::{Fact, Tree};

const SOMAXCONN: &str = "/proc/sys/net/core/somaxconn";
const SYN_BACKLOG: &str = "/proc/sys/net/ipv4/tcp_max_syn_backlog";
const SLOW_START: &str = "/proc/sys/net/ipv4/tcp_slow_start_after_idle";

#[derive(Clone, Debug)]
pub(super) struct Network {
    accept_queue: Fact<u64>,
    syn_queue: Fact<u64>,
    slow_start: Fact<u64>,
}

impl Network {
    pub(super) fn read(tree: &Tree) -> Network {
        Network { accept_queue: tree.number(SOMAXCONN), syn_queue: tree.number(SYN_BACKLOG), slow_start: tree.number(SLOW_START) }
    }
}

pub(super) fn judge(network: &Network, plan: &Plan, out: &mut Vec<Finding>) {
    let storm = "when many clients come back at once, connections beyond it are dropped and tried again after 1 s or more";
    let want = plan.listen_backlog;
    out.push(queue("network.accept-queue", SOMAXCONN, &network.accept_queue, want, storm, "net.core.somaxconn"));
    out.push(queue("network.syn-queue", SYN_BACKLOG, &network.syn_queue, want, storm, "net.ipv4.tcp_max_syn_backlog"));
    if plan.in_ensemble {
        out.push(slow_start(&network.slow_start));
    }
}

fn queue(id: &'static str, place: &str, fact: &Fact<u64>, want: u64, cost: &str, key: &str) -> Finding {
    let have = match known(id, place, fact, Finding::unknown(id, place, "the file is missing: is /proc mounted?")) {
        Ok(have) => *have,
        Err(finding) => return *finding,
    };
    let found = Finding::ok(id, place, format!("{have} connections may wait, the server asks for {want}"));
    if have >= want { found } else { found.advice(cost, format!("sysctl -w {key}={want} (tuning/90-ringkeeper.conf)")) }
}

fn slow_start(fact: &Fact<u64>) -> Finding {
    const ID: &str = "network.slow-start";
    let on = match known(ID, SLOW_START, fact, Finding::unknown(ID, SLOW_START, "the file is missing: is /proc mounted?")) {
        Ok(value) => *value != 0,
        Err(finding) => return *finding,
    };
    let found = Finding::ok(
        ID,
        SLOW_START,
        if on { "a connection starts slowly again after a pause" } else { "a connection keeps its pace over a pause" },
    );
    if !on {
        return found;
    }
    found.advice(
        "the first large batch to another server after a pause takes several round trips",
        "sysctl -w net.ipv4.tcp_slow_start_after_idle=0 (tuning/90-ringkeeper.conf)",
    )
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::super::forge::{Forged, called, plan};
    use super::super::{Host, judge as judge_host};
    use super::*;

    #[test]
    fn queues_must_hold_a_storm_of_clients() {
        for (id, place, key) in
            [("network.accept-queue", SOMAXCONN, "somaxconn"), ("network.syn-queue", SYN_BACKLOG, "tcp_max_syn_backlog")]
        {
            assert_eq!(Forged::good().finding(id).severity, Severity::Ok);
            let short = Forged::good().put(place, "128\n").finding(id);
            assert!(short.severity == Severity::Advice && short.mend.contains(&format!("{key}=4096")), "{short:?}");
            assert_eq!(Forged::good().put(place, "-1\n").finding(id).severity, Severity::Unknown);
            assert_eq!(Forged::good().take(place).finding(id).severity, Severity::Unknown);
        }
    }

    #[test]
    fn pauses_matter_to_members_of_an_ensemble_only() {
        let host = Forged::good();
        assert_eq!(host.finding("network.slow-start").severity, Severity::Ok);
        assert_eq!(host.put(SLOW_START, "1").finding("network.slow-start").severity, Severity::Advice);
        let alone = super::super::Plan { in_ensemble: false, ..plan() };
        assert!(judge_host(&Host::read(&host.tree(), called()), &alone).iter().all(|finding| finding.id != "network.slow-start"));
    }
}
