"""Carries out the steps on both sides, in lockstep, and compares what each connection received.

After each step every connection that may hold watches sends a ping; its answer is the barrier behind
which no event of the step can hide. The first difference ends the run as a `Mismatch`.
"""

import time

import wire
from client import Side
from compare import Comparison
from differences import adapted
from steps import Connect, Drop, Expire, Raw, Request, Send, Walk, unwatched

CLOSING_ERRORS = {-6, -115}
EXPIRY_S = 30
PING = Request(wire.PING)


class Mismatch(Exception):
    """The two sides differ; carries what was sent and both answers."""

    def __init__(self, step, slot, reason, a, b, index=0):
        super().__init__(reason)
        self.step, self.slot, self.reason, self.a, self.b = step, slot, reason, a, b
        self.index = index

    def request(self):
        """The request whose answer differs, or None if it isn't an answer."""
        if not isinstance(self.step, Send) or self.step.slot != self.slot:
            return None
        if any(log[self.index][0] == "event" for log in (self.a, self.b) if self.index < len(log)):
            return None
        before = sum(1 for message in self.a[:self.index] if message[0] != "event")
        return self.step.requests[before] if before < len(self.step.requests) else PING

    def label(self):
        """What the generator calls the thing that differs."""
        request = self.request()
        if request is None:
            return getattr(self.step, "label", type(self.step).__name__.lower())
        return request.label or request.name()

    def answers(self):
        """The differing message of each side, None where there is none."""
        return [log[self.index] if self.index < len(log) else None for log in (self.a, self.b)]


