"""The tunnel between two ends: relaying, backpressure, heartbeats."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Sequence

from tests.ends.fake import Message
from tests.tunnel.client import Frame
from tests.tunnel.tunnelcase import GOING_AWAY, RESET, TunnelTestCase, binary, closing
from wsproxy.ends.end import Buffer
from wsproxy.errors import Close
from wsproxy.tunnel.patience import CLOSE_TIMEOUT
from wsproxy.tunnel.relay import EARLY_LIMIT
from wsproxy.wire.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT
from wsproxy.wire.wire import RawWire, Wire


class RelayTests(TunnelTestCase):
    """While both sides are there."""

    def setUp(self) -> None:
        super().setUp()
        self.connect()

    def test_down(self) -> None:
        """What the target sends reaches the client as binary messages, one for each piece."""
        self.target.receive(b"RFB 003.008\n")
        self.target.receive(b"\x00" * 70000)
        self.assertEqual(self.told(), [Message(BINARY, b"RFB 003.008\n"), Message(BINARY, b"\x00" * 70000)])

    def test_up(self) -> None:
        """What the client sends reaches the target as its payload, however it is framed."""
        stream = binary(b"one ") + Frame(TEXT, b"two ", fin=False).encode()
        stream += Frame(CONTINUATION, b"three").encode()
        for at in range(len(stream)):
            self.client.receive(stream[at : at + 1])
        self.assertEqual(self.target.written, b"one two three")

    def test_counts(self) -> None:
        """Payload is counted in both directions, without its framing."""
        self.client.receive(binary(b"12345") + binary(b"67"))
        self.target.receive(b"123")
        self.assertEqual((self.tunnel.bytesFromClient, self.tunnel.bytesFromTarget), (7, 3))

    def test_ping(self) -> None:
        """A ping is answered with its payload."""
        self.client.receive(Frame(PING, b"are you there?").encode())
        self.assertEqual(self.told(), [Message(PONG, b"are you there?")])

    def test_pongs(self) -> None:
        """A pong, asked for or not, is nobody's business."""
        self.client.receive(Frame(PONG, b"here").encode() + binary(b"x"))
        self.assertEqual((self.told(), self.target.written), ([], b"x"))

    def test_open(self) -> None:
        """A tunnel is open until it begins to end."""
        self.assertTrue(self.tunnel.open)
        self.target.end()
        self.assertFalse(self.tunnel.open)


class BackpressureTests(TunnelTestCase):
    """The directions hold back independently of each other."""

    def setUp(self) -> None:
        super().setUp()
        self.connect()

    def test_client(self) -> None:
        """While the client does not take what the target sent, the target is not read; the client is."""
        self.client.congested = True
        self.target.receive(b"more than it takes")
        self.assertFalse(self.target.reading)
        self.client.receive(binary(b"still here"))
        self.assertEqual(self.target.written, b"still here")
        self.client.drain()
        self.assertTrue(self.target.reading)

    def test_target(self) -> None:
        """While the target does not take what the client sent, the client is not read; the target is."""
        self.target.congested = True
        self.client.receive(binary(b"more than it takes"))
        self.assertFalse(self.client.reading)
        self.target.receive(b"still here")
        self.assertEqual(self.told(), [Message(BINARY, b"still here")])
        self.target.drain()
        self.assertTrue(self.client.reading)

    def test_pongWaits(self) -> None:
        """A client that does not read gets one pong once it does, to its newest ping."""
        self.client.congested = True
        for number in range(1000):
            self.client.receive(Frame(PING, b"%d" % number).encode())
        self.assertEqual(self.told(), [])
        self.client.drain()
        self.assertEqual(self.told(), [Message(PONG, b"999")])

    def test_noPingWhileCongested(self) -> None:
        """A client that does not read is not pinged."""
        self.client.congested = True
        self.tunnel.heartbeat()
        self.assertEqual(self.told(), [])

    def test_endsCongested(self) -> None:
        """A target that is not being read, and is closed by the proxy, is read again to see its end."""
        self.client.congested = True
        self.target.receive(b"more than it takes")
        self.tunnel.close(GOING_AWAY)
        self.assertTrue(self.target.reading)

    def test_leavesCongested(self) -> None:
        """A client that is not being read while its target is lost is read again, to see its Close."""
        self.target.congested = True
        self.client.receive(binary(b"more than it takes"))
        self.target.lose(RESET)
        self.assertTrue(self.client.reading)
        self.client.receive(Frame(CLOSE, closing(1000)).encode())
        self.assertTrue(self.client.closed)

    def test_targetStallsWhileClosing(self) -> None:
        """A target that takes nothing still holds the client back after it has sent its last byte."""
        self.target.end()
        self.target.congested = True
        self.client.receive(binary(b"more than it takes"))
        self.assertFalse(self.client.reading)
        self.target.drain()
        self.assertTrue(self.client.reading)

    def test_closingStalled(self) -> None:
        """A client that is not being read while the proxy closes is read again, to see its Close."""
        self.target.congested = True
        self.client.receive(binary(b"more than it takes"))
        self.tunnel.close(GOING_AWAY)
        self.assertTrue(self.client.reading)

    def test_targetLostWhileClosing(self) -> None:
        """Nor is it held back by a target that stalled and then was lost while all was closing."""
        self.target.end()
        self.target.congested = True
        self.client.receive(binary(b"more than it takes"))
        self.assertFalse(self.client.reading)
        self.target.lose(RESET)
        self.assertTrue(self.client.reading)


