"""C{--explain} and C{--check}: what is asked about, and what is printed."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.command.asked import asRequest
from wsproxy.command.inspection import check, explain
from wsproxy.command.settings import forgetSecrets, makeConfig, problemsIn
from wsproxy.config import Config
from wsproxy.errors import ConfigError, Refusal
from wsproxy.interfaces import Request
from wsproxy.sessions.trace import Step, Trace


def config(**given: Any) -> Config:
    return makeConfig({"target": "console:1"} | {name.replace("_", "-"): word for name, word in given.items()})


class AskedTests(SynchronousTestCase):
    def test_url(self) -> None:
        """A URL is taken apart as a browser's upgrade is."""
        request = asRequest(config(explain="wss://Proxy.example:6080/a%20b?token=x&y=1&y=2", listen=["127.0.0.1:7000"]))
        self.assertEqual((request.path, request.rawQuery), ("/a%20b", "token=x&y=1&y=2"))
        self.assertEqual(request.queryAll, {"token": ("x",), "y": ("1", "2")})
        self.assertEqual(request.headers, {"host": "Proxy.example:6080"})
        self.assertTrue(request.secure)
        self.assertTrue(request.explaining)
        self.assertEqual(request.host, IPv4Address("TCP", "127.0.0.1", 7000))
        self.assertEqual(request.peer, IPv4Address("TCP", "127.0.0.1", 0))

    def test_path(self) -> None:
        """A path alone will do."""
        request = asRequest(config(explain="/?token=x"))
        self.assertEqual((request.path, request.headers), ("/", {"host": "localhost"}))
        self.assertFalse(request.secure)

    def test_headers(self) -> None:
        """Headers are joined as they are of a request; Host is replaced."""
        lines = ["Cookie: a=1", "COOKIE: b=2", "X-A: 1", "x-a:2", "Host: other"]
        request = asRequest(config(explain="ws://a/", explain_header=lines))
        self.assertEqual(request.headers, {"host": "other", "cookie": "a=1; b=2", "x-a": "1, 2"})
        self.assertEqual(request.cookies, {"a": "1", "b": "2"})

    def test_client(self) -> None:
        """It comes from where it is said to."""
        for text, peer in (
            ("192.0.2.1", IPv4Address("TCP", "192.0.2.1", 0)),
            ("::ffff:192.0.2.1", IPv4Address("TCP", "192.0.2.1", 0)),
            ("2001:db8::1", IPv6Address("TCP", "2001:db8::1", 0)),
            ("unix", UNIXAddress(None)),
        ):
            self.assertEqual(asRequest(config(explain="/", explain_client=text)).peer, peer)

    def test_trustedProxy(self) -> None:
        """What a trusted proxy in front says is believed, as ever."""
        words: dict[str, Any] = {"explain": "/", "explain_header": ["X-Forwarded-For: 203.0.113.9"]}
        self.assertEqual(asRequest(config(**words)).client.host, "127.0.0.1")  # type: ignore[attr-defined]
        words["trusted_proxy"] = ["127.0.0.1"]
        self.assertEqual(asRequest(config(**words)).client.host, "203.0.113.9")  # type: ignore[attr-defined]

    def test_malformed(self) -> None:
        """What cannot be understood is one line, without what may be secret in it."""
        for words in (
            {"explain": "example.com/secret"}, {"explain": "ftp://a/secret"}, {"explain": "ws:///secret"},
            {"explain": "http://[secret/"}, {"explain": ""}, {"explain": "/secret\n"},
            {"explain": "/", "explain_header": ["secret"]}, {"explain": "/", "explain_header": [": secret"]},
            {"explain": "/", "explain_header": ["A: secret\r\nB: c"]}, {"explain": "/", "explain_client": "nobody"},
        ):  # fmt: skip
            error = self.assertRaises(ConfigError, asRequest, config(**words))
            self.assertRegex(str(error), "^--explain")
            self.assertNotIn("secret", str(error))


