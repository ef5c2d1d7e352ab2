"""C{wsproxy nodes}: the sessions of all nodes of a cluster, as Redis has them."""

from __future__ import annotations

import json
import time
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from wsproxy.command.cluster import URL_HELP, askCluster
from wsproxy.command.operators import asker, command
from wsproxy.escape import escape
from wsproxy.nodes.roster import readRoster

__all__ = ["describe", "run"]

_HEAD = ("ID", "CLIENT", "IDENTITY", "TARGET", "AGE", "NODE", "WORKER")


def describe(commands: Any) -> None:
    """@param commands: what C{add_subparsers} has returned."""
    parser = command(commands, "nodes", "List the sessions of all nodes of a cluster.", run)
    parser.description = "List the sessions of all nodes, the oldest first. wsproxy revoke --session ends one."
    parser.add_argument(
        "--cluster", metavar="URL", help=f"ask Redis itself, not the proxy at --admin: {URL_HELP}"
    )


def run(options: Namespace) -> str:
    """
    @return: what is to be printed.
    @raise ConfigError: Redis does not answer.
    """
    if options.cluster is None:
        sessions = asker(options).ask("GET", "/cluster/sessions")["sessions"]
    else:
        sessions = askCluster(options.cluster, readRoster)
    return json.dumps({"sessions": sessions}, indent=1) if options.json else _table(sessions, time.time())


def _table(sessions: Sequence[dict[str, Any]], now: float) -> str:
    rows = [_HEAD, *(_cells(session, now) for session in sessions)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _cells(session: dict[str, Any], now: float) -> tuple[str, ...]:
    words = (session[name] or "-" for name in ("client", "identity", "target"))
    return (
        session["id"][:8],
        *(escape(str(word)) for word in words),
        f"{max(0, now - session['started']):.0f} s",
        escape(str(session["node"])),
        str(session["worker"] or "-"),
    )