class EarlyTests(TunnelTestCase):
    """Before the target has answered."""

    def setUp(self) -> None:
        super().setUp()
        self.start()

    def test_inOrder(self) -> None:
        """What the client sends meanwhile reaches the target first, in order."""
        self.client.receive(binary(b"one ") + binary(b"two "))
        self.client.receive(binary(b"three "))
        self.tunnel.connected(self.target)
        self.client.receive(binary(b"four"))
        self.assertEqual(self.target.written, b"one two three four")

    def test_limit(self) -> None:
        """A client that sends more than L{EARLY_LIMIT} is not read until the target has answered."""
        self.client.receive(binary(b"x" * (EARLY_LIMIT - 1)))
        self.assertTrue(self.client.reading)
        self.client.receive(binary(b"y"))
        self.assertFalse(self.client.reading)
        self.tunnel.connected(self.target)
        self.assertTrue(self.client.reading)
        self.assertEqual(self.target.written, b"x" * (EARLY_LIMIT - 1) + b"y")

    def test_limitIsMemory(self) -> None:
        """What waits is held as one piece, however small those are in which it came."""
        for _ in range(100):
            self.client.receive(binary(b"xy") * 300)
        gc.collect()
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(16):
            self.client.receive(binary(b"xy") * 100)
        self.assertLess(tracemalloc.get_traced_memory()[0] - before, 16_000)
        pieces: list[int] = []
        self.patch(self.target, "write", lambda buffers: pieces.append(len(buffers)))
        self.tunnel.connected(self.target)
        self.assertEqual(pieces, [1])

    def test_limitOnCongestion(self) -> None:
        """Where the target does not take it all, the client waits for that, too."""
        self.target.congested = True
        self.client.receive(binary(b"x" * EARLY_LIMIT))
        self.tunnel.connected(self.target)
        self.assertFalse(self.client.reading)
        self.target.drain()
        self.assertTrue(self.client.reading)

    def test_ping(self) -> None:
        """Pings are answered already."""
        self.client.receive(Frame(PING, b"?").encode())
        self.assertEqual(self.told(), [Message(PONG, b"?")])

    def test_pongWaits(self) -> None:
        """They wait for a client that does not read, too."""
        self.client.congested = True
        self.client.receive(Frame(PING, b"?").encode())
        self.client.drain()
        self.assertEqual(self.told(), [Message(PONG, b"?")])

    def test_failed(self) -> None:
        """Where there is no target, the client reads why; what it sent is dropped, and it is read on."""
        self.client.receive(binary(b"x" * EARLY_LIMIT))
        self.tunnel.failed(Close(1011, "Connection refused"))
        self.assertClosing(1011, b"Connection refused")
        self.client.receive(binary(b"x" * EARLY_LIMIT))
        self.client.receive(binary(b"x") + Frame(CLOSE, closing(1011)).encode())
        self.assertTrue(self.client.closed)
        self.client.lose()
        self.assertEnded("target", 1011, "Connection refused")

    def test_failedWhileClosing(self) -> None:
        """A client that was held back while all was closing is read again when there will be no target."""
        self.tunnel.close(GOING_AWAY)
        self.client.receive(binary(b"x" * EARLY_LIMIT))
        self.assertFalse(self.client.reading)
        self.tunnel.failed(Close(1011, "Connection refused"))
        self.assertTrue(self.client.reading)

    def test_failedAfterClient(self) -> None:
        """Where the client has left meanwhile, with something for the target, the failure ends the tunnel."""
        self.client.receive(binary(b"bye") + Frame(CLOSE, closing(1000)).encode())
        self.client.lose()
        self.assertEqual(self.endings, [])
        self.tunnel.failed(Close(1011, "Connection refused"))
        self.assertEnded("client", 1000)

    def test_clientLeaves(self) -> None:
        """A client that leaves without a word for the target is not waited for."""
        self.client.receive(Frame(CLOSE, closing(1000)).encode())
        self.assertTrue(self.client.closed)
        self.client.lose()
        self.assertEnded("client", 1000)

    def test_clientLeavesWord(self) -> None:
        """A target that answers after the client has left gets what the client sent, and end-of-file."""
        self.client.receive(binary(b"last words"))
        self.client.lose(RESET)
        self.tunnel.connected(self.target)
        self.assertEqual(self.target.written, b"last words")
        self.assertTrue(self.target.finished)
        self.target.end()
        self.assertTrue(self.target.closed)
        self.target.lose()
        self.assertEnded("client", 1006, "Client vanished")

    def test_leavingIsSeen(self) -> None:
        """A client that has said Close is read to its end, whether or not the target takes what it left."""
        self.client.receive(binary(b"last words") + Frame(CLOSE, closing(1000)).encode())
        self.target.congested = True
        self.tunnel.connected(self.target)
        self.assertTrue(self.client.reading)

    def test_clientLeavesWordInVain(self) -> None:
        """The target has as long to answer as any closing side."""
        self.client.receive(binary(b"last words"))
        self.client.lose()
        self.clock.advance(CLOSE_TIMEOUT)
        self.assertEnded("client", 1006, "Client vanished")
        self.tunnel.connected(self.target)
        self.assertTrue(self.target.aborted)
        self.assertIsNone(self.target.receiver)

    def test_closed(self) -> None:
        """A tunnel closed by the proxy relays what comes before the client's Close to a target that answers."""
        self.client.receive(binary(b"one "))
        self.tunnel.close(GOING_AWAY)
        self.client.receive(binary(b"two"))
        self.tunnel.connected(self.target)
        self.target.receive(b"too late")
        self.assertClosing(1001, b"Server going down")
        self.assertEqual(self.target.written, b"one two")
        self.client.receive(Frame(CLOSE, closing(1001)).encode())
        self.assertTrue(self.target.finished)


