"""Clients that speak neither TLS nor HTTP, passed to the target as they are (--raw)."""

from __future__ import annotations

import contextlib  # not its suppress: trial takes a module attribute of that name for its own
import os
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from websockets.sync.client import connect

from tests.certificates import LOCAL, Authority, pem
from tests.process.programs import until
from wsproxy.access.resolver import FixedResolver
from wsproxy.config import TLSConfig
from wsproxy.factory import WebSockifyFactory
from wsproxy.interfaces import Target
from wsproxy.static_web.pages import OwnPages
from wsproxy.tls.server import ServerTLS

reactor: Any = _reactor
AUTHORITY = Authority()
SECONDS = 10.0
LARGE = os.urandom(1 << 20) * 3


class Server(threading.Thread):
    """Serves one client after the other, in its own thread."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        super().__init__(daemon=True)
        self._serve = serve
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.start()

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                client.settimeout(SECONDS)
                with client, contextlib.suppress(OSError):
                    self._serve(client)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def everything(connection: socket.socket) -> bytes:
    """What the peer sends until its end-of-file."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def ask(words: bytes) -> Callable[[socket.socket], bytes]:
    """@return: what says this and hears the answer out."""

    def ask(client: socket.socket) -> bytes:
        client.sendall(words)
        return everything(client)

    return ask


