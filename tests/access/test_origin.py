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

    def test_schemesAndPorts(self) -> None:
        """Of one host, pages of any port and of both schemes may connect, over TLS too."""
        for origin, host in (
            ("http://h", "h:6080"),  # the page on port 80, the proxy beside it
            ("http://h:8000", "h:6080"),
            ("https://console.example:8443", "console.example"),  # proxy_set_header Host $host
            ("http://h:6080", "h"),
            ("http://h", "h"),  # over TLS: what websocket-client says
            ("https://h", "h:6080"),
            ("http://192.0.2.1", "192.0.2.1:6080"),
            ("http://[2001:db8::1]", "[2001:db8::1]:6080"),
        ):
            for secure in (False, True):
                self.assertAllowed(True, origin, host, secure)

    def test_loopback(self) -> None:
        """On a loopback host ports must agree: any local server would get in, whoever's it is."""
        for host in (
            "localhost",
            "LOCALHOST",
            "localhost.",
            "app.localhost",
            "localhost.localdomain",
            "ip6-localhost",
            "127.0.0.1",
            "127.8.9.10",
            "[::1]",
            "[0:0:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "0.0.0.0",
            "[::]",
        ):
            for secure in (False, True):
                for page in ("http", "https"):
                    self.assertAllowed(True, f"{page}://{host}:6080", f"{host}:6080", secure)
                    self.assertAllowed(False, f"{page}://{host}:8000", f"{host}:6080", secure)
                    self.assertAllowed(False, f"{page}://{host}", f"{host}:6080", secure)
                    self.assertAllowed(False, f"{page}://{host}:6080", host, secure)
            self.assertAllowed(True, f"https://{host}", host, True)
            self.assertAllowed(True, f"https://{host}", host, False)
            self.assertAllowed(False, f"http://{host}", host, True)
        for host in ("localhost.example", "notlocalhost", "128.0.0.1", "[::2]", "127.example"):
            self.assertAllowed(True, f"http://{host}:8000", f"{host}:6080", False)

    def test_other(self) -> None:
        """Another host is refused, and so is an origin that is none."""
        for origin, host, secure in (
            ("http://evil.example", "h", False),
            ("http://h.evil.example", "h", False),
            ("http://a.h", "h", False),
            ("http://h", "a.h", False),
            ("http://evil.example/http://h", "h", False),
            ("http://h@evil.example", "evil.example", False),
            ("chrome-extension://h", "h", False),
            ("file://", "", False),
            ("file://h", "h", False),
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

    def test_strictScheme(self) -> None:
        """Where a browser is let in by itself, a page that came in plain may not connect over TLS."""
        policy = OriginPolicy(strictScheme=True)
        for port in ("", ":443", ":6080"):
            self.assertFalse(policy.allows(f"http://h{port}", f"h{port}", True))
            self.assertTrue(policy.allows(f"https://h{port}", f"h{port}", True))
            self.assertTrue(policy.allows(f"http://h{port}", f"h{port}", False))
            self.assertTrue(policy.allows(f"https://h{port}", f"h{port}", False))
        self.assertTrue(policy.allows(None, "h", True))

    def test_strictSchemeListed(self) -> None:
        """Unless it is listed, beside its host's other pages too."""
        for also in ((), ("'self'",)):
            policy = OriginPolicy(("http://h", *also), strictScheme=True)
            self.assertTrue(policy.allows("http://h", "h", True))
            self.assertFalse(policy.allows("http://h:8000", "h", True))


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

    def test_rebound(self) -> None:
        """A name that was made to lead here is of the same host; a list of the names in use keeps it out."""
        rebound = "http://rebound.example:6080", "rebound.example:6080", False
        self.assertTrue(OriginPolicy().allows(*rebound))
        self.assertFalse(OriginPolicy(("http://console.example:6080",)).allows(*rebound))

    def test_any(self) -> None:
        """An asterisk allows every origin, null and nonsense included."""
        policy = OriginPolicy(("*",))
        for origin in ("http://evil.example", "null", "nonsense"):
            self.assertTrue(policy.allows(origin, "h", False))

    def test_nameless(self) -> None:
        """Pages without a host may connect where that is said in so many words."""
        for name, other in (("null", "file://"), ("file://", "null")):
            policy = OriginPolicy((name,))
            self.assertTrue(policy.allows(name, "h", False))
            self.assertFalse(policy.allows(other, "h", False))
            self.assertFalse(policy.allows("http://h", "h", False))
            self.assertFalse(OriginPolicy(("https://h",)).allows(name, "h", False))

    def test_self(self) -> None:
        """The host that the client connected to may stand beside others."""
        policy = OriginPolicy(("'self'", "https://portal.example", "file://"))
        for origin in ("http://h", "https://h:8443", "https://portal.example", "file://"):
            self.assertTrue(policy.allows(origin, "h:6080", False), origin)
        for origin in ("http://portal.example", "https://other.example", "null"):
            self.assertFalse(policy.allows(origin, "h:6080", False), origin)
        self.assertFalse(policy.allows("http://localhost:8000", "localhost:6080", False))

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
            "self",
            "file:///",
            "'none'",
            "https://m\N{LATIN SMALL LETTER U WITH DIAERESIS}nchen.example",
            "",
        ):
            error = self.assertRaises(ConfigError, OriginPolicy, ("https://fine.example", value))
            self.assertTrue(str(error).startswith(f"--origin {value}: expected "), str(error))
        error = self.assertRaises(ConfigError, OriginPolicy, ("two\nlines",))
        self.assertNotIn("\n", str(error))


