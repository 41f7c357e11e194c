"""A client of its own: a blocking raw session over the independent codec of the differential test.

A session sends requests alone or pipelined and reads what comes back, in order; every reply's xid is
checked against the request it must answer. Nothing here remembers what an answer should be.
"""

import collections
import pathlib
import socket
import struct
import sys
import time

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "differential"))
import wire  # noqa: E402

WAIT_S = 20
OPEN = [(31, "world", "anyone")]
PERSISTENT, EPHEMERAL, SEQUENTIAL, EPHEMERAL_SEQUENTIAL, CONTAINER, TTL, TTL_SEQUENTIAL = range(7)
FIXED_XID = {wire.PING: -2, wire.AUTH: -4, wire.SET_WATCHES: -8, wire.SET_WATCHES2: -8}

Reply = collections.namedtuple("Reply", "xid zxid err body")


class Closed(Exception):
    """The server closed the connection (or it broke)."""


class Refused(Exception):
    """The handshake was answered without a session."""


class Session:
    """A connection with its session. `address` is (host, port)."""

    def __init__(self, address, timeout_ms=60_000, resume=None, last_zxid=0, wait_s=WAIT_S):
        self.sock = socket.create_connection(address, wait_s)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.settimeout(wait_s)
        self.buffer, self.xid, self.pending, self.events = bytearray(), 0, collections.deque(), []
        known, password = resume or (0, bytes(16))
        try:
            body = wire.pack_connect(0, last_zxid, timeout_ms, known, password, False)
            self.send(struct.pack(">i", len(body)) + body)
            _, self.timeout_ms, self.id, self.password, _ = wire.read_connect_reply(self.frame())
        except BaseException:
            self.sock.close()
            raise
        if self.id == 0:
            self.sock.close()
            raise Refused("the session is unknown or the password wrong")

    @property
    def key(self):
        """What resumes this session."""
        return self.id, self.password

    def send(self, data):
        try:
            self.sock.sendall(data)
        except TimeoutError:
            raise
        except OSError as error:
            raise Closed(str(error)) from None

    def fill(self):
        try:
            chunk = self.sock.recv(1 << 18)
        except TimeoutError:
            raise
        except OSError as error:
            raise Closed(str(error)) from None
        if not chunk:
            raise Closed("end of the stream")
        self.buffer += chunk

    def frame(self):
        while len(self.buffer) < 4:
            self.fill()
        length = struct.unpack_from(">i", self.buffer)[0]
        if length < 0:
            raise wire.WireError(f"frame length {length}")
        while len(self.buffer) < 4 + length:
            self.fill()
        frame = bytes(self.buffer[4:4 + length])
        del self.buffer[:4 + length]
        return frame

    def encode(self, op, fields):
        """A request's frame; its answer is owed from now on."""
        xid = FIXED_XID.get(op)
        if xid is None:
            self.xid += 1
            xid = self.xid
        payload = struct.pack(">ii", xid, op) + wire.pack_fields(wire.REQUEST_LAYOUT[op], fields)
        self.pending.append((xid, op))
        return struct.pack(">i", len(payload)) + payload

    def post(self, requests):
        """Sends requests (op, fields) with one call, without waiting."""
        self.send(b"".join(self.encode(op, fields) for op, fields in requests))

    def message(self):
        """The next message: ("event", …) goes to `events` and is returned, a reply as Reply."""
        op = self.pending[0][1] if self.pending else None
        got = wire.read_reply(self.frame(), op)
        if got[0] == "event":
            self.events.append(got[2:])
            return got
        xid, _ = self.pending.popleft()
        if got[1] != xid:
            raise wire.WireError(f"the reply to xid {xid} has xid {got[1]}")
        return Reply(*got[1:])

    def reply(self):
        """The next reply; events that come before it are kept."""
        while True:
            got = self.message()
            if isinstance(got, Reply):
                return got

    def call(self, op, *fields):
        """One request and its reply."""
        self.post([(op, fields)])
        while len(self.pending) > 1:
            self.reply()
        return self.reply()

    def ok(self, op, *fields):
        """The body of a reply that mustn't be an error."""
        reply = self.call(op, *fields)
        if reply.err != 0:
            raise wire.WireError(f"{wire.OP_NAMES[op]} {fields[:1]}: {wire.ERROR_NAMES.get(reply.err, reply.err)}")
        return reply.body

    def create(self, path, data=b"", mode=PERSISTENT):
        """The path that was made."""
        return self.ok(wire.CREATE, path, data, OPEN, mode)[0]

    def await_events(self, count, seconds=WAIT_S):
        """Waits until `count` events came in all, and takes them."""
        deadline = time.monotonic() + seconds
        while len(self.events) < count:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"{len(self.events)} of {count} events came: {self.events}")
            self.sock.settimeout(left)
            self.message()
        self.sock.settimeout(WAIT_S)
        events, self.events = self.events, []
        return events

    def await_end(self, seconds):
        """Reads until the server closes the connection."""
        self.sock.settimeout(seconds)
        try:
            while True:
                self.fill()
                self.buffer.clear()
        except Closed:
            self.sock.close()

    def close(self):
        """Ends the session in order."""
        self.ok(wire.CLOSE_SESSION)
        self.sock.close()

    def drop(self):
        """Ends the connection without a word; the session stays."""
        self.sock.close()


def word(address, name, seconds=5):
    """The answer to a four-letter word."""
    with socket.create_connection(address, seconds) as sock:
        sock.sendall(name.encode())
        return sock.makefile("rb").read().decode()
