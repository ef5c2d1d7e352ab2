"""The boundary around a session, with real sockets: what L{tests.sessions.test_faults} shows with fakes."""

from __future__ import annotations

import signal
import socket
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, wrapClientTLS
from twisted.internet.ssl import optionsForClientTLS
from twisted.internet.task import deferLater
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import TestCase

from tests.ends.contract import KINDS, MEGABYTE
from tests.ends.fake import Message
from tests.integration.bridge import connect as stream
from tests.integration.client import Client
from tests.integration.proxy import Proxy
from tests.peer import connect, openWebSocket
from tests.test_factory import CERTIFICATE, LARGE, WholeTestCase
from tests.tunnel.client import Frame
from wsproxy.factory import WebSockifyFactory
from wsproxy.interfaces import Identity, Request, Session, Target
from wsproxy.wire.frames import BINARY, CLOSE


def autobahn(address: str) -> str:
    """The target string of a WebSocket server, where C{address} is a TCP client endpoint's."""
    port = address.rpartition(":")[2]
    return rf"autobahn:tcp\:127.0.0.1\:{port}:url=ws\://127.0.0.1\:{port}/"


class AutobahnTests(WholeTestCase):
    """
    A target that is a WebSocket server itself, by way of Autobahn's client endpoint: it returns a protocol of its own,
    connected before it is open, on which ours relies for everything.
    """

    async def arrange(self) -> None:
        from twisted.internet import reactor

        await super().arrange()
        self.inner = self.factory
        self.factory = self.makeFactory(autobahn(self.address))
        self.address = await self.listen(reactor, self.factory)
        self.addCleanup(self.factory.closeAll)

    async def test_bothWays(self) -> None:
        """Bytes pass both ways, in order, more than any buffer holds, and those that were sent before it was open."""
        from twisted.internet import reactor

        client = await openWebSocket(self, reactor, self.address)
        for _ in range(4):
            client.transport.write(LARGE)
        target = await self.came
        for _ in range(4):
            target.transport.write(MEGABYTE)
        await target.when(lambda: len(target.received) == 4 * len(MEGABYTE))
        self.assertEqual(target.received, 4 * MEGABYTE)
        target.transport.loseConnection()
        await client.when(lambda: client.received.endswith(b"Target closed"))
        *said, close = client.told()
        self.assertEqual(b"".join(message.payload for message in said), 4 * MEGABYTE)
        self.assertEqual(close, Message(CLOSE, b"\x03\xe8Target closed"))

    async def test_stalledTarget(self) -> None:
        """A target that does not read holds the client back, though what returns its bytes cannot."""
        client, target = await self.pair()
        target.transport.pauseProducing()
        held = Producer()
        client.transport.registerProducer(held, True)
        for _ in range(32):
            client.transport.write(LARGE)
        await held.paused
        client.transport.unregisterProducer()
        target.transport.resumeProducing()
        await target.when(lambda: len(target.received) == 32 * len(MEGABYTE))

    async def test_clientCloses(self) -> None:
        """When the client is done, so is the target, in good order."""
        client, target = await self.pair()
        client.send(Frame(BINARY, b"last words"), Frame(CLOSE, b"\x03\xe8"))
        await target.when(lambda: target.lost is not None)
        self.assertEqual(target.received, b"last words")
        await client.gone()
        await self.factory.sessions.whenIdle()

    async def test_noServer(self) -> None:
        """What answers with something else than a WebSocket is no target, and soon so."""
        from twisted.internet import reactor

        self.inner.refuseNew()
        client = await openWebSocket(self, reactor, self.address)
        await client.when(lambda: bool(client.told()))
        self.assertEqual(client.told(), [Message(CLOSE, b"\x03\xf3Target closed the connection")])

    async def test_closeAll(self) -> None:
        """The end of the proxy is one Close, and the end of the session."""
        client, _ = await self.pair()
        done = self.factory.closeAll()
        await client.when(lambda: bool(client.told()))
        self.assertEqual(client.told(), [Message(CLOSE, b"\x03\xe9Server going down")])
        client.send(Frame(CLOSE, b"\x03\xe9"))
        await done


