"""Every way a tunnel can end."""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import Any

from tests.ends.contract import KINDS
from tests.ends.fake import FakeEnd, Message, messages
from tests.tunnel.client import Frame
from tests.tunnel.tunnelcase import GOING_AWAY, RESET, TunnelTestCase, binary, closing
from wsproxy.errors import Close
from wsproxy.interfaces import Ending
from wsproxy.tunnel.dismissal import LAST_WORDS
from wsproxy.tunnel.flow import WINDOW
from wsproxy.tunnel.patience import CLOSE_TIMEOUT, STALL_LIMIT
from wsproxy.tunnel.tunnel import Tunnel
from wsproxy.wire.frames import BINARY, CLOSE, PING, TEXT
from wsproxy.wire.wire import BinaryWire


class ClientClosesTests(TunnelTestCase):
    """The client says, or shows, that it is done."""

    def setUp(self) -> None:
        super().setUp()
        self.connect()

    def test_close(self) -> None:
        """Its Close is echoed with its code behind what was written; what it sent before is flushed."""
        self.target.receive(b"before")
        self.client.receive(binary(b"last words") + Frame(CLOSE, closing(4321, b"enough")).encode() + b"junk")
        self.assertEqual(self.told(), [Message(BINARY, b"before"), Message(CLOSE, closing(4321, b"enough"))])
        self.assertTrue(self.client.closed)
        self.assertEqual(self.target.written, b"last words")
        self.assertTrue(self.target.finished and not self.target.closed)
        self.client.lose()
        self.assertEqual(self.endings, [])
        self.target.lose()
        self.assertEnded("client", 4321, "enough")

    def test_closeWithoutCode(self) -> None:
        """A Close without a code is echoed without one."""
        self.client.receive(Frame(CLOSE).encode())
        self.assertEqual(self.told(), [Message(CLOSE, b"")])
        self.client.lose()
        self.target.lose()
        self.assertEnded("client", 1005)

    def test_afterwards(self) -> None:
        """What the target says to a client that is done is dropped; its end-of-file ends it."""
        self.client.receive(Frame(CLOSE, closing(1000)).encode())
        self.target.receive(b"too late")
        self.assertEqual(self.told(), [Message(CLOSE, closing(1000))])
        self.assertEqual(self.tunnel.bytesFromTarget, 0)
        self.target.end()
        self.assertTrue(self.target.closed)

    def test_whileCongested(self) -> None:
        """A client that is not being read can leave as soon as its last payload has been taken."""
        self.target.congested = True
        self.client.receive(binary(b"all of it") + Frame(CLOSE, closing(1000)).encode())
        self.assertTrue(self.target.finished)
        self.assertTrue(self.client.reading)

    def test_targetWasPaused(self) -> None:
        """A target that was held back is read again, to see its end."""
        self.client.congested = True
        self.target.receive(b"more than it takes")
        self.client.receive(Frame(CLOSE, closing(1000)).encode())
        self.assertTrue(self.target.reading)

    def test_vanishes(self) -> None:
        """End-of-file without a Close: what was sent is flushed, nothing is said."""
        self.client.receive(binary(b"last words"))
        self.client.end()
        self.assertTrue(self.client.closed and self.target.finished)
        self.assertEqual(self.target.written, b"last words")
        self.client.lose()
        self.target.lose()
        self.assertEqual(self.told(), [])
        self.assertEnded("client", 1006, "Client vanished")

    def test_isLost(self) -> None:
        """A lost connection: what was sent is flushed to the target, then end-of-file."""
        self.client.receive(binary(b"last words"))
        self.client.lose(RESET)
        self.assertTrue(self.target.finished)
        self.target.receive(b"too late")
        self.target.end()
        self.target.lose()
        self.assertEnded("client", 1006, "Client vanished")

    def test_deadline(self) -> None:
        """Whoever has not ended L{CLOSE_TIMEOUT} after the client was done is aborted."""
        self.client.receive(Frame(CLOSE, closing(1000)).encode())
        self.clock.advance(CLOSE_TIMEOUT - 0.1)
        self.assertFalse(self.client.aborted or self.target.aborted)
        self.clock.advance(0.1)
        self.assertTrue(self.client.aborted and self.target.aborted)
        self.client.lose()
        self.target.lose()
        self.assertEnded("client", 1000)

    def test_deadlineStays(self) -> None:
        """That its connection is gone gives nobody more time."""
        self.client.receive(Frame(CLOSE, closing(1000)).encode())
        self.clock.advance(CLOSE_TIMEOUT - 1)
        self.client.lose()
        self.clock.advance(1)
        self.assertTrue(self.target.aborted)

    def test_owedNothing(self) -> None:
        """A client that has said Close is not waited for longer because it has not read everything."""
        self.client.owed = 1000
        self.client.receive(Frame(CLOSE, closing(1000)).encode())
        self.clock.advance(CLOSE_TIMEOUT)
        self.assertTrue(self.client.aborted)

    def test_errors(self) -> None:
        """What a client breaks the protocol with is told to it, after its valid payload was relayed."""
        cases = [
            (1002, Frame(BINARY, b"x", masked=False), b"Frame not masked"),
            (1003, Frame(TEXT, b"x"), b"Only binary messages are accepted here"),
            (1007, Frame(CLOSE, closing(1000, b"\xff")), b"Invalid UTF-8 in a close reason"),
        ]
        for code, frame, reason in cases:
            with self.subTest(code=code):
                client, target = FakeEnd(), FakeEnd()
                endings: list[Ending] = []
                tunnel = Tunnel(client, BinaryWire(), self.clock, endings.append)
                tunnel.start()
                tunnel.connected(target)
                client.receive(binary(b"valid") + frame.encode() + binary(b"ignored"))
                self.assertEqual(messages(client.written), [Message(CLOSE, closing(code, reason))])
                self.assertEqual(target.written, b"valid")
                self.assertTrue(target.finished)
                client.receive(binary(b"ignored"))
                # the server ends TCP after the closing handshake; a bad Close is one all the same
                self.assertFalse(client.finished)
                self.assertEqual(client.closed, code == 1007)
                client.receive(Frame(CLOSE, closing(code)).encode()[:3])
                client.receive(Frame(CLOSE, closing(code)).encode()[3:])
                self.assertTrue(client.closed)
                client.lose()
                target.lose()
                self.assertEqual(endings, [Ending("client", Close(code, reason.decode()))])


