"""A small ext4 filesystem for a server's data: filled, or left as after a power cut. And damage done to files.

Mounted inside `isolate`'s mount namespace, so it is gone with the test whatever happens.
"""

import fcntl
import os
import pathlib
import shutil
import struct
import subprocess

SHUTDOWN, WITHOUT_FLUSH = 0x8004587D, 2
SPARE_MIB = 1024


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")


class Disk:
    """A filesystem of `mib` MiB mounted at `path`; its image lies beside it."""

    def __init__(self, path, mib):
        self.path, self.image, self.mounted = pathlib.Path(path), pathlib.Path(f"{path}.img"), False
        self.path.mkdir(parents=True, exist_ok=True)
        # A file with holes: a machine without room for it would look like a full disk of the server's.
        free_mib = shutil.disk_usage(self.path).free >> 20
        if free_mib < mib + SPARE_MIB:
            raise OSError(f"this machine has {free_mib} MiB left at {self.path}, a disk of {mib} MiB needs {mib + SPARE_MIB}")
        with open(self.image, "wb") as image:
            image.truncate(mib << 20)
        run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(self.image))
        self.mount()

    def mount(self):
        run("mount", "-o", "loop", str(self.image), str(self.path))
        self.mounted = True

    def unmount(self):
        if self.mounted:
            run("umount", str(self.path))
            self.mounted = False

    def power_cut(self):
        """Nothing that isn't synced yet gets to the disk any more; every write fails from now on."""
        handle = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(handle, SHUTDOWN, struct.pack("i", WITHOUT_FLUSH))
        finally:
            os.close(handle)

    def power_on(self):
        """Reads what is left. The server must have ended."""
        self.unmount()
        self.mount()

    def free_kib(self):
        stat = os.statvfs(self.path)
        return stat.f_bavail * stat.f_frsize >> 10

    def fill(self):
        """Takes all space, to the last block."""
        with open(self.path / "ballast", "wb") as ballast:
            try:
                os.posix_fallocate(ballast.fileno(), 0, max(1, self.free_kib() - 64) << 10)
                while True:
                    os.write(ballast.fileno(), bytes(4096))
                    os.lseek(ballast.fileno(), 0, os.SEEK_END)
            except OSError:
                pass

    def release(self):
        (self.path / "ballast").unlink()


def used_len(path):
    """Length in bytes of a file without the zeros at its end, which both systems allocate ahead."""
    data = pathlib.Path(path).read_bytes()
    return len(data.rstrip(b"\0"))


def patch(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def flip_bit(path, part, dice):
    """Flips one bit at about `part` (0 to 1) of what is used. Returns where."""
    used = used_len(path)
    if used == 0:
        raise OSError(f"{path} has nothing to damage")
    offset = min(used - 1, int(used * part))
    with open(path, "rb") as file:
        file.seek(offset)
        old = file.read(1)[0]
    patch(path, offset, bytes([old ^ 1 << dice.randrange(8)]))
    return f"{pathlib.Path(path).name} byte {offset} of {used}"


def scribble(path, part, length, dice):
    """Overwrites a piece with random bytes, as a misdirected write does."""
    used = used_len(path)
    offset = max(0, min(int(used * part), used - length))
    length = min(length, used - offset)
    patch(path, offset, dice.randbytes(length))
    return f"{pathlib.Path(path).name} bytes {offset} to {offset + length} of {used}"


def zero_from(path, offset):
    """Zeros from `offset` to the end of what is used."""
    used = used_len(path)
    if used > offset:
        patch(path, offset, bytes(used - offset))
    return max(0, used - offset)
