"""Makes malformed inputs: mutated frames, lying lengths, broken handshakes, random bytes.

Every choice comes from a seeded generator. The paths of the requests that get mutated lie under `/h`, away
from the nodes of the well-behaved client, whose parent only that client may change.
"""

import struct

import wire

AREA = "/h"
NAMES = ["a", "b", "c", "dd", "é"]
OPEN = [(31, "world", "anyone")]
INTS = [-1, -2, 0, 1, 0x7fffffff, -0x80000000, 0xfffff, 0x100000, 1 << 24, 1000, -1000]
BAD_PATHS = ["", "x", "//", "/h/", "/h//a", "/h/./a", "/h/../a", "/h/a\0", "/h/\x01", "/h/\x7f", "/h/\uf8ff",
             "/h/\uffff", b"/h/\xff\xfe", b"/h/\xc0\x80", b"/h/\xed\xa0\x80", b"\xf0\x9f\x98\x80", None, "/" * 300,
             "/h/" + "n" * 5000]
UNKNOWN = [10, 23, 99, 108, 255, 1 << 20, -2, -12, 0x7fffffff, -0x80000000, 0, -1, -10, 20, 13]
READS = [wire.EXISTS, wire.GET_DATA, wire.GET_CHILDREN, wire.GET_CHILDREN2]
KNOWN = [op for op in wire.REQUEST_LAYOUT if op not in (wire.CLOSE_SESSION, wire.CREATE_SESSION, wire.DELETE_CONTAINER)]
# Answered (or refused) without waiting in line, so their replies may overtake others.
OUT_OF_TURN = {wire.AUTH, wire.SASL, *UNKNOWN}


def for_reference():
    """Leaves out what the reference doesn't stand: it carries out createSession and deleteContainer for
    any client, and ends when a createTTL without a TTL mode has a negative ttl."""
    KNOWN.remove(wire.CREATE_TTL)
    for op in (wire.CREATE_SESSION, wire.DELETE_CONTAINER):
        UNKNOWN.remove(op)


def path(rng):
    return AREA + "".join("/" + rng.choice(NAMES) for _ in range(rng.randrange(1, 4)))


def field(rng, kind):
    """A plausible value of one kind of field, see wire.REQUEST_LAYOUT."""
    return {"s": lambda: path(rng), "b": lambda: bytes(rng.randrange(64)), "A": lambda: OPEN,
            "i": lambda: rng.choice([-1, 0, 1, 2, 3]), "l": lambda: rng.choice([1000000, 0, 1 << 39]),
            "?": lambda: rng.random() < 0.5, "S": lambda: [path(rng) for _ in range(rng.randrange(4))],
            "M": lambda: [(op, fields(rng, op)) for op in rng.choices(
                [wire.CREATE, wire.DELETE, wire.SET_DATA, wire.CHECK], k=rng.randrange(4))]}[kind]()


def fields(rng, op):
    return [field(rng, kind) for kind in wire.REQUEST_LAYOUT[op]]


def ace(rng):
    return (rng.choice([0, 31, -1, 1 << 30]), rng.choice(["world", "digest", "ip", "", None, b"\xff", "x" * 2000]),
            rng.choice(["anyone", "", None, "::::", "300.0.0.1/99", b"\x00\xff"]))


def spoil(rng, op, values):
    """Replaces one field by an illegal value."""
    layout = wire.REQUEST_LAYOUT[op]
    at = rng.randrange(len(layout))
    bad = {"s": lambda: rng.choice(BAD_PATHS), "b": lambda: None, "i": lambda: rng.choice(INTS),
           "A": lambda: rng.choice([None, [], *[n for n in INTS], [ace(rng)], [ace(rng) for _ in range(50)]]),
           "l": lambda: rng.choice([-1, 1 << 62, -(1 << 63)]), "?": lambda: 7,
           "S": lambda: rng.choice([None, *[n for n in INTS], [rng.choice(BAD_PATHS)]]),
           "M": lambda: [(rng.choice([wire.MULTI, *UNKNOWN, wire.GET_DATA]), [])] * rng.randrange(1, 40)}
    changed = list(values)
    changed[at] = bad[layout[at]]()
    if layout == "M":
        changed = [[(sub, fields(rng, sub) if sub in (wire.GET_DATA,) else
                     wire.REQUEST_LAYOUT.get(sub, "") and fields(rng, sub)) for sub, _ in changed[0]]]
    return changed


