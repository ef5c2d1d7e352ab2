"""Sessions: the questions before one, its target, its end, and what the log says."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import ConnectError, ConnectionLost, ConnectionRefusedError, DNSLookupError
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.ends.fake import Message, messages
from tests.transport import FakeTransport
from tests.tunnel.client import Frame
from wsproxy.access.origin import OriginPolicy
from wsproxy.ends.transport import TransportEnd
from wsproxy.errors import Close, ConfigError, DialError, Refusal
from wsproxy.interfaces import (
    Ending,
    Forwarded,
    IAuthenticator,
    IAuthoriser,
    Identity,
    IDialer,
    IResolver,
    Request,
    Session,
    Target,
)
from wsproxy.sessions.sessions import Sessions
from wsproxy.tunnel.patience import CLOSE_TIMEOUT
from wsproxy.tunnel.relay import EARLY_LIMIT
from wsproxy.wire.frames import BINARY, CLOSE, PING, TEXT
from wsproxy.wire.subprotocol import Draft

TARGET = Target("console:1")
GOING_AWAY = Close(1001, "Server going down")


def makeRequest(**changes: Any) -> Request:
    address = IPv4Address("TCP", "192.0.2.1", 4321)
    host = IPv4Address("TCP", "192.0.2.2", 80)
    known: dict[str, Any] = {"path": "/", "headers": {}, "peer": address, "host": host}
    return Request(**(known | {"secure": False} | changes))


class Upgrade:
    """A request that waits for its answer, and remembers it."""

    draft: Draft | None = None

    def __init__(self, request: Request) -> None:
        self.request = request
        self.subprotocol: str | None = None
        self.end: TransportEnd | None = None
        self.refusal: Refusal | None = None
        self.lost: Callable[[], None] | None = None
        self.transport = FakeTransport()
        self.aborted = False

    def accept(self, subprotocol: str | None, headers: Sequence[tuple[str, str]] = ()) -> TransportEnd:
        assert self.end is None and self.refusal is None, "answered twice"
        self.headers = headers
        self.subprotocol = subprotocol
        self.end = TransportEnd()
        self.transport.connect(self.end)
        return self.end

    def refuse(self, refusal: Refusal) -> None:
        assert self.end is None and self.refusal is None, "answered twice"
        self.refusal = refusal

    def abort(self) -> None:
        self.aborted = True

    def notifyLost(self, lost: Callable[[], None]) -> None:
        self.lost = lost

    def vanish(self) -> None:
        """The client has gone before it was answered."""
        assert self.lost is not None
        self.lost()

    def send(self, *frames: Frame) -> None:
        self.transport.receive(b"".join(frame.encode() for frame in frames))

    def told(self) -> list[Message]:
        return messages(self.transport.value())


@implementer(IAuthenticator, IResolver, IAuthoriser, IDialer)
class Plugin:
    """All four questions: keeps what it was asked, and answers as the test says; by default with consent."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.answers: dict[str, Any] = {"resolve": TARGET, "dial": Deferred}
        self.factory: IProtocolFactory | None = None
        self.target = FakeTransport()

    def authenticate(self, request: Request) -> Any:
        return self._answer("authenticate", request)

    def resolve(self, request: Request, identity: Identity | None) -> Any:
        return self._answer("resolve", request, identity)

    def authorise(self, request: Request, identity: Identity | None, target: Target) -> Any:
        return self._answer("authorise", request, identity, target)

    def dial(self, session: Session, factory: IProtocolFactory) -> Any:
        self.factory = factory
        return self._answer("dial", session.target)

    def connect(self) -> Any:
        """@return: the protocol of a target that answers."""
        assert self.factory is not None
        protocol: Any = self.factory.buildProtocol(IPv4Address("TCP", "192.0.2.3", 5900))
        self.target.connect(protocol)
        return protocol

    def _answer(self, question: str, *details: Any) -> Any:
        self.asked.append((question, *details))
        answer = self.answers.get(question)
        return answer() if callable(answer) else answer

    def questions(self) -> list[str]:
        return [question for question, *_ in self.asked]


class Observer:
    def __init__(self) -> None:
        self.seen: list[str] = []

    def opened(self, session: Session) -> None:
        self.seen.append("opened")

    def closed(self, session: Session, ending: Ending) -> None:
        self.seen.append("closed")


def raising(error: Exception) -> Callable[[], Any]:
    def answer() -> Any:
        raise error

    return answer


async def coroutine(value: Any) -> Any:
    return value


