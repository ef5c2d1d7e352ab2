"""The options about who clients are."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from twisted.logger import eventAsText, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.access.secretfile import readSecretFile
from wsproxy.command.settings import forgetSecrets, makeConfig
from wsproxy.config import AuthenticationConfig, Config
from wsproxy.errors import ConfigError


class AuthenticationTests(SynchronousTestCase):
    def config(self, **given: Any) -> Config:
        words = {name.replace("_", "-"): value for name, value in given.items()}
        self.events: list[Any] = []
        keep: Any = self.events.append
        globalLogPublisher.addObserver(keep)
        try:
            return makeConfig({"target": "demo:", **words})
        finally:  # which capturedLogs does not do where something is raised
            globalLogPublisher.removeObserver(keep)

    def complaint(self, **given: Any) -> str:
        return str(self.assertRaises(ConfigError, self.config, **given))

    def warned(self) -> bool:
        return any("all users of this machine can read it" in eventAsText(event) for event in self.events)

    def test_plugin(self) -> None:
        """A plugin and its source are taken as they are said."""
        self.assertEqual(
            self.config(auth_plugin="my.Class", auth_source="what it takes").authentication,
            AuthenticationConfig("my.Class", "what it takes"),
        )
        self.assertEqual(self.config().authentication, AuthenticationConfig())
        self.assertFalse(self.warned())

    def test_secret(self) -> None:
        """A password may be in a file or the environment; one on the command line is warned of."""
        path = Path(self.mktemp())
        path.write_text("alice:one\nbob:two\n", encoding="utf-8")
        config = self.config(auth_plugin="BasicHTTPAuth", auth_source=f"@{path}")
        self.assertEqual(config.authentication.source, "alice:one\nbob:two")
        given = {"auth-plugin": "BasicHTTPAuth", "auth-source": "env:USERS"}
        with patch.dict(os.environ, {"USERS": "alice:three"}):
            config = self.config(**given)
            self.assertEqual(config.authentication.source, "alice:three")
            forgetSecrets(given)
            self.assertNotIn("USERS", os.environ)
        self.assertFalse(self.warned())
        self.assertNotIn("three", repr(config))
        config = self.config(auth_plugin="BasicHTTPAuth", auth_source="alice:four")
        self.assertEqual((config.authentication.source, self.warned()), ("alice:four", True))

    def test_pipe(self) -> None:
        """A secret out of a pipe that nobody writes into is given up, in one line."""
        path = Path(self.mktemp())
        os.mkfifo(path)
        with patch("wsproxy.command.kinds.readSecretFile", partial(readSecretFile, patience=0.05)):
            said = self.complaint(auth_plugin="BasicHTTPAuth", auth_source=f"@{path}")
        self.assertEqual(said, f"--auth-source {path}: a pipe that nobody has written to, to its end")

    def test_htpasswd(self) -> None:
        """A file of hashes has its absolute path, since a daemon changes directory; an @ before it changes nothing."""
        path = Path(self.mktemp())
        path.write_text("alice:x", encoding="utf-8")
        for word in (str(path), f"@{path}"):
            config = self.config(auth_plugin="HtpasswdAuth", auth_source=word)
            self.assertEqual(config.authentication.source, str(path.absolute()))
        said = self.complaint(auth_plugin="HtpasswdAuth", auth_source="/no/such")
        self.assertEqual(said, "--auth-source /no/such: No such file or directory")

    def test_expectOrigin(self) -> None:
        """ExpectOrigin is the origin policy: its list, and nobody without an Origin."""
        for name in ("ExpectOrigin", "websockify.auth_plugins.ExpectOrigin"):
            config = self.config(auth_plugin=name, auth_source="https://a.example  https://b.example:8443")
            self.assertEqual(config.sessions.origins, ("https://a.example", "https://b.example:8443"))
            self.assertTrue(config.sessions.originRequired)
            self.assertEqual(config.authentication, AuthenticationConfig())
        given = {"auth_plugin": "ExpectOrigin", "auth_source": "https://a.example"}
        self.assertIn("clashes with --origin", self.complaint(**given, origin=["https://b.example"]))
        self.assertIn("--web-auth: browsers send no Origin", self.complaint(**given, web_auth=True))
        said = self.complaint(auth_plugin="ExpectOrigin", auth_source="nonsense")
        self.assertIn("--auth-source nonsense: expected", said)

    def test_checker(self) -> None:
        """A checker's file has its absolute path; only a password in its string is warned of."""
        self.assertEqual(self.config(auth="file:passwd").authentication.checker, f"file:{os.getcwd()}/passwd")
        self.assertFalse(self.warned())
        self.assertEqual(self.config(auth="memory:a:b").authentication.checker, "memory:a:b")
        self.assertTrue(self.warned())
        with patch.dict(os.environ, {"CHECKER": "memory:a:b"}):
            self.assertEqual(self.config(auth="env:CHECKER").authentication.checker, "memory:a:b")
        self.assertFalse(self.warned())

    def test_one(self) -> None:
        """There is one authenticator: two are an error, which shows no secret."""
        said = self.complaint(auth_plugin="BasicHTTPAuth", auth_source="a:hunter2", auth="memory:a:hunter2")
        self.assertEqual(said, "--auth: clashes with --auth-plugin; one of them says who may come in")

    def test_needs(self) -> None:
        """What makes no sense by itself is told."""
        for given, said in (
            ({"auth_source": "a:hunter2"}, "--auth-source: needs --auth-plugin"),
            ({"auth_plugin": "BasicHTTPAuth"}, "--auth-plugin BasicHTTPAuth: needs --auth-source: user:password"),
            ({"auth_plugin": "HtpasswdAuth", "auth_source": ""}, "HtpasswdAuth: needs --auth-source: a file"),
            ({"auth_plugin": "ExpectOrigin"}, "--auth-plugin ExpectOrigin: needs --auth-source: origins"),
            ({"auth_plugin": "ClientCertCNAuth"}, "--auth-plugin ClientCertCNAuth: needs --auth-source: common names"),
            (
                {"auth_plugin": "ClientCertCNAuth", "auth_source": "alice"},
                "--auth-plugin ClientCertCNAuth: needs --verify-client",
            ),
            ({"web_auth": True}, "--web-auth: needs --auth-plugin, --auth, --auth-url or --link-key"),
            ({"raw": True, "auth": "memory:a:b"}, "--raw: clashes with --auth"),
        ):
            self.assertIn(said, self.complaint(**given))
