"""Shows that the comparison can fail: it has to notice one changed answer of each kind.

One run between two reference servers is recorded. Then the recording is compared again, by the rules
that hold against Ringkeeper, with one message of the second side changed; each change has to be found at
that very message. Two more replays have to stay equal: the untouched one, and one whose second side
is renumbered without the zxids of failed writes.
"""

import bisect

import wire
from compare import Comparison
from generate import Generator
from harness import Harness, Mismatch
from cells import Table
from wire import AclList, Owner, Unordered, Zxid

OPERATIONS = 2500
PLACES = 5  # each kind of change is tried at this many places of the recording


def reply(body_part):
    """A change of a successful reply's body; `body_part` returns the new body or None."""
    def change(message):
        if message[0] == "reply" and message[3] == 0 and isinstance(message[4], tuple):
            body = body_part(message[4])
            return None if body is None else (*message[:4], body)
        return None
    return change


def stat_field(name, alter, wanted=lambda stat: True):
    """A change of one field of the first stat in a body."""
    def body_part(body):
        for index, part in enumerate(body):
            if isinstance(part, dict) and wanted(part):
                changed = dict(part, **{name: type(part[name])(alter(part[name]))})
                return (*body[:index], changed, *body[index + 1:])
        return None
    return reply(body_part)


def part_of(kind, alter):
    """A change of the first part of a body that is of `kind` and that `alter` doesn't decline."""
    def body_part(body):
        for index, part in enumerate(body):
            if type(part) is kind:
                changed = alter(part)
                if changed is not None:
                    return (*body[:index], changed, *body[index + 1:])
        return None
    return reply(body_part)


def of_type(kind, alter):
    return lambda message: alter(message) if message[0] == kind else None


def replaced(index, value):
    """A change of one field of a message; `value` is the new one or computes it from the old."""
    def alter(message):
        new = value(message[index]) if callable(value) else value
        return None if new == message[index] else (*message[:index], new, *message[index + 1:])
    return alter


def acl_changed(items, alter):
    changed = alter(list(items)) if items else None
    return None if changed is None else AclList(changed)


def result_changed(items):
    """Another error code in the first entry of a multi's results that has one."""
    for index, entry in enumerate(items):
        if isinstance(entry, tuple) and entry[0] == -1 and len(entry) == 3 and entry[2]:
            changed = (-1, entry[1] - 1, (entry[2][0] - 1,))
            return items[:index] + [changed] + items[index + 1:]
    return None


