"""The options of limits: how many sessions there may be, and what a cluster has in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.logger import Logger

from wsproxy.cluster.cluster import checkCluster
from wsproxy.command.kinds import COUNT, RATE, SECRET, Kind
from wsproxy.command.option import Need, Option
from wsproxy.command.table.authentication import AUTHENTICATORS

__all__ = ["LIMITS"]

_log = Logger()


def _cluster(name: str, word: str) -> str:
    """A secret only where there is one in it."""
    url = word if _isOpen(word) else SECRET.parse(name, word)
    if not checkCluster(url):
        _log.warn("--{name}: neither key= nor a password: who can read Redis can try tokens out on it", name=name)
    return url


def _isOpen(word: str) -> bool:
    return "@" not in word and "key=" not in word and not word.startswith("env:")


def _knowsUsers(given: Mapping[str, Any]) -> bool:
    return any(name in given for name in AUTHENTICATORS)


def _knowsTokens(given: Mapping[str, Any]) -> bool:
    return any(name in given for name in ("token-plugin", "target-config", "link-key"))


_CLUSTER = Kind("URL", _cluster, secret=True)

_USERS = (Need(_knowsUsers, "needs somebody who knows users, --auth-plugin say"),)

LIMITS = (
    Option("max-sessions", "limits.sessions", COUNT, "Sessions at a time. Default: no limit, as with those below."),
    Option(
        "max-sessions-per-client", "limits.perClient", COUNT,
        "Sessions at a time of one client address; of IPv6, of one /64.",
    ),
    Option(
        "max-sessions-per-identity", "limits.perIdentity", COUNT, "Sessions at a time of one user.",
        needs=_USERS,
    ),
    Option(
        "max-sessions-per-token", "limits.perToken", COUNT, "Sessions at a time with one token.",
        needs=(Need(_knowsTokens, "needs somebody who knows tokens, --token-plugin say"),),
    ),
    Option(
        "bandwidth-per-identity", "limits.bandwidthPerIdentity", RATE,
        "Bytes that all sessions of one user together may send, and receive, a second, in each worker: they share it "
        "equally. 0: no limit.",
        needs=_USERS,
    ),
    Option(
        "cluster", "cluster.url", _CLUSTER,
        "The Redis that nodes share, for which limits, single-use links and revocations then hold together: "
        "redis://HOST:PORT, or rediss:// over TLS, with USER:PASSWORD@ before it, and /DB and ?prefix=NAME&key=SECRET "
        "behind it where need be. Or @FILE or env:NAME, which hold that.",
    ),
)  # fmt: skip
