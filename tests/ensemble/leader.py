"""Scenarios: the leader is killed, paused, cut off, stopped."""

import signal
import time

import network
from ensemble import pause
from history import TOP
from lab import FAST_S, SILENT_S, scenario
import session as raw
from session import OPEN, wire

NODE, GONE, FRESH = f"{TOP}/stale", f"{TOP}/stale-gone", f"{TOP}/stale-fresh"
# What real ZooKeeper's deposed leader is known to say: it answers from what others have changed since, and tells clients that come
# back to it that their sessions have expired, since their touches didn't reach it.
DEPOSED = ("stale-sync", "stale-error", "expired-early", "ephemeral-missing", "orphan")


def ready(lab):
    """An ensemble under load; in later rounds it is there already."""
    if not lab.begun:
        lab.start()
        lab.begin()
    lab.load()
    return lab.ensemble.leader()


@scenario("kill-leader", bound_s=FAST_S, reuse=True)
def kill_leader(lab):
    """`kill -9` of the leader."""
    leader = ready(lab)
    lab.recovery(lambda: lab.ensemble.kill(leader), lab.ensemble.others(leader))
    lab.ensemble.start([leader])
    lab.settle()


@scenario("graceful-leader-stop", bound_s=FAST_S, reuse=True)
def graceful_leader_stop(lab):
    """SIGTERM to the leader: the longest time without an answer to a write."""
    leader = ready(lab)
    member = lab.ensemble.members[leader]

    def stop():
        member.signal(signal.SIGTERM)
        member.reap()

    lab.stall(stop, lab.ensemble.others(leader))
    lab.ensemble.start([leader])
    lab.settle()


@scenario("kill-two-of-five", bound_s=FAST_S, size=5)
def kill_two_of_five(lab):
    """`kill -9` of the leader and a follower of five at once."""
    leader = ready(lab)
    two = [leader, lab.random.choice(lab.ensemble.others(leader))]
    lab.recovery(lambda: lab.ensemble.kill(*two), [n for n in lab.ensemble.members if n not in two])
    lab.ensemble.start(two)
    lab.settle()


class LeftBehind:
    """A client of a server, the leader maybe, that is going to be cut off or paused while the others go on. What it asks then
    must not be answered from the old state."""

    def __init__(self, lab, server):
        self.lab, self.server = lab, server
        self.client = lab.client(server, wait_s=20)
        for path in (NODE, GONE, FRESH):
            self.client.call(wire.DELETE, path, -1)
        for path in (NODE, GONE):
            self.client.create(path, b"old")
        self.client.ok(wire.SET_DATA, NODE, b"older", -1)

    def others_commit(self, seconds=60):
        """Another server's client changes the nodes, as soon as it can."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                client = self.lab.client(self.lab.random.choice(self.lab.ensemble.others(self.server)), wait_s=3)
                client.ok(wire.MULTI, [(wire.SET_DATA, (NODE, b"new", -1)), (wire.DELETE, (GONE, -1)), (wire.CREATE, (FRESH, b"new", OPEN, raw.PERSISTENT))])
                client.close()
                return
            except (OSError, raw.Closed, raw.Refused, wire.WireError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def ask(self):
        """Requests whose answers differ between the old state and the new one. The last is a write."""
        self.client.post([
            (wire.SYNC, (NODE,)), (wire.GET_DATA, (NODE, False)),
            (wire.CREATE, (GONE, b"again", OPEN, raw.PERSISTENT)),   # old: exists (-110)
            (wire.DELETE, (FRESH, 7)),                               # old: no node (-101), new: bad version (-103)
            (wire.SET_DATA, (NODE, b"mine", 2)),                     # old: bad version (-103), new: done
        ])

    def ask_and_judge(self, seconds):
        try:
            self.ask()
        except raw.Closed:
            self.client.drop()
            return
        self.judge(seconds)

    def judge(self, seconds):
        """Takes what comes within this time; an end of the connection is a right answer."""
        self.client.sock.settimeout(seconds)
        answers = []
        try:
            while len(answers) < 5:
                answers.append(self.client.reply())
        except (raw.Closed, OSError, wire.WireError):
            pass
        self.client.drop()
        names = ("sync", "read", "create", "delete", "set")
        wrong = {"create": -110, "delete": -101, "set": -103}
        for name, reply in zip(names, answers):
            if name == "read" and reply.err == 0 and reply.body[0] == b"older":
                self.lab.find("stale-sync", f"server {self.server}, left behind, answered sync + read with what was overwritten")
            elif reply.err == wrong.get(name):
                self.lab.find("stale-error", f"server {self.server}, left behind, answered a {name} with {reply.err}, which holds in the old state only")
        self.lab.note(f"the server left behind answered {len(answers)} of 5")


@scenario("pause-leader", bound_s=SILENT_S, reuse=True, may=DEPOSED)
def pause_leader(lab):
    """SIGSTOP; after the others have committed, SIGCONT with requests waiting in the old leader's socket."""
    leader = ready(lab)
    member, old = lab.ensemble.members[leader], LeftBehind(lab, leader)
    lab.recovery(lambda: pause(member), lab.ensemble.others(leader))
    old.others_commit()
    old.ask()
    member.signal(signal.SIGCONT)
    old.judge(8)
    lab.settle()


def cut_leader(lab, shape):
    leader = ready(lab)
    others, old = lab.ensemble.others(leader), LeftBehind(lab, leader)
    lab.recovery(lambda: lab.network.cut(shape(leader, others)), others)
    old.others_commit()
    old.ask_and_judge(3)
    lab.settle()


@scenario("partition-leader", network=True, bound_s=SILENT_S, reuse=True, may=DEPOSED)
def partition_leader(lab):
    """Nothing passes between the leader and the others; clients reach all."""
    cut_leader(lab, network.both_ways)


@scenario("cut-leader-deaf", network=True, bound_s=SILENT_S, reuse=True, may=DEPOSED)
def cut_leader_deaf(lab):
    """The leader is heard and hears nobody."""
    cut_leader(lab, network.deaf)


@scenario("cut-leader-mute", network=True, bound_s=SILENT_S, reuse=True, may=DEPOSED)
def cut_leader_mute(lab):
    """The leader hears all and isn't heard."""
    cut_leader(lab, network.mute)
