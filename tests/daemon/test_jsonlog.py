"""The log as JSON, and how much of it there is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.logger import ILogObserver, Logger, LogLevel, LogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from wsproxy.daemon.jsonlog import LONGEST
from wsproxy.daemon.log import JSONObserver, lostJSON
from wsproxy.daemon.outlet import File, Outlet
from wsproxy.daemon.threshold import Threshold


class JSONTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = self.mktemp()
        self.threshold = Threshold("info")
        self.observer = JSONObserver(Outlet(File(self.path), lambda again: None, lambda count: b""), self.threshold)
        verifyObject(ILogObserver, self.observer)
        self.log = Logger("here", observer=LogPublisher(self.observer))

    def said(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in Path(self.path).read_text("ascii").splitlines()]

    def test_fields(self) -> None:
        """An event is one object: its text, when and where it was, and its fields; numbers are numbers."""
        self.log.info("{line}", line="a line", session="12ab", code=1000, seconds=1.5, path=None, raw=False)
        [record] = self.said()
        self.assertIsInstance(record.pop("time"), float)
        self.assertEqual(
            record,
            {
                "level": "info", "logger": "here", "message": "a line", "id": "12ab", "code": 1000, "seconds": 1.5,
                "path": None, "raw": False,
            },
        )  # fmt: skip

    def test_strangers(self) -> None:
        """What a stranger says neither breaks the line nor drives a terminal, and is cut."""
        self.log.info("{a}", a="x", agent="\n\x1b[2J\u202e\ud800" + "y" * 300)
        text = Path(self.path).read_bytes()
        self.assertEqual(text.count(b"\n"), 1)
        self.assertTrue(text.isascii() and text[:-1].decode().isprintable())
        self.assertEqual(len(self.said()[0]["agent"]), LONGEST)

    def test_failure(self) -> None:
        """A traceback is a field of its own, whole."""
        try:
            raise ValueError("broken")
        except ValueError:
            self.log.failure("it failed", Failure())
        [record] = self.said()
        self.assertEqual(record["message"], "it failed")
        self.assertIn("ValueError: broken", record["traceback"])

    def test_objects(self) -> None:
        """What JSON cannot say is in the text, or nowhere."""
        self.log.info("{it}", it=object)
        [record] = self.said()
        self.assertNotIn("it", record)

    def test_lost(self) -> None:
        """That lines were lost is said in JSON, too."""
        record = json.loads(lostJSON(7))
        self.assertEqual((record["count"], record["message"]), (7, "7 lines of the log were lost: nobody took them"))

    def test_levels(self) -> None:
        """What is less than the level is not logged, until that changes."""
        self.log.debug("no")
        self.threshold.set("error")
        self.log.warn("no")
        self.log.error("yes")
        self.threshold.set("debug")
        self.log.debug("yes")
        self.assertEqual([record["message"] for record in self.said()], ["yes", "yes"])
        for level in LogLevel.iterconstants():
            self.threshold.set(level.name)
            self.assertTrue(self.threshold.passes({"log_level": LogLevel.critical}))
