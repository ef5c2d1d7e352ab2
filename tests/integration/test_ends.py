"""How sessions end: what each side still gets, what it is told, what the log says, and that nothing is left."""

from __future__ import annotations

import contextlib
import random
import socket
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.certificates import LOCAL, Authority
from tests.integration.bridge import BridgeTestCase, connect
from tests.integration.client import CLOSE, Client, frame
from tests.integration.proxy import Proxy
from tests.integration.stream import Stream

reactor: Any = _reactor

Play = Callable[[Client, Stream], Awaitable[None]]

_BAD_CLOSE = frame(b"\x00", CLOSE)
"""A Close all the same, so that nothing is waited for after it."""

PLENTY = random.Random(1).randbytes(3_000_000)
"""More than the proxy holds."""


class EndsTests(BridgeTestCase):
    """Over plain sockets, which are pumped."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        await super().setUp()
        client, target = await self.session()  # whatever is opened once is open now
        target.close()
        await client.rest()
        client.close()
        await client.stream.gone()
        self._descriptors = await self.settled()

    async def tearDown(self) -> None:  # type: ignore[override]  # trial awaits it
        """After each test: one opening and one closing line for every session, and no descriptor is left."""
        await super().tearDown()
        self.assertEqual(await self.settled(), self._descriptors)

    async def assertTargetEnds(self, target: Stream, data: bytes) -> None:
        """The target gets this, then an end-of-file, and closes as well."""
        self.assertEqual(await target.rest(), data)
        target.close()

    async def test_targetCloses(self) -> None:
        """A client gets all that its target wrote before it closed, then 1000; the connection ends in order."""
        for subprotocol in ("binary", "base64"):
            client, target = await self.session(subprotocol)
            target.write(PLENTY)
            target.close()
            self.assertEqual(await client.rest(), (PLENTY, (1000, "Target closed")))
            client.close(1000)
            self.assertEqual(await client.stream.some(), b"")
            ending = await self.ending(client)
            self.assertRegex(ending, rf"^closed by target: 1000 Target closed; .* {len(PLENTY)} bytes down$")

    async def test_targetResets(self) -> None:
        """A target that resets its connection is no orderly close: 1011."""
        client, target = await self.session()
        target.write(b"last words")
        self.assertEqual(await client.exactly(10), b"last words")
        target.reset()
        self.assertEqual(await client.rest(), (b"", (1011, "Target connection lost")))
        client.close(1011)
        await client.stream.gone()
        self.assertIn("closed by target: 1011 Target connection lost", await self.ending(client))

    async def test_targetHalfCloses(self) -> None:
        """A target that only stops writing gets what the client sends until its own Close, then end-of-file."""
        client, target = await self.session()
        target.write(b"bye")
        target.finish()
        self.assertEqual(await client.rest(), (b"bye", (1000, "Target closed")))
        client.send(PLENTY)
        client.close(1000)
        await self.assertTargetEnds(target, PLENTY)
        self.assertEqual(await client.stream.some(), b"")
        ending = await self.ending(client)
        self.assertRegex(ending, rf"^closed by target: 1000 Target closed; .* {len(PLENTY)} bytes up, 3 bytes down$")

    async def test_clientCloses(self) -> None:
        """A client's Close is echoed with its code at once; what it sent before reaches its target, slow as that is."""
        for code in (1000, 3000, 4321, None):
            client, target = await self.session()
            client.send(PLENTY)
            client.close(code, "done" if code else "")
            self.assertEqual((await self.closeFrom(client, target))[0], code)
            ending = await self.ending(client)
            said = f"{code} done" if code else r"1005 \(no reason\)"
            self.assertRegex(ending, f"^closed by client: {said}; .* {len(PLENTY)} bytes up, 0 bytes down$")

    async def closeFrom(self, client: Client, target: Stream) -> tuple[int | None, str]:
        """Read the target's end first: nothing moves as long as it does not."""
        await self.assertTargetEnds(target, PLENTY)
        data, told = await client.rest()
        self.assertEqual(data, b"")
        self.assertEqual(await client.stream.some(), b"")
        return told

    async def test_clientStopsSending(self) -> None:
        """A client that ends its stream without a Close: its target gets all it sent, and the end-of-file."""
        client, target = await self.session()
        client.send(PLENTY)
        if self.secure:
            client.stream.close()
        else:
            client.stream.finish()
        await self.assertTargetEnds(target, PLENTY)
        self.assertRegex(await self.ending(client), "^closed by client: 1006 Client vanished; ")

    async def test_clientResets(self) -> None:
        """A client that vanishes: its target has what arrived before, and the end-of-file."""
        client, target = await self.session()
        client.send(b"all I have")
        self.assertEqual(await target.exactly(10), b"all I have")
        client.stream.reset()
        await self.assertTargetEnds(target, b"")
        self.assertRegex(await self.ending(client), "^closed by client: 1006 Client vanished; .* 10 bytes up, ")

    async def test_clientVanishesWhileOwed(self) -> None:
        """A client that vanishes with megabytes on their way to it does not keep its target."""
        client, target = await self.session()
        target.write(PLENTY * 8)
        await client.exactly(100_000)
        client.stream.reset()
        with contextlib.suppress(Exception):
            await target.rest()  # a reset, where the proxy closes with unread bytes
        await target.gone()
        self.assertRegex(await self.ending(client), "^closed by client: 1006 ")

    async def test_protocolErrors(self) -> None:
        """
        A client that breaks the protocol is told how, and its target gets what came before, and end-of-file. TCP ends
        after the client's own Close (RFC 6455 section 7.1.1), whatever it sends before.
        """
        wrong = [
            (frame(b"text", opcode=1), 1003),
            (frame(b"", opcode=3), 1002),
            (frame(b"x" * 126, opcode=9), 1002),
            (b"\x82\x00", 1002),  # not masked
            (_BAD_CLOSE, 1002),
        ]
        for data, code in wrong:
            client, target = await self.session()
            client.send(b"before")
            client.stream.write(data)
            await self.assertTargetEnds(target, b"before")
            _, (told, reason) = await client.rest()
            self.assertEqual(told, code)
            self.assertNotEqual(reason, "")
            closing = Deferred.fromCoroutine(client.stream.some())
            if data != _BAD_CLOSE:
                client.send(PLENTY)  # it had not known when it said this
                await deferLater(reactor, 0.1, lambda: None)
                self.assertFalse(closing.called)
                client.close(code)
            self.assertEqual(await closing, b"")
            client.stream.close()
            self.assertRegex(await self.ending(client), f"^closed by client: {code} ")

    async def test_early(self) -> None:
        """Frames sent in the same breath as the handshake arrive, in order and once, before those that follow."""
        client = Client(self.connect())
        await client.upgrade(early=b"".join(frame(bytes([n])) for n in range(100)) + frame(b"", CLOSE))
        target = await self.target.accept()
        await self.assertTargetEnds(target, bytes(range(100)))
        self.assertEqual(await client.rest(), (b"", (None, "")))

    async def test_dribble(self) -> None:
        """Handshake and frames that come a byte at a time, each with a frame of its own, are all the same."""
        client, target = await self.session()
        for byte in frame(b"drop by drop") + frame(b"", CLOSE):
            client.stream.write(bytes([byte]))
            await deferToThread(lambda: None)  # let it go
        await self.assertTargetEnds(target, b"drop by drop")
        self.assertEqual(await client.rest(), (b"", (None, "")))


