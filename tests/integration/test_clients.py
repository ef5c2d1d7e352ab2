"""
The client as it really is, behind real proxies and before a real target: HAProxy and nginx in front, nginx behind.

Clients, proxies in front and we ourselves have addresses of their own on loopback.
"""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.tcp import Connection
from twisted.internet.threads import blockingCallFromThread, deferToThread
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource

from tests.certificates import LOCAL, Authority, pem
from tests.integration.client import frame
from tests.integration.fronts import Front, HAProxy, Nginx, NginxStream
from tests.integration.test_raw import LARGE, Server
from tests.integration.twistd import startTwistd
from wsproxy.access.resolver import FixedResolver
from wsproxy.config import TLSConfig
from wsproxy.factory import WebSockifyFactory
from wsproxy.frontend.explanation import TYPE
from wsproxy.interfaces import Session, Target
from wsproxy.static_web.pages import OwnPages
from wsproxy.tls.server import ServerTLS

reactor: Any = _reactor

CLIENT, FRONT, STRANGER = "127.0.0.9", "127.0.0.5", "127.0.0.66"

UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nOrigin: {origin}\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
)
TELLS = (
    'return "$proxy_protocol_addr $proxy_protocol_port to $proxy_protocol_server_addr $proxy_protocol_server_port\n";'
)
"""What nginx says of a header that it was sent."""


class Visit:
    """
    One client's connection. Blocking: for a thread.

    @ivar own: its port.
    """

    def __init__(self, port: int, source: str = CLIENT, tls: ssl.SSLContext | None = None, before: bytes = b"") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 20, (source, 0))
        self.own: int = self.socket.getsockname()[1]
        self.socket.sendall(before)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")

    def upgrade(
        self, path: str = "/", *headers: str, host: str = "console.example", origin: str = "http://console.example"
    ) -> int:
        """@return: the status."""
        more = "".join(f"{header}\r\n" for header in headers)
        self.socket.sendall(UPGRADE.format(path=path, host=host, origin=origin, more=more).encode())
        return self.status()

    def get(self, path: str = "/", *headers: str) -> int:
        """@return: the status."""
        lines = "".join(f"{header}\r\n" for header in headers)
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{lines}\r\n".encode())
        return self.status()

    def status(self) -> int:
        """@return: that of the response; 0 where there is none."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = self.some(1)
            if not byte:
                return 0
            head += byte
        return int(head.split()[1])

    def some(self, size: int = 65536) -> bytes:
        try:
            return self.socket.recv(size)
        except ConnectionError:
            return b""

    def exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            part = self.some(size - len(data))
            assert part, "closed"
            data += part
        return bytes(data)

    def message(self) -> bytes:
        """@return: the payload of the next frame."""
        size = self.exactly(2)[1] & 127
        if size > 125:
            size = int.from_bytes(self.exactly(2 if size == 126 else 8), "big")
        return self.exactly(size)

    def close(self) -> None:
        self.socket.close()


class Known:
    """A tap, for who is known by what; it keeps the session, and watches nothing."""

    def __init__(self) -> None:
        self.sessions: list[Session] = []

    def __call__(self, session: Session) -> None:
        self.sessions.append(session)


class Checked(Resource):
    """C{checked} fires when it has been asked for twice."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.checked: Deferred[None] = Deferred()
        self._count = 0

    def render_GET(self, request: Any) -> bytes:
        self._count += 1
        if self._count == 2:
            self.checked.callback(None)
        return b"well"


