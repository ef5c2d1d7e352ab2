"""A client in memory, as an embedder's test has it."""

from __future__ import annotations

import warnings
from typing import Any

from twisted.internet.defer import succeed
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.static import Data

from tests.certificates import selfSigned
from wsproxy import WebSockifyFactory
from wsproxy.errors import Close, Refusal
from wsproxy.interfaces import Identity, Request
from wsproxy.testing import MemoryClient


def consoles(request: Request, identity: Identity | None) -> str:
    if request.query.get("token") != "red":
        raise Refusal(403, "No such console")
    return "192.0.2.9:5900"


class ClientTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.factory = WebSockifyFactory(self.reactor, resolver=consoles, pages=Data(b"page", "text/plain"))

    def target(self) -> Any:
        """@return: the connection of the target that was dialled last, which answers."""
        transport: Any = StringTransport()
        transport.protocol = self.reactor.tcpClients[-1][2].buildProtocol(None)
        transport.protocol.makeConnection(transport)
        return transport

    def test_refused(self) -> None:
        """It is told why it may not."""
        client = MemoryClient(self.factory, "/?token=blue")
        self.assertEqual((client.status, client.reason), (403, "403 No such console\n"))
        client = MemoryClient(self.factory, "/?token=red", origin="https://elsewhere.example")
        self.assertEqual((client.status, client.messages, client.closed), (403, [], None))

    def test_accepted(self) -> None:
        """It is let in, and its target dialled."""
        client = MemoryClient(self.factory, "/?token=red", origin="http://proxy.example")
        self.assertEqual((client.status, client.headers["Sec-WebSocket-Protocol"]), (101, "binary"))
        self.assertEqual(self.reactor.tcpClients[0][:2], ("192.0.2.9", 5900))

    def test_converses(self) -> None:
        """What it sends arrives at its target, and what that says at it."""
        client = MemoryClient(self.factory, "/?token=red")
        target = self.target()
        client.send(b"ping")
        self.assertEqual(target.value(), b"ping")
        target.protocol.dataReceived(b"po")
        target.protocol.dataReceived(b"ng")
        self.assertEqual(b"".join(client.messages), b"pong")

    def test_closed(self) -> None:
        """It reads how the proxy closes."""
        client = MemoryClient(self.factory, "/?token=red", secure=True)
        self.assertEqual(client.status, 101)
        [session] = self.factory.sessions
        self.assertTrue(session.request.secure)
        session.close(Close(4001, "Expired"))
        self.assertEqual(client.closed, Close(4001, "Expired"))

    def test_closes(self) -> None:
        """It closes, and its session is over."""
        client = MemoryClient(self.factory, "/?token=red")
        self.target()
        client.close(1000, "Enough")
        self.assertEqual(client.closed, Close(1000, "Enough"))

    def test_originsAsked(self) -> None:
        """Which pages may connect an embedder may be asked, for clients that are no pages, too."""

        def allows(request: Request) -> bool:
            return (request.headers.get("origin") or "").endswith(".example")

        factory = WebSockifyFactory(self.reactor, resolver=lambda request, _: "demo:", origins=allows)
        for origin, status in (("https://a.example", 101), ("https://b.invalid", 403), (None, 403)):
            self.assertEqual(MemoryClient(factory, origin=origin).status, status, origin)

    def test_originsNonsense(self) -> None:
        """A callable that answers anything but a bool lets nobody in: neither a coroutine nor a Deferred is a yes."""

        async def later(request: Request) -> bool:
            return False

        answers: tuple[Any, ...] = (later, lambda _: succeed(False), lambda _: "no", lambda _: None, lambda _: 1)
        for allows in answers:
            factory = WebSockifyFactory(self.reactor, resolver=lambda request, _: "demo:", origins=allows)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # nobody has waited for the coroutine
                self.assertEqual(MemoryClient(factory, origin="https://a.example").status, 503)
            self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_certificate(self) -> None:
        """What it shows of itself is seen by those who decide."""
        seen: list[Request] = []

        def resolve(request: Request, identity: Identity | None) -> str:
            seen.append(request)
            return "demo:"

        factory = WebSockifyFactory(self.reactor, resolver=resolve)
        certificate = selfSigned("alice").certificate
        MemoryClient(factory, secure=True, certificate=certificate)
        self.assertEqual(seen[0].certificate, certificate)
