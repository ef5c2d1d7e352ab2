"""Twisted's credential checkers, real ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.authentication.checker import CheckedPasswords
from wsproxy.errors import ConfigError


class CheckedPasswordsTests(SynchronousTestCase):
    def check(self, text: str, user: str, password: str) -> Any:
        return self.successResultOf(CheckedPasswords(text).check(user, password))

    def test_file(self) -> None:
        """A file of names and passwords, whose changes count."""
        path = Path(self.mktemp())
        path.write_text("alice:wonderland\n", encoding="utf-8")
        text = f"file:{path}"
        self.assertTrue(self.check(text, "alice", "wonderland"))
        for user, password in (("alice", "x"), ("bob", "wonderland"), ("", ""), ("é", "é")):
            self.assertFalse(self.check(text, user, password))

    def test_memory(self) -> None:
        """A user on the command line."""
        self.assertTrue(self.check("memory:alice:secret", "alice", "secret"))
        self.assertFalse(self.check("memory:alice:secret", "alice", "other"))

    def test_wrong(self) -> None:
        """What is no checker, or none for passwords, is told in one line, and no secret with it."""
        for text, said in (
            ("nonsense:hunter2", "--auth nonsense: no checker is called that; there are anonymous, file, memory, "),
            ("", "--auth: which checker? there are "),
            (":hunter2", "--auth: which checker? there are "),
            ("file", "--auth file:: which file?"),
            ("memory:hunter2", "--auth memory: "),
            ("anonymous", "does not check passwords"),
            ("file:/no/such/file", "--auth file:/no/such/file: No such file"),
        ):
            error = self.assertRaises(ConfigError, CheckedPasswords, text)
            self.assertIn(said, str(error))
            self.assertNotIn("\n", str(error))
            self.assertNotIn("hunter2", str(error))

    def test_fifo(self) -> None:
        """A FIFO, which would hold whoever reads it, is no file of passwords."""
        path = self.mktemp()
        os.mkfifo(path)
        error = self.assertRaises(ConfigError, CheckedPasswords, f"file:{path}")
        self.assertEqual(str(error), f"--auth file:{path}: not a regular file")
