"""The pages' modules under node: each suite in C{tests/js} as one test, whose output is the reason where it fails."""

from __future__ import annotations

import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.components import requireComponent

__all__ = ["JavaScriptTests"]

SUITES = Path(__file__).parent / "js"
LIMIT = 60.0
"""Seconds after which node is given up; it needs two."""


class JavaScriptTests(SynchronousTestCase):
    def suitePasses(self, name: str) -> None:
        run = subprocess.run(
            [requireComponent("node"), "--test", "--test-reporter=tap", str(SUITES / f"{name}.test.js")],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        if run.returncode != 0:
            self.fail(run.stdout)
        self.assertRegex(run.stdout, r"(?m)^# pass [1-9]")

    def test_websock(self) -> None:
        """The browser's byte stream passes its own suite."""
        self.suitePasses("websock")

    def test_telnet(self) -> None:
        """So does telnet, and the line that is edited where the server does not echo."""
        self.suitePasses("telnet")

    def test_irc(self) -> None:
        """So do IRC's lines, and the client that makes events of them."""
        self.suitePasses("irc")

    def test_reason(self) -> None:
        """So do the reasons why there is no connection, and the kinds of servers that greet."""
        self.suitePasses("reason")

    def test_connection(self) -> None:
        """So does the connection that is kept up."""
        self.suitePasses("connection")

    def test_address(self) -> None:
        """So does the address that a page connects to."""
        self.suitePasses("address")

    def test_admin(self) -> None:
        """So does what the page of the admin side makes of numbers and filters."""
        self.suitePasses("admin")

    def test_everySuite(self) -> None:
        """Each suite has its test here."""
        names = {path.name.partition(".")[0] for path in SUITES.glob("*.test.js")}
        self.assertEqual({f"test_{name}" for name in names} - set(dir(self)), set())
