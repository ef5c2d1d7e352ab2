"""The thread that ends the process in time."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from threading import Event

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.daemon.watchdog import LAST_CALL, Watchdog

SECONDS = 20.0
"""For what happens at once."""

STUCK = """
import hashlib, os, signal, threading
from wsproxy.daemon.watchdog import Watchdog
signal.signal(signal.SIGTERM, lambda *_: print("too late"))
watchdog = Watchdog()
def noticed(number):
    os.write(1, b"noticed %d\\n" % number)
    watchdog.leaveWithin(0.2)
watchdog.watchSignals()
watchdog.start(noticed, lambda: None, lambda: os._exit(7))
threading.Timer(0.5, os.write, (1, b"ready\\n")).start()
hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # minutes in C, where no handler is called
"""


class DeadlineTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.called: list[tuple[str, float]] = []
        self.left = Event()
        self.noticed: list[int] = []

    def start(self, watchdog: Watchdog) -> None:
        def note(what: str) -> None:
            self.called.append((what, time.monotonic()))

        def leave() -> None:
            note("leave")
            self.left.set()

        watchdog.start(self.noticed.append, lambda: note("last call"), leave)

    def test_earliest(self) -> None:
        """The earliest of all deadlines counts, and a last call comes before it."""
        watchdog = Watchdog()
        self.start(watchdog)
        began = time.monotonic()
        watchdog.leaveWithin(600)
        watchdog.leaveWithin(LAST_CALL + 0.2)
        watchdog.leaveWithin(60)
        self.assertTrue(self.left.wait(SECONDS))
        (first, early), (second, late) = self.called
        self.assertEqual((first, second), ("last call", "leave"))
        self.assertGreaterEqual(early - began, 0.2)
        self.assertGreaterEqual(late - began, LAST_CALL + 0.2)

    def test_badCall(self) -> None:
        """A last call that fails changes nothing."""
        watchdog = Watchdog()
        watchdog.start(self.noticed.append, lambda: 1 / 0, self.left.set)
        watchdog.leaveWithin(0)
        self.assertTrue(self.left.wait(SECONDS))

    def test_hangUp(self) -> None:
        """The other end of a pipe that goes away is noticed, though what came through it was never read."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        watchdog = Watchdog(hangUp=reader)
        noticed = Event()
        watchdog.start(lambda number: noticed.set(), lambda: None, lambda: None)
        os.write(writer, b"unread")
        self.assertFalse(noticed.wait(0.1))
        os.close(writer)
        self.assertTrue(noticed.wait(SECONDS))

    def test_shutDown(self) -> None:
        """So is the other end of a socket that writes no more, or goes away, though something was left unread."""
        for end in (lambda there: there.shutdown(socket.SHUT_WR), socket.socket.close):
            here, there = socket.socketpair()
            self.addCleanup(here.close)
            self.addCleanup(there.close)
            watchdog = Watchdog(hangUp=here.fileno())
            noticed = Event()
            watchdog.start(lambda number, noticed=noticed: noticed.set(), lambda: None, lambda: None)
            there.sendall(b"unread")
            self.assertFalse(noticed.wait(0.1))
            end(there)
            self.assertTrue(noticed.wait(SECONDS))


class SignalTests(SynchronousTestCase):
    def test_stuck(self) -> None:
        """A signal is noticed, and obeyed in time, while the main thread is in a C library and does not come back."""
        process = subprocess.Popen(
            [sys.executable, "-c", STUCK],
            cwd=Path(__file__).parents[1],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.kill)
        assert process.stdout is not None
        self.assertEqual(process.stdout.readline(), "ready\n")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.stdout.readline(), f"noticed {int(signal.SIGTERM)}\n")
        self.assertEqual(process.wait(SECONDS), 7)
        process.stdout.close()

    def test_passedOn(self) -> None:
        """Whoever had signals reported before still has: without, a reactor would not see that processes end."""
        script = (
            "import os, signal\n"
            "from wsproxy.daemon.watchdog import Watchdog\n"
            "reader, writer = os.pipe()\n"
            "os.set_blocking(writer, False)\n"
            "signal.signal(signal.SIGCHLD, lambda *_: None)\n"
            "signal.set_wakeup_fd(writer)\n"
            "watchdog = Watchdog()\n"
            "watchdog.watchSignals()\n"
            "watchdog.watchSignals()\n"
            "watchdog.start(lambda number: None, lambda: None, lambda: None)\n"
            "os.kill(os.getpid(), signal.SIGCHLD)\n"
            "print(os.read(reader, 1)[0] == signal.SIGCHLD)\n"
        )
        outcome = subprocess.run(
            [sys.executable, "-c", script],
            cwd=Path(__file__).parents[1],
            check=True,
            text=True,
            capture_output=True,
            timeout=SECONDS,
        )
        self.assertEqual(outcome.stdout, "True\n")
