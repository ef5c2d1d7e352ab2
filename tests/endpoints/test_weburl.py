"""Addresses of WebSockets, and what is shown of them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.endpoints.target import parseTarget
from wsproxy.endpoints.weburl import WebSocketURL, discreetTarget, parseWebSocketURL
from wsproxy.errors import ConfigError


class URLTests(SynchronousTestCase):
    def test_parts(self) -> None:
        """Scheme, host and port, and what is asked for; ports have the scheme's default."""
        self.assertEqual(parseWebSocketURL("ws://host"), WebSocketURL(False, "host", 80, "/"))
        self.assertEqual(parseWebSocketURL("WSS://Host:8443/a?b=c"), WebSocketURL(True, "host", 8443, "/a?b=c"))
        self.assertEqual(parseWebSocketURL("wss://[::1]/x").host, "::1")
        self.assertEqual(parseWebSocketURL("wss://müller.example/ü").host, "xn--mller-kva.example")
        self.assertEqual(parseWebSocketURL("wss://h/ü%20").resource, "/%C3%BC%20")

    def test_authority(self) -> None:
        """The Host that is asked for has a port where that is not the scheme's."""
        for text, host in (("ws://h", "h"), ("ws://h:443", "h:443"), ("wss://[::1]:443", "[::1]")):
            self.assertEqual(parseWebSocketURL(text).authority, host)

    def test_user(self) -> None:
        """Name and password before the host are for HTTP Basic."""
        url = parseWebSocketURL("wss://al%40ce:p%3Aw@h/")
        self.assertEqual((url.user, url.password), ("al@ce", "p:w"))
        self.assertEqual(parseWebSocketURL(str(url)), url)

    def test_secrets(self) -> None:
        """Neither query nor password is shown, in complaints either."""
        for text, shown in (
            ("wss://al:secret@h/p?token=secret", "wss://h/p?…"),
            ("ws://h:81/p", "ws://h:81/p"),
            ("ws://h:secret/p?secret", "ws://…"),
            (r"ws:h:80:path=/?secret:header=X\: secret", "ws:h:80:path=…:header=…"),
            (r"wss:url=wss\://h/?secret", "wss:url=…"),
            ("localhost:5900", "localhost:5900"),
        ):
            self.assertEqual(discreetTarget(text), shown)
        self.assertNotIn("secret", repr(parseWebSocketURL("wss://al:secret@h/p?token=secret")))
        error = self.assertRaises(ConfigError, parseTarget, "ws://h:port/?secret")
        self.assertEqual(str(error), "--target ws://…: not a URL: its host or port is none")

    def test_wrong(self) -> None:
        """What is no such address."""
        for text in (
            "ws://",
            "wss://:1",
            "ws://h:0",
            "ws://h:99999",
            "ws://h/#x",
            "ws://h/#",
            "ws://h/a b",
            "http://h",
        ):
            self.assertRaises(ValueError, parseWebSocketURL, text)

    def test_target(self) -> None:
        """A target string of it is no endpoint string of the same prefix, and means the same wherever it is read."""
        target = parseTarget("wss://u:p@h:444/x?y")
        self.assertIsInstance(target, WebSocketURL)
        self.assertEqual(parseTarget(str(target)), target)
