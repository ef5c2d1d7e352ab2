"""Who holds the place of a process while new code is on its way in, and goes on holding it where that cannot start.

::

    old code ─► execv: python -c 'exec(pread(N, …))' twistd WORDS…      this file, out of memory
                   ▼
                runs twistd WORDS, as Python itself would have
                   │ it raises, or ends, before it serves ──► it serves: C{release}, and nothing of this is left
                   ▼
                execv of this file again: a clean process, and all descriptors as they were
                   ▼
                waits, and the children serve on: SIGUSR2, SIGHUP and the clock have the new code tried once more
                   │ SIGTERM, or none of them is left
                   ▼
                the end of them, and of this

It is executed from the text that the old code has kept of it, whatever has become of the files by then, and imports
nothing but what comes with Python. What the children say meanwhile waits for whoever comes; nobody answers them.
"""

from __future__ import annotations

import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NoReturn

__all__ = ["NAME", "Caretaker", "main"]

NAME = "wsproxy caretaker"
"""Of the module that the new code finds in C{sys.modules}, with C{release()} in it: L{wsproxy.daemon.handover}."""

_VARIABLE = "WSPROXY_HANDOVER"

_STARTED_WITHIN = 60
"""Seconds that new code has to start. It has been tried out, which takes longer."""

_COULD_START = 86
"""See L{wsproxy.daemon.handover.COULD_START}."""

_LONGEST_DELAY = 30.0
"""Seconds between two times that it is tried by the clock."""

_ENDED_WITHIN = 7.0
"""Seconds that the children are given to end; workers take 6.25, a wrapped program 5."""

_TOLD = 1.0
"""Seconds of that for workers to tell their clients, before all else ends."""

