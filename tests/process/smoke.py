"""What a server does for well-behaved clients: every operation once, watches, many connections, bursts, big values.

Each function takes a server's address and raises when something isn't as it must be. They leave nothing
behind but their own parents, so each can run again.
"""

import socket
import threading
import time

import session as raw
from host import Failure, check
from session import OPEN, Session, wire

CREATED, DELETED, CHANGED, CHILD = 1, 2, 3, 4
CONNECTIONS, BURST = 200, 5000
ESTABLISHED = 1
# Together below what one connection may leave unread at a time.
BIG_REPLIES = 60
FRAME_MAX = 0xFFFFF
NONODE, BADVERSION, NODEEXISTS, NOTEMPTY, NOAUTH, NOCHILDREN = -101, -103, -110, -111, -102, -108


def equal(got, want, what):
    check(got == want, f"{what}: {got!r:.200} instead of {want!r:.200}")


def fails(client, err, op, *fields):
    equal(client.call(op, *fields).err, err, f"{wire.OP_NAMES[op]} {fields[:1]}")


def operations(address):
    """Every operation once, with its result, and a few refusals."""
    a = Session(address)
    equal(a.create("/smoke", b"top"), "/smoke", "create")
    path, stat = a.ok(wire.CREATE2, "/smoke/two", b"2", OPEN, raw.PERSISTENT)
    equal((path, stat["version"], stat["dataLength"]), ("/smoke/two", 0, 1), "create2")
    a.ok(wire.CREATE_CONTAINER, "/smoke/box", b"", OPEN, raw.CONTAINER)
    a.ok(wire.CREATE_TTL, "/smoke/brief", b"", OPEN, raw.TTL, 3_600_000)
    equal(a.create("/smoke/s-", b"", raw.SEQUENTIAL), "/smoke/s-0000000003", "sequential create")
    equal(a.create("/smoke/e", b"", raw.EPHEMERAL), "/smoke/e", "ephemeral create")
    fails(a, NODEEXISTS, wire.CREATE, "/smoke", b"", OPEN, raw.PERSISTENT)
    fails(a, NOCHILDREN, wire.CREATE, "/smoke/e/below", b"", OPEN, raw.PERSISTENT)
    equal(a.ok(wire.EXISTS, "/smoke/e", False)[0]["owner"], a.id, "owner of an ephemeral node")
    equal(a.ok(wire.SET_DATA, "/smoke/two", b"three", 0)[0]["version"], 1, "setData")
    fails(a, BADVERSION, wire.SET_DATA, "/smoke/two", b"four", 0)
    data, stat = a.ok(wire.GET_DATA, "/smoke/two", False)
    equal((data, stat["version"], stat["mzxid"] > stat["czxid"]), (b"three", 1, True), "getData")
    equal(sorted(a.ok(wire.GET_CHILDREN, "/smoke", False)[0]), ["box", "brief", "e", "s-0000000003", "two"], "getChildren")
    equal(a.ok(wire.GET_CHILDREN2, "/smoke", False)[1]["numChildren"], 5, "getChildren2")
    equal(a.ok(wire.GET_ALL_CHILDREN_NUMBER, "/smoke")[0], 5, "getAllChildrenNumber")
    equal(a.ok(wire.GET_EPHEMERALS, "/smoke")[0], ["/smoke/e"], "getEphemerals")
    equal(a.ok(wire.SYNC, "/smoke")[0], "/smoke", "sync")
    equal(a.call(wire.PING).err, 0, "ping")
    acls(a, address)
    multis(a)
    fails(a, -123, wire.RECONFIG, "", "", "", -1)
    fails(a, NOTEMPTY, wire.DELETE, "/smoke", -1)
    for name in ("box", "brief", "e", "s-0000000003", "two"):
        a.ok(wire.DELETE, f"/smoke/{name}", -1)
    a.ok(wire.DELETE, "/smoke", -1)
    a.close()


def acls(a, address):
    """A node that only its creator may touch."""
    a.ok(wire.AUTH, 0, "digest", b"me:secret")
    check(any(scheme == "digest" for scheme, _ in a.ok(wire.WHO_AM_I)[0]), "whoAmI doesn't name the digest identity")
    a.ok(wire.CREATE, "/smoke/mine", b"private", [(31, "auth", "")], raw.PERSISTENT)
    other = Session(address)
    fails(other, NOAUTH, wire.GET_DATA, "/smoke/mine", False)
    equal(a.ok(wire.SET_ACL, "/smoke/mine", OPEN, 0)[0]["aversion"], 1, "setACL")
    equal(other.ok(wire.GET_DATA, "/smoke/mine", False)[0], b"private", "getData after setACL")
    equal(other.ok(wire.GET_ACL, "/smoke/mine")[0], OPEN, "getACL")
    other.ok(wire.DELETE, "/smoke/mine", 0)
    other.close()


