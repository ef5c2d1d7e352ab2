"""JWTTokenApi: tokens that say themselves where they lead."""

from __future__ import annotations

import json
import os
import time
from base64 import urlsafe_b64encode
from typing import Any

from joserfc.jwk import ECKey, OctKey
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.jose.tokens import ecKey, encrypted, private, public, rsaKey, signed, unsigned
from wsproxy.access.secrets import shown
from wsproxy.errors import ConfigError, Refusal
from wsproxy.interfaces import Target
from wsproxy.testing import makeRequest
from wsproxy.tokens.jwt import JWTTokenApi
from wsproxy.tokens.location import TokenLocation
from wsproxy.tokens.resolver import TokenResolver

SECRET = bytes(range(200, 232))


class JWTCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = self.mktemp()
        self.clock = int(time.time())

    def source(self, data: bytes, **settings: Any) -> JWTTokenApi:
        with open(self.path, "wb") as stream:
            stream.write(data)
        return JWTTokenApi(self.path, **settings)

    def refused(self, source: JWTTokenApi, token: str) -> Refusal:
        refusal = self.assertRaises(Refusal, source.lookup, token)
        self.assertEqual((refusal.status, refusal.reason, refusal.guess), (403, "Token not accepted", True))
        self.assertNotIn(token, refusal.cause)
        return refusal


class LookupTests(JWTCase):
    def test_asTheOriginal(self) -> None:
        """host and port, signed or encrypted besides, with a symmetric key in base64url or a PEM for a source."""
        claims = {"host": "10.0.0.7", "port": "5900", "nbf": self.clock, "exp": self.clock + 60}
        source = self.source(urlsafe_b64encode(SECRET).rstrip(b"="))
        for token in (signed(claims, SECRET), encrypted(signed(claims, SECRET), OctKey.import_key(SECRET), "A256KW")):
            target = source.lookup(token)
            self.assertEqual((target.text, target.expires), ("10.0.0.7:5900", self.clock + 60))
        self.assertEqual(self.source(private(ecKey)).lookup(signed(claims, private(ecKey), "ES256")), target)

    def test_targets(self) -> None:
        """Whatever is a target of tokens is one of these."""
        source = self.source(SECRET)
        for claims, text in (
            ({"host": "::1", "port": 5900}, "[::1]:5900"),
            ({"host": "unix_socket", "port": "/run/x.sock"}, "unix:/run/x.sock"),
            ({"target": "tls:h:5900"}, "tls:h:5900"),
            ({"target": "unix_socket:/run/x.sock"}, "unix:/run/x.sock"),
        ):
            target = source.lookup(signed(claims, SECRET))
            self.assertEqual((target.text, target.expires, target.sockets), (text, None, False))
        self.assertEqual(source.lookup(signed({"target": "h:1 proxy=v1"}, SECRET)).proxyHeader, "v1")

    def test_refused(self) -> None:
        """One text for all that do not hold; the log has why, and eight digits for the token."""
        source = self.source(SECRET)
        good = {"host": "h", "port": 1}
        for token, why in (
            (signed({**good, "exp": self.clock - 1}, SECRET), "expired"),
            (signed({**good, "nbf": self.clock + 99}, SECRET), "clocks"),
            (signed(good, SECRET[::-1]), "wrong signature"),
            (unsigned(good), "not ours"),
            (signed({"host": "h"}, SECRET), "port"),
            (signed({"host": "../x", "port": 1}, SECRET), ""),
            (signed({"target": "h"}, SECRET), "h"),
            ("../../etc/passwd", "malformed"),
            ("\x00", "malformed"),
        ):
            cause = self.refused(source, token).cause
            self.assertIn(shown(token), cause)
            self.assertIn(why, cause)

    def test_demands(self) -> None:
        """An audience and an issuer are demanded where they are given."""
        source = self.source(SECRET, audience="console", issuer="me")
        claims = {"host": "h", "port": 1, "aud": "console", "iss": "me"}
        source.lookup(signed(claims, SECRET))
        self.refused(source, signed({**claims, "aud": "x"}, SECRET))
        self.refused(source, signed({**claims, "iss": "x"}, SECRET))

    def test_resolver(self) -> None:
        """The resolver of all tokens takes what it says."""
        resolver = TokenResolver(TokenLocation(), self.source(SECRET))
        token = signed({"host": "h", "port": 1, "room": 7}, SECRET)
        target = resolver.resolve(makeRequest(f"/?token={token}"), None)
        self.assertEqual((type(target), target.text, target.claims["room"]), (Target, "h:1", 7))


class FileTests(JWTCase):
    def test_useless(self) -> None:
        """What is no file of keys is refused, and named."""
        for data in (b"", b"short", b"{}", public(rsaKey).replace(b"M", b"?")):
            error = self.assertRaises(ConfigError, self.source, data)
            self.assertTrue(str(error).startswith(f"--token-source {self.path}: "), error)
        for path in (self.path + "x", "/", "/dev/zero"):
            self.assertRaises(ConfigError, JWTTokenApi, path)
        os.mkfifo(self.path + ".fifo")
        self.assertRaises(ConfigError, JWTTokenApi, self.path + ".fifo")

    def test_changed(self) -> None:
        """A key that is replaced serves the next token; one that is useless, or gone, leaves the old one."""
        events: list[Any] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        claims = {"host": "h", "port": 1}
        old, new = signed(claims, SECRET), signed(claims, SECRET[::-1])
        source = self.source(SECRET)
        source.lookup(old)
        self.replace(b"short")
        source.lookup(old)
        source.lookup(old)
        os.remove(self.path)
        source.lookup(old)
        self.replace(SECRET[::-1])
        source.lookup(new)
        self.refused(source, old)
        self.assertEqual([event["log_level"].name for event in events], ["error", "error", "info"])

    def test_kind(self) -> None:
        """A file of public keys that becomes a secret, or the other way round, is of no use until a restart."""
        claims = {"host": "h", "port": 1}
        for first, good, then in (
            (public(ecKey), signed(claims, private(ecKey), "ES256"), SECRET),
            (public(ecKey), signed(claims, private(ecKey), "ES256"), b"plain words: the service is away for a while"),
            (SECRET, signed(claims, SECRET), public(ecKey)),
        ):
            source = self.source(first)
            self.replace(then)
            source.lookup(good)
            self.refused(source, signed(claims, then) if first != SECRET else signed(claims, private(ecKey), "ES256"))

    def replace(self, data: bytes) -> None:
        with open(f"{self.path}.new", "wb") as stream:
            stream.write(data)
        os.replace(f"{self.path}.new", self.path)

    def test_rotation(self) -> None:
        """A set of keys may have the old and the new one, and each is found by its name."""
        other = ECKey.generate_key("P-256")
        names = {"2025": ECKey.import_key(public(ecKey)), "2026": other}
        source = self.source(json.dumps({"keys": [key.as_dict(kid=kid) for kid, key in names.items()]}).encode())
        source.lookup(signed({"host": "h", "port": 1}, other.as_pem(private=True), "ES256", kid="2026"))
        source.lookup(signed({"host": "h", "port": 1}, private(ecKey), "ES256", kid="2025"))
        self.refused(source, signed({"host": "h", "port": 1}, private(ecKey), "ES256", kid="2026"))
