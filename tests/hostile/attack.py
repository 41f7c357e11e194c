"""Sends malformed inputs to a server and watches what it does to the connections that brought them.

The worker checks what can be said about any answer: it is framed, replies to what was sent, in order; and
a connection whose peer has finished is closed. `Attack.run` counts an input only once the server has
judged it: it answered, or ended the connection, or had all the bytes and the end of the stream.
"""

import collections
import random
import socket
import struct
import time

import inputs
import wire

ANSWER_S = 15
BATCH = 40
HALF_OPEN = 150       # connections each worker keeps half-open
FRAME_MAX = 64 << 20


class Broken(Exception):
    """The server did something that no input may cause."""


def connect(server, rng):
    """A connection from one of many loopback addresses, so that ports don't run out."""
    sock = socket.socket()
    sock.bind((f"127.0.{rng.randrange(1, 250)}.{rng.randrange(1, 250)}", 0))
    sock.settimeout(ANSWER_S)
    sock.connect(server)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def read_exactly(sock, count):
    """`count` bytes, or None when the stream ends."""
    data = b""
    while len(data) < count:
        chunk = sock.recv(count - len(data))
        if not chunk:
            return None
        data += chunk
    return data


def read_frame(stream):
    """The next frame, or None when the stream ends or is reset."""
    try:
        head = stream.read(4)
        if head is None or len(head) < 4:
            return None
        length = struct.unpack(">i", head)[0]
        if not 0 <= length <= FRAME_MAX:
            raise Broken(f"the server sent a frame of length {length}")
        body = stream.read(length)
        return body if len(body) == length else None
    except ConnectionError:
        return None
    except (socket.timeout, TimeoutError):
        raise Broken(f"no answer and no end of the connection for {ANSWER_S} s") from None


class Attack:
    def __init__(self, server, seed):
        self.server, self.rng = server, random.Random(seed)
        self.counts = collections.Counter()
        self.half_open = collections.deque()

    def run(self, count):
        """Brings `count` judged inputs. Returns their number by kind."""
        kinds = [(self.mutated, 0.55), (self.lying, 0.12), (self.handshakes, 0.15), (self.passwords, 0.06),
                 (self.half, 0.06), (self.noise, 0.06)]
        while sum(self.counts.values()) < count:
            total = sum(self.counts.values()) or 1
            # The kind that is furthest behind its share goes next.
            kind, _ = min(kinds, key=lambda k: self.counts[k[0].__name__] / total / k[1])
            self.counts[kind.__name__] += kind()
        for sock in self.half_open:
            sock.close()
        return self.counts

    def session(self):
        """A fresh session's socket and its reading side."""
        sock = connect(self.server, self.rng)
        sock.sendall(inputs.connect_frame(self.rng))
        stream = sock.makefile("rb")
        answer = read_frame(stream)
        if answer is None or wire.read_connect_reply(answer)[2] == 0:
            raise Broken("a proper handshake was refused")
        return sock, stream

    def mutated(self):
        """Many mutated frames with true lengths on one session, then a ping."""
        sock, stream = self.session()
        sent = [inputs.mutated_request(self.rng, xid) for xid in range(1, BATCH + 1)]
        ping = struct.pack(">iii", 8, -2, wire.PING)
        self.send(sock, b"".join(frame for _, frame in sent) + ping)
        turn = [xid for xid, (op, _) in enumerate(sent, 1) if op not in inputs.OUT_OF_TURN]
        others = {xid for xid, (op, _) in enumerate(sent, 1) if op in inputs.OUT_OF_TURN}
        pings = {xid for xid, (op, _) in enumerate(sent, 1) if op == wire.PING}
        judged, ended = 0, False
        while True:
            frame = read_frame(stream)
            if frame is None:
                ended = True
                break
            xid = struct.unpack_from(">i", frame)[0] if len(frame) >= 16 else None
            if xid == -1:
                continue
            if xid == -2 and turn and turn[0] in pings:  # any ping is answered with xid -2
                xid = turn[0]
            if xid == -2:
                break
            judged += 1
            self.expect_turn(xid, turn, others)
        self.finish(sock, stream)
        return min(judged + 1, BATCH) if ended else BATCH

    @staticmethod
    def expect_turn(xid, turn, others):
        if xid in others:
            others.discard(xid)
        elif turn and turn[0] == xid:
            turn.pop(0)
        else:
            raise Broken(f"a reply with xid {xid} where {turn[:1]} is next")

    def lying(self):
        sock, stream = self.session()
        self.send(sock, inputs.lying_frame(self.rng))
        self.finish(sock, stream)
        return 1

    def noise(self):
        """Random bytes behind a proper handshake."""
        sock, stream = self.session()
        self.send(sock, self.rng.randbytes(self.rng.randrange(1, 400)))
        self.finish(sock, stream)
        return 1

    def handshakes(self):
        return self.once(inputs.broken_handshake(self.rng))

    def passwords(self):
        sock = connect(self.server, self.rng)
        self.send(sock, inputs.wrong_password(self.rng))
        stream = sock.makefile("rb")
        answer = read_frame(stream)
        if answer is not None:
            timeout_ms, session = wire.read_connect_reply(answer)[1:3]
            if session or timeout_ms:
                raise Broken("a session was handed to a wrong password")
        self.finish(sock, stream)
        return 1

    def half(self):
        """A connection that says nothing, or a part of a handshake, and stays."""
        sock = connect(self.server, self.rng)
        frame = inputs.connect_frame(self.rng)
        self.send(sock, frame[:self.rng.choice([0, 0, 1, 3, 4, 5, 20, len(frame) - 1])])
        self.half_open.append(sock)
        if len(self.half_open) > HALF_OPEN:
            self.half_open.popleft().close()
        return 1

    def once(self, data):
        sock = connect(self.server, self.rng)
        self.send(sock, data)
        self.finish(sock, sock.makefile("rb"))
        return 1

    @staticmethod
    def send(sock, data):
        try:
            sock.sendall(data)
        except ConnectionError:
            pass  # the server has already ended the connection: it has judged

    @staticmethod
    def finish(sock, stream):
        """Half-closes and waits for the server to end the connection as well."""
        try:
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        deadline = time.monotonic() + ANSWER_S
        try:
            while stream.read1(65536):
                if time.monotonic() > deadline:
                    raise Broken(f"the server went on sending for {ANSWER_S} s")
        except ConnectionError:
            pass
        except (socket.timeout, TimeoutError):
            raise Broken(f"the connection stayed open {ANSWER_S} s after its end") from None
        stream.close()
        sock.close()
