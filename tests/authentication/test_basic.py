"""Names and passwords by HTTP Basic."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.authentication.requests import basic, requestWith
from wsproxy.authentication.basic import BasicAuthenticator, Passwords
from wsproxy.errors import ConfigError, Refusal
from wsproxy.interfaces import IAuthenticator, Identity


class BasicTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.auth = BasicAuthenticator(Passwords("alice:wonder:land\nbob:\n\nübel:täter"))

    def refusal(self, headers: dict[str, str]) -> Refusal:
        return self.assertRaises(Refusal, self.auth.authenticate, requestWith(headers=headers))

    def test_interface(self) -> None:
        verifyObject(IAuthenticator, self.auth)

    def test_good(self) -> None:
        """Whoever has the password is let in by that name; a password may have colons, or be empty."""
        for user, password in (("alice", "wonder:land"), ("bob", ""), ("übel", "täter")):
            self.assertEqual(self.auth.authenticate(requestWith(headers=basic(user, password))), Identity(user))

    def test_missing(self) -> None:
        """Without credentials a client is asked for them: 401 with a challenge. That is no guess."""
        refusal = self.refusal({})
        self.assertEqual((refusal.status, refusal.guess), (401, False))
        self.assertEqual(refusal.headers, (("WWW-Authenticate", 'Basic realm="wsproxy", charset="UTF-8"'),))

    def test_wrong(self) -> None:
        """Wrong credentials are a guess, and look the same for a known and an unknown user, in the log too."""
        seen = set()
        for user, password in (("alice", "x"), ("alice", ""), ("carol", "wonder:land"), ("", ""), ("bob", "x")):
            refusal = self.refusal(basic(user, password))
            seen.add((refusal.status, refusal.reason, refusal.headers, refusal.cause, refusal.guess))
        [(status, _, _, _, guess)] = seen
        self.assertEqual((status, guess), (401, True))

    def test_malformed(self) -> None:
        """What nobody could have meant is a 403, and a guess."""
        for value in ("Basic %%%", "Basic QQ==", "Bearer abc", "Basic", "Negotiate x", "Basic QTpi, Basic QTpi"):
            refusal = self.refusal({"Authorization": value})
            self.assertEqual((refusal.status, refusal.guess), (403, True), value)
            self.assertNotIn("QTpi", refusal.cause)

    def test_source(self) -> None:
        """A source that is none is told with its line, and not quoted."""
        for source, said in (("", "expected user:password"), ("a:b\nhunter2", "line 2: expected user:password")):
            error = self.assertRaises(ConfigError, Passwords, source)
            self.assertIn(said, str(error))
            self.assertNotIn("hunter2", str(error))

    def test_later(self) -> None:
        """A check may take its time, and then say either."""

        class Slow:
            def __init__(self) -> None:
                self.answers: list[Deferred[bool]] = []

            def check(self, user: str, password: str) -> Deferred[bool]:
                self.answers.append(Deferred())
                return self.answers[-1]

        slow = Slow()
        auth = BasicAuthenticator(slow)
        results: list[Any] = [auth.authenticate(requestWith(headers=basic("a", "b"))) for _ in range(2)]
        for answer, good in zip(slow.answers, (True, False), strict=True):
            answer.callback(good)
        self.assertEqual(self.successResultOf(results[0]), Identity("a"))
        self.assertEqual(self.failureResultOf(results[1], Refusal).value.status, 401)
