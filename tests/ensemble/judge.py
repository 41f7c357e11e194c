"""Judges a history against the trees of all servers at its end.

Pure: values in, findings out, so forged histories test it (`forged.py`). A finding is (kind, text);
every kind stands for one promise:

  lost                what was acknowledged is there, on every server, as it was acknowledged
  duplicate-zxid      no zxid names two changes
  duplicate-sequence  no sequence number is handed out twice
  order               a change invoked after another was answered has the higher zxid
  session-order       within a session answers go forward and own writes are visible
  split               one version of a node has one value, whoever read it
  stale-sync          a read after a `sync` shows all that was acknowledged before the `sync`
  diverged            all servers hold the same nodes with the same stats
  twice               no request is carried out twice
  torn                a multi is there as a whole or not at all
  orphan              an ephemeral node belongs to a live session
  ephemeral-missing   a live session's ephemeral nodes are there
  expired-early       a session in touch with a server within its timeout isn't expired
  error               a request that is valid is not refused
"""

import collections

from history import SHARED, WRITES

SHOWN_MAX = 3


def judge(history, trees, refusals=()):
    """Findings about `history` and `trees`: {server: {path: (data, stat)}}. `refusals`: error codes that are no finding."""
    found = []
    acked = [op for op in history.ops if op.acked and op.kind in WRITES]
    found += errors(history, refusals)
    found += zxids(acked)
    found += sequence_numbers(acked)
    found += real_time(acked)
    found += session_order(history)
    found += own_writes(history)
    found += versions(history, trees)
    found += sync_reads(history)
    found += expiries(history)
    found += divergence(trees)
    for server, tree in trees.items():
        where = f"server {server}: "
        found += [(kind, where + text) for kind, text in losses(history, tree) + ephemerals(history, tree) + pairs(history, tree) + repeats(tree)]
    return found


def summary(found):
    """The findings by kind, each with how often it was found and its first examples."""
    kinds = collections.defaultdict(list)
    for kind, text in found:
        kinds[kind].append(text)
    return {kind: f"{kind} × {len(texts)}: {'; '.join(texts[:SHOWN_MAX])}" for kind, texts in kinds.items()}


def errors(history, refusals):
    out = [("error", text) for text in history.trouble]
    for op in history.ops:
        if op.err and op.err not in refusals:
            out.append(("error", f"{op.kind} {op.path} at server {op.server} was answered with {op.err}"))
    return out


def zxids(acked):
    out, owners = [], {}
    for op in acked:
        other = owners.setdefault(op.zxid, op)
        if other is not op:
            out.append(("duplicate-zxid", f"{op.zxid:#x} for {other.kind} {other.path} and {op.kind} {op.path}"))
    return out


def sequence_numbers(acked):
    out, owners = [], {}
    for op in acked:
        if op.kind == "seq":
            other = owners.setdefault(op.made, op)
            if other is not op:
                out.append(("duplicate-sequence", f"{op.made} for {other.value!r} and {op.value!r}"))
    return out


def real_time(acked):
    """O(n log n): the highest zxid answered so far goes along with the invocations."""
    out, highest, done, next_done = [], None, sorted(acked, key=lambda op: op.answered), 0
    for op in sorted(acked, key=lambda op: op.invoked):
        while next_done < len(done) and done[next_done].answered < op.invoked:
            if highest is None or done[next_done].zxid > highest.zxid:
                highest = done[next_done]
            next_done += 1
        if highest is not None and op.zxid < highest.zxid:
            out.append(("order", f"{op.kind} {op.path} got {op.zxid:#x} after {highest.zxid:#x} was answered"))
    return out


def by_session(history):
    sessions = collections.defaultdict(list)
    for op in history.ops:
        if op.err is not None:
            sessions[op.session].append(op)
    for ops in sessions.values():
        ops.sort(key=lambda op: op.number)
    return sessions


def session_order(history):
    out = []
    for session, ops in by_session(history).items():
        seen, written, numbers = 0, 0, {}
        for op in ops:
            if op.zxid < seen or op.kind in WRITES and op.acked and op.zxid <= written:
                out.append(("session-order", f"session {session:#x}: {op.kind} {op.path} was answered at {op.zxid:#x} after {max(seen, written):#x}"))
            seen = max(seen, op.zxid)
            if op.kind in WRITES and op.acked:
                written = max(written, op.zxid)
            if op.kind == "seq" and op.acked:
                if op.made <= numbers.get(op.path, ""):
                    out.append(("session-order", f"session {session:#x}: {op.made} after {numbers[op.path]}"))
                numbers[op.path] = op.made
    return out


def own_writes(history):
    """What a session wrote or read of a register, it sees at least in that version afterwards."""
    out = []
    for session, ops in by_session(history).items():
        seen = {}
        for op in ops:
            if op.acked and op.version is not None and op.kind in ("set", "read", "sync-read"):
                if op.version < seen.get(op.path, -1):
                    out.append(("session-order", f"session {session:#x}: {op.kind} {op.path} shows version {op.version} after {seen[op.path]}"))
                seen[op.path] = max(op.version, seen.get(op.path, -1))
    return out