def mutate(rng, body):
    """Edits the encoded body: bits, bytes, integers, cuts, repeats, noise."""
    body = bytearray(body)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        kind = rng.randrange(7)
        if not body or kind == 0:
            body += rng.randbytes(rng.randrange(1, 40))
        elif kind == 1:
            body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
        elif kind == 2:
            del body[rng.randrange(len(body)):]
        elif kind == 3 and len(body) >= 4:
            at = rng.randrange(len(body) - 3)
            body[at:at + 4] = struct.pack(">i", rng.choice(INTS))
        elif kind == 4 and len(body) >= 4:
            struct.pack_into(">i", body, 0, rng.choice(INTS))
        elif kind == 5:
            at = rng.randrange(len(body))
            body[at:at] = rng.choice([b"\xff\xfe", b"\x00", b"\xc0\x80", b"\xed\xbf\xbf", b"/../"])
        else:
            at = rng.randrange(len(body))
            del body[at:at + rng.randrange(1, 9)]
    return bytes(body)


def mutated_request(rng, xid):
    """(opcode, frame): a valid frame after the handshake, mutated, with a true length."""
    kind, op = rng.randrange(10), rng.choice(KNOWN)
    if kind == 0:
        op, body = rng.choice(UNKNOWN), rng.randbytes(rng.randrange(60))
    elif kind == 1:
        body = rng.randbytes(rng.randrange(200))
    elif kind <= 4 and wire.REQUEST_LAYOUT[op]:
        body = wire.pack_fields(wire.REQUEST_LAYOUT[op], spoil(rng, op, fields(rng, op)))
    else:
        body = mutate(rng, wire.pack_fields(wire.REQUEST_LAYOUT[op], fields(rng, op)))
    payload = struct.pack(">ii", xid, op) + body
    return op, struct.pack(">i", len(payload)) + payload


def lying_frame(rng):
    """A frame after the handshake whose length isn't true, or has no room for a header."""
    op = rng.choice(READS + [wire.CREATE, wire.SET_DATA])
    payload = struct.pack(">ii", 1, op) + wire.pack_fields(wire.REQUEST_LAYOUT[op], fields(rng, op))
    length = rng.choice([-1, -0x80000000, 0, 1, 4, 7, 8, len(payload) - 1, len(payload) - 9, len(payload) + 1,
                         len(payload) + 1000, 0xfffff, 0x100000, 0x7fffffff, rng.randrange(-1 << 31, 1 << 31)])
    return struct.pack(">i", length) + payload * rng.choice([1, 1, 1, 20])


def connect_frame(rng, session=0, password=bytes(16)):
    body = wire.pack_connect(0, 0, 3000, session, password, False)
    return struct.pack(">i", len(body)) + body


def broken_handshake(rng):
    """Bytes instead of a handshake on a fresh connection."""
    body = wire.pack_connect(0, 0, 3000, 0, bytes(16), False)
    frame = struct.pack(">i", len(body)) + body
    kind = rng.randrange(9)
    if kind == 0:  # a request before the handshake
        return mutated_request(rng, 1)[1]
    if kind == 1:
        return rng.randbytes(rng.randrange(1, 200))
    if kind == 2:
        return frame[:rng.randrange(1, len(frame))]
    if kind == 3:
        return struct.pack(">i", rng.choice(INTS + [43, 46, 12])) + body
    if kind == 4:  # the password's length lies
        bad = bytearray(body)
        struct.pack_into(">i", bad, 24, rng.choice(INTS))
        return struct.pack(">i", len(bad)) + bytes(bad)
    if kind == 5:
        return frame[:4] + mutate(rng, body)
    if kind == 6:  # a handshake twice, and again
        return frame * rng.choice([2, 3, 50])
    if kind == 7:
        return rng.choice([b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"ruo", b"ruokruok",
                           b"\xff\xf4\xff\xfd", b"stmk", b"wxyz", b"\x00" * 50])
    body = wire.pack_connect(rng.choice(INTS), rng.choice([0, -1, -(1 << 63)]), rng.choice(INTS), 0,
                             rng.choice([None, b"", b"x" * 17, b"y" * 5000]), rng.choice([None, True]))
    return struct.pack(">i", len(body)) + body


def wrong_password(rng):
    session = rng.choice([1, -1, rng.getrandbits(63), 1 << 63 - 1])
    return connect_frame(rng, session, rng.choice([bytes(16), rng.randbytes(16), b"", b"short", None]))
