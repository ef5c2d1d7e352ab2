"""What every end of a tunnel does, over real sockets. A test case mixes L{EndContract} in and makes its kind of end."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint, clientFromString, connectProtocol
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from wsproxy.ends import watch
from wsproxy.ends.end import Buffer, End, Receiver
from wsproxy.ends.kernel import unread
from wsproxy.ends.room import FASTEST
from wsproxy.ends.transport import TransportEnd

MEGABYTE = bytes(range(256)) * 4096

KINDS: tuple[type[BaseException], ...] = (ValueError, asyncio.CancelledError, SystemExit, BaseException)
"""What somebody may raise. Only the first is an L{Exception}."""


@implementer(IHalfCloseableProtocol)
class Peer(Protocol):
    """The other side of an end's connection. Closes when the end has finished, unless told to stay."""

    transport: Any
    stays = False

    def __init__(self) -> None:
        self.received = bytearray()
        self.lost: Failure | None = None
        self._waiting: list[tuple[Any, Deferred[None]]] = []

    def when(self, condition: Any) -> Deferred[None]:
        """Fires once C{condition()} holds."""
        deferred: Deferred[None] = Deferred()
        self._waiting.append((condition, deferred))
        self._check()
        return deferred

    def _check(self) -> None:
        for item in list(self._waiting):
            if item[0]():
                self._waiting.remove(item)
                item[1].callback(None)

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self._check()

    def readConnectionLost(self) -> None:
        if not self.stays:
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None: ...

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason
        self._check()


