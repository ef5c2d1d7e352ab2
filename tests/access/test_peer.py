"""How addresses are understood and written."""

from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.access.peer import printable, unmapped, whom


class UnmappedTests(SynchronousTestCase):
    def test_mapped(self) -> None:
        """An IPv4 address mapped into IPv6 is that IPv4 address, in either notation."""
        expected = IPv4Address("TCP", "192.0.2.1", 1234)
        for host in ("::ffff:192.0.2.1", "::FFFF:192.0.2.1", "::ffff:c000:201"):
            self.assertEqual(unmapped(IPv6Address("TCP", host, 1234)), expected)

    def test_unchanged(self) -> None:
        """Every other address is what it was, an IPv6 address that merely resembles a mapped one included."""
        for address in (
            IPv4Address("TCP", "192.0.2.1", 1),
            IPv6Address("TCP", "2001:db8::1", 1),
            IPv6Address("TCP", "::ffff:1:192.0.2.1", 1),
            IPv6Address("TCP", "fe80::1%eth0", 1),
            UNIXAddress(b"/run/it"),
        ):
            self.assertIs(unmapped(address), address)


class HostAddress(str):
    """An address of a kind that only its plugin knows."""


class PrintableTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """Each kind of address has one way of being written."""
        for address, expected in (
            (IPv4Address("TCP", "192.0.2.1", 80), "192.0.2.1:80"),
            (IPv6Address("TCP", "::ffff:192.0.2.1", 80), "192.0.2.1:80"),
            (IPv6Address("TCP", "2001:db8::1", 80), "[2001:db8::1]:80"),
            (IPv6Address("TCP", "fe80::1%eth0", 80, 0, 2), "[fe80::1%eth0]:80"),
            (IPv6Address("TCP", "fe80::1", 80, 0, 2), "[fe80::1%2]:80"),
            (UNIXAddress(b"/run/it.sock"), "unix:/run/it.sock"),
            (UNIXAddress(b""), "unix"),
            (UNIXAddress(None), "unix"),
            (HostnameAddress(b"example.com", 80), "example.com:80"),
            (HostAddress("somewhere"), "somewhere"),
        ):
            self.assertEqual(printable(address), expected)

    def test_portless(self) -> None:
        """A port that is not known is not shown."""
        self.assertEqual(printable(IPv4Address("TCP", "192.0.2.1", 0)), "192.0.2.1")
        self.assertEqual(printable(IPv6Address("TCP", "2001:db8::1", 0)), "2001:db8::1")
        self.assertEqual(printable(IPv6Address("TCP", "::ffff:192.0.2.1", 0)), "192.0.2.1")

    def test_whom(self) -> None:
        """A client that came by a proxy in front is shown with that."""
        client, peer = IPv4Address("TCP", "192.0.2.1", 0), UNIXAddress(b"")
        self.assertEqual(whom(client, peer), "192.0.2.1 via unix")
        self.assertEqual(whom(peer, peer), "unix")
        mapped = IPv6Address("TCP", "::ffff:192.0.2.1", 80), IPv4Address("TCP", "192.0.2.1", 80)
        self.assertEqual(whom(*mapped), "192.0.2.1:80")

    def test_oneLine(self) -> None:
        """Control characters and half characters in a client's socket name do not break the log."""
        self.assertEqual(printable(UNIXAddress(b"/tmp/a\nb\xff")), "unix:/tmp/a\\nb\\xff")