class ClientTestCase(TestCase):
    timeout = 60

    def setUp(self) -> None:
        self.authority = Authority()
        self.certificate = self.file(self.authority.issue(*LOCAL).both)
        self.tls = ServerTLS(TLSConfig(self.certificate))
        self.context = ssl.create_default_context(cadata=pem(self.authority.certificate).decode())
        self.known = Known()
        self.events: list[Any] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def unpumped(self) -> list[Any]:
        """In a client's thread: the connections that Twisted reads, which are those that are not pumped."""
        readers = blockingCallFromThread(reactor, reactor.getReaders)
        return [reader for reader in readers if isinstance(reader, Connection)]

    @property
    def lines(self) -> list[str]:
        return [formatEvent(event) for event in self.events]

    def file(self, content: bytes) -> str:
        path = Path(self.mktemp())
        path.write_bytes(content)
        return str(path.absolute())

    def open(self) -> str:
        """@return: a folder for everybody: nginx is nobody."""
        folder = tempfile.mkdtemp(prefix="wsproxy-clients-")
        self.addCleanup(shutil.rmtree, folder)
        Path(folder).chmod(0o755)
        return folder

    def ended(self, front: Any) -> Any:
        self.addCleanup(front.stop if isinstance(front, Front) else front.close)
        return front

    async def listen(self, target: str = "demo:", endpoint: str = "tcp:0:interface=127.0.0.1", **settings: Any) -> int:
        """@return: the port of a new proxy; 0 on a unix socket."""
        settings = {"resolver": FixedResolver(Target(target)), "pages": OwnPages(), "taps": [self.known], **settings}
        self.factory = WebSockifyFactory(reactor, **settings)
        listening = await serverFromString(reactor, endpoint).listen(self.factory)
        self.addCleanup(self.factory.closeAll)
        self.addCleanup(listening.stopListening)
        return getattr(listening.getHost(), "port", 0)

    async def visit(self, act: Callable[[Visit], Any], port: int, *more: Any, **settings: Any) -> Any:
        """What C{act} makes of a client's connection."""

        def run() -> Any:
            client = Visit(port, *more, **settings)
            try:
                return act(client)
            finally:
                client.close()

        return await deferToThread(run)

    def assertLine(self, pattern: str) -> None:
        self.assertRegex("\n".join(self.lines), pattern)


def knocks(path: str = "/", *headers: str, **more: str) -> Callable[[Visit], tuple[int, int]]:
    """@return: the status of an upgrade, and the client's port."""
    return lambda client: (client.upgrade(path, *headers, **more), client.own)


