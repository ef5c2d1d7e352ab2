"""The command line of C{wsproxy}: a proxy, and what is done beside one that runs.

::

    wsproxy 6080 localhost:5900         serve, which needs no name
    wsproxy COMMAND [OPTIONS]           the others

Exit status: 0; 1 with one line on stderr when it cannot be done; 2 with one line for wrong words.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib import import_module

from wsproxy import __version__
from wsproxy.daemon.console import OneLineParser, complain, piped, say
from wsproxy.daemon.standard import fillStandard
from wsproxy.errors import ConfigError, WordsError

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "serve": ("wsproxy.command.serve", "Run a proxy: wsproxy [serve] [OPTIONS] [LISTEN [TARGET]]."),
    "connect": ("wsproxy.command.connect", "Lead stdin and stdout, or the clients of a port, through a WebSocket."),
    "token": ("wsproxy.command.token", "Make a link for a proxy with --link-key."),
    "sessions": ("wsproxy.command.sessions", "List open sessions."),
    "close": ("wsproxy.command.close", "Close sessions."),
    "top": ("wsproxy.command.top", "Show the busiest sessions, again and again."),
    "drain": ("wsproxy.command.drain", "Take no more sessions."),
    "upgrade": ("wsproxy.command.upgrade", "Execute the version that is installed now; sessions go on."),
    "reload": ("wsproxy.command.reload", "Look at files that may have changed."),
    "nodes": ("wsproxy.command.nodes", "List the sessions of all nodes of a cluster."),
    "revoke": ("wsproxy.command.revoke", "Take access back on all nodes of a cluster."),
    "completion": ("wsproxy.manual.completion", "Print what a shell needs to complete these command lines."),
}
"""
The sub-commands, in the order of help: a module, imported when it is asked for, and a line about it. The module's
C{describe(commands)} adds its parser, which has C{run}, and that returns what is to be printed, L{None} for nothing.
"""

_SERVE = "serve"

_EPILOG = """\
Without COMMAND it is serve: wsproxy 6080 localhost:5900. wsproxy COMMAND --help has the options.
"""


def _parser(wanted: str) -> ArgumentParser:
    """@param wanted: the sub-command that has to be known in full."""
    parser = OneLineParser(
        prog="wsproxy",
        description="One TCP port that speaks WebSocket, HTTP and TLS in front of any TCP or unix-socket server.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"wsproxy {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (module, help) in COMMANDS.items():
        if name == wanted:
            import_module(module).describe(commands)
        else:
            commands.add_parser(name, help=help)
    return parser


def _serves(words: Sequence[str]) -> bool:
    """Whether no other command is meant, nor help about them all."""
    return bool(words) and (words[0] == _SERVE or words[0] not in (*COMMANDS, "-h", "--help", "--version"))


def main(arguments: Sequence[str] | None = None) -> None:
    """
    The console script.

    @param arguments: by default those of the process.
    @raise SystemExit: the end.
    """
    fillStandard()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if _serves(words):
        from wsproxy.command import serve  # late: all of the proxy

        serve.main(words[1:] if words[0] == _SERVE else words)
        return
    options = _parser(words[0] if words else "").parse_args(words)
    try:
        with piped():
            said = options.run(options)
            if said is not None:
                say(said)
    except ConfigError as error:
        complain("wsproxy", error)
        raise SystemExit(2 if isinstance(error, WordsError) else 1) from None
