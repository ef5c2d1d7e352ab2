"""Passwords against their hashes: how often, and where."""

from __future__ import annotations

import threading
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.plugins.test_pool import Reactor
from wsproxy.authentication.hashing import REMEMBERED, HashedPasswords
from wsproxy.authentication.htpasswd import Entry


class Users:
    """@param users: the entries, to be changed by the test."""

    def __init__(self, users: dict[str, Entry]) -> None:
        self.users = users

    def entries(self) -> dict[str, Entry]:
        return self.users


class HashedPasswordsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Reactor()
        self.entries = {user: self.entry(f"{user}'s") for user in ("alice", "bob")}
        self.hashed: list[str] = []
        self.passwords = HashedPasswords(Users(self.entries), self.reactor)

    def entry(self, password: str) -> Entry:
        def verify(sent: bytes) -> bool:
            self.hashed.append(threading.current_thread().name)
            if sent == b"bad\0":
                raise ValueError("NUL")
            return sent.decode() == password

        return Entry(f"hash of {password}", verify)

    def check(self, user: str, password: str) -> Any:
        answer = self.passwords.check(user, password)
        if isinstance(answer, bool):
            return answer
        self.reactor.deliver(1)
        return self.successResultOf(answer)

    def test_users(self) -> None:
        """Each user has his own password; hashes are made in threads."""
        self.assertEqual((self.check("alice", "alice's"), self.check("alice", "bob's")), (True, False))
        self.assertEqual(set(self.hashed), {"plugin --auth-plugin HtpasswdAuth"})

    def test_unknown(self) -> None:
        """An unknown user costs one hash, as a known one does, and is let in by nobody's password."""
        for password in ("alice's", "bob's", "", "x"):
            self.assertFalse(self.check("mallory", password))
        self.assertEqual(len(self.hashed), 4)

    def test_remembered(self) -> None:
        """A success is good for 60 s without a hash; a failure is hashed each time."""
        for _ in range(3):
            self.assertTrue(self.check("alice", "alice's"))
        self.assertEqual(len(self.hashed), 1)
        for _ in range(3):
            self.assertFalse(self.check("alice", "x"))
        self.assertEqual(len(self.hashed), 4)
        self.reactor.advance(REMEMBERED)
        self.assertTrue(self.check("alice", "alice's"))
        self.assertEqual((len(self.hashed), REMEMBERED), (5, 60.0))

    def test_changed(self) -> None:
        """A changed password or a deleted user ends at once what is remembered."""
        self.assertTrue(self.check("alice", "alice's"))
        self.entries["alice"] = self.entry("new")
        self.assertFalse(self.check("alice", "alice's"))
        self.assertTrue(self.check("bob", "bob's"))
        del self.entries["bob"]
        self.assertFalse(self.check("bob", "bob's"))

    def test_nobody(self) -> None:
        """Where there are no users nobody is let in."""
        self.entries.clear()
        self.assertFalse(self.check("alice", "alice's"))

    def test_strange(self) -> None:
        """What a library will not take for a password is none."""
        self.assertFalse(self.check("alice", "bad\0"))

    def test_keyed(self) -> None:
        """What is remembered holds no password."""
        self.check("alice", "alice's")
        self.assertNotIn("alice's", str(vars(self.passwords)))