class TargetClosesTests(TunnelTestCase):
    """The target is done."""

    def setUp(self) -> None:
        super().setUp()
        self.connect()

    def test_ends(self) -> None:
        """Its end-of-file closes the WebSocket behind all it sent; the client's Close ends it."""
        self.target.receive(b"last words")
        self.target.end()
        self.assertEqual(self.told(), [Message(BINARY, b"last words"), Message(CLOSE, closing(1000, b"Target closed"))])
        self.assertFalse(self.target.finished or self.client.closed)
        self.client.receive(binary(b"I see") + Frame(CLOSE, closing(1000)).encode() + b"junk")
        self.assertEqual(self.target.written, b"I see")
        self.assertTrue(self.client.closed and self.target.finished)
        self.client.lose()
        self.target.lose()
        self.assertEnded("target", 1000, "Target closed")

    def test_isLostInOrder(self) -> None:
        """A target that is gone at once, in good order, is told alike."""
        self.target.lose()
        self.assertClosing(1000, b"Target closed")

    def test_resets(self) -> None:
        """A target that is lost with an error is told with 1011."""
        self.target.receive(b"last words")
        self.target.lose(RESET)
        self.assertEqual(
            self.told(), [Message(BINARY, b"last words"), Message(CLOSE, closing(1011, b"Target connection lost"))]
        )
        self.client.receive(binary(b"to nobody") + Frame(CLOSE, closing(1011)).encode())
        self.client.lose()
        self.assertEnded("target", 1011, "Target connection lost")

    def test_losesAfterEnd(self) -> None:
        """What becomes of a target after its end-of-file changes nothing for the client."""
        self.target.end()
        self.target.lose(RESET)
        self.assertClosing(1000, b"Target closed")
        self.client.lose()
        self.assertEnded("target", 1000, "Target closed")

    def test_pingsUnanswered(self) -> None:
        """Nothing follows our Close, not even a pong."""
        self.target.end()
        self.client.receive(Frame(PING, b"?").encode())
        self.client.congested = True
        self.client.drain()
        self.tunnel.heartbeat()
        self.assertClosing(1000, b"Target closed")

    def test_errorAfterClose(self) -> None:
        """A client that breaks the protocol after our Close is not told: one Close is all there is."""
        self.target.end()
        self.client.receive(Frame(BINARY, b"x", masked=False).encode())
        self.assertClosing(1000, b"Target closed")
        self.assertTrue(self.target.finished and not self.client.closed)
        self.client.end()
        self.assertTrue(self.client.closed)

    def test_deadline(self) -> None:
        """A client that does not answer our Close within L{CLOSE_TIMEOUT} is aborted, and so is the target."""
        self.target.end()
        self.clock.advance(CLOSE_TIMEOUT - 0.1)
        self.assertFalse(self.client.aborted or self.target.aborted)
        self.clock.advance(0.1)
        self.assertTrue(self.client.aborted and self.target.aborted)

    def test_deadlineMoves(self) -> None:
        """The client's Close gives the target, and what it is still to be sent, another L{CLOSE_TIMEOUT}."""
        self.target.end()
        self.clock.advance(CLOSE_TIMEOUT - 1)
        self.client.receive(Frame(CLOSE, closing(1000)).encode())
        self.clock.advance(CLOSE_TIMEOUT - 0.1)
        self.assertFalse(self.target.aborted)
        self.clock.advance(0.1)
        self.assertTrue(self.target.aborted)

    def test_slowClient(self) -> None:
        """A client that takes what it is owed, however slowly, has the time it needs; the target has not."""
        self.target.receive(b"much")
        self.target.end()
        for owed in range(100, 0, -1):
            self.client.owed = owed
            self.clock.advance(CLOSE_TIMEOUT)
        self.assertFalse(self.client.aborted)
        self.assertTrue(self.target.aborted)
        self.client.owed = 0
        self.clock.advance(CLOSE_TIMEOUT)
        self.assertTrue(self.client.aborted)

    def test_stalledClient(self) -> None:
        """A client that takes nothing of what it is owed is aborted after L{STALL_LIMIT} times the deadline."""
        self.client.owed = 100
        self.target.end()
        for _ in range(STALL_LIMIT):
            self.clock.advance(CLOSE_TIMEOUT)
        self.assertFalse(self.client.aborted)
        self.clock.advance(CLOSE_TIMEOUT)
        self.assertTrue(self.client.aborted)

    def test_stallsAgain(self) -> None:
        """Only stalls in a row count."""
        self.target.end()
        for owed in (100, 99):
            self.client.owed = owed
            for _ in range(STALL_LIMIT):
                self.clock.advance(CLOSE_TIMEOUT)
        self.assertFalse(self.client.aborted)


