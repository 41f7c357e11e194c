"""Scenarios: what clients see while servers go and come, and while they move."""

import signal
import time

import network
from ensemble import pause
from history import TOP, Op
from lab import scenario
from leader import LeftBehind, ready
from systems import host
import session as raw
from session import wire

BASELINE_S, LOSS_S, AFTER_S = 2.5, 4.0, 1.0
PAUSE_S = 1.2  # longer than a silence
SYNC_PAIRS, SYNC_PAIRS_FULL = 400, 2000


def lose_follower(lab, lose, bring_back, left_behind=False):
    """Writes sent to the others never fail; how slow they get is told beside the time before. `lose` and `bring_back` get the
    server, and the client that is left behind with it, if one is wanted."""
    leader = ready(lab)
    victim = lab.random.choice(lab.ensemble.others(leader))
    others = lab.ensemble.others(victim)
    behind = LeftBehind(lab, victim) if left_behind else None
    time.sleep(1)
    before = time.monotonic()
    time.sleep(BASELINE_S)
    lost = time.monotonic()
    lose(victim)
    if behind:
        behind.others_commit()
    time.sleep(LOSS_S)
    back = time.monotonic()
    bring_back(victim, behind)
    lab.ensemble.await_serving([victim])
    time.sleep(AFTER_S)
    end = time.monotonic()
    failed = lab.history.unanswered(before, end - 1, others)
    if failed:
        lab.find("failed-write", f"{len(failed)} writes sent to the others got no answer")
    baseline, without, returning, whole = (lab.p99_ms(*times, others) for times in ((before, lost), (lost, back), (back, end), (lost, end)))
    worst = lab.history.latencies(lost, end, others)[-1] * 1000
    lab.note(f"p99 {baseline:.0f} ms before, {without:.0f} ms without it, {returning:.0f} ms while it comes back "
             f"({whole / baseline:.1f} × in all), slowest {worst:.0f} ms")
    lab.settle()


@scenario("lose-follower")
def kill_follower(lab):
    """`kill -9` of a follower under load."""
    lose_follower(lab, lab.ensemble.kill, lambda victim, _: lab.ensemble.start([victim]))


@scenario("pause-follower")
def pause_follower(lab):
    """A follower is stopped for some seconds; then it finds requests of a client left behind."""
    members = lab.ensemble.members

    def go_on(victim, behind):
        behind.ask()
        members[victim].signal(signal.SIGCONT)
        behind.judge(5)

    lose_follower(lab, lambda victim: pause(members[victim]), go_on, left_behind=True)


@scenario("cut-follower", network=True, may=("expired-early", "ephemeral-missing", "orphan"))
def cut_follower(lab):
    """A follower hears no server and is heard by none; a client left behind asks it."""
    def heal(_, behind):
        behind.ask_and_judge(2)
        lab.network.heal()

    lose_follower(lab, lambda victim: lab.network.cut(network.both_ways(victim, lab.ensemble.others(victim))), heal, left_behind=True)


@scenario("observer", size=4, observers=1)
def observer(lab):
    """Three voters and an observer: its clients are served like others', and it never completes a quorum."""
    leader = ready(lab)
    watcher = len(lab.ensemble.members)
    mode = lab.ensemble.members[watcher].mode()
    host.check(mode == "observer", f"server {watcher} is {mode}, not observer")
    followers = [n for n in lab.ensemble.others(leader) if n != watcher]
    lab.ensemble.kill(*followers)
    lab.nothing_for(3)
    lab.recovery(lambda: lab.ensemble.start(followers), seconds=40)
    lab.ensemble.await_serving()
    lab.ensemble.kill(watcher)
    time.sleep(1)
    lab.ensemble.start([watcher])
    lab.settle()


@scenario("pause-all")
def pause_all(lab):
    """All servers stand still at once, as with a host that is suspended: what a client asked meanwhile, refused and done in turns, is answered
    in full and in order (or the connection ends, if its server lost its leader by that)."""
    ready(lab)
    members, whole = lab.ensemble.members, 0
    for number in members:
        path = f"{TOP}/pause-{number}"
        client = lab.client(number, wait_s=10)
        client.create(path, b"")
        asked = [(wire.SET_DATA, (f"{TOP}/none", b"", -1)), (wire.SET_DATA, (path, b"x", -1))] * 5
        try:
            for member in members.values():
                pause(member)
            time.sleep(PAUSE_S)
            client.post(asked)
        finally:
            for member in members.values():
                member.signal(signal.SIGCONT)
        errors = []
        try:
            errors = [client.reply().err for _ in asked]
            whole += 1
        except raw.Closed:
            pass
        except TimeoutError:
            lab.find("unanswered", f"server {number} left a client without an answer for 10 s after a pause of all")
        if errors and errors != [-101, 0] * 5:
            lab.find("error", f"server {number} answered {errors} after a pause of all")
        lab.ensemble.await_serving()
    lab.note(f"{whole} of {len(members)} connections were answered in full")
    lab.settle()


