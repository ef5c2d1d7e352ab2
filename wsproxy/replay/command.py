"""The command line of C{wsproxy-replay}.

Exit status: 0; 1 with one line on stderr when a file or an endpoint is of no use; 2 with one line for wrong words.
"""

from __future__ import annotations

import math
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from wsproxy.access.peer import printable
from wsproxy.daemon.console import OneLineParser, complain, piped
from wsproxy.daemon.standard import fillStandard
from wsproxy.endpoints.listen import parseListen
from wsproxy.errors import ConfigError
from wsproxy.recording.format import RecordingError
from wsproxy.replay.asciicast import asciicast, firstWindow
from wsproxy.replay.file import readEntries, repair, summarise
from wsproxy.replay.server import PlayerFactory

__all__ = ["main", "serve"]

_NAME = "wsproxy-replay"


def _speed(word: str) -> float:
    with suppress(ValueError):
        speed = math.inf if word == "max" else float(word)
        if speed > 0:
            return speed
    raise ArgumentTypeError(f"{word} is not a speed")


def _parser() -> ArgumentParser:
    parser = OneLineParser(prog=_NAME, description="Play, describe, export and repair recordings of sessions.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Any, what: str) -> ArgumentParser:
        made = commands.add_parser(name, help=what, description=what)
        made.set_defaults(run=run)
        return made

    server = command("serve", _serve, "Play the target's side to each client that connects.")
    server.add_argument("--listen", metavar="ENDPOINT", required=True, help="port, host:port, unix:/path, …")
    server.add_argument(
        "--speed", metavar="N", type=_speed, default=1.0, help="times as fast as it was, or max; default: 1"
    )
    export = command("export", _export, "Write a recording to standard output in another format.")
    export.add_argument("--format", choices=["asciicast"], required=True, help="for terminal sessions")
    info = command("info", _info, "Print duration, bytes and messages each way.")
    mend = command("repair", _repair, "Give a recording that was cut off its end, in place.")
    for each in (server, export, info, mend):
        each.add_argument("file", metavar="FILE")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """
    @param arguments: by default those of the process.
    @raise SystemExit: the end.
    """
    fillStandard()
    options = _parser().parse_args(arguments)
    try:
        with piped():
            options.run(options)
    except OSError as error:
        raise SystemExit(_failed(f"{options.file}: {error.strerror}")) from None
    except RecordingError as error:
        raise SystemExit(_failed(f"{options.file}: {error}")) from None


def _failed(message: object) -> int:
    complain(_NAME, message)
    return 1


def _info(options: Namespace) -> None:
    summary = summarise(options.file)
    print(f"duration: {summary.milliseconds / 1000:.3f} s")
    print(f"target to client: {summary.bytesFromTarget} bytes in {summary.entriesFromTarget} messages")
    print(f"client to target: {summary.bytesFromClient} bytes in {summary.entriesFromClient} messages")
    if not summary.complete:
        print("cut off: it has no end; wsproxy-replay repair adds one")


def _export(options: Namespace) -> None:
    window = firstWindow(readEntries(options.file))
    for line in asciicast(readEntries(options.file), window):
        print(line)
    sys.stdout.flush()


def _repair(options: Namespace) -> None:
    print("repaired" if repair(options.file) else "nothing to repair")


def _serve(options: Namespace) -> None:
    next(readEntries(options.file), None)  # complain now, not to the first client
    react(serve, [options])


async def serve(reactor: Any, options: Namespace) -> None:
    """Listen, and play to whoever comes, until the process is told to end."""

    def failed(error: Exception) -> None:
        complain(_NAME, f"{options.file}: {error}")

    try:
        listen = parseListen(reactor, options.listen)
        factory = PlayerFactory(options.file, reactor, options.speed, failed)
        ports = await listen.bind(factory)
    except ConfigError as error:
        raise SystemExit(_failed(error)) from None
    where = ", ".join(printable(port.getHost()) for port in ports)
    print(f"Playing {options.file} on {where}", flush=True)
    await Deferred()
