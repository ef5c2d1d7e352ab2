"""The values that cross the boundaries, and what makes them for tests."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.errors import Close
from wsproxy.interfaces import Forwarded, Identity, Target
from wsproxy.testing import makeRequest, makeSession


class RequestTests(SynchronousTestCase):
    def test_query(self) -> None:
        """All values of a parameter are there, and the first counts."""
        request = makeRequest("/a%20b?x=1&y=%C3%A9&x=2")
        self.assertEqual(request.path, "/a%20b")
        self.assertEqual(request.queryAll, {"x": ("1", "2"), "y": ("é",)})
        self.assertEqual(request.query, {"x": "1", "y": "é"})

    def test_cookies(self) -> None:
        """Cookies are as they were sent; the first of a name counts, and what is none is left out."""
        for header, cookies in {
            "": {},
            "a=1": {"a": "1"},
            "a=1; b=2;c=3": {"a": "1", "b": "2", "c": "3"},
            'a=1; a=2; b="x y"; c=d=e; f=%20': {"a": "1", "b": '"x y"', "c": "d=e", "f": "%20"},
            "nonsense; ; a=": {"a": ""},
        }.items():
            self.assertEqual(makeRequest(cookie=header).cookies, cookies, header)
        self.assertEqual(makeRequest().cookies, {})

    def test_client(self) -> None:
        """Who is judged by an address is the peer."""
        peer = IPv4Address("TCP", "192.0.2.9", 1)
        self.assertEqual(makeRequest(peer=peer).client, peer)

    def test_forwarded(self) -> None:
        """Behind a proxy in front that is trusted, it is whom that names."""
        peer, client = UNIXAddress(b""), IPv4Address("TCP", "192.0.2.9", 0)
        request = makeRequest(peer=peer, client=client)
        self.assertEqual((request.peer, request.client), (peer, client))

    def test_public(self) -> None:
        """What a browser connected to is what the proxy says, or else what has come to us."""
        request = makeRequest(host=UNIXAddress(b""), client=UNIXAddress(b""), secure=True)
        self.assertEqual((request.publicHost, request.publicSecure), (None, True))
        request = replace(request, headers={"host": "backend"})
        self.assertEqual((request.publicHost, request.publicSecure), ("backend", True))
        said = Forwarded(UNIXAddress(b""), host="console.example", secure=False)
        request = replace(request, forwarded=said)
        self.assertEqual((request.publicHost, request.publicSecure, request.secure), ("console.example", False, True))
        request = replace(request, forwarded=None)
        self.assertEqual((request.publicHost, request.publicSecure), ("backend", True))

    def test_headers(self) -> None:
        """Names are in lower case, and have hyphens."""
        self.assertEqual(makeRequest(User_Agent="test").headers, {"user-agent": "test"})


class ValueTests(SynchronousTestCase):
    def test_target(self) -> None:
        """A target is its text, and whatever comes along with it."""
        plain, rich = Target("host:1"), Target("host:1", expires=1e9, claims={"seat": 1}, proxyHeader="v2")
        self.assertEqual((str(plain), plain.expires, plain.claims, plain.proxyHeader), ("host:1", None, {}, None))
        self.assertNotEqual(plain, rich)
        self.assertEqual((rich.expires, rich.claims, rich.proxyHeader), (1e9, {"seat": 1}, "v2"))

    def test_keys(self) -> None:
        """Targets and identities can be counted by, whatever they claim."""
        self.assertEqual(len({Target("a", claims={"x": 1}), Target("a", claims={"x": 1}), Target("b")}), 2)
        self.assertEqual(len({Identity("a", {"x": 1}), Identity("a", {"x": 1})}), 1)


class SessionTests(SynchronousTestCase):
    def test_default(self) -> None:
        """Who needs any session gets one: no two are the same, and nothing is behind them."""
        session, other = makeSession(), makeSession()
        self.assertRegex(session.id, "^[0-9a-f]{32}$")
        self.assertNotEqual(session.id, other.id)
        self.assertEqual((session.identity, session.target, session.request), (None, Target("demo:"), makeRequest()))
        session.close(Close(1000))

    def test_given(self) -> None:
        """It is what the test says."""
        closed: list[Close] = []
        request, identity = makeRequest(host=UNIXAddress(b"/s")), Identity("alice")
        session = makeSession("host:1", request=request, identity=identity, id="7", started=5.0, close=closed.append)
        self.assertEqual((session.id, session.request, session.identity), ("7", request, identity))
        self.assertEqual((session.target, session.started), (Target("host:1"), 5.0))
        session.close(Close(1000, "done"))
        self.assertEqual(closed, [Close(1000, "done")])


class PackageTests(SynchronousTestCase):
    def test_factory(self) -> None:
        """The package has the factory, and imports nothing for it until it is asked."""
        script = (
            "import sys, wsproxy; early = 'twisted' in sys.modules; factory = wsproxy.WebSockifyFactory; "
            "print(early, factory.__module__, hasattr(wsproxy, 'nonsense'))"
        )
        said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
        self.assertEqual(said, "False wsproxy.factory False\n")
