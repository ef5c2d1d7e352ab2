"""C{wsproxy revoke}: ends sessions on every node of a cluster, and refuses who comes again."""

from __future__ import annotations

import sys
from argparse import Namespace, RawDescriptionHelpFormatter
from typing import Any

from wsproxy.cluster.cluster import Cluster
from wsproxy.command.cluster import URL_HELP, askCluster
from wsproxy.command.kinds import SECRET
from wsproxy.errors import ConfigError
from wsproxy.escape import escape
from wsproxy.nodes.make import makeRevocations
from wsproxy.nodes.revocations import makeOrder
from wsproxy.nodes.roster import readRoster

__all__ = ["describe", "run"]

_DIGITS = 32
"""Of a session's id."""

_EPILOG = """\
    wsproxy revoke --identity alice --cluster @/etc/wsproxy/cluster
    wsproxy revoke --token - --cluster @/etc/wsproxy/cluster <token

Sessions end within a second, with close code 4001. Tokens and ids of tokens (jti) are refused then; of an identity,
tokens made before now: those of a password have to be changed where that is known. What ends later than --for says has
to be refused for longer.

Exit status: 0 when Redis has it, on its disk with appendfsync always; 1 with one line on stderr when nobody knows that,
and it has to be said again; 2 for wrong words.
"""


def describe(commands: Any) -> None:
    """@param commands: what C{add_subparsers} has returned."""
    parser = commands.add_parser(
        "revoke",
        help="Take access back on all nodes of a cluster.",
        description="End sessions on every node of a cluster, and refuse who comes again.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
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
    add("--cluster", metavar="URL", required=True, help=URL_HELP)


def run(options: Namespace) -> None:
    """@raise ConfigError: nobody knows whether anything was revoked."""
    kind = next(kind for kind in ("identity", "token", "jti", "session") if getattr(options, kind) is not None)
    word = getattr(options, kind)
    name = _token(word) if kind == "token" else word
    makeOrder(kind, name, options.lifetime)

    async def revoke(cluster: Cluster) -> None:
        whole = await _whole(cluster, name) if kind == "session" else name
        await makeRevocations(cluster).revoke(kind, whole, options.lifetime)

    askCluster(options.cluster, revoke)


async def _whole(cluster: Cluster, id: str) -> str:
    """
    @param id: the first digits of one, or all.
    @raise ConfigError: there is no such session, or there are several.
    """
    if len(id) == _DIGITS:
        return id
    found = [session["id"] for session in await readRoster(cluster) if session["id"].startswith(id)]
    if len(found) != 1:
        raise ConfigError(f"--session {escape(id)}: {'no' if not found else 'not the only'} session that begins so")
    whole: str = found[0]
    return whole


def _token(word: str) -> str:
    if word == "-":
        return sys.stdin.readline().strip()
    if not word.startswith("@"):
        raise ConfigError("--token: expected @FILE, or - for stdin: all users of this machine can read it here")
    token: str = SECRET.parse("token", word)
    return token
