"""From a request to its target, by a token."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from wsproxy.access.secrets import shown
from wsproxy.errors import Refusal
from wsproxy.interfaces import IResolver, Target
from wsproxy.testing import makeRequest
from wsproxy.tokens.location import TokenLocation
from wsproxy.tokens.resolver import TokenResolver


class Answering:
    """A source that answers this."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[str] = []

    def lookup(self, token: str) -> Any:
        self.asked.append(token)
        return self.answer


class ResolverTests(SynchronousTestCase):
    def resolve(self, answer: Any, url: str = "/?token=red") -> Any:
        self.source = Answering(answer)
        resolver = TokenResolver(TokenLocation(), self.source)
        verifyObject(IResolver, resolver)
        return resolver.resolve(makeRequest(url), None)

    def test_answers(self) -> None:
        """What a source may answer is a target in the end, at once or later."""
        for answer in ("db:1", ("db", "1"), ["db", 1], Target("db:1")):
            self.assertEqual(self.resolve(answer), Target("db:1"))
            self.assertEqual(self.successResultOf(ensureDeferred(self.resolve(succeed(answer)))), Target("db:1"))

    def test_targetAsItIs(self) -> None:
        """A target that a source has made goes on with all that it knows."""
        target = Target("nonsense", expires=1.0, claims={"a": 1})
        self.assertIs(self.resolve(target), target)

    def test_unknown(self) -> None:
        """A token that is unknown is a guess, and the log can tell it from others without being able to use it."""
        for answer in (None, succeed(None)):
            refusal = self.refusal(answer)
            self.assertEqual((refusal.status, refusal.reason, refusal.guess), (403, "Token not accepted", True))
            self.assertEqual(refusal.cause, f"token {shown('red')} is unknown")

    def refusal(self, answer: Any) -> Refusal:
        try:
            later = self.resolve(answer)
        except Refusal as refusal:
            return refusal
        error = self.failureResultOf(ensureDeferred(later), Refusal).value
        assert isinstance(error, Refusal)
        return error

    def test_nonsense(self) -> None:
        """Where a source says what is no target, it is not the client's fault."""
        for answer in ("nonsense", ("db",), [], succeed(("db", None)), "autobahn:x"):
            refusal = self.refusal(answer)
            self.assertEqual((refusal.status, refusal.guess), (503, False))
            self.assertIn(shown("red"), refusal.cause)
        self.assertRaises(TypeError, self.resolve, 5)

    def test_missing(self) -> None:
        """Nobody is asked about no token."""
        refusal = self.assertRaises(Refusal, self.resolve, "db:1", "/")
        self.assertEqual((refusal.status, refusal.reason, refusal.guess), (403, "Token not accepted", False))
        self.assertEqual(self.source.asked, [])

    def test_malformed(self) -> None:
        """Nor about one that nobody can have been given."""
        for token in ("a%00", "x" * 9000):
            self.assertRaises(Refusal, self.resolve, "db:1", f"/?token={token}")
            self.assertEqual(self.source.asked, [])

    def test_stillGood(self) -> None:
        """Whether a token is still good, the source says; one that does not know cannot end anything."""
        resolver = TokenResolver(TokenLocation(), Answering(None))
        self.assertTrue(resolver.stillGood("red"))

    def test_patience(self) -> None:
        """An answer may take its time."""
        waiting: Deferred[Any] = Deferred()
        result = ensureDeferred(self.resolve(waiting))
        self.assertNoResult(result)
        waiting.callback("db:1")
        self.assertEqual(self.successResultOf(result), Target("db:1"))
