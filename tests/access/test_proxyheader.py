"""Tests of L{wsproxy.access.proxyheader}."""

from __future__ import annotations

import struct
from ipaddress import ip_address

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.access.proxyheader import VERSIONS, Endpoint, Malformed, ProxyHeader, makeHeader, parseHeader

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
IPV4 = Endpoint("192.0.2.7", 4321), Endpoint("203.0.113.1", 443)
IPV6 = Endpoint("2001:db8::7", 4321), Endpoint("2001:db8::1", 443)
LINE = b"PROXY TCP4 192.0.2.7 203.0.113.1 4321 443\r\n"


def binary(command: int, family: int, block: bytes = b"", length: int | None = None) -> bytes:
    """A header of version 2. @param length: what it says of itself, where that is not so."""
    return SIGNATURE + struct.pack("!BBH", command, family, len(block) if length is None else length) + block


def packed4(*more: bytes) -> bytes:
    return b"\xc0\0\2\7\xcb\0\x71\1" + struct.pack("!HH", 4321, 443) + b"".join(more)


UNIX = b"/run/a".ljust(108, b"\0") + b"/run/b".ljust(108, b"\0")
TLVS = b"\x04\0\x03abc\x20\0\x05\x01\0\0\0\0\xea\0\x01!"

GOOD = (
    LINE,
    b"PROXY TCP6 2001:db8::7 2001:db8::1 4321 443\r\n",
    b"PROXY UNKNOWN\r\n",
    b"PROXY UNKNOWN ffff::1 nonsense 1 2\r\n",
    binary(0x21, 0x11, packed4()),
    binary(0x21, 0x11, packed4(TLVS)),
    binary(0x21, 0x21, bytes(36)),
    binary(0x21, 0x31, UNIX),
    binary(0x21, 0x12, packed4()),
    binary(0x21, 0x00),
    binary(0x20, 0x00),
    binary(0x20, 0x11, packed4()),
    binary(0x20, 0xFF, b"whatever"),
)
BAD = (
    b"GET / HTTP/1.1\r\n",
    b"\x16\x03\x01\x02\x00",
    b"<policy-file-request/>\0",
    b"proxy tcp4 192.0.2.7 203.0.113.1 4321 443\r\n",
    b"PROXY\r\n",
    b"PROXYTCP4 192.0.2.7",
    b"PROXY \r\n",
    b"PROXY TCP5 192.0.2.7 203.0.113.1 4321 443\r\n",
    b"PROXY TCP4 192.0.2.7 203.0.113.1 4321\r\n",
    b"PROXY TCP4 192.0.2.7 203.0.113.1 4321 443 1\r\n",
    b"PROXY TCP4  192.0.2.7 203.0.113.1 4321 443\r\n",
    b"PROXY TCP4 192.0.2.7 203.0.113.1 4321 443 \r\n",
    b"PROXY TCP4 192.0.2.7 203.0.113.1 4321 0443\r\n",
    b"PROXY TCP4 192.0.2.7 203.0.113.1 4321 +443\r\n",
    b"PROXY TCP4 192.0.2.7 203.0.113.1 65536 443\r\n",
    b"PROXY TCP4 192.0.2.07 203.0.113.1 4321 443\r\n",
    b"PROXY TCP4 2001:db8::7 2001:db8::1 4321 443\r\n",
    b"PROXY TCP6 192.0.2.7 203.0.113.1 4321 443\r\n",
    b"PROXY TCP6 fe80::1%eth0 fe80::2 4321 443\r\n",
    b"PROXY TCP4 example.net 203.0.113.1 4321 443\r\n",
    b"PROXY TCP4 192.0.2.7 203.0.113.1 4321 443\nGET / HTTP/1.1\r\n",
    b"PROXY TCP4 192.0.2.\xff 203.0.113.1 4321 443\r\n",
    b"PROXY " + b"x" * 101,
    b"PROXY UNKNOWN ".ljust(106, b"x") + b"\r\n",
    SIGNATURE[:11] + b"\r",
    binary(0x11, 0x11, packed4()),
    binary(0x22, 0x11, packed4()),
    binary(0x31, 0x11, packed4()),
    binary(0x21, 0x11, packed4()[:11]),
    binary(0x21, 0x21, packed4()),
    binary(0x21, 0x31, UNIX[:215]),
    binary(0x21, 0x13, packed4()),
    binary(0x21, 0x41, bytes(300)),
)

streams = st.one_of(
    st.binary(max_size=60),
    st.builds(
        lambda beginning, cut, rest: beginning[:cut] + rest,
        st.sampled_from([*GOOD, *BAD]),
        st.integers(0, 300),
        st.binary(max_size=60),
    ),
)


