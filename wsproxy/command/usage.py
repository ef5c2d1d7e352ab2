"""The command line of C{twistd websockify}: words in, a L{Config} out, or one line that says what is wrong.

twistd answers a wrong option with its whole usage text. An operator wants the one line that names the option
and its value, so L{Options} reports its own errors and leaves. Which options there are, the
L{table<wsproxy.command.options>} says.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from getopt import GetoptError, getopt
from textwrap import fill
from typing import Any

from twisted.python import usage

from wsproxy import __version__
from wsproxy.command.given import Given
from wsproxy.command.help import asHelp
from wsproxy.command.kinds import DIRECTORY, FILE, PATTERN
from wsproxy.command.option import PROGRAM, Option
from wsproxy.command.options import TABLE
from wsproxy.command.reread import Source
from wsproxy.command.settings import problemsIn
from wsproxy.config import Config
from wsproxy.daemon.exit import complaint
from wsproxy.daemon.handover import Handover, receive
from wsproxy.daemon.pidfile import checkPidfile
from wsproxy.daemon.standard import fillStandard
from wsproxy.errors import ConfigError

__all__ = ["Options"]

_REPEATABLE = [option for option in TABLE if option.repeatable]
_SINGLE = [option for option in TABLE if not option.repeatable]


def _completer(option: Option) -> usage.Completer:
    """What a shell offers behind this option."""
    if option.kind.choices:
        return usage.CompleteList(option.kind.choices)
    if option.kind in (FILE, PATTERN):
        return usage.CompleteFiles()
    return usage.CompleteDirs() if option.kind is DIRECTORY else usage.Completer()


class Options(usage.Options):
    """
    What L{wsproxy.command.plugin} was told.

    @ivar config: the outcome, once L{parseOptions} has returned.
    @ivar source: where that comes from, to be read again.
    @ivar handover: what the code before this has left; L{None}: it is the first.
    @ivar twistd: twistd's own options, as they were given.
    @ivar wrong: the exit status for words that make no sense; twistd has one for whatever stops a start.
    """

    config: Config
    source: Source
    handover: Handover | None = None
    twistd: Mapping[str, Any] = {}
    wrong = 1
    synopsis = "[options] --target ENDPOINT | -- PROGRAM ..."
    longdesc = (
        "A WebSocket-to-TCP proxy: one port that speaks WebSocket, HTTP and TLS in front of any TCP or "
        "unix-socket server, or of a program that it starts and whose port it moves out of the way. For a first "
        "look: twistd -n websockify --target demo: and a browser at http://localhost:6080/. SIGTERM and SIGINT "
        "end it gracefully, with exit status 0; a second one ends it at once, with 128 plus the signal's number. "
        "SIGHUP reloads the certificates, and what --config says; SIGUSR2, with --workers, executes the version that "
        "is installed now."
    )
    optParameters = [[each.name, each.short, None, each.help] for each in _SINGLE if each.kind.placeholder]
    optFlags = [[each.name, each.short, each.help] for each in _SINGLE if not each.kind.placeholder]
    compData = usage.Completions(
        multiUse=[each.name for each in _REPEATABLE],
        optActions={each.name: _completer(each) for each in TABLE if each.kind.placeholder},
    )

    def opt_help(self) -> None:
        """Display this help and exit."""
        print(self)
        raise SystemExit(0)

    opt_h = opt_help

    def opt_version(self) -> None:
        """Display the version and exit."""
        print(f"wsproxy {__version__}")
        raise SystemExit(0)

    def getUsage(self, width: int | None = None) -> str:
        """The table under its headings, where Twisted has one list by the alphabet."""
        columns = self.columns(width)
        return f"{asHelp(columns)}\n{self.description(columns)}\n"

    def columns(self, width: int | None) -> int:
        return width or int(os.environ.get("COLUMNS", "80"))

    def description(self, columns: int) -> str:
        return fill(self.longdesc, columns)

    def parseArgs(self, *words: str) -> None:
        if words:
            listen, target = words if len(words) == 2 else ("6080", "localhost:5900")
            raise ConfigError(f"{words[0]}: unexpected; say it as --listen {listen} --target {target}")

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        @raise SystemExit: with the line for stderr; the exit status is then 1.
        """
        fillStandard()
        words = list(sys.argv[1:] if options is None else options)
        if PROGRAM in words:  # getopt would swallow it, and the program would be any other word
            end = words.index(PROGRAM)
            self[PROGRAM] = tuple(words[end + 1 :])
            del words[end:]
        try:
            self._forbidTwice(words)
            super().parseOptions(words)
        except (ConfigError, usage.UsageError) as error:
            raise SystemExit(complaint(error)) from None

    def _forbidTwice(self, words: Sequence[str]) -> None:
        """Of two values one would be forgotten, and which one is anybody's guess."""
        repeatable = {option.name for option in _REPEATABLE}
        given: set[str] = set()
        with suppress(GetoptError):  # which is told of by whoever parses them in earnest
            for word, _ in getopt(words, self.shortOpt, self.longOpt)[0]:
                name = self.synonyms[word.lstrip("-")]
                if name in given and name not in repeatable:
                    raise ConfigError(f"--{name}: given twice")
                given.add(name)

    def postOptions(self) -> None:
        # a flag that was not given is 0, a parameter None
        given: dict[str, Any] = {name: value for name, value in self.items() if value not in (None, 0)}
        twistd = self.twistd = dict(self.parent or {})
        self.handover = receive()
        kept = {} if self.handover is None else self.handover.state["secrets"]
        if self.handover is not None:
            _takeOver(self.parent)
        self.source = Source(Given(given), kept)
        layers = self.source.load()
        if "traffic" in layers.whole() and not twistd.get("nodaemon", True):
            raise ConfigError("--traffic: needs twistd -n; a daemon has no terminal")
        if "check" in given:
            self._tellAll(problemsIn(layers))
        self.config = self.source.start()
        if self.config.inspection.wanted:
            _takeOver(self.parent)
        elif self.handover is None:
            checkPidfile(twistd.get("pidfile"))

    def _tellAll(self, problems: Sequence[str]) -> None:
        """@raise SystemExit: there are any."""
        for problem in problems:
            print(complaint(problem), file=sys.stderr)
        if problems:
            raise SystemExit(1)


def _takeOver(twistd: Any) -> None:
    """
    What twistd does once for a process was done before: it is in the background, under its root and as its user, and
    its pidfile is there. Or it is nothing to a process that only tells something, beside the one that serves.
    """
    if twistd is not None:
        done = {"pidfile": "", "nodaemon": True, "chroot": None, "uid": None, "gid": None}
        twistd.update((name, value) for name, value in done.items() if name in twistd)


def _collecting(option: Option) -> Callable[[Options, str], None]:
    """What C{usage.Options} calls with each word of a repeatable option."""

    def collect(self: Options, word: str) -> None:
        self.setdefault(option.name, []).append(word)

    collect.__doc__ = option.help
    return collect


for _option in _REPEATABLE:
    _collect = _collecting(_option)  # the same of both names, which makes them synonyms
    for _name in filter(None, (_option.name, _option.short)):
        setattr(Options, f"opt_{_name.replace('-', '_')}", _collect)
