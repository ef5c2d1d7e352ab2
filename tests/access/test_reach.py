"""Where sessions may lead."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.access.reach import RESERVED, Reach
from wsproxy.errors import ConfigError, NotAllowed


class ReachTestCase(SynchronousTestCase):
    def assertRefuses(self, reach: Reach, host: str, port: int, *words: str, name: str | None = None) -> None:
        error = self.assertRaises(NotAllowed, reach.checkAddress, host, port, name)
        self.assertEqual(str(error), "Target not allowed")
        for word in words:
            self.assertIn(word, error.cause)


class AddressTests(ReachTestCase):
    def test_nothing(self) -> None:
        """Without any pattern a target is where it says."""
        reach = Reach()
        for host in ("127.0.0.1", "10.0.0.1", "192.0.2.1", "::1", "2001:db8::1", "fd00::1"):
            reach.checkAddress(host, 22)
        self.assertFalse(reach.restricted)

    def test_reserved(self) -> None:
        """Link-local addresses and those of clouds' metadata are refused, by whichever name of theirs."""
        for host in (
            "169.254.169.254", "169.254.0.1", "::ffff:169.254.169.254", "::ffff:a9fe:a9fe", "64:ff9b::169.254.169.254",
            "64:ff9b::a9fe:a9fe", "fe80::1", "fe80::1%eth0", "fe80::a9fe:a9fe", "febf::1", "fd00:ec2::254",
            "FD00:EC2::254", "fd20:ce::254", "fd00:42::42", "100.100.100.200", "::ffff:100.100.100.200",
            "168.63.129.16", "192.0.0.192",
        ):  # fmt: skip
            self.assertRefuses(Reach(), host, 80, host, "if it is meant, --allow-target")
            self.assertRefuses(Reach(allow=["0.0.0.0/0", "::/0", "*"]), host, 80)

    def test_reservedAllowed(self) -> None:
        """A reserved address is dialled where a pattern means it: one that lies within what is reserved."""
        for network, _ in RESERVED:
            host = network.partition("/")[0]
            Reach(allow=[network]).checkAddress(host, 80)
            Reach(allow=[f"[{network}]:80"]).checkAddress(host, 80)
        Reach(allow=["169.254.7.0/24:22"]).checkAddress("169.254.7.1", 22)
        Reach(allow=["::ffff:169.254.7.1"]).checkAddress("169.254.7.1", 22)
        self.assertRefuses(Reach(allow=["169.254.7.0/24:22"]), "169.254.7.1", 80)
        self.assertRefuses(Reach(allow=["168.0.0.0/6"]), "169.254.7.1", 80, "link-local")

    def test_allow(self) -> None:
        """Any C{--allow-target} denies the rest."""
        reach = Reach(allow=["10.0.0.0/8:5900-5910,22", "[2001:db8::/32]:443", "192.0.2.7"])
        for host, port in (
            ("10.1.2.3", 5900), ("10.1.2.3", 5910), ("10.1.2.3", 22), ("::ffff:10.1.2.3", 22), ("64:ff9b::a01:203", 22),
            ("2001:db8::7", 443), ("192.0.2.7", 1),
        ):  # fmt: skip
            reach.checkAddress(host, port)
        for host, port in (
            ("10.1.2.3", 5911), ("10.1.2.3", 23), ("11.0.0.1", 22), ("2001:db8::7", 80), ("2001:db9::7", 443),
            ("::1", 443),
        ):  # fmt: skip
            self.assertRefuses(reach, host, port, "is in no --allow-target")

    def test_deny(self) -> None:
        """C{--deny-target} wins, whatever is allowed, and by whichever name an address is meant."""
        reach = Reach(allow=["10.0.0.0/8", "0.0.0.0/0"], deny=["10.0.0.0/24", "127.0.0.0/8:22"])
        for host in ("10.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1"):
            self.assertRefuses(reach, host, 1, "is in --deny-target 10.0.0.0/24")
        for host in ("127.0.0.1", "0.0.0.0", "::ffff:127.0.0.1"):
            self.assertRefuses(reach, host, 22, "is in --deny-target 127.0.0.0/8:22")
        reach.checkAddress("10.0.1.1", 1)
        reach.checkAddress("127.0.0.1", 23)
        Reach(deny=["10.0.0.0/24"]).checkAddress("192.0.2.1", 1)

    def test_unspecified(self) -> None:
        """C{0.0.0.0} and C{::}, by which connect(2) means this machine, are loopback to every pattern."""
        self.assertRefuses(Reach(deny=["127.0.0.1"]), "0.0.0.0", 22)
        self.assertRefuses(Reach(deny=["::1"]), "::", 22)
        Reach(allow=["127.0.0.1"]).checkAddress("0.0.0.0", 22)

    def test_name(self) -> None:
        """A name that is allowed may have any address but a reserved one, and a name is not its look-alike."""
        reach = Reach(allow=["db.example:5432", "*.lab.example"])
        reach.checkAddress("192.0.2.7", 5432, "db.example")
        reach.checkAddress("192.0.2.7", 5432, "DB.example.")
        reach.checkAddress("192.0.2.8", 1, "a.b.lab.example")
        self.assertRefuses(reach, "192.0.2.7", 22, name="db.example")
        self.assertRefuses(reach, "192.0.2.7", 5432, name="xdb.example")
        for name in ("lab.example", "xlab.example", None):
            self.assertRefuses(reach, "192.0.2.7", 1, name=name)
        self.assertRefuses(reach, "169.254.169.254", 5432, "(db.example)", "link-local", name="db.example")

    def test_any(self) -> None:
        """C{*} is any address: C{*:5900} says which ports there are."""
        reach = Reach(allow=["*:5900"])
        reach.checkAddress("192.0.2.7", 5900)
        reach.checkAddress("192.0.2.7", 5900, "db.example")
        self.assertRefuses(reach, "192.0.2.7", 5901)

    def test_beforehand(self) -> None:
        """What is known of a name before its addresses are: that its port is allowed nowhere."""
        reach = Reach(allow=["10.0.0.0/8:5900", "db.example:5432"])
        reach.checkName("whatever.example", 5900)
        reach.checkName("db.example", 5432)
        self.assertRaises(NotAllowed, reach.checkName, "db.example", 22)
        self.assertRaises(NotAllowed, reach.checkName, "other.example", 5432)
        Reach().checkName("whatever.example", 1)
        Reach(deny=["0.0.0.0/0"]).checkName("whatever.example", 1)  # it may have another address

    def test_malformed(self) -> None:
        """What is no pattern is one line that names the option and the value."""
        for text in (
            "", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.0/8:", "10.0.0.0/8:0", "10.0.0.0/8:65536", "10.0.0.0/8:20-10",
            "10.0.0.0/8:a", "10.0.0.0/8:22,", "[10.example]:22", "[2001:db8::/32]443", "2001:db8::/129", "a b",
            "10.*:22", "unix:", "unix:relative", "a*.example", "*.*", "db.example:", "300.1.1.1", "-", "http://10.0.0.1",
        ):  # fmt: skip
            error = self.assertRaises(ConfigError, Reach, [text])
            self.assertRegex(str(error), "^--allow-target .+: ")
            self.assertNotIn("\n", str(error))

    def test_denyName(self) -> None:
        """A name cannot be denied, whose addresses would be there all the same."""
        for text in ("db.example", "*", "*.example:22"):
            self.assertRaises(ConfigError, Reach, (), [text])


