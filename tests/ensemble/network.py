"""The servers' network: a bridge, and for each server a network namespace with one address on it.

A cut is a set of ordered pairs (sender, receiver) whose packets the bridge drops, as a switch that
fails would: both ends keep their links up and see nothing but silence. Clients stand at the bridge, so
a cut between servers doesn't concern them unless `CLIENTS` is one end. Must run inside `isolate`.
"""

import os
import subprocess
import time

PREFIX, CLIENTS = "10.77.0.", 254


def run(*command, text=None):
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=30)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def address(number):
    return f"{PREFIX}{number}"


class Network:
    """`members`: the numbers (1 to 200) of the servers."""

    def __init__(self, members):
        self.holders, self.dropped = {}, frozenset()
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "ring0", "type", "bridge")
        run("ip", "addr", "add", f"{address(CLIENTS)}/24", "dev", "ring0")
        run("ip", "link", "set", "ring0", "up")
        for number in members:
            self.add(number)

    def add(self, number):
        holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"], stdin=subprocess.DEVNULL)
        self.holders[number] = holder
        mine = os.readlink("/proc/self/ns/net")
        for _ in range(500):
            if os.readlink(f"/proc/{holder.pid}/ns/net") != mine:
                break
            time.sleep(0.01)
        run("ip", "link", "add", f"ring{number}", "type", "veth", "peer", "name", "eth0", "netns", str(holder.pid))
        run("ip", "link", "set", f"ring{number}", "master", "ring0", "up")
        run(*self.within(number), "sh", "-c", f"ip link set lo up && ip addr add {address(number)}/24 dev eth0 && ip link set eth0 up")

    def within(self, number):
        """The words before a command that runs it in a server's namespace; the process keeps its id."""
        return ["nsenter", f"--target={self.holders[number].pid}", "--net", "--"]

    def cut(self, pairs):
        """From now on exactly these (sender, receiver) pairs are dropped; all change at once."""
        self.dropped = frozenset(pairs)
        rule = ""
        if self.dropped:
            elements = ", ".join(f"{address(a)} . {address(b)}" for a, b in sorted(self.dropped))
            rule = "\n".join(f"chain {hook} {{ type filter hook {hook} priority 0; ip saddr . ip daddr {{ {elements} }} drop; }}"
                             for hook in ("forward", "input", "output"))
        for name in ("forward", "input", "output"):
            rule = rule.replace(f"chain {name} ", f"chain at_{name} ")
        run("nft", "-f", "-", text=f"table bridge cut {{ }}\ndelete table bridge cut\ntable bridge cut {{\n{rule}\n}}\n")

    def heal(self):
        self.cut(())

    def close(self):
        for number, holder in self.holders.items():
            run("ip", "link", "del", f"ring{number}")  # would go with its namespace, but at some later time
            holder.kill()
            holder.wait()
        run("ip", "link", "del", "ring0")
        if self.dropped:
            self.heal()
        self.holders = {}


def both_ways(one, others):
    return {(one, other) for other in others} | {(other, one) for other in others}


def deaf(one, others):
    """Nothing arrives at `one`."""
    return {(other, one) for other in others}


def mute(one, others):
    """Nothing that `one` sends arrives."""
    return {(one, other) for other in others}
