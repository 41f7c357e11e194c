"""Plays a script of commands to a client's command line and writes the transcript, in one form for every run.

For the stages whose client is a command line: zkcli and cclient. Each has a session.py that says how its client is
started and how its output is read (a subclass of Client), and a script and an expected transcript in this form:

  # comment                left out of the transcript
  ## heading               kept
  a> command               client a (started when first named) executes the command; its output follows, indented
  a@ events N              N watch events of a, in their order; waits up to 30 s for them
  a@ until TEXT :: command repeats the command until its output is TEXT, for up to 20 s
  a@ quit                  ends client a, which closes its session
  root/chroot              as a name: like any other, but connected below the path given after the slash
  !> command               a client of its own that gets the command as argument; its exit status is shown

A client that is never told to quit is killed at the end. Every wait is bounded; running out of time ends the stage.
"""

import argparse
import queue
import re
import subprocess
import sys
import threading
import time

COMMAND_TIMEOUT_S = 60
EVENTS_TIMEOUT_S = 30
UNTIL_TIMEOUT_S = 20
SCRIPT_LINE = re.compile(r"^(?P<name>[a-z]+(?P<chroot>/\S+)?|!)(?P<kind>[>@]) (?P<rest>.*)$")


class Names:
    """Zxids and session ids become Z1, Z2 … and S1, S2 … in the order in which they first appear: equal stays equal."""

    def __init__(self):
        self._names = {"Z": {}, "S": {}}

    def zxid(self, value):
        return "0" if value == 0 else self._name("Z", value)

    def session(self, value):
        return "0" if value == 0 else self._name("S", value)

    def _name(self, kind, value):
        names = self._names[kind]
        return names.setdefault(value, f"{kind}{len(names) + 1}")


def without_ports(line):
    """A `server.N` line of a configuration with names in place of the ports, which differ from run to run."""
    return re.sub(r"(server\.(\d+)=)127\.0\.0\.1:\d+:\d+(\S*);(?:127\.0\.0\.1:\d+|SERVER)", r"\1QUORUM\2:ELECTION\2\3;CLIENT\2", line)


class Client:
    """One running command line. Subclasses say how the end of an output and the watch events are told."""

    def __init__(self, argv, merge_stdout=True):
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE if merge_stdout else subprocess.DEVNULL,
            stderr=subprocess.STDOUT if merge_stdout else subprocess.PIPE, text=True, bufsize=1,
        )
        self._output = self._process.stdout if merge_stdout else self._process.stderr
        self._lines = queue.Queue()
        self.events = []
        threading.Thread(target=self._read, daemon=True).start()

    def end_marker(self):
        """(a command whose output ends in a known line, that line): marks the end of the output before it."""
        raise NotImplementedError

    def split_events(self, lines):
        """(the lines that answer the command, the lines that are watch events)."""
        raise NotImplementedError

    def _read(self):
        for line in self._output:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def _write(self, text):
        try:
            self._process.stdin.write(text)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise SystemExit(f"the client had ended before {text!r}") from None

    def execute(self, command):
        """The command's output lines; None only collects events."""
        marker, end = self.end_marker()
        self._write((command + "\n" if command else "") + marker + "\n")
        lines, events = self.split_events(self._read_until(end, command))
        self.events += events
        return lines

    def _read_until(self, end, command):
        deadline, lines = time.monotonic() + COMMAND_TIMEOUT_S, []
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise SystemExit(f"{command!r} did not finish within {COMMAND_TIMEOUT_S} s; so far: {lines}") from None
            if line == end:
                return lines
            if line is None:
                raise SystemExit(f"the client ended during {command!r}; its last lines: {lines}")
            lines.append(line)

    def collect_events(self):
        """Adds to self.events what has come since the last command."""
        self.execute(None)

    def take_events(self, count):
        """The next count events, fewer if they do not come in time."""
        deadline = time.monotonic() + EVENTS_TIMEOUT_S
        while len(self.events) < count and time.monotonic() < deadline:
            time.sleep(0.05)
            self.collect_events()
        taken, self.events = self.events[:count], self.events[count:]
        return taken

    def quit(self):
        """Ends the client; (its exit status, the events that the script did not ask for)."""
        self._write("quit\n")
        self._process.stdin.close()
        _, events = self.split_events(self._read_until(None, "quit"))
        return self._process.wait(timeout=COMMAND_TIMEOUT_S), self.events + events

    def kill(self):
        self._process.kill()
        self._process.wait()


class Session:
    """Plays a script to clients and prints the transcript.

    start_client(address) starts a Client; run_alone(command) gives (output lines, exit status) of a client with the
    command as argument; normalize(command, line) gives a line in the form that does not differ between runs.
    """

    def __init__(self, server, start_client, run_alone, normalize):
        self._server = server
        self._start_client = start_client
        self._run_alone = run_alone
        self._normalize = normalize
        self._clients = {}

    def play(self, script):
        try:
            for line in script:
                self._play_line(line.rstrip("\n"))
        finally:
            for client in self._clients.values():
                client.kill()

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
        rest = match["rest"].replace("{server}", self._server)
        if match["name"] == "!":
            lines, status = self._run_alone(rest)
            self._show(rest, lines + [f"status {status}"])
        elif match["kind"] == ">":
            self._show(rest, self._client(match).execute(rest))
        else:
            self._direct(match, rest)

    def _client(self, match):
        name = match["name"]
        if name not in self._clients:
            self._clients[name] = self._start_client(self._server + (match["chroot"] or ""))
        return self._clients[name]

    def _show(self, command, lines):
        for line in lines:
            line = self._normalize(command, line.replace(self._server, "SERVER"))
            if line is not None:
                print("    " + line if line else "")

    def _direct(self, match, rest):
        client = self._client(match)
        word, _, argument = rest.partition(" ")
        if word == "events":
            events = client.take_events(int(argument))
            self._show(rest, events)
            if len(events) < int(argument):
                print(f"    (only {len(events)} of {argument} came)")
        elif word == "until":
            wanted, _, command = argument.partition(" :: ")
            self._until(client, wanted, command)
        elif word == "quit":
            status, events = client.quit()
            del self._clients[match["name"]]
            self._show(rest, ["unclaimed: " + event for event in events] + [f"status {status}"])
        else:
            raise SystemExit(f"the script has an unknown directive: {rest!r}")

    def _until(self, client, wanted, command):
        deadline = time.monotonic() + UNTIL_TIMEOUT_S
        while True:
            lines = client.execute(command)
            if lines == [wanted] or time.monotonic() > deadline:
                self._show(command, lines)
                return
            time.sleep(0.2)


def run_alone(argv):
    """(output lines, exit status) of a command without input."""
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=2 * COMMAND_TIMEOUT_S, check=False,
    )
    return done.stdout.splitlines(), done.returncode


def parse_options(description, *extra):
    """The options that every session.py has, --script and --server, and those named in extra."""
    parser = argparse.ArgumentParser(description=description)
    for name in ("script", "server", *extra):
        parser.add_argument(f"--{name}", required=True)
    sys.stdout.reconfigure(line_buffering=True)
    return parser.parse_args()
