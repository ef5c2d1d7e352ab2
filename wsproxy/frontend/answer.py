"""What is answered without any resource: a whole HTTP response that says no and ends the connection."""

from __future__ import annotations

from collections.abc import Sequence
from http.client import responses

from wsproxy.errors import Refusal

__all__ = ["METHODS", "SERVER", "allowed", "headerBytes", "methodNotAllowed", "phrase", "refusalBytes", "withHeaders"]

SERVER = "wsproxy"
"""The C{Server} header: who answers, not which version of it."""

METHODS = (b"GET", b"HEAD")
"""What files and the pages of the proxy's own are asked for with."""


def refusalBytes(refusal: Refusal, *, body: bool = True) -> bytes:
    """
    A whole HTTP response that says no and ends the connection.

    @param body: C{False} to answer HEAD.
    """
    text = f"{refusal.status} {refusal.reason}\n".encode(errors="replace")
    lines = [
        f"HTTP/1.1 {refusal.status} {phrase(refusal.status)}",
        f"Server: {SERVER}",
        "Connection: close",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(text)}",
        "X-Content-Type-Options: nosniff",
        *(f"{name}: {value}".translate(_ONE_LINE) for name, value in refusal.headers),
    ]
    return "\r\n".join([*lines, "", ""]).encode(errors="replace") + (text if body else b"")


def phrase(status: int) -> str:
    """@return: what stands behind it in a status line; empty for one that nobody knows. Twisted does not know 429."""
    return responses.get(status, "")


_ONE_LINE = dict.fromkeys([*range(0x20), 0x7F], " ")
"""Nothing that a plugin repeats of its client's words ends a header."""


def headerBytes(name: str, value: str) -> tuple[bytes, bytes]:
    """A header on one line, whatever it was made of."""
    return _line(name), _line(value)


def _line(text: str) -> bytes:
    return text.translate(_ONE_LINE).encode(errors="replace")


def withHeaders(response: bytes, headers: Sequence[tuple[str, str]]) -> bytes:
    """@return: a response without a body, and these headers behind its own."""
    return response[:-2] + b"".join(b"%b: %b\r\n" % headerBytes(*header) for header in headers) + b"\r\n"


def allowed(methods: Sequence[bytes]) -> str:
    """@return: the value of C{Allow} where resources have these."""
    return ", ".join([*(method.decode("ascii") for method in methods), "OPTIONS"])


def methodNotAllowed(cause: str = "", methods: Sequence[bytes] = METHODS) -> Refusal:
    """
    @param cause: why somebody meant another method to work, if that is known.
    @param methods: those that would.
    """
    *others, last = (method.decode("ascii") for method in methods)
    words = f"Only {', '.join(others)} and {last} are served"
    return Refusal(405, words, (("Allow", allowed(methods)),), cause=cause)
