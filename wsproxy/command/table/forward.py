"""The options of forward authentication."""

from __future__ import annotations

from wsproxy.command.kinds import HEADERS, SECONDS, URL
from wsproxy.command.option import Option, needs

__all__ = ["FORWARD"]

_URL = (needs("auth-url"),)

FORWARD = (
    Option(
        "auth-url", "authentication.url", URL,
        "Show each request to this server, which says who may come in: 2xx, 401 or 403, or a redirect to where one "
        "signs in.",
    ),
    Option(
        "auth-copy", "authentication.copy", HEADERS,
        "Headers of its answer, with commas between: the first is who the client is, all are claims.", needs=_URL,
    ),
    Option(
        "auth-recheck", "authentication.recheck", SECONDS,
        "Ask it about each open session again every so many seconds, and close those that it lets in no longer. "
        "0: never.",
        needs=_URL,
    ),
)  # fmt: skip
