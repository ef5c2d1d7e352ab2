"""What is left out of texts for the log that somebody else has written: exceptions quote what they were about.

C{KeyError} has the key that a dict lacks, an HTTP library the URL that it could not get. Where plugins raise them, that
is a token or a password.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Iterator
from urllib.parse import quote, unquote

from twisted.python.failure import Failure
from twisted.python.reflect import safe_str

from wsproxy.interfaces import Request

__all__ = ["discreet", "secretsOf", "withoutSecrets"]

_HIDDEN = "(hidden)"

_SHORTEST = 3
"""Characters. A shorter one is no secret, and left out everywhere would leave no text."""

_TELLING = ("auth", "key", "secret", "session", "token")
"""What the names of headers have in them that tell who one is."""


def withoutSecrets(text: str, *secrets: str | None) -> str:
    """@return: this text, in which none of these can be read: as they are, as Python quotes them, as URLs do."""
    for secret in sorted({*filter(None, secrets)}, key=len, reverse=True):
        if len(secret) >= _SHORTEST:
            for form in {secret, repr(secret)[1:-1], quote(secret, safe=""), quote(secret)}:
                text = text.replace(form, _HIDDEN)
    return text


def secretsOf(request: Request) -> tuple[str, ...]:
    """@return: whatever a client may have shown to be let in: credentials, and tokens wherever they may be."""
    return tuple(_secretsOf(request))


def _secretsOf(request: Request) -> Iterator[str]:
    for name, value in request.headers.items():
        if any(part in name for part in _TELLING):
            yield value
    yield from _credentials(request.headers.get("authorization", ""))
    yield from request.cookies.values()
    for values in request.queryAll.values():
        yield from values
    yield from map(unquote, request.path.split("/"))


def _credentials(header: str) -> Iterator[str]:
    """What follows the scheme; of Basic, the password, too."""
    scheme, _, rest = header.partition(" ")
    yield rest.strip()
    if scheme.lower() == "basic":
        try:
            sent = b64decode(rest.strip())
        except (binascii.Error, ValueError):
            return
        for encoding in ("utf-8", "latin-1"):
            yield sent.decode(encoding, "replace").partition(":")[2]


def discreet(failure: Failure, *secrets: str | None) -> Failure:
    """@return: C{failure}, or one like it that says the same without these."""
    text = safe_str(failure.value)
    told = withoutSecrets(text, *secrets)
    if told == text:
        return failure
    copy = Failure.__new__(Failure)
    vars(copy).update(vars(failure))
    copy.value = _Told(told)
    return copy


class _Told(Exception):
    """What an exception said, less what it should not have."""
