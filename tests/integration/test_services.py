"""Other people's Twisted: services over C{websocket:}, and a path in the midst of Klein or of a WSGI application."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import Any

from klein import Klein
from twisted.cred.checkers import AllowAnonymousAccess
from twisted.cred.portal import Portal
from twisted.internet import reactor as _reactor
from twisted.internet.endpoints import TCP4ServerEndpoint, serverFromString
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.threads import deferToThread
from twisted.protocols.ftp import FTPFactory, FTPRealm
from twisted.python.failure import Failure
from twisted.python.filepath import FilePath
from twisted.trial.unittest import TestCase
from twisted.web.resource import IResource, Resource
from twisted.web.server import Site
from twisted.web.wsgi import WSGIResource
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.integration.twistd import TWISTD, start
from wsproxy import WebSockifyFactory, WebSockifyResource

reactor: Any = _reactor
_LISTEN = r"websocket:tcp\:0\:interface=127.0.0.1"


class Console(Protocol):
    transport: Any

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client has left."""


class ServiceTests(TestCase):
    """Services that know of no WebSocket, behind C{websocket:}."""

    timeout = 30

    async def test_words(self) -> None:
        """Somebody who has come by a WebSocket to twistd's IRC server talks with somebody else there."""
        words = ("--irc-port", _LISTEN, "--auth", "memory:al:sesame:bo:sesame")
        running = start(self, [TWISTD, "-n", "--pidfile=", "words", *words])
        port = await running.line(r" starting on (\d+)")
        url = f"ws://127.0.0.1:{port[1]}/"

        def talk() -> str:
            with _open(url) as al, _open(url) as bo:
                for name, peer in (("al", al), ("bo", bo)):
                    _ask(peer, f"PASS sesame\r\nNICK {name}\r\nUSER {name} x x :{name}", " 376 ")
                bo.send(b"PRIVMSG al :over a WebSocket\r\n")
                return _ask(al, "PING here", "over a WebSocket")

        self.assertIn("bo!bo@", await deferToThread(talk))

    async def test_ftp(self) -> None:
        """
        Files of Twisted's FTP server are fetched: commands by a WebSocket, data as it is said there. (C{twistd ftp}
        itself takes nothing but the number of a port.)
        """
        root = FilePath(self.mktemp())
        root.makedirs()
        root.child("notes").setContent(bytes(range(256)) * 1000)
        service = FTPFactory(Portal(FTPRealm(root.path), [AllowAnonymousAccess()]))
        listening = await serverFromString(reactor, _LISTEN).listen(service)
        self.addCleanup(listening.stopListening)
        url = f"ws://127.0.0.1:{listening.getHost().port}/"

        def talk() -> bytes:
            with _open(url) as peer:
                _ask(peer, "USER anonymous", "331")
                _ask(peer, "PASS al@here.example", "230")
                _ask(peer, "TYPE I", "200")
                *_, high, low = _ask(peer, "PASV", "227").rpartition("(")[2].partition(")")[0].split(",")
                with socket.create_connection(("127.0.0.1", int(high) * 256 + int(low)), 10) as data:
                    peer.send(b"RETR notes\r\n")
                    return b"".join(iter(lambda: data.recv(65536), b""))

        self.assertEqual(await deferToThread(talk), root.child("notes").getContent())


def _open(url: str) -> ClientConnection:
    return connect(url, subprotocols=[Subprotocol("binary")], compression=None)


def _ask(peer: ClientConnection, line: str, awaited: str) -> str:
    peer.send(f"{line}\r\n".encode())
    heard = ""
    while awaited not in heard or not heard.endswith("\n"):
        data = peer.recv(10)
        heard += data.decode() if isinstance(data, bytes) else data
    return heard


class ApplicationTests(TestCase):
    """A WebSocket at one path of an application that is somebody else's."""

    timeout = 20

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        console = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Factory.forProtocol(Console))
        self.addCleanup(console.stopListening)
        self.factory = WebSockifyFactory(
            reactor, resolver=lambda request, identity: f"127.0.0.1:{console.getHost().port}"
        )
        self.addCleanup(self.factory.closeAll)

    async def publish(self, root: Any) -> str:
        """@return: where this resource is."""
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Site(root))
        self.addCleanup(port.stopListening)
        return f"127.0.0.1:{port.getHost().port}"

    async def assertBeside(self, where: str) -> None:
        """The application answers at C{/hello}, to a POST as well, and the console at C{/console} and below."""

        def request(method: str) -> bytes:
            host, _, port = where.partition(":")
            with socket.create_connection((host, int(port)), 10) as peer:
                head = f"{method} /hello HTTP/1.1\r\nHost: {where}\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"
                peer.sendall(head.encode() + b"hello")
                return b"".join(iter(lambda: peer.recv(4096), b""))

        def echo(path: str) -> bytes | str:
            with connect(f"ws://{where}{path}", compression=None) as peer:
                peer.send(b"over there")
                return peer.recv(10)

        for method in ("GET", "POST"):
            answer = await deferToThread(request, method)
            self.assertTrue(answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer)
            self.assertIn(f"{method} 5".encode(), answer)
        for path in ("/console", "/console/red"):
            self.assertEqual(await deferToThread(echo, path), b"over there")

    async def test_klein(self) -> None:
        """A route of Klein may return the resource; other routes are its own."""
        application = Klein()

        @application.route("/hello", methods=["GET", "POST"])  # type: ignore[untyped-decorator]  # Klein's
        def hello(request: Any) -> str:
            return f"{request.method.decode()} {len(request.content.read())}"

        @application.route("/console", branch=True)  # type: ignore[untyped-decorator]  # Klein's
        def console(request: Any) -> IResource:
            return WebSockifyResource(self.factory)

        await self.assertBeside(await self.publish(application.resource()))

    async def test_wsgi(self) -> None:
        """A WSGI application is where it was, with the console among its paths."""

        def application(environ: dict[str, Any], begin: Callable[..., Any]) -> Iterable[bytes]:
            begin("200 OK", [("Content-Type", "text/plain")])
            size = len(environ["wsgi.input"].read())
            return [f"{environ['REQUEST_METHOD']} {size}".encode()]

        pages = WSGIResource(reactor, reactor.getThreadPool(), application)

        class Root(Resource):
            def getChild(self, path: bytes, request: Any) -> IResource:
                request.prepath.pop()
                request.postpath.insert(0, path)
                return pages

        root = Root()
        root.putChild(b"console", WebSockifyResource(self.factory))
        await self.assertBeside(await self.publish(root))
