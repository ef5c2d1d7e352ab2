"""C{wsproxy serve}, or C{wsproxy} alone: what C{twistd websockify} does, in one short command.

::

    wsproxy 6080 localhost:5900        →  twistd -n --pidfile= websockify --listen 6080 --target localhost:5900
    wsproxy 6080 --web . -- PROGRAM    →  twistd -n --pidfile= websockify --listen 6080 --web . -- PROGRAM

In the foreground, and without a pidfile, unless it is told otherwise. Options may stand anywhere before C{--}.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from getopt import GetoptError, gnu_getopt
from typing import Any

from twisted.python import usage

from wsproxy.command.help import asHelp
from wsproxy.command.option import PROGRAM
from wsproxy.command.running import run, twistdOptions
from wsproxy.command.usage import Options
from wsproxy.errors import ConfigError

__all__ = ["PROCESS", "ServeOptions", "main"]

PROCESS = (
    ("uid", "USER", "Be this user once it listens."),
    ("gid", "GROUP", "Be in this group once it listens; by default that of --uid."),
    ("logfile", "FILE", "Log to this file, not to stdout; SIGUSR1 opens it anew."),
    ("syslog", "", "Log to syslog."),
    ("pidfile", "FILE", "Write the number of the process here. Default: none."),
    ("daemon", "", "Go to the background, and log to twistd.log unless told otherwise."),
)
"""What twistd does for a process, by its names, and C{--daemon}, which it does where it is not told C{-n}."""

WRONG = 2
"""The status for words that are wrong."""


class ServeOptions(Options):
    """What a proxy may be told, and what its process may."""

    wrong = WRONG
    synopsis = "Usage: wsproxy [serve] [options] [LISTEN [TARGET]] [-- PROGRAM ...]"
    longdesc = (
        "A WebSocket-to-TCP proxy: one port that speaks WebSocket, HTTP and TLS in front of any TCP or unix-socket "
        "server, or of a program that it starts and whose port it moves out of the way. LISTEN and TARGET are "
        "--listen and --target. For a first look: wsproxy 6080 demo: and a browser at http://localhost:6080/. "
        "wsproxy --help lists the other commands. Exit status: 0, 1 where it cannot start, 2 for wrong words."
    )
    optParameters = [[name, None, None, text] for name, placeholder, text in PROCESS if placeholder]
    optFlags = [[name, None, text] for name, placeholder, text in PROCESS if not placeholder]
    compData = usage.Completions(
        optActions={
            "uid": usage.CompleteUsernames(),
            "gid": usage.CompleteGroups(),
            "logfile": usage.CompleteFiles(),
            "pidfile": usage.CompleteFiles(),
        }
    )

    def getUsage(self, width: int | None = None) -> str:
        columns = self.columns(width)
        entries = [(f"    --{name}{'=' if value else ''}{value}", text) for name, value, text in PROCESS]
        return f"{self.synopsis}\n\n{asHelp(columns, [('Process', entries)])}\n{self.description(columns)}\n"

    __str__ = getUsage

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        words = list(sys.argv[1:] if options is None else options)
        end = words.index(PROGRAM) if PROGRAM in words else len(words)
        super().parseOptions([*self._ordered(words[:end]), *words[end:]])

    def _ordered(self, words: list[str]) -> list[str]:
        """Options first, which may stand anywhere."""
        try:
            named, rest = gnu_getopt(words, self.shortOpt, self.longOpt)
        except GetoptError:
            return words  # it is told of by whoever parses them in earnest
        valued = {f"--{name.rstrip('=')}" for name in self.longOpt if name.endswith("=")}
        ordered = [
            f"{name}={word}" if name in valued else f"{name}{word}" if not name.startswith("--") else name
            for name, word in named
        ]
        return [*ordered, *rest]

    def parseArgs(self, *words: str) -> None:
        if len(words) > 2:
            raise ConfigError(f"{words[2]}: unexpected; a program goes behind --")
        for name, word in zip(("listen", "target"), words, strict=False):
            if self.get(name):
                raise ConfigError(f"{word}: there is a --{name} already")
            self[name] = [word] if name == "listen" else word

    def postOptions(self) -> None:
        self.parent = twistdOptions(*self._twistdWords())
        super().postOptions()

    def _twistdWords(self) -> list[str]:
        words = [f"--pidfile={self['pidfile'] or ''}", *([] if self["daemon"] else ["--nodaemon"])]
        words += [f"--{name}={self[name]}" for name in ("uid", "gid", "logfile") if self[name] is not None]
        return [*words, "--syslog"] if self["syslog"] else words


def main(arguments: Sequence[str]) -> None:
    """
    @param arguments: without the command's name.
    @raise SystemExit: the end.
    """
    sys.argv[0] = "wsproxy"
    options: Any = ServeOptions()
    try:
        options.parseOptions(arguments)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            raise SystemExit(WRONG) from None
        raise
    run(options)
