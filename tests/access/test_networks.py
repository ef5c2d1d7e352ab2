"""Tests of L{wsproxy.access.networks}."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from wsproxy.access.networks import Networks
from wsproxy.errors import ConfigError


@implementer(IAddress)
class _Elsewhere:
    """An address of somebody's own kind."""


class NetworksTests(SynchronousTestCase):
    def assertInside(self, networks: str, *addresses: IAddress | str) -> None:
        for address in addresses:
            self.assertTrue(Networks(networks.split()).contains(address), (networks, address))

    def assertOutside(self, networks: str, *addresses: IAddress | str) -> None:
        for address in addresses:
            self.assertFalse(Networks(networks.split()).contains(address), (networks, address))

    def test_networks(self) -> None:
        """A network has the addresses that begin with its bits, and those of its own family alone."""
        self.assertInside("192.0.2.0/24", "192.0.2.0", "192.0.2.255")
        self.assertOutside("192.0.2.0/24", "192.0.1.255", "192.0.3.0", "2001:db8::192.0.2.1")
        self.assertInside("2001:db8::/33", "2001:db8:7fff::1")
        self.assertOutside("2001:db8::/33", "2001:db8:8000::1")
        self.assertOutside("0.0.0.0/0", "2001:db8::1")
        self.assertOutside("::/0", "192.0.2.1")
        self.assertInside("0.0.0.0/0 ::/0", "192.0.2.1", "2001:db8::1")

    def test_single(self) -> None:
        """An address without a length stands for itself."""
        self.assertInside("192.0.2.7", "192.0.2.7")
        self.assertOutside("192.0.2.7", "192.0.2.8")
        self.assertInside("::1", "::1")

    def test_several(self) -> None:
        """It is enough to be in one."""
        self.assertInside("192.0.2.0/24 10.0.0.0/8 10.0.0.0/9", "10.255.0.1", "192.0.2.1", "10.0.0.1")

    def test_sockets(self) -> None:
        """Addresses of sockets are judged by their host, and whatever their port."""
        self.assertInside("192.0.2.0/24", IPv4Address("TCP", "192.0.2.1", 80), HostnameAddress(b"192.0.2.1", 80))
        self.assertInside("2001:db8::/32", IPv6Address("TCP", "2001:db8::1", 80))
        self.assertOutside("0.0.0.0/0 ::/0 unix", HostnameAddress(b"example.net", 80), _Elsewhere())

    def test_unix(self) -> None:
        """C{unix} is everybody on a unix socket, and nobody else, not even who is called so."""
        self.assertInside("unix", UNIXAddress(b""), UNIXAddress(b"/run/x"), UNIXAddress(None))
        self.assertOutside("0.0.0.0/0 ::/0", UNIXAddress(b""))
        self.assertOutside("unix", "unix", "192.0.2.1", IPv4Address("TCP", "192.0.2.1", 80))

    def test_otherNames(self) -> None:
        """An address of IPv4 within one of IPv6 is that address, in a set and out of it."""
        for network in ("192.0.2.0/24", "::ffff:192.0.2.0/120", "64:ff9b::192.0.2.0/120"):
            self.assertInside(network, "192.0.2.7", "::ffff:192.0.2.7", "::FFFF:c000:207", "64:ff9b::c000:207")
            self.assertInside(network, IPv6Address("TCP", "::ffff:192.0.2.7", 80))
            self.assertOutside(network, "192.0.3.7", "::ffff:192.0.3.7", "64:ff9b:1::c000:207")

    def test_thisMachine(self) -> None:
        """What connects to this machine is its loopback address."""
        self.assertInside("127.0.0.0/8", "0.0.0.0", "::ffff:0.0.0.0", "::ffff:127.0.0.1", "64:ff9b::7f00:1")
        self.assertInside("::1", "::")
        self.assertInside("0.0.0.0", "127.0.0.1")
        self.assertInside("::", "::1")
        self.assertOutside("0.0.0.0/8", "127.0.0.1", "0.0.0.0")

    def test_scope(self) -> None:
        """The interface that a link-local address is about does not matter."""
        self.assertInside("fe80::/10", "fe80::1%eth0", IPv6Address("TCP", "fe80::1%2", 80))

    def test_nothing(self) -> None:
        """An empty set has nobody, and says so."""
        self.assertOutside("", "192.0.2.1", "::1", UNIXAddress(b""))
        self.assertFalse(Networks([]))
        self.assertTrue(Networks(["unix"]))
        self.assertTrue(Networks(["::/0"]))

    def test_noAddress(self) -> None:
        """A text that is no address is in no set."""
        self.assertOutside("0.0.0.0/0 ::/0 unix", "", "unknown", "_hidden", "192.0.2", "192.0.2.1:80", "192.0.2.01")

    def test_complaints(self) -> None:
        """What is no network is told with its option, and a network with bits to spare with the one it may mean."""
        for text in ("", "192.0.2.0/33", "example.net", "fe80::1%eth0", "192.0.2.1-9", "*", "\n", "10.0.0.0/255.0.0.0"):
            error = self.assertRaises(ConfigError, Networks, [text], "--allow")
            self.assertRegex(str(error), r"^--allow \S+: expected an address, a network such as 192\.0\.2\.0/24, or")
        error = self.assertRaises(ConfigError, Networks, ["10.1.2.3/8"], "--allow")
        self.assertEqual(
            str(error), "--allow 10.1.2.3/8: has bits beyond its length; 10.0.0.0/8 is meant, or one address?"
        )

    @given(
        st.integers(1, (1 << 32) - 1),
        st.lists(st.tuples(st.integers(1, (1 << 32) - 1), st.integers(1, 32)), max_size=8),
        st.data(),
    )
    def test_ipv4(self, number: int, pairs: list[tuple[int, int]], data: st.DataObject) -> None:
        """Membership is that of Python's own networks."""
        networks = [IPv4Network((base, length), strict=False) for base, length in pairs]
        near = [int(network[-1]) for network in networks] + [int(network[-1]) + 1 for network in networks]
        address = ip_address(data.draw(st.sampled_from([number, *near])) % (1 << 32) or 1)
        inside = any(address in network for network in networks)
        self.assertEqual(Networks(map(str, networks)).contains(str(address)), inside)

    @given(st.integers(1, (1 << 64) - 1), st.integers(1, 128))
    def test_ipv6(self, number: int, length: int) -> None:
        """Likewise."""
        address = ip_address((0x2001 << 112) + number)
        network = IPv6Network((int(address), length), strict=False)
        networks = Networks([str(network)])
        self.assertTrue(networks.contains(str(address)))
        self.assertFalse(networks.contains(str(ip_address(int(address) ^ (1 << (128 - length))))))
