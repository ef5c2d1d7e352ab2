"""From a request to its target, by a token: what all tokens have in common, wherever they are looked up.

::

    Request ─► TokenLocation ─► a token ─► lookup ─► Target
                    │                        │
                    ▼                        ▼
             Token not accepted    Token not accepted, or 503

Whoever looks tokens up is a L{TokenSource}: an object with one method, made of the C{--token-source} that it is given
(L{wsproxy.tokens.plugins} has those by name). It is asked for one token at a time, which has neither control characters
nor an unreasonable length, but may otherwise be anything: a path, a pattern, another's URL.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Protocol

from zope.interface import implementer

from wsproxy.access.secrets import shown
from wsproxy.errors import ConfigError, Refusal
from wsproxy.interfaces import Identity, IResolver, Request, Target
from wsproxy.tokens.location import TokenLocation, notAccepted
from wsproxy.tokens.targets import asTarget, fromPair

__all__ = ["TokenResolver", "TokenSource", "unavailable"]


class TokenSource(Protocol):
    """Where tokens are looked up."""

    def lookup(self, token: str) -> Any:
        """
        @return: a L{Target}, or what L{asTarget} or L{fromPair} understand; L{None} for a token that is unknown; or
            something to await for one of these.
        @raise Refusal: L{notAccepted} for a token of which there is more to say in the log, or L{unavailable}. Whatever
            else is raised is logged with its traceback, and the client told 503.
        """


def unavailable(cause: str) -> Refusal:
    """
    @return: what is said where nobody knows whether a token is good.
    @param cause: why not, for the log; it names no token.
    """
    return Refusal(503, "Service unavailable", cause=cause)


@implementer(IResolver)
class TokenResolver:
    """
    A L{Target} that the source answers is taken as it is; other words are anybody's, and name no sockets.

    @param sockets: pairs that it answers are its own words, and may name them.
    """

    def __init__(self, location: TokenLocation, source: TokenSource, *, sockets: bool = False) -> None:
        self._location = location
        self._source = source
        self._sockets = sockets

    def resolve(self, request: Request, identity: Identity | None) -> Any:
        token = self._location.find(request)
        answer = self._source.lookup(token)
        if type(answer) is Target:
            return answer
        if hasattr(answer, "__await__"):
            return self._later(answer, token)
        return self._target(answer, token)

    async def _later(self, answer: Awaitable[Any], token: str) -> Target:
        return self._target(await answer, token)

    def _target(self, answer: Any, token: str) -> Target:
        if answer is None:
            raise notAccepted(f"token {shown(token)} is unknown")
        try:
            match answer:
                case Target():
                    return answer
                case str():
                    return asTarget(answer)
                case tuple() | list():
                    return fromPair(answer, self._sockets and answer[:1] in (("unix_socket",), ["unix_socket"]))
        except ConfigError as error:
            raise unavailable(f"token {shown(token)} leads nowhere: {error}") from None
        raise TypeError(f"a token was answered with {type(answer).__name__}")

    def token(self, request: Request) -> str | None:
        """@return: the token that a request came with, be it good or not."""
        return self._location.of(request)

    def portAs(self, port: str) -> Any:
        """@return: this port of a target as the source answers them, which old classes are given."""
        return getattr(self._source, "portAs", str)(port)

    def stillGood(self, token: str) -> bool:
        """Whether this token, which was accepted once, would still be. Where nobody can tell, it is."""
        ask = getattr(self._source, "stillGood", None)
        return ask is None or bool(ask(token))
