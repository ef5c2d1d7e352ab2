"""C{wswrap}: a program's port becomes a WebSocket port, and stays what it was for its own clients.

::

    wswrap [OPTIONS] [PORT] PROGRAM [ARGS…]

    wswrap 6379 redis-server   →   twistd -n --pidfile= websockify --listen 6379 --raw -- redis-server
    wswrap redis-server        →   twistd -n --pidfile= websockify --every-port --raw -- redis-server
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from getopt import GetoptError, getopt

from wsproxy.command.usage import Options

__all__ = ["main", "makeOptions", "translate"]


def translate(words: Sequence[str], options: Options) -> list[str]:
    """
    @param words: the arguments of wswrap.
    @param options: what C{twistd websockify} takes, of which any may come first.
    @return: the arguments of twistd.
    @raise SystemExit: with one line, for stderr; or help or a version was asked for, and shown.
    """
    try:
        named, rest = getopt(list(words), options.shortOpt, options.longOpt)
    except GetoptError as error:
        raise SystemExit(f"wswrap: {error}") from None
    names = {name for name, _ in named}
    if names & {"--help", "-h"}:
        options.opt_help()
    if "--version" in names:
        options.opt_version()
    given = list(words[: len(words) - len(rest)])
    if given[-1:] == ["--"]:
        given.pop()  # getopt takes it for the end of the options, which it is
    listen = ["--every-port"]
    if rest and rest[0].isascii() and rest[0].isdecimal():
        listen = ["--listen", rest.pop(0)]
    if not rest:
        raise SystemExit("wswrap: which program? wswrap [OPTIONS] [PORT] PROGRAM [ARGS...]")
    raw = [] if "--raw" in names else ["--raw"]
    return ["-n", "--pidfile=", "websockify", *given, *listen, *raw, "--", *rest]


def makeOptions() -> Options:
    """@return: what C{twistd websockify} takes, and says of it for wswrap."""

    class WrapOptions(Options):
        synopsis = "Usage: wswrap [options] [PORT] PROGRAM [ARGS...]"
        longdesc = (
            "Runs PROGRAM, and makes its port a WebSocket port, on which its own clients are served as they were. "
            "PORT is the one that it opens; without, each that it opens is taken. The options are those of "
            "twistd websockify, which this runs in the foreground with --raw and --listen PORT, or --every-port."
        )

    return WrapOptions()


def main() -> None:
    """The console script."""
    from twisted.scripts import twistd

    sys.argv[1:] = translate(sys.argv[1:], makeOptions())
    twistd.run()
