"""Why a WebSocket would not be opened, for the page that could not: browsers give its script neither status nor reason.

The page GETs the same URL with an C{Accept} of its own, and the proxy answers what it would have refused it for::

    Accept: application/wsproxy-refusal+json  ──►  200 {"status": 403, "reason": "Origin not allowed"}
                                              ──►  200 {"status": 101, "reason": ""}, if it would not

A stranger's page may ask, but is not allowed to read the answer.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace

from twisted.web.http_headers import Headers

from wsproxy.errors import Refusal
from wsproxy.interfaces import Request

__all__ = ["TYPE", "asIfUpgraded", "asksForExplanation", "explanation"]

TYPE = "application/wsproxy-refusal+json"

_ORIGIN = re.compile("[^/?#]*//[^/?#]*")


def asksForExplanation(headers: Headers) -> bool:
    """Whether a GET with these headers asks for this, and not for a page."""
    return any(TYPE.encode("ascii") in value.lower() for value in headers.getRawHeaders(b"accept", ()))


def asIfUpgraded(request: Request) -> Request:
    """
    What the page's upgrade would look like to those who decide about it.

    Browsers send no C{Origin} with a GET of the page's own server. The C{Referer} begins with it.
    """
    headers = request.headers
    if "origin" in headers or "referer" not in headers:
        return request
    referer = headers["referer"]
    origin = _ORIGIN.match(referer)
    return replace(request, headers={**headers, "origin": referer if origin is None else origin[0]})


def explanation(refusal: Refusal | None) -> bytes:
    """@param refusal: what the upgrade would be answered; L{None} for 101."""
    status, reason = (101, "") if refusal is None else (refusal.status, refusal.reason)
    return json.dumps({"status": status, "reason": reason}).encode("ascii")
