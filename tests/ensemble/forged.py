"""The judge is judged: a good history gives no finding, and each forgery of it gives the finding due.

A forgery changes one thing in a copy of a good history, at a place drawn from a seed.
"""

import copy
import random

from history import EPHEMERALS, SHARED, TOP, WRITES, History, Op, SessionRecord
from judge import judge

SEEDS, STEPS, SESSIONS, SERVERS = 6, 240, 4, 3


class World:
    """A make-believe ensemble that does all right: one tree, one counter, a clock that ticks with each step."""

    def __init__(self, seed):
        self.dice, self.history, self.tree, self.zxid, self.now, self.sequence = random.Random(seed), History(), {}, 0x100000000, 0.0, 0
        self.counts = dict.fromkeys(range(1, SESSIONS + 1), 0)
        for actor in self.counts:
            self.history.sessions[actor] = SessionRecord(actor, actor, 6000, 0.0)
            for path in (f"{TOP}/w{actor}", f"{TOP}/w{actor}/l", f"{TOP}/w{actor}/r"):
                self.tree[path] = (b"", self.stat(0, 0))
        self.history.sessions[99] = SessionRecord(99, 99, 2000, 0.0, "closed")
        for _ in range(STEPS):
            self.step(self.dice.randint(1, SESSIONS))

    def stat(self, zxid, owner):
        return {"czxid": zxid, "mzxid": zxid, "version": 0, "owner": owner, "numChildren": 0}

    def step(self, actor):
        self.counts[actor] += 1
        kind = self.dice.choice(("set", "set", "seq", "create", "delete", "pair", "ephemeral", "read", "sync-read"))
        home, value = f"{TOP}/w{actor}", b"%d.%d" % (actor, self.counts[actor])
        path = {"seq": f"{SHARED}/s-", "create": f"{home}/n{self.counts[actor]}", "ephemeral": f"{EPHEMERALS}/{actor}-{self.counts[actor]}"}.get(kind, home)
        if kind in ("read", "sync-read"):
            path, value = f"{TOP}/w{self.dice.randint(1, SESSIONS)}", b""
        if kind == "delete":
            mine = sorted(p for p in self.tree if p.startswith(home + "/n"))
            if not mine:
                return
            path = self.dice.choice(mine)
        op = Op(actor, actor, self.counts[actor], kind, path, value, self.dice.randint(1, SERVERS), self.now + 0.1)
        self.zxid += kind in WRITES
        self.now += 1
        op.answered, op.err, op.zxid = self.now, 0, self.zxid
        self.history.ops.append(op)
        self.carry_out(op)

    def carry_out(self, op):
        if op.kind in ("create", "ephemeral", "seq"):
            op.made = op.path
            if op.kind == "seq":
                op.made += f"{self.sequence:010d}"
                self.sequence += 1
            self.tree[op.made] = (op.value, self.stat(self.zxid, op.session if op.kind == "ephemeral" else 0))
        elif op.kind == "set":
            op.version = self.update(op.path, op.value)
        elif op.kind == "delete":
            del self.tree[op.path]
        elif op.kind == "pair":
            for side in "lr":
                self.update(f"{op.path}/{side}", op.value)
        else:
            op.value, stat = self.tree[op.path]
            op.version = stat["version"]

    def update(self, path, value):
        stat = dict(self.tree[path][1])
        stat["version"], stat["mzxid"] = stat["version"] + 1, self.zxid
        self.tree[path] = (value, stat)
        return stat["version"]

    def forge(self):
        """A copy to spoil: (history, trees, dice)."""
        history = History()
        history.ops, history.sessions = copy.deepcopy(self.history.ops), copy.deepcopy(self.history.sessions)
        return history, {server: copy.deepcopy(self.tree) for server in range(1, SERVERS + 1)}, self.dice


def pick(history, dice, *kinds, where=lambda op: True):
    return dice.choice([op for op in history.ops if op.kind in kinds and where(op)])


def there(trees):
    return lambda op: op.made in trees[1]


def lost_write(history, trees, dice):
    op = pick(history, dice, "create", "seq", where=there(trees))
    for tree in trees.values():
        del tree[op.made]


def lost_on_one(history, trees, dice):
    del trees[dice.randint(1, SERVERS)][pick(history, dice, "create", "seq", where=there(trees)).made]


def rolled_back_register(history, trees, dice):
    path = pick(history, dice, "set").path
    for tree in trees.values():
        data, stat = tree[path]
        tree[path] = (b"older", {**stat, "version": stat["version"] - 1})


def undone_deletion(history, trees, dice):
    op = pick(history, dice, "delete")
    for tree in trees.values():
        tree[op.path] = (b"again", {"czxid": 1, "mzxid": 1, "version": 0, "owner": 0, "numChildren": 0})


def replaced_node(history, trees, dice):
    op = pick(history, dice, "seq", where=there(trees))
    for tree in trees.values():
        tree[op.made] = (b"another's", tree[op.made][1])


