"""Runs a script session of zkCli and writes its transcript, with what differs from run to run put in one form.

usage: session.py --script FILE --classpath CP --server HOST:PORT --log FILE   (the transcript goes to standard output)

Each command is followed by `printwatches`, whose fixed answer marks the end of the command's output: it does not reach
the server. Watch events are printed by another thread of zkCli, so they are taken out of the command's output and shown
where the script asks for them; an event that the script does not ask for is shown when its zkCli ends.

Put in one form: zxids and session ids become Z1, Z2 … and S1, S2 … in the order in which they first appear, so that
equal stays equal and different stays different; times become TIME. The order of getEphemerals is unspecified, so it is sorted.
"""

import argparse
import queue
import re
import subprocess
import sys
import threading
import time

COMMAND_TIMEOUT_S = 20
EVENTS_TIMEOUT_S = 10
UNTIL_TIMEOUT_S = 20
END_OF_OUTPUT = "printwatches is on"
SCRIPT_LINE = re.compile(r"^(?P<name>[a-z]+(?P<chroot>/\S+)?|!)(?P<kind>[>@]) (?P<rest>.*)$")


class Normalizer:
    """Gives zxids, session ids and times one form. One for the whole transcript, so that names are shared."""

    def __init__(self, server):
        self._server = server
        self._names = {"Z": {}, "S": {}}

    def _name(self, kind, value):
        names = self._names[kind]
        return names.setdefault(value, f"{kind}{len(names) + 1}")

    def line(self, text):
        text = text.replace(self._server, "SERVER")
        text = re.sub(r"^([cmp]Zxid = )0x([0-9a-f]+)$", self._hex_zxid, text)
        text = re.sub(r"( zxid: )(\d+)$", self._decimal_zxid, text)
        text = re.sub(r"^([cm]time = ).*$", r"\1TIME", text)
        text = re.sub(r"^(ephemeralOwner = )0x([1-9a-f][0-9a-f]*)$", self._session, text)
        return text

    def _zxid(self, value):
        return "0" if value == 0 else self._name("Z", value)

    def _hex_zxid(self, match):
        return match[1] + self._zxid(int(match[2], 16))

    def _decimal_zxid(self, match):
        return match[1] + self._zxid(int(match[2]))

    def _session(self, match):
        return match[1] + self._name("S", match[2])


def split_events(lines):
    """Takes the watch events out of zkCli's output: (other lines, events)."""
    others, events = [], []
    for line in lines:
        event = line.startswith("WatchedEvent ")
        if event or line == "WATCHER::":
            if others and others[-1] == "":
                others.pop()
            # "Closed" is zkCli telling itself that it closed: no event of the server, and at no fixed time.
            if event and " state:Closed " not in line:
                events.append(line)
        else:
            others.append(line)
    return others, events


def java_command(options, server):
    return [
        "java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", options.classpath,
        f"-Dorg.slf4j.simpleLogger.logFile={options.log}",
        "org.apache.zookeeper.ZooKeeperMain", "-waitforconnection", "-server", server,
    ]


class Cli:
    """One running zkCli."""

    def __init__(self, options, server):
        self._process = subprocess.Popen(
            java_command(options, server), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, bufsize=1,
        )
        self._lines = queue.Queue()
        self.events = []
        threading.Thread(target=self._read, daemon=True).start()
        self.greeting = self.execute(None)

    def _read(self):
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def execute(self, command):
        """The command's output lines; None only reads what is there. Events go to self.events."""
        self._process.stdin.write((command + "\n" if command else "") + "printwatches\n")
        self._process.stdin.flush()
        lines = self._read_until(END_OF_OUTPUT, COMMAND_TIMEOUT_S, command)
        others, events = split_events(lines)
        self.events += events
        return others

    def _read_until(self, end, timeout_s, command):
        deadline, lines = time.monotonic() + timeout_s, []
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise SystemExit(f"zkCli did not finish {command!r} within {timeout_s} s; so far: {lines}") from None
            if line == end:
                return lines
            if line is None:
                raise SystemExit(f"zkCli ended during {command!r}; its last lines: {lines}")
            lines.append(line)

    def take_events(self, count):
        """The next count events, fewer if they do not come in time."""
        deadline = time.monotonic() + EVENTS_TIMEOUT_S
        while len(self.events) < count and time.monotonic() < deadline:
            time.sleep(0.05)
            self.execute(None)
        taken, self.events = self.events[:count], self.events[count:]
        return taken

    def quit(self):
        """Ends zkCli; (exit status, events nobody asked for)."""
        self._process.stdin.write("quit\n")
        self._process.stdin.close()
        lines = self._read_until(None, COMMAND_TIMEOUT_S, "quit")
        _, events = split_events(lines)
        return self._process.wait(timeout=COMMAND_TIMEOUT_S), self.events + events

    def kill(self):
        self._process.kill()


class Session:
    """Plays the script and writes the transcript."""

    def __init__(self, options):
        self._options = options
        self._normalizer = Normalizer(options.server)
        self._clis = {}

    def play(self, script):
        try:
            for line in script:
                self._play_line(line.rstrip("\n"))
        finally:
            for cli in self._clis.values():
                cli.kill()

    def _play_line(self, line):
        if line.startswith("## ") or not line:
            print(line)
            return
        if line.startswith("#"):
            return
        match = SCRIPT_LINE.match(line)
        if match is None:
            raise SystemExit(f"the script has a line of no known form: {line!r}")
        print(line)
        rest = match["rest"].replace("{server}", self._options.server)
        if match["name"] == "!":
            self._run_alone(rest)
        elif match["kind"] == ">":
            self._show(rest, self._cli(match).execute(rest))
        else:
            self._direct(match, rest)

    def _cli(self, match):
        name = match["name"]
        if name not in self._clis:
            self._clis[name] = Cli(self._options, self._options.server + (match["chroot"] or ""))
        return self._clis[name]

    def _show(self, command, lines):
        for line in lines:
            if command.startswith("getEphemerals") and re.fullmatch(r"\[.*\]", line):
                line = "[" + ", ".join(sorted(line[1:-1].split(", "))) + "]"
            print("    " + self._normalizer.line(line) if line else "")

    def _direct(self, match, rest):
        cli = self._cli(match)
        word, _, argument = rest.partition(" ")
        if word == "events":
            events = cli.take_events(int(argument))
            self._show(rest, events)
            if len(events) < int(argument):
                print(f"    (only {len(events)} of {argument} came)")
        elif word == "until":
            wanted, _, command = argument.partition(" :: ")
            self._until(cli, wanted, command)
        elif word == "quit":
            status, events = cli.quit()
            del self._clis[match["name"]]
            self._show(rest, ["unclaimed: " + event for event in events] + [f"status {status}"])
        else:
            raise SystemExit(f"the script has an unknown directive: {rest!r}")

    def _until(self, cli, wanted, command):
        deadline = time.monotonic() + UNTIL_TIMEOUT_S
        while True:
            lines = cli.execute(command)
            if lines == [wanted] or time.monotonic() > deadline:
                self._show(command, lines)
                return
            time.sleep(0.2)

    def _run_alone(self, command):
        done = subprocess.run(
            java_command(self._options, self._options.server) + command.split(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=COMMAND_TIMEOUT_S, check=False,
        )
        lines, _ = split_events(done.stdout.splitlines())
        self._show(command, lines + [f"status {done.returncode}"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("script", "classpath", "server", "log"):
        parser.add_argument(f"--{name}", required=True)
    options = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)
    with open(options.script, encoding="utf-8") as script:
        Session(options).play(script)


if __name__ == "__main__":
    main()
