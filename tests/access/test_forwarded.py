"""Tests of L{wsproxy.access.forwarded}."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.access.forwarded import TrustedProxies, asAddress, namedIn
from wsproxy.access.peer import printable
from wsproxy.access.proxyheader import Endpoint, ProxyHeader
from wsproxy.errors import ConfigError
from wsproxy.interfaces import Forwarded

NEAR = IPv4Address("TCP", "10.0.0.1", 5000)
EDGE = "10.0.0.2"
STRANGER = IPv4Address("TCP", "198.51.100.9", 5000)
UNIX = UNIXAddress(b"")


class ForwardedTestCase(SynchronousTestCase):
    proxies = TrustedProxies(["10.0.0.0/24", "forwarded:10.0.1.0/24", "proxy:10.0.2.0/24", "unix"])

    def read(self, peer: IAddress = NEAR, named: Forwarded | None = None, **headers: str) -> Forwarded | None:
        return self.proxies.read(peer, named, {name.replace("_", "-"): value for name, value in headers.items()})

    def client(self, peer: IAddress = NEAR, named: Forwarded | None = None, **headers: str) -> str:
        """How the client is shown."""
        found = self.read(peer, named, **headers)
        return printable(peer if found is None else found.client)


class UsualTests(ForwardedTestCase):
    """C{X-Forwarded-*}."""

    def test_client(self) -> None:
        """A trusted proxy is believed whom it names."""
        self.assertEqual(self.client(x_forwarded_for="192.0.2.7"), "192.0.2.7")

    def test_spoofed(self) -> None:
        """What the client itself has sent stands before that, and counts for nothing."""
        for lie in ("10.0.0.9", "127.0.0.1", "unknown", "unix:", "", ",", "a, b", "10.0.0.1, 203.0.113.5", '"'):
            self.assertEqual(self.client(x_forwarded_for=f"{lie}, 192.0.2.7"), "192.0.2.7", lie)

    def test_untrusted(self) -> None:
        """Who is not trusted is the client, whatever he says of others."""
        self.assertIdentical(self.read(STRANGER, x_forwarded_for="192.0.2.7", x_forwarded_proto="https"), None)
        self.assertIdentical(self.read(STRANGER, forwarded="for=192.0.2.7"), None)

    def test_chain(self) -> None:
        """The rightmost that is not trusted wins, through as many trusted proxies as there are."""
        self.assertEqual(self.client(x_forwarded_for=f"6.6.6.6, 192.0.2.7, {EDGE}"), "192.0.2.7")
        self.assertEqual(self.client(x_forwarded_for=f"6.6.6.6, {EDGE}, 192.0.2.7, {EDGE}, {EDGE}"), "192.0.2.7")
        self.assertEqual(self.client(x_forwarded_for="6.6.6.6, 198.51.100.9, 10.0.0.3"), "198.51.100.9")

    def test_allTrusted(self) -> None:
        """A client on the network of the proxies is the first of them."""
        self.assertEqual(self.client(x_forwarded_for=f"10.0.0.77, {EDGE}"), "10.0.0.77")

    def test_unreadable(self) -> None:
        """Where a trusted proxy names nobody, it is the client itself, and not who stands before."""
        for nobody in ("unknown", "_hidden", "unix:", "", "192.0.2", "192.0.2.7:x", "192.0.2.7:65536", "::1::", "[::1"):
            self.assertEqual(self.client(x_forwarded_for=f"192.0.2.7, {nobody}"), "10.0.0.1:5000", nobody)
            self.assertEqual(self.client(x_forwarded_for=f"192.0.2.7, {nobody}, {EDGE}"), EDGE, nobody)

    def test_absent(self) -> None:
        """A proxy that says nothing speaks for itself, as in a health check."""
        self.assertEqual(self.client(), "10.0.0.1:5000")

    def test_unix(self) -> None:
        """Peers on a unix socket are trusted by name, and only where they are."""
        self.assertEqual(self.client(UNIX, x_forwarded_for="192.0.2.7"), "192.0.2.7")
        self.assertIdentical(TrustedProxies(["0.0.0.0/0", "::/0"]).read(UNIX, None, {"x-forwarded-for": "::1"}), None)

    def test_host(self) -> None:
        """Host and scheme are those of the outermost proxy that is trusted, where each adds its own."""
        found = self.read(x_forwarded_for="192.0.2.7", x_forwarded_host="evil, good", x_forwarded_proto="http, HTTPS")
        assert found is not None
        self.assertEqual((found.host, found.secure), ("good", True))
        hosts = {"x_forwarded_host": "evil, good, inner", "x_forwarded_proto": "https"}
        found = self.read(x_forwarded_for=f"192.0.2.7, {EDGE}", **hosts)
        assert found is not None
        self.assertEqual((found.host, found.secure), ("good", True))

    def test_hostAlone(self) -> None:
        """They count without a client, too."""
        found = self.read(x_forwarded_host="good", x_forwarded_proto="wss")
        self.assertEqual(found, Forwarded(NEAR, host="good", secure=True))

    def test_schemes(self) -> None:
        """Schemes are those of browsers; of another nothing is known."""
        for scheme, secure in (("https", True), ("wss", True), ("http", False), ("ws", False), ("ftp", None)):
            found = self.read(x_forwarded_proto=scheme)
            assert found is not None
            self.assertIdentical(found.secure, secure, scheme)

    @given(st.text(max_size=60))
    def test_anything(self, text: str) -> None:
        """Whatever stands there, the last that a trusted proxy has added is what counts."""
        self.assertEqual(self.client(x_forwarded_for=f"{text}, 192.0.2.7"), "192.0.2.7")
        self.assertTrue(self.client(x_forwarded_for=text, x_forwarded_host=text, x_forwarded_proto=text))


class StandardTests(ForwardedTestCase):
    """C{Forwarded}, RFC 7239."""

    peer = IPv4Address("TCP", "10.0.1.1", 5000)

    def standard(self, text: str) -> Forwarded | None:
        return self.read(self.peer, forwarded=text, x_forwarded_for="6.6.6.6", x_forwarded_host="evil")

    def test_only(self) -> None:
        """Proxies that are trusted for one header are not for the other, which their client may have sent."""
        self.assertEqual(self.standard(""), Forwarded(self.peer))
        self.assertEqual(self.client(forwarded="for=6.6.6.6"), "10.0.0.1:5000")
        self.assertEqual(self.client(forwarded="for=6.6.6.6", x_forwarded_for="192.0.2.7"), "192.0.2.7")

    def test_element(self) -> None:
        """Client, host and scheme stand in one element."""
        found = self.standard('for=192.0.2.7;proto=https;by=203.0.113.43;host="console.example:443"')
        client = IPv4Address("TCP", "192.0.2.7", 0)
        self.assertEqual(found, Forwarded(client, host="console.example:443", secure=True))

    def test_spelling(self) -> None:
        """Names in any case, spaces, quotes, ports and brackets are the RFC's own."""
        six = IPv6Address("TCP", "2001:db8:cafe::17", 4711)
        self.assertEqual(self.standard('For="[2001:db8:cafe::17]:4711" ; PROTO=http'), Forwarded(six, secure=False))
        self.assertEqual(self.standard('for="\\1\\92.0.2.7"'), self.standard("for=192.0.2.7"))

    def test_chain(self) -> None:
        """The rightmost that is not trusted wins, with the host that its proxy tells."""
        found = self.standard("for=6.6.6.6;host=evil, for=192.0.2.7;host=good, for=10.0.1.2;host=inner")
        self.assertEqual(found, Forwarded(IPv4Address("TCP", "192.0.2.7", 0), host="good"))

    def test_spoofed(self) -> None:
        """What the client has sent before takes nothing away, closed or not."""
        for lie in ('for="', 'for=10.0.1.9;by="', '"', 'for="[::1]', "for=\\", 'x="\\', ',",', '"",;=', "for=10.0.1.9"):
            found = self.standard(f"{lie}, for=192.0.2.7;host=good")
            self.assertEqual(found, Forwarded(IPv4Address("TCP", "192.0.2.7", 0), host="good"), lie)

    def test_quotedHost(self) -> None:
        """Nor does what a proxy has quoted of it."""
        found = self.standard('for=192.0.2.7;host="a\\",for=10.0.1.9;host=\\"b"')
        self.assertEqual(found, Forwarded(IPv4Address("TCP", "192.0.2.7", 0), host='a",for=10.0.1.9;host="b'))
        found = self.standard('for=192.0.2.7;host="b\\\\"')
        self.assertEqual(found, Forwarded(IPv4Address("TCP", "192.0.2.7", 0), host="b\\"))

    def test_unreadable(self) -> None:
        """Where a trusted proxy says nothing that can be read, it is the client itself."""
        for nobody in ("for=unknown", "for=_x", "for", "for=192.0.2.7 x", "for=192.0.2.7=", ";;", 'for="192.0.2.7'):
            self.assertEqual(self.standard(f"for=6.6.6.6, {nobody}"), Forwarded(self.peer), nobody)

    @given(st.text(alphabet='fo=r;,"\\ 1.', max_size=40))
    def test_anything(self, text: str) -> None:
        """Whatever stands there, the last that a trusted proxy has added is what counts."""
        found = self.standard(f"{text}, for=192.0.2.7")
        self.assertEqual(found, Forwarded(IPv4Address("TCP", "192.0.2.7", 0)))


