"""What has to hold between the server and its disk, each as one function over real files.

A case gets a Lab (where to work, which program serves, in which placement) and raises `host.Failure` when
the server breaks a promise. The same cases judge the deliberate faults of the runtime.
"""

import contextlib
import hashlib
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
    with lab.volume() as disk:
        with lab.server(disk.path) as server:
            made = fill_nodes(server, 20, 500)
            client = connect(server)
            disk.fail()
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


def damage_in_the_log_is_refused(lab):
    """A flipped bit below the durable position: status 20 with file and offset, and no byte is changed by the refusal."""
    data, shown = lab.scratch / f"damaged-{lab.placement}", []
    with lab.server(data, snapCount=1_000_000) as server:
        made = fill_nodes(server, 200, 300)
        server.stop()
    for trial in range(8):
        path = random.Random(trial).choice([s for s in segments(data) if non_zero_blocks(s)])
        blocks = non_zero_blocks(path)
        offset = blocks[0 if trial == 0 else random.Random(trial).randrange(len(blocks))] + random.Random(trial).randrange(60, 300)
        flip(path, offset)
        before = digest_of(data)
        with lab.server(data, snapCount=1_000_000).launch() as server:
            status = server.wait_end(10)
        said = server.log_tail(8)
        check(status == DAMAGE, f"a flipped bit in {path.name} at {offset}: status {status}, not {DAMAGE}")
        check(path.name in said, f"the damaged file {path.name} isn't named:\n{said}")
        named = [int(n) for n in re.findall(r"(?:byte|offset) (\d+)", said)]
        check(any(abs(n - offset) < 65536 for n in named), f"no offset near {offset} is named but {named}:\n{said}")
        check(digest_of(data) == before, "refusing to start changed what is on disk")
        flip(path, offset)
        shown.append(offset)
    with lab.server(data, snapCount=1_000_000) as server:
        all_there(server, made, "with the bits flipped back")
        server.stop()
    return f"{len(shown)} flipped bits refused with status {DAMAGE}, file and offset; nothing changed"


def a_damaged_snapshot_is_passed_over(lab):
    """The newest snapshot is damaged: an older one and the log give the same state, and a line names the damaged one."""
    data = lab.scratch / f"snapshots-{lab.placement}"
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
