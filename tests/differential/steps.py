"""What a run is made of: requests and steps, as plain values that print readably.

A step says what happens on which slot (a slot is one logical client). It holds no session id and no
zxid of a server; those are resolved by each side when the step is carried out.
"""

import dataclasses

import wire

WATCHING = {wire.SET_WATCHES, wire.SET_WATCHES2, wire.ADD_WATCH}
FLAGGED = {wire.EXISTS, wire.GET_DATA, wire.GET_CHILDREN, wire.GET_CHILDREN2}
FIXED_XID = {wire.PING: -2, wire.AUTH: -4, wire.SET_WATCHES: -8, wire.SET_WATCHES2: -8}
WHOLE = ("cut", 1 << 20)  # an edit that changes nothing


@dataclasses.dataclass
class Request:
    """One request. `damage` is a list of edits of the encoded body, see `damaged`."""

    op: int
    fields: tuple = ()
    damage: tuple = ()
    label: str = ""  # the cell that it aims at
    own_xid: bool = False  # numbered like any request, whatever the operation usually has

    @property
    def xid(self):
        return None if self.own_xid else FIXED_XID.get(self.op)

    def encode(self, side):
        layout = wire.REQUEST_LAYOUT.get(self.op, "b" * len(self.fields))
        fields = tuple(side.resolve(value) for value in self.fields)
        return damaged(wire.pack_fields(layout, fields), self.damage)

    def may_watch(self):
        if self.damage:
            return True
        return self.op in WATCHING or (self.op in FLAGGED and bool(self.fields[1]))

    def intact(self):
        """Whether the fields arrive as they are: edits leave them alone, or there are none."""
        return all(edit[0] == "append" or edit == WHOLE for edit in self.damage)

    def name(self):
        return wire.OP_NAMES.get(self.op, "unknown")

    def __str__(self):
        text = f"{self.name()}({', '.join(shown(field) for field in self.fields)})"
        if self.op not in wire.OP_NAMES:
            text = f"opcode {self.op} {text}"
        return text + (f" damaged {self.damage}" if self.damage else "")


def unwatched(request):
    """The request without what registers a watch: the flag lowered, or a ping in its place."""
    if request.op in FLAGGED and request.intact():
        return dataclasses.replace(request, fields=(request.fields[0], False))
    return Request(wire.PING) if request.op in WATCHING else request


def shown(value):
    """`repr` with long byte strings cut short: b'zzz'... shows first bytes and length."""
    if isinstance(value, bytes) and len(value) > 40:
        return f"{value[:8]!r}...({len(value)} bytes)"
    if isinstance(value, (list, tuple)):
        inner = ", ".join(shown(part) for part in value)
        return f"[{inner}]" if isinstance(value, list) else f"({inner})"
    return repr(value)


def damaged(body, edits):
    """Applies edits: ("cut", n) keeps n bytes, ("append", bytes), ("put", offset, bytes)."""
    body = bytearray(body)
    for edit in edits:
        if edit[0] == "cut":
            del body[edit[1]:]
        elif edit[0] == "append":
            body += edit[1]
        else:
            _, offset, data = edit
            if offset + len(data) <= len(body):
                body[offset:offset + len(data)] = data
    return bytes(body)


@dataclasses.dataclass
class Send:
    """Requests on one slot, sent with one call; each is answered, in order.

    With `split` the bytes go out in pieces of that many bytes instead.
    """

    slot: int
    requests: list
    split: int = 0

    def __str__(self):
        pieces = f" in pieces of {self.split}" if self.split else ""
        return f"slot {self.slot}{pieces}: " + "; ".join(str(request) for request in self.requests)


@dataclasses.dataclass
class Connect:
    """A handshake for a slot: a new session, or (`session` = ordinal) a resumed one.

    `password` None means the right one. With `moves` the slot's former connection is still open and
    has to be closed by the server.
    """

    slot: int
    session: object = None
    password: object = None
    timeout_ms: int = 30000
    last_zxid: object = 0
    read_only: object = False
    unknown_session: bool = False
    moves: bool = False
    version: int = 0
    pipelined: list = dataclasses.field(default_factory=list)  # requests sent with the handshake

    @property
    def label(self):
        if self.moves:
            return "connect move"
        if self.session is None:
            return "connect new"
        if self.unknown_session:
            return "connect unknown"
        if self.last_zxid == 1 << 60:
            return "connect ahead"
        return "connect resume" if self.password is None else "connect wrong password"

    def __str__(self):
        rest = {key: value for key, value in self.__dict__.items() if key not in ("slot", "pipelined")}
        return f"slot {self.slot}: connect {rest}" + "".join(f"; {r}" for r in self.pipelined)


@dataclasses.dataclass
class Raw:
    """Bytes that are no frame the server can accept; the connection has to end."""

    slot: int
    data: bytes

    def __str__(self):
        return f"slot {self.slot}: raw bytes {self.data[:64].hex()} ({len(self.data)})"


@dataclasses.dataclass
class Walk:
    """Reads the whole tree through one slot: data, ACL and children of every node."""

    slot: int

    def __str__(self):
        return f"slot {self.slot}: reads the whole tree"


@dataclasses.dataclass
class Drop:
    """The slot's connection ends without a closeSession; its session lives on."""

    slot: int

    def __str__(self):
        return f"slot {self.slot}: connection dropped"


@dataclasses.dataclass
class Expire:
    """The slot's connection is dropped, and the session left to expire: `probe` of the observer's
    slot is repeated until it answers NONODE."""

    slot: int
    observer: int
    probe: str
    label: str = "expire"

    def __str__(self):
        return f"slot {self.slot}: left to expire, slot {self.observer} watches {self.probe}"


class ZeroMarks:
    """Resolves every placeholder to 0, to learn the length of a body."""

    @staticmethod
    def resolve(value):
        return 0 if isinstance(value, wire.ZxidMark) else value
