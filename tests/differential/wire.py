"""The client wire protocol, written once more from its description.

This codec shares nothing with the server under test, so that a mistake there can't hide behind the
same mistake here. It turns requests into bytes and reply bytes into plain values, and tags the few
values whose comparison needs a rule (`Zxid`, `Owner`, `Millis`, `Unordered`). It knows nothing about
sockets, sessions or what an answer should be.
"""

import struct


class WireError(Exception):
    """A reply that doesn't have the layout its operation promises."""


class Zxid(int):
    """A transaction id inside a stat: compared by order, not by value."""


class Owner(int):
    """An ephemeral owner: a session id, renamed to an ordinal before it is compared."""


class Millis(int):
    """A wall-clock time: only its plausibility is compared."""


class Unordered(list):
    """A list whose order the protocol leaves open."""


class AclList(list):
    """An ACL list. Neighbours with equal permissions may stand in any order: that in which the ids of a
    connection replace `auth` is open."""

    def ordered(self):
        out, start = [], 0
        for end in range(1, len(self) + 1):
            if end == len(self) or self[end][0] != self[start][0]:
                out += sorted(self[start:end], key=repr)
                start = end
        return out


class ZxidMark:
    """Placeholder for "the last zxid seen at mark `index`", which differs between two servers."""

    def __init__(self, index, offset=0):
        self.index, self.offset = index, offset

    def __repr__(self):
        return f"zxid@{self.index}{self.offset:+d}" if self.offset else f"zxid@{self.index}"


NOTIFICATION, CREATE, DELETE, EXISTS, GET_DATA, SET_DATA, GET_ACL, SET_ACL = range(8)
GET_CHILDREN, SYNC, PING, GET_CHILDREN2, CHECK, MULTI, CREATE2, RECONFIG = 8, 9, 11, 12, 13, 14, 15, 16
CHECK_WATCHES, REMOVE_WATCHES, CREATE_CONTAINER, DELETE_CONTAINER = 17, 18, 19, 20
CREATE_TTL, MULTI_READ, AUTH, SET_WATCHES, SASL, GET_EPHEMERALS = 21, 22, 100, 101, 102, 103
GET_ALL_CHILDREN_NUMBER, SET_WATCHES2, ADD_WATCH, WHO_AM_I = 104, 105, 106, 107
CREATE_SESSION, CLOSE_SESSION, ERROR_TXN = -10, -11, -1

OP_NAMES = {
    NOTIFICATION: "notification", CREATE: "create", DELETE: "delete", EXISTS: "exists",
    GET_DATA: "getData", SET_DATA: "setData", GET_ACL: "getACL", SET_ACL: "setACL",
    GET_CHILDREN: "getChildren", SYNC: "sync", PING: "ping", GET_CHILDREN2: "getChildren2",
    CHECK: "check", MULTI: "multi", CREATE2: "create2", RECONFIG: "reconfig",
    CHECK_WATCHES: "checkWatches", REMOVE_WATCHES: "removeWatches",
    CREATE_CONTAINER: "createContainer", DELETE_CONTAINER: "deleteContainer",
    CREATE_TTL: "createTTL", MULTI_READ: "multiRead", AUTH: "auth", SET_WATCHES: "setWatches",
    SASL: "sasl", GET_EPHEMERALS: "getEphemerals",
    GET_ALL_CHILDREN_NUMBER: "getAllChildrenNumber", SET_WATCHES2: "setWatches2",
    ADD_WATCH: "addWatch", WHO_AM_I: "whoAmI", CREATE_SESSION: "createSession",
    CLOSE_SESSION: "closeSession", ERROR_TXN: "error",
}

ERROR_NAMES = {
    0: "OK", -1: "SYSTEMERROR", -2: "RUNTIMEINCONSISTENCY", -5: "MARSHALLINGERROR",
    -6: "UNIMPLEMENTED", -8: "BADARGUMENTS", -101: "NONODE", -102: "NOAUTH", -103: "BADVERSION",
    -108: "NOCHILDRENFOREPHEMERALS", -110: "NODEEXISTS", -111: "NOTEMPTY", -112: "SESSIONEXPIRED",
    -114: "INVALIDACL", -115: "AUTHFAILED", -118: "SESSIONMOVED", -121: "NOWATCHER",
    -123: "RECONFIGDISABLED", -125: "QUOTAEXCEEDED",
}

