"""The command line of wswrap, as one of twistd."""

from __future__ import annotations

import io
import sys

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.command.usage import Options
from wsproxy.command.wswrap import makeOptions, translate

TWISTD = ["-n", "--pidfile=", "websockify"]


class TranslateTests(SynchronousTestCase):
    def translate(self, *words: str) -> list[str]:
        return translate(words, Options())

    def complaint(self, *words: str) -> str:
        return str(self.assertRaises(SystemExit, self.translate, *words).code)

    def test_port(self) -> None:
        """With a port, that is listened on."""
        self.assertEqual(
            self.translate("6379", "redis-server", "--port", "6379"),
            [*TWISTD, "--listen", "6379", "--raw", "--", "redis-server", "--port", "6379"],
        )

    def test_everyPort(self) -> None:
        """Without one, whatever the program listens on."""
        self.assertEqual(self.translate("prog", "1"), [*TWISTD, "--every-port", "--raw", "--", "prog", "1"])

    def test_separator(self) -> None:
        """C{--} before the program is the end of the options, as everywhere."""
        self.assertEqual(self.translate("--", "prog"), self.translate("prog"))
        self.assertEqual(self.translate("-v", "--", "23", "prog", "-v"), self.translate("-v", "23", "prog", "-v"))

    def test_options(self) -> None:
        """Options of twistd websockify may come first, with their values."""
        self.assertEqual(
            self.translate("--wrap-mode", "ignore", "-v", "5901", "vncserver", ":1"),
            [*TWISTD, "--wrap-mode", "ignore", "-v", "--listen", "5901", "--raw", "--", "vncserver", ":1"],
        )

    def test_raw(self) -> None:
        """C{--raw} may be said, too."""
        self.assertEqual(self.translate("--raw", "1", "prog"), [*TWISTD, "--raw", "--listen", "1", "--", "prog"])

    def test_help(self) -> None:
        """Help is about wswrap, and names the options that it takes; the version is ours."""
        for word, beginning in (("--help", "Usage: wswrap ["), ("-h", "Usage: wswrap ["), ("--version", "wsproxy ")):
            out = io.StringIO()
            self.patch(sys, "stdout", out)
            stopped = self.assertRaises(SystemExit, translate, [word], makeOptions())
            self.assertEqual(stopped.code, 0)
            self.assertTrue(out.getvalue().startswith(beginning), out.getvalue())
            self.assertEqual("--wrap-mode" in out.getvalue(), word != "--version")
            self.assertNotIn("--target ENDPOINT |", out.getvalue())

    def test_complaints(self) -> None:
        """Everything else is one line."""
        for words in ((), ("5901",), ("--bogus", "prog"), ("--wrap-mode",)):
            line = self.complaint(*words)
            self.assertTrue(line.startswith("wswrap: "), line)
            self.assertNotIn("\n", line)
