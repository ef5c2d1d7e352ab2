"""A proxy as a service: it listens, says so, and ends in good order."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred, DeferredList, FirstError, gatherResults, maybeDeferred, succeed
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsproxy.access.peer import printable
from wsproxy.config import Config
from wsproxy.endpoints.listen import Bindable, Listen, parseListen
from wsproxy.endpoints.weburl import discreetTarget
from wsproxy.errors import ConfigError, Refusal
from wsproxy.escape import escape
from wsproxy.factory import WebSockifyFactory
from wsproxy.interfaces import IStatusStop, Request
from wsproxy.nodes.neighbours import Neighbours
from wsproxy.process.supervisor import Supervisor
from wsproxy.recording.recorder import Recordings
from wsproxy.service.lifetime import Lifetime
from wsproxy.service.ports import Ports
from wsproxy.service.renewal import Renewal, distinct, ofListener, ownTLS
from wsproxy.sessions.trace import Trace
from wsproxy.static_web.entry import entryPath
from wsproxy.tls.server import ServerTLS

__all__ = ["CLOSING", "LAST_WORDS", "RETIRING", "Fitting", "Proxy", "abandonPrograms", "announce", "announceRoom"]

RESERVED_DESCRIPTORS = 64
"""Descriptors left aside for files, logs and name servers when the capacity is told."""

RECORDING = 6.5
"""Seconds from the beginning of the end for recordings to be written: enough for a gigabyte or two."""

LAST_WORDS = 5.0
"""Seconds that clients are given to take what a program wrote before it ended, and the proxy with it."""

RETIRING = 30.0
"""Seconds that connections are given to become sessions when no more are taken: the stages of a slow client's way."""

_LOOK = 0.25
"""Seconds between two looks at whether they have."""

CLOSING = 5.0
"""Seconds until sessions are aborted that do not end by themselves, which may take 1 more: L{wsproxy.daemon.exit}."""


@dataclass(frozen=True, slots=True)
class Fitting:
    """
    What becomes of settings, but for where it listens: made at the start, and anew where they change.

    @ivar factory: receives clients.
    @ivar services: what has to be started and stopped with it.
    @ivar own: by their names, the TLS sides of listeners that have one of their own.
    """

    config: Config
    factory: WebSockifyFactory
    tls: ServerTLS | None
    recordings: tuple[Recordings, ...] = ()
    services: tuple[IService, ...] = ()
    own: Mapping[str, ServerTLS | None] = field(default_factory=dict)


