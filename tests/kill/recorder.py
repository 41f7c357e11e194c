"""What was acknowledged, and whether it is all there again.

Every writer owns a home node, so what lies below it is a function of the writer's own requests, in
their order. The recorder applies each acknowledged request to a plain model. After a crash the tree
below the home must equal the model plus the first k requests that weren't answered, for one k: nothing
acknowledged lost, nothing half, nothing out of order. Versions, sequence numbers, zxids and owners are
part of the comparison. The recorder shares no code with the server.
"""

import collections
import copy
import threading

SHARED = "/kill/shared"


class Lost(Exception):
    """What was found isn't what was acknowledged."""


class Node:
    """A node of the model; `czxid` and `mzxid` are None while no acknowledgement named them."""

    __slots__ = ("data", "version", "creates", "owner", "czxid", "mzxid")

    def __init__(self, data, owner, zxid):
        self.data, self.owner, self.czxid, self.mzxid = data, owner, zxid, zxid
        self.version, self.creates = 0, 0


# A request of a writer. `kind`: create, seq, set, delete, multi (parts in `data`), shared, drop.
Op = collections.namedtuple("Op", "kind path data owner")


def sequence_name(number):
    return f"{number:010d}"


class Model:
    """The nodes of one home."""

    def __init__(self, home):
        self.home, self.nodes = home, {}

    def apply(self, op, zxid=None):
        """Carries out a request that is valid by construction. Returns the path concerned."""
        if op.kind == "multi":
            for part in op.data:
                self.apply(part, zxid)
            return None
        if op.kind in ("shared", "drop"):
            return op.path
        path = op.path
        if op.kind == "seq":
            path += sequence_name(self.nodes[path.rsplit("/", 1)[0]].creates)
        if op.kind in ("create", "seq"):
            self.nodes[path] = Node(op.data, op.owner, zxid)
            parent = self.nodes.get(path.rsplit("/", 1)[0])
            if parent:
                parent.creates += 1
        elif op.kind == "set":
            node = self.nodes[path]
            node.data, node.version, node.mzxid = op.data, node.version + 1, zxid
        elif op.kind == "delete":
            del self.nodes[path]
        return path

    def difference(self, found):
        """None if `found` (path -> (data, stat)) is this model, else what differs first."""
        if self.nodes.keys() != found.keys():
            missing, extra = self.nodes.keys() - found.keys(), found.keys() - self.nodes.keys()
            return f"missing {sorted(missing)[:5]}, too many {sorted(extra)[:5]}"
        for path, node in self.nodes.items():
            data, stat = found[path]
            creates = (stat["cversion"] + stat["numChildren"]) // 2
            for name, want, got in (("data", node.data, data), ("version", node.version, stat["version"]),
                                    ("owner", node.owner, stat["owner"]), ("creations below", node.creates, creates),
                                    ("czxid", node.czxid, stat["czxid"]), ("mzxid", node.mzxid, stat["mzxid"])):
                if want != got and not (want is None and name.endswith("zxid")):
                    return f"{path}: {name} is {got!r:.80}, not {want!r:.80}"
        return None

    def learn(self, found):
        """Takes over the zxids of what was found."""
        for path, node in self.nodes.items():
            stat = found[path][1]
            node.czxid, node.mzxid = stat["czxid"], stat["mzxid"]


class Record:
    """The requests of one writer: `acked` is the model of what was acknowledged, `ahead` of everything sent."""

    def __init__(self, home):
        self.acked, self.ahead, self.outstanding = Model(home), Model(home), collections.deque()
        self.last_zxid, self.count = 0, 0

    def sent(self, op):
        self.outstanding.append(op)
        return self.ahead.apply(op)

    def acknowledged(self, reply):
        """Takes the reply to the oldest outstanding request. Returns (op, path)."""
        op = self.outstanding.popleft()
        if reply.err != 0:
            raise Lost(f"{op.kind} {op.path} was answered with {reply.err}, though it is valid")
        if reply.zxid <= self.last_zxid:
            raise Lost(f"zxid {reply.zxid:#x} after {self.last_zxid:#x}")
        self.last_zxid, self.count = reply.zxid, self.count + 1
        path = self.acked.apply(op, reply.zxid)
        if op.kind in ("create", "seq") and reply.body[0] != path:
            raise Lost(f"{op.kind} made {reply.body[0]}, not {path}")
        if op.kind == "set":
            self.check_stat(path, reply.body[0])
        if op.kind == "multi":
            self.check_results(op, reply.body[0])
        return op, reply.body[0] if op.kind == "shared" else path

    def check_stat(self, path, stat):
        node = self.acked.nodes[path]
        if (stat["version"], stat["mzxid"]) != (node.version, node.mzxid):
            raise Lost(f"{path} was set to version {stat['version']}, mzxid {stat['mzxid']:#x}; due {node.version}, {node.mzxid:#x}")

    def check_results(self, op, results):
        if len(results) != len(op.data) + 1 or any(result[1] != 0 for result in results[:-1]):
            raise Lost(f"a multi of {len(op.data)} operations was answered with {results!r:.200}")

    def settle(self, found, shared):
        """After a restart: finds how many unanswered requests took effect and goes on from there.

        `found`: path -> (data, stat) at and below the home; `shared`: data -> path of the shared parent's children.
        """
        model, first = copy.deepcopy(self.acked), None
        unanswered = list(self.outstanding)
        for k in range(len(unanswered) + 1):
            if k:
                model.apply(unanswered[k - 1])
            wrong = model.difference(found) or self.shared_difference(unanswered, k, shared)
            first = first or wrong
            if wrong is None:
                model.learn(found)
                self.acked, self.ahead = model, copy.deepcopy(model)
                self.outstanding.clear()
                return [op for op in unanswered[:k] if op.kind == "shared"], [op for op in unanswered[:k] if op.kind == "drop"]
        raise Lost(f"{self.acked.home}: no prefix of {len(unanswered)} unanswered requests explains the tree; without any: {first}")

    @staticmethod
    def shared_difference(unanswered, k, shared):
        for i, op in enumerate(unanswered):
            if op.kind not in ("shared", "drop"):
                continue
            there = op.data in shared
            if op.kind == "shared" and there != (i < k) or op.kind == "drop" and there != (i >= k):
                return f"{op.kind} {op.data!r} is {'there' if there else 'not there'} with the first {k} unanswered requests"
        return None


class Shared:
    """Sequential nodes of all writers below one parent: no number comes twice, what was acknowledged stays."""

    def __init__(self):
        self.lock = threading.Lock()
        self.names = {}       # path -> data, acknowledged and not (yet) acknowledged as deleted
        self.used = set()     # every path ever acknowledged or found
        self.highest = -1

    def made(self, path, data):
        with self.lock:
            if path in self.used:
                raise Lost(f"the sequence number of {path} was given twice")
            self.used.add(path)
            self.names[path] = data
            self.highest = max(self.highest, int(path[-10:]))

    def dropped(self, path):
        with self.lock:
            self.names.pop(path, None)

    def settle(self, found, dropping):
        """`found`: path -> data. `dropping`: paths whose deletion wasn't answered."""
        for path, data in self.names.items():
            if path not in found and path not in dropping:
                raise Lost(f"{path} was acknowledged and isn't there")
            if path in found and found[path] != data:
                raise Lost(f"{path} holds {found[path]!r}, not {data!r}")
        for path, data in found.items():
            if path not in self.names:
                self.made(path, data)  # unanswered, or else a deleted one came back: then its number was used
        for path in [p for p in self.names if p not in found]:
            self.dropped(path)
