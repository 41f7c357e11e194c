"""What has to hold between the server and its disk, each as one function over real files.

A case gets a Lab (where to work, which program serves, in which placement) and raises `host.Failure` when
the server breaks a promise. The same cases judge the deliberate faults of the runtime.
"""

import contextlib
import hashlib
import os
import pathlib
import random
import re
import select
import subprocess
import sys
import time

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "process"))
import host  # noqa: E402
import session as raw  # noqa: E402
from host import check  # noqa: E402
from session import wire  # noqa: E402

import volume  # noqa: E402

# What a broken promise looks like, from a check or from below.
BROKEN = (host.Failure, raw.Closed, raw.Refused, wire.WireError, OSError, subprocess.TimeoutExpired)
SYSTEMERROR = -1
DAMAGE, WRITE_FAILED = 20, 21
SINGLE_WRITES = 150


class Lab:
    """`settings` come on top of the placement's, `command` is the program that serves."""

    def __init__(self, scratch, placement, settings=None, command=None):
        self.scratch, self.placement, self.command = pathlib.Path(scratch), placement, command
        self.settings, self.serial = settings or {}, 0
        self.scratch.mkdir(parents=True, exist_ok=True)

    def server(self, data, **more):
        """A server whose data lies in `data`, while its log lines lie elsewhere."""
        home = self.scratch / f"server-{data.name}"
        settings = {**host.PLACEMENTS[self.placement], "ringkeeper.log.segment.kb": 4096, "dataDir": str(data / "data"),
                    **self.settings, **{key.replace("__", "."): value for key, value in more.items()}}
        return host.Server(home, settings, self.command)

    @contextlib.contextmanager
    def volume(self, mib=96):
        self.serial += 1
        with volume.Volume(self.scratch, f"{self.placement}-{self.serial}", mib) as made:
            yield made


def connect(server):
    return raw.Session((server.host, server.port))


def fill_nodes(server, count, size):
    """Makes /n0…; returns path -> data of what was acknowledged."""
    client, made = connect(server), {}
    for n in range(count):
        path, data = f"/n{n}", random.Random(n).randbytes(size)
        client.create(path, data)
        made[path] = data
    client.close()
    return made


def all_there(server, made, what):
    client = connect(server)
    for path, data in made.items():
        reply = client.call(wire.GET_DATA, path, False)
        check(reply.err == 0, f"{what}: {path} was acknowledged and is answered with {reply.err}")
        check(reply.body[0] == data, f"{what}: {path} has another value than was acknowledged")
    client.close()


def flushes_are_waited_for(lab):
    """One write at a time: by the time it is acknowledged, the device has completed a flush for it."""
    with lab.volume() as disk, lab.server(disk.path, ringkeeper__log__shards=1) as server:
        client = connect(server)
        client.create("/f")
        time.sleep(0.5)  # the spare segments that are made behind a start have flushes of their own
        began = before = disk.flushes()
        missing = 0
        for n in range(SINGLE_WRITES):
            client.ok(wire.SET_DATA, "/f", b"%d" % n, n)
            now = disk.flushes()
            missing += now == before
            before = now
        check(missing == 0, f"{missing} of {SINGLE_WRITES} acknowledged batches came without a flush of the device")
        server.stop()
    return f"{SINGLE_WRITES} acknowledged batches, {before - began} flushes of the device, one at least before each answer"


def nothing_is_acknowledged_while_the_device_hangs(lab):
    """A write that can't reach the device isn't answered; reads are; afterwards it is."""
    with lab.volume() as disk, lab.server(disk.path) as server:
        writer, reader = connect(server), connect(server)
        writer.create("/h", b"before")
        time.sleep(0.5)
        disk.freeze()
        try:
            writer.post([(wire.SET_DATA, ("/h", b"during", 0))])
            check(not select.select([writer.sock], [], [], 1.0)[0], "a write was acknowledged while no write can reach the device")
            check(reader.ok(wire.GET_DATA, "/h", False)[0] == b"before", "a read shows what isn't durable, or fails")
        finally:
            disk.thaw()
        check(writer.reply().err == 0, "the write isn't acknowledged once the device goes on")
        check(reader.ok(wire.GET_DATA, "/h", False)[0] == b"during", "the acknowledged write can't be read")
        server.stop()
    return "no answer for a second of hanging, reads went on"


def long_batches_are_whole(lab):
    """Batches of several blocks survive a kill, read from the device itself."""
    with lab.volume() as disk:
        with lab.server(disk.path) as server:
            made = fill_nodes(server, 60, 30_000)
            server.kill()
        disk.remount()
        with lab.server(disk.path) as server:
            all_there(server, made, "after a kill")
            server.stop()
    return f"{len(made)} batches of 8 blocks read back from the device"