class SessionTestCase(SynchronousTestCase):
    """Whatever a test does, nothing is left in the clock when its sessions have ended."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.plugin = Plugin()
        self.upgrades: list[Upgrade] = []
        self.events: list[Any] = []
        observer = cast(ILogObserver, self.events.append)
        self.observer = Observer()
        self.sessions = self.makeSessions()
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def makeSessions(self, **settings: Any) -> Sessions:
        everybody: dict[str, Any] = {"origins": OriginPolicy(("https://good.example",))}
        for role in ("resolver", "dialer", "authenticator", "authoriser"):
            everybody[role] = self.plugin
        sessions = Sessions(self.clock, **(everybody | settings))
        sessions.observe(self.observer)
        return sessions

    def open(self, **changes: Any) -> Upgrade:
        upgrade = Upgrade(makeRequest(**changes))
        self.upgrades.append(upgrade)
        self.sessions.open(upgrade)
        return upgrade

    def connect(self, **changes: Any) -> Upgrade:
        """A session with its target."""
        self.plugin.answers["dial"] = self.plugin.connect
        return self.open(**changes)

    def tearDown(self) -> None:
        self.sessions.closeAll(GOING_AWAY)
        for upgrade in self.upgrades:
            if upgrade.end is not None:
                upgrade.transport.lose()
        if self.plugin.target.protocol is not None:
            self.plugin.target.lose()
        self.clock.advance(CLOSE_TIMEOUT)
        self.assertEqual(len(self.sessions), 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.observer.seen.count("opened"), self.observer.seen.count("closed"))

    def assertRefused(self, upgrade: Upgrade, status: int, reason: str) -> None:
        self.assertIsNotNone(upgrade.refusal)
        assert upgrade.refusal is not None
        self.assertEqual((upgrade.refusal.status, upgrade.refusal.reason), (status, reason))
        self.assertEqual(len(self.sessions), 0)

    def lines(self) -> list[str]:
        return [formatEvent(event) for event in self.events if event["log_namespace"].startswith("wsproxy.")]


class QuestionTests(SessionTestCase):
    """Who is it, where does it lead, may it go there?"""

    def test_fake(self) -> None:
        """The plugin of these tests is one."""
        for interface in (IAuthenticator, IResolver, IAuthoriser, IDialer):
            verifyObject(interface, self.plugin)

    def test_order(self) -> None:
        """One question after the other, each with what the earlier ones brought; then 101, then the dial."""
        identity = Identity("alice")
        self.plugin.answers["authenticate"] = identity
        upgrade = self.open()
        request = upgrade.request
        self.assertEqual(
            self.plugin.asked,
            [
                ("authenticate", request),
                ("resolve", request, identity),
                ("authorise", request, identity, TARGET),
                ("dial", TARGET),
            ],
        )
        self.assertIsNotNone(upgrade.end)

    def test_origin(self) -> None:
        """A page that may not connect is refused before anybody is asked."""
        self.assertRefused(self.open(headers={"origin": "https://evil.example"}), 403, "Origin not allowed")
        self.assertEqual(self.plugin.asked, [])

    def test_allowedOrigin(self) -> None:
        """A page that may connect does."""
        self.assertIsNotNone(self.open(headers={"origin": "https://good.example"}).end)

    def test_sameHost(self) -> None:
        """The policy sees the Host header, and whether it came over TLS."""
        self.sessions = self.makeSessions(origins=OriginPolicy(strictScheme=True))
        same = {"origin": "http://here.example", "host": "here.example"}
        self.assertIsNotNone(self.open(headers=same).end)
        self.assertIsNotNone(self.open(headers=same, secure=True).refusal)

    def test_resolverAlone(self) -> None:
        """Without an authenticator and an authoriser anybody may go anywhere."""
        self.sessions = self.makeSessions(authenticator=None, authoriser=None)
        self.assertIsNotNone(self.open().end)
        self.assertEqual(self.plugin.questions(), ["resolve", "dial"])

    def test_anonymous(self) -> None:
        """Without an authenticator the authoriser is asked about nobody in particular."""
        self.sessions = self.makeSessions(authenticator=None)
        request = self.open().request
        self.assertIn(("authorise", request, None, TARGET), self.plugin.asked)

    def test_waysToAnswer(self) -> None:
        """Each question may be answered with a value, a Deferred or a coroutine."""
        for question in ("authenticate", "resolve", "authorise"):
            value = TARGET if question == "resolve" else None
            for way in (lambda it: it, succeed, coroutine):
                with self.subTest(question=question, way=way):
                    self.plugin.answers[question] = lambda way=way, value=value: way(value)
                    self.assertIsNotNone(self.open().end)

    def test_later(self) -> None:
        """A client is answered when the last question has been."""
        answers: dict[str, Deferred[Any]] = {}
        for question in ("authenticate", "resolve", "authorise"):
            answers[question] = self.plugin.answers[question] = Deferred()
        upgrade = self.open()
        answers["authenticate"].callback(None)
        answers["resolve"].callback(TARGET)
        self.assertIsNone(upgrade.end)
        answers["authorise"].callback(None)
        self.assertIsNotNone(upgrade.end)

    def test_refusals(self) -> None:
        """Each question may be answered with a refusal, which ends it: nobody else is asked."""
        questions = ["authenticate", "resolve", "authorise"]
        refusal = Refusal(401, "Who are you?", (("WWW-Authenticate", "Basic"),))
        for number, question in enumerate(questions):
            for way in (raising(refusal), lambda: fail(refusal)):
                with self.subTest(question=question):
                    self.plugin.asked.clear()
                    consent, self.plugin.answers[question] = self.plugin.answers.get(question), way
                    upgrade = self.open()
                    self.assertIs(upgrade.refusal, refusal)
                    self.assertEqual(self.plugin.questions(), questions[: number + 1])
                    self.plugin.answers[question] = consent

    def test_failure(self) -> None:
        """Whatever else goes wrong is answered 503 and logged; the client learns nothing about it."""
        for way in (raising(LookupError("secret")), lambda: fail(LookupError("secret"))):
            self.plugin.answers["resolve"] = way
            self.assertRefused(self.open(), 503, "Service unavailable")
            self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)

    def test_targetText(self) -> None:
        """A resolver may answer with the text of a target alone."""
        self.plugin.answers["resolve"] = "console:1"
        self.open()
        self.assertEqual(self.plugin.asked[-1], ("dial", TARGET))

    def test_nonsense(self) -> None:
        """Who answers what is no answer has failed; the log names what was expected, and no more than the type."""
        for question, answer, told in (
            ("authenticate", "hunter2", "an authenticator answered str, not an Identity or None"),
            ("authenticate", True, "an authenticator answered bool, not an Identity or None"),
            ("authenticate", Identity(None), "an authenticator answered Identity, not an Identity or None"),  # type: ignore[arg-type]
            ("resolve", None, "a resolver answered NoneType, not a Target or a str"),
            ("resolve", b"hunter2:1", "a resolver answered bytes, not a Target or a str"),
            ("resolve", Target(None), "a resolver answered Target, not a Target or a str"),  # type: ignore[arg-type]
            (
                "authorise",
                False,
                "an authoriser answered bool; it refuses by raising Refusal, and returns None",
            ),
        ):
            with self.subTest(question=question, answer=answer):
                consent, self.plugin.answers[question] = self.plugin.answers.get(question), answer
                self.assertRefused(self.open(), 503, "Service unavailable")
                (error,) = self.flushLoggedErrors(TypeError)
                self.assertEqual(str(error.value), told)
                self.plugin.answers[question] = consent

    def test_callables(self) -> None:
        """Each question may be answered by a plain callable."""
        plugin = self.plugin
        self.sessions = self.makeSessions(
            authenticator=plugin.authenticate,
            resolver=plugin.resolve,
            authoriser=plugin.authorise,
            dialer=plugin.dial,
        )
        self.assertIsNotNone(self.open().end)
        self.assertEqual(plugin.questions(), ["authenticate", "resolve", "authorise", "dial"])

    def test_neither(self) -> None:
        """What neither has the method nor can be called is an error at once."""
        for role in ("resolver", "dialer", "authenticator", "authoriser"):
            with self.assertRaises(TypeError):
                self.makeSessions(**{role: "localhost:5900"})

    def test_cancelledInside(self) -> None:
        """A plugin that gives up on something of its own has failed; the client is answered."""
        self.plugin.answers["resolve"] = lambda: fail(CancelledError())
        self.assertRefused(self.open(), 503, "Service unavailable")
        self.assertEqual(len(self.flushLoggedErrors(CancelledError)), 1)

    def test_timeout(self) -> None:
        """All questions together have one deadline; then the client is answered 503."""
        cancelled: list[Any] = []
        first: Deferred[Any] = Deferred()
        self.plugin.answers.update(authenticate=first, resolve=lambda: Deferred(cancelled.append))
        upgrade = self.open()
        self.clock.advance(6)
        first.callback(None)
        self.clock.advance(3.9)
        self.assertIsNone(upgrade.refusal)
        self.clock.advance(0.1)
        self.assertRefused(upgrade, 503, "Service unavailable")
        self.assertEqual(len(cancelled), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_vanishes(self) -> None:
        """When the client vanishes its question is cancelled; nobody is answered, nothing is logged."""
        cancelled: list[Any] = []
        self.plugin.answers["resolve"] = lambda: Deferred(cancelled.append)
        upgrade = self.open()
        upgrade.vanish()
        self.assertEqual(len(cancelled), 1)
        self.assertEqual((upgrade.end, upgrade.refusal, self.lines()), (None, None, []))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_answersTheVanished(self) -> None:
        """A plugin that answers although it was cancelled does not open a session with nobody."""
        self.plugin.answers["resolve"] = lambda: Deferred(lambda it: it.callback(TARGET))
        upgrade = self.open()
        upgrade.vanish()
        self.assertEqual((upgrade.end, upgrade.refusal), (None, None))
        self.assertEqual(len(self.sessions), 0)

    def test_refuseNew(self) -> None:
        """A proxy that takes no more clients says so, also to those who were being decided about."""
        answer = self.plugin.answers["authorise"] = Deferred()
        undecided = self.open()
        self.sessions.refuseNew("Server going down")
        answer.callback(None)
        self.assertRefused(undecided, 503, "Server going down")
        self.plugin.answers["authorise"] = None
        self.assertRefused(self.open(), 503, "Server going down")


class ExplainTests(SessionTestCase):
    """What would become of a request."""

    def explain(self, **changes: Any) -> Deferred[Refusal | None]:
        return self.sessions.explain(makeRequest(**changes))

    def test_admitted(self) -> None:
        """Those who decide are asked, and know that nothing is to be spent; nothing is dialled, and nothing logged."""
        self.assertIsNone(self.successResultOf(self.explain()))
        self.assertEqual(self.plugin.questions(), ["authenticate", "resolve", "authorise"])
        self.assertTrue(all(request.explaining for _, request, *_ in self.plugin.asked))
        self.assertEqual((self.lines(), len(self.sessions), self.observer.seen), ([], 0, []))

    def test_refused(self) -> None:
        """A refusal is what an upgrade would be answered."""
        refusal = Refusal(401, "Who are you?")
        self.plugin.answers["authenticate"] = raising(refusal)
        self.assertIs(self.successResultOf(self.explain()), refusal)
        other = self.successResultOf(self.explain(headers={"origin": "https://evil.example"}))
        self.assertEqual((other.status, other.reason), (403, "Origin not allowed"))
        self.sessions.refuseNew("Server going down")
        self.assertEqual(self.successResultOf(self.explain()).reason, "Server going down")
        self.assertEqual(self.lines(), [])

    def test_failure(self) -> None:
        """A plugin that fails, or does not answer in time, is told as 503; the former is logged."""
        self.plugin.answers["resolve"] = raising(LookupError("secret"))
        self.assertEqual(self.successResultOf(self.explain()).status, 503)
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)
        self.plugin.answers["resolve"] = Deferred()
        explained = self.explain()
        self.clock.advance(10)
        self.assertEqual(self.successResultOf(explained).status, 503)

    def test_cancelled(self) -> None:
        """Who no longer wants to know can say so, and nobody is asked further."""
        cancelled: list[Any] = []
        self.plugin.answers["resolve"] = lambda: Deferred(cancelled.append)
        explained = self.explain()
        explained.cancel()
        self.failureResultOf(explained, CancelledError)
        self.assertEqual(len(cancelled), 1)


class SubprotocolTests(SessionTestCase):
    def chosen(self, *offered: str, allowed: tuple[str, ...] = ("mine", "yours")) -> str | None:
        self.sessions = self.makeSessions(subprotocols=allowed)
        return self.open(subprotocols=offered).subprotocol

    def test_choice(self) -> None:
        """C{binary}, else C{base64}, else one that was allowed, else none; the client's order does not count."""
        self.assertEqual(self.chosen("yours", "base64", "binary"), "binary")
        self.assertEqual(self.chosen("yours", "base64"), "base64")
        self.assertEqual(self.chosen("unknown", "yours", "mine"), "mine")
        self.assertIsNone(self.chosen("unknown"))
        self.assertIsNone(self.chosen())
        self.assertIsNone(self.chosen("mine", allowed=()))

    def test_binary(self) -> None:
        """Without C{base64} bytes pass as binary messages, and text is refused."""
        for offered in ((), ("binary",)):
            upgrade = self.connect(subprotocols=offered)
            self.plugin.target.receive(b"hi")
            upgrade.send(Frame(TEXT, b"aGk="))
            self.assertEqual(upgrade.told()[0], Message(BINARY, b"hi"))
            self.assertEqual(upgrade.told()[1].payload[:2], (1003).to_bytes(2, "big"))
            self.plugin.target.lose()
            self.plugin.target = FakeTransport()

    def test_base64(self) -> None:
        """C{base64} passes bytes as base64 in text messages, both ways."""
        upgrade = self.connect(subprotocols=("base64",))
        self.plugin.target.receive(b"hi")
        upgrade.send(Frame(TEXT, b"aG8="))
        self.assertEqual(upgrade.told(), [Message(TEXT, b"aGk=")])
        self.assertEqual(self.plugin.target.value(), b"ho")

    def test_text(self) -> None:
        """Where text is allowed it passes as its bytes; what comes back stays binary."""
        self.sessions = self.makeSessions(text=True)
        upgrade = self.connect()
        upgrade.send(Frame(TEXT, "é".encode()))
        self.plugin.target.receive(b"hi")
        self.assertEqual(self.plugin.target.value(), "é".encode())
        self.assertEqual(upgrade.told(), [Message(BINARY, b"hi")])