def multis(a):
    """One that succeeds, one that fails and leaves nothing, and reads."""
    body = (wire.CREATE, ("/smoke/m", b"1", OPEN, 0)), (wire.SET_DATA, ("/smoke/m", b"2", 0)), (wire.CHECK, ("/smoke/m", 1))
    results = a.ok(wire.MULTI, list(body))[0]
    equal([r[1] for r in results[:3]], [0, 0, 0], "multi")
    results = a.ok(wire.MULTI, [(wire.DELETE, ("/smoke/m", 1)), (wire.CHECK, ("/smoke/none", 0))])[0]
    equal([r[2][0] for r in results[:2]], [0, NONODE], "failing multi")
    results = a.ok(wire.MULTI_READ, [(wire.GET_DATA, ("/smoke/m", False)), (wire.GET_CHILDREN, ("/smoke/m", False))])[0]
    equal((results[0][2][0], results[1][2][0]), (b"2", []), "multiRead")
    a.ok(wire.DELETE, "/smoke/m", 1)


def watches(address):
    """Each kind fires at another connection's change, before that connection could show the change itself."""
    a, b = Session(address), Session(address)
    for path in ("/watch", "/watch/n"):
        b.create(path)
    a.ok(wire.GET_DATA, "/watch/n", True)
    a.call(wire.EXISTS, "/watch/new", True)
    a.ok(wire.GET_CHILDREN, "/watch", True)
    b.ok(wire.SET_DATA, "/watch/n", b"x", -1)
    b.create("/watch/new")
    # One-shot watches: the second change of each is silent.
    b.ok(wire.SET_DATA, "/watch/n", b"y", -1)
    b.ok(wire.DELETE, "/watch/new", -1)
    equal(a.await_events(3), [(CHANGED, 3, "/watch/n"), (CREATED, 3, "/watch/new"), (CHILD, 3, "/watch")], "one-shot watches")
    a.ok(wire.SYNC, "/watch")
    equal(a.events, [], "events of spent watches")
    a.ok(wire.ADD_WATCH, "/watch", 1)
    a.ok(wire.CHECK_WATCHES, "/watch", 5)
    for round_ in range(3):
        b.create(f"/watch/n/{round_}")
        b.ok(wire.SET_DATA, f"/watch/n/{round_}", b"z", 0)
    want = [(kind, 3, f"/watch/n/{round_}") for round_ in range(3) for kind in (CREATED, CHANGED)]
    equal(a.await_events(6), want, "persistent recursive watch")
    a.ok(wire.REMOVE_WATCHES, "/watch", 5)
    b.ok(wire.DELETE, "/watch/n/0", -1)
    a.ok(wire.SYNC, "/watch")
    equal(a.events, [], "events of a removed watch")
    reconnect(a, b, address)
    for path in ("/watch/n/2", "/watch/n", "/watch"):
        b.ok(wire.DELETE, path, -1)
    b.close()


def reconnect(a, b, address):
    """What changed while the client was away is told when its watches are set again."""
    seen = a.call(wire.SYNC, "/watch").zxid
    a.drop()
    b.ok(wire.SET_DATA, "/watch/n/1", b"away", -1)
    again = Session(address, resume=a.key, last_zxid=seen)
    equal(again.id, a.id, "the resumed session")
    again.ok(wire.SET_WATCHES2, seen, ["/watch/n/1", "/watch/n/2"], [], [], [], [])
    equal(again.await_events(1), [(CHANGED, 3, "/watch/n/1")], "events told by setWatches2")
    b.ok(wire.DELETE, "/watch/n/1", -1)
    again.ok(wire.SET_WATCHES2, seen, ["/watch/n/2"], [], [], [], [])
    again.close()


def many_connections(address):
    """Two hundred sessions at once, each with an ephemeral node that goes with it; half of them expire by silence."""
    keeper = Session(address)
    keeper.create("/many")
    clients = [Session(address, timeout_ms=60_000 if n % 2 else 2000) for n in range(CONNECTIONS)]
    equal(len({client.id for client in clients}), CONNECTIONS, "different sessions")
    for n, client in enumerate(clients):
        client.post([(wire.CREATE, (f"/many/{n}", b"%d" % n, OPEN, raw.EPHEMERAL)), (wire.GET_DATA, (f"/many/{n}", False))])
    for n, client in enumerate(clients):
        equal(client.reply().err, 0, f"create on connection {n}")
        equal(client.reply().body[0], b"%d" % n, f"getData on connection {n}")
    equal(keeper.ok(wire.EXISTS, "/many", False)[0]["numChildren"], CONNECTIONS, "ephemeral nodes")
    for n, client in enumerate(clients):
        if n % 2:
            client.close()
        else:
            client.drop()
    deadline = time.monotonic() + 12
    while keeper.ok(wire.EXISTS, "/many", False)[0]["numChildren"]:
        check(time.monotonic() < deadline, "ephemeral nodes outlive their sessions")
        time.sleep(0.1)
    keeper.ok(wire.DELETE, "/many", -1)
    keeper.close()


