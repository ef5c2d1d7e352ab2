"""What waits on the way to a client that is slow; and sessions that are kept slow."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from tests.integration.bridge import BridgeTestCase, still
from tests.integration.client import Client
from tests.integration.stream import Stream
from tests.integration.test_backpressure import BLOCK, KERNEL, Pour

reactor: Any = _reactor

PIECE = 20_000
"""What is read at a time, of a million bytes a second."""

WAITING = 2_000_000
"""
Bytes, of which 600,000 to 1,300,000 are seen, half of them with the kernels of target and client, and in the frame that
the client is reading. The kernel left alone has 6,000,000.
"""

RATE = 2 << 20

FAST = 32 << 20
FAST_ROOM = 256 << 10
"""Bytes that are read fast, and the receive buffer that this takes: over loopback packets are of 64 KiB."""

NOTSENT_LOWAT = 25  # tcp(7)


class QueueTests(BridgeTestCase):
    """Pumped."""

    secure = True
    timeout = 30
    arguments: tuple[str, ...] = ()

    async def poured(self, secure: bool, receiveBuffer: int = KERNEL) -> tuple[Client, Pour]:
        """A client that has a target which sends as fast as it can."""
        client, target = await self.session(secure=secure, receiveBuffer=receiveBuffer)
        self.keepLittle(target.transport.getHandle())
        return client, Pour(target, 1 << 30, BLOCK[:PIECE])

    def keepLittle(self, target: socket.socket) -> None:
        """What the target itself has waiting is nothing that a proxy can help."""
        target.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL // 2)

    async def test_slow(self) -> None:
        """Less waits for a client than it reads in a moment, over TLS or not, and no more if it does not read."""
        sessions = [await self.poured(secure) for secure in (False, True)]
        await still(lambda: [pour.sent for _, pour in sessions])
        for _, pour in sessions:
            self.assertLess(pour.sent, WAITING)
        for turn in range(1, 151):
            pieces = [Deferred.fromCoroutine(client.exactly(PIECE)) for client, _ in sessions]
            self.assertEqual(await gatherResults(pieces), [BLOCK[:PIECE]] * len(sessions))
            await deferLater(reactor, 0.02, lambda: None)
            for _, pour in sessions:
                self.assertLess(pour.sent - turn * PIECE, WAITING)


class UnpumpedQueueTests(QueueTests):
    """Through transports."""

    arguments = ("--no-pump",)


class FullQueueTests(QueueTests):
    """The target's kernel sends all that it may, from the start."""

    def keepLittle(self, target: socket.socket) -> None:
        target.setsockopt(socket.IPPROTO_TCP, NOTSENT_LOWAT, KERNEL // 4)

    async def test_slowsDown(self) -> None:
        """One that was fast has little before it, when it has read what there was."""
        for secure in (False, True):
            client, pour = await self.poured(secure, FAST_ROOM)
            taken = 0
            while taken < FAST:
                taken += len(await client.exactly(PIECE))
            await still(lambda pour=pour: pour.sent)  # type: ignore[misc]
            while taken < FAST + 8_000_000:
                taken += len(await client.exactly(PIECE))
                await deferLater(reactor, 0.002, lambda: None)
            self.assertLess(pour.sent - taken, WAITING)
            client.stream.reset()


class UnpumpedFullQueueTests(FullQueueTests):
    """The same through transports."""

    arguments = ("--no-pump",)


class BandwidthTests(BridgeTestCase):
    """Sessions with a limit, pumped."""

    secure = True
    timeout = 30
    arguments: tuple[str, ...] = ("--bandwidth", "2M")

    async def test_limit(self) -> None:
        """Each direction of each session keeps to it, and uses it, over TLS or not."""
        sessions = [await self.session(secure=secure) for secure in (False, True)]
        data = BLOCK * 4
        began = reactor.seconds()
        ways = [self.up(*session, data) for session in sessions] + [self.down(*session, data) for session in sessions]
        for took in await gatherResults([Deferred.fromCoroutine(way) for way in ways]):
            self.assertGreater(took - began, (len(data) - RATE / 2) / RATE)
            self.assertLess(took - began, 2 * len(data) / RATE)

    async def up(self, client: Client, target: Stream, data: bytes) -> float:
        client.send(data)
        self.assertEqual(await target.exactly(len(data)), data)
        return float(reactor.seconds())

    async def down(self, client: Client, target: Stream, data: bytes) -> float:
        target.write(data)
        self.assertEqual(await client.exactly(len(data)), data)
        return float(reactor.seconds())

    async def test_lastWords(self) -> None:
        """All that a target said before it left arrives."""
        client, target = await self.session(secure=True)
        target.write(BLOCK)
        target.close()
        self.assertEqual(await client.exactly(len(BLOCK)), BLOCK)
        client.stream.reset()


class UnpumpedBandwidthTests(BandwidthTests):
    """Through transports."""

    arguments = (*BandwidthTests.arguments, "--no-pump")