class UnpumpedAutobahnTests(AutobahnTests):
    pump = False


class Producer:
    """Knows when it has been paused."""

    def __init__(self) -> None:
        self.paused: Deferred[None] = Deferred()

    def pauseProducing(self) -> None:
        if not self.paused.called:
            self.paused.callback(None)

    def resumeProducing(self) -> None: ...

    def stopProducing(self) -> None: ...


class FaultyTap:
    """Raises something in one call, where its client asked for it."""

    def __init__(self, kind: type[BaseException], call: str, session: Session) -> None:
        self._kind = kind
        if "x-offends" in session.request.headers:
            setattr(self, call, self._raise)

    def _raise(self, *_: object) -> None:
        raise self._kind("secret")

    def fromClient(self, *_: object) -> None: ...

    toTarget = fromTarget = toClient = close = fromClient


class _Serving(WholeTestCase):
    async def serve(self, **settings: Any) -> WebSockifyFactory:
        """Another proxy, at C{self.address}."""
        from twisted.internet import reactor

        factory = self.factory = self.makeFactory("demo:", **settings)
        self.address = await self.listen(reactor, factory)
        self.addCleanup(factory.closeAll)
        return factory


class FaultTests(_Serving):
    """Faults that a socket makes different."""

    def endpoint(self) -> Any:
        from twisted.internet import reactor

        if not self.secure:
            return self.address
        options = optionsForClientTLS("localhost", trustRoot=CERTIFICATE)
        return wrapClientTLS(options, clientFromString(reactor, self.address))

    async def assertTold(self, close: bytes) -> None:
        """A client is told this, and with it the session is over."""
        from twisted.internet import reactor

        client = await openWebSocket(self, reactor, self.endpoint())
        await client.when(lambda: bool(client.told()))
        self.assertEqual(client.told(), [Message(CLOSE, close)])
        client.send(Frame(CLOSE, close[:2]))
        await client.gone()
        await self.factory.sessions.whenIdle()

    async def test_dialer(self) -> None:
        """Exceptions of a dialer are for the log; they leave nothing behind."""

        def dial(session: Session, factory: Any) -> Any:
            raise KeyError("postgres://user:secret@db")

        await self.serve(dialer=dial)
        await self.assertTold(b"\x03\xf3Target unreachable")
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    async def test_dialerHangs(self) -> None:
        """A dialer that does not come back is not waited for."""
        await self.serve(dialer=lambda session, factory: Deferred(), connectTimeout=-0.9)  # and a second
        await self.assertTold(b"\x03\xf3Target timed out")

    async def test_tap(self) -> None:
        """A factory of taps that raises ends the session, not the proxy."""

        def watch(session: Any) -> Any:
            raise KeyError("secret")

        factory = await self.serve(taps=[watch])
        await self.assertTold(b"\x03\xf3Internal error")
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        await factory.closeAll()

    async def test_bystander(self) -> None:
        """A tap that raises, whatever that is, ends its session with 1011; the others relay on, and so do new ones."""
        from twisted.internet import reactor

        for kind in KINDS:
            for call in ("fromClient", "toTarget", "fromTarget", "toClient"):
                factory = await self.serve(taps=[partial(FaultyTap, kind, call)])
                bystander = await openWebSocket(self, reactor, self.endpoint())
                offender = await openWebSocket(self, reactor, self.endpoint(), "X-Offends: yes")
                offender.send(Frame(BINARY, b"hello\n"))
                await offender.when(lambda offender=offender: any(told.opcode == CLOSE for told in offender.told()))
                self.assertEqual(offender.told()[-1], Message(CLOSE, b"\x03\xf3Internal error"))
                self.assertEqual(len(self.flushLoggedErrors(kind)), 1)
                offender.send(Frame(CLOSE, b"\x03\xf3"))
                await offender.gone()
                for client in (bystander, await openWebSocket(self, reactor, self.endpoint())):
                    known = len(client.told())
                    client.send(Frame(BINARY, b"hello\n"))
                    await client.when(lambda client=client, known=known: len(client.told()) > known)
                    client.transport.abortConnection()
                await factory.sessions.whenIdle()

    async def test_shownPath(self) -> None:
        """So does whoever says what the log shows of a path, whatever that raises."""
        for kind in KINDS:

            def show(request: Request, kind: type[BaseException] = kind) -> str:
                raise kind("secret")

            await self.serve(shownPath=show)
            await self.assertTold(b"\x03\xf3Internal error")
            self.assertEqual(len(self.flushLoggedErrors(kind)), 1)

    async def leaveWhileDeciding(self, reset: bool) -> None:
        """A raw client that leaves while its resolver thinks."""
        from twisted.internet import reactor

        asked: Deferred[None] = Deferred()
        answer: Deferred[Target] = Deferred()

        def resolve(request: Request, identity: Identity | None) -> Deferred[Target]:
            asked.callback(None)
            return answer

        factory = await self.serve(resolver=resolve, raw=True)
        client = await connect(self, reactor, self.endpoint())
        client.transport.write(b"\x00raw")
        await asked
        client.transport.abortConnection() if reset else client.transport.loseConnection()
        await deferLater(reactor, 0.05)  # type: ignore[arg-type]  # it is a module
        answer.callback(Target("demo:"))
        await client.gone()
        await factory.closeAll()
        self.assertEqual(len(factory.sessions), 0)
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_leavesWhileDeciding(self) -> None:
        """A raw client that closes while its resolver thinks is no session that cannot be closed."""
        await self.leaveWhileDeciding(reset=False)

    async def test_resetsWhileDeciding(self) -> None:
        """Nor is one that resets the connection."""
        await self.leaveWhileDeciding(reset=True)


