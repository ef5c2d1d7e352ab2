"""Where in a request its token is."""

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.errors import ConfigError, Refusal
from wsproxy.testing import makeRequest
from wsproxy.tokens.location import TokenLocation, checkTemplate


class FindTests(SynchronousTestCase):
    def assertRefused(self, location: TokenLocation, url: str, guess: bool, **headers: str) -> None:
        refusal = self.assertRaises(Refusal, location.find, makeRequest(url, **headers))
        self.assertEqual((refusal.status, refusal.guess), (403, guess))
        self.assertEqual(refusal.reason, "Token not accepted")

    def test_query(self) -> None:
        """The first C{?token=} that has a value is the token, decoded; the end of a line is none of it."""
        for url, expected in (
            ("/?token=red", "red"),
            ("/x?a=b&token=red&token=blue", "red"),
            ("/?token=&token=blue", "blue"),
            ("/?token=a%2Fb%20c%25", "a/b c%"),
            ("/?token=red%0A", "red"),
        ):
            self.assertEqual(TokenLocation().find(makeRequest(url)), expected)

    def test_missing(self) -> None:
        """Where there is none, nobody has guessed."""
        everywhere = TokenLocation(False, "/vnc/{token}", "X-Token", "seat")
        for url in ("/", "/?token=", "/?Token=red", "/vnc/", "/vnc/a/b", "/vnd/red"):
            self.assertRefused(everywhere, url, False)
        self.assertRefused(TokenLocation(host=True), "/?token=red", False)

    def test_malformed(self) -> None:
        """A token with control characters, or a long one, leads nowhere, however it is looked up."""
        for token in ("red%00", "red%0Ablue", "%1b", "%7F", "red%0D", "r" * 8193, "r" * 1_000_000):
            self.assertRefused(TokenLocation(), f"/?token={token}", True)
            self.assertRefused(TokenLocation(path="/{token}"), f"/{token}", True)
        self.assertEqual(TokenLocation().find(makeRequest(f"/?token={'r' * 8192}")), "r" * 8192)
        self.assertEqual(TokenLocation().find(makeRequest("/?token=%C3%A4%E2%80%AE")), "ä\u202e")

    def test_host(self) -> None:
        """By C{--host-token} it is the Host, without its port, and the query is not looked at."""
        location = TokenLocation(host=True)
        for host, expected in (
            ("red.example:6080", "red.example"),
            ("Red.example", "Red.example"),
            ("[::1]:6080", "[::1]"),
        ):
            self.assertEqual(location.find(makeRequest("/?token=blue", Host=host)), expected)

    def test_path(self) -> None:
        """By C{--token-path} it is one part of the path, percent-decoded."""
        location = TokenLocation(path="/vnc/{token}/websockify")
        self.assertEqual(location.find(makeRequest("/vnc/red/websockify")), "red")
        self.assertEqual(location.find(makeRequest("/vnc/a%2Fb%25/websockify?x=y")), "a/b%")
        for path in ("/vnc/websockify", "/vnc//websockify", "/vnc/a/b/websockify", "/vnc/red", "/vnc/red/websockify/"):
            self.assertRefused(location, path, False)

    def test_headerAndCookie(self) -> None:
        """By C{--token-header} and C{--token-cookie} it is in those; an empty one is none."""
        header = TokenLocation(header="X-Token")
        self.assertEqual(header.find(makeRequest("/", **{"X-Token": "red"})), "red")
        self.assertRefused(header, "/", False, **{"X-Token": ""})
        cookie = TokenLocation(cookie="seat")
        self.assertEqual(cookie.find(makeRequest("/", cookie="a=b; seat=red; seat=blue")), "red")
        self.assertRefused(cookie, "/", False, cookie="Seat=red; seat=")

    def test_order(self) -> None:
        """The query counts first, then the path, the header, the cookie, and the Host last."""
        request = makeRequest("/vnc/path?token=query", Host="host", cookie="seat=cookie", **{"X-Token": "header"})
        self.assertEqual(TokenLocation(False, "/vnc/{token}", "X-Token", "seat").find(request), "query")
        self.assertEqual(TokenLocation(True, "/vnc/{token}", "X-Token", "seat").find(request), "path")
        self.assertEqual(TokenLocation(True, "/{token}", "X-Token", "seat").find(request), "header")
        self.assertEqual(TokenLocation(True, None, None, "seat").find(request), "cookie")
        self.assertEqual(TokenLocation(True).find(request), "host")


class ShownTests(SynchronousTestCase):
    def test_template(self) -> None:
        """The log has the template wherever a token may be in a path, and else the path."""
        location = TokenLocation(path="/vnc/{token}")
        for path in ("/vnc/red", "/vnc/red/", "/vnc/red/blue", "/vnc/"):
            self.assertEqual(location.shownPath(makeRequest(path)), "/vnc/{token}")
        self.assertEqual(location.shownPath(makeRequest("/websockify")), "/websockify")
        self.assertEqual(TokenLocation().shownPath(makeRequest("/vnc/red?token=x")), "/vnc/red")

    def test_checked(self) -> None:
        """A template is a path with one whole part for the token."""
        for path in ("/{token}", "/vnc/{token}/", "/vnc/{token}/websockify"):
            self.assertEqual(checkTemplate("token-path", path), path)
        for path in ("", "{token}", "/vnc", "/vnc/x{token}", "/{token}/{token}", "/{token}?x", "/vnc?x={token}"):
            self.assertRaises(ConfigError, checkTemplate, "token-path", path)
