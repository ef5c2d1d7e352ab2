"""Hosts and ports as people write them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.endpoints.hostport import parseHostPort


class HostPortTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """A name or an address, IPv6 in brackets, and the digits of a port; written again the same."""
        for text, expected in (
            ("localhost:5900", ("localhost", 5900)),
            ("192.0.2.1:0", ("192.0.2.1", 0)),
            ("[2001:db8::1]:6080", ("2001:db8::1", 6080)),
            ("[fe80::1%eth0]:123456", ("fe80::1%eth0", 123456)),
        ):
            self.assertEqual(parseHostPort(text), expected)
            self.assertEqual(str(parseHostPort(text)), text)

    def test_others(self) -> None:
        """What has not this form is told from that."""
        odd = "h:\N{FULLWIDTH DIGIT ONE}", "[]:1", "[::1]", "x[::1]:1"
        for text in ("", "h", "h:", ":1", "::1:1", "h:-1", "h:1 ", *odd):
            self.assertIsNone(parseHostPort(text), text)

    def test_brackets(self) -> None:
        """Nothing but an IPv6 address goes in brackets."""
        for text in ("[localhost]:1", "[192.0.2.1]:1"):
            error = self.assertRaises(ValueError, parseHostPort, text)
            self.assertIn("only an IPv6 address goes in brackets", str(error))
