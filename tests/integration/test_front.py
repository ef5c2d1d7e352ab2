"""The port as strangers and ordinary programs meet it, over real connections."""

from __future__ import annotations

import contextlib  # not its suppress: trial takes a module attribute of that name for its own
import csv
import http.client
import json
import socket
import ssl
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.endpoints import SSL4ServerEndpoint, TCP4ServerEndpoint
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.certificates import LOCAL, Authority, pem
from tests.components import requireComponent
from tests.integration.client import frame
from tests.integration.fronts import HAProxy
from tests.integration.twistd import startTwistd
from wsproxy.access.resolver import FixedResolver
from wsproxy.config import TLSConfig
from wsproxy.factory import WebSockifyFactory
from wsproxy.interfaces import Target
from wsproxy.static_web.pages import OwnPages
from wsproxy.tls.server import ServerTLS

reactor: Any = _reactor

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
PAGE = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
LINES = b"a line\n" * 3


class FrontTestCase(TestCase):
    """Proxies in this process, whose target is C{demo:}."""

    timeout = 60

    def setUp(self) -> None:
        self.authority = Authority()
        issued = self.authority.issue(*LOCAL)
        self.certificate = self.file(issued.both)
        self.options: Any = PrivateCertificate.loadPEM(issued.both).options()
        self.factories: list[WebSockifyFactory] = []

    def file(self, content: bytes) -> str:
        path = Path(self.mktemp())
        path.write_bytes(content)
        return str(path.absolute())

    async def listen(self, endpointTLS: Any = None, **settings: Any) -> int:
        """@return: the port of a new proxy."""
        factory = WebSockifyFactory(reactor, resolver=FixedResolver(Target("demo:")), pages=OwnPages(), **settings)
        self.factories.append(factory)
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        if endpointTLS is not None:
            endpoint = SSL4ServerEndpoint(reactor, 0, endpointTLS, interface="127.0.0.1")
        listening = await endpoint.listen(factory)
        self.addCleanup(listening.stopListening)
        self.addCleanup(factory.closeAll)
        port: int = listening.getHost().port
        return port


class ALPNTests(FrontTestCase):
    """Programs that offer protocols, whoever speaks TLS: our own files, Twisted's options, the endpoint."""

    async def ports(self) -> list[int]:
        return [
            await self.listen(tls=ServerTLS(TLSConfig(self.certificate))),
            await self.listen(tls=self.options),
            await self.listen(self.options),
        ]

    async def test_curl(self) -> None:
        """curl has the page, whether it would like HTTP/2 or not."""
        curl = requireComponent("curl")
        for port in await self.ports():
            for offer in ("--http1.1", "--http2", "--no-alpn"):
                url = f"https://127.0.0.1:{port}/"
                command = [curl, "-sk", "--noproxy", "*", "-o", "/dev/null", "-w", "%{http_code} %{http_version}"]
                command += [offer, url]
                done = await deferToThread(subprocess.run, command, capture_output=True, timeout=20)
                self.assertEqual(done.stdout, b"200 1.1", (port, offer, done.stderr))

    async def test_openssl(self) -> None:
        """http/1.1 is what is agreed on."""
        openssl = requireComponent("openssl")
        for port in await self.ports():
            command = [openssl, "s_client", "-connect", f"127.0.0.1:{port}", "-alpn", "h2,http/1.1"]
            done = await deferToThread(subprocess.run, command, capture_output=True, input=b"", timeout=20)
            self.assertIn(b"ALPN protocol: http/1.1", done.stdout, port)


class VerifyClientTests(FrontTestCase):
    async def test_plaintext(self) -> None:
        """With C{--verify-client} nobody gets in who shows no certificate, by whatever way."""
        authorities = self.file(pem(self.authority.certificate))
        running = startTwistd(
            self,
            *("--listen", "127.0.0.1:0", "--target", "demo:", "--raw", "--raw-after", "0.2"),
            *("--handshake-timeout", "2", "--cert", self.certificate, "--verify-client", "--cafile", authorities),
            options=["--pidfile="],
        )
        port = int((await running.line(r"Listening on 127.0.0.1:(\d+) \(https\)"))[1])

        def said(data: bytes, context: ssl.SSLContext | None = None) -> bytes:
            with socket.create_connection(("127.0.0.1", port), 20) as client:
                stream = client if context is None else context.wrap_socket(client, server_hostname="localhost")
                stream.sendall(data)
                with contextlib.suppress(ConnectionError, ssl.SSLError):
                    return _until(stream, 100)
                return b"reset"

        context = ssl.create_default_context(cadata=pem(self.authority.certificate).decode())
        for data in (UPGRADE, PAGE, b"HELO there\r\n"):
            self.assertStartsWith(await deferToThread(said, data), b"HTTP/1.1 400 ")
        for data in (b"", b"\0\0\0\0", b"<policy-file-request/>\0"):
            self.assertIn(await deferToThread(said, data), (b"", b"reset"), data)
        self.assertEqual(await deferToThread(said, UPGRADE, context), b"reset")
        context.load_cert_chain(self.file(self.authority.issue("somebody", client=True).both))
        self.assertStartsWith(await deferToThread(said, UPGRADE, context), b"HTTP/1.1 101 ")

    async def test_told(self) -> None:
        """A handshake that fails is a line in the log, with what cures it; one that a client leaves is none."""
        authorities = self.file(pem(self.authority.certificate))
        running = startTwistd(
            self,
            *("--listen", "127.0.0.1:0", "--target", "demo:", "--ssl-version", "tlsv1_3"),
            *("--cert", self.certificate, "--verify-client", "--cafile", authorities),
            options=["--pidfile="],
        )
        port = int((await running.line(r"Listening on 127.0.0.1:(\d+) \(https\)"))[1])

        def shake(context: ssl.SSLContext | None) -> None:
            with socket.create_connection(("127.0.0.1", port), 20) as client, contextlib.suppress(OSError):
                if context is not None:
                    context.wrap_socket(client, server_hostname="localhost").recv(1)

        def trusting() -> ssl.SSLContext:
            return ssl.create_default_context(cadata=pem(self.authority.certificate).decode())

        old, stranger = trusting(), trusting()
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        stranger.load_cert_chain(self.file(Authority().issue("somebody", client=True).both))
        for context, told in (
            (None, ""),
            (trusting(), "peer did not return a certificate: it shows no certificate, which --verify-client asks for"),
            (stranger, "certificate verify failed: its certificate is of no authority in --cafile"),
            (old, "unsupported protocol: it is too old: --ssl-version"),
            (ssl.create_default_context(), "alert unknown ca: it does not trust the certificate: is --cert the whole"),
        ):
            await deferToThread(shake, context)
            if told:
                await running.line(rf"127\.0\.0\.1:\d+ TLS handshake failed: .*{told}")
        outcome = await running.stop()
        self.assertEqual(outcome.out.count("TLS handshake failed"), 4)

    def assertStartsWith(self, text: bytes, start: bytes) -> None:
        self.assertEqual(text[: len(start)], start)


