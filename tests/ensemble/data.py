"""Scenarios: disks are lost, damaged, full or cut off from power; servers are killed and come back."""

import time

from disks import Disk, flip_bit, scribble, used_len, zero_from
from lab import FAST_S, scenario
from leader import ready
from systems import host, wipe

BACK_S = 30          # within which a server must serve again with its data repaired
SMALL_SNAPSHOTS = {"snapCount": 1000, "autopurge.snapRetainCount": 3}


def follower(lab):
    return lab.random.choice(lab.ensemble.others(lab.ensemble.leader()))


@scenario("kill-all", bound_s=FAST_S + 5)
def kill_all(lab):
    """`kill -9` of all at once under load, then all start: the time counts from the start."""
    ready(lab)
    lab.ensemble.kill(*lab.ensemble.members)
    lab.recovery(lab.ensemble.start)
    lab.settle()


@scenario("kill-majority", bound_s=FAST_S + 5)
def kill_majority(lab):
    """`kill -9` of the leader and a follower of three; then both start."""
    leader = ready(lab)
    two = [leader, lab.random.choice(lab.ensemble.others(leader))]
    lab.ensemble.kill(*two)
    lab.nothing_for(1)
    lab.recovery(lambda: lab.ensemble.start(two))
    lab.settle()


@scenario("kill-any")
def kill_any(lab):
    """Random sets are killed and started, several times, without waiting for anything."""
    ready(lab)
    members = list(lab.ensemble.members)
    for _ in range(5):
        some = lab.random.sample(members, lab.random.randint(1, len(members)))
        lab.ensemble.kill(*some)
        time.sleep(lab.random.uniform(0, 0.5))
        lab.ensemble.start(some)
        time.sleep(lab.random.uniform(0.3, 2.5))
    lab.settle()


@scenario("wiped-follower")
def wiped_follower(lab):
    """A follower loses its disk and comes back with an empty one, under load."""
    ready(lab)
    victim = follower(lab)
    lab.ensemble.kill(victim)
    wipe(lab.ensemble.members[victim].data)
    time.sleep(0.5)
    lab.ensemble.start([victim])
    lab.settle(BACK_S)


def newest(files):
    """The newest file of each directory: Ringkeeper's log has several shards."""
    return list({path.parent: path for path in files}.values())


def damaged(lab, kind, damage):
    """Kills a follower, damages a file of this kind, starts it: the others hold all it lacks."""
    ready(lab)
    time.sleep(1.5)
    victim = follower(lab)
    member = lab.ensemble.members[victim]
    lab.ensemble.kill(victim)
    files = [path for path in member.files(kind) if used_len(path)]
    host.check(files, f"server {victim} has no file of kind {kind} below {member.data}")
    lab.note(damage(files))
    time.sleep(0.5)
    lab.ensemble.start([victim])
    lab.settle(BACK_S)


@scenario("damaged-log", may=("down",))
def damaged_log(lab):
    """A piece of 4 KiB in the middle of one server's newest log file becomes rubbish."""
    damaged(lab, "log", lambda files: scribble(lab.random.choice(newest(files)), 0.5, 4096, lab.random))


@scenario("flipped-log", may=("down",))
def flipped_log(lab):
    """One flipped bit in one server's log."""
    damaged(lab, "log", lambda files: flip_bit(lab.random.choice(newest(files)), lab.random.uniform(0.2, 0.8), lab.random))


@scenario("flipped-snapshot", settings=SMALL_SNAPSHOTS, may=("down",))
def flipped_snapshot(lab):
    """One flipped bit in one server's newest snapshot."""
    damaged(lab, "snapshot", lambda files: flip_bit(files[-1], lab.random.uniform(0.2, 0.8), lab.random))


@scenario("flipped-epoch", may=("down",))
def flipped_epoch(lab):
    """One flipped bit in one server's epoch file."""
    damaged(lab, "epoch", lambda files: flip_bit(lab.random.choice(files), lab.random.random(), lab.random))


@scenario("emptied-epoch", shows=("down",))
def emptied_epoch(lab):
    """One server's epoch file is empty."""
    def empty(files):
        files[0].write_bytes(b"")
        return f"{files[0].name} is empty"
    damaged(lab, "epoch", empty)


def lagging(lab):
    """A follower lags, two hundred writes and more behind. Returns (lagging, other, leader) all killed, and how long each file of `other` was when the lag began."""
    leader = ready(lab)
    behind, other = lab.ensemble.others(leader)
    lab.quiet()
    lab.ensemble.kill(behind)
    member = lab.ensemble.members[other]
    lengths = {path: used_len(path) for path in member.files("log")}
    before = lab.acked()
    lab.load()
    deadline = time.monotonic() + 10
    while lab.acked() < before + 300 and time.monotonic() < deadline:
        time.sleep(0.05)
    lab.quiet()
    host.check(lab.acked() >= before + 200, "too few writes were acknowledged by two of three")
    lab.note(f"{lab.acked() - before} acknowledged while one lags")
    lab.ensemble.kill(other, leader)
    return behind, other, leader, lengths


def two_then_leader(lab, two, leader):
    """The two start without the leader and have time to serve. If they do they take writes; then the leader starts."""
    lab.load()
    lab.ensemble.start(two)
    began, before = time.monotonic(), lab.acked()
    while time.monotonic() < began + lab.system.start_s and lab.acked() == before:
        time.sleep(0.05)
    served = lab.acked() > before
    if served:
        time.sleep(1.5)
    lab.note(f"the two {'served' if served else 'did not serve'} without the third")
    lab.ensemble.start([leader])
    lab.settle()


