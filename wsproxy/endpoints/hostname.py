"""Names of hosts, as they may be asked for."""

from __future__ import annotations

import re

from twisted.internet.abstract import isIPAddress

__all__ = ["asciiName"]

_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?", re.IGNORECASE | re.ASCII)


def asciiName(name: str) -> str:
    """
    @return: C{name}, or an IPv4 address, in ASCII: IDNA encoded.
    @raise ValueError: it cannot be a host name (RFC 1123 section 2.1, underscores allowed). Such a name
        must not reach Twisted's resolver, which never answers for a name that its encoding step rejects.
    """
    try:
        encoded = name if name.isascii() else name.encode("idna").decode("ascii")
    except UnicodeError:
        encoded = ""
    if not isIPAddress(encoded) and not _NAME.fullmatch(encoded):
        raise ValueError("not a host name")
    return encoded