_TICK = 0.25
"""Seconds between two looks at the children."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class _Late(BaseException):
    """Nothing that new code would catch."""


class Caretaker:
    """
    @param left: what the old code has left: C{caretaker} of it is for this. That has C{interpreter}, Python and its own
        options; C{program}, the script, C{-m} or C{-c} and all that follows; C{loader}, what has Python read this file
        from the descriptor C{code}; C{descriptors}, all that are handed over, and C{channels}, those of them that
        workers hear the end of; C{log}, where to tell; C{pidfile}, or None; C{failures}, how often the new code has
        failed to start by now, and C{reason}.
    """

    def __init__(self, left: dict[str, Any]) -> None:
        self._left = left
        self._own: dict[str, Any] = left["caretaker"]
        self._environment = dict(os.environ)  # new code takes out what is not for others
        self._directory = os.open(".", os.O_PATH | os.O_CLOEXEC)
        self._spare: list[int] = []
        self._code = os.dup(self._own["code"])
        self._before: Any = None
        self._trial: subprocess.Popen[bytes] | None = None
        self._asked = False

    def start(self) -> None:
        """Run the new code, until it ends. Where it never serves, this does not return."""
        sys.orig_argv[:] = [*self._own["interpreter"], *self._own["program"]]
        if self._left["rehearsal"]:
            _run(self._own["program"])
            return
        self._spare = [os.dup(each) for each in self._own["descriptors"]]
        sys.modules[NAME] = module = type(sys)(NAME)
        module.release = self.release  # type: ignore[attr-defined]
        self._before = signal.signal(signal.SIGALRM, _late)
        signal.alarm(_STARTED_WITHIN)
        try:
            _run(self._own["program"])
        except BaseException as error:
            if self._code < 0:
                raise
            self._failed(_inOneLine(error))
        if self._code >= 0:
            self._failed("it has ended before it served")

    def release(self) -> None:
        """The new code serves."""
        if self._code >= 0:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, self._before)
            for each in (self._own["code"], self._code, self._directory, *self._spare):
                os.close(each)
            self._code, self._spare = -1, []
            sys.modules.pop(NAME, None)

    def _failed(self, reason: str) -> NoReturn:
        """Begin again, with a clean process."""
        signal.alarm(0)
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        for place, spare in zip(self._own["descriptors"], self._spare, strict=True):
            os.dup2(spare, place)
        os.dup2(self._code, self._own["code"])
        self._own.update(failures=self._own["failures"] + 1, reason=reason)
        self._execute()

    def _execute(self) -> NoReturn:
        words = self._words()
        descriptor = _leave(self._left)
        _passOn([*self._own["descriptors"], self._own["code"], descriptor])
        os.fchdir(self._directory)
        os.execve(words[0], words, {**self._environment, _VARIABLE: str(descriptor)})

    def _words(self) -> list[str]:
        return [*self._own["interpreter"], "-c", self._own["loader"], *self._own["program"]]

    def wait(self) -> None:
        """Hold the place, as the new code has not started; until it is worth another try, or the end."""
        reason, failures = self._own["reason"], self._own["failures"]
        delay = min(_LONGEST_DELAY, 2.0 ** (failures - 1))
        self._tell(f"The new version cannot start, and the old workers serve on without a parent: {reason}; "
                   f"another try in {delay:.0f} s, or at SIGUSR2")  # fmt: skip
        _notify("READY=1\nSTATUS=The new version cannot start; old workers serve on")
        while True:
            self._pass(delay)
            asked, self._asked = self._asked, False
            problem = self._rehearse()
            if problem is None:
                self._own["reason"] = None
                self._execute()
            if asked or problem not in reason:
                self._tell(f"The new version still cannot start: {problem}")
                reason = problem
            delay = min(_LONGEST_DELAY, delay * 2)

    def _pass(self, seconds: float) -> None:
        """Let that time pass, unless somebody asks for another try."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self._asked:
            self._look(min(left, _TICK))

    def _look(self, seconds: float) -> None:
        """Obey a signal, if one comes within so many seconds, and see to the children."""
        taken = signal.sigtimedwait(_SIGNALS, seconds)
        number = 0 if taken is None else taken.si_signo
        if number in (signal.SIGTERM, signal.SIGINT):
            self._tell(f"Received {signal.Signals(number).name}: closing; a second one ends at once")
            self._end(0)
        if not any(map(_isHeard, self._own["channels"])):
            self._tell("No worker is left, and no new version to start one")
            self._end(1)
        self._asked = self._asked or number in (signal.SIGUSR2, signal.SIGHUP)
        if os.environ.get("WATCHDOG_USEC"):
            _notify("WATCHDOG=1")  # rather too often than too late

    def _rehearse(self) -> str | None:
        """@return: why the new code cannot start, as far as it tells in a process of its own."""
        descriptor = _leave({**self._left, "rehearsal": True})
        output = os.memfd_create("output")
        words = self._words()
        try:
            self._trial = subprocess.Popen(
                words,
                env={**os.environ, _VARIABLE: str(descriptor)},
                pass_fds=[descriptor, self._own["code"]],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
            return self._outcome(self._trial, output)
        except OSError as error:
            return f"{error.strerror}"
        finally:
            self._endTrial()
            os.close(descriptor)
            os.close(output)

    def _endTrial(self) -> None:
        if self._trial is not None:
            self._trial.kill()
            self._trial.wait()
            self._trial = None

    def _outcome(self, child: subprocess.Popen[bytes], output: int) -> str | None:
        end = time.monotonic() + _STARTED_WITHIN
        while child.poll() is None:
            if time.monotonic() > end:
                return f"it has not started within {_STARTED_WITHIN} s"
            self._look(0.05)
        if child.returncode == _COULD_START:
            return None
        if not child.returncode:
            return "it ended with status 0, and has not said that it could start"
        size = os.fstat(output).st_size
        lines = os.pread(output, 4096, max(0, size - 4096)).decode("utf-8", "backslashreplace").split("\n")
        how = f"it ended by signal {-child.returncode}" if child.returncode < 0 else f"status {child.returncode}"
        return next((line.strip() for line in reversed(lines) if line.strip()), how)

    def _end(self, status: int) -> NoReturn:
        """End the children: workers first, for a program that ends closes its side of their sessions."""
        _notify("STOPPING=1")
        self._endTrial()
        for each in self._own["channels"]:
            with suppress(OSError), socket.socket(fileno=os.dup(each)) as channel:
                channel.shutdown(socket.SHUT_WR)
        begun = time.monotonic()
        _reap(begun + _TOLD)
        for each in self._own["descriptors"]:
            with suppress(OSError):
                os.close(each)
        _reap(begun + _ENDED_WITHIN)
        for pid in _children():
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if self._own["pidfile"]:
            with suppress(OSError):
                os.unlink(self._own["pidfile"])
        os._exit(status)

    def _tell(self, text: str) -> None:
        with suppress(OSError):
            _log(self._own["log"], text)


def _late(number: int, frame: object) -> NoReturn:
    raise _Late(f"it has not started within {_STARTED_WITHIN} s")


def _run(program: Sequence[str]) -> None:
    """Do what Python itself does with these words."""
    kind = program[0]
    places = {"-m": os.getcwd(), "-c": ""}
    if not sys.flags.safe_path:
        sys.path.insert(0, places[kind] if kind in places else os.path.dirname(os.path.realpath(kind)))
    if kind == "-m":
        sys.argv[:] = program[1:]
        runpy.run_module(program[1], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.argv[:] = ["-c", *program[2:]]
        exec(compile(program[1], "<string>", "exec"), {"__name__": "__main__", "__builtins__": __builtins__})
    else:
        sys.argv[:] = program
        runpy.run_path(kind, run_name="__main__")


def _inOneLine(error: BaseException) -> str:
    """What has become of the new code, and where."""
    if isinstance(error, SystemExit) and isinstance(error.code, str):
        return " ".join(error.code.split())
    if isinstance(error, SystemExit):
        return f"it has ended with status {error.code or 0} before it served"
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = "" if trace is None else f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})"
    text = " ".join(f"{error}".split()).encode("unicode_escape").decode("ascii")[:500]
    return text if isinstance(error, _Late) else f"{type(error).__name__}: {text}{where}"


