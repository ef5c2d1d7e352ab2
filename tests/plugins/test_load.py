"""Plugins by their names, and the modules that those of the original import."""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

from joserfc import jwt
from joserfc.jwk import OctKey
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.errors import ConfigError
from wsproxy.plugins import authbases, tokenbases
from wsproxy.plugins.alias import Alias
from wsproxy.plugins.load import load

WILD = "tests.plugins.wild"


def restoreImports(case: SynchronousTestCase) -> None:
    """Have this test leave no alias, and none of the modules that found one, and begin without."""
    found = [name for name in sys.modules if name.partition(".")[0] == "websockify" or name == WILD]
    for name in found:
        del sys.modules[name]
    path = [*sys.path]
    finders = [finder for finder in sys.meta_path if type(finder).__module__ != "wsproxy.plugins.alias"]
    sys.meta_path[:] = finders

    def restore() -> None:
        sys.meta_path[:] = finders
        sys.path[:] = path

    case.addCleanup(restore)


class LoadTests(SynchronousTestCase):
    def setUp(self) -> None:
        restoreImports(self)

    def complaint(self, name: str, source: str | None = None) -> str:
        """@return: what is wrong with this class, or with what it makes."""
        with self.assertRaises(ConfigError) as raised:
            load(name, {"Ours": object, "Other": object})(source)
        self.assertNotIn("\n", str(raised.exception))
        return str(raised.exception)

    def module(self, text: str) -> str:
        """@return: the name of a module that holds this."""
        directory = Path(self.mktemp())
        directory.mkdir()
        name = f"plugin{id(directory)}"
        (directory / f"{name}.py").write_text(text, encoding="utf-8")
        sys.path.insert(0, str(directory))
        self.addCleanup(sys.modules.pop, name, None)
        return name

    def test_ours(self) -> None:
        """Without a dot it is one of ours; the original's modules name the same."""
        for name in ("Ours", "websockify.token_plugins.Ours", "websockify.auth_plugins.Ours"):
            self.assertIs(load(name, {"Ours": dict}), dict)
        self.assertIn("--auth-plugin Their: not one of Ours, nor", self.say("Their"))

    def say(self, name: str) -> str:
        with self.assertRaises(ConfigError) as raised:
            load(name, {"Ours": dict}, "--auth-plugin")
        return str(raised.exception)

    def test_theirs(self) -> None:
        """With a dot it is a class of any module, made with its source."""
        made = load(f"{WILD}.Table", {})("a=b:1")
        self.assertEqual((made.source, made.lookup("a"), made.lookup("b")), ("a=b:1", ["b", "1"], None))

    def test_notThere(self) -> None:
        """What cannot be imported is told in one line, with the reason and where that is."""
        self.assertEqual(
            self.complaint("no.such.Class"),
            "--token-plugin no.such.Class: cannot import no.such: ModuleNotFoundError: No module named 'no'",
        )
        self.assertIn(f"{WILD} has no Nobody", self.complaint(f"{WILD}.Nobody"))
        self.assertIn("not one of", self.complaint(".Relative"))
        module = self.module("\nimport nobody_has_this\n")
        self.assertRegex(self.complaint(f"{module}.Class"), r"No module named 'nobody_has_this' \(.*\.py:2\)$")
        for text in ("this is no Python", "raise SystemExit('enough')", "import asyncio; raise asyncio.CancelledError"):
            self.assertIn("cannot import", self.complaint(f"{self.module(text)}.Class"))

    def test_noClass(self) -> None:
        """What is no class is not called."""
        self.assertIn("not a class, but function", self.complaint(f"{WILD}.function"))
        self.assertIn("not a class, but Event", self.complaint(f"{WILD}.gate"))

    def test_constructor(self) -> None:
        """A constructor that raises, or exits, is told in one line, without the source, which may be a secret."""
        said = self.complaint(f"{WILD}.NoConstructor", "user:hunter2")
        self.assertRegex(said, r"NoConstructor: RuntimeError: cannot connect to \(hidden\) \(.*wild\.py:\d+\)$")
        self.assertIn("SystemExit", self.complaint(f"{WILD}.ExitingConstructor"))

    def test_multiLine(self) -> None:
        """However much somebody raises, it is one line, which drives no terminal."""
        raising = "raise ValueError('a\\nb\\x1b[2J' + 'c' * 9999)"
        module = self.module(f"class Class:\n def __init__(self, source): {raising}\n")
        said = self.complaint(f"{module}.Class")
        self.assertIn(r"ValueError: a b\x1b[2Jccc", said)
        self.assertLess(len(said), 700)


