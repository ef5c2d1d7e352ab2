"""Clients that send anything, in any pieces, and leave whenever they like."""

from __future__ import annotations

from typing import Any, cast

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.frontend.connection import Connection, TLSClient, makeFactory, responses
from tests.frontend.test_switch import CERTIFICATE, FLASH, SSLV2, VERIFYING
from tests.frontend.test_upgrade import ASKING, FakeSessions, Page, request, upgrade
from wsproxy.errors import Refusal
from wsproxy.frontend.channel import KEEP_ALIVE
from wsproxy.frontend.raw import RawClient
from wsproxy.frontend.upgrade import FrontDoor
from wsproxy.sessions.reception import Upgrade
from wsproxy.sessions.sessions import Sessions

LONGEST = 3 * KEEP_ALIVE
"""Seconds until whoever says nothing more is gone, whatever he said before."""

_NAMES = st.sampled_from(
    [b"Host", b"Connection", b"Upgrade", b"Content-Length", b"Transfer-Encoding", b"Expect", b"Cookie", b"Accept"]
    + [b"Sec-WebSocket-" + name for name in (b"Key", b"Version", b"Protocol", b"Extensions")]
)
_LINES = st.one_of(
    st.builds(lambda name, value: name + b": " + value, _NAMES, st.binary(max_size=8)),
    st.builds(lambda name, digits: name + b": " + b"9" * digits, _NAMES, st.integers(0, 5000)),
    st.builds(lambda size: b"x" * size + b": x", st.integers(0, 300)),
    st.binary(max_size=10),
    st.just(ASKING),
)
_TARGETS = st.one_of(
    st.sampled_from([b"/", b"*", b"/slow", b"http://x/", b"wss://x", b"//", b"/%", b"x"]),
    st.binary(max_size=6).map(lambda path: b"/" + path),
)
_METHODS = st.sampled_from([b"GET", b"HEAD", b"OPTIONS", b"POST", b"PRI"])
_VERSIONS = st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b""])
_PIECES = st.one_of(
    st.builds(
        lambda method, target, version, lines: request(target, *lines, method=method, version=version),
        _METHODS,
        _TARGETS,
        _VERSIONS,
        st.lists(_LINES, max_size=3),
    ),
    st.builds(lambda target, lines: upgrade(target, *lines), _TARGETS, st.lists(_LINES, max_size=1)),
    st.sampled_from([FLASH, SSLV2, b"\x16\x03\x01\x02\x00\x01", b"SSH-2.0-x\r\n", b"\n", b"\r\n"]),
    st.just(b"GET / HTTP/1.1\n\n"),
    st.binary(max_size=20),
    st.builds(lambda size: b"x" * size, st.sampled_from([255, 4301, 16385, 65537])),
)
_CONVERSATIONS = st.lists(_PIECES, min_size=1, max_size=4).map(b"".join)
_PORTS: list[dict[str, Any]] = [{}, {"tls": CERTIFICATE}, {"tls": CERTIFICATE, "tlsOnly": True}, {"tls": VERIFYING}]


class HostileTests(SynchronousTestCase):
    def port(self, settings: dict[str, Any], passesThrough: bool) -> None:
        """What is connected to."""
        self.clock = Clock()
        self.sessions = FakeSessions()
        self.pages = Page()
        door = FrontDoor(self.clock, cast(Sessions, self.sessions), self.pages)
        raw = self.pass_ if passesThrough else None
        self.factory = makeFactory(self.clock, door, raw=raw, **settings)

    def pass_(self, client: RawClient) -> None:
        self.sessions.accept(cast(Upgrade, client))

    def converse(self, connection: Connection, data: bytes, size: int) -> None:
        """Send this, in pieces, for as long as somebody reads it."""
        transport = connection.transport
        for at in range(0, len(data), size):
            if transport.disconnecting:
                return
            if transport.producerState == "producing":
                transport.receive(data[at : at + size])
            self.answer()

    def answer(self) -> None:
        """Whoever takes his time answers now."""
        while self.pages.slow:
            slow = self.pages.slow.pop()
            if slow.channel is not None:
                slow.setHeader("content-length", "0")
                slow.finish()
        while self.sessions.explained:
            _, explaining = self.sessions.explained.pop()
            if not explaining.called:
                explaining.callback(Refusal(403, "No"))

    def assertOver(self, connection: Connection, ending: str) -> None:
        """It comes to its end, and nothing is left of it."""
        if ending == "half" and not connection.transport.disconnecting:
            connection.transport.halfClose()
        if ending != "gone" and not self.sessions.ends:
            self.clock.pump([1] * int(LONGEST))
            self.assertTrue(connection.transport.disconnecting or self.sessions.ends)  # silence passes through
        connection.lose()
        self.assertEqual(self.factory.connections, set())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(), [])

    @given(
        _CONVERSATIONS,
        st.sampled_from([1, 2, 7, 100, 65536]),
        st.sampled_from(["gone", "half", "silent"]),
        st.sampled_from(_PORTS),
        st.booleans(),
        st.sampled_from(["accept", "refuse", "wait"]),
    )
    @example(request(b"/", b"Content-Length: " + b"9" * 5000), 100, "silent", {}, False, "accept")
    @example(request(b"/slow") * 3 + upgrade() + b"behind", 7, "half", {}, False, "accept")
    @example(request(b"/", ASKING) * 2 + b"GET / HTTP/1.1\n", 7, "half", {}, True, "accept")
    @settings(deadline=None, max_examples=150)
    def test_anything(
        self, data: bytes, size: int, ending: str, port: dict[str, Any], passesThrough: bool, decision: str
    ) -> None:
        """Whatever is sent, however it is cut and ends: no traceback, no timer, and nobody stays without a deadline."""
        self.port(port, passesThrough)
        answers = {"accept": self.sessions.accept, "refuse": lambda upgrade: upgrade.refuse(Refusal(403, "No"))}
        self.sessions.answer = answers.get(decision)
        connection = Connection(self.factory)
        self.converse(connection, data, size if len(data) < 3000 else max(size, 100))
        waits = bool(self.sessions.upgrades) and decision == "wait"
        if not self.sessions.ends and not waits and connection.told.startswith(b"HTTP/"):
            methods = [method for method in (b"HEAD ",) if method in data]
            if not methods:
                responses(connection.told)
        self.assertOver(connection, "gone" if waits else ending)

    @given(_CONVERSATIONS, st.sampled_from([1, 7, 65536]), st.booleans())
    @settings(deadline=None, max_examples=20)
    def test_insideTLS(self, data: bytes, size: int, spoilt: bool) -> None:
        """Nor over TLS, where the last record may be spoilt."""
        self.port({"tls": CERTIFICATE}, False)
        self.sessions.answer = self.sessions.accept
        connection = Connection(self.factory)
        client = TLSClient(connection, self.clock)
        client.handshake()
        client.exchange(data, size if len(data) < 300 else None)
        self.answer()
        if spoilt and not connection.transport.disconnecting:
            connection.transport.receive(b"\x17\x03\x03\x00\x20" + bytes(32))
            self.assertTrue(connection.transport.disconnecting)
        self.assertOver(connection, "gone")
