"""Auth classes of the original's contract: asked after the lookup, about where the client is to be led.

::

    request ─► the resolver ─► target, or no ─► authenticate(headers=…, target_host=…, target_port=…) ─► target, or no
                                                       └─► AuthenticationError ─► a refusal

Their refusal goes out before the resolver's: who may not come in does not learn whether a token is good, by bytes. By
work it may, which is what these classes are made of; the proxy's own are asked before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from zope.interface import implementer

from wsproxy.access.redaction import secretsOf, withoutSecrets
from wsproxy.endpoints.target import TCPTarget, parseTarget
from wsproxy.errors import ConfigError, Refusal
from wsproxy.interfaces import AnyResolver, IAuthenticator, Identity, IResolver, Request, Target
from wsproxy.plugins.blocking import BlockingPlugin, finished
from wsproxy.plugins.headers import asMessage

__all__ = ["OldAuth", "asRefusal"]

_ERROR = "AuthenticationError"


@implementer(IAuthenticator, IResolver)
class OldAuth:
    """
    @param plugin: of which C{authenticate} is called, in several threads at a time.
    @param name: for the log.
    @param resolver: where requests lead.
    @param tokens: whether a token says so. Without, pages have the same target. The port is then an C{int}; that of a
        token is what the C{resolver}'s method C{portAs} makes of it, or a C{str}.
    """

    def __init__(self, plugin: Any, name: str, reactor: Any, resolver: AnyResolver, *, tokens: bool) -> None:
        self._ask = plugin.authenticate
        self._calls = BlockingPlugin(name, reactor)
        self._resolve: Any = getattr(resolver, "resolve", resolver)
        self._tokens = tokens
        self._port: Callable[[str], Any] = getattr(resolver, "portAs", str) if tokens else int

    def authenticate(self, request: Request) -> Deferred[Any] | None:
        """Of pages, for which nothing is looked up; of others, L{resolve} asks."""
        if not request.page:
            return None
        if self._tokens:
            return self._authenticate(request, None, None)
        return self.resolve(request, None).addCallback(lambda target: None)

    def resolve(self, request: Request, identity: Identity | None) -> Deferred[Target | str]:
        return ensureDeferred(self._resolveAndAsk(request, identity))

    async def _resolveAndAsk(self, request: Request, identity: Identity | None) -> Target | str:
        try:
            target = self._resolve(request, identity)
            if hasattr(target, "__await__"):
                target = await target
            place = self._place(target)
        except CancelledError:
            raise
        except Exception:
            await self._authenticate(request, None, None)
            raise
        await self._authenticate(request, *place)
        answer: Target | str = target
        return answer

    def _authenticate(self, request: Request, host: Any, port: Any) -> Deferred[Any]:
        def ask() -> None:
            answer = finished(self._ask(headers=asMessage(request), target_host=host, target_port=port))
            if answer is False:
                raise TypeError("it answered False; it refuses by raising AuthenticationError")

        tried = "authorization" in request.headers
        return self._calls.call(
            ask, lambda: secretsOf(request), lambda error: asRefusal(error, secretsOf(request), tried)
        )

    def _place(self, target: Target | str) -> tuple[Any, Any]:
        try:
            parsed = parseTarget(str(target))
        except ConfigError:
            return None, None
        if not isinstance(parsed, TCPTarget):
            return None, None
        return parsed.host, self._port(str(parsed.port))


def asRefusal(error: BaseException, secrets: tuple[str, ...] = (), tried: bool = False) -> Refusal | None:
    """
    @param error: what an old class raised: ours, an installed original's, or of a class by that name.
    @param secrets: what the log does without.
    @param tried: whether there were credentials.
    @return: what the client is told; L{None} for what is not a refusal.
    """
    if all(kind.__name__ != _ERROR for kind in type(error).__mro__):
        return None  # much else has the same attributes, urllib's HTTPError for one
    code, headers = getattr(error, "code", None), getattr(error, "headers", None) or {}
    if not isinstance(code, int) or not isinstance(headers, Mapping):
        return None
    return Refusal(
        code,
        str(getattr(error, "msg", None) or _phrase(code)),
        tuple((str(name), str(value)) for name, value in headers.items()),
        cause=withoutSecrets(_said(error, code), *secrets),
        guess=tried and code == HTTPStatus.UNAUTHORIZED,
    )


def _said(error: BaseException, code: int) -> str:
    """Its words for the log, which begin with the code, and are C{None} where there are none."""
    text = str(error).removeprefix(f"{code} ")
    return "" if text == "None" else text


def _phrase(code: int) -> str:
    try:
        return HTTPStatus(code).phrase
    except ValueError:
        return "Refused"
