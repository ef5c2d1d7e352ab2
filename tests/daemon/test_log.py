"""Where the log goes, and in what form."""

from __future__ import annotations

import io
import json
import os
import re
import socket
import syslog
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, Logger, LogLevel, LogPublisher, capturedLogs, formatEvent, textFileLogObserver
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from wsproxy.daemon.log import Log, SyslogObserver, TextObserver, makeLog
from wsproxy.daemon.outlet import File, Outlet
from wsproxy.daemon.threshold import Threshold
from wsproxy.errors import ConfigError


class TextTests(SynchronousTestCase):
    def test_asTwistd(self) -> None:
        """A line looks as twistd's do."""
        path = self.mktemp()
        ours = TextObserver(Outlet(File(path), lambda again: None, lambda count: b""))
        verifyObject(ILogObserver, ours)
        stream = io.StringIO()
        publisher = LogPublisher(ours, textFileLogObserver(stream))
        log = Logger("here", observer=publisher)
        log.warn("a {word}", word="wörd")
        log.error("two\nlines")
        self.assertEqual(Path(path).read_text(), stream.getvalue())
        self.assertIn("[here#warn] a wörd\n", stream.getvalue())


class SyslogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = self.mktemp()
        self.daemon = self.listen()
        self.observer = SyslogObserver("me", self.path)
        self.log = Logger("here", observer=LogPublisher(self.observer))

    def listen(self) -> socket.socket:
        daemon = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(daemon.close)
        daemon.bind(self.path)
        daemon.setblocking(False)
        return daemon

    def said(self) -> tuple[int, str]:
        match = re.fullmatch(r"<(\d+)>me\[(\d+)\]: (.*)", self.daemon.recv(4096).decode(), re.DOTALL)
        assert match is not None and int(match[2]) == os.getpid()
        return int(match[1]), match[3]

    def test_levels(self) -> None:
        """Each level is a priority of its own."""
        verifyObject(ILogObserver, self.observer)
        for level, priority in (
            (LogLevel.debug, syslog.LOG_DEBUG),
            (LogLevel.info, syslog.LOG_INFO),
            (LogLevel.warn, syslog.LOG_WARNING),
            (LogLevel.error, syslog.LOG_ERR),
            (LogLevel.critical, syslog.LOG_CRIT),
        ):
            self.log.emit(level, "hello")
            self.assertEqual(self.said(), (syslog.LOG_USER | priority, f"[here#{level.name}] hello"))

    def test_json(self) -> None:
        """In JSON an event is one object, traceback and all; and what is less than the level is not sent."""
        observer = SyslogObserver("me", self.path, threshold=Threshold("warn"), json=True)
        log = Logger("here", observer=LogPublisher(observer))
        log.info("no")
        log.warn("two\nlines", code=7)
        priority, text = self.said()
        record = json.loads(text)
        self.assertEqual((record["message"], record["code"]), ("two\nlines", 7))
        self.assertEqual(priority, syslog.LOG_USER | syslog.LOG_WARNING)

    def test_lines(self) -> None:
        """Each line goes on its own, the later ones indented."""
        self.log.info("one\ntwo")
        self.assertEqual([self.said()[1] for _ in range(2)], ["[here#info] one", "\ttwo"])

    def test_lost(self) -> None:
        """A daemon that reads nothing holds nobody up, and is told what it has missed."""
        for number in range(2000):
            self.log.info("{number}", number=number)
        taken = 0
        while True:
            try:
                self.daemon.recv(4096)
            except BlockingIOError:
                break
            taken += 1
        self.log.info("again")
        self.assertEqual(
            self.said(),
            (syslog.LOG_USER | syslog.LOG_WARNING, f"{2000 - taken} lines of the log were lost: nobody took them"),
        )
        self.assertEqual(self.said()[1], "[here#info] again")

    def test_restarted(self) -> None:
        """A daemon that was started anew is found."""
        self.daemon.close()
        os.unlink(self.path)
        self.log.info("to nobody")
        self.daemon = self.listen()
        self.log.info("hello")
        self.assertEqual(self.said()[1], "1 lines of the log were lost: nobody took them")
        self.assertEqual(self.said()[1], "[here#info] hello")


class PlaceTests(SynchronousTestCase):
    """What twistd was told, and where the log goes then."""

    def make(self, stdout: Any = None, **options: Any) -> Log:
        twistd = {"nodaemon": 1, "logfile": None, "syslog": 0, "prefix": "twisted", "logger": None}
        return makeLog({**twistd, **options}, Clock(), stdout)

    def write(self, log: Log, text: str) -> None:
        Logger("here", observer=LogPublisher(log.observer)).info(text)

    def test_file(self) -> None:
        """C{--logfile}: there, wherever the process goes later."""
        path = Path(self.mktemp()).absolute()
        path.parent.mkdir(exist_ok=True)
        for name in (str(path), os.path.relpath(path)):
            log = self.make(logfile=name)
            self.assertEqual((log.stdout, log.foreground), (None, False))
            self.write(log, name)
            self.assertIn(f" {name}\n", path.read_text())

    def test_daemon(self) -> None:
        """A daemon's is twistd.log, as twistd has it."""
        folder = Path(self.mktemp())
        folder.mkdir()
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(folder)
        self.make(nodaemon=0)
        self.assertEqual(os.listdir("."), ["twistd.log"])

    def test_stdout(self) -> None:
        """In the foreground stdout, without making that nonblocking."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        with os.fdopen(writer, "w") as stream:
            for options in ({}, {"logfile": "-"}):
                log = self.make(stream, **options)
                self.assertTrue(log.foreground)
                self.assertIsNot(log.stdout, None)
                self.write(log, "hello")
                self.assertIn(b"hello\n", os.read(reader, 1000))
            self.assertTrue(os.get_blocking(writer))

    def test_twistds(self) -> None:
        """An observer of the operator's own, C{twist}, and what twistd refuses, are left to them."""
        for log in (
            self.make(logger="mine"),
            self.make(nodaemon=0, logfile="-"),
            self.make(),
            makeLog({}, Clock(), None),
        ):
            self.assertIs(log.observer, None)

    def test_syslog(self) -> None:
        """C{--syslog}, with twistd's prefix."""
        self.assertIsInstance(self.make(syslog=1, logfile="there").observer, SyslogObserver)

    def test_impossible(self) -> None:
        """A file that cannot be is told in one line."""
        error = self.assertRaises(ConfigError, self.make, logfile="/no/log")
        self.assertEqual(str(error), "--logfile /no/log: No such file or directory")

    def test_reopen(self) -> None:
        """A file that was renamed is followed by another; where that cannot be, the log says so."""
        path = Path(self.mktemp()).absolute()
        log = self.make(logfile=str(path))
        path.rename(path.with_name("old"))
        log.reopen()
        self.write(log, "hello")
        self.assertIn(" hello\n", path.read_text())
        path.unlink()
        path.mkdir()
        with capturedLogs() as events:
            log.reopen()
        [event] = events
        self.assertIn("goes on in the old file", formatEvent(event))
        Log().reopen()
