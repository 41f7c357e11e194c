"""What the generator believes about the tree and the slots, learned from the first side's answers.

It serves to aim: to find a node that exists, that a slot may not read, that has children. It is not an
oracle; a wrong belief costs a missed target and nothing else.
"""

import wire
from servers import SUPER_PASSWORD, digest_id

CREATES = {wire.CREATE, wire.CREATE2, wire.CREATE_CONTAINER, wire.CREATE_TTL}
READ, WRITE, MAKE, REMOVE, ADMIN, ALL = 1, 2, 4, 8, 16, 31
OPEN = [(ALL, "world", "anyone")]
BUILT_IN = ("/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config")


def parent_of(path):
    return path.rsplit("/", 1)[0] or "/"


def join(parent, name):
    return f"/{name}" if parent == "/" else f"{parent}/{name}"


class Node:
    def __init__(self, acl, owner=None):
        self.acl, self.owner, self.version, self.aversion = acl, owner, 0, 0
        self.children = 0


class Slot:
    """One logical client: its session (ordinal) and the identities of its connection."""

    def __init__(self):
        self.session, self.connected, self.ids, self.super = None, False, [], False

    def disconnected(self):
        self.connected, self.ids, self.super = False, [], False

    def holds(self, scheme, ident):
        if (scheme, ident) == ("world", "anyone"):
            return True
        if scheme == "ip":
            return ident.startswith("127.")
        return (scheme, ident) in self.ids


class Shadow:
    def __init__(self, slots):
        self.nodes = {path: Node(OPEN) for path in BUILT_IN}
        self.nodes["/zookeeper/config"].acl = [(READ, "world", "anyone")]
        self.nodes["/"].children, self.nodes["/zookeeper"].children = 1, 2
        self.slots = [Slot() for _ in range(slots)]

    def allowed(self, slot, path, perms):
        if self.slots[slot].super or path not in self.nodes:
            return True
        return any(bits & perms and self.slots[slot].holds(scheme, ident)
                   for bits, scheme, ident in self.nodes[path].acl)

    def add(self, slot, path, fields, ephemeral):
        node = Node(self.expand(slot, fields[2]), self.slots[slot].session if ephemeral else None)
        self.nodes[path] = node
        if parent_of(path) in self.nodes:
            self.nodes[parent_of(path)].children += 1

    def remove(self, path):
        if self.nodes.pop(path, None) and parent_of(path) in self.nodes:
            self.nodes[parent_of(path)].children -= 1

    def expand(self, slot, acl):
        out = []
        for perms, scheme, ident in acl or []:
            ids = self.slots[slot].ids if scheme == "auth" else [(scheme, ident)]
            out += [(perms, *known) for known in ids]
        return out

    def session_ended(self, session):
        for path in [p for p, node in self.nodes.items() if node.owner == session and session is not None]:
            self.remove(path)

    def learn(self, slot, request, message):
        """Takes in the answer to one request."""
        if message[0] != "reply" or message[3] != 0 or isinstance(message[4], bytes):
            return
        if not request.intact():
            return
        if request.op == wire.MULTI:
            results = [entry for entry in message[4][0] if entry[0] != "end"]
            if any(entry[0] == wire.ERROR_TXN for entry in results):
                return
            for (op, fields), result in zip(request.fields[0], results):
                self.effect(slot, op, fields, result[2])
        else:
            self.effect(slot, request.op, request.fields, message[4])

    def effect(self, slot, op, fields, body):
        if op in CREATES:
            self.add(slot, body[0], fields, op in (wire.CREATE, wire.CREATE2) and fields[3] in (1, 3))
        elif op == wire.DELETE:
            self.remove(fields[0])
        elif op == wire.SET_DATA and fields[0] in self.nodes:
            self.nodes[fields[0]].version = body[0]["version"]
        elif op == wire.SET_ACL and fields[0] in self.nodes:
            self.nodes[fields[0]].aversion = body[0]["aversion"]
            self.nodes[fields[0]].acl = self.expand(slot, fields[1])
        elif op == wire.AUTH:
            self.authenticated(slot, fields)
        elif op == wire.CLOSE_SESSION:
            self.session_ended(self.slots[slot].session)
            self.slots[slot].session = None

    def authenticated(self, slot, fields):
        if fields[1] == "digest":
            token = fields[2].decode()
            self.slots[slot].ids.append(("digest", digest_id(token)))
            self.slots[slot].super = self.slots[slot].super or token == SUPER_PASSWORD
