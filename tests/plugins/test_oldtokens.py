"""Token classes of the original's contract."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError
from twisted.logger import capturedLogs, eventAsText
from twisted.trial.unittest import SynchronousTestCase

from tests.plugins.test_load import WILD, restoreImports
from tests.plugins.test_pool import Reactor
from wsproxy.errors import ConfigError, Refusal
from wsproxy.plugins.load import load
from wsproxy.plugins.oldtokens import OldTokens, asTokenPlugin

NAME = "--token-plugin test"


class OldTokensTests(SynchronousTestCase):
    def setUp(self) -> None:
        restoreImports(self)
        self.reactor = Reactor()

    def make(self, kind: str, source: str) -> Any:
        return asTokenPlugin(load(f"{WILD}.{kind}", {})(source), NAME, self.reactor)

    def ask(self, kind: str, source: str = "", token: str = "sesame") -> Any:
        result = self.make(kind, source).lookup(token)
        self.reactor.deliver(1)
        return result

    def test_answers(self) -> None:
        """What a class answers is handed on: host and port in a list or a tuple, None for a token it does not know."""
        self.assertEqual(self.successResultOf(self.ask("Table", "sesame=host:1")), ["host", "1"])
        self.assertIsNone(self.successResultOf(self.ask("Table", "other=host:1")))
        self.assertEqual(self.successResultOf(self.ask("Loops", "5900")), ("localhost", 5900))
        self.assertEqual(self.successResultOf(self.ask("Answers", "('h', b'1')")), ("h", b"1"))

    def test_ports(self) -> None:
        """How it answers ports is remembered, for an auth class that is asked about them after it."""
        for answer, port in (("('h', '1')", "9"), ("['h', 1]", 9), ("('h', b'1')", b"9"), ("None", "9"), ("42", "9")):
            tokens = self.make("Answers", answer)
            result = tokens.lookup("sesame")
            self.reactor.deliver(1)
            self.successResultOf(result)
            self.assertEqual((tokens.portAs("9"), type(tokens.portAs("9"))), (port, type(port)))

    def test_raises(self) -> None:
        """What it raises is a 503; its traceback is logged, without the token that it may hold."""
        with capturedLogs() as events:
            for kind, name in (("Raises", "KeyError"), ("Exits", "SystemExit")):
                refusal = self.failureResultOf(self.ask(kind), Refusal).value
                self.assertEqual((refusal.status, refusal.guess), (503, False))
                self.assertEqual(refusal.cause, f"{NAME} raised {name}")
        lines = "\n".join(map(eventAsText, events))
        self.assertIn("wild.py", lines)
        self.assertIn("KeyError: '(hidden)'", lines)
        self.assertNotIn("sesame", lines)

    def test_again(self) -> None:
        """The same mistake has one traceback a minute, however many clients make it."""
        tokens = self.make("Raises", "")

        def ask(times: int) -> int:
            with capturedLogs() as events:
                for number in range(times):
                    result = tokens.lookup(f"token {number}")
                    self.reactor.deliver(1)
                    self.failureResultOf(result, Refusal)
            return len(events)

        self.assertEqual((ask(3), ask(3)), (1, 0))
        self.reactor.advance(60)
        self.assertEqual(ask(3), 1)

    def test_vanished(self) -> None:
        """Whoever has left is not told of in the log."""
        result = self.make("Table", "").lookup("sesame")
        result.cancel()
        self.failureResultOf(result, CancelledError)

    def test_kinds(self) -> None:
        """One of the new contract is asked as that has it, a callable is called; what is neither is an error."""
        self.assertIsInstance(self.make("Table", ""), OldTokens)
        self.assertEqual(self.make("New", "host:1").resolve(None, None), "host:1")
        self.assertIs(asTokenPlugin(print, NAME, self.reactor), print)
        with self.assertRaises(ConfigError) as raised:
            asTokenPlugin(object(), NAME, self.reactor)
        self.assertEqual(str(raised.exception), f"{NAME}: has neither a method resolve() nor lookup()")
