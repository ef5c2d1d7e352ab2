"""Twisted's own tests of its TCP transports, over WebSocket: C{websocket:} on the one side, C{ws:} on the other.

Of C{twisted.internet.test} and C{twisted.test.test_tcp} these do not apply, and why:

- C{test_logPrefix}: data is told in the log context of the connection beneath, which is not the protocol's.
- C{test_serverAbortsConnectionTwice}, C{…ThenLosesConnection}: they want no timer left when both protocols have ended,
  where the session still says 1011 to its client, and waits for the answer. L{TransportTests.test_abort} has the rest.
- C{StreamTransportTestsMixin}, C{TCPPortTestsMixin}: of listening ports, which are the inner endpoint's.
- C{StreamClientTestsMixin}, C{TCPConnectorTestsBuilder}: of C{connectTCP} and its connectors, which endpoints have not.
- C{HalfCloseTests}: a WebSocket has no half of an end; what there is of it, L{HalfCloseTests} here has.
- C{ProperlyCloseFilesTests}, C{LocalRemoteAddressTests}: of sockets, and who opens them.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, IReactorTCP, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.internet.test.connectionmixins import ConnectionTestsMixin, EndpointCreator
from twisted.internet.test.reactormixins import ReactorBuilder
from twisted.internet.test.test_tcp import AbortConnectionMixin
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from wsproxy.errors import DialError

reactor: Any = _reactor


class WebSocketCreator(EndpointCreator):  # type: ignore[misc]  # it has no types
    def server(self, reactor: Any) -> Any:
        return serverFromString(reactor, r"websocket:tcp\:0\:interface=127.0.0.1")

    def client(self, reactor: Any, serverAddress: Any) -> Any:
        return clientFromString(reactor, f"ws:127.0.0.1:{serverAddress.port}")


class ConnectionTests(ReactorBuilder):  # type: ignore[misc]  # it has no types
    """What holds of most transports."""

    requiredInterfaces = (IReactorTCP,)
    endpoints = WebSocketCreator()

    test_writeAfterDisconnect = ConnectionTestsMixin.test_writeAfterDisconnect
    test_protocolGarbageAfterLostConnection = ConnectionTestsMixin.test_protocolGarbageAfterLostConnection


class AbortTests(ReactorBuilder):  # type: ignore[misc]  # it has no types
    """C{abortConnection}, from wherever it is called."""

    requiredInterfaces = (IReactorTCP,)
    endpoints = WebSocketCreator()

    runAbortTest = AbortConnectionMixin.runAbortTest
    test_dataReceivedAbort = AbortConnectionMixin.test_dataReceivedAbort
    test_clientAbortsConnectionTwice = AbortConnectionMixin.test_clientAbortsConnectionTwice
    test_clientAborts = AbortConnectionMixin.test_clientAbortsConnectionThenLosesConnection
    test_resumeProducingAbort = AbortConnectionMixin.test_resumeProducingAbort
    test_resumeProducingAbortLater = AbortConnectionMixin.test_resumeProducingAbortLater
    test_fullWriteBuffer = AbortConnectionMixin.test_fullWriteBuffer
    test_fullWriteBufferAfterByteExchange = AbortConnectionMixin.test_fullWriteBufferAfterByteExchange
    test_dataReceivedThrows = AbortConnectionMixin.test_dataReceivedThrows
    test_resumeProducingThrows = AbortConnectionMixin.test_resumeProducingThrows


for _builder in (ConnectionTests, AbortTests):
    _classes = _builder.makeTestCaseClasses()  # one for each reactor; the one that everybody has will do
    globals().update({name: kind for name, kind in _classes.items() if "EPoll" in name})


class Side(Protocol):
    """One side of a connection, which keeps what it hears."""

    transport: Any

    def __init__(self) -> None:
        self.heard = bytearray()
        self.lost: Deferred[Failure | None] = Deferred()
        self.made: Deferred[Side] = Deferred()
        self.why: Any = None
        self._waiting: list[tuple[int, Deferred[None]]] = []

    def connectionMade(self) -> None:
        self.made.callback(self)

    def dataReceived(self, data: bytes) -> None:
        self.heard += data
        for size, waiting in self._waiting[:]:
            if len(self.heard) >= size:
                self._waiting.remove((size, waiting))
                waiting.callback(None)

    def hears(self, size: int) -> Deferred[None]:
        waiting: Deferred[None] = Deferred()
        self._waiting.append((size, waiting))
        self.dataReceived(b"")
        return waiting

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.why = reason.value
        self.lost.callback(None)


@implementer(IHalfCloseableProtocol)
class HalfSide(Side):
    def __init__(self) -> None:
        super().__init__()
        self.ended: Deferred[None] = Deferred()

    def readConnectionLost(self) -> None:
        self.ended.callback(None)

    def writeConnectionLost(self) -> None:
        """Nothing to do."""


class Producer:
    """Writes for as long as it is let."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.paused = False
        self.written = 0

    def write(self, size: int) -> None:
        while not self.paused and self.written < size:
            self.side.transport.write(bytes(1 << 20))
            self.written += 1 << 20

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False

    def stopProducing(self) -> None:
        self.paused = True