def bursts(address):
    """Thousands of requests in one go, while a thread reads: answered in order, each once."""
    client = Session(address)
    client.create("/burst")
    requests = []
    for n in range(BURST):
        requests.append((wire.SET_DATA, ("/burst", b"%d" % n, n)))
        requests.append((wire.GET_DATA, ("/burst", False)))
    frames = b"".join(client.encode(op, fields) for op, fields in requests)
    sender = threading.Thread(target=client.send, args=(frames,), daemon=True)
    sender.start()
    for n in range(BURST):
        stat = client.reply().body[0]
        equal(stat["version"], n + 1, "version in a burst")
        equal(client.reply().body[0], b"%d" % n, "own write read back in a burst")
    sender.join()
    client.ok(wire.DELETE, "/burst", -1)
    client.close()


def big_values(address):
    """The largest frame passes, in pieces too; one byte more ends its connection and no other."""
    client = Session(address)
    client.create("/big")
    overhead = 8 + 4 + len("/big") + 4 + 4
    value = bytes(range(256)) * 4096
    value = value[:FRAME_MAX - overhead]
    stat = client.ok(wire.SET_DATA, "/big", value, -1)[0]
    equal(stat["dataLength"], len(value), "length of the biggest value")
    check(client.ok(wire.GET_DATA, "/big", False)[0] == value, "the biggest value comes back changed")
    frame = client.encode(wire.SET_DATA, ("/big", value[::-1], -1))
    for start in range(0, len(frame), 70_001):
        client.send(frame[start:start + 70_001])
    equal(client.reply().err, 0, "a frame in pieces")
    check(client.ok(wire.GET_DATA, "/big", False)[0] == value[::-1], "a value sent in pieces comes back changed")
    other = Session(address)
    try:
        other.post([(wire.SET_DATA, ("/big", value + b"x", -1))])
        other.await_end(10)
    except raw.Closed:
        pass
    client.post([(wire.SET_DATA, ("/big", value, -1))] * 20 + [(wire.GET_DATA, ("/big", False))] * 20)
    for _ in range(40):
        equal(client.reply().err, 0, "many big frames at once")
    client.ok(wire.DELETE, "/big", -1)
    client.close()


def big_replies(address):
    """A client that asks for many big values at once and reads them gets them all."""
    client = Session(address)
    client.create("/replies", b"r" * 900_000)
    client.post([(wire.GET_DATA, ("/replies", False))] * BIG_REPLIES)
    for _ in range(BIG_REPLIES):
        equal(len(client.reply().body[0]), 900_000, "length of a big reply")
    client.ok(wire.DELETE, "/replies", -1)
    client.close()


class Unread:
    """A client that asks for megabytes and never reads; the server has to end it, and others mustn't notice."""

    def __init__(self, address, requests):
        client = Session(address)
        if client.call(wire.EXISTS, "/unread", False).err != 0:
            client.create("/unread", b"u" * 900_000)
        client.post([(wire.GET_DATA, ("/unread", False))] * requests)
        self.client, self.began = client, time.monotonic()

    def ended(self, seconds):
        """Waits until the server has reset the connection, without reading what it sent."""
        while time.monotonic() - self.began < seconds:
            if tcp_state(self.client.sock) != ESTABLISHED:
                return time.monotonic() - self.began
            time.sleep(0.2)
        raise Failure(f"a client that never reads still has its connection after {seconds} s")


def tcp_state(sock):
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)[0]


def half_open(address, count, server):
    """Thousands of connections that say nothing, or begin a sentence: they hold little, are closed in time, others go on."""
    good, socks = Session(address), []
    good.create("/halfopen")
    slowest = 0.0
    before = server.descriptors()
    try:
        for n in range(count):
            sock = socket.create_connection(address, 10)
            sock.sendall((b"", b"\x00", b"\x00\x00\x00\x2d", b"\x00\x00\x00\x2d" + bytes(20), b"sr")[n % 5])
            socks.append(sock)
            if n % 20 == 0:
                began = time.monotonic()
                good.ok(wire.SET_DATA, "/halfopen", b"%d" % n, -1)
                slowest = max(slowest, time.monotonic() - began)
        check(slowest < 2, f"a write took {slowest:.1f} s next to half-open connections")
        closed, deadline = 0, time.monotonic() + 15
        for sock in socks:
            sock.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                closed += sock.recv(1) == b""
            except ConnectionError:
                closed += 1
            except TimeoutError:
                pass
        equal(closed, count, "half-open connections that the server ended")
    finally:
        for sock in socks:
            sock.close()
    deadline = time.monotonic() + 10
    while server.descriptors() > before + 20:
        check(time.monotonic() < deadline, f"{server.descriptors()} descriptors are held, {before} before")
        time.sleep(0.1)
    good.ok(wire.DELETE, "/halfopen", -1)
    good.close()


def connection_limit(address, limit):
    """`maxClientCnxns` counts over all fronts: the next one is turned away, and one that ends makes room."""
    clients = [Session(address) for _ in range(limit)]
    for _ in range(2 * limit):
        try:
            Session(address)
        except (raw.Closed, ConnectionError):
            continue
        raise Failure(f"more than {limit} connections from one address were let in")
    clients.pop().close()
    deadline = time.monotonic() + 5
    while True:
        try:
            clients.append(Session(address))
            break
        except (raw.Closed, ConnectionError):
            check(time.monotonic() < deadline, "a place that was given back isn't given out again")
            time.sleep(0.05)
    for client in clients:
        client.close()