class ProxyClosesTests(TunnelTestCase):
    """The proxy ends it."""

    def setUp(self) -> None:
        super().setUp()
        self.connect()

    def test_close(self) -> None:
        """The client is told; until it answers, what it sends is relayed, and what the target says dropped."""
        self.tunnel.close(GOING_AWAY)
        self.client.receive(binary(b"last words"))
        self.target.receive(b"too late")
        self.assertEqual(self.told(), [Message(CLOSE, closing(1001, b"Server going down"))])
        self.assertFalse(self.target.finished)
        self.client.receive(Frame(CLOSE, closing(1001)).encode())
        self.assertEqual(self.target.written, b"last words")
        self.assertTrue(self.client.closed and self.target.finished)
        self.client.lose()
        self.target.lose()
        self.assertEnded("proxy", 1001, "Server going down")

    def test_closeTwice(self) -> None:
        """The first reason stands."""
        self.tunnel.close(GOING_AWAY)
        self.tunnel.close(Close(4000, "Idle"))
        self.target.end()
        self.client.lose()
        self.target.lose()
        self.assertEnded("proxy", 1001, "Server going down")

    def test_abort(self) -> None:
        """Aborting drops both ends at once; the end is told when they are gone."""
        self.tunnel.abort()
        self.assertTrue(self.client.aborted and self.target.aborted)
        self.assertEqual(self.endings, [])
        self.client.lose(RESET)
        self.target.lose(RESET)
        self.assertEnded("proxy", 1001, "Server going down")

    def test_abortInAnyOrder(self) -> None:
        """Who is gone first, and whether at once, changes nothing about who ended it."""
        self.tunnel.abort()
        self.target.lose(RESET)
        self.client.lose(RESET)
        self.assertEnded("proxy", 1001, "Server going down")

    def test_abortAtOnce(self) -> None:
        """Ends that are gone before C{abort} returns are told once."""
        self.client.prompt = self.target.prompt = True
        self.tunnel.abort()
        self.assertEnded("proxy", 1001, "Server going down")

    def test_finishIsTheEnd(self) -> None:
        """A target that is gone within C{finish}, as where its peer has ended before, is asked nothing more."""
        self.target.finish = self.target.lose  # type: ignore[method-assign, assignment]
        self.client.lose()
        self.assertEnded("client", 1006, "Client vanished")

    def test_abortWhileClosing(self) -> None:
        """An ending that has begun keeps its reason."""
        self.target.end()
        self.client.prompt = self.target.prompt = True
        self.tunnel.abort()
        self.assertEnded("target", 1000, "Target closed")

    def test_abortInVain(self) -> None:
        """Ends that never say that they are gone are waited for no longer than L{CLOSE_TIMEOUT}."""
        self.tunnel.abort()
        self.clock.advance(CLOSE_TIMEOUT)
        self.assertEnded("proxy", 1001, "Server going down")

    def test_abortUndialled(self) -> None:
        """A target that answers after all was aborted is dropped, too."""
        client, target = FakeEnd(), FakeEnd()
        tunnel = Tunnel(client, BinaryWire(), self.clock, self.endings.append)
        tunnel.start()
        client.receive(binary(b"for nobody"))
        tunnel.abort()
        tunnel.connected(target)
        self.assertTrue(target.aborted)
        self.assertIsNone(target.receiver)
        client.lose()
        self.assertEnded("proxy", 1001, "Server going down")
        self.endings.clear()