class HeartbeatTests(TunnelTestCase):
    """One call of C{heartbeat} for each interval."""

    def setUp(self) -> None:
        super().setUp()
        self.connect()

    def test_pings(self) -> None:
        """Each interval brings a ping; a client that answers stays."""
        for _ in range(5):
            self.tunnel.heartbeat()
            self.client.receive(Frame(PONG).encode())
        self.assertEqual(self.told(), [Message(PING, b"")] * 5)

    def test_silence(self) -> None:
        """Two intervals without a byte are the end."""
        self.client.receive(binary(b"x"))
        self.tunnel.heartbeat()
        self.tunnel.heartbeat()
        self.assertTrue(self.tunnel.open)
        self.tunnel.heartbeat()
        self.assertClosing(4002, b"Heartbeat lost")
        self.client.lose()
        self.target.lose()
        self.assertEnded("proxy", 4002, "Heartbeat lost")

    def test_silentFromTheStart(self) -> None:
        """A client that never sends a byte is given no more than that, from the first ping on."""
        self.tunnel.heartbeat()
        self.tunnel.heartbeat()
        self.assertTrue(self.tunnel.open)
        self.tunnel.heartbeat()
        self.assertClosing(4002, b"Heartbeat lost")

    def test_anyByte(self) -> None:
        """Any byte is a sign of life, if only a part of a frame's header."""
        for byte in binary(b"0123456789"):
            self.client.receive(bytes([byte]))
            self.tunnel.heartbeat()
            self.tunnel.heartbeat()
        self.assertTrue(self.tunnel.open)

    def test_paused(self) -> None:
        """A client that is held back cannot be heard; its kernel, which acknowledges the pings, can."""
        self.target.congested = True
        self.client.receive(binary(b"more than it takes"))
        for _ in range(5):
            self.tunnel.heartbeat()
        self.assertEqual(self.told(), [Message(PING, b"")] * 5)
        self.target.drain()
        for _ in range(2):
            self.tunnel.heartbeat()
        self.assertTrue(self.tunnel.open)
        self.tunnel.heartbeat()
        self.assertFalse(self.tunnel.open)

    def test_vanishesPaused(self) -> None:
        """Two intervals after the ping that even its kernel did not answer are the end of one that is held back."""
        self.target.congested = True
        self.client.receive(binary(b"more than it takes"))
        self.tunnel.heartbeat()
        self.client.owed, self.client.vanished = 2, True
        self.tunnel.heartbeat()
        self.assertTrue(self.tunnel.open)
        self.tunnel.heartbeat()
        self.assertClosing(4002, b"Heartbeat lost")

    def test_vanishesCongested(self) -> None:
        """And of one whose kernel can take no ping, as its own questions get no answer."""
        self.client.congested = True
        self.client.owed, self.client.vanished = 100_000, True
        self.tunnel.heartbeat()
        self.assertTrue(self.tunnel.open)
        self.tunnel.heartbeat()
        self.assertFalse(self.tunnel.open)

    def test_deafIsNotDead(self) -> None:
        """A client that reads nothing, or slowly, and whose kernel says so, has not seen a ping to answer."""
        self.tunnel.heartbeat()
        self.client.owed = 1_000_000
        for congested in (False, True) * 5:
            self.client.congested = congested
            self.tunnel.heartbeat()
        self.assertTrue(self.tunnel.open)

    def test_acknowledges(self) -> None:
        """What a client acknowledges of what the target sent is a sign of life; that of pings alone is none."""
        for _ in range(5):
            self.target.receive(b"x")
            self.tunnel.heartbeat()
        self.assertTrue(self.tunnel.open)
        self.tunnel.heartbeat()
        self.tunnel.heartbeat()
        self.assertFalse(self.tunnel.open)

    def test_takes(self) -> None:
        """And so is what it takes of what was queued for it."""
        for _ in range(5):
            self.client.congested = True
            self.client.drain()
            self.tunnel.heartbeat()
        self.assertTrue(self.tunnel.open)

    def test_targetIsNoSign(self) -> None:
        """What the target sends says nothing about a client that does not acknowledge it."""
        self.client.owed, self.client.vanished = 1, True
        for _ in range(2):
            self.target.receive(b"x")
            self.tunnel.heartbeat()
        self.assertFalse(self.tunnel.open)

    def test_lostForGood(self) -> None:
        """A client whose heartbeat is lost is waited for no longer than L{CLOSE_TIMEOUT}, whatever it is owed."""
        self.client.owed, self.client.vanished = 1_000_000, True
        self.tunnel.heartbeat()
        self.tunnel.heartbeat()
        self.clock.advance(CLOSE_TIMEOUT)
        self.assertTrue(self.client.aborted and self.target.aborted)