def a_write_error_ends_it(lab):
    """EIO: nothing is acknowledged any more, status 21, the file is named; what was acknowledged is there afterwards."""
    return fail_writes(lab, volume.Volume.fail)


def a_filesystem_turned_read_only_ends_it(lab):
    """The same when the filesystem refuses writes after an error of its own."""
    return fail_writes(lab, volume.Volume.abort)


def await_spares(path):
    """Until no segment is being filled: what fails must be the write of a client, not that."""
    quiet, deadline = 0, time.monotonic() + 20
    while quiet < 5:
        check(time.monotonic() < deadline, "a segment is being filled for 20 s")
        quiet = 0 if any(pathlib.Path(path).rglob("next.tmp")) else quiet + 1
        time.sleep(0.05)


def fail_writes(lab, how):
    with lab.volume() as disk:
        with lab.server(disk.path) as server:
            made = fill_nodes(server, 20, 500)
            client = connect(server)
            await_spares(disk.path)
            how(disk)
            try:
                reply = client.call(wire.CREATE, "/lost", b"", raw.OPEN, raw.PERSISTENT)
                check(reply.err != 0, "a write was acknowledged although the device failed it")
            except raw.Closed:
                pass
            status = server.wait_end(10)
            check(status == WRITE_FAILED, f"status {status} after a failed write, not {WRITE_FAILED}")
            check(str(disk.path) in server.log_tail(5), f"the last lines don't name the file:\n{server.log_tail(5)}")
        disk.remount()
        with lab.server(disk.path) as server:
            all_there(server, made, "after a write error")
            server.stop()
    return f"status {WRITE_FAILED}, nothing acknowledged, all {len(made)} earlier writes there"


def a_full_disk_refuses_writes(lab):
    """SYSTEMERROR for writes, reads go on, sessions end; space returns and so do writes, without a restart."""
    with lab.volume() as disk, lab.server(disk.path) as server:
        client, made, count = connect(server), {}, 0
        client.create("/full", b"0")
        time.sleep(0.5)
        disk.fill(512)
        deadline, refused = time.monotonic() + 60, False
        while not refused:
            check(time.monotonic() < deadline, "a full disk refuses no write")
            data = random.Random(count).randbytes(100_000)
            reply = client.call(wire.CREATE, f"/full/{count}", data, raw.OPEN, raw.PERSISTENT)
            refused = reply.err == SYSTEMERROR
            check(reply.err in (0, SYSTEMERROR), f"a full disk gives {reply.err}, not SYSTEMERROR")
            if not refused:
                made[f"/full/{count}"] = data
            count += 1
        all_there_on(client, made, "while the disk is full")
        other = raw.Session((server.host, server.port)) if may_connect(server) else None
        disk.release()
        deadline = time.monotonic() + 15
        while client.call(wire.CREATE, "/full/again", b"back", raw.OPEN, raw.PERSISTENT).err != 0:
            check(time.monotonic() < deadline, "writes stay refused although there is space again")
            time.sleep(0.1)
        made["/full/again"] = b"back"
        if other:
            other.close()
        server.kill()
        with lab.server(disk.path) as again:
            all_there(again, made, "after a full disk")
            again.stop()
        said = [line for line in server.log().splitlines() if "full" in line.lower() or "space" in line.lower()]
        check(said, "the log doesn't say that the disk is full")
    return f"refused after {len(made) - 1} writes of 100 kB, recovered by itself, nothing lost; {len(said)} line(s) said so"


def may_connect(server):
    """Whether a session can be had on a full disk; both answers are right."""
    try:
        raw.Session((server.host, server.port), wait_s=2).close()
        return True
    except (raw.Closed, raw.Refused, OSError, wire.WireError):
        return False


def all_there_on(client, made, what):
    for path, data in made.items():
        check(client.ok(wire.GET_DATA, path, False)[0] == data, f"{what}: {path} can't be read")


def digest_of(directory):
    """path -> digest of every file below, but the lock's."""
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(directory.rglob("*")) if path.is_file() and path.name != "ringkeeper.lock"}


def flip(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 0x40]))


def segments(data):
    return sorted(path for path in (data / "data" / "log").rglob("*.log"))


def non_zero_blocks(path):
    """Offsets of the 4 KiB blocks of a segment that hold something, its head aside."""
    content = path.read_bytes()
    return [at for at in range(4096, len(content), 4096) if any(content[at:at + 4096])]


def zero(path, offset):
    """Loses the block around `offset`, as a write that never reached its place. Returns what undoes it."""
    at = offset // 4096 * 4096
    with open(path, "r+b") as file:
        file.seek(at)
        old = file.read(4096)
        file.seek(at)
        file.write(bytes(4096))

    def undo():
        with open(path, "r+b") as again:
            again.seek(at)
            again.write(old)
    return undo