# Where acknowledged writes are lost, much else follows from it.
AFTER_LOSS = ("duplicate-sequence", "duplicate-zxid", "order", "split", "session-order", "ephemeral-missing", "orphan", "error", "diverged", "expired-early")


@scenario("replaced-disk", shows=("lost",), may=AFTER_LOSS)
def replaced_disk(lab):
    """One follower lags, the other's disk is replaced by an empty one, the leader restarts last."""
    behind, other, leader, _ = lagging(lab)
    wipe(lab.ensemble.members[other].data)
    two_then_leader(lab, [behind, other], leader)


@scenario("zeroed-log-tail", shows=("lost",), may=AFTER_LOSS)
def zeroed_log_tail(lab):
    """One follower lags, the end of the other's log becomes zeros while it is down, the leader restarts last."""
    behind, other, leader, lengths = lagging(lab)
    zeroed = sum(zero_from(path, lengths.get(path, 0)) for path in lab.ensemble.members[other].files("log"))
    lab.note(f"{zeroed} bytes zeroed")
    two_then_leader(lab, [behind, other], leader)


def on_disks(lab, mib, bulky=0):
    """Every server keeps its data on a filesystem of its own."""
    for number, member in lab.ensemble.members.items():
        lab.disks[number] = Disk(member.data, mib)
    lab.start()
    lab.begin(bulky=bulky)


def power_cut(lab):
    for disk in lab.disks.values():
        disk.power_cut()
    lab.ensemble.kill(*lab.ensemble.members)
    for disk in lab.disks.values():
        disk.power_on()
    lab.recovery(lab.ensemble.start)
    lab.settle()


SMALL_FILES = {"preAllocSize": 8192}


@scenario("power-cut-first-start", settings=SMALL_FILES, disk_mib=192, bound_s=FAST_S + 5, shows=("down",))
def power_cut_first_start(lab):
    """All lose power soon after the very first start: what wasn't synced is gone."""
    on_disks(lab, lab.scenario.disk_mib)
    power_cut(lab)


@scenario("kill-after-first-start", bound_s=FAST_S + 5)
def kill_after_first_start(lab):
    """`kill -9` of all while, or just after, they start for the first time; several times on the way."""
    lab.ensemble.configure()
    for _ in range(3):
        lab.ensemble.start()
        time.sleep(lab.random.uniform(0.02, 1.0))
        lab.ensemble.kill(*lab.ensemble.members)
    lab.start()
    lab.begin(warm_s=0.3)
    lab.ensemble.kill(*lab.ensemble.members)
    lab.recovery(lab.ensemble.start)
    lab.settle()


@scenario("power-cut", settings={**SMALL_FILES, "snapCount": 2000}, disk_mib=256, bound_s=FAST_S + 5, may=("down",))
def power_cut_aged(lab):
    """All lose power under load, in an ensemble where each server has been restarted."""
    on_disks(lab, lab.scenario.disk_mib)
    for number in lab.ensemble.members:
        lab.ensemble.kill(number)
        lab.ensemble.start([number])
        lab.ensemble.await_serving()
    time.sleep(2)
    power_cut(lab)


def full_disk(lab, choose):
    on_disks(lab, lab.scenario.disk_mib, bulky=1)
    victim = choose(lab)
    disk, others = lab.disks[victim], lab.ensemble.others(victim)
    began = time.monotonic()
    disk.fill()
    time.sleep(4)
    member = lab.ensemble.members[victim]
    lab.note(f"server {victim} {'lives on' if member.alive() else 'has ended'} with a full disk, mode {member.mode()}")
    if lab.history.first_write(time.monotonic() - 1, others) is None:
        answered = lab.recovery(lambda: None, others, 30)
        lab.note("writes stopped for a time" if answered else "writes stopped")
    disk.release()
    released = time.monotonic()
    if not member.alive():
        member.reap()
        member.start()
    left = lab.ensemble.await_serving([victim], BACK_S)
    if left and member.alive():
        lab.find("zombie", f"server {victim} lives and doesn't serve {BACK_S} s after its disk was freed")
        lab.ensemble.kill(victim)
        lab.ensemble.start([victim])
    lab.note(f"serves again {time.monotonic() - released:.1f} s after its disk was freed; filled for {released - began:.0f} s")
    lab.settle()


@scenario("full-disk", settings=SMALL_FILES, disk_mib=384, refusals=(-1,), may=("zombie",))
def full_disk_follower(lab):
    """A follower's disk is full for some seconds."""
    full_disk(lab, follower)


@scenario("full-disk-leader", settings=SMALL_FILES, disk_mib=384, refusals=(-1,), may=("zombie", "error"))
def full_disk_leader(lab):
    """The leader's disk is full for some seconds."""
    full_disk(lab, lambda lab: lab.ensemble.leader())



@scenario("full-disk-failover", settings=SMALL_FILES, disk_mib=384, refusals=(-1,), may=("zombie", "error", "down"))
def full_disk_failover(lab):
    """The leader is killed while a follower's disk is full: that one takes part in the election and lives on."""
    on_disks(lab, lab.scenario.disk_mib, bulky=1)
    leader = lab.ensemble.leader()
    victim = lab.random.choice(lab.ensemble.others(leader))
    lab.disks[victim].fill()
    time.sleep(2)
    lab.ensemble.kill(leader)
    time.sleep(3)
    member = lab.ensemble.members[victim]
    if not member.alive():
        lab.find("down", f"server {victim} ended with a full disk: {member.log_tail()[-300:]}")
        member.reap()
        member.start()
    lab.note(f"server {victim}, its disk full, is {member.mode()} beside the other")
    lab.disks[victim].release()
    lab.ensemble.start([leader])
    lab.ensemble.await_serving()
    lab.settle()
