"""Which authenticator the settings name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.authentication.requests import basic, requestWith
from tests.authentication.test_htpasswd import cheap
from tests.certificates import Authority
from tests.plugins.test_load import WILD, restoreImports
from tests.plugins.test_pool import Reactor
from wsproxy.authentication.plugin import makeAuthenticator
from wsproxy.config import AuthenticationConfig
from wsproxy.errors import ConfigError, Refusal
from wsproxy.interfaces import Identity, Target
from wsproxy.plugins.oldauth import OldAuth


def resolver(request: object, identity: object) -> Target:
    return Target("localhost:5900")


class PluginTests(SynchronousTestCase):
    def setUp(self) -> None:
        restoreImports(self)
        self.reactor = Reactor()

    def make(self, plugin: str | None = None, source: str | None = None, **fields: Any) -> Any:
        config = AuthenticationConfig(plugin, source, **fields)
        self.authenticator, self.resolver = makeAuthenticator(config, self.reactor, resolver, tokens=False)
        return self.authenticator

    def test_nobody(self) -> None:
        """Where none is named, anybody may come in."""
        self.assertIsNone(self.make())
        self.assertIs(self.resolver, resolver)

    def test_basic(self) -> None:
        """BasicHTTPAuth is ours, by the original's full name too, and asked before the lookup."""
        for name in ("BasicHTTPAuth", "websockify.auth_plugins.BasicHTTPAuth"):
            auth = self.make(name, "alice:x")
            self.assertEqual(auth.authenticate(requestWith(headers=basic("alice", "x"))), Identity("alice"))
            self.assertIs(self.resolver, resolver)

    def test_htpasswd(self) -> None:
        """HtpasswdAuth reads its file, and hashes."""
        path = Path(self.mktemp())
        path.write_text(f"alice:{cheap('x')}\n", encoding="utf-8")
        result = self.make("HtpasswdAuth", str(path)).authenticate(requestWith(headers=basic("alice", "x")))
        self.reactor.deliver(1)
        self.assertEqual(self.successResultOf(result), Identity("alice"))

    def test_checker(self) -> None:
        """--auth has one of Twisted's checkers decide."""
        auth = self.make(checker="memory:alice:x")
        result = auth.authenticate(requestWith(headers=basic("alice", "x")))
        self.assertEqual(self.successResultOf(result), Identity("alice"))

    def test_certificate(self) -> None:
        """ClientCertCNAuth goes by the certificate alone: no header is one, and a name must be listed."""
        authority = Authority("Test")
        auth = self.make("ClientCertCNAuth", "alice bob")
        forged = {"SSL_CLIENT_S_DN_CN": "alice"}
        alice = requestWith(certificate=authority.issue("alice").certificate)
        self.assertEqual(auth.authenticate(alice), Identity("alice"))
        for request in (
            requestWith(headers=forged),
            requestWith(headers=forged, certificate=authority.issue("mallory").certificate),
        ):
            self.assertEqual(self.assertRaises(Refusal, auth.authenticate, request).status, 403)
        self.assertRaises(ConfigError, self.make, "ClientCertCNAuth", " ")

    def test_old(self) -> None:
        """A class of the original's contract stands before the resolver, and is told a port as an int."""
        old = self.make(f"{WILD}.Asked")
        self.assertIsInstance(old, OldAuth)
        self.assertIs(self.resolver, old)
        self.assertIsNone(old.authenticate(requestWith()))
        result = old.resolve(requestWith(), None)
        self.reactor.deliver(1)
        self.assertEqual(self.successResultOf(result), Target("localhost:5900"))

    def test_new(self) -> None:
        """A class of the new contract is asked as that has it."""
        new = self.make(f"{WILD}.New", "x")
        self.assertEqual((type(new).__name__, new.source), ("New", "x"))
        self.assertIs(self.resolver, resolver)

    def test_wrong(self) -> None:
        """What cannot be one is told in one line, which names the option."""
        for plugin, said in (
            ("Nonsense", "not one of BasicHTTPAuth, HtpasswdAuth, ExpectOrigin, ClientCertCNAuth, nor"),
            ("no.such.Class", "cannot import no.such"),
            (f"{WILD}.Table", "has no method authenticate()"),
        ):
            error = self.assertRaises(ConfigError, self.make, plugin, "")
            self.assertTrue(str(error).startswith(f"--auth-plugin {plugin}: "), str(error))
            self.assertIn(said, str(error))
