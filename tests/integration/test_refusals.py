"""What is said of clients that a proxy in front spoils, and of others that are turned away."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.certificates import LOCAL, pem
from tests.integration.bridge import authority, connect, trusting
from tests.integration.client import Client
from tests.integration.fronts import Front, HAProxy, Nginx
from tests.integration.proxy import Proxy
from tests.integration.stream import Stream
from tests.integration.twistd import ROOT

HOST = "console.example"
"""What the browser connects to. (Nothing is looked up: the front is on loopback.)"""


@dataclass(frozen=True)
class Case:
    """
    One way to be refused.

    @ivar said: the line in the log, without the peer; C{PORT} for any port.
    @ivar mistake: the configuration of the front, or lines of the request where there is none.
    @ivar to: how the front reaches the proxy.
    @ivar host: what the browser connects to.
    """

    said: str
    mistake: str
    to: str = "http"
    host: str = HOST


LOST = "refused: 400 A WebSocket needs Upgrade: websocket and Connection: upgrade: "
NO_UPGRADE = (
    "a proxy in front drops it? nginx: proxy_set_header Upgrade $http_upgrade; "
    "HAProxy: no del-header or set-header Upgrade; Apache: ProxyPass with upgrade=websocket"
)
NO_CONNECTION = (
    "a proxy in front drops it? nginx: proxy_set_header Connection upgrade; "
    "HAProxy: no del-header or set-header Connection"
)
LOST_BOTH = (
    "no Upgrade: websocket and no Connection: upgrade (close): a proxy in front drops them? "
    "nginx: proxy_set_header Upgrade $http_upgrade and proxy_set_header Connection upgrade; "
    "HAProxy: no del-header or set-header of them; Apache: ProxyPass with upgrade=websocket"
)
VERSION = "HTTP/1.0: a proxy in front that speaks an old version? nginx: proxy_http_version 1.1"
HOST_TWICE = "HAProxy: http-request set-header Host, not add-header"
HOST_LOST = "no Host: a proxy in front drops it? nginx: proxy_set_header Host $http_host; HAProxy: no del-header Host"
SET_HOST = (
    "a proxy in front that does not keep Host? Set Host there, or allow it with --origin http://console.example:PORT"
)
NO_HEADERS = "a proxy in front that passes no headers on? nginx: proxy_pass_request_headers on"
TLS_TO_PLAIN = (
    "speaks nothing that is served here: TLS to a port without a certificate: "
    "use http:// and ws://, also in a proxy in front, or give it a --cert"
)
PLAIN_TO_TLS = (
    "refused: 400 This port speaks TLS only: use https:// or wss://: "
    "a proxy in front? nginx: proxy_pass https://…; HAProxy: ssl on the server line"
)
PROXY_PROTOCOL = (
    "the PROXY protocol is not awaited: HAProxy: no send-proxy on the server line; or --trusted-proxy proxy:CIDR"
)
NO_SPACE = (
    "refused: 400 Malformed request: "
    "a space in the path: a proxy in front that decodes it? nginx: no $uri in proxy_pass"
)

NGINX = {
    "bare": Case(
        f"refused: 400 A WebSocket needs HTTP/1.1: {VERSION}; and {LOST_BOTH}",
        "proxy_pass HERE;",
    ),
    "version": Case(
        f"refused: 400 A WebSocket needs HTTP/1.1: {VERSION}",
        "proxy_pass HERE; UPGRADE CONNECTION KEEP",
    ),
    "upgrade": Case(
        f"{LOST}no Upgrade: websocket: {NO_UPGRADE}",
        "proxy_pass HERE; MODERN CONNECTION KEEP",
    ),
    "connection": Case(
        f"{LOST}no Connection: upgrade (close): {NO_CONNECTION}",
        "proxy_pass HERE; MODERN UPGRADE KEEP",
    ),
    "keepalive": Case(
        f"{LOST}no Connection: upgrade: {NO_CONNECTION}",
        "proxy_pass HERE; MODERN UPGRADE KEEP proxy_set_header Connection '';",
    ),
    "host": Case(
        "refused: 403 Origin not allowed: "
        f"Origin http://console.example:PORT is not the Host 127.0.0.1:PORT: {SET_HOST}",
        "proxy_pass HERE; MODERN UPGRADE CONNECTION",
    ),
    "port": Case(
        "refused: 403 Origin not allowed: "
        "Origin http://localhost:PORT is not the Host localhost, where ports count, on loopback: "
        "a proxy in front that loses the port? Set Host there (nginx: proxy_set_header Host $http_host), "
        "or allow it with --origin http://localhost:PORT",
        "proxy_pass HERE; MODERN UPGRADE CONNECTION proxy_set_header Host $host;",
        host="localhost",
    ),
    "nohost": Case(
        f"refused: 400 Exactly one Host header is needed: {HOST_LOST}",
        "proxy_pass HERE; MODERN UPGRADE CONNECTION proxy_set_header Host '';",
    ),
    "decoded": Case(NO_SPACE, "proxy_pass HERE$uri; MODERN UPGRADE CONNECTION KEEP"),
    "method": Case(
        "refused: 405 Only GET and HEAD are served: "
        "POST with an upgrade, which is a GET: a proxy in front that changes it? nginx: no proxy_method",
        "proxy_pass HERE; MODERN UPGRADE CONNECTION KEEP proxy_method POST;",
    ),
    "body": Case(
        "refused: 400 A request body is not accepted: a proxy in front that adds one? nginx: no proxy_set_body",
        "proxy_pass HERE; MODERN UPGRADE CONNECTION KEEP proxy_set_body x;",
    ),
    "headers": Case(
        "refused: 426 WebSocket version 13 is spoken here: "
        f"no Sec-WebSocket-Version: {NO_HEADERS}; and no Sec-WebSocket-Key: {NO_HEADERS}",
        "proxy_pass HERE; MODERN UPGRADE CONNECTION KEEP proxy_pass_request_headers off;",
    ),
    "secure": Case(TLS_TO_PLAIN, "proxy_pass HERE; MODERN UPGRADE CONNECTION KEEP", "https to plain"),
    "plain": Case(PLAIN_TO_TLS, "proxy_pass HERE; MODERN UPGRADE CONNECTION KEEP", "http to secure"),
}
"""Configurations that do not work."""

NGINX_GOOD = {
    "recipe": "proxy_pass HERE; MODERN UPGRADE CONNECTION KEEP",
    "noport": "proxy_pass HERE; MODERN UPGRADE CONNECTION proxy_set_header Host $host;",
    "passed": "proxy_pass HERE; MODERN UPGRADE KEEP proxy_set_header Connection $http_connection;",
}

HAPROXY = {
    "upgrade": Case(f"{LOST}no Upgrade: websocket: {NO_UPGRADE}", "http-request del-header Upgrade"),
    "connection": Case(f"{LOST}no Connection: upgrade: {NO_CONNECTION}", "http-request del-header Connection"),
    "close": Case(
        f"{LOST}no Connection: upgrade (close): {NO_CONNECTION}",
        "http-request set-header Connection close",
    ),
    "host": Case(
        f"refused: 403 Origin not allowed: Origin http://console.example:PORT is not the Host backend: {SET_HOST}",
        "http-request set-header Host backend",
    ),
    "nohost": Case(
        f"refused: 400 Exactly one Host header is needed: {HOST_LOST}",
        "http-request del-header Host",
    ),
    "twohosts": Case(
        "refused: 400 Exactly one Host header is needed: "
        f"Host 2 times (console.example:PORT, backend): a proxy in front that adds one? {HOST_TWICE}",
        "http-request add-header Host backend",
    ),
    "origin": Case(
        "refused: 403 Origin not allowed: Origin http://console.example:PORT, http://backend is no origin: "
        "sent twice, or changed by a proxy in front?",
        "http-request add-header Origin http://backend",
    ),
    "method": Case(
        "refused: 405 Only GET and HEAD are served: "
        "POST with an upgrade, which is a GET: a proxy in front that changes it? nginx: no proxy_method",
        "http-request set-method POST",
    ),
    "relative": Case(
        "refused: 400 The request target must be a path: a proxy in front that rewrites it? It begins with a slash",
        "http-request set-path console",
    ),
    "space": Case(NO_SPACE, "http-request set-path /a\\ console"),
    "draft": Case(
        "refused: 426 WebSocket version 13 is spoken here: "
        "Sec-WebSocket-Version is 8, a draft's: a newer client is needed, or --legacy",
        "http-request set-header Sec-WebSocket-Version 8",
    ),
    "proxied": Case(
        f"refused: 400 Malformed request: {PROXY_PROTOCOL}",
        "server here HERE send-proxy",
    ),
    "proxied2": Case(f"speaks nothing that is served here: {PROXY_PROTOCOL}", "server here HERE send-proxy-v2"),
    "http2": Case(
        "refused: 400 Malformed request: HTTP/2 is not spoken here: "
        "HAProxy: no proto h2 on the server line; nginx: proxy_http_version 1.1",
        "server here HERE proto h2",
    ),
    "secure": Case(TLS_TO_PLAIN, "server here HERE ssl verify none", "https to plain"),
    "plain": Case(PLAIN_TO_TLS, "", "http to secure"),
}
"""Configurations that do not work."""

HAPROXY_GOOD = {"recipe": "", "closing": "option httpclose", "settled": "http-request set-header Host console.example"}

DIRECT = {
    "subprotocol": Case(
        "offers only subprotocols that are not accepted here: mqtt; "
        "browsers drop a session without one; accept it with --subprotocol mqtt",
        "Sec-WebSocket-Protocol: mqtt",
    ),
    "file": Case(
        "refused: 403 Origin not allowed: "
        "Origin file://, a page that has no host, such as a file or a sandboxed frame: allow it with --origin file://",
        "Origin: file://",
    ),
    "page": Case(
        "refused: 403 Origin not allowed: Origin https://portal.example is not the Host console.example:PORT: "
        "a proxy in front that does not keep Host? Set Host there, or allow it with --origin https://portal.example",
        "Origin: https://portal.example",
    ),
    "cookies": Case(
        "refused: 431 Headers too large: cookies of other applications on this host?",
        f"Cookie: {'x' * 100_000}",
    ),
}
"""Lines of a request that reaches the proxy as it is."""

SAID = r"\] 127\.0\.0\.1:\d+ ((?:refused|offers|speaks).*)"

CERTIFIED = Case(
    "refused: 403 Origin not allowed: "
    "Origin http://console.example:PORT is not https, as is needed where browsers show who they are by themselves: "
    "open the page with https://, or allow it with --origin http://console.example:PORT",
    "Origin: http://console.example:6080",
)
"""The same to a proxy that asks clients for certificates."""

WORDS = {
    "MODERN": "proxy_http_version 1.1;",
    "UPGRADE": "proxy_set_header Upgrade $http_upgrade;",
    "CONNECTION": "proxy_set_header Connection upgrade;",
    "KEEP": "proxy_set_header Host $http_host;",
}


def portless(text: str) -> str:
    """C{text} with every port number replaced."""
    return re.sub(r"(?<=:)\d+", "PORT", text)


class RefusalTestCase(TestCase):
    """
    A proxy with plain HTTP, and one with TLS alone.

    @cvar arguments: what the latter is told beyond that.
    """

    arguments: tuple[str, ...] = ()

    timeout = 30

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        folder = Path(tempfile.mkdtemp(dir=".")).absolute()
        self.plain = Proxy(folder / "plain", "--target", "demo:")
        self.addCleanup(self.plain.stop)
        (folder / "secure").mkdir()
        (folder / "secure" / "cert.pem").write_bytes(authority().issue(*LOCAL).both)
        (folder / "secure" / "ca.pem").write_bytes(pem(authority().certificate))
        arguments = ("--target", "demo:", "--cert", "cert.pem", "--ssl-only", *self.arguments)
        self.secure = Proxy(folder / "secure", *arguments)
        self.addCleanup(self.secure.stop)
        self.ports = {"plain": await self.plain.port(), "secure": await self.secure.port()}

    def ended(self, front: Front) -> Front:
        """C{front}, which ends with the test."""
        self.addCleanup(deferToThread, front.stop)
        return front

    async def upgrade(
        self, port: int, path: str, host: str, *lines: str, tls: Any = None
    ) -> tuple[Client, Deferred[int | None]]:
        """Ask as a browser does. @return: the client, and the status it is answered, L{None} for no answer at all."""

        async def answer() -> int | None:
            try:
                return (await client.response()).status
            except EOFError:
                return None

        stream = connect(port, tls)
        self.addCleanup(self.leave, stream)
        client = Client(stream)
        request = [
            f"GET {path} HTTP/1.1",
            f"Host: {host}",
            "Connection: keep-alive, Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Extensions: permessage-deflate",
            "Cookie: session=hunter2",
            *lines,
        ]
        stream.write("\r\n".join([*request, "", ""]).encode())
        return client, Deferred.fromCoroutine(answer())

    async def leave(self, stream: Stream) -> None:
        stream.reset()
        await stream.gone()

    async def assertNamed(self, name: str, case: Case, port: int, *lines: str) -> None:
        """A client that asks there is refused, and the one line that is written of it is this."""
        proxy = self.secure if case.to.endswith("secure") else self.plain
        since = len(proxy.lines)
        _, answer = await self.upgrade(port, f"/{name}/a%20b?token=hunter2", f"{case.host}:{port}", *lines)
        line = (await proxy.said(SAID, since=since))[0][1]
        self.assertEqual(portless(line), case.said, name)
        self.assertNotEqual(await answer, 101 if line.startswith("refused") else None)
        self.assertNotIn("hunter2", "".join(proxy.lines))

    async def assertAllNamed(self, cases: Mapping[str, Case], port: int) -> None:
        """They all are, by one line each."""
        for name, case in cases.items():
            await self.assertNamed(name, case, port, f"Origin: http://{case.host}:{port}")
        lines = [line for proxy in (self.plain, self.secure) for line in proxy.lines]
        self.assertEqual(sum(re.search(SAID, line) is not None for line in lines), len(cases), lines)

    async def assertQuiet(self, name: str, port: int) -> None:
        """A client that asks there has a session, and nothing is said but that."""
        since = len(self.plain.lines)
        origin = f"Origin: http://{HOST}:{port}"
        client, answer = await self.upgrade(port, f"/{name}/?token=hunter2", f"{HOST}:{port}", origin)
        self.assertEqual(await answer, 101, name)
        await client.leave()
        await self.plain.said(" closed by ", since=since)
        said = [line.partition("] ")[2] for line in self.plain.lines[since:]]
        self.assertEqual([re.sub("^[0-9a-f]{8} ", "", line).split()[1] for line in said], ["→", "by"], said)

    def address(self, to: str) -> str:
        """Where a front finds the proxy."""
        return f"127.0.0.1:{self.ports['secure' if to.endswith('secure') else 'plain']}"


class NginxTests(RefusalTestCase):
    """Behind nginx."""

    def configured(self, directives: str, to: str = "http") -> str:
        for word, meaning in WORDS.items():
            directives = directives.replace(word, meaning)
        return directives.replace("HERE", f"{to.partition(' ')[0]}://{self.address(to)}")

    async def test_broken(self) -> None:
        """What each broken configuration breaks is named, with the line that mends it."""
        front = self.ended(Nginx({name: self.configured(it.mistake, it.to) for name, it in NGINX.items()}))
        await self.assertAllNamed(NGINX, front.port)

    async def test_good(self) -> None:
        """Of one that works nothing is said."""
        front = self.ended(Nginx({name: self.configured(it) for name, it in NGINX_GOOD.items()}))
        for name in NGINX_GOOD:
            await self.assertQuiet(name, front.port)


class HAProxyTests(RefusalTestCase):
    """Behind HAProxy."""

    def configured(self, lines: str, to: str = "http") -> str:
        lines = lines if "HERE" in lines else f"{lines}\nserver here HERE"
        return lines.replace("HERE", self.address(to))

    async def test_broken(self) -> None:
        """What each broken configuration breaks is named, with the line that mends it."""
        front = self.ended(HAProxy({name: self.configured(it.mistake, it.to) for name, it in HAPROXY.items()}))
        await self.assertAllNamed(HAPROXY, front.port)

    async def test_good(self) -> None:
        """Of one that works nothing is said."""
        front = self.ended(HAProxy({name: self.configured(it) for name, it in HAPROXY_GOOD.items()}))
        for name in HAPROXY_GOOD:
            await self.assertQuiet(name, front.port)


class DirectTests(RefusalTestCase):
    """Without anything in front."""

    async def test_named(self) -> None:
        """What is wrong with a client is named, with the option that helps."""
        for name, case in DIRECT.items():
            await self.assertNamed(name, case, self.ports["plain"], case.mistake)

    async def test_pages(self) -> None:
        """Whoever wants a page is not refused: nothing is said of that."""
        since = len(self.plain.lines)
        for path in ("/", "/nowhere"):
            stream = connect(self.ports["plain"])
            self.addCleanup(self.leave, stream)
            stream.write(f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
            self.assertNotEqual(await stream.rest(), b"")
        self.assertEqual(self.plain.lines[since:], [])

    async def test_counted(self) -> None:
        """Of one that keeps trying a few lines are written, and at the end how many were not."""
        for _ in range(8):
            _, answer = await self.upgrade(self.ports["plain"], "/", HOST, "Origin: null")
            self.assertEqual(await answer, 403)
        self.assertEqual(await self.plain.stop(), 0)
        said = [line.partition("] ")[2] for line in self.plain.lines if "refused: 403" in line]
        self.assertEqual(len(said), 6)
        self.assertEqual(said[-1], "127.0.0.1 refused: 403 Origin not allowed (3 times more)")


class CertifiedTests(RefusalTestCase):
    """Where browsers are let in by their certificates."""

    arguments = ("--verify-client", "--cafile", "ca.pem")

    async def test_plainPage(self) -> None:
        """A plain page, which may be anyone's on the visitor's network, is refused; a proper one is not."""
        issued = authority().issue("client.example", client=True)
        tls = trusting(clientCertificate=PrivateCertificate.loadPEM(issued.both))
        port = self.ports["secure"]
        proper = CERTIFIED.mistake.replace("http:", "https:")
        _, answer = await self.upgrade(port, "/", f"{HOST}:6080", proper, tls=tls)
        self.assertEqual(await answer, 101)
        since = len(self.secure.lines)
        _, answer = await self.upgrade(port, "/", f"{HOST}:6080", CERTIFIED.mistake, tls=tls)
        self.assertEqual(await answer, 403)
        self.assertEqual(portless((await self.secure.said(SAID, since=since))[0][1]), CERTIFIED.said)


class DocumentationTests(TestCase):
    def test_troubleshooting(self) -> None:
        """Every line of the log that docs/troubleshooting.rst quotes is one that these tests have seen."""
        text = (ROOT / "docs" / "troubleshooting.rst").read_text()
        quoted = re.findall(r"^ +192\.0\.2\.1:\d+ ((?:refused|offers|speaks).*)$", text, re.MULTILINE)
        self.assertGreater(len(quoted), 10)
        known = {case.said for cases in (NGINX, HAPROXY, DIRECT) for case in cases.values()} | {CERTIFIED.said}
        self.assertEqual([line for line in quoted if portless(line) not in known], [])
