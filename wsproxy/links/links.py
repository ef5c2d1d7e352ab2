"""Links: who comes, where it leads and until when, in one token that whoever has the key may make.

::

    a page   ?token=T ─► 302, and a cookie;  the cookie ─► the page            nothing is spent
    upgrade  ?token=T, or the cookie ─► authenticate ─► resolve ─► … ─► admit ─► 101
                                            sub          target         once

It is a JWT with HS256 (RFC 7519). Claims: C{target}, or C{host} and C{port}; C{exp}, which is demanded; C{sub}, C{nbf},
C{jti}, C{iat}, C{once}.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

from zope.interface import implementer

from wsproxy.access.secrets import shown
from wsproxy.errors import ConfigError, Refusal
from wsproxy.interfaces import Admitted, IAuthenticator, Identity, IResolver, ITurnstile, Request, Target
from wsproxy.jose.claims import Claims, TokenError, targetOf
from wsproxy.jose.verifier import Verifier
from wsproxy.links.cookie import LONGEST, cookieName, isInAddress, setCookie, withoutToken
from wsproxy.links.once import Once, Outcome
from wsproxy.links.ticket import Ticket, ticketOf

__all__ = ["Links", "Location"]

_LONGEST_NAME = 256

_CHALLENGE = ("WWW-Authenticate", 'Bearer realm="wsproxy"')
_QUIET = (("Referrer-Policy", "no-referrer"),)
"""What a page that is opened from here is not told: the address of this one."""


class Location(Protocol):
    """Where in a request its token is."""

    def of(self, request: Request) -> str | None: ...

    def find(self, request: Request) -> str:
        """@raise Refusal: there is none, or none can look like that."""


@implementer(IAuthenticator, IResolver, ITurnstile)
class Links:
    """
    Authenticator and resolver, and the last turnstile.

    @param location: where a link's token is, beside our cookie.
    @param asTarget: understands what a link says of its target. Raises L{ConfigError}.
    @param once: remembers which links have been used.
    @param now: the time of day, in seconds since the epoch.
    """

    def __init__(
        self,
        verifier: Verifier,
        location: Location,
        asTarget: Callable[[str], Target],
        once: Once,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._verifier = verifier
        self._location = location
        self._asTarget = asTarget
        self._once = once
        self._now = now

    def authenticate(self, request: Request) -> Identity | None:
        token = self._token(request)
        claims = self._claims(token)
        if request.page:
            return self._visitor(request, token, claims)
        name = claims.get("sub")
        return None if name is None else Identity(name, claims)

    def resolve(self, request: Request, identity: Identity | None) -> Target:
        """@param identity: as L{authenticate} has it, which has verified the token of those that have a name."""
        claims = identity.claims if identity is not None else self._claims(self._token(request))
        try:
            target = self._asTarget(targetOf(claims))
        except (TokenError, ConfigError) as error:
            _refuse(self._token(request), error)
        return Target(target.text, float(claims["exp"]), claims, target.proxyHeader, target.sockets)

    def token(self, request: Request) -> str | None:
        """@return: the token that a request came with, be it good or not."""
        return self._location.of(request) or request.cookies.get(cookieName(request.publicSecure))

    def admit(self, admitted: Admitted) -> Any:
        """A link that is good once is spent here: when everybody else has agreed, and not for a page."""
        ticket = ticketOf(admitted.target.claims)
        return None if ticket is None else self._spend(ticket, admitted.request.explaining)

    async def _spend(self, ticket: Ticket, pretend: bool) -> None:
        try:
            outcome = self._once.spend(ticket, pretend)
            if hasattr(outcome, "__await__"):
                outcome = await outcome
            if not isinstance(outcome, Outcome):
                raise TypeError(type(outcome).__name__)
        except Exception as error:  # Redis, the parent, or the way there
            cause = f"whether a link was used before, nobody can tell ({error or type(error).__name__})"
            raise Refusal(503, "Service unavailable", cause=cause) from None
        if outcome is not Outcome.GOOD:
            raise _REFUSALS[outcome]()

    def _token(self, request: Request) -> str:
        if self._location.of(request):
            return self._location.find(request)
        token = request.cookies.get(cookieName(request.publicSecure))
        if token:
            return token
        if request.page:
            raise Refusal(401, "Token missing", (_CHALLENGE,), cause="neither a link nor its cookie")
        return self._location.find(request)

    def _claims(self, token: str) -> Claims:
        """@raise Refusal: it is no link that holds."""
        try:
            claims = self._verifier.verify(token)
            ticketOf(claims)
            _checkName(claims)
        except TokenError as error:
            _refuse(token, error)
        return claims

    def _visitor(self, request: Request, token: str, claims: Claims) -> Identity:
        """@raise Refusal: it comes with the link, and is to come back with a cookie."""
        if isInAddress(request, token) and len(token) <= LONGEST:
            cookie = setCookie(token, request.publicSecure, float(claims["exp"]), self._now())
            headers = (("Location", withoutToken(request)), ("Set-Cookie", cookie), ("Cache-Control", "no-store"))
            raise Refusal(302, "The page is here, and the link is in a cookie", (*headers, *_QUIET))
        return Identity(claims.get("sub", ""), claims, _QUIET)


def _checkName(claims: Claims) -> None:
    name = claims.get("sub")
    if name is not None and not (isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME):
        raise TokenError(f"sub is no text of 1 to {_LONGEST_NAME} characters")


def _refuse(token: str, error: Exception) -> NoReturn:
    """As for every token that leads nowhere; why, only the log has."""
    raise Refusal(403, "Token not accepted", cause=f"link {shown(token)}: {error}", guess=True) from None


# Who reads these has a link that was good: a stranger learns nothing from them.
_REFUSALS: dict[Outcome, Callable[[], Refusal]] = {
    Outcome.USED: lambda: Refusal(403, "This link was good once, and has been used"),
    Outcome.OLD: lambda: Refusal(
        403,
        "This link is from before the last restart; ask for a new one",
        cause="whether it was used before that, only --cluster remembers",
    ),
    Outcome.UNDATED: lambda: Refusal(403, "Token not accepted", cause="a link with once needs iat, or --cluster"),
    Outcome.AHEAD: lambda: Refusal(
        403, "This link is not good yet; try again", cause="iat is in the future; do the clocks differ?"
    ),
    Outcome.UNKNOWN: lambda: Refusal(
        503, "Service unavailable", cause="whether a link was used before, nobody can tell: does --cluster answer?"
    ),
    Outcome.FULL: lambda: Refusal(
        503, "Service unavailable", cause="too many used links to remember; let them expire earlier, or use --cluster"
    ),
}