class SecureFaultTests(FaultTests):
    secure = True


class SilentTests(_Serving):
    """A target whose transport can do nothing, and says nothing."""

    timeout = 20

    async def test_silentTarget(self) -> None:
        """It is gone soon after its client: once it was waited for, and told to go."""
        from twisted.internet import reactor

        def dial(session: Session, factory: Any) -> Any:
            protocol = factory.buildProtocol(None)
            protocol.makeConnection(StringTransport())
            return protocol

        factory = await self.serve(dialer=dial)
        client = await openWebSocket(self, reactor, self.address)
        client.transport.abortConnection()
        await factory.sessions.whenIdle()


class CommandTests(TestCase):
    """A real C{twistd websockify} whose target takes connections, and says nothing."""

    timeout = 30

    async def test_mute(self) -> None:
        """A WebSocket server that does not answer has timed out; one that is waited for keeps nothing from ending."""
        mute = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(mute.close)
        target = autobahn(f"tcp:127.0.0.1:{mute.getsockname()[1]}")
        folder = Path(tempfile.mkdtemp(dir=".")).absolute()
        proxy = Proxy(folder, "--target", target, "--connect-timeout", "0.5")
        self.addCleanup(proxy.stop)
        port = await proxy.port()
        first, second = Client(stream(port)), Client(stream(port))
        await first.upgrade()
        self.assertEqual(await first.rest(), (b"", (1011, "Target timed out")))
        first.close()
        await second.upgrade()
        proxy.signal(signal.SIGTERM)
        self.assertEqual(await second.rest(), (b"", (1001, "Server going down")))
        second.close()
        self.assertEqual(await proxy.end(), 0)
        self.assertNotIn("Traceback", "\n".join(proxy.lines))


class UnpumpedFaultTests(FaultTests):
    pump = False
