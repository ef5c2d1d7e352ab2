"""What shells complete."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from select import select

from twisted.trial.unittest import SynchronousTestCase

from tests.components import requireComponent
from wsproxy.command.wsproxy import COMMANDS
from wsproxy.manual.completion import forBash, forZsh

_ASK = """
compopt() { :; }
COMP_WORDS=("$@")
COMP_CWORD=$(( $# - 1 ))
"_$1"
printf '%s\\n' "${COMPREPLY[@]}"
"""


class BashTests(SynchronousTestCase):
    def offered(self, *words: str) -> list[str]:
        """What bash would offer for the last word."""
        bash = requireComponent("bash")
        done = subprocess.run([bash, "-s", *words], input=forBash() + _ASK, text=True, capture_output=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.split()

    def test_options(self) -> None:
        """Options by their beginning, of each command its own."""
        self.assertEqual(self.offered("wsproxy", "6080", "--wrap"), ["--wrap-mode"])
        self.assertEqual(self.offered("websockify", "--unix-l"), ["--unix-listen", "--unix-listen-mode"])
        self.assertEqual(self.offered("wsproxy", "token", "--au"), ["--audience"])
        self.assertIn("--uid", self.offered("wsproxy", "--"))

    def test_values(self) -> None:
        """Values where those are few, also behind C{=}."""
        for words in (("--wrap-mode", "re"), ("--wrap-mode", "=", "re")):
            self.assertEqual(self.offered("wsproxy", *words), ["respawn"])
        self.assertEqual(self.offered("websockify", "--wrap-mode", "="), ["exit", "ignore", "respawn"])
        self.assertEqual(self.offered("wsproxy", "--heartbeat", ""), [])

    def test_files(self) -> None:
        """Files, or directories."""
        folder = self.mktemp()
        os.makedirs(f"{folder}/site")
        open(f"{folder}/cert.pem", "w").close()
        self.assertEqual(self.offered("wsproxy", "--cert", f"{folder}/c"), [f"{folder}/cert.pem"])
        self.assertEqual(self.offered("websockify", "--web", f"{folder}/"), [f"{folder}/site"])

    def test_ids(self) -> None:
        """Ids are those of open sessions, of which the proxy is asked; where there is none, there are none."""
        self.assertEqual(self.offered("wsproxy", "close", ""), [])
        ask = "wsproxy() { [[ $* == 'sessions --ids' ]] && printf '%s\\n' 12ab 34cd; }\n"
        self.patch(sys.modules[__name__], "_ASK", ask + _ASK)
        self.assertEqual(self.offered("wsproxy", "close", ""), ["12ab", "34cd"])
        self.assertEqual(self.offered("wsproxy", "close", "3"), ["34cd"])

    def test_commands(self) -> None:
        """Commands, as the first word."""
        self.assertEqual(self.offered("wsproxy", ""), list(COMMANDS))
        self.assertEqual(self.offered("wsproxy", "completion", ""), ["bash", "zsh"])


class ZshTests(SynchronousTestCase):
    def setUp(self) -> None:
        zsh = requireComponent("zsh")
        self.script = self.mktemp()
        with open(self.script, "w") as stream:
            stream.write(forZsh())
        child, self.terminal = pty.fork()
        if child == 0:
            os.execvpe(zsh, [zsh, "-f", "-i"], {"PATH": os.environ["PATH"], "TERM": "dumb", "PS1": "ready> "})
        self.addCleanup(os.waitpid, child, 0)
        self.addCleanup(os.close, self.terminal)
        begin = f"unsetopt beep; autoload -U compinit; compinit -D -u; source {self.script}; print o''k\n"
        self.type(begin, "ok(.|\n)*ready> ")

    def type(self, text: str, expected: str) -> str:
        """Type this, until the terminal shows what is expected."""
        os.write(self.terminal, text.encode())
        seen = ""
        while not re.search(expected, seen):
            if not select([self.terminal], [], [], 10)[0]:
                raise AssertionError(f"no {expected} in {seen!r}")
            seen += os.read(self.terminal, 65536).decode(errors="replace")
        return seen

    def test_completion(self) -> None:
        """Options by their beginning, values where those are few, commands; without a complaint."""
        for typed, completed in (
            ("wsproxy 6080 --wrap-m\t", "--wrap-mode="),
            ("re\t", "=respawn"),
            ("\x15websockify --unix-t\t", "--unix-target="),
            ("\x15wsproxy serve 6080 --wrap-m\t", "--wrap-mode="),
            ("\x15wsproxy tok\t", "token "),
            ("--au\t", "--audience"),
        ):
            self.assertNotIn("_arguments", self.type(typed, completed))
