"""The load: writers that pipeline, a reader, a visitor whose sessions come and go. Each runs until the server is gone.

Every request of a writer is valid by construction, so an error in a reply is a finding. Threads hand
what goes wrong to `trouble`; the end of the connection is what they are waiting for.
"""

import random
import sys
import threading
import pathlib

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "process"))
import session as raw  # noqa: E402
from session import OPEN, wire  # noqa: E402

import recorder  # noqa: E402
from recorder import Op  # noqa: E402

WINDOW, NODES_MAX = 48, 150
MODES = {("create", False): 0, ("create", True): 1, ("seq", False): 2, ("seq", True): 3, ("shared", False): 2}


class Writer(threading.Thread):
    """One session that writes below its home."""

    def __init__(self, address, number, record, shared, key, seed, trouble):
        super().__init__(daemon=True)
        self.record, self.shared, self.trouble = record, shared, trouble
        self.number, self.random, self.mine = number, random.Random(seed), []
        self.client = raw.Session(address, resume=key, last_zxid=record.last_zxid)
        self.serial, self.seed = 0, seed

    def run(self):
        try:
            self.prepare()
            while True:
                burst = self.random.choice((1, 1, 4, 16, WINDOW))
                while len(self.record.outstanding) + burst > WINDOW:
                    self.take()
                self.client.post([self.request(self.choose()) for _ in range(burst)])
                if self.random.random() < 0.2:
                    while self.record.outstanding:
                        self.take()
        except (raw.Closed, ConnectionError):
            self.drain()
        except Exception as found:
            self.trouble.append(f"writer {self.number}: {type(found).__name__}: {found}")
        finally:
            self.client.drop()

    def drain(self):
        """Replies that came before the end count as acknowledged."""
        try:
            while self.record.outstanding:
                self.take()
        except (raw.Closed, ConnectionError, TimeoutError):
            pass
        except Exception as found:
            self.trouble.append(f"writer {self.number}: {type(found).__name__}: {found}")

    def prepare(self):
        home = self.record.ahead.home
        for path in (home, f"{home}/a", f"{home}/b"):
            if path in self.record.ahead.nodes:
                continue
            self.client.post([self.request(Op("create", path, b"", 0))])
            self.take()

    def take(self):
        op, path = self.record.acknowledged(self.client.reply())
        if op.kind == "shared":
            self.shared.made(path, op.data)
            self.mine.append((path, op.data))
        elif op.kind == "drop":
            self.shared.dropped(path)

    def value(self):
        self.serial += 1
        size = self.random.choice((0, 10, 100, 100, 300, 2000))
        if self.random.random() < 0.005:
            size = self.random.randrange(20_000, 200_000)
        return b"%d.%d.%d " % (self.seed, self.number, self.serial) + b"v" * size

    def choose(self):
        """A request that is valid after all that were sent."""
        nodes, home, dice = self.record.ahead.nodes, self.record.ahead.home, self.random.random()
        removable = [p for p in nodes if p.count("/") == 4]
        if dice < 0.30:
            return Op("set", self.random.choice(list(nodes)), self.value(), 0)
        if dice < 0.36:
            return Op("shared", f"{recorder.SHARED}/s-", self.value(), 0)
        if dice < 0.40 and self.mine:
            path, data = self.mine.pop(self.random.randrange(len(self.mine)))
            return Op("drop", path, data, 0)
        if dice < 0.60:
            return self.multi(removable)
        if len(nodes) > NODES_MAX or dice < 0.75 and removable:
            return Op("delete", self.random.choice(removable), None, 0)
        return self.create(self.random.choice(("create", "seq")), f"{home}/{self.random.choice('ab')}")

    def create(self, kind, parent):
        self.serial += 1
        owner = self.client.id if self.random.random() < 0.3 else 0
        name = f"n-{self.seed}-{self.serial}" if kind == "create" else "s-"
        return Op(kind, f"{parent}/{name}", self.value(), owner)

    def multi(self, removable):
        """Operations in both branches, so that half of one would show."""
        home = self.record.ahead.home
        parts = [Op("set", f"{home}/a", self.value(), 0), self.create("create", f"{home}/a"),
                 self.create("seq", f"{home}/b"), Op("set", f"{home}/b", self.value(), 0)]
        if len(removable) > 10:
            parts += [Op("delete", path, None, 0) for path in self.random.sample(removable, 2)]
        return Op("multi", None, parts, 0)

    def request(self, op):
        """The wire form, noted as sent."""
        self.record.sent(op)
        return encode(op)


def encode(op):
    if op.kind == "multi":
        return wire.MULTI, ([encode(part) for part in op.data],)
    if op.kind == "set":
        return wire.SET_DATA, (op.path, op.data, -1)
    if op.kind in ("delete", "drop"):
        return wire.DELETE, (op.path, -1)
    return wire.CREATE, (op.path, op.data, OPEN, MODES[op.kind, op.owner != 0])


class Reader(threading.Thread):
    """Reads homes; what was once read has to stay."""

    def __init__(self, address, homes, seed, trouble):
        super().__init__(daemon=True)
        self.client, self.homes, self.random, self.trouble = raw.Session(address), homes, random.Random(seed), trouble
        self.seen = {}  # path -> (version, mzxid)
        self.zxid = 0

    def run(self):
        try:
            while True:
                path = self.random.choice(self.homes)
                reply = self.client.call(wire.GET_DATA, path, False)
                if reply.zxid < self.zxid:
                    self.trouble.append(f"reader: zxid {reply.zxid:#x} after {self.zxid:#x}")
                self.zxid = reply.zxid
                if reply.err == 0:
                    stat = reply.body[1]
                    now = (stat["version"], stat["mzxid"])
                    if now < self.seen.get(path, (-1, 0)):
                        self.trouble.append(f"reader: {path} went from {self.seen[path]} back to {now}")
                    self.seen[path] = now
        except (raw.Closed, ConnectionError):
            self.client.drop()
        except Exception as found:
            self.trouble.append(f"reader: {type(found).__name__}: {found}")


class Visit:
    """One session of the visitor: how far it was acknowledged."""

    def __init__(self, client, paths):
        self.key, self.paths, self.made, self.closing, self.closed = client.key, paths, False, False, False


class Visitor(threading.Thread):
    """Sessions that make two ephemeral nodes with one multi and are closed, or stay."""

    def __init__(self, address, prefix, seed, trouble):
        super().__init__(daemon=True)
        self.address, self.prefix, self.random, self.trouble, self.visits = address, prefix, random.Random(seed), trouble, []

    def run(self):
        try:
            while len(self.visits) < 200:
                self.visit(len(self.visits))
        except (raw.Closed, ConnectionError):
            pass
        except Exception as found:
            self.trouble.append(f"visitor: {type(found).__name__}: {found}")

    def visit(self, number):
        client = raw.Session(self.address)
        paths = [f"{self.prefix}{number}-{side}" for side in "lr"]
        visit = Visit(client, paths)
        self.visits.append(visit)
        client.ok(wire.MULTI, [(wire.CREATE, (path, b"here", OPEN, raw.EPHEMERAL)) for path in paths])
        visit.made = True
        if self.random.random() < 0.1:
            client.drop()
            return
        visit.closing = True
        client.close()
        visit.closed = True
