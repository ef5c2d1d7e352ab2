"""Passwords against their hashes: in threads of their own, and no more often than is needed.

::

    user, password ─► succeeded within 60 s? ─► yes
                            └─► a thread: the user's hash, or for an unknown one somebody else's ─► yes or no

A hash takes as long as it was made to: it must not hold up anybody's session, nor tell by its time who is a user.
Each page of a site asks again, though, with the same password: so a success is remembered for a minute, as a keyed hash
of what was asked, which is of no use to who reads this memory. A failure is not.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from wsproxy.authentication.htpasswd import Entry
from wsproxy.plugins.pool import PluginPool

__all__ = ["REMEMBERED", "HashedPasswords", "Users"]

REMEMBERED = 60.0
"""Seconds that a success counts. A changed or deleted line ends it at once."""

_KEPT = 4096
"""Successes; the oldest are forgotten first."""


class Users(Protocol):
    def entries(self) -> Mapping[str, Entry]: ...


class HashedPasswords:
    """
    A L{PasswordCheck<wsproxy.authentication.basic.PasswordCheck>}.

    @param users: those there are, as of now.
    @param reactor: for time and threads: as many as there are processors, each busy with one password.
    """

    def __init__(self, users: Users, reactor: Any) -> None:
        self._users = users
        self._reactor = reactor
        self._threads = PluginPool(reactor, "--auth-plugin HtpasswdAuth", limit=os.cpu_count() or 1)
        self._key = os.urandom(32)
        self._good: OrderedDict[bytes, float] = OrderedDict()

    def check(self, user: str, password: str) -> Deferred[bool] | bool:
        """@return: it fails with L{Refusal}, a 503, where all threads are busy for too long."""
        entries = self._users.entries()
        entry = entries.get(user)
        sent = password.encode("utf-8", "surrogatepass")
        mark = b"" if entry is None else self._mark(user, entry.hash, sent)
        if mark and self._good.get(mark, 0.0) > self._reactor.seconds():
            return True
        verify = (entry or self._another(entries, user)).verify
        asked = self._threads.call(lambda: _verify(verify, sent))
        return asked.addCallback(lambda good: entry is not None and self._remember(mark, good))

    def _remember(self, mark: bytes, good: bool) -> bool:
        if good:
            self._good[mark] = self._reactor.seconds() + REMEMBERED
            self._good.move_to_end(mark)
            while len(self._good) > _KEPT:
                self._good.popitem(last=False)
        return good

    def _another(self, entries: Mapping[str, Entry], user: str) -> Entry:
        """Whose hash an unknown user costs: always the same one's, as if it was his own."""
        hashes = list(entries.values()) or [_NOBODY]
        return hashes[int.from_bytes(self._digest(user.encode("utf-8", "surrogatepass"))) % len(hashes)]

    def _mark(self, user: str, hashed: str, password: bytes) -> bytes:
        name = user.encode("utf-8", "surrogatepass")
        return self._digest(b"\0".join((name, hashed.encode(), password)))

    def _digest(self, data: bytes) -> bytes:
        return blake2b(data, digest_size=32, key=self._key).digest()


_NOBODY = Entry("", lambda password: False)
"""Of an empty file, whose users nobody can guess."""


def _verify(verify: Any, password: bytes) -> bool:
    """In a thread. What the library will not take, such as a NUL, is no password."""
    try:
        return bool(verify(password))
    except ValueError:
        return False