def flip_back(path, offset):
    flip(path, offset)
    return lambda: flip(path, offset)


def cut_short(path, offset):
    content = path.read_bytes()
    os.truncate(path, offset // 4096 * 4096)
    return lambda: path.write_bytes(content)


def removed(path, _):
    aside = path.with_name("aside")
    path.rename(aside)
    return lambda: aside.rename(path)


def refused_for_damage(lab, data, path, offset, settings):
    """One start on damaged data: the status, what it says, and that it changed nothing."""
    before = digest_of(data)
    server = lab.server(data, **settings)
    with server.launch():
        status = server.wait_end(10)
    said = server.log_tail(8)
    check(status == DAMAGE, f"status {status}, not {DAMAGE}:\n{said}")
    check(path.name in said, f"the damaged file {path.name} isn't named:\n{said}")
    named = [int(n) for n in re.findall(r"(?:byte|offset) (\d+)", said)]
    check(any(abs(n - offset) < 65536 for n in named), f"no offset near {offset} is named but {named}:\n{said}")
    check(digest_of(data) == before, "refusing to start changed what is on disk")


def damage_in_the_log_is_refused(lab):
    """Damage below the durable position: status 20 with file and offset, and no byte is changed by the refusal."""
    data, settings = lab.scratch / "damaged", {"snapCount": 1_000_000}
    with lab.server(data, **settings) as server:
        made = fill_nodes(server, 200, 300)
        server.stop()
    kinds = [flip_back, flip_back, flip_back, flip_back, zero, zero, cut_short, removed]
    for trial, kind in enumerate(kinds):
        dice = random.Random(trial)
        path = dice.choice([s for s in segments(data) if non_zero_blocks(s)])
        blocks = non_zero_blocks(path)
        block = blocks[0 if trial == 0 else dice.randrange(len(blocks))]
        offset = block + (dice.randrange(60, 300) if kind is flip_back else 0)
        undo = kind(path, offset)
        try:
            refused_for_damage(lab, data, path, blocks[0] if kind is removed else offset, settings)
        except host.Failure as failure:
            raise host.Failure(f"{kind.__name__} {path.name} at {offset}: {failure}") from None
        undo()
    with lab.server(data, **settings) as server:
        all_there(server, made, "with the damage undone")
        server.stop()
    return f"{len(kinds)} damages (flipped bits, lost blocks, a cut and a missing file) refused with status {DAMAGE}; nothing changed"


def a_loss_can_be_accepted(lab):
    """After `accept-loss` the server starts with a prefix of the history; the damaged files are kept aside."""
    data, settings = lab.scratch / "lossy", {"snapCount": 1_000_000}
    with lab.server(data, **settings) as server:
        made = fill_nodes(server, 200, 300)
        server.stop()
    path = next(s for s in segments(data) if len(non_zero_blocks(s)) > 20)
    blocks = non_zero_blocks(path)
    flip(path, blocks[len(blocks) // 2] + 100)
    done = subprocess.run([str(host.binary()), "accept-loss", str(data / "data")], capture_output=True, text=True, timeout=30)
    check(done.returncode == 0, f"accept-loss ends with status {done.returncode}: {done.stderr}")
    with lab.server(data, **settings) as server:
        client = connect(server)
        there = [client.call(wire.EXISTS, path, False).err == 0 for path in made]
        kept = there.index(False) if False in there else len(there)
        check(0 < kept < len(there) and not any(there[kept:]), f"what is left isn't a prefix: {there}")
        all_there(server, dict(list(made.items())[:kept]), "after accept-loss")
        client.create("/after", b"goes on")
        server.stop()
    return f"{kept} of {len(made)} writes left, in order; said: {(done.stdout or done.stderr).strip().splitlines()[-1]:.100}"


def a_damaged_snapshot_is_passed_over(lab):
    """The newest snapshot is damaged: an older one and the log give the same state, and a line names the damaged one."""
    data = lab.scratch / "snapshots"
    with lab.server(data, snapCount=400) as server:
        made = fill_nodes(server, 1500, 200)
        snapshots, deadline = [], time.monotonic() + 10
        while len(snapshots) < 2:
            check(time.monotonic() < deadline, "1,500 writes with snapCount=400 gave no two snapshots")
            time.sleep(0.1)
            snapshots = sorted((data / "data" / "snapshots").glob("*.snap"))
        server.stop()
    newest = sorted((data / "data" / "snapshots").glob("*.snap"))[-1]
    flip(newest, newest.stat().st_size // 2)
    with lab.server(data, snapCount=400) as server:
        all_there(server, made, "with the newest snapshot damaged")
        check(newest.name in server.log(), f"no line names the damaged snapshot {newest.name}")
        server.stop()
    return f"{newest.name} passed over and named, all {len(made)} writes there"
