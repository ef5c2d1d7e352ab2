"""
Every call that a session makes outward, failing in every way: it raises, hangs, answers nonsense, or answers when
nobody waits any more.

Whatever it was: the client is told one thing, the log has one traceback, and the next session works.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.testing import StringTransport
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure

from tests.ends.fake import Message
from tests.sessions.test_sessions import GOING_AWAY, TARGET, Observer, SessionTestCase, Upgrade, coroutine, makeRequest
from tests.transport import FakeTransport
from tests.tunnel.client import Frame
from wsproxy.ends.end import End
from wsproxy.ends.transport import TransportEnd
from wsproxy.errors import Close, DialError, PeerClosed, Refusal
from wsproxy.interfaces import Identity, Session
from wsproxy.wire.frames import BINARY, CLOSE, TEXT

MODES: dict[str, tuple[dict[str, Any], bool]] = {
    "plain": ({}, False),
    "base64": ({"subprotocols": ("base64",)}, False),
    "raw": ({"path": ""}, True),
}
"""What the client's request is, and whether it is none."""

INTERNAL = b"\x03\xf3Internal error"
UNREACHABLE = b"\x03\xf3Target unreachable"
TIMED_OUT = b"\x03\xf3Target timed out"


class Fault(Exception):
    """What should not have happened."""


class Unexceptional(BaseException):
    """What should not have happened, and is no L{Exception} either."""


class Faults:
    """
    @ivar kind: what is raised by everybody who does.
    """

    kind: type[BaseException] = Fault

    def __call__(self) -> BaseException:
        """@return: one whose words are a secret."""
        return self.kind("postgres://user:hunter2@db")


fault = Faults()


def raises(*_: Any) -> Any:
    raise fault()


def fails(*_: Any) -> Any:
    return fail(fault())


async def coroutineRaises(*_: Any) -> Any:
    raise fault()


async def awaitsAndRaises(*_: Any) -> Any:
    await succeed(None)
    raise fault()


def hangs(*_: Any) -> Any:
    return Deferred()


async def clings(*_: Any) -> Any:
    """Waits for something else whenever it is cancelled."""
    while True:
        with contextlib.suppress(CancelledError):
            await Deferred()


def resists(*_: Any) -> Any:
    """Cannot be cancelled: its canceller raises."""
    return Deferred(raises)


def obeysBadly(*_: Any) -> Any:
    """Makes an exception of being cancelled."""
    return Deferred(lambda it: it.errback(fault()))


RAISING: tuple[Callable[..., Any], ...] = (raises, fails, coroutineRaises, awaitsAndRaises)
HANGING: tuple[Callable[..., Any], ...] = (hangs, clings, resists, obeysBadly)


