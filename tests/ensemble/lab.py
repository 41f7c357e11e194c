"""One ensemble under load with its record, and the registry of scenarios that do something to it.

A scenario is a function of a `Lab`. It injects its fault and undoes it; the lab then waits until all
servers serve, stops the load and has the judge compare the record with every server's tree.
"""

import dataclasses
import pathlib
import random
import time

import actors
import trees
from actors import Bulky, Field, Idle, Probe, Visitor, Writer
from ensemble import Ensemble
from history import WRITES, History, percentile
from judge import judge
from network import Network
from systems import host
import session as raw

FAST_S, SILENT_S = 5.0, 15.0   # what a landing run asserts where the aims are 0.2 s and 1.5 s
QUIET_S = 40
# More executors than cores is fine for a test.
PLACEMENTS = {
    "one": {"ringkeeper.placement": "one"},
    "spread": {"ringkeeper.placement": "spread", "ringkeeper.fronts": "2"},
    "glommio": {"ringkeeper.placement": "one", "ringkeeper.executor": "glommio"},
}


@dataclasses.dataclass
class Scenario:
    """`bound_s`: within which writes must go again. `network`: it cuts. `shows`, `may`: findings of real ZooKeeper that are known;
    the first must come up. `reuse`: rounds follow each other on one ensemble. `refusals`: error codes that a valid write may meet."""

    name: str
    play: object
    bound_s: float = None
    shows: tuple = ()
    may: tuple = ()
    reuse: bool = False
    size: int = 3
    observers: int = 0
    settings: dict = None
    disk_mib: int = 0
    refusals: tuple = ()
    network: bool = False


REGISTRY = {}


def scenario(name, **options):
    def keep(play):
        REGISTRY[name] = Scenario(name, play, **options)
        return play
    return keep


