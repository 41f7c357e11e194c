"""What clients asked and what they were answered: the record that the judge works on.

Every request is valid by construction and its value unique, so each answer can be judged alone. Times
are seconds of one monotonic clock. A request without an answer may have taken effect or not.
"""

import dataclasses
import threading

WRITES = frozenset(("create", "seq", "ephemeral", "set", "delete", "pair"))
TOP, SHARED, EPHEMERALS = "/e", "/e/seq", "/e/eph"


@dataclasses.dataclass(slots=True)
class Op:
    """One request. `version`, `value` and `mzxid` of a read are what it was answered with."""

    actor: int
    session: int
    number: int          # order in which the actor sent its requests
    kind: str            # WRITES, "read", "sync-read", "sync"
    path: str
    value: bytes
    server: int
    invoked: float
    answered: float = None
    err: int = None
    zxid: int = None
    made: str = None     # the path that a creation was answered with
    version: int = None
    mzxid: int = None

    @property
    def acked(self):
        return self.err == 0


@dataclasses.dataclass(slots=True)
class SessionRecord:
    """A client's session. `state`: live, closing (asked to be closed), closed (acknowledged), dropped (left alone), lost (the servers said so)."""

    id: int
    actor: int
    timeout_ms: int
    contact: float       # when the last answered message was sent
    state: str = "live"
    lost_at: float = None


class History:
    def __init__(self):
        self.lock = threading.Lock()
        self.ops, self.sessions, self.trouble = [], {}, []

    def sent(self, op):
        self.ops.append(op)
        return op

    def opened(self, client, actor, now):
        with self.lock:
            self.sessions[client.id] = SessionRecord(client.id, actor, client.timeout_ms, now)

    def lost(self, session, now):
        record = self.sessions[session]
        record.state, record.lost_at = "lost", now

    def first_write(self, since, servers=None, start=0):
        """The earliest answer to a write invoked after `since` (at one of `servers`), or None. `start`: how many requests needn't be looked at."""
        answers = [op.answered for op in self.ops[start:] if op.kind in WRITES and op.acked and op.invoked >= since
                   and (servers is None or op.server in servers)]
        return min(answers, default=None)

    def latencies(self, begin, end, servers):
        """Seconds each acknowledged write took that was invoked in this time at these servers, ascending."""
        return sorted(op.answered - op.invoked for op in list(self.ops) if op.kind in WRITES and op.acked
                      and begin <= op.invoked < end and op.server in servers)

    def unanswered(self, begin, end, servers):
        return [op for op in list(self.ops) if op.kind in WRITES and op.err is None and begin <= op.invoked < end and op.server in servers]


def percentile(values, part):
    return values[min(len(values) - 1, int(len(values) * part))] if values else None