class Proxy:
    """One that says of each request what a test says."""

    def __init__(self, outcome: Deferred[Refusal | None], *steps: Step) -> None:
        self.outcome = outcome
        self.steps = steps

    def explain(self, request: Request, trace: Trace) -> Deferred[Refusal | None]:
        trace.steps += self.steps
        return self.outcome

    def shownPath(self, request: Request) -> str:
        return "/vnc/{token}"


class ExplainTests(SynchronousTestCase):
    def explain(self, proxy: Proxy, **words: Any) -> tuple[int, list[str]]:
        lines: list[str] = []
        settings = config(**{"explain": "ws://a.example/vnc/secret?token=secret"} | words)
        return self.successResultOf(explain(settings, proxy, lines.append)), lines

    def test_letIn(self) -> None:
        """Who is let in makes for status 0; each step is a line, with the name by which it was configured."""
        steps = [Step("origin", "OriginPolicy", "fine", True), Step("resolve", "FixedResolver", "console:1", True)]
        status, lines = self.explain(Proxy(succeed(None), *steps), explain_header=["Cookie: a=secret"])
        self.assertEqual(status, 0)
        self.assertEqual(
            lines,
            [
                "ws://a.example/vnc/{token}?token=… from 127.0.0.1 with cookie",
                "passed   origin        OriginPolicy: fine",
                "passed   resolve       --target console:1: console:1",
                "let in: 101",
            ],
        )

    def test_refused(self) -> None:
        """Who is refused makes for status 1, and the last word is what the client would be told."""
        refusal = Refusal(403, "Token not accepted", cause="why")
        status, lines = self.explain(Proxy(succeed(refusal), Step("resolve", "X", "403: why", False)))
        self.assertEqual((status, lines[-1]), (1, "refused: 403 Token not accepted"))
        status, lines = self.explain(Proxy(succeed(refusal)))
        self.assertEqual((status, lines[-1]), (1, "refused: 403 Token not accepted: why"))

    def test_failed(self) -> None:
        """What should not happen is no traceback, and no consent."""
        status, lines = self.explain(Proxy(fail(RuntimeError("secret"))))
        self.assertEqual(status, 1)
        self.assertNotIn("secret", "".join(lines))

    def test_secretOption(self) -> None:
        """An option that may hold a secret is named without it."""
        step = Step("authenticate", "BasicAuthenticator", "me", True)
        _, lines = self.explain(Proxy(succeed(None), step), auth="memory:me:secret")
        self.assertIn("passed   authenticate  --auth: me", lines)

    def test_shown(self) -> None:
        """Neither the settings nor a complaint show what is asked about, and the environment has it no longer."""
        error = self.assertRaises(ConfigError, config, explain_header=["A: secret"])
        self.assertEqual(str(error), "--explain-header: needs --explain")
        self.patch(os, "environ", {"URL": "/secret", "LINE": "A: secret"})
        given = {"explain": "env:URL", "explain-header": ["env:LINE", "B: 1"], "target": "x:1"}
        self.assertEqual(makeConfig(given).inspection.headers, ("A: secret", "B: 1"))
        forgetSecrets(given)
        self.assertEqual(os.environ, {})
        self.assertNotIn("secret", repr(config(explain="/secret", explain_header=["A: secret"])))


class CheckTests(SynchronousTestCase):
    log = Logger()

    def test_problems(self) -> None:
        """What cannot be, and what the log is warned of, is a line; once, and in its order."""

        def impossible() -> None:
            raise ConfigError("--cert x: no")

        def odd() -> None:
            self.log.warn("tokens, line {number}: odd", number=7)
            self.log.info("all is well")

        lines = check([odd, impossible, lambda: None, impossible, odd])
        self.assertEqual(lines, ["tokens, line 7: odd", "--cert x: no"])
        self.assertEqual(check([lambda: None]), [])

    def test_options(self) -> None:
        """Options that cannot be meant are told all at once."""
        problems = problemsIn({"heartbeat": "soon", "drain": "late", "target": "x:1"})
        self.assertEqual([line.partition(" ")[0] for line in problems], ["--heartbeat", "--drain"])
