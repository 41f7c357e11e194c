"""Decides whether two sides gave the same answer.

Values are compared field by field. Four kinds of value have a rule of their own: zxids are compared by
order (a bijection that keeps order, both ways), session ids by ordinal, times by plausibility, and
lists without a defined order as multisets. Everything else has to be equal to the bit.
"""

import bisect
import time

from wire import AclList, Millis, Owner, Unordered, Zxid

SLACK_MS = 60_000


class ZxidOrder:
    """An order-preserving one-to-one map between the transactions of two sides.

    Beside the transactions it keeps every moment that a reply header named: moments may coincide on the
    side that numbers without gaps, but neither they nor transactions seen later may cross.
    """

    def __init__(self, exact):
        self.exact = exact  # both sides number alike: the values themselves are equal
        self.a, self.b = [0], [0]
        self.moments_a, self.moments_b = [], []

    def transaction(self, za, zb):
        """None if `za` and `zb` can be the same transaction, else the reason why not."""
        if self.exact and za != zb:
            return f"zxid {za:#x} against {zb:#x}"
        at_a, at_b = bisect.bisect_left(self.a, za), bisect.bisect_left(self.b, zb)
        known_a = at_a < len(self.a) and self.a[at_a] == za
        known_b = at_b < len(self.b) and self.b[at_b] == zb
        if at_a != at_b or known_a != known_b:
            return (f"zxid {za:#x} is transaction {at_a}{'' if known_a else ' (new)'}, "
                    f"{zb:#x} is transaction {at_b}{'' if known_b else ' (new)'}")
        if not known_a:
            self.a.insert(at_a, za)
            self.b.insert(at_b, zb)
            before_a = bisect.bisect_left(self.moments_a, za)
            before_b = bisect.bisect_left(self.moments_b, zb)
            if before_a != before_b:
                return (f"zxid {za:#x} is later than {before_a} reply headers, "
                        f"{zb:#x} than {before_b}")
        return None

    def moment(self, za, zb):
        """As `transaction`, for the header of a reply: the last zxid a server has processed."""
        if self.exact and za != zb:
            return f"header zxid {za:#x} against {zb:#x}"
        if za <= 0 or zb <= 0:
            return None if za == zb else f"header zxid {za} against {zb}"
        at_a, at_b = bisect.bisect_right(self.a, za), bisect.bisect_right(self.b, zb)
        if at_a != at_b:
            return f"header zxid {za:#x} follows transaction {at_a}, {zb:#x} follows {at_b}"
        low, high = bisect.bisect_left(self.moments_a, za), bisect.bisect_right(self.moments_a, za)
        if (low and self.moments_b[low - 1] > zb) or (
                high < len(self.moments_b) and self.moments_b[high] < zb):
            return f"header zxid {za:#x} against {zb:#x}: their order crosses earlier ones"
        at = bisect.bisect_right(self.moments_b, zb, low, high)
        if at == low or self.moments_b[at - 1] != zb:
            self.moments_a.insert(at, za)
            self.moments_b.insert(at, zb)
        return None


class Comparison:
    """The state of a comparison over a whole run: the zxid map and both sides' session names."""

    def __init__(self, side_a, side_b, exact_zxids):
        self.side_a, self.side_b = side_a, side_b
        self.order = ZxidOrder(exact_zxids)
        self.begun_ms = time.time() * 1000

    def logs(self, a, b, unordered_events=False):
        """Compares what one connection received on each side.

        Returns None, or the first difference: (index of the message, reason).
        """
        if unordered_events:
            a, b = (sort_event_runs(log) for log in (a, b))
        for index, (left, right) in enumerate(zip(a, b)):
            reason = self.message(left, right)
            if reason:
                return index, reason
        if len(a) != len(b):
            longer = (a if len(a) > len(b) else b)[min(len(a), len(b))]
            return min(len(a), len(b)), f"{len(a)} messages against {len(b)}: {longer[0]} missing"
        return None

    def message(self, a, b):
        if a[0] != b[0] or len(a) != len(b):
            return f"{a[0]} against {b[0]}"
        if a[0] == "event":
            return self.event(a, b)
        if a[0] == "reply":
            if a[1] != b[1]:
                return f"xid {a[1]} against {b[1]}"
            return (self.value(a[3], b[3], "error code") or self.value(a[4], b[4], "body")
                    or self.order.moment(a[2], b[2]))
        return self.value(a[1:], b[1:], a[0])

    def event(self, a, b):
        for name, left, right in zip(("type", "state", "path"), a[2:], b[2:]):
            if left != right:
                return f"event {name} {left!r} against {right!r}"
        if a[1] == -1 or b[1] == -1:
            return None if a[1] == b[1] else f"event zxid {a[1]} against {b[1]}"
        return self.order.transaction(a[1], b[1])

    def value(self, a, b, where):
        if type(a) is not type(b):
            return f"{where}: {a!r} against {b!r}"
        if isinstance(a, Zxid):
            reason = self.order.transaction(a, b)
            return f"{where}: {reason}" if reason else None
        if isinstance(a, Owner):
            a, b = self.owner(self.side_a, a), self.owner(self.side_b, b)
        elif isinstance(a, Millis):
            return self.time(a, b, where)
        elif isinstance(a, AclList):
            a, b = a.ordered(), b.ordered()
        elif isinstance(a, Unordered):
            a, b = sorted(a, key=repr), sorted(b, key=repr)
        elif isinstance(a, dict):
            if a.keys() != b.keys():
                return f"{where}: fields {list(a)} against {list(b)}"
            return first(self.value(a[key], b[key], f"{where}.{key}") for key in a)
        elif isinstance(a, (list, tuple)):
            if len(a) != len(b):
                return f"{where}: {a!r} against {b!r}"
            return first(self.value(x, y, f"{where}[{i}]") for i, (x, y) in enumerate(zip(a, b)))
        return None if a == b else f"{where}: {a!r} against {b!r}"

    @staticmethod
    def owner(side, value):
        return f"session {side.ordinals[value]}" if value in side.ordinals else hex(value)

    def time(self, a, b, where):
        if (a == 0) != (b == 0):
            return f"{where}: time {a} against {b}"
        now = time.time() * 1000
        for value in (a, b):
            if value and not self.begun_ms - SLACK_MS <= value <= now + SLACK_MS:
                return f"{where}: time {a} against {b}, not about now"
        return None


def first(reasons):
    return next((reason for reason in reasons if reason), None)


def sort_event_runs(log):
    """Sorts each run of events of one transaction; for closed sessions, whose ephemerals go in no
    stated order."""
    out, run = [], []
    for message in list(log) + [None]:
        if message and message[0] == "event" and (not run or run[-1][1] == message[1]):
            run.append(message)
            continue
        out += sorted(run, key=repr)
        run = [message] if message and message[0] == "event" else []
        if message and message[0] != "event":
            out.append(message)
    return out