class OwnTests(ReachTestCase):
    """The proxy does not connect to itself."""

    def reach(self, *own: IAddress, allow: tuple[str, ...] = ()) -> Reach:
        return Reach(allow=allow, own=lambda: own)

    def test_literal(self) -> None:
        """An address that we listen at is refused, by all its names, and its neighbours are not."""
        reach = self.reach(IPv4Address("TCP", "127.0.0.1", 6080))
        for host in ("127.0.0.1", "::ffff:127.0.0.1", "0.0.0.0"):
            self.assertRefuses(reach, host, 6080, "this proxy itself")
        reach.checkAddress("127.0.0.1", 6081)
        reach.checkAddress("127.0.0.2", 6080)

    def test_everywhere(self) -> None:
        """Who listens at all addresses of the machine is there by each of them, and nowhere else."""
        for reach in (self.reach(IPv6Address("TCP", "::", 6080)), self.reach(IPv4Address("TCP", "0.0.0.0", 6080))):
            for host in ("127.0.0.1", "127.8.8.8", "::ffff:127.0.0.1"):
                self.assertRefuses(reach, host, 6080, "this proxy itself")
            reach.checkAddress("192.0.2.77", 6080)
            reach.checkAddress("127.0.0.1", 22)

    def test_allowed(self) -> None:
        """It is allowed by its port alone: a network or a range of ports does not mean it."""
        own = IPv4Address("TCP", "127.0.0.1", 6080)
        self.reach(own, allow=("127.0.0.1:6080",)).checkAddress("127.0.0.1", 6080)
        for wide in ("127.0.0.0/8", "127.0.0.1:6000-6100", "*"):
            self.assertRefuses(self.reach(own, allow=(wide,)), "127.0.0.1", 6080, "this proxy itself")

    def test_socket(self) -> None:
        """Nor is a unix socket of ours a target, by whichever link."""
        directory = Path(os.path.realpath(tempfile.mkdtemp()))
        reach = self.reach(UNIXAddress(os.fsencode(directory / "own.sock")))
        self.assertRaises(NotAllowed, reach.checkSocket, str(directory / "own.sock"), True)
        reach.checkSocket(str(directory / "other.sock"), True)