class AnnouncedTests(ClientTestCase):
    """Proxies in front that send PROXY headers."""

    servers = {
        "v1": "send-proxy",
        "v2": "send-proxy-v2",
        "ssl": "send-proxy-v2-ssl",
        "cn": "send-proxy-v2-ssl-cn proxy-v2-options unique-id,crc32c,authority",
        "secure": "ssl verify none send-proxy-v2",
        "secure1": "ssl verify none send-proxy",
    }

    async def test_haproxy(self) -> None:
        """HAProxy's headers of either version, with TLVs and before TLS, tell the client's address and port."""
        port = await self.listen(trustedProxies=(f"proxy:{FRONT}",), tls=self.tls)
        lines = {name: f"server s 127.0.0.1:{port} source {FRONT} {how}" for name, how in self.servers.items()}
        front = self.ended(HAProxy(lines))
        for name in self.servers:
            status, own = await self.visit(knocks(f"/{name}/"), front.port)
            self.assertEqual(status, 101, name)
            request = self.known.sessions[-1].request
            self.assertEqual((request.client.host, request.client.port), (CLIENT, own))
            self.assertEqual(request.peer.host, FRONT)
            self.assertEqual(request.secure, name.startswith("secure"))
            self.assertLine(rf" {CLIENT}:{own} via {FRONT}:\d+ → demo: \(wss? /{name}/\)")

    async def test_endpointTLS(self) -> None:
        """So they do where it is an endpoint that speaks TLS."""
        quoted = self.certificate.replace(":", "\\:")
        endpoint = f"ssl:0:interface=127.0.0.1:privateKey={quoted}:certKey={quoted}"
        port = await self.listen(endpoint=endpoint, trustedProxies=(f"proxy:{FRONT}",))
        names = ("secure", "secure1")
        lines = {name: f"server s 127.0.0.1:{port} source {FRONT} {self.servers[name]}" for name in names}
        front = self.ended(HAProxy(lines))
        for name in names:
            status, own = await self.visit(knocks(f"/{name}/"), front.port)
            self.assertEqual(status, 101, name)
            client: Any = self.known.sessions[-1].request.client
            self.assertEqual((client.host, client.port), (CLIENT, own))

    async def test_health(self) -> None:
        """HAProxy's health checks, whose headers name nobody, find us well."""
        for how in ("send-proxy", "send-proxy-v2"):
            page = Checked()
            port = await self.listen(trustedProxies=(f"proxy:{FRONT}",), pages=page, allow=(FRONT, CLIENT))
            server = f"server s 127.0.0.1:{port} source {FRONT} check inter 100 rise 1 fall 1 {how}"
            front = self.ended(HAProxy({"to": f"option httpchk GET /check\n{server}"}))
            await page.checked
            self.assertEqual((await self.visit(knocks("/to/"), front.port))[0], 101)
        self.assertFalse([line for line in self.lines if "refused" in line])

    async def test_nginx(self) -> None:
        """nginx passes connections on as they are, behind its header: TLS, WebSockets, and what is neither."""
        port = await self.listen(trustedProxies=(f"proxy:{FRONT}",), tls=self.tls, raw=True)
        passing = f"proxy_pass 127.0.0.1:{port}; proxy_protocol on; proxy_bind {FRONT};"
        front = self.ended(NginxStream([("", passing)]))
        for tls in (None, self.context):
            status, own = await self.visit(knocks(), front.port, tls=tls)
            self.assertEqual(status, 101)
            self.assertEqual(self.known.sessions[-1].request.client.port, own)
        own, answer = await self.visit(lambda it: (it.own, it.socket.sendall(b"\0\r\n"), it.some())[::2], front.port)
        self.assertTrue(answer)
        self.assertLine(rf" {CLIENT}:{own} via {FRONT}:\d+ → demo: \(raw\)")

    async def test_never(self) -> None:
        """Who must send a header and does not is closed on every kind of listener, whatever it speaks."""
        options: Any = self.tls
        path = self.file(b"")
        Path(path).unlink()
        trusted = (f"proxy:{FRONT}", "proxy:unix")
        quoted = self.certificate.replace(":", "\\:")
        for endpoint in (
            "tcp:0:interface=127.0.0.1",
            f"ssl:0:interface=127.0.0.1:privateKey={quoted}:certKey={quoted}",
            f"unix:{path}",
        ):
            secure = self.context if endpoint.startswith("ssl") else None
            port = await self.listen(endpoint=endpoint, trustedProxies=trusted, tls=options, raw=True, rawAfter=0.1)

            def closed(words: bytes, port: int = port, secure: Any = secure) -> bytes:
                connection = socket.socket(socket.AF_INET if port else socket.AF_UNIX)
                with connection:
                    connection.settimeout(20)
                    if port:
                        connection.bind((FRONT, 0))
                    connection.connect(("127.0.0.1", port) if port else path)
                    if secure is not None:
                        connection = secure.wrap_socket(connection, server_hostname="localhost")
                    connection.sendall(words)
                    return connection.recv(100)

            for words in (UPGRADE.format(path="/", host="a", origin="http://a", more="").encode(), b"RFB 003.008\n"):
                self.assertEqual(await deferToThread(closed, words), b"", endpoint)
            header = b"PROXY TCP4 192.0.2.7 203.0.113.1 4321 443\r\n"
            answer = await deferToThread(closed, header + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), endpoint)
        self.assertEqual(self.known.sessions, [])
        self.assertLine(rf"{FRONT}:\d+ refused: no PROXY header, which is awaited from there")
        self.assertLine("unix refused: no PROXY header")

    async def test_pumped(self) -> None:
        """Behind a header sessions are pumped as ever, with TLS and without, and not a byte is lost or added."""
        target = self.ended(Server(_echo))
        port = await self.listen(f"127.0.0.1:{target.port}", trustedProxies=("proxy:127.0.0.0/8",), tls=self.tls)

        def much(client: Visit) -> bytes:
            self.assertEqual(client.upgrade(), 101)
            client.socket.sendall(frame(b"first"))
            got = bytearray(client.message())
            self.assertEqual(self.unpumped(), [])
            for at in range(0, len(LARGE), 300_000):
                client.socket.sendall(frame(LARGE[at : at + 300_000]))
                while len(got) < 5 + min(at + 300_000, len(LARGE)):
                    got += client.message()
            return bytes(got)

        header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H4s4sHH", 12, b"\xc0\0\2\7", b"\xcb\0\x71\1", 1, 2)
        for tls in (None, self.context):
            self.assertEqual(await self.visit(much, port, tls=tls, before=header), b"first" + LARGE)


