"""The proxy as a service in somebody else's application: it listens, and ends in good order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from twisted.application.service import Service
from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsproxy.endpoints.listen import Listen, parseListen
from wsproxy.factory import WebSockifyFactory
from wsproxy.service.ports import Ports

__all__ = ["WebSockifyService"]


class WebSockifyService(Service):
    """
    Listens with a factory while it runs. At its end it stops the ports first, waits for sessions to end by themselves
    if it is told to, and closes the others with 1001. It may be started again.

    @param endpoints: where to listen: as C{--listen} takes it (C{"6080"}, C{"unix:/path"}, any Twisted server endpoint
        string), or as endpoints.
    @param drain: seconds that open sessions are given at the end; meanwhile new upgrades are answered 503.
    @raise ConfigError: a string is no endpoint.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        factory: WebSockifyFactory,
        endpoints: Sequence[str | IStreamServerEndpoint],
        drain: float = 0.0,
    ) -> None:
        self._reactor = reactor
        self._factory = factory
        self._listens = [_listenAt(reactor, endpoint) for endpoint in endpoints]
        self._drain = drain
        self._ports: Ports | None = None
        self._outcome: Failure | None = None
        self._bound = False
        self._waiting: list[Deferred[list[IListeningPort]]] = []

    def whenListening(self) -> Deferred[list[IListeningPort]]:
        """
        @return: fires with the ports when all are bound, at once if that is so now; fails with
            L{ConfigError<wsproxy.errors.ConfigError>} where one could not be. That is logged as well, and none is left
            open; the service runs on without.
        """
        waiting: Deferred[list[IListeningPort]] = Deferred()
        self._waiting.append(waiting)
        self._tell()
        return waiting

    def privilegedStartService(self) -> None:
        """Bind, while the process may still bind anything."""
        super().privilegedStartService()
        self._bind()

    def startService(self) -> None:
        super().startService()
        self._bind()

    def _bind(self) -> None:
        if self._ports is not None:
            return
        ports = self._ports = Ports(self._factory)
        bound = gatherResults([ports.listen(listen) for listen in self._listens], consumeErrors=True)
        bound.addCallbacks(lambda _: self._settle(None), self._unbound)

    def _unbound(self, failure: Failure) -> None:
        reason = cast(FirstError, failure.value).subFailure
        self._log.error("{error}", error=reason.getErrorMessage())
        if self._ports is not None:
            self._ports.stop()
        self._settle(reason)

    def _settle(self, outcome: Failure | None) -> None:
        self._bound, self._outcome = True, outcome
        self._tell()

    def _tell(self) -> None:
        if self._ports is None or not self._bound:
            return
        told, self._waiting = self._waiting, []
        for waiting in told:
            waiting.callback([*self._ports]) if self._outcome is None else waiting.errback(self._outcome)

    def stopService(self) -> Deferred[None]:
        """@return: fires when the last session is gone: C{drain} and 7 seconds later at most."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        ports, self._ports, self._bound = self._ports, None, False
        stopped = None if ports is None else ports.stop()
        if self._drain:
            reopen = self._factory.refuseNew()
            idle = self._factory.sessions.whenIdle().addTimeout(self._drain, self._reactor)
            await idle.addErrback(lambda _: None)
            reopen()
        await self._factory.closeAll()
        if stopped is not None:
            await stopped


def _listenAt(reactor: Any, endpoint: str | IStreamServerEndpoint) -> Listen:
    return parseListen(reactor, endpoint) if isinstance(endpoint, str) else Listen(type(endpoint).__name__, endpoint)
