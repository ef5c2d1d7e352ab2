"""A user's name and password: RFC 7617's, out of a header; and how secrets are compared."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from hashlib import sha256
from hmac import compare_digest

__all__ = ["Malformed", "basicCredentials", "same"]

_BASIC = re.compile(r"basic +([A-Za-z0-9+/]+=*) *", re.IGNORECASE)  # RFC 7235 section 2.1, 7617 section 2
_CONTROLS = re.compile("[\x00-\x1f\x7f]")


class Malformed(Exception):
    """Nobody could have meant these credentials. C{str()} says why, and holds nothing of them."""


def basicCredentials(header: str) -> tuple[str, str]:
    """
    @param header: the value of C{Authorization}.
    @return: name and password: of UTF-8, or what is none as ISO 8859-1, which old browsers send.
    @raise Malformed: it is of another scheme, or not what RFC 7617 says.
    """
    match = _BASIC.fullmatch(header)
    if match is None:
        raise Malformed("Authorization is not Basic, or not base64")
    try:
        sent = b64decode(match[1], validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("Authorization is not base64") from None
    user, colon, password = _decoded(sent).partition(":")
    if not colon:
        raise Malformed("Authorization has no colon between name and password")
    if _CONTROLS.search(user) or _CONTROLS.search(password):
        raise Malformed("Authorization has control characters")
    return user, password


def same(one: str, other: str) -> bool:
    """Whether two secrets are equal, in a time that depends on neither's content or length."""
    return compare_digest(_digest(one), _digest(other))


def _digest(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogatepass")).digest()


def _decoded(sent: bytes) -> str:
    try:
        return sent.decode("utf-8")
    except ValueError:
        return sent.decode("latin-1")
