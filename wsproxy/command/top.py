"""C{wsproxy top}: the busiest sessions, again and again."""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from typing import Any

from wsproxy.admin.client import AdminClient
from wsproxy.command.listing import Screen, asTable
from wsproxy.command.operators import asker, command, number

__all__ = ["describe", "run"]


def describe(commands: Any) -> None:
    """@param commands: what C{add_subparsers} has returned."""
    parser = command(commands, "top", "Show the busiest sessions, once a second, until Ctrl+C.", run)
    parser.add_argument("--every", metavar="SEC", type=number, default=1.0, help="between two looks; default: 1")
    parser.add_argument("--once", action="store_true", help="look once, and leave")


def run(options: Namespace) -> str | None:
    """@return: what is to be printed."""
    client = asker(options)
    if options.once or options.json:
        return _looked(client, options)
    screen = Screen(sys.stdout)
    try:
        with screen:
            while True:
                screen.show(*_facts(client))
                time.sleep(options.every)
    except KeyboardInterrupt:
        return None


def _facts(client: AdminClient) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    sessions = client.ask("GET", "/sessions")["sessions"]
    sessions.sort(key=lambda session: session["rate_up"] + session["rate_down"], reverse=True)
    return client.ask("GET", "/status"), sessions


def _looked(client: AdminClient, options: Namespace) -> str:
    status, sessions = _facts(client)
    return json.dumps({"status": status, "sessions": sessions}) if options.json else asTable(sessions)
