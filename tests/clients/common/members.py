"""An ensemble of real processes on 127.0.0.1 for the client stages: started, killed, started again, stopped.

usage: members.py DIR start --system ringkeeper|zookeeper --program BINARY|CLASSPATH [--size N]
                     [-D NAME=VALUE]... [--line NAME=VALUE]...  (system properties; lines of zoo.cfg)
       members.py DIR connect          HOST:PORT,… of all servers
       members.py DIR leader           number of the server that leads
       members.py DIR follower         HOST:PORT of a server that follows
       members.py DIR kill N|leader    kill -9; prints the number
       members.py DIR restart N        starts it again and waits until it serves
       members.py DIR failover         kill -9 of the leader, waits for another; prints "OLD NEW"
       members.py DIR stop             SIGTERM to all; fails when Ringkeeper doesn't end as promised
       members.py DIR end              kill -9 of what still runs

Everything lies below DIR (server-N with zoo.cfg, data, pid, out, log, and rc once it has ended), so any process can give a
command: a run script, or a test in another language. Every wait is bounded. Guarantees that only processes that it
started are ended: an id counts only while its process has this DIR in its command line.
"""

import argparse
import json
import os
import pathlib
import re
import random
import shlex
import signal
import socket
import subprocess
import sys
import time

HOST = "127.0.0.1"
SERVES_S = 90            # a JVM on a loaded machine; Ringkeeper needs a fraction of it
STOP_S = 5               # Ringkeeper's promise
STOP_ZOOKEEPER_S = 20
# A machine that builds beside the tests may leave a process standing for a second, which must not look like a dead server
# here. A killed one is noticed at once all the same, by its connections.
PATIENCE = "-Dringkeeper.pulse.silenceMs=3000"
READY_LINE = re.compile(r"^ringkeeper ready client=.*:\d+ data=.* cores=.* durable=yes$")
CONFIG = """tickTime=2000
initLimit=10
syncLimit=5
maxClientCnxns=0
admin.enableServer=false
4lw.commands.whitelist=*
"""


class Failure(Exception):
    """Something that the stage must not pass over."""


