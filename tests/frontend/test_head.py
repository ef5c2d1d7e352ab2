"""The head of an ordinary upgrade request: what is one, and that it makes no difference."""

from __future__ import annotations

import re
from typing import Any, cast

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.frontend.connection import Connection, makeFactory
from tests.frontend.test_upgrade import ASKING, UPGRADE, VERSION, FakeSessions, Page, request, upgrade
from wsproxy.access.forwarded import TrustedProxies
from wsproxy.errors import Refusal
from wsproxy.frontend.channel import HEAD_LIMIT, HEADERS, NAME_LIMIT
from wsproxy.frontend.head import LONGEST, Head, readHead
from wsproxy.frontend.legacy import LegacyDoor
from wsproxy.frontend.upgrade import FrontDoor
from wsproxy.sessions.sessions import Sessions

BROWSER = (
    b"Connection: keep-alive, Upgrade",
    b"Pragma: no-cache",
    b"Cookie: a=1; b=caf; =;x",
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64)",
    b"Origin: http://here",
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
    b"Sec-WebSocket-Protocol: binary, base64",
)

_ODD = st.one_of(
    st.sampled_from(
        [
            *UPGRADE,
            VERSION,
            *BROWSER,
            b"Host: there",
            b"Sec-WebSocket-Version: 8",
            b"Sec-WebSocket-Version: 13, 8",
            b"Sec-WebSocket-Version : 13",
            b"Sec-WebSocket-Key: short",
            b"Sec-WebSocket-Key1: 1 2",
            b"Sec-WebSocket-Origin: http://here",
            b"Sec-WebSocket-Protocol:",
            b"Sec-WebSocket-Protocol: binary,,\t,a b",
            b"UPGRADE:\t WebSocket ",
            b"Upgrade: h2c",
            b"Upgrade: websocket, h2c",
            b"Connection: close",
            b"Connection:",
            b"Connection: noupgrade",
            b"Content-Length: 0",
            b"content-length: 5",
            b"Transfer-Encoding: chunked",
            b"Expect: 100-continue",
            b"Accept: */*",
            b"X-Forwarded-For: 192.0.2.1, 192.0.2.7",
            b"X_Y:  \t z \t",
            b" folded",
            b"\tfolded: more",
            b"",
            b":",
            b"no colon",
            b"Host:",
            b"x" * NAME_LIMIT + b": y",
            b"x" * (NAME_LIMIT + 1) + b": y",
            ASKING,
        ]
    ),
    st.builds(lambda name, value: name + b":" + value, st.binary(max_size=3), st.binary(max_size=5)),
    st.integers(0, 70).map(lambda size: b"x" * size + b": y"),
)
_TARGETS = st.one_of(
    st.sampled_from([b"/", b"//", b"/a%20b?x=1&y=%C3%A9&x=2", b"/?", b"/??", b"/#f", b"*", b"ws://here/x?y", b"x"]),
    st.binary(max_size=5).map(lambda path: b"/" + path),
)


@st.composite
def _heads(draw: st.DrawFn) -> bytes:
    """An ordinary one, of which some lines are missing, are there twice, or others."""
    lines = [b"Host: here", *UPGRADE, VERSION, *draw(st.lists(st.sampled_from(BROWSER[1:]), max_size=6, unique=True))]
    for odd in draw(st.lists(_ODD, max_size=2)):
        at = draw(st.integers(0, len(lines)))
        lines[at : at + draw(st.integers(0, 1))] = [odd]
    first = draw(st.sampled_from([b"GET ", b"GET ", b"GET ", b"GET  ", b"get ", b"HEAD ", b"OPTIONS "]))
    last = draw(st.sampled_from([b" HTTP/1.1", b" HTTP/1.1", b" HTTP/1.1", b" HTTP/1.0", b" http/1.1", b""]))
    end = draw(st.sampled_from([b"\r\n"] * 6 + [b"\n", b"\r\r\n", b"\r\n "]))
    behind = draw(st.sampled_from([b"", b"behind", b"\r\n", request()]))
    return end.join([first + draw(_TARGETS) + last, *lines, b"", behind])


