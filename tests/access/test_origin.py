"""Which pages may connect."""

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.access.origin import OriginPolicy
from wsproxy.errors import ConfigError


class SameHostTests(SynchronousTestCase):
    """Without C{--origin}."""

    def assertAllowed(self, expected: bool, origin: str | None, host: str | None, secure: bool) -> None:
        self.assertIs(OriginPolicy().allows(origin, host, secure), expected, (origin, host, secure))

    def test_noOrigin(self) -> None:
        """A client that sends no Origin is not a browser and may connect, whatever it sends as Host."""
        for host in ("h:6080", None):
            self.assertAllowed(True, None, host, False)

    def test_same(self) -> None:
        """The page's own host and port may be connected to, however they are spelt."""
        for origin, host, secure in (
            ("http://h:6080", "h:6080", False),
            ("http://H.example", "h.EXAMPLE", False),
            ("http://h", "h:80", False),
            ("http://h:80", "h", False),
            ("https://h", "h", True),
            ("https://h", "h:443", True),
            ("http://[::1]:6080", "[::1]:6080", False),
            ("http://127.0.0.1:6080", "127.0.0.1:6080", False),
        ):
            self.assertAllowed(True, origin, host, secure)

    def test_behindTLSProxy(self) -> None:
        """A page from a proxy in front that ends TLS may connect through it, in plain HTTP to us."""
        self.assertAllowed(True, "https://console.example", "console.example", False)
        self.assertAllowed(True, "https://console.example:8443", "console.example:8443", False)

    def test_sharedPort(self) -> None:
        """A plain page may connect over TLS to the very port that it came from."""
        self.assertAllowed(True, "http://h:6080", "h:6080", True)

    def test_other(self) -> None:
        """Another host or port is refused, and so is an origin that is none."""
        for origin, host, secure in (
            ("http://evil.example", "h", False),
            ("http://h:8000", "h:6080", False),
            ("http://h", "h:6080", False),
            ("http://h:6080", "h", False),
            ("http://h.evil.example", "h", False),
            ("http://evil.example/http://h", "h", False),
            ("http://h@evil.example", "evil.example", False),
            ("chrome-extension://h", "h", False),
            ("null", "null", False),
            ("http://h, http://h", "h", False),
            ("http://*.h", "*.h", False),
            ("http://h:80x", "h", False),
            ("http://h:99999", "h:99999", False),
            ("", "", False),
            ("http://h", None, False),
            ("http://h", "h, evil", False),
            ("http://\N{KELVIN SIGN}", "k", False),
        ):
            self.assertAllowed(False, origin, host, secure)

    def test_plainPageOverTLS(self) -> None:
        """A page that came in plain from port 80 is not the same host as a TLS port 443."""
        self.assertAllowed(False, "http://h", "h", True)


class ConfiguredTests(SynchronousTestCase):
    """With C{--origin}."""

    def test_exact(self) -> None:
        """A listed origin may connect; scheme and port are part of it, default ports go without saying."""
        policy = OriginPolicy(("https://Console.example", "http://h:8000", "chrome-extension://abc"))
        for origin in (
            "https://console.example",
            "https://CONSOLE.example:443",
            "http://h:8000",
            "chrome-extension://abc",
        ):
            self.assertTrue(policy.allows(origin, "elsewhere", False), origin)
        for origin in (
            "http://console.example",
            "https://console.example:8443",
            "http://h",
            "https://x.console.example",
        ):
            self.assertFalse(policy.allows(origin, "elsewhere", False), origin)

    def test_replacesDefault(self) -> None:
        """A list of origins stands instead of the same host, not beside it; programs may still connect."""
        policy = OriginPolicy(("https://console.example",))
        self.assertFalse(policy.allows("http://h:6080", "h:6080", False))
        self.assertTrue(policy.allows(None, "h:6080", False))

    def test_any(self) -> None:
        """An asterisk allows every origin, null and nonsense included."""
        policy = OriginPolicy(("*",))
        for origin in ("http://evil.example", "null", "nonsense"):
            self.assertTrue(policy.allows(origin, "h", False))

    def test_null(self) -> None:
        """Pages without an origin may connect where that is said in so many words."""
        self.assertTrue(OriginPolicy(("null",)).allows("null", "h", False))
        self.assertFalse(OriginPolicy(("https://h",)).allows("null", "h", False))

    def test_wildcard(self) -> None:
        """A wildcard stands for one label or more in front of the domain, for one scheme and one port."""
        policy = OriginPolicy(("https://*.example.com",))
        for origin in ("https://a.example.com", "https://a.b.EXAMPLE.com:443"):
            self.assertTrue(policy.allows(origin, "h", False), origin)
        for origin in (
            "https://example.com",
            "https://evilexample.com",
            "https://a.example.com.evil",
            "http://a.example.com",
            "https://a.example.com:8443",
        ):
            self.assertFalse(policy.allows(origin, "h", False), origin)

    def test_malformed(self) -> None:
        """What is not an origin is refused at start, in one line that names the option and the value."""
        for value in (
            "console.example",
            "https://",
            "https://h/",
            "https://h/path",
            "https://user@h",
            "https://h:port",
            "https://h:65536",
            "https://a*.example.com",
            "*.example.com",
            "https://*",
            "https://m\N{LATIN SMALL LETTER U WITH DIAERESIS}nchen.example",
            "",
        ):
            error = self.assertRaises(ConfigError, OriginPolicy, ("https://fine.example", value))
            self.assertTrue(str(error).startswith(f"--origin {value}: expected "), str(error))
        error = self.assertRaises(ConfigError, OriginPolicy, ("two\nlines",))
        self.assertNotIn("\n", str(error))
