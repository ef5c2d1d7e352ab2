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

from twisted.python.usage import Options

__all__ = ["main", "translate"]


def translate(words: Sequence[str], options: Options) -> list[str]:
    """
    @param words: the arguments of wswrap.
    @param options: what C{twistd websockify} takes, of which any may come first.
    @return: the arguments of twistd.
    @raise SystemExit: with one line, for stderr.
    """
    try:
        _, rest = getopt(list(words), options.shortOpt, options.longOpt)
    except GetoptError as error:
        raise SystemExit(f"wswrap: {error}") from None
    given = list(words[: len(words) - len(rest)])
    listen = ["--every-port"]
    if rest and rest[0].isdecimal():
        listen = ["--listen", rest.pop(0)]
    if not rest and "--help" not in given:
        raise SystemExit("wswrap: which program? wswrap [OPTIONS] [PORT] PROGRAM [ARGS...]")
    return ["-n", "--pidfile=", "websockify", *given, *listen, "--raw", "--", *rest]


def main() -> None:
    """The console script."""
    from twisted.scripts import twistd

    from wsproxy.options import Options

    sys.argv[1:] = translate(sys.argv[1:], Options())
    twistd.run()
