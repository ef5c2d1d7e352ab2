"""Every way a client may behave beside every way a target may, at once, and somebody healthy among them.

C{make soak} has all of them, in every way they may be relayed; C{make test} a part that takes a quarter of a minute.
"""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import SkipTest

from OpenSSL.SSL import Error
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import ConnectionClosed
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.task import deferLater

from tests.certificates import LOCAL
from tests.integration.bridge import BridgeTestCase, authority
from tests.integration.client import Client, Closed
from tests.integration.peers import (
    BEHAVIOURS,
    KERNEL,
    LIVES,
    Behaviour,
    Peer,
    announcing,
    behave,
    breaking,
    deaf,
    ending,
    finished,
    garbling,
    healthy,
    mute,
    reset,
    resetting,
    slow,
    vanishing,
)
from tests.integration.proxy import descriptors, memory, ticks
from tests.integration.stream import Target
from tests.integration.test_bounds import BOUND
from wsproxy.recording.backlog import MEMORY

reactor: Any = _reactor

LONG = os.environ.get("WSPROXY_SOAK") == "long"

HEARTBEAT = 1.0 if LONG else 0.6
"""Seconds: a client that is there must be heard within two, on a machine that has other things to do."""

PROMPT = 10 + HEARTBEAT
"""Seconds within which the session of a client that leaves is over, and that of a target that does: README."""

UNANSWERED = 3 * HEARTBEAT + 5
"""Seconds within which a client is given up of whom nothing is heard: README."""

OWED = 60.0
"""
Seconds within which a client is given up that takes nothing of what a target that has left had said: README. That is
half a minute after its kernel took the last of it, which is asked whether there is room 0.2, 0.4, … 25.6 s after one
another: seen to take a piece 19 s after the end, of one that never read.
"""

LIVING = float("inf")
"""The session goes on."""

UNSAID = None
"""Nothing is promised."""

LONGEST = OWED if LONG else UNANSWERED
"""What is waited for."""

QUIET = 3 if LONG else 0.5
"""Seconds in which nobody says anything."""

SLACK = 3.0
"""Seconds, for a machine that has other things to do."""

PER_SESSION = 256 << 10
NOISE = 8 << 20
LEFT_BEHIND = 6 << 20

Bound = float | None


def bound(mode: str, client: Behaviour, target: Behaviour) -> Bound:
    """When the session of these two is over, in seconds from when one of them leaves."""
    return _rawBound(client, target) if mode == "raw" else _webSocketBound(client, target)


GONE = (ending, resetting, finished, garbling)
"""Targets that end their sessions."""

READING = (healthy, announcing)
"""Clients that see what they are told, at once."""

UNTAKING = (deaf, mute, vanishing)
"""Clients that take nothing of it."""


def _webSocketBound(client: Behaviour, target: Behaviour) -> Bound:
    if client in (ending, resetting, breaking, garbling):
        return PROMPT
    if target in GONE:
        return PROMPT if client in READING else OWED
    if client is vanishing or (client in (mute, announcing) and target is mute):
        return UNANSWERED
    if client is announcing and target is vanishing:  # what that had said keeps a mute one's kernel busy
        return UNANSWERED
    return LIVING


def _rawBound(client: Behaviour, target: Behaviour) -> Bound:
    """Without a WebSocket either direction may end before the other, and nobody is asked whether it is there."""
    if client is resetting or (client in (healthy, slow, ending) and target in GONE):
        return PROMPT
    if target is resetting:
        return OWED
    if client is ending:
        return PROMPT if target in (healthy, slow) else UNSAID
    return UNSAID if target in GONE or client is vanishing else LIVING