# Layout of each request body: one letter per field, in wire order.
#   i int, l long, ? bool, b buffer, s string, A acl vector, S string vector, M multi, - nothing
REQUEST_LAYOUT = {
    CREATE: "sbAi", CREATE2: "sbAi", CREATE_CONTAINER: "sbAi", CREATE_TTL: "sbAil", DELETE: "si",
    EXISTS: "s?", GET_DATA: "s?", SET_DATA: "sbi", GET_ACL: "s", SET_ACL: "sAi",
    GET_CHILDREN: "s?", GET_CHILDREN2: "s?", SYNC: "s", PING: "", CHECK: "si", MULTI: "M",
    MULTI_READ: "M", RECONFIG: "sssl", CHECK_WATCHES: "si", REMOVE_WATCHES: "si",
    DELETE_CONTAINER: "s", AUTH: "isb", SET_WATCHES: "lSSS", SET_WATCHES2: "lSSSSS", SASL: "b",
    GET_EPHEMERALS: "s", GET_ALL_CHILDREN_NUMBER: "s", ADD_WATCH: "si", WHO_AM_I: "",
    CLOSE_SESSION: "", CREATE_SESSION: "i",
}

# Layout of each reply body after err 0:
#   P stat, U children (order open), C client infos (order open), R multi results
REPLY_LAYOUT = {
    CREATE: "s", CREATE2: "sP", CREATE_CONTAINER: "sP", CREATE_TTL: "sP", DELETE: "", EXISTS: "P",
    GET_DATA: "bP", SET_DATA: "P", GET_ACL: "AP", SET_ACL: "P", GET_CHILDREN: "U",
    GET_CHILDREN2: "UP", SYNC: "s", PING: "", MULTI: "R", MULTI_READ: "R", CHECK_WATCHES: "",
    REMOVE_WATCHES: "", AUTH: "", SET_WATCHES: "", SET_WATCHES2: "", SASL: "b",
    GET_EPHEMERALS: "U", GET_ALL_CHILDREN_NUMBER: "i", ADD_WATCH: "i", WHO_AM_I: "C",
    CLOSE_SESSION: "",
}
MULTI_RESULT_LAYOUT = {CREATE: "s", CREATE2: "sP", DELETE: "", SET_DATA: "P", CHECK: "",
                       GET_CHILDREN: "U", GET_DATA: "bP", ERROR_TXN: "i"}


def pack_bytes(value):
    """A length-prefixed field; None is the null that length -1 stands for."""
    if value is None:
        return struct.pack(">i", -1)
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogatepass")
    return struct.pack(">i", len(value)) + value


def pack_vector(items, pack_item):
    """A count-prefixed vector; None is the null vector, an int a bare (lying) count."""
    if items is None:
        return struct.pack(">i", -1)
    if isinstance(items, int):
        return struct.pack(">i", items)
    return struct.pack(">i", len(items)) + b"".join(pack_item(item) for item in items)


def pack_acl(entry):
    perms, scheme, ident = entry
    return struct.pack(">i", perms) + pack_bytes(scheme) + pack_bytes(ident)


def pack_multi(ops):
    """`ops` is a list of (opcode, fields), each behind its own header, and a closing header."""
    out = []
    for op, fields in ops:
        out.append(struct.pack(">i?i", op, False, -1) + pack_fields(REQUEST_LAYOUT.get(op, ""), fields))
    out.append(struct.pack(">i?i", -1, True, -1))
    return b"".join(out)


PACKERS = {
    "i": lambda v: struct.pack(">i", v), "l": lambda v: struct.pack(">q", v),
    "?": lambda v: struct.pack(">B", int(v)), "b": pack_bytes, "s": pack_bytes,
    "A": lambda v: pack_vector(v, pack_acl), "S": lambda v: pack_vector(v, pack_bytes),
    "M": pack_multi,
}


def pack_fields(layout, fields):
    assert len(layout) == len(fields), (layout, fields)
    return b"".join(PACKERS[kind](value) for kind, value in zip(layout, fields))


