"""
Starts a program as systemd does, which is not to be had in every place of tests: sockets from descriptor 3 on, and what
there is to be said of them in the environment, with the program's own process id.

    python activate.py NAMES FD… -- PROGRAM ARGS…

NAMES are what LISTEN_FDNAMES is to be; an empty one is none. The descriptors are those of listening sockets.
"""

from __future__ import annotations

import fcntl
import os
import sys

names, *words = sys.argv[1:]
at = words.index("--")
passed, program = [int(word) for word in words[:at]], words[at + 1 :]
kept = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 100) for descriptor in passed]
for descriptor in passed:
    os.close(descriptor)
for number, descriptor in enumerate(kept):
    os.dup2(descriptor, 3 + number, inheritable=True)
environment = {**os.environ, "LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(passed))}
if names:
    environment["LISTEN_FDNAMES"] = names
os.execve(program[0], program, environment)