def _echo(client: socket.socket) -> None:
    while data := client.recv(65536):
        client.sendall(data)


class ForwardedTests(ClientTestCase):
    """nginx in front, which writes headers."""

    passing = (
        "proxy_pass http://{address}/; proxy_http_version 1.1; proxy_bind 127.0.0.5;"
        "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; proxy_set_header Host {host};"
        "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto {scheme};"
        "proxy_set_header X-Forwarded-Host $http_host;"
    )

    def front(self, port: int, host: str = "$http_host", scheme: str = "$scheme", more: str = "") -> Nginx:
        passing = self.passing.format(address=f"127.0.0.1:{port}", host=host, scheme=scheme)
        front: Nginx = self.ended(Nginx({"to": passing + more}))
        return front

    async def test_spoofed(self) -> None:
        """Behind nginx the client is who connected to that, whatever it has written of itself."""
        front = self.front(await self.listen(trustedProxies=(FRONT,)))
        lies = ("X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 127.0.0.5", "X-Forwarded-For: 6.6.6.6, 127.0.0.5")
        for lie in (*lies, "Forwarded: for=6.6.6.6", "X-Real-IP: 6.6.6.6"):
            status, _ = await self.visit(knocks("/to/", lie, lie), front.port)
            self.assertEqual(status, 101)
            self.assertEqual(self.known.sessions[-1].request.client.host, CLIENT, lie)
        self.assertLine(rf" {CLIENT} via {FRONT}:\d+ → demo:")

    async def test_untrusted(self) -> None:
        """A proxy that is not trusted is the client, and nobody is whom it names; nor is who is trusted otherwise."""
        for trusted in ((), ("127.0.0.6",), (f"forwarded:{FRONT}",), ("unix",)):
            front = self.front(await self.listen(trustedProxies=trusted))
            status, _ = await self.visit(knocks("/to/", "Forwarded: for=_hidden"), front.port)
            self.assertEqual(status, 101)
            self.assertEqual(self.known.sessions[-1].request.client.host, FRONT, trusted)

    async def test_allow(self) -> None:
        """C{--allow} goes by the real client: sessions, pages and explanations, which nobody gets by lying."""
        front = self.front(await self.listen(trustedProxies=(FRONT,), allow=(CLIENT,)))
        lie = f"X-Forwarded-For: {CLIENT}"
        for source, status in ((CLIENT, 101), (STRANGER, 403)):
            self.assertEqual((await self.visit(knocks("/to/", lie), front.port, source))[0], status)
        for source, status in ((CLIENT, 200), (STRANGER, 403)):
            self.assertEqual(await self.visit(lambda it: it.get("/to/", lie), front.port, source), status)

            def asks(client: Visit) -> bytes:
                self.assertEqual(client.get("/to/", lie, f"Accept: {TYPE}"), 200)
                return client.some()

            told = await self.visit(asks, front.port, source)
            self.assertEqual(json.loads(told)["status"], {200: 101, 403: 403}[status])
        self.assertLine(rf"{STRANGER} via {FRONT}:\d+ refused: 403 Client not allowed: its address is not in --allow")

    async def test_origin(self) -> None:
        """The Origin is compared with what the browser connected to, where the proxy that tells is trusted."""
        for trusted, status in (((FRONT,), 101), ((), 403)):
            front = self.front(await self.listen(trustedProxies=trusted), host="backend")
            knock = knocks("/to/")
            self.assertEqual((await self.visit(knock, front.port))[0], status)
            knock = knocks("/to/", origin="http://evil.example")
            self.assertEqual((await self.visit(knock, front.port))[0], 403)

    async def test_scheme(self) -> None:
        """So is the scheme: where pages of http: may not connect over TLS, they may not over that of a proxy."""
        for scheme, status in (("http", 101), ("https", 403)):
            port = await self.listen(trustedProxies=(FRONT,), strictScheme=True)
            front = self.front(port, scheme=scheme)
            self.assertEqual((await self.visit(knocks("/to/"), front.port))[0], status)

    async def test_noTLS(self) -> None:
        """No header makes up for TLS, or for a certificate, though it comes from one that is trusted."""
        verifying = ServerTLS(
            TLSConfig(self.certificate, verifyClient=True, authorities=self.file(pem(self.authority.certificate)))
        )
        for tls in (self.tls, verifying):
            port = await self.listen(trustedProxies=(FRONT,), tls=tls, tlsOnly=True)
            front = self.front(port, scheme="https", more="proxy_set_header SSL-Client-Verify SUCCESS;")
            self.assertEqual((await self.visit(knocks("/to/"), front.port))[0], 400)
        self.assertEqual(self.known.sessions, [])

    async def test_unix(self) -> None:
        """A proxy that comes by a unix socket is trusted by that name."""
        path = f"{self.open()}/socket"
        await self.listen(endpoint=f"unix:{path}:mode=666", trustedProxies=("unix",), allow=(CLIENT,))
        passing = self.passing.format(address=f"unix:{path}:", host="$http_host", scheme="$scheme")
        front = self.ended(Nginx({"to": passing.replace("proxy_bind 127.0.0.5;", "")}))
        for source, status in ((CLIENT, 101), (STRANGER, 403)):
            self.assertEqual((await self.visit(knocks("/to/"), front.port, source))[0], status)
        self.assertLine(rf" {CLIENT} via unix → demo:")

    async def test_standard(self) -> None:
        """C{Forwarded} counts of a proxy that is trusted to write it, and what its client has sent before does not."""
        port = await self.listen(trustedProxies=(f"forwarded:{FRONT}",))
        writes = 'proxy_set_header Forwarded "$http_forwarded, for=$remote_addr;proto=https;host=console.example";'
        front = self.front(port, host="backend", more=writes)
        for lie in ("for=6.6.6.6", 'for="', "for=127.0.0.5"):
            knock = knocks("/to/", f"Forwarded: {lie}", origin="https://console.example")
            self.assertEqual((await self.visit(knock, front.port))[0], 101)
            self.assertEqual(self.known.sessions[-1].request.client.host, CLIENT, lie)

    async def test_both(self) -> None:
        """Behind HAProxy's header stands nginx: what that writes counts where it is trusted itself."""
        for trusted, client in (((), FRONT), ((FRONT,), CLIENT)):
            port = await self.listen(trustedProxies=("proxy:127.0.0.7", *trusted))
            passing = f"proxy_pass 127.0.0.1:{port}; proxy_protocol on; proxy_bind 127.0.0.7;"
            outer = self.ended(NginxStream([("", passing)]))
            front = self.front(outer.port)
            self.assertEqual((await self.visit(knocks("/to/"), front.port))[0], 101)
            self.assertEqual(self.known.sessions[-1].request.client.host, client)