class Harness:
    def __init__(self, server_a, server_b, generator, table):
        self.sides = (Side(server_a), Side(server_b))
        self.comparison = Comparison(*self.sides, exact_zxids=server_a.kind == server_b.kind)
        self.generator, self.shadow, self.table = generator, generator.shadow, table
        self.record = None  # a list, to keep what was compared (for the self-test)
        self.operations = 0
        self.without_watches = False

    def run_step(self, step):
        """Carries out one step and raises Mismatch if the sides differ."""
        if self.without_watches and isinstance(step, Send):
            step.requests = [unwatched(request) for request in step.requests]
        if self.without_watches and isinstance(step, Connect):
            step.pipelined = [unwatched(request) for request in step.pipelined]
        if isinstance(step, Send):
            self.send(step)
        elif isinstance(step, Connect):
            self.connect(step)
        elif isinstance(step, Drop):
            self.drop(step.slot)
            self.settle(step, {})
        elif isinstance(step, Raw):
            self.raw(step)
        elif isinstance(step, Walk):
            self.walk(step)
        else:
            self.expire(step)
        for side in self.sides:
            side.marks.append(side.last_zxid)
        self.generator.marks = len(self.sides[0].marks)

    def raw(self, step):
        """The connection has to end; nothing may come before that."""
        conns = [side.slots[step.slot] for side in self.sides]
        for conn in conns:
            conn.send_raw(step.data)
        for conn in conns:
            conn.collect(until_closed=True)
        self.operations += 1
        self.table.hit("frame", "closed" if conns[0].closed else "open")
        self.settle(step, {})

    def walk(self, step):
        """Reads every node that the first side's listings name. Returns the paths."""
        paths = ["/"]
        for path in paths:
            requests = [Request(op, (path, False)) for op in (wire.GET_CHILDREN2, wire.GET_DATA)]
            requests.append(Request(wire.GET_ACL, (path,)))
            log = self.send(Send(step.slot, requests))
            listing = next(message for message in log[step.slot] if message[0] == "reply")
            if listing[3] == 0:
                paths += [path.rstrip("/") + "/" + child for child in sorted(listing[4][0])]
        return paths

    def send(self, step):
        conns = [side.slots[step.slot] for side in self.sides]
        for side, conn in zip(self.sides, conns):
            requests = [adapted(request, side.server.kind) for request in step.requests]
            conn.send_requests(requests, side, step.split)
        for conn in conns:
            conn.collect()
        if self.should_close(step, conns):
            for conn in conns:
                conn.collect(until_closed=True)
        self.operations += len(step.requests)
        closes = any(request.op == wire.CLOSE_SESSION for request in step.requests)
        log = self.settle(step, {step.slot: step.requests}, unordered=closes)
        replies = [message for message in log.get(step.slot, []) if message[0] != "event"]
        for request, message in zip(step.requests, replies):
            self.shadow.learn(step.slot, request, message)
        return log

    @staticmethod
    def should_close(step, conns):
        if any(conn.closed for conn in conns) or step.requests[-1].op == wire.CLOSE_SESSION:
            return True
        return any(message[0] == "reply" and message[3] in CLOSING_ERRORS
                   for conn in conns for message in conn.log)

    def connect(self, step):
        former = [side.slots.get(step.slot) for side in self.sides]
        answers = [side.handshake(step.slot, step) for side in self.sides]
        self.expect_equal(step, answers)
        name = answers[0][0]
        if name == "session":
            name = "moved" if step.moves else "created" if answers[0][4] else "resumed"
            state = self.shadow.slots[step.slot]
            state.disconnected()
            state.connected, state.session = True, answers[0][3]
            state.ids.clear()
        self.table.hit("connect", {"refused": "expired", "closed without a reply": "refused-zxid"}.get(name, name))
        if name == "expired" or (name == "refused" and step.password is None and not step.unknown_session):
            self.shadow.slots[step.slot].session = None
        if step.moves:
            self.compare_former(step, former)
        if name in ("created", "resumed", "moved"):
            for side in self.sides:
                side.slots[step.slot].collect()
        self.settle(step, {step.slot: step.pipelined})

    def compare_former(self, step, former):
        for conn in former:
            conn.pending.clear()
            conn.collect(until_closed=True)
        self.check(step, step.slot, *[conn.take() for conn in former])

    def expect_equal(self, step, answers):
        if self.record is not None:
            self.record.append(("handshake", *answers))
        reason = self.comparison.value(*answers, "handshake")
        if reason:
            raise Mismatch(step, step.slot, reason, *[[answer] for answer in answers])

    def drop(self, slot):
        for side in self.sides:
            side.slots[slot].drop()
        self.shadow.slots[slot].disconnected()

    def expire(self, step):
        session = self.shadow.slots[step.slot].session
        self.drop(step.slot)
        for side in self.sides:
            self.await_gone(side.slots[step.observer], side, step.probe)
        self.shadow.session_ended(session)
        self.shadow.slots[step.slot].session = None
        self.table.hit("expire", "done")
        self.settle(step, {}, unordered=True)

    @staticmethod
    def await_gone(conn, side, path):
        """Repeats exists until NONODE; keeps the events and forgets the replies."""
        deadline = time.monotonic() + EXPIRY_S
        kept = []
        while time.monotonic() < deadline:
            conn.send_requests([Request(wire.EXISTS, (path, False))], side)
            conn.collect()
            log = conn.take()
            kept += [message for message in log if message[0] == "event"]
            if conn.closed or any(m[0] == "reply" and m[3] == -101 for m in log):
                break
            time.sleep(0.05)
        conn.xid = 1_000_000 + len(side.marks)  # the number of polls differs between the sides
        conn.log = kept

    def settle(self, step, requests, unordered=False):
        """The barrier, then the comparison of everything received. Returns the first side's logs."""
        watching = [slot for slot in self.sides[0].live()
                    if any(side.slots[slot].has_watches for side in self.sides)]
        for side in self.sides:
            for slot in watching:
                side.slots[slot].send_requests([PING], side)
        for side in self.sides:
            for slot in watching:
                side.slots[slot].collect()
        logs = {}
        for slot in list(self.sides[0].slots):
            a, b = [side.slots[slot].take() for side in self.sides]
            for side, log in zip(self.sides, (a, b)):
                side.note_zxids(log)
            self.check(step, slot, a, b, unordered)
            self.table.requests(requests.get(slot, []) + ([PING] if slot in watching else []), a)
            logs[slot] = a
            if self.sides[0].slots[slot].closed and self.shadow.slots[slot].connected:
                self.shadow.slots[slot].disconnected()
        return logs

    def check(self, step, slot, a, b, unordered=False):
        if self.record is not None and (a or b):
            self.record.append(("logs", a, b, unordered))
        found = self.comparison.logs(a, b, unordered)
        if found:
            raise Mismatch(step, slot, found[1], a, b, found[0])

    def close(self):
        for side in self.sides:
            side.close()
