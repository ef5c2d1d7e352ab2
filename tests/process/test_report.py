"""What rebind reports, and what anybody else might send in its place."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.process.report import Report, parseReport

GOOD = b"1 listen 4711 inet 127.0.0.1 40123 5901 0.0.0.0\n"


class ReportTests(SynchronousTestCase):
    def test_listen(self) -> None:
        """A socket that listens: where it is, and where the program thinks it is."""
        self.assertEqual(parseReport(GOOD), Report("listen", "127.0.0.1:40123", 5901, "0.0.0.0:5901"))

    def test_bind(self) -> None:
        """A socket that has only been bound is told from one that listens."""
        self.assertEqual(
            parseReport(b"1 bind 1 inet6 ::1 1 65535 fe80::1\n"),
            Report("bind", "[::1]:1", 65535, "[fe80::1]:65535"),
        )

    def test_bothFamilies(self) -> None:
        """A socket for all addresses of both families is expected on the bare port."""
        report = parseReport(b"1 listen 1 inet6 ::1 2 3 *\n")
        assert report is not None
        self.assertEqual(report.asked, "3")

    def test_place(self) -> None:
        """Where it is may be any address of 127.0.0.0/8."""
        report = parseReport(GOOD.replace(b"127.0.0.1", b"127.3.23.13"))
        assert report is not None
        self.assertEqual(report.address, "127.3.23.13:40123")

    def test_unknown(self) -> None:
        """Which port was asked for, the process that listens may not know, where another one has bound the socket."""
        report = parseReport(b"1 listen 1 inet6 ::1 40123 0 ::1\n")
        assert report is not None
        self.assertEqual((report.address, report.port), ("[::1]:40123", 0))
        self.assertIsNone(parseReport(b"1 bind 1 inet6 ::1 40123 0 ::1\n"))

    def test_furtherFields(self) -> None:
        """A later rebind may say more."""
        self.assertEqual(parseReport(GOOD[:-1] + b" more to-say\n"), parseReport(GOOD))

    def test_nonsense(self) -> None:
        """Whatever is not exactly a report is none."""
        for wrong in (
            b"",
            b"\n",
            GOOD[:-1],
            GOOD + GOOD,
            GOOD.replace(b"1 ", b"2 ", 1),
            GOOD.replace(b"listen", b"accept"),
            GOOD.replace(b"4711", b"0"),
            GOOD.replace(b"4711", b"-1"),
            GOOD.replace(b"4711", b"99999999999"),
            GOOD.replace(b"127.0.0.1", b"192.0.2.1"),
            GOOD.replace(b"127.0.0.1", b"::1"),
            GOOD.replace(b"127.0.0.1", b"127.0.0.256"),
            GOOD.replace(b"127.0.0.1", b"127.0.1"),
            GOOD.replace(b"127.0.0.1", b"127.0.0.1.1"),
            GOOD.replace(b"40123", b"0"),
            GOOD.replace(b"40123", b"65536"),
            GOOD.replace(b"5901", b"0"),
            GOOD.replace(b"5901", b"99999"),
            GOOD.replace(b"0.0.0.0", b"0.0.0.256"),
            GOOD.replace(b"0.0.0.0", b"example.org"),
            GOOD.replace(b" ", b"  "),
            GOOD.replace(b"\n", b" \x1b[2J\n"),
            GOOD.replace(b"4711", "٤٧".encode()),
        ):
            self.assertIsNone(parseReport(wrong), wrong)

    @given(st.binary(max_size=80) | st.from_regex(rb"1 listen \d+ inet6? [0-9.:]+ \d+ \d+ [0-9a-f.:*]+\n"))
    def test_anything(self, datagram: bytes) -> None:
        """No datagram makes it fail, and a report names a loopback address and real ports."""
        report = parseReport(datagram)
        if report is not None:
            host, _, port = report.address.rpartition(":")
            self.assertTrue(host == "[::1]" or ip_address(host).is_loopback)
            self.assertTrue(1 <= int(port) <= 65535 and host.startswith("127.") <= report.port <= 65535)
