"""What those who decide have said, step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.sessions.test_decision import REQUEST
from wsproxy.access.origin import OriginPolicy
from wsproxy.errors import NotAllowed, Refusal
from wsproxy.interfaces import Admitted, Identity, Request, Target
from wsproxy.sessions.decision import Decisions
from wsproxy.sessions.trace import Trace


class Gate:
    def __init__(self, refusal: Refusal | None = None) -> None:
        self.refusal = refusal
        self.refusals: list[Refusal] = []

    def enter(self, request: Request) -> None:
        if self.refusal is not None:
            raise self.refusal

    def refused(self, request: Request, refusal: Refusal) -> None:
        self.refusals.append(refusal)


class Knowing:
    """An authenticator."""

    def __init__(self, answer: Callable[[], Any]) -> None:
        self.answer = answer

    def authenticate(self, request: Request) -> Any:
        return self.answer()


class TraceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.gate = Gate()

    def steps(self, answered: bool = True, **questions: Any) -> list[tuple[str, str, bool]]:
        """@return: question, answer and whether the next was asked, of each."""
        known: dict[str, Any] = {
            "origins": OriginPolicy(),
            "authenticator": Knowing(lambda: succeed(Identity("alice", {"secret": "hunter2"}, expires=0.0))),
            "resolver": lambda request, identity: Target("console:1", expires=86400.0),
            "authoriser": lambda request, identity, target: None,
            "gates": [self.gate],
            "turnstiles": [lambda admitted: lambda: self.left.append("left")],
            "foresee": lambda target: None,
        }
        self.left: list[str] = []
        self.trace = Trace()
        decisions = Decisions(self.clock, **known | questions, timeout=5.0).traced(self.trace)
        self.deciding = decisions.decide(REQUEST)
        if answered:
            self.deciding.addErrback(lambda failure: failure.trap(Exception) and None)
            self.successResultOf(self.deciding)
        return [(step.question, step.said, step.passed) for step in self.trace.steps]

    def test_letIn(self) -> None:
        """Everybody who is asked is there, in the order in which they are asked, with what they said."""
        self.assertEqual(
            self.steps(),
            [
                ("gate", "open", True),
                ("origin", "no Origin: no web page", True),
                ("authenticate", "alice, until 1970-01-01 00:00:00 UTC", True),
                ("resolve", "console:1, until 1970-01-02 00:00:00 UTC", True),
                ("authorise", "may go there", True),
                ("target", "may be dialled, as far as is known", True),
                ("turnstile", "lets through", True),
            ],
        )

    def test_names(self) -> None:
        """Who answered is named: those of ours by their class, others with their module."""
        self.steps()
        by = {step.question: step.by for step in self.trace.steps}
        self.assertEqual(by["origin"], "OriginPolicy")
        self.assertEqual(by["authenticate"], "tests.sessions.test_trace.Knowing")
        self.assertIn("tests.sessions.test_trace.TraceTests.steps", by["resolve"])

    def test_refused(self) -> None:
        """The one who refuses is the last, with the status and what the log would say; no gate is told of it."""

        def no(*subject: Any) -> None:
            raise Refusal(403, "Token not accepted", cause="token a1b2c3d4 is unknown", guess=True)

        last = ("resolve", "403 Token not accepted: token a1b2c3d4 is unknown", False)
        self.assertEqual(self.steps(resolver=no)[-1], last)
        self.assertEqual(self.gate.refusals, [])
        shut = self.steps(gates=[Gate(Refusal(429, "Too many failures"))])
        self.assertEqual(shut, [("gate", "429 Too many failures", False)])

        def forbidden(target: Target) -> None:
            raise NotAllowed("10.0.0.1:22 is in no --allow-target")

        said = self.steps(foresee=forbidden)[-1]
        self.assertEqual(said, ("target", "403 Target not allowed: 10.0.0.1:22 is in no --allow-target", False))

    def test_full(self) -> None:
        """Whoever was let in by a turnstile before the one that refuses has left again."""

        def full(admitted: Admitted) -> None:
            raise Refusal(503, "Full")

        steps = self.steps(turnstiles=[lambda admitted: lambda: self.left.append("left"), full])
        self.assertEqual(steps[-2:], [("turnstile", "lets through", True), ("turnstile", "503 Full", False)])
        self.assertEqual(self.left, ["left"])

    def test_origin(self) -> None:
        """Of a page that may not connect it is said why."""
        self.trace = Trace()
        policy = self.trace.origins(OriginPolicy(("https://good.example",)))
        self.assertTrue(policy.allows("https://good.example", None, False))
        self.assertFalse(policy.allows("https://evil.example", None, False))
        self.assertEqual(self.trace.steps[0].said, "https://good.example may connect")
        self.assertIn("--origin https://evil.example", self.trace.steps[1].said)

    def test_raises(self) -> None:
        """Of an exception there is its kind and its place, and not what it says, which may be a secret."""

        def broken(*subject: Any) -> None:
            raise LookupError("hunter2")

        _, said, passed = self.steps(resolver=broken)[-1]
        self.assertRegex(said, "^503: raised LookupError at .*test_trace.py, line [0-9]+$")
        self.assertFalse(passed)
        self.assertNotIn("hunter2", str(self.trace.steps))

    def test_nonsense(self) -> None:
        """Who answers nonsense has not passed."""
        question, said, passed = self.steps(authenticator=lambda request: "hunter2")[-1]
        self.assertEqual((question, passed), ("authenticate", False))
        self.assertRegex(said, "^503: raised TypeError")
        self.assertNotIn("hunter2", str(self.trace.steps))

    def test_hangs(self) -> None:
        """Who does not answer in time is told apart."""
        answer: Deferred[str] = Deferred()
        self.steps(answered=False, resolver=lambda *subject: answer)
        self.deciding.addErrback(lambda failure: self.trace.end())
        self.clock.advance(5.1)
        self.successResultOf(self.deciding)
        [*_, last] = self.trace.steps
        self.assertEqual(len(self.trace.steps), 4)
        self.assertEqual((last.question, last.said, last.passed), ("resolve", "503: has not answered in time", False))
