"""C{wsproxy token}: links, and complaints in one line."""

from __future__ import annotations

import io
import os
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt as pyjwt
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.command.wsproxy import main

KEY = "0123456789abcdef0123456789abcdef"


class TokenCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = self.mktemp()
        os.makedirs(self.folder)
        self.key = os.path.join(self.folder, "link.key")
        with open(self.key, "w") as stream:
            stream.write(f"{KEY}\n")

    def run_(self, *words: str) -> tuple[int, str, str]:
        """Exit status, stdout and stderr."""
        with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
            try:
                main(words)
            except SystemExit as end:
                status: Any = end.code
            else:
                status = 0
        return status or 0, out.getvalue(), err.getvalue()

    def made(self, *words: str) -> str:
        status, out, err = self.run_("token", "--key", f"@{self.key}", *words)
        self.assertEqual((status, err), (0, ""))
        return out.removesuffix("\n")

    def claims(self, token: str, **settings: Any) -> dict[str, Any]:
        """What another library reads in it."""
        claims: dict[str, Any] = pyjwt.decode(token, KEY, ["HS256"], **settings)
        return claims


class MadeTests(TokenCase):
    def test_whole(self) -> None:
        """A token says what it was told to, when it was made, and a number of its own."""
        before = round(time.time(), 3)
        token = self.made("--target", "h:5900", "--identity", "alice", "--expires", "2h", "--once")
        claims = self.claims(token)
        jti, issued = claims.pop("jti"), claims.pop("iat")
        self.assertEqual(len(jti), 22)
        self.assertTrue(before <= issued <= time.time() + 0.001)
        self.assertEqual(claims, {"target": "h:5900", "sub": "alice", "once": True, "exp": int(issued + 7200)})
        self.assertNotEqual(self.claims(self.made("--target", "h:5900"))["jti"], jti)

    def test_little(self) -> None:
        """What is not said is not in there; ten minutes is what there is."""
        claims = self.claims(self.made("--target", "[::1]:5900"))
        self.assertEqual(set(claims), {"target", "jti", "iat", "exp"})
        self.assertEqual(claims["exp"], int(claims["iat"] + 600))

    def test_audience(self) -> None:
        """For whom, and from whom."""
        token = self.made("--target", "h:1", "--audience", "a", "--issuer", "i")
        claims = self.claims(token, audience="a", issuer="i")
        self.assertEqual((claims["aud"], claims["iss"]), ("a", "i"))

    def test_url(self) -> None:
        """An address has it in its query, before the fragment; or wherever {token} is."""
        url = self.made("--target", "h:1", "--url", "https://proxy.example/vnc.html?scale=1&a=#x")
        parts = urlsplit(url)
        query = parse_qs(parts.query, keep_blank_values=True)
        self.claims(query.pop("token")[0])
        self.assertEqual((parts.netloc, parts.path, parts.fragment), ("proxy.example", "/vnc.html", "x"))
        self.assertEqual(query, {"scale": ["1"], "a": [""]})
        url = self.made("--target", "h:1", "--url", "https://p.example/vnc.html?path=websockify%3Ftoken%3D{token}")
        self.claims(parse_qs(urlsplit(parse_qs(urlsplit(url).query)["path"][0]).query)["token"][0])
        self.assertTrue(
            self.made("--target", "h:1", "--url", "https://p.example").startswith("https://p.example?token=")
        )

    def test_keyFromElsewhere(self) -> None:
        """The key may be in the environment; on the command line it is warned of, and not shown."""
        os.environ["WSPROXY_TEST_KEY"] = KEY
        self.addCleanup(os.environ.pop, "WSPROXY_TEST_KEY")
        status, out, err = self.run_("token", "--key", "env:WSPROXY_TEST_KEY", "--target", "h:1")
        self.claims(out.strip())
        self.assertEqual((status, err), (0, ""))
        status, out, err = self.run_("token", "--key", KEY, "--target", "h:1")
        self.claims(out.strip())
        self.assertIn("@FILE or env:NAME", err)
        self.assertNotIn(KEY, err)


class ComplaintTests(TokenCase):
    def complains(self, status: int, pattern: str, *words: str) -> None:
        """One line on stderr, and nothing else."""
        told, out, err = self.run_("token", *words)
        self.assertEqual((told, out, err.count("\n")), (status, "", 1), err)
        self.assertRegex(err, f"^wsproxy: .*{pattern}")

    def test_words(self) -> None:
        """Wrong words are status 2."""
        key = f"@{self.key}"
        self.complains(2, "--target", "--key", key)
        self.complains(2, "--key", "--target", "h:1")
        self.complains(2, "--nonsense", "--key", key, "--target", "h:1", "--nonsense")
        for word in ("0", "-1", "10x", "", "1e3", "99999999d", "m"):
            self.complains(2, "--expires: .*is not a time", "--key", key, "--target", "h:1", f"--expires={word}")
        status, _, err = self.run_()
        self.assertEqual((status, err), (2, "wsproxy: the following arguments are required: COMMAND\n"))

    def test_things(self) -> None:
        """What cannot be had, or is too short, is status 1, and no secret is quoted."""
        key = f"@{self.key}"
        self.complains(1, "--key .*missing: No such file", "--key", f"@{self.folder}/missing", "--target", "h:1")
        self.complains(1, "--key env:NOWHERE: not in the env", "--key", "env:NOWHERE", "--target", "h:1")
        with open(self.key, "w") as stream:
            stream.write("short secret")
        self.complains(1, "--key: a symmetric key of 12 bytes; 32 are needed", "--key", key, "--target", "h:1")

    def test_target(self) -> None:
        """What is no target, no name, or has a token already, is status 2."""
        key = f"@{self.key}"
        for target in ("", "h", "h:0", "h:99999", "unix:relative", "h:1\x00"):
            self.complains(2, "--target", "--key", key, "--target", target)
        self.complains(2, "--identity", "--key", key, "--target", "h:1", "--identity", "")
        self.complains(2, "--url: there is a token", "--key", key, "--target", "h:1", "--url", "http://h/?token=5")

    def test_withoutJoserfc(self) -> None:
        """Where joserfc is not installed, one line says what is."""
        for name in [name for name in sys.modules if name.startswith(("joserfc", "wsproxy.jose", "wsproxy.links"))]:
            self.addCleanup(sys.modules.__setitem__, name, sys.modules.pop(name))
        self.patch(sys, "path", [])
        self.patch(sys, "meta_path", [_Nowhere(), *sys.meta_path])
        self.complains(1, r"pip install 'wsproxy\[jwt\]'", "--key", f"@{self.key}", "--target", "h:1")


class _Nowhere:
    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.startswith("joserfc"):
            raise ModuleNotFoundError(name=name)


class HelpTests(TokenCase):
    def test_help(self) -> None:
        """Help is on stdout, with status 0, and has every option and the statuses."""
        status, out, err = self.run_("token", "--help")
        self.assertEqual((status, err), (0, ""))
        for word in ("--key", "--target", "--identity", "--expires", "--once", "--url", "Exit status", "openssl rand"):
            self.assertIn(word, out)
        self.assertEqual(self.run_("--help")[0], 0)
        self.assertRegex(self.run_("--version")[1], r"^wsproxy \d")
