"""The order of the questions, and what is called when a client leaves."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.access.origin import OriginPolicy
from wsproxy.errors import ConfigError, NotAllowed, Refusal
from wsproxy.interfaces import Admitted, Identity, Request, Target
from wsproxy.sessions.bounded import GivenUp
from wsproxy.sessions.decision import Decisions, depart, malformation

CLIENT = IPv4Address("TCP", "192.0.2.1", 40000)
REQUEST = Request("/", {}, CLIENT, IPv4Address("TCP", "192.0.2.2", 6080), False)


class _Gate:
    """One that tells what it was told."""

    def __init__(self, told: list[Any], refusal: Refusal | None = None) -> None:
        self._told = told
        self._refusal = refusal

    def enter(self, request: Request) -> None:
        self._told.append("gate")
        if self._refusal is not None:
            raise self._refusal

    def refused(self, request: Request, refusal: Refusal) -> None:
        self._told.append(refusal)


class DecisionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.told: list[Any] = []

    def decisions(self, turnstiles: list[Callable[[Admitted], Any]] | None = None, **others: Any) -> Decisions:
        def resolve(request: Request, identity: Identity | None) -> str:
            self.told.append("resolve")
            return "target:1"

        questions: dict[str, Any] = {
            "origins": OriginPolicy(),
            "authenticator": lambda request: self.told.append("authenticate"),
            "resolver": resolve,
            "authoriser": lambda *subject: self.told.append("authorise"),
            "gates": [_Gate(self.told)],
        }
        return Decisions(self.clock, **questions | others, turnstiles=turnstiles or [], timeout=5.0)

    def test_order(self) -> None:
        """The gates are asked first and the turnstiles last."""
        decisions = self.decisions([lambda admitted: self.told.append("turnstile")])
        admission = self.successResultOf(decisions.decide(REQUEST))
        self.assertEqual(self.told, ["gate", "authenticate", "resolve", "authorise", "turnstile"])
        self.assertEqual(admission.departures, [])

    def test_gate(self) -> None:
        """Whom a gate refuses nobody else is asked about, and no gate is told."""
        refusal = Refusal(429, "Too many")
        decisions = self.decisions(gates=[_Gate(self.told, refusal), _Gate(self.told)])
        self.assertIs(self.failureResultOf(decisions.decide(REQUEST)).value, refusal)
        self.assertEqual(self.told, ["gate"])

    def test_gateLater(self) -> None:
        """A gate that is a coroutine says nothing in time, and so lets nobody in."""

        class Later(_Gate):
            async def enter(self, request: Request) -> None:  # type: ignore[override]
                raise Refusal(403, "No")

        decisions = self.decisions(gates=[Later(self.told)])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # nobody has waited for it
            self.failureResultOf(decisions.decide(REQUEST), TypeError)
        self.assertEqual(self.told, [])

    def test_refused(self) -> None:
        """Gates hear of everybody who was refused after them."""
        refusal = Refusal(403, "No", guess=True)

        def no(request: Request, identity: Identity | None) -> str:
            raise refusal

        self.failureResultOf(self.decisions(resolver=no).decide(REQUEST), Refusal)
        self.assertIs(self.told[-1], refusal)

    def test_refusedLater(self) -> None:
        """The client is told nothing before every gate has taken note of it."""
        taking: Deferred[None] = Deferred()
        refusal = Refusal(403, "No", guess=True)

        class Slow(_Gate):
            def refused(self, request: Request, refusal: Refusal) -> Any:
                return taking

        def no(request: Request, identity: Identity | None) -> str:
            raise refusal

        deciding = self.decisions(resolver=no, gates=[Slow(self.told), _Gate(self.told)]).decide(REQUEST)
        self.assertNoResult(deciding)
        self.assertNotIn(refusal, self.told)
        taking.callback(None)
        self.assertIs(self.failureResultOf(deciding).value, refusal)
        self.assertIs(self.told[-1], refusal)

    def test_refusedOtherwise(self) -> None:
        """What a gate raises then is what the client is told."""
        instead = Refusal(429, "Too many")

        class Other(_Gate):
            def refused(self, request: Request, refusal: Refusal) -> Any:
                raise instead

        def no(request: Request, identity: Identity | None) -> str:
            raise Refusal(403, "No", guess=True)

        deciding = self.decisions(resolver=no, gates=[Other(self.told)]).decide(REQUEST)
        self.assertIs(self.failureResultOf(deciding).value, instead)

    def test_departures(self) -> None:
        """What the turnstiles want is called once, last things first, whatever it raises."""

        def fails() -> None:
            self.told.append("first")
            raise RuntimeError

        decisions = self.decisions([lambda _: fails, lambda _: lambda: self.told.append("second")], gates=())
        admission = self.successResultOf(decisions.decide(REQUEST))
        del self.told[:]
        depart(admission.departures)
        depart(admission.departures)
        self.assertEqual(self.told, ["second", "first"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_fullBehind(self) -> None:
        """A client that a later turnstile refuses leaves the earlier ones."""

        def full(admitted: Admitted) -> None:
            raise Refusal(503, "Full")

        decisions = self.decisions([lambda _: lambda: self.told.append("left"), full])
        self.failureResultOf(decisions.decide(REQUEST), Refusal)
        self.assertIn("left", self.told)

    def test_nonsense(self) -> None:
        """A turnstile that answers neither nothing nor something to call has failed, and is told so."""
        decisions = self.decisions([lambda _: lambda: self.told.append("left"), lambda _: 5])
        self.failureResultOf(decisions.decide(REQUEST), TypeError)
        self.assertIn("left", self.told)

    def test_late(self) -> None:
        """A client that gave up while a turnstile thought about it has left, once that is done."""
        first: Deferred[None] = Deferred()
        second: Deferred[None] = Deferred()

        async def stubborn(admitted: Admitted) -> Callable[[], None]:
            with contextlib.suppress(CancelledError):
                await first
            await second
            return lambda: self.told.append("left")

        decision = self.decisions([stubborn]).decide(REQUEST)
        decision.cancel()
        self.failureResultOf(decision)
        second.callback(None)
        self.assertIn("left", self.told)

    def test_page(self) -> None:
        """About a page gates are asked, and nobody else, unless its visitors are to be known; then again after that."""
        visit = self.decisions().visit(REQUEST)
        self.assertEqual((self.successResultOf(visit), self.told), (None, ["gate"]))
        del self.told[:]
        me = Identity("me")
        decisions = self.decisions(authenticator=lambda request: me, webAuth=True)
        self.assertIs(self.successResultOf(decisions.visit(REQUEST)), me)
        self.assertEqual(self.told, ["gate", "gate"])

    def test_coverPages(self) -> None:
        """Pages cost nothing where neither gates nor an authenticator cover them."""
        for gates, webAuth in (([], False), ([], True), ([_Gate(self.told)], False)):
            decisions = self.decisions(gates=gates, webAuth=webAuth)
            self.assertEqual(decisions.coverPages, bool(gates) or webAuth)

    def test_nobodyToAsk(self) -> None:
        """Visitors cannot be known without an authenticator."""
        self.assertRaises(ConfigError, self.decisions, authenticator=None, webAuth=True)

    def test_responseHeaders(self) -> None:
        """Headers that an answer cannot have, or that would end it early, are an authenticator's mistake."""

        def decide(*headers: Any) -> Deferred[Any]:
            answer = Identity("me", responseHeaders=headers)
            return self.decisions(authenticator=lambda request: answer).decide(REQUEST)

        good = (("Set-Cookie", "a=b; Path=/"), ("X-Name", "zoë"), ("X-Empty", ""))
        self.assertEqual(self.successResultOf(decide(*good)).responseHeaders, good)
        for value in ("a\r\nb: c", "a\nb", "a\rb", "a\0", "a\x7f", "\udc80"):
            self.failureResultOf(decide(("Set-Cookie", value)), TypeError)
        names = ("", "a b", "a:", "a\r\n", "\u00e9")
        for name in (*names, "content-length", "Transfer-Encoding", "Connection", "upgrade"):
            self.failureResultOf(decide((name, "x")), TypeError)
        for nonsense in ("Set-Cookie", ("Set-Cookie",), ("Set-Cookie", b"x"), ("sec-websocket-accept", "x"), None):
            self.failureResultOf(decide(nonsense), TypeError)

    def test_refusalHeaders(self) -> None:
        """
        Neither does a refusal frame its response, or end a connection: the same names are none of its, but for the
        handshake's, which a 426 has.
        """
        for name in (
            "WWW-Authenticate",
            "Retry-After",
            "Location",
            "Set-Cookie",
            "Sec-WebSocket-Version",
            "X_!#$%&'*+.^`|~1",
        ):
            self.assertEqual(malformation(Refusal(401, "Who?", ((name, "x"),))), "")
        names = (
            "",
            "a b",
            "a:",
            "a\r\n",
            "\n",
            "\u00e9",
            "Content-Length",
            "content-length",
            "Transfer-Encoding",
            "TE",
        )
        for name in (*names, "Connection", "keep-alive", "Proxy-Connection", "Upgrade", "Trailer", "Content-Encoding"):
            problem = malformation(Refusal(401, "Who?", (("X-Good", "x"), (name, "secret"))))
            self.assertIn("a header", problem, name)
            self.assertNotIn("secret", problem)

    def test_nobody(self) -> None:
        """An identity without a name is nobody to those who are asked after, and its headers are sent all the same."""
        cookies = (("Set-Cookie", "a=b"),)
        asked: list[Identity | None] = []
        decisions = self.decisions(
            authenticator=lambda request: Identity("", responseHeaders=cookies),
            authoriser=lambda request, identity, target: asked.append(identity),
        )
        admission = self.successResultOf(decisions.decide(REQUEST))
        self.assertEqual((asked, admission.identity, admission.responseHeaders), ([None], None, cookies))

    def test_foreseen(self) -> None:
        """A target that will not be dialled is refused before anything is counted, and the log has the cause."""

        def foresee(target: Target) -> None:
            self.told.append(f"foresee {target}")
            raise NotAllowed("target:1 is in no --allow-target")

        decisions = self.decisions([lambda admitted: self.told.append("turnstile")], foresee=foresee)
        refusal = self.failureResultOf(decisions.decide(REQUEST), Refusal).value
        self.assertEqual((refusal.status, refusal.reason), (403, "Target not allowed"))
        self.assertEqual(refusal.cause, "target:1 is in no --allow-target")
        self.assertEqual(self.told, ["gate", "authenticate", "resolve", "authorise", "foresee target:1", refusal])


