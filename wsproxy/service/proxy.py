"""A proxy as a service: it listens, says so, and ends in good order."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, cast

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, FirstError, gatherResults, succeed
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsproxy.access.peer import printable
from wsproxy.config import Config, LifetimeConfig
from wsproxy.endpoints.listen import Bindable, parseListen
from wsproxy.endpoints.weburl import discreetTarget
from wsproxy.errors import Refusal
from wsproxy.escape import escape
from wsproxy.factory import WebSockifyFactory
from wsproxy.interfaces import IStatusStop, Request
from wsproxy.process.supervisor import Supervisor
from wsproxy.recording.recorder import Recordings
from wsproxy.service.lifetime import Lifetime
from wsproxy.service.ports import Ports
from wsproxy.sessions.trace import Trace
from wsproxy.static_web.entry import entryPath
from wsproxy.tls.server import ServerTLS

__all__ = ["CLOSING", "LAST_WORDS", "Proxy", "abandonPrograms", "announce", "announceRoom"]

RESERVED_DESCRIPTORS = 64
"""Descriptors left aside for files, logs and name servers when the capacity is told."""

RECORDING = 6.5
"""Seconds from the beginning of the end for recordings to be written: enough for a gigabyte or two."""

LAST_WORDS = 5.0
"""Seconds that clients are given to take what a program wrote before it ended, and the proxy with it."""

CLOSING = 5.0
"""Seconds until sessions are aborted that do not end by themselves, which may take 1 more: L{wsproxy.daemon.exit}."""


class Proxy(MultiService):
    """Listens, and ends in good order.

    @param listens: where.
    @param announce: says in the log what listens there; L{None} where another process has.
    @ivar started: fires when every listener is bound; fails with L{ConfigError} when one cannot be.
    @ivar serving: fires with C{started}, where that does not fail.
    """

    _log = Logger()

    def __init__(
        self,
        lifetime: LifetimeConfig,
        listens: Sequence[Bindable],
        reactor: Any,
        factory: WebSockifyFactory,
        tls: ServerTLS | None,
        recordings: Recordings | None,
        stopper: IStatusStop,
        announce: Callable[[Logger, IListeningPort], None] | None,
    ) -> None:
        super().__init__()
        self.started: Deferred[None] = Deferred()
        self.serving: Deferred[None] = Deferred()
        self._drainFor = lifetime.drain
        self._listens = listens
        self._reactor = reactor
        self._factory = factory
        self._tls = tls
        self._stopper = stopper
        self._recordings = recordings
        self._announceOne = announce
        self._ports = Ports(factory)
        self._endBy: float | None = None
        self._fronts: set[str] | None = set()
        self._lifetime = Lifetime(reactor, lifetime, factory.sessions, self._stopListening, partial(stopper.stop, 0))

    def privilegedStartService(self) -> None:
        """Bind, while the process may still bind anything."""
        super().privilegedStartService()
        bound = gatherResults([self._ports.listen(listen) for listen in self._listens], consumeErrors=True)
        bound.addCallbacks(self._bound, self._unbound)

    def front(self, text: str) -> None:
        """Listen at this C{--listen} value as well, which a wrapped program has asked for; once, and as long as any."""
        if self._fronts is None or text in self._fronts:
            return
        self._fronts.add(text)
        listening = self._ports.listen(parseListen(self._reactor, text))
        listening.addCallback(self._announce)
        listening.addErrback(self._unfronted, text)

    def _unfronted(self, failure: Failure, text: str) -> None:
        self._log.error("{error}", error=failure.getErrorMessage())
        if self._fronts is not None:
            self._fronts.discard(text)

    def fronts(self, port: int) -> bool:
        """Whether we listen on this port because a wrapped program has asked for it."""
        return any(text.rpartition(":")[2] == str(port) for text in self._fronts or ())

    def _announce(self, ports: Iterable[IListeningPort]) -> None:
        if self._announceOne is not None:
            for port in ports:
                self._announceOne(self._log, port)

    def _bound(self, _: object) -> None:
        self._announce(self._ports)
        if self._announceOne is not None:
            announceRoom(self._log)
        self._lifetime.start()
        self.serving.callback(None)
        self.started.callback(None)

    def _unbound(self, failure: Failure) -> None:
        self._stopListening()
        self.started.errback(cast(FirstError, failure.value).subFailure)

    def _stopListening(self) -> Deferred[Any]:
        """@return: fires when no listener is left, including those that were stopped before."""
        self._fronts = None
        return self._ports.stop()

    def drain(self) -> Deferred[None]:
        """
        Take no more clients.

        @return: fires when the last session is gone, or when C{--drain} is over; L{stopService} closes the others.
        """
        self._lifetime.cancel()
        self._stopListening()
        if not self._drainFor:
            return succeed(None)
        self._factory.refuseNew()
        idle = self._factory.sessions.whenIdle().addTimeout(self._drainFor, self._reactor)
        return idle.addErrback(lambda _: None)

    def end(self, status: int) -> None:
        """The wrapped program has ended, and so does the proxy when clients have taken what the program said last."""
        self._lifetime.cancel()
        self._stopListening()
        self._endBy = self._reactor.seconds() + LAST_WORDS + 1
        sessions = self._factory.sessions
        sessions.refuseNew("Program ended")
        idle = sessions.whenIdle().addTimeout(LAST_WORDS, self._reactor)
        idle.addErrback(lambda _: None).addCallback(lambda _: self._stopper.stop(status))

    def stopService(self) -> Deferred[None]:
        """@return: fires when all is over, L{CLOSING} seconds later at most but for the wrapped program."""
        self._lifetime.cancel()
        now = self._reactor.seconds()
        within = CLOSING if self._endBy is None else min(CLOSING, max(0.5, self._endBy - now))
        # the sessions first: a wrapped program that is told to end closes its side of them
        closed = self._factory.closeAll(within)
        ending = gatherResults([self._stopListening(), closed, super().stopService()])
        recorded = now + RECORDING
        return ending.addCallback(lambda _: None if self._recordings is None else self._recordings.finish(recorded))

    @property
    def factory(self) -> WebSockifyFactory:
        """What serves here."""
        return self._factory

    @property
    def listening(self) -> bool:
        """Whether anybody listens."""
        return any(True for _ in self._ports)

    @property
    def addresses(self) -> Sequence[IAddress]:
        """Where it has listened so far."""
        return self._ports.addresses

    def explain(self, request: Request, trace: Trace) -> Deferred[Refusal | None]:
        """See L{Reception.explain<wsproxy.sessions.reception.Reception.explain>}."""
        return self._factory.sessions.explain(request, trace)

    def shownPath(self, request: Request) -> str:
        """What the log says of its path."""
        shown = self._factory.sessions.shownPath
        return request.path if shown is None else shown(request)

    @property
    def sessions(self) -> int:
        """How many there are."""
        return len(self._factory.sessions)

    def isWell(self, within: float) -> Deferred[bool]:
        """It is, for it can answer."""
        return succeed(True)

    def reload(self) -> None:
        """Look at the certificate files now."""
        if self._tls is not None:
            self._tls.reload()

    def abandon(self, number: int = signal.SIGTERM) -> None:
        """There is no other process to care for but a wrapped program's."""
        abandonPrograms(self, number)


