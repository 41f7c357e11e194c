"""The well-behaved client: create, set, get, delete on a connection of its own, without a pause.

Its nodes lie under a parent that only it may change. Any error, wrong value, wrong version or lost
connection is a failure, and so is an answer that takes longer than SLOW_S.
"""

import socket
import struct
import time

import wire

HOME, TOKEN = "/well-behaved", b"well:behaved"
SLOW_S = 5


class Failure(Exception):
    """The well-behaved client got something else than it had to get."""


class Client:
    def __init__(self, server):
        self.sock = socket.create_connection(server, SLOW_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream, self.xid, self.slowest_s, self.operations = self.sock.makefile("rb"), 0, 0.0, 0
        body = wire.pack_connect(0, 0, 30000, 0, bytes(16), False)
        self.sock.sendall(struct.pack(">i", len(body)) + body)
        if wire.read_connect_reply(self.frame())[2] == 0:
            raise Failure("refused")

    def frame(self):
        head = self.stream.read(4)
        if len(head) < 4:
            raise Failure("the connection was closed")
        return self.stream.read(struct.unpack(">i", head)[0])

    def call(self, op, *fields):
        """The body of the reply; any error code is a failure."""
        self.xid += 1
        xid = -4 if op == wire.AUTH else self.xid
        payload = struct.pack(">ii", xid, op) + wire.pack_fields(wire.REQUEST_LAYOUT[op], fields)
        began = time.monotonic()
        self.sock.sendall(struct.pack(">i", len(payload)) + payload)
        kind, got_xid, _, err, body = wire.read_reply(self.frame(), op)
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)
        self.operations += 1
        if (kind, got_xid, err) != ("reply", xid, 0):
            raise Failure(f"{wire.OP_NAMES[op]}{fields[:1]}: {kind} xid {got_xid} err {err}")
        return body

    def prepare(self):
        self.call(wire.AUTH, 0, "digest", TOKEN)
        self.call(wire.CREATE, HOME, b"", [(31, "auth", "")], 0)
        self.call(wire.CREATE, "/h", b"", [(31, "world", "anyone")], 0)

    def cycle(self, number):
        """One node's life, each step checked."""
        path, first, second = f"{HOME}/{number}", b"first %d" % number, b"second %d" % number
        self.expect(path, self.call(wire.CREATE2, path, first, [(31, "auth", "")], 0)[0], path)
        self.expect(path, self.call(wire.SET_DATA, path, second, 0)[0]["version"], 1)
        data, stat = self.call(wire.GET_DATA, path, False)
        self.expect(path, (data, stat["version"], stat["dataLength"]), (second, 1, len(second)))
        self.expect(path, self.call(wire.GET_CHILDREN, HOME, False)[0], [str(number)])
        self.call(wire.DELETE, path, 1)

    @staticmethod
    def expect(path, got, wanted):
        if got != wanted:
            raise Failure(f"{path}: {got!r} where {wanted!r} was due")


def work(server, stop, results):
    """The process of the well-behaved client: cycles until `stop`, then reports."""
    number = 0
    try:
        client = Client(server)
        client.prepare()
        results.put(("ready", None, 0))
        while not stop.is_set():
            client.cycle(number)
            number += 1
        results.put(("good", client.operations, client.slowest_s))
    except Exception as failure:  # whatever it is, the parent has to hear of it
        results.put(("failed", f"after {number} cycles: {type(failure).__name__}: {failure}", 0))
