"""A peer that does not read costs a bounded buffer: its other direction flows on, and nobody else notices."""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from tests.integration.bridge import BridgeTestCase, still
from tests.integration.client import PING, Client, frame, header, mask
from tests.integration.stream import Stream

BLOCK = random.Random(2).randbytes(1 << 20)
"""Large streams repeat it, so that every byte of them is known without being kept."""

GIBIBYTE = 1 << 30
SESSIONS = 20
PER_SESSION = 256 << 10
NOISE = 4 << 20
KERNEL = 64 << 10
"""A small receive buffer for those who stall: what the kernel holds for them is nothing we promise about."""


class Pour:
    """C{size} bytes of L{BLOCK}s on their way into a stream, as fast as it takes them."""

    def __init__(self, stream: Stream, size: int, block: bytes = BLOCK) -> None:
        self.sent = 0
        self.done = Deferred.fromCoroutine(self._run(stream, size, block))
        self.done.addErrback(lambda failure: failure.trap(EOFError))

    async def _run(self, stream: Stream, size: int, block: bytes) -> None:
        while self.sent < size:
            await stream.send(block)
            self.sent += len(block)


async def takeBlocks(read: Callable[[], Awaitable[bytes]], size: int) -> None:
    """
    Read exactly C{size} bytes of blocks.

    @raise AssertionError: they are not.
    """
    position = 0
    twice = memoryview(BLOCK * 2)
    while position < size:
        piece = await read()
        offset = position % len(BLOCK)
        assert piece == bytes(twice[offset : offset + len(piece)]), f"wrong bytes after {position}"
        position += len(piece)
    assert position == size


class BackpressureTests(BridgeTestCase):
    """Over plain sockets, which are pumped."""

    size = GIBIBYTE
    timeout = 60

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        await super().setUp()
        client, target = await self.session()
        await self.assertUp(client, target)
        await self.assertDown(client, target)
        self.proxy.grown()  # from here on

    def assertGrownLess(self, size: int) -> None:
        self.assertLess(self.proxy.grown(), size + NOISE)

    async def used(self) -> list[tuple[Client, Stream]]:
        """Sessions that have been used already."""
        sessions = [await self.session(receiveBuffer=KERNEL) for _ in range(SESSIONS)]
        for client, target in sessions:
            await self.assertUp(client, target, 1)
            await self.assertDown(client, target, 1)
        return sessions

    def sizes(self) -> list[int]:
        """What the sessions are to carry: one of them much, the others merely more than the kernel holds."""
        return [self.size, *[64 << 20] * (SESSIONS - 1)]

    async def assertUp(self, client: Client, target: Stream, size: int = 300_000) -> None:
        client.send(BLOCK[:size])
        self.assertEqual(await target.exactly(size), BLOCK[:size])

    async def assertDown(self, client: Client, target: Stream, size: int = 300_000) -> None:
        target.write(BLOCK[:size])
        self.assertEqual(await client.exactly(size), BLOCK[:size])

    async def test_clientStalls(self) -> None:
        """Clients that stop reading while their targets send; one of them reads its 1 GiB in the end, all of it."""
        sessions = await self.used()
        pours = [Pour(target, size) for (_, target), size in zip(sessions, self.sizes(), strict=True)]
        await still(lambda: [pour.sent for pour in pours])
        self.assertGrownLess(SESSIONS * PER_SESSION)
        for client, target in sessions:
            await self.assertUp(client, target)
        another = await self.session()
        await self.assertUp(*another)
        await self.assertDown(*another)
        await takeBlocks(sessions[0][0].some, self.size)
        self.assertEqual(pours[0].sent, self.size)
        self.assertGrownLess(SESSIONS * PER_SESSION)

    async def test_targetStalls(self) -> None:
        """Targets that stop reading while their clients send one frame each; one of 1 GiB arrives whole in the end."""
        sessions = await self.used()
        key = random.randbytes(4)
        pours = []
        for (client, _), size in zip(sessions, self.sizes(), strict=True):
            client.stream.write(header(size, key=key))
            pours.append(Pour(client.stream, size, mask(BLOCK, key)))
        await still(lambda: [pour.sent for pour in pours])
        self.assertGrownLess(SESSIONS * PER_SESSION)
        for client, target in sessions:
            await self.assertDown(client, target)
        another = await self.session()
        await self.assertUp(*another)
        await self.assertDown(*another)
        await takeBlocks(sessions[0][1].some, self.size)
        self.assertEqual(pours[0].sent, self.size)
        await self.assertUp(*sessions[0])
        self.assertGrownLess(SESSIONS * PER_SESSION)

    async def test_pongs(self) -> None:
        """A client that sends pings and does not read has one answer waiting: that to its last."""
        client, target = await self.session(receiveBuffer=KERNEL)
        await self.assertUp(client, target, 1)
        size = GIBIBYTE // 16
        pour = Pour(target, size)
        await still(lambda: pour.sent)
        for n in range(100):
            await client.stream.send(b"".join(frame(b"%d" % (n * 1000 + i), PING) for i in range(1000)))
        await self.assertUp(client, target)
        self.assertGrownLess(SESSIONS * PER_SESSION)
        await takeBlocks(client.some, size)
        await self.assertDown(client, target)
        self.assertEqual(client.pongs, [b"99999"])


class BackpressureOverTLSTests(BackpressureTests):
    """Over TLS, which is pumped as well."""

    secure = True
    size = GIBIBYTE if os.environ.get("WSPROXY_SOAK") == "long" else GIBIBYTE // 16


class HeartbeatTests(BridgeTestCase):
    """Pings to clients that do not read."""

    arguments = ("--heartbeat", "0.2")
    size = GIBIBYTE // 16

    async def test_pings(self) -> None:
        """A client that does not read gets no further pings until it does; one that reads gets them all along."""
        client, target = await self.session(receiveBuffer=KERNEL)
        alive = LoopingCall(client.send, b".")  # the deaf need not be mute
        alive.start(0.05)
        self.addCleanup(alive.stop)
        pour = Pour(target, self.size)
        await still(lambda: pour.sent)
        healthy, other = await self.session()
        reading = Deferred.fromCoroutine(healthy.rest())
        await target.exactly(40)
        other.close()
        await reading
        self.assertGreaterEqual(healthy.pings, 5)
        await takeBlocks(client.some, self.size)
        self.assertLess(client.pings, 3)
