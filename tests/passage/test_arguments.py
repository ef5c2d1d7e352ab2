"""What the arguments of an endpoint string mean, and what they are refused for."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tests.certificates import selfSigned
from wsproxy.errors import ConfigError
from wsproxy.passage.client import parseClient
from wsproxy.passage.server import ServiceFactory, parseServer
from wsproxy.testing import MemoryClient


class ServerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()

    def parse(self, **named: str) -> Any:
        return parseServer(self.reactor, "tcp:0", **named)

    def listen(self, **named: str) -> ServiceFactory:
        """@return: what listens."""
        self.parse(**named).listen(Factory.forProtocol(Protocol))
        factory: ServiceFactory = self.reactor.tcpServers[-1][1]
        return factory

    def assertRefused(self, words: str, **named: str) -> None:
        """What is said is C{websocket:} and then these words."""
        with self.subTest(**named):
            error = self.assertRaises(ConfigError, self.parse, **named)
            self.assertTrue(str(error).startswith(f"websocket: {words}"), error)

    def test_empty(self) -> None:
        """What is empty opens no door, as if it had not been said: it is a mistake."""
        for name in ("allow", "origin", "subprotocol", "trustedProxy"):
            for value in ("", ",", " ", "10.0.0.1,"):
                self.assertRefused(f"{name}=: empty", **{name: value})
        for name in ("cert", "htpasswd"):
            self.assertRefused(f"{name}=: empty", **{name: ""})
        self.assertRefused("user=: empty", user="", password="secret")
        nothing = self.mktemp()
        open(nothing, "w").close()
        self.patch(os, "environ", {"NOTHING": ""})
        for password in ("", f"@{nothing}", "env:NOTHING"):
            self.assertRefused("password=: empty", user="alice", password=password)

    def test_key(self) -> None:
        """A key alone is no TLS, and what was meant to be TLS does not listen in plaintext."""
        self.assertRefused("key= needs cert=", key=self.mktemp())

    def test_words(self) -> None:
        """Complaints name arguments, not options of a command line that nobody has written."""
        pem = self.mktemp()
        with open(pem, "wb") as stream:
            stream.write(selfSigned("localhost").both)
        self.assertRefused("allow=10.0.0.1/24: has bits", allow="10.0.0.1/24")
        self.assertRefused("allow=somebody: expected", allow="somebody")
        self.assertRefused("origin=here: expected", origin="here")
        self.assertRefused("trustedProxy=here: expected", trustedProxy="here")
        self.assertRefused("cert=nowhere: No such file", cert="nowhere")
        self.assertRefused("key=nowhere: No such file", cert=pem, key="nowhere")
        self.assertRefused("htpasswd=nowhere: No such file", htpasswd="nowhere")
        self.assertRefused("subprotocol=a b: not a name", subprotocol="ssh,a b")
        self.assertRefused("user= and password=", user="alice")

    def test_path(self) -> None:
        """A path is one, however it or a request writes it; what could not be asked for is a mistake."""
        for path, asked in (
            ("/ssh", "/ssh"),
            ("/ssh", "/%73sh"),
            ("/%73sh", "/ssh"),
            ("/é", "/%C3%A9"),
            ("/a b", "/a%20b"),
            ("/a%20b", "/a%20b"),
            ("/", "/"),
        ):
            with self.subTest(path=path, asked=asked):
                factory = self.listen(path=path)
                self.assertEqual(MemoryClient(factory, asked).status, 101)
                self.assertEqual(MemoryClient(factory, f"{asked}?a=b").status, 101)
                for other in ("/sshd", "/%2e/ssh", "//ssh", "/ssh/", "/%C3"):
                    self.assertEqual(MemoryClient(factory, other).status, 404)
        for path in ("", "x", "ssh", "/a?b", "/a#b", "/a//b", "/a/../b", "/%2e", "/%zz", "/a%2fb"):
            self.assertRefused(f"path={path}: expected /PATH", path=path)

    def test_allow(self) -> None:
        """Who is not listed is not let in."""
        self.assertEqual(MemoryClient(self.listen(allow="192.0.2.250")).status, 403)


class ClientTests(SynchronousTestCase):
    def parse(self, secure: bool, **named: str) -> Any:
        return parseClient(secure, MemoryReactorClock(), "gate.example", **named)

    def test_refused(self) -> None:
        """What would be left out in silence is a mistake: TLS where there is none, a password of nobody."""
        for secure, words, named in (
            (False, "ws: cafile= and insecure= are about TLS", {"cafile": "/etc/hosts"}),
            (False, "ws: cafile= and insecure= are about TLS", {"insecure": "yes"}),
            (True, "wss: password= needs user=", {"password": "secret"}),
            (True, "wss: password=: empty", {"user": "alice", "password": ""}),
            (True, "wss: user=: empty", {"user": "", "password": "secret"}),
            (True, "wss: subprotocol=: empty", {"subprotocol": ""}),
            (True, "wss: subprotocol=a b: not a name", {"subprotocol": "a b"}),
            (True, "wss: cafile=: empty", {"cafile": ""}),
        ):
            with self.subTest(**named):
                error = self.assertRaises(ConfigError, self.parse, secure, **named)
                self.assertIn(words, str(error))