class AliasTests(SynchronousTestCase):
    def setUp(self) -> None:
        restoreImports(self)

    def test_names(self) -> None:
        """An old class imports its bases and errors by all usual ways, though the original is not installed."""
        with Alias():
            module: Any = import_module("websockify.auth_plugins")
            space: dict[str, Any] = {}
            exec("import websockify\nfrom websockify import auth_plugins as auth, token_plugins", space)
        self.assertIs(module.AuthenticationError, authbases.AuthenticationError)
        self.assertIs(space["auth"], module)
        for name in ("BasePlugin", "AuthenticationError", "InvalidOriginError", "BasicHTTPAuth", "ExpectOrigin"):
            self.assertIs(getattr(module, name), getattr(authbases, name))
        self.assertIs(space["token_plugins"].TokenFile, tokenbases.TokenFile)

    def test_errors(self) -> None:
        """The errors have what the original's have, for those that catch them."""
        error = authbases.InvalidOriginError(expected=["https://a"], actual="https://b")
        self.assertEqual((error.code, error.headers, error.msg), (403, {}, "Invalid Origin"))
        self.assertEqual((error.expected_origin, error.actual_origin), (["https://a"], "https://b"))
        self.assertIn("https://b", str(error))
        plain = authbases.AuthenticationError(response_code=401, response_msg="Who?")
        self.assertEqual((plain.code, str(plain)), (401, "401 Who?"))

    def test_stays(self) -> None:
        """It stays once an old class is loaded, whose methods may import, too."""
        late = load(f"{WILD}.LateImport", {})("")
        del sys.modules["websockify.auth_plugins"]
        with self.assertRaises(authbases.InvalidOriginError):
            late.authenticate(headers={}, target_host=None, target_port=None)

    def test_goes(self) -> None:
        """It is gone again when the class knows nothing of the original, or is not there at all."""
        load(f"{WILD}.New", {})
        self.assertRaises(ConfigError, load, "no.such.Class", {})
        for name in [name for name in sys.modules if name.startswith("websockify")]:
            del sys.modules[name]
        self.assertRaises(ImportError, import_module, "websockify.token_plugins")

    def test_installed(self) -> None:
        """An original that is installed is what its plugins get."""
        directory = Path(self.mktemp())
        (directory / "websockify").mkdir(parents=True)
        (directory / "websockify/__init__.py").touch()
        (directory / "websockify/token_plugins.py").write_text("class BasePlugin(Exception): installed = True\n")
        (directory / "websockify/auth_plugins.py").write_text("class BasicHTTPAuth: pass\nAuthenticationError = 1\n")
        sys.path.insert(0, str(directory))
        self.assertTrue(load(f"{WILD}.Table", {})("").installed)


class TokenBaseTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())

    def test_file(self) -> None:
        """A file of tokens, or a directory of them; the one base reads it once, the other each time."""
        lines = ("# tokens", "one: host:1", "two:  [::1]:2", "three: unix_socket:/x", "nonsense")
        self.path.write_text("\n".join(lines), encoding="utf-8")
        once, each = tokenbases.ReadOnlyTokenFile(str(self.path)), tokenbases.TokenFile(str(self.path))
        for base in (once, each):
            self.assertEqual(
                [base.lookup(token) for token in ("one", "two", "three", "four")],
                [["host", "1"], ["[::1]", "2"], ["unix_socket", "/x"], None],
            )
        self.path.unlink()
        self.path.mkdir()
        (self.path / "a").write_text("one: other:3", encoding="utf-8")
        self.assertEqual((once.lookup("one"), each.lookup("one")), (["host", "1"], ["other", "3"]))

    def test_redis(self) -> None:
        """Where the tokens are: parts may be missing at the end, empty, or in quotes."""
        for source, parts in (
            ("redis", ("redis", 6379, 0, None, "")),
            ("redis:1::secret", ("redis", 1, 0, "secret", "")),
            ('redis:::"a:b":"x:y"', ("redis", 6379, 0, "a:b", "x:y:")),
        ):
            base = tokenbases.TokenRedis(source)
            self.assertEqual((base._server, base._port, base._db, base._password, base._namespace), parts)
        for source in ("a:b:c:d:e:f", "a:b"):
            self.assertRaises(ValueError, tokenbases.TokenRedis, source)

    def test_overHTTP(self) -> None:
        """A service says where a token leads, which is one part of its URL and nothing else, whatever it holds."""
        answers = {"/t/one/end": b"[::1]:1\n", "/t/two/end": b'{"host": "h", "port": 2}', "/t/a%2F..%3Fb/end": b"odd:3"}

        class Service(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = answers.get(self.path)
                self.send_response(404 if body is None else 200)
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *arguments: Any) -> None:
                pass

        with HTTPServer(("127.0.0.1", 0), Service) as server:
            serving = Thread(target=server.serve_forever, daemon=True)
            serving.start()
            url = f"http://127.0.0.1:{server.server_port}/t/%s/end"
            plain, asJSON = tokenbases.BaseTokenAPI(url), tokenbases.JSONTokenApi(url)
            self.assertEqual([plain.lookup("one"), plain.lookup("three")], [["[::1]", "1"], None])
            self.assertEqual((asJSON.lookup("two"), plain.lookup("a/..?b")), (("h", 2), ["odd", "3"]))
            server.shutdown()
            serving.join(30)

    def test_signed(self) -> None:
        """Tokens that a key has signed say where they lead; others lead nowhere."""
        self.path.write_bytes(b"!" * 32)
        key = OctKey.import_key(b"!" * 32)
        base = tokenbases.JWTTokenApi(str(self.path))
        for claims, place in (
            ({"host": "host", "port": 1}, ("host", 1)),
            ({"host": "host", "port": 1, "exp": 1}, None),
        ):
            token = jwt.encode({"alg": "HS256"}, claims, key)
            self.assertEqual(base.lookup(token), place)
            self.assertIsNone(base.lookup(token[:-3] + "xxx"))

    def test_directories(self) -> None:
        """A token names a file of the directory, and never one outside of it."""
        self.assertRaises(ValueError, tokenbases.TokenFileName, str(self.path))
        self.path.mkdir()
        outside = self.path.parent / f"{self.path.name}-outside"
        outside.write_text("secret:1", encoding="utf-8")
        (self.path / "link").symlink_to(outside.absolute())
        (self.path / "one").write_text("host:1\n", encoding="utf-8")
        base = tokenbases.TokenFileName(str(self.path))
        self.assertEqual(base.lookup("one"), ["host", "1"])
        for token in ("two", "", ".", "..", f"../{outside.name}", str(outside.absolute()), "link", "one\0", "a/../one"):
            self.assertIsNone(base.lookup(token), token)
        self.assertIsNone(tokenbases.UnixDomainSocketDirectory(str(self.path)).lookup("one"))
