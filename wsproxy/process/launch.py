"""Starts a program, and stays above all that it starts, so that none of it is left when the proxy is no more.

Run as a script, C{python -I -S launch.py SECONDS PATH NAME ARGS…}, so that it starts in 10 ms and imports nothing of
ours::

    twistd ─ fork ─► launch.py ─ fork, setsid, exec ─► PATH, which sees NAME ARGS… and the environment of launch.py
      │  ▲              │  ▲ whatever loses its parent is adopted here (PR_SET_CHILD_SUBREAPER)
      │  └ 4: "pid N", "exit STATUS" lines
      └─── 3: the life line; nothing is ever said on it. At its end, which a killed proxy brings about as well, the
              program's process group is sent SIGTERM, and SIGKILL after SECONDS

It leaves when there is no process below it any more, or when the life line and the process group have ended: what has
left the group then goes on without it. Where the program cannot be run it says so on stderr, and the status is 127
(there is none) or 126, as a shell has it.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import time
from contextlib import suppress

__all__ = ["LIFE_LINE", "NOT_EXECUTABLE", "NOT_FOUND", "STATUS"]

NOT_EXECUTABLE = 126
NOT_FOUND = 127

LIFE_LINE, STATUS = 3, 4
"""Descriptors."""

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36

_GIVE_UP_AFTER = 1.0
"""Seconds that KILL may take; a process in an uninterruptible sleep takes longer."""

_WATCH = 1.0
"""Seconds between two looks at a group whose leader has ended. Once it is empty its number can be given to others."""

_POLL = 0.02
"""Seconds while it is ending: the kernel tells nobody when a group has, only when a child of ours has."""

_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Terminals and init systems send them to every process; here they mean nothing."""


def _environment() -> dict[bytes, bytes]:
    """What we were started with; os.environ may have gained LC_CTYPE when Python started (PEP 538)."""
    try:
        with open("/proc/self/environ", "rb") as stream:
            entries = stream.read().split(b"\0")
    except OSError:
        return dict(os.environb)
    return {name: value for name, equals, value in (entry.partition(b"=") for entry in entries) if equals}


def _prctl(option: int, value: int) -> None:
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value)


def _become(path: str, words: list[str]) -> int:
    """Become the program. @return: the status to leave with, where that is impossible."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ, *_IGNORED):  # exec(2) would leave them ignored
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    _prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))  # should somebody kill launch.py
    try:
        os.execve(path, words, _environment())
    except OSError as error:
        what = f"{path}: {error.strerror}" if isinstance(error, PermissionError) else error.strerror
        print(f"{words[0]}: {what}", file=sys.stderr, flush=True)
        return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE


class _Tree:
    """
    The program and all that is below us.

    @param program: its process, which leads its group.
    @ivar alone: whether there is no process below us.
    """

    def __init__(self, program: int, woken: int) -> None:
        self.alone = False
        self._program = program
        self._group: int | None = program
        self._ended = False
        self._woken = woken
        self._poll = select.poll()
        self._poll.register(woken, select.POLLIN)

    def stay(self) -> None:
        """Until nobody is left, or the life line has come to its end."""
        self._poll.register(LIFE_LINE, select.POLLIN)
        while not (self.alone or self._wait(_WATCH if self._ended and self._group is not None else None)):
            pass
        self._poll.unregister(LIFE_LINE)

    def end(self, seconds: float) -> None:
        """End the program's group: TERM, and KILL after so many seconds."""
        for number, patience in (signal.SIGTERM, seconds), (signal.SIGKILL, _GIVE_UP_AFTER):
            deadline = time.monotonic() + patience
            self._signal(number)
            while self._signal(0) and time.monotonic() < deadline:
                self._wait(_POLL)

    def _wait(self, seconds: float | None) -> bool:
        """Until a child of ours has ended, or some time has passed. @return: whether the life line has ended."""
        ready = dict(self._poll.poll(None if seconds is None else seconds * 1000))
        if self._woken in ready:
            os.read(self._woken, 4096)
        self._reap()
        return LIFE_LINE in ready

    def _reap(self) -> None:
        try:
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                if found[0] == self._program:
                    code = os.waitstatus_to_exitcode(found[1])
                    self._ended = True
                    _say(f"exit {code if code >= 0 else 128 - code}")
        except ChildProcessError:
            self.alone = True
        if self._ended:
            self._signal(0)

    def _signal(self, number: int) -> bool:
        """@return: whether there is anybody in the group. One that was empty once is never signalled again."""
        if self._group is not None:
            try:
                os.killpg(self._group, number)
            except ProcessLookupError:
                self._group = None
            except PermissionError:
                pass  # a setuid program is all there is
        return self._group is not None


def _say(line: str) -> None:
    with suppress(OSError):  # the proxy is no more, as the life line tells
        os.write(STATUS, f"{line}\n".encode())


def _main(seconds: str, path: str, *words: str) -> int:
    for descriptor in (LIFE_LINE, STATUS):
        os.set_inheritable(descriptor, False)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    executed, executing = os.pipe2(os.O_CLOEXEC)
    program = os.fork()
    if program == 0:
        os._exit(_become(path, list(words)))
    os.close(executing)
    os.read(executed, 1)  # ends when the program has a session of its own, or has itself ended
    os.close(executed)
    for descriptor in (1, 2):
        os.dup2(0, descriptor)
    _say(f"pid {program}")
    tree = _Tree(program, woken)
    tree.stay()
    if not tree.alone:
        tree.end(float(seconds))
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
