"""Ringkeeper as a process: started on a directory, killed, stopped, looked at.

Guarantees: every wait is bounded, only processes that were started here are ended (by their id), and the
promises every start and stop makes (one line on standard output, its form, the time to be ready, status
0 within 5 s of SIGTERM) are checked each time. What a server is asked is left to `session`.
"""

import os
import pathlib
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
READY_S = 30
STOP_S = 5
READY_LINE = re.compile(r"ringkeeper ready client=(.*):(\d+) data=(.*) cores=(\S+) durable=yes\n")

CONFIG = {
    "tickTime": "500", "minSessionTimeout": "1000", "maxSessionTimeout": "120000", "clientPort": "0",
    "clientPortAddress": "127.0.0.1", "maxClientCnxns": "0", "admin.enableServer": "false",
    "4lw.commands.whitelist": "*", "extendedTypesEnabled": "true",
}
PLACEMENTS = {
    "one": {"ringkeeper.placement": "one"},
    "spread": {"ringkeeper.placement": "spread", "ringkeeper.fronts": "2", "ringkeeper.log.shards": "2"},
    # As before Linux 5.13.
    "glommio": {"ringkeeper.placement": "one", "ringkeeper.executor": "glommio"},
}


class Failure(Exception):
    """Something that had to hold didn't."""


def check(holds, what):
    if not holds:
        raise Failure(what)


def binary():
    path = pathlib.Path(os.environ.get("RINGKEEPER_BIN") or ROOT / "target/release/ringkeeper")
    if not path.exists():
        raise SystemExit(f"no server at {path}: build it (cargo build --release --locked --bins), or set RINGKEEPER_BIN")
    return path


class Scratch:
    """A directory that goes when all went well and stays when it didn't.

    Below the cache and not in /tmp, which may be a filesystem without O_DIRECT.
    """

    def __init__(self, stage):
        base = pathlib.Path(os.environ.get("RINGKEEPER_TEST_CACHE") or ROOT / "tests" / ".cache") / "work"
        base.mkdir(parents=True, exist_ok=True)
        self.path = pathlib.Path(tempfile.mkdtemp(prefix=f"{stage}.", dir=base.resolve()))

    def __enter__(self):
        return self.path

    def __exit__(self, kind, value, trace):
        if kind is None:
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            print(f"files kept in {self.path}", flush=True)
        return False


class Server:
    """One server on `home`: configuration `home/zoo.cfg`, data `home/data`, log lines `home/log`."""

    def __init__(self, home, settings=None, command=None):
        self.home, self.settings = pathlib.Path(home), dict(settings or {})
        self.command = command or [str(binary())]
        self.process, self.host, self.port, self.ready_s = None, "127.0.0.1", None, None

    def launch(self, *flags):
        """Starts the process without waiting for it."""
        self.home.mkdir(parents=True, exist_ok=True)
        settings = {"dataDir": str(self.home / "data"), **CONFIG, **self.settings}
        config = self.home / "zoo.cfg"
        # None leaves a key of CONFIG out.
        config.write_text("".join(f"{key}={value}\n" for key, value in settings.items() if value is not None))
        with open(self.home / "log", "ab") as log:
            self.process = subprocess.Popen([*self.command, "serve", *flags, str(config)], stdin=subprocess.DEVNULL,
                                            stdout=subprocess.PIPE, stderr=log)
        self.began = time.monotonic()
        return self

    def start(self, *flags):
        """Starts the process and waits until it serves."""
        self.launch(*flags)
        line = self.line(READY_S)
        found = READY_LINE.fullmatch(line)
        if not found:
            status = self.kill()
            raise Failure(f"no ready line but {line!r}, status {status}; the log ends with\n{self.log_tail()}")
        self.ready_s = time.monotonic() - self.began
        self.host, self.port = found[1], int(found[2])
        return self

    def line(self, seconds):
        """A line of standard output, or what there is of it after `seconds` or at its end."""
        out, deadline, got = self.process.stdout, time.monotonic() + seconds, b""
        while not got.endswith(b"\n") and time.monotonic() < deadline:
            if select.select([out], [], [], max(0, deadline - time.monotonic()))[0]:
                more = os.read(out.fileno(), 4096)
                if not more:
                    break
                got += more
        return got.decode(errors="replace")

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """SIGKILL. Returns the status."""
        if self.alive():
            self.process.send_signal(signal.SIGKILL)
        return self.reap(STOP_S)

    def reap(self, seconds):
        status = self.process.wait(seconds)
        self.process.stdout.close()
        return status

    def stop(self):
        """SIGTERM; checks that the server ends in time, with status 0 and without another line. Returns the seconds."""
        began = time.monotonic()
        check(self.alive(), f"the server had ended before it was stopped; its log ends with\n{self.log_tail()}")
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failure(f"the server still ran {STOP_S} s after SIGTERM") from None
        took = time.monotonic() - began
        rest = self.process.stdout.read()
        self.process.stdout.close()
        check(status == 0, f"status {status} after SIGTERM; the log ends with\n{self.log_tail()}")
        check(rest == b"", f"more than one line on standard output: {rest!r}")
        return took

    def wait_end(self, seconds):
        """Waits for the server to end by itself. Returns its status."""
        try:
            return self.reap(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failure(f"the server still ran after {seconds} s; its log ends with\n{self.log_tail()}") from None

    def log(self):
        return (self.home / "log").read_text(errors="replace")

    def log_tail(self, lines=20):
        return "\n".join(self.log().splitlines()[-lines:])

    def memory_kib(self, name="VmRSS"):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1])
        raise Failure(f"no {name} for process {self.process.pid}")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def __enter__(self):
        return self.start() if self.process is None else self

    def __exit__(self, kind, value, trace):
        if self.alive():
            self.kill()
        return False
