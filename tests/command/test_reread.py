"""Settings that are read again, those that are fixed, and how a change is told; what is printed of them."""

from __future__ import annotations

import os
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.command.given import Given
from wsproxy.command.lesser import lost
from wsproxy.command.printed import printed
from wsproxy.command.reread import Source
from wsproxy.errors import ConfigError


class SourceTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.file = self.folder / "a.toml"

    def source(self, written: str, **words: Any) -> Source:
        self.file.write_text(written)
        source = Source(
            Given({"config": str(self.file), **{name.replace("_", "-"): word for name, word in words.items()}})
        )
        source.load()
        source.start()
        return source

    def line(self, source: Source, text: str) -> str:
        self.file.write_text(text)
        return source.read().line


class DifferenceTests(SourceTestCase):
    """What has changed, in one line."""

    def test_lines(self) -> None:
        """Each change is told, but no secret is."""
        source = self.source("target = 'x:1'\nlisten = ['1', '2']\n")
        for text, line in (
            ("target = 'x:1'\nlisten = ['1', '2']\n", ""),
            ("target = 'y:1'\nlisten = ['2', '3']\n", "listen +3 -1; target x:1 → y:1"),
            ("target = 'x:1'\nlisten = ['2', '1']\n", "listen in another order"),
            ("target = 'x:1'\nlisten = ['1', '2']\ntext = true\nno-pump = true\n", "text on; no-pump on"),
            ("target = 'x:1'\nlisten = ['1', '2']\nbandwidth = '1k'\nverbose = true", "bandwidth 0 → 1024; verbose on"),
            ("listen = ['1', '2']\n[[route]]\ntarget = 'x:1'\n", "route */ added"),
            (
                "target = 'x:1'\nlisten = ['1', '2']\nauth-plugin = 'BasicHTTPAuth'\nauth-source = 'a:secret'\n",
                "auth-plugin none → BasicHTTPAuth; auth-source changed",
            ),
        ):
            self.assertEqual(self.line(source, text), line)

    def test_many(self) -> None:
        """Of many changes some are told, and how many there are."""
        source = self.source("target = 'x:1'\n")
        routes = "".join(f"[[route]]\npath = '/{number}'\n" for number in range(20))
        self.assertTrue(self.line(source, f"target = 'x:1'\n{routes}").endswith("route */11 added; and 8 more"))

    def test_routes(self) -> None:
        """Those that are new, those that are gone, and what has changed inside of the others."""
        source = self.source("[[route]]\nhost = 'a'\ntarget = 'x:1'\n[[route]]\nhost = 'b'\ntarget = 'x:1'\n")
        line = self.line(source, "[[route]]\nhost = 'c'\n[[route]]\nhost = 'b'\ntarget = 'y:1'\nheartbeat = 3")
        self.assertEqual(line, "route c/ added; route a/ removed; route b/: target x:1 → y:1, heartbeat 25 → 3")

    def test_fixed(self) -> None:
        """What is fixed at the start is refused by its name, and with its line."""
        source = self.source("target = 'x:1'\n")
        (self.folder / "token").write_text("t" * 32)
        for more in ("workers = 2", "drain = 3", "timeout = 3", "run-once = true", "cluster = 'redis://h'",
                     "admin = 'unix:a'", "log-format = 'json'", "legacy = true"):  # fmt: skip
            self.file.write_text(f"target = 'x:1'\nheartbeat = 3\n{more}\n")
            line = str(self.assertRaises(ConfigError, source.read))
            self.assertEqual(line, f"{self.file}:3: --{more.split()[0]}: is fixed at the start; restart to change it")

    def test_program(self) -> None:
        """Where a program is wrapped, its port is."""
        source = self.source("listen = '6080'\n", **{"--": ("true",)})
        self.file.write_text("listen = '6081'\n")
        self.assertIn("--listen: is fixed", str(self.assertRaises(ConfigError, source.read)))

    def test_directory(self) -> None:
        """The command line means what it did at the start, wherever the process is by now."""
        here = os.getcwd()
        self.addCleanup(os.chdir, here)
        os.chdir(self.folder)
        (self.folder / "self.pem").write_text("")
        source = self.source("listen = '1'\n", target="unix:sock", record="r")
        os.chdir("/")
        self.assertEqual(source.read().line, "")

    def test_environment(self) -> None:
        """A secret of the environment is there when it is read again, and at no other time."""
        self.patch(os, "environ", {**os.environ, "USERS": "a:b"})
        text = "target = 'x:1'\nauth-plugin = 'BasicHTTPAuth'\nauth-source = 'env:USERS'\n"
        source = self.source(text)
        self.assertNotIn("USERS", os.environ)
        self.assertEqual(self.line(source, f"{text}heartbeat = 3\n"), "heartbeat 25 → 3")
        self.assertNotIn("USERS", os.environ)

    def test_accepted(self) -> None:
        """The next change is one of what was accepted last."""
        source = self.source("target = 'x:1'\n")
        self.file.write_text("target = 'y:1'\n")
        source.read()
        change = source.read()
        self.assertEqual(change.line, "target x:1 → y:1")
        change.accept()
        self.assertEqual(source.read().line, "")

    def test_located(self) -> None:
        """What comes up later has its line as well."""
        change = self.source("target = 'x:1'\nlisten = '1'\n[[route]]\npath = '/x'\nrecord = 'r'\n").read()
        for told, line in (
            ("--listen 1: in use", 2),
            ("route */x: --record r: full", 5),
            ("route */x: --target: no", 1),
        ):
            self.assertEqual(str(change.located(ConfigError(told))), f"{self.file}:{line}: {told}")
        for told in ("something", "--heartbeat: x", "route */y: --record r: x"):
            self.assertEqual(str(change.located(ConfigError(told))), told)


