"""Many sessions, for long, at random: C{make soak} runs this at full length (WSPROXY_SOAK=long), C{make test} in short.

What is random follows from a seed, which is printed: in the long form a new one, unless WSPROXY_SEED repeats a run.
"""

from __future__ import annotations

import os
import signal
from base64 import b64encode
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from functools import partial
from hashlib import sha256
from random import Random, SystemRandom
from typing import Any
from unittest import SkipTest

from twisted.internet import reactor as _reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import LoopingCall, deferLater
from twisted.python import log

from tests.certificates import LOCAL
from tests.integration.bridge import BridgeTestCase, authority, still
from tests.integration.client import BINARY, CONTINUATION, PING, TEXT, Client, frame
from tests.integration.stream import Stream

reactor: Any = _reactor

LONG = os.environ.get("WSPROXY_SOAK") == "long"
SEED = int(os.environ.get("WSPROXY_SEED") or (SystemRandom().randrange(1 << 32) if LONG else 1))

SESSIONS = 200 if LONG else 30
SLOW = 1000 if LONG else 100
SHORT_SESSIONS = 10_000 if LONG else 500
RENEWALS = 100 if LONG else 10

LEFT = (4 if LONG else 2) << 20
"""Bytes that many short sessions may leave behind: the allocator scatters what they used, 100 bytes each in the end."""

LAST_WORDS = 64 << 10
"""Bytes that a client does not take, and the proxy does, so that it sees the end of the target behind them."""

AT_ONCE = 50
"""Sessions of one test at the same time."""


async def several(jobs: Iterable[Callable[[], Awaitable[None]]], atOnce: int = AT_ONCE) -> None:
    """Do all of them, so many at the same time."""
    queue = iter(jobs)

    async def work() -> None:
        for job in queue:
            await job()

    await gatherResults([Deferred.fromCoroutine(work()) for _ in range(atOnce)])


def _stop(loop: LoopingCall) -> None:
    if loop.running:
        loop.stop()