def duplicated_sequence(history, _, dice):
    first, second = dice.sample([op for op in history.ops if op.kind == "seq"], 2)
    second.made = first.made


def duplicated_zxid(history, _, dice):
    first = pick(history, dice, "create")
    pick(history, dice, "set").zxid = first.zxid


def writes_of_one(history, dice):
    actor = dice.randint(1, SESSIONS)
    mine = [op for op in history.ops if op.actor == actor and op.kind in WRITES]
    place = dice.randrange(len(mine) - 1)
    return mine[place], mine[place + 1]


def reordered_session(history, _, dice):
    first, second = writes_of_one(history, dice)
    first.zxid, second.zxid = second.zxid, first.zxid


def reordered_clients(history, _, dice):
    """Overlapping requests may go either way, these don't overlap."""
    writes = [op for op in history.ops if op.kind in WRITES]
    place = dice.randrange(len(writes) - 1)
    writes[place].zxid, writes[place + 1].zxid = writes[place + 1].zxid, writes[place].zxid


def falling_read(history, _, dice):
    """A read that its session has seen more than already."""
    op = dice.choice([op for op in history.ops if op.kind == "read" and any(o.actor == op.actor and o.number < op.number for o in history.ops)])
    op.zxid = 1


def invisible_own_write(history, _, dice):
    op = pick(history, dice, "set")
    history.ops.append(Op(op.actor, op.session, 10_000, "read", op.path, b"", 1, 1e6, 1e6 + 1, 0, 1 << 40, None, -1))


def stale_sync_read(history, _, dice):
    op = pick(history, dice, "sync-read", where=lambda op: op.version > 0)
    op.version -= 1


def split_version(history, _, dice):
    pick(history, dice, "read", where=lambda op: any(o.kind == "set" and (o.path, o.version) == (op.path, op.version) for o in history.ops)).value = b"another"


def diverged_data(_, trees, dice):
    tree = trees[dice.randint(1, SERVERS)]
    path = dice.choice(sorted(tree))
    tree[path] = (b"diverged", tree[path][1])


def diverged_stat(_, trees, dice):
    tree = trees[dice.randint(1, SERVERS)]
    path = dice.choice(sorted(tree))
    tree[path] = (tree[path][0], {**tree[path][1], "numChildren": 5})


def torn_multi(history, trees, dice):
    path = pick(history, dice, "pair").path + "/r"
    for tree in trees.values():
        tree[path] = (b"half", tree[path][1])


def carried_out_twice(history, trees, dice):
    op = pick(history, dice, "seq", where=there(trees))
    for tree in trees.values():
        tree[f"{SHARED}/s-9999999999"] = (op.value, {**tree[op.made][1], "czxid": 1})


def orphan(history, trees, dice):
    for tree in trees.values():
        tree[f"{EPHEMERALS}/x"] = (b"", {"czxid": 1, "mzxid": 1, "version": 0, "owner": dice.choice((99, 77)), "numChildren": 0})


def missing_ephemeral(history, trees, dice):
    op = pick(history, dice, "ephemeral")
    for tree in trees.values():
        del tree[op.made]


def early_expiry(history, _, dice):
    session = history.sessions[dice.randint(1, SESSIONS)]
    session.state, session.contact, session.lost_at = "lost", 100.0, 100.0 + dice.uniform(0, 5.9)


def refusal(history, _, dice):
    pick(history, dice, "set").err = dice.choice((-101, -103, -110, -1))


FORGERIES = {
    lost_write: "lost", lost_on_one: "lost", rolled_back_register: "lost", undone_deletion: "lost", replaced_node: "lost",
    duplicated_sequence: "duplicate-sequence", duplicated_zxid: "duplicate-zxid", reordered_session: "session-order",
    reordered_clients: "order", falling_read: "session-order", invisible_own_write: "session-order", stale_sync_read: "stale-sync",
    split_version: "split", diverged_data: "diverged", diverged_stat: "diverged", torn_multi: "torn", orphan: "orphan", carried_out_twice: "twice",
    missing_ephemeral: "ephemeral-missing", early_expiry: "expired-early", refusal: "error",
}


def run():
    """Status 0 if every forgery was found at every seed and nothing in what was good."""
    wrong = []
    for seed in range(SEEDS):
        world = World(seed)
        good = judge(*world.forge()[:2])
        if good:
            wrong.append(f"seed {seed}: a good history is found guilty: {good[:3]}")
        for forgery, due in FORGERIES.items():
            history, trees, dice = world.forge()
            forgery(history, trees, dice)
            kinds = {kind for kind, _ in judge(history, trees)}
            if due not in kinds:
                wrong.append(f"seed {seed}: {forgery.__name__} isn't found as {due}, only {sorted(kinds)}")
    for text in wrong[:20]:
        print(f"ensemble: the judge is wrong: {text}")
    print(f"ensemble: the judge found {len(FORGERIES)} forgeries at {SEEDS} seeds each{' BUT FOR THE ABOVE' if wrong else ''}", flush=True)
    return 1 if wrong else 0
