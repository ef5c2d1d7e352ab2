"""C{wsproxy drain}: no more sessions, until that is undone."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any

from wsproxy.command.operators import asker, command, number, warn

__all__ = ["describe", "run"]


def describe(commands: Any) -> None:
    """@param commands: what C{add_subparsers} has returned."""
    parser = command(commands, "drain", "Take no more sessions: new ones are answered 503.", run)
    parser.add_argument("--rate", metavar="N", type=number, help="close so many sessions a second, too, with 1001")
    parser.add_argument("--undo", action="store_true", help="take sessions again")


def run(options: Namespace) -> str:
    """@return: what is to be printed."""
    client = asker(options)
    if options.undo:
        answer = client.ask("DELETE", "/drain")
    else:
        answer = client.ask("POST", "/drain", rate=None if options.rate is None else str(options.rate))
    warn(answer)
    return json.dumps(answer) if options.json else "draining" if answer["draining"] else "taking sessions"
