"""The command line of wswrap, as one of twistd."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.options import Options
from wsproxy.wswrap import translate

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

    def test_options(self) -> None:
        """Options of twistd websockify may come first, with their values."""
        self.assertEqual(
            self.translate("--wrap-mode", "ignore", "-v", "5901", "vncserver", ":1"),
            [*TWISTD, "--wrap-mode", "ignore", "-v", "--listen", "5901", "--raw", "--", "vncserver", ":1"],
        )

    def test_complaints(self) -> None:
        """Everything else is one line."""
        for words in ((), ("5901",), ("--bogus", "prog"), ("--wrap-mode",)):
            line = self.complaint(*words)
            self.assertTrue(line.startswith("wswrap: "), line)
            self.assertNotIn("\n", line)
