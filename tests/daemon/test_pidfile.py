"""twistd's pidfile, and what stands in its way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.daemon.pidfile import checkPidfile
from wsproxy.errors import ConfigError


class PidfileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.path.parent.mkdir(exist_ok=True)

    def complaint(self) -> str:
        """Without its beginning, and the way out of it."""
        line = str(self.assertRaises(ConfigError, checkPidfile, str(self.path)))
        start, end = (
            f"twistd --pidfile {self.path}: ",
            ("; give each proxy its own (twistd --pidfile FILE), or none (twistd --pidfile=)"),
        )
        self.assertTrue(line.startswith(start) and line.endswith(end), line)
        return line.removeprefix(start).removesuffix(end)

    def test_none(self) -> None:
        """None is needed, and none is made here."""
        for path in (None, "", str(self.path)):
            checkPidfile(path)
        self.assertFalse(self.path.exists())

    def test_running(self) -> None:
        """That of a process that runs is told of."""
        process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
        self.addCleanup(process.communicate)
        self.path.write_text(str(process.pid))
        self.assertEqual(self.complaint(), f"process {process.pid} runs already")

    def test_stale(self) -> None:
        """One that was left behind is removed: nobody has the number, or who has it was started later, as this was."""
        process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
        self.addCleanup(process.communicate)
        dead = subprocess.Popen(["true"])
        dead.wait()
        for pid in (dead.pid, process.pid, os.getpid()):
            self.path.write_text(f"{pid}")
            if pid == process.pid:
                os.utime(self.path, (1, 1))
            checkPidfile(str(self.path))
            self.assertFalse(self.path.exists())

    def test_other(self) -> None:
        """A file that is none is not touched."""
        for text in ("", "x", "0", "-1", "9" * 400):
            self.path.write_text(text)
            self.assertEqual(self.complaint(), "there is such a file, which is none")
            self.assertEqual(self.path.read_text(), text)

    def test_impossible(self) -> None:
        """A folder where it cannot be made, and what is no file at all."""
        self.path.mkdir()
        self.assertEqual(self.complaint(), "Is a directory")
        self.path = self.path / "no" / "pid"
        self.assertEqual(self.complaint(), "cannot be made there")