class TargetTests(SessionTestCase):
    """Reaching the target, once the client has been accepted."""

    def test_waysToDial(self) -> None:
        """A dialer may answer with a protocol, a Deferred or a coroutine."""
        for way in (lambda it: it, succeed, coroutine):
            self.plugin.answers["dial"] = lambda way=way: way(self.plugin.connect())
            self.open().send(Frame(BINARY, b"hello"))
            self.assertEqual(self.plugin.target.value(), b"hello")
            self.plugin.target.lose()
            self.plugin.target = FakeTransport()

    def test_unreachable(self) -> None:
        """The client reads in the close reason why its target cannot be reached, if that was made to be read."""
        for error, told in (
            (DialError("No route to host"), b"No route to host"),
            (DialError(""), b"Target unreachable"),
            (DialError("é" * 100), "é".encode() * 61),
            (Refusal(403, "Not today", cause="closed on Mondays"), b"Not today"),
            (ConfigError("--target 1:2:3: expected HOST:PORT"), b"Target misconfigured"),
        ):
            for way in (raising(error), lambda error=error: fail(error)):
                self.plugin.answers["dial"] = way
                upgrade = self.open()
                self.assertEqual(upgrade.told(), [Message(CLOSE, b"\x03\xf3" + told)])

    def test_notForReading(self) -> None:
        """Of any other exception the client learns nothing; the log has all of it, once."""
        for error in (KeyError("postgres://user:secret@db"), OSError(13, "No", "/etc/secret"), ValueError()):
            self.plugin.answers["dial"] = raising(error)
            self.assertEqual(self.open().told(), [Message(CLOSE, b"\x03\xf3Target unreachable")])
            self.assertEqual([each.value for each in self.flushLoggedErrors(type(error))], [error])

    def test_everyday(self) -> None:
        """That a Twisted endpoint could not connect is no exception: there is no traceback."""
        for error in (ConnectionRefusedError(), DNSLookupError("db.example"), ConnectionLost()):
            self.plugin.answers["dial"] = raising(error)
            self.assertEqual(self.open().told(), [Message(CLOSE, b"\x03\xf3Target unreachable")])

    def test_timeout(self) -> None:
        """A dialer that does not come back is cancelled, a second after it should have given up itself."""
        cancelled: list[Any] = []
        self.sessions = self.makeSessions(connectTimeout=3.0)
        self.plugin.answers["dial"] = lambda: Deferred(cancelled.append)
        upgrade = self.open()
        self.clock.advance(3.9)
        self.assertEqual((upgrade.told(), cancelled), ([], []))
        self.clock.advance(0.1)
        self.assertEqual(upgrade.told(), [Message(CLOSE, b"\x03\xf3Target timed out")])
        self.assertEqual(len(cancelled), 1)

    def test_dialGivenUp(self) -> None:
        """A dialer that gives up on something of its own has failed, and the client is told."""
        self.plugin.answers["dial"] = lambda: fail(CancelledError())
        self.assertEqual(self.open().told(), [Message(CLOSE, b"\x03\xf3Target unreachable")])
        self.assertEqual(len(self.flushLoggedErrors(CancelledError)), 1)

    def test_clientLeaves(self) -> None:
        """A client that leaves cancels the dial."""
        cancelled: list[Any] = []
        self.plugin.answers["dial"] = lambda: Deferred(cancelled.append)
        upgrade = self.open()
        upgrade.transport.lose()
        self.assertEqual(len(cancelled), 1)
        self.assertEqual(len(self.sessions), 0)

    def test_clientLeavesWord(self) -> None:
        """One that leaves something for its target does so only after the closing timeout."""
        cancelled: list[Any] = []
        self.plugin.answers["dial"] = lambda: Deferred(cancelled.append)
        upgrade = self.open()
        upgrade.send(Frame(BINARY, b"last words"))
        upgrade.transport.lose()
        self.assertEqual((len(cancelled), len(self.sessions)), (0, 1))
        self.clock.advance(CLOSE_TIMEOUT)
        self.assertEqual((len(cancelled), len(self.sessions)), (1, 0))

    def test_targetComesAndGoes(self) -> None:
        """A target that is gone by the time it is connected ends a session whose client has left."""
        dialled: Deferred[Any] = Deferred()
        self.plugin.answers["dial"] = dialled
        upgrade = self.open()
        upgrade.send(Frame(BINARY, b"last words"))
        upgrade.transport.lose()
        end = self.plugin.connect()
        self.plugin.target.lose()
        dialled.callback(end)
        self.assertEqual(len(self.sessions), 0)

    def test_backpressure(self) -> None:
        """A client is held back while its target has not answered."""
        upgrade = self.open()
        upgrade.send(Frame(BINARY, b"x" * EARLY_LIMIT))
        self.assertEqual(upgrade.transport.producerState, "paused")

    def test_heartbeats(self) -> None:
        """Sessions are pinged while they last."""
        self.sessions = self.makeSessions(heartbeat=16.0)
        upgrade = self.connect()
        self.clock.pump([1.0] * 16)
        self.assertEqual(upgrade.told(), [Message(PING, b"")])


