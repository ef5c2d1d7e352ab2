"""Auth classes of the original's contract."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, eventAsText
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.authentication.requests import basic, requestWith
from tests.certificates import Authority
from tests.plugins.test_load import WILD, restoreImports
from tests.plugins.test_pool import Reactor
from wsproxy.errors import Refusal
from wsproxy.interfaces import IAuthenticator, IResolver, Request, Target
from wsproxy.plugins.headers import asMessage
from wsproxy.plugins.load import load
from wsproxy.plugins.oldauth import OldAuth, asRefusal


class HeadersTests(SynchronousTestCase):
    def test_message(self) -> None:
        """Headers are those of http.server: of any case, None for what is not there."""
        message = asMessage(requestWith(headers={"User-Agent": "Mozilla", "host": "here:6080"}))
        self.assertEqual((message["user-agent"], message.get("USER-AGENT")), ("Mozilla", "Mozilla"))
        self.assertEqual((message["x"], message.get("x", "y"), "HOST" in message), (None, "y", True))
        self.assertEqual(message.items(), [("User-Agent", "Mozilla"), ("Host", "here:6080")])
        self.assertEqual(message.get_all("Host"), ["here:6080"])

    def test_reserved(self) -> None:
        """No header of a client's can be taken for one of the TLS layer's, in whatever case it comes."""
        for name in ("ssl_client_s_dn_cn", "SSL_CLIENT_S_DN_CN", "Ssl_Anything"):
            request = requestWith(headers={name: "root", "Host": "here"})
            self.assertEqual(asMessage(request).items(), [("Host", "here")])

    def test_certificate(self) -> None:
        """The common name is that of the certificate which TLS has verified, whatever the client says beside it."""
        certificate = Authority("Test").issue("alice").certificate
        message = asMessage(requestWith(headers={"ssl_client_s_dn_cn": "root"}, certificate=certificate))
        self.assertEqual(message.get_all("SSL_CLIENT_S_DN_CN"), ["alice"])


class OldAuthTests(SynchronousTestCase):
    def setUp(self) -> None:
        restoreImports(self)
        self.reactor = Reactor()
        self.answer: Any = Target("localhost:5900")
        self.lookups = 0

    def resolve(self, request: Request, identity: object) -> Any:
        self.lookups += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def make(self, kind: str, source: str | None = None, **options: Any) -> OldAuth:
        self.plugin = load(f"{WILD}.{kind}", {}, "--auth-plugin")(source)
        options.setdefault("tokens", True)
        return OldAuth(self.plugin, "--auth-plugin test", self.reactor, self.resolve, **options)

    def ask(self, kind: str, source: str | None = None, request: Request | None = None, **options: Any) -> Any:
        result = self.make(kind, source, **options).resolve(request or requestWith(), None)
        self.reactor.deliver(1)
        return result

    def test_interfaces(self) -> None:
        """It stands for a resolver, and where pages are asked about, for an authenticator."""
        for interface in (IAuthenticator, IResolver):
            verifyObject(interface, self.make("Asked"))

    def test_asked(self) -> None:
        """It is asked after the lookup, with headers and the target; its consent is the resolver's answer."""
        answers = (
            (Target("host:5900"), "host", "5900"),
            ("[::1]:5900", "::1", "5900"),
            (Target("tls:host:443"), "host", "443"),
            (Target("unix:/run/console"), None, None),
            (Target("whatever a program's is"), None, None),
        )
        for self.answer, host, port in answers:
            self.assertEqual(self.successResultOf(self.ask("Asked")), self.answer)
            [(headers, askedHost, askedPort)] = self.plugin.asked
            self.assertEqual((askedHost, askedPort), (host, port))
            self.assertEqual(headers.items(), [])

    def test_port(self) -> None:
        """The port is what it was for the original: an int of a fixed target."""
        self.successResultOf(self.ask("Asked", tokens=False))
        self.assertEqual(self.plugin.asked[0][1:], ("localhost", 5900))

    def test_later(self) -> None:
        """A resolver that takes its time is waited for."""
        self.answer = Deferred()
        result = self.make("Asked").resolve(requestWith(), None)
        self.assertEqual(self.plugin.asked, [])
        self.answer.callback(Target("host:1"))
        self.reactor.deliver(1)
        self.assertEqual(self.successResultOf(result), Target("host:1"))

    def test_unknown(self) -> None:
        """Of an unknown token it is asked, without a target; then the token is refused."""
        self.answer = Refusal(403, "Token not accepted", guess=True)
        result = self.ask("Asked")
        self.assertIs(self.failureResultOf(result, Refusal).value, self.answer)
        self.assertEqual([asked[1:] for asked in self.plugin.asked], [(None, None)])

    def test_refusalFirst(self) -> None:
        """Its refusal goes out before the token's: with a good, an unknown and a broken lookup it is the same."""
        for self.answer in (Target("host:1"), Refusal(403, "Token not accepted"), Refusal(503, "no"), KeyError("x")):
            refusal = self.failureResultOf(self.ask("Asked", "401 Say who you are"), Refusal).value
            self.assertEqual((refusal.status, refusal.reason), (401, "Say who you are"))
            self.assertEqual(refusal.headers, (("WWW-Authenticate", "Wild"),))
            self.assertEqual(refusal.cause, "for the log")

    def test_guess(self) -> None:
        """Only credentials that were tried and are wrong are a guess."""
        for source, headers, guess in (
            ("401", basic("a", "b"), True), ("401", {}, False), ("403", basic("a", "b"), False),
        ):  # fmt: skip
            refusal = self.failureResultOf(self.ask("Asked", source, requestWith(headers=headers)), Refusal).value
            self.assertEqual((refusal.guess, refusal.cause), (guess, "for the log"))

    def test_derived(self) -> None:
        """A class that overrides a part of the original's BasicHTTPAuth works as it did."""
        cases = ((basic("a", "a"), None), (basic("a", "b"), 401), ({}, 401), ({"Authorization": "Basic !"}, 403))
        for headers, status in cases:
            result = self.ask("Users", "", requestWith(headers=headers))
            if status is None:
                self.assertEqual(self.successResultOf(result), self.answer)
            else:
                self.assertEqual(self.failureResultOf(result, Refusal).value.status, status)

    def test_lateImport(self) -> None:
        """A class that imports its errors when it raises them finds them."""
        refusal = self.failureResultOf(self.ask("LateImport", request=requestWith(headers={"Origin": "x"})), Refusal)
        self.assertEqual((refusal.value.status, refusal.value.reason), (403, "Invalid Origin"))

    def test_page(self) -> None:
        """Of a page it is asked without a lookup: about the one target, or where tokens lead, about none."""
        self.assertIsNone(self.make("Asked").authenticate(requestWith()))
        self.assertEqual((self.plugin.asked, self.lookups), ([], 0))
        for tokens, place in ((True, (None, None)), (False, ("localhost", 5900))):
            for source, refused in ((None, False), ("401", True)):
                result: Any = self.make("Asked", source, tokens=tokens).authenticate(requestWith(page=True))
                self.reactor.deliver(1)
                self.assertEqual(self.plugin.asked[0][1:], place)
                if refused:
                    self.failureResultOf(result, Refusal)
                else:
                    self.assertIsNone(self.successResultOf(result))
        self.assertEqual(self.lookups, 2)

    def test_mistakes(self) -> None:
        """What raises anything else, or answers False, is a mistake: a 503, and no password in the log."""
        request = requestWith(headers=basic("alice", "hunter2"))

        class Wrong:
            def __init__(self, answer: Any) -> None:
                self.answer = answer

            def authenticate(self, headers: Any, target_host: Any, target_port: Any) -> Any:
                if self.answer is False:
                    return False
                raise self.answer

        with capturedLogs() as events:
            for answer in (False, ValueError("alice:hunter2"), ValueError(request.headers["authorization"])):
                auth = OldAuth(Wrong(answer), "--auth-plugin test", self.reactor, self.resolve, tokens=True)
                result = auth.resolve(request, None)
                self.reactor.deliver(1)
                self.assertEqual(self.failureResultOf(result, Refusal).value.status, 503)
        text = "\n".join(map(eventAsText, events))
        self.assertIn("ValueError: alice:(hidden)", text)
        self.assertNotIn("hunter2", text)
        self.assertNotIn(request.headers["authorization"], text)

    def test_coroutine(self) -> None:
        """A coroutine is waited for, and not taken for consent."""
        refusal = self.failureResultOf(self.ask("Asynchronous", "x"), Refusal).value
        self.assertEqual((refusal.status, refusal.reason), (403, "Forbidden"))
        self.assertEqual(self.successResultOf(self.ask("Asynchronous", "")), self.answer)

    def test_gone(self) -> None:
        """Of a client that has left during its lookup nobody is asked any more."""
        self.answer = Deferred()
        result = self.make("Asked").resolve(requestWith(), None)
        result.cancel()
        self.failureResultOf(result)
        self.assertEqual(self.plugin.asked, [])


class RefusalTests(SynchronousTestCase):
    def test_installed(self) -> None:
        """An installed original's error counts by its attributes, and no other that has them."""

        class AuthenticationError(Exception):
            code, headers, msg = 418, {"X": 1}, None

        class InvalidOriginError(AuthenticationError):
            msg = "Invalid Origin"

        refusal = asRefusal(AuthenticationError("418 tea"))
        assert refusal is not None
        self.assertEqual((refusal.status, refusal.reason), (418, "I'm a Teapot"))
        self.assertEqual((refusal.headers, refusal.cause), ((("X", "1"),), "tea"))
        told = asRefusal(InvalidOriginError())
        assert told is not None
        self.assertEqual(told.reason, "Invalid Origin")

        class HTTPError(Exception):
            code, headers, msg = 404, {}, "Not Found"

        self.assertIsNone(asRefusal(HTTPError()))

    def test_nonsense(self) -> None:
        """One that says nothing HTTP could say is a mistake."""

        class AuthenticationError(Exception):
            code: Any = "403"
            headers: Any = {}

        self.assertIsNone(asRefusal(AuthenticationError()))
        AuthenticationError.code, AuthenticationError.headers = 403, "Name: value"
        self.assertIsNone(asRefusal(AuthenticationError()))
