"""C{wsproxy connect}: a WebSocket for programs that know of none, on stdin and stdout, or on a port.

::

    ssh -o ProxyCommand='wsproxy connect wss://gate.example/ssh' host      stdin, stdout ◄─► the WebSocket
    wsproxy connect -L 5901 wss://gate.example/vnc?token=…                 each client of a port ◄─► one of its own
"""

from __future__ import annotations

import sys
from argparse import Action, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from contextlib import suppress
from functools import partial
from signal import SIG_IGN, SIGHUP, getsignal, signal
from typing import Any
from urllib.parse import quote

from wsproxy.command.kinds import DISCREET
from wsproxy.daemon.standard import fillStandard
from wsproxy.endpoints.hostport import HostPort, parseHostPort
from wsproxy.endpoints.weburl import parseWebSocketURL
from wsproxy.errors import ConfigError, WordsError

__all__ = ["describe", "run"]

_EPILOG = """\
What is secret is given as @FILE or env:NAME, where other users cannot see it: the URL, --header, --auth, --token.

    ssh -o ProxyCommand='wsproxy connect wss://gate.example/ssh' user@host
    wsproxy connect -L 5901 --token @console.token wss://gate.example/vnc &
    vncviewer localhost::5901

The end of stdin closes the WebSocket, and with it the other direction: it has no half of an end. When nobody reads
stdout any more, that is an end in good order, too; when it cannot be written, on a full disk say, it is not. A far side
that takes nothing is waited for as long as there is somebody who may write to stdin, and 5 seconds after that.

SIGHUP, which is how ssh ends it, SIGINT and SIGTERM close the WebSocket, too: with 1000, behind what it is still owed,
and in 5 seconds at most.

Exit status: 0 when it has ended in good order, from either side or by a signal; 1 when there is no WebSocket to be had,
or it is lost, or is closed with another code than 1000 and 1001; 2 for wrong words. One line on stderr says what has
become of it.
"""