def pack_connect(version, last_zxid, timeout_ms, session_id, password, read_only):
    """The handshake; `read_only` None leaves the optional last byte out."""
    body = struct.pack(">iqiq", version, last_zxid, timeout_ms, session_id) + pack_bytes(password)
    return body if read_only is None else body + struct.pack(">?", read_only)


class Cursor:
    """Reads one frame field by field and refuses to read past its end."""

    def __init__(self, data):
        self.data, self.pos = data, 0

    def take(self, count):
        if count < 0 or self.pos + count > len(self.data):
            raise WireError(f"needs {count} bytes at {self.pos} of {len(self.data)}")
        self.pos += count
        return self.data[self.pos - count:self.pos]

    def number(self, layout):
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def buffer(self):
        length = self.number(">i")
        return None if length == -1 else self.take(length)

    def string(self):
        raw = self.buffer()
        return None if raw is None else raw.decode("utf-8", "surrogateescape")

    def vector(self, read_item):
        count = self.number(">i")
        if count == -1:
            return None
        return [read_item() for _ in range(count)]

    def done(self):
        if self.pos != len(self.data):
            raise WireError(f"{len(self.data) - self.pos} bytes left over")


def read_stat(cur):
    czxid, mzxid, ctime, mtime = struct.unpack(">qqqq", cur.take(32))
    version, cversion, aversion, owner = struct.unpack(">iiiq", cur.take(20))
    length, children, pzxid = struct.unpack(">iiq", cur.take(16))
    return {"czxid": Zxid(czxid), "mzxid": Zxid(mzxid), "ctime": Millis(ctime),
            "mtime": Millis(mtime), "version": version, "cversion": cversion,
            "aversion": aversion, "owner": Owner(owner), "dataLength": length,
            "numChildren": children, "pzxid": Zxid(pzxid)}


def read_unordered(cur, read_item):
    items = cur.vector(read_item)
    return None if items is None else Unordered(items)


def read_acl(cur):
    entries = cur.vector(lambda: (cur.number(">i"), cur.string(), cur.string()))
    return None if entries is None else AclList(entries)


def read_results(cur):
    """The entries of a multi or multiRead reply, up to and including the closing header."""
    results = []
    while True:
        op, done, err = cur.number(">i"), cur.number(">B"), cur.number(">i")
        if done:
            return results + [("end", op, err)]
        if op not in MULTI_RESULT_LAYOUT:
            raise WireError(f"multi result of unknown type {op}")
        results.append((op, err, read_fields(MULTI_RESULT_LAYOUT[op], cur)))


READERS = {
    "i": lambda cur: cur.number(">i"), "b": Cursor.buffer, "s": Cursor.string, "P": read_stat,
    "A": read_acl,
    "U": lambda cur: read_unordered(cur, cur.string),
    "C": lambda cur: read_unordered(cur, lambda: (cur.string(), cur.string())),
    "R": read_results,
}


def read_fields(layout, cur):
    return tuple(READERS[kind](cur) for kind in layout)


def read_connect_reply(frame):
    """(version, timeout ms, session id, password, read-only byte or None)"""
    cur = Cursor(frame)
    version, timeout_ms, session = cur.number(">i"), cur.number(">i"), cur.number(">q")
    password = cur.buffer()
    read_only = cur.number(">B") if cur.pos < len(frame) else None
    cur.done()
    return version, timeout_ms, session, password, read_only


def read_reply(frame, op_of_next):
    """Decodes one server frame: ("event", zxid, type, state, path) or ("reply", xid, zxid, err, body).

    `op_of_next` is the opcode that the oldest unanswered request had, or None.
    """
    cur = Cursor(frame)
    xid, zxid, err = cur.number(">i"), cur.number(">q"), cur.number(">i")
    if xid == -1:
        event = ("event", zxid, cur.number(">i"), cur.number(">i"), cur.string())
        cur.done()
        return event
    if op_of_next is None:
        raise WireError("a reply nobody asked for")
    if err != 0:
        body = frame[cur.pos:]  # normally empty; whatever it is, both sides have to agree
    else:
        body = read_fields(REPLY_LAYOUT.get(op_of_next, ""), cur)
        cur.done()
    return ("reply", xid, zxid, err, body)
