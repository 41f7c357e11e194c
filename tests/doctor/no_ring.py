#!/usr/bin/env python3
"""Runs a command as a container runtime's usual profile would: the three calls of io_uring fail with EPERM.

  no_ring.py COMMAND [ARGUMENT...]

A seccomp filter of classic BPF; needs no root (PR_SET_NO_NEW_PRIVS). Works on x86_64 and aarch64, where the calls have the
same numbers.
"""

import ctypes
import os
import struct
import sys

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, MODE_FILTER = 22, 38, 2
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, EPERM = 0x7FFF0000, 0x00050000 | 1
CALLS = (425, 426, 427)  # io_uring_setup, io_uring_enter, io_uring_register


def main():
    # The number of the call is the first word of what a filter sees. Each comparison jumps to the last instruction if it holds.
    program = [(LOAD_WORD, 0, 0, 0)]
    program += [(JUMP_IF_EQUAL, len(CALLS) - at, 0, call) for at, call in enumerate(CALLS)]
    program += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, EPERM)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *instruction) for instruction in program))
    filter_ = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, MODE_FILTER, filter_, 0, 0):
        sys.exit(f"no_ring.py: no filter can be set: {os.strerror(ctypes.get_errno())}")
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