class AnnouncedTests(ForwardedTestCase):
    """Headers behind one of the PROXY protocol."""

    def test_announces(self) -> None:
        """Those peers must begin with one that are trusted to, and no others."""
        self.assertTrue(self.proxies.announces(IPv4Address("TCP", "10.0.2.1", 1)))
        self.assertTrue(TrustedProxies(["proxy:unix"]).announces(UNIX))
        for peer in (NEAR, STRANGER, UNIX):
            self.assertFalse(self.proxies.announces(peer))

    def test_named(self) -> None:
        """Whom a header names is the client; what he sends counts only where he is trusted himself."""
        peer, server = IPv4Address("TCP", "10.0.2.1", 1), IPv4Address("TCP", "203.0.113.1", 443)
        named = Forwarded(STRANGER, server)
        self.assertIdentical(self.read(peer, named, x_forwarded_for="6.6.6.6", forwarded="for=6.6.6.6"), named)
        found = self.read(peer, Forwarded(NEAR, server), x_forwarded_for="192.0.2.7")
        self.assertEqual(found, Forwarded(IPv4Address("TCP", "192.0.2.7", 0), server))

    def test_speaksForItself(self) -> None:
        """A proxy that names nobody is not believed its headers for that."""
        self.assertIdentical(self.read(IPv4Address("TCP", "10.0.2.1", 1), None, x_forwarded_for="6.6.6.6"), None)

    def test_addresses(self) -> None:
        """Addresses of a header are those of sockets; mapped ones are of IPv4."""
        header = ProxyHeader(1, Endpoint("::ffff:192.0.2.7", 1), Endpoint("2001:db8::1", 2))
        expected = Forwarded(IPv4Address("TCP", "192.0.2.7", 1), IPv6Address("TCP", "2001:db8::1", 2))
        self.assertEqual(namedIn(header), expected)
        self.assertIdentical(namedIn(ProxyHeader(1)), None)


