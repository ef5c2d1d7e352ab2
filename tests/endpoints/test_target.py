"""Target strings."""

import os

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.endpoints.target import DemoTarget, StringTarget, TCPTarget, UNIXTarget, parseTarget
from wsproxy.errors import ConfigError


class ParseTargetTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """Each form of target string is understood, and written again the same."""
        for text, expected in (
            ("localhost:5900", TCPTarget("localhost", 5900)),
            ("192.0.2.1:1", TCPTarget("192.0.2.1", 1)),
            ("my_service.local.:65535", TCPTarget("my_service.local.", 65535)),
            ("[::1]:5900", TCPTarget("::1", 5900)),
            ("[fe80::1%eth0]:5900", TCPTarget("fe80::1%eth0", 5900)),
            ("tls:example.com:443", TCPTarget("example.com", 443, tls=True)),
            ("tls:[::1]:443", TCPTarget("::1", 443, tls=True)),
            ("unix:/run/it.sock", UNIXTarget("/run/it.sock")),
            ("unix:/run/a:b=c", UNIXTarget("/run/a:b=c")),
            ("demo:", DemoTarget()),
            ("tcp:host=h:port=5900:timeout=5", StringTarget("tcp:host=h:port=5900:timeout=5")),
        ):
            parsed = parseTarget(text)
            self.assertEqual(parsed, expected)
            self.assertEqual(str(parsed), text)

    def test_relativePath(self) -> None:
        """A unix socket's path is made absolute, so that a later change of directory does not move it."""
        self.assertEqual(str(parseTarget("unix:it.sock")), f"unix:{os.getcwd()}/it.sock")

    def test_international(self) -> None:
        """A name outside ASCII is dialled by its IDNA encoding."""
        self.assertEqual(
            parseTarget("b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example:80"),
            TCPTarget("xn--bcher-kva.example", 80),
        )

    def test_prefixWins(self) -> None:
        """A registered endpoint prefix wins over a host of that name, whatever its case."""
        for text in ("tcp:5900", "ssl:443", "TCP:5900"):
            self.assertEqual(parseTarget(text), StringTarget(text))
        self.assertRaises(ConfigError, parseTarget, "tls:443")
        self.assertEqual(parseTarget("demo:5900"), TCPTarget("demo", 5900))

    def test_bad(self) -> None:
        """What is no target is refused in one line that names the option, the value and the reason."""
        for text, reason in (
            ("", "expected"),
            ("5900", "expected"),
            ("localhost", "expected"),
            (":5900", "expected"),
            ("::1:5900", "expected"),
            ("localhost:", "expected"),
            ("localhost:vnc", "expected"),
            ("localhost:-1", "expected"),
            ("localhost:\N{FULLWIDTH DIGIT FIVE}900", "expected"),
            ("tls:localhost", "expected"),
            ("tls:localhost:443:trustRoots=/etc", "expected"),
            ("unix:", "expected unix:PATH"),
            ("unix:/" + "a" * 107, "the path of a unix socket has at most 107 bytes"),
            ("localhost:0", "a port is 1 to 65535"),
            ("localhost:65536", "a port is 1 to 65535"),
            ("[localhost]:5900", "only an IPv6 address goes in brackets"),
            ("a b:5900", "not a host name"),
            ("a/b:5900", "not a host name"),
            ("a..b:5900", "not a host name"),
            ("a" * 64 + ":5900", "not a host name"),
            ("\N{LATIN SMALL LETTER U WITH DIAERESIS}" * 64 + ":5900", "not a host name"),
            ("a." * 127 + "b:5900", "not a host name"),
        ):
            error = self.assertRaises(ConfigError, parseTarget, text)
            self.assertTrue(str(error).startswith(f"--target {text}: {reason}"), str(error))
        error = self.assertRaises(ConfigError, parseTarget, "two\nlines:80")
        self.assertNotIn("\n", str(error))