class EndsOverTLSTests(EndsTests):
    """Over TLS, which is pumped as well."""

    secure = True


class StallTests(BridgeTestCase):
    """Peers who do not do their part of closing: over plain sockets and over TLS, all at the same time."""

    secure = True

    async def test_stalls(self) -> None:
        """They are gone after 5 seconds, and so is the session; the talkative at once."""

        async def clientIsSilent(client: Client, target: Stream) -> None:
            """It gets the Close frame and does not answer."""
            target.close()
            self.assertEqual(await client.rest(), (b"", (1000, "Target closed")))

        async def targetIsDeaf(client: Client, target: Stream) -> None:
            """It reads nothing of what the client sent before its Close."""
            client.send(PLENTY[:100_000])  # what short queues hold: the Close behind it is heard
            client.close()
            await client.rest()

        async def targetStays(client: Client, target: Stream) -> None:
            """It gets the end-of-file and neither writes nor closes."""
            client.close()
            await client.rest()
            self.assertEqual(await target.rest(), b"")

        async def targetChatters(client: Client, target: Stream) -> None:
            """It gets the end-of-file and writes on and on, while nobody is there to hear it."""
            client.close()
            await client.rest()
            with contextlib.suppress(EOFError):
                while True:
                    await target.send(PLENTY)

        async def stall(play: Play, client: Client, target: Stream, said: str) -> None:
            await play(client, target)
            seconds = "[0-2]" if play is targetChatters else "[5-9]"
            self.assertRegex(await self.ending(client), rf"^closed by {said}.*; {seconds}\.\d s, ")

        plays: list[tuple[Play, str]] = [
            (clientIsSilent, "target: 1000 Target closed"),
            (targetIsDeaf, "client: 1000 "),
            (targetStays, "client: 1000 "),
            (targetChatters, "client: 1000 "),
        ]
        stalls = []
        for secure in (False, True):
            for play, said in plays:
                client, target = await self.session(secure=secure)
                stalls.append(stall(play, client, target, said))
        await gatherResults([Deferred.fromCoroutine(each) for each in stalls])


