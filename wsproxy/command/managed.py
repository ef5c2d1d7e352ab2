"""A proxy under a service manager: what that is told of a start, of signals and of the end."""

from __future__ import annotations

import signal
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsproxy.daemon.handover import serves
from wsproxy.daemon.servicemanager import ServiceManager
from wsproxy.service.proxy import Proxy
from wsproxy.workers.parent import Workers

__all__ = ["RELOADED_WITHIN", "Managed"]

RELOADED_WITHIN = 30.0
"""Seconds until a reload counts as over, whoever has not answered."""


class Managed:
    """A L{Stoppable<wsproxy.daemon.exit.Stoppable>}: C{proxy}, with a C{manager} that is told."""

    _log = Logger()

    def __init__(self, proxy: Proxy | Workers, reactor: Any, manager: ServiceManager) -> None:
        self._proxy = proxy
        self._reactor = reactor
        self._manager = manager

    def begin(self) -> None:
        """It has been started: say so when it serves, and when the process has become what it is to be."""

        def ready(_: None) -> None:
            self._reactor.callWhenRunning(self._serves)

        self._proxy.serving.addCallback(ready)

    def _serves(self) -> None:
        serves()
        self._manager.ready()
        self._manager.watchOver(self._reactor, self._proxy.isWell)

    def end(self) -> None:
        """It ends, for whatever reason."""
        self._manager.stopping()

    def drain(self) -> Deferred[None]:
        self._manager.stopping()
        return self._proxy.drain()

    def reload(self) -> None:
        self._manager.reloading()
        reloaded: Deferred[Any] = maybeDeferred(self._proxy.reload)
        reloaded.addErrback(self._failed)
        reloaded.addCallback(lambda _: self._proxy.isWell(RELOADED_WITHIN))
        reloaded.addErrback(self._failed)
        reloaded.addCallback(lambda _: self._manager.ready())

    def upgrade(self) -> None:
        """Whichever code goes on says that it is ready."""
        self._manager.reloading()
        upgraded: Deferred[Any] = maybeDeferred(self._proxy.upgrade)
        upgraded.addErrback(self._failed)
        upgraded.addCallback(lambda _: self._manager.ready())

    def _failed(self, failure: Failure) -> None:
        self._log.failure("Reloading failed", failure)

    def abandon(self, number: int = signal.SIGTERM) -> None:
        self._proxy.abandon(number)
