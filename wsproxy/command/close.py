"""C{wsproxy close}: ends sessions."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any

from wsproxy.admin.client import AdminClient
from wsproxy.command.operators import addFilters, asker, command, filters, warn
from wsproxy.errors import ConfigError, WordsError

__all__ = ["describe", "run"]


def describe(commands: Any) -> None:
    """@param commands: what C{add_subparsers} has returned."""
    parser = command(commands, "close", "Close sessions, with 4001: one by its id, or those that a filter finds.", run)
    parser.add_argument("id", nargs="?", metavar="ID", help="its id, or the first digits of it, as logs have them")
    parser.add_argument("--reason", metavar="WORDS", help="what its user reads")
    addFilters(parser)


def run(options: Namespace) -> str:
    """@return: what is to be printed. @raise ConfigError: there is nothing to close, or nobody knows what."""
    client, wanted = asker(options), filters(options)
    if (options.id is None) != any(value is not None for value in wanted.values()):
        raise WordsError("close: an id, or filters such as --identity")
    if options.id is None:
        answer = client.ask("DELETE", "/sessions", reason=options.reason, **wanted)
    else:
        answer = client.ask("DELETE", f"/sessions/{_whole(client, options.id)}", reason=options.reason)
    warn(answer)
    return json.dumps(answer) if options.json else f"{answer['closed']} closed"


def _whole(client: AdminClient, digits: str) -> str:
    """@raise ConfigError: no session's id begins so, or that of several."""
    if len(digits) < 32:
        found = [each["id"] for each in client.ask("GET", "/sessions")["sessions"] if each["id"].startswith(digits)]
        if len(found) > 1:
            raise ConfigError(f"{digits}: {len(found)} sessions begin so")
        if not found or not digits:
            raise ConfigError("No such session")
        return str(found[0])
    if not digits.isalnum():
        raise ConfigError("No such session")
    return digits