class PairCase(TestCase):
    timeout = 5

    async def pair(self, server: str = "", client: str = "", kind: type[Side] = Side) -> tuple[Any, Any]:
        """Both sides of a new connection, the server's first."""
        ours: list[Side] = []

        def build() -> Side:
            ours.append(kind())
            return ours[-1]

        listening = await serverFromString(
            reactor, rf"websocket:tcp\:0\:interface=127.0.0.1{server}"
        ).listen(Factory.forProtocol(build))
        self.addCleanup(listening.stopListening)
        endpoint = clientFromString(reactor, f"ws:127.0.0.1:{listening.getHost().port}{client}")
        theirs = await endpoint.connect(Factory.forProtocol(kind))
        await theirs.made
        while not ours:
            await deferLater(reactor, 0.01)
        await ours[0].made

        async def leave() -> None:
            for side in (theirs, ours[0]):
                if side.why is None:
                    side.transport.abortConnection()
            await gatherResults([Deferred.fromCoroutine(self._gone(side)) for side in (theirs, ours[0])])
            await theirs.web.gone

        theirs.web = theirs.transport
        self.addCleanup(lambda: Deferred.fromCoroutine(leave()))
        return ours[0], theirs

    async def _gone(self, side: Side) -> None:
        if side.why is None:
            await side.lost


