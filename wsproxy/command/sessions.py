"""C{wsproxy sessions}: what is open."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any

from wsproxy.command.listing import asTable
from wsproxy.command.operators import addFilters, asker, command, filters, warn

__all__ = ["describe", "run"]


def describe(commands: Any) -> None:
    """@param commands: what C{add_subparsers} has returned."""
    parser = command(commands, "sessions", "List open sessions.", run)
    addFilters(parser)
    parser.add_argument("--ids", action="store_true", help="print ids alone, for shells that complete them")


def run(options: Namespace) -> str:
    """@return: what is to be printed."""
    answer = asker(options).ask("GET", "/sessions", **filters(options))
    if options.json:
        return json.dumps(answer, indent=1)
    if options.ids:
        return "\n".join(session["id"] for session in answer["sessions"])
    warn(answer)
    answer["sessions"].sort(key=lambda session: session["started"])
    return asTable(answer["sessions"])
