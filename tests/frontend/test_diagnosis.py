"""What is said of requests that are refused."""

from __future__ import annotations

from typing import Any, cast

from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from tests.frontend.connection import TLSClient, makeFactory, responses
from tests.frontend.test_switch import CERTIFICATE
from tests.frontend.test_upgrade import UPGRADE, VERSION, UpgradeTestCase, request, upgrade
from wsproxy.access.refusallog import RefusalLog
from wsproxy.errors import Refusal
from wsproxy.frontend.diagnosis import diagnosed, hostCause, malformedCause, speechCause
from wsproxy.frontend.upgrade import FrontDoor

UPGRADING, CONNECTING, KEY = UPGRADE

PROXY_V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12)


class DiagnosisTestCase(UpgradeTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.lines: list[str] = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)

    def observe(self, event: LogEvent) -> None:
        if event["log_namespace"].startswith("wsproxy."):
            self.lines.append(formatEvent(event))

    def renew(self, **settings: Any) -> None:
        """Another port, which has refused nobody yet."""
        door = FrontDoor(self.clock, cast(Any, self.sessions), self.pages if self.havePages else None)
        self.factory = makeFactory(self.clock, door, **settings)
        self.sessions.refusals = RefusalLog(self.clock)
        self.lines.clear()

    def assertSaid(self, data: bytes, status: int | None, *parts: str, **settings: Any) -> str:
        """One that sends this is answered so, and the one line that is written has these parts, in this order."""
        self.renew(**settings)
        connection = self.connect()
        connection.send(data)
        told = [response.status for response in responses(connection.told)] if connection.told else [None]
        self.assertEqual(told, [status], data)
        (line,) = self.lines
        at = 0
        for part in parts:
            at = line.find(part, at)
            self.assertGreaterEqual(at, 0, f"{part!r} in {line!r}")
        self.assertTrue(line.isprintable(), ascii(line))
        self.assertLess(len(line), 1000)
        self.assertEqual(self.sessions.upgrades, [])
        return line