class EndTests(SessionTestCase):
    def test_closeAll(self) -> None:
        """Every session is closed with the same code; it is over when the last one is gone."""
        upgrades = [self.open(), self.open()]
        done = self.sessions.closeAll(GOING_AWAY)
        for upgrade in upgrades:
            self.assertNoResult(done)
            self.assertEqual(upgrade.told(), [Message(CLOSE, b"\x03\xe9Server going down")])
            upgrade.transport.lose()
        self.successResultOf(done)

    def test_closeTheClosed(self) -> None:
        """A tap that closes its session when that is over does no harm."""
        watched: list[Session] = []
        self.sessions = self.makeSessions(taps=[watched.append])
        self.open().transport.lose()
        self.assertEqual(len(self.sessions), 0)
        watched[0].close(GOING_AWAY)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_closeAllWithin(self) -> None:
        """Who is still closing after a while is aborted, however slowly it takes what it is owed."""
        upgrade = self.connect()
        done = self.sessions.closeAll(GOING_AWAY, within=3.0)
        self.clock.advance(2.9)
        self.assertFalse(upgrade.transport.aborted or self.plugin.target.aborted)
        self.clock.advance(0.1)
        self.assertTrue(upgrade.transport.aborted and self.plugin.target.aborted)
        self.assertNoResult(done)
        upgrade.transport.lose()
        self.plugin.target.lose()
        self.successResultOf(done)

    def test_closeAllUndecided(self) -> None:
        """Those who wait to be decided about are told at once; nobody waits for them."""
        cancelled: list[Any] = []
        self.plugin.answers["resolve"] = lambda: Deferred(cancelled.append)
        upgrade = self.open()
        self.successResultOf(self.sessions.closeAll(GOING_AWAY))
        self.assertRefused(upgrade, 503, "Server going down")
        self.assertEqual(len(cancelled), 1)

    def test_abandoned(self) -> None:
        """A session whose ends do not go when they are aborted is given up after a second, and one line says so."""
        self.connect()
        done = self.sessions.closeAll(GOING_AWAY)
        self.clock.advance(6.0)
        self.assertNoResult(done)
        self.clock.advance(1.0)
        self.successResultOf(done)
        self.assertIn("does not let go of its ends; they are left alone", self.lines()[-2])
        self.assertIn("closed by proxy: 1006 Abandoned;", self.lines()[-1])

    def test_started(self) -> None:
        """A tap learns the time of day at which its session began, whatever the clock of the deadlines says."""
        watched: list[Session] = []
        self.sessions = self.makeSessions(taps=[watched.append], now=lambda: 1e9)
        self.open()
        self.assertEqual(watched[0].started, 1e9)

    def test_requestIsNotKept(self) -> None:
        """Of a request, which may be large, a session keeps what it needs."""
        upgrade = self.open()
        request = weakref.ref(upgrade.request)
        del upgrade.request
        self.plugin.asked.clear()
        self.assertEqual((len(self.sessions), request()), (1, None))

    def test_whenIdle(self) -> None:
        """Without a session it is idle at once."""
        self.successResultOf(self.sessions.whenIdle())
        self.successResultOf(self.sessions.closeAll(GOING_AWAY))

    def test_cancelWhenIdle(self) -> None:
        """Who no longer waits for it can say so."""
        upgrade = self.open()
        waiting, other = self.sessions.whenIdle(), self.sessions.whenIdle()
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        upgrade.transport.lose()
        self.successResultOf(other)

    def test_observers(self) -> None:
        """An observer sees the session in the count when it opens, and no longer when it closes."""
        counts: list[int] = []
        observer = Observer()
        observer.opened = lambda session: counts.append(len(self.sessions))  # type: ignore[method-assign]
        observer.closed = lambda session, ending: counts.append(len(self.sessions))  # type: ignore[method-assign]
        self.sessions.observe(observer)
        self.open().transport.lose()
        self.assertEqual(counts, [1, 0])


