"""The options of forward authentication."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.command.settings import makeConfig
from wsproxy.config import AuthenticationConfig, asPlain, fromPlain
from wsproxy.errors import ConfigError

URL = "http://127.0.0.1:9000/verify"


class ForwardTests(SynchronousTestCase):
    def config(self, **given: Any) -> Any:
        return makeConfig({"target": "demo:", **{name.replace("_", "-"): value for name, value in given.items()}})

    def complaint(self, **given: Any) -> str:
        return str(self.assertRaises(ConfigError, self.config, **given))

    def test_given(self) -> None:
        """All of it reaches the settings, and those of workers."""
        config = self.config(auth_url=URL, auth_copy="Remote-User, Remote-Groups", auth_recheck="60", web_auth=True)
        wanted = AuthenticationConfig(url=URL, copy=("Remote-User", "Remote-Groups"), recheck=60.0, web=True)
        self.assertEqual(config.authentication, wanted)
        self.assertEqual(fromPlain(json.loads(json.dumps(asPlain(config)))), config)

    def test_urls(self) -> None:
        """A verifier speaks HTTP, at a host, on a port, and is named without a password."""
        for url in ("https://auth.example", "http://[::1]:80/a?b=c", "http://localhost:65535"):
            self.assertEqual(self.config(auth_url=url).authentication.url, url)
        bad = ("", "verify", "127.0.0.1:9000", "ftp://a/", "http://", "http://a:0/", "http://a:x/", "http://a:65536/")
        for url in (*bad, "http://[::1", "http://a/#b", "http://a/ b", "http://\u00e9/", "http://a/\r\n"):
            self.assertIn("expected http://HOST[:PORT]/PATH, or https:", self.complaint(auth_url=url), url)
        self.assertTrue(self.complaint(auth_url="http://a/\r\n").isprintable())
        said = self.complaint(auth_url="http://me:hunter2@a/")
        self.assertEqual(said, "--auth-url: no user and no password can be in it, where logs would have them")

    def test_names(self) -> None:
        """Headers have names that headers can have."""
        for names in ("", "Remote User", "Remote-User,", "a,,b", "a:", "a\r\nb"):
            self.assertIn("expected names of headers", self.complaint(auth_url=URL, auth_copy=names))

    def test_alone(self) -> None:
        """What is about a verifier needs one."""
        self.assertEqual(self.complaint(auth_copy="Remote-User"), "--auth-copy Remote-User: needs --auth-url")
        self.assertEqual(self.complaint(auth_recheck="60"), "--auth-recheck 60: needs --auth-url")

    def test_two(self) -> None:
        """Whoever says who clients are says it alone."""
        self.assertIn("clashes", self.complaint(auth_url=URL, auth="memory:a:b"))