class UpgradeCauseTests(DiagnosisTestCase):
    """Upgrades that a proxy in front has spoilt, or that never were one."""

    def test_lost(self) -> None:
        """A WebSocket without Upgrade or Connection is known by its other headers; the line has the cure."""
        cures = "nginx: proxy_set_header Upgrade $http_upgrade", "HAProxy: no del-header", "Apache: ProxyPass with"
        one = ": no Connection: upgrade: a proxy in front drops it? ", "nginx: ", "HAProxy: "
        both = ": no Upgrade: websocket and no Connection: upgrade: a proxy in front drops them? ", *cures
        for headers, causes in (
            ((CONNECTING, KEY, VERSION), (": no Upgrade: websocket: a proxy in front drops it? ", *cures)),
            ((UPGRADING, KEY, VERSION), one),
            ((KEY, VERSION), both),
            ((KEY,), (*both, "; and no Sec-WebSocket-Version: ")),
            ((VERSION,), (*both, "; and no Sec-WebSocket-Key: ")),
        ):
            line = self.assertSaid(request(b"/", *headers), 400, "refused: 400 A WebSocket needs Upgrade", *causes)
            self.assertEqual(line.count("; and no "), causes[-1].count("; and no "), line)

    def test_wellFormed(self) -> None:
        """Nothing is said of a request line that has nothing wrong with it."""
        for line in (b"", b"GET / HTTP/1.1", b"GET /"):
            self.assertEqual(malformedCause(line), "")

    def test_long(self) -> None:
        """Of a header no more is shown than a line has room for."""
        self.assertIn(f"({'x' * 60}…)", hostCause([b"x" * 61, b"y"]))
        self.assertIn(f"({'x' * 57}, y)", hostCause([b"x" * 57, b"y"]))

    def test_changed(self) -> None:
        """What stands in their place is shown."""
        self.assertSaid(request(b"/", UPGRADING, b"Connection: close", KEY, VERSION), 400, "upgrade (close): ")
        self.assertSaid(request(b"/", b"Upgrade: h2c", CONNECTING, KEY, VERSION), 400, "websocket (h2c): ")
        odd = b"Connection: \xff" + b"x" * 1000
        self.assertSaid(request(b"/", UPGRADING, odd, KEY, VERSION), 400, "upgrade (\xffxxx", "x…): ", "nginx")

    def test_old(self) -> None:
        """HTTP/1.0 has no upgrades; what else is missing then is said as well."""
        said = "refused: 400 A WebSocket needs HTTP/1.1: HTTP/1.0: ", "nginx: proxy_http_version 1.1"
        line = self.assertSaid(upgrade(version=b"HTTP/1.0"), 400, *said)
        self.assertTrue(line.endswith(" 1.1"), line)
        self.assertSaid(request(b"/", KEY, VERSION, version=b"HTTP/1.0"), 400, *said, "no Upgrade: websocket and ")

    def test_drafts(self) -> None:
        """Versions before RFC 6455 are named as such."""
        begin = "refused: 426 WebSocket version 13 is spoken here: "
        self.assertSaid(request(b"/", *UPGRADE, b"Sec-WebSocket-Version: 8"), 426, begin, "-Version is 8, a draft's")
        self.assertSaid(request(b"/", UPGRADING, b"Sec-WebSocket-Version: 8"), 426, begin, "no Connection", "a draft's")
        hixie = (b"Upgrade: WebSocket", CONNECTING, b"Sec-WebSocket-Key1: 3 1", b"Sec-WebSocket-Key2: 4 2")
        self.assertSaid(request(b"/", *hixie), 426, begin, "Sec-WebSocket-Key1 is of a draft of 2010")

    def test_doubled(self) -> None:
        """So are headers that are there twice."""
        self.assertSaid(upgrade(b"/", VERSION), 426, "Sec-WebSocket-Version 2 times: a proxy in front that adds one?")
        self.assertSaid(upgrade(b"/", KEY), 400, "Sec-WebSocket-Key 2 times: a proxy in front that adds one?")

    def test_missing(self) -> None:
        """Headers of the handshake that are not there are named, and the directive that passes them on."""
        self.assertSaid(request(b"/", UPGRADING, CONNECTING, KEY), 426, "no Sec-WebSocket-Version: ", "headers on")
        self.assertSaid(request(b"/", UPGRADING, CONNECTING, VERSION), 400, "no Sec-WebSocket-Key: ", "headers on")

    def test_unknown(self) -> None:
        """A handshake of which nothing is known but that it is wrong says what the client is told."""
        self.assertSaid(upgrade().replace(KEY, b"Sec-WebSocket-Key: x"), 400, "refused: 400 ")

    def test_method(self) -> None:
        """An upgrade by another method is told from a form that somebody sends."""
        begin = "refused: 405 Only GET and HEAD are served"
        self.assertSaid(upgrade(method=b"POST"), 405, begin, ": POST with an upgrade", "no proxy_method")
        line = self.assertSaid(request(method=b"POST"), 405, begin)
        self.assertTrue(line.endswith(begin), line)

    def test_host(self) -> None:
        """No Host, and more than one."""
        twice = upgrade(b"/", b"Host: there")
        begin = "Exactly one Host header is needed: "
        self.assertSaid(twice, 400, begin, "Host 2 times (here, there): ", "set-header Host")
        self.assertSaid(upgrade().replace(b"Host: here\r\n", b""), 400, "no Host: ", "proxy_set_header Host $http_host")

    def test_body(self) -> None:
        """A body, of whatever kind."""
        for header in (b"Content-Length: 5", b"Transfer-Encoding: chunked"):
            self.assertSaid(upgrade(b"/", header), 400, "A request body is not accepted: ", "nginx: no proxy_set_body")

    def test_tooLong(self) -> None:
        """Headers that are too long are most often cookies."""
        self.assertSaid(upgrade(b"/", b"Cookie: " + b"x" * 100_000), 431, "Headers too large: cookies")
        self.assertSaid(upgrade(b"/" + b"x" * 100_000), 414, "refused: 414 Request line too long")

    def test_path(self) -> None:
        """A path that is none, or that was decoded on its way."""
        self.assertSaid(upgrade(b"console"), 400, "The request target must be a path: ", "It begins with a slash")
        self.assertSaid(upgrade(b"/a console"), 400, "a space in the path: ", "nginx: no $uri in proxy_pass")

    def test_secrets(self) -> None:
        """Neither path, query, cookies nor credentials are in a line, whatever is wrong."""
        secrets = (b"Cookie: hunter2", b"Authorization: Basic hunter2", b"X-Token: hunter2")
        for path in (b"/hunter2?token=hunter2", b"hunter2", b"/hunter2 hunter2", b"/hunter2" * 20_000):
            for good in (upgrade(path, *secrets), request(path, KEY, *secrets)):
                for data in (
                    good.replace(b"GET", b"POST"),
                    good.replace(b"HTTP/1.1", b"HTTP/1.0"),
                    good.replace(b"Host: here\r\n", b""),
                    good.replace(KEY, b"Sec-WebSocket-Key: x"),
                    good.replace(b"Connection", b"Content-Length: 5\r\nConnection"),
                    good.replace(VERSION, VERSION + b"\r\n" + VERSION),
                    good.replace(b"Host: here", b"Host: here\r\nHost: h/hunter2"),
                    good.replace(b"Cookie", b"No colon\r\nCookie"),
                ):
                    self.renew()
                    self.connect().send(data)
                    self.assertNotIn("hunter2", "\n".join(self.lines), data)

    def test_own(self) -> None:
        """A refusal that knows its cause keeps it, and one of a proper upgrade has none."""
        known = Refusal(400, "No", cause="known")
        self.assertIs(diagnosed(known, Headers(), b"HTTP/1.0"), known)
        plain = Refusal(400, "No")
        names = dict(header.split(b": ", 1) for header in (*UPGRADE, VERSION))
        headers = Headers({name: [value] for name, value in names.items()})
        self.assertIs(diagnosed(plain, headers, b"HTTP/1.1"), plain)


