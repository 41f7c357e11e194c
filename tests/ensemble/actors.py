"""Clients under faults: sessions that write, only stay, or come and go; each resumes its session wherever it can.

They do what a client library does: a connection that ends or keeps silent is replaced by one to the
next server of its list, with the session and the last zxid seen. Each request is new; none is repeated,
so an answer can't be taken for another's. Everything goes into the `History`.
"""

import random
import threading
import time

from history import EPHEMERALS, SHARED, TOP, Op
import session as raw
from session import OPEN, wire

BROKEN = (raw.Closed, TimeoutError, OSError, wire.WireError)
CONNECT_S, ANSWER_S = 2.0, 4.0
BURSTS = (1, 1, 1, 1, 4, 8)
EXPIRED = -112


class Field:
    """What all actors share. `addresses`: server -> (host, port). `writing`, `dropping`: what is wanted now (a session that is left
    alone has to be waited for); `end`: that all end."""

    def __init__(self, history, addresses):
        self.history, self.addresses = history, addresses
        self.writing, self.dropping, self.end = threading.Event(), threading.Event(), threading.Event()
        self.writing.set()
        self.dropping.set()


class Actor(threading.Thread):
    """One client. `servers`: where it may go, in this order; `retry_s`: pause before the next attempt, doubled up to `patience_s`."""

    patience_s = 0.25

    def __init__(self, field, number, servers, timeout_ms=30_000, retry_s=0.03, seed=0):
        super().__init__(daemon=True, name=f"{type(self).__name__.lower()} {number}")
        self.field, self.history, self.number, self.servers = field, field.history, number, list(servers)
        self.timeout_ms, self.retry_s, self.random = timeout_ms, retry_s, random.Random(f"{seed}.{number}")
        self.client, self.key, self.last_zxid, self.turn, self.serial, self.server = None, None, 0, 0, 0, None
        self.idle = threading.Event()

    def run(self):
        pause_s = self.retry_s
        try:
            while not self.field.end.is_set():
                if self.client is None and not self.connect():
                    self.field.end.wait(pause_s * self.random.uniform(0.5, 1))
                    pause_s = min(pause_s * 2, max(self.retry_s, self.patience_s))
                    continue
                pause_s = self.retry_s
                try:
                    self.step()
                except BROKEN:
                    self.leave()
        except Exception as found:
            self.history.trouble.append(f"{self.name}: {type(found).__name__}: {found}")
        finally:
            self.idle.set()
            self.leave()

    def step(self):
        raise NotImplementedError

    def connect(self):
        self.server = self.servers[self.turn % len(self.servers)]
        try:
            self.client = raw.Session(self.field.addresses[self.server], self.timeout_ms, self.key, self.last_zxid, CONNECT_S)
        except raw.Refused:
            self.expired()
            return False
        except BROKEN:
            self.turn += 1
            return False
        self.client.sock.settimeout(ANSWER_S)
        if self.key is None:
            self.history.opened(self.client, self.number, time.monotonic())
        self.key = self.client.key
        self.history.sessions[self.key[0]].contact = time.monotonic()
        return True

    def expired(self):
        if self.key is not None:
            self.history.lost(self.key[0], time.monotonic())
        self.key = None

    def leave(self):
        """Gives up the connection; the session stays."""
        if self.client is not None:
            self.client.drop()
            self.client = None
            self.turn += 1

    def op(self, kind, path, value=b""):
        self.serial += 1
        return Op(self.number, self.key[0], self.serial, kind, path, value, self.server, time.monotonic())

    def ask(self, ops):
        """Sends the requests with one call and takes their answers into the history."""
        requests = [encode(op) for op in ops]
        now = time.monotonic()
        for op in ops:
            op.invoked = now
            self.history.sent(op)
        self.client.post(requests)
        for op in ops:
            self.take(op, self.client.reply())

    def take(self, op, reply):
        now = time.monotonic()
        if reply.err == EXPIRED:
            self.expired()
            raise raw.Closed("the session has expired")
        if reply.err == 0:
            if op.kind in ("create", "seq", "ephemeral"):
                op.made = reply.body[0]
            elif op.kind == "set":
                op.version, op.mzxid = reply.body[0]["version"], reply.body[0]["mzxid"]
            elif op.kind in ("read", "sync-read"):
                op.value, stat = reply.body
                op.version, op.mzxid = stat["version"], stat["mzxid"]
        op.zxid, op.answered, op.err = reply.zxid, now, reply.err
        self.last_zxid = max(self.last_zxid, reply.zxid)
        self.history.sessions[self.key[0]].contact = op.invoked

    def ping(self):
        sent = time.monotonic()
        self.client.call(wire.PING)
        self.history.sessions[self.key[0]].contact = sent