class VanishingTests(FrontTestCase):
    """Clients that leave in the middle of anything, beside one that is served all the while."""

    @contextlib.contextmanager
    def session(self, port: int) -> Iterator[Callable[[], None]]:
        """A session, and what makes sure that it goes on."""
        with socket.create_connection(("127.0.0.1", port), 20) as client:
            client.sendall(UPGRADE)
            while not client.recv(1, socket.MSG_PEEK) or b"\r\n\r\n" not in client.recv(1000, socket.MSG_PEEK):
                pass
            _until(client, 1, b"\r\n\r\n")

            def check() -> None:
                client.sendall(frame(b"hello\n"))
                _until(client, 1, b"hello")

            check()
            yield check

    async def vanish(self, port: int, conversations: list[bytes], step: int) -> None:
        """Send each up to any point, and reset, end, or end and reset the connection; meanwhile one goes on."""

        def run() -> None:
            with self.session(port) as check:
                for data in conversations:
                    for number, size in enumerate(range(0, len(data) + 1, step)):
                        _leave(port, data[:size], number % 3)
                    check()

        await deferToThread(run)
        for factory in self.factories:
            while factory.connections:
                await deferLater(reactor, 0.01)
            await factory.sessions.whenIdle()  # their targets may be a moment later

    async def test_plain(self) -> None:
        """HTTP, upgrades, what comes behind them, and plain TCP that is passed through."""
        port = await self.listen(raw=True, rawAfter=0.2)
        talk = UPGRADE + frame(LINES) * 3
        await self.vanish(port, [PAGE + talk, PAGE * 3, talk, b"<policy-file-request/>\0", b"SSH-2.0-x\r\n" + LINES], 3)

    async def test_secure(self) -> None:
        """A TLS handshake, whoever speaks it."""
        hello = _hello()
        for settings in ({"tls": self.options}, {"tls": ServerTLS(TLSConfig(self.certificate))}):
            await self.vanish(await self.listen(**settings), [hello], 29)
        port = await self.listen(self.options)
        self.factories.pop()
        for size in range(0, len(hello), 29):
            await deferToThread(_leave, port, hello[:size], size % 3)


class CheckTests(FrontTestCase):
    async def test_haproxy(self) -> None:
        """HAProxy's C{option httpchk}, as it is by default, finds the proxy in good health."""
        port = await self.listen()
        check = f"option httpchk\nserver proxy 127.0.0.1:{port} check inter 100"
        front = HAProxy({"here": check, "stats": "stats enable\nstats uri /stats"})
        self.addCleanup(front.stop)

        def checked() -> str:
            """What the first check has come to."""
            while True:
                connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=20)
                connection.request("GET", "/stats/;csv")
                lines = connection.getresponse().read().decode().splitlines()
                connection.close()
                rows = list(csv.DictReader([lines[0].removeprefix("# "), *lines[1:]]))
                status = next((row["check_status"] for row in rows if row["svname"] == "proxy"), "")
                if status.startswith("L"):
                    return status

        self.assertEqual(await deferToThread(checked), "L7OK")


class ExplanationTests(FrontTestCase):
    async def test_page(self) -> None:
        """A page of another origin is told that it is refused for that; one of this origin that it is not."""
        port = await self.listen()

        def ask(referer: str) -> Any:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            try:
                headers = {"Accept": "application/wsproxy-refusal+json", "Referer": referer}
                connection.request("GET", "/any?token=x", headers=headers)
                return json.loads(connection.getresponse().read())
            finally:
                connection.close()

        self.assertEqual((await deferToThread(ask, "https://evil.example/"))["status"], 403)
        self.assertEqual(await deferToThread(ask, f"http://127.0.0.1:{port}/"), {"status": 101, "reason": ""})


def _until(stream: Any, size: int, end: bytes = b"") -> bytes:
    """What comes, to its end, for at least so many bytes, and up to C{end}."""
    data = b""
    while len(data) < size or end not in data:
        part: bytes = stream.recv(65536)
        if not part:
            return data
        data += part
    return data


def _leave(port: int, data: bytes, way: int) -> None:
    """Send this, and be gone: reset at once, end, or reset with an answer unread."""
    client = socket.create_connection(("127.0.0.1", port), 20)
    with client, contextlib.suppress(ConnectionError):
        if way != 1:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if data:
            client.sendall(data)
        if way == 2:
            client.shutdown(socket.SHUT_WR)


def _hello() -> bytes:
    """How a TLS client begins."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()