@scenario("rolling-restart")
def rolling_restart(lab):
    """SIGTERM and start of one server after the other, under load: every session survives."""
    ready(lab)
    slowest = 0.0
    for number, member in lab.ensemble.members.items():
        member.signal(signal.SIGTERM)
        began = time.monotonic()
        status = member.reap()
        if status not in (0, 143):  # Java ends with 143 after SIGTERM
            lab.find("status", f"server {number} ended with {status} after SIGTERM")
        slowest = max(slowest, time.monotonic() - began)
        lab.ensemble.start([number])
        left = lab.ensemble.await_serving()
        host.check(not left, f"servers {left} don't serve after the restart of {number}")
        time.sleep(0.5)
    lost = [s for s in lab.history.sessions.values() if s.state == "lost"]
    if lost:
        lab.find("expired-early", f"{len(lost)} sessions were lost in a rolling restart")
    lab.note(f"slowest stop {slowest:.1f} s")
    lab.settle()


@scenario("session-move")
def session_move(lab):
    """A session goes from server to server while its old connection still lives and sends."""
    ready(lab)
    members, path = list(lab.ensemble.members), f"{TOP}/move"
    old = lab.client(members[0])
    server, late = members[0], 0
    old.create(path, b"0")
    old.create(f"{path}-mine", b"", raw.EPHEMERAL)
    last = 0
    for turn in range(1, 31):
        server = lab.random.choice([n for n in members if n != server])
        new = attach(lab, server, old.key, last)
        stat = new.ok(wire.SET_DATA, path, b"new %d" % turn, -1)[0]
        try:
            reply = old.call(wire.SET_DATA, path, b"late %d" % turn, -1)
            late += reply.err == 0
        except (raw.Closed, OSError):
            pass
        reply = new.call(wire.GET_DATA, path, False)
        if reply.body[0] != b"new %d" % turn or reply.body[1]["version"] != stat["version"]:
            lab.find("session-order", f"turn {turn}: after the move to server {server} the session reads {reply.body[0]!r}")
        if reply.zxid < last or reply.zxid < stat["mzxid"]:
            lab.find("session-order", f"turn {turn}: answered at {reply.zxid:#x} after {max(last, stat['mzxid']):#x}")
        if new.call(wire.EXISTS, f"{path}-mine", False).err != 0:
            lab.find("ephemeral-missing", f"turn {turn}: the moved session's ephemeral node")
        last = reply.zxid
        old.drop()
        old = new
    if late:
        lab.find("session-moved", f"{late} of 30 writes on the connection left behind were done after the move")
    old.close()
    lab.settle()


def attach(lab, server, key, last_zxid):
    """A server that lags behind what the client has seen refuses it, rightly, until it has caught up."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return raw.Session(lab.ensemble.members[server].address, resume=key, last_zxid=last_zxid, wait_s=10)
        except raw.Closed:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


@scenario("sync-read", may=("stale-sync",))
def sync_read(lab):
    """Without any fault: a write acknowledged at one server, then `sync` and read at another."""
    ready(lab)
    members, path, pairs = list(lab.ensemble.members), f"{TOP}/probe", lab.sync_pairs
    clients = {n: lab.client(n, wait_s=20) for n in members}
    clients[members[0]].create(path, b"")
    stale, worst = 0, 0.0
    for number in range(1, pairs + 1):
        writer, reader = lab.random.sample(members, 2)
        value = b"%d" % number
        write = probe(lab, clients[writer], "set", path, value, writer, number)
        write.version = clients[writer].ok(wire.SET_DATA, path, value, -1)[0]["version"]
        write.answered, write.err = time.monotonic(), 0
        read = probe(lab, clients[reader], "sync-read", path, b"", reader, number)
        clients[reader].post([(wire.SYNC, (path,)), (wire.GET_DATA, (path, False))])
        clients[reader].reply()
        read.value, stat = clients[reader].reply().body
        read.version, read.answered, read.err = stat["version"], time.monotonic(), 0
        if read.version < write.version:
            stale += 1
            while clients[reader].ok(wire.EXISTS, path, False)[0]["version"] < write.version:
                time.sleep(0.001)
            worst = max(worst, time.monotonic() - read.answered)
            lab.find("stale-sync", f"pair {number}: version {read.version} at server {reader} after {write.version} was acknowledged at {writer}")
    lab.note(f"{stale} of {pairs} pairs stale, for {worst * 1000:.0f} ms at most")
    for client in clients.values():
        client.close()
    lab.settle()


def probe(lab, client, kind, path, value, server, number):
    """A request of no actor: it isn't in the history, since its zxid isn't taken."""
    return Op(0, client.id, number, kind, path, value, server, time.monotonic())
