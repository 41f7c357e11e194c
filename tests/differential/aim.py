"""Builds one operation that should get a wanted error, from what the shadow believes.

`Aim.fields(op, err)` gives the fields of a request or of a part of a multi, or None if the tree as it
is offers no such target. All choices come from the run's seeded generator.
"""

import wire
from servers import digest_id
from shadow import ADMIN, ALL, BUILT_IN, CREATES, MAKE, OPEN, READ, REMOVE, WRITE, join, parent_of

NAMES = ["a", "b", "c", "d", "é", "long-name-with-some-characters-in-it"]
QUOTA_HARD, QUOTA_SOFT = "/q", "/soft"
ALICE, BOB = "alice:pw", "bob:other"
BAD_CREATE_PATHS = ["", "foo", "foo/bar", "/a\0b", "//", "/./x", "/..", "/x\x01", "/x\x7f", "/x\x9f",
                    "/\uf000", "/\uffff", "/\ufff0x", "/zookeeper/", "/.", b"/\xff\xfe",
                    "/\ud800", "/\U0001f600", "/zookeeper//x", "/x/"]
BAD_SET_PATHS = BAD_CREATE_PATHS + ["/zookeeper/../x", "relative"]
BAD_DELETE_PATHS = ["", "foo", "/a\0b", *BUILT_IN]
BAD_READ_PATHS = ["", "foo", "//", "/x/", "/./x", "/a\x01", "/zookeeper/"]
BAD_ACLS = [None, [], 0, [(ALL, "world", "someone")], [(ALL, "nosuch", "x")], [(ALL, "digest", "nocolon")],
            [(ALL, "digest", "a:b:c")], [(ALL, "ip", "300.1.1.1")], [(ALL, "ip", "10.0.0.0/33")],
            [(ALL, "super", "x")], [(ALL, "x509", "CN=x")], [(ALL, "", "")], [(ALL, None, "x")],
            [(READ, "world", "anyone"), (ALL, "nosuch", "y")], [(ALL, "auth", "nobody")]]
ACLS = [[(READ, "world", "anyone")], [(ALL, "digest", digest_id(ALICE))],
        [(ALL, "digest", digest_id(BOB)), (READ, "world", "anyone")],
        [(ALL, "ip", "127.0.0.1")], [(ALL, "ip", "10.0.0.0/8")], [(ALL, "ip", "127.0.0.0/8")],
        [(ADMIN, "world", "anyone"), (ALL, "digest", digest_id(ALICE))],
        [(READ | MAKE, "world", "anyone"), (REMOVE, "digest", digest_id(BOB))],
        [(ALL, "digest", "free-form:text")], [(WRITE | MAKE | REMOVE, "world", "anyone")],
        [(READ, "world", "anyone"), (READ, "world", "anyone"), (WRITE, "world", "anyone")],
        [(64 | ALL, "world", "anyone")], [(0, "world", "anyone"), (ALL, "digest", digest_id(BOB))]]
TTLS = [1_000_000_000, (1 << 40) - 1, 1 << 35]
BAD_TTLS = [0, -1, 1 << 40, -(1 << 63), (1 << 63) - 1]