CHANGES = {
    "error code": of_type("reply", lambda m: replaced(3, -101)(m) if m[3] not in (0, -101) else None),
    "error instead of success": lambda m: (*m[:3], -101, b"") if m[0] == "reply" and m[3] == 0 else None,
    "xid": of_type("reply", replaced(1, lambda xid: xid + 1)),
    "reply zxid far ahead": of_type("reply", replaced(2, lambda z: z + 100000 if z > 0 else z)),
    "reply zxid behind": of_type("reply", replaced(2, lambda z: z // 2 if z > 4 else z)),
    "reply zxid zero": of_type("reply", replaced(2, 0)),
    "created path": part_of(str, lambda path: path + "x"),
    "data": part_of(bytes, lambda data: data + b"x"),
    "null for empty data": part_of(bytes, lambda data: False if data == b"" else None),
    "child missing": part_of(Unordered, lambda items: Unordered(items[1:]) if items else None),
    "child twice": part_of(Unordered, lambda items: Unordered(items + items[:1]) if items else None),
    "child renamed": part_of(Unordered, lambda items: Unordered(["x"] + items[1:]) if items else None),
    "ACL permissions": part_of(AclList, lambda items: acl_changed(items, lambda i: [(i[0][0] ^ 1, *i[0][1:])] + i[1:])),
    "ACL id": part_of(AclList, lambda items: acl_changed(items, lambda i: [(*i[0][:2], "x")] + i[1:])),
    "ACL order": part_of(AclList, lambda items: acl_changed(
        items, lambda i: i[::-1] if AclList(i).ordered() != AclList(i[::-1]).ordered() else None)),
    "multi result": part_of(list, result_changed),
    "number": part_of(int, lambda number: number + 1),
    "version": stat_field("version", lambda v: v + 1),
    "cversion": stat_field("cversion", lambda v: v + 1),
    "aversion": stat_field("aversion", lambda v: v + 1),
    "dataLength": stat_field("dataLength", lambda v: v + 1),
    "numChildren": stat_field("numChildren", lambda v: v + 1),
    "owner lost": stat_field("owner", lambda v: 0, lambda stat: stat["owner"] != 0),
    "owner of another": stat_field("owner", lambda v: v + 1, lambda stat: stat["owner"] != 0),
    "czxid": stat_field("czxid", lambda v: v - 1, lambda stat: stat["czxid"] > 20),
    "mzxid": stat_field("mzxid", lambda v: v + 1, lambda stat: stat["mzxid"] > 20),
    "pzxid": stat_field("pzxid", lambda v: v - 1, lambda stat: stat["pzxid"] > 20),
    "mtime zero": stat_field("mtime", lambda v: 0, lambda stat: stat["mtime"] != 0),
    "ctime in seconds": stat_field("ctime", lambda v: v // 1000, lambda stat: stat["ctime"] != 0),
    "event type": of_type("event", replaced(2, lambda kind: kind % 4 + 1)),
    "event state": of_type("event", replaced(3, 5)),
    "event path": of_type("event", replaced(4, lambda path: path + "x")),
    "event zxid": of_type("event", replaced(1, lambda zxid: zxid + 1)),
    "event zxid missing": of_type("event", replaced(1, -1)),
    "frame that doesn't decode": lambda m: ("undecodable", "changed", "00"),
    "end of the connection": of_type("closed", lambda m: ("timeout", "changed")),
}


def same_place(change):
    """A change of one message as a change of a log: yields the log with one message changed."""
    def changed(log):
        for index, message in enumerate(log):
            new = change(message)
            if new is not None:
                return log[:index] + [new] + log[index + 1:]
        return None
    return changed


def swapped(log):
    """A reply before the event that has to precede it."""
    for index in range(len(log) - 1):
        if log[index][0] == "event" and log[index + 1][0] == "reply":
            return log[:index] + [log[index + 1], log[index]] + log[index + 2:]
    return None


def events_swapped(log):
    for index in range(len(log) - 1):
        if log[index][0] == log[index + 1][0] == "event" and log[index] != log[index + 1]:
            return log[:index] + [log[index + 1], log[index]] + log[index + 2:]
    return None


def event_index(log):
    return next((i for i, message in enumerate(log) if message[0] == "event"), None)


LOG_CHANGES = {
    "event after the reply": swapped,
    "order of events": events_swapped,
    "event lost": lambda log: None if event_index(log) is None else log[:event_index(log)] + log[event_index(log) + 1:],
    "event twice": lambda log: None if event_index(log) is None else [log[event_index(log)]] + log,
    "event out of nowhere": lambda log: log + [("event", -1, 3, 3, "/a")],
    "reply missing": lambda log: log[:-1] if log and log[-1][0] == "reply" else None,
}
HANDSHAKE_CHANGES = {
    "handshake refused": lambda a: ("refused", 0, 0, bytes(16), 0, True) if a[0] == "session" else None,
    "handshake timeout": lambda a: (*a[:2], a[2] + 1, *a[3:]) if a[0] == "session" else None,
    "handshake session": lambda a: (*a[:3], a[3] + 1, *a[4:]) if a[0] == "session" else None,
    "handshake password": lambda a: (*a[:6], not a[6], *a[7:]) if a[0] == "session" else None,
    "handshake read-only byte": lambda a: (*a[:-1], None) if a[0] == "session" and a[-1] is not None else None,
    "refusal left open": lambda a: (*a[:-1], False) if a[0] == "refused" else None,
}


def record(running, seed):
    """Runs two reference servers against each other. Returns the harness and what was compared."""
    generator = Generator(seed)
    harness = Harness(*running, generator, Table())
    harness.record = []
    while harness.operations < OPERATIONS:
        harness.run_step(generator.next_step())
    return harness, harness.record


def replay(sides, entries, at=None, changed=None):
    """Compares a recording again. Returns None, or the index of the first difference."""
    comparison = Comparison(*sides, exact_zxids=False)
    comparison.begun_ms -= 3_600_000
    for index, entry in enumerate(entries):
        a, b = entry[1], changed if index == at else entry[2]
        if entry[0] == "handshake":
            reason = comparison.value(a, b, "handshake")
        else:
            reason = comparison.logs(a, b, entry[3])
        if reason is not None:
            return index
    return None


def places(entries, kind, change):
    """Up to PLACES indexes of the recording where a change applies, spread over it, with the result."""
    found = []
    for index, entry in enumerate(entries):
        if entry[0] == kind and not (kind == "logs" and entry[3]):
            changed = change(entry[2])
            if changed is not None:
                found.append((index, changed))
    return found[::max(1, len(found) // PLACES)][:PLACES]


def renumbered(entries):
    """The recording with the second side's zxids numbered by successful transactions only."""
    known = set()
    visit([entry[2] for entry in entries], lambda zxid: known.add(zxid) or zxid)
    order = sorted(known | {0})

    def rank(zxid):
        return order.index(zxid) if zxid in known else zxid

    def moment(zxid):
        return zxid if zxid <= 0 else bisect.bisect_right(order, zxid) - 1
    return [(entry[0], entry[1], visit(entry[2], rank, moment), *entry[3:]) for entry in entries]


def visit(value, stamp, moment=lambda zxid: zxid):
    """Maps the zxids in a message tree: of stats and events by `stamp`, of reply headers by `moment`."""
    if isinstance(value, Zxid):
        return Zxid(stamp(value))
    if isinstance(value, dict):
        return {key: visit(part, stamp, moment) for key, part in value.items()}
    if isinstance(value, tuple) and value[:1] == ("event",):
        return ("event", value[1] if value[1] == -1 else stamp(value[1]), *value[2:])
    if isinstance(value, tuple) and value[:1] == ("reply",):
        return (*value[:2], moment(value[2]), value[3], visit(value[4], stamp, moment))
    if isinstance(value, (list, tuple)):
        return type(value)(visit(part, stamp, moment) for part in value)
    return value


def run(running, seed):
    """Returns 0 if every change was noticed and both equal replays were equal, else 1."""
    try:
        harness, entries = record(running, seed)
    except Mismatch as mismatch:
        print(f"the two reference servers differ: {mismatch.reason}\n{mismatch.step}")
        return 1
    failures = []
    if replay(harness.sides, entries) is not None:
        failures.append("the untouched recording isn't equal")
    gapless = replay(harness.sides, renumbered(entries))
    if gapless is not None:
        failures.append(f"numbering without gaps isn't accepted: {entries[gapless]}")
    changes = [(name, "logs", same_place(change)) for name, change in CHANGES.items()]
    changes += [(name, "logs", change) for name, change in LOG_CHANGES.items()]
    changes += [(name, "handshake", change) for name, change in HANDSHAKE_CHANGES.items()]
    for name, kind, change in changes:
        tried = places(entries, kind, change)
        found = [replay(harness.sides, entries, at, changed) for at, changed in tried]
        # A wrong zxid may show only when the same transaction is seen again.
        noticed = [f is not None and (f >= at) for f, (at, _) in zip(found, tried)]
        print(f"  {name:28} noticed {sum(noticed)} of {len(tried)}")
        if not tried or not all(noticed):
            failures.append(f"{name}: noticed {sum(noticed)} of {len(tried)}")
    for failure in failures:
        print(f"SELF-TEST FAILED: {failure}")
    print(f"self-test: {len(changes)} kinds of change, {len(failures)} failures")
    return 1 if failures else 0