def _leave(left: Mapping[str, Any]) -> int:
    """@return: the descriptor of this, for who comes next."""
    descriptor = os.memfd_create("handover", os.MFD_CLOEXEC)
    with open(descriptor, "wb", closefd=False) as stream:
        stream.write(json.dumps(left).encode("ascii"))
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _passOn(descriptors: Iterable[int]) -> None:
    """Have who is executed next inherit these, and none that was opened meanwhile."""
    kept = {0, 1, 2, *descriptors}
    with suppress(OSError):
        for each in map(int, os.listdir("/proc/self/fd")):
            with suppress(OSError):
                os.set_inheritable(each, each in kept)
    for each in kept:
        with suppress(OSError):
            os.set_inheritable(each, True)


def _isHeard(channel: int) -> bool:
    """Whether the worker at the other end is there."""
    poll = select.poll()
    poll.register(channel, 0)
    return not poll.poll(0)


def _children() -> Iterator[int]:
    with suppress(OSError), open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as stream:
        yield from map(int, stream.read().split())


def _reap(end: float) -> None:
    """Wait for the children, until then. A second signal ends it all at once."""
    while time.monotonic() < end:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        taken = signal.sigtimedwait((signal.SIGTERM, signal.SIGINT), 0.05)
        if taken is not None:
            for pid in _children():
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            os._exit(128 + taken.si_signo)


def _log(place: Mapping[str, Any], text: str) -> None:
    """@param place: see L{Log.place<wsproxy.daemon.log.Log>}."""
    logger = "wsproxy.daemon.caretaker"
    if place["kind"] == "syslog":
        import syslog

        syslog.openlog(place["prefix"], syslog.LOG_PID)
        syslog.syslog(syslog.LOG_ERR, text)
        return
    if place["json"]:
        record = {"time": time.time(), "level": "error", "logger": logger, "message": text}
        line = json.dumps(record)
    else:
        line = f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} [{logger}#error] {text}"
    data = f"{line}\n".encode("utf-8", "backslashreplace")
    if place["kind"] == "file":
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
        with open(os.open(place["path"], flags, 0o666), "ab") as stream:
            stream.write(data)
    elif select.select([], [1], [], 0)[1]:  # else nobody reads
        os.write(1, data)


def _notify(text: str) -> None:
    """Tell a service manager, if there is one: sd_notify(3)."""
    path = os.environ.get("NOTIFY_SOCKET")
    if path:
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
            sender.sendto(text.encode(), f"\0{path[1:]}" if path.startswith("@") else path)


def main() -> None:
    """The process."""
    signal.alarm(0)
    descriptor = int(os.environ[_VARIABLE])
    with open(descriptor, "rb", closefd=False) as stream:
        stream.seek(0)
        left = json.load(stream)
    caretaker = Caretaker(left)
    if left["rehearsal"] or left["caretaker"]["reason"] is None:
        caretaker.start()
    else:
        os.close(descriptor)
        caretaker.wait()


if __name__ == "__main__":
    main()
