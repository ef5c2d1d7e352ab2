"""C{wsproxy serve}: its words, and what twistd is told of its process."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.command import serve
from wsproxy.command.serve import PROCESS, ServeOptions
from wsproxy.command.wsproxy import COMMANDS, main


class WordTests(SynchronousTestCase):
    def parse(self, text: str) -> ServeOptions:
        options = ServeOptions()
        options.parseOptions(text.split())
        return options

    def complaint(self, text: str) -> str:
        return str(self.assertRaises(SystemExit, self.parse, text).code)

    def test_places(self) -> None:
        """Where to listen, and where to go, need no names."""
        for text in ("6081 localhost:5900", "--listen 6081 --target localhost:5900", "6081 -t localhost:5900"):
            config = self.parse(text).config
            self.assertEqual((config.listening.listen, config.target.endpoint), (("6081",), "localhost:5900"), text)

    def test_noPlaces(self) -> None:
        """What is told otherwise need not be said, and cannot be said twice."""
        self.assertEqual(self.parse("-t demo:").config.listening.listen, ("6080",))
        for text, named in (
            ("6080 h:1 h:2", "h:2: unexpected"),
            ("6080 h:1 --target h:2", "h:1: there is a --target"),
            ("6080 h:1 -l 6081", "6080: there is a --listen"),
            ("6080", "--target is missing"),
        ):
            self.assertIn(named, self.complaint(text))

    def test_anywhere(self) -> None:
        """Options stand before, between and behind, with their values; even those that are empty."""
        for text in ("-v --heartbeat 3 6080 h:1", "6080 -v h:1 --heartbeat=3", "6080 h:1 --heart 3 -v --pidfile="):
            config = self.parse(text).config
            self.assertEqual((config.sessions.heartbeat, config.logging.verbose), (3, True), text)
            self.assertEqual(config.target.endpoint, "h:1")

    def test_program(self) -> None:
        """What follows -- is the program's."""
        program = self.parse("6080 --wrap-mode ignore -- prog 6081 -v").config.program
        assert program is not None
        self.assertEqual((program.words, program.mode), (("prog", "6081", "-v"), "ignore"))

    def test_twice(self) -> None:
        """Of two values one would be forgotten."""
        self.assertIn("--heartbeat: given twice", self.complaint("6080 h:1 --heartbeat 1 --heartbeat 2"))

    def test_process(self) -> None:
        """In the foreground and without a pidfile, unless told otherwise; by twistd's names."""
        twistd = self.parse("6080 h:1").parent
        self.assertEqual((twistd["nodaemon"], twistd["pidfile"], twistd["syslog"]), (1, "", 0))
        twistd = self.parse("6080 h:1 --daemon --pidfile p --logfile l --uid 1 --gid 2 --syslog").parent
        self.assertEqual((twistd["nodaemon"], twistd["syslog"], twistd["uid"], twistd["gid"]), (0, 1, 1, 2))
        self.assertEqual(twistd["logfile"], "l")
        self.assertTrue(twistd["pidfile"].endswith("/p"))

    def test_noUser(self) -> None:
        """A user that there is not is told of in one line."""
        self.assertIn("nosuchuser", self.complaint("6080 h:1 --uid nosuchuser"))
        self.assertIn("--traffic: needs twistd -n", self.complaint("6080 h:1 --daemon --traffic"))

    def test_help(self) -> None:
        """Help is about this command, and names its process's options beside the table's."""
        text = str(ServeOptions())
        self.assertTrue(text.startswith("Usage: wsproxy [serve]"))
        for name in ("--heartbeat=", *(f"--{name}" for name, _, _ in PROCESS)):
            self.assertIn(name, text)


class CommandTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.served: list[list[str]] = []
        self.patch(serve, "run", lambda options: self.served.append(options.config.target.endpoint))
        self.patch(sys, "argv", ["x"])

    def status(self, *words: str) -> tuple[object, str, str]:
        with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
            try:
                main(words)
            except SystemExit as end:
                return end.code, out.getvalue(), err.getvalue()
        return None, out.getvalue(), err.getvalue()

    def test_serves(self) -> None:
        """What names no other command serves."""
        self.status("6080", "h:1")
        self.status("serve", "6080", "h:2")
        self.status("--target", "h:3")
        self.assertEqual(self.served, ["h:1", "h:2", "h:3"])

    def test_wrong(self) -> None:
        """Wrong words are one line, and status 2."""
        for words in (["6080"], ["serve", "--bogus"], ["tokens"]):
            status, out, err = self.status(*words)
            self.assertEqual((status, out, err.count("\n")), (2, "", 1))
            self.assertTrue(err.startswith("wsproxy: "), err)

    def test_commands(self) -> None:
        """Help has all commands, each with a line; each can be asked for its own."""
        status, out, _ = self.status("--help")
        self.assertFalse(status)
        for name, (_, line) in COMMANDS.items():
            self.assertIn(name, out)
            self.assertIn(" ".join(line.split()), " ".join(out.split()))
            status, told, _ = self.status(name, "--help")
            self.assertFalse(status, name)
            self.assertIn(f"wsproxy {name}" if name != "serve" else "wsproxy [serve]", told)
