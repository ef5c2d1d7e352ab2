"""Files of settings: what they mean, and where they are wrong."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.command.configfile import LARGEST, readSettings
from wsproxy.command.given import Given
from wsproxy.command.settings import Layers, makeConfig
from wsproxy.config import Config, asPlain, fromPlain
from wsproxy.errors import ConfigError


class FileTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.file = self.folder / "a.toml"

    def layers(self, text: str, **words: Any) -> Layers:
        self.file.write_text(text)
        given = {name.replace("_", "-"): word for name, word in words.items()}
        return Layers(Given(given), readSettings(str(self.file)))

    def make(self, text: str, **words: Any) -> Config:
        return makeConfig(self.layers(text, **words), certificate=None)

    def assertWrong(self, text: str, *told: str, **words: Any) -> None:
        line = str(self.assertRaises(ConfigError, self.make, text, **words))
        self.assertNotIn("\n", line)
        for each in told:
            self.assertIn(each, line)


class LineTests(FileTestCase):
    """Complaints have the file's name and the line's number."""

    def test_lines(self) -> None:
        """However the statements before are spread."""
        for before, line in (
            ("", 1),
            ("\n\n# no = 'thing'\n", 4),
            ("listen = [\n  '1',\n  # so\n\n  '2',\n]\n", 7),
            ("web = '''\n[[route]]\nx = 1\n'''\n", 5),
            ("subprotocol = ['a=b', \"[c]\"] # = [\n", 2),
            ("heartbeat = 5\r\n\r\n", 3),
        ):
            self.assertWrong(f"{before}nothing = 1\n", f"{self.file}:{line}: nothing: unknown")

    def test_sections(self) -> None:
        """Those of sections have theirs."""
        self.assertWrong("target = 'x:1'\n[[route]]\n\nheartbeat = 'x'\n", f"{self.file}:4: --heartbeat x: ")
        self.assertWrong(
            "[[route]]\n[[route]]\npath='/x'\nrecord-keep = 1\ntarget = 'x:1'", ":4: --record-keep 1: needs"
        )
        self.assertWrong("route = [{path = '/x', target = 'x:1'},\n {heart = 1}]", f"{self.file}:1: heart: unknown")
        self.assertWrong("[route]\npath = '/'\n", f"{self.file}:1: [route]: unknown", "say it as [[route]]")
        self.assertWrong("[route.a]\n", ":1: [route.a]: unknown")
        self.assertWrong("a.b = 1\n", ":1: a: unknown")
        self.assertWrong("[[listener]]\n", ":1: a listener without listen")
        self.assertWrong("target = 'x:1'\n[[listener]]\nlisten = '1'\nheartbeat = 1\n", ":4: heartbeat: not for a lis")
        self.assertWrong("target = 'x:1'\n[[listener]]\nlisten = '1'\nkey = 'k'\n", ":4: --key", "needs a certificate")

    def test_values(self) -> None:
        """A value has the type that its option takes."""
        for text in (
            *("heartbeat = 1979-05-27", "heartbeat = [1]", "heartbeat = {a = 1}", "raw = 'yes'", "raw = 0"),
            *("listen = [['1']]", "listen = [true]", 'target = "a\\u0000b"', "[[route]]\nhost = 1"),
            *("heartbeat = nan", "max-sessions = 1.5", "max-sessions = -1", "target = ''"),
            *("allow = []", "allow-target = []", "origin = []"),  # which would let everybody in
        ):
            whole = text if "target" in text else f"target = 'x:1'\n{text}"
            self.assertWrong(whole, f"{self.file}:{1 + whole.count(chr(10))}: ")

    def test_hostile(self) -> None:
        """What no file means, and Python has bounds for, has its line as well."""
        deep = "x = " + "[" * 3000 + "]" * 3000 + "\n"
        for text, told in (
            (deep, "nested too deep"),
            ("x = " + "[\n" * 3000 + "]" * 3000, "nested too deep"),
            ("x = " + "{a = " * 3000 + "1" + "}" * 3000, "nested too deep"),
            ("max-sessions = " + "9" * 5000, "a number with too many digits"),
            ("max-sessions = 0x" + "f" * 50000, "max-sessions: a number with too many digits"),
            (f"{'a.' * 3000}b = 1", "a: unknown"),
        ):
            self.assertWrong(f"# here\nheartbeat = 5\n{text}", f"{self.file}:3: {told}")

    def test_encodedPath(self) -> None:
        """Paths are compared decoded: one that is not would be nobody's."""
        for path in ("/a%2fb", "/a%20b", "/a\\\\b"):
            self.assertWrong(f"[[route]]\npath = '{path}'\n", f"{self.file}:2: path ", "expected /PATH, decoded")
        self.make("[[route]]\npath = '/a b/100%'\ntarget = 'x:1'\n")

    def test_sectionAsKey(self) -> None:
        """A section that was written in another way is told how."""
        self.assertWrong("route.path = '/x'\n", f"{self.file}:1: route: unknown; say it as [[route]]")
        self.assertWrong("listener = {listen = '1'}\n", "listener: unknown; say it as [[listener]]")

    def test_unreadable(self) -> None:
        """A file that cannot be read, and one that is no text."""
        self.assertIn("No such file", str(self.assertRaises(ConfigError, readSettings, str(self.file))))
        self.file.write_bytes(b"#\n" * LARGEST)
        self.assertIn("more than 4 MiB", str(self.assertRaises(ConfigError, readSettings, str(self.file))))
        self.file.write_bytes(b"#\n\n# \xe9\n")
        self.assertIn("a.toml:3: not UTF-8", str(self.assertRaises(ConfigError, readSettings, str(self.file))))

    def test_endless(self) -> None:
        """What nobody writes to is not waited for."""
        path = str(self.folder / "fifo")
        os.mkfifo(path)
        self.assertIn("not a regular file", str(self.assertRaises(ConfigError, readSettings, path)))