class AllowTests(ClientTestCase):
    async def test_everything(self) -> None:
        """Whatever the port speaks, it speaks with nobody who is not allowed, of which there is one line each."""
        port = await self.listen(allow=(CLIENT,), tls=self.tls, raw=True)
        self.assertEqual((await self.visit(knocks(), port))[0], 101)
        self.assertEqual((await self.visit(knocks(), port, STRANGER))[0], 403)
        self.assertEqual((await self.visit(knocks(), port, STRANGER, tls=self.context))[0], 403)
        self.assertEqual(await self.visit(Visit.get, port), 200)
        self.assertEqual(await self.visit(Visit.get, port, STRANGER), 403)
        for words in (b"<policy-file-request/>\0", b"\0\r\n"):
            says = lambda it, words=words: (it.socket.sendall(words), it.some())[1]  # noqa: E731
            self.assertTrue(await self.visit(says, port), words)
            self.assertEqual(await self.visit(says, port, STRANGER), b"", words)
        refused = [line for line in self.lines if line.startswith(f"{STRANGER}:") and "refused: 403" in line]
        self.assertEqual(len(refused), 5, refused)


class ToldTests(ClientTestCase):
    """nginx as a target that wants to be told of clients."""

    async def test_told(self) -> None:
        """It sees the client's address and port, over TCP, TLS and a unix socket, by either version."""
        certificate = Path(self.open()) / "certificate"
        certificate.write_bytes(Path(self.certificate).read_bytes())
        pair = f"ssl_certificate {certificate}; ssl_certificate_key {certificate};"
        targets = self.ended(NginxStream([("proxy_protocol", TELLS), ("ssl proxy_protocol", pair + TELLS)]))
        texts = [f"127.0.0.1:{targets.ports[0]}", f"tls:localhost:{targets.ports[1]}", f"unix:{targets.path}"]
        authorities = self.file(pem(self.authority.certificate))
        for text in texts:
            for version in ("v1", "v2"):
                running = startTwistd(
                    self,
                    *("--listen", "127.0.0.1:0", "--target", text, "--send-proxy", version),
                    *(("--target-cafile", authorities) if text.startswith("tls:") else ()),
                    options=["--pidfile="],
                )
                port = int((await running.line(r"Listening on 127.0.0.1:(\d+)"))[1])

                def told(client: Visit) -> tuple[bytes, int]:
                    self.assertEqual(client.upgrade(), 101)
                    return client.message(), client.own

                message, own = await self.visit(told, port)
                self.assertEqual(message.decode(), f"{CLIENT} {own} to 127.0.0.1 {port}\n", (text, version))

    async def test_through(self) -> None:
        """The client that the target is told of is the real one, and what it connected to is what it connected to."""
        targets = self.ended(NginxStream([("proxy_protocol", TELLS)]))
        port = await self.listen(f"127.0.0.1:{targets.port}", trustedProxies=(f"proxy:{FRONT}",), sendProxy="v2")
        front = self.ended(HAProxy({"to": f"server s 127.0.0.1:{port} source {FRONT} send-proxy"}))

        def told(client: Visit) -> tuple[bytes, int]:
            self.assertEqual(client.upgrade("/to/"), 101)
            return client.message(), client.own

        message, own = await self.visit(told, front.port)
        self.assertEqual(message.decode(), f"{CLIENT} {own} to 127.0.0.1 {front.port}\n")

    async def test_one(self) -> None:
        """One target alone may want it: its resolver says so."""
        targets = self.ended(NginxStream([("proxy_protocol", TELLS), ("", 'return "hello\n";')]))
        answers = {
            "/1": Target(f"127.0.0.1:{targets.ports[0]}", proxyHeader="v1"),
            "/2": Target(f"127.0.0.1:{targets.ports[0]}", proxyHeader="v2"),
            "/none": Target(f"127.0.0.1:{targets.ports[1]}"),
        }
        port = await self.listen(resolver=lambda request, identity: answers[request.path])

        def told(path: str) -> Callable[[Visit], tuple[str, int]]:
            def tell(client: Visit) -> tuple[str, int]:
                self.assertEqual(client.upgrade(path), 101)
                return client.message().decode(), client.own

            return tell

        for path in ("/1", "/2"):
            message, own = await self.visit(told(path), port)
            self.assertEqual(message, f"{CLIENT} {own} to 127.0.0.1 {port}\n")
        self.assertEqual((await self.visit(told("/none"), port))[0], "hello\n")

    async def test_pumped(self) -> None:
        """Behind the header the target has all that the client sends, and nothing else, however much it is."""

        def echo(client: socket.socket) -> None:
            line = b""
            while not line.endswith(b"\r\n"):
                line += client.recv(1)
            client.sendall(line)
            _echo(client)

        target = self.ended(Server(echo))
        port = await self.listen(f"127.0.0.1:{target.port}", sendProxy="v1")

        def much(client: Visit) -> bytes:
            request = UPGRADE.format(path="/", host="localhost", origin="http://localhost", more="")
            client.socket.sendall(request.encode() + frame(b"first"))
            self.assertEqual(client.status(), 101)
            line = f"PROXY TCP4 {CLIENT} 127.0.0.1 {client.own} {port}\r\n".encode()
            got = bytearray()
            while len(got) < len(line) + 5:
                got += client.message()
            self.assertEqual(got, line + b"first")
            self.assertEqual(self.unpumped(), [])
            got.clear()
            for at in range(0, len(LARGE), 300_000):
                client.socket.sendall(frame(LARGE[at : at + 300_000]))
                while len(got) < min(at + 300_000, len(LARGE)):
                    got += client.message()
            return bytes(got)

        self.assertEqual(await self.visit(much, port), LARGE)