class Conversation:
    """One session's plan, all of which follows from the seed and its number."""

    def __init__(self, number: int) -> None:
        self.random = Random(f"{SEED}/{number}")
        self.number = number.to_bytes(4, "big")
        self.secure = self.random.random() < 0.4
        self.subprotocol = self.random.choice(["binary", "base64", None])
        self.clientCloses = self.random.random() < 0.5
        self.up, self.down = self._bytes(), self._bytes()
        self.targetSaw = ""

    def __repr__(self) -> str:
        return (
            f"<conversation {int.from_bytes(self.number, 'big')} of seed {SEED}: {len(self.up)} bytes up,"
            f" {len(self.down)} down, {self.subprotocol}, {'wss' if self.secure else 'ws'}>"
        )

    def _bytes(self) -> bytes:
        return self.random.randbytes(int(2 ** self.random.uniform(0, 22)))

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """C{data} in pieces of a size that suits it: a few large ones, or many small ones."""
        limit = max(1, len(data) // self.random.choice([1, 3, 20, 200]))
        while data:
            size = self.random.randint(1, limit)
            yield data[:size]
            data = data[size:]

    async def pause(self) -> None:
        if self.random.random() < 0.05:
            await deferLater(reactor, self.random.uniform(0, 0.05), lambda: None)

    def frames(self) -> Iterator[bytes]:
        """C{number} and C{up} as a client sends them: messages, some in fragments, with pings between them."""
        for message in (self.number, *self.pieces(self.up)):
            text = b64encode(message) if self.subprotocol == "base64" else None
            whole, opcode = (message, BINARY) if text is None else (text, TEXT)
            *fragments, last = self.pieces(whole) if self.random.random() < 0.3 else [whole]
            for fragment in fragments:
                yield frame(fragment, opcode, fin=False)
                opcode = CONTINUATION
                if self.random.random() < 0.2:
                    yield frame(b"are you there?", PING)
            yield frame(last, opcode)

    async def send(self, stream: Stream, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            await stream.send(piece)
            await self.pause()

    async def beClient(self, client: Client) -> None:
        """@raise AssertionError: what came down is not what was sent."""
        offer = () if self.subprotocol is None else (self.subprotocol,)
        assert (await client.upgrade(offer=offer)).status == 101
        sending = Deferred.fromCoroutine(self.send(client.stream, self.frames()))
        seen = sha256()
        left = len(self.down)
        while left:
            data = await client.some()
            seen.update(data)
            left -= len(data)
            await self.pause()
        await sending
        assert left == 0 and seen.digest() == sha256(self.down).digest(), self
        if self.clientCloses:
            assert await client.leave() == (1000, ""), self
        else:
            assert await client.rest() == (b"", (1000, "Target closed")), self
            client.close()
            await client.stream.gone()

    async def beTarget(self, stream: Stream) -> None:
        """@raise AssertionError: what came up is not what was sent."""
        sending = Deferred.fromCoroutine(self.send(stream, self.pieces(self.down)))
        seen = sha256()
        left = len(self.up)
        while left:
            data = await stream.some()
            assert data, self
            seen.update(data)
            left -= len(data)
            await self.pause()
        await sending
        assert left == 0 and seen.digest() == sha256(self.up).digest(), self
        if self.clientCloses:
            assert await stream.some() == b"", self
        stream.close()


class SoakTestCase(BridgeTestCase):
    """One proxy, ws and wss on one port."""

    secure = True
    timeout = 900 if LONG else 90

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        await super().setUp()
        print(f" seed {SEED}", end=" ", flush=True)

    def serve(self, play: Callable[[Stream], Coroutine[Any, Any, None]]) -> None:
        """Each connection to the target is C{play}ed from now on."""

        async def serve() -> None:
            while True:
                stream = await self.target.accept()
                Deferred.fromCoroutine(play(stream)).addErrback(lambda failure: log.err(failure, "the target"))

        serving = Deferred.fromCoroutine(serve())
        serving.addErrback(lambda failure: failure.trap(CancelledError))
        self.addCleanup(serving.cancel)

    async def echo(self, stream: Stream) -> None:
        """A target that says what it hears."""
        while data := await stream.some():
            await stream.send(data)
        stream.close()

    async def exchange(self, secure: bool) -> None:
        """A short session with an L{echo}."""
        client = Client(self.connect(secure=secure))
        assert (await client.upgrade()).status == 101
        client.send(b"hello")
        assert await client.exactly(5) == b"hello"
        assert await client.leave() == (1000, "")


class SessionTests(SoakTestCase):
    """Sessions by the dozen, and by the thousand."""

    async def test_random(self) -> None:
        """Whatever their sizes, fragments, pauses and endings: both sides of each get what the other sent."""
        client, target = await self.session()
        target.close()
        await client.rest()
        client.close()
        await client.stream.gone()
        before = await self.settled()
        conversations = [Conversation(number) for number in range(SESSIONS)]

        async def play(stream: Stream) -> None:
            number = int.from_bytes(await stream.exactly(4), "big")
            await conversations[number].beTarget(stream)

        self.serve(play)
        await several(partial(each.beClient, Client(self.connect(secure=each.secure))) for each in conversations)
        self.assertEqual(await self.settled(), before)

    async def test_short(self) -> None:
        """Thousands of short ones leave nothing: no descriptor, no memory."""
        self.serve(self.echo)
        rounds = [n % 5 == 0 for n in range(SHORT_SESSIONS)]
        await several(partial(self.exchange, secure) for secure in rounds[: SHORT_SESSIONS // 10])
        before = await self.settled()
        self.proxy.grown()  # from here on
        await several(partial(self.exchange, secure) for secure in rounds)
        self.assertLess(self.proxy.grown(), LEFT)
        self.assertEqual(await self.settled(), before)

    async def test_renewals(self) -> None:
        """The certificate changes again and again while clients connect without end: none is refused."""
        self.serve(self.echo)
        path = self.proxy.folder / "cert.pem"
        connected = 0
        serving = 0
        done = False

        async def visit() -> None:
            nonlocal connected, serving
            while not done:
                client = Client(self.connect())
                assert (await client.upgrade()).status == 101
                serving = client.stream.transport.getPeerCertificate().get_serial_number()
                connected += 1
                await client.leave()

        visitors = gatherResults([Deferred.fromCoroutine(visit()) for _ in range(4)])
        for number in range(RENEWALS):
            issued = authority().issue(*LOCAL)
            if number % 2:
                path.write_bytes(issued.both)
            else:
                beside = path.with_suffix(".new")
                beside.write_bytes(issued.both)
                beside.rename(path)
            if number % 5:
                self.proxy.signal(signal.SIGHUP)  # else it is found within a second
            while serving != issued.certificate.serial_number and not visitors.called:
                await deferLater(reactor, 0.02, lambda: None)
        done = True
        await visitors
        self.assertGreaterEqual(connected, RENEWALS)


class SlowTests(SoakTestCase):
    """Clients at one byte a second."""

    arguments = ("--handshake-timeout", "2")

    async def test_slow(self) -> None:
        """All are gone after the deadline, while a session among them echoes on."""
        self.serve(self.echo)
        await self.exchange(True)
        before = await self.settled()
        client = Client(self.connect())
        await client.upgrade()
        client.send(b"hello")
        await client.exactly(5)
        streams = [self.connect(secure=False) for _ in range(SLOW)]
        words = [b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"<policy-file-request/>"]

        second = 0

        def crawl() -> None:
            nonlocal second
            for n, stream in enumerate(streams):
                if stream.lost is None:
                    word = words[n % len(words)]
                    stream.write(word[second : second + 1])
            second += 1

        crawling = LoopingCall(crawl)
        crawling.start(1)
        self.addCleanup(_stop, crawling)
        gone = gatherResults([Deferred.fromCoroutine(stream.gone()) for stream in streams])
        rounds = 0
        while not gone.called:
            client.send(b"hello")
            self.assertEqual(await client.exactly(5), b"hello")
            rounds += 1
        await gone
        _stop(crawling)
        await client.leave()
        self.assertLess(second, len(words[0]))  # none had the time to say it
        self.assertGreater(rounds, second)
        self.assertEqual(await self.settled(), before)


class DeafTests(SoakTestCase):
    """A client that is owed what its target said before it closed, and takes none of it."""

    async def test_deaf(self) -> None:
        """It is given half a minute, then it is gone."""
        if not LONG:
            raise SkipTest("takes half a minute; WSPROXY_SOAK=long runs it")
        client, target = await self.session(receiveBuffer=4096)
        target.write(bytes(LAST_WORDS))
        await still(self.proxy.grown)
        target.close()
        self.assertRegex(await self.ending(client), r"^closed by target: 1000 Target closed; 3\d\.\d s")
