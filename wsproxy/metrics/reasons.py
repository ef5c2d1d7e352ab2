"""Why clients were turned away, in few words of ours: what strangers say, and plugins, is no label of a metric.

A label that anybody can make up fills the memory of whoever collects metrics. So there is this list, and no more.
"""

from __future__ import annotations

__all__ = ["REASONS", "reasonOf"]

_BY_WORDS = {
    "Origin not allowed": "origin",
    "Client not allowed": "client",
    "Target not allowed": "target",
    "Too many failed attempts": "throttled",
    "Certificate needed": "credentials",
    "A client certificate is needed": "credentials",
    "Credentials malformed": "credentials",
    "Token missing": "token",
    "Token not accepted": "token",
    "Access revoked": "revoked",
    "This link was good once, and has been used": "token",
    "This link is from before the last restart; ask for a new one": "token",
    "This link is not good yet; try again": "token",
    "Bad path": "malformed",
    "Not found": "route",
    "Server going down": "draining",
    "Draining": "draining",
    "Program ended": "draining",
    "No more sessions are accepted": "draining",
    "This port speaks TLS only: use https:// or wss://": "plaintext",
    "WebSocket version 13 is spoken here": "version",
    "speaks nothing that is served here": "protocol",
    "refused: no PROXY header, which is awaited from there": "proxy_header",
}
"""By what clients read, which is of a fixed list where it is ours."""

_BY_START = {"TLS handshake failed": "tls", "Too many sessions": "limit"}

_BY_STATUS = {
    400: "malformed",
    401: "credentials",
    403: "forbidden",
    404: "not_found",
    405: "method",
    411: "malformed",
    413: "malformed",
    414: "too_large",
    426: "version",
    429: "limit",
    431: "too_large",
    503: "unavailable",
}

REASONS = tuple(sorted({*_BY_WORDS.values(), *_BY_START.values(), *_BY_STATUS.values(), "other"}))
"""All that there are."""


def reasonOf(status: int, words: str) -> str:
    """
    @param status: of the answer; 0 where there was none in HTTP.
    @param words: that go with it: a stranger's perhaps, or a plugin's.
    @return: one of L{REASONS}.
    """
    if words in _BY_WORDS:
        return _BY_WORDS[words]
    for start, reason in _BY_START.items():
        if words.startswith(start):
            return reason
    return _BY_STATUS.get(status, "other")