class CrowdTests(SynchronousTestCase):
    """Many clients about whom somebody is asked who answers later."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.asked: list[Deferred[str]] = []
        self.decisions = Decisions(
            self.clock,
            origins=OriginPolicy(),
            authenticator=None,
            resolver=self.resolve,
            authoriser=None,
            timeout=5.0,
            atOnce=2,
        )

    def resolve(self, request: Request, identity: Identity | None) -> Deferred[str]:
        self.asked.append(Deferred())
        return self.asked[-1]

    def decide(self, count: int) -> list[Deferred[Any]]:
        return [self.decisions.decide(REQUEST) for _ in range(count)]

    def test_inOrder(self) -> None:
        """So many are asked about at a time; the next one when one has been answered."""
        decided = self.decide(5)
        self.assertEqual(len(self.asked), 2)
        for number in range(5):
            self.asked[number].callback("target:1")
            self.clock.advance(0)
            self.assertEqual(self.successResultOf(decided[number]).target, Target("target:1"))
            self.assertEqual(len(self.asked), min(5, number + 3))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.decide(2)
        self.assertEqual(len(self.asked), 7)

    def test_time(self) -> None:
        """The time of those who wait has not begun: that others are too late does not make them so."""
        decided = self.decide(4)
        self.clock.advance(5)
        for late in decided[:2]:
            self.failureResultOf(late, TimeoutError)
        self.clock.advance(0)
        self.assertEqual(len(self.asked), 4)
        self.clock.advance(4)
        for number in (2, 3):
            self.asked[number].callback("target:1")
            self.successResultOf(decided[number])

    def test_patience(self) -> None:
        """Where nobody answers, nobody waits for ever."""
        decided = self.decide(40)
        for _ in range(15):
            self.clock.advance(5)
            self.clock.advance(0)
        for late in decided:
            self.failureResultOf(late, TimeoutError)
        self.assertLessEqual(len(self.asked), 28)

    def test_gone(self) -> None:
        """Nobody is asked about a client that has gone while it waited."""
        decided = self.decide(4)
        decided[2].cancel()
        self.failureResultOf(decided[2], GivenUp)
        self.asked[0].callback("target:1")
        self.asked[1].callback("target:1")
        self.clock.advance(0)
        self.assertEqual(len(self.asked), 3)
        decided[3].cancel()
        self.failureResultOf(decided[3], GivenUp)

    def test_atOnce(self) -> None:
        """Where answers come at once by now, those who wait have them in the next turn, and nobody is left over."""
        decided = self.decide(9)
        self.resolve = lambda request, identity: "target:1"  # type: ignore[assignment,method-assign,return-value]
        self.decisions._resolve = self.resolve
        self.asked[0].callback("target:1")
        self.clock.advance(0)
        for each in [decided[0], *decided[2:]]:
            self.successResultOf(each)
        self.assertFalse(self.decisions._crowd.isFull)
