"""Starts and stops the two kinds of server under one configuration.

`start("zookeeper", …)` runs the reference release from a jar directory that an ordinary Maven client
fills once into the test cache; `start("ringkeeper", …)` runs `ringkeeper serve`. Both listen on a
free port of 127.0.0.1 with an empty data directory. A server is stopped by its own process id only.
"""

import base64
import hashlib
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
REFERENCE = "zookeeper-3.9.5"
READY_S, STOP_S = 60, 10
FETCHES = 3  # a registry may fail once

SUPER_PASSWORD = "super:secret"


def digest_id(token):
    """The id that the digest scheme makes of a `user:password` token."""
    digest = base64.b64encode(hashlib.sha1(token.encode()).digest()).decode()
    return f"{token.split(':', 1)[0]}:{digest}"



# Keys that both servers take from the file.
CONFIG = {
    "tickTime": "200",
    "minSessionTimeout": "400",
    "maxSessionTimeout": "60000",
    "clientPortAddress": "127.0.0.1",
    "maxClientCnxns": "0",
    "admin.enableServer": "false",
    "4lw.commands.whitelist": "*",
    "extendedTypesEnabled": "true",
    "enforceQuota": "true",
    "DigestAuthenticationProvider.superDigest": digest_id(SUPER_PASSWORD),
}
# Keys that the reference takes as properties only. Expiry of containers by the minute would make
# the answers depend on the clock.
PROPERTIES = {"znode.container.checkIntervalMs": "3600000"}


def cache_dir():
    return pathlib.Path(os.environ.get("RINGKEEPER_TEST_CACHE") or ROOT / "tests" / ".cache")


def reference_jars():
    """The directory with the reference's jars, filled at the first call."""
    target = cache_dir() / f"reference-{REFERENCE}"  # the suites of clients keep their own, with another layout
    if (target / "complete").exists():
        return target
    if not shutil.which("mvn") or not shutil.which("java"):
        raise SystemExit("differential: needs java and mvn to get the reference server "
                         "(Debian: apt-get install default-jre-headless maven)")
    target.mkdir(parents=True, exist_ok=True)
    fetch = ["mvn", "-q", "-B", "-f", str(HERE / "pom.xml"), "dependency:copy-dependencies",
             "-DincludeScope=runtime", f"-DoutputDirectory={target}"]
    for attempt in range(FETCHES):
        done = subprocess.run(fetch, check=False, timeout=600, stdout=subprocess.PIPE, text=True)
        if done.returncode == 0:
            break
        print(f"differential: fetching the reference failed, attempt {attempt + 1} of {FETCHES}:\n{done.stdout[-2000:]}", flush=True)
        time.sleep(10)
    else:
        raise SystemExit("differential: the reference server could not be fetched")
    (target / "complete").write_text("ok\n")
    return target


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A running server: `kind`, `host`, `port`, `pid`; its log is in `directory`."""

    def __init__(self, kind, process, directory, port):
        self.kind, self.process, self.directory, self.port = kind, process, directory, port
        self.host, self.pid = "127.0.0.1", process.pid

    def alive(self):
        return self.process.poll() is None

    def log_tail(self, lines=30):
        text = (self.directory / "log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def rss_kib(self):
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise RuntimeError(f"no VmRSS for process {self.pid}")

    def stop(self):
        """Ends the server and returns its exit status (None if it had to be killed)."""
        if self.alive():
            self.process.terminate()
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(STOP_S)
            return None
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)


def write_config(directory, port, extra):
    settings = dict(CONFIG, dataDir=str(directory / "data"), clientPort=str(port), **(extra or {}))
    (directory / "data").mkdir()
    path = directory / "zoo.cfg"
    path.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    return path


def start(kind, label, extra_config=None):
    """Starts one server, which then serves. `label` tells two of a kind apart."""
    base = cache_dir()
    base.mkdir(parents=True, exist_ok=True)
    directory = pathlib.Path(tempfile.mkdtemp(prefix=f"{kind}-{label}-", dir=base))
    begin = start_reference if kind == "zookeeper" else start_ringkeeper
    server = begin(directory, extra_config)
    try:
        if kind == "zookeeper":  # Ringkeeper says by its ready line that it serves
            wait_serving(server)
    except BaseException:
        print(server.log_tail())
        server.stop()
        raise
    return server


def start_reference(directory, extra_config):
    port = free_port()
    config = write_config(directory, port, extra_config)
    flags = [f"-D{name}={value}" for name, value in PROPERTIES.items()]
    command = ["java", "-Xmx512m", "-XX:+UseSerialGC", "-Dzookeeper.forceSync=no",
               "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", *flags,
               "-cp", f"{reference_jars()}/*",
               "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(config)]
    with open(directory / "log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    return Server("zookeeper", process, directory, port)


def start_ringkeeper(directory, extra_config):
    binary = pathlib.Path(os.environ.get("RINGKEEPER_BIN") or ROOT / "target/release/ringkeeper")
    if not binary.exists():
        raise SystemExit(f"differential: no server at {binary}; build it, or set RINGKEEPER_BIN")
    config = write_config(directory, 0, extra_config)
    flags = [f"-D{name}={value}" for name, value in PROPERTIES.items()]
    with open(directory / "log", "wb") as log:
        process = subprocess.Popen([str(binary), "serve", str(config), *flags],
                                   stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL)
    server = Server("ringkeeper", process, directory, None)
    line = process.stdout.readline().decode(errors="replace")
    words = dict(word.split("=", 1) for word in line.split() if "=" in word)
    if not line.startswith("ringkeeper ready") or "client" not in words:
        tail = server.log_tail()
        server.stop()
        raise SystemExit(f"differential: no ready line but {line!r}\n{tail}")
    server.host, port = words["client"].rsplit(":", 1)
    server.port = int(port)
    return server


def wait_serving(server):
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and server.alive():
        try:
            with socket.create_connection((server.host, server.port), 2) as probe:
                probe.sendall(b"srvr")
                if b"Mode:" in probe.makefile("rb").read():
                    return
        except OSError:
            pass
        time.sleep(0.05)
    raise RuntimeError(f"{server.kind} doesn't serve at {server.host}:{server.port}")