class RawTests(TunnelTestCase):
    """A client that speaks no WebSocket: nothing but its bytes."""

    def makeWire(self) -> Wire:
        return RawWire()

    def told(self) -> list[Message]:
        return []

    def test_relay(self) -> None:
        """Bytes pass as they are; heartbeats and the end add none."""
        self.connect()
        self.client.receive(b"up")
        self.target.receive(b"down")
        self.tunnel.heartbeat()
        self.target.end()
        self.assertEqual((self.target.written, self.client.written), (b"up", b"down"))

    def test_early(self) -> None:
        """What waits for the target is a copy: the buffer it was read into is used again."""
        self.start()
        self.client.receive(b"early ")
        self.client.receive(b"bird")
        self.tunnel.connected(self.target)
        self.assertEqual(self.target.written, b"early bird")

    def test_halves(self) -> None:
        """The end of one direction is passed on, and the other goes on until it ends as well."""
        self.connect()
        self.client.end()
        self.assertEqual((self.target.finished, self.target.closed, self.client.closed), (True, False, False))
        self.target.receive(b"the answer")
        self.assertEqual(self.client.written, b"the answer")
        self.target.end()
        self.assertEqual((self.client.closed, self.target.closed), (True, True))
        self.client.lose()
        self.target.lose()
        self.assertEnded("client", 1000, "Client closed")

    def test_otherHalf(self) -> None:
        """So it is where the target ends first."""
        self.connect()
        self.target.end()
        self.assertEqual((self.client.finished, self.client.closed, self.target.closed), (True, False, False))
        self.client.receive(b"more")
        self.client.end()
        self.assertEqual((self.target.written, self.client.closed, self.target.closed), (b"more", True, True))
        self.client.lose()
        self.target.lose()
        self.assertEnded("target", 1000, "Target closed")

    def test_endedEarly(self) -> None:
        """A client that has ended before the target answers is answered all the same."""
        self.start()
        self.client.receive(b"question")
        self.client.end()
        self.tunnel.connected(self.target)
        self.assertEqual((self.target.written, self.target.finished), (b"question", True))
        self.target.receive(b"answer")
        self.assertEqual(self.client.written, b"answer")


