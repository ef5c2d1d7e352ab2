"""Files of users and hashes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from unittest.mock import patch

import argon2
import bcrypt
from twisted.logger import capturedLogs, eventAsText
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.authentication.htpasswd import HtpasswdFile
from wsproxy.errors import ConfigError


def cheap(password: str) -> str:
    """A hash of bcrypt that takes a millisecond."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


ARGON2 = argon2.PasswordHasher(1, 8, 1)


class HtpasswdFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())

    def write(self, *lines: str) -> None:
        beside = self.path.with_suffix(".new")
        beside.write_text("\n".join(lines), encoding="utf-8")
        beside.rename(self.path)

    def read(self, *lines: str) -> HtpasswdFile:
        self.write(*lines)
        return HtpasswdFile(str(self.path))

    def test_hashes(self) -> None:
        """Hashes of bcrypt and Argon2 are known, by all of their names."""
        made = cheap("one")
        lines = [f"u{number}:{made.replace('$2b$', form)}" for number, form in enumerate(("$2a$", "$2b$", "$2y$"))]
        users = self.read("# users", "", *lines, f"u3:{ARGON2.hash('one')}", f"u3:{cheap('two')}").entries()
        self.assertEqual([*users], ["u0", "u1", "u2", "u3"])
        for entry in users.values():
            self.assertEqual((entry.verify(b"one"), entry.verify(b"two"), entry.verify(b"")), (True, False, False))

    def test_fifo(self) -> None:
        """A FIFO, which would hold whoever reads it, is no file of hashes."""
        os.mkfifo(self.path)
        self.assertIn("not a regular file", str(self.assertRaises(ConfigError, HtpasswdFile, str(self.path))))

    def test_long(self) -> None:
        """Of a password of more than 72 bytes bcrypt counts those, as it always did."""
        entry = self.read(f"alice:{cheap('x' * 72)}").entries()["alice"]
        self.assertTrue(entry.verify(b"x" * 100))
        self.assertFalse(entry.verify(b"x" * 71))

    def test_refused(self) -> None:
        """Weak hashes are refused by their names, at the start, with the line, and not quoted."""
        for hashed, name in (
            ("$apr1$salt$Xxd1irWT9ycqoYxGFn4cb.", "MD5 (apr1) is refused"),
            ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "SHA-1 is refused"),
            ("$6$salt$qFmFH.bQmmtXzyBY0s9v7O", "SHA-512 (crypt) is refused"),
            ("rl.3StKT.4T8M", "not a hash of bcrypt or Argon2, and no other is taken"),
            ("hunter2", "not a hash of bcrypt or Argon2, and no other is taken"),
            ("", "expected user:hash"),
        ):
            error = self.assertRaises(ConfigError, self.read, f"alice:{cheap('x')}", f"bob:{hashed}")
            self.assertIn(f"line 2: {name}", str(error))
            self.assertNotIn("hunter2", str(error))

    def test_unreadable(self) -> None:
        """A file that cannot be read is told in one line."""
        for path in ("/no/such/file", "/"):
            self.assertIn(path, str(self.assertRaises(ConfigError, HtpasswdFile, path)))
        self.path.write_bytes(b"\xff\xfe")
        self.assertIn("not a text file", str(self.assertRaises(ConfigError, HtpasswdFile, str(self.path))))

    def test_missingExtra(self) -> None:
        """Without the library it is told which one, and how to get it."""
        with patch.dict(sys.modules, {"bcrypt": None}):
            error = self.assertRaises(ConfigError, self.read, f"alice:{cheap('x')}")
        self.assertIn("needs bcrypt: pip install 'wsproxy[passwords]'", str(error))

    def test_renewed(self) -> None:
        """A change counts at the next look; a bad line locks out its user alone, and is told once."""
        file = self.read(f"alice:{cheap('one')}")
        before = file.entries()
        self.assertIs(file.entries(), before)
        self.write(f"bob:{cheap('two')}", "carol:{SHA}x")
        with capturedLogs() as events:
            self.assertEqual(([*file.entries()], [*file.entries()]), (["bob"], ["bob"]))
        [line] = map(eventAsText, events)
        self.assertIn("line 2: SHA-1 is refused", line)

    def test_vanished(self) -> None:
        """A file that cannot be read any more leaves its users as they were, with one line."""
        file = self.read(f"alice:{cheap('one')}")
        self.path.unlink()
        with capturedLogs() as events:
            self.assertEqual(([*file.entries()], [*file.entries()]), (["alice"], ["alice"]))
        self.assertEqual(len(events), 1)
        self.write(f"bob:{cheap('two')}")
        self.assertEqual([*file.entries()], ["bob"])