class Aim:
    def __init__(self, rng, shadow):
        self.rng, self.shadow, self.slot = rng, shadow, 0
        self.in_group = False  # inside a burst or multi: quota'd nodes would depend on timing

    # --- choosing nodes -------------------------------------------------------------------------

    def nodes(self, wanted):
        """A random known path for which `wanted(path, node)` holds, or None."""
        found = [p for p, node in self.shadow.nodes.items() if self.usable(p) and wanted(p, node)]
        return self.rng.choice(found) if found else None

    def usable(self, path):
        if path.startswith("/zookeeper"):
            return path in BUILT_IN
        return not (self.in_group and (path + "/").startswith(QUOTA_HARD + "/"))

    def may(self, path, perms):
        return self.shadow.allowed(self.slot, path, perms)

    def readable(self):
        return self.nodes(lambda p, n: self.may(p, READ))

    def missing_under(self, perms, permitted=True):
        """A path without a node whose parent exists, and grants `perms` or not."""
        parent = self.nodes(lambda p, n: n.owner is None and p not in BUILT_IN[1:]
                            and p.count("/") < 5 and n.children < 12
                            and self.may(p, perms) == permitted)
        return parent and self.fresh_name(parent)

    def fresh_name(self, parent):
        names = [n for n in NAMES if join(parent, n) not in self.shadow.nodes]
        return join(parent, self.rng.choice(names or [f"n{self.rng.randrange(10**6)}"]))

    def orphan(self):
        """A path whose parent doesn't exist either."""
        parent = self.missing_under(0, False) or "/nowhere"
        return join(parent, self.rng.choice(NAMES))

    # --- choosing values ------------------------------------------------------------------------

    def data(self):
        return self.rng.choice([None, b"", b"x", b"some data", bytes(self.rng.randrange(256) for _ in range(20)),
                                b"z" * 1000])

    def acl(self):
        if self.rng.random() < 0.6:
            return OPEN
        if self.shadow.slots[self.slot].ids and self.rng.random() < 0.3:
            return [(self.rng.choice([ALL, READ]), "auth", self.rng.choice(["", "ignored"]))]
        return self.rng.choice(ACLS)

    def bad_acl(self):
        usable = BAD_ACLS[:-1] if self.shadow.slots[self.slot].ids else BAD_ACLS
        return self.rng.choice(usable)

    def flags(self, op):
        if op == wire.CREATE_TTL:
            return self.rng.choice([5, 6])
        if op == wire.CREATE_CONTAINER:
            return 4
        return self.rng.choice([0, 0, 0, 1, 1, 2, 3, 4])

    def plain_flags(self, op):
        return {wire.CREATE_TTL: 5, wire.CREATE_CONTAINER: 4}.get(op, self.rng.choice([0, 0, 1]))

    # --- one builder for each operation ---------------------------------------------------------

    def fields(self, op, err):
        if op in CREATES:
            return self.create(op, err)
        builder = {wire.DELETE: self.delete, wire.SET_DATA: self.set_data, wire.SET_ACL: self.set_acl,
                   wire.CHECK: self.check}.get(op, self.read)
        found = builder(op, err)
        if found is None or op not in wire.REQUEST_LAYOUT:
            return found
        if len(found) < len(wire.REQUEST_LAYOUT[op]):  # the watch flag of a read
            found = (*found, self.rng.random() < 0.5)
        return found

    def create(self, op, err):
        path, acl, flags, ttl = None, self.acl(), self.flags(op), self.rng.choice(TTLS)
        if err == "OK":
            path = self.missing_under(MAKE)
            if path and flags in (2, 3, 6) and self.rng.random() < 0.3:
                path = parent_of(path).rstrip("/") + "/"
        elif err == "BADARGUMENTS":
            return self.create_bad_arguments(op)
        elif err == "NONODE":
            path = self.orphan()
        elif err == "NOAUTH":
            path = self.missing_under(MAKE, False)
        elif err == "NODEEXISTS":
            path, flags = self.nodes(lambda p, n: p == "/" or self.may(parent_of(p), MAKE)), self.plain_flags(op)
        elif err == "NOCHILDRENFOREPHEMERALS":
            parent = self.nodes(lambda p, n: n.owner is not None and self.may(p, MAKE))
            path, flags = parent and join(parent, "child"), self.plain_flags(op)
        elif err == "INVALIDACL":
            path, acl = self.missing_under(MAKE), self.bad_acl()
        elif err == "QUOTAEXCEEDED":
            flags = self.plain_flags(op)
            if QUOTA_HARD not in self.shadow.nodes:  # somebody deleted it: first it has to be there again
                return None if self.in_group else self.create_fields(
                    op, QUOTA_HARD, b"", OPEN, 0 if op in (wire.CREATE, wire.CREATE2) else flags, ttl)
            return self.create_fields(op, self.fresh_name(QUOTA_HARD), b"x" * 400, OPEN, flags, ttl)
        return path and self.create_fields(op, path, self.data(), acl, flags, ttl)

    def create_bad_arguments(self, op):
        path, flags, ttl = self.missing_under(MAKE), self.flags(op), self.rng.choice(TTLS)
        kind = self.rng.randrange(3)
        if kind == 0 or path is None:
            path = self.rng.choice(BAD_CREATE_PATHS + [(path or "/a") + "/"])
            flags = self.plain_flags(op)
        elif kind == 1 and not self.in_group:
            flags = self.rng.choice([7, -1, 100, 0x7fffffff])
        elif op == wire.CREATE_TTL:
            ttl = self.rng.choice(BAD_TTLS)
            if not self.in_group and ttl > 0:
                flags, ttl = self.rng.choice([0, 1, 2, 3, 4]), 5000
        elif self.in_group:
            path, flags = "no-slash", self.plain_flags(op)
        else:
            flags = self.rng.choice([5, 6])
        return self.create_fields(op, path, self.data(), self.acl(), flags, ttl)

    @staticmethod
    def create_fields(op, path, data, acl, flags, ttl):
        return (path, data, acl, flags, ttl) if op == wire.CREATE_TTL else (path, data, acl, flags)

    def delete(self, op, err):
        shadow = self.shadow
        if err == "BADARGUMENTS":
            return (self.rng.choice(BAD_DELETE_PATHS), -1)
        if err == "NONODE":
            return (self.rng.choice([self.orphan(), self.missing_under(REMOVE) or "/gone"]), -1)
        leaf = err != "NOTEMPTY"
        path = self.nodes(lambda p, n: p not in BUILT_IN and parent_of(p) in shadow.nodes
                          and (n.children == 0) == leaf
                          and self.may(parent_of(p), REMOVE) == (err != "NOAUTH"))
        return path and (path, self.version(err, shadow.nodes[path].version))

    def version(self, err, current):
        if err == "BADVERSION":
            return self.rng.choice([current + 1, current + 7, -2, 0x7fffffff])
        return self.rng.choice([-1, current])

    def set_data(self, op, err):
        path = self.target(err, WRITE, BAD_SET_PATHS)
        if err == "QUOTAEXCEEDED":
            path = self.nodes(lambda p, n: p == QUOTA_HARD)
            return path and (path, b"y" * 1000, -1)
        return path and (path, self.data(), self.version(err, self.known(path).version))

    def set_acl(self, op, err):
        path = self.target(err, ADMIN, BAD_SET_PATHS)
        if path in BUILT_IN and err == "OK":
            return (path, self.shadow.nodes[path].acl, -1)
        acl = self.bad_acl() if err == "INVALIDACL" else self.acl()
        return path and (path, acl, self.version(err, self.known(path).aversion))

    def check(self, op, err):
        path = self.target(err, READ, BAD_SET_PATHS)
        return path and (path, self.version(err, self.known(path).version))

    def known(self, path):
        return self.shadow.nodes.get(path) or self.shadow.nodes["/"]

    def target(self, err, perms, bad_paths):
        """A path for an operation that needs `perms` on the node itself."""
        if err == "BADARGUMENTS":
            return self.rng.choice(bad_paths) or "/./"
        if err == "NONODE":
            return self.rng.choice([self.orphan(), self.missing_under(0, False) or "/gone"])
        return self.nodes(lambda p, n: self.may(p, perms) == (err != "NOAUTH")
                          and not (perms == ADMIN and p == QUOTA_HARD))

    def read(self, op, err):
        if err == "BADARGUMENTS":
            return (self.rng.choice(["/a\0b", "\0"]),)
        if err == "NONODE":
            usual = self.target(err, READ, [])
            return (self.rng.choice([usual, usual, self.rng.choice(BAD_READ_PATHS[1:])]),)
        wanted = READ | ADMIN if op == wire.GET_ACL else READ
        path = self.target(err, wanted, [])
        return path and (path,)