def _waitingToEnd() -> set[tuple[int, int]]:
    """The ports of IPv4 connections that are at their end, and whose peers do not know it yet (C{FIN_WAIT1})."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {(_port(row[1]), _port(row[2])) for row in rows if row[3] == "04"}


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


@dataclass(frozen=True)
class Pair:
    """One session.

    @ivar id: its name in the log.
    @ivar ports: the target's, and the proxy's on that side.
    """

    id: str
    ports: tuple[int, int]
    client: Peer
    target: Peer
    mode: str
    behaviour: tuple[Behaviour, Behaviour]
    bound: Bound

    def __repr__(self) -> str:
        client, target = self.behaviour
        return f"<{self.id}: {self.mode}, {client.__name__} client, {target.__name__} target>"

    def start(self) -> list[Deferred[object]]:
        return [behave(how(peer)) for how, peer in zip(self.behaviour, (self.client, self.target), strict=True)]

    def isUnheard(self, waiting: set[tuple[int, int]]) -> bool:
        """
        Whether the target has left, and its end waits in its own kernel: behind what it had said, for which the client
        makes no room. The proxy cannot know.
        """
        return self.behaviour[0] in UNTAKING and self.ports in waiting

    def calm(self) -> None:
        """Nobody says anything any more, and who is slow does not listen."""
        self.client.calm = self.target.calm = True


class Neighbour:
    """A session that has nothing to do with it all: what it says comes back, all the time.

    @ivar worst: seconds that its longest wait took.
    """

    def __init__(self, client: Client) -> None:
        self.rounds = 0
        self.worst = 0.0
        self.told: tuple[int | None, str] | None = None
        self._client = client
        self.done: Deferred[object] = Deferred.fromCoroutine(self._run())

    async def _run(self) -> None:
        client = self._client
        try:
            while True:
                began, sent = reactor.seconds(), random.randbytes(random.randrange(1, 5000))
                client.send(sent)
                assert await client.exactly(len(sent)) == sent
                self.worst = max(self.worst, reactor.seconds() - began)
                self.rounds += 1
                await deferLater(reactor, 0.05, lambda: None)
        except Closed as closed:
            self.told = closed.told
            client.close()
            await client.stream.gone()
        except (ConnectionClosed, Error):
            """The test is over."""


class PairsTests(BridgeTestCase):
    """
    Pumped, with and without TLS.

    @cvar modes: how clients speak, in turn.
    @cvar leftBehind: bytes that one more round of it all may cost.
    """

    modes: tuple[str, ...] = ("ws", "wss", "raw")
    arguments: tuple[str, ...] = ("--heartbeat", str(HEARTBEAT), "--raw")
    targetBehaviours: tuple[Behaviour, ...] = (*BEHAVIOURS, finished)
    secure = True
    timeout = 300 if LONG else 60
    onlyLong = False
    leftBehind = LEFT_BEHIND

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        if self.onlyLong and not LONG:
            raise SkipTest("takes a minute and a half; WSPROXY_SOAK=long runs it")
        await super().setUp()
        self.pairs: list[Pair] = []
        self.playing: list[Deferred[object]] = []

    async def tearDown(self) -> None:  # type: ignore[override]  # trial awaits it
        for pair in self.pairs:
            pair.calm()
        await super().tearDown()
        await gatherResults(self.playing)

    # what is played

    def plan(self) -> Iterator[tuple[str, Behaviour, Behaviour]]:
        """Every pair in each mode; in the short form, in one of them."""
        number = 0
        for client in (*BEHAVIOURS, breaking, announcing, garbling):
            for target in self.targetBehaviours:
                modes = [mode for mode in self.modes if self.possible(mode, client, target)]
                yield from ((mode, client, target) for mode in (modes if LONG else modes[number % len(modes) :][:1]))
                number += 1

    def possible(self, mode: str, client: Behaviour, target: Behaviour) -> bool:
        if mode == "raw":  # where one has ended and the other vanished, nobody is left to end the session
            return client not in (breaking, announcing, garbling) and (client, target) != (ending, vanishing)
        return mode == "wss" or client is not garbling

    async def open(self, mode: str) -> tuple[str, tuple[int, int], Peer, Peer]:
        """@return: the session's name, the ports of its target's side, its client and its target."""
        since = len(self.proxy.lines)
        client = Client(self.connect(secure=mode == "wss", receiveBuffer=KERNEL))
        if mode == "raw":
            client.stream.write(b"u")
        else:
            self.assertEqual((await client.upgrade()).status, 101)
            client.send(b"u")
        target = await self.target.accept()
        self.assertEqual(await target.exactly(1), b"u")  # over TLS, too, it listens from here on only if it wants to
        said = await self.proxy.said(rf"([0-9a-f]{{8}}) 127\.0\.0\.1:{client.stream.port} → ", since=since)
        peer = Peer(client.stream, b"u", b"d", None if mode == "raw" else client)
        ports = target.port, target.transport.getPeer().port
        return said[0][1], ports, peer, Peer(target, b"d", b"u")

    async def play(self) -> list[Pair]:
        """Have all of them at once."""
        pairs = []
        for mode, client, target in self.plan():
            pair = Pair(*await self.open(mode), mode, (client, target), bound(mode, client, target))
            self.playing += pair.start()
            self.pairs.append(pair)
            pairs.append(pair)
        return pairs

    async def neighbour(self, mode: str) -> Neighbour:
        _, _, client, target = await self.open(mode)

        async def echo() -> None:
            while data := await target.stream.some():
                await target.stream.send(data)
            target.stream.close()

        assert client.client is not None
        neighbour = Neighbour(client.client)
        self.playing += [behave(echo()), neighbour.done]
        return neighbour

    # what is seen of the proxy

    def pids(self) -> list[int]:
        """Of the processes that have the sessions."""
        workers = [re.search(r"worker \d started as process (\d+)", line) for line in self.proxy.lines]
        return [int(found[1]) for found in workers if found is not None] or [self.proxy.pid]

    def total(self, of: Callable[[int], int]) -> int:
        return sum(map(of, self.pids()))

    def ended(self) -> dict[str, str]:
        """The last line of each session that is over, by its name."""
        lines = (line for line in self.proxy.lines if " closed by " in line)
        found = (re.search(r"([0-9a-f]{8}) closed by (.*)", line) for line in lines)
        return {each[1]: each[2] for each in found if each is not None}

    # what must hold

    async def assertEnd(self, pairs: Sequence[Pair], within: float, since: float) -> None:
        """Of these, those that must be over C{within} so many seconds from C{since} are, and those that go on do."""
        waiting = _waitingToEnd()  # once: where many connections have just ended it is long, and peers wait meanwhile
        expected = [pair for pair in pairs if pair.bound is not None and pair.bound <= within]
        due = {pair.id for pair in expected if not pair.isUnheard(waiting)}
        while due - self.ended().keys() and reactor.seconds() < since + within + SLACK:
            await deferLater(reactor, 0.1, lambda: None)
        ended = self.ended()
        self.assertEqual([pair for pair in pairs if pair.id in due and pair.id not in ended], [])
        over = [(pair, ended[pair.id]) for pair in pairs if pair.bound == LIVING and pair.id in ended]
        self.assertEqual(over, [])

    def assertBounded(self, pairs: Sequence[Pair], before: int) -> None:
        stalled = len({pair.id for pair in pairs} - self.ended().keys())
        self.assertLess(self.total(memory) - before, stalled * PER_SESSION + NOISE)

    async def assertIdle(self, pairs: Sequence[Pair]) -> None:
        """Sessions in which nothing moves take no time but for their heartbeats."""
        for pair in pairs:
            pair.calm()
        await deferLater(reactor, 0.5, lambda: None)
        before = self.total(ticks)
        await deferLater(reactor, QUIET, lambda: None)
        self.assertLess(self.total(ticks) - before, 5 + 10 * QUIET)

    async def assertNothingLeft(self, pairs: Sequence[Pair], before: int) -> None:
        """Once all clients are gone: neither sessions nor descriptors."""
        for pair in pairs:
            gone = pair.client.stream.lost is not None  # without a WebSocket it might still wait for an answer
            reset((pair.target if gone else pair.client).stream)
        since = reactor.seconds()
        while {pair.id for pair in pairs} - self.ended().keys() and reactor.seconds() < since + PROMPT + SLACK:
            await deferLater(reactor, 0.1, lambda: None)
        ended = self.ended()
        self.assertEqual([pair for pair in pairs if pair.id not in ended], [])
        self.assertEqual(self.total(descriptors), before)
        for pair in pairs:  # lest one that has vanished is in the way of whoever gets its port
            for peer in (pair.client, pair.target):
                reset(peer.stream)

    async def assertLeaves(self) -> None:
        """SIGTERM ends it in time, and every session that was opened has been closed."""
        began = time.monotonic()
        self.proxy.signal(signal.SIGTERM)
        self.assertEqual(await self.proxy.end(), 0)
        self.assertLess(time.monotonic() - began, BOUND)
        lines = self.proxy.lines
        self.assertEqual([line for line in lines if "Traceback" in line or "Unhandled" in line], [])
        self.assertEqual(len(self.ended()), sum(" → " in line for line in lines))

    async def test_pairs(self) -> None:
        """
        Sessions end when README says, or go on; nothing is left of them, nor is anybody else kept waiting, nor the
        proxy from ending.
        """
        neighbours = [await self.neighbour(mode) for mode in self.modes if mode != "raw"]
        before = self.total(descriptors), self.total(memory)
        pairs = await self.play()
        since = reactor.seconds() + LIVES
        for within in sorted({pair.bound for pair in pairs if pair.bound is not None and pair.bound <= LONGEST}):
            await self.assertEnd(pairs, within, since)
            self.assertBounded(pairs, before[1])
        await self.assertIdle(pairs)
        for each in neighbours:
            self.assertIsNone(each.told)
            self.assertGreater(each.rounds, 20)
            self.assertLess(each.worst, 2 + SLACK)
        if LONG:
            await self.again(pairs, before[0])
            await self.assertLeaves()
            await gatherResults([each.done for each in neighbours])
            self.assertEqual({each.told for each in neighbours}, {(1001, "Server going down")})

    async def again(self, pairs: Sequence[Pair], before: int) -> None:
        """And again, twice: once for what has been left by the first to be found again, and once to be left alone."""
        await self.assertNothingLeft(pairs, before)
        grown = self.total(memory)
        again = await self.play()
        await deferLater(reactor, 2 * LIVES, lambda: None)
        await self.assertNothingLeft(again, before)
        self.assertLess(self.total(memory) - grown, self.leftBehind)  # an allocator scatters what was used at first
        await self.play()
        await deferLater(reactor, 2 * LIVES, lambda: None)


class UnpumpedTests(PairsTests):
    """Through transports."""

    onlyLong = True
    arguments = (*PairsTests.arguments, "--no-pump")


class RecordedTests(PairsTests):
    """On record."""

    onlyLong = True
    leftBehind = LEFT_BEHIND + 24 * MEMORY
    """So many recordings more than in any round before may be behind at once, each with its backlog in memory."""
    arguments = (*PairsTests.arguments, "--record", "record", "--record-keep", "100")


class WorkersTests(PairsTests):
    """In two processes."""

    onlyLong = True
    arguments = (*PairsTests.arguments, "--workers", "2")


class SecureTargetTests(PairsTests):
    """To a target that speaks TLS."""

    onlyLong = True
    arguments = (*PairsTests.arguments, "--ssl-target", "--target-insecure")
    targetBehaviours = (*PairsTests.targetBehaviours, garbling)

    def listen(self, listener: socket.socket) -> Target:
        return Target(listener, PrivateCertificate.loadPEM(authority().issue(*LOCAL).both).options())