class PrintedTests(SourceTestCase):
    """C{--print-config}."""

    def printed(self, written: str, **words: Any) -> str:
        source = self.source(written, **words)
        return "\n".join(printed(source.layers, source.config, os.getcwd())) + "\n"

    def test_again(self) -> None:
        """What is printed means the same, wherever it is put."""
        for name in ("users", "tokens", "pair", "htpasswd"):
            (self.folder / name).write_text("a:b")
        text = (
            "listen = ['1', 'unix:s']\nheartbeat = 7\ntext = true\nauth-plugin = 'BasicHTTPAuth'\n"
            "auth-source = '@users'\nmax-sessions = 5\norigin = ['https://a.example', '*']\nrecord = 'r\\q'\n"
            "[[listener]]\nlisten = ['3', '4']\ncert = 'pair'\nssl-only = true\n"
            "[[route]]\nhost = 'h.example'\ntarget = 'unix:t'\nmax-sessions = 2\nauth-plugin = false\n"
            "[[route]]\npath = '/t \" é'\ntoken-plugin = 'TokenFile'\ntoken-source = 'tokens'\nheartbeat = 0\n"
            "[[route]]\npath = '/u'\ntarget-config = 'tokens'\nauth-plugin = 'HtpasswdAuth'\nauth-source = 'htpasswd'\n"
        )
        shown = self.printed(text)
        tomllib.loads(shown)
        before = self.source(text).config
        other = self.folder / "elsewhere"
        other.mkdir()
        self.file = other / "b.toml"
        again = self.source(shown)
        for route, same in zip(again.config.routes, before.routes, strict=True):
            self.assertEqual(replace(route, config=replace(route.config, file=same.config.file)), same)
        self.assertEqual(again.config.listeners, before.listeners)
        for group in ("listening", "sessions", "limits", "tls", "web"):
            self.assertEqual(getattr(again.config, group), getattr(before, group))

    def test_above(self) -> None:
        """What stands above routes for each of them is printed, so that they mean the same again."""
        (self.folder / "passwords").write_text("a:b")
        text = "target = '127.0.0.1:1'\nauth = 'file:passwords'\n[[route]]\npath = '/b'\n"
        before = self.source(text).config
        shown = self.printed(text)
        self.assertIn('target = "127.0.0.1:1"', shown)
        [route] = self.source(shown).config.routes
        self.assertEqual(route.config.target, before.routes[0].config.target)
        self.assertEqual(route.config.authentication, before.routes[0].config.authentication)
        self.assertNotIn("secret@", self.printed("target = 'ws://u:secret@h/'\n[[route]]\npath = '/b'\n"))

    def test_origins(self) -> None:
        """Each setting says where it comes from."""
        shown = self.printed("target = 'x:1'\nheartbeat = 7\n", text=True, heartbeat="8").split("\n")
        self.assertIn(f'target = "x:1"  # {self.file}:1', shown)
        self.assertIn("heartbeat = 8  # the command line", shown)
        self.assertIn("text = true  # the command line", shown)
        self.assertIn("# connect-timeout = 10: the default", shown)

    def test_secrets(self) -> None:
        """No secret is printed, but where it is."""
        self.patch(os, "environ", {**os.environ, "USERS": "a:secret"})
        (self.folder / "users").write_text("a:secret")
        head = "target = 'x:1'\nauth-plugin = '{}'\nauth-source = '{}'\n"
        for plugin, source, told in (
            ("BasicHTTPAuth", "env:USERS", 'auth-source = "env:USERS"'),
            ("BasicHTTPAuth", "@users", f'auth-source = "@{self.folder}/users"'),
            ("BasicHTTPAuth", "a:secret", "# auth-source: a secret"),
            ("some.Other", "a secret", "# auth-source: a secret"),
        ):
            shown = self.printed(head.format(plugin, source))
            self.assertIn(told, shown)
            self.assertNotIn("a:secret", shown)
            self.assertNotIn("a secret\n", shown)
        shown = self.printed(
            "target = 'ws://user:secret@h/'\ncluster = 'redis://:secret@h'\nauth = 'memory:a:secret'\n"
        )
        self.assertNotIn("secret@", shown)
        self.assertNotIn("a:secret", shown)


class LesserTests(SourceTestCase):
    """What another user will not be able to do again."""

    def test_lost(self) -> None:
        """Files that are not for it, and ports that are not, are named; others are not."""
        for name, mode in (("users", 0o600), ("tokens", 0o644), ("a.toml", 0o644)):
            (self.folder / name).write_text("a:b")
            (self.folder / name).chmod(mode)
        text = (
            "listen = ['443', '60000', 'unix:s']\ntarget-config = 'tokens'\nauth-plugin = 'BasicHTTPAuth'\n"
            "auth-source = '@users'\nrecord = 'r'\n"
        )
        source = self.source(text)
        found = lost(source.layers, source.config, 65534, 65534)
        self.assertIn(str(self.folder / "users"), found)
        self.assertNotIn("--listen 60000", found)
        self.assertFalse([each for each in found if each.endswith("/r")])
        self.assertEqual(lost(source.layers, source.config, 0, 0), [])
        (self.folder / "users").chmod(0o644)
        reachable = all(parent.stat().st_mode & 1 for parent in self.folder.parents)
        found = lost(source.layers, source.config, 65534, 65534)
        self.assertEqual(str(self.folder / "users") in found, not reachable)
