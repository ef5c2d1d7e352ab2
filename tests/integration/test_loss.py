"""Peers that leave, or are gone, while nobody can read what they sent; and those that are merely slow."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from tests.integration.bridge import BridgeTestCase, still
from tests.integration.client import Client, header, mask
from tests.integration.peers import end, vanish
from tests.integration.proxy import ticks
from tests.integration.stream import Stream
from tests.integration.test_backpressure import BLOCK, KERNEL, Pour

reactor: Any = _reactor

KEY = b"\x01\x02\x03\x04"
MUCH = 64 << 20
"""More than both kernels hold."""

Leave = Callable[[Stream], None]


async def together(*jobs: Coroutine[Any, Any, object]) -> None:
    await gatherResults([Deferred.fromCoroutine(job) for job in jobs])


class LossTests(BridgeTestCase):
    """Over plain sockets and TLS, which are pumped, and without WebSocket."""

    secure = True
    arguments: tuple[str, ...] = ("--heartbeat", "0.5", "--raw")
    timeout = 40
    pump = True
    MODES = ("ws", "wss", "raw")

    async def opened(self, mode: str) -> tuple[Client, Stream]:
        if mode != "raw":
            return await self.session(secure=mode == "wss", receiveBuffer=KERNEL)
        client = Client(self.connect(secure=False, receiveBuffer=KERNEL))
        client.stream.write(b"\0")
        target = await self.target.accept()
        self.assertEqual(await target.exactly(1), b"\0")
        return client, target

    async def uploads(self, client: Client, mode: str) -> Pour:
        """The client sends until nobody takes any more."""
        if mode != "raw":
            client.stream.write(header(MUCH, key=KEY))
        pour = Pour(client.stream, MUCH, BLOCK if mode == "raw" else mask(BLOCK, KEY))
        await still(lambda: pour.sent)
        return pour

    async def downloads(self, target: Stream) -> None:
        """The target sends until nobody takes any more."""
        pour = Pour(target, MUCH)
        await still(lambda: pour.sent)

    async def assertEnds(self, client: Client, pattern: str, within: float) -> None:
        began = reactor.seconds()
        self.assertRegex(await self.ending(client), pattern)
        self.assertLess(reactor.seconds() - began, within)

    async def stalled(self, *ways: tuple[str, bool, bool]) -> list[tuple[Client, Stream]]:
        """
        Sessions in which nothing moves any more.

        @param ways: of each the mode, and whether it is stalled upwards and downwards.
        """
        sessions = [await self.opened(mode) for mode, _, _ in ways]
        stalls: list[Coroutine[Any, Any, object]] = []
        for (client, target), (mode, up, down) in zip(sessions, ways, strict=True):
            stalls += [self.uploads(client, mode)] if up else []
            stalls += [self.downloads(target)] if down else []
        await together(*stalls)
        return sessions

    async def test_gone(self) -> None:
        """
        However far a session is stalled, a client that leaves it or is gone is found in seconds; nothing spins or
        piles up meanwhile.
        """
        # what ends without a WebSocket might still wait for an answer
        leaving = [(mode, way) for mode in self.MODES for way in (Stream.reset, end) if (mode, way) != ("raw", end)]
        ways = [(mode, True, False) for mode, _ in leaving] + [(mode, True, True) for mode in self.MODES]
        clients = [client for client, _ in await self.stalled(*ways)]
        lose = [way for _, way in leaving] + [Stream.reset] * len(self.MODES)
        both = (False, True)
        machines = await self.stalled(*[(mode, up, down) for mode in ("ws", "wss") for up in both for down in both])
        self.proxy.grown()
        before = ticks(self.proxy.pid)
        for client, leave in zip(clients, lose, strict=True):
            leave(client.stream)
        for client, _ in machines:
            vanish(client.stream)
        await together(
            *[self.assertEnds(client, "^closed by client: 1006 Client vanished", 15) for client in clients],
            *[self.assertEnds(client, "^closed by proxy: 4002 Heartbeat lost", 15) for client, _ in machines],
        )
        self.assertLess(ticks(self.proxy.pid) - before, 150)
        self.assertLess(self.proxy.grown(), 8 << 20)

    async def test_targetResets(self) -> None:
        """In the mirror image the client keeps what it has not read; nothing is read to be thrown away."""
        sessions = await self.stalled(*[(mode, False, True) for mode in self.MODES])
        pours = [await self.uploads(client, mode) for (client, _), mode in zip(sessions, self.MODES, strict=True)]
        sent = [pour.sent for pour in pours]
        for _, target in sessions:
            target.reset()
        before = ticks(self.proxy.pid)
        await deferLater(reactor, 1, lambda: None)
        self.assertLess(ticks(self.proxy.pid) - before, 40)
        if self.pump:  # a transport tells of the loss only, and then the client is read for its Close
            self.assertEqual([pour.sent for pour in pours], sent)
        for client, _ in sessions:
            client.stream.reset()
        await together(*[self.assertEnds(client, "^closed by (client|target): ", 15) for client, _ in sessions])

    async def test_slow(self) -> None:
        """
        A client that reads slowly and answers every ping that it sees stays, and so does one that is held back. What
        one had sent that has left reaches a target that takes it in the end, however slowly.
        """

        async def read(client: Client, target: Stream) -> None:
            Pour(target, MUCH)
            for _ in range(10):
                await client.exactly(60_000)
                await deferLater(reactor, 0.5, lambda: None)

        async def wait(client: Client, mode: str) -> None:
            await self.uploads(client, mode)
            await deferLater(reactor, 4, lambda: None)

        async def leave(client: Client, target: Stream, mode: str) -> None:
            sent = BLOCK[:400_000]  # no more than what short queues hold, that it can leave
            if mode != "raw":
                client.stream.write(header(len(sent), key=KEY))
            await client.stream.send(sent if mode == "raw" else mask(sent, KEY))
            client.stream.close()
            got = bytearray()
            while len(got) < len(sent):
                await deferLater(reactor, 0.05, lambda: None)
                got += await target.some()
            self.assertEqual(got, sent)
            self.assertEqual(await target.rest(), b"")
            target.close()

        modes = "ws", "wss"
        slow = [await self.opened(mode) for mode in modes]
        held = [((await self.opened(mode))[0], mode) for mode in modes]
        left = [(*await self.opened(mode), mode) for mode in self.MODES]
        await together(
            *[read(*session) for session in slow],
            *[wait(*session) for session in held],
            *[leave(*session) for session in left],
        )
        clients = [client for client, _ in (*slow, *held)]
        for client in clients:
            client.stream.reset()
        await together(*[self.assertEnds(client, "^closed by client: 1006 Client vanished", 15) for client in clients])


class UnpumpedLossTests(LossTests):
    """The same with C{--no-pump}, through transports."""

    pump = False
    arguments = (*LossTests.arguments, "--no-pump")
