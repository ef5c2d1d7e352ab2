"""Which route a request takes."""

from __future__ import annotations

from twisted.internet.address import IPv4Address
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.errors import Refusal
from wsproxy.interfaces import Forwarded, Request
from wsproxy.sessions.routes import Routes, plainHost, plainPath

PEER = IPv4Address("TCP", "192.0.2.1", 1)


def request(path: str, host: str | None = "localhost", forwarded: Forwarded | None = None) -> Request:
    return Request(path, {} if host is None else {"host": host}, PEER, PEER, False, forwarded=forwarded)


class PlainTests(SynchronousTestCase):
    def test_host(self) -> None:
        """A host has neither a port nor a dot at its end, and no capitals."""
        for said, meant in (
            ("a.example", "a.example"),
            ("A.Example:443", "a.example"),
            ("a.example.", "a.example"),
            ("a.example.:80", "a.example"),
            ("192.0.2.1:6080", "192.0.2.1"),
            ("[2001:DB8::1]:6080", "[2001:db8::1]"),
            ("[::1]", "[::1]"),
            ("", ""),
        ):
            self.assertEqual(plainHost(said), meant)

    def test_path(self) -> None:
        """A path is decoded once; what is not UTF-8 matches nothing."""
        for said, meant in (("/a%62c", "/abc"), ("/%2562", "/%62"), ("/%C3%A9", "/é"), ("/a.b/..c/.d", "/a.b/..c/.d")):
            self.assertEqual(plainPath(said), meant)
        self.assertNotEqual(plainPath("/%e9"), "/é")

    def test_ambiguous(self) -> None:
        """What others may read as another path is none."""
        for path in (
            *("//", "/a//b", "/a/../b", "/a/./b", "/..", "/.", "/a/..", "/%2e%2E/b", "/a/%2e", "/.%2e/"),
            *("/a%2fb", "/a%2Fb", "/a%5cb", "/a\\b", "/a%00", "/a%", "/a%2", "/a%zz"),
        ):
            refusal = self.assertRaises(Refusal, plainPath, path)
            self.assertEqual(refusal.status, 400, path)


class RoutesTests(SynchronousTestCase):
    routes = Routes(
        [
            (None, "/a", "any a"),
            (None, "/a/b/", "any a b"),
            ("one.example", "/", "one"),
            ("one.example", "/a", "one a"),
        ]
    )

    def test_longest(self) -> None:
        """The longest path has it; of two that are alike, the one of its host."""
        for path, host, name in (
            ("/a", "x", "any a"),
            ("/a/", "x", "any a"),
            ("/a/bc", "x", "any a"),
            ("/a/b", "x", "any a b"),
            ("/a/b/c", "x", "any a b"),
            ("/", "one.example", "one"),
            ("/ab", "one.example:1", "one"),
            ("/a/x", "one.example.", "one a"),
            ("/a/b/x", "one.example", "any a b"),
        ):
            self.assertEqual(self.routes.of(request(path, host)), name)

    def test_none(self) -> None:
        """Where none is for it, it is 404."""
        for path, host in (("/", "x"), ("/ab", "x"), ("/A", "x"), ("/", "one.example.com"), ("/", None)):
            self.assertEqual(self.assertRaises(Refusal, self.routes.of, request(path, host)).status, 404)

    def test_forwarded(self) -> None:
        """A trusted proxy says what the host was."""
        asked = request("/", "inside", Forwarded(PEER, host="one.example"))
        self.assertEqual(self.routes.of(asked), "one")