class LayerTests(FileTestCase):
    """What of the command line, a file and a route counts."""

    def test_commandLine(self) -> None:
        """The command line wins; what is repeatable it replaces."""
        config = self.make("listen = ['1', '2']\nheartbeat = 5\ntarget = 'x:1'\n", listen=["3"], heartbeat="6")
        self.assertEqual((config.listening.listen, config.sessions.heartbeat), (("3",), 6))
        self.assertEqual(config.target.endpoint, "x:1")

    def test_quotes(self) -> None:
        """What TOML calls an invalid value is mostly a word."""
        self.assertWrong("target = 'x:1'\nmax-sessions = soon\n", "a.toml:2: Invalid value; words need quotes")

    def test_ways(self) -> None:
        """A target takes the place of tokens with all that belongs to those, and the other way round."""
        (self.folder / "tokens").write_text("")
        text = "token-plugin = 'TokenFile'\ntoken-source = 'tokens'\ntoken-cookie = 'c'\n"
        self.assertEqual(self.make(text, target="x:1").tokens, Config().tokens)
        config = self.make(f"{text}[[route]]\ntarget = 'x:1'\n[[route]]\npath = '/t'\n")
        self.assertEqual([route.config.tokens.plugin for route in config.routes], [None, "TokenFile"])
        config = self.make("target = 'tls:x:1'\ntarget-insecure = true\n[[route]]\ntarget-config = 'tokens'\n")
        self.assertEqual(config.routes[0].config.target, Config().target)

    def test_program(self) -> None:
        """What a file says of programs, and of ways in general, holds for the program of the command line."""
        text = "wrap-mode = 'respawn'\nevery-port = true\nraw = true\nraw-after = 2\n"
        program = {"--": ("prog", "1")}
        config = self.make(text, **program)
        self.assertEqual((config.program.mode, config.program.everyPort), ("respawn", True))
        self.assertEqual((config.clients.raw, config.clients.rawAfter), (True, 2))
        config = self.make(f"target = 'tls:x:1'\ntarget-insecure = true\n{text}", **program)
        self.assertEqual((config.program.mode, config.program.everyPort), ("respawn", True))
        self.assertEqual((config.target, config.clients), (Config().target, Config().clients))

    def test_waysOfRoutes(self) -> None:
        """What no way above has use of belongs to those routes that have."""
        (self.folder / "tokens").write_text("")
        text = "token-cookie = 'c'\nssl-target = true\n[[route]]\ntarget-config = 'tokens'\n"
        first, second = self.make(f"{text}[[route]]\npath = '/t'\ntarget = 'x:1'\n").routes
        self.assertEqual((first.config.tokens.cookie, second.config.tokens.cookie), ("c", None))
        self.assertTrue(first.config.target.tls and second.config.target.tls)

    def test_authenticators(self) -> None:
        """Nobody comes in unasked because a route has another target; one has to say so."""
        text = "target = 'x:1'\nauth-plugin = 'BasicHTTPAuth'\nauth-source = 'env:USERS'\nweb-auth = true\n[[route]]\n"
        self.patch(os, "environ", {**os.environ, "USERS": "a:b"})
        self.assertEqual(self.make(f"{text}target = 'y:1'\n").routes[0].config.authentication.plugin, "BasicHTTPAuth")
        for more in ("", "web-auth = false\n"):  # there is nobody to be asked about pages either
            config = self.make(f"{text}auth-plugin = false\n{more}")
            self.assertEqual(config.routes[0].config.authentication, Config().authentication)
        for other in ("link-key", "auth-url", "auth"):  # none of which there is to be taken back
            config = self.make(f"{text}{other} = false\n")
            self.assertEqual(config.routes[0].config.authentication.plugin, "BasicHTTPAuth")
            self.assertTrue(config.routes[0].config.authentication.web)
        wrong = "--web-auth: needs --auth-plugin, --auth, --auth-url or --link-key; who is to be asked?"
        self.assertWrong(f"{text}auth-plugin = false\nweb-auth = true\n", f"a.toml:7: {wrong}")
        self.assertWrong(
            "target = 'x:1'\nweb-auth = true\n[[route]]\n", f"a.toml:2: {wrong} (in the route of line 3)"
        )
        config = self.make(f"{text}auth-url = 'http://x/'\n")
        self.assertEqual(config.routes[0].config.authentication.plugin, None)
        self.assertTrue(config.routes[0].config.authentication.web)

    def test_links(self) -> None:
        """Nor because a link, which says who comes as well, clashes with that target."""
        (self.folder / "key").write_text("k" * 40)
        self.assertWrong(
            "link-key = '@key'\n[[route]]\ntarget = 'x:1'\n", "a.toml:1: --link-key: clashes with --target"
        )
        self.make("link-key = '@key'\n[[route]]\ntarget = 'x:1'\nlink-key = false\n")

    def test_limits(self) -> None:
        """Those above are for all routes together."""
        config = self.make("target = 'x:1'\nmax-sessions = 9\n[[route]]\nmax-sessions = 2\n[[route]]\npath = '/x'\n")
        self.assertEqual(config.limits.sessions, 9)
        self.assertEqual([route.config.limits.sessions for route in config.routes], [2, 0])

    def test_clashes(self) -> None:
        """With routes there is neither a program nor a client that says no path."""
        self.assertWrong("target = 'x:1'\nraw = true\n[[route]]\n", f"{self.file}:2: --raw: clashes with routes")
        self.assertWrong("", f"--target is missing, in {self.file} as well: ")
        self.assertWrong("[[route]]\n", "--: clashes with routes", **{"--": ("true",)})

    def test_places(self) -> None:
        """Relative paths are the file's; those of the command line are not."""
        for name in ("users", "cafile", "tokens"):
            (self.folder / name).write_text("a:b")
        config = self.make("target = 'unix:sock'\nlisten = 'unix:in'\nrecord = 'r'\nauth = 'file:users'\nweb = '.'\n")
        self.assertEqual(config.target.endpoint, f"unix:{self.folder}/sock")
        self.assertEqual(config.listening.listen, (f"unix:{self.folder}/in",))
        assert config.recording is not None
        self.assertEqual(config.recording.path, f"{self.folder}/r")
        self.assertEqual(config.authentication.checker, f"file:{self.folder}/users")
        self.assertEqual(config.web.directory, str(self.folder))
        config = self.make("token-plugin = 'TokenFile'\ntoken-source = 'tokens'\n", record="r")
        self.assertEqual(config.tokens.source, f"{self.folder}/tokens")
        assert config.recording is not None
        self.assertEqual(config.recording.path, os.path.abspath("r"))

    def test_listeners(self) -> None:
        """Listeners of sections come after the others, or instead of the default; not with --listen."""
        (self.folder / "pair").write_text("")
        text = "target = 'x:1'\n{}[[listener]]\nlisten = ['2', '3']\ncert = 'pair'\n"
        config = self.make(text.format("listen = '1'\n"))
        self.assertEqual(config.listening.listen, ("1", "2", "3"))
        self.assertEqual([(each.listen, each.tls is not None) for each in config.listeners], [("2", True), ("3", True)])
        self.assertEqual(self.make(text.format("")).listening.listen, ("2", "3"))
        self.assertEqual(self.make(text.format(""), listen=["4"]).listening.listen, ("4",))

    def test_plain(self) -> None:
        """Routes and listeners go to workers, too."""
        (self.folder / "pair").write_text("")
        text = "target = 'x:1'\n[[listener]]\nlisten = '2'\ncert = 'pair'\n[[route]]\npath = '/x'\nrecord = 'r'\n"
        config = self.make(text)
        self.assertEqual(fromPlain(asPlain(config)), config)

    def test_secrets(self) -> None:
        """A secret that stands in a file is warned of where everybody can read that."""
        text = "target = 'x:1'\nauth-plugin = 'BasicHTTPAuth'\nauth-source = 'user:password'\n"
        self.file.write_text(text)
        for mode, count in ((0o600, 0), (0o644, 1)):
            self.file.chmod(mode)
            with capturedLogs() as events:
                self.make(text)
            self.assertEqual(len(events), count)
