"""Those who decide about clients, as the settings have them: the wiring diagram of the way in.

::

    gates ─► origin ─► authenticator ─► resolver ─► authoriser ─► turnstiles ─► a session
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from wsproxy.config import AuthenticationConfig, Config
from wsproxy.interfaces import AnyAuthenticator, AnyAuthoriser, AnyGate, AnyResolver, AnyTurnstile, Request

__all__ = ["Entrance", "makeEntrance"]


@dataclass(frozen=True, slots=True)
class Entrance:
    """What L{WebSockifyFactory<wsproxy.factory.WebSockifyFactory>} takes under these names."""

    resolver: AnyResolver
    authenticator: AnyAuthenticator | None = None
    authoriser: AnyAuthoriser | None = None
    gates: tuple[AnyGate, ...] = ()
    turnstiles: tuple[AnyTurnstile, ...] = ()
    webAuth: bool = False
    shownPath: Callable[[Request], str] | None = None

    def asKeywords(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


def makeEntrance(config: Config, reactor: Any, resolver: AnyResolver) -> Entrance:
    """
    @param resolver: where sessions lead where no token says so.
    @raise ConfigError: it cannot be as it is configured.
    """
    authenticator: AnyAuthenticator | None = None
    if config.authentication != _NOBODY:
        from wsproxy.authentication.plugin import makeAuthenticator  # late: 20 ms of twisted.cred, for some

        authenticator, resolver = makeAuthenticator(config.authentication, reactor, resolver, tokens=False)
    return Entrance(resolver, authenticator, webAuth=config.authentication.web)


_NOBODY = AuthenticationConfig()