class Recorder:
    """A receiver that keeps what it is told, in order, and checks what the contract says of the order."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.events: list[str] = []
        self.error: Exception | None = None
        self.onReceived: Any = None
        self._waiting: list[tuple[Any, Deferred[None]]] = []

    when = Peer.when
    _check = Peer._check

    def receiver(self) -> Receiver:
        return Receiver(
            self._received,
            lambda: self._event("ended"),
            lambda: self._event("drained"),
            self._lost,
            lambda half: self._event("leaves" if half else "is gone"),
        )

    def _received(self, data: Buffer) -> None:
        assert len(data) and "ended" not in self.events and "lost" not in self.events
        self.received += data
        if self.onReceived is not None:
            self.onReceived()
        self._check()

    def _event(self, name: str) -> None:
        assert "lost" not in self.events
        self.events.append(name)
        self._check()

    def _lost(self, error: Exception | None) -> None:
        self.error = error
        self._event("lost")


class EndContract:
    """Mix into a trial TestCase. L{adopt} makes the end to be tested of a fresh L{TransportEnd}."""

    halfCloses = True
    timeout = 20

    def adopt(self: Any, end: TransportEnd) -> End:
        from twisted.internet import reactor

        self.patch(watch, "INTERVAL", 0.02)
        adopted: End = watch.Watch(reactor).adopt(end)
        return adopted

    async def listen(self: Any, reactor: Any, factory: Factory[Any]) -> str:
        """@return: a client endpoint string for what was listened on."""
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(port.stopListening)
        return f"tcp:host=127.0.0.1:port={port.getHost().port}"

    async def connect(self: Any, reactor: Any, address: str, peer: Peer) -> None:
        await connectProtocol(clientFromString(reactor, address), peer)

    async def pair(self: Any, early: bytes = b"", wrote: bytes = b"") -> tuple[End, Recorder, Peer]:
        """An end that has been started, what it tells, and its peer. C{wrote} left through the transport before."""
        from twisted.internet import reactor

        made: Deferred[TransportEnd] = Deferred()

        class Accepted(TransportEnd):
            def connectionMade(self) -> None:
                super().connectionMade()
                self.transport.writeSequence([wrote] if wrote else [])
                made.callback(self)

        address = await self.listen(reactor, Factory.forProtocol(Accepted))
        peer = Peer()
        await self.connect(reactor, address, peer)
        accepted = self.accepted = await made
        if early:
            peer.transport.write(early)
        end = self.adopt(accepted)
        recorder = Recorder()
        end.start(recorder.receiver())

        async def cleanUp() -> None:
            if peer.lost is None:
                peer.transport.abortConnection()
            if "lost" not in recorder.events:
                end.abort()
            await recorder.when(lambda: "lost" in recorder.events)
            await peer.when(lambda: peer.lost is not None)

        self.addCleanup(lambda: Deferred.fromCoroutine(cleanUp()))
        return end, recorder, peer

    async def test_bothWays(self: Any) -> None:
        """Bytes pass in both directions, in order and unchanged."""
        end, recorder, peer = await self.pair()
        end.write([b"to ", b"the ", b"peer"])
        peer.transport.write(b"to the end")
        await peer.when(lambda: peer.received == b"to the peer")
        await recorder.when(lambda: recorder.received == b"to the end")

    async def test_raises(self: Any) -> None:
        """What it tells may raise whatever there is: the end is lost then, which is told, and one traceback."""
        for kind in KINDS:

            def fault(kind: type[BaseException] = kind) -> None:
                raise kind("secret")

            _, recorder, peer = await self.pair()
            recorder.onReceived = fault
            peer.transport.write(b"x")
            await recorder.when(lambda recorder=recorder: "lost" in recorder.events)
            await peer.when(lambda peer=peer: peer.lost is not None)
            self.assertEqual(len(self.flushLoggedErrors(kind)), 1)

    async def test_short(self: Any) -> None:
        """Told of a slow peer, and of a slow reader, the end keeps little with the kernel, and loses nothing."""
        from twisted.internet import reactor

        end, recorder, peer = await self.pair()
        end.sendAt(1000.0)
        end.receiveAt(1000.0)
        end.pause()
        peer.transport.pauseProducing()
        for _ in range(8):
            end.write([MEGABYTE])
            peer.transport.write(MEGABYTE)
        await deferLater(reactor, 0.2, lambda: None)
        self.assertLess(end.unsent(), 300_000)
        self.assertLess(unread(self.accepted.descriptor), 300_000)
        peer.transport.resumeProducing()
        end.receiveAt(FASTEST)
        end.resume()
        await peer.when(lambda: len(peer.received) == 8 * len(MEGABYTE))
        await recorder.when(lambda: len(recorder.received) == 8 * len(MEGABYTE))

    async def test_early(self: Any) -> None:
        """What either side sent before the end was started is neither lost nor overtaken."""
        end, recorder, peer = await self.pair(early=b"early ", wrote=MEGABYTE)
        end.write([b"behind"])
        peer.transport.write(b"late")
        await recorder.when(lambda: recorder.received == b"early late")
        await peer.when(lambda: peer.received == MEGABYTE + b"behind")

    async def test_bulk(self: Any) -> None:
        """More than any buffer holds passes unchanged, in both directions at once."""
        end, recorder, peer = await self.pair()
        for _ in range(16):
            end.write([b"<", MEGABYTE, b">"])
            peer.transport.write(MEGABYTE)
        await peer.when(lambda: len(peer.received) == 16 * (len(MEGABYTE) + 2))
        await recorder.when(lambda: len(recorder.received) == 16 * len(MEGABYTE))
        self.assertEqual(peer.received, (b"<" + MEGABYTE + b">") * 16)
        self.assertEqual(recorder.received, MEGABYTE * 16)

    async def test_manySmallBuffers(self: Any) -> None:
        """One write of thousands of buffers arrives whole."""
        end, _, peer = await self.pair()
        pieces = [bytes([i % 256]) * (i % 7 + 1) for i in range(5000)]
        end.write(pieces)
        await peer.when(lambda: len(peer.received) == sum(map(len, pieces)))
        self.assertEqual(peer.received, b"".join(pieces))

    async def test_views(self: Any) -> None:
        """A view that is overwritten after the write has been sent as it was."""
        end, _, peer = await self.pair()
        peer.transport.pauseProducing()
        scratch = bytearray(MEGABYTE)
        for _ in range(8):  # more than the kernel takes, so that some of it is queued
            end.write([memoryview(scratch)])
        scratch[:] = bytes(len(scratch))
        peer.transport.resumeProducing()
        await peer.when(lambda: len(peer.received) == 8 * len(MEGABYTE))
        self.assertEqual(peer.received, MEGABYTE * 8)

    async def test_congestion(self: Any) -> None:
        """A peer that does not read congests the end; once it has read everything, C{drained} is told."""
        end, recorder, peer = await self.pair()
        peer.transport.pauseProducing()
        written = 0
        while not end.congested:
            end.write([MEGABYTE])
            written += len(MEGABYTE)
            self.assertLess(written, 64 * len(MEGABYTE))
        self.assertNotIn("drained", recorder.events)
        self.assertTrue(0 < end.queued() <= 1.1 * written, end.queued())  # with what TLS adds
        peer.transport.resumeProducing()
        await recorder.when(lambda: "drained" in recorder.events)
        self.assertFalse(end.congested)
        self.assertEqual(end.queued(), 0)
        await peer.when(lambda: len(peer.received) == written)

    async def test_congestedOneWay(self: Any) -> None:
        """While one direction is congested the other still flows."""
        end, recorder, peer = await self.pair()
        peer.transport.pauseProducing()
        while not end.congested:
            end.write([MEGABYTE])
        peer.transport.write(b"still here")
        await recorder.when(lambda: recorder.received == b"still here")

    async def test_pause(self: Any) -> None:
        """A paused end reads nothing, so that its peer's writes back up; resumed, it reads all of it."""
        end, recorder, peer = await self.pair()
        end.pause()
        backedUp: Deferred[None] = Deferred()
        peer.transport.registerProducer(_Producer(lambda: backedUp.called or backedUp.callback(None)), True)
        for _ in range(32):
            peer.transport.write(MEGABYTE)
        await backedUp
        peer.transport.unregisterProducer()
        got = len(recorder.received)
        self.assertLess(got, 32 * len(MEGABYTE))
        end.resume()
        await recorder.when(lambda: len(recorder.received) == 32 * len(MEGABYTE))

    async def test_pauseFromWithin(self: Any) -> None:
        """An end can be paused by what it has just handed over, and resumed later."""
        end, recorder, peer = await self.pair()
        recorder.onReceived = end.pause
        peer.transport.write(MEGABYTE * 4)
        await recorder.when(lambda: len(recorder.received) > 0)
        recorder.onReceived = None
        end.resume()
        await recorder.when(lambda: len(recorder.received) == 4 * len(MEGABYTE))

    async def test_peerCloses(self: Any) -> None:
        """All that the peer sent before it closed is received before the end says so."""
        end, recorder, peer = await self.pair()
        peer.transport.write(MEGABYTE)
        peer.transport.loseConnection()
        await recorder.when(lambda: "ended" in recorder.events or "lost" in recorder.events)
        self.assertEqual(recorder.received, MEGABYTE)
        end.close()
        await recorder.when(lambda: "lost" in recorder.events)
        self.assertIsNone(recorder.error)
        self.assertEqual(recorder.events.count("lost"), 1)

    async def test_close(self: Any) -> None:
        """Closing delivers everything written before it; the end is then lost without an error."""
        end, recorder, peer = await self.pair()
        for _ in range(8):
            end.write([MEGABYTE])
        end.close()
        end.write([b"ignored"])
        await peer.when(lambda: peer.lost is not None)
        self.assertEqual(peer.received, MEGABYTE * 8)
        await recorder.when(lambda: "lost" in recorder.events)
        self.assertIsNone(recorder.error)

    async def test_finish(self: Any) -> None:
        """Finishing delivers what was written and end-of-file, while the peer's bytes are still received."""
        end, recorder, peer = await self.pair()
        peer.stays = True
        end.write([MEGABYTE])
        end.finish()
        end.write([b"ignored"])
        await peer.when(lambda: len(peer.received) >= len(MEGABYTE))
        if self.halfCloses:
            peer.transport.write(b"last words")
            await recorder.when(lambda: recorder.received == b"last words")
        peer.transport.loseConnection()
        await recorder.when(lambda: {"ended", "lost"} & set(recorder.events))
        end.close()
        await recorder.when(lambda: "lost" in recorder.events)
        self.assertEqual(peer.received, MEGABYTE)

    async def test_finishAfterPeer(self: Any) -> None:
        """When both sides have finished, the connection is over."""
        end, recorder, peer = await self.pair()
        peer.transport.loseWriteConnection() if self.halfCloses else peer.transport.loseConnection()
        await recorder.when(lambda: {"ended", "lost"} & set(recorder.events))
        end.write([b"answer"])
        end.finish()
        await recorder.when(lambda: "lost" in recorder.events)
        if self.halfCloses:
            await peer.when(lambda: peer.lost is not None)
            self.assertEqual(peer.received, b"answer")

    async def test_abort(self: Any) -> None:
        """Aborting ends a connection whose peer does not read."""
        end, recorder, peer = await self.pair()
        peer.transport.pauseProducing()
        while not end.congested:
            end.write([MEGABYTE])
        end.abort()
        await recorder.when(lambda: "lost" in recorder.events)
        peer.transport.resumeProducing()
        await peer.when(lambda: peer.lost is not None)

    async def test_peerResets(self: Any) -> None:
        """A reset connection is lost with an error, once."""
        end, recorder, peer = await self.pair()
        peer.transport.abortConnection()
        await recorder.when(lambda: {"ended", "lost"} & set(recorder.events))
        end.write([MEGABYTE])
        end.close()
        await recorder.when(lambda: "lost" in recorder.events)
        self.assertEqual(recorder.events.count("lost"), 1)

    async def paused(self: Any, unread: bytes = b"") -> tuple[Any, Recorder, Peer]:
        """A pair whose end is not read, although its peer has sent this, and it has arrived."""
        end, recorder, peer = await self.pair()
        await self.assertBothWays(end, recorder, peer)
        end.pause()
        if unread:
            peer.transport.write(unread)
            await self.arrival()
        return end, recorder, peer

    async def assertBothWays(self: Any, end: End, recorder: Recorder, peer: Peer) -> None:
        """What is under the end has settled, too."""
        end.write([b"?"])
        await peer.when(lambda: peer.received == b"?")
        peer.transport.write(b"!")
        await recorder.when(lambda: recorder.received == b"!")
        recorder.received.clear()
        recorder.events.clear()
        peer.received.clear()

    def endSocket(self: Any, peer: Peer) -> None:
        """The peer's kernel says that it ends, whatever there is above it."""
        peer.transport.loseConnection()

    async def arrival(self: Any) -> None:
        """The kernel has something for the end."""
        from twisted.internet import reactor

        while not unread(self.accepted.descriptor):
            await deferLater(reactor, 0.001)

    async def test_resetMetByWriting(self: Any) -> None:
        """The loss of a peer is told, though a write has met the error, of which the kernel tells but once."""
        from twisted.internet import reactor

        end, recorder, peer = await self.paused()
        peer.transport.abortConnection()
        for _ in range(2):
            reactor.callLater(0, end.write, [b"x"])  # at the reactor's next turn, as is the reset, and behind it
        await recorder.when(lambda: "lost" in recorder.events)

    async def test_peerEndsWhilePaused(self: Any) -> None:
        """A paused end is told that its peer has ended, when there is nothing to be read before."""
        end, recorder, peer = await self.paused()
        self.endSocket(peer)
        await recorder.when(lambda: {"ended", "lost", "is gone"} & set(recorder.events))
        end.resume()
        end.close()
        await recorder.when(lambda: "lost" in recorder.events)
        if self.halfCloses:
            self.assertIsNone(recorder.error)  # else it has been cut off

    async def test_peerResetsWhilePaused(self: Any) -> None:
        """A paused end whose peer is gone is lost, when there is nothing to be read before."""
        end, recorder, peer = await self.paused()
        peer.transport.abortConnection()
        await recorder.when(lambda: {"ended", "lost", "is gone"} & set(recorder.events))
        end.resume()
        end.close()
        await recorder.when(lambda: "lost" in recorder.events)

    async def test_peerLeavesWhilePaused(self: Any) -> None:
        """A paused end says that its peer leaves what is to be read; resumed, it reads that, and then how it ended."""
        end, recorder, peer = await self.paused(b"last words")
        if self.halfCloses:
            peer.transport.loseWriteConnection()
            await recorder.when(lambda: recorder.events)
            self.assertEqual(recorder.events, ["leaves"])
        else:
            self.endSocket(peer)
            await recorder.when(lambda: recorder.events)
            self.assertEqual(recorder.events, ["is gone"])
        self.assertEqual(recorder.received, b"")
        end.resume()
        await recorder.when(lambda: {"ended", "lost"} & set(recorder.events))
        self.assertEqual(recorder.received, b"last words")
        end.write([b"answer"])
        end.close()
        await recorder.when(lambda: "lost" in recorder.events)

    async def test_peerLeavesThenResets(self: Any) -> None:
        """A peer that first ends and then is gone is told of twice, and no more: nothing spins meanwhile."""
        from twisted.internet import reactor

        end, recorder, peer = await self.paused(b"last words")
        if self.halfCloses:
            peer.transport.loseWriteConnection()
            await recorder.when(lambda: recorder.events)
        peer.transport.abortConnection()
        await recorder.when(lambda: "is gone" in recorder.events)
        before = time.process_time()
        await deferLater(reactor, 0.3)
        self.assertLess(time.process_time() - before, 0.1)
        self.assertEqual(recorder.events, ["leaves", "is gone"] if self.halfCloses else ["is gone"])
        end.resume()
        await recorder.when(lambda: {"ended", "lost"} & set(recorder.events))
        self.assertEqual(recorder.received, b"last words")
        end.close()
        await recorder.when(lambda: "lost" in recorder.events)

    async def test_peerResetsWhileStalled(self: Any) -> None:
        """
        An end that neither reads nor can write is told of its peer's loss, and asks for nothing more to be written:
        what it could not send is not said to have drained.
        """
        from twisted.internet import reactor

        end, recorder, peer = await self.pair()
        await self.assertBothWays(end, recorder, peer)
        peer.transport.pauseProducing()
        for _ in range(16):  # more than the kernels hold
            end.write([MEGABYTE])
        end.pause()
        peer.transport.write(MEGABYTE)
        await self.arrival()
        peer.transport.abortConnection()
        await recorder.when(lambda: {"lost", "is gone"} & set(recorder.events))
        before = time.process_time()
        await deferLater(reactor, 0.3)
        self.assertLess(time.process_time() - before, 0.1)
        self.assertTrue(end.congested)
        self.assertNotIn("drained", recorder.events)
        end.write([MEGABYTE])
        end.resume()
        end.close()
        await recorder.when(lambda: "lost" in recorder.events)

    async def test_afterTheEnd(self: Any) -> None:
        """Every call on a lost end is harmless."""
        end, recorder, _ = await self.pair()
        end.abort()
        await recorder.when(lambda: "lost" in recorder.events)
        end.write([b"x"])
        end.pause()
        end.resume()
        end.finish()
        end.close()
        end.abort()
        self.assertEqual(end.unsent(), 0)
        self.assertEqual(recorder.events, ["lost"])

    async def test_unsent(self: Any) -> None:
        """What a stalled peer has not acknowledged is counted."""
        from twisted.internet import reactor

        end, _, peer = await self.pair()
        while end.unsent():  # until the last word of a handshake has been acknowledged
            await deferLater(reactor, 0)
        peer.transport.pauseProducing()
        while not end.congested:
            end.write([MEGABYTE])
        while not end.unsent():  # until the reactor has sent some of it
            await deferLater(reactor, 0)


class HalfContract(EndContract):
    """And what those do besides, where either direction can end before the other."""

    async def test_resetAfterItsEnd(self: Any) -> None:
        """A peer that has ended, and been read to that end, is still seen to go."""
        end, recorder, peer = await self.pair()
        await self.assertBothWays(end, recorder, peer)
        peer.transport.loseWriteConnection()
        await recorder.when(lambda: recorder.events)
        peer.transport.abortConnection()
        await recorder.when(lambda: "lost" in recorder.events)
        self.assertEqual(recorder.events, ["ended", "lost"])


class _Producer:
    """Tells when its transport asks it to pause."""

    def __init__(self, paused: Any) -> None:
        self.pauseProducing = paused

    def resumeProducing(self) -> None: ...

    def stopProducing(self) -> None: ...