def describe(commands: Any) -> None:
    """@param commands: what C{add_subparsers} has returned."""
    parser = commands.add_parser(
        "connect",
        help="Lead stdin and stdout, or the clients of a port, through a WebSocket.",
        description="Connect to a WebSocket, and lead stdin and stdout through it, or the clients of a local port.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("url", metavar="URL", help="ws://HOST[:PORT]/PATH or wss://…")
    add(
        "-L", "--local", metavar="[BIND:]PORT", type=_local, action=_Once,
        help="lead each client of this port through a WebSocket of its own; on 127.0.0.1, unless BIND says otherwise",
    )  # fmt: skip
    add("--header", metavar="'NAME: VALUE'", action="append", default=[], help="send this header, too; repeatable")
    add("--auth", metavar="USER:PASSWORD", action=_Once, help="who comes, for HTTP Basic")
    add("--token", metavar="TOKEN", action=_Once, help="add token=TOKEN to the URL's query")
    add("--origin", metavar="ORIGIN", action=_Once, help="say that a page of this origin asks")
    add(
        "--subprotocol", metavar="NAME", action="append",
        help="offer this one; repeatable, by preference; default: binary",
    )  # fmt: skip
    add("--cafile", metavar="FILE", action=_Once, help="PEM file with the authorities to trust instead of the system's")
    add("--insecure", action="store_true", help="do not verify the certificate")
    add("--timeout", metavar="SEC", type=_deadline, default=10.0, help="until there is a WebSocket; default: 10")
    add("--heartbeat", metavar="SEC", type=_seconds, default=25.0, help="from ping to ping; 0: none; default: 25")
    add("-q", "--quiet", action="store_true", help="say nothing on stderr but what went wrong")


def run(options: Namespace) -> str:
    """
    @raise ConfigError: it cannot be done as it is said.
    @raise SystemExit: the end.
    """
    from twisted.internet.task import react

    from wsproxy.passage.passage import Manner, Passage

    closed = fillStandard() if options.local is None else ()
    for number, name in enumerate(("stdin", "stdout")):
        if number in closed:
            raise ConfigError(f"connect: {name} is closed, and there is no -L")
    manner = Manner(options.cafile, options.insecure, options.timeout, options.heartbeat)
    request = _request(options)
    if not request.url.secure and (options.insecure or options.cafile is not None):
        raise WordsError(f"--{'insecure' if options.insecure else 'cafile'}: ws:// speaks no TLS; wss:// does")
    passage = Passage(request, manner, partial(_tell, options.quiet))
    lead: Any = passage.standard if options.local is None else partial(passage.local, options.local)

    def main(reactor: Any) -> Any:
        _endBySIGHUP(reactor)
        return lead(reactor)

    react(main)
    raise AssertionError("react has left the process")


def _endBySIGHUP(reactor: Any) -> None:
    """
    As by SIGTERM: ssh sends it to its ProxyCommand when it has done, and a far side that gets no Close takes that for a
    network that has failed. One that is ignored (C{nohup}) stays so.
    """

    from twisted.internet.error import ReactorNotRunning

    def end() -> None:
        with suppress(ReactorNotRunning):
            reactor.stop()

    if getsignal(SIGHUP) != SIG_IGN:
        signal(SIGHUP, lambda *_: reactor.callFromThread(end))


def _tell(quiet: bool, words: str, bad: bool) -> None:
    if bad or not quiet:
        with suppress(OSError):  # whoever does not hear of it has the bytes all the same
            print(f"wsproxy: {words}", file=sys.stderr, flush=True)


def _request(options: Namespace) -> Any:
    from wsproxy.websocket.request import SUBPROTOCOLS, UpgradeRequest, basic, parseHeader

    try:
        url = parseWebSocketURL(_withToken(_url(options.url), options.token))
    except ValueError as error:
        raise WordsError(f"connect: {error}") from None
    headers = []
    for word in options.header:
        try:
            headers.append(parseHeader(DISCREET.parse("header", word).strip()))
        except ValueError as error:
            raise WordsError(f"--header: {error}") from None
    if options.auth is not None:
        user, colon, password = DISCREET.parse("auth", options.auth).strip().partition(":")
        if not colon:
            raise WordsError("--auth: expected USER:PASSWORD")
        headers.append(basic(user, password))
    try:
        return UpgradeRequest(url, tuple(headers), tuple(options.subprotocol or SUBPROTOCOLS), options.origin)
    except ValueError as error:
        raise WordsError(f"connect: {error}") from None


def _url(word: str) -> str:
    """@raise ConfigError: it is not where it is said to be, in words about the URL, which is no option."""
    try:
        url: str = DISCREET.parse("url", word)
    except ConfigError as error:
        at = "@" if word.startswith("@") else ""
        raise type(error)(f"URL {at}{str(error).removeprefix('--url ')}") from None
    return url.strip()


class _Once(Action):
    """Of two values one would be forgotten."""

    def __call__(self, parser: Any, namespace: Namespace, values: Any, option: str | None = None) -> None:
        if getattr(namespace, self.dest) is not None:
            parser.error(f"{option}: given twice")
        setattr(namespace, self.dest, values)


def _withToken(url: str, word: str | None) -> str:
    if word is None:
        return url
    token = quote(DISCREET.parse("token", word).strip(), safe="")
    return f"{url}{'&' if '?' in url else '?'}token={token}"


def _local(word: str) -> HostPort:
    host, _, _ = word.rpartition(":")
    try:
        given = parseHostPort(word if host else f"127.0.0.1:{word}")
    except ValueError as error:
        raise ArgumentTypeError(f"{word}: {error}") from None
    if given is None or given.port > 65535:
        raise ArgumentTypeError(f"{word} is not a port such as 5901, 0.0.0.0:5901 or [::1]:5901")
    return given


def _seconds(word: str) -> float:
    try:
        seconds = float(word)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ArgumentTypeError(f"{word} is not a number of seconds")
    return seconds


def _deadline(word: str) -> float:
    seconds = _seconds(word)
    if not seconds:
        raise ArgumentTypeError(f"{word}: nobody can be that fast")
    return seconds
