"""The seeded generator: which step comes next.

It walks over the list of reachable cells, so that each is aimed at again and again, and mixes in
bursts, reconnects, session moves, expiries and damaged frames. The same seed and the same answers give
the same steps.
"""

import random
import struct

import wire
from aim import ALICE, BOB, QUOTA_HARD, QUOTA_SOFT, Aim
from cells import REACHABLE
from servers import SUPER_PASSWORD
from shadow import CREATES, OPEN, Shadow
from steps import Connect, Drop, Expire, Raw, Request, Send, WHOLE, ZeroMarks

SLOTS = 7          # the last one is the super user, the one after it lives only to expire
SUPER, MORTAL = SLOTS - 1, SLOTS
OPCODES = {name: op for op, name in wire.OP_NAMES.items()}
SUB_WRITES = [wire.CREATE, wire.CREATE2, wire.CREATE_CONTAINER, wire.CREATE_TTL, wire.DELETE,
              wire.SET_DATA, wire.CHECK]
BODIED = [op for op, layout in wire.REQUEST_LAYOUT.items()
          if layout and op not in (wire.CREATE_SESSION, wire.DELETE_CONTAINER, wire.CHECK)]
NODES_MAX = 120
EXPIRY_STEPS = 500  # steps between two sessions that are left to expire
FRAME_MAX = 0xfffff
# Operations that the server answers out of turn or that end the connection: never inside a burst.
ALONE = {wire.AUTH, wire.SASL, wire.CLOSE_SESSION, wire.CHECK, wire.NOTIFICATION, wire.ERROR_TXN,
         wire.CREATE_SESSION, wire.DELETE_CONTAINER}
# In a burst these come last: the reference checks what follows a setACL against the old ACL until the new
# one is applied, and a failed multi makes it forget pending changes, so later answers depend on timing.
LAST = {wire.MULTI, wire.SET_ACL}


