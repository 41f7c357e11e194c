"""Clients that ask without end, that take slowly or nothing, that are too many: what they must not cost others.

Each function takes a server's address and raises when something isn't as it must be. Run as a program (`rude.py
host port seconds`) it is the client that asks without end, in a process of its own so that it keeps nobody here waiting.
"""

import select
import socket
import subprocess
import sys
import time

import session as raw
from host import Failure, check
from session import Session, wire

# A frame that the server answers with this much.
VALUE = b"r" * 900_000
FLOOD_S = 3
TIMEOUT_MS = 1000


def ask_without_end(address, seconds):
    """Pipelines reads as fast as the socket takes them, and throws the answers away."""
    client = Session(address)
    asked = memoryview(client.encode(wire.EXISTS, ("/flood", False)) * 10_000)
    sock, at, until = client.sock, 0, time.monotonic() + seconds
    sock.setblocking(False)
    while time.monotonic() < until:
        readable, writable, _ = select.select([sock], [sock], [], 1)
        if readable:
            sock.recv(1 << 20)
        if writable:
            at = (at + sock.send(asked[at:])) % len(asked)


def flood(address):
    """Two clients that ask without end; another one is answered meanwhile, and its session lives by its pings."""
    client = Session(address, timeout_ms=TIMEOUT_MS)
    client.create("/flood", b"")
    client.create("/flood-pinging", b"", raw.EPHEMERAL)
    command = [sys.executable, __file__, address[0], str(address[1]), str(FLOOD_S)]
    floods = [subprocess.Popen(command) for _ in range(2)]
    slowest = 0.0
    try:
        while any(one.poll() is None for one in floods):
            began = time.monotonic()
            client.ok(wire.GET_DATA, "/flood", False)
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.05)
    finally:
        for one in floods:
            one.kill() if one.poll() is None else None
            status = one.wait()
            check(status == 0, f"a client that asks without end failed with status {status}")
    check(slowest < 1.5, f"a read took {slowest:.1f} s beside clients that ask without end")
    check(client.call(wire.EXISTS, "/flood-pinging", False).err == 0, "a client that asks without end cost another one its session")
    client.ok(wire.DELETE, "/flood", -1)
    client.close()


def with_small_buffer(address, **how):
    client = Session(address, **how)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    return client


def half_closed(address, server):
    """Who says no more still gets its answers; who takes none of them is let go, without a word of it."""
    good = Session(address)
    good.create("/halfclosed", VALUE)
    before, silent = server.descriptors(), []
    reading = with_small_buffer(address)
    for client in [reading, *(with_small_buffer(address) for _ in range(20))]:
        client.post([(wire.GET_DATA, ("/halfclosed", False))] * 8)
        silent.append(client)
    time.sleep(0.5)
    for client in silent:
        client.sock.shutdown(socket.SHUT_WR)
    for _ in range(8):
        check(len(reading.reply().body[0]) == len(VALUE), "an answer to a half-closed client has another length")
        time.sleep(0.3)
    deadline = time.monotonic() + 8
    while server.descriptors() > before + 5:
        check(time.monotonic() < deadline, f"{server.descriptors()} descriptors are held for half-closed clients, {before} before")
        time.sleep(0.1)
    for client in silent:
        client.drop()
    with socket.create_connection(address, 5) as sock:
        sock.sendall(b"ruok")
        sock.shutdown(socket.SHUT_WR)
        check(sock.makefile("rb").read() == b"imok", "a word of a half-closed client isn't answered")
    good.ok(wire.DELETE, "/halfclosed", -1)
    good.close()


def slow_taker(address):
    """It pings, but its socket isn't read while it takes one long answer: its session lives."""
    client, good = with_small_buffer(address, timeout_ms=TIMEOUT_MS), Session(address)
    client.create("/slow", VALUE)
    client.create("/slow-mine", b"", raw.EPHEMERAL)
    client.post([(wire.MULTI_READ, ([(wire.GET_DATA, ("/slow", False))] * 30,))])
    pinged = began = time.monotonic()
    while len(client.buffer) < 30 * len(VALUE):
        if time.monotonic() - pinged > TIMEOUT_MS / 3000:
            pinged = time.monotonic()
            client.post([(wire.PING, ())])
        client.fill()
        time.sleep(0.03)
    took = time.monotonic() - began
    check(took > 2.5 * TIMEOUT_MS / 1000, f"the answer was taken in {took:.1f} s: too fast to show anything")
    check(good.call(wire.EXISTS, "/slow-mine", False).err == 0, "a client that takes its answers slowly lost its session")
    while client.pending:
        client.reply()
    good.ok(wire.DELETE, "/slow", -1)
    good.close()
    client.close()


def too_many(address, server, count):
    """More connections than descriptors: those that are in go on, also with what needs new files."""
    client, others = Session(address), []
    client.create("/many-open", b"")
    try:
        for _ in range(count):
            sock = socket.socket()
            sock.settimeout(1)
            others.append(sock)
            sock.connect(address)
        for _ in range(20):
            client.ok(wire.SET_DATA, "/many-open", VALUE, -1)
    except OSError as found:
        raise Failure(f"beside {len(others)} connections: {found}") from found
    finally:
        for sock in others:
            sock.close()
    check(server.alive(), f"the server ended; its log ends with\n{server.log_tail()}")
    check("client connections are open, as many as the descriptors allow" in server.log(), "no line says why clients aren't let in")
    deadline = time.monotonic() + 10
    while True:
        try:
            Session(address, wait_s=1).close()
            break
        except (OSError, raw.Closed):
            check(time.monotonic() < deadline, "nobody is let in although all others have gone")
    client.ok(wire.DELETE, "/many-open", -1)
    client.close()


if __name__ == "__main__":
    ask_without_end((sys.argv[1], int(sys.argv[2])), float(sys.argv[3]))