class UnreachableTests(TestCase):
    """Targets that cannot be had."""

    timeout = 30

    async def told(self, target: str, *arguments: str) -> tuple[tuple[int | None, str], str]:
        """The close code and reason of a proxy that leads to C{target}, and what its log says."""
        proxy = Proxy(Path(tempfile.mkdtemp(dir=".")).absolute(), "--target", target, *arguments)
        self.addCleanup(proxy.stop)
        client = Client(connect(await proxy.port()))
        self.assertEqual((await client.upgrade()).status, 101)
        data, told = await client.rest()
        self.assertEqual(data, b"")
        client.close(told[0])
        await client.stream.gone()
        return told, (await proxy.said("closed by .*"))[0][0]

    async def test_reasons(self) -> None:
        """
        The client is accepted, then closed with 1011 and a reason that a person can read and that names no place. The
        log has the system's error beside it.
        """
        closed = socket.create_server(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        closed.close()
        full = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.addCleanup(full.close)
        for _ in range(2):  # one waits to be accepted, the handshake of the other is not answered
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
            self.addCleanup(waiting.close)
        pem = Authority("a stranger").issue(*LOCAL).both
        options = PrivateCertificate.loadPEM(pem).options()
        tls = reactor.listenSSL(0, Factory.forProtocol(Protocol), options, interface="127.0.0.1")
        self.addCleanup(tls.stopListening)
        cases = {
            f"127.0.0.1:{port}": ("Target refused the connection", "down; ECONNREFUSED: Connection refused"),
            "unix:/no/such/socket": ("Target unreachable", "down; ENOENT: No such file or directory"),
            f"127.0.0.1:{full.getsockname()[1]}": ("Target timed out", "down"),
            f"tls:localhost:{tls.getHost().port}": ("Target TLS: ", "down"),
        }
        answers = await gatherResults(
            [Deferred.fromCoroutine(self.told(target, "--connect-timeout", "1")) for target in cases]
        )
        for (told, line), (target, (reason, cause)) in zip(answers, cases.items(), strict=True):
            self.assertEqual(told[0], 1011)
            self.assertIn(reason, told[1])
            self.assertNotIn(target.removeprefix("tls:").removeprefix("unix:"), told[1])
            self.assertIn(f"closed by target: 1011 {told[1]}; ", line)
            self.assertTrue(line.endswith(cause), line)