class Proxy(MultiService):
    """Listens, and ends in good order.

    @param listens: where.
    @param announce: says in the log what listens there; L{None} where another process has.
    @ivar started: fires when every listener is bound; fails with L{ConfigError} when one cannot be.
    @ivar serving: fires with C{started}, where that does not fail.
    @ivar renewal: takes settings that have changed.
    @ivar neighbours: the other nodes of its cluster.
    """

    refit: Callable[[Config], Fitting]
    _limit: Callable[[Config], None]
    _parse: Callable[[str, str], Listen]
    _log = Logger()

    def __init__(
        self,
        fitting: Fitting,
        listens: Sequence[Bindable],
        reactor: Any,
        stopper: IStatusStop,
        announce: Callable[[Logger, Config, IListeningPort], None] | None,
    ) -> None:
        super().__init__()
        self.started: Deferred[None] = Deferred()
        self.serving: Deferred[None] = Deferred()
        lifetime, factory = fitting.config.lifetime, fitting.factory
        self._drainFor = lifetime.drain
        self._listens = listens
        self._reactor = reactor
        self._config = fitting.config
        self._factory = factory
        self._tls, self._own = fitting.tls, dict(fitting.own)
        self._beside = {
            name: factory.beside(tls, _isTLSOnly(ofListener(fitting.config, name))) for name, tls in self._own.items()
        }
        self._stopper = stopper
        self._recordings = fitting.recordings
        self._services = fitting.services
        self._announceOne = announce
        self._ports = Ports(factory)
        self._endBy: float | None = None
        self._fronts: set[str] | None = set()
        self.renewal = Renewal(None, self.prepare, self.lookAtCertificates)
        self.neighbours: Neighbours | None = None
        self._lifetime = Lifetime(reactor, lifetime, factory.sessions, self._stopListening, partial(stopper.stop, 0))
        for service in fitting.services:
            service.setServiceParent(self)

    def privilegedStartService(self) -> None:
        """Bind, while the process may still bind anything."""
        super().privilegedStartService()
        bound = gatherResults([self._listenAt(listen) for listen in self._listens], consumeErrors=True)
        bound.addCallbacks(self._bound, self._unbound)

    def _listenAt(self, listen: Bindable) -> Deferred[list[IListeningPort]]:
        return self._ports.listen(listen, self._beside.get(str(listen)))

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
                self._announceOne(self._log, ofListener(self._config, self._ports.nameOf(port)), port)

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

    def retire(self) -> Deferred[None]:
        """
        Leave new clients to others that listen there as well; whoever has connected so far may still become a session.

        @return: fires when the last connection has ended.
        """
        self._lifetime.cancel()
        self._stopListening()
        return Deferred.fromCoroutine(self._retiring())

    async def _retiring(self) -> None:
        begun = self._reactor.seconds()
        while self._factory.connections:
            if self._reactor.seconds() - begun > RETIRING:
                self._factory.abortIdle()
            await deferLater(self._reactor, _LOOK)

    def upgrade(self) -> None:
        """Nobody would be there meanwhile."""
        self._log.error("No upgrade: it takes a process that stays, --workers 1 or more. Sessions go on as they are")

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
        return ending.addCallback(
            lambda _: gatherResults([each.finish(recorded) for each in self._recordings]).addCallback(lambda _: None)
        )

    def renewable(
        self,
        refit: Callable[[Config], Fitting],
        limit: Callable[[Config], None],
        parse: Callable[[str, str], Listen],
    ) -> None:
        """
        Have settings that may change.

        @param refit: makes a fitting of others.
        @param limit: sets the limits of all routes together.
        @param parse: makes of a name and of a C{--listen} value what has that name.
        """
        self.refit = refit
        self._limit = limit
        self._parse = parse

    def prepare(self, config: Config) -> Deferred[Callable[[], None]]:
        """See L{Renewal}."""
        return Deferred.fromCoroutine(self._prepare(config))

    async def _prepare(self, config: Config) -> Callable[[], None]:
        fitting = self.fit(config)
        before, now = distinct(self._config.listening.listen), distinct(config.listening.listen)
        listens = [self._parse(name, text) for name, text in now.items() if name not in before]
        ports = await self.listenAlso(listens, fitting)

        def apply() -> None:
            self.become(fitting)
            self.stopAt(before.keys() - now.keys())
            self._announce(ports)

        return apply

    def fit(self, config: Config) -> Fitting:
        """
        @return: what L{become} takes of it.
        @raise ConfigError: it cannot be.
        """
        fitting = self.refit(config)
        for name in distinct(self._config.listening.listen).keys() & distinct(config.listening.listen).keys():
            if (name in self._own) != (name in fitting.own):
                raise ConfigError(f"--listen {name}: is listened at, in or out of a section of its own; restart")
        return fitting

    async def listenAlso(self, listens: Sequence[Listen], fitting: Fitting) -> list[IListeningPort]:
        """
        @param fitting: which has the TLS sides of those that have one of their own.
        @return: the ports.
        @raise ConfigError: it is not possible at one of them; then it is not listened at the others either.
        """
        if self._fronts is None:
            raise ConfigError("it is ending")
        for name in {str(listen) for listen in listens} & fitting.own.keys() - self._beside.keys():
            only = _isTLSOnly(ofListener(fitting.config, name))
            self._beside[name] = self._factory.beside(fitting.own[name], only)
        bound = await DeferredList([self._listenAt(listen) for listen in listens], consumeErrors=True)
        problems = [cast(Failure, failure) for well, failure in bound if not well]
        if problems or self._fronts is None:
            self.stopAt({str(listen) for listen in listens})
            self._beside = {name: side for name, side in self._beside.items() if name in self._own}
            raise cast(ConfigError, problems[0].value) if problems else ConfigError("it is ending")
        return [port for _, ports in bound for port in ports]

    def stopAt(self, names: Collection[str]) -> None:
        """Stop listening there alone."""
        self._ports.stopAt(names)

    def become(self, fitting: Fitting) -> None:
        """
        Receive clients by these settings from now on. Sessions go on by those that they began with, until they end.
        Raises nothing that a fitting that has been made can bring about.
        """
        before, now, tls = self._config, fitting.config, fitting.tls
        if before.tls == now.tls:
            tls = self._tls  # with its tickets, and clients that are just shaking hands
        if _stricter(before, now):
            self._factory.abortIdle()  # they came in by what no longer holds
        self._limit(now)
        self._factory.become(fitting.factory, tls)
        self._become(before, now, fitting.own)
        self._retire(before.clients.handshakeTimeout, self._services)
        self._config, self._tls, self._services = now, tls, fitting.services
        self._recordings = (*(each for each in self._recordings if each.busy), *fitting.recordings)
        for service in fitting.services:
            service.setServiceParent(self)

    def _become(self, before: Config, now: Config, own: Mapping[str, ServerTLS | None]) -> None:
        """The listeners that have a TLS side of their own."""
        old, new = ownTLS(before), ownTLS(now)
        same = {name for name in old.keys() & new.keys() if old[name] == new[name]}
        self._own = {name: self._own[name] if name in same else tls for name, tls in own.items()}
        for name, tls in self._own.items():
            only = _isTLSOnly(ofListener(now, name))
            if name in self._beside:
                self._factory.adjust(self._beside[name], tls, only)
            else:
                self._beside[name] = self._factory.beside(tls, only)
        self._beside = {name: side for name, side in self._beside.items() if name in self._own}

    def _retire(self, seconds: float, services: Iterable[IService]) -> None:
        """Somebody may still wait for what these are asked."""
        for service in services:
            self._reactor.callLater(seconds + 1, self._leave, service)

    def _leave(self, service: IService) -> None:
        if service.parent is self:
            left = maybeDeferred(service.disownServiceParent)
            left.addErrback(lambda failure: self._log.failure("Settings that have been replaced", failure))

    @property
    def factory(self) -> WebSockifyFactory:
        """What serves here."""
        return self._factory

    @property
    def config(self) -> Config:
        """What is in force."""
        return self._config

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
        return self._factory.sessions.shownPath(request)

    @property
    def sessions(self) -> int:
        """How many there are."""
        return len(self._factory.sessions)

    def isWell(self, within: float) -> Deferred[bool]:
        """It is, for it can answer."""
        return succeed(True)

    def renew(self) -> Deferred[str]:
        """Read the settings again: see L{Renewal}."""
        return self.renewal()

    def reload(self) -> Deferred[Any]:
        """L{renew}, for whoever does not ask how it went. @return: fires when it is over."""
        return self.renewal().addErrback(lambda failure: failure.trap(ConfigError))

    def lookAtCertificates(self) -> None:
        """Look at the certificate files now."""
        for tls in (self._tls, *self._own.values()):
            if tls is not None:
                tls.reload()

    def abandon(self, number: int = signal.SIGTERM) -> None:
        """There is no other process to care for but a wrapped program's."""
        abandonPrograms(self, number)


def abandonPrograms(parent: MultiService, number: int) -> None:
    """Signal all of each program that is wrapped here: nobody will be there to wait for its end."""
    for service in parent:
        if isinstance(service, Supervisor):
            service.abandon(number)


def _stricter(before: Config, now: Config) -> bool:
    """Whether a connection that is there may not be one that would come about now."""
    asked = [(each.only, each.verifyClient, each.authorities) if each else None for each in (before.tls, now.tls)]
    return asked[0] != asked[1] or before.proxies != now.proxies or before.listeners != now.listeners


def _isTLSOnly(config: Config) -> bool:
    return config.tls is not None and config.tls.only


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
    if config.routes:
        return "where each route says"
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