class TransportTests(PairCase):
    async def test_interfaces(self) -> None:
        """Both sides have what TCP's have, and the addresses of the two ends of the connection."""
        server, client = await self.pair()
        for side in (server, client):
            verifyObject(ITCPTransport, side.transport)
            side.transport.setTcpNoDelay(True)
            self.assertTrue(side.transport.getTcpNoDelay())
        self.assertEqual(server.transport.getPeer(), client.transport.getHost())
        self.assertEqual(server.transport.getHost(), client.transport.getPeer())

    async def test_bytes(self) -> None:
        """Bytes go both ways, megabytes of them, in order, however they were written."""
        server, client = await self.pair()
        said = bytes(range(256)) * 8192
        for one, other in ((server, client), (client, server)):
            one.transport.write(said[:1000])
            one.transport.writeSequence([said[1000:2000], b"", said[2000:]])
            await other.hears(len(said))
            self.assertEqual(other.heard, said)

    async def test_backpressure(self) -> None:
        """Who writes to somebody that does not read is paused soon, and resumed when that reads: in both directions."""
        server, client = await self.pair()
        for one, other in ((server, client), (client, server)):
            other.transport.pauseProducing()
            producer = Producer(one)
            one.transport.registerProducer(producer, True)
            last = -1
            while producer.written != last:  # what the kernel takes it takes in several turns
                last = producer.written
                producer.write(64 << 20)
                await deferLater(reactor, 0.1)
            self.assertTrue(producer.paused)
            self.assertLess(producer.written, 32 << 20)
            other.transport.resumeProducing()
            await other.hears(producer.written)
            while producer.paused:
                await deferLater(reactor, 0.01)
            one.transport.unregisterProducer()

    async def test_pullProducer(self) -> None:
        """A pull producer is asked for more until it unregisters; only then does a connection end that is to."""
        server, client = await self.pair()

        class Pull:
            def __init__(self, side: Side) -> None:
                self.side, self.times = side, 0

            def resumeProducing(self) -> None:
                self.times += 1
                self.side.transport.write(b"x" * 1000)
                if self.times == 200:
                    self.side.transport.unregisterProducer()

            def stopProducing(self) -> None:
                raise AssertionError("it was not done")

        for one, other in ((server, client), (client, server)):
            one.transport.registerProducer(Pull(one), False)
            self.assertRaises(RuntimeError, one.transport.registerProducer, Pull(one), False)
            await other.hears(200_000)
        client.transport.registerProducer(Pull(client), False)
        client.transport.loseConnection()
        await server.hears(400_000)
        await server.lost

    async def test_pausedInConnectionMade(self) -> None:
        """A protocol that pauses as it begins hears nothing before it resumes, and then all of it."""

        class Paused(Side):
            def connectionMade(self) -> None:
                self.transport.pauseProducing()
                self.transport.write(b"hello")
                super().connectionMade()

        server, client = await self.pair(kind=Paused)
        await deferLater(reactor, 0.1)
        for side in (server, client):
            self.assertEqual(side.heard, b"")
            side.transport.resumeProducing()
            self.assertEqual(side.heard, b"")
            await side.hears(5)

    async def test_loseConnection(self) -> None:
        """All that was written arrives before the end, which is a clean one on both sides."""
        for turn in range(2):
            server, client = await self.pair()
            one, other = (server, client)[:: 1 - 2 * turn]
            one.transport.write(b"x" * 3_000_000)
            one.transport.loseConnection()
            one.transport.loseConnection()
            await gatherResults([one.lost, other.lost])
            self.assertEqual(len(other.heard), 3_000_000)
            for side in (one, other):
                self.assertIsInstance(side.why, ConnectionDone)
                side.transport.write(b"late")

    async def test_abort(self) -> None:
        """A connection that is dropped is lost to the other side, as after a reset."""
        for turn in range(2):
            server, client = await self.pair()
            one, other = (server, client)[:: 1 - 2 * turn]
            one.transport.abortConnection()
            await gatherResults([one.lost, other.lost])
            self.assertIsInstance(other.why, ConnectionLost)

    async def test_raising(self) -> None:
        """A protocol that raises loses its connection with that; the other side loses it, too."""

        class Raising(Side):
            def dataReceived(self, data: bytes) -> None:
                if data:
                    raise ZeroDivisionError("of a test")

        for turn in range(2):
            server, client = await self.pair(kind=Raising)
            one, other = (server, client)[:: 1 - 2 * turn]
            one.transport.write(b"x")
            await gatherResults([one.lost, other.lost])
            self.assertIsInstance(other.why, ZeroDivisionError)
            self.assertIsInstance(one.why, ConnectionLost)
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class HalfCloseTests(PairCase):
    async def test_writing(self) -> None:
        """
        Who ends what it says has said all of it, and hears the other side until that ends as well: of a service, all
        that a client says before its Close.
        """
        server, client = await self.pair(kind=HalfSide)
        client.transport.write(b"x" * 100_000)
        server.transport.write(b"y" * 100_000)
        server.transport.loseWriteConnection()
        await gatherResults([client.hears(100_000), client.lost])
        self.assertIsInstance(client.why, ConnectionDone)
        await server.hears(100_000)

    async def test_client(self) -> None:
        """A client's end is its service's end of reading; what that says then has nobody to hear it."""
        server, client = await self.pair(kind=HalfSide)
        client.transport.write(b"x" * 100_000)
        client.transport.loseWriteConnection()
        await server.ended
        self.assertEqual(len(server.heard), 100_000)
        server.transport.write(b"late")
        server.transport.loseConnection()
        await gatherResults([server.lost, client.lost])
        for side in (server, client):
            self.assertIsInstance(side.why, ConnectionDone)
        self.assertEqual(client.heard, b"")


class ArgumentTests(PairCase):
    async def test_all(self) -> None:
        """Path, subprotocol, name and password, and headers, of which the service knows by its session."""
        server, client = await self.pair(
            ":path=/ssh:subprotocol=ssh:user=al:password=secret",
            r":path=/ssh:subprotocol=ssh:user=al:password=secret:header=X-Some\: thing:header2=X-Other\: one",
        )
        self.assertEqual(client.transport.subprotocol, "ssh")
        self.assertEqual(server.transport.session.identity.name, "al")

    async def test_refused(self) -> None:
        """Who is refused is told by which status."""
        for server, client, words in (
            (":path=/ssh", ":path=/other", "404"),
            (":user=al:password=secret", "", "401"),
            (":origin=https\\://a.example", ":origin=https\\://b.example", "403"),
        ):
            error = await self.assertFailure(Deferred.fromCoroutine(self.pair(server, client)), DialError)
            self.assertIn(f"Target answered {words}", str(error))