def say(words: bytes) -> Callable[[socket.socket], bytes]:
    """@return: what says this, ends its side, and hears the answer out."""

    def say(client: socket.socket) -> bytes:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(words), 1 + len(words) // 100):
            client.sendall(words[at : at + 1 + len(words) // 100])
        client.shutdown(socket.SHUT_WR)
        return everything(client)

    return say


def replyAtEnd(client: socket.socket) -> None:
    """Says all it heard, once it has heard everything."""
    client.sendall(everything(client))


def greet(client: socket.socket) -> None:
    """Speaks first, ends its side, and then hears the client out."""
    client.sendall(b"220 hello\r\n")
    client.shutdown(socket.SHUT_WR)
    everything(client)


def reset(client: socket.socket) -> None:
    client.recv(1)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


class RawTests(TestCase):
    timeout = 30
    pump = True

    def serve(self, serve: Callable[[socket.socket], None], **settings: Any) -> WebSockifyFactory:
        """A proxy in front of this target."""
        target = Server(serve)
        self.addCleanup(target.close)
        return self.proxy(f"127.0.0.1:{target.port}", **settings)

    def proxy(self, target: str, **settings: Any) -> WebSockifyFactory:
        known: dict[str, Any] = {"raw": True, "rawAfter": 0.2, "pump": self.pump, "pages": OwnPages()}
        factory = WebSockifyFactory(reactor, resolver=FixedResolver(Target(target)), **(known | settings))
        listening = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(factory.closeAll)
        self.addCleanup(listening.stopListening)
        self.port = listening.getHost().port
        return factory

    def converse(self, conversation: Callable[[socket.socket], Any]) -> Deferred[Any]:
        def converse() -> Any:
            with socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS) as client:
                return conversation(client)

        return deferToThread(converse)

    async def test_firstBytes(self) -> None:
        """Whatever is not TLS and not HTTP arrives whole, however it begins and however it is cut."""
        self.serve(replyAtEnd)
        for words in (b"\x00\x01", b"SSH-2.0-x\r\n", b"GETS\n", b"\xff\xfb\x01", b"HELO x\r\n"):
            self.assertEqual(await self.converse(say(words)), words)

    async def test_much(self) -> None:
        """A client that ends its side still gets all of the answer."""
        proxy = self.serve(replyAtEnd)
        self.assertEqual(await self.converse(say(LARGE)), LARGE)
        await until(lambda: not len(proxy.sessions))

    async def test_undecided(self) -> None:
        """A client that ends while it might still have spoken HTTP did not."""
        self.serve(replyAtEnd)
        for words in b"", b"G", b"OPTIONS":
            self.assertEqual(await self.converse(say(words)), words)

    async def test_serverFirst(self) -> None:
        """A silent client hears a server that speaks first, and what it says after the server's end still arrives."""
        heard = b""

        def greetAndHear(client: socket.socket) -> None:
            nonlocal heard
            client.sendall(b"220 hello\r\n")
            client.shutdown(socket.SHUT_WR)
            heard = everything(client)

        proxy = self.serve(greetAndHear)

        def listen(client: socket.socket) -> bytes:
            greeting = everything(client)
            client.sendall(LARGE)
            return greeting

        self.assertEqual(await self.converse(listen), b"220 hello\r\n")
        await until(lambda: not len(proxy.sessions))
        self.assertEqual(await until(lambda: heard), LARGE)

    async def test_targetVanishes(self) -> None:
        """A target that resets the connection ends it; one that is not there ends it at once."""
        proxy = self.serve(reset)
        self.assertEqual(await self.converse(ask(b"\0")), b"")
        await until(lambda: not len(proxy.sessions))

    async def test_noTarget(self) -> None:
        """Where there is no target the client is closed."""
        self.proxy("unix:/nonexistent")
        self.assertEqual(await self.converse(everything), b"")

    async def test_clientVanishes(self) -> None:
        """A client that resets the connection takes the target's with it."""
        proxy = self.serve(replyAtEnd)
        await self.converse(reset_)
        await until(lambda: not len(proxy.sessions))

    async def test_goingDown(self) -> None:
        """Going down, the proxy ends plain connections, too."""
        proxy = self.serve(replyAtEnd)
        conversation = self.converse(ask(b"\0"))
        await until(lambda: len(proxy.sessions))
        await proxy.closeAll()
        self.assertEqual(await conversation, b"")

    async def test_heartbeat(self) -> None:
        """Nobody asks a plain client for signs of life: it could not answer."""
        self.serve(replyAtEnd, heartbeat=0.1)
        pause = threading.Event()
        reactor.callLater(0.6, pause.set)

        def speak(client: socket.socket) -> bytes:
            client.sendall(b"\0")
            pause.wait()
            client.shutdown(socket.SHUT_WR)
            return everything(client)

        self.assertEqual(await self.converse(speak), b"\0")

    async def test_web(self) -> None:
        """HTTP and WebSocket are served as without."""
        self.serve(greet)
        page = await self.converse(ask(b"GET / HTTP/1.0\r\n\r\n"))
        self.assertTrue(page.startswith(b"HTTP/1.0 200 OK"), page)

        def speak() -> object:
            with connect(f"ws://127.0.0.1:{self.port}/", compression=None) as client:
                return client.recv()

        self.assertEqual(await deferToThread(speak), b"220 hello\r\n")

    async def test_off(self) -> None:
        """Without it nothing but TLS and HTTP is answered."""
        self.serve(greet, raw=False)
        self.assertEqual(await self.converse(ask(b"\0")), b"")

    def secured(self, **settings: Any) -> dict[str, Any]:
        certificate = Path(self.mktemp()).absolute()
        certificate.parent.mkdir(parents=True, exist_ok=True)
        certificate.write_bytes(AUTHORITY.issue(*LOCAL).both)
        return {"tls": ServerTLS(TLSConfig(str(certificate))), **settings}

    def converseTLS(self, conversation: Callable[[socket.socket], Any]) -> Deferred[Any]:
        context = ssl.create_default_context(cadata=pem(AUTHORITY.certificate).decode())

        def converse(client: socket.socket) -> Any:
            with context.wrap_socket(client, server_hostname="localhost") as secured:
                return conversation(secured)

        return self.converse(converse)

    async def test_TLS(self) -> None:
        """Inside TLS it is the same: clients that speak, and clients that listen."""
        self.serve(greet, **self.secured(tlsOnly=True))
        self.assertEqual(await self.converseTLS(everything), b"220 hello\r\n")
        self.assertEqual(await self.converseTLS(ask(b"\0")), b"220 hello\r\n")

    async def test_TLSOnly(self) -> None:
        """Where only TLS is spoken, plain clients do not get through."""
        self.serve(greet, handshakeTimeout=1.0, **self.secured(tlsOnly=True))
        self.assertEqual(await self.converse(ask(b"\0")), b"")
        silent = await self.converse(lambda client: self.assertRaises(ConnectionResetError, client.recv, 1))
        self.assertIsNotNone(silent)

    async def test_foreignTLS(self) -> None:
        """Where no TLS is spoken it is the target's."""
        self.serve(replyAtEnd)
        hello = b"\x16\x03\x01\x00\x05hello"
        self.assertEqual(await self.converse(say(hello)), hello)


def reset_(client: socket.socket) -> None:
    """Speak, and vanish."""
    client.sendall(b"\0")
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


class UnpumpedRawTests(RawTests):
    """The same through Twisted's transports."""

    pump = False
