"""An ensemble of real processes: started, killed, paused, cut off, looked at.

Every wait is bounded; processes are ended by their own id only. Without a `Network` the servers stand
on free ports of 127.0.0.1.
"""

import os
import pathlib
import signal
import subprocess
import time

from systems import host, reference
import session as raw

CONFIG = {
    "tickTime": 2000, "initLimit": 10, "syncLimit": 5, "minSessionTimeout": 1000, "maxSessionTimeout": 60000, "maxClientCnxns": 0,
    "admin.enableServer": "false", "4lw.commands.whitelist": "*",
}
SERVING = ("leader", "follower", "observer")
CLIENT_PORT, QUORUM_PORT, ELECTION_PORT = 2181, 2888, 3888
STOP_S = 20


def write_synced(path, text):
    """What the operator put there is on the disk: a power cut takes only what the server left unsynced."""
    path.write_text(text)
    for what in (path, path.parent):
        handle = os.open(what, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


class Member:
    """One server: `number`, `address` for clients, `data`, `process`."""

    def __init__(self, ensemble, number, home, ip, ports):
        self.ensemble, self.number, self.home, self.ip, self.ports = ensemble, number, home, ip, ports
        self.data, self.process, self.lines = home / "data", None, {}
        self.address = (ip, ports[0])

    def configure(self, lines):
        self.data.mkdir(parents=True, exist_ok=True)
        write_synced(self.data / "myid", f"{self.number}\n")
        self.config = self.home / "zoo.cfg"
        self.config.write_text("".join(f"{key}={value}\n" for key, value in {**lines, "dataDir": self.data}.items()))

    def start(self):
        """Starts the process; doesn't wait until it serves."""
        within = self.ensemble.network.within(self.number) if self.ensemble.network else []
        with open(self.home / "log", "ab") as log, open(self.home / "out", "ab") as out:
            self.process = subprocess.Popen([*within, *self.ensemble.system.command(self.config)], stdin=subprocess.DEVNULL,
                                            stdout=out, stderr=log, cwd=self.home)
        return self

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        if self.alive():
            self.process.send_signal(number)

    def kill(self):
        self.signal(signal.SIGKILL)

    def reap(self, seconds=STOP_S):
        try:
            return self.process.wait(seconds) if self.process else None
        except subprocess.TimeoutExpired:
            self.kill()
            self.process.wait(STOP_S)
            return None

    def mode(self, seconds=1.0):
        """leader, follower, observer, standalone, or None when it doesn't serve."""
        try:
            answer = raw.word(self.address, "srvr", seconds)
        except OSError:
            return None
        for line in answer.splitlines():
            if line.startswith("Mode: "):
                return line[6:].strip()
        return None

    def log_tail(self, lines=12):
        text = (self.home / "log").read_text(errors="replace") if (self.home / "log").exists() else ""
        return "\n".join(line[:300] for line in text.splitlines()[-lines:])

    def files(self, kind):
        return self.ensemble.system.files(self.data, kind)


class Ensemble:
    """`size` servers of `system` below `home`, the last `observers` of them observers; `settings` go over CONFIG."""

    def __init__(self, system, home, size=3, settings=None, network=None, observers=0):
        self.system, self.home, self.network, self.members = system, pathlib.Path(home), network, {}
        for number in range(1, size + 1):
            ip = f"10.77.0.{number}" if network else "127.0.0.1"
            ports = (CLIENT_PORT, QUORUM_PORT, ELECTION_PORT) if network else tuple(reference.free_port() for _ in range(3))
            self.members[number] = Member(self, number, self.home / f"server-{number}", ip, ports)
        self.lines = {**CONFIG, **(settings or {})}
        for member in self.members.values():
            member.home.mkdir(parents=True, exist_ok=True)
            client, quorum, election = member.ports
            own = "" if network else f"{member.ip}:"  # inside a namespace every address is the test's own
            role = ":observer" if member.number > size - observers else ""
            member.lines = {"peerType": "observer"} if role else {}
            self.lines[f"server.{member.number}"] = f"{member.ip}:{quorum}:{election}{role};{own}{client}"

    def configure(self):
        for member in self.members.values():
            member.configure({**self.lines, **member.lines})

    def start(self, numbers=None):
        for number in numbers or self.members:
            self.members[number].start()

    def modes(self, numbers=None):
        return {number: self.members[number].mode() for number in numbers or self.members}

    def await_serving(self, numbers=None, seconds=40):
        """Waits until these servers serve. Returns the numbers of those that don't in time or have ended."""
        deadline, waiting = time.monotonic() + seconds, list(numbers or self.members)
        while waiting and time.monotonic() < deadline:
            waiting = [n for n in waiting if self.members[n].mode() not in SERVING]
            if waiting and (not self.quorum_alive() or not any(self.members[n].alive() for n in waiting)):
                break
            time.sleep(0.03)
        return waiting

    def quorum_alive(self):
        """Whether so many processes live (paused or not) that they could serve."""
        return 2 * sum(member.alive() for member in self.members.values()) > len(self.members)

    def leader(self, seconds=40):
        """The number of the server that leads."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for number, mode in self.modes().items():
                if mode == "leader":
                    return number
            time.sleep(0.05)
        raise host.Failure(f"nobody leads after {seconds} s: {self.modes()}")

    def others(self, number):
        return [other for other in self.members if other != number]

    def kill(self, *numbers):
        for number in numbers:
            self.members[number].kill()
        for number in numbers:
            self.members[number].reap()

    def close(self):
        for member in self.members.values():
            member.signal(signal.SIGCONT)
            member.kill()
        for member in self.members.values():
            member.reap()


def process_state(pid):
    """The one-letter state of a process: T when stopped."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        return stat.read().rsplit(")", 1)[1].split()[0]


def pause(member):
    """SIGSTOP, and waits until the process stands still."""
    member.signal(signal.SIGSTOP)
    for _ in range(500):
        if process_state(member.process.pid) in "Tt":
            return
        time.sleep(0.001)
    raise OSError(f"process {member.process.pid} doesn't stop (parent {os.getpid()})")