class ProcessTests(ClientTestCase):
    async def test_workers(self) -> None:
        """A real twistd with workers does all of it, as its options say."""
        targets = self.ended(NginxStream([("proxy_protocol", TELLS)]))
        running = startTwistd(
            self,
            *("--listen", "127.0.0.1:0", "--target", f"127.0.0.1:{targets.port}", "--send-proxy", "v2"),
            *("--workers", "2", "--trusted-proxy", f"proxy:{FRONT}", "--allow", CLIENT),
            options=["--pidfile="],
        )
        port = int((await running.line(r"Listening on 127.0.0.1:(\d+)"))[1])
        front = self.ended(HAProxy({"to": f"server s 127.0.0.1:{port} source {FRONT} send-proxy-v2"}))

        def told(client: Visit) -> bytes:
            self.assertEqual(client.upgrade("/to/"), 101)
            return client.message()

        message = await self.visit(told, front.port)
        self.assertTrue(message.startswith(CLIENT.encode()))
        self.assertEqual((await self.visit(knocks("/to/"), front.port, STRANGER))[0], 403)
        await running.line(rf"{STRANGER}:\d+ via {FRONT}:\d+ refused: 403 Client not allowed")

    async def test_tokenFile(self) -> None:
        """A token file says of one target that it is to be told, and of another nothing."""
        targets = self.ended(NginxStream([("proxy_protocol", TELLS), ("", 'return "hello\n";')]))
        tokens = f"told: 127.0.0.1:{targets.ports[0]} proxy=v1\nplain: 127.0.0.1:{targets.ports[1]}\n"
        running = startTwistd(
            self,
            *("--listen", "127.0.0.1:0", "--token-plugin", "TokenFile", "--token-source", self.file(tokens.encode())),
            options=["--pidfile="],
        )
        port = int((await running.line(r"Listening on 127.0.0.1:(\d+)"))[1])

        def told(token: str) -> Callable[[Visit], str]:
            def tell(client: Visit) -> str:
                self.assertEqual(client.upgrade(f"/?token={token}"), 101)
                return client.message().decode()

            return tell

        self.assertTrue((await self.visit(told("told"), port)).startswith(f"{CLIENT} "))
        self.assertEqual(await self.visit(told("plain"), port), "hello\n")

    async def test_complaints(self) -> None:
        """What is no network is one line at the start."""
        for option, word in (("--trusted-proxy", "proxy:nginx"), ("--allow", "10.0.0.1/8"), ("--send-proxy", "v3")):
            outcome = await startTwistd(self, "--target", "demo:", option, word, options=["--pidfile="]).end()
            self.assertEqual(outcome.status, 1)
            self.assertRegex(outcome.err, rf"^twistd websockify: {option} {word}: [^\n]+\n$")