class QuietTests(DiagnosisTestCase):
    def test_pages(self) -> None:
        """Whoever wants a page is not refused, and no line is written."""
        for data in (request(), request(b"/none"), request(b"/", b"Upgrade: h2c", b"Connection: Upgrade")):
            self.connect().send(data)
        self.assertEqual(self.lines, [])

    def test_head(self) -> None:
        """What twisted.web writes of a page that answers HEAD with a body is without the query."""
        self.connect().send(request(b"/?token=hunter2", method=b"HEAD"))
        self.assertNotIn("hunter2", "\n".join(self.lines))
        self.assertEqual(len(self.lines), 1, self.lines)

    def test_accepted(self) -> None:
        """Nor of an upgrade that is handed to its session, which will write one."""
        self.sessions.answer = self.sessions.accept
        self.connect().send(upgrade())
        self.assertEqual(self.lines, [])


class NoPagesTests(DiagnosisTestCase):
    havePages = False

    def test_plain(self) -> None:
        """Where there are no pages either."""
        self.connect().send(request())
        self.assertEqual(self.lines, [])

    def test_lost(self) -> None:
        """But an upgrade that was spoilt is."""
        self.assertSaid(request(b"/", KEY, VERSION), 400, "no Upgrade: websocket and no ")


class SpeechTests(DiagnosisTestCase):
    """Connections that a proxy in front begins in another way."""

    def test_tls(self) -> None:
        """TLS to a port without a certificate."""
        hello = b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"
        self.assertSaid(hello, None, " speaks nothing that is served here: TLS to a port without a certificate: ")

    def test_plain(self) -> None:
        """Plain HTTP to a port that speaks TLS only."""
        self.assertSaid(
            upgrade(),
            400,
            "refused: 400 This port speaks TLS only: use https:// or wss://: ",
            "nginx: proxy_pass https://…",
            tls=CERTIFICATE,
            tlsOnly=True,
        )

    def test_proxyProtocol(self) -> None:
        """The PROXY protocol, in both its versions."""
        cure = "the PROXY protocol is not awaited: HAProxy: no send-proxy"
        self.assertSaid(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + upgrade(), 400, cure)
        self.assertSaid(PROXY_V2 + upgrade(), None, cure)

    def test_http2(self) -> None:
        """HTTP/2."""
        self.assertSaid(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "HTTP/2 is not spoken here: HAProxy: no proto h2")

    def test_inside(self) -> None:
        """What is TLS once more inside of TLS does not lack a certificate."""
        self.renew(tls=CERTIFICATE)
        client = TLSClient(self.connect(), self.clock)
        client.handshake()
        client.exchange(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00")
        self.assertEqual(self.lines, [])


class WordingTests(SynchronousTestCase):
    def test_bounded(self) -> None:
        """A stranger's values take little room."""
        self.assertLess(len(hostCause([b"h" * 10_000] * 400)), 300)
        self.assertEqual(speechCause(b"SSH-2.0-OpenSSH"), "")