class Lab:
    """An ensemble of `scenario.size` servers below `home`; `placement`: of their executors (None: by themselves)."""

    def __init__(self, system, scenario, home, seed, namespaces, placement=None):
        self.system, self.scenario, self.home, self.random = system, scenario, pathlib.Path(home), random.Random(seed)
        self.seed, self.disks, self.actors, self.found, self.notes, self.sync_pairs = seed, {}, [], [], [], 400
        self.network = Network(range(1, scenario.size + 1)) if namespaces else None
        self.placement, settings = placement, {**(scenario.settings or {}), **PLACEMENTS.get(placement, {})}
        self.ensemble = Ensemble(system, home, scenario.size, settings, self.network, scenario.observers)
        self.history, self.field, self.recovery_ms, self.begun, self.told, self.nodes = History(), None, None, False, set(), 0

    # -- life ---------------------------------------------------------------------------------------------

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.finish()
        return False

    def finish(self):
        self.halt()
        self.ensemble.close()
        for disk in self.disks.values():
            disk.unmount()
        if self.network:
            self.network.close()

    def start(self):
        """Starts all servers and waits until they serve."""
        self.ensemble.configure()
        self.ensemble.start()
        down = self.ensemble.await_serving()
        host.check(not down, f"servers {down} don't serve after their first start; the log of one ends with\n"
                             + (self.ensemble.members[down[0]].log_tail() if down else ""))

    def begin(self, writers=2, idle=1, visitors=1, bulky=0, pace_s=0.02, warm_s=1.0):
        """Load: for each server some writers, idle sessions and visitors that prefer it, and a probe bound to it."""
        members = list(self.ensemble.members)
        self.field = Field(self.history, {n: self.ensemble.members[n].address for n in members})
        numbers = iter(range(1, 1000))
        for position, server in enumerate(members):
            order = members[position:] + members[:position]
            self.actors += [Writer(self.field, next(numbers), order, seed=self.seed, pace_s=pace_s) for _ in range(writers)]
            self.actors += [Idle(self.field, next(numbers), order, timeout_ms=6000, seed=self.seed) for _ in range(idle)]
            self.actors += [Visitor(self.field, next(numbers), order, timeout_ms=2000, seed=self.seed) for _ in range(visitors)]
            self.actors += [Bulky(self.field, next(numbers), order, seed=self.seed) for _ in range(bulky)]
            self.actors.append(Probe(self.field, next(numbers), [server], retry_s=0.005, seed=self.seed))
        peers = [a.number for a in self.actors if isinstance(a, (Writer, Probe))]
        for actor in self.actors:
            actor.peers = peers
        actors.prepare(self.ensemble.members[members[0]].address, [a.number for a in self.actors])
        for actor in self.actors:
            actor.start()
        self.begun = True
        time.sleep(warm_s)

    def quiet(self):
        """No more writes, and no answer is owed (by a server that could still give it)."""
        self.field.writing.clear()
        deadline = time.monotonic() + 6
        for actor in self.actors:
            actor.idle.wait(max(0, deadline - time.monotonic()))

    def load(self):
        self.field.writing.set()
        self.field.dropping.set()

    def halt(self):
        if self.field:
            self.field.end.set()
            for actor in self.actors:
                if actor.is_alive():
                    actor.join(8)

    # -- measuring ----------------------------------------------------------------------------------------

    def recovery(self, inject, servers=None, seconds=60):
        """Injects a fault. Returns seconds from its begin to the first answer to a write invoked after it."""
        began, start = time.monotonic(), len(self.history.ops)
        inject()
        done, deadline = time.monotonic(), time.monotonic() + seconds
        while time.monotonic() < deadline:
            answered = self.history.first_write(done, servers, start)
            if answered is not None:
                return self.measured(answered - began)
            if not self.ensemble.quorum_alive():
                break
            time.sleep(0.01)
        self.find("slow", f"no write was answered within {seconds} s, or a majority ended")
        return None

    def stall(self, inject, servers, seconds=60):
        """For a fault that takes its time, so that writes may still go on: the longest time without an answer, from its begin
        to well after the first answer to a write invoked after its end."""
        began, start = time.monotonic(), len(self.history.ops)
        inject()
        done, deadline = time.monotonic(), time.monotonic() + seconds
        while time.monotonic() < deadline and self.history.first_write(done, servers, start) is None:
            time.sleep(0.01)
        time.sleep(1)
        answers = sorted(op.answered for op in self.history.ops[start:] if op.kind in WRITES and op.acked and op.server in servers)
        if not answers or answers[-1] < done:
            self.find("slow", f"no write was answered within {seconds} s")
            return None
        return self.measured(max(after - before for before, after in zip([began, *answers], answers)))

    def measured(self, seconds):
        self.recovery_ms = seconds * 1000
        bound = self.scenario.bound_s
        if bound is not None and seconds > bound:
            self.find("slow", f"the first write was answered after {seconds:.1f} s, bound {bound:.1f} s")
        return seconds

    def nothing_for(self, seconds):
        """Without a quorum no write is answered."""
        began, start = time.monotonic(), len(self.history.ops)
        time.sleep(seconds)
        if self.history.first_write(began, None, start) is not None:
            self.find("no-quorum", "a write was acknowledged that a minority alone can have seen")

    def find(self, kind, text):
        self.found.append((kind, text))

    def note(self, text):
        self.notes.append(text)

    def client(self, server, timeout_ms=30_000, wait_s=5):
        return raw.Session(self.ensemble.members[server].address, timeout_ms, wait_s=wait_s)

    # -- the end of a round ---------------------------------------------------------------------------------

    def settle(self, seconds=QUIET_S, down=()):
        """Heals, waits until all but `down` serve, then judges. Servers that stay down are a finding."""
        if self.network:
            self.network.heal()
        self.field.dropping.clear()
        waiting = [n for n in self.ensemble.members if n not in down]
        left = self.ensemble.await_serving(waiting, seconds)
        for number in left:
            member = self.ensemble.members[number]
            how = "runs without serving" if member.alive() else f"ended with status {member.process.poll()}"
            self.find("down", f"server {number} {how}: {last_line(member)}")
        self.await_sessions()
        self.quiet()
        self.judge([n for n in waiting if n not in left])

    def await_sessions(self):
        """Every client has an answer from somewhere again, so a session that is gone is known."""
        now = time.monotonic()
        deadline = now + 12
        while time.monotonic() < deadline:
            live = [s for s in self.history.sessions.values() if s.state == "live" and s.contact < now]
            if not live:
                return
            time.sleep(0.05)

    def judge(self, servers):
        """Ephemeral nodes of sessions that were left alone go in their time: what is found is looked at again until then."""
        if not servers:
            return
        deadline = time.monotonic() + 14
        while True:
            dumps = {}
            for number in servers:
                try:
                    dumps[number] = trees.dump(self.ensemble.members[number].address)
                except (raw.Closed, raw.Refused, OSError) as broken:
                    self.find("down", f"server {number} can't be read: {type(broken).__name__}: {broken}")
            found = judge(self.history, dumps, self.scenario.refusals)
            if not any(kind in ("orphan", "diverged") for kind, _ in found) or time.monotonic() > deadline:
                break
            time.sleep(0.5)
        self.found += [finding for finding in found if finding not in self.told]  # of an earlier round on this ensemble
        self.told |= set(found)
        self.nodes = max((len(tree) for tree in dumps.values()), default=0)

    def acked(self):
        return sum(op.acked for op in list(self.history.ops))

    def p99_ms(self, begin, end, servers):
        value = percentile(self.history.latencies(begin, end, servers), 0.99)
        return None if value is None else value * 1000


def last_line(member):
    """The line of a server's log that says most about its end."""
    lines = [line for line in member.log_tail(80).splitlines() if line.strip() and "Exiting JVM" not in line]
    causes = [line for line in lines if line.startswith("Caused by")]
    telling = [line for line in lines if "Exception" in line or "ERROR" in line or " error " in line.lower()]
    return (causes or telling or lines or ["nothing in its log"])[-1][-240:]