class Generator:
    """`avoid` holds labels of cells and steps that are not to be aimed at (for --triage)."""

    def __init__(self, seed, avoid=frozenset()):
        self.avoid = avoid
        self.rng = random.Random(seed)
        self.shadow = Shadow(SLOTS + 1)
        self.aim = Aim(self.rng, self.shadow)
        self.marks = 1
        self.next_expiry = EXPIRY_STEPS // 4
        self.queue = list(self.opening())
        self.cells = []

    def opening(self):
        """Slots connect, the super user authenticates, and the quotas are set up."""
        for slot in range(SLOTS):
            yield Connect(slot, timeout_ms=[20000, 30000, 100000][slot % 3])
        yield Send(SUPER, [Request(wire.AUTH, (0, "digest", SUPER_PASSWORD.encode()))])
        yield Send(0, [Request(wire.CREATE, (path, b"", OPEN, 0)) for path in (QUOTA_HARD, QUOTA_SOFT)])
        for area, limits in ((QUOTA_HARD, b"count=-1,bytes=-1=;byteHardLimit=300;countHardLimit=6"),
                             (QUOTA_SOFT, b"count=3,bytes=100")):
            base = "/zookeeper/quota" + area
            yield Send(0, [Request(wire.CREATE, (base, b"", OPEN, 0))])
            yield Send(0, [Request(wire.CREATE, (base + "/zookeeper_limits", limits, OPEN, 0))])
            yield Send(0, [Request(wire.CREATE, (base + "/zookeeper_stats", b"count=0,bytes=0", OPEN, 0))])
        for area in (QUOTA_HARD, QUOTA_SOFT):
            yield Send(0, [Request(wire.GET_DATA, (f"/zookeeper/quota{area}/zookeeper_stats", True))])

    def next_step(self):
        while self.queue:
            step = self.queue.pop(0)
            if self.fits(step):
                return step
        slot = self.rng.randrange(SLOTS)
        if not self.shadow.slots[slot].connected:
            return self.reconnect(slot)
        if len(self.shadow.nodes) > NODES_MAX:
            return self.prune()
        if self.marks >= self.next_expiry and "expire" not in self.avoid:
            self.next_expiry += EXPIRY_STEPS
            self.begin_expiry(slot)
            return self.next_step()
        roll = self.rng.random()
        if roll < 0.003 and "raw" not in self.avoid:
            return self.raw(slot)
        if roll < 0.012:
            return Drop(slot)
        if roll < 0.018 and "connect move" not in self.avoid:
            return self.move(slot)
        if roll < 0.022:
            return self.quota_look(slot)
        if roll < 0.09 and "burst" not in self.avoid:
            return self.burst(slot)
        if roll < 0.12 and "damaged" not in self.avoid:
            return Send(slot, [self.damaged_request(slot)])
        return self.single(slot)

    def fits(self, step):
        """Whether a planned step still makes sense: its slot may have lost its connection since."""
        if isinstance(step, (Connect, Expire)) and step.label in self.avoid:
            return False
        connected = self.shadow.slots[step.slot].connected
        return connected == step.moves if isinstance(step, Connect) else connected

    # --- sessions -------------------------------------------------------------------------------

    def reconnect(self, slot):
        state = self.shadow.slots[slot]
        timeout_ms = self.rng.choice([20000, 30000, 60000, 100000])
        read_only = self.rng.choice([None, False, True])
        if slot == SUPER:
            self.queue.append(Send(slot, [Request(wire.AUTH, (0, "digest", SUPER_PASSWORD.encode()))]))
        elif self.rng.random() < 0.5:
            token = self.rng.choice([ALICE, BOB]).encode()
            self.queue.append(Send(slot, [Request(wire.AUTH, (0, "digest", token))]))
        if state.session is None:
            return Connect(slot, None, None, timeout_ms, 0, read_only, pipelined=self.pipelined(),
                           version=self.rng.choice([0, 0, 0, 1, -1]))
        if self.rng.random() < 0.7:
            self.queue.append(Send(slot, [self.set_watches(slot)]))
        right = Connect(slot, state.session, None, timeout_ms, self.seen_zxid(), read_only,
                        pipelined=self.pipelined())
        roll = self.rng.random()
        if roll < 0.15:
            self.queue[:0] = [Connect(slot, state.session, self.rng.choice([bytes(16), b"", b"x" * 16, b"short"])), right]
            return self.next_step()
        if roll < 0.25:
            self.queue[:0] = [Connect(slot, state.session, unknown_session=True), right]
            return self.next_step()
        if roll < 0.3:
            self.queue[:0] = [Connect(slot, state.session, None, 30000, 1 << 60), right]
            return self.next_step()
        return right

    def pipelined(self):
        """Requests in the same packet as the handshake."""
        if self.rng.random() < 0.6 or "pipelined" in self.avoid:
            return []
        return [self.rng.choice([Request(wire.PING), Request(wire.EXISTS, ("/", True)),
                                 Request(wire.GET_CHILDREN, ("/", True)), Request(wire.WHO_AM_I),
                                 Request(wire.SET_DATA, ("/", b"pipelined", -1))]) for _ in range(3)]

    def move(self, slot):
        """The session is resumed on a second connection while the first is open."""
        if slot == SUPER:
            self.queue.append(Send(slot, [Request(wire.AUTH, (0, "digest", SUPER_PASSWORD.encode()))]))
        return Connect(slot, self.shadow.slots[slot].session, moves=True, read_only=None)

    def begin_expiry(self, observer):
        """A short-lived session makes ephemerals that others watch, and is left to expire."""
        paths = [f"/mortal-{self.marks}-{i}" for i in range(3)]
        self.queue.append(Connect(MORTAL, timeout_ms=1))
        self.queue.append(Send(MORTAL, [Request(wire.CREATE2, (path, b"", OPEN, 1)) for path in paths]))
        self.queue.append(Send(observer, [Request(wire.EXISTS, (path, True)) for path in paths]))
        self.queue.append(Send(observer, [Request(wire.GET_CHILDREN, ("/", True))]))
        self.queue.append(Expire(MORTAL, observer, paths[0]))

    def seen_zxid(self):
        return wire.ZxidMark(self.rng.randrange(self.marks))

    # --- requests -------------------------------------------------------------------------------

    def single(self, slot):
        request = self.request(slot)
        if request.op == wire.CLOSE_SESSION:
            self.queue.append(Connect(slot, self.shadow.slots[slot].session))  # it has to be gone
        return Send(slot, [request], self.rng.choice([1, 3, 10]) if self.rng.random() < 0.05 else 0)

    def raw(self, slot):
        """A frame whose length is negative or above the limit, or too short for a header."""
        frame = self.rng.choice([
            struct.pack(">i", -1), struct.pack(">i", -0x80000000), struct.pack(">i", FRAME_MAX + 1) + bytes(64),
            struct.pack(">i", 0x7fffffff), struct.pack(">i", 0), struct.pack(">iB", 1, 7),
            struct.pack(">ii", 4, 1), struct.pack(">iib", 5, 1, 0), b"GET / HTTP/1.0\r\n\r\n", b"\xff" * 40])
        return Raw(slot, frame)

    def request(self, slot, in_group=False):
        """The next cell's request; an operation that has no target is replaced by a create."""
        self.aim.slot, self.aim.in_group = slot, in_group
        for _ in range(20):
            if not self.cells:
                self.cells = [c for c in REACHABLE if c[0] not in ("event", "connect", "expire")]
                self.cells += [c for c in self.cells if c[1] == "OK"] * 2
                self.rng.shuffle(self.cells)
            name, err = self.cells.pop()
            op = OPCODES.get(name.split("/")[0], 9999)
            if f"{name} {err}" in self.avoid:
                continue
            if in_group and (op in ALONE or op == 9999 or op in LAST):
                continue
            request = self.build(slot, name, op, err)
            if request:
                request.label = f"{name} {err}"
                return request
        return Request(wire.EXISTS, ("/", False))

    def build(self, slot, name, op, err):
        if err == "MARSHALLINGERROR":
            return self.undecodable(slot, op)
        if "/" in name:
            return self.multi(op, OPCODES[name.split("/")[1]], err)
        special = getattr(self, "make_" + name, None)
        if special:
            return special(slot, err)
        if err == "closed":
            return None
        fields = self.aim.fields(op, err)
        return fields and Request(op, fields)

    def multi(self, op, sub, err):
        """A group of sub-operations with one that aims at `err`."""
        grouped, self.aim.in_group = self.aim.in_group, True
        choices = SUB_WRITES if op == wire.MULTI else [wire.GET_DATA, wire.GET_CHILDREN]
        ops = []
        for _ in range(self.rng.randrange(4)):
            other = self.rng.choice(choices)
            fields = self.aim.fields(other, "OK")
            if fields:
                ops.append((other, fields))
        self.aim.in_group = grouped or err != "QUOTAEXCEEDED" and sub in CREATES
        if err == "RUNTIMEINCONSISTENCY":
            ops.append((wire.CHECK, ("/", 1 << 20)))
            fields = self.aim.fields(sub, "OK")
        else:
            fields = self.aim.fields(sub, err)
        self.aim.in_group = grouped
        if not fields:
            return None
        return Request(op, (ops + [(sub, fields)],))

    def make_multi(self, slot, err):
        made = self.rng.random() > 0.3 and self.multi(wire.MULTI, self.rng.choice(SUB_WRITES), "OK")
        return made or Request(wire.MULTI, ([],))

    def make_multiRead(self, slot, err):
        return Request(wire.MULTI_READ, ([],)) if self.rng.random() < 0.3 else self.multi(
            wire.MULTI_READ, wire.GET_DATA, "OK")

    def make_auth(self, slot, err):
        if err == "OK":
            if slot == SUPER or self.shadow.slots[slot].ids:
                return Request(wire.AUTH, (0, "ip", b""))
            return Request(wire.AUTH, (0, "digest", self.rng.choice([ALICE, BOB]).encode()))
        if err == "closed":
            return Request(wire.AUTH, (0, "digest", b"x:y"), (("cut", self.rng.randrange(10)),))
        return Request(wire.AUTH, (0, *self.rng.choice(
            [("nosuch", b"x"), ("", b""), ("world", b"anyone"), ("digest", b"no colon"), ("digest", b""), ("digest", None),
             ("super", b"x"), ("x509", b"x"), ("sasl", b"x"), (None, b"x")])))

    def make_sasl(self, slot, err):
        if err == "closed":
            return Request(wire.SASL, (b"token",), (("cut", self.rng.randrange(6)),))
        return Request(wire.SASL, (self.rng.choice([b"", b"token"]),))

    def make_sync(self, slot, err):
        return Request(wire.SYNC, (self.rng.choice(["/", "/a", "", "not a path", "/nowhere/é", None]),))

    def make_reconfig(self, slot, err):
        return Request(wire.RECONFIG, self.rng.choice(
            [("server.2=h:1:2;3", None, None, -1), (None, "1", None, 5), (None, None, "x", -1)]))

    def make_ping(self, slot, err):
        return Request(wire.PING)

    def make_whoAmI(self, slot, err):
        return Request(wire.WHO_AM_I)

    def make_closeSession(self, slot, err):
        return Request(wire.CLOSE_SESSION) if self.rng.random() < 0.7 else None

    def make_check(self, slot, err):
        fields = self.aim.fields(wire.CHECK, "OK")
        return fields and Request(wire.CHECK, fields)

    def make_unknown(self, slot, err):
        return Request(self.rng.choice([10, 23, 99, 108, 1000, -2, -12, 0x7fffffff, -0x80000000]))

    def make_notification(self, slot, err):
        return Request(wire.NOTIFICATION, (), (("append", bytes(36)),))  # what a second handshake looks like

    def make_error(self, slot, err):
        return Request(wire.ERROR_TXN)

    def make_createSession(self, slot, err):
        return Request(wire.CREATE_SESSION, (30000,))

    def make_deleteContainer(self, slot, err):
        return Request(wire.DELETE_CONTAINER, ("/a",))

    def make_getEphemerals(self, slot, err):
        return Request(wire.GET_EPHEMERALS, (self.rng.choice(["/", "", None, " ", " / ", "/a", "/b", "/zoo", "a"]),))

    def watched_path(self):
        known = self.aim.nodes(lambda p, n: True)
        return self.rng.choice([known, known, known, "/", self.aim.missing_under(0, False) or "/gone", "/never/there"])

    def make_addWatch(self, slot, err):
        return Request(wire.ADD_WATCH, (self.watched_path(), self.rng.choice([0, 1])))

    def make_checkWatches(self, slot, err):
        return self.about_watches(wire.CHECK_WATCHES, slot, err)

    def make_removeWatches(self, slot, err):
        return self.about_watches(wire.REMOVE_WATCHES, slot, err)

    def about_watches(self, op, slot, err):
        kind = self.rng.choice([1, 2, 3, 4, 5])
        if err != "OK":
            return Request(op, (self.rng.choice([self.watched_path(), "/never/watched"]), kind))
        path = self.watched_path()
        register = {1: Request(wire.GET_CHILDREN, ("/", True)), 2: Request(wire.EXISTS, (path, True)),
                    3: Request(wire.EXISTS, (path, True)), 4: Request(wire.ADD_WATCH, (path, 0)),
                    5: Request(wire.ADD_WATCH, (path, 1))}[kind]
        self.queue.insert(0, Send(slot, [Request(op, ("/" if kind == 1 else path, kind))]))
        return register

    def make_setWatches(self, slot, err):
        return self.set_watches(slot, wire.SET_WATCHES)

    def make_setWatches2(self, slot, err):
        return self.set_watches(slot, wire.SET_WATCHES2)

    def set_watches(self, slot, op=None):
        op = op or self.rng.choice([wire.SET_WATCHES, wire.SET_WATCHES2])
        lists = [[self.watched_path() for _ in range(self.rng.randrange(4))]
                 for _ in range(3 if op == wire.SET_WATCHES else 5)]
        return Request(op, (self.seen_zxid(), *lists))

    # --- damage, bursts and upkeep --------------------------------------------------------------

    def undecodable(self, slot, op):
        """A body that ends early, lies about a length, or names an unknown mode."""
        if op in (wire.ADD_WATCH, wire.CHECK_WATCHES, wire.REMOVE_WATCHES) and self.rng.random() < 0.5:
            return Request(op, (self.watched_path(), self.rng.choice([-1, 9, 77])))
        if op in (wire.MULTI, wire.MULTI_READ) and self.rng.random() < 0.6:
            return self.undecodable_multi(op)
        base = self.sample(slot, op)
        size = len(base.encode(ZeroMarks()))
        if size == 0:
            return None
        edit = self.rng.choice([("cut", self.rng.randrange(size)), ("put", 0, b"\x7f\xff\xff\xff")])
        if op in (wire.SET_WATCHES, wire.SET_WATCHES2) and edit[0] == "put":
            edit = ("put", 8, b"\x00\x00\x00\x7f")
        return Request(op, base.fields, (edit,))

    def undecodable_multi(self, op):
        write, read = (wire.SET_DATA, ("/a", b"", -1)), (wire.GET_DATA, ("/", False))
        bad = [[write, read], [read, write], [(wire.SET_ACL, ("/a", OPEN, -1))], [(wire.EXISTS, ("/", False))],
               [(77, ())], [(wire.CREATE, ("/a", b"", OPEN, 7))], [(wire.CREATE2, ("/a", b"", OPEN, 5))],
               [(wire.CREATE, ("/a", b"", OPEN, -1))]]
        return Request(op, (self.rng.choice(bad),), (WHOLE,))

    def sample(self, slot, op):
        """Some well-formed request of an operation, to be damaged."""
        self.aim.slot = slot
        if op in (wire.MULTI, wire.MULTI_READ):
            return Request(op, ([(wire.CHECK, ("/", -1))] if op == wire.MULTI else [(wire.GET_DATA, ("/", False))],))
        special = getattr(self, "make_" + wire.OP_NAMES[op], None)
        if op in (wire.CHECK_WATCHES, wire.REMOVE_WATCHES):
            return Request(op, (self.watched_path(), 3))
        if special:
            return special(slot, "OK")
        return Request(op, self.aim.fields(op, "OK") or self.aim.fields(op, "NONODE"))

    def damaged_request(self, slot):
        """Bytes after the last field (ignored by both), or a null where there should be a path."""
        for _ in range(20):
            op = self.rng.choice([op for op in BODIED if op not in (wire.AUTH, wire.SASL, wire.RECONFIG)])
            null = wire.REQUEST_LAYOUT[op][0] == "s" and self.rng.random() < 0.3
            label = f"{wire.OP_NAMES[op]} {'null path' if null else 'tail'}"
            if label in self.avoid:
                continue
            base = self.sample(slot, op)
            fields = (None, *base.fields[1:]) if null else base.fields
            return Request(op, fields, (WHOLE if null else ("append", b"tail"),), label)
        return Request(wire.PING)

    def burst(self, slot):
        """Requests sent with one call; see LAST."""
        requests = [self.request(slot, True) for _ in range(self.rng.randrange(2, 25))]
        if self.rng.random() < 0.5:
            self.aim.slot = slot
            fields = self.aim.fields(wire.SET_ACL, "OK")
            requests.append(self.rng.choice([self.make_multi(slot, "OK"), Request(wire.SET_ACL, fields)])
                            if fields else Request(wire.PING))
        self.queue = [step for step in self.queue if not (isinstance(step, Send) and step.slot == slot)]
        return Send(slot, requests)

    def quota_look(self, slot):
        area = self.rng.choice([QUOTA_HARD, QUOTA_SOFT])
        return Send(slot, [Request(wire.GET_DATA, (f"/zookeeper/quota{area}/zookeeper_stats", False))])

    def prune(self):
        """The super user deletes leaves, so that the tree stays small enough to collide in."""
        if not self.shadow.slots[SUPER].connected:
            return self.reconnect(SUPER)
        leaves = [p for p, node in self.shadow.nodes.items() if node.children == 0
                  and not p.startswith("/zookeeper") and p not in (QUOTA_HARD, QUOTA_SOFT)]
        self.rng.shuffle(leaves)
        for path in leaves[:NODES_MAX // 4]:
            self.queue.append(Send(SUPER, [Request(wire.DELETE, (path, -1))]))
        return self.queue.pop(0)
