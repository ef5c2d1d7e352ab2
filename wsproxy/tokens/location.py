"""Where in a request its token is.

::

    wss://proxy.example/websockify?token=TOKEN      the first ?token= that has a value
    wss://TOKEN.consoles.example/                   Host, whole but for its port, instead of the query: --host-token
    wss://proxy.example/vnc/TOKEN                   --token-path /vnc/{token}
    Cookie: seat=TOKEN                              --token-cookie seat
    X-Token: TOKEN                                  --token-header X-Token

The path, a header and a cookie are looked at besides, in this order; the first that has one counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from wsproxy.errors import ConfigError, Refusal
from wsproxy.interfaces import Request

__all__ = ["PLACE", "TokenLocation", "checkTemplate", "missing", "notAccepted"]

PLACE = "{token}"
"""Where the token is in C{--token-path}."""

_PARAMETER = "token"
_NOT_ACCEPTED = "Token not accepted"
_LONGEST = 8192
"""Characters. Tokens of JOSE with a chain of certificates come close; all headers together have 64 KiB."""

_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


def missing(cause: str = "") -> Refusal:
    """@return: what is said where there is no token: the same, but that nobody has guessed."""
    return Refusal(403, _NOT_ACCEPTED, cause=cause)


def notAccepted(cause: str = "") -> Refusal:
    """
    @return: what is said of every token that leads nowhere, be it unknown, expired, malformed or withdrawn.
    @param cause: which of them, for the log; never the token.
    """
    return Refusal(403, _NOT_ACCEPTED, cause=cause, guess=True)


@dataclass(frozen=True, slots=True)
class TokenLocation:
    """
    @ivar host: the token is the C{Host}; then C{?token=} is not looked at.
    @ivar path: a path with L{PLACE} in it, as clients send it: percent-encoded where that is needed.
    """

    host: bool = False
    path: str | None = None
    header: str | None = None
    cookie: str | None = None

    def find(self, request: Request) -> str:
        """@raise Refusal: there is none, or none can look like that."""
        token = self.of(request)
        if not token:
            raise missing(f"expected in {self}")
        if len(token) > _LONGEST:
            raise notAccepted(f"a token of {len(token)} characters")
        if not token.isprintable() and _CONTROLS.search(token):
            raise notAccepted("a token with control characters")
        return token

    def of(self, request: Request) -> str | None:
        """@return: the token as it is, decoded; L{None} or nothing where there is none."""
        if not self.host:
            for value in request.queryAll.get(_PARAMETER, ()):
                if value:
                    return value.rstrip("\n")  # as the original does: it is what links made of lines end with
        if self.path is None and self.header is None and self.cookie is None and not self.host:
            return None
        return self._besides(request)

    def _besides(self, request: Request) -> str | None:
        token = _fromPath(self.path, request.path) if self.path is not None else None
        if not token and self.header is not None:
            token = request.headers.get(self.header.lower())
        if not token and self.cookie is not None:
            token = request.cookies.get(self.cookie)
        if not token and self.host:
            token = _withoutPort(request.headers.get("host", ""))
        return token

    def shownPath(self, request: Request) -> str:
        """What the log says of a request's path: the template, wherever a token may be in it."""
        if self.path is None:
            return request.path
        return self.path if request.path.startswith(self.path.partition(PLACE)[0]) else request.path

    def __str__(self) -> str:
        """For those who look for a token that is not there."""
        places = [
            "Host" if self.host else f"?{_PARAMETER}=",
            f"the path {self.path}" if self.path else "",
            f"the header {self.header}" if self.header else "",
            f"the cookie {self.cookie}" if self.cookie else "",
        ]
        return " or ".join(filter(None, places))


def checkTemplate(option: str, path: str) -> str:
    """@raise ConfigError: it is no path with one whole part of it for the token."""
    if not path.startswith("/") or path.count(PLACE) != 1 or "?" in path or PLACE not in path.split("/"):
        raise ConfigError(f"--{option} {path}: expected a path with {PLACE} for one part of it, such as /vnc/{PLACE}")
    return path


def _fromPath(template: str, path: str) -> str | None:
    before, _, after = template.partition(PLACE)
    if not (path.startswith(before) and path.endswith(after)):
        return None
    part = path[len(before) : len(path) - len(after)]
    return None if "/" in part else unquote(part)


def _withoutPort(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]
