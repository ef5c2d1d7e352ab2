"""Targets that are WebSockets themselves, and the way back: C{--target wss://…}, C{--raw-only}."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.certificates import LOCAL, pem
from tests.integration.proxy import memory
from tests.integration.test_raw import AUTHORITY, Server, everything
from tests.integration.twistd import Running, startTwistd
from tests.integration.webserver import LibraryServer, echo, shake

LARGE = os.urandom(1 << 20) * 2


class WebTargetCase(TestCase):
    timeout = 40

    async def proxy(self, *arguments: str, **environment: str) -> Running:
        running = startTwistd(self, "--listen", "127.0.0.1:0", *arguments, options=("--pidfile=",), **environment)
        self.port = int((await running.line(r" starting on (\d+)"))[1])
        return running

    def library(self, handler: Any = echo, tls: ssl.SSLContext | None = None) -> LibraryServer:
        server = LibraryServer(handler, tls)
        self.addCleanup(server.close)
        return server

    def ending(self, words: bytes = b"") -> Any:
        """Fires with the close code and reason of a client that says this, and what it heard before."""

        def converse() -> tuple[int, str, bytes]:
            heard = b""
            with connect(f"ws://127.0.0.1:{self.port}/", compression=None, close_timeout=3) as client:
                if words:
                    client.send(words)
                try:
                    while True:
                        heard += client.recv(20)  # type: ignore[operator]  # bytes, for we are sent no text
                except ConnectionClosed as error:
                    assert error.rcvd is not None, error
                    return error.rcvd.code, error.rcvd.reason, heard

        return deferToThread(converse)


class TargetTests(WebTargetCase):
    async def test_session(self) -> None:
        """Bytes go both ways through it; its path and query reach the server, and the log has no query."""
        server = self.library()
        proxy = await self.proxy("--target", f"ws://al:pass@127.0.0.1:{server.port}/con?token=s3cret")

        def converse() -> bytes:
            with connect(f"ws://127.0.0.1:{self.port}/", compression=None) as client:
                got = b""
                for at in range(0, len(LARGE), 100_000):
                    client.send(LARGE[at : at + 100_000])
                    while len(got) < min(at + 100_000, len(LARGE)):
                        got += client.recv(20)  # type: ignore[operator]  # bytes, for we are sent no text
                return got

        self.assertEqual(await deferToThread(converse), LARGE)
        self.assertEqual(server.asked, [("/con?token=s3cret", "binary", "Basic YWw6cGFzcw==")])
        await proxy.line(f"→ ws://127.0.0.1:{server.port}/con\\?… ")
        await proxy.line("closed by client: 1000")
        outcome = await proxy.stop()
        for secret in ("s3cret", "pass"):
            self.assertNotIn(secret, outcome.out + outcome.err)

    async def test_closeCodes(self) -> None:
        """Its close code and reason are the client's, but for what is between the two of us."""
        said: list[tuple[int, str]] = []

        def close(connection: Any) -> None:
            connection.send(b"last words")
            connection.close(*said[-1])

        server = self.library(close)
        proxy = await self.proxy("--target", f"ws://127.0.0.1:{server.port}/")
        for closed, told in (
            ((1000, ""), (1000, "Target closed")),
            ((1000, "all done"), (1000, "all done")),
            ((1001, "restart"), (1001, "restart")),
            ((1011, "Target refused the connection"), (1011, "Target refused the connection")),
            ((1013, "later"), (1013, "later")),
            ((4001, "Token expired"), (4001, "Token expired")),
            ((1002, "our fault"), (1011, "Target connection lost")),
        ):
            said.append(closed)
            self.assertEqual(await self.ending(), (*told, b"last words"))
        await proxy.line("closed by target: 4001 Token expired")

    async def test_badServers(self) -> None:
        """Whatever answers in the place of a WebSocket: the client reads what it was, within the time."""
        behaviours: list[Callable[[socket.socket], Any]] = []
        server = Server(lambda client: behaviours[-1](client))  # noqa: PLW0108  # whichever is the last then
        self.addCleanup(server.close)
        await self.proxy("--target", f"ws://127.0.0.1:{server.port}/?s3cret", "--connect-timeout", "1")

        def says(words: bytes) -> Callable[[socket.socket], None]:
            def say(client: socket.socket) -> None:
                client.recv(65536)
                client.sendall(words)
                everything(client)

            return say

        def leaves(client: socket.socket) -> None:
            client.recv(65536)

        def lies(client: socket.socket) -> None:
            shake(client)
            client.sendall(b"\x82\x05hello\x82\x85\0\0\0\0world")
            everything(client)

        def vanishes(client: socket.socket) -> None:
            shake(client)
            client.sendall(b"\x82\x05hello")

        lost = (1011, "Target connection lost", b"hello")
        for behaviour, told in (
            (everything, (1011, "Target timed out", b"")),
            (leaves, (1011, "Target closed the connection during the WebSocket handshake", b"")),
            (says(b"HTTP/1.1 403 Forbidden\r\nX: y\r\n\r\nno"), (1011, "Target answered 403 Forbidden", b"")),
            (says(b"RFB 003.008\n"), (1011, "Target speaks no HTTP", b"")),
            (says(b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
             (1011, "Target answered 101, but not to this handshake", b"")),
            (says(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70000), (1011, "Target answered more than 65536 bytes", b"")),
            (lies, lost),
            (vanishes, lost),
        ):  # fmt: skip
            behaviours.append(behaviour)
            self.assertEqual(await self.ending(), told)

    async def test_stalled(self) -> None:
        """A target that does not read, and a client that does not, cost a bounded buffer; the session can be ended."""

        def deaf(client: socket.socket) -> None:
            shake(client)
            with contextlib.suppress(OSError):
                client.sendall((b"\x82\x7f" + (1 << 20).to_bytes(8, "big") + bytes(1 << 20)) * 48)

        server = Server(deaf)
        self.addCleanup(server.close)
        proxy = await self.proxy("--target", f"ws://127.0.0.1:{server.port}/")

        def stall() -> int:
            with socket.create_connection(("127.0.0.1", self.port), 10) as client:
                head = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
                client.sendall((head + key).encode())
                client.recv(12)
                before = memory(proxy.pid)
                client.settimeout(1)
                with contextlib.suppress(TimeoutError):
                    for _ in range(64):
                        client.sendall(b"\x82\xff" + (1 << 20).to_bytes(8, "big") + bytes(4 + (1 << 20)))
                    self.fail("it takes everything")
                return memory(proxy.pid) - before

        self.assertLess(await deferToThread(stall), 6 << 20)
        await proxy.line("closed by client: 1006")

    async def test_tls(self) -> None:
        """A certificate is verified, by C{--target-cafile} where that is given; C{--target-insecure} takes any."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "cert.pem").write_bytes(AUTHORITY.issue(*LOCAL).both)
        (folder / "ca.pem").write_bytes(pem(AUTHORITY.certificate))
        context.load_cert_chain(folder / "cert.pem")
        server = self.library(echo, context)
        url = f"wss://localhost:{server.port}/"
        for options, told in (
            ((), (1011, "Target TLS: certificate verify failed: unknown authority", b"")),
            (("--target-cafile", str((folder / "ca.pem").absolute())), (4123, "so long", b"")),
            (("--target-insecure",), (4123, "so long", b"")),
        ):
            await self.proxy("--target", url, *options)
            self.assertEqual(await self.ending(b"bye"), told)

    async def test_reach(self) -> None:
        """C{--allow-target} holds for it, where a token names it."""
        server = self.library()
        tokens = Path(self.mktemp()).absolute()
        tokens.write_text(f"a: ws://127.0.0.1:{server.port}/x?s3cret\n")
        arguments = ("--token-plugin", "TokenFile", "--token-source", str(tokens))

        def status() -> Any:
            try:
                with connect(f"ws://127.0.0.1:{self.port}/?token=a", compression=None) as client:
                    client.send(b"hello")
                    return client.recv(20)
            except Exception as error:
                return error.response.status_code  # type: ignore[attr-defined]  # an InvalidStatus

        await self.proxy(*arguments, "--allow-target", "10.0.0.0/8")
        self.assertEqual(await deferToThread(status), 403)
        await self.proxy(*arguments, "--allow-target", "127.0.0.0/8")
        self.assertEqual(await deferToThread(status), b"hello")

    async def test_secretElsewhere(self) -> None:
        """Its URL may be in the environment, or in a file; a literal secret is warned of, and not repeated."""
        server = self.library()
        url = f"ws://127.0.0.1:{server.port}/?s3cret"
        await self.proxy("--target", "env:CONSOLE", CONSOLE=url)
        self.assertEqual((await self.ending(b"bye"))[0], 4123)
        proxy = await self.proxy("--target", url)
        await proxy.line("--target ws://127.0.0.1:.* all users of this machine can read it")
        outcome = await proxy.stop()
        self.assertNotIn("s3cret", outcome.out + outcome.err)


class RawOnlyTests(WebTargetCase):
    """The way back: clients that know no WebSocket, through one."""

    def talk(self, words: bytes, size: int) -> Any:
        """Fires with so many bytes of what comes back of these."""

        def converse() -> bytes:
            with socket.create_connection(("127.0.0.1", self.port), timeout=10) as client:
                client.sendall(words)
                got = b""
                while len(got) < size and (data := client.recv(65536)):
                    got += data
                return got

        return deferToThread(converse)

    async def test_anything(self) -> None:
        """Whatever a client speaks is passed on as it is: HTTP, TLS, an upgrade, a Flash policy request."""
        server = self.library()
        proxy = await self.proxy("--raw-only", "--target", f"ws://127.0.0.1:{server.port}/")
        http = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"
        for words in (http, b"\x16\x03\x01", b"<policy-file-request/>\0", b"?"):
            self.assertEqual(await self.talk(words, len(words)), words)
        await proxy.line(r"Listening on 127.0.0.1:\d+ \(raw\)")

    async def test_serverFirst(self) -> None:
        """A server that speaks first is heard at once."""
        server = self.library(lambda connection: connection.send(b"SSH-2.0-x\r\n") or connection.recv(20))
        await self.proxy("--raw-only", "--target", f"ws://127.0.0.1:{server.port}/")
        self.assertEqual(await self.talk(b"", 11), b"SSH-2.0-x\r\n")

    async def test_throughProxies(self) -> None:
        """Two proxies, a TCP client in front of the one, a TCP server behind the other; the end arrives, too."""

        def serve(client: socket.socket) -> None:
            with contextlib.suppress(OSError):
                client.sendall(b"hello\n")
                client.sendall(client.recv(65536))

        target = Server(serve)
        self.addCleanup(target.close)
        await self.proxy("--target", f"127.0.0.1:{target.port}")
        await self.proxy("--raw-only", "--target", f"ws://127.0.0.1:{self.port}/")
        self.assertEqual(await self.talk(b"words", 100), b"hello\nwords")

    async def test_clashes(self) -> None:
        """What needs HTTP makes no sense with it."""
        running = startTwistd(self, "--raw-only", "--target", "ws://h/?s3cret", "--origin", "*")
        outcome = await running.end()
        self.assertEqual(outcome.status, 1)
        self.assertIn("--origin ['*']: clashes with --raw-only", outcome.err)