def abandonPrograms(parent: MultiService, number: int) -> None:
    """Signal all of each program that is wrapped here: nobody will be there to wait for its end."""
    for service in parent:
        if isinstance(service, Supervisor):
            service.abandon(number)


def announce(log: Logger, config: Config, port: IListeningPort) -> None:
    """Say what listens there, and what page to open."""
    scheme = "http" if config.tls is None else "https" if config.tls.only else "http and https"
    raw = config.clients.rawOnly
    log.info(
        "Listening on {host} ({scheme}), leading to {target}",
        host=printable(port.getHost()),
        scheme="raw" if raw else scheme,
        target=_told(config),
    )
    number, web = getattr(port.getHost(), "port", None), config.web
    path = entryPath(web.directory, index=web.index, listing=web.listing, own=web.pages)
    if number is not None and path is not None and not raw:
        scheme = "https" if scheme == "https" else "http"
        log.info("Open {scheme}://localhost:{port}{path}", scheme=scheme, port=number, path=path)


def _told(config: Config) -> str | None:
    """Where all of it leads."""
    if config.program is not None:
        return escape(config.program.words[0])
    return discreetTarget(config.target.endpoint or "where each token says")


def announceRoom(log: Logger, processes: int = 1) -> None:
    """Say how many sessions so many processes have descriptors for."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    log.info(
        "Room for {sessions} sessions ({limit} descriptors{each})",
        sessions=max(0, limit - RESERVED_DESCRIPTORS) // 2 * processes,
        limit=limit,
        each="" if processes == 1 else f" for each of {processes} workers",
    )