class RecordingTap:
    """Keeps what it is told, as text."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def fromClient(self, payload: Sequence[Buffer], partial: bool) -> None:
        self.told.append(f"fromClient {b''.join(payload).decode()} {partial}")

    def toTarget(self, congested: bool) -> None:
        self.told.append(f"toTarget {congested}")

    def fromTarget(self, data: Buffer) -> None:
        self.told.append(f"fromTarget {bytes(data).decode()}")

    def toClient(self, congested: bool) -> None:
        self.told.append(f"toClient {congested}")


class TapTests(TunnelTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.tap = RecordingTap()
        self.tunnel = self.makeTunnel(self.client)
        self.start()

    def test_watches(self) -> None:
        """A tap sees each piece as it arrives and as it leaves."""
        self.client.receive(Frame(BINARY, b"early").encode()[:-2])
        self.assertEqual(self.tap.told, ["fromClient ear True"])
        self.tunnel.connected(self.target)
        self.target.receive(b"down")
        self.client.receive(Frame(BINARY, b"early").encode()[-2:])
        self.target.congested = self.client.congested = True
        self.client.receive(binary(b"up"))
        self.target.receive(b"down")
        self.assertEqual(
            self.tap.told[1:],
            [
                "toTarget False",
                "fromTarget down",
                "toClient False",
                "fromClient ly False",
                "toTarget False",
                "fromClient up False",
                "toTarget True",
                "fromTarget down",
                "toClient True",
            ],
        )

    def test_broken(self) -> None:
        """A tap that has raised is not asked again, whatever the client still sends."""
        calls: list[bool] = []

        def fail(payload: object, partial: bool) -> None:
            calls.append(partial)
            raise ZeroDivisionError

        self.tap.fromClient = fail
        self.tunnel.connected(self.target)
        self.client.receive(binary(b"x"))
        self.client.receive(binary(b"y"))
        self.assertEqual((len(calls), len(self.flushLoggedErrors(ZeroDivisionError))), (1, 1))
        self.assertClosing(1011, b"Internal error")

    def test_onlyPayload(self) -> None:
        """Control frames and half headers are not payload."""
        self.client.receive(Frame(PING, b"?").encode() + b"\x82")
        self.assertEqual(self.tap.told, [])
