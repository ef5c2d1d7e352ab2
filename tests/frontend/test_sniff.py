"""Tests of L{wsproxy.frontend.sniff}."""

from __future__ import annotations

import re
import ssl

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.frontend.sniff import LIMIT, Kind, sniff

POLICY_REQUEST = b"<policy-file-request/>\0"
SSLV2_HELLO = bytes.fromhex("802e 01 0002 0015 0000 0010")
SSLV2_HELLO_OFFERING_TLS = bytes.fromhex("8046 01 0301 002d 0000 0010")

BEGINNINGS = (
    b"\x16\x03\x01\x02\x00\x01",
    SSLV2_HELLO,
    SSLV2_HELLO_OFFERING_TLS,
    POLICY_REQUEST,
    b"GET / HTTP/1.1\r\n",
    b"\r\nGET / HTTP/1.1\r\n",
    b"CONNECT example.net:443 HTTP/1.1\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"RFB 003.008\n",
    b"\xff\xfb\x01\xff\xfd\x03",
)

# Beginnings, whole, cut and continued, reach the rows; uniform bytes nearly never would.
streams = st.one_of(
    st.binary(max_size=40),
    st.builds(
        lambda beginning, cut, rest: beginning[:cut] + rest,
        st.sampled_from(BEGINNINGS),
        st.integers(0, 40),
        st.binary(max_size=40),
    ),
)


def clientHello() -> bytes:
    """What Python's own TLS client sends first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="example.net")
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a handshake without a server")


def oracle(data: bytes) -> Kind:
    """The same table as regular expressions, for streams that are long enough to be certain."""
    for kind, pattern in (
        (Kind.TLS, rb"\x16\x03"),
        (Kind.SSLV2, rb"[\x80-\xff].\x01(\x00\x02|\x03[\x00-\x04])"),
        (Kind.FLASH_POLICY, rb"<policy-file-request/>\x00"),
        (Kind.HTTP, rb"(\r\n)?(GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|TRACE|CONNECT|PRI) "),
    ):
        if re.match(pattern, data, re.DOTALL):
            return kind
    return Kind.OTHER


class SniffTests(SynchronousTestCase):
    def assertDecidedAt(self, length: int, kind: Kind, data: bytes) -> None:
        """C{data} is undecided before C{length} bytes, and C{kind} from then on."""
        verdicts = [sniff(data[:end]) for end in range(len(data) + 1)]
        self.assertEqual([None] * length + [kind] * (len(data) + 1 - length), verdicts)

    def test_tls(self) -> None:
        """A TLS record is known by its type and its major version, two bytes, from a real client as well."""
        self.assertDecidedAt(2, Kind.TLS, clientHello()[:64])
        self.assertDecidedAt(2, Kind.OTHER, b"\x16\x04\x01")

    def test_sslv2(self) -> None:
        """An SSLv2 hello is known by its high bit, message type and version, whichever it offers."""
        self.assertDecidedAt(5, Kind.SSLV2, SSLV2_HELLO)
        self.assertDecidedAt(5, Kind.SSLV2, SSLV2_HELLO_OFFERING_TLS)

    def test_telnetIsNotSSLv2(self) -> None:
        """A telnet client's options have the high bit and may have a 1 in third place: they are not SSLv2."""
        self.assertDecidedAt(4, Kind.OTHER, b"\xff\xfb\x01\xff\xfd\x03")
        self.assertDecidedAt(3, Kind.OTHER, b"\xff\xfd\x18\xff\xfb\x1f")

    def test_flashPolicy(self) -> None:
        """A Flash policy request is known by all its 23 bytes, the NUL included, and nothing less."""
        self.assertDecidedAt(23, Kind.FLASH_POLICY, POLICY_REQUEST)
        self.assertDecidedAt(23, Kind.FLASH_POLICY, POLICY_REQUEST + b"more")
        self.assertDecidedAt(23, Kind.OTHER, POLICY_REQUEST[:-1] + b"\n")
        self.assertDecidedAt(2, Kind.OTHER, b"<?xml")

    def test_http(self) -> None:
        """A request is known by its method and the space after it, behind an empty line as well (RFC 9112 2.2)."""
        for method in b"GET HEAD POST PUT DELETE OPTIONS PATCH TRACE CONNECT PRI".split():
            self.assertDecidedAt(len(method) + 1, Kind.HTTP, method + b" / HTTP/1.1\r\n")
            self.assertDecidedAt(len(method) + 3, Kind.HTTP, b"\r\n" + method + b" / HTTP/1.1\r\n")

    def test_notHTTP(self) -> None:
        """Greetings that begin with a token, methods in small letters or without a space, are not HTTP."""
        for length, data in (
            (1, b"RFB 003.008\n"),
            (1, b"SSH-2.0-OpenSSH_9.6 Debian\r\n"),
            (3, b"\r\n\r\nGET / HTTP/1.1\r\n"),
            (1, b"get / http/1.1\r\n"),
            (4, b"GETS / HTTP/1.1\r\n"),
            (5, b"POST\r\n"),
            (5, b"HEAD\t/"),
            (2, b"GARBAGE\r\n"),
        ):
            self.assertDecidedAt(length, Kind.OTHER, data)

    def test_nothingYet(self) -> None:
        """No bytes say nothing."""
        self.assertIdentical(None, sniff(b""))

    @settings(deadline=None)
    @given(streams)
    def test_monotone(self, data: bytes) -> None:
        """Undecided for a while, then one verdict for good: no split of the bytes changes it or its place."""
        verdicts = [sniff(data[:end]) for end in range(len(data) + 1)]
        decided = [verdict for verdict in verdicts if verdict is not None]
        self.assertEqual([None] * (len(verdicts) - len(decided)) + decided, verdicts)
        self.assertLessEqual(len(set(decided)), 1)

    @settings(deadline=None)
    @given(streams.map(lambda data: data.ljust(LIMIT, b"\0")))
    def test_decidedWithinTheLimit(self, data: bytes) -> None:
        """LIMIT bytes are always enough, and the verdict is that of the whole stream."""
        self.assertIdentical(oracle(data), sniff(data[:LIMIT]))
        self.assertIdentical(oracle(data), sniff(data))

    def test_limitIsNeeded(self) -> None:
        """LIMIT is no larger than it has to be."""
        self.assertIdentical(None, sniff(POLICY_REQUEST[: LIMIT - 1]))
