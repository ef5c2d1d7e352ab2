"""C{wsproxy revoke}: ends sessions on every node of a cluster, and refuses who comes again."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from wsproxy.cluster.cluster import Cluster
from wsproxy.command.cluster import URL_HELP, askCluster
from wsproxy.command.kinds import SECRET
from wsproxy.command.operators import asker, command
from wsproxy.errors import ConfigError, WordsError
from wsproxy.escape import escape
from wsproxy.nodes.make import makeRevocations
from wsproxy.nodes.revocations import makeOrder
from wsproxy.nodes.roster import readRoster

__all__ = ["describe", "run"]

_DIGITS = 32
"""Of a session's id."""

_EPILOG = """\
    wsproxy revoke --identity alice
    wsproxy revoke --token - --cluster @/etc/wsproxy/cluster <token

Sessions end within a second, with close code 4001. Tokens and ids of tokens (jti) are refused then; of an identity,
tokens made before now: those of a password have to be changed where that is known. What ends later than --for says has
to be refused for longer.

It is done when Redis has it, on its disk with appendfsync always. Otherwise, with status 1, it has to be said again;
the proxy that was asked has ended its own sessions all the same.
"""


def describe(commands: Any) -> None:
    """@param commands: what C{add_subparsers} has returned."""
    parser = command(commands, "revoke", "Take access back on all nodes of a cluster.", run)
    parser.description = "End sessions on every node of a cluster, and refuse who comes again."
    parser.epilog = f"{_EPILOG}\n{parser.epilog}"
    whom = parser.add_mutually_exclusive_group(required=True)
    whom.add_argument("--identity", metavar="NAME", help="a user")
    whom.add_argument("--token", metavar="@FILE|-", help="a token: in a file, or on stdin")
    whom.add_argument("--jti", metavar="ID", help="the id in a signed token")
    whom.add_argument("--session", metavar="ID", help="one session, of wsproxy nodes; whose it was may come again")
    add = parser.add_argument
    add(
        "--for", metavar="SEC", type=float, dest="lifetime",
        help="how long it is refused; default: until a signed --token expires, else 86400, a day",
    )  # fmt: skip
    add("--cluster", metavar="URL", help=f"tell Redis itself, not the proxy at --admin: {URL_HELP}")


def run(options: Namespace) -> str | None:
    """
    @return: what is to be printed.
    @raise ConfigError: nobody knows whether anything was revoked on all nodes.
    """
    kind = next(kind for kind in ("identity", "token", "jti", "session") if getattr(options, kind) is not None)
    word = getattr(options, kind)
    name = _token(word) if kind == "token" else word
    if kind != "session":  # of which the first digits may have been given
        makeOrder(kind, name, options.lifetime)
    if options.cluster is None:
        client = asker(options)
        if kind == "session" and len(name) != _DIGITS:
            name, _ = _whole(name, client.ask("GET", "/cluster/sessions")["sessions"])
        client.ask("POST", "/revoke", **{kind: name, "for": options.lifetime})
    else:
        _tellRedis(options.cluster, kind, name, options.lifetime)
    return json.dumps({"revoked": True}) if options.json else None


def _tellRedis(url: str, kind: str, name: str, lifetime: float | None) -> None:
    async def revoke(cluster: Cluster) -> None:
        whole, known = _whole(name, await readRoster(cluster)) if kind == "session" else (name, True)
        await makeRevocations(cluster).revoke(kind, whole, lifetime)
        if not known:
            raise ConfigError(f"--session {escape(name)}: {_UNKNOWN}")

    askCluster(url, revoke)


_UNKNOWN = "no node has this session"


def _whole(id: str, sessions: Sequence[dict[str, Any]]) -> tuple[str, bool]:
    """
    @param id: the first digits of one, or all.
    @return: all of them, and whether this is one of C{sessions}: a node tells of a new one a quarter of a second later.
    @raise ConfigError: none begins so, or several do.
    """
    digits = id.lower()
    found: list[str] = [session["id"] for session in sessions if session["id"].startswith(digits)]
    if not found and len(digits) == _DIGITS:
        return digits, False
    if not digits or len(found) != 1:
        raise ConfigError(f"--session {escape(id)}: {'not the only' if found else 'no'} session that begins so")
    return found[0], True


def _token(word: str) -> str:
    if word == "-":
        return sys.stdin.readline().strip()
    if not word.startswith("@"):
        raise WordsError("--token: expected @FILE, or - for stdin: all users of this machine can read it here")
    token: str = SECRET.parse("token", word)
    return token
