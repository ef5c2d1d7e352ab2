"""Tokens that are taken back while their sessions are open."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from tests.sessions.test_sessions import SessionTestCase, Upgrade
from wsproxy.interfaces import IObserver, Request
from wsproxy.sessions.tokenwatch import EVERY, TokenWatch


class Tokens:
    """Those that are in C{good} are; the token is the path."""

    def __init__(self, *good: str) -> None:
        self.good = {*good}
        self.asked: list[str] = []

    def token(self, request: Request) -> str | None:
        return request.path.removeprefix("/") or None

    def stillGood(self, token: str) -> bool:
        self.asked.append(token)
        if token == "broken":
            raise LookupError(token)
        return token in self.good


class TokenWatchTests(SessionTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.tokens = Tokens("a", "b")
        self.watch = TokenWatch(self.sessions, self.tokens, self.clock)

    def assertRevoked(self, *upgrades: Upgrade) -> None:
        for upgrade in upgrades:
            self.assertEqual(upgrade.told()[-1].payload, (4001).to_bytes(2, "big") + b"Access revoked")

    def test_revoked(self) -> None:
        """All sessions of the token end within a second, and no others."""
        verifyObject(IObserver, self.watch)
        first, other, second = self.open(path="/a"), self.open(path="/b"), self.open(path="/a")
        self.clock.advance(EVERY)
        self.assertEqual([*first.told(), *other.told(), *second.told()], [])
        self.tokens.good.remove("a")
        self.clock.advance(EVERY)
        self.assertRevoked(first, second)
        self.assertEqual(other.told(), [])

    def test_unwatched(self) -> None:
        """Sessions without a token are nobody's business, and when all are over nobody looks any more."""
        self.open(path="/")
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)  # the dialer's time
        upgrade = self.open(path="/a")
        upgrade.transport.lose()
        self.clock.advance(5)
        self.assertEqual(self.tokens.asked, [])

    def test_broken(self) -> None:
        """A token about which nobody can say anything keeps its sessions, and others from nothing."""
        broken, other = self.open(path="/broken"), self.open(path="/b")
        self.tokens.good.clear()
        self.clock.advance(EVERY)
        self.assertEqual(broken.told(), [])
        self.assertRevoked(other)
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)

    def test_undecided(self) -> None:
        """Who has shown the token and waits to be let in is not."""
        consent: Deferred[None] = Deferred()
        self.plugin.answers["authorise"] = consent
        waiting, other = self.open(path="/a"), self.open(path="/b")
        self.assertEqual(self.watch.revoke("a"), 0)
        consent.callback(None)
        self.assertIsNotNone(waiting.refusal)
        self.assertIsNone(other.refusal)
