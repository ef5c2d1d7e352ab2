"""The command line of C{wsproxy}: what is done beside a proxy that runs.

::

    wsproxy token --key @FILE --target ENDPOINT [OPTIONS]

Exit status: 0; 1 with one line on stderr when it cannot be done; 2 with one line for wrong words.
"""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import NoReturn

from wsproxy import __version__
from wsproxy.command import token
from wsproxy.errors import ConfigError

__all__ = ["main"]


class _Parser(ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, without the usage."""
        _complain(message)
        raise SystemExit(2)


def _complain(message: object) -> None:
    text = " ".join(str(message).splitlines())
    print(f"wsproxy: {text}", file=sys.stderr)


def _parser() -> ArgumentParser:
    parser = _Parser(prog="wsproxy", description="What is done beside a proxy that runs: twistd websockify.")
    parser.add_argument("--version", action="version", version=f"wsproxy {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    token.describe(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """
    The console script.

    @param arguments: by default those of the process.
    @raise SystemExit: the end.
    """
    options = _parser().parse_args(arguments)
    try:
        print(options.run(options), flush=True)
    except ConfigError as error:
        _complain(error)
        raise SystemExit(1) from None
    except BrokenPipeError:
        # whoever reads our output has seen enough; Python would complain of it once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