def versions(history, trees):
    out, known = [], {}
    for op in history.ops:
        if op.acked and op.version is not None and op.kind in ("set", "read", "sync-read"):
            old = known.setdefault((op.path, op.version), op.value)
            if old != op.value:
                out.append(("split", f"{op.path} version {op.version} is {old!r} and {op.value!r}"))
    for server, tree in trees.items():
        for path, (data, stat) in tree.items():
            old = known.get((path, stat["version"]), data)
            if old != data:
                out.append(("split", f"{path} version {stat['version']} is {data!r} at server {server}, but {old!r} to a client"))
    return out


def sync_reads(history):
    out, sets = [], collections.defaultdict(list)
    for op in history.ops:
        if op.kind == "set" and op.acked:
            sets[op.path].append(op)
    for op in history.ops:
        if op.kind == "sync-read" and op.acked:
            due = max((s.version for s in sets[op.path] if s.answered < op.invoked), default=-1)
            if op.version < due:
                out.append(("stale-sync", f"{op.path} at server {op.server}: version {op.version}, but {due} was acknowledged before the sync"))
    return out


def expiries(history):
    out = []
    for session in history.sessions.values():
        if session.state == "lost":
            silent = session.lost_at - session.contact
            if silent * 1000 < session.timeout_ms:
                out.append(("expired-early", f"session {session.id:#x} is gone {silent:.1f} s after its last answer, timeout {session.timeout_ms} ms"))
    return out


def divergence(trees):
    out, servers = [], sorted(trees)
    for other in servers[1:]:
        first, second = trees[servers[0]], trees[other]
        if first == second:
            continue
        missing, extra = sorted(first.keys() - second.keys()), sorted(second.keys() - first.keys())
        if missing or extra:
            out.append(("diverged", f"server {other} lacks {len(missing)} nodes of server {servers[0]} {missing[:3]} and has {len(extra)} more {extra[:3]}"))
        for path in sorted(first.keys() & second.keys()):
            if first[path] != second[path]:
                out.append(("diverged", f"{path} is {first[path]} at server {servers[0]}, {second[path]} at server {other}"))
    return out


def losses(history, tree):
    out, deleting = [], {op.path for op in history.ops if op.kind == "delete"}
    last_set, live = {}, {s.id for s in history.sessions.values() if s.state == "live"}
    for op in history.ops:
        if not op.acked:
            continue
        if op.kind in ("create", "seq") or op.kind == "ephemeral" and op.session in live:
            out += creation(op, tree, deleting)
        elif op.kind == "delete" and op.path in tree:
            out.append(("lost", f"the deletion of {op.path} at {op.zxid:#x}"))
        elif op.kind == "set" and op.number > getattr(last_set.get(op.path), "number", -1):
            last_set[op.path] = op
    for path, op in last_set.items():
        out += register(history, path, op, tree)
    return out


def creation(op, tree, deleting):
    if op.made in deleting:
        return []
    if op.made not in tree:
        return [("ephemeral-missing" if op.kind == "ephemeral" else "lost", f"{op.made}, acknowledged at {op.zxid:#x}")]
    data, stat = tree[op.made]
    if data != op.value or stat["czxid"] != op.zxid:
        return [("lost", f"{op.made} is {data!r} of {stat['czxid']:#x}, acknowledged was {op.value!r} at {op.zxid:#x}")]
    return []


def register(history, path, last, tree):
    """The value is the last acknowledged one, or one that was sent later."""
    if path not in tree:
        return [("lost", f"{path}, which was set at {last.zxid:#x}")]
    data, stat = tree[path]
    if data == last.value and stat["mzxid"] == last.zxid and stat["version"] == last.version:
        return []
    later = [op.value for op in history.ops if op.kind == "set" and op.path == path and op.number > last.number and not op.acked]
    if data in later and stat["version"] > last.version and stat["mzxid"] > last.zxid:
        return []
    return [("lost", f"{path} is {data!r}, version {stat['version']}, of {stat['mzxid']:#x}; acknowledged was {last.value!r}, version {last.version}, of {last.zxid:#x}")]


def ephemerals(history, tree):
    out, states = [], {s.id: s.state for s in history.sessions.values()}
    for path, (_, stat) in tree.items():
        state = states.get(stat["owner"]) if stat["owner"] else "live"
        if state in (None, "closed", "dropped", "lost"):
            out.append(("orphan", f"{path} belongs to session {stat['owner']:#x}, which is {state or 'unknown'}"))
    return out


def pairs(history, tree):
    out = []
    for path in {op.path for op in history.ops if op.kind == "pair"}:
        left, right = tree.get(path + "/l"), tree.get(path + "/r")
        if left and right and left[0] != right[0]:
            out.append(("torn", f"{path}: {left[0]!r} and {right[0]!r} come from one multi"))
    return out


def repeats(tree):
    """Each request for a sequence node has a value of its own."""
    out, known = [], {}
    for path, (data, _) in tree.items():
        if path.startswith(SHARED + "/"):
            other = known.setdefault(data, path)
            if other != path:
                out.append(("twice", f"{other} and {path} both come from the request {data!r}"))
    return out
