"""Tokens that an HTTP service knows: C{BaseTokenAPI}, which answers C{HOST:PORT}, and C{JSONTokenApi}, in JSON.

::

    GET https://tokens.example/%s  ─┬─ 2xx                     where the token leads
                                    ├─ 4xx                     it is unknown
                                    └─ anything else, or none  nobody knows: the client is told 503

The token takes the place of C{%s}, percent-encoded whole: it can neither end the path nor begin a query. (As in the
original another percent sign of the URL is written twice.) A service that wants credentials (401, 407), that is too
busy (408, 425, 429) or leads elsewhere (3xx) has said nothing of the token.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from twisted.internet.defer import Deferred
from twisted.web.http_headers import Headers

from wsproxy.access.secrets import shown
from wsproxy.dialling.webservice import WebService, WebServiceError
from wsproxy.errors import ConfigError
from wsproxy.interfaces import Target
from wsproxy.tokens.location import notAccepted
from wsproxy.tokens.resolver import unavailable
from wsproxy.tokens.targets import asTarget, fromPair

__all__ = ["BaseTokenAPI", "JSONTokenApi"]

_UNKNOWN = frozenset(range(400, 500)) - {401, 407, 408, 425, 429}
_TRIED = "token"
"""In place of a token, to see where that would be."""


class BaseTokenAPI:
    """
    @param source: the URL.
    @param reactor: for L{WebService}.
    @raise ConfigError: it is none, or has no place for the token in its path or query.
    """

    _accepted = b"text/plain"

    def __init__(self, source: str, reactor: Any, service: Callable[[Any], WebService] = WebService) -> None:
        self._url, credentials = _checked(source)
        self._service = service(reactor)
        self._headers = Headers({b"accept": [self._accepted], b"user-agent": [b"wsproxy"]})
        if credentials is not None:
            self._headers.setRawHeaders(b"authorization", [b"Basic " + b64encode(credentials.encode())])

    def close(self) -> Deferred[None]:
        """See L{WebService.close}."""
        return self._service.close()

    async def lookup(self, token: str) -> Target | None:
        try:
            url = (self._url % _quoted(token)).encode("ascii")
            answer = await self._service.get(url, self._headers)
        except WebServiceError as error:
            raise unavailable(f"the token service: {error}") from None
        if answer.status in _UNKNOWN:
            return None
        if not 200 <= answer.status < 300:
            raise unavailable(f"the token service answers {answer.status}")
        try:
            return self.target(answer.body.decode("utf-8"))
        except (ConfigError, ValueError, RecursionError) as error:
            why = str(error) if isinstance(error, ConfigError) else f"{type(error).__name__}"
            raise unavailable(f"the token service answers for {shown(token)} what is no target: {why}") from None

    def target(self, text: str) -> Target:
        """
        @param text: an answer.
        @raise ConfigError: it says nothing; likewise L{ValueError}.
        """
        return asTarget(text)


class JSONTokenApi(BaseTokenAPI):
    """The answer is an object with C{host} and C{port}."""

    _accepted = b"application/json"

    def target(self, text: str) -> Target:
        answer = json.loads(text)
        if not isinstance(answer, dict) or "host" not in answer or "port" not in answer:
            raise ConfigError("no object with host and port")
        return fromPair((answer["host"], answer["port"]))


def _quoted(token: str) -> str:
    """@raise Refusal: it is a step of a path, however it is written; or no text."""
    if token in (".", ".."):
        raise notAccepted("a token of dots")
    try:
        return quote(token, safe="")
    except UnicodeEncodeError:
        raise notAccepted("a token that is no text") from None


def _checked(source: str) -> tuple[str, str | None]:
    """@return: the URL without credentials, and these, C{user:password}."""
    try:
        tried = urlsplit(source % _TRIED)
        url = urlsplit(source)
        proper = url.scheme in ("http", "https") and bool(url.hostname) and tried.port != 0 and not url.fragment
        proper = proper and source.isascii() and source.isprintable() and " " not in source
        place = source.replace("%%", "").count("%s") == 1 and "%s" not in url.netloc and tried != url
    except (TypeError, ValueError):  # no place, or several; or percent signs of another kind; or no URL
        proper = place = False
    if not (proper and place):
        raise ConfigError(
            "--token-source: expected http://HOST[:PORT]/PATH/%s, or https:, with %s in path or query for the token, "
            "and %% for each other percent sign"
        )
    user, at, host = url.netloc.rpartition("@")
    return urlunsplit(url._replace(netloc=host)), _credentials(user) if at else None


def _credentials(user: str) -> str:
    return unquote(user.replace("%%", "%"))