class SocketTests(ReachTestCase):
    def test_named(self) -> None:
        """Without a pattern, sockets are for those who may name them."""
        reach = Reach()
        reach.checkSocket("/run/a.sock", True)
        error = self.assertRaises(NotAllowed, reach.checkSocket, "/run/a.sock", False)
        self.assertIn("--allow-target unix:/run/a.sock", error.cause)
        self.assertRaises(NotAllowed, Reach(deny=["10.0.0.0/8"]).checkSocket, "/run/a.sock", False)

    def test_pattern(self) -> None:
        """A pattern is about one directory, whoever names the socket."""
        reach = Reach(allow=["unix:/run/consoles/*"])
        reach.checkSocket("/run/consoles/a.sock", False)
        for path in ("/run/consoles/deep/a.sock", "/run/consoles", "/run/other/a.sock", "/run/consoles2/a.sock"):
            for named in (True, False):
                self.assertRaises(NotAllowed, reach.checkSocket, path, named)
        self.assertRefuses(reach, "10.0.0.1", 22)

    def test_allowDeniesSockets(self) -> None:
        """Addresses that are allowed deny all sockets."""
        self.assertRaises(NotAllowed, Reach(allow=["10.0.0.0/8"]).checkSocket, "/run/a.sock", True)

    def test_deny(self) -> None:
        """A denied socket is refused whoever names it, and whatever else is allowed."""
        reach = Reach(allow=["unix:/run/*"], deny=["unix:/run/docker.sock"])
        self.assertRaises(NotAllowed, reach.checkSocket, "/run/docker.sock", True)
        reach.checkSocket("/run/other.sock", False)

    def test_links(self) -> None:
        """Symbolic links on the operator's own way to a directory are followed."""
        directory = Path(os.path.realpath(tempfile.mkdtemp()))
        (directory / "real").mkdir()
        (directory / "link").symlink_to("real")
        Reach(allow=[f"unix:{directory}/link/*"]).checkSocket(f"{directory}/real/a.sock", False)


class UnseenTests(SynchronousTestCase):
    def test_unseen(self) -> None:
        """What cannot be seen is refused beside any pattern, and else is nobody's business."""
        Reach().checkUnseen("tor:x:1")
        for reach in (Reach(allow=["10.0.0.0/8"]), Reach(deny=["10.0.0.0/8"])):
            self.assertTrue(reach.restricted)
            error = self.assertRaises(NotAllowed, reach.checkUnseen, "tor:x:1")
            self.assertIn("tor:x:1", error.cause)