class NodeTests(SynchronousTestCase):
    def test_addresses(self) -> None:
        """Addresses with a port and without, in all that is in use."""
        for node, shown in (
            ("192.0.2.7", "192.0.2.7"),
            ("192.0.2.7:80", "192.0.2.7:80"),
            ("2001:DB8::7", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("[2001:db8::7]:80", "[2001:db8::7]:80"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("[::ffff:192.0.2.7]:80", "192.0.2.7:80"),
        ):
            address = asAddress(node)
            assert address is not None, node
            self.assertEqual(printable(address), shown)

    def test_none(self) -> None:
        """What is no address."""
        for node in ("", "localhost", "192.0.2.7 ", "192.0.2.7:", ":80", "[192.0.2.7]x", "\u0661.1.1.1", "fe80::1%1"):
            self.assertIdentical(asAddress(node), None, node)


class ComplaintTests(SynchronousTestCase):
    def test_complaints(self) -> None:
        """What is no network is told with its option, whatever stands before it."""
        for text in ("example.net", "", "forwarded:10.0.0.0/33", "PROXY:10.0.0.1", "proxy:proxy:10.0.0.1"):
            error = self.assertRaises(ConfigError, TrustedProxies, [text])
            self.assertEqual(str(error).partition(": expected")[0], f"--trusted-proxy {text or repr(text)}", text)