class NounTests(SessionTestCase):
    """What dialers, taps and observers are given: the session."""

    def setUp(self) -> None:
        super().setUp()
        self.given: list[tuple[str, Session, Request]] = []
        self.endings: list[Ending] = []
        self.sessions = self.makeSessions(dialer=self.dial, taps=[self.watch], now=lambda: 1e9)
        self.sessions.observe(self)

    def note(self, who: str, session: Session) -> None:
        self.given.append((who, session, session.request))

    def dial(self, session: Session, factory: IProtocolFactory) -> Any:
        self.note("dialer", session)
        return self.plugin.dial(session, factory)

    def watch(self, session: Session) -> None:
        self.note("tap", session)

    def opened(self, session: Session) -> None:
        self.note("observer", session)

    def closed(self, session: Session, ending: Ending) -> None:
        self.note("observer", session)
        self.endings.append(ending)

    def test_session(self) -> None:
        """All are given the same one: its id, request, identity, target, and when it began."""
        self.plugin.answers["authenticate"] = identity = Identity("alice")
        upgrade = self.connect(path="/console", headers={"cookie": "a=1"})
        (who, sessions, requests) = zip(*self.given, strict=True)
        self.assertEqual(who, ("observer", "tap", "dialer"))
        (session,) = set(sessions)
        self.assertEqual([request is upgrade.request for request in requests], [True] * 3)
        self.assertRegex(session.id, "^[0-9a-f]{32}$")
        self.assertEqual((session.identity, session.target, session.started), (identity, TARGET, 1e9))

    def test_remains(self) -> None:
        """When it is dialled, only who came where is left of its request."""
        self.connect(
            path="/long",
            headers={"cookie": "a=1"},
            queryAll={"a": ("1",)},
            subprotocols=("binary",),
            secure=True,
        )
        session = self.given[0][1]
        self.assertEqual(session.request, makeRequest(path="", secure=True))

    def test_remainsForwarded(self) -> None:
        """Behind a proxy in front, the real client is left, too, and not what a stranger may have made long."""
        client, server = IPv4Address("TCP", "192.0.2.7", 0), IPv4Address("TCP", "192.0.2.8", 443)
        self.connect(forwarded=Forwarded(client, server, "x" * 60_000, True))
        session = self.given[0][1]
        self.assertEqual(session.request, makeRequest(path="", forwarded=Forwarded(client, server)))
        self.assertEqual(session.request.client, client)

    def test_ending(self) -> None:
        """Observers learn how a session ended: what the log says of it, as values."""
        upgrade = self.connect()
        self.clock.advance(2.5)
        upgrade.send(Frame(BINARY, b"12345"))
        self.plugin.target.receive(b"123")
        upgrade.send(Frame(CLOSE, b"\x03\xe8done"))
        upgrade.transport.lose()
        self.plugin.target.lose()
        self.assertEqual(self.endings, [Ending("client", Close(1000, "done"), "", 2.5, 5, 3)])
        self.assertEqual(len({session for _, session, _ in self.given}), 1)

    def test_endingUnreached(self) -> None:
        """Of a target that was not reached, they learn what the system said."""
        self.plugin.answers["dial"] = lambda: fail(ConnectionRefusedError(111))
        self.open().transport.lose()
        (ending,) = self.endings
        self.assertEqual(ending.close, Close(1011, "Target unreachable"))
        self.assertEqual(ending.cause, "ECONNREFUSED: Connection refused")

    def test_close(self) -> None:
        """Whoever has it can end it."""
        upgrade = self.connect()
        self.given[0][1].close(Close(4001, "Expired"))
        self.assertEqual(upgrade.told(), [Message(CLOSE, b"\x0f\xa1Expired")])