class UnheardTests(TunnelTestCase):
    """What a target says when there is nobody to hear it."""

    def setUp(self) -> None:
        super().setUp()
        self.connect()

    def leave(self) -> None:
        self.client.receive(Frame(CLOSE, closing(1000)).encode())
        self.client.lose()

    def test_goodbye(self) -> None:
        """L{LAST_WORDS} bytes are heard out, up to the target's end."""
        self.assertEqual(LAST_WORDS, 256 * 1024)  # so says README
        self.leave()
        self.target.receive(bytes(LAST_WORDS))
        self.assertTrue(self.target.reading)
        self.target.end()
        self.assertTrue(self.target.closed and not self.target.aborted)

    def test_flood(self) -> None:
        """Whoever goes on is not read any more, and dropped once all that it is owed has arrived."""
        self.leave()
        self.target.owed = 100
        self.target.receive(bytes(LAST_WORDS + 1))
        self.assertFalse(self.target.reading)
        self.clock.pump([0.1] * 5)
        self.assertFalse(self.target.aborted)
        self.target.owed = 0
        self.clock.pump([0.1] * 3)
        self.assertTrue(self.target.aborted)
        self.target.lose(RESET)
        self.assertEnded("client", 1000)

    def test_floodOnItsWay(self) -> None:
        """What was read of it already, and comes all the same, begins nothing anew: nothing is left behind."""
        self.leave()
        self.target.owed = 100
        receiver = self.target.receiver
        assert receiver is not None
        for _ in range(3):
            receiver.received(bytes(LAST_WORDS + 1))
        self.assertEqual(len(self.clock.getDelayedCalls()), 2)  # with the one for the closing
        self.target.lose(RESET)

    def test_floodAborted(self) -> None:
        """What is dropped is not looked at any more, even if it does not say that it is gone."""
        self.leave()
        self.target.owed = 100
        self.target.receive(bytes(LAST_WORDS + 1))
        self.tunnel.abort()
        self.clock.advance(CLOSE_TIMEOUT)
        self.assertEqual(len(self.endings), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_floodOwed(self) -> None:
        """It has L{CLOSE_TIMEOUT} seconds to take it."""
        self.leave()
        self.target.congested = True
        self.target.receive(bytes(LAST_WORDS + 1))
        self.clock.pump([0.1] * int(CLOSE_TIMEOUT * 10 - 1))
        self.assertFalse(self.target.aborted)
        self.clock.advance(0.2)
        self.assertTrue(self.target.aborted)

    def test_lostWhileOwed(self) -> None:
        """Nothing looks at one any more that is lost while it is waited for."""
        self.leave()
        self.target.owed = 100
        self.target.receive(bytes(LAST_WORDS + 1))
        self.target.leave(half=True)
        self.target.resume()
        self.target.lose(RESET)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_closing(self) -> None:
        """Nor is it read while the client is waited for; what the client still sends arrives."""
        self.tunnel.close(GOING_AWAY)
        self.target.receive(bytes(LAST_WORDS + 1))
        self.assertFalse(self.target.reading)
        self.client.receive(binary(b"last words"))
        self.leave()
        self.assertEqual(self.target.written, b"last words")
        self.assertTrue(self.target.finished)
        self.target.receive(b"and on")
        self.clock.pump([0.1] * 3)
        self.assertTrue(self.target.aborted)

    def test_leaves(self) -> None:
        """One that is not read, and gone, is dropped at once; one that has merely ended when it has all."""
        for half in (False, True):
            with self.subTest(half=half):
                client, target = FakeEnd(), FakeEnd()
                tunnel = Tunnel(client, BinaryWire(), self.clock, lambda ending: None)
                tunnel.start()
                tunnel.connected(target)
                client.receive(Frame(CLOSE, closing(1000)).encode())
                target.owed = 1
                target.receive(bytes(LAST_WORDS + 1))
                target.leave(half)
                self.assertEqual(target.aborted, not half)
                target.owed = 0
                self.clock.pump([0.1] * 3)
                self.assertTrue(target.aborted)
                client.lose()
                target.lose(RESET)


class LeavingTests(TunnelTestCase):
    """Peers that leave while they are held back."""

    def setUp(self) -> None:
        super().setUp()
        self.connect()

    def holdClient(self) -> None:
        self.target.congested = True
        self.client.receive(binary(b"more than it takes"))

    def holdTarget(self) -> None:
        self.client.congested = True
        self.target.receive(b"more than it takes")

    def test_client(self) -> None:
        """A client that leaves while its target takes nothing is given L{CLOSE_TIMEOUT} for that."""
        for half in (False, True):
            with self.subTest(half=half):
                endings: list[Ending] = []
                client, target = FakeEnd(prompt=True), FakeEnd(prompt=True)
                tunnel = Tunnel(client, BinaryWire(), self.clock, endings.append)
                tunnel.start()
                tunnel.connected(target)
                target.congested = True
                client.receive(binary(b"more than it takes"))
                client.leave(half)
                self.clock.advance(CLOSE_TIMEOUT - 0.1)
                self.assertEqual(endings, [])
                self.clock.advance(0.1)
                self.assertEqual(endings, [Ending("client", Close(1006, "Client vanished"))])

    def test_clientOfSlowTarget(self) -> None:
        """As long as the target takes something of what it had sent, the session lives on, to the end of that."""
        self.holdClient()
        self.client.leave()
        for _ in range(5):
            self.clock.advance(CLOSE_TIMEOUT - 0.1)
            self.target.drain()
            self.target.congested = True
            self.client.receive(binary(b"still"))
        self.assertFalse(self.client.aborted)
        self.target.drain()
        self.client.lose(RESET)
        self.assertTrue(self.target.finished)
        self.assertEqual(self.target.written, b"more than it takes" + b"still" * 5)
        self.target.lose()
        self.assertEnded("client", 1006, "Client vanished")

    def test_clientUndialled(self) -> None:
        """Before there is a target it is the same."""
        self.client, self.target = FakeEnd(), FakeEnd()
        self.tunnel = self.makeTunnel(self.client)
        self.start()
        self.client.receive(binary(bytes(100_000)))
        self.client.leave()
        self.clock.advance(CLOSE_TIMEOUT)
        self.assertTrue(self.client.aborted)

    def test_noHeartbeat(self) -> None:
        """Nobody takes the pulse of a client that is known to be gone."""
        self.holdClient()
        self.client.leave()
        self.client.owed, self.client.vanished = 1, True
        for _ in range(4):
            self.tunnel.heartbeat()
        self.assertTrue(self.tunnel.open)

    def test_target(self) -> None:
        """A target that leaves while its client takes nothing: the client has as long as when all is closing."""
        self.holdTarget()
        self.target.leave()
        self.client.owed = 100
        for owed in (100, 99):
            self.client.owed = owed
            for _ in range(STALL_LIMIT):
                self.clock.advance(CLOSE_TIMEOUT)
        self.assertFalse(self.client.aborted)
        self.clock.advance(CLOSE_TIMEOUT)
        self.client.lose()
        self.target.lose()
        self.assertEnded("target", 1011, "Target connection lost")

    def test_targetThenClose(self) -> None:
        """The client has that long once, not once more from when the session is closed meanwhile."""
        self.holdTarget()
        self.client.owed = 100
        self.target.leave()
        for _ in range(STALL_LIMIT - 1):
            self.clock.advance(CLOSE_TIMEOUT)
        self.tunnel.close(Close(4001, "Expired"))
        self.assertFalse(self.client.aborted)
        self.clock.advance(CLOSE_TIMEOUT)
        self.assertTrue(self.client.aborted)

    def test_both(self) -> None:
        """When both have left, the client's deadline counts."""
        self.holdTarget()
        self.holdClient()
        self.target.leave()
        self.client.leave()
        self.clock.advance(CLOSE_TIMEOUT)
        self.assertTrue(self.client.aborted)


class FailingTap:
    """Fails when it is told what C{when} says."""

    def __init__(self, when: str) -> None:
        self._when = when

    def __getattr__(self, name: str) -> Any:
        return self._fail if name == self._when else lambda *_: None

    def _fail(self, *_: object) -> None:
        raise ZeroDivisionError("a tap's fault")


CALLS = ("write", "pause", "resume", "finish", "close", "abort", "unsent", "unanswered", "sendAt", "receiveAt")
CALLS = ("write", "pause", "resume", "finish", "close", "abort", "unsent", "unanswered")
"""What an end is told and asked, once it has been started."""

EVENTS = (
    "relays",
    "stalls",
    "beats",
    "clientCloses",
    "clientEnds",
    "clientLeaves",
    "clientLeavesHeldBack",
    "targetCloses",
    "targetLeaves",
    "targetLeavesHeldBack",
    "targetTalksOn",
    "proxyCloses",
    "proxyAborts",
)
"""What happens: methods of L{FailureTests}."""


def fault(kind: type[BaseException], *_: object, **__: object) -> None:
    raise kind("secret")


class FailureTests(TunnelTestCase):
    """Whatever a tap raises ends its session, and nothing else."""

    def test_taps(self) -> None:
        """The client is told 1011, the target is let go, and the failure is logged once."""
        for when in ("fromClient", "toTarget", "fromTarget", "toClient"):
            with self.subTest(when=when):
                endings: list[Ending] = []
                client, target = FakeEnd(), FakeEnd()
                tap: Any = FailingTap(when)
                tunnel = Tunnel(client, BinaryWire(), self.clock, endings.append, tap)
                tunnel.start()
                tunnel.connected(target)
                client.receive(binary(b"x"))
                if client.reading and not target.aborted:
                    target.receive(b"x")
                self.assertEqual(messages(client.written)[-1], Message(CLOSE, closing(1011, b"Internal error")))
                self.assertTrue(target.aborted)
                target.lose()
                client.receive(Frame(CLOSE, closing(1011)).encode())
                client.lose()
                self.assertEqual(endings, [Ending("proxy", Close(1011, "Internal error"))])
                self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_ends(self) -> None:
        """An end that fails when it is to be closed is dropped with the other one; the end still comes."""
        self.connect()
        self.patch(self.client, "write", lambda buffers: 1 / 0)
        self.target.receive(b"x")
        self.assertTrue(self.client.aborted and self.target.aborted)
        self.client.lose()
        self.target.lose()
        self.assertEqual(len(self.endings), 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_everyCall(self) -> None:
        """
        Whatever an end raises, whatever that is, and whenever: the tunnel ends once and in time, leaves nothing
        behind, and logs one traceback at the most. An end that raises nothing is let go.
        """
        for kind, call, side, event in product(KINDS, CALLS, ("client", "target"), EVENTS):
            with self.subTest(kind=kind, call=call, side=side, event=event):
                self.endings.clear()
                self.client, self.target = ends = FakeEnd(prompt=True), FakeEnd(prompt=True)
                tunnel = self.tunnel = self.makeTunnel(self.client)
                self.connect()
                setattr(getattr(self, side), call, partial(fault, kind))
                getattr(self, event)()
                failed = len(self.flushLoggedErrors(kind))
                self.assertLessEqual(failed, 1)
                if failed:
                    self.assertFalse(tunnel.open)
                for end in ends:
                    if not (end.isLost or "abort" in vars(end)) and end.reading:
                        end.lose()
                self.clock.pump([CLOSE_TIMEOUT] * 10)
                tunnel.abort()
                self.assertEqual(len(self.endings), 1)
                self.assertLessEqual(failed + len(self.flushLoggedErrors(kind)), 1)
                self.assertEqual(self.clock.getDelayedCalls(), [])

    def relays(self) -> None:
        self.client.receive(binary(b"x"))
        if not self.target.isLost:
            self.target.receive(b"x")

    def stalls(self) -> None:
        """Each takes nothing, then all of it, and again."""
        for one, other in ((self.client, self.target), (self.target, self.client)) * 2:
            self.clock.advance(WINDOW)
            if not (one.isLost or other.isLost) and other.reading:
                one.congested = True
                other.receive(b"x" if other is self.target else binary(b"x"))
                if not one.isLost:
                    one.drain()

    def beats(self) -> None:
        for _ in range(4):
            self.client.owed += 1
            self.tunnel.heartbeat()

    def clientCloses(self) -> None:
        self.client.receive(Frame(CLOSE, closing(1000)).encode())

    def clientLeaves(self) -> None:
        self.client.lose()

    def clientEnds(self) -> None:
        self.client.end()

    def clientLeavesHeldBack(self) -> None:
        self.target.congested = True
        self.client.receive(binary(b"x"))
        if not (self.client.reading or self.client.isLost):
            self.client.leave()

    def targetLeavesHeldBack(self) -> None:
        """And is known to be gone when the client, which takes nothing, has closed."""
        self.client.congested = True
        self.client.owed = 1
        self.target.receive(b"x")
        if not (self.target.reading or self.target.isLost):
            self.target.leave(half=True)
            if self.tunnel.open:
                self.tunnel.close(GOING_AWAY)
            if not self.target.isLost:
                self.target.reading = False
                self.target.leave()

    def targetTalksOn(self) -> None:
        """To a client that has gone."""
        self.target.owed = 1
        self.clientCloses()
        if not self.target.isLost:
            self.target.receive(bytes(LAST_WORDS + 1))
            self.clock.advance(0.1)
            self.target.owed = 0
            self.clock.pump([0.1, 0.1])

    def targetCloses(self) -> None:
        self.target.end()

    def targetLeaves(self) -> None:
        self.target.lose(RESET)

    def proxyCloses(self) -> None:
        self.tunnel.close(GOING_AWAY)

    def proxyAborts(self) -> None:
        self.tunnel.abort()
