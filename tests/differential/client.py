"""One raw connection, and one *side*: a server with the connections a run holds to it.

A connection sends whole frames and collects what comes back, in order, as decoded values. A side maps
the logical slots of a run to its own connections, session ids and zxids, so that two sides can be fed
the same steps. Nothing here compares or chooses anything.
"""

import collections
import socket
import struct
import time

import wire
from differences import answer_adapted

ANSWER_S = 20
FRAME_MAX = 16 << 20


class Timeout(Exception):
    """The server owed an answer (or the end of the connection) and gave none in ANSWER_S."""


class Connection:
    def __init__(self, server):
        self.sock = socket.create_connection((server.host, server.port), ANSWER_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.kind = server.kind
        self.buffer = bytearray()
        self.pending = collections.deque()  # opcodes of unanswered requests, oldest first
        self.xid = 0
        self.closed = False
        self.has_watches = False
        self.log = []  # decoded frames since the last `take`

    def send_raw(self, data):
        try:
            self.sock.sendall(data)
        except OSError:
            pass  # the reset shows as the end of the stream when it is read

    def send_requests(self, requests, side, split=0):
        """Sends several requests with one call (or in pieces), and notes what has to be answered."""
        data = self.encode(requests, side)
        for start in range(0, len(data), split or len(data)):
            self.send_raw(data[start:start + (split or len(data))])

    def encode(self, requests, side):
        out = []
        for request in requests:
            xid = request.xid
            if xid is None:
                self.xid += 1
                xid = self.xid
            payload = struct.pack(">ii", xid, request.op) + request.encode(side)
            out.append(struct.pack(">i", len(payload)) + payload)
            self.pending.append(request.op)
            self.has_watches = self.has_watches or request.may_watch()
        return b"".join(out)

    def read_frame(self, deadline):
        """The next frame, or None at the end of the stream."""
        while True:
            if len(self.buffer) >= 4:
                length = struct.unpack_from(">i", self.buffer)[0]
                if not 0 <= length <= FRAME_MAX:
                    raise wire.WireError(f"frame length {length}")
                if len(self.buffer) >= 4 + length:
                    frame = bytes(self.buffer[4:4 + length])
                    del self.buffer[:4 + length]
                    return frame
            left = deadline - time.monotonic()
            if left <= 0:
                raise Timeout(f"{len(self.pending)} answers outstanding")
            self.sock.settimeout(left)
            try:
                chunk = self.sock.recv(65536)
            except socket.timeout:
                raise Timeout(f"{len(self.pending)} answers outstanding") from None
            except ConnectionError:
                chunk = b""
            if not chunk:
                return None
            self.buffer += chunk

    def collect(self, until_closed=False):
        """Reads until every request is answered (or the stream ends), decoding into `log`."""
        deadline = time.monotonic() + ANSWER_S
        while not self.closed and (self.pending or until_closed):
            try:
                frame = self.read_frame(deadline)
            except Timeout as late:
                self.log.append(("timeout", str(late)))
                self.closed = True
                return
            if frame is None:
                self.closed = True
                self.log.append(("closed", len(self.buffer)))
                self.sock.close()
                return
            self.accept(frame)

    def accept(self, frame):
        try:
            message = wire.read_reply(frame, self.pending[0] if self.pending else None)
        except (wire.WireError, struct.error) as bad:
            message = ("undecodable", str(bad), frame.hex())
        if message[0] != "event" and self.pending:
            message = answer_adapted(self.pending.popleft(), message, self.kind)
        self.log.append(message)

    def take(self):
        log, self.log = self.log, []
        return log

    def drop(self):
        """Ends the connection without a word."""
        self.closed = True
        self.sock.close()


class Side:
    """One server as the run sees it."""

    def __init__(self, server):
        self.server = server
        self.slots = {}      # slot -> Connection
        self.sessions = {}   # ordinal -> (session id, password)
        self.ordinals = {}   # session id -> ordinal
        self.marks = [0]     # last zxid seen after each step
        self.last_zxid = 0

    def handshake(self, slot, ask):
        """Opens a connection for a slot. Returns the answer as a comparable tuple.

        `ask` is a `steps.Connect`; the session it creates gets the next ordinal.
        """
        known_id, password = self.sessions.get(ask.session, (0, bytes(16)))
        if ask.session is not None and ask.unknown_session:
            known_id = 0x7777_0000_0000_1234
        if ask.password is not None:
            password = ask.password
        conn = Connection(self.server)
        body = wire.pack_connect(ask.version, self.resolve(ask.last_zxid), ask.timeout_ms, known_id,
                                 password, ask.read_only)
        conn.send_raw(struct.pack(">i", len(body)) + body + conn.encode(ask.pipelined, self))
        try:
            frame = conn.read_frame(time.monotonic() + ANSWER_S)
        except Timeout:
            conn.drop()
            return ("no handshake answer",)
        if frame is None:
            conn.drop()
            return ("closed without a reply",)
        version, timeout_ms, session, password, read_only = wire.read_connect_reply(frame)
        if session == 0:
            ended = conn.read_frame(time.monotonic() + ANSWER_S) is None
            conn.drop()
            return ("refused", version, timeout_ms, password, read_only, ended)
        fresh = session not in self.ordinals
        if fresh:
            self.ordinals[session] = len(self.sessions)
            self.sessions[self.ordinals[session]] = (session, password)
        same_password = self.sessions[self.ordinals[session]][1] == password
        self.slots[slot] = conn
        return ("session", version, timeout_ms, self.ordinals[session], fresh, len(password),
                same_password, read_only)

    def resolve(self, value):
        """The side's own zxid for a mark; other values stay."""
        return self.marks[value.index] + value.offset if isinstance(value, wire.ZxidMark) else value

    def note_zxids(self, log):
        for message in log:
            if message[0] == "reply" and message[2] > 0:
                self.last_zxid = message[2]

    def live(self):
        return {slot: conn for slot, conn in self.slots.items() if not conn.closed}

    def close(self):
        for conn in self.slots.values():
            conn.drop()
