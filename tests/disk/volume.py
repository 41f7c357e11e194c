"""A small ext4 filesystem of its own on a loop device, whose device can be counted, stalled, filled and broken.

Needs root. `reason_to_skip` says why it can't be had here. What was mounted or attached is undone whatever
happens in between.
"""

import fcntl
import os
import pathlib
import shutil
import struct
import subprocess
import time

FREEZE, THAW, SHUTDOWN = 0xC0045877, 0xC0045878, 0x8004587D
SHUTDOWN_WITHOUT_FLUSH = 2
WRITES_FIELD, FLUSHES_FIELD = 4, 15  # of /sys/block/DEVICE/stat


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()


def reason_to_skip(scratch):
    """None, or why no loop device can be mounted here."""
    if os.geteuid() != 0:
        return "mounting a loop device needs root"
    for tool in ("losetup", "mkfs.ext4", "mount", "umount"):
        if not shutil.which(tool):
            return f"{tool} is missing (Debian: apt-get install mount e2fsprogs)"
    try:
        with Volume(scratch, "probe", 16):
            return None
    except (OSError, subprocess.TimeoutExpired) as why:
        return f"no loop device can be mounted: {why}"


class Volume:
    """A mounted filesystem of `mib` MiB; `path` is where."""

    def __init__(self, scratch, name, mib):
        self.image, self.path = pathlib.Path(scratch) / f"{name}.img", pathlib.Path(scratch) / f"{name}.mnt"
        self.device, self.mib, self.frozen, self.mounted = None, mib, False, False

    def __enter__(self):
        self.path.mkdir()
        with open(self.image, "wb") as image:
            image.truncate(self.mib << 20)
        try:
            run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(self.image))
            self.device = run("losetup", "--find", "--show", str(self.image))
            self.mount()
        except BaseException:
            self.undo()
            raise
        return self

    def __exit__(self, kind, value, trace):
        self.undo()
        return False

    def undo(self):
        if self.frozen:
            self.thaw()
        if self.mounted:
            self.unmount()
        if self.device:
            run("losetup", "--detach", self.device)
        self.image.unlink(missing_ok=True)
        self.path.rmdir()

    def mount(self):
        run("mount", "-t", "ext4", self.device, str(self.path))
        self.mounted = True

    def unmount(self):
        """Waits a moment for whoever ends just now."""
        for attempt in range(50):
            try:
                run("umount", str(self.path))
                break
            except OSError:
                if attempt == 49:
                    raise
                time.sleep(0.1)
        self.mounted = False

    def remount(self):
        """Nothing of the page cache is left: what is read afterwards comes from the device."""
        self.unmount()
        run("blockdev", "--flushbufs", self.device)
        self.mount()

    def control(self, request, argument=0):
        handle = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(handle, request, struct.pack("i", argument))
        finally:
            os.close(handle)

    def freeze(self):
        """Every write waits from now on, as for a device that hangs."""
        self.control(FREEZE)
        self.frozen = True

    def thaw(self):
        self.control(THAW)
        self.frozen = False

    def fail(self):
        """Every write fails from now on with EIO, as after losing the device."""
        self.control(SHUTDOWN, SHUTDOWN_WITHOUT_FLUSH)

    def stat(self, field):
        return int(pathlib.Path(f"/sys/block/{os.path.basename(self.device)}/stat").read_text().split()[field])

    def flushes(self):
        """Flushes that the device completed."""
        return self.stat(FLUSHES_FIELD)

    def fill(self, keep_free_kib):
        """Takes all space but a little."""
        free_kib = os.statvfs(self.path).f_bavail * os.statvfs(self.path).f_frsize >> 10
        with open(self.path / "ballast", "wb") as ballast:
            os.posix_fallocate(ballast.fileno(), 0, max(1, free_kib - keep_free_kib) << 10)

    def release(self):
        (self.path / "ballast").unlink()
