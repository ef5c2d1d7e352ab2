"""What the options about tokens mean together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.command.settings import forgetSecrets, makeConfig
from wsproxy.config import TokensConfig
from wsproxy.errors import ConfigError


class TokensTests(SynchronousTestCase):
    """Each test in a directory of its own, with a file C{tokens}."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.path.mkdir(parents=True)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.path)
        Path("tokens").touch()

    def tokens(self, **given: Any) -> TokensConfig:
        return makeConfig({name.replace("_", "-"): word for name, word in given.items()}).tokens

    def test_plugin(self) -> None:
        """A plugin takes the place of a target, and has a source; a path is absolute from then on."""
        config = self.tokens(token_plugin="TokenFile", token_source="tokens", host_token=True)
        self.assertEqual(config, TokensConfig("TokenFile", f"{self.path}/tokens", host=True))
        config = self.tokens(token_plugin="websockify.token_plugins.TokenFile", token_source="tokens")
        self.assertEqual(config.source, f"{self.path}/tokens")
        config = self.tokens(token_plugin="my.Class", token_source="tokens")
        self.assertEqual(config, TokensConfig("my.Class", "tokens"))
        self.assertEqual(self.tokens(token_plugin="my.Class"), TokensConfig("my.Class"))

    def test_targetConfig(self) -> None:
        """C{--target-config} is a file of tokens, or a directory."""
        self.assertEqual(self.tokens(target_config="tokens"), TokensConfig(file=f"{self.path}/tokens"))
        self.assertEqual(self.tokens(target_config="."), TokensConfig(file=str(self.path)))

    def test_places(self) -> None:
        """A token may be elsewhere, too."""
        config = self.tokens(target_config="tokens", token_path="/{token}", token_header="X-T", token_cookie="seat")
        self.assertEqual((config.path, config.header, config.cookie), ("/{token}", "X-T", "seat"))

    def test_complaints(self) -> None:
        """What makes no sense is told in one line."""
        os.mkfifo("fifo")
        for given, line in (
            ({"target": "demo:", "target-config": "tokens"}, "--target demo:: clashes with --target-config, which "
             "says where sessions lead"),
            ({"target": "demo:", "token-plugin": "a.B"}, "--target demo:: clashes with --token-plugin, which says "
             "where sessions lead"),
            ({"raw": True, "token-plugin": "a.B"}, "--raw: clashes with --token-plugin; such clients have no token"),
            ({"--": ("sh",), "token-plugin": "a.B"}, "--token-plugin a.B: clashes with the program, -- sh"),
            ({"target-config": "tokens", "token-plugin": "a.B"}, "--target-config tokens: clashes with --token-plugin"),
            ({"target": "demo:", "token-source": "x"}, "--token-source: needs --token-plugin"),
            ({"target": "demo:", "host-token": True}, "--host-token: needs --token-plugin; who knows tokens?"),
            ({"token-plugin": "TokenFile"}, "--token-plugin TokenFile: needs --token-source: a file, or a directory of "
             "files"),
            ({"target-config": "nothing"}, "--target-config nothing: No such file or directory"),
            ({"target-config": "fifo"}, "--target-config fifo: not a regular file"),
            ({"target-config": "tokens", "token-path": "/vnc"}, "--token-path /vnc: expected a path with {token} for "
             "one part of it, such as /vnc/{token}"),
            ({"target-config": "tokens", "token-cookie": "a b"}, "--token-cookie a b: not a name"),
        ):  # fmt: skip
            self.assertEqual(str(self.assertRaises(ConfigError, makeConfig, given)), line)

    def test_secrets(self) -> None:
        """A source may be a secret: neither environment nor log keeps it, and one that all can see is warned of."""
        Path("source").write_text("redis.example:::sesame\n")
        with mock.patch.dict(os.environ, {"SOURCE": "https://me:sesame@tokens.example/%s"}), capturedLogs() as events:
            config = self.tokens(token_plugin="JSONTokenApi", token_source="env:SOURCE")
            self.assertEqual(config.source, "https://me:sesame@tokens.example/%s")
            self.assertNotIn("sesame", repr(config))
            forgetSecrets({"token-source": "env:SOURCE"})
            self.assertNotIn("SOURCE", os.environ)
            config = self.tokens(token_plugin="TokenRedis", token_source="@source")
            self.assertEqual(config.source, "redis.example:::sesame")
            self.tokens(token_plugin="JSONTokenApi", token_source="https://tokens.example/%s")
            self.tokens(token_plugin="TokenRedis", token_source='redis.example::::"a:b"')
        self.assertEqual(events, [])
        for plugin, source in (("JSONTokenApi", "https://me:sesame@x/%s"), ("TokenRedis", "redis.example:::sesame")):
            with capturedLogs() as events:
                self.tokens(token_plugin=plugin, token_source=source)
            [line] = map(formatEvent, events)
            self.assertIn("--token-source: all users of this machine can read it", line)
            self.assertNotIn("sesame", line)

    def test_tls(self) -> None:
        """A token may lead to a target over TLS, so that its options make sense."""
        config = makeConfig({"target-config": "tokens", "target-insecure": True})
        self.assertTrue(config.target.insecure)