class BothWaysTests(SynchronousTestCase):
    """Past twisted.web or through it, the same becomes of a connection."""

    def outcome(self, data: bytes, short: bool, settings: dict[str, Any], answer: str) -> tuple[Any, ...]:
        """What its client is told, what is decided about, what is relayed and what is logged."""
        clock, sessions = Clock(), FakeSessions()
        legacy = settings.pop("legacy", False)
        door = (LegacyDoor if legacy else FrontDoor)(clock, cast(Sessions, sessions), Page(), **settings)
        sessions.answer = {
            "accept": sessions.accept,
            "agree": lambda upgrade: sessions.accept(upgrade, next(iter(upgrade.request.subprotocols), None)),
            "refuse": lambda upgrade: upgrade.refuse(Refusal(403, "No")),
            "wait": None,
        }[answer]
        factory = makeFactory(clock, door, short=short)
        log: list[LogEvent] = []
        globalLogPublisher.addObserver(log.append)  # type: ignore[arg-type]  # that takes events, too
        try:
            connection = Connection(factory)
            connection.send(data)
        finally:
            globalLogPublisher.removeObserver(log.append)  # type: ignore[arg-type]
        times = [call.getTime() for call in clock.getDelayedCalls()]
        told = re.sub(rb"Date: [^\r]+", b"Date: now", connection.told)
        connection.lose()
        asked = [(each.request, each.draft) for each in sessions.upgrades]
        words = [re.sub("0x[0-9a-f]+", "0x", formatEvent(event)) for event in log]
        return told, connection.lingers, asked, sessions.received, sessions.lost, sorted(times), words

    @given(
        _heads(),
        st.sampled_from([{}, {"proxies": TrustedProxies(["192.0.2.0/24", "127.0.0.1"])}, {"legacy": True}]),
        st.sampled_from(["accept", "agree", "refuse", "wait"]),
    )
    @example(upgrade(b"/", *BROWSER[1:]) + b"behind", {}, "agree")
    @example(upgrade(b"/", *[b"X%d: y" % number for number in range(HEADERS)]), {}, "accept")
    @example(upgrade(b"/" + b"x" * HEAD_LIMIT), {}, "accept")
    @settings(deadline=None, max_examples=300)
    def test_alike(self, data: bytes, settings: dict[str, Any], answer: str) -> None:
        """Whatever a connection begins with."""
        short, long = (self.outcome(data, way, {**settings}, answer) for way in (True, False))
        self.assertEqual(short, long)
        self.flushLoggedErrors()

    def test_broken(self) -> None:
        """Where describing a request fails, that is logged once, and the client told 500, either way."""

        class Broken(TrustedProxies):
            def read(self, *_: object) -> None:
                raise ZeroDivisionError

        for short in (True, False):
            told, *_ = self.outcome(upgrade(), short, {"proxies": Broken([])}, "accept")
            self.assertEqual(told[:13], b"HTTP/1.1 500 ")
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class HeadTests(SynchronousTestCase):
    def test_ordinary(self) -> None:
        """What browsers and libraries send is read, to the byte behind it."""
        data = upgrade(b"/a?token=b", *BROWSER[1:])
        self.assertEqual(len(readHead(data + b"behind") or ()), len(Head._fields))
        head = readHead(data + b"behind")
        assert head is not None
        self.assertEqual((head.target, head.size), ("/a?token=b", len(data)))
        self.assertEqual(head.headers["cookie"], "a=1; b=caf; =;x")
        self.assertIsNotNone(readHead(request(b"/", *UPGRADE[:1], BROWSER[0], *UPGRADE[2:], VERSION)))

    def test_incomplete(self) -> None:
        """One that is not complete is not, whatever is missing of it."""
        data = upgrade()
        for size in range(len(data)):
            self.assertIsNone(readHead(data[:size]))

    def test_unusual(self) -> None:
        """What asks for more, or says something twice, is left to others."""
        for line in (b"Content-Length: 0", b"Expect: 100-continue", b"Transfer-Encoding: identity", b"Host: here"):
            self.assertIsNone(readHead(upgrade(b"/", line)))
        self.assertIsNone(readHead(request(b"/", *UPGRADE)))
        self.assertIsNone(readHead(request(b"/", VERSION)))

    def test_long(self) -> None:
        """So is what is long."""
        path = b"/" + b"x" * (LONGEST - len(upgrade()))
        self.assertIsNotNone(readHead(upgrade(path)))
        self.assertIsNone(readHead(upgrade(path + b"x")))