class SetTests(SessionTestCase):
    """The sessions that are open, to whoever asks."""

    def test_iterate(self) -> None:
        """They come in their order, and may be closed by the way."""
        for _ in range(3):
            self.open()
        times = [session.started for session in self.sessions]
        self.assertEqual((len(times), times), (3, sorted(times)))
        for session in self.sessions:
            session.close(Close(4000, "Enough"))
        for upgrade in self.upgrades:
            self.assertEqual(upgrade.told(), [Message(CLOSE, b"\x0f\xa0Enough")])

    def test_get(self) -> None:
        """One is found by its whole id while it is open."""
        upgrade = self.connect()
        [session] = self.sessions
        self.assertIs(self.sessions.get(session.id), session)
        self.assertIsNone(self.sessions.get(session.id[:8]))
        upgrade.transport.lose()
        self.plugin.target.lose()
        self.assertIsNone(self.sessions.get(session.id))

    def test_close(self) -> None:
        """One is closed by its id, with what its client reads."""
        upgrade = self.connect()
        [session] = self.sessions
        self.assertTrue(self.sessions.close(session.id, 4001, "Expired"))
        self.assertEqual(upgrade.told(), [Message(CLOSE, b"\x0f\xa1Expired")])
        self.assertFalse(self.sessions.close("0" * 32, 4001, "Expired"))

    def test_forget(self) -> None:
        """An observer hears no more once that is undone, which may be done twice."""
        observer = Observer()
        forget = self.sessions.observe(observer)
        self.open()
        forget()
        forget()
        self.open()
        self.assertEqual(observer.seen, ["opened"])

    def test_reopen(self) -> None:
        """Whoever has closed the door opens it again; it stays closed while somebody else wants that."""
        first, second = self.sessions.refuseNew("Full"), self.sessions.refuseNew("Going down")
        self.assertRefused(self.open(), 503, "Going down")
        second()
        second()
        self.assertRefused(self.open(), 503, "Full")
        first()
        self.assertIsNone(self.connect().refusal)


