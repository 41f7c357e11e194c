"""Runs the test in namespaces of its own, so that nothing it makes can outlive it.

The program starts itself again as the first process of a PID namespace, with a network and a mount
namespace. When it ends, however it ends, the kernel ends its servers, removes its links and unmounts
its disks. The machine's own network is never touched.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys

INSIDE = "RINGKEEPER_ENSEMBLE_INSIDE"
PR_SET_PDEATHSIG = 1
NEEDED = {"unshare": "util-linux", "nsenter": "util-linux", "ip": "iproute2", "nft": "nftables"}


def inside():
    return os.environ.get(INSIDE) == "yes"


def reason_to_skip():
    """None, or why there can be no namespaces here."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [tool for tool in NEEDED if not shutil.which(tool)]
    if missing and shutil.which("apt-get"):
        install(sorted({NEEDED[tool] for tool in missing}))
        missing = [tool for tool in NEEDED if not shutil.which(tool)]
    if missing:
        return f"{', '.join(missing)} missing (Debian: apt-get install {' '.join(sorted({NEEDED[t] for t in missing}))})"
    probe = subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "true"], capture_output=True, text=True, timeout=20)
    return None if probe.returncode == 0 else f"no namespaces: {probe.stderr.strip()}"


def install(packages):
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
    print(f"ensemble: installing {' '.join(packages)}", flush=True)
    settings = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if subprocess.run(command, env=settings, capture_output=True, timeout=300).returncode:
        subprocess.run(["apt-get", "update", "-q"], env=settings, capture_output=True, timeout=180)
        subprocess.run(command, env=settings, capture_output=True, timeout=300)


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def enter(arguments):
    """Runs the program again inside and returns its exit status. SIGTERM and SIGINT end everything inside."""
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, *arguments]
    child = subprocess.Popen(command, env={**os.environ, INSIDE: "yes"}, preexec_fn=die_with_parent)

    def end(number, _frame):
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    try:
        return child.wait()
    finally:
        child.kill()
        child.wait(10)