class CauseTests(SynchronousTestCase):
    """What is said of a page that was refused: its origin, the host, and the remedy."""

    def assertCause(
        self, expected: str, origin: str, host: str | None, allowed: tuple[str, ...] = (), secure: bool = False
    ) -> None:
        policy = OriginPolicy(allowed, strictScheme=secure)
        self.assertFalse(policy.allows(origin, host, secure))
        self.assertEqual(policy.cause(origin, host, secure), expected)

    def test_host(self) -> None:
        """Another host: most likely a proxy in front names its backend."""
        self.assertCause(
            "Origin https://a.example is not the Host b.example:6080: a proxy in front that does not keep Host? "
            "Set Host there, or allow it with --origin https://a.example",
            "https://a.example",
            "b.example:6080",
        )
        self.assertCause(
            "Origin https://a.example has no Host to agree with: a proxy in front that drops it? "
            "Set Host there, or allow it with --origin https://a.example",
            "https://a.example",
            None,
        )

    def test_port(self) -> None:
        """Another port of a loopback host."""
        self.assertCause(
            "Origin http://localhost:8080 is not the Host localhost, where ports count, on loopback: a proxy in front "
            "that loses the port? Set Host there (nginx: proxy_set_header Host $http_host), "
            "or allow it with --origin http://localhost:8080",
            "http://localhost:8080",
            "localhost",
        )

    def test_scheme(self) -> None:
        """A plain page over TLS, where the scheme counts."""
        self.assertCause(
            "Origin http://h is not https, as is needed where browsers show who they are by themselves: "
            "open the page with https://, or allow it with --origin http://h",
            "http://h",
            "h",
            secure=True,
        )

    def test_nameless(self) -> None:
        """Pages without a host."""
        for origin in ("null", "file://"):
            self.assertCause(
                f"Origin {origin}, a page that has no host, such as a file or a sandboxed frame: "
                f"allow it with --origin {origin}",
                origin,
                "h",
            )

    def test_listed(self) -> None:
        """A list that does not have it, though another of its host, or that leaves out the default."""
        self.assertCause(
            "Origin https://b is not listed: allow it with --origin https://b", "https://b", "h", ("https://a",)
        )
        self.assertCause(
            "Origin http://a is not listed, but with another scheme or port: allow it with --origin http://a",
            "http://a",
            "h",
            ("https://a",),
        )
        self.assertCause(
            "Origin http://h is not listed: allow it with --origin http://h, "
            "or all pages of the same host with --origin \"'self'\"",
            "http://h",
            "h",
            ("https://a",),
        )

    def test_malformed(self) -> None:
        """What is none is not recommended, and cannot be more than a short piece of a line."""
        cure = " is no origin: sent twice, or changed by a proxy in front?"
        self.assertCause(f"Origin http://h, http://h{cure}", "http://h, http://h", "h")
        self.assertCause(rf"Origin \x1b[2J\n{cure}", "\x1b[2J\n", "h")
        self.assertCause(f"Origin {'x' * 100}…{cure}", "x" * 5000, "h")

    def test_secrets(self) -> None:
        """What may be secret in an URL is left out, wherever it comes from."""
        for origin in (
            "https://h/?token=hunter2",
            "https://alice:hunter2@h",
            "https://alice:hunter2@h/#hunter2",
            "https://h, https://h/hunter2",
            "h/?x=http://hunter2",
            "/hunter2",
            "https://h/?hunter2, hunter2@h",
        ):
            for host in ("h", "h/?hunter2", "hunter2@h"):
                self.assertNotIn("hunter2", OriginPolicy().cause(origin, host, False), origin)
                self.assertNotIn("hunter2", OriginPolicy().cause("https://x", host, False), host)

    def test_short(self) -> None:
        """Nor can host and origin that are well-formed, which the remedy repeats: it stands in the line whole."""
        policy = OriginPolicy()
        cause = policy.cause("http://" + "a" * 5000, "b" * 5000, False)
        self.assertIn("Set Host there, or allow it with --origin http://aaa", cause)
        self.assertLess(len(cause), 500)


class RequiredTests(SynchronousTestCase):
    """ExpectOrigin's."""

    def test_required(self) -> None:
        """Where an Origin is required, whoever sends none is refused, even where any will do."""
        for allowed in (("https://a.example",), ("*",)):
            policy = OriginPolicy(allowed, required=True)
            self.assertFalse(policy.allows(None, "h", False))
            self.assertIn("no Origin", policy.cause(None, "h", False))
            self.assertTrue(policy.allows("https://a.example", "h", False))
