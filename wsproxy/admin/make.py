"""The admin side of a process that serves clients, and of the one that speaks for all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.interfaces import IOpenSSLServerConnectionCreator

from wsproxy.admin.crew import Crew
from wsproxy.admin.desk import Desk
from wsproxy.admin.history import History
from wsproxy.admin.levels import Levels
from wsproxy.admin.office import Office
from wsproxy.admin.reporting import Reporting
from wsproxy.admin.service import AdminService
from wsproxy.cluster.parent import Parent
from wsproxy.config import Config
from wsproxy.factory import WebSockifyFactory
from wsproxy.interfaces import Request
from wsproxy.links.cookie import cookieName
from wsproxy.tls.server import ServerTLS
from wsproxy.tokens.plugin import locationOf

__all__ = ["answerAdmin", "makeAdmin", "makeDesk"]


def makeDesk(
    config: Config,
    reactor: Any,
    factory: WebSockifyFactory,
    listening: Callable[[], bool],
    reload: Callable[[], object],
    worker: int | None = None,
) -> Desk:
    """
    @param worker: see L{Desk}, as with the others.
    """
    desk = Desk(reactor, factory.sessions, _tokenOf(config), worker, listening, reload)
    factory.shaken = desk.counts.shaken
    return desk


def answerAdmin(config: Config, reactor: Any, proxy: Any, parent: Parent, worker: int) -> None:
    """
    Have a worker answer its parent.

    @param proxy: the L{Proxy<wsproxy.service.proxy.Proxy>} that serves in it.
    """
    if not config.admin.wanted:
        return
    desk = makeDesk(config, reactor, proxy.factory, lambda: proxy.listening, proxy.reload, worker)
    for verb, function in desk.verbs.items():
        parent.hear(verb, function)
    Reporting(reactor, desk, parent)


def makeAdmin(
    config: Config,
    reactor: Any,
    crew: Crew,
    levels: Levels,
    reload: Callable[[], Awaitable[str]] | None = None,
) -> AdminService:
    """
    @param reload: what C{POST /reload} does; by default all look at their certificates.
    @raise ConfigError: TLS is to be spoken, and cannot be.
    """
    history = History()

    async def reloadCertificates() -> str:
        await crew.ask("admin.reload")
        return "certificates"

    office = Office(crew, history, levels, reload or reloadCertificates)
    tls: IOpenSSLServerConnectionCreator | None = None if config.tls is None else ServerTLS(config.tls)
    return AdminService(config.admin, reactor, crew, office, history, tls)


def _tokenOf(config: Config) -> Callable[[Request], str | None] | None:
    """Where requests have their tokens, as those say who know them: L{wsproxy.entrance}."""
    location = locationOf(config.tokens)
    if config.links.key is not None:
        return lambda request: location.of(request) or request.cookies.get(cookieName(request.publicSecure))
    return location.of if config.tokens.areKnown else None
