"""Which words C{websockify} takes."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.websockify.options import GROUPS, Given, parse

# What `websockify --help` of 0.13 lists.
HELP = """
    -h --help --verbose -v --traffic --record --daemon -D --run-once --timeout --idle-timeout --cert --key
    --key-password --ssl-only --ssl-target --verify-client --cafile --ssl-version --ssl-ciphers --unix-listen
    --unix-listen-mode --unix-target --inetd --web --web-auth --wrap-mode --prefer-ipv6 -6 --libserver
    --target-config --token-plugin --token-source --host-token --auth-plugin --auth-source --heartbeat --log-file
    --syslog --legacy-syslog --file-only
"""
ORIGINAL = HELP.split()


class WordTests(SynchronousTestCase):
    def parse(self, text: str) -> Given:
        return parse(text.split())

    def wrong(self, text: str) -> str:
        """What stderr has, where the status is 2."""
        with redirect_stderr(io.StringIO()) as err:
            stopped = self.assertRaises(SystemExit, self.parse, text)
        self.assertEqual(stopped.code, 2)
        self.assertEqual(err.getvalue().count("\n"), 1)
        return err.getvalue()

    def test_all(self) -> None:
        """All of 0.13's options are there, and no others but --version: each more would make a prefix ambiguous."""
        ours = {name for options in GROUPS.values() for option in options for name in option.names}
        self.assertEqual(ours | {"-h", "--help"}, set(ORIGINAL))

    def test_anywhere(self) -> None:
        """Options stand before, between and behind the words."""
        for text in (
            "--heartbeat 30 -v 6080 localhost:5900",
            "6080 --heartbeat 30 localhost:5900 -v",
            "6080 localhost:5900 -v --heartbeat=30",
        ):
            given = self.parse(text)
            self.assertEqual(given.words, ["6080", "localhost:5900"])
            self.assertEqual((given.options.heartbeat, given.options.verbose), ("30", True))

    def test_prefixes(self) -> None:
        """Any beginning that only one name has is that name; another is wrong, with status 2."""
        given = self.parse("--heart=30 --wrap=ignore --ssl-o --verb 6080 h:1")
        self.assertEqual((given.options.heartbeat, given.options.wrap_mode), ("30", "ignore"))
        self.assertTrue(given.options.ssl_only and given.options.verbose)
        self.assertIn("--ssl-", self.wrong("--ssl- 6080 h:1"))

    def test_short(self) -> None:
        """Flags of one letter stand together."""
        options = self.parse("-D6v 6080 h:1").options
        self.assertTrue(options.daemon and options.prefer_ipv6 and options.verbose)

    def test_twice(self) -> None:
        """Of two values the last counts."""
        self.assertEqual(self.parse("--timeout 1 6080 h:1 --timeout 2").options.timeout, "2")

    def test_program(self) -> None:
        """The program begins at the first --, and its options are its own."""
        given = self.parse("-v 5901 -- vncserver :1 -- --heartbeat 3")
        self.assertEqual(given.words, ["5901"])
        self.assertEqual(given.program, ("vncserver", ":1", "--", "--heartbeat", "3"))
        self.assertIsNone(given.options.heartbeat)
        self.assertIsNone(self.parse("5901 h:1").program)

    def test_wrong(self) -> None:
        """One line, and status 2."""
        self.assertIn("websockify: no such option: --bogus", self.wrong("--bogus 6080 h:1"))
        self.assertIn("--record", self.wrong("6080 h:1 --record"))
        self.assertIn("--wrap-mode", self.wrong("--wrap-mode=never 6080 h:1"))
        self.assertIn("--ssl-version", self.wrong("--ssl-version=sslv3 6080 h:1"))

    def test_help(self) -> None:
        """Help is on stdout, with status 0, and has them all."""
        with redirect_stdout(io.StringIO()) as out:
            stopped = self.assertRaises(SystemExit, self.parse, "--help")
        self.assertFalse(stopped.code)
        for name in ORIGINAL:
            self.assertIn(name, out.getvalue())