class ParseTests(SynchronousTestCase):
    def test_line(self) -> None:
        """Version 1 names client and server in words."""
        self.assertEqual(parseHeader(LINE), ProxyHeader(len(LINE), *IPV4))
        line = b"PROXY TCP6 2001:0db8:0000:0000:0000:0000:0000:0007 2001:db8::1 4321 443\r\n"
        self.assertEqual(parseHeader(line), ProxyHeader(len(line), *IPV6))

    def test_longest(self) -> None:
        """The longest line that there may be has 107 bytes."""
        line = b"PROXY UNKNOWN ".ljust(105, b"f") + b"\r\n"
        self.assertEqual(len(line), 107)
        self.assertEqual(parseHeader(line), ProxyHeader(107))

    def test_binary(self) -> None:
        """Version 2 names them in bytes."""
        header = binary(0x21, 0x11, packed4())
        self.assertEqual(parseHeader(header), ProxyHeader(len(header), *IPV4))
        block = bytes.fromhex("20010db8" + "00" * 11 + "07" + "20010db8" + "00" * 11 + "01" + "10e1" + "01bb")
        header = binary(0x21, 0x21, block)
        self.assertEqual(parseHeader(header), ProxyHeader(len(header), *IPV6))

    def test_tlvs(self) -> None:
        """What follows the addresses is passed over, up to the length that is told: 65,535 bytes."""
        for more in (TLVS, bytes(0xFFFF - 12)):
            header = binary(0x21, 0x11, packed4(more))
            self.assertIdentical(parseHeader(header[:-1]), None)
            self.assertEqual(parseHeader(header + b"GET"), ProxyHeader(len(header), *IPV4))

    def test_nobody(self) -> None:
        """A proxy that speaks for itself names nobody, nor do families without an address that we know."""
        for header in GOOD[2:4] + GOOD[7:]:
            self.assertEqual(parseHeader(header + b"more"), ProxyHeader(len(header)))

    def test_rest(self) -> None:
        """What follows a header is not its part."""
        for header in GOOD:
            for rest in (b"", b"\r\n", b"G", LINE):
                found = parseHeader(header + rest)
                assert isinstance(found, ProxyHeader)
                self.assertEqual(found.size, len(header))

    def test_malformed(self) -> None:
        """What is no header is refused, and why is said in a line."""
        for data in BAD:
            found = parseHeader(data)
            assert isinstance(found, Malformed), data
            self.assertRegex(found.why, r"^(no|a) PROXY (header|line)[\x20-\x7e]*$")

    def test_early(self) -> None:
        """Who speaks something else is not waited for: one byte is enough, or the first that differs."""
        for data, at in ((b"GET / ", 1), (b"\x16\x03", 1), (b"POST ", 2), (b"PROX\r", 5), (b"\r\nGET", 3)):
            self.assertIdentical(parseHeader(data[: at - 1]), None)
            self.assertIsInstance(parseHeader(data[:at]), Malformed)

    @settings(deadline=None)
    @given(streams)
    def test_monotone(self, data: bytes) -> None:
        """
        Whatever the bytes, nothing is raised; undecided for a while, then one verdict for good: no split of the bytes
        changes it or its place.
        """
        verdicts = [parseHeader(data[:end]) for end in range(len(data) + 1)]
        decided = [verdict for verdict in verdicts if verdict is not None]
        self.assertEqual([None] * (len(verdicts) - len(decided)) + decided, verdicts)
        self.assertTrue(all(verdict == decided[0] for verdict in decided))
        self.assertEqual(parseHeader(bytearray(data)), verdicts[-1])

    @settings(deadline=None)
    @given(st.binary(min_size=16, max_size=16), st.integers(0, 400))
    def test_bounded(self, head: bytes, length: int) -> None:
        """There is a verdict at the latest when the length is there that was told."""
        for data in (SIGNATURE + head[:2] + struct.pack("!H", length) + bytes(length), b"PROXY " + head.ljust(101)):
            self.assertIsNot(parseHeader(data), None)


def addresses(version: int) -> st.SearchStrategy[Endpoint]:
    return st.builds(Endpoint, st.ip_addresses(v=version).map(str), st.integers(0, 65535))


class MakeTests(SynchronousTestCase):
    def test_line(self) -> None:
        """Version 1."""
        self.assertEqual(makeHeader("v1", *IPV4), LINE)
        self.assertEqual(makeHeader("v1", *IPV6), b"PROXY TCP6 2001:db8::7 2001:db8::1 4321 443\r\n")

    def test_binary(self) -> None:
        """Version 2."""
        self.assertEqual(makeHeader("v2", *IPV4), binary(0x21, 0x11, packed4()))

    def test_nobody(self) -> None:
        """A client without an address that could be told is nobody's, and the proxy speaks for itself."""
        self.assertEqual(makeHeader("v1", None, IPV4[1]), b"PROXY UNKNOWN\r\n")
        self.assertEqual(makeHeader("v2", None, None), binary(0x20, 0))

    def test_noDestination(self) -> None:
        """A server without an address takes nothing away from the client's."""
        self.assertEqual(makeHeader("v1", IPV4[0], None), b"PROXY TCP4 192.0.2.7 0.0.0.0 4321 0\r\n")
        self.assertEqual(makeHeader("v1", IPV6[0], None), b"PROXY TCP6 2001:db8::7 :: 4321 0\r\n")

    def test_mixed(self) -> None:
        """Where the families differ, the address of IPv4 is mapped into IPv6."""
        for version in VERSIONS:
            header = parseHeader(makeHeader(version, IPV4[0], IPV6[1]))
            assert isinstance(header, ProxyHeader)
            self.assertEqual(header.source, Endpoint(str(ip_address("::ffff:192.0.2.7")), 4321))  # since 3.13 with dots
            self.assertEqual(header.destination, IPV6[1])

    @settings(deadline=None)
    @given(st.sampled_from(VERSIONS), st.one_of(*(st.tuples(addresses(v), addresses(v)) for v in (4, 6))))
    def test_understood(self, version: str, pair: tuple[Endpoint, Endpoint]) -> None:
        """What is made is what is read."""
        header = makeHeader(version, *pair)
        self.assertEqual(parseHeader(header), ProxyHeader(len(header), *pair))
        self.assertLessEqual(len(header), 107)