class LogTests(SessionTestCase):
    """One line when a session opens, one when it closes."""

    def test_session(self) -> None:
        """They name the session, the client and the target; then who ended it, how, and what passed."""
        upgrade = self.connect()
        self.clock.advance(2.5)
        upgrade.send(Frame(BINARY, b"12345"))
        self.plugin.target.receive(b"123")
        upgrade.send(Frame(CLOSE, b"\x03\xe8done"))
        upgrade.transport.lose()
        self.plugin.target.lose()
        opened, closed = self.lines()
        name = self.events[0]["session"][:8]
        self.assertEqual(opened, f"{name} 192.0.2.1:4321 → console:1 (ws /)")
        self.assertEqual(closed, f"{name} closed by client: 1000 done; 2.5 s, 5 bytes up, 3 bytes down")
        fields = {"by": "client", "code": 1000, "reason": "done", "seconds": 2.5, "up": 5, "down": 3}
        self.assertEqual(self.events[-1] | fields, self.events[-1])

    def test_forwarded(self) -> None:
        """Behind a proxy in front it is the real client, and the proxy; one that names nobody is the client."""
        address = IPv4Address("TCP", "192.0.2.1", 4321)
        self.open(forwarded=Forwarded(IPv4Address("TCP", "192.0.2.7", 0)))
        self.open(forwarded=Forwarded(address))
        through, itself = self.lines()[:2]
        self.assertIn(" 192.0.2.7 via 192.0.2.1:4321 → console:1 (ws /)", through)
        self.assertIn(" 192.0.2.1:4321 → console:1 (ws /)", itself)
        fields = {"client": "192.0.2.7", "peer": "192.0.2.1:4321"}
        self.assertEqual(self.events[0] | fields, self.events[0])

    def test_opened(self) -> None:
        """The first names the path without its query, whether TLS is spoken, the subprotocol, and who the client is."""
        self.plugin.answers["authenticate"] = Identity("alice\n")
        self.open(path="/console/\x1b", secure=True, subprotocols=("base64",), queryAll={"token": ("hunter2",)})
        self.assertTrue(self.lines()[0].endswith(" → console:1 (wss /console/\\x1b, base64, as alice\\n)"))
        fields = {"path": "/console/\\x1b", "scheme": "wss", "subprotocol": "base64", "identity": "alice\\n"}
        self.assertEqual(self.events[0] | fields, self.events[0])

    def test_shownPath(self) -> None:
        """A path that holds a secret is shown as those say who know that."""
        self.sessions = self.makeSessions(shownPath=lambda request: "/{token}")
        self.open(path="/hunter2")
        self.assertTrue(self.lines()[0].endswith(" (ws /{token})"))

    def test_draft(self) -> None:
        """The log says which draft a client speaks, whose base64 goes without saying."""
        for draft in Draft:
            upgrade = Upgrade(makeRequest(path="/", subprotocols=("base64",)))
            upgrade.draft = draft
            self.upgrades.append(upgrade)
            self.sessions.open(upgrade)
            self.assertEqual(upgrade.subprotocol, "base64")
            self.assertTrue(self.lines()[-1].endswith(f" (ws /, {draft.value})"), self.lines())

    def test_raw(self) -> None:
        """A client that came without a request has no path."""
        for secure, told in ((False, " (raw)"), (True, " (raw over TLS)")):
            upgrade = Upgrade(makeRequest(path="", secure=secure))
            self.upgrades.append(upgrade)
            self.sessions.open(upgrade, raw=True)
            self.assertTrue(self.lines()[-1].endswith(told))

    def test_cause(self) -> None:
        """The last names what the system said of a failed dial, however deep it is; and what the operator may mend."""
        missing = FileNotFoundError(2, "No such file or directory", "/run/secret")
        several = ExceptionGroup("", [ConnectionRefusedError(111), ConnectionRefusedError(111), ConnectError(113)])
        for cause, told in (
            (missing, "ENOENT: No such file or directory"),
            (several, "ECONNREFUSED: Connection refused, EHOSTUNREACH: No route to host"),
            (ConfigError("--target 1:2:3: expected HOST:PORT"), "--target 1:2:3: expected HOST:PORT"),
        ):
            error = DialError("Target unreachable")
            error.__cause__ = cause
            cause.__cause__ = error  # which may be, and is no reason to go round in circles
            self.plugin.answers["dial"] = raising(error)
            self.open().transport.lose()
            self.assertTrue(self.lines()[-1].endswith(f" 0 bytes down; {told}"), self.lines()[-1])

    def test_wholeName(self) -> None:
        """The text of each event shows eight digits of the session's id, and its field has all 32."""
        self.plugin.answers["dial"] = raising(ValueError())
        self.open().transport.lose()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        ours = [event for event in self.events if event["log_namespace"].startswith("wsproxy.")]
        for event, line in zip(ours, self.lines(), strict=True):
            self.assertRegex(event["session"], "^[0-9a-f]{32}$")
            self.assertTrue(line.startswith(f"{event['session'][:8]} "), line)
        self.assertEqual(len(ours), 3)

    def test_names(self) -> None:
        """No two sessions have the same name."""
        for _ in range(10):
            self.open()
        self.assertEqual(len({event["session"] for event in self.events}), 10)

    def test_refused(self) -> None:
        """A refusal is one line with the client, the status and the reason."""
        self.plugin.answers["authorise"] = raising(Refusal(403, "Not\nthere"))
        self.open()
        self.assertEqual(self.lines(), ["192.0.2.1:4321 refused: 403 Not\\nthere"])

    def test_refusedCause(self) -> None:
        """For the log, and for it alone, a refusal may have a cause."""
        self.plugin.answers["authorise"] = raising(Refusal(403, "No", cause="not in the list"))
        self.open()
        self.assertEqual(self.lines(), ["192.0.2.1:4321 refused: 403 No: not in the list"])

    def test_origin(self) -> None:
        """The refusal of a page names it, the host, and the remedy."""
        self.sessions = self.makeSessions(origins=OriginPolicy())
        self.open(headers={"origin": "https://evil.example", "host": "here.example:6080"})
        self.assertEqual(
            self.lines(),
            [
                "192.0.2.1:4321 refused: 403 Origin not allowed: Origin https://evil.example is not the Host "
                "here.example:6080: a proxy in front that does not keep Host? Set Host there, "
                "or allow it with --origin https://evil.example"
            ],
        )

    def test_often(self) -> None:
        """A client that is refused again and again does not fill the log."""
        self.plugin.answers["authorise"] = raising(Refusal(403, "No"))
        for _ in range(100):
            self.open()
        self.assertLess(len(self.lines()), 10)

    def test_unspoken(self) -> None:
        """A client that will leave because it is not given a subprotocol is told of, with the option that gives it."""
        self.open(subprotocols=("mqtt", "a\x1bb"))
        self.assertEqual(
            self.lines()[0],
            "192.0.2.1:4321 offers only subprotocols that are not accepted here: mqtt, a\\x1bb; "
            "browsers drop a session without one; accept it with --subprotocol mqtt",
        )
        self.events.clear()
        self.open(subprotocols=("mqtt", "binary"))
        self.open(subprotocols=())
        self.assertEqual([line for line in self.lines() if "offers" in line], [])

    def test_timeout(self) -> None:
        """A plugin that took too long is one line, not a traceback."""
        self.plugin.answers["resolve"] = Deferred()
        self.open()
        self.clock.advance(10)
        cause = "no decision in time: --handshake-timeout, or handshakeTimeout"
        self.assertEqual(self.lines(), [f"192.0.2.1:4321 refused: 503 Service unavailable: {cause}"])

    def test_escaped(self) -> None:
        """What strangers chose stays on its line and drives no terminal."""
        self.plugin.answers["resolve"] = Target("evil\x1b[31m\nhost")
        upgrade = self.open()
        upgrade.send(Frame(CLOSE, b"\x03\xe8" + "bye\r\n\u202e".encode()))
        upgrade.transport.lose()
        self.assertIn("→ evil\\x1b[31m\\nhost", self.lines()[0])
        self.assertIn(": 1000 bye\\r\\n\\u202e;", self.lines()[1])

    def test_noReason(self) -> None:
        """A Close without a reason is told as such."""
        upgrade = self.open()
        upgrade.send(Frame(CLOSE))
        upgrade.transport.lose()
        self.assertIn("closed by client: 1005 (no reason);", self.lines()[1])

    def test_secrets(self) -> None:
        """Neither query nor headers nor the identity's claims are in the log, whatever becomes of the client."""
        self.plugin.answers["authenticate"] = Identity("alice", {"password": "hunter2"})
        secret: dict[str, Any] = {
            "queryAll": {"token": ("hunter2",)},
            "headers": {"authorization": "Basic hunter2", "cookie": "hunter2"},
        }
        self.open(**secret).transport.lose()
        self.plugin.answers["authorise"] = raising(Refusal(403, "No"))
        self.open(**secret)
        self.plugin.answers["authorise"] = raising(LookupError("no such thing"))
        self.open(**secret)
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)
        self.assertEqual(len([event for event in self.events if event["log_level"] is LogLevel.critical]), 1)
        text = "\n".join(self.lines()) + "".join(str(event.get("log_failure")) for event in self.events)
        self.assertNotIn("hunter2", text)