class FaultTestCase(SessionTestCase):
    """Each test injects a fault; afterwards all is well again."""

    kind: type[BaseException] = Fault

    def setUp(self) -> None:
        super().setUp()
        fault.kind = self.kind

    def inject(self, **faults: Callable[..., Any]) -> Any:
        """These questions are answered so, in each mode: a subtest each."""
        for mode, (changes, raw) in MODES.items():
            with self.subTest(mode=mode, **faults):
                before = dict(self.plugin.answers)
                self.plugin.answers.update(faults)
                upgrade = self.meet(changes, raw)
                yield upgrade, raw
                self.plugin.answers = before
                self.leave(upgrade)
                self.recover()

    def meet(self, changes: dict[str, Any], raw: bool) -> Upgrade:
        upgrade = Upgrade(makeRequest(**changes))
        self.upgrades.append(upgrade)
        self.sessions.open(upgrade, raw)
        return upgrade

    def word(self, changes: dict[str, Any], raw: bool) -> bytes:
        """What a client sends, in its own way, for its target to be told hello."""
        said = Frame(TEXT, b"aGVsbG8=") if changes.get("subprotocols") else Frame(BINARY, b"hello")
        return b"hello" if raw else said.encode()

    def leave(self, upgrade: Upgrade) -> None:
        if upgrade.end is not None:
            upgrade.transport.lose()
        if self.plugin.target.protocol is not None:
            self.plugin.target.lose()
        self.plugin.target = FakeTransport()

    def recover(self) -> None:
        """Nothing is left, and the next session works."""
        self.assertEqual(len(self.sessions), 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.successResultOf(self.sessions.whenIdle())
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual(self.observer.seen.count("opened"), self.observer.seen.count("closed"))
        upgrade = self.connect()
        upgrade.send(Frame(BINARY, b"hello"))
        self.assertEqual(self.plugin.target.value(), b"hello")
        self.leave(upgrade)
        self.assertEqual(len(self.sessions), 0)
        self.plugin.answers["dial"] = Deferred

    def assertTold(self, upgrade: Upgrade, raw: bool, close: bytes) -> None:
        """The client was closed with this; a raw one has no words for it."""
        if raw:
            self.assertIn(upgrade.transport.value(), (b"", b"hi"))
            self.assertTrue(upgrade.transport.writeDisconnecting or upgrade.transport.disconnecting)
        else:
            self.assertEqual(upgrade.told()[-1:], [Message(CLOSE, close)])

    def assertLogged(self, count: int, kind: type[BaseException] | None = None) -> None:
        """The log has so many tracebacks, and the client has not read what they say."""
        self.assertEqual(len(self.flushLoggedErrors(kind or self.kind)), count)
        for upgrade in self.upgrades:
            self.assertNotIn(b"hunter2", upgrade.transport.value())


NONSENSE: tuple[tuple[Any, Any, type[Exception]], ...] = (
    (99999, "", ValueError),
    (-1, "", ValueError),
    (999, "", ValueError),
    (1005, "", ValueError),
    (1006, "", ValueError),
    (1015, "", ValueError),
    (2999, "", ValueError),
    (4001, b"x", TypeError),
    (4001, None, TypeError),
    (4001.0, "", TypeError),
    ("4001", "", TypeError),
    (None, "", TypeError),
    (True, "", TypeError),
)
"""Close codes and reasons, and what they raise."""


class NonsenseTests(FaultTestCase):
    """What an embedder asks of sessions that makes no sense is refused there and then."""

    def test_close(self) -> None:
        """A session goes on that was to be closed with what cannot be sent, by whichever way."""
        upgrade = self.connect()
        [session] = self.sessions
        for code, reason, kind in NONSENSE:
            with self.subTest(code=code, reason=reason):
                self.assertRaises(kind, self.sessions.close, session.id, code, reason)
                self.assertRaises(kind, self.sessions.close, "nobody", code, reason)
                self.assertRaises(kind, session.close, Close(code, reason))
                self.assertRaises(kind, self.sessions.closeAll, Close(code, reason))
        self.assertRaises(TypeError, session.close, cast(Any, 1000))
        upgrade.send(Frame(BINARY, b"hello"))
        self.assertEqual(self.plugin.target.value(), b"hello")
        self.assertTrue(self.sessions.close(session.id, 4001, "é" * 100))
        self.assertEqual(upgrade.told()[-1], Message(CLOSE, b"\x0f\xa1" + ("é" * 61).encode()))
        self.leave(upgrade)
        self.recover()

    def test_others(self) -> None:
        """Nor does a reason that is no text get as far as a client, nor is anything observed that cannot be told."""
        upgrade = self.connect()
        nobody: Any = b"x"
        self.assertRaises(TypeError, self.sessions.refuseNew, nobody)
        self.assertRaises(TypeError, self.sessions.revoke, lambda admitted: True, nobody)
        self.assertRaises(TypeError, self.sessions.observe, nobody)
        self.assertEqual(len(self.sessions), 1)
        self.leave(upgrade)
        self.recover()


class Unmade(Refusal):
    """Has nothing of a refusal but the name."""

    def __init__(self) -> None:
        pass


def malformed() -> Iterator[Refusal]:
    status: Any
    for status in (101, 200, 299, 600, 999, -1, True, "403", None, 403.0):
        yield Refusal(status, "No")
    reason: Any
    for reason in (None, b"No", 5):
        yield Refusal(403, reason)
    headers: Any
    for headers in (5, None, "ab", ("ab",), {"a": "b"}, (("a",),), (("a", "b", "c"),), (("a", 1),), ((b"a", b"b"),)):
        yield Refusal(403, "No", headers)
    cause: Any = None
    yield Refusal(403, "No", cause=cause)
    yield Unmade()


MALFORMED = tuple(malformed())


class DecisionTests(FaultTestCase):
    """Before the 101."""

    questions = ("authenticate", "resolve", "authorise")

    def test_raises(self) -> None:
        """Whoever decides and raises something is one traceback, and a 503 without its words."""
        for question in self.questions:
            for way in RAISING:
                for upgrade, _ in self.inject(**{question: way}):
                    self.assertRefused(upgrade, 503, "Service unavailable")
                    self.assertLogged(1)

    def test_hangs(self) -> None:
        """Whoever does not answer is answered for, even where it cannot be cancelled."""
        for question in self.questions:
            for way in HANGING:
                for upgrade, _ in self.inject(**{question: way}):
                    self.clock.advance(10)
                    self.assertRefused(upgrade, 503, "Service unavailable")
                    self.assertLogged(0)

    def test_vanishes(self) -> None:
        """A client that vanishes meanwhile leaves nothing behind, whatever its plugin makes of that."""
        for question in self.questions:
            for way in HANGING:
                for upgrade, _ in self.inject(**{question: way}):
                    upgrade.vanish()
                    self.assertEqual((upgrade.end, upgrade.refusal), (None, None))
                    self.assertLogged(0)

    def test_goingDown(self) -> None:
        """Nor does the end of the proxy wait for it."""
        for question in self.questions:
            for way in HANGING:
                for upgrade, _ in self.inject(**{question: way}):
                    self.successResultOf(self.sessions.closeAll(GOING_AWAY))
                    self.assertRefused(upgrade, 503, "Server going down")
                    self.assertLogged(0)

    def test_nonsense(self) -> None:
        """What is no answer is one traceback, and a 503."""
        for question, answers in (
            ("authenticate", (True, "alice", 0, object(), Identity)),
            ("resolve", (None, 42, b"host:1", object(), [TARGET])),
            ("authorise", (False, 0, "", [])),
        ):
            for answer in answers:
                for way in (succeed, coroutine, lambda it: it):
                    fault = lambda way=way, answer=answer: way(answer)  # noqa: E731
                    for upgrade, _ in self.inject(**{question: fault}):
                        self.assertRefused(upgrade, 503, "Service unavailable")
                        self.assertLogged(1, TypeError)

    def test_malformed(self) -> None:
        """A refusal that HTTP cannot say is one traceback, which leads to who made it, and a 503."""
        for refusal in MALFORMED:
            for upgrade, _ in self.inject(resolve=lambda refusal=refusal: fail(refusal)):
                self.assertRefused(upgrade, 503, "Service unavailable")
                self.assertLogged(1, Refusal)
            self.plugin.answers["resolve"] = lambda refusal=refusal: fail(refusal)
            explained = self.successResultOf(self.sessions.explain(makeRequest()))
            self.assertEqual((explained.status, explained.reason), (503, "Service unavailable"))
            self.assertLogged(1, Refusal)
            self.plugin.answers["resolve"] = TARGET

    def test_wellFormed(self) -> None:
        """Whatever else HTTP has for a no is told as it is."""
        for refusal in (
            Refusal(300, ""),
            Refusal(HTTPStatus.IM_A_TEAPOT, "No coffee"),
            Refusal(599, "No", [["Retry-After", "1"]]),  # type: ignore[arg-type]
        ):
            for upgrade, _ in self.inject(resolve=lambda refusal=refusal: fail(refusal)):
                self.assertIs(upgrade.refusal, refusal)

    def test_late(self) -> None:
        """An answer that comes when nobody waits any more is dropped, whether it is yes, no or neither."""
        for question in self.questions:
            for answer in (None, TARGET, Refusal(403, "No"), fault()):
                waiting: list[Deferred[Any]] = []

                async def late(waiting: list[Deferred[Any]] = waiting) -> Any:
                    with contextlib.suppress(CancelledError):
                        await Deferred()
                    waiting.append(Deferred())
                    return await waiting[-1]

                for upgrade, _ in self.inject(**{question: late}):
                    self.clock.advance(10)
                    self.assertRefused(upgrade, 503, "Service unavailable")
                    waiting.pop().callback(Failure(answer) if isinstance(answer, BaseException) else answer)
                    self.assertLogged(0)

    def test_explain(self) -> None:
        """To explain a refusal is as safe as to refuse."""
        for question in self.questions:
            for way, tracebacks in ((raises, 1), (clings, 0), (resists, 0)):
                self.plugin.answers[question] = way
                explained = self.sessions.explain(makeRequest())
                self.clock.advance(10)
                refusal = self.successResultOf(explained)
                self.assertEqual((refusal.status, refusal.reason), (503, "Service unavailable"))
                self.assertLogged(tracebacks)
                self.plugin.answers[question] = TARGET if question == "resolve" else None


class UpgradeTests(FaultTestCase):
    """What carries the request."""

    def meetWith(self, **faults: Callable[..., Any]) -> Upgrade:
        upgrade = Upgrade(makeRequest())
        for name, fault in faults.items():
            setattr(upgrade, name, fault)
        self.upgrades.append(upgrade)
        self.sessions.open(upgrade)
        return upgrade

    def test_accept(self) -> None:
        """A client that cannot be accepted is refused."""
        upgrade = self.meetWith(accept=raises)
        self.assertRefused(upgrade, 503, "Service unavailable")
        self.assertLogged(1)
        self.recover()

    def test_acceptsNobody(self) -> None:
        """So is one that is accepted as something else than an end."""
        upgrade = self.meetWith(accept=lambda subprotocol: None)
        self.assertRefused(upgrade, 503, "Service unavailable")
        self.assertLogged(1, TypeError)
        self.recover()

    def test_acceptAndRefuse(self) -> None:
        """One that can be neither accepted nor refused is dropped; there is one traceback all the same."""
        upgrade = self.meetWith(accept=raises, refuse=raises)
        self.assertTrue(upgrade.aborted)
        self.assertLogged(1)
        self.recover()

    def test_refuse(self) -> None:
        """One that cannot be refused is dropped."""
        self.plugin.answers["resolve"] = lambda: fail(Refusal(403, "No"))
        upgrade = self.meetWith(refuse=raises)
        self.assertTrue(upgrade.aborted)
        self.assertLogged(1)
        self.plugin.answers["resolve"] = TARGET
        self.recover()

    def test_abort(self) -> None:
        """Where nothing works, nothing comes of it."""
        self.meetWith(accept=raises, refuse=raises, abort=raises)
        self.assertLogged(1)
        self.recover()

    def test_notifyLost(self) -> None:
        """One that cannot tell when it vanishes is not waited for."""
        self.plugin.answers["resolve"] = Deferred
        upgrade = self.meetWith(notifyLost=raises)
        self.assertRefused(upgrade, 503, "Service unavailable")
        self.assertLogged(1)
        self.plugin.answers["resolve"] = TARGET
        self.recover()

    def test_peer(self) -> None:
        """An address that cannot be written down is somebody's mistake, too."""

        class Unspeakable:
            __str__ = raises

        upgrade = Upgrade(makeRequest(peer=Unspeakable()))
        self.upgrades.append(upgrade)
        self.sessions.open(upgrade)
        self.assertRefused(upgrade, 503, "Service unavailable")
        self.assertLogged(1)
        self.recover()


class DialTests(FaultTestCase):
    """After the 101."""

    def test_raises(self) -> None:
        """A dialer that raises is one traceback, and a close without its words."""
        for way in RAISING:
            for upgrade, raw in self.inject(dial=way):
                self.assertTold(upgrade, raw, UNREACHABLE)
                self.assertLogged(1)

    def test_hangs(self) -> None:
        """One that does not answer has failed when its time is over."""
        for way in HANGING:
            for upgrade, raw in self.inject(dial=way):
                self.clock.advance(11)
                self.assertTold(upgrade, raw, TIMED_OUT)
                self.assertLogged(way is resists)

    def test_vanishes(self) -> None:
        """A client that leaves meanwhile leaves nothing behind."""
        for way in HANGING:
            for upgrade, _ in self.inject(dial=way):
                upgrade.transport.lose()
                self.assertEqual(len(self.sessions), 0)
                self.assertLogged(way is resists)

    def test_goingDown(self) -> None:
        """The end of the proxy waits for its client, and not for it."""
        for way in HANGING:
            for upgrade, raw in self.inject(dial=way):
                done = self.sessions.closeAll(GOING_AWAY)
                self.assertTold(upgrade, raw, b"\x03\xe9Server going down")
                upgrade.transport.lose()
                self.successResultOf(done)
                self.assertLogged(way is resists)

    def test_nonsense(self) -> None:
        """What connected nothing is no target."""
        for answer in (None, 42, "localhost:5900", object(), Protocol(), TransportEnd(), Failure(DialError("")).value):
            for way in (succeed, coroutine, lambda it: it):
                fault = lambda way=way, answer=answer: way(answer)  # noqa: E731
                for upgrade, raw in self.inject(dial=fault):
                    self.assertTold(upgrade, raw, UNREACHABLE)
                    self.assertLogged(1, TypeError)

    def test_unconnected(self) -> None:
        """A protocol that was built and not connected is none either."""
        for upgrade, raw in self.inject(dial=lambda: self.plugin.factory.buildProtocol(None)):  # type: ignore[union-attr]
            self.assertTold(upgrade, raw, UNREACHABLE)
            self.assertLogged(1, TypeError)

    def test_lost(self) -> None:
        """One that was connected and is lost has closed."""

        def dial() -> Any:
            protocol = self.plugin.connect()
            protocol.dataReceived(b"last words")
            self.plugin.target.lose()
            return protocol

        for upgrade, raw in self.inject(dial=dial):
            if raw:
                self.assertEqual(upgrade.transport.value(), b"last words")
            else:
                said, close = upgrade.told()
                self.assertIn(said.payload, (b"last words", b"bGFzdCB3b3Jkcw=="))
                self.assertEqual(close, Message(CLOSE, b"\x03\xe8Target closed"))
            self.assertLogged(0)

    def test_lostWithNonsense(self) -> None:
        """A connection of somebody else's that ends with a Close that is none, is one that was lost."""
        made: Any = Close  # without its types
        for nonsense in (made(99999, ""), made(4001, b"x"), made("x"), made(1006, 5)):

            def dial(nonsense: Any = nonsense) -> Any:
                protocol = self.plugin.connect()
                protocol.connectionLost(Failure(PeerClosed(nonsense)))
                return protocol

            for upgrade, raw in self.inject(dial=dial):
                self.assertTold(upgrade, raw, b"\x03\xf3Target connection lost")
                self.assertLogged(0)

    def test_late(self) -> None:
        """A target that comes when nobody waits any more is dropped, by whatever way it comes."""
        for _ in self.inject(dial=hangs):
            self.clock.advance(11)
            self.assertIsNone(self.plugin.factory.buildProtocol(None))  # type: ignore[union-attr]

    def test_lateAnswer(self) -> None:
        """So is one that was connected in time, and answered too late."""

        def dial() -> Any:
            self.plugin.connect()
            return Deferred(lambda it: None)

        for _ in self.inject(dial=dial):
            self.assertFalse(self.plugin.target.aborted)
            self.clock.advance(11)
            self.assertTrue(self.plugin.target.aborted)

    def test_connectsAndRaises(self) -> None:
        """So is one that was connected before the dialer failed."""

        def dial() -> Any:
            self.plugin.connect()
            raise fault()

        for upgrade, raw in self.inject(dial=dial):
            self.assertTrue(self.plugin.target.aborted)
            self.assertTold(upgrade, raw, UNREACHABLE)
            self.assertLogged(1)

    def test_words(self) -> None:
        """An exception that cannot even say what it is is none the less told of."""

        class Mute(DialError):
            __str__ = raises

        def dial() -> Any:
            raise Mute("")

        for upgrade, raw in self.inject(dial=dial):
            self.assertTold(upgrade, raw, UNREACHABLE)
            self.assertLogged(1)


class Wrapping(Protocol):
    """
    Stands between a target and our end, as Autobahn's endpoints do: it has little of a transport, calls
    C{connectionMade} when it likes, and has no reason when it is lost.
    """

    transport: Any

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        inner.transport = self

    def write(self, data: bytes) -> None:
        self.transport.write(b"<" + data + b">")

    def loseConnection(self) -> None:
        self.transport.loseConnection()

    def getPeer(self) -> Any:
        return self.transport.getPeer()

    def open(self) -> None:
        self.inner.connectionMade()

    def dataReceived(self, data: bytes) -> None:
        self.inner.dataReceived(data)

    def connectionLost(self, reason: Any = None) -> None:
        self.inner.connectionLost(None)


class WrappedTests(FaultTestCase):
    """A dialer that returns a protocol which is not ours, and has ours within."""

    def dial(self) -> Wrapping:
        assert self.plugin.factory is not None
        self.wrapping = Wrapping(self.plugin.factory.buildProtocol(None))
        self.plugin.target.connect(self.wrapping)
        return self.wrapping

    def setUp(self) -> None:
        super().setUp()
        self.plugin.answers["dial"] = self.dial

    def test_relays(self) -> None:
        """It relays both ways, once it is open; until then the client's bytes wait."""
        upgrade = self.open()
        upgrade.send(Frame(BINARY, b"early"))
        self.assertEqual(self.plugin.target.value(), b"")
        self.wrapping.open()
        upgrade.send(Frame(BINARY, b"late"))
        self.plugin.target.receive(b"hello")
        self.assertEqual(self.plugin.target.value(), b"<early><late>")
        self.assertEqual(upgrade.told(), [Message(BINARY, b"hello")])

    def test_openAlready(self) -> None:
        """It may be open before the dialer answers."""

        def dial() -> Wrapping:
            self.dial().open()
            return self.wrapping

        self.plugin.answers["dial"] = dial
        upgrade = self.open()
        upgrade.send(Frame(BINARY, b"hello"))
        self.assertEqual(self.plugin.target.value(), b"<hello>")

    def test_backpressure(self) -> None:
        """What it cannot do itself is done by the transport beneath."""
        upgrade = self.open()
        self.wrapping.open()
        self.plugin.target.congest()
        upgrade.send(Frame(BINARY, b"hello"))
        self.assertEqual(upgrade.transport.producerState, "paused")
        self.plugin.target.drain()
        self.assertEqual(upgrade.transport.producerState, "producing")

    def test_closes(self) -> None:
        """When it is lost, the target has closed."""
        upgrade = self.open()
        self.wrapping.open()
        self.plugin.target.lose()
        self.assertEqual(upgrade.told(), [Message(CLOSE, b"\x03\xe8Target closed")])

    def test_clientCloses(self) -> None:
        """When the client is done, all of it is closed: it has no half."""
        upgrade = self.open()
        self.wrapping.open()
        upgrade.send(Frame(CLOSE))
        self.assertTrue(self.plugin.target.disconnecting)
        self.assertFalse(self.plugin.target.writeDisconnecting)

    def test_neverOpens(self) -> None:
        """It has as long as a dialer has; then the transport beneath is aborted."""
        upgrade = self.open()
        self.clock.advance(11)
        self.assertEqual(upgrade.told(), [Message(CLOSE, TIMED_OUT)])
        self.assertTrue(self.plugin.target.aborted)

    def test_failsToOpen(self) -> None:
        """When it is lost before, there was no target."""
        upgrade = self.open()
        self.plugin.target.lose()
        self.assertEqual(upgrade.told(), [Message(CLOSE, b"\x03\xf3Target closed the connection")])

    def test_clientLeaves(self) -> None:
        """A client that leaves before it is open takes it along."""
        upgrade = self.open()
        upgrade.transport.lose()
        self.assertTrue(self.plugin.target.aborted)
        self.assertEqual(len(self.sessions), 0)


class FaultyTap:
    """Raises in one call of each session, and counts what comes after."""

    def __init__(self, call: str) -> None:
        self.call = call
        self.calls: list[str] = []

    def __call__(self, session: Session) -> FaultyTap | None:
        self._note("make")
        return self

    def _note(self, call: str) -> None:
        self.calls.append(call)
        if call == self.call:
            raise fault()

    def fromClient(self, payload: Sequence[Any], partial: bool) -> None:
        self._note("fromClient")

    def toTarget(self, congested: bool) -> None:
        self._note("toTarget")

    def fromTarget(self, data: Any) -> None:
        self._note("fromTarget")

    def toClient(self, congested: bool) -> None:
        self._note("toClient")

    def close(self) -> None:
        self._note("close")


class WatcherTests(FaultTestCase):
    """Those who watch a session."""

    def converse(self, changes: dict[str, Any], raw: bool) -> Upgrade:
        """A session with a word each way, if it comes to that."""
        self.plugin.answers["dial"] = self.plugin.connect
        upgrade = self.meet(changes, raw)
        if self.plugin.target.protocol is not None:
            upgrade.transport.receive(self.word(changes, raw))
            self.plugin.target.receive(b"hi")
        self.clock.advance(0)
        return upgrade

    def test_taps(self) -> None:
        """
        A tap that raises ends its session with 1011; it is not asked again, but closed, as are the others.
        """
        for call in ("make", "fromClient", "toTarget", "fromTarget", "toClient"):
            for mode, (changes, raw) in MODES.items():
                with self.subTest(call=call, mode=mode):
                    good, bad = FaultyTap("none"), FaultyTap(call)
                    self.sessions = self.makeSessions(taps=[good, bad, FaultyTap("none")])
                    upgrade = self.converse(changes, raw)
                    self.assertTold(upgrade, raw, INTERNAL)
                    self.assertLogged(1)
                    self.leave(upgrade)
                    self.assertEqual(good.calls.count("close"), 1)
                    if call != "make":
                        self.assertEqual(bad.calls[-2:], [call, "close"])
                    self.sessions = self.makeSessions()
                    self.recover()

    def test_tapCloses(self) -> None:
        """One that raises when it is closed takes nothing along: the session was over."""
        for mode, (changes, raw) in MODES.items():
            with self.subTest(mode=mode):
                good = FaultyTap("none")
                self.sessions = self.makeSessions(taps=[FaultyTap("close"), good])
                self.leave(self.converse(changes, raw))
                self.assertLogged(1)
                self.assertEqual(good.calls[-1], "close")
                self.assertIn(" closed by ", self.lines()[-1])
                self.sessions = self.makeSessions()
                self.recover()

    def test_tapEndsIt(self) -> None:
        """A tap, or its factory, that ends its session from within a call, which it should not, does no harm."""
        for call in ("make", "fromClient", "toTarget", "fromTarget", "toClient", "close"):
            for mode, (changes, raw) in MODES.items():
                with self.subTest(call=call, mode=mode):
                    self.sessions = self.makeSessions(taps=[Ender(call)])
                    upgrade = self.converse(changes, raw)
                    if call != "close":
                        self.assertTold(upgrade, raw, b"\x03\xe9Server going down")
                    self.assertLogged(0)
                    self.leave(upgrade)
                    self.sessions = self.makeSessions()
                    self.recover()

    def test_observerOpened(self) -> None:
        """An observer that raises when a session opens ends it, undialled; the others have heard of it and its end."""
        for mode, (changes, raw) in MODES.items():
            with self.subTest(mode=mode), self.observing("opened"):
                upgrade = self.converse(changes, raw)
                self.assertIsNone(self.plugin.target.protocol)
                self.assertTold(upgrade, raw, INTERNAL)
                self.assertLogged(1)
                self.leave(upgrade)
            self.recover()

    def test_observerFails(self) -> None:
        """So does one that answers with a Deferred or a coroutine that has failed."""
        for way in RAISING:
            with self.subTest(way=way), self.observing("opened", way):
                upgrade = self.converse({}, False)
                self.assertIsNone(self.plugin.target.protocol)
                self.assertTold(upgrade, False, INTERNAL)
                self.assertLogged(1)
                self.leave(upgrade)
            self.recover()

    def test_observerFailsLater(self) -> None:
        """Nobody waits for what an observer is about; a failure is logged when it comes."""
        doing: Deferred[None] = Deferred()
        with self.observing("opened", lambda session: doing):
            upgrade = self.converse({}, False)
            self.leave(upgrade)
            self.assertEqual(len(self.sessions), 0)
            doing.errback(fault())
            self.assertLogged(1)
        self.recover()

    def test_early(self) -> None:
        """What a client has sent by then waits for no target: it leaves at once."""
        for mode, (changes, raw) in MODES.items():
            with self.subTest(mode=mode), self.observing("opened"):
                upgrade = Upgrade(makeRequest(**changes))
                self.upgrades.append(upgrade)
                accept = upgrade.accept

                def acceptEarly(*answer: Any, accept: Any = accept, raw: bool = raw) -> TransportEnd:
                    end: TransportEnd = accept(*answer)
                    end.dataReceived(b"early" if raw else Frame(BINARY, b"early").encode())
                    return end

                upgrade.accept = acceptEarly  # type: ignore[method-assign]
                self.sessions.open(upgrade, raw)
                upgrade.transport.lose()
                self.assertEqual(len(self.sessions), 0)
                self.assertLogged(1)
            self.recover()

    def test_observerClosed(self) -> None:
        """One that raises when it closes keeps nobody from hearing of it, or from waiting for the last one."""
        for mode, (changes, raw) in MODES.items():
            with self.subTest(mode=mode), self.observing("closed"):
                upgrade = self.converse(changes, raw)
                idle = self.sessions.whenIdle()
                self.leave(upgrade)
                self.successResultOf(idle)
                self.assertLogged(1)
            self.recover()

    @contextlib.contextmanager
    def observing(self, event: str, way: Callable[..., Any] = raises) -> Iterator[None]:
        """With an observer that does so at this event, between two that do well."""
        self.sessions = self.makeSessions()
        faulty = Observer()
        setattr(faulty, event, way)
        self.sessions.observe(faulty)
        self.sessions.observe(self.observer)
        yield
        self.sessions = self.makeSessions()

    def test_observerEndsIt(self) -> None:
        """An observer may end all sessions while one opens, gently or not."""
        for mode, (changes, raw) in MODES.items():
            for within in (6.0, 0.0):
                with self.subTest(mode=mode, within=within):
                    self.sessions = self.makeSessions()
                    closing: list[Deferred[None]] = []
                    ender: Any = type("Ender", (), {"closed": lambda it, session, ending: None})()
                    ender.opened = partial(self.closeAll, closing, within)
                    self.sessions.observe(ender)
                    upgrade = self.converse(changes, raw)
                    self.assertIsNone(self.plugin.target.protocol)
                    self.assertTold(upgrade, raw, b"\x03\xe9Server going down")
                    self.assertEqual(upgrade.transport.aborted, not within)
                    self.leave(upgrade)
                    self.successResultOf(closing[0])
                    self.sessions = self.makeSessions()
                    self.recover()

    def closeAll(self, closing: list[Deferred[None]], within: float, session: Session) -> None:
        closing.append(self.sessions.closeAll(GOING_AWAY, within))

    def test_shownPath(self) -> None:
        """Whoever cannot say what to show of a path ends its session: what is shown may be a secret."""
        for mode, (changes, raw) in MODES.items():
            with self.subTest(mode=mode):
                self.sessions = self.makeSessions(shownPath=raises)
                upgrade = self.converse(changes, raw)
                self.assertTold(upgrade, raw, INTERNAL)
                self.assertLogged(1)
                self.leave(upgrade)
                self.sessions = self.makeSessions()
                self.recover()

    def test_log(self) -> None:
        """Of an observer of the log that raises sessions take no notice; where it is for Twisted to tell, that does."""
        globalLogPublisher.addObserver(raises)
        self.addCleanup(globalLogPublisher.removeObserver, raises)
        for changes, raw in MODES.values():
            self.leave(self.converse(changes, raw))
        globalLogPublisher.removeObserver(raises)
        told = self.flushLoggedErrors(self.kind)
        self.assertGreaterEqual(len(told), 3 if issubclass(self.kind, Exception) else 0)
        self.recover()


class Ender:
    """A tap that ends its session in one call."""

    def __init__(self, call: str) -> None:
        self._call = call

    def __call__(self, session: Session) -> Any:
        def act(call: str) -> Callable[..., None]:
            return lambda *_: session.close(GOING_AWAY) if call == self._call else None

        act("make")()
        tap: Any = type("Tap", (), {})()
        for call in ("fromClient", "toTarget", "fromTarget", "toClient", "close"):
            setattr(tap, call, act(call))
        return tap


CALLS = (
    "write",
    "pauseProducing",
    "resumeProducing",
    "loseConnection",
    "loseWriteConnection",
    "abortConnection",
    "unregisterProducer",
    "getHandle",
)
"""What an end asks of its transport."""

TOUCHED = ("resumeProducing", "loseWriteConnection", "unregisterProducer")
"""What of it a target is asked for when its client leaves."""


class Pump:
    """Pumps nothing: raises when it is given the client's end, or the target's."""

    def __init__(self, number: int) -> None:
        self._number = number

    def adopt(self, end: TransportEnd) -> End:
        self._number -= 1
        if not self._number:
            raise fault()
        return end


class EndTests(FaultTestCase):
    """The ends, and what becomes of a session that has lost its grip on them."""

    def test_pump(self) -> None:
        """A pump that raises ends the session, for the one end and for the other, and lets go of both."""
        for number in (1, 2):
            for mode, (changes, raw) in MODES.items():
                with self.subTest(number=number, mode=mode):
                    self.sessions = self.makeSessions(pump=Pump(number))
                    self.plugin.answers["dial"] = self.plugin.connect
                    upgrade = self.meet(changes, raw)
                    self.assertTold(upgrade, raw, INTERNAL)
                    self.assertLogged(1)
                    self.assertEqual(self.plugin.target.aborted, number == 2)
                    self.leave(upgrade)
                    self.sessions = self.makeSessions()
                    self.recover()

    def test_lostClient(self) -> None:
        """A client that is gone when it is accepted is not dialled for."""
        for mode, (changes, raw) in MODES.items():
            upgrade = Upgrade(makeRequest(**changes))
            accept = upgrade.accept

            def acceptTheLost(*answer: Any, upgrade: Upgrade = upgrade, accept: Any = accept) -> TransportEnd:
                end: TransportEnd = accept(*answer)
                end.connectionLost(Failure(ConnectionDone()))
                return end

            upgrade.accept = acceptTheLost  # type: ignore[method-assign]
            self.plugin.asked.clear()
            self.sessions.open(upgrade, raw)
            self.assertNotIn("dial", self.plugin.questions(), mode)
            self.recover()

    def transport(self, upgrade: Upgrade, **faults: Callable[..., Any]) -> None:
        for name, fault in faults.items():
            setattr(upgrade.transport, name, fault)

    def test_deafClient(self) -> None:
        """A client's transport that raises in whatever call ends its session, within the closing timeouts."""
        for call in ("write", "resumeProducing", "loseConnection", "abortConnection", "loseWriteConnection"):
            for mode, (changes, raw) in MODES.items():
                with self.subTest(call=call, mode=mode):
                    self.plugin.answers["dial"] = self.plugin.connect
                    upgrade = Upgrade(makeRequest(**changes))
                    setattr(upgrade.transport, call, raises)
                    self.upgrades.append(upgrade)
                    self.sessions.open(upgrade, raw)
                    done = self.sessions.closeAll(GOING_AWAY)
                    if self.plugin.target.protocol is not None:
                        self.plugin.target.lose()
                    for _ in range(8):
                        with contextlib.suppress(self.kind):  # a reactor logs what a timer raises
                            self.clock.advance(1)
                    self.successResultOf(done)
                    self.assertLessEqual(len(self.flushLoggedErrors(self.kind)), 2)
                    self.leave(upgrade)
                    self.recover()

    def test_faultyTarget(self) -> None:
        """
        A target's transport that raises in whatever call ends its session: a client that is there is told 1011, and of
        one that has left nothing stays. There is one traceback at the most.
        """
        for call in CALLS:
            for left in (False, True):
                for mode, (changes, raw) in MODES.items():
                    with self.subTest(call=call, left=left, mode=mode):
                        self.plugin.answers["dial"] = self.plugin.connect
                        upgrade = self.meet(changes, raw)
                        self.break_(self.plugin.target, call)
                        if not left:
                            upgrade.transport.receive(self.word(changes, raw))
                        upgrade.transport.lose()
                        failed = len(self.flushLoggedErrors(self.kind))
                        self.assertEqual(failed, call in TOUCHED or (call == "write" and not left), (call, left, mode))
                        if failed:
                            self.assertEqual(len(self.sessions), 0)
                        self.finish(upgrade)

    def test_faultyTargetTells(self) -> None:
        """One that raises when it is written to, or read no more or again, is told of with 1011 at once."""
        for call, event in (
            ("write", lambda upgrade, word: upgrade.transport.receive(word)),
            ("pauseProducing", lambda upgrade, word: self.heard(upgrade)),
            ("resumeProducing", lambda upgrade, word: self.drained(upgrade)),
        ):
            for mode, (changes, raw) in MODES.items():
                with self.subTest(call=call, mode=mode):
                    self.plugin.answers["dial"] = self.plugin.connect
                    upgrade = self.meet(changes, raw)
                    self.break_(self.plugin.target, call)
                    event(upgrade, self.word(changes, raw))
                    self.assertLogged(1)
                    self.assertTrue(self.plugin.target.aborted)
                    if raw:
                        self.assertTrue(upgrade.transport.writeDisconnecting)
                    else:
                        self.assertEqual(upgrade.told()[-1:], [Message(CLOSE, INTERNAL)])
                    upgrade.transport.lose()
                    self.assertEqual(len(self.sessions), 0)
                    self.finish(upgrade)

    def heard(self, upgrade: Upgrade) -> None:
        """A client that takes no more is sent something."""
        upgrade.transport.congest()
        self.plugin.target.receive(b"hi")

    def drained(self, upgrade: Upgrade) -> None:
        """And takes it."""
        self.heard(upgrade)
        upgrade.transport.drain()

    def break_(self, transport: FakeTransport, call: str) -> None:
        setattr(transport, call, raises)

    def finish(self, upgrade: Upgrade) -> None:
        """Whatever is left ends within the closing timeouts, and is no mistake of ours."""
        self.leave(upgrade)
        for _ in range(12):
            self.clock.advance(1)
        self.flushLoggedErrors(self.kind)
        self.recover()

    def test_faultyClient(self) -> None:
        """A client's transport that raises in whatever call ends its session, which is one traceback at the most."""
        for call in CALLS:
            for mode, (changes, raw) in MODES.items():
                with self.subTest(call=call, mode=mode):
                    self.plugin.answers["dial"] = self.plugin.connect
                    upgrade = self.meet(changes, raw)
                    self.break_(upgrade.transport, call)
                    target = self.plugin.target
                    self.heard(upgrade)
                    if target.connected and target.producerState == "paused" and not target.aborted:
                        upgrade.transport.drain()
                    if not target.aborted:
                        target.lose()
                    self.clock.pump([1.0] * 11)
                    self.assertLessEqual(len(self.flushLoggedErrors(self.kind)), 1)
                    if call in ("write", "abortConnection"):
                        self.assertEqual(len(self.sessions), 0)
                    self.finish(upgrade)

    def test_silent(self) -> None:
        """Twisted's own C{StringTransport} can do little of a connection, and never says that it is gone."""

        def dial() -> Any:
            assert self.plugin.factory is not None
            protocol: Any = self.plugin.factory.buildProtocol(None)
            protocol.makeConnection(StringTransport())
            return protocol

        for upgrade, _ in self.inject(dial=dial):
            upgrade.transport.lose()
            self.clock.pump([1.0] * 11)
            self.flushLoggedErrors(RuntimeError)
            self.assertEqual(len(self.sessions), 0)

    def inLimbo(self) -> Upgrade:
        """A session whose target has not answered."""
        self.plugin.answers["dial"] = Deferred
        return self.open()

    def test_closeAll(self) -> None:
        """The end of one session that raises does not keep the others from theirs."""
        upgrades = [self.connect(), self.inLimbo(), self.inLimbo()]
        upgrades[1].transport.write = raises  # type: ignore[method-assign]
        done = self.sessions.closeAll(GOING_AWAY)
        self.assertEqual([upgrade.told() != [] for upgrade in upgrades], [True, False, True])
        self.assertLogged(1)
        for upgrade in upgrades:
            upgrade.transport.lose()
        self.plugin.target.lose()
        self.clock.advance(6)
        self.successResultOf(done)


# Each of these again with what is no Exception: of a task that was cancelled, of sys.exit, and of whoever else
for _kind in (asyncio.CancelledError, SystemExit, Unexceptional):
    for _case in (DecisionTests, UpgradeTests, DialTests, WatcherTests, EndTests):
        _name = _kind.__name__ + _case.__name__
        globals()[_name] = type(_name, (_case,), {"kind": _kind, "__doc__": _case.__doc__})
del _case
