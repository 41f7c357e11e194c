"""What differs between the two systems: how a server is started, and which files it keeps where.

Everything else (configuration, client protocol, four-letter words) is the same for both.
"""

import hashlib
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "process"))
sys.path.append(str(HERE.parent / "differential"))
import host  # noqa: E402
import servers as reference  # noqa: E402


class ZooKeeper:
    """The reference release."""

    name = "zookeeper"
    start_s = 15  # within which servers that can serve do so, on a loaded machine

    @staticmethod
    def prepare():
        """Fetches what is needed, before the network is cut off."""
        reference.reference_jars()

    @staticmethod
    def version():
        return reference.REFERENCE.split("-")[1]

    build = version

    @staticmethod
    def command(config):
        return ["java", "-Xmx512m", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=info",
                "-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
                # Its complaint about each client that comes too early, with a stack, would cost it time that ours doesn't spend.
                "-Dorg.slf4j.simpleLogger.log.org.apache.zookeeper.server.NIOServerCnxn=error",
                "-cp", f"{reference.reference_jars()}/*",
                "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(config)]

    @staticmethod
    def files(data, kind):
        folder = data / "version-2"
        if kind == "epoch":
            return [path for path in (folder / "currentEpoch", folder / "acceptedEpoch") if path.exists()]
        return sorted(folder.glob({"log": "log.*", "snapshot": "snapshot.*"}[kind]), key=lambda path: int(path.suffix[1:], 16))


class Ringkeeper:
    """The server under test."""

    name = "ringkeeper"
    start_s = 5

    @staticmethod
    def prepare():
        host.binary()

    @staticmethod
    def version():
        done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=host.ROOT, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    @staticmethod
    def build():
        """Names the program itself, whatever commit it was built from."""
        return hashlib.sha256(host.binary().read_bytes()).hexdigest()[:12]

    @staticmethod
    def command(config):
        return [str(host.binary()), "serve", str(config)]

    @staticmethod
    def files(data, kind):
        if kind == "epoch":
            return sorted((data / "log").glob("epoch-*.meta"))
        if kind == "log":
            return sorted((data / "log").glob("shard-*/*.log"))
        return sorted((data / "snapshots").glob("*.snap"))


SYSTEMS = {"ringkeeper": Ringkeeper, "zookeeper": ZooKeeper}


def wipe(data):
    """An empty disk in place of this one; `myid` is put there again, as an operator does."""
    myid = (data / "myid").read_text()
    for top, folders, files in os.walk(data, topdown=False):
        for name in files:
            os.unlink(os.path.join(top, name))
        for name in folders:
            path = os.path.join(top, name)
            if name != "lost+found" and not os.path.ismount(path):
                os.rmdir(path)
    (data / "myid").write_text(myid)
