"""How a page that was opened by a link keeps it: a cookie, and the page's address without the token.

::

    GET /vnc.html?token=T&scale=1 ─► 302, Location: /vnc.html?scale=1, Set-Cookie: …=T
    GET /vnc.html?scale=1, Cookie: …=T ─► the page, and all that belongs to it
    GET /, Upgrade: websocket, Cookie: …=T ─► 101

An address is in the history, in bookmarks and in what people pass on; no script can read the cookie.
"""

from __future__ import annotations

import string
from email.utils import formatdate
from urllib.parse import quote, unquote_plus

from wsproxy.interfaces import Request

__all__ = ["LONGEST", "PARAMETER", "cookieName", "isInAddress", "setCookie", "withoutToken"]

PARAMETER = "token"

LONGEST = 3800
"""Characters of a token in a cookie, of which browsers keep 4096 bytes, name and attributes included."""


def cookieName(secure: bool) -> str:
    """
    Over TLS one that only this host can set, for all of it (RFC 6265bis section 4.1.3.2): with another, a neighbour in
    the same domain could send people to where I{its} link leads.
    """
    return "__Host-wsproxy-link" if secure else "wsproxy-link"


def setCookie(token: str, secure: bool, expires: float, now: float) -> str:
    """
    @param expires: when the token does; seconds since the epoch.
    @return: the value of the header. Without C{Domain}, it is for this host alone.
    """
    attributes = [
        f"{cookieName(secure)}={token}",
        "Path=/",
        f"Max-Age={max(int(expires - now), 0)}",
        f"Expires={formatdate(expires, usegmt=True)}",
        "HttpOnly",
        "SameSite=Lax",
        *(["Secure"] if secure else []),
    ]
    return "; ".join(attributes)


def isInAddress(request: Request, token: str) -> bool:
    """Whether the token came where people see it."""
    return token in request.queryAll.get(PARAMETER, ())


def withoutToken(request: Request) -> str:
    """
    @return: the request's address without the token: a path of this host, whatever a browser makes of slashes, of
        backslashes, and of the control characters that it passes over.
    """
    path = "/" + request.path.lstrip("/\\")
    kept = [pair for pair in request.rawQuery.split("&") if unquote_plus(pair.partition("=")[0]) != PARAMETER]
    query = "&".join(kept)
    address = f"{path}?{query}" if query else path
    return quote(address.encode("latin-1", "replace"), safe=_AS_IT_IS)


_AS_IT_IS = string.ascii_letters + string.digits + string.punctuation
