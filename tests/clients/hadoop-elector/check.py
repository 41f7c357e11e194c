"""Two of Hadoop's electors against the ensemble; see run.

usage: check.py MEMBERS-DIR CLASSPATH LOG-DIR. Prints PASS or FAIL for each check; exit status 1 when one failed.
"""

import pathlib
import sys
import time

import members
import programs

TIMEOUT_MS = 6000
CHANGE_S = TIMEOUT_MS / 1000 + 24      # a session's timeout, and a loaded machine
QUIET_S = 1.5                          # for what must not come


class Electors:
    """The candidates, by name."""

    def __init__(self, servers, classpath, logs):
        self.servers, self.classpath, self.logs, self.running = servers, classpath, pathlib.Path(logs), {}

    def start(self, name):
        argv = ["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", self.classpath, "-Dorg.slf4j.simpleLogger.showDateTime=true",
                "ringkeeper.clients.Elector", self.servers.connect(), name, str(TIMEOUT_MS)]
        elector = self.running[name] = programs.Program(f"elector {name}", argv, self.logs / f"elector-{name}.log")
        elector.await_line("ready".__eq__, 60)
        elector.tell("join")
        return elector

    def end(self):
        programs.end(self.running.values())


def expect(found, wanted, what):
    if found != wanted:
        raise members.Failure(f"{what}: {found}, expected {wanted}")


def quiet(elector, what):
    time.sleep(QUIET_S)
    expect(elector.rest(), [], what)


def first_becomes_active(electors):
    a = electors.start("a")
    expect(a.await_line("active".__eq__, CHANGE_S), ["active"], "the first elector's callbacks")
    b = electors.start("b")
    expect(b.await_line("standby".__eq__, CHANGE_S), ["standby"], "the second elector's callbacks")
    b.tell("who")
    expect(b.await_line(lambda line: line.startswith("leader"), 20), ["leader a"], "who leads")
    quiet(a, "callbacks of an elector that stays active")


def killed_active_is_fenced(electors):
    electors.running["a"].kill()
    b = electors.running["b"]
    expect(b.await_line("active".__eq__, CHANGE_S), ["fence a", "active"], "callbacks when the active one was killed")
    a = electors.start("a")
    expect(a.await_line("standby".__eq__, CHANGE_S), ["standby"], "the callbacks of the one that comes back")


def server_leader_killed(electors):
    """Both are told that they lost the connection; the same one is active afterwards, and nobody is fenced."""
    a, b = electors.running["a"], electors.running["b"]
    old = electors.servers.kill("leader")
    electors.servers.leader()
    electors.servers.restart(old)
    time.sleep(QUIET_S)
    b.tell("who")
    seen = b.await_line(lambda line: line.startswith("leader"), CHANGE_S)
    expect(seen[-1], "leader b", "who leads after the server's failover")
    seen += b.rest()
    states = [line for line in seen if not line.startswith("leader")]
    # Neutral while it is unconnected; a client of another server than the killed one notices too, as its leader is gone.
    expect(states, ["neutral", "active"] * (len(states) // 2), "callbacks of the active one")
    others = a.rest()
    expect([line for line in others if line not in ("neutral", "standby")], [], "other callbacks of the standby")
    expect(others[-1:] in ([], ["standby"]), True, f"the standby is standby again after {others}")


def left_without_fencing(electors):
    a, b = electors.running["a"], electors.running["b"]
    b.tell("quit")
    b.await_line("left".__eq__, 30)
    expect(a.await_line("active".__eq__, CHANGE_S), ["active"], "callbacks when the active one left in order")
    b.tell("join")
    expect(b.await_line("standby".__eq__, CHANGE_S)[-1:], ["standby"], "the one that joins again")


def both_killed_at_once(electors):
    """The active elector and the server that leads: the new leader of the ensemble ends the old elector's session."""
    b = electors.running["b"]
    electors.running["a"].kill()
    old = electors.servers.kill("leader")
    electors.servers.leader()
    seen = [line for line in b.await_line("active".__eq__, 2 * CHANGE_S) if line not in ("neutral", "standby")]
    electors.servers.restart(old)
    expect(seen, ["fence a", "active"], "callbacks when the active one and the server's leader were killed")


CHECKS = (first_becomes_active, killed_active_is_fenced, server_leader_killed, left_without_fencing, both_killed_at_once)


def main():
    directory, classpath, logs = sys.argv[1:]
    electors, failed = Electors(members.Members(directory), classpath, logs), False
    try:
        for check in CHECKS:
            began, name = time.monotonic(), check.__name__.replace("_", " ")
            try:
                check(electors)
            except members.Failure as failure:
                print(f"FAIL {name}: {failure}")
                failed = True
                break  # the later ones stand on this one
            print(f"PASS {name} ({time.monotonic() - began:.1f} s)", flush=True)
    finally:
        electors.end()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
