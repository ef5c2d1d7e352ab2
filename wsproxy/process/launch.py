"""Stands between fork and exec: gives a program a session and process group of its own, and becomes the program.

Run as a script, C{python -I -S launch.py PATH NAME ARGS…}, so that it starts in 10 ms and imports nothing of ours::

    twistd ─ fork ─► launch.py ─ setsid ─ exec ─► PATH, which sees NAME ARGS… and the environment of launch.py

Where the program cannot be run it says so on stderr and leaves with 127 (there is none) or 126, as a shell does.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import suppress

__all__ = ["NOT_EXECUTABLE", "NOT_FOUND"]

NOT_EXECUTABLE = 126
NOT_FOUND = 127

_PR_SET_PDEATHSIG = 1


def _environment() -> dict[bytes, bytes]:
    """What we were started with; os.environ may have gained LC_CTYPE when Python started (PEP 538)."""
    try:
        with open("/proc/self/environ", "rb") as stream:
            entries = stream.read().split(b"\0")
    except OSError:
        return dict(os.environb)
    return {name: value for name, equals, value in (entry.partition(b"=") for entry in entries) if equals}


def _main(path: str, *words: str) -> int:
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # which Python ignores, and exec(2) would leave ignored
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    with suppress(OSError, AttributeError):
        # should the proxy be killed, the program is asked to end
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
    try:
        os.execve(path, words, _environment())
    except OSError as error:
        print(f"{words[0]}: {error.strerror}", file=sys.stderr)
        return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
