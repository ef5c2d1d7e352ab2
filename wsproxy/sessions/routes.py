"""Which way in a request takes, where there are several: by its host and its path.

::

    Host: Console.Example.com.:443 ─► console.example.com ─┐
    GET /a%62c/d?token=… ───────────► /abc/d ──────────────┴─► the longest path that it begins with; else 404

A path is decoded once, as those do that serve what is there. One that others could read as a different one is refused
with 400: with C{.} and C{..} for segments, with C{//}, with a slash that is encoded, and with a backslash, which
browsers take for a slash.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Generic, TypeVar
from urllib.parse import unquote_to_bytes

from wsproxy.errors import Refusal
from wsproxy.interfaces import Request

T = TypeVar("T")

__all__ = ["Routes", "plainHost", "plainPath"]

_ENCODED = re.compile(r"%(?![0-9A-Fa-f]{2})|%2f|%5c|%00|\\", re.IGNORECASE)
_DOTS = re.compile(r"/\.{1,2}(?:/|$)")

_AMBIGUOUS = Refusal(
    400, "Bad path", cause="with routes, a path has no . and .. for segments, no // and no encoded slash or backslash"
)
_ELSEWHERE = Refusal(404, "Not found", cause="no route is for this host and path")


class Routes(Generic[T]):
    """
    @param routes: each behind the host that it is for, L{None} for any, and the path that requests begin with.
    @ivar all: the routes.
    """

    def __init__(self, routes: Iterable[tuple[str | None, str, T]]) -> None:
        known = [(host, path.rstrip("/"), route) for host, path, route in routes]
        # the longest path first; of two that are alike, the one that names its host
        self._known = sorted(known, key=lambda each: (-len(each[1]), each[0] is None))
        self.all = tuple(route for _, _, route in known)

    def of(self, request: Request) -> T:
        """
        @raise Refusal: 400 or 404. One to be told from others' refusals by nobody but the client.
        """
        path, host = plainPath(request.path), plainHost(request.publicHost or "")
        for wanted, prefix, route in self._known:
            if (wanted is None or wanted == host) and (path == prefix or path.startswith(f"{prefix}/")):
                return route
        raise _ELSEWHERE


def plainHost(authority: str) -> str:
    """@return: a host in lower case, without a port, and without the dot that may end it."""
    host = authority.strip().lower()
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].removesuffix(".")


def plainPath(path: str) -> str:
    """
    @param path: as sent.
    @return: decoded.
    @raise Refusal: it could be read as another one.
    """
    if "//" in path or _ENCODED.search(path):
        raise _AMBIGUOUS
    decoded = unquote_to_bytes(path.encode("latin-1", "replace")).decode("utf-8", "surrogateescape")
    if _DOTS.search(decoded):
        raise _AMBIGUOUS
    return decoded