def encode(op):
    if op.kind in ("create", "seq", "ephemeral"):
        return wire.CREATE, (op.path, op.value, OPEN, {"create": raw.PERSISTENT, "seq": raw.SEQUENTIAL, "ephemeral": raw.EPHEMERAL}[op.kind])
    if op.kind == "set":
        return wire.SET_DATA, (op.path, op.value, -1)
    if op.kind == "delete":
        return wire.DELETE, (op.path, -1)
    if op.kind == "pair":
        return wire.MULTI, ([(wire.SET_DATA, (f"{op.path}/{side}", op.value, -1)) for side in "lr"],)
    if op.kind == "sync":
        return wire.SYNC, (op.path,)
    return wire.GET_DATA, (op.path, False)


def home(number):
    return f"{TOP}/w{number}"


class Writer(Actor):
    """Writes below its home and in shared places; `pace_s` is the pause between bursts."""

    def __init__(self, *given, pace_s=0.02, peers=(), **options):
        super().__init__(*given, **options)
        self.pace_s, self.peers, self.mine = pace_s, peers or (self.number,), []

    def step(self):
        if not self.field.writing.is_set():
            self.idle.set()
            time.sleep(0.02)
            return
        self.idle.clear()
        ops = [op for _ in range(self.random.choice(BURSTS)) for op in self.choose()]
        self.ask(ops)
        self.mine += [op.made for op in ops if op.kind == "create" and op.acked]
        time.sleep(self.random.random() * 2 * self.pace_s)

    def choose(self):
        """One request, or a `sync` with the read that it is for."""
        value, dice, mine = b"%d.%d" % (self.number, self.serial + 1), self.random.random(), home(self.number)
        if dice < 0.35:
            return [self.op("set", mine, value)]
        if dice < 0.55:
            return [self.op("seq", f"{SHARED}/s-", value)]
        if dice < 0.70:
            return [self.op("create", f"{mine}/n-{self.serial}", value)]
        if dice < 0.78 and len(self.mine) > 20:
            return [self.op("delete", self.mine.pop(self.random.randrange(len(self.mine))))]
        if dice < 0.85:
            return [self.op("pair", mine, value)]
        if dice < 0.87:
            return [self.op("ephemeral", f"{EPHEMERALS}/w{self.number}-{self.serial}", value)]
        path = home(self.random.choice(self.peers))
        if dice < 0.93:
            return [self.op("sync", path), self.op("sync-read", path)]
        return [self.op("read", path)]


class Probe(Actor):
    """Writes one value after the other to one server and tries again at once: it sees when writes go again."""

    patience_s = 0

    def step(self):
        if not self.field.writing.is_set():
            self.idle.set()
            time.sleep(0.02)
            return
        self.idle.clear()
        self.ask([self.op("set", home(self.number), b"%d.%d" % (self.number, self.serial + 1))])
        time.sleep(0.004)


class Bulky(Actor):
    """Sets its register to big values, so that a log grows and meets the end of its disk."""

    PAD = b"." * 60_000

    def step(self):
        if not self.field.writing.is_set():
            self.idle.set()
            time.sleep(0.02)
            return
        self.idle.clear()
        self.ask([self.op("set", home(self.number), b"%d.%d %s" % (self.number, self.serial + 1, self.PAD))])
        time.sleep(0.015)


class Idle(Actor):
    """A session with an ephemeral node that only pings."""

    def __init__(self, *given, ping_s=0.5, **options):
        super().__init__(*given, **options)
        self.ping_s, self.owner = ping_s, None

    def step(self):
        self.idle.set()
        if self.owner != self.key:
            self.owner = self.key
            self.ask([self.op("ephemeral", f"{EPHEMERALS}/i{self.number}-{self.serial}", b"idle")])
        self.ping()
        self.field.end.wait(self.ping_s)


class Visitor(Actor):
    """Sessions with an ephemeral node that are closed, or left alone."""

    def step(self):
        if not self.field.writing.is_set():
            self.idle.set()
            time.sleep(0.02)
            return
        self.idle.clear()
        record = self.history.sessions[self.key[0]]
        try:
            self.ask([self.op("ephemeral", f"{EPHEMERALS}/v{self.number}-{self.serial}", b"visit")])
            if self.field.dropping.is_set() and self.random.random() < 0.2:
                record.state = "dropped"
            else:
                record.state = "closing"
                self.client.close()
                record.state = "closed"
        finally:
            record.state = "dropped" if record.state == "live" else record.state
            self.client.drop()
            self.client, self.key, self.last_zxid = None, None, 0
        time.sleep(0.1)


def prepare(address, numbers):
    """Makes the nodes that the actors write to."""
    client = raw.Session(address, wait_s=20)
    paths = [TOP, SHARED, EPHEMERALS]
    for number in numbers:
        paths += [home(number), home(number) + "/l", home(number) + "/r"]
    client.post([(wire.CREATE, (path, b"", OPEN, raw.PERSISTENT)) for path in paths])
    for path in paths:
        reply = client.reply()
        if reply.err != 0:
            raise OSError(f"making {path} was answered with {reply.err}")
    client.close()
