"""The admin side of a process that serves clients, and of the one that speaks for all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from twisted.internet.interfaces import IOpenSSLServerConnectionCreator

from wsproxy.admin.crew import Crew
from wsproxy.admin.desk import Desk
from wsproxy.admin.history import History
from wsproxy.admin.levels import Levels
from wsproxy.admin.office import Office
from wsproxy.admin.reporting import Reporting
from wsproxy.admin.service import AdminService
from wsproxy.admin.tokens import TokenPlaces
from wsproxy.cluster.parent import Parent
from wsproxy.config import Config
from wsproxy.factory import WebSockifyFactory
from wsproxy.nodes.neighbours import Neighbours
from wsproxy.tls.server import ServerTLS

__all__ = ["answerAdmin", "makeAdmin", "makeDesk"]


class Serving(Protocol):
    """L{Proxy<wsproxy.service.proxy.Proxy>}, as far as it is watched."""

    @property
    def factory(self) -> WebSockifyFactory: ...

    @property
    def config(self) -> Config:
        """What is in force."""

    @property
    def listening(self) -> bool: ...


def makeDesk(reactor: Any, proxy: Serving, worker: int | None = None) -> Desk:
    """
    @param worker: see L{Desk}.
    """
    places = TokenPlaces(lambda: proxy.config)
    desk = Desk(reactor, proxy.factory.sessions, places.of, worker, lambda: proxy.listening)
    proxy.factory.shaken = desk.counts.shaken
    return desk


def answerAdmin(reactor: Any, proxy: Serving, parent: Parent, worker: int) -> None:
    """
    Have a worker answer its parent.

    @param proxy: what serves in it.
    """
    desk = makeDesk(reactor, proxy, worker)
    for verb, function in desk.verbs.items():
        parent.hear(verb, function)
    Reporting(reactor, desk, parent)


def makeAdmin(
    config: Config,
    reactor: Any,
    crew: Crew,
    levels: Levels,
    reload: Callable[[], Awaitable[str]],
    neighbours: Neighbours | None = None,
    upgrade: Callable[[], object] | None = None,
    left: Mapping[str, Any] | None = None,
) -> AdminService:
    """
    @param reload: what C{POST /reload} does: see L{Office}, as of the others.
    @param left: see L{AdminService}.
    @raise ConfigError: TLS is to be spoken, and cannot be.
    """
    history = History()
    office = Office(crew, history, levels, reload, neighbours, upgrade)
    tls: IOpenSSLServerConnectionCreator | None = None if config.tls is None else ServerTLS(config.tls)
    return AdminService(config.admin, reactor, crew, office, history, tls, left)
