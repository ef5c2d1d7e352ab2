"""C{--token-plugin}: by name."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred
from twisted.trial.unittest import TestCase

from wsproxy.config import TokensConfig
from wsproxy.errors import ConfigError, Refusal
from wsproxy.interfaces import Identity, Request, Target
from wsproxy.testing import makeRequest
from wsproxy.tokens.plugin import makeResolver

OLD = """
from websockify.token_plugins import BasePlugin, BaseTokenAPI

class Pairs(BasePlugin):
    def lookup(self, token):
        answers = {"red": (self.source, 5900), "blue": [self.source, b"5901"], "socket": ("unix_socket", "/run/x")}
        return answers.get(token)

class Passed(BaseTokenAPI):
    def lookup(self, token):
        return "unix_socket", "/run/x"
"""
NEW = """
class Resolver:
    def __init__(self, source):
        self.source = source

    def resolve(self, request, identity):
        return f"{self.source}:{len(request.path)}"

class Nothing:
    def __init__(self, source):
        pass
"""


class MakeTests(TestCase):
    """Classes of ours, and of others."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.path.mkdir()
        (self.path / "tokenplugins_old.py").write_text(OLD)
        (self.path / "tokenplugins_new.py").write_text(NEW)
        sys.path.insert(0, str(self.path))
        self.addCleanup(sys.path.remove, str(self.path))
        self.addCleanup(sys.modules.pop, "tokenplugins_old", None)
        self.addCleanup(sys.modules.pop, "tokenplugins_new", None)

    async def target(self, config: TokensConfig, request: Request, **others: Any) -> Target | str:
        resolver: Any = makeResolver(config, reactor, others)
        ask = getattr(resolver, "resolve", resolver)
        answer: Target | str = await maybeDeferred(ask, request, Identity("anna"))
        return answer

    async def test_ours(self) -> None:
        """Ours are known by their names, and by those that they had in the original."""
        (self.path / "tokens").write_text("red: h:1\n")
        for name, source in (
            ("TokenFile", "tokens"),
            ("ReadOnlyTokenFile", "tokens"),
            ("websockify.token_plugins.TokenFile", "tokens"),
        ):
            config = TokensConfig(name, os.path.join(self.path, source))
            self.assertEqual(str(await self.target(config, makeRequest("/?token=red"))), "h:1")
        (self.path / "red").write_text("h:2")
        config = TokensConfig("TokenFileName", str(self.path))
        self.assertEqual(str(await self.target(config, makeRequest("/?token=red"))), "h:2")
        makeResolver(TokensConfig("UnixDomainSocketDirectory", str(self.path)), reactor, {})

    async def test_targetConfig(self) -> None:
        """C{--target-config} is TokenFile; and a token is where it is said to be."""
        (self.path / "tokens").write_text("red.example: h:1\n")
        config = TokensConfig(file=str(self.path / "tokens"), host=True)
        self.assertEqual(str(await self.target(config, makeRequest("/", Host="red.example:80"))), "h:1")

    async def test_others(self) -> None:
        """There may be more of ours."""
        config = TokensConfig("Other", "source")
        (self.path / "tokens").write_text("red: h:1\n")
        from wsproxy.tokens.tokenfile import ReadOnlyTokenFile

        other = {"Other": lambda source: ReadOnlyTokenFile(str(self.path / "tokens"), reactor)}
        self.assertEqual(str(await self.target(config, makeRequest("/?token=red"), **other)), "h:1")

    async def test_old(self) -> None:
        """A class that was written for the original is asked for the token, and answers as it did there."""
        config = TokensConfig("tokenplugins_old.Pairs", "db.example")
        for token, expected in (("red", "db.example:5900"), ("blue", "db.example:5901")):
            self.assertEqual(await self.target(config, makeRequest(f"/?token={token}")), Target(expected))
        socket = await self.target(config, makeRequest("/?token=socket"))
        self.assertEqual(socket, Target("unix:/run/x", sockets=False))
        with self.assertRaises(Refusal) as caught:
            await self.target(config, makeRequest("/?token=green"))
        self.assertEqual(caught.exception.reason, "Token not accepted")

    async def test_sockets(self) -> None:
        """Where that is said, such a class may name sockets, as with the original; one of others' words may not."""
        for name, sockets in (("Pairs", True), ("Passed", False)):
            config = TokensConfig(f"tokenplugins_old.{name}", "http://h/%s", sockets=True)
            target = await self.target(config, makeRequest("/?token=socket"))
            self.assertEqual(target, Target("unix:/run/x", sockets=sockets))
        config = TokensConfig("tokenplugins_old.Pairs", "stdio", sockets=True)
        self.assertEqual(await self.target(config, makeRequest("/?token=red")), Target("stdio:5900"))

    async def test_new(self) -> None:
        """A resolver is given the whole request, and needs no token."""
        config = TokensConfig("tokenplugins_new.Resolver", "db.example")
        self.assertEqual(await self.target(config, makeRequest("/four")), "db.example:5")

    def test_complaints(self) -> None:
        """What cannot be asked, or is not there, is told in one line."""
        for name, line in (
            ("TokenFiles", "--token-plugin TokenFiles: not one of TokenFile, "),
            (
                "tokenplugins_new.Nothing",
                "--token-plugin tokenplugins_new.Nothing: has neither a method resolve() nor ",
            ),
            ("tokenplugins_new.Missing", "--token-plugin tokenplugins_new.Missing: tokenplugins_new has no Missing"),
        ):
            error = self.assertRaises(ConfigError, makeResolver, TokensConfig(name, "x"), reactor, {})
            self.assertTrue(str(error).startswith(line), str(error))
