"""Lines that are logged and written in short, and look like all others."""

from __future__ import annotations

import io
from pathlib import Path

from twisted.logger import LogEvent, Logger, LogPublisher, eventAsText, textFileLogObserver
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.daemon.jsonlog import recordOf
from wsproxy.daemon.line import Stamp, lineOf, logLine
from wsproxy.daemon.log import TextObserver
from wsproxy.daemon.outlet import File, Outlet


class LineTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.events: list[LogEvent] = []
        self.path = self.mktemp()
        self.theirs = io.StringIO()
        ours = TextObserver(Outlet(File(self.path), lambda again: None, lambda count: b""))
        publisher = LogPublisher(ours, textFileLogObserver(self.theirs), lambda event: self.events.append({**event}))
        self.log = Logger("here", observer=publisher)

    def assertAlike(self) -> None:
        """Twisted writes the same."""
        self.assertEqual(Path(self.path).read_text(), self.theirs.getvalue())

    def test_asTwistds(self) -> None:
        """The event is that of the long way, and so is what is written."""
        line = "an {id} → {{wörd}}, 100 %\nand a second line"
        logLine(self.log, line, id=7)
        self.log.info("{line}", line=line, id=7)
        short, long = self.events
        self.assertLessEqual(short.pop("log_time"), long.pop("log_time"))
        self.assertEqual(short, long)
        self.assertEqual(lineOf(short), line)
        self.assertIn("[here#info] an {id} → {{wörd}}, 100 %\n\tand a second line\n", self.theirs.getvalue())
        self.assertAlike()
        self.assertEqual(recordOf(short)["message"], line)
        self.assertEqual(recordOf(short)["id"], 7)

    def test_others(self) -> None:
        """Events that look like it, and say more or another thing, are written the long way."""
        self.log.info("{line}")
        self.log.info("{line}", line=5)
        self.log.info("{line}!", line="x")
        self.log.info("{line}", line="")
        self.log.info("{line}", line="x", log_system="system")
        try:
            raise ValueError("told")
        except ValueError:
            self.log.failure("{line}", line="x")
        self.assertIn("told", Path(self.path).read_text())
        self.assertAlike()
        self.assertEqual([lineOf(event) for event in self.events], [None, None, None, "", "x", None])

    def test_stamp(self) -> None:
        """The time is that of the event, whatever was asked before."""
        stamp = Stamp()
        for when in (0.0, 1e9, 1e9 + 0.9, 1e9 + 1, 5.0, 0.5):
            text = eventAsText({"log_format": "x", "log_time": when}, includeSystem=False)
            self.assertEqual(f"{stamp.of({'log_time': when})} x", text)