class Member:
    """One server: its directory and its client port."""

    def __init__(self, home, port):
        self.home, self.port = home, port

    def _read(self, name):
        try:
            return (self.home / name).read_text(errors="replace")
        except OSError:
            return ""

    def pid(self):
        """The id of its process, None when that doesn't run."""
        text = self._read("pid").strip()
        if not text:
            return None
        try:
            command = pathlib.Path(f"/proc/{text}/cmdline").read_bytes()
        except OSError:
            return None
        return int(text) if os.fsencode(self.home / "zoo.cfg") in command.split(b"\0") else None

    def start(self, argv):
        for name in ("pid", "rc", "out"):
            (self.home / name).unlink(missing_ok=True)
        place = shlex.quote(str(self.home))
        script = f"{shlex.join(argv)} >{place}/out 2>>{place}/log & echo $! >{place}/pid; wait $!; echo $? >{place}/rc"
        subprocess.Popen(["bash", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                         start_new_session=True, close_fds=True)

    def ended(self):
        return self._read("rc").strip()

    def mode(self):
        """leader, follower, standalone; None when it doesn't serve."""
        try:
            with socket.create_connection((HOST, self.port), 1) as connection:
                connection.settimeout(2)
                connection.sendall(b"srvr")
                answer = b""
                while piece := connection.recv(4096):
                    answer += piece
        except OSError:
            return None
        found = re.search(rb"^Mode: (\w+)$", answer, re.M)
        return found[1].decode() if found else None

    def kill(self):
        pid = self.pid()
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        await_that(lambda: self.pid() is None, 10, f"the process of {self.home} goes after kill -9")
        return pid is not None


class Members:
    """All servers below a directory; `start` lays it out, later commands find it as it is."""

    def __init__(self, top):
        self.top = pathlib.Path(top).absolute()
        plan = self.top / "members.json"
        self.plan = json.loads(plan.read_text()) if plan.exists() else {"ports": []}
        self.members = {n: Member(self.top / f"server-{n}", port) for n, port in enumerate(self.plan["ports"], 1)}

    def argv(self, number):
        config, defines = str(self.top / f"server-{number}" / "zoo.cfg"), [f"-D{define}" for define in self.plan["defines"]]
        if self.plan["system"] == "ringkeeper":
            return [self.plan["program"], "serve", config, PATIENCE, *defines]
        return ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-cp", self.plan["program"], "-Dorg.slf4j.simpleLogger.defaultLogLevel=info",
                *defines, "org.apache.zookeeper.server.quorum.QuorumPeerMain", config]

    def start(self, options):
        ports = free_ports(3 * options.size)
        client, quorum, election = (ports[i * options.size : (i + 1) * options.size] for i in range(3))
        self.top.mkdir(parents=True, exist_ok=True)
        plan = {"system": options.system, "program": options.program, "defines": options.define, "ports": client}
        (self.top / "members.json").write_text(json.dumps(plan))
        self.__init__(self.top)
        servers = "".join(f"server.{n}={HOST}:{quorum[n - 1]}:{election[n - 1]};{HOST}:{client[n - 1]}\n" for n in self.members)
        lines = "".join(f"{line}\n" for line in options.line)
        for number, member in self.members.items():
            (member.home / "data").mkdir(parents=True)
            (member.home / "data" / "myid").write_text(f"{number}\n")
            (member.home / "zoo.cfg").write_text(f"{CONFIG}{lines}dataDir={member.home / 'data'}\n{servers}")
            member.start(self.argv(number))
        self.await_serving(self.members)
        print(self.connect())

    def connect(self):
        return ",".join(f"{HOST}:{member.port}" for member in self.members.values())

    def await_serving(self, numbers):
        for number in numbers:
            member = self.members[number]

            def serves(member=member):
                if member.ended():
                    raise Failure(f"{member.home} ended with status {member.ended()}, see its log")
                return member.mode() is not None

            await_that(serves, SERVES_S, f"{member.home} serves")

    def leader(self):
        found = []

        def leads():
            found[:] = [number for number, member in self.members.items() if member.mode() == "leader"]
            return found

        await_that(leads, SERVES_S, f"a server below {self.top} leads")
        return found[0]

    def follower(self):
        self.leader()
        return next(f"{HOST}:{member.port}" for member in self.members.values() if member.mode() == "follower")

    def kill(self, which):
        number = self.leader() if which == "leader" else int(which)
        if not self.members[number].kill():
            raise Failure(f"server {number} didn't run")
        return number

    def restart(self, number):
        if self.members[number].pid() is not None:
            raise Failure(f"server {number} runs")
        self.members[number].start(self.argv(number))
        self.await_serving([number])

    def stop(self):
        promised = self.plan["system"] == "ringkeeper"
        running = {n: member for n, member in self.members.items() if member.pid() is not None}
        if promised and len(running) < len(self.members):
            raise Failure(f"only {sorted(running)} still ran before they were stopped, see the others' logs below {self.top}")
        for member in running.values():
            os.kill(member.pid(), signal.SIGTERM)
        deadline = time.monotonic() + (STOP_S if promised else STOP_ZOOKEEPER_S)
        for number, member in running.items():
            await_that(member.ended, max(0.0, deadline - time.monotonic()), f"server {number} ends after SIGTERM")
            lines = (member.home / "out").read_text().splitlines()
            if promised and member.ended() != "0":
                raise Failure(f"server {number} ended with status {member.ended()} after SIGTERM, not 0")
            if promised and not (len(lines) == 1 and READY_LINE.match(lines[0])):
                raise Failure(f"server {number} printed something else than its ready line: {lines}")

    def end(self):
        for member in self.members.values():
            member.kill()


def await_that(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Failure(f"not within {seconds} s: {what}")
        time.sleep(0.03)


def free_ports(count):
    """Ports that are free now, below the range that outgoing connections use."""
    ports = []
    for port in random.sample(range(20000, 32000), 1000):
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == count:
            return ports
    raise Failure(f"no {count} free ports")


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1])
    parser.add_argument("dir")
    parser.add_argument("command", choices=("start", "connect", "leader", "follower", "kill", "restart", "failover", "stop", "end"))
    parser.add_argument("which", nargs="?")
    parser.add_argument("--system", choices=("ringkeeper", "zookeeper"), default="ringkeeper")
    parser.add_argument("--program")
    parser.add_argument("--size", type=int, default=3)
    parser.add_argument("-D", dest="define", action="append", default=[])
    parser.add_argument("--line", action="append", default=[])
    options = parser.parse_args()
    members = Members(options.dir)
    try:
        if options.command == "start":
            members.start(options)
        elif options.command == "restart":
            members.restart(int(options.which))
        elif options.command == "kill":
            print(members.kill(options.which))
        elif options.command == "failover":
            print(members.kill("leader"), members.leader())
        else:
            answer = getattr(members, options.command)()
            if answer is not None:
                print(answer)
    except Failure as failure:
        sys.exit(f"members.py {options.command}: {failure}")


if __name__ == "__main__":
    main()
